"""The controller node, a fake arm and a fake policy in processes of their own, and a monitor of what is on the wire."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from ament_index_python.packages import get_package_prefix
from executor_thread import destroy
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rclpy.time import Time
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from smolvla_ros.msg import ActionChunk, ExecutionStatus

HERE = Path(__file__).parent.parent / "system_controller"
JOINTS = ("shoulder", "elbow")
LOWER, UPPER, MAX_VELOCITY, MAX_ACCELERATION, PERIOD_S = -1.2, 1.2, 2.0, 20.0, 0.01
PARAMETERS = {
    "joints": "[shoulder, elbow]",
    "command_type": "joint_state",
    **{
        f"joint.{joint}.{name}": value
        for joint in JOINTS
        for name, value in (
            ("min_position", LOWER),
            ("max_position", UPPER),
            ("max_velocity", MAX_VELOCITY),
            ("max_acceleration", MAX_ACCELERATION),
        )
    },
}
# A machine with two busy cores may keep a process waiting for that long.
PATIENCE_S = 20.0


class Process:
    """A child in a session of its own, killed at the end whatever happens; its log in a file."""

    def __init__(self, log, *command):
        self.log_file = log
        with log.open("a") as output:
            self.child = subprocess.Popen(
                [sys.executable, *map(str, command)], stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def log(self):
        return self.log_file.read_text()

    def signal(self, number, times=1):
        for _ in range(times):
            self.child.send_signal(number)

    def wait(self, timeout_s):
        """Exit code, and how long it took [s]."""
        start_s = time.monotonic()
        return self.child.wait(timeout_s), time.monotonic() - start_s

    def kill(self):
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()


class Monitor(Node):
    """Listens to everything around the controller and asserts the invariants on the wire.

    Callbacks run in a thread of its own and only append; the lists are read by the test.
    """

    def __init__(self):
        super().__init__("monitor")
        self.commands, self.statuses, self.states, self.problems = [], [], [], []
        # Two controllers give two interleaved sequences of rows and, until they have heard of each other, of commands.
        self.controllers = 1
        self._ends = []  # of the sequences of commands: stamp [s], position
        # Commands that may have been lost on the way here without a trace in the stamps, as those of a paused clock.
        self.lost_commands = 0
        self._ignoring = False  # a subscription must not be destroyed while another thread waits for it
        self._command_topic = self.create_subscription(JointState, "joint_command", self._on_command, 100)
        self._status_topic = self.create_subscription(ExecutionStatus, "execution_status", self._on_status, 100)
        self.create_subscription(JointState, "joint_states", self.states.append, qos_profile_sensor_data)
        self.chunks = self.create_publisher(ActionChunk, "action_chunk", 1)
        self.chunks_heard = []
        self.create_subscription(ActionChunk, "action_chunk", self.chunks_heard.append, 1)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def close(self):
        self._executor.shutdown()
        self._thread.join()
        self.destroy_node()

    def forget_command(self):
        """The controller was restarted: its first command must be where the arm is, not where the last one was."""
        self._ends.clear()

    def ignore_commands_and_status(self):
        """Those of this test are no controller's."""
        self._ignoring = True

    def wait_for_commanders(self, number):
        """Until the arm and the monitor have discovered so many; what is commanded before is lost to them."""
        self.wait_until(
            lambda: self.states
            and min(int(self.states[-1].header.frame_id), self._command_topic.get_publisher_count()) >= number,
            f"discovered {number} commanders",
        )

    def wait_until_no_commander(self):
        """Until the remains of a killed controller are gone, for the arm and the monitor."""
        self.wait_until(
            lambda: max(int(self.states[-1].header.frame_id), self._command_topic.get_publisher_count()) == 0,
            "lost the commander",
            60.0,
        )

    @property
    def status(self):
        return self.statuses[-1] if self.statuses else ExecutionStatus()

    def wait_until(self, condition, what, timeout_s=PATIENCE_S):
        """The seconds until `condition()` held."""
        start_s = time.monotonic()
        while not condition():
            last = self.status
            assert time.monotonic() - start_s < timeout_s, f"never {what}; {last.state=} {last.reason=} {last.detail=}"
            time.sleep(0.002)
        return time.monotonic() - start_s

    def wait_until_quiet(self):
        """Until everything that was sent before has been heard: nobody commands any more."""
        heard = -1
        while heard != len(self.commands):
            heard = len(self.commands)
            time.sleep(0.5)

    def wait_for(self, state, reason=None, timeout_s=PATIENCE_S):
        return self.wait_until(
            lambda: self.status.state == state and reason in (None, self.status.reason), f"{state} {reason}", timeout_s
        )

    def call(self, service, kind=Trigger, request=None):
        client = self.create_client(kind, f"/controller_node/{service}")
        assert client.wait_for_service(PATIENCE_S)
        future = client.call_async(request or kind.Request())
        self.wait_until(future.done, f"answered {service}")
        destroy(self, client)
        return future.result()

    def change_state(self, transition):
        request = ChangeState.Request()
        request.transition.id = transition
        return self.call("change_state", ChangeState, request).success

    @property
    def following(self):
        """The part of the statuses heard that say so."""
        return sum(one.state == ExecutionStatus.FOLLOWING for one in self.statuses) / max(1, len(self.statuses))

    def set_parameters(self, **values):
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        return self.call("set_parameters", SetParameters, SetParameters.Request(parameters=parameters)).results

    def speed(self):
        """Largest speed of the last two commands [rad/s]."""
        (stamp, position), (before, last) = self.commands[-1], self.commands[-2]
        return float(np.abs(position - last).max() / max(stamp - before, PERIOD_S))

    def _on_command(self, message):
        if self._ignoring:
            return
        stamp_s = Time.from_msg(message.header.stamp).nanoseconds * 1e-9
        position = np.array(message.position)
        self._expect(tuple(message.name) == JOINTS, f"names {message.name}")
        self._expect(np.isfinite(position).all(), f"I1: command {position}")
        self._expect(((position >= LOWER) & (position <= UPPER)).all(), f"I1: command {position} outside its limits")
        moved, end = min(((self._moved(end, position), end) for end in range(len(self._ends))), default=(0.0, None))
        if end is not None and moved <= self._allowed(end, stamp_s):
            del self._ends[end]
        elif len(self._ends) == self.controllers:
            self._expect(False, f"I1: moved by {moved} in {stamp_s - self._ends.pop(end)[0]} s")
        elif self.states:  # else joint states reach this process later than the controller
            gap = np.abs(position - np.array(self.states[-1].position)).max()
            self._expect(gap < 0.05, f"I8: the first command is {gap} from the arm")
        self._check_acceleration(stamp_s, position)
        self._ends.append((stamp_s, position))
        self.commands.append((stamp_s, position))

    def _check_acceleration(self, stamp_s, position):
        """Of three commands in a row, where none was lost or skipped."""
        if len(self.commands) < 2 or self.controllers > 1:
            return
        (first_s, first), (second_s, second) = self.commands[-2:]
        if max(abs(second_s - first_s - PERIOD_S), abs(stamp_s - second_s - PERIOD_S)) < 0.01 * PERIOD_S:
            change = np.abs(position - 2.0 * second + first).max() / PERIOD_S
            self._expect(change <= MAX_ACCELERATION * PERIOD_S * 1.05, f"I1: the speed changes by {change} rad/s")

    def _moved(self, end, position):
        return float(np.abs(position - self._ends[end][1]).max())

    def _allowed(self, end, stamp_s):
        """A command that was lost on the way here widens the gap, never the speed."""
        elapsed_s = max(stamp_s - self._ends[end][0], PERIOD_S * (1 + self.lost_commands))
        return MAX_VELOCITY * elapsed_s * 1.01 + 1e-6

    def _on_status(self, status):
        if self._ignoring:
            return
        rows = status.rows_executed + status.rows_discarded + status.rows_queued
        self._expect(status.rows_received == rows, f"I4: {status.rows_received} received, {rows} accounted for")
        held = status.state not in (ExecutionStatus.INACTIVE, ExecutionStatus.FOLLOWING)
        reasoned = status.reason != ExecutionStatus.NONE
        self._expect(held == reasoned, f"I6: state {status.state}, reason {status.reason}")
        if status.state == ExecutionStatus.FOLLOWING:
            self._expect(status.remaining_s > 0.0, "I5: following without a row")
            self._expect(status.action_age_s <= 5.0, f"I3: action of {status.action_age_s} s")
        if self.status.session and status.session and self.controllers == 1:
            last = self.status
            self._expect(
                (status.sequence, status.row) >= (last.sequence, last.row)
                or status.session != last.session
                or status.ticks < last.ticks,  # another life
                f"I3, I7: row {status.row} of chunk {status.sequence} after {last.row} of {last.sequence}",
            )
        self.statuses.append(status)

    def _expect(self, condition, problem):
        if not condition:
            self.problems.append(problem)


class World:
    """Starts and ends the processes of one test."""

    def __init__(self, folder, monitor):
        self.folder, self.monitor, self._processes = folder, monitor, []

    def _start(self, name, *command):
        process = Process(self.folder / f"{name}_{len(self._processes)}.log", *command)
        self._processes.append(process)
        return process

    def controller(self, **changes):
        return self.node("controller_node", **{**PARAMETERS, **changes})

    def node(self, name, **parameters):
        executable = Path(get_package_prefix("smolvla_ros")) / "lib" / "smolvla_ros" / name
        arguments = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
        return self._start(name, executable, "--ros-args", *arguments)

    def arm(self):
        return self._start("arm", HERE / "fake_arm.py")

    def bare_service(self):
        """A service that does nothing, for comparison."""
        return self._start("bare_service", Path(__file__).parent / "bare_service.py")

    def policy(self, commanders=1):
        self.monitor.wait_for_commanders(commanders)
        return self._start("policy", HERE / "fake_policy.py")

    def close(self):
        for process in self._processes:
            process.kill()

    def stacks(self):
        """The logs after every process was told to end with the stacks of its threads. Needs PYTHONFAULTHANDLER."""
        for process in self._processes:
            if process.child.poll() is None:
                process.signal(signal.SIGABRT)
                process.wait(PATIENCE_S)
        return self.logs()

    def logs(self):
        return "\n".join(f"--- {process.log_file.name}\n{process.log}" for process in self._processes)
