"""Camera messages -> RGB arrays, checked before anything believes them.

`check_image` judges a message by its header and costs microseconds whatever the message holds; `decode_image` makes the
picture. Sizes are known, and limited, before anything is decoded: a small file can hold a picture of gigabytes.

Raw images are converted by cv_bridge where that is installed and works, else by `rosbags.image`; both take messages of
rclpy and of bag files alike. Neither checks lengths, and `rosbags.image` knows no row padding, so the layout is checked
and the padding removed here.
"""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.wording import shortened

from .compressed import CompressedHeader, read_header
from .raw_conversion import to_rgb8
from .refusals import Refusal, RefusedMessage

MAX_PIXELS = 16_000_000
# A picture that is longer than this is a stripe: nothing of it is left when it is fitted into a square.
MAX_ASPECT_RATIO = 32

# Bytes per pixel of each encoding that is accepted (names: sensor_msgs/image_encodings.hpp). Depth and generic
# encodings ("16UC1") carry no colour and are refused.
BYTES_PER_PIXEL = {
    "rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1,
    "rgb16": 6, "bgr16": 6, "rgba16": 8, "bgra16": 8, "mono16": 2,
    "bayer_rggb8": 1, "bayer_bggr8": 1, "bayer_gbrg8": 1, "bayer_grbg8": 1,
    "yuv422": 2, "uyvy": 2, "yuv422_yuy2": 2, "yuyv": 2,
}  # fmt: skip
# Two neighbours share a colour.
_PAIRED = {"yuv422", "uyvy", "yuv422_yuy2", "yuyv"}
# A field of four pixels makes a colour, and the conversion looks at the neighbours too.
_MIN_BAYER = 4

# "16UC1" of "16UC1; png compressed": one channel of more than 8 bits and of no colour, or of floating point.
_DEPTH = re.compile(r"\s*(16|32|64)[USF]C1\b")
_SIXTEEN_BIT_GREY = re.compile(r"\s*mono16\b")
_GREY_OF_COLOUR = re.compile(r"(?:(?!mono)\w+;)?\s*\w+ compressed mono8")


class ImageError(RefusedMessage):
    """An image message that cannot be used; the text says what was found and what was expected."""


def decode_image(message: Any) -> NDArray[np.uint8]:
    """Decodes a sensor_msgs/Image or sensor_msgs/CompressedImage to RGB uint8 [height, width, 3].

    The array is a copy: it does not change when the message is reused.

    Raises:
        ImageError: an unknown encoding, sizes that contradict each other or the data, or damaged data.
    """
    check_image(message)
    if hasattr(message, "format"):
        return _decode_compressed(message)
    return np.array(to_rgb8(_without_padding(message)), dtype=np.uint8, order="C")


def check_image(message: Any) -> None:
    """Checks everything that can be told without decoding; cheap enough for a callback.

    Raises:
        ImageError: as `decode_image`, but for compressed data that turn out to be damaged.
    """
    if hasattr(message, "format"):
        _check_compressed(message)
    else:
        _check_raw(message)


def greyed(message: Any) -> bool:
    """Whether a compressed image says that a colour camera's picture was made grey on its way."""
    return bool(_GREY_OF_COLOUR.fullmatch(getattr(message, "format", "")[:_MOST_OF_A_FORMAT].strip()))


_MOST_OF_A_FORMAT = 100


def _check_raw(message: Any) -> None:
    encoding = message.encoding
    bytes_per_pixel = BYTES_PER_PIXEL.get(encoding)
    if bytes_per_pixel is None:
        expected = ", ".join(BYTES_PER_PIXEL)
        raise ImageError(Refusal.ENCODING, f"encoding is {shortened(encoding)!r}, expected one of {expected}")
    height, width, step = message.height, message.width, message.step
    _check_size(width, height)
    if encoding in _PAIRED and width % 2:
        raise ImageError(Refusal.SIZE, f"width is {width}, expected an even number of pixels for {encoding}")
    if encoding.startswith("bayer_") and min(width, height) < _MIN_BAYER:
        raise ImageError(Refusal.SIZE, f"size is {width}x{height}, expected {_MIN_BAYER}x{_MIN_BAYER} for {encoding}")
    if step < width * bytes_per_pixel:
        raise ImageError(
            Refusal.LAYOUT,
            f"step is {step}, expected at least {width * bytes_per_pixel} for {width} pixels of {encoding}",
        )
    if len(message.data) != step * height:
        raise ImageError(
            Refusal.LAYOUT, f"data has {len(message.data)} bytes, expected step * height = {step * height}"
        )


def _check_size(width: int, height: int) -> None:
    if height <= 0 or width <= 0 or height * width > MAX_PIXELS:
        raise ImageError(Refusal.SIZE, f"size is {width}x{height}, expected 1 to {MAX_PIXELS} pixels")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise ImageError(
            Refusal.SIZE, f"size is {width}x{height}, expected at most {MAX_ASPECT_RATIO} times as long as wide"
        )


def _check_compressed(message: Any) -> CompressedHeader:
    name = shortened(message.format)
    if _DEPTH.match(message.format):
        raise ImageError(
            Refusal.ENCODING, f"format is {name!r}: depth or raw values, expected a colour or grey picture"
        )
    if len(message.data) == 0:
        raise ImageError(Refusal.NO_PICTURE, "compressed image has no data")
    try:
        header = read_header(message.data)
    except ValueError as error:
        raise ImageError(Refusal.NO_PICTURE, f"compressed image of format {name!r} {error}") from error
    _check_size(header.width, header.height)
    if header.sixteen_bit_grey and not _SIXTEEN_BIT_GREY.match(message.format):
        raise ImageError(
            Refusal.ENCODING,
            f"compressed image of format {name!r} is a grey PNG of 16 bits: depth, expected a colour picture, or "
            "'mono16' in the format",
        )
    return header


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

    try:
        image = cv2.imdecode(np.frombuffer(message.data, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        name = shortened(message.format)
        raise ImageError(Refusal.BROKEN, f"compressed image of format {name!r} cannot be decoded: its data are damaged")
    return np.ascontiguousarray(image[:, :, ::-1])
