"""A network and a choice -> the engine that runs it, proven against torch in float32 wherever it is another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from smolvla_ros.model.config import SmolVLAConfig
from smolvla_ros.model.engines.arithmetic import TOLERANCE, Arithmetic, choose
from smolvla_ros.model.engines.cuda_graph import GraphEngine
from smolvla_ros.model.engines.openvino_engine import OpenVINOEngine
from smolvla_ros.model.engines.products import prepare
from smolvla_ros.model.engines.torch_engine import ChunkInputs, TorchEngine
from smolvla_ros.model.errors import CheckpointError
from smolvla_ros.model.network import SmolVLANetwork

ENGINES: dict[str, type[TorchEngine]] = {"torch": TorchEngine, "cuda_graph": GraphEngine, "openvino": OpenVINOEngine}


def build_engine(
    load: Callable[[Arithmetic], SmolVLANetwork],
    config: SmolVLAConfig,
    device: torch.device,
    dtype: str,
    name: str,
    num_steps: int,
) -> tuple[TorchEngine, Arithmetic]:
    """Loads the network for the arithmetic of `dtype` and gives it to the engine `name`.

    Whatever does not run the loaded network as it is must first give torch's actions on a random observation.

    Raises:
        CheckpointError: the machine has not what was asked for, or it gives other numbers.
    """
    if name == "auto":
        name = "cuda_graph" if device.type == "cuda" else "torch"
    if name not in ENGINES:
        raise CheckpointError(f"engine is {name!r}, expected one of auto, {', '.join(ENGINES)}")
    if name == "cuda_graph" and device.type != "cuda":
        raise CheckpointError(
            f"engine 'cuda_graph' needs a CUDA device, but device is {device.type!r}; use engine 'torch'"
        )
    if name == "openvino":
        if device.type != "cpu" or dtype not in ("auto", "float32"):
            raise CheckpointError(
                f"engine {name!r} computes in float32 on a CPU, but device {device.type!r} and dtype {dtype!r} were "
                "asked for; use device 'cpu' and dtype 'float32', or engine 'torch'"
            )
        dtype = "float32"
    arithmetic = choose(dtype, device, config)
    if name == "torch" and arithmetic.dtype != "int8":
        return TorchEngine(load(arithmetic), num_steps, arithmetic.reason), arithmetic
    network = load(arithmetic if name == "cuda_graph" else Arithmetic("float32", {}, ""))
    inputs = random_inputs(config, device)
    with torch.no_grad():
        expected = TorchEngine(network, num_steps).chunk(inputs)
        if arithmetic.dtype == "int8":
            prepare(network, arithmetic.libraries)
        engine = ENGINES[name](network, num_steps, arithmetic.reason)
        difference = float((engine.chunk(inputs) - expected).abs().max())
    if not difference <= TOLERANCE[arithmetic.dtype]:
        raise CheckpointError(
            f"engine {name!r} in {arithmetic.dtype} gives actions that differ from torch's by {difference:.3g} "
            f"(normalised), expected at most {TOLERANCE[arithmetic.dtype]:g}; use engine 'torch' and dtype 'float32'"
        )
    return engine, replace(arithmetic, reason=engine.reason)


def random_inputs(config: SmolVLAConfig, device: torch.device, tokens: int = 8, seed: int = 0) -> ChunkInputs:
    """An observation of random pixels, the same on every machine."""
    draw = torch.Generator().manual_seed(seed)
    width, height = config.image_size_wh or (config.vision.image_size,) * 2
    return ChunkInputs(
        images=[(torch.rand(1, 3, height, width, generator=draw) * 2 - 1).to(device) for _ in config.image_features],
        tokens=torch.randint(config.text.vocab_size, (1, tokens), generator=draw).to(device),
        state=torch.randn(1, config.max_state_dim, generator=draw).to(device),
        noise=torch.randn(1, config.chunk_size, config.max_action_dim, generator=draw).to(device),
    )
