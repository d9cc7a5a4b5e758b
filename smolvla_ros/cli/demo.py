"""Show the simulated arm doing what published instructions say; writes pictures of it.

    smolvla-ros demo
    smolvla-ros demo --output pictures --bag session

Exit code 0 if every instruction was carried out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .live import refuse_beside_another_arm

# (instruction, task, colour, place): no wording twice.
INSTRUCTIONS = (
    ("put the red cube on the plate", "place", "red", "plate"),
    ("reach for the blue block", "touch", "blue", ""),
    ("pick up the yellow one", "pick", "yellow", ""),
    ("please drop the green box into the bin", "place", "green", "bin"),
    ("Do not touch the red cube.", "stay", "", ""),
    ("can you grab the blue cube and put it in the basket", "place", "blue", "bin"),
)
VIEWER_TOPIC = "viewer/image_raw"
LINGER_S = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `demo`."""
    parser.add_argument("--output", type=Path, default=Path("demo"), metavar="DIR",
                        help="folder of the pictures (default: demo)")
    parser.add_argument("--bag", default="", metavar="BAG", help="record everything to a new bag in this folder")
    parser.add_argument("--view", action="store_true", help="serve the live view meanwhile, and print its address")
    parser.add_argument("--seed", type=int, default=1, help="of the worlds (default: 1)")


def run(args: argparse.Namespace) -> int:
    """Runs one episode for each instruction; 0 if all succeeded."""
    from rich.console import Console

    from smolvla_ros.bringup import ArmOptions
    from smolvla_ros.evaluation.episodes import Episode, Task
    from smolvla_ros.evaluation.operator import Operator, to_array
    from smolvla_ros.evaluation.pictures import Scene, save_animation, save_strip
    from smolvla_ros.evaluation.report import got_to, table
    from smolvla_ros.evaluation.run import run as run_tasks
    from smolvla_ros.sim.tasks import Asked

    console = Console()
    episodes: list[Episode] = []
    scenes: list[Scene] = []

    def on_episode(operator: Operator, episode: Episode) -> None:
        episodes.append(episode)
        args.signals.kept = f"{len(episodes)} of {len(tasks)} instructions were tried, no pictures were written"
        verdict = f"{episode.time_s:.1f} s" if episode.success else got_to(episode)
        frames = list(operator.frames)
        times_s = [frame.header.stamp.sec + 1e-9 * frame.header.stamp.nanosec for frame in frames]
        scenes.append(
            Scene([to_array(frame) for frame in frames], times_s, episode.task.instruction, verdict, episode.success)
        )

    tasks = [
        Task(2_000_000_000 + 100 * args.seed + i, Asked(*asked), text)
        for i, (text, *asked) in enumerate(INSTRUCTIONS)
    ]
    options = ArmOptions(log_level="error", bag=args.bag, view=args.view, episodes=False)
    args.namespace = ""
    refuse_beside_another_arm(args)
    exit_code = run_tasks(options, tasks, on_episode, console, watch=VIEWER_TOPIC, linger_s=LINGER_S)
    if len(episodes) < len(tasks):
        return exit_code or 1
    args.output.mkdir(parents=True, exist_ok=True)
    save_strip(args.output / "strip.png", scenes)
    save_animation(args.output / "demo.webp", scenes)
    console.print(table(episodes))
    console.print(f"pictures: {args.output / 'strip.png'}, {args.output / 'demo.webp'}")
    say = 'smolvla-ros say "put the red cube on the plate"'
    console.print(f"next: `smolvla-ros arm` in one terminal, `{say}` in another", soft_wrap=True)
    return 0 if all(episode.success for episode in episodes) else 1
