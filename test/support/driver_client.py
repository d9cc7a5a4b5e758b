"""A node of the test that hears drivers, and drivers as processes of their own; over DDS."""

import subprocess
import sys
import time

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data

from smolvla_ros.installation import executable

TIMEOUT_S = 60.0  # a loaded machine starts a process in many seconds


class DriverClient:
    """Hears topics and diagnostics. A context manager.

    Attributes:
        statuses: of all diagnostics so far.
    """

    def __enter__(self):
        rclpy.init()
        self.node = rclpy.create_node("tester")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.statuses = []
        self.node.create_subscription(DiagnosticArray, "/diagnostics", lambda m: self.statuses.extend(m.status), 10)
        self._processes = []
        return self

    def __exit__(self, *_):
        for process in self._processes:
            process.kill()
            process.wait()
            process.stdout.close()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown()

    def start(self, name, namespace="", file="", **parameters):
        """A node as a process, which is ended with the client; `file` holds parameters of its robot."""
        arguments = ["--params-file", str(file)] if file else []
        arguments += [word for key, value in parameters.items() for word in ("-p", f"{key}:={value}")]
        command = [sys.executable, str(executable(name)), "--ros-args", "-r", f"__ns:=/{namespace}", *arguments]
        self._processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return self._processes[-1]

    def hear(self, kind, topic, qos=qos_profile_sensor_data):
        """The list that the messages of a topic go to."""
        messages = []
        self.node.create_subscription(kind, topic, messages.append, qos)
        return messages

    def until(self, condition, what):
        """Spins until it holds."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < deadline_s, f"{what} did not happen within {TIMEOUT_S:g} s"
            self.executor.spin_once(timeout_sec=0.02)

    def told(self, text):
        """Whether diagnostics said so."""
        return any(text in status.message for status in self.statuses)
