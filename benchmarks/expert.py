"""How many tasks the scripted expert does behind the nodes' controller, in virtual time, with 3 to 6 ticks of latency.

    python benchmarks/expert.py --episodes 200 [--seed 0] [--json FILE]

It labels what the demo policy learns from, so its failures are a bound of the policy's success.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from machine import machine

from smolvla_ros.sim.evaluation import evaluate_tasks
from smolvla_ros.sim.policies import ManipulatorPolicy
from smolvla_ros.sim.tasks import TASKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=200, help="of each task (default: 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--task", choices=[*TASKS], action="append", help="default: touch, pick and place")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    print(machine())
    result = {}
    for name in args.task or ["touch", "pick", "place"]:
        figures = evaluate_tasks(ManipulatorPolicy, [name], args.episodes, args.seed)[name]
        result[name] = asdict(figures)
        print(f"{name}: {figures}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
