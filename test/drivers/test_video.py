"""Cameras and video files: what is asked of them, what is passed on, what is refused."""

import time

import cv2
import numpy as np
import pytest

from smolvla_ros.drivers.video import CaptureSettings, V4L2Camera, VideoError, VideoFile, find_device, open_source

MJPG, YUYV = cv2.VideoWriter.fourcc(*"MJPG"), cv2.VideoWriter.fourcc(*"YUYV")
JPEG = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()


class UsbCamera:
    """A capture with the rules of OpenCV's V4L2 backend."""

    def __init__(self, formats=(MJPG,), controls=("exposure", "focus"), sizes=((640, 480), (320, 240))):
        self.formats, self.controls, self.sizes = formats, controls, sizes
        self.values = {
            cv2.CAP_PROP_FOURCC: formats[0],
            cv2.CAP_PROP_FRAME_WIDTH: 640,
            cv2.CAP_PROP_FRAME_HEIGHT: 480,
            cv2.CAP_PROP_FPS: 30.0,
            cv2.CAP_PROP_CONVERT_RGB: 1,
        }
        self.buffers = [JPEG]
        self.stamp_s = time.monotonic

    def __call__(self, device, backend):
        assert backend == cv2.CAP_V4L2
        return self

    def isOpened(self):
        return True

    def get(self, what):
        return self.stamp_s() * 1e3 if what == cv2.CAP_PROP_POS_MSEC else self.values.get(what, 0.0)

    def set(self, what, value):
        control = {
            cv2.CAP_PROP_EXPOSURE: "exposure", cv2.CAP_PROP_AUTO_EXPOSURE: "exposure",
            cv2.CAP_PROP_FOCUS: "focus", cv2.CAP_PROP_AUTOFOCUS: "focus",
        }.get(what)  # fmt: skip
        if control and control not in self.controls:
            return False
        if what == cv2.CAP_PROP_FOURCC and value not in self.formats:
            return False
        self.values[what] = value
        height = self.values[cv2.CAP_PROP_FRAME_HEIGHT]
        if what == cv2.CAP_PROP_FRAME_HEIGHT and (self.values[cv2.CAP_PROP_FRAME_WIDTH], height) not in self.sizes:
            self.values |= {cv2.CAP_PROP_FRAME_WIDTH: 640, cv2.CAP_PROP_FRAME_HEIGHT: 480}
        return True

    def read(self):
        if not self.buffers:
            return False, None
        data = self.buffers.pop(0)
        raw = self.values[cv2.CAP_PROP_FOURCC] == MJPG and not self.values[cv2.CAP_PROP_CONVERT_RGB]
        return True, np.frombuffer(data, np.uint8)[None] if raw else cv2.imdecode(np.frombuffer(data, np.uint8), 1)

    def release(self):
        self.buffers = []


def camera(usb, **settings):
    return V4L2Camera("/dev/video0", CaptureSettings(**settings), usb)


def test_the_jpegs_of_a_camera_are_passed_on_byte_for_byte():
    usb = UsbCamera()
    usb.buffers = [JPEG, JPEG + bytes(500)]  # a driver's buffer is longer than its picture
    source = camera(usb, width=320, height=240, frame_rate_hz=30.0)
    assert source.description == "320x240 at 30 Hz, MJPG"
    assert [source.read().jpeg, source.read().jpeg] == [JPEG, JPEG]
    assert source.refused == ()


def test_a_camera_without_jpeg_is_encoded_here():
    source = camera(UsbCamera(formats=(YUYV,)))
    assert "encoded here" in source.description
    assert cv2.imdecode(np.frombuffer(source.read().jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (48, 64, 3)


@pytest.mark.parametrize("torn", [JPEG[: len(JPEG) // 2], JPEG[2:], b""])
def test_a_torn_picture_is_none_and_the_next_one_comes(torn):
    usb = UsbCamera()
    usb.buffers = [torn, JPEG]
    source = camera(usb)
    assert source.read() is None
    assert source.read().jpeg == JPEG


def test_a_picture_is_dated_by_the_drivers_stamp_and_by_now_where_that_is_of_another_clock():
    usb = UsbCamera()
    usb.buffers = [JPEG] * 3
    captured_s = time.monotonic() - 0.05
    usb.stamp_s = lambda: captured_s
    source = camera(usb)
    assert source.read().captured_s == pytest.approx(captured_s)
    for strange_s in (lambda: 0.0, lambda: time.monotonic() + 1e9):
        usb.stamp_s = strange_s
        before_s = time.monotonic()
        assert before_s <= source.read().captured_s <= time.monotonic()


def test_exposure_and_focus_are_fixed_when_asked_and_automatic_otherwise():
    usb = UsbCamera()
    camera(usb, exposure=120, focus=30)
    assert usb.values[cv2.CAP_PROP_AUTO_EXPOSURE] == 1
    assert usb.values[cv2.CAP_PROP_EXPOSURE] == 120
    assert usb.values[cv2.CAP_PROP_AUTOFOCUS] == 0
    assert usb.values[cv2.CAP_PROP_FOCUS] == 30
    camera(usb)
    assert usb.values[cv2.CAP_PROP_AUTO_EXPOSURE] == 3
    assert usb.values[cv2.CAP_PROP_AUTOFOCUS] == 1


def test_what_a_camera_does_not_follow_is_told_with_what_to_do():
    source = camera(UsbCamera(controls=()), width=1920, height=1080, exposure=120, focus=0)
    told = "\n".join(source.refused)
    assert "width 640, asked 1920" in told
    assert "does not take exposure 120" in told
    assert "does not take focus 0" in told
    assert "v4l2-ctl" in told


def test_an_unplugged_camera_ends_with_one_sentence():
    usb = UsbCamera()
    usb.buffers = []
    with pytest.raises(VideoError, match="unplugged"):
        camera(usb).read()


def test_a_device_that_cannot_be_opened_says_who_may_open_it(tmp_path):
    device = tmp_path / "video7"
    device.mkdir()  # it is there, and no camera
    with pytest.raises(VideoError, match="group 'video'"):
        open_source(str(device), CaptureSettings())


def test_a_camera_is_found_by_a_part_of_its_stable_name(tmp_path):
    for name in ("usb-Logitech_C920_1A2B-video-index0", "usb-Logitech_C920_1A2B-video-index1",
                 "usb-Logitech_C920_3C4D-video-index0"):  # fmt: skip
        (tmp_path / name).touch()
    assert find_device("1A2B", tmp_path) == tmp_path / "usb-Logitech_C920_1A2B-video-index0"
    with pytest.raises(VideoError, match="2 cameras have 'C920' in the name.*1A2B.*3C4D"):
        find_device("C920", tmp_path)
    with pytest.raises(VideoError, match="no camera has 'Brio' in the name.*1A2B"):
        find_device("Brio", tmp_path)
    with pytest.raises(VideoError, match="/dev/video93 does not exist: is the camera plugged in.*lists no camera"):
        find_device("93", tmp_path / "none")


@pytest.fixture
def clip(tmp_path):
    """Three frames of different brightness at 10 Hz."""
    file = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(file), MJPG, 10.0, (64, 48))
    for level in (40, 120, 200):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    return file


def test_a_video_file_is_played_at_its_rate_again_and_again(clip):
    waits_s = []
    source = VideoFile(clip, CaptureSettings(width=32, height=24), waits_s.append)
    pictures = [cv2.imdecode(np.frombuffer(source.read().jpeg, np.uint8), cv2.IMREAD_COLOR) for _ in range(5)]
    assert [round(picture.mean(), -1) for picture in pictures] == [40, 120, 200, 40, 120]
    assert pictures[0].shape == (24, 32, 3)
    assert sum(waits_s[1:4]) == pytest.approx(0.1 + 0.2 + 0.3, abs=0.1)  # due 0.1 s apart, and none was slept off here


def test_a_file_that_is_no_video_is_refused(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("no video")
    with pytest.raises(VideoError, match=r"notes.txt cannot be read as a video"):
        open_source(str(file), CaptureSettings())
