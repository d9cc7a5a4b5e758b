"""Loading a checkpoint imports no compiler and costs little more memory than the network.

The true size: `benchmarks/inference.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from smolvla_ros.model import (
    SmolVLAConfig,
    SmolVLANetwork,
    TextConfig,
    Training,
    VisionConfig,
    save_checkpoint,
    train_tokenizer,
)

LOAD = """
import json, resource, sys
import torch
from smolvla_ros.model import SmolVLAPolicy
import smolvla_ros.model.checkpoint.loading
torch.ones(8) @ torch.ones(8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
policy = SmolVLAPolicy.from_checkpoint(sys.argv[1], dtype=sys.argv[2])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"peak_bytes": 1024 * peak, "held_bytes": sum(p.nbytes for p in policy.network.parameters())}))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 60 million parameters, 240 MB."""
    tokenizer = train_tokenizer(["touch the red cube"], vocab_size=280)
    config = SmolVLAConfig(
        vision=VisionConfig(hidden_size=384, intermediate_size=1536, num_layers=6, num_heads=6, image_size=64),
        text=TextConfig(
            hidden_size=640, intermediate_size=1792, num_layers=6, num_heads=10, num_kv_heads=5, vocab_size=4096
        ),
        image_features=("observation.images.front",), num_vlm_layers=6, image_size_wh=(64, 64),
    )  # fmt: skip
    spread = {"mean": torch.ones(6), "std": torch.ones(6)}
    statistics = {"observation.state": spread, "action": spread}
    training = Training(statistics, {"observation.images.front": (3, 64, 64)}, [], [], 30)
    folder = tmp_path_factory.mktemp("large")
    save_checkpoint(folder, SmolVLANetwork(config), tokenizer, training)
    return folder


@pytest.mark.parametrize(("dtype", "share"), [("float32", 1.2), ("bfloat16", 0.8)])
def test_the_peak_of_memory_while_loading_stays_near_the_size_of_the_file(
    large: Path, dtype: str, share: float
) -> None:
    """In bfloat16 the widened file is never in memory as a whole."""
    result = subprocess.run(
        [sys.executable, "-c", LOAD, str(large), dtype], check=True, capture_output=True, text=True, timeout=120
    )
    found = json.loads(result.stdout.splitlines()[-1])
    size = (large / "model.safetensors").stat().st_size
    assert size > 200e6
    assert found["held_bytes"] < size
    assert found["peak_bytes"] < share * size


IMPORTED = """
import sys
from smolvla_ros.model import SmolVLAPolicy
SmolVLAPolicy.from_checkpoint(sys.argv[1])
print("torch._dynamo" in sys.modules)
"""


def test_loading_does_not_import_the_compiler_of_torch(large: Path) -> None:
    """It would take longer than all the rest of a small checkpoint."""
    result = subprocess.run(
        [sys.executable, "-c", IMPORTED, str(large)], check=True, capture_output=True, text=True, timeout=120
    )
    assert result.stdout == "False\n"
