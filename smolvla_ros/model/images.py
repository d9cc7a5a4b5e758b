"""Camera images as the network wants them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from smolvla_ros.model.errors import ObservationError


def check_image(name: str, image: NDArray[np.uint8]) -> None:
    """Refuses anything but an RGB image uint8 [height, width, 3] of at least one pixel."""
    found = f"{getattr(image, 'dtype', type(image).__name__)} {list(getattr(image, 'shape', ()))}"
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ObservationError(f"image {name!r} is {found}; expected uint8 [height, width, 3] in RGB order")
    if 0 in image.shape:
        raise ObservationError(f"image {name!r} is {found}; expected at least one pixel")


def to_unit(image: Tensor) -> Tensor:
    """RGB uint8 [h, w, 3] -> [1, 3, h, w] float32 in [0, 1]."""
    return image.permute(2, 0, 1)[None].float() / 255.0


def to_signed(pixels: Tensor) -> Tensor:
    """[0, 1] -> [-1, 1]."""
    return pixels * 2.0 - 1.0


@dataclass(frozen=True)
class Fit:
    """`resize_with_pad` to one size, in pixels."""

    width: int
    height: int

    def __call__(self, pixels: Tensor) -> Tensor:
        return resize_with_pad(pixels, self.width, self.height)


def resize_with_pad(pixels: Tensor, width: int, height: int) -> Tensor:
    """Fits [B, 3, h, w] into width x height, keeping the aspect, black above and to the left.

    Plain bilinear without antialiasing: that is what the checkpoints were trained with.
    """
    h, w = pixels.shape[-2:]
    if (w, h) == (width, height):
        return pixels
    ratio = max(w / width, h / height)
    fitted_h, fitted_w = int(h / ratio), int(w / ratio)
    if fitted_h == 0 or fitted_w == 0:
        raise ObservationError(f"an image of {w} x {h} pixels has no pixel left when fitted into {width} x {height}")
    pixels = F.interpolate(pixels, size=(fitted_h, fitted_w), mode="bilinear", align_corners=False)
    return F.pad(pixels, (width - fitted_w, 0, height - fitted_h, 0))
