"""Images -> the mp4 files of a LeRobotDataset: one clip per episode, clips put one after the other into files.

Clips are encoded once and their packets copied, as LeRobot does, so an episode begins with a key frame and a file is
complete before it gets too large. Frames lie exactly on k/fps, which is what LeRobot's reader asks for. One thread.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from smolvla_ros.bags.errors import BagError

from .layout import VIDEO_FILE_BYTES, FilePlace, video_file
from .scheduling import scheduling_kept

PIXEL_FORMAT = "yuv420p"

# LeRobot finds frames by times in float32, to within 0.1 ms; beyond 1024 s float32 is coarser than that.
_MAX_FILE_S = 1000.0

# LeRobot's settings. Its preset for AV1 is 12, which SVT-AV1 3 took for 10; SVT-AV1 4 has a 12 of its own: it repeats
# the key frame where only the brightness changes, and is no faster. Every other frame is a key frame, because training
# reads single frames. No frame refers to one after it (bf), so times of decoding are those of display.
_OPTIONS = {"g": "2", "crf": "30"}


@dataclass(frozen=True)
class Codec:
    """A video codec: its name in info.json, its encoder in FFmpeg, the encoder's options."""

    name: str
    encoder: str
    options: dict[str, str]


CODECS = {
    "av1": Codec("av1", "libsvtav1", {**_OPTIONS, "preset": "10"}),
    "h264": Codec("h264", "libx264", {**_OPTIONS, "bf": "0"}),
    "hevc": Codec("hevc", "libx265", {**_OPTIONS, "x265-params": "bframes=0:log-level=error"}),
}


def choose_codec(name: str) -> Codec:
    """The codec of this name; '' for AV1 as LeRobot writes it, or H.264 where there is no encoder for it.

    Raises:
        BagError: FFmpeg here has no encoder for it.
    """
    if not name:
        name = "av1" if CODECS["av1"].encoder in av.codecs_available else "h264"
    codec = CODECS[name]
    if codec.encoder not in av.codecs_available:
        there = ", ".join(other.name for other in CODECS.values() if other.encoder in av.codecs_available)
        raise BagError(
            f"codec '{name}' needs the encoder {codec.encoder}, which PyAV lacks here; it has {there or 'none'}"
        )
    return codec


def even_size(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image without its last row or column where their number is odd: the colours of yuv420p come in pairs."""
    height, width = image.shape[:2]
    return image[: height - height % 2, : width - width % 2]


class Clip:
    """The video of one camera in one episode, being encoded into a file of its own.

    Args:
        file: to be written.
        size: height and width, both even.
    """

    def __init__(self, file: Path, codec: Codec, fps: int, size: tuple[int, int]):
        os.environ.setdefault("SVT_LOG", "0")  # the AV1 encoder writes to stderr by itself
        self.file = file
        self.frames = 0
        self._container = av.open(str(file), "w", format="mp4")
        stream = self._container.add_stream(codec.encoder, rate=fps, options=codec.options)
        assert isinstance(stream, av.VideoStream), f"{codec.encoder} encodes videos"
        self._stream = stream
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = PIXEL_FORMAT
        with scheduling_kept():
            self._stream.codec_context.open()

    def add(self, image: NDArray[np.uint8]) -> None:
        """The next frame, RGB [height, width, 3]."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def finish(self) -> None:
        """Writes what is left; the file is complete."""
        self._container.mux(self._stream.encode())
        self._container.close()


@dataclass(frozen=True)
class ClipPlace:
    """Where the clip of an episode lies: file, and from when to when in it [s]."""

    file: FilePlace
    from_s: float
    to_s: float


class VideoFiles:
    """The video files of one camera.

    Args:
        root: of the dataset.
        feature: of the camera.
        max_bytes: no file gets larger, unless one episode alone is.
    """

    def __init__(self, root: Path, feature: str, fps: int, max_bytes: int = VIDEO_FILE_BYTES):
        self._root, self._feature, self._fps, self._max_bytes = root, feature, fps, max_bytes
        self._place = FilePlace()
        self._container: av.container.OutputContainer | None = None
        self._stream: av.VideoStream | None = None
        self._frames = 0
        self._bytes = 0

    def append(self, clip: Clip) -> ClipPlace:
        """Takes over a finished clip; its own file is removed."""
        size = clip.file.stat().st_size
        seconds = (self._frames + clip.frames) / self._fps
        if self._frames and (self._bytes + size >= self._max_bytes or seconds > _MAX_FILE_S):
            self.close()
            self._place = self._place.next()
        self._copy(clip)
        clip.file.unlink()
        first, self._frames, self._bytes = self._frames, self._frames + clip.frames, self._bytes + size
        return ClipPlace(self._place, first / self._fps, self._frames / self._fps)

    def close(self) -> None:
        """Completes the file that is being written."""
        if self._container:
            self._container.close()
        self._container = self._stream = None
        self._frames = self._bytes = 0

    def _copy(self, clip: Clip) -> None:
        with av.open(str(clip.file)) as source:
            video = source.streams.video[0]
            if self._container is None or self._stream is None:
                file = self._root / video_file(self._feature, self._place)
                file.parent.mkdir(parents=True, exist_ok=True)
                self._container = av.open(str(file), "w", options={"movflags": "faststart"})
                self._stream = self._container.add_stream_from_template(video, opaque=True)  # no encoder is needed
                self._stream.time_base = video.time_base
            assert video.time_base is not None, "a clip has a time base"
            offset = round(Fraction(self._frames, self._fps) / video.time_base)
            for packet in source.demux(video):
                if packet.dts is None or packet.pts is None:  # the end of the stream
                    continue
                packet.pts += offset
                packet.dts += offset
                packet.stream = self._stream
                self._container.mux(packet)


def video_info(codec: Codec, fps: int, size: tuple[int, int]) -> dict[str, object]:
    """What info.json says of the videos of a camera."""
    return {
        "video.height": size[0],
        "video.width": size[1],
        "video.codec": codec.name,
        "video.pix_fmt": PIXEL_FORMAT,
        "video.is_depth_map": False,
        "video.fps": fps,
        "video.channels": 3,
        "has_audio": False,
    }
