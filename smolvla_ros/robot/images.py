"""Camera messages -> RGB arrays, checked before anything believes them.

The conversion itself is cv_bridge's where that is installed (a ROS installation) and that of `rosbags.image` otherwise;
both take messages of rclpy and of bag files alike. Neither checks lengths, and `rosbags.image` knows no row padding, so
the layout is checked and the padding removed here.
"""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_PIXELS = 16_000_000

# Bytes per pixel of each encoding that is accepted (names: sensor_msgs/image_encodings.hpp). Depth and generic
# encodings ("16UC1") carry no colour and are refused.
BYTES_PER_PIXEL = {
    "rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1,
    "rgb16": 6, "bgr16": 6, "rgba16": 8, "bgra16": 8, "mono16": 2,
    "bayer_rggb8": 1, "bayer_bggr8": 1, "bayer_gbrg8": 1, "bayer_grbg8": 1,
    "yuv422": 2, "uyvy": 2, "yuv422_yuy2": 2, "yuyv": 2,
}  # fmt: skip


class ImageError(ValueError):
    """An image message that cannot be used; the text says what was found and what was expected."""


def decode_image(message: Any) -> NDArray[np.uint8]:
    """Decodes a sensor_msgs/Image or sensor_msgs/CompressedImage to RGB uint8 [height, width, 3].

    The array is a copy: it does not change when the message is reused.

    Raises:
        ImageError: an unknown encoding, or sizes that contradict each other or the data.
    """
    check_image(message)
    if hasattr(message, "format"):
        return _decode_compressed(message)
    return np.array(_to_rgb8(_without_padding(message)), dtype=np.uint8, order="C")


def check_image(message: Any) -> None:
    """Checks everything that can be told without decoding; cheap enough for a callback.

    Raises:
        ImageError: as `decode_image`, but for compressed data that turn out to be damaged.
    """
    if hasattr(message, "format"):
        if len(message.data) == 0:
            raise ImageError("compressed image has no data")
        return
    bytes_per_pixel = BYTES_PER_PIXEL.get(message.encoding)
    if bytes_per_pixel is None:
        raise ImageError(f"encoding is {message.encoding!r}, expected one of {', '.join(BYTES_PER_PIXEL)}")
    height, width, step = message.height, message.width, message.step
    if height == 0 or width == 0 or height * width > MAX_PIXELS:
        raise ImageError(f"size is {width}x{height}, expected 1 to {MAX_PIXELS} pixels")
    if step < width * bytes_per_pixel:
        raise ImageError(
            f"step is {step}, expected at least {width * bytes_per_pixel} for {width} pixels of {message.encoding}"
        )
    if len(message.data) != step * height:
        raise ImageError(f"data has {len(message.data)} bytes, expected step * height = {step * height}")


def _without_padding(message: Any) -> SimpleNamespace:
    row_bytes = message.width * BYTES_PER_PIXEL[message.encoding]
    rows = np.frombuffer(message.data, dtype=np.uint8).reshape(message.height, message.step)
    return SimpleNamespace(
        height=message.height,
        width=message.width,
        encoding=message.encoding,
        is_bigendian=message.is_bigendian,
        step=row_bytes,
        data=np.ascontiguousarray(rows[:, :row_bytes]).reshape(-1),
    )


def _decode_compressed(message: Any) -> NDArray[np.uint8]:
    import cv2  # the controller and the sim import this package without decoding anything

    image = cv2.imdecode(np.frombuffer(message.data, dtype=np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ImageError(f"compressed image of format {message.format!r} cannot be decoded, expected JPEG or PNG")
    if image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise ImageError(f"size is {image.shape[1]}x{image.shape[0]}, expected 1 to {MAX_PIXELS} pixels")
    return np.ascontiguousarray(image[:, :, ::-1])


if importlib.util.find_spec("cv_bridge") is not None:

    def _to_rgb8(image: SimpleNamespace) -> NDArray[np.uint8]:
        from cv_bridge import CvBridge

        return CvBridge().imgmsg_to_cv2(image, "rgb8")

else:

    def _to_rgb8(image: SimpleNamespace) -> NDArray[np.uint8]:
        from rosbags.image import image_to_cvimage

        return image_to_cvimage(image, "rgb8")
