"""Who converts raw images: cv_bridge only where it survives a try."""

import os
import sys

import pytest

from smolvla_ros.robot import raw_conversion

GOOD = """
import numpy as np
class CvBridge:
    def imgmsg_to_cv2(self, image, encoding):
        return np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)[:, :, ::-1]
"""


@pytest.fixture
def cv_bridge(tmp_path, monkeypatch):
    """Installs a cv_bridge of this text, for this process and those that it starts."""

    def install(text):
        (tmp_path / "cv_bridge.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
        raw_conversion.converter.cache_clear()

    yield install
    raw_conversion.converter.cache_clear()
    sys.modules.pop("cv_bridge", None)


@pytest.mark.parametrize(
    "text",
    [
        "import ctypes; ctypes.string_at(0)",  # a segmentation fault when it is imported
        GOOD.replace("return", "import ctypes; ctypes.string_at(0); return"),  # or at the first image
        "raise ImportError('numpy.core.multiarray failed to import')",
        GOOD.replace("[:, :, ::-1]", ""),
    ],
)
def test_a_cv_bridge_that_crashes_or_converts_wrongly_is_not_used(cv_bridge, text):
    cv_bridge(text)
    assert raw_conversion.converter() is raw_conversion._by_rosbags


def test_a_cv_bridge_that_works_is_used(cv_bridge):
    cv_bridge(GOOD)
    assert raw_conversion.converter() is raw_conversion._by_cv_bridge


def test_without_cv_bridge_no_process_is_started(monkeypatch):
    monkeypatch.setattr(raw_conversion.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(raw_conversion, "cv_bridge_works", lambda: pytest.fail("nothing to try"))
    raw_conversion.converter.cache_clear()
    assert raw_conversion.converter() is raw_conversion._by_rosbags
    raw_conversion.converter.cache_clear()
