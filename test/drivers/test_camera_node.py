"""The camera's driver over DDS."""

import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage

from smolvla_ros.drivers.video import CapturedJpeg, VideoError
from smolvla_ros.installation import executable
from smolvla_ros.nodes import camera_node
from smolvla_ros.nodes.camera_node import CameraNode

TIMEOUT_S = 60.0


class Watcher:
    """Hears a camera."""

    def __init__(self):
        rclpy.init()
        self.node = rclpy.create_node("watcher")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.pictures, self.levels = [], []
        topic = "image_raw/compressed"
        self.node.create_subscription(CompressedImage, topic, self.pictures.append, qos_profile_sensor_data)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def _on_diagnostics(self, message):
        self.levels += [(status.level, status.message) for status in message.status]

    def until(self, condition, what):
        deadline_s = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < deadline_s, f"{what} did not happen within {TIMEOUT_S:g} s"
            self.executor.spin_once(timeout_sec=0.02)

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown()


@pytest.fixture
def watcher():
    watcher = Watcher()
    yield watcher
    watcher.close()


def test_a_video_file_is_published_with_stamps_of_the_ros_clock(watcher, tmp_path):
    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (64, 48))
    writer.write(np.full((48, 64, 3), 120, np.uint8))
    writer.release()
    command = [sys.executable, str(executable("camera_node")), "--ros-args", "-p", f"device:={clip}",
               "-p", "frame_id:=front_camera"]  # fmt: skip
    process = subprocess.Popen(command)
    try:
        watcher.until(lambda: len(watcher.pictures) >= 5, "the fifth picture")
        watcher.until(lambda: watcher.levels, "diagnostics")
    finally:
        process.terminate()
        assert process.wait(10) == 0
    message = watcher.pictures[-1]
    assert message.header.frame_id == "front_camera"
    assert 0.0 <= watcher.node.get_clock().now().nanoseconds * 1e-9 - message.header.stamp.sec < TIMEOUT_S
    assert cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR).shape == (480, 640, 3)
    assert watcher.levels[-1][0] == DiagnosticStatus.OK


def test_a_camera_that_is_not_there_leaves_the_node_unconfigured_with_one_sentence(tmp_path):
    command = [sys.executable, str(executable("camera_node")), "--ros-args", "-p", f"device:={tmp_path}/video9"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    line = next(line for line in iter(process.stdout.readline, "") if "cannot configure" in line)
    process.terminate()
    process.wait(10)
    assert "is the camera plugged in?" in line


class Unpluggable:
    """A source that is gone after some pictures."""

    refused = ()
    description = "emulated"

    def __init__(self, pictures):
        self.left = pictures

    def read(self):
        if not self.left:
            raise VideoError("emulated camera gives no pictures any more: was it unplugged?")
        self.left -= 1
        time.sleep(0.01)
        return CapturedJpeg(b"\xff\xd8\xff\xd9", time.monotonic())

    def close(self):
        self.left = 0


def test_an_unplugged_camera_is_an_error_by_name_and_goes_on_when_it_is_back(watcher, monkeypatch):
    plugged = iter([Unpluggable(3), None, Unpluggable(10**6)])

    def open_source(name, settings):
        source = next(plugged)
        if source is None:
            raise VideoError("emulated camera does not exist: is the camera plugged in?")
        return source

    monkeypatch.setattr(camera_node, "open_source", open_source)
    monkeypatch.setattr(camera_node, "_REOPEN_S", 1.5)
    node = CameraNode()
    watcher.executor.add_node(node)
    node.set_parameters([rclpy.Parameter("device", value="emulated")])
    node.trigger_configure()
    node.trigger_activate()
    try:
        watcher.until(lambda: any("unplugged" in text for _, text in watcher.levels), "the error")
        watcher.until(lambda: len(watcher.pictures) > 10, "pictures again")
        watcher.until(lambda: watcher.levels[-1][0] == DiagnosticStatus.OK, "diagnostics without an error")
        assert {level for level, text in watcher.levels if "unplugged" in text} == {DiagnosticStatus.ERROR}
    finally:
        node.bring_down()
        node.destroy_node()
