"""A controller and the driver of an arm on an emulated bus, through faults of which each knows its own part only.

Time is driven.
"""

import contextlib

import numpy as np
import pytest

from smolvla_ros.drivers.calibration import JOINTS, RAD_PER_TICK
from smolvla_ros.drivers.so101 import ENGAGE_RAD, SO101
from smolvla_ros.execution.chunk import Chunk, ChunkError
from smolvla_ros.execution.controller import Controller
from smolvla_ros.execution.limits import JointLimits
from smolvla_ros.execution.settings import ControllerSettings
from smolvla_ros.execution.status import Reason

PERIOD_S, VELOCITY = 0.01, 2.0
STEP_NS, CHUNK_TICKS, ROWS = 40_000_000, 25, 20
LOW_VOLTAGE = 1


class Chain:
    """A policy that wants `shoulder_pan` at `wanted` [rad], a controller, a driver; the time that passes for all."""

    def __init__(self, bus, emulated, motors):
        self.bus, self.emulated, self.motors = bus, emulated, motors
        self.arm = SO101(bus, motors)
        values = {"velocity": VELOCITY, "acceleration": 20.0, "step": 1.0, "jump": 2.0, "tracking": 0.5}
        limits = {"lower": -2.0, "upper": 2.0} | values
        limits = JointLimits(JOINTS, **{name: np.full(len(JOINTS), value) for name, value in limits.items()})
        self.controller = Controller(ControllerSettings(limits=limits, period_s=PERIOD_S))
        self.controller.activate(0, 0)
        self.tick = self.sequence = 0
        self.wanted, self.asleep, self.unheard = 0.0, False, False
        self.goals = []
        self.measured = None

    @property
    def pan_rad(self):
        return self.motors["shoulder_pan"].to_rad(self.emulated.position(1))

    def run(self, seconds):
        """Control periods: the driver reads, the controller steps, the policy answers every 250 ms unless `asleep`."""
        for _ in range(round(seconds / PERIOD_S)):
            self.tick += 1
            now_s = self.tick * PERIOD_S
            now_ns = round(now_s * 1e9)
            readings = self.arm.cycle(now_s)
            self.controller.arm_trouble(self.arm.trouble)
            if len(readings) == len(JOINTS):
                self.measured = np.array([readings[joint].position_rad for joint in JOINTS])
                self.controller.receive_joint_positions(self.measured, now_ns, now_ns)
            if self.tick % CHUNK_TICKS == 0 and not self.asleep:
                self._infer(now_ns)
            command = self.controller.step(now_ns, now_ns)
            if command is not None and not self.unheard:
                self.arm.command(JOINTS, command.positions, now_s)
            self.goals.append(self.emulated.goal(1))

    def speeds_rad_s(self, at):
        """Of the goals since tick `at`, over ten cycles: a busy machine takes one to the bus a cycle late."""
        goals = np.array(self.goals[at:])
        return np.abs(goals[10:] - goals[:-10]) * RAD_PER_TICK / (9 * PERIOD_S)

    def _infer(self, now_ns):
        self.sequence += 1
        rows = np.tile(self.measured, (ROWS, 1))
        way = self.wanted - rows[0, 0]
        rows[:, 0] += np.clip(way, -1.0, 1.0) * np.minimum(np.arange(1, ROWS + 1) * 0.05, 1.0)
        with contextlib.suppress(ChunkError):  # while the controller holds
            self.controller.receive_chunk(Chunk(1, self.sequence, now_ns, STEP_NS, rows), now_ns, now_ns)


@pytest.fixture
def chain(bus, emulated, motors):
    return Chain(bus, emulated, motors)


def test_an_instruction_in_the_middle_of_a_power_loss_is_carried_out_after_it(chain, emulated):
    chain.asleep = True
    chain.run(0.3)
    emulated.misbehave(lambda faults: faults.alarms.update(dict.fromkeys(range(1, 7), LOW_VOLTAGE)))
    chain.wanted, chain.asleep = 0.8, False
    chain.run(0.6)
    assert chain.controller.status().reason == Reason.ARM_NOT_READY
    emulated.misbehave(lambda faults: faults.alarms.clear())
    chain.run(4.0)
    assert chain.pan_rad == pytest.approx(0.8, abs=0.02)


def test_first_commands_that_are_lost_cost_a_new_beginning_only(chain):
    """As while the two processes discover each other."""
    chain.wanted, chain.unheard = 0.8, True
    chain.run(0.8)
    chain.unheard = False
    chain.run(4.0)
    assert chain.pan_rad == pytest.approx(0.8, abs=0.02)


def test_an_arm_that_fell_without_power_moves_by_an_observation_of_where_it_lies_only(chain, emulated, motors):
    chain.wanted = 0.8
    chain.run(0.8)
    assert chain.arm.engaged
    emulated.misbehave(lambda faults: faults.silent.update(range(1, 7)))
    emulated.release()
    chain.run(0.5)
    emulated.place({1: (motors["shoulder_pan"].ticks_at(-0.5), 0.0)})
    emulated.misbehave(lambda faults: faults.silent.clear())
    chain.asleep = True
    chain.run(1.0)
    assert chain.pan_rad == pytest.approx(-0.5, abs=0.01)  # nothing has moved it
    chain.asleep, at = False, len(chain.goals)
    chain.run(5.0)
    assert chain.pan_rad == pytest.approx(0.8, abs=0.02)
    at += int(np.flatnonzero(np.diff(chain.goals[at:]))[0]) + 1  # the first goal since
    assert motors["shoulder_pan"].to_rad(chain.goals[at]) == pytest.approx(-0.5, abs=0.02)
    assert chain.speeds_rad_s(at).max() <= 1.2 * VELOCITY


def test_a_driver_that_is_killed_in_motion_leaves_an_arm_that_its_successor_drives_on(chain, bus, motors):
    chain.wanted = 0.8
    chain.run(0.7)
    at = len(chain.goals) - 1
    chain.unheard = True
    chain.run(0.2)  # the controller goes on, and nobody writes
    chain.arm, chain.unheard = SO101(bus, motors), False
    chain.run(4.0)
    assert chain.pan_rad == pytest.approx(0.8, abs=0.02)
    assert chain.speeds_rad_s(at).max() <= 1.2 * VELOCITY + ENGAGE_RAD / (9 * PERIOD_S)
