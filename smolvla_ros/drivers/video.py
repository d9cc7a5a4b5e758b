"""Pictures of a camera (V4L2) or of a video file, as JPEG, with the instant of their capture. Knows no ROS.

A camera is asked for MJPG, and its JPEGs are passed on as they come, undecoded; a camera that has none, and a file,
are encoded here. One thread reads; opening and closing belong to it as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

BY_ID = Path("/dev/v4l/by-id")
_MJPG = cv2.VideoWriter.fourcc(*"MJPG")
# Of the V4L2 control exposure_auto.
_MANUAL_EXPOSURE, _AUTOMATIC_EXPOSURE = 1, 3
# A driver's stamp further back than this is of another clock [s].
_MAX_STAMP_AGE_S = 1.0
_JPEG_BEGIN, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


class VideoError(ValueError):
    """A camera or a video cannot be opened, or is gone; one sentence with the remedy."""


@dataclass(frozen=True)
class CapturedJpeg:
    """A JPEG file and the instant of its capture on `time.monotonic` [s]."""

    jpeg: bytes
    captured_s: float


@dataclass(frozen=True)
class CaptureSettings:
    """What a camera is asked for. 0 leaves size and rate to the camera; a negative value leaves a control automatic.

    exposure: in units of the driver, mostly 100 us.
    focus: in units of the driver.
    jpeg_quality: of pictures that are encoded here, 1 to 100.
    """

    width: int = 0
    height: int = 0
    frame_rate_hz: float = 0.0
    exposure: int = -1
    focus: int = -1
    jpeg_quality: int = 90


class VideoSource(Protocol):
    """Where pictures come from."""

    @property
    def description(self) -> str:
        """What it gives, such as '640x480 at 30 Hz, MJPG'."""

    @property
    def refused(self) -> tuple[str, ...]:
        """One sentence for each setting that it does not follow."""

    def read(self) -> CapturedJpeg | None:
        """Waits for the next picture; None: it was broken. Raises VideoError: there will be no more."""

    def close(self) -> None: ...


def open_source(name: str, settings: CaptureSettings) -> VideoSource:
    """Opens a video file, or a camera by path, by number or by a part of its stable name, such as its serial number.

    Raises:
        VideoError: there is no such camera or file, or it cannot be opened.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return VideoFile(path, settings)
    return V4L2Camera(find_device(name), settings)


def find_device(name: str, by_id: Path = BY_ID) -> Path:
    """The device of a path, of a number N (/dev/videoN), or of the one camera whose name in `by_id` contains the text.

    Raises:
        VideoError: none, or more than one.
    """
    if name.isdecimal():
        name = f"/dev/video{name}"
    if "/" in name:
        if Path(name).exists():
            return Path(name)
        raise VideoError(f"{name} does not exist: is the camera plugged in? {_those_there(by_id)}")
    # Index 0 gives pictures; a camera's other devices give metadata.
    found = [link for link in _cameras(by_id) if name and name in link.name]
    if len(found) == 1:
        return found[0]
    many = f"{len(found)} cameras have" if found else "no camera has"
    raise VideoError(f"{many} '{name}' in the name. {_those_there(by_id)}")


def _cameras(by_id: Path) -> list[Path]:
    return sorted(by_id.glob("*-video-index0")) if by_id.is_dir() else []


def _those_there(by_id: Path) -> str:
    names = [link.name for link in _cameras(by_id)]
    return f"Plugged in: {', '.join(names)}" if names else f"{by_id} lists no camera"


class V4L2Camera:
    """A V4L2 camera.

    Args:
        device: such as /dev/video0.
        settings: what it is asked for.
        open_capture: makes a `cv2.VideoCapture`.
    """

    def __init__(
        self,
        device: Path,
        settings: CaptureSettings,
        open_capture: Callable[[str, int], Any] = cv2.VideoCapture,
    ):
        self._device, self._settings = device, settings
        self._capture = open_capture(str(device), cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise VideoError(
                f"{device} cannot be opened: does another program use it, is the user in the group 'video' "
                "(sudo usermod -aG video $USER, then log in again), is it the camera's device for pictures (index 0)?"
            )
        self.refused = tuple(self._ask())

    @property
    def description(self) -> str:
        width, height = (round(self._capture.get(one)) for one in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        kind = "MJPG" if self._is_mjpg else "encoded here"
        return f"{width}x{height} at {self._capture.get(cv2.CAP_PROP_FPS):g} Hz, {kind}"

    def read(self) -> CapturedJpeg | None:
        is_read, frame = self._capture.read()
        if not is_read:
            raise VideoError(f"{self._device} gives no pictures any more: was it unplugged?")
        captured_s = self._captured_s()
        if not self._is_mjpg:
            return CapturedJpeg(encode(frame, self._settings.jpeg_quality), captured_s)
        # A buffer may be longer than its picture.
        jpeg = frame.tobytes().rstrip(b"\0")
        is_whole = jpeg.startswith(_JPEG_BEGIN) and jpeg.endswith(_JPEG_END)
        return CapturedJpeg(jpeg, captured_s) if is_whole else None

    def close(self) -> None:
        self._capture.release()

    def _ask(self) -> list[str]:
        """Sets what is wanted, in the order that V4L2 needs; the sentences on what the camera does not follow."""
        wanted, set_ = self._settings, self._capture.set
        set_(cv2.CAP_PROP_FOURCC, _MJPG)
        for name, value in ((cv2.CAP_PROP_FRAME_WIDTH, wanted.width), (cv2.CAP_PROP_FRAME_HEIGHT, wanted.height),
                            (cv2.CAP_PROP_FPS, wanted.frame_rate_hz)):  # fmt: skip
            if value:
                set_(name, value)
        self._is_mjpg = round(self._capture.get(cv2.CAP_PROP_FOURCC)) == _MJPG
        set_(cv2.CAP_PROP_CONVERT_RGB, 0 if self._is_mjpg else 1)
        manual = {
            "exposure": (wanted.exposure, cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL_EXPOSURE, cv2.CAP_PROP_EXPOSURE),
            "focus": (wanted.focus, cv2.CAP_PROP_AUTOFOCUS, 0, cv2.CAP_PROP_FOCUS),
        }
        refused = []
        for control, (value, automatic, off, amount) in manual.items():
            if value >= 0 and not (set_(automatic, off) and set_(amount, value)):
                refused.append(f"{self._device} does not take {control} {value}: `v4l2-ctl -l` lists what it has")
        if wanted.exposure < 0:
            set_(cv2.CAP_PROP_AUTO_EXPOSURE, _AUTOMATIC_EXPOSURE)
        if wanted.focus < 0:
            set_(cv2.CAP_PROP_AUTOFOCUS, 1)
        return refused + self._other_format()

    def _other_format(self) -> list[str]:
        get, wanted = self._capture.get, self._settings
        found = {
            "width": (wanted.width, round(get(cv2.CAP_PROP_FRAME_WIDTH))),
            "height": (wanted.height, round(get(cv2.CAP_PROP_FRAME_HEIGHT))),
            "frame_rate_hz": (wanted.frame_rate_hz, round(get(cv2.CAP_PROP_FPS), 3)),
        }
        return [
            f"{self._device} gives {name} {given:g}, asked {asked:g}: `v4l2-ctl --list-formats-ext` lists what it has"
            for name, (asked, given) in found.items()
            if asked and abs(asked - given) > 0.01 * asked
        ]

    def _captured_s(self) -> float:
        """The driver's stamp of the buffer, where it is one of the monotonic clock; else now."""
        now_s = time.monotonic()
        stamp_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e-3
        return stamp_s if 0.0 <= now_s - stamp_s <= _MAX_STAMP_AGE_S else now_s


class VideoFile:
    """A video file at its own rate, or at `settings.frame_rate_hz`, from the start again at its end.

    Args:
        path: of the file.
        settings: size 0 means that of the file.
        wait: sleeps [s].
    """

    refused: tuple[str, ...] = ()

    def __init__(self, path: Path, settings: CaptureSettings, wait: Callable[[float], object] = time.sleep):
        self._path, self._settings, self._wait = path, settings, wait
        self._open()
        self._rate_hz = settings.frame_rate_hz or self._capture.get(cv2.CAP_PROP_FPS)
        if not self._capture.isOpened() or not self._rate_hz > 0.0:
            raise VideoError(f"{path} cannot be read as a video")
        self._due_s = time.monotonic()

    @property
    def description(self) -> str:
        return f"{self._path.name} at {self._rate_hz:g} Hz, encoded here"

    def read(self) -> CapturedJpeg | None:
        now_s = time.monotonic()
        self._wait(max(0.0, self._due_s - now_s))
        self._due_s = max(self._due_s, now_s) + 1.0 / self._rate_hz
        frame = self._next_frame()
        width, height = self._settings.width, self._settings.height
        if width and height:
            frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        return CapturedJpeg(encode(frame, self._settings.jpeg_quality), time.monotonic())

    def close(self) -> None:
        self._capture.release()

    def _open(self) -> None:
        self._capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)

    def _next_frame(self) -> Any:
        for _ in range(2):
            is_read, frame = self._capture.read()
            if is_read:
                return frame
            self._open()  # not every file can be wound back
        raise VideoError(f"{self._path} holds no picture that can be read")


def encode(frame: np.ndarray, quality: int) -> bytes:
    """A picture (H, W, 3), uint8, BGR, as a JPEG file."""
    _, data = cv2.imencode(".jpg", frame, (cv2.IMWRITE_JPEG_QUALITY, quality))
    return bytes(data.tobytes())
