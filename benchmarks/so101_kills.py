"""Driver, controller and policy of an SO-101 are killed at random instants; what its emulated servos were told.

    python benchmarks/so101_kills.py --kills 60 --json so101_kills.json

The arm moves all the time: chunks by a stand-in for the policy, the controller, the driver, six emulated servos. One of
the three processes gets SIGKILL at a random instant, and is started anew a random time later, whatever state that
leaves the others in. Every goal that is written to a servo is noted: the largest step from the goal before, over
all writes, and over those that come first after a process was killed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import rclpy
from domain_coordinator import domain_id
from machine import machine
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import JointState

from smolvla_ros.drivers.calibration import JOINTS, RAD_PER_TICK, read_calibration
from smolvla_ros.drivers.servo_emulator import EmulatedBus
from smolvla_ros.drivers.servo_registers import TORQUE_ENABLE
from smolvla_ros.installation import executable, find_ros_in_virtual_environment, share_folder
from smolvla_ros.msg import ActionChunk

VICTIMS = ("so101_node", "controller_node", "policy")
ROWS, STEP_S, SPEED_RAD_S = 20, 0.05, 0.8
MIDDLES_RAD = (0.0, 0.0, 0.0, 0.0, 0.0, 0.785)
_START_TIMEOUT_S = 60.0
_MOVED_TICKS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60, help="how many (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="of victims and instants (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    parser.add_argument("--policy", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    find_ros_in_virtual_environment()
    if args.policy:
        run_policy()
        return
    sys.setswitchinterval(1e-4)  # the emulator shares this interpreter
    described = machine()
    print(described)
    with domain_id() as domain:
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        figures = {"machine": described, **measured(args.kills, random.Random(args.seed))}
    print(json.dumps(figures, indent=2))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


class NotedBus(EmulatedBus):
    """Notes the steps of goals, and torque that goes off."""

    largest_step = largest_first_step = released = written = 0
    is_first = False  # the next write is the first after a kill

    def _sync_write(self, parameters: bytes) -> None:
        before = [one.goal if one.torque else round(one.position) for one in self._servos.values()]
        super()._sync_write(parameters)
        step = max(abs(one.goal - goal) for one, goal in zip(self._servos.values(), before, strict=True))
        self.largest_step = max(self.largest_step, step)
        if self.is_first:
            self.largest_first_step, self.is_first = max(self.largest_first_step, step), False
        self.written += 1

    def _write(self, servo: int, parameters: bytes) -> None:
        self.released += parameters[0] == TORQUE_ENABLE[0] and not parameters[1]
        super()._write(servo, parameters)


def measured(kills: int, rng: random.Random) -> dict[str, object]:
    """Kills, restarts, and what the servos were told meanwhile."""
    file = share_folder() / "config" / "so101_sim_calibration.json"
    motors = read_calibration(file)
    middle = {motor.id: (motor.range_min + motor.range_max) // 2 for motor in motors.values()}
    killed, kept, recovery_s = dict.fromkeys(VICTIMS, 0), 0, []
    with NotedBus(middle) as bus:
        bus.calibrate(motors.values())
        commands = {
            "so101_node": [executable("so101_node"), "--ros-args", "-p", f"port:={bus.port}",
                           "-p", f"calibration:={file}", "--log-level", "fatal"],
            "controller_node": [executable("controller_node"), "--ros-args", "--params-file",
                                share_folder() / "config" / "so101_sim.yaml", "--log-level", "fatal"],
            "policy": [__file__, "--policy"],
        }  # fmt: skip
        running = {name: started(command) for name, command in commands.items()}
        try:
            wait_for_motion(bus)
            for _ in range(kills):
                time.sleep(rng.uniform(0.2, 1.5))
                victim = rng.choice(VICTIMS)
                running[victim].kill()
                running[victim].wait()
                killed[victim] += 1
                goals = [bus.goal(servo) for servo in middle]
                bus.is_first = True
                time.sleep(rng.uniform(0.0, 1.0))
                if victim == "so101_node":
                    kept += goals == [bus.goal(servo) for servo in middle] and all(map(bus.torque, middle))
                begin_s = time.monotonic()
                running[victim] = started(commands[victim])
                wait_for_motion(bus)
                recovery_s.append(time.monotonic() - begin_s)
        finally:
            for process in running.values():
                process.kill()
                process.wait()
    return {
        "kills": killed, "goals_written": bus.written, "goals_kept_while_the_driver_was_dead": kept,
        "torque_taken_off": bus.released, "largest_step_rad": bus.largest_step * RAD_PER_TICK,
        "largest_first_step_after_a_kill_rad": bus.largest_first_step * RAD_PER_TICK,
        "in_motion_again_s": max(recovery_s),
    }  # fmt: skip


def started(command: list[object]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, *map(str, command)])


def wait_for_motion(bus: EmulatedBus) -> None:
    """Until a goal has moved on by some ticks."""
    give_up_s, at = time.monotonic() + _START_TIMEOUT_S, bus.goal(1)
    while abs(bus.goal(1) - at) < _MOVED_TICKS or not bus.torque(1):
        if time.monotonic() > give_up_s:
            raise SystemExit(f"no motion within {_START_TIMEOUT_S:g} s")
        time.sleep(0.02)


class Wanderer(Node):
    """Every 250 ms a chunk of 1 s from where the arm is towards a goal that wanders: a stand-in for the policy."""

    def __init__(self) -> None:
        super().__init__("policy_node")
        self._session, self._sequence = random.getrandbits(63) + 1, 0
        self._state: JointState | None = None
        self.create_subscription(JointState, "joint_states", self._take, qos_profile_sensor_data)
        self._chunks = self.create_publisher(ActionChunk, "action_chunk", 1)
        self.create_timer(0.25, self._infer)

    def _take(self, state: JointState) -> None:
        self._state = state

    def _infer(self) -> None:
        if self._state is None or len(self._state.name) != len(JOINTS):
            return
        self._sequence += 1
        message = ActionChunk(session=self._session, sequence=self._sequence, rows=ROWS, joint_names=self._state.name)
        message.header.stamp = message.image_stamp = self.get_clock().now().to_msg()
        message.step = Duration(seconds=STEP_S).to_msg()
        row, now_s = list(self._state.position), time.time()
        for index in range(ROWS):
            away = [0.4 * math.sin(now_s + index * STEP_S + joint) for joint in range(len(row))]
            goals = [middle + one for middle, one in zip(MIDDLES_RAD, away, strict=True)]
            limit = SPEED_RAD_S * STEP_S if index else 0.0
            row = [q + max(-limit, min(limit, goal - q)) for q, goal in zip(row, goals, strict=True)]
            message.positions.extend(row)
        self._state = None  # no chunk without a newer observation
        self._chunks.publish(message)


def run_policy() -> None:
    rclpy.init()
    rclpy.spin(Wanderer())


if __name__ == "__main__":
    main()
