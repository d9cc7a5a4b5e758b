"""Image to tokens: the SigLIP encoder and the pixel-shuffle connector to the language model."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smolvla_ros.model.config import VisionConfig
from smolvla_ros.model.layers import Embedding, FusedLinear, Linear, to_heads


class VisionAttention(nn.Module):
    """Full bidirectional attention over the patches of one image."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.qkv = FusedLinear(size, {"q_proj": size, "k_proj": size, "v_proj": size}, bias=True)
        self.out_proj = Linear(size, size)
        self.head_dim = size // config.num_heads
        # (queries, keys, values), each [B, H, L, D] -> [B, H, L, D]
        self.attend: Callable[[Tensor, Tensor, Tensor], Tensor] = F.scaled_dot_product_attention

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (to_heads(part, self.head_dim).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        out = self.attend(q, k, v)
        return self.out_proj(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class GELULinear(Linear):
    """A linear and the GELU after it, which some libraries compute in one go."""

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(super().forward(x), approximate="tanh")


class VisionMLP(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.fc1 = GELULinear(config.hidden_size, config.intermediate_size)
        self.fc2 = Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1(x))  # type: ignore[no-any-return]


class VisionLayer(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = VisionAttention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = VisionMLP(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))  # type: ignore[no-any-return]


class VisionTower(nn.Module):
    """Images [B, 3, h, w] in [-1, 1] -> patch features [B, patches, hidden_size], row by row."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.patch_embedding = nn.Conv2d(3, config.hidden_size, config.patch_size, stride=config.patch_size)
        self.position_embedding = Embedding(config.grid**2, config.hidden_size)
        self.layers = nn.ModuleList(VisionLayer(config) for _ in range(config.num_layers))
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.grid = config.grid
        self.patch_size = config.patch_size

    def forward(self, images: Tensor) -> Tensor:
        rows, columns = (side // self.patch_size for side in images.shape[-2:])
        x = self._embedded(images[..., : rows * self.patch_size, : columns * self.patch_size], rows, columns)
        x = x + self.position_embedding(self._positions(rows, columns, x.device))
        for layer in self.layers:
            x = layer(x)
        return self.post_layernorm(x)  # type: ignore[no-any-return]

    def _embedded(self, images: Tensor, rows: int, columns: int) -> Tensor:
        """The patch convolution as a plain product, which torch does in full float32 on a GPU too."""
        kernel, p = self.patch_embedding, self.patch_size
        patches = images.to(kernel.weight.dtype).view(images.shape[0], 3, rows, p, columns, p).permute(0, 2, 4, 1, 3, 5)
        return F.linear(patches.flatten(3).flatten(1, 2), kernel.weight.flatten(1), kernel.bias)

    def _positions(self, rows: int, columns: int, device: torch.device) -> Tensor:
        """Row of the position table for each patch: 0, 1, 2, ... for a full image, spread evenly for any other.

        In whole numbers, because the floating-point form of transformers 4.55 to 4.57 is off by one.
        """
        y = torch.arange(rows, device=device) * self.grid // rows
        x = torch.arange(columns, device=device) * self.grid // columns
        return (y[:, None] * self.grid + x).flatten()


class Connector(nn.Module):
    """Folds squares of `scale_factor` x `scale_factor` patches into one token of the language model's width."""

    def __init__(self, vision_size: int, text_size: int, scale_factor: int) -> None:
        super().__init__()
        self.proj = Linear(vision_size * scale_factor**2, text_size, bias=False)
        self.scale_factor = scale_factor

    def forward(self, patches: Tensor) -> Tensor:
        """patches [B, side * side, vision_size] -> tokens [B, (side / scale_factor)^2, text_size]."""
        side, r = math.isqrt(patches.shape[1]), self.scale_factor
        blocks = patches.view(patches.shape[0], side // r, r, side // r, r, -1).transpose(2, 3)
        return self.proj(blocks.flatten(3).flatten(1, 2))  # type: ignore[no-any-return]
