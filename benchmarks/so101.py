"""The driver of an SO-101 on an emulated bus: what the bus, the processor and the joint states' age are, and faults.

    python benchmarks/so101.py --seconds 20 --faults 10000 --json so101.json

First the node itself, a process of its own, at 100 Hz with six servos at 1 Mbaud: time on the wire by the emulator's
count of bytes, which is exact, cycles that were missed, the age of joint states when they arrive here (the stamp is
that of the instant before the servos were asked, so the age holds the exchange, the node and DDS), and the node's
processor time. Then faults at random, on the driver's own code with driven time: answers that do not come, are cut
short or have a wrong checksum, alarms, a voltage drop, a servo that dies for a while, a pulled cable. Every goal that
reaches a servo is looked at.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rclpy
from domain_coordinator import domain_id
from machine import machine
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState

from smolvla_ros.drivers.calibration import JOINTS, RAD_PER_TICK, MotorCalibration, read_calibration
from smolvla_ros.drivers.glide import GLIDE_RAD_S
from smolvla_ros.drivers.servo_bus import BusError, ServoBus
from smolvla_ros.drivers.servo_check import ArmError
from smolvla_ros.drivers.servo_emulator import EmulatedBus, Faults
from smolvla_ros.drivers.servo_line import ServoLine
from smolvla_ros.drivers.servo_registers import BAUD_RATE
from smolvla_ros.drivers.so101 import SO101, Reading
from smolvla_ros.installation import executable, find_ros_in_virtual_environment, share_folder
from smolvla_ros.stamps import stamp_ns

PERIOD_S = 0.01
COMMAND_RAD_S = 2.0
KINDS = ("silent", "wrong_checksum", "cut_short", "alarm", "voltage drop", "dead servo", "pulled cable")
_DEAD_CYCLES = 20
_WARM_UP_S = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of the node's measurement (default: 20)")
    parser.add_argument("--faults", type=int, default=10_000, help="how many (default: 10000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    args = parser.parse_args()
    sys.setswitchinterval(1e-4)  # the emulator shares this interpreter
    described = machine()
    print(described)
    find_ros_in_virtual_environment()
    file = share_folder() / "config" / "so101_sim_calibration.json"
    motors = read_calibration(file)
    with domain_id() as domain:
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        node = measured_node(file, motors, args.seconds)
    figures = {"machine": described, "node": node, "faults": measured_faults(motors, args.faults)}
    print(json.dumps(figures, indent=2))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


def standing(motors: dict[str, MotorCalibration]) -> dict[int, int]:
    """All joints in the middle of their ranges, by servo [ticks]."""
    return {motor.id: (motor.range_min + motor.range_max) // 2 for motor in motors.values()}


# The node.


class Watcher(Node):
    """Commands a slow wave at 100 Hz and notes when joint states come."""

    def __init__(self, motors: dict[str, MotorCalibration]):
        super().__init__("watcher")
        self.arrived_ns: list[tuple[int, int]] = []
        self._start_rad = [motors[joint].to_rad(standing(motors)[motors[joint].id]) for joint in JOINTS]
        self._begin_s = time.monotonic()
        self._commands = self.create_publisher(JointState, "joint_command", 1)
        self.create_subscription(JointState, "joint_states", self._on_joint_state, 10)
        self.create_timer(PERIOD_S, self._command)

    def _on_joint_state(self, message: JointState) -> None:
        self.arrived_ns.append((stamp_ns(message.header.stamp), time.time_ns()))

    def _command(self) -> None:
        away = 0.3 * math.sin(time.monotonic() - self._begin_s) if self.arrived_ns else 0.0
        self._commands.publish(JointState(name=list(JOINTS), position=[rad + away for rad in self._start_rad]))


def measured_node(file: Path, motors: dict[str, MotorCalibration], seconds: float) -> dict[str, float]:
    """The figures of `so101_node`."""
    rclpy.init()
    watcher, executor = Watcher(motors), SingleThreadedExecutor()
    executor.add_node(watcher)
    with EmulatedBus(standing(motors)) as bus:
        bus.calibrate(motors.values())
        command = [sys.executable, str(executable("so101_node")), "--ros-args", "-p", f"port:={bus.port}"]
        process = subprocess.Popen([*command, "-p", f"calibration:={file}"])
        try:
            while not bus.torque(1):
                executor.spin_once(timeout_sec=0.1)
            spin_for(executor, _WARM_UP_S)
            watcher.arrived_ns.clear()
            cpu_s, busy_s, begin_s = processor_s(process.pid), bus.busy_s, time.monotonic()
            spin_for(executor, seconds)
            elapsed_s = time.monotonic() - begin_s
            cpu_s, busy_s = processor_s(process.pid) - cpu_s, bus.busy_s - busy_s
        finally:
            process.terminate()
            process.wait()
    executor.shutdown()
    watcher.destroy_node()
    rclpy.shutdown()
    stamps_ns, arrivals_ns = np.array(watcher.arrived_ns).T
    ages_ms, gaps_ms = (arrivals_ns - stamps_ns) * 1e-6, np.diff(stamps_ns) * 1e-6
    cycles = len(stamps_ns)
    return {
        "computed_wire_ms_per_cycle": computed_wire_ms(len(JOINTS)),
        "measured_wire_ms_per_cycle": 1e3 * busy_s / cycles,
        "wire_percent": 100 * busy_s / elapsed_s,
        "rate_hz": cycles / elapsed_s,
        "cycles": cycles,
        "overruns": int((gaps_ms > 1.5 * 1e3 * PERIOD_S).sum()),
        "age_p50_ms": float(np.percentile(ages_ms, 50)),
        "age_p95_ms": float(np.percentile(ages_ms, 95)),
        "age_max_ms": float(ages_ms.max()),
        "processor_percent_of_a_core": 100 * cpu_s / elapsed_s,
        "processor_ms_per_cycle": 1e3 * cpu_s / cycles,
        "load_average": os.getloadavg()[0],
    }


def computed_wire_ms(servos: int) -> float:
    """One sync read of eight bytes and one sync write of two, ten bits for each byte."""
    request, answers, write = 8 + servos, servos * (6 + 8), 8 + 3 * servos
    return 1e3 * 10 * (request + answers + write) / BAUD_RATE


def spin_for(executor: SingleThreadedExecutor, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        executor.spin_once(timeout_sec=0.05)


def processor_s(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# Faults.


class GoalLog(EmulatedBus):
    """Notes what would be unsafe in goals: outside the range, or a jump; and torque that goes off."""

    def watch(self, motors: dict[str, MotorCalibration]) -> None:
        self._ranges = {motor.id: (motor.range_min, motor.range_max) for motor in motors.values()}
        self._last = {servo: one.goal for servo, one in self._servos.items() if one.torque}
        self._unchanged = dict.fromkeys(self._ranges, 1)  # cycles since a goal was last another
        self.outside = self.released = 0
        self.largest_step = 0.0  # per cycle

    def look(self) -> None:
        """After each cycle."""
        with self._lock:
            for servo, one in self._servos.items():
                if not one.torque:
                    self.released += servo in self._last
                    continue
                low, high = self._ranges[servo]
                self.outside += not low <= one.goal <= high
                step = max(0, abs(one.goal - self._last.get(servo, one.goal)) - 1)  # to the nearest tick, twice
                self.largest_step = max(self.largest_step, step / self._unchanged[servo])
                self._unchanged[servo] = 1 if step else self._unchanged[servo] + 1
                self._last[servo] = one.goal


def measured_faults(motors: dict[str, MotorCalibration], wanted: int) -> dict[str, object]:
    """Drives an arm through faults; what reached its servos, and what was counted."""
    rng = np.random.default_rng(16)
    link = Path(tempfile.mkdtemp()) / "arm"
    planted = dict.fromkeys(KINDS, 0)
    line = DrivenLine(str(link), motors)
    crashes = lost = 0
    outside = largest = released = tick = 0
    positions, alarms, silent_answers = standing(motors), 0, 0
    wave = Wave(motors)
    while sum(planted.values()) < wanted:
        with GoalLog(positions, speed=1e6, timed=False) as bus:
            bus.calibrate(motors.values())
            bus.watch(motors)
            link.unlink(missing_ok=True)
            link.symlink_to(bus.port)
            dead = (0, 0)
            for _ in range(int(rng.integers(200, 400))):  # until the cable is pulled
                tick += 1
                kind = KINDS[rng.integers(0, 5)] if rng.random() < 0.9 else ""
                servos = {int(servo) for servo in rng.choice(6, rng.integers(1, 3), replace=False) + 1}
                if dead[1] < tick and rng.random() < 0.01:
                    dead = (int(rng.integers(1, 7)), tick + _DEAD_CYCLES)
                    planted["dead servo"] += 1
                is_dead = {dead[0]} if tick < dead[1] else set()
                bus.misbehave(lambda faults, k=kind, s=servos, d=is_dead: plant(faults, k, s, d))
                answers, alarmed = told(kind, servos, is_dead)
                try:
                    if line.arm is None:
                        bus.misbehave(lambda faults: plant(faults, "", set(), set()))
                        kind, answers, alarmed = "", 0, 0
                        line.open()
                    wave.command(line.arm, tick)
                    line.cycle(tick * PERIOD_S)
                except (BusError, ArmError):
                    pass  # nothing is open, and told so
                except Exception as error:
                    crashes += 1
                    print(f"crash: {error!r}")
                if kind:
                    planted[kind] += len(servos)
                silent_answers, alarms = silent_answers + answers, alarms + alarmed
                bus.look()
            positions = {servo: round(bus.position(servo)) for servo in positions}
            outside, largest = outside + bus.outside, max(largest, bus.largest_step)
            released += bus.released
        was_open = line.arm is not None  # the cable is pulled
        line.cycle(tick * PERIOD_S)
        lost += was_open and line.arm is None
        planted["pulled cable"] += 1
    counts = line.counts
    allowed = (COMMAND_RAD_S + GLIDE_RAD_S) * PERIOD_S / RAD_PER_TICK
    return {
        "planted": planted, "faults": sum(planted.values()), "cycles": tick,
        "answers_spoilt": silent_answers + lost, "counted_failures": counts.failures,
        "alarms_given": alarms, "counted_alarms": counts.alarms,
        "goals_outside_the_range": outside, "torque_gone_off": released, "crashes": crashes,
        "largest_step_ticks_per_cycle": largest, "allowed_ticks_per_cycle": allowed,
    }  # fmt: skip


class DrivenLine(ServoLine[Reading]):
    """A line and the arm on it while it is open."""

    arm: SO101 | None = None

    def __init__(self, port: str, motors: dict[str, MotorCalibration]):
        def drive(bus: ServoBus) -> SO101:
            self.arm = SO101(bus, motors)
            return self.arm

        super().__init__(port, BAUD_RATE, motors.values(), drive)

    def close(self) -> None:
        super().close()
        self.arm = None


class Wave:
    """Commands that go on whatever the arm does, as a controller's that knows of no fault."""

    def __init__(self, motors: dict[str, MotorCalibration]):
        self._start = [motors[joint].to_rad(standing(motors)[motors[joint].id]) for joint in JOINTS]

    def command(self, arm: SO101, tick: int) -> None:
        away = 0.04 * math.sin(COMMAND_RAD_S / 0.04 * tick * PERIOD_S)
        arm.command(JOINTS, [rad + away for rad in self._start], tick * PERIOD_S)


def plant(faults: Faults, kind: str, servos: set[int], dead: set[int]) -> None:
    """What goes wrong in the next exchange."""
    faults.silent = (servos if kind == "silent" else set()) | dead
    faults.wrong_checksum = servos if kind == "wrong_checksum" else set()
    faults.cut_short = servos if kind == "cut_short" else set()
    faults.alarms = dict.fromkeys(servos, 32) if kind == "alarm" else {}
    faults.alarms |= dict.fromkeys(servos, 1) if kind == "voltage drop" else {}
    faults.voltage_v = 5.1 if kind == "voltage drop" else 7.4


def told(kind: str, servos: set[int], dead: set[int]) -> tuple[int, int]:
    """Answers that are spoilt, and answers with an alarm."""
    if kind in ("alarm", "voltage drop"):
        return len(dead), len(servos - dead)
    return len(dead | (servos if kind else set())), 0


if __name__ == "__main__":
    main()
