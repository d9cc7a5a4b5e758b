"""Auxiliary losses of training: what the prefix must know. The heads are dropped when a checkpoint is saved.

The flow loss alone takes very long to connect words with things. So small heads read, from the image tokens, where all
things are; from the token of a colour or a place, where that thing is; and from the state token, which stands behind
the words, where the named cube and place are and what is to be done. "Where" is both the joints over a thing and its
offset from the grasp point, squeezed so that millimetres count when it is near.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dataset import AIMED_JOINTS, THINGS
from .manipulation import Kind
from .task import COLOURS

LOSSES = (
    "all",
    "all_near",
    "word_cube",
    "word_place",
    "named_cube",
    "named_place",
    "near_cube",
    "near_place",
    "held",
    "kind",
)
_WEIGHTS = {
    "held": 0.6,
    "kind": 0.3,
    "word_cube": 0.5,
    "word_place": 0.5,
    "all_near": 2.0,
    "near_cube": 2.0,
    "near_place": 2.0,
}
_WIDTH = 192
_NEAR_M = 0.025
_WHERE = AIMED_JOINTS + 2


@dataclass(frozen=True)
class Truth:
    """What the heads should find, for B instructions.

    aims [B, things, 4] normalised; near [B, things, 2] in m; held, kind [B]; cube, place [B]: index of the named colour
    and place, -1 for none; cube_token, place_token [B]: where their words stand in the text, -1 for nowhere.
    """

    aims: Tensor
    near: Tensor
    held: Tensor
    kind: Tensor
    cube: Tensor
    place: Tensor
    cube_token: Tensor
    place_token: Tensor


class AuxiliaryHeads(nn.Module):
    """Training's view into the prefix."""

    def __init__(self, width: int, image_tokens: int) -> None:
        super().__init__()
        self.image_tokens = image_tokens
        self.everywhere = _head(width * image_tokens, len(THINGS) * _WHERE + 1)
        self.word = _head(width, AIMED_JOINTS)
        self.named = _head(width, 2 * _WHERE + 1 + len(Kind))

    def losses(self, hidden: Tensor, truth: Truth) -> dict[str, Tensor]:
        """Errors by name, each a mean over what it applies to; `hidden` [B, P, width] is that of the prefix."""
        where = torch.cat([truth.aims, torch.tanh(truth.near / _NEAR_M)], -1)
        found = self.everywhere(hidden[:, : self.image_tokens].flatten(1))
        found, holds = found[:, :-1].unflatten(1, where.shape[1:]), found[:, -1]
        named = self.named(hidden[:, -1])
        cube, place, rest = named.split([_WHERE, _WHERE, 1 + len(Kind)], dim=1)
        square = (found - where).square()
        result = {
            "all": square[..., :AIMED_JOINTS].mean(),
            "all_near": square[..., AIMED_JOINTS:].mean(),
            "held": (_binary(holds, truth.held) + _binary(rest[:, 0], truth.held)) / 2,
            "kind": F.cross_entropy(rest[:, 1:], truth.kind),
        }
        for name, found_there, thing, token in (
            ("cube", cube, truth.cube, truth.cube_token),
            ("place", place, torch.where(truth.place >= 0, truth.place + len(COLOURS), -1), truth.place_token),
        ):
            rows = torch.nonzero(thing >= 0)[:, 0]
            error = (found_there[rows] - where[rows, thing[rows]]).square()
            result[f"named_{name}"] = _mean(error[:, :AIMED_JOINTS])
            result[f"near_{name}"] = _mean(error[:, AIMED_JOINTS:])
            rows = torch.nonzero((thing >= 0) & (token >= 0))[:, 0]
            spoken = self.word(hidden[rows, self.image_tokens + token[rows]])
            result[f"word_{name}"] = _mean((spoken - where[rows, thing[rows], :AIMED_JOINTS]).square())
        return {name: result[name] for name in LOSSES}

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        return torch.stack([_WEIGHTS.get(name, 1.0) * value for name, value in losses.items()]).sum()


def _head(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, outputs))


def _binary(logits: Tensor, truth: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, truth)


def _mean(values: Tensor) -> Tensor:
    """Of possibly nothing."""
    return values.mean() if values.numel() else values.sum()
