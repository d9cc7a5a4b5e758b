"""The kept layers of the language model: they turn the prefix into the keys and values that the expert reads.

Only keys and values leave this module, so the last layer is reduced to the part that makes them, and neither the
final norm nor the language head exists.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from smolvla_ros.model.config import SmolVLAConfig, TextConfig
from smolvla_ros.model.layers import Embedding, FusedLinear, GatedMLP, RMSNorm, Rotary, attend, to_heads


class KeyValueAttention(nn.Module):
    """Keys and values only: all that the last layer is needed for."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        size = config.num_kv_heads * config.head_dim
        self.kv = FusedLinear(config.hidden_size, {"k_proj": size, "v_proj": size})
        self.head_dim = config.head_dim

    def forward(self, x: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor]:
        """x [B, P, hidden] -> rotated keys and values, each [B, K, P, D]."""
        x = x.to(self.kv.weight.dtype)
        k, v = (to_heads(part, self.head_dim) for part in self.kv.project(x))
        return rotary.rotate(k).transpose(1, 2), v.transpose(1, 2)


class LanguageAttention(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        size, kv_size = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        self.qkv = FusedLinear(config.hidden_size, {"q_proj": size, "k_proj": kv_size, "v_proj": kv_size})
        self.o_proj = nn.Linear(size, config.hidden_size, bias=False)
        self.head_dim = config.head_dim

    def forward(self, x: Tensor, rotary: Rotary, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [B, P, hidden] -> attention output [B, P, hidden], rotated keys and values [B, K, P, D]."""
        x = x.to(self.qkv.weight.dtype)
        q, k, v = (to_heads(part, self.head_dim) for part in self.qkv.project(x))
        k, v = rotary.rotate(k).transpose(1, 2), v.transpose(1, 2)
        return self.o_proj(attend(rotary.rotate(q), k, v, mask)), k, v


class LanguageLayer(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = LanguageAttention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = GatedMLP(config.hidden_size, config.intermediate_size)

    def forward(self, x: Tensor, rotary: Rotary, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> the stream after this layer [B, P, hidden], its keys and values [B, K, P, D]."""
        out, k, v = self.self_attn(self.input_layernorm(x), rotary, mask)
        x = (out + x).to(out.dtype)
        return x + self.mlp(self.post_attention_layernorm(x)), k, v


class LastLanguageLayer(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = KeyValueAttention(config)

    def forward(self, x: Tensor, rotary: Rotary, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> the stream unchanged, keys and values [B, K, P, D]."""
        return x, *self.self_attn(self.input_layernorm(x), rotary)


class LanguageModel(nn.Module):
    """Token embedding and the first `kept_layers` layers."""

    def __init__(self, config: SmolVLAConfig) -> None:
        super().__init__()
        text = config.text
        self.embed_tokens = Embedding(text.vocab_size, text.hidden_size)
        layers: list[nn.Module] = [LanguageLayer(text) for _ in range(config.kept_layers - 1)]
        self.layers = nn.ModuleList([*layers, LastLanguageLayer(text)])

    def forward(self, x: Tensor, rotary: Rotary, mask: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """For every layer in turn: the stream after it [B, P, hidden] and its keys and values [B, K, P, D]."""
        for layer in self.layers:
            x, k, v = layer(x, rotary, mask)
            yield x, k, v
