"""The action expert: a slim Llama stack whose layers read the keys and values of the language layers.

A 'self' layer attends to the prefix and, causally, to the actions themselves; a 'cross' layer to the prefix only,
through its own projection of the language layer's keys (taken after their rotation) and values. Whatever depends
on the prefix alone is computed once by `read` and used by every denoising step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from smolvla_ros.model.config import SmolVLAConfig
from smolvla_ros.model.layers import FusedLinear, GatedMLP, RMSNorm, Rotary, attend, to_heads


@dataclass(frozen=True)
class Geometry:
    """Positions and masks of the action tokens, the same for every layer of a kind and every denoising step.

    `self_mask` [B, chunk, P + chunk]; `cross_mask` [B, 1, P] or None when every prefix token is valid.
    """

    self_rotary: Rotary
    cross_rotary: Rotary
    self_mask: Tensor
    cross_mask: Tensor | None

    @classmethod
    def build(cls, valid: Tensor, all_valid: bool, chunk_size: int, head_dim: int) -> Geometry:
        """`valid` [B, P] marks the prefix tokens that count; actions go on where the valid ones end."""
        steps = torch.arange(chunk_size, device=valid.device)
        causal = (steps <= steps[:, None]).expand(len(valid), -1, -1)
        return cls(
            self_rotary=Rotary(valid.sum(1, keepdim=True) + steps, head_dim),
            cross_rotary=Rotary(steps, head_dim),
            self_mask=torch.cat([valid[:, None].expand(-1, chunk_size, -1), causal], dim=2),
            cross_mask=None if all_valid else valid[:, None],
        )


class SelfAttention(nn.Module):
    """Attention over prefix and actions together."""

    def __init__(self, config: SmolVLAConfig) -> None:
        super().__init__()
        text, width = config.text, config.expert_width
        size, kv_size = text.num_heads * text.head_dim, text.num_kv_heads * text.head_dim
        self.qkv = FusedLinear(width, {"q_proj": size, "k_proj": kv_size, "v_proj": kv_size})
        self.o_proj = nn.Linear(size, width, bias=False)
        self.head_dim = text.head_dim

    def read(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        return keys, values

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, geometry: Geometry) -> Tensor:
        x = x.to(self.qkv.weight.dtype)
        q, k, v = (to_heads(part, self.head_dim) for part in self.qkv.project(x))
        keys = torch.cat([keys, geometry.self_rotary.rotate(k).transpose(1, 2)], dim=2)
        values = torch.cat([values, v.transpose(1, 2)], dim=2)
        return self.o_proj(attend(geometry.self_rotary.rotate(q), keys, values, geometry.self_mask))  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """Attention to the prefix only; its queries count their positions from zero."""

    def __init__(self, config: SmolVLAConfig) -> None:
        super().__init__()
        text, width = config.text, config.expert_width
        size, kv_size = text.num_heads * text.head_dim, text.num_kv_heads * text.head_dim
        self.q_proj = nn.Linear(width, size, bias=False)
        self.k_proj = nn.Linear(kv_size, kv_size, bias=False)
        self.v_proj = nn.Linear(kv_size, kv_size, bias=False)
        self.o_proj = nn.Linear(size, width, bias=False)
        self.head_dim = text.head_dim

    def read(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the language layer [B, K, P, D] -> this layer's own, of the same shape."""
        return self._projected(keys, self.k_proj), self._projected(values, self.v_proj)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, geometry: Geometry) -> Tensor:
        q = to_heads(self.q_proj(x.to(self.q_proj.weight.dtype)), self.head_dim)
        out = attend(geometry.cross_rotary.rotate(q), keys, values, geometry.cross_mask)
        return self.o_proj(out.to(self.o_proj.weight.dtype))  # type: ignore[no-any-return]

    def _projected(self, cached: Tensor, projection: nn.Linear) -> Tensor:
        flat = cached.transpose(1, 2).flatten(2).to(projection.weight.dtype)
        return to_heads(projection(flat), self.head_dim).transpose(1, 2).contiguous()


class ExpertLayer(nn.Module):
    def __init__(self, config: SmolVLAConfig, language_layer: int) -> None:
        super().__init__()
        kind = SelfAttention if config.attention_of(language_layer) == "self" else CrossAttention
        self.input_layernorm = RMSNorm(config.expert_width, config.text.rms_norm_eps)
        self.self_attn = kind(config)
        self.post_attention_layernorm = RMSNorm(config.expert_width, config.text.rms_norm_eps)
        self.mlp = GatedMLP(config.expert_width, config.expert_intermediate_size)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, geometry: Geometry) -> Tensor:
        out = self.self_attn(self.input_layernorm(x), keys, values, geometry)
        x = (out + x).to(out.dtype)
        return x + self.mlp(self.post_attention_layernorm(x))  # type: ignore[no-any-return]


class ActionExpert(nn.Module):
    def __init__(self, config: SmolVLAConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ExpertLayer(config, index) for index in config.expert_at)
        self.norm = RMSNorm(config.expert_width, config.text.rms_norm_eps)

    def read(self, index: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """What layer `index` makes of its language layer's keys and values [B, K, P, D], once for all steps."""
        return self.layers[index].self_attn.read(keys, values)  # type: ignore[union-attr,operator,no-any-return]

    def forward(self, x: Tensor, keys: tuple[Tensor, ...], values: tuple[Tensor, ...], geometry: Geometry) -> Tensor:
        """x [B, chunk, width]; keys and values [B, K, P, D] of each layer, as its `read` gave them."""
        for layer, k, v in zip(self.layers, keys, values, strict=True):
            x = layer(x, k, v, geometry)
        return self.norm(x)  # type: ignore[no-any-return]
