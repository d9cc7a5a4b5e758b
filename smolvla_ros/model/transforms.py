"""What happens to data before and after the network, as lists of small transforms in the order in which they run.

A transform takes a tensor and gives a new one; it never changes the one that it got. A new step is a line in `of`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from smolvla_ros.model import aloha
from smolvla_ros.model.config import SmolVLAConfig
from smolvla_ros.model.images import Fit, to_signed, to_unit
from smolvla_ros.model.normalisation import Normaliser


class Transform(Protocol):
    """One step of the way."""

    def __call__(self, values: Tensor, /) -> Tensor: ...


def run(transforms: Sequence[Transform], values: Tensor) -> Tensor:
    """The transforms one after the other."""
    for transform in transforms:
        values = transform(values)
    return values


@dataclass(frozen=True)
class Transforms:
    """The ways of one checkpoint's data.

    images: by camera, uint8 [height, width, 3] RGB -> [1, 3, h, w] in [-1, 1].
    state: [state_dim] in checkpoint units -> the same as the network sees it; `to_network` gives it its shape.
    actions: normalised [chunk_size, action_dim] -> checkpoint units.
    """

    images: Mapping[str, Sequence[Transform]]
    state: Sequence[Transform]
    to_network: Sequence[Transform]
    actions: Sequence[Transform]

    @classmethod
    def of(
        cls,
        config: SmolVLAConfig,
        state: Normaliser,
        action: Normaliser,
        images: Mapping[str, Normaliser],
        aloha_outside: bool,
    ) -> Self:
        """`images` has the rare normalisers of cameras; `aloha_outside` is told at `Processing`."""
        from_arm: list[Transform] = [aloha.decode_state] if config.adapt_to_pi_aloha else []
        to_arm: list[Transform] = [aloha.encode_actions] if config.adapt_to_pi_aloha else []
        fit: list[Transform] = [Fit(*config.image_size_wh)] if config.image_size_wh else []
        normalise, unnormalise = [state.normalise], [action.unnormalise]
        return cls(
            images={
                name: [to_unit, *([images[name].normalise] if name in images else []), *fit, to_signed]
                for name in config.image_features
            },
            state=[*from_arm, *normalise] if aloha_outside else [*normalise, *from_arm],
            to_network=[Pad(config.max_state_dim), torch.atleast_2d],
            actions=[*unnormalise, *to_arm] if aloha_outside else [*to_arm, *unnormalise],
        )


@dataclass(frozen=True)
class Pad:
    """Zeros behind the values, up to `size` of them."""

    size: int

    def __call__(self, values: Tensor) -> Tensor:
        return F.pad(values, (0, self.size - values.shape[-1]))
