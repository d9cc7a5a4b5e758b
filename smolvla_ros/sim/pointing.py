"""Guided attention: the word of a colour must look at the image tokens that show its cube.

Without it, words find their things only after thousands of steps: as long as a word looks at everything, no gradient
tells it which colour is its own. Where a cube is seen needs no labels, the pictures tell it by hue. Only in training,
and only for one head of the first language layer; what the other heads and layers look at is theirs to learn.
After Liu et al., "Attention correctness in neural image captioning", arXiv 1605.09553.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from smolvla_ros.model import SmolVLANetwork

from .heads import Truth
from .layout import base_hues_deg

_HUE_TOLERANCE_DEG = 15.0
_LEAST_SATURATION, _LEAST_VALUE = 0.43, 0.2
_LEAST_PIXELS = 6  # of a camera's picture; fewer may be an edge
_HEAD = 0


class PointingLoss:
    """How far the attention of colour words is from where the cubes are seen, for the last `encode_prefix`."""

    def __init__(self, network: SmolVLANetwork) -> None:
        self._layer: Any = network.language.layers[0]
        self._side = network.config.vision.grid // network.config.scale_factor
        self._seen: tuple[Any, ...] = ()
        self._layer.register_forward_hook(self._remember)

    def _remember(self, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self._seen = inputs

    def __call__(self, images: Tensor, truth: Truth) -> Tensor:
        """Mean Kullback-Leibler divergence, in nats.

        Args:
            images: [cameras, P, 3, H, W] in [0, 1], undisturbed.
            truth: of the B instructions, B / P in a row for each picture.
        """
        stream, rotary, _ = self._seen
        queries, keys, _ = self._layer.self_attn.project(self._layer.input_layernorm(stream), rotary)
        shares = cube_shares(images, self._side).repeat_interleave(len(truth.cube) // images.shape[1], 0)
        rows = torch.nonzero((truth.cube >= 0) & (truth.cube_token >= 0))[:, 0]
        wanted = shares[rows, truth.cube[rows]]
        visible = wanted.sum(-1) > 0
        rows, wanted = rows[visible], wanted[visible]
        if not len(rows):
            return stream.sum() * 0.0
        tokens = wanted.shape[-1]
        query = queries[rows, tokens + truth.cube_token[rows], _HEAD]
        scores = (keys[rows, _HEAD, :tokens] @ query[..., None])[..., 0] / math.sqrt(query.shape[-1])
        entropy = torch.special.entr(wanted).sum(-1)
        return (-(wanted * scores.log_softmax(-1)).sum(-1) - entropy).mean()


def cube_shares(images: Tensor, side: int) -> Tensor:
    """Where each colour is seen: images [cameras, P, 3, H, W] in [0, 1] -> [P, colours, cameras * side * side].

    Sums to 1 for each colour, every camera that sees it counts the same; all zero if none does.
    """
    brightest, darkest = images.amax(2), images.amin(2)
    spread = (brightest - darkest).clamp_min(1e-6)
    red, green, blue = images.unbind(2)
    sector = torch.where(
        brightest == red,
        (green - blue) / spread,
        torch.where(brightest == green, (blue - red) / spread + 2, (red - green) / spread + 4),
    )
    vivid = (spread / brightest.clamp_min(1e-6) > _LEAST_SATURATION) & (brightest > _LEAST_VALUE)
    hue_deg = 60 * sector
    parts = []
    for base_deg in base_hues_deg():
        away_deg = ((hue_deg - base_deg + 180) % 360 - 180).abs()
        parts.append(_token_counts(vivid & (away_deg < _HUE_TOLERANCE_DEG), side))
    counts = torch.stack(parts, 2)  # [cameras, P, colours, side * side]
    total = counts.sum(-1, keepdim=True)
    shares = torch.where(total >= _LEAST_PIXELS, counts / total.clamp_min(1), 0.0).permute(1, 2, 0, 3).flatten(2)
    return shares / shares.sum(-1, keepdim=True).clamp_min(1)


def _token_counts(mask: Tensor, side: int) -> Tensor:
    """Pixels [..., H, W] -> how many of each image token [..., side * side]."""
    height, width = (size // side for size in mask.shape[-2:])
    return mask.float().unflatten(-1, (side, width)).unflatten(-3, (side, height)).sum((-1, -3)).flatten(-2)
