"""An arm of one joint in virtual time: the real buffer, inference loop and controller around a fake policy."""

from types import SimpleNamespace

import numpy as np
import pytest

from smolvla_ros.execution.limits import JointLimits
from smolvla_ros.execution.settings import ControllerSettings
from smolvla_ros.execution.status import ControllerState
from smolvla_ros.policy.loop_types import LoopSettings
from smolvla_ros.policy.questions import OneByOne, Predicted
from smolvla_ros.policy.requests import RequestPolicy
from smolvla_ros.robot.observation import Freshness, ObservationBuffer
from smolvla_ros.virtual.clock import VirtualClock
from smolvla_ros.virtual.policy import lone_arm
from smolvla_ros.virtual.stack import VirtualStack

MS = 1_000_000
PERIOD_NS = 10 * MS
STEP_S = 1.0 / 30.0
ROWS = 50
SPEED = 0.5  # rad/s
SESSION = 2**63 + 5


def header(stamp_ns):
    return SimpleNamespace(stamp=SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9))


class GoesOn(OneByOne):
    """A policy that goes on at `SPEED` from the state it sees, whatever the pictures show."""

    rows = ROWS

    def __init__(self):
        self.speed = SPEED
        self.asked_ns = []

    def normalised_state(self, observation):
        return observation.positions.astype(np.float32)

    def answer(self, question):
        observation = question.observation
        self.asked_ns.append(observation.stamp_ns)
        rows = observation.positions + self.speed * STEP_S * np.arange(ROWS)[:, None]
        return Predicted(rows, rows.astype(np.float32), {"inference": 0.0}, 0)


def loop_settings(session=SESSION, **changes):
    settings = {
        "session": session, "step_s": STEP_S, "needs_status": True, "min_change": 0.0, "hold_and_go": True,
        "delay_percentile": None, "retry_backoff_s": 0.5, "max_failures": 3,
    }  # fmt: skip
    return LoopSettings(**{**settings, **changes})


class Arm:
    """A joint that is where it is told to be; its camera, 30 Hz, shows what was `image_lag_ms` ago.

    `latency_ms` is called once per inference. Control period 10 ms of the steady clock.
    """

    def __init__(
        self, *, image_lag_ms=0, latency_ms=lambda: 60, clock=None, sim_time=False, requests=None, limits=None,
        **settings,
    ):
        one = np.ones(1)
        limits = {"velocity": 3.0, "acceleration": 20.0, "step": 0.5, "jump": 0.5} | (limits or {})
        self.limits = JointLimits(
            ("joint",), -50 * one, 50 * one, tracking=0.5 * one, **{name: v * one for name, v in limits.items()}
        )
        self.clock = clock or VirtualClock(10**18)
        self.position = np.zeros(1)
        self.commands = []  # (ROS time, position)
        self.image_lag_ns = image_lag_ms * MS
        self.fake = GoesOn()
        self._latency_ms = latency_ms
        self._image_ns = 0
        freshness = Freshness(500 * MS, 250 * MS, 100 * MS, 0, False)
        self.buffer = ObservationBuffer(["front"], ["joint"], freshness)
        self._requests = requests or RequestPolicy("every_n", every_n=15)
        side = lone_arm(self.clock, self.fake, self.buffer, self._requests, loop_settings(), self._latency)
        self.stack = VirtualStack(
            self.clock, ControllerSettings(self.limits, PERIOD_NS * 1e-9, **settings), side, sim_time=sim_time
        )

    def _latency(self, answers):
        return round(self._latency_ms() * MS)

    def restart_policy(self, session):
        """Another process: nothing is remembered."""
        settings = loop_settings(session)
        side = lone_arm(self.clock, self.fake, self.buffer, self._requests, settings, self._latency)
        self.stack.restart_policy(side)

    def run(self, seconds):
        for _ in range(round(seconds * 1e9 / PERIOD_NS)):
            self.clock.advance_to(self.clock.steady_ns + PERIOD_NS)
            self.stack.deliver()
            self.stack.look()
            command = self.stack.command()
            if command is not None:
                self.position = command.positions.copy()
                self.commands.append((self.clock.exact_ns, float(self.position[0])))
            self._sense()

    def _sense(self):
        now_ns, measured_ns = self.clock.ros_ns, self.clock.exact_ns
        state = SimpleNamespace(header=header(measured_ns), name=["joint"], position=list(self.position))
        self.buffer.put_joint_state(state, now_ns)
        self.stack.measure(self.position)
        if not 0 <= self.clock.steady_ns - self._image_ns < 33 * MS:
            self._image_ns = self.clock.steady_ns
            picture = SimpleNamespace(
                header=header(measured_ns - self.image_lag_ns), height=1, width=1, encoding="rgb8", is_bigendian=0,
                step=3, data=bytes(3),
            )  # fmt: skip
            self.buffer.put_image("front", picture, now_ns)

    @property
    def status(self):
        return self.stack.controller.status()

    @property
    def following(self):
        return self.status.state == ControllerState.FOLLOWING

    def speed(self, seconds):
        """Mean speed over the last so many seconds of motion, by the ROS clock."""
        times, positions = np.array([c for c in self.commands if c[0] >= self.commands[-1][0] - seconds * 1e9]).T
        return float((positions[-1] - positions[0]) / ((times[-1] - times[0]) * 1e-9))


@pytest.fixture
def new_arm():
    """Makes an `Arm`, told to move; keyword arguments are its own, and settings of the controller."""

    def make(**arguments):
        arm = Arm(**arguments)
        arm.stack.instruct("go on")
        return arm

    return make
