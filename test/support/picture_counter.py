"""Counts the pictures that come over the link, and says so on `pictures_counted`."""

import contextlib

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import UInt32


class PictureCounter(Node):
    def __init__(self):
        super().__init__("picture_counter")
        self.counted = 0
        self.publisher = self.create_publisher(UInt32, "pictures_counted", 1)
        self.create_subscription(CompressedImage, "picture", self.take, qos_profile_sensor_data)

    def take(self, _):
        self.counted += 1
        self.publisher.publish(UInt32(data=self.counted))


if __name__ == "__main__":
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(PictureCounter())
