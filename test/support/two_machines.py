"""Controller, fake arm and monitor in this network namespace, a fake policy in another one; the result as JSON.

    python bad_link.py ARM_NAMESPACE two_machines.py POLICY_NAMESPACE FOLDER SECONDS PARTITIONS [PICTURE_BYTES]

With PICTURE_BYTES a camera sends pictures of that size, at 30 Hz as a policy hears them (best effort).

Prints "moving" once chunks move the arm and have done so for SECONDS; with PARTITIONS 1 the link is then to go down, of
which it says "held" or why not, and to come up again. The last line is the result.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import rclpy
from controller_world import HERE, Monitor, World
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import UInt32

from smolvla_ros.msg import ExecutionStatus as Status

RATE_HZ = 30.0


def main() -> None:
    policy_namespace, folder, seconds, partitions = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    rclpy.init()
    monitor = Monitor()
    world = World(folder, monitor)
    try:
        world.arm()
        world.controller()
        monitor.wait_for_commanders(1)
        world._start("policy", Path(__file__).with_name("bad_link.py"), policy_namespace, HERE / "fake_policy.py")
        pictures = _Pictures(world, policy_namespace, int(sys.argv[5])) if len(sys.argv) > 5 else None
        print(json.dumps(_observed(monitor, seconds, partitions, pictures)), flush=True)
    except AssertionError as problem:
        print(world.logs(), file=sys.stderr)
        print(json.dumps({"problems": [str(problem)]}), flush=True)
    finally:
        world.close()
        monitor.close()
        rclpy.try_shutdown()


class _Pictures:
    """A camera, and how many of its pictures came to the other machine."""

    def __init__(self, world: World, policy_namespace: str, size: int) -> None:
        self.sent, self.came = 0, 0
        data = np.random.default_rng(0).integers(0, 256, size, np.uint8).tobytes()
        message = CompressedImage(format="jpeg", data=data)
        publisher = world.monitor.create_publisher(CompressedImage, "picture", qos_profile_sensor_data)
        here = Path(__file__)
        world._start("counter", here.with_name("bad_link.py"), policy_namespace, here.with_name("picture_counter.py"))
        world.monitor.create_subscription(UInt32, "pictures_counted", self._note, 1)
        world.monitor.wait_until(lambda: publisher.get_subscription_count() == 1, "found the counter")

        def send() -> None:
            message.header.stamp = world.monitor.get_clock().now().to_msg()
            publisher.publish(message)
            self.sent += 1

        world.monitor.create_timer(1.0 / RATE_HZ, send)

    def _note(self, counted: UInt32) -> None:
        self.came = counted.data


def _observed(monitor: Monitor, seconds: float, partitions: int, pictures: _Pictures | None) -> dict[str, object]:
    monitor.wait_for(Status.FOLLOWING, timeout_s=30.0)
    monitor.wait_until(lambda: monitor.status.chunks_merged >= 3, "three chunks")
    first, begin = monitor.status, len(monitor.statuses)
    sent, came = (pictures.sent, pictures.came) if pictures else (0, 0)
    print("moving", flush=True)
    time.sleep(seconds)
    last, seen = monitor.status, monitor.statuses[begin:]
    found = {
        "following": sum(status.state == Status.FOLLOWING for status in seen) / max(1, len(seen)),
        "chunks_per_s": (last.chunks_merged - first.chunks_merged) / seconds,
        "chunk_age_p95_ms": 1e3 * float(np.percentile([status.action_age_s for status in seen], 95)),
    }
    if pictures:
        found["pictures_per_s"] = (pictures.came - came) / seconds
        found["pictures_came"] = (pictures.came - came) / max(1, pictures.sent - sent)
    print("measured", flush=True)
    for _ in range(partitions):
        monitor.wait_for(Status.HOLDING, Status.CHUNK_EXHAUSTED)
        monitor.wait_until(lambda: monitor.speed() == 0.0, "at rest", 2.0)
        print("held", flush=True)
        found["resumed_after_s"] = monitor.wait_for(Status.FOLLOWING)
    return {**found, "problems": monitor.problems}


if __name__ == "__main__":
    main()
