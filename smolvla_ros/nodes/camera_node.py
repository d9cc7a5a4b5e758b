"""The driver of a camera or a video file: `image_raw/compressed`, as JPEG.

Threads: the executor's thread runs callbacks, the capturing thread opens the camera, reads it and publishes. `_lock`
guards what diagnostics tell.
"""

from __future__ import annotations

import array
import threading
import time
from collections import deque

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage

from smolvla_ros.drivers.video import CapturedJpeg, CaptureSettings, VideoError, VideoSource, open_source
from smolvla_ros.parameters.camera import CameraDriverParameters

from .device_diagnostics import device_diagnostics
from .lifecycle import ManagedNode
from .running import run_node

_REOPEN_S = 1.0
_STOP_TIMEOUT_S = 2.0
# Pictures that the rate is told of.
_WINDOW = 30


class CameraNode(ManagedNode[CameraDriverParameters]):
    """Publishes what a camera sees, stamped with the instant of capture. A camera that is unplugged is waited for."""

    PARAMETERS = CameraDriverParameters
    USER_ERRORS = (*ManagedNode.USER_ERRORS, VideoError)

    def __init__(self) -> None:
        super().__init__("camera_node")
        self._lock = threading.Lock()
        self._source: VideoSource | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    # Lifecycle, in the executor's thread.

    def configure(self) -> None:
        self._frame_id = self.parameters.frame_id or f"{self.get_name()}_optical_frame"
        self._trouble = ""
        self._broken = 0
        self._captured_s: deque[float] = deque(maxlen=_WINDOW)
        self._open()
        self._pictures = self.create_publisher(CompressedImage, "image_raw/compressed", QoSProfile(depth=1))
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def activate(self) -> None:
        if self._thread is not None:
            raise VideoError(f"{self.parameters.device} has not answered since the node was stopped: start it anew")
        self._stop.clear()
        self._thread = threading.Thread(target=self.boundary.guarded(self._capture), name="capture", daemon=True)
        self._thread.start()
        self.create_timer(1.0, self._publish_diagnostics)

    def deactivate(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_STOP_TIMEOUT_S)
            if not self._thread.is_alive():
                self._thread = None

    def cleanup(self) -> None:
        if self._thread is None:  # a camera that does not answer is still being read
            self._close()

    def _open(self) -> None:
        """Raises VideoError."""
        values = self.parameters
        settings = CaptureSettings(
            values.width, values.height, values.frame_rate_hz, values.exposure, values.focus, values.jpeg_quality
        )
        self._source = open_source(values.device, settings)
        for sentence in self._source.refused:
            self.get_logger().warning(sentence)
        self.get_logger().info(f"{values.device}: {self._source.description}")

    def _close(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    # The capturing thread.

    def _capture(self) -> None:
        while not self._stop.is_set():
            try:
                if self._source is None:
                    self._open()
                    self._tell("")
                picture = self._source.read() if self._source is not None else None
            except VideoError as error:
                self._close()
                self._tell(str(error))
                self._stop.wait(_REOPEN_S)
                continue
            if picture is None:
                self._broken += 1
            else:
                self._publish(picture)

    def _publish(self, picture: CapturedJpeg) -> None:
        age_ns = round((time.monotonic() - picture.captured_s) * 1e9)
        stamp_ns = max(0, self.get_clock().now().nanoseconds - age_ns)
        message = CompressedImage(format="jpeg", data=array.array("B", picture.jpeg))
        message.header.stamp, message.header.frame_id = Time(nanoseconds=stamp_ns).to_msg(), self._frame_id
        self._pictures.publish(message)
        with self._lock:
            self._captured_s.append(picture.captured_s)

    def _tell(self, trouble: str) -> None:
        """One line when it begins or changes, one when it ends."""
        with self._lock:
            before, self._trouble = self._trouble, trouble
        if trouble and trouble != before:
            self.get_logger().error(trouble)
        elif before and not trouble:
            self.get_logger().info("the camera is back")

    # The executor's thread.

    def _publish_diagnostics(self) -> None:
        with self._lock:
            trouble, times_s = self._trouble, list(self._captured_s)
        rate_hz = (len(times_s) - 1) / (times_s[-1] - times_s[0]) if len(times_s) > 1 else 0.0
        values = {"rate_hz": f"{rate_hz:.1f}", "broken_pictures": str(self._broken)}
        if times_s:
            values["age_s"] = f"{time.monotonic() - times_s[-1]:.3f}"
        message = device_diagnostics(
            self, "camera", self.parameters.device, trouble, f"{rate_hz:.1f} Hz", {**values, **self.health()}
        )
        self._diagnostics.publish(message)


def main() -> int:
    return run_node(CameraNode)
