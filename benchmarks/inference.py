"""How long one chunk takes, against LeRobot's own SmolVLA where that is installed: all sides in turn, round by round.

    python benchmarks/inference.py                                    # random weights of the true size, two cameras
    python benchmarks/inference.py --lerobot /path/to/its/python      # beside LeRobot, in its own environment
    python benchmarks/inference.py --checkpoint checkpoints/demo --dtype float32 --dtype auto

Every side is a process of its own and gets the same pictures, state and noise; new pictures every round. The first
chunk after loading is told apart. Alone on the machine, please. Random weights take as long as trained ones.
`deviation` is the largest difference of a normalised action from the first row's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from inference_contender import IMAGE_SHAPE, INSTRUCTION
from machine import machine
from rich.console import Console
from rich.table import Table

from smolvla_ros.model import SmolVLAConfig, SmolVLANetwork, Training, save_checkpoint, train_tokenizer

_CONTENDER = Path(__file__).with_name("inference_contender.py")
_FIRST = 1_000_000  # number of the round that is not counted


def write_random_checkpoint(folder: Path, cameras: int, chunk_size: int) -> None:
    """A checkpoint of SmolVLM2-500M's sizes with random weights in LeRobot's own mix of types (0.9 GB)."""
    features = tuple(f"observation.images.camera{i + 1}" for i in range(cameras))
    config = SmolVLAConfig(
        image_features=features, chunk_size=chunk_size, n_action_steps=chunk_size, load_vlm_weights=True
    )
    spread = {"mean": torch.linspace(-1, 1, 6), "std": torch.linspace(1, 2, 6)}
    statistics = {"observation.state": spread, "action": spread}
    shapes = dict.fromkeys(features, (3, *IMAGE_SHAPE[:2]))
    network = SmolVLANetwork(config).use_mixed_precision()
    save_checkpoint(folder, network, train_tokenizer([INSTRUCTION] * 4), Training(statistics, shapes, [], [], 30))
    (folder / "spread.json").write_text(json.dumps({name: values.tolist() for name, values in spread.items()}))


@dataclass
class Side:
    """One process that makes chunks, and what it told so far."""

    who: str
    dtype: str
    process: subprocess.Popen[str]
    actions: Path
    facts: dict[str, Any] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    rounds: list[dict[str, float]] = field(default_factory=list)
    deviation: float = 0.0

    @classmethod
    def start(cls, who: str, dtype: str, python: str, folder: Path, args: argparse.Namespace) -> Side:
        actions = args.scratch / f"{who}_{dtype}.npy"
        command = [
            python, str(_CONTENDER), who, str(folder), "--dtype", dtype, "--device", args.device,
            "--threads", str(args.threads), "--steps", str(args.steps), "--actions", str(actions),
        ]  # fmt: skip
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=args.log, text=True, env=environment
        )
        side = cls(who, dtype, process, actions)
        side.facts = side._answer()
        side.first = side.chunk(_FIRST)
        return side

    def chunk(self, number: int) -> dict[str, float]:
        assert self.process.stdin
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.who} {self.dtype} ended with code {self.process.wait()}; its log is --log")
        return dict(json.loads(line))

    def row(self, args: argparse.Namespace) -> dict[str, Any]:
        """What `--json` holds for it; medians but where said."""
        columns = {name: np.array([one[name] for one in self.rounds]) for name in self.rounds[0]}
        total = columns["total_ms"]
        return {
            "who": self.who, "dtype": self.dtype, "device": args.device, "threads": args.threads,
            "cameras": self.facts["cameras"], "steps": self.facts["steps"],
            "p50_ms": float(np.median(total)), "p95_ms": float(np.percentile(total, 95)),
            "p99_ms": float(np.percentile(total, 99)), "first_ms": self.first["total_ms"],
            **{name: float(np.median(columns[name])) for name in ("vision_ms", "prefix_ms", "step_ms")},
            "deviation": self.deviation, "rss_mb": float(columns["rss_mb"].max()), "load_s": self.facts["load_s"],
            "detail": self.facts["detail"],
        }  # fmt: skip


def measure(sides: list[Side], rounds: int) -> None:
    """All sides in turn, so that what else the machine does meets all of them."""
    for number in range(rounds):
        for side in sides:
            side.rounds.append(side.chunk(number))
            difference = np.abs(np.load(side.actions) - np.load(sides[0].actions)).max()
            side.deviation = max(side.deviation, float(difference))


def show(rows: list[dict[str, Any]]) -> None:
    """The rows for people; ratios to LeRobot as shipped where it is there, else to the first row."""
    shipped = next((row for row in rows if (row["who"], row["dtype"]) == ("lerobot", "shipped")), rows[0])
    console = Console(width=130)
    stages = ("vision", "prefix", "step", "first")
    table = Table("who", "dtype", "p50", "p99", "ratio", *stages, "load", "memory", "deviation")
    for row in rows:
        times = (f"{row[f'{stage}_ms']:.0f} ms" for stage in stages)
        table.add_row(
            row["who"], row["dtype"], f"{row['p50_ms']:.0f} ms", f"{row['p99_ms']:.0f} ms",
            f"{row['p50_ms'] / shipped['p50_ms']:.2f}", *times, f"{row['load_s']:.1f} s", f"{row['rss_mb']:.0f} MB",
            f"{row['deviation']:.1e}",
        )  # fmt: skip
    first = rows[0]
    console.print(f"{machine()}, {first['threads']} threads, {first['cameras']} cameras, {first['steps']} steps")
    console.print(table)
    for row in rows:
        console.print(f"{row['who']} {row['dtype']}: {row['detail']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="folder; default: random weights of the true size")
    parser.add_argument("--cameras", type=int, default=2, help="of the random checkpoint (default: 2)")
    parser.add_argument("--chunk-size", type=int, default=50, help="of the random checkpoint (default: 50)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", action="append", help="of ours; may be repeated (default: float32 and auto)")
    parser.add_argument("--lerobot", metavar="PYTHON", help="interpreter of an environment with LeRobot")
    parser.add_argument("--lerobot-dtype", action="append", choices=("shipped", "float32"), help="default: both")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores")
    parser.add_argument("--steps", type=int, default=0, help="of the sampler; default: the checkpoint's")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    parser.add_argument("--log", type=Path, default=Path(os.devnull), help="what the sides say besides")
    args = parser.parse_args()
    sides: list[Side] = []
    with tempfile.TemporaryDirectory() as temporary, args.log.open("w") as args.log:
        args.scratch = Path(temporary)
        folder = args.checkpoint
        if not folder:
            folder = args.scratch / "checkpoint"
            write_random_checkpoint(folder, args.cameras, args.chunk_size)
        wanted = [("smolvla_ros", dtype, sys.executable) for dtype in args.dtype or ["float32", "auto"]]
        if args.lerobot:
            wanted += [("lerobot", dtype, args.lerobot) for dtype in args.lerobot_dtype or ["shipped", "float32"]]
        for who, dtype, python in wanted:
            sides.append(Side.start(who, dtype, python, folder, args))
        measure(sides, args.rounds)
        for side in sides:
            assert side.process.stdin
            side.process.stdin.close()
            side.process.wait()
    rows = [side.row(args) for side in sides]
    show(rows)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
