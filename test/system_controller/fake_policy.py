"""A fake policy in a process of its own: every 250 ms a chunk of 1 s towards a wandering goal.

A chunk comes 100 ms after its observation, starts where the arm is and moves at 0.5 rad/s. Nobody asks for it.
"""

import contextlib
import math
import random
import time

import rclpy
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import JointState

from smolvla_ros.msg import ActionChunk

ROWS, STEP_S, LATENCY_S, SPEED = 20, 0.05, 0.1, 0.5


class FakePolicy(Node):
    def __init__(self):
        super().__init__("fake_policy")
        self.session, self.sequence = random.getrandbits(63) + 1, 0
        self.state = None
        self.create_subscription(JointState, "joint_states", self.take, qos_profile_sensor_data)
        self.publisher = self.create_publisher(ActionChunk, "action_chunk", 1)
        self.create_timer(0.25, self.infer)

    def take(self, state):
        self.state = state

    def infer(self):
        if self.state is None:
            return
        self.sequence += 1
        message = ActionChunk(session=self.session, sequence=self.sequence, rows=ROWS, joint_names=self.state.name)
        message.header.stamp = message.image_stamp = self.get_clock().now().to_msg()
        message.step = Duration(seconds=STEP_S).to_msg()
        row, start_s = list(self.state.position), time.time()
        for index in range(ROWS):
            goals = [math.sin(start_s + index * STEP_S + joint) for joint in range(len(row))]
            limit = SPEED * STEP_S if index else 0.0
            row = [q + max(-limit, min(limit, goal - q)) for q, goal in zip(row, goals, strict=True)]
            message.positions.extend(row)
        self.state = None  # no chunk without a newer observation
        time.sleep(LATENCY_S)
        self.publisher.publish(message)


if __name__ == "__main__":
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(FakePolicy())
