"""A service that does nothing, in a process of its own: what a round trip costs on this machine at this moment."""

import contextlib

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from std_srvs.srv import Trigger


def main():
    rclpy.init()
    node = Node("bare_service")
    node.create_service(Trigger, "~/answer", lambda request, response: response)
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)


if __name__ == "__main__":
    main()
