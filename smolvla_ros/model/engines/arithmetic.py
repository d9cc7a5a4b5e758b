"""Which arithmetic and which library: found out on the machine that runs, in about a tenth of a second.

What is right on one processor is wrong on another: bfloat16 is twice as fast as float32 with instructions for it and
twenty times as slow without, and either of two libraries may be the faster one. So candidates are timed on products of
the network's own sizes, by the processor time of this thread, which other processes disturb less than the clock.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from smolvla_ros.model.config import SmolVLAConfig
from smolvla_ros.model.engines.products import Library, Product, lay_out_for_few_rows
from smolvla_ros.model.errors import CheckpointError
from smolvla_ros.model.layers import Linear

DTYPES = ("auto", "float32", "bfloat16", "bfloat16_products", "int8")
# Largest difference of a normalised action from float32 that a golden input may show. Rounding alone leaves 1e-5.
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1, "bfloat16_products": 0.05, "int8": 0.25}

_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"}
_BUDGET_S = 0.03  # for each of the three kinds of products
_WORTH = 0.95  # another library must be so much faster to be taken
_WORTH_ROUNDING = 0.8  # and another arithmetic so much
_TIMED_ROWS = 192


@dataclass(frozen=True)
class Arithmetic:
    """What the network computes in: `dtype` is one of `DTYPES` but 'auto', `libraries` by tower, `reason` one line."""

    dtype: str
    libraries: Mapping[str, Library]
    reason: str


def check_dtype(dtype: str) -> None:
    if dtype not in DTYPES:
        raise CheckpointError(f"dtype is {dtype!r}, expected one of {', '.join(DTYPES)}")


def choose(dtype: str, device: torch.device, config: SmolVLAConfig) -> Arithmetic:
    """The arithmetic asked for, or for 'auto' the fastest one that is as close to float32 as LeRobot's own.

    Raises:
        CheckpointError: this machine or device has it not.
    """
    check_dtype(dtype)
    if device.type != "cpu":
        return _on_gpu(dtype, device)
    if dtype == "bfloat16":
        return Arithmetic(dtype, {}, "bfloat16: LeRobot's own mix of types, as asked for" + _slow_note())
    if dtype == "int8":
        if not torch.backends.quantized.supported_engines:
            raise CheckpointError("dtype 'int8' was asked for, but this torch has no quantised products; use 'auto'")
        towers = ("vision", "connector", "language", "expert")
        return Arithmetic(dtype, dict.fromkeys(towers, "int8"), "int8: products in 8 bits, as asked for")
    wide = _fastest(config, torch.float32)
    if dtype == "float32" or (dtype == "auto" and not bfloat16_hardware()):
        why = "as asked for" if dtype == "float32" else f"this processor ({_capability()}) has no bfloat16 instructions"
        return Arithmetic("float32", wide.libraries, f"float32: {why}; {wide}")
    narrow = _fastest(config, torch.bfloat16)
    if dtype == "bfloat16_products":
        return Arithmetic(dtype, narrow.libraries, f"{dtype}: as asked for; {narrow}{_slow_note()}")
    if narrow.seconds < _WORTH_ROUNDING * wide.seconds:
        ratio = narrow.seconds / wide.seconds
        return Arithmetic(
            "bfloat16_products", narrow.libraries, f"bfloat16_products: products take {ratio:.2f} of float32; {narrow}"
        )
    return Arithmetic("float32", wide.libraries, f"float32: bfloat16 is no faster on this processor; {wide}")


@functools.cache
def bfloat16_hardware() -> bool:
    """Whether this processor multiplies bfloat16 itself; torch emulates it otherwise, some twenty times slower."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return False
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return bool(_BFLOAT16_FLAGS & set(flags))


def can_pack(dtype: torch.dtype) -> bool:
    """Whether oneDNN takes weights of this type on this processor."""
    try:
        Product(Linear(16, 16).to(dtype), packed=True)
    except (RuntimeError, NotImplementedError, AttributeError):
        return False
    return True


@dataclass(frozen=True)
class _Timed:
    """The fastest library of each tower, and what all products of one chunk take with them."""

    libraries: Mapping[str, Library]
    seconds: float

    def __str__(self) -> str:
        names = {"plain": "MKL", "input_major": "MKL (input-major)", "packed": "oneDNN"}
        return ", ".join(f"{tower} by {names[self.libraries[tower]]}" for tower in ("vision", "language", "expert"))


def _fastest(config: SmolVLAConfig, dtype: torch.dtype) -> _Timed:
    text, vision = config.text, config.vision
    prefix_rows = max(1, len(config.image_features)) * (vision.grid // config.scale_factor) ** 2 + 16
    kinds = {
        "vision": (vision.grid**2, vision.hidden_size, vision.intermediate_size),
        "language": (prefix_rows, text.hidden_size, 2 * text.intermediate_size),
        "expert": (config.chunk_size, config.expert_width, 2 * config.expert_intermediate_size),
    }
    weights = {
        "vision": 2.5 * vision.num_layers * max(1, len(config.image_features)),
        "language": 2.0 * config.kept_layers,
        "expert": 2.0 * config.expert_layers * config.num_steps,
    }
    chosen: dict[str, Library] = {}
    seconds = 0.0
    for tower, (rows, inputs, outputs) in kinds.items():
        library, measured = _time_product(rows, inputs, outputs, dtype, torch.get_num_threads())
        chosen[tower] = library
        seconds += measured * weights[tower]
    return _Timed({**chosen, "connector": chosen["vision"]}, seconds)


@functools.cache
def _time_product(rows: int, inputs: int, outputs: int, dtype: torch.dtype, threads: int) -> tuple[Library, float]:
    """The fastest library for one size, and its seconds for all rows. Measured once a process and number of threads."""
    timed_rows = min(rows, _TIMED_ROWS)
    x = torch.full((1, timed_rows, inputs), 0.5)
    candidates: dict[Library, nn.Module] = {"plain": Linear(inputs, outputs, bias=False, dtype=dtype)}
    if dtype == torch.float32:
        candidates["input_major"] = Linear(inputs, outputs, bias=False)
        lay_out_for_few_rows(candidates["input_major"])  # type: ignore[arg-type]
    if can_pack(dtype):
        candidates["packed"] = Product(Linear(inputs, outputs, bias=False, dtype=dtype), packed=True)
    best = dict.fromkeys(candidates, float("inf"))
    started, rounds = time.perf_counter(), 0
    with torch.no_grad():
        while rounds < 2 or time.perf_counter() - started < _BUDGET_S:
            for library, product in candidates.items():
                begun = time.thread_time()
                product(x)
                best[library] = min(best[library], time.thread_time() - begun)
            rounds += 1
    winner = min(best, key=lambda library: best[library])
    if best[winner] > _WORTH * best["plain"]:
        winner = "plain"
    return winner, best[winner] * rows / timed_rows


def _on_gpu(dtype: str, device: torch.device) -> Arithmetic:
    if dtype == "int8":
        raise CheckpointError(
            "dtype 'int8' is for CPUs; on a GPU use 'auto', 'float32', 'bfloat16' or 'bfloat16_products'"
        )
    if dtype != "auto":
        return Arithmetic(dtype, {}, f"{dtype}: as asked for")
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return Arithmetic(
            "bfloat16",
            {},
            f"bfloat16: LeRobot's own mix of types, which {torch.cuda.get_device_name(device)} multiplies itself",
        )
    return Arithmetic("float32", {}, f"float32: {torch.cuda.get_device_name(device)} has no bfloat16")


def _capability() -> str:
    return torch.backends.cpu.get_cpu_capability()


def _slow_note() -> str:
    return (
        ""
        if bfloat16_hardware()
        else f"; this processor ({_capability()}) emulates it, which is far slower than float32"
    )
