"""The layers that see the prefix: those of the language model, which make keys and values, and those of the expert,
which read them.

A 'self' layer of the expert attends to the prefix and, causally, to the actions themselves; a 'cross' layer to the
prefix only, through its own projection of the language layer's keys (taken after their rotation) and values. What
depends on the prefix alone is computed once by `read` and used by every denoising step. Shapes: as in `network.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from smolvla_ros.model.config import SmolVLAConfig, TextConfig
from smolvla_ros.model.layers import FusedLinear, GatedMLP, Linear, RMSNorm, Rotary, attend, rotated_heads, to_heads
from smolvla_ros.model.layout import PrefixLayout


def _sizes(text: TextConfig) -> tuple[int, int]:
    """Widths of all queries and of all keys."""
    return text.num_heads * text.head_dim, text.num_kv_heads * text.head_dim


class KeyValueAttention(nn.Module):
    """Keys and values only: all that the last language layer is needed for."""

    def __init__(self, text: TextConfig) -> None:
        super().__init__()
        self.text = text
        self.kv = FusedLinear(text.hidden_size, {"k_proj": _sizes(text)[1], "v_proj": _sizes(text)[1]})

    def forward(self, x: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor]:
        """x [B, P, hidden] -> rotated keys and values, each [B, K, P, D]."""
        kv = self.kv(x)
        _, k, v = rotated_heads(kv, rotary, self.text.head_dim, self.text.num_kv_heads)
        return k, v


class SelfAttention(nn.Module):
    """Attention of a stream to itself and, in the expert, to the prefix before it."""

    def __init__(self, width: int, text: TextConfig) -> None:
        super().__init__()
        self.text = text
        size, kv_size = _sizes(text)
        self.qkv = FusedLinear(width, {"q_proj": size, "k_proj": kv_size, "v_proj": kv_size})
        self.o_proj = Linear(size, width, bias=False)

    def project(self, x: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor, Tensor]:
        """x [B, L, width] -> rotated queries [B, L, H, D], rotated keys and values [B, K, L, D]."""
        qkv = self.qkv(x)
        return rotated_heads(qkv, rotary, self.text.head_dim, self.text.num_kv_heads)

    def read(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """The language layer's own, as they are."""
        return keys, values

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, layout: PrefixLayout, room: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        q, k, v = self.project(x, layout.self_rotary)
        if room is None or torch.is_grad_enabled():  # a buffer written in place would forbid the gradient
            keys, values = torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2)
        else:
            keys, values = room
            keys[:, :, -k.shape[2] :], values[:, :, -v.shape[2] :] = k, v
        return self.o_proj(attend(q, keys, values, layout.self_mask))  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """Attention to the prefix only; its queries count their positions from zero."""

    def __init__(self, width: int, text: TextConfig) -> None:
        super().__init__()
        self.text = text
        size, kv_size = _sizes(text)
        self.q_proj = Linear(width, size, bias=False)
        self.k_proj = Linear(kv_size, kv_size, bias=False)
        self.v_proj = Linear(kv_size, kv_size, bias=False)
        self.o_proj = Linear(size, width, bias=False)

    def read(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the language layer [B, K, P, D] -> this layer's own, of the same shape."""
        return self._projected(keys, self.k_proj), self._projected(values, self.v_proj)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, layout: PrefixLayout, room: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        q = to_heads(self.q_proj(x), self.text.head_dim)
        out = attend(layout.cross_rotary.rotate(q), keys, values, layout.cross_mask)
        return self.o_proj(out)  # type: ignore[no-any-return]

    def _projected(self, cached: Tensor, projection: nn.Module) -> Tensor:
        flat = cached.transpose(1, 2).flatten(2)
        return to_heads(projection(flat), self.text.head_dim).transpose(1, 2).contiguous()


class LanguageLayer(nn.Module):
    def __init__(self, text: TextConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(text.hidden_size, text.rms_norm_eps)
        self.self_attn = SelfAttention(text.hidden_size, text)
        self.post_attention_layernorm = RMSNorm(text.hidden_size, text.rms_norm_eps)
        self.mlp = GatedMLP(text.hidden_size, text.intermediate_size)

    def forward(self, x: Tensor, rotary: Rotary, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> the stream after this layer [B, P, hidden], its keys and values [B, K, P, D]."""
        q, k, v = self.self_attn.project(self.input_layernorm(x), rotary)
        out = self.self_attn.o_proj(attend(q, k, v, mask))
        x = (out + x).to(out.dtype)
        return x + self.mlp(self.post_attention_layernorm(x)), k, v


class LastLanguageLayer(nn.Module):
    def __init__(self, text: TextConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(text.hidden_size, text.rms_norm_eps)
        self.self_attn = KeyValueAttention(text)

    def forward(self, x: Tensor, rotary: Rotary, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> the stream unchanged, keys and values [B, K, P, D]."""
        return x, *self.self_attn(self.input_layernorm(x), rotary)


class ExpertLayer(nn.Module):
    def __init__(self, config: SmolVLAConfig, language_layer: int) -> None:
        super().__init__()
        kind = SelfAttention if config.attention_of(language_layer) == "self" else CrossAttention
        self.input_layernorm = RMSNorm(config.expert_width, config.text.rms_norm_eps)
        self.self_attn = kind(config.expert_width, config.text)
        self.post_attention_layernorm = RMSNorm(config.expert_width, config.text.rms_norm_eps)
        self.mlp = GatedMLP(config.expert_width, config.expert_intermediate_size)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, layout: PrefixLayout, room: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        """x [B, chunk, width]; keys and values [B, K, P, D] as `read` gave them."""
        out = self.self_attn(self.input_layernorm(x), keys, values, layout, room)
        x = (out + x).to(out.dtype)
        return x + self.mlp(self.post_attention_layernorm(x))  # type: ignore[no-any-return]
