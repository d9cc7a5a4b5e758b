"""A fake arm in a process of its own: takes JointState commands, is there at once, reports at 100 Hz.

The frame id of its reports is the number of commanders that it has discovered.
"""

import contextlib

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import JointState


class FakeArm(Node):
    def __init__(self):
        super().__init__("fake_arm")
        self.positions = {"shoulder": 0.0, "elbow": 0.0}
        self.commands = self.create_subscription(JointState, "joint_command", self.take, 1)
        self.publisher = self.create_publisher(JointState, "joint_states", 1)
        self.create_timer(0.01, self.report)

    def take(self, command):
        self.positions.update(zip(command.name, command.position, strict=True))

    def report(self):
        message = JointState(name=list(self.positions), position=list(self.positions.values()))
        message.header.frame_id = str(self.commands.get_publisher_count())
        message.header.stamp = self.get_clock().now().to_msg()
        self.publisher.publish(message)


if __name__ == "__main__":
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(FakeArm())
