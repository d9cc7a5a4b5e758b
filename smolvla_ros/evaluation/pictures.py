"""The demo's pictures: a strip with one row for each episode, and an animation of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import font_manager
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_INK = (33, 37, 41)
_PAPER = (250, 250, 248)
_GOOD, _BAD = (46, 125, 50), (183, 28, 28)
_CAPTION_PX = 34
_STRIP_COLUMNS = 5
_STRIP_WIDTH_PX = 300
_LAST_FRAME_MS = 900
_MOTION = 0.5  # mean difference of two frames in grey levels


@dataclass(frozen=True)
class Scene:
    """What one episode looked like: uint8 RGB frames [H, W, 3], their times in s, and what to write beside them."""

    frames: Sequence[NDArray[np.uint8]]
    times_s: Sequence[float]
    instruction: str
    verdict: str
    success: bool


def save_strip(file: Path, scenes: Sequence[Scene]) -> None:
    """Writes a picture with one row for each scene: frames evenly spaced in time, from the first motion on."""
    rows = [_row(scene) for scene in scenes if scene.frames]
    strip = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), _PAPER)
    top = 0
    for row in rows:
        strip.paste(row, (0, top))
        top += row.height
    strip.save(file, optimize=True)


def save_animation(file: Path, scenes: Sequence[Scene]) -> None:
    """Writes an animated WebP, in the pace of the run; the last frame of a scene stays for a moment."""
    frames, durations_ms = [], []
    for scene in scenes:
        if not scene.frames:
            continue
        captioned = [_captioned(Image.fromarray(frame), scene, last=False) for frame in scene.frames]
        captioned[-1] = _captioned(Image.fromarray(scene.frames[-1]), scene, last=True)
        frames += captioned
        durations_ms += [*(1000 * np.diff(scene.times_s)).round().astype(int).tolist(), _LAST_FRAME_MS]
    # Lossy: the 256 colours of a GIF flicker on small cubes.
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=durations_ms, loop=0, quality=60, method=0)


def _row(scene: Scene) -> Image.Image:
    places = np.linspace(_first_motion(scene.frames), len(scene.frames) - 1, _STRIP_COLUMNS).round().astype(int)
    pictures = [Image.fromarray(scene.frames[place]) for place in places]
    height = round(_STRIP_WIDTH_PX * pictures[0].height / pictures[0].width)
    row = Image.new("RGB", (_STRIP_COLUMNS * _STRIP_WIDTH_PX, height + _CAPTION_PX), _PAPER)
    _write_caption(row, scene, last=True)
    for column, picture in enumerate(pictures):
        resized = picture.resize((_STRIP_WIDTH_PX, height), Image.Resampling.LANCZOS)
        row.paste(resized, (column * _STRIP_WIDTH_PX, _CAPTION_PX))
    return row


def _first_motion(frames: Sequence[NDArray[np.uint8]]) -> int:
    """Index of the last frame that looks like the first one; the arm stands still until the first chunk is there."""
    still = frames[0].astype(int)
    moved = [i for i, frame in enumerate(frames) if np.abs(frame - still).mean() > _MOTION]
    return max(0, moved[0] - 1) if moved else 0


def _captioned(picture: Image.Image, scene: Scene, last: bool) -> Image.Image:
    canvas = Image.new("RGB", (picture.width, picture.height + _CAPTION_PX), _PAPER)
    canvas.paste(picture, (0, _CAPTION_PX))
    _write_caption(canvas, scene, last)
    return canvas


def _write_caption(canvas: Image.Image, scene: Scene, last: bool) -> None:
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 17)
    middle = _CAPTION_PX / 2
    draw.text((10, middle), f"“{scene.instruction}”", fill=_INK, font=font, anchor="lm")
    if last:
        colour = _GOOD if scene.success else _BAD
        draw.text((canvas.width - 10, middle), scene.verdict, fill=colour, font=font, anchor="rm")
