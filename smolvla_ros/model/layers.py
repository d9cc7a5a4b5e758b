"""The few building blocks that the towers share: linears, embeddings, norm, rotary positions, attention, gated MLP.

Shapes: B batch, L tokens, H query heads, K key/value heads, D head size.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smolvla_ros.model.config import ROPE_BASE


class Linear(nn.Linear):
    """A linear that computes in the type of its weight, whatever the type of its input."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias)


class FusedLinear(Linear):
    """Several linears with the same input as one product; `parts` maps their checkpoint names to output sizes."""

    def __init__(self, in_features: int, parts: Mapping[str, int], bias: bool = False) -> None:
        super().__init__(in_features, sum(parts.values()), bias=bias)
        self.parts = dict(parts)

    def named_parts(self) -> dict[str, Tensor]:
        """Views of weight and bias, keyed as the separate linears would be: `q_proj.weight`, ..."""
        views: dict[str, Tensor] = {}
        for kind, tensor in self.named_parameters(recurse=False):
            slices = torch.split(tensor, list(self.parts.values()))
            views |= {f"{name}.{kind}": view for name, view in zip(self.parts, slices, strict=True)}
        return views


class Embedding(nn.Embedding):
    """A table with small random values; on the meta device without, as torch would first import its compiler there."""

    def reset_parameters(self, std: float = 0.02) -> None:
        if not self.weight.is_meta:
            nn.init.normal_(self.weight, std=std)


class RMSNorm(nn.Module):
    """Llama's norm: computed in float32, returned in the wider of the weight's and the input's type."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * F.rms_norm(x.float(), x.shape[-1:], eps=self.eps).to(x.dtype)


class GatedMLP(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, size: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate_up = FusedLinear(size, {"gate_proj": intermediate_size, "up_proj": intermediate_size})
        self.down_proj = Linear(intermediate_size, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down_proj(F.silu(gate) * up)  # type: ignore[no-any-return]


class Rotary:
    """Cosines and sines of rotary positions, computed once for all layers, heads and steps.

    positions [B, L] or [L] -> tables [..., L, 1, D] in float32, the sines of the first half negated.
    """

    def __init__(self, positions: Tensor, head_dim: int) -> None:
        half = torch.arange(head_dim // 2, dtype=torch.float32, device=positions.device)
        timescale = ROPE_BASE ** ((2.0 / head_dim) * half)
        angle = (positions[..., None].float() / timescale)[..., None, :]
        self.cos = torch.cat([angle.cos(), angle.cos()], dim=-1)
        self.sin = torch.cat([-angle.sin(), angle.sin()], dim=-1)

    def rotate(self, x: Tensor) -> Tensor:
        """x [B, L, H, D], its first half paired with its second; returned in the type of x."""
        wide = x.float()
        return (wide * self.cos + wide.roll(x.shape[-1] // 2, -1) * self.sin).to(x.dtype)


def to_heads(x: Tensor, head_dim: int) -> Tensor:
    """[B, L, H * D] -> [B, L, H, D]."""
    return x.view(*x.shape[:-1], -1, head_dim)


def rotated_heads(qkv: Tensor, rotary: Rotary, head_dim: int, kv_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """qkv [B, L, (H + 2 K) * D] of one fused product -> rotated queries [B, L, H, D], rotated keys and values
    [B, K, L, D]; queries and keys are rotated together, H may be 0.
    """
    heads = to_heads(qkv, head_dim)
    queries = heads.shape[2] - 2 * kv_heads
    rotated = rotary.rotate(heads[:, :, : queries + kv_heads])
    return rotated[:, :, :queries], rotated[:, :, queries:].transpose(1, 2), heads[:, :, -kv_heads:].transpose(1, 2)


def additive(mask: Tensor, groups: int = 1) -> Tensor:
    """A mask for `attend`: bool [B, L or 1, S], True = may look -> float32 [B, 1, groups * L, S], 0 or -inf."""
    stacked = mask.repeat(1, groups, 1)[:, None]
    return torch.zeros(stacked.shape, device=mask.device).masked_fill_(~stacked, -torch.inf)


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Grouped-query attention: queries [B, L, H, D], keys and values [B, K, S, D] -> [B, L, H * D].

    The queries that share a key head are stacked along the tokens, so keys and values are never repeated; `mask` is
    made by `additive`, for H / K groups. Below float32 the arithmetic is that of LeRobot: scores and softmax in
    float32, probabilities in the type of the values.
    """
    batch, length, heads, size = queries.shape
    groups = heads // keys.shape[1]
    stacked = queries.view(batch, length, -1, groups, size).permute(0, 2, 3, 1, 4).flatten(2, 3)
    if queries.dtype == torch.float32:
        out = F.scaled_dot_product_attention(stacked, keys, values, attn_mask=mask)
    else:
        scores = stacked.float() @ keys.float().transpose(-1, -2) * size**-0.5
        out = (scores if mask is None else scores + mask).softmax(-1).to(values.dtype) @ values
    return out.view(batch, -1, groups, length, size).permute(0, 3, 1, 2, 4).flatten(2)
