"""Raw images to RGB: by cv_bridge where it works, else by `rosbags.image`.

A cv_bridge that was compiled for another numpy than the one installed ends the process with a segmentation fault at the
first image, which nothing in that process can catch. So another process tries it, once.
"""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

_TRY_TIMEOUT_S = 30.0
_TRY = """
from types import SimpleNamespace
from cv_bridge import CvBridge
pixel = SimpleNamespace(height=1, width=2, encoding="bgr8", is_bigendian=0, step=6, data=bytes([1, 2, 3, 4, 5, 6]))
assert CvBridge().imgmsg_to_cv2(pixel, "rgb8").tolist() == [[[3, 2, 1], [6, 5, 4]]]
"""


def to_rgb8(image: SimpleNamespace) -> NDArray[np.uint8]:
    """RGB of the fields of a sensor_msgs/Image that were checked and have no padding."""
    return converter()(image)


@functools.cache
def converter() -> Callable[[SimpleNamespace], NDArray[np.uint8]]:
    """What converts here. The first call takes a second where cv_bridge is installed: it is tried."""
    if importlib.util.find_spec("cv_bridge") is not None and cv_bridge_works():
        return _by_cv_bridge
    return _by_rosbags


def cv_bridge_works() -> bool:
    """Whether a process of its own converts an image with cv_bridge and lives."""
    try:
        tried = subprocess.run([sys.executable, "-c", _TRY], capture_output=True, timeout=_TRY_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


def _by_cv_bridge(image: SimpleNamespace) -> NDArray[np.uint8]:
    from cv_bridge import CvBridge

    converted: Any = CvBridge().imgmsg_to_cv2(image, "rgb8")
    return np.asarray(converted)


def _by_rosbags(image: SimpleNamespace) -> NDArray[np.uint8]:
    from rosbags.image import image_to_cvimage

    converted: Any = image_to_cvimage(cast(Any, image), "rgb8")
    return np.asarray(converted)
