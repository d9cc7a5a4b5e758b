"""Record what a robot does: its cameras, joints and commands, and all that policy and controller say.

    smolvla-ros record --robot my_arm.yaml --out session
    smolvla-ros record --out session --namespace left

The bag holds all that `smolvla-ros replay` needs to explain the run. Ends with Ctrl-C; the bag is then closed and a
table tells what was recorded and what was lost. Exit code 130 after Ctrl-C, as of every
command; 1 if the recording had to end by itself.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from smolvla_ros.bringup.options import LOG_LEVELS

if TYPE_CHECKING:
    import threading

    from smolvla_ros.bags.recording.losses import Losses

# So few messages have no rate.
_FEW = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `record`."""
    parser.add_argument("--robot", default="so101_sim", metavar="CONFIG",
                        help="robot config: the name of a shipped one or a YAML file (default: so101_sim)")
    parser.add_argument("--out", type=Path, metavar="BAG",
                        help="folder of the new bag (default: bag_ and the time)")
    parser.add_argument("--namespace", default="", help="namespace of the robot")
    parser.add_argument("--topics", nargs="+", default=[], metavar="TOPIC", help="further topics, of any type")
    parser.add_argument("--max-gb", type=float, default=0.0, metavar="GB", help="end at this size (default: no limit)")
    parser.add_argument("--min-free-gb", type=float, default=0.5, metavar="GB",
                        help="end when the disk has less left (default: 0.5)")
    parser.add_argument("--log-level", default="info", choices=LOG_LEVELS, help="log level of the recorder")
    parser.add_argument("--use-sim-time", action="store_true", help="log times are those of /clock")


def run(args: argparse.Namespace) -> int:
    """Records until a signal; 1 if the disk or the size limit ended the recording, 2 if it cannot begin."""
    from smolvla_ros.bags.errors import BagError
    from smolvla_ros.bags.recording.plan import wanted_topics
    from smolvla_ros.bags.recording.recording import Limits, Recording
    from smolvla_ros.bringup.supervisor import supervise
    from smolvla_ros.parameters.controller import ControllerParameters

    from .robot_option import read_node_parameters, read_robot

    parameters = read_node_parameters(args.robot, "/controller_node", ControllerParameters)
    wanted = wanted_topics(read_robot(args.robot), parameters, args.topics)
    folder = (args.out or Path(time.strftime("bag_%Y-%m-%d_%H-%M-%S"))).absolute()
    limits = Limits(most=round(args.max_gb * 1e9), reserve=round(args.min_free_gb * 1e9))
    args.signals.kept = "nothing was recorded"

    def work(stop: threading.Event) -> int:
        from smolvla_ros.nodes.recorder_node import record

        try:
            recording = Recording(folder, limits)
        except BagError as error:
            print(f"smolvla-ros record: {error}", file=sys.stderr)
            return 2
        print(f"recording to {folder}; Ctrl-C ends it", flush=True)
        args.signals.kept = f"{folder} ends here and may lack its index"
        losses = record(recording, wanted, stop, args.namespace, args.use_sim_time, args.log_level)
        args.signals.kept = f"the bag {folder} is whole"
        _report(folder, losses, recording.size_bytes)
        if recording.ended:
            print(f"recording ended: {recording.ended}", file=sys.stderr)
        return 1 if recording.ended else 0

    return supervise((), work)


def _report(folder: Path, losses: dict[str, Losses], size_bytes: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{folder} · {size_bytes / 1e6:.1f} MB", title_justify="left")
    table.add_column("topic")
    for name in ("messages", "per second", "never arrived", "not written", "gaps", "longest gap [s]"):
        table.add_column(name, justify="right")
    def bad(count: int) -> str:
        return f"[bold red]{count}" if count else "0"

    for topic, of in losses.items():
        gap = f"{of.longest_gap_s:.3f}" if of.gaps else ""
        recorded = str(of.recorded) if of.recorded else "[bold red]0"
        rate = f"{of.rate_hz:.1f}" if of.recorded > _FEW else ""
        table.add_row(topic, recorded, rate, bad(of.lost), bad(of.dropped), bad(of.gaps), gap)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
