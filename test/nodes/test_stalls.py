"""A control thread that stalls while trajectories are sent: the arm goes on by the last one, and so do the commands."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest

from smolvla_ros.execution.chunk import Chunk
from smolvla_ros.execution.controller import Controller
from smolvla_ros.execution.limits import JointLimits
from smolvla_ros.nodes.command_output import outputs_from
from smolvla_ros.nodes.control_step import ControlStep
from smolvla_ros.nodes.controller_settings import settings_from
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.sim.trajectory_follower import FollowedTrajectory, TrajectoryFollower

PERIOD_NS, UPDATE_NS, START_NS = 10_000_000, 2_000_000, 10**12
SPEED, ACCELERATION = 1.2, 8.0
LIMITS = JointLimits(("pan",), *(np.array([value]) for value in (-3.0, 3.0, SPEED, ACCELERATION, 1.0, 1.0, 1.0)))


def duration_ns(time):
    return time.sec * 10**9 + time.nanosec


class Arm:
    """A joint_trajectory_controller at 500 Hz whose joint follows at once."""

    def __init__(self):
        self.follower = TrajectoryFollower([0.0], START_NS, UPDATE_NS)
        self.path = [np.zeros(1)]

    def create_publisher(self, kind, topic, qos):
        return SimpleNamespace(publish=self._take)

    def _take(self, message):
        points = copy.deepcopy(message.points)
        times_ns = np.array([duration_ns(point.time_from_start) for point in points])
        rows = [np.array([getattr(point, name) for point in points]) for name in ("positions", "velocities")]
        self.follower.receive(FollowedTrajectory(duration_ns(message.header.stamp), times_ns, *rows), self.now_ns)

    def run_until(self, end_ns):
        for now_ns in range(self.now_ns + UPDATE_NS, end_ns + 1, UPDATE_NS):
            self.now_ns = now_ns
            self.path.append(self.follower.update(self.now_ns, self.path[-1], np.zeros(1)))


@pytest.mark.parametrize("stall_ms", [0, 30, 60, 120, 190, 300, 450, 700])
def test_after_a_stall_the_arm_goes_on_from_where_the_last_trajectory_has_led_it(stall_ms):
    parameters = ControllerParameters.from_values(
        {"joints": ["pan"], "joint.pan.max_velocity": SPEED, "joint.pan.max_acceleration": ACCELERATION}
    )
    controller, arm = Controller(settings_from(parameters, LIMITS)), Arm()
    step = ControlStep(controller, outputs_from(arm, parameters, controller, LIMITS), parameters)
    arm.now_ns = START_NS
    controller.activate(START_NS, START_NS)
    rows = (0.5 - 0.5 * np.cos(np.linspace(0.0, np.pi, 50)))[:, None]  # 1 rad in 2 s, at 0.8 rad/s in the middle
    tick = 0
    while tick < 300:
        tick += 1 + (stall_ms // 10 if tick == 100 else 0)
        now_ns = START_NS + tick * PERIOD_NS
        arm.run_until(now_ns)
        for _ in range(3):
            controller.receive_joint_positions(arm.path[-1], now_ns, now_ns)
        if tick == 3:
            controller.receive_chunk(Chunk(1, 1, now_ns, 40_000_000, rows), now_ns, now_ns)
        step((now_ns,), now_ns)
    velocities = np.diff(np.concatenate(arm.path)) / (UPDATE_NS * 1e-9)
    # Where the plan was left while the arm braked, the limiter catches up with it, and overshoots by a few mrad.
    assert velocities.min() > (-0.01 if stall_ms < 200 else -0.2), "it stepped back"
    assert velocities.max() < 1.03 * SPEED
    assert np.abs(np.diff(velocities)).max() < 1.5 * ACCELERATION * PERIOD_NS * 1e-9
    assert arm.path[-1] == pytest.approx(1.0, abs=2e-3)
