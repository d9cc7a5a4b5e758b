"""Hostile checkpoints are refused in one sentence, at once, and without filling the memory.

SMOLVLA_HOSTILE_CASES=300 draws more of them, SMOLVLA_HOSTILE_SEED others.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from smolvla_ros.model import SmolVLAPolicy
from smolvla_ros.model.checkpoint.golden import record_golden

spec = importlib.util.spec_from_file_location("hostile", Path(__file__).parent / "hostile.py")
assert spec is not None and spec.loader is not None
hostile = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hostile)

DRAWN = int(os.environ.get("SMOLVLA_HOSTILE_CASES", "30"))
SEED = int(os.environ.get("SMOLVLA_HOSTILE_SEED", "1"))
MOST_CPU_S = 5
MOST_WALL_S = 40  # for what waits without computing; the machine may be busy

# Loads each folder of a list in a child of its own. Its memory begins with the parent's, which has loaded a good one.
LOAD = f"""
import json, os, resource, signal, sys, traceback
import numpy as np
import torch
import transformers.models.smolvlm.configuration_smolvlm  # once, for all children
torch.set_num_threads(1)
from smolvla_ros.model import CheckpointError, ModelError, SmolVLAPolicy

def attempt(folder):
    try:
        policy = SmolVLAPolicy.from_checkpoint(folder)
    except CheckpointError as error:
        return {{"refused": str(error)}}
    try:
        policy.warm_up()
    except ModelError:
        pass
    return {{"loaded": True}}

def child(folder):
    start = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    signal.alarm({MOST_WALL_S})
    resource.setrlimit(resource.RLIMIT_CPU, (int(start) + {MOST_CPU_S} + 1, int(start) + {MOST_CPU_S} + 1))
    try:
        result = attempt(folder)
    except BaseException:
        result = {{"traceback": traceback.format_exc()[-2000:]}}
    usage = resource.getrusage(resource.RUSAGE_SELF)
    result |= {{"cpu_s": sum(usage[:2]) - start, "peak_kb": usage.ru_maxrss}}
    return result

folders = json.load(sys.stdin)
for folder in [folders[0], *folders]:
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(write, json.dumps(child(folder)).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        text = stream.read()
    status = os.waitpid(pid, 0)[1]
    print(text or json.dumps({{"died": status}}), flush=True)
"""


def outcomes(folders: list[Path]) -> list[dict[str, Any]]:
    """What became of each folder."""
    run = subprocess.run(
        [sys.executable, "-c", LOAD],
        input=json.dumps([str(folder) for folder in folders]),
        capture_output=True,
        text=True,
        timeout=280 + 5 * len(folders),
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found = [json.loads(line) for line in run.stdout.splitlines()[1:]]
    assert len(found) == len(folders)
    return found


@pytest.fixture(scope="module")
def honest(checkpoint_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy with everything that can be attacked: golden input, names, and an adapter upon another copy."""
    folder = tmp_path_factory.mktemp("honest") / "checkpoint"
    shutil.copytree(checkpoint_of("default"), folder)
    for path in folder.iterdir():
        if path.suffix == ".npz" or path.name.startswith(("debug", "cases")):
            path.unlink()
    names = [f"joint_{i}" for i in range(6)]
    (folder / "smolvla_ros.json").write_text(json.dumps({"fps": 30, "state_names": names, "action_names": names}))
    image = np.full((48, 64, 3), 90, np.uint8)
    record_golden(
        SmolVLAPolicy.from_checkpoint(folder),
        folder,
        {"observation.images.top": image},
        np.zeros(6, np.float32),
        "touch the cube",
    )
    return folder


@pytest.fixture(scope="module")
def honest_adapter(honest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that changes nothing upon itself as base, so that the golden input stays true."""
    folder = tmp_path_factory.mktemp("adapter") / "checkpoint"
    shutil.copytree(honest, folder)
    plain = json.loads(
        (Path(__file__).parent.parent / "fixtures" / "peft" / "plain" / hostile.ADAPTER_CONFIG).read_text()
    )
    (folder / hostile.ADAPTER_CONFIG).write_text(json.dumps(plain | {"base_model_name_or_path": str(honest)}))
    layer = "base_model.model.model.vlm_with_expert.lm_expert.layers.1.self_attn.q_proj"
    shape = load_file(folder / hostile.WEIGHTS)[f"{layer.removeprefix('base_model.model.')}.weight"].shape
    parts = {f"{layer}.lora_A.weight": torch.ones(2, shape[1]), f"{layer}.lora_B.weight": torch.zeros(shape[0], 2)}
    save_file(parts, folder / hostile.ADAPTER)
    return folder


def test_hostile_checkpoints_and_adapters_are_refused_at_once(
    honest: Path, honest_adapter: Path, tmp_path: Path
) -> None:
    mutations = list(hostile.NAMED.items())
    mutations += [hostile.drawn(SEED * 10_000 + i, honest_adapter) for i in range(DRAWN)]
    folders = [honest, honest_adapter]
    for index, (name, mutate) in enumerate(mutations):
        source = honest_adapter if "adapter" in name or name.startswith(tuple(ADAPTED)) else honest
        folder = shutil.copytree(source, tmp_path / str(index))
        mutate(folder)
        folders.append(folder)
    good, good_adapter, *found = outcomes(folders)
    assert good.get("loaded") and good_adapter.get("loaded"), (good, good_adapter)
    most_kb = 1.2 * max(good["peak_kb"], good_adapter["peak_kb"])
    problems = {
        name: result
        for (name, _), result in zip(mutations, found, strict=True)
        if not {"loaded", "refused"} & result.keys()
        or result["cpu_s"] > MOST_CPU_S
        or result["peak_kb"] > most_kb
        or len(result.get("refused", "")) > 1000
        or "\n" in result.get("refused", "")
    }
    assert not problems
    named = {name: result for (name, _), result in zip(mutations, found, strict=True) if name in hostile.NAMED}
    assert [name for name, result in named.items() if "refused" not in result] == []


ADAPTED = ("a pattern", "alpha", "rank", "a rank", "an adapter")
