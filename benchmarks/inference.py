"""How long one inference takes, stage by stage, and what loading costs.

    python benchmarks/inference.py                                    # random weights of the true size, two cameras
    python benchmarks/inference.py --checkpoint checkpoints/demo
    python benchmarks/inference.py --device cuda --dtype bfloat16 --json inference.json

Alone on the machine, please. Random weights take as long as trained ones.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smolvla_ros.model import SmolVLAConfig, SmolVLANetwork, SmolVLAPolicy, Training, save_checkpoint, train_tokenizer

INSTRUCTION = "Put the red cube into the green box."
IMAGE_SHAPE = (480, 640, 3)


def write_random_checkpoint(folder: Path, cameras: int, chunk_size: int, bfloat16: bool) -> None:
    """A checkpoint of SmolVLM2-500M's sizes with random weights (1.8 GB; 0.9 GB in LeRobot's own mix of types)."""
    features = tuple(f"observation.images.camera{i + 1}" for i in range(cameras))
    config = SmolVLAConfig(
        image_features=features, chunk_size=chunk_size, n_action_steps=chunk_size, load_vlm_weights=True
    )
    network = SmolVLANetwork(config)
    if bfloat16:
        network.use_mixed_precision()
    spread = {"mean": torch.linspace(-1, 1, 6), "std": torch.linspace(1, 2, 6)}
    statistics = {"observation.state": spread, "action": spread}
    shapes = dict.fromkeys(features, (3, *IMAGE_SHAPE[:2]))
    save_checkpoint(folder, network, train_tokenizer([INSTRUCTION] * 4), Training(statistics, shapes, [], [], 30))


def measure(policy: SmolVLAPolicy, repeats: int, seed: int = 0) -> list[dict[str, float]]:
    """Seconds of every stage and in all, for each of `repeats` inferences after a warm-up."""
    draw = np.random.default_rng(seed)
    images = {name: draw.integers(0, 256, IMAGE_SHAPE, dtype=np.uint8) for name in policy.cameras}
    state = draw.standard_normal(policy.state_dim).astype(np.float32)
    policy.warm_up()
    rows = []
    for _ in range(repeats):
        started = time.perf_counter()
        stages = policy.predict(images, state, INSTRUCTION).stage_s
        rows.append(stages | {"total": time.perf_counter() - started})
    return rows


def summary(rows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Median, p95 and maximum of every stage in seconds."""
    columns = {stage: np.array([row[stage] for row in rows]) for stage in rows[0]}
    return {
        stage: {"median_s": float(np.median(s)), "p95_s": float(np.percentile(s, 95)), "max_s": float(s.max())}
        for stage, s in columns.items()
    }


def run(args: argparse.Namespace, folder: str | Path) -> dict[str, Any]:
    """Loads and measures; the figures with the circumstances that they hold for."""
    started = time.perf_counter()
    policy = SmolVLAPolicy.from_checkpoint(folder, device=args.device, dtype=args.dtype)
    load_s = time.perf_counter() - started
    config = policy.config
    figures: dict[str, Any] = {
        "parameters": sum(parameter.numel() for parameter in policy.network.parameters()),
        "device": torch.cuda.get_device_name(args.device) if args.device.startswith("cuda") else "cpu",
        "dtype": args.dtype,
        "threads": torch.get_num_threads(),
        "cameras": len(policy.cameras),
        "image": list(IMAGE_SHAPE[:2]),
        "chunk_size": config.chunk_size,
        "num_steps": config.num_steps,
        "language_layers": config.kept_layers,
        "repeats": args.repeats,
        "load_s": load_s,
        "stages": summary(measure(policy, args.repeats)),
    }
    return figures


def show(figures: dict[str, Any]) -> None:
    """Prints the figures for people."""
    for name, value in figures.items():
        if name != "stages":
            print(f"{name:16} {value:.2f}" if isinstance(value, float) else f"{name:16} {value}")
    print(f"{'stage':16} {'median':>9} {'p95':>9} {'max':>9}   ms")
    for stage, s in figures["stages"].items():
        print(f"{stage:16} {1e3 * s['median_s']:9.1f} {1e3 * s['p95_s']:9.1f} {1e3 * s['max_s']:9.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="folder or hub id; default: random weights of the true size")
    parser.add_argument("--cameras", type=int, default=2, help="of the random checkpoint (default: 2)")
    parser.add_argument("--chunk-size", type=int, default=50, help="of the random checkpoint (default: 50)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--threads", type=int, help="of torch (default: all cores)")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.checkpoint
        if not folder:
            folder = Path(temporary)
            write_random_checkpoint(folder, args.cameras, args.chunk_size, bfloat16=True)
        figures = run(args, folder)
    show(figures)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
