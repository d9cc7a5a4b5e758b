"""Anything at all over DDS to the three nodes, then random stops, pauses and deaths around a controller in motion.

    python benchmarks/wire_fuzz.py --messages 20000 --cycles 200 --json wire.json

Thin over test/support: every message has one to four hostile fields, from a seed, and goes to a topic or a service.
Good data come between, so that the nodes work meanwhile. Asserted all the time: I1 to I8 as they are seen on the wire
(commands finite, inside the limits of position, speed and acceleration, first command where the arm is, rows that add
up, reasons for holds), that the processes live, and that nothing of what they log is a bug. Printed: how soon a node
answers (the controller: its stop), beside a service of another process that does nothing: the machine's part in it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

TEST = Path(__file__).parent.parent / "test"
sys.path[:0] = [str(TEST / "support"), str(TEST / "fixtures")]

import rclpy  # noqa: E402
from arms import LOOPBACK_UDP  # noqa: E402
from controller_world import Monitor, World  # noqa: E402
from domain_coordinator import domain_id  # noqa: E402
from fuzzed_nodes import fuzz_controller, fuzz_policy, fuzz_sim  # noqa: E402
from machine import machine  # noqa: E402
from wire_cycles import Cycles, in_ms  # noqa: E402

from smolvla_ros.installation import find_ros_in_virtual_environment  # noqa: E402

FUZZED = {"controller": fuzz_controller, "policy": fuzz_policy, "sim": fuzz_sim}
BUGS = ("internal error", "Traceback", "bug")


def fuzz(name: str, messages: int, seed: int) -> dict[str, object]:
    """One node under so many messages."""
    with tempfile.TemporaryDirectory() as folder:
        monitor = Monitor()
        world = World(Path(folder), monitor)
        try:
            process, sent = FUZZED[name](world, messages, seed)
            lives = process.child.poll() is None
            bugs = [line for line in process.log.splitlines() if any(word in line for word in BUGS)]
        except AssertionError:
            print(world.stacks(), file=sys.stderr)
            raise
        finally:
            world.close()
            monitor.close()
    target, bare = sent.target, sent.bare
    row = {"node": name, "messages": sum(sent.sent.values()), "following": monitor.following, "lives": lives,
           "bugs": bugs, "unsafe": monitor.problems, "answered": in_ms(target.answers_s), "lost": target.lost,
           "bare": in_ms(bare.answers_s), "bare_lost": bare.lost}  # fmt: skip
    following = f"{monitor.following:.0%}" if monitor.statuses else "-"  # the controller's alone are listened to
    cells = (name, row["messages"], following, lives, len(bugs), len(monitor.problems),
             row["answered"], target.lost, row["bare"], bare.lost)  # fmt: skip
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    return row


def cycle(cycles: int, seed: int) -> dict[str, object]:
    """So many random cycles."""
    with tempfile.TemporaryDirectory() as folder:
        monitor = Monitor()
        world = World(Path(folder), monitor)
        try:
            lives = Cycles(world, seed)
            lives.run(cycles)
        finally:
            world.close()
            monitor.close()
    row = {"cycles": dict(lives.done), "commands": len(monitor.commands), "unsafe": monitor.problems,
           "answered": in_ms(lives.watch.answers_s), "bare": in_ms(lives.watch.bare_s)}  # fmt: skip
    print(f"{cycles} cycles {row['cycles']}: {row['commands']} commands, {len(monitor.problems)} unsafe; "
          f"stop answered {row['answered']}; bare service {row['bare']}", flush=True)  # fmt: skip
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000, help="to each node (default: %(default)s)")
    parser.add_argument("--nodes", nargs="+", default=list(FUZZED), choices=list(FUZZED), metavar="NODE")
    parser.add_argument("--cycles", type=int, default=200, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    arguments = parser.parse_args()
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}")
    rows: list[dict[str, object]] = []
    find_ros_in_virtual_environment()
    with domain_id() as domain:
        os.environ |= LOOPBACK_UDP | {"ROS_DOMAIN_ID": str(domain), "PYTHONFAULTHANDLER": "1"}
        rclpy.init()
        if arguments.messages:
            print("| node | messages | following | lives | bugs | unsafe | answered | lost | bare service | lost |")
            print("|---|---:|---:|---|---:|---:|---|---:|---|---:|")
            rows += [fuzz(name, arguments.messages, arguments.seed) for name in arguments.nodes]
        if arguments.cycles:
            rows.append(cycle(arguments.cycles, arguments.seed))
        rclpy.try_shutdown()
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if any(row["unsafe"] or row.get("bugs") or row.get("lives") is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
