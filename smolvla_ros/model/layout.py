"""Where the tokens of prefix and actions stand and what they may look at: made once, read by every layer and step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from smolvla_ros.model.config import SmolVLAConfig
from smolvla_ros.model.layers import Rotary, additive


@dataclass(frozen=True)
class PrefixLayout:
    """Positions and masks (see `additive`) for B observations with P prefix tokens.

    `valid` [B, P] is False for padding, which is there only if `padded`; `cross_mask` is None if it is not.
    """

    valid: Tensor
    padded: bool
    prefix_rotary: Rotary
    prefix_mask: Tensor
    self_rotary: Rotary
    self_mask: Tensor
    cross_rotary: Rotary
    cross_mask: Tensor | None

    @classmethod
    def build(cls, valid: Tensor, padded: bool, config: SmolVLAConfig) -> PrefixLayout:
        """Actions go on where the valid tokens end."""
        length, head_dim = valid.shape[1], config.text.head_dim
        groups = config.text.num_heads // config.text.num_kv_heads
        # Images and text see each other but not the state, which comes last and sees everything.
        prefix = valid[:, None].repeat(1, length, 1)
        prefix[:, :-1, -1] = False
        steps = torch.arange(config.chunk_size, device=valid.device)
        causal = (steps <= steps[:, None]).expand(len(valid), -1, -1)
        actions = torch.cat([valid[:, None].expand(-1, config.chunk_size, -1), causal], dim=2)
        return cls(
            valid=valid,
            padded=padded,
            prefix_rotary=Rotary(valid.cumsum(1) - 1, head_dim),
            prefix_mask=additive(prefix, groups),
            self_rotary=Rotary(valid.sum(1, keepdim=True) + steps, head_dim),
            self_mask=additive(actions, groups),
            cross_rotary=Rotary(steps, head_dim),
            cross_mask=additive(valid[:, None]) if padded else None,
        )


class Rooms:
    """For B observations with P prefix tokens: their layout if nothing is padded, which is the same for all of them,
    and keys and values with room for those of the actions.

    `of(index)` is None for an expert layer that looks at the prefix only. Filled anew by every prefix; the rows of the
    actions are written by every step. One thread.
    """

    def __init__(
        self, batch: int, length: int, config: SmolVLAConfig, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.layout = PrefixLayout.build(torch.ones(1, length, dtype=torch.bool, device=device), False, config)
        self.length = length
        shape = (batch, config.text.num_kv_heads, length + config.chunk_size, config.text.head_dim)
        self._buffers = [
            (torch.zeros(shape, dtype=dtype, device=device), torch.zeros(shape, dtype=dtype, device=device))
            if config.attention_of(index) == "self"
            else None
            for index in config.expert_at
        ]

    def of(self, index: int) -> tuple[Tensor, Tensor] | None:
        """Keys and values [B, K, P + chunk, D] of an expert layer."""
        return self._buffers[index]

    def fill(self, keys: Sequence[Tensor], values: Sequence[Tensor]) -> None:
        """Takes over the prefix's own, one [B, K, P, D] for each expert layer."""
        for pair, k, v in zip(self._buffers, keys, values, strict=True):
            if pair:
                pair[0][:, :, : self.length], pair[1][:, :, : self.length] = k, v
