"""Checkpoints and adapters that somebody made to hurt: seeded mutations of good ones."""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

WEIGHTS = "model.safetensors"
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
NORMALISER = "policy_preprocessor_step_5_normalizer_processor.safetensors"
Mutation = Callable[[Path], Any]

# Values as they stand in the file; some are no JSON.
RAW = (
    "null", "true", "-1", "0", "65536", "1000000", "9" * 17, "1" + "0" * 400, "9" * 5000, "-" + "9" * 5000,
    "1e308", "1e999", "NaN", "Infinity", "-Infinity", "0.5",
    '""', '"abc"', '"\\ud800"', '"\\u0000"', '"../../etc/passwd"', '"/dev/zero"',
    '"' + "x" * 100_000 + '"', '"("', '"(\\\\w+\\\\.?)+!"', "[]", "[[]]", "[1]", "{}",
    '{"(": 1}', '{"(\\\\w+\\\\.?)+!": 1}',
    "[" * 100_000 + "]" * 100_000, '{"a":' * 30_000 + "1" + "}" * 30_000, "[" + "0," * 100_000 + "0]", "[65536, 65536]",
    '{"a": 1, "a": 2}', "{" + ",".join(f'"k{i}": {i}' for i in range(20_000)) + "}",
)  # fmt: skip


def with_value(file: str, path: tuple, raw: str) -> Mutation:
    """Puts raw text in the place of one value of a JSON file."""

    def mutate(folder: Path) -> None:
        document = json.loads((folder / file).read_text())
        parent = document
        for key in path[:-1]:
            parent = parent[key]
        parent[path[-1]] = "@here@"
        (folder / file).write_text(json.dumps(document).replace('"@here@"', raw))

    return mutate


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The path of every value in a JSON document."""
    if path:
        yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def with_header(file: str, change: Callable[[dict], Any], size: int | None = None) -> Mutation:
    """Changes the header of a safetensors file, not its values; `size` makes the file (sparsely) that long."""

    def mutate(folder: Path) -> None:
        whole = (folder / file).read_bytes()
        length = struct.unpack("<Q", whole[:8])[0]
        header = json.loads(whole[8 : 8 + length])
        text = change(header)
        text = (text if isinstance(text, str) else json.dumps(header)).encode()
        (folder / file).write_bytes(struct.pack("<Q", len(text)) + text + whole[8 + length :])
        if size:
            os.truncate(folder / file, 8 + len(text) + size)

    return mutate


def replaced(file: str, by: Callable[[Path], Any]) -> Mutation:
    def mutate(folder: Path) -> None:
        (folder / file).unlink()
        by(folder / file)

    return mutate


def huge(header: dict) -> None:
    """One tensor of 50 GB, with nothing in it."""
    names = [name for name in header if name != "__metadata__"]
    end = max(header[name]["data_offsets"][1] for name in names)
    header["model.extra.weight"] = {"dtype": "F32", "shape": [end_of_50_gb(end)], "data_offsets": [end, 50 * 10**9]}


def twice(header: dict) -> None:
    name = next(reversed(header))
    header[f"_orig_mod.{name}"] = header[name]


def end_of_50_gb(start: int) -> int:
    return (50 * 10**9 - start) // 4


TRIES_EVERYTHING = '{"(\\\\w|_|[a-z])*\\\\.(\\\\w|\\\\.|[a-z])*[^a-z_.0-9]": 1}'
NAMED: dict[str, Mutation] = {
    "a pattern that does not close": with_value(ADAPTER_CONFIG, ("alpha_pattern",), '{"(": 1}'),
    "a pattern that never ends": with_value(ADAPTER_CONFIG, ("alpha_pattern",), '{"(\\\\w+\\\\.?)+!": 1}'),
    "a pattern that tries everything": with_value(ADAPTER_CONFIG, ("alpha_pattern",), TRIES_EVERYTHING),
    "alpha in a list": with_value(ADAPTER_CONFIG, ("lora_alpha",), "[1]"),
    "rank as text": with_value(ADAPTER_CONFIG, ("r",), '"abc"'),
    "a rank of 5000 digits": with_value(ADAPTER_CONFIG, ("r",), "9" * 5000),
    "a chunk of 5000 digits": with_value("config.json", ("chunk_size",), "9" * 5000),
    "an expert of 10^400": with_value("config.json", ("expert_width_multiplier",), "1" + "0" * 400),
    "images of 51 GB": with_value("config.json", ("resize_imgs_with_padding",), "[65536, 65536]"),
    "a million steps": with_value("config.json", ("num_steps",), "1000000"),
    "a million layers": with_value("vlm/config.json", ("text_config", "num_hidden_layers"), "1000000"),
    "a million kept layers": with_value("config.json", ("num_vlm_layers",), "1000000"),
    "a million vision layers": with_value("vlm/config.json", ("vision_config", "num_hidden_layers"), "1000000"),
    "not a number": with_value("config.json", ("max_period",), "NaN"),
    "infinite": with_value("config.json", ("min_period",), "Infinity"),
    "nested": with_value("config.json", ("tags",), "[" * 100_000 + "]" * 100_000),
    "nested a little": with_value("config.json", ("tags",), "[" * 900 + "]" * 900),
    "a key twice": with_value("config.json", ("tags",), '1, "chunk_size": 3'),
    "a tensor of 50 GB": with_header(WEIGHTS, huge, 50 * 10**9),
    "statistics of 50 GB": with_header(NORMALISER, huge, 50 * 10**9),
    "an adapter of 50 GB": with_header(ADAPTER, huge, 50 * 10**9),
    "a tensor twice": with_header(WEIGHTS, twice),
    "a header that goes on": lambda folder: (folder / WEIGHTS).write_bytes(struct.pack("<Q", 2**40) + bytes(1000)),
    "a link to nowhere": replaced("config.json", lambda path: path.symlink_to("nowhere")),
    "weights that link to nowhere": replaced(WEIGHTS, lambda path: path.symlink_to("nowhere")),
    "a pipeline that links to nowhere": replaced("policy_preprocessor.json", lambda path: path.symlink_to("nowhere")),
    "a link to itself": replaced("config.json", lambda path: path.symlink_to(path.name)),
    "a link without end": replaced("config.json", lambda path: path.symlink_to("/dev/zero")),
    "weights without end": replaced(WEIGHTS, lambda path: path.symlink_to("/dev/zero")),
    "a folder for a file": replaced("config.json", Path.mkdir),
    "a pipe": replaced("config.json", os.mkfifo),
    "an id beyond the vocabulary": with_value("vlm/tokenizer.json", ("model", "vocab", "a"), "900000"),
}  # fmt: skip

JSON_FILES = (
    "config.json",
    "vlm/config.json",
    "vlm/tokenizer_config.json",
    "policy_preprocessor.json",
    "policy_postprocessor.json",
    ADAPTER_CONFIG,
    ADAPTER_CONFIG,
    "smolvla_ros.json",
)
TENSOR_FILES = (WEIGHTS, NORMALISER, ADAPTER, "golden.safetensors")


def drawn(seed: int, folder: Path) -> tuple[str, Mutation]:
    """One mutation by chance of a checkpoint like the one in `folder`."""
    draw = random.Random(seed)
    kind = draw.choice(("value", "value", "value", "value", "header", "header", "bytes", "cut"))
    if kind == "value":
        file = draw.choice(JSON_FILES)
        path = draw.choice(list(places(json.loads((folder / file).read_text()))))
        raw = draw.choice(RAW)
        return f"{file} {path} = {raw[:40]}", with_value(file, path, raw)
    file = draw.choice(TENSOR_FILES if kind == "header" else TENSOR_FILES + JSON_FILES)
    if kind == "header":
        return f"{file} header {seed}", with_header(file, lambda header: odd_tensor(draw, header))
    size = (folder / file).stat().st_size
    if kind == "cut":
        end = draw.randrange(size)
        return f"{file} cut at {end}", lambda target: os.truncate(target / file, end)
    at = draw.randrange(min(size, 4000))
    return f"{file} byte {at}", lambda target: flip(target / file, at, draw.randrange(1, 256))


def odd_tensor(draw: random.Random, header: dict) -> None:
    name = draw.choice([name for name in header if name != "__metadata__"])
    entry = header[name]
    field = draw.choice(("dtype", "shape", "offsets", "name", "gone"))
    if field == "dtype":
        entry["dtype"] = draw.choice(("I32", "F64", "BF16", "F8_E4M3", "C64", "BOOL", "nothing"))
    elif field == "shape":
        entry["shape"] = draw.choice(([], [0], [-1], [2**62, 2**62], [1, *entry["shape"]], entry["shape"][::-1], "x"))
    elif field == "offsets":
        entry["data_offsets"] = draw.choice(([0, 0], [0, 2**63], [-1, 1], [10, 4], entry["data_offsets"][::-1]))
    elif field == "name":
        new = draw.choice(("module." + name, "_orig_mod." + name, "x" * 100_000, "\x00", "normalize_inputs." + name))
        header[new] = header.pop(name)
    else:
        del header[name]


def flip(path: Path, at: int, by: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= by
    path.write_bytes(bytes(content))
