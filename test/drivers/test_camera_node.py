"""The camera's driver over DDS."""

import time

import cv2
import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from driver_client import TIMEOUT_S, DriverClient
from sensor_msgs.msg import CompressedImage

from smolvla_ros.drivers.video import CapturedJpeg, VideoError
from smolvla_ros.nodes import camera_node
from smolvla_ros.nodes.camera_node import CameraNode


@pytest.fixture
def watcher():
    with DriverClient() as watcher:
        yield watcher


def test_a_video_file_is_published_with_stamps_of_the_ros_clock(watcher, tmp_path):
    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (64, 48))
    writer.write(np.full((48, 64, 3), 120, np.uint8))
    writer.release()
    pictures = watcher.hear(CompressedImage, "image_raw/compressed")
    process = watcher.start("camera_node", device=clip, frame_id="front_camera")
    watcher.until(lambda: len(pictures) >= 5, "the fifth picture")
    watcher.until(lambda: watcher.statuses, "diagnostics")
    process.terminate()
    assert process.wait(10) == 0
    message = pictures[-1]
    assert message.header.frame_id == "front_camera"
    assert 0.0 <= watcher.node.get_clock().now().nanoseconds * 1e-9 - message.header.stamp.sec < TIMEOUT_S
    assert cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR).shape == (480, 640, 3)
    assert watcher.statuses[-1].level == DiagnosticStatus.OK


def test_a_camera_that_is_not_there_leaves_the_node_unconfigured_with_one_sentence(watcher, tmp_path):
    process = watcher.start("camera_node", device=tmp_path / "video9")
    line = next(line for line in iter(process.stdout.readline, "") if "cannot configure" in line)
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
    pictures = watcher.hear(CompressedImage, "image_raw/compressed")
    node = CameraNode()
    watcher.executor.add_node(node)
    node.set_parameters([rclpy.Parameter("device", value="emulated")])
    node.trigger_configure()
    node.trigger_activate()
    try:
        watcher.until(lambda: watcher.told("unplugged"), "the error")
        watcher.until(lambda: len(pictures) > 10, "pictures again")
        watcher.until(lambda: watcher.statuses[-1].level == DiagnosticStatus.OK, "diagnostics without an error")
        assert {one.level for one in watcher.statuses if "unplugged" in one.message} == {DiagnosticStatus.ERROR}
    finally:
        node.bring_down()
        node.destroy_node()
