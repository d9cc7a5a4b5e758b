"""An arm and its policy on two machines: what the link carries, and how the arm moves over a bad one.

    python benchmarks/network.py [--seconds 6] [--json FILE]        as root: it makes network namespaces

Sizes are those of serialized messages. Over the link go a fake policy's chunks (4 a second), joint states, status of a
fake arm and a camera of 30 kB pictures at 30 Hz, with the profile that ships (config/network/two_machines.xml); one row
for each condition, the last with five seconds of a link that is down.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUPPORT = ROOT / "test" / "support"
sys.path.insert(0, str(SUPPORT))

from arms import PROFILE_VARIABLES  # noqa: E402
from bad_link import BadLink, Conditions, missing  # noqa: E402
from machine import machine  # noqa: E402
from rclpy.serialization import serialize_message  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image, JointState  # noqa: E402

from smolvla_ros.installation import find_ros_in_virtual_environment  # noqa: E402
from smolvla_ros.msg import ActionChunk, ExecutionStatus  # noqa: E402

PICTURE_BYTES = 30_000  # of a JPEG of 640x480 at quality 80 to 90
CONDITIONS = (
    ("a cable", Conditions()),
    ("20 ms, 1 % lost", Conditions(delay_s=0.02, jitter_s=0.01, loss=0.01)),
    ("20 ms, 5 % lost", Conditions(delay_s=0.02, jitter_s=0.01, loss=0.05)),
    ("60 ms, 3 % lost", Conditions(delay_s=0.06, jitter_s=0.03, loss=0.03)),
    ("20 ms, 3 % lost, 5 s down", Conditions(delay_s=0.02, jitter_s=0.01, loss=0.03)),
)
PARTITION_S = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement (default: 6)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    args = parser.parse_args()
    if problem := missing():
        sys.exit(f"no network namespaces here: {problem}")
    find_ros_in_virtual_environment()
    result = {"machine": machine(), "messages": message_rows(), "links": []}
    print(result["machine"])
    for row in result["messages"]:
        print(f"{row['message']:36} {row['octets']:8} bytes, {row['per_s']:5g} Hz: {row['mbit_per_s']:8.3f} Mbit/s")
    for name, conditions in CONDITIONS:
        row = {"link": name, **measured(conditions, args.seconds, partitions=int("down" in name))}
        result["links"].append(row)
        print(json.dumps(row))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


def message_rows() -> list[dict[str, str | float]]:
    """Bytes of the messages of an arm with six joints, without the headers of RTPS, UDP and IP (about 100 a packet)."""
    names = [f"joint_{k}" for k in range(6)]
    chunk = ActionChunk(joint_names=names, rows=50, positions=[0.0] * 300, instruction="put the red cube into the box")
    joints = JointState(name=names, position=[0.0] * 6, velocity=[0.0] * 6, effort=[0.0] * 6)
    raw = Image(encoding="rgb8", height=480, width=640, step=1920, data=bytes(640 * 480 * 3))
    jpeg = CompressedImage(format="jpeg", data=bytes(PICTURE_BYTES))
    sizes = (
        ("camera 640x480, raw", raw, 30.0), ("camera 640x480, JPEG of 30 kB", jpeg, 30.0),
        ("joint states", joints, 100.0), ("action chunk, 50 rows of 6 joints", chunk, 4.0),
        ("execution status", ExecutionStatus(), 30.0),
    )  # fmt: skip
    rows = []
    for name, message, per_s in sizes:
        octets = len(serialize_message(message))
        rows.append({"message": name, "octets": octets, "per_s": per_s, "mbit_per_s": 8e-6 * octets * per_s})
    return rows


def measured(conditions: Conditions, seconds: float, partitions: int) -> dict[str, object]:
    """What the arm's machine found, and what the link carried meanwhile."""
    profile = dict.fromkeys(PROFILE_VARIABLES, str(ROOT / "config" / "network" / "two_machines.xml"))
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder, BadLink(conditions, seed=1) as link:
        policy, arm = link.names
        command = [sys.executable, SUPPORT / "bad_link.py", arm, SUPPORT / "two_machines.py", policy, folder]
        scene = subprocess.Popen(
            [*map(str, command), str(seconds), str(partitions), str(PICTURE_BYTES)], stdout=subprocess.PIPE, text=True,
            env={**os.environ, **profile, "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"},
        )  # fmt: skip
        before, down_s = (0, 0), 0.0
        try:
            for line in scene.stdout:
                carried = tuple(count.octets for count in link.carried)
                if line == "moving\n":
                    before = carried
                elif line == "measured\n":
                    for name, now, then in zip(("to_arm", "to_policy"), carried, before, strict=True):
                        found[f"{name}_mbit_per_s"] = round(8e-6 * (now - then) / seconds, 3)
                    link.conditions.up, down_s = not partitions, time.monotonic()
                elif line == "held\n":
                    time.sleep(max(0.0, down_s + PARTITION_S - time.monotonic()))
                    link.conditions.up = True
                elif line.startswith("{"):
                    found |= {k: round(v, 3) if isinstance(v, float) else v for k, v in json.loads(line).items()}
        finally:
            scene.terminate()
            scene.wait()
    return found


if __name__ == "__main__":
    main()
