"""The simulated SO-101: takes the commands that a real arm takes, publishes joint states and camera images.

Threads: the executor's thread runs the callbacks, the physics thread moves the world on in real time and publishes
joint states, the referee's verdict and /clock, and one thread for the policy's cameras and one for the viewer render
and publish images. All of them hold `_lock` while they touch the world, never while they draw. Verdicts are published
under the lock too, so that one from before a reset cannot come after it.
"""

from __future__ import annotations

import array
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.time import Time
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from smolvla_ros.drivers.calibration import read_calibration
from smolvla_ros.installation import share_folder
from smolvla_ros.msg import TaskVerdict
from smolvla_ros.parameters.controller import COMMAND_TOPICS
from smolvla_ros.parameters.sim import SimParameters
from smolvla_ros.qos import LATCHED
from smolvla_ros.sim import CAMERAS, JOINTS, World
from smolvla_ros.sim.cameras import VIEWER, Renderer
from smolvla_ros.sim.commands import Follower, check_positions, check_trajectory
from smolvla_ros.sim.pacing import Pace, PeriodicThread
from smolvla_ros.sim.referee import Referee, Verdict
from smolvla_ros.sim.servos import SimulatedServos
from smolvla_ros.sim.tasks import TASKS
from smolvla_ros.sim.trajectory_follower import CommandError
from smolvla_ros.stamps import stamp_ns

from .lifecycle import ManagedNode
from .running import run_node
from .sim_messages import diagnostics, image_message, verdict_message

_PHYSICS_PERIOD_S = 0.005
# A servo answers within a millisecond or two, whatever else this process computes [s].
_SWITCH_INTERVAL_S = 0.0001


class SimNode(ManagedNode[SimParameters]):
    """A simulated arm on a table."""

    PARAMETERS = SimParameters

    def __init__(self) -> None:
        super().__init__("sim_node")
        self._lock = threading.Lock()
        self._threads: list[PeriodicThread] = []

    # Lifecycle, in the executor's thread.

    def configure(self) -> None:
        self._world = World(self.parameters.seed, scene=self.parameters.scene)
        self._follower = Follower(self._world.targets(), round(_PHYSICS_PERIOD_S * 1e9))
        self._pace = Pace(self.parameters.real_time_factor)
        self._reset_ns = 0
        self._accepted = self._refused = 0
        self._create_publishers()
        self._begin_task()
        self._servos = self._open_servos() if self.parameters.servo_bus else None
        if self._servos is None:  # else joint states and commands are those of the driver
            self._open_topics_of_the_arm()
        self.create_service(Trigger, "~/reset", self._on_reset)

    def _open_topics_of_the_arm(self) -> None:
        self._joint_states = self.create_publisher(JointState, "joint_states", QoSProfile(depth=10))
        for kind, name, callback in (
            (JointTrajectory, "joint_trajectory", self._on_trajectory),
            (Float64MultiArray, "position_array", self._on_position_array),
            (JointState, "joint_state", self._on_joint_state),
        ):
            self.create_subscription(kind, COMMAND_TOPICS[name], callback, QoSProfile(depth=10))

    def _open_servos(self) -> SimulatedServos:
        """The arm behind a serial port, until cleanup."""
        motors = read_calibration(share_folder() / "config" / "so101_sim_calibration.json")
        servos = SimulatedServos(Path(self.parameters.servo_bus), motors, self._world.joint_positions())
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        self.defer(lambda: servos.__exit__())
        return servos.__enter__()

    def activate(self) -> None:
        self._pace.start()
        self._next_joint_state_s = 0.0
        parameters = self.parameters
        cameras = self._eye(CAMERAS, parameters.image_width, parameters.image_height, shadows=False)
        viewer = self._eye((VIEWER,), parameters.viewer_width, parameters.viewer_height, parameters.viewer_shadows)
        self._threads = [
            PeriodicThread("physics", _PHYSICS_PERIOD_S, self.boundary.guarded(self._advance)),
            PeriodicThread("cameras", 1 / parameters.camera_rate_hz, *cameras),
            PeriodicThread("viewer", 1 / parameters.viewer_rate_hz, *viewer),
        ]
        for thread in self._threads:
            thread.start()
        self.create_timer(1.0, self._publish_diagnostics)

    def deactivate(self) -> None:
        for thread in self._threads:
            thread.stop()
        self._threads = []

    def parameters_changed(self, names: set[str]) -> None:
        if names & {"task", "target", "place"}:
            with self._lock:
                self._world.forget_touch()
                self._begin_task()

    def _create_publishers(self) -> None:
        self._images = {
            name: self.create_publisher(Image, f"{name}/image_raw", qos_profile_sensor_data)
            for name in (*CAMERAS, VIEWER)
        }
        self._success = self.create_publisher(Bool, "task_success", LATCHED)
        self._verdict = self.create_publisher(TaskVerdict, "task_verdict", LATCHED)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._clock_topic = None
        if self.parameters.publish_clock:
            self._clock_topic = self.create_publisher(Clock, "/clock", QoSProfile(depth=1))

    # The physics thread.

    def _advance(self) -> None:
        with self._lock:
            elapsed_s = self._pace.elapsed_s()
            self._world.set_targets(self._wanted())
            self._world.step(elapsed_s)
            self._referee.watch()
            self._tell_verdict()
            stamp = self._now().to_msg()
            positions, velocities = self._world.joint_positions(), self._world.joint_velocities()
            efforts = self._world.joint_efforts()
        if self._clock_topic is not None:
            self._clock_topic.publish(Clock(clock=stamp))
        if self._pace.now_s < self._next_joint_state_s or self._servos is not None:
            return
        self._next_joint_state_s = max(
            self._next_joint_state_s + 1.0 / self.parameters.joint_states_rate_hz, self._pace.now_s
        )
        message = JointState(name=list(JOINTS))
        message.header.stamp = stamp
        message.position, message.velocity, message.effort = (_doubles(v) for v in (positions, velocities, efforts))
        self._joint_states.publish(message)

    def _wanted(self) -> np.ndarray:
        """Where the joints are told to go [6], over topics or over the servo bus; the caller holds the lock."""
        if self._servos is None:
            measured = self._world.joint_positions(), self._world.joint_velocities()
            return self._follower.targets(self._now().nanoseconds, *measured)
        return self._servos.exchange(self._world.joint_positions(), self._world.joint_velocities())

    def _begin_task(self) -> None:
        """From now on the referee watches what the parameters ask for; the caller holds the lock."""
        parameters = self.parameters
        self._referee = Referee(self._world, TASKS[parameters.task].ask(parameters.target, parameters.place))
        self._told: tuple[Verdict, bool, str] | None = None
        self._tell_verdict()

    def _tell_verdict(self) -> None:
        """Publishes what the referee says, if that is new; the caller holds the lock."""
        told = self._referee.verdict(), self._referee.decided, self._world.touched()
        if told == self._told:
            return
        self._told = told
        self._verdict.publish(verdict_message(self._referee.asked, *told, self._now().to_msg()))
        self._success.publish(Bool(data=told[0].success))

    def _now(self) -> Time:
        """The time of the world's present state; simulated time goes on through resets."""
        if self._clock_topic is not None:
            return Time(nanoseconds=round(self._pace.now_s * 1e9))
        return self.get_clock().now()

    # The camera threads.

    def _eye(self, cameras: Sequence[str], width: int, height: int, shadows: bool) -> tuple[Any, Any]:
        """What a camera thread does in each period, and at its end."""
        renderers: dict[str, Renderer] = {}

        def look() -> None:
            wanted = [name for name in cameras if self._images[name].get_subscription_count()]
            for name in wanted:
                if name not in renderers:
                    renderers[name] = Renderer(self._world.model, height, width, shadows)
            with self._lock:
                stamp = self._now().to_msg()
                for name in wanted:
                    renderers[name].capture(self._world.data, name)
            for name in wanted:
                self._images[name].publish(image_message(renderers[name].draw(), stamp, f"{name}_camera"))

        def close() -> None:
            for renderer in renderers.values():
                renderer.close()

        return self.boundary.guarded(look), self.boundary.guarded(close)

    # Callbacks in the executor's thread.

    def _on_trajectory(self, message: JointTrajectory) -> None:
        try:
            sent_ns = stamp_ns(message.header.stamp)
            _check_stamp(sent_ns)
            columns, trajectory = check_trajectory(
                message.joint_names,
                sent_ns,
                [stamp_ns(point.time_from_start) for point in message.points],
                [point.positions for point in message.points],
                [point.velocities for point in message.points],
            )
            with self._lock:
                if sent_ns and sent_ns < self._reset_ns:
                    return  # meant for the arm before the reset
                self._follower.follow(columns, trajectory, self._now().nanoseconds)
                self._accepted += 1
        except CommandError as error:
            self._refuse("trajectory", error)

    def _on_position_array(self, message: Float64MultiArray) -> None:
        self._set_point("position array", (), message.data, 0)

    def _on_joint_state(self, message: JointState) -> None:
        if not message.name:
            self._refuse("joint command", CommandError("it names no joints"))
            return
        self._set_point("joint command", message.name, message.position, stamp_ns(message.header.stamp))

    def _set_point(self, kind: str, names: Sequence[str], positions: Sequence[float], sent_ns: int) -> None:
        try:
            _check_stamp(sent_ns)
            columns, values = check_positions(names, positions)
        except CommandError as error:
            self._refuse(kind, error)
            return
        with self._lock:
            if sent_ns and sent_ns < self._reset_ns:
                return  # meant for the arm before the reset
            self._follower.set_positions(columns, values)
            self._accepted += 1

    def _refuse(self, kind: str, error: CommandError) -> None:
        self._refused += 1
        self.get_logger().warning(f"{kind} refused: {error}", throttle_duration_sec=2.0)

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            seed = self.parameters.seed
            self._world.reset(seed)
            self._follower.hold(self._world.targets())
            if self._servos is not None:
                self._servos.cut_power(self._world.joint_positions())
            self._reset_ns = self._now().nanoseconds
            self._begin_task()
        response.success, response.message = True, f"seed {seed}, task {self.parameters.task}"
        return response

    def _publish_diagnostics(self) -> None:
        message = diagnostics(
            self.get_fully_qualified_name(), self._accepted, self._refused, self._pace.lost_s, self.health(),
        )  # fmt: skip
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def _check_stamp(sent_ns: int) -> None:
    if sent_ns < 0:
        raise CommandError("its stamp is no time, expected seconds from 0 on and less than a second of nanoseconds")


def _doubles(vector: np.ndarray) -> array.array[float]:
    return array.array("d", vector.tobytes())


def main() -> int:
    return run_node(SimNode)
