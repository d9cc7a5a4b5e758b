"""The few building blocks that the towers share: linears, embeddings, norm, rotary positions, attention, gated MLP.

Shapes: B batch, L tokens, H query heads, K key/value heads, D head size.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smolvla_ros.model.config import ROPE_BASE

_SPARE_COLUMNS = 16


class FusedLinear(nn.Linear):
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

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        """x [..., in] -> one tensor [..., size] for each part."""
        return torch.split(self(x), list(self.parts.values()), dim=-1)


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
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


class GatedMLP(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, size: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate_up = FusedLinear(size, {"gate_proj": intermediate_size, "up_proj": intermediate_size})
        self.down_proj = nn.Linear(intermediate_size, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up.project(x)
        return self.down_proj(F.silu(gate) * up)  # type: ignore[no-any-return]


class Rotary:
    """Cosines and sines of rotary positions, computed once for all layers and heads.

    positions [B, L] or [L] -> tables [..., L, 1, D / 2] in float32.
    """

    def __init__(self, positions: Tensor, head_dim: int) -> None:
        half = torch.arange(head_dim // 2, dtype=torch.float32, device=positions.device)
        timescale = ROPE_BASE ** ((2.0 / head_dim) * half)
        angle = (positions[..., None].float() / timescale)[..., None, :]
        self.cos, self.sin = angle.cos(), angle.sin()

    def rotate(self, x: Tensor) -> Tensor:
        """x [B, L, H, D], its first half paired with its second; returned in the type of x."""
        first, second = x.float().chunk(2, dim=-1)
        rotated = (first * self.cos - second * self.sin, second * self.cos + first * self.sin)
        return torch.cat(rotated, dim=-1).to(x.dtype)


def lay_out_for_few_rows(module: nn.Module) -> None:
    """Stores the weights of all linears in `module` input-major, for products with some fifty rows on a CPU.

    BLAS reads them 1.4 times as fast then. Shapes, values and gradients stay; the few spare columns keep rows off the
    power-of-two distances that fight over the same cache lines.
    """
    for linear in module.modules():
        if isinstance(linear, nn.Linear):
            outputs, inputs = linear.weight.shape
            buffer = linear.weight.new_empty(inputs, outputs + _SPARE_COLUMNS)
            weight = buffer[:, :outputs].t()
            weight.copy_(linear.weight.detach())
            linear.weight = nn.Parameter(weight, requires_grad=linear.weight.requires_grad)


def to_heads(x: Tensor, head_dim: int) -> Tensor:
    """[B, L, H * D] -> [B, L, H, D]."""
    return x.view(*x.shape[:-1], -1, head_dim)


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Grouped-query attention: queries [B, L, H, D], keys and values [B, K, S, D] -> [B, L, H * D].

    `mask` (True = may look) is [B or 1, L or 1, S]. The queries that share a key head are stacked along the
    tokens, so keys and values are never repeated. Below float32 the arithmetic is that of LeRobot: scores and
    softmax in float32, probabilities in the type of the values.
    """
    batch, length, heads, size = queries.shape
    groups = heads // keys.shape[1]
    stacked = queries.view(batch, length, -1, groups, size).permute(0, 2, 3, 1, 4).flatten(2, 3)
    if mask is not None:
        mask = (mask if mask.shape[1] == 1 else mask.repeat(1, groups, 1))[:, None]
    if queries.dtype == torch.float32:
        out = F.scaled_dot_product_attention(stacked, keys, values, attn_mask=mask)
    else:
        scores = stacked.float() @ keys.float().transpose(-1, -2) * size**-0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(torch.float32).min)
        out = scores.softmax(-1).to(values.dtype) @ values
    return out.view(batch, -1, groups, length, size).permute(0, 3, 1, 2, 4).flatten(2)
