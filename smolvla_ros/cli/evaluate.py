"""Measure the success rate on the simulated arm, over ROS topics.

    smolvla-ros evaluate --task place --episodes 24 --seed 7
    smolvla-ros evaluate --bus emulated --episodes 24 --json figures.json

Starts the processes of `smolvla-ros demo`, lays out a new world for each episode, publishes an instruction and lets
the simulation's contacts decide. Refuses beside an arm that is up already. The same --seed gives the same
worlds and instructions.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from smolvla_ros.parameters.sim import TaskName

from .live import refuse_beside_another_arm

if TYPE_CHECKING:
    from smolvla_ros.evaluation.episodes import Episode
    from smolvla_ros.evaluation.operator import Operator


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `evaluate`."""
    parser.add_argument("--task", choices=get_args(TaskName), default="touch",
                        help="what is asked for (default: touch)")
    parser.add_argument("--episodes", type=_positive, default=20, metavar="N", help="how many (default: 20)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of worlds and wordings (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--checkpoint", default="", help="folder or hub id of the policy; default: the one that ships")
    parser.add_argument("--robot", default="", help="robot config, as of `smolvla-ros arm`")
    parser.add_argument("--bus", choices=("emulated",), default="", help="over a servo bus, as of `smolvla-ros arm`")
    parser.add_argument("--namespace", default="", help="namespace of all nodes and topics")


def run(args: argparse.Namespace) -> int:
    """Runs the episodes; 0 if all were run, whatever the rate."""
    from rich.console import Console

    from smolvla_ros.bringup import ArmOptions
    from smolvla_ros.evaluation.episodes import draw_tasks, summary
    from smolvla_ros.evaluation.report import table
    from smolvla_ros.evaluation.run import run as run_tasks

    console = Console()
    episodes: list[Episode] = []
    options = ArmOptions(robot=args.robot, checkpoint=args.checkpoint, namespace=args.namespace, log_level="error",
                         episodes=False, bus=args.bus)  # fmt: skip
    tasks = draw_tasks(args.episodes, args.seed, args.task)

    def on_episode(operator: Operator, episode: Episode) -> None:
        episodes.append(episode)
        args.signals.kept = f"{len(episodes)} of {len(tasks)} episodes were done, no figures were written"

    refuse_beside_another_arm(args)
    exit_code = run_tasks(options, tasks, on_episode, console)
    if len(episodes) < len(tasks):
        return exit_code or 1
    failures = [episode for episode in episodes if not episode.success]
    if failures:
        console.print(table(failures))
    figures = summary(episodes)
    console.print_json(data=figures)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    return exit_code


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"is '{text}', expected a whole number of at least 1")
    return int(text)
