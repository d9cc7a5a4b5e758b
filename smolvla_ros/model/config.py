"""The facts of a checkpoint that shape the network and the data around it, as frozen dataclasses.

`SmolVLAConfig` joins the policy's own settings (`config.json` as LeRobot writes it) with the sizes of its
vision-language backbone (the backbone's `config.json`). Reading the files is the business of `checkpoint/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AttentionKind = Literal["self", "cross"]

ROPE_BASE = 10_000.0  # fixed in SmolVLA; the backbone's own `rope_theta` is not used


@dataclass(frozen=True)
class VisionConfig:
    """Sizes of the SigLIP image encoder."""

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_layers: int = 12
    num_heads: int = 12
    image_size: int = 512
    patch_size: int = 16
    layer_norm_eps: float = 1e-6

    @property
    def grid(self) -> int:
        """Patches along one side of a full image, which is also the side of the position table."""
        return self.image_size // self.patch_size


@dataclass(frozen=True)
class TextConfig:
    """Sizes of the Llama language model; `num_layers` counts all layers of the backbone, kept or not."""

    hidden_size: int = 960
    intermediate_size: int = 2560
    num_layers: int = 32
    num_heads: int = 15
    num_kv_heads: int = 5
    head_dim: int = 64
    vocab_size: int = 49280
    rms_norm_eps: float = 1e-5


@dataclass(frozen=True)
class SmolVLAConfig:
    """One policy: sizes, attention pattern, sampling, and the names of what goes in and out.

    `image_features` are in the order of `config.json`, which is the order of the image tokens.
    `image_start_ids` and `image_end_ids` are token ids put round every image; empty in most checkpoints.
    """

    vision: VisionConfig = VisionConfig()
    text: TextConfig = TextConfig()
    scale_factor: int = 4
    image_features: tuple[str, ...] = ()
    state_dim: int = 6
    action_dim: int = 6
    chunk_size: int = 50
    n_action_steps: int = 50
    num_steps: int = 10
    max_state_dim: int = 32
    max_action_dim: int = 32
    image_size_wh: tuple[int, int] | None = (512, 512)
    empty_cameras: int = 0
    adapt_to_pi_aloha: bool = False
    tokenizer_max_length: int = 48
    image_start_ids: tuple[int, ...] = ()
    image_end_ids: tuple[int, ...] = ()
    attention_mode: str = "cross_attn"
    num_vlm_layers: int = 16
    num_expert_layers: int = -1
    self_attn_every_n_layers: int = 2
    expert_width_multiplier: float = 0.75
    min_period: float = 4e-3
    max_period: float = 4.0
    load_vlm_weights: bool = False

    @property
    def kept_layers(self) -> int:
        """Language layers that are used: the first `num_vlm_layers`, or all of them if that is not positive."""
        return min(self.num_vlm_layers, self.text.num_layers) if self.num_vlm_layers > 0 else self.text.num_layers

    @property
    def expert_layers(self) -> int:
        return self.num_expert_layers if self.num_expert_layers > 0 else self.kept_layers

    @property
    def expert_width(self) -> int:
        return int(self.text.hidden_size * self.expert_width_multiplier)

    @property
    def expert_intermediate_size(self) -> int:
        """Llama's rule: two thirds of four times the width, rounded up to a multiple of 256."""
        size = 4 * int(2 * self.expert_width / 3)
        return 256 * -(-size // 256)

    @property
    def expert_at(self) -> tuple[int, ...]:
        """The language layer whose keys and values each expert layer reads."""
        stride = self.kept_layers // self.expert_layers
        return tuple(range(0, self.kept_layers, stride))

    def attention_of(self, index: int) -> AttentionKind:
        """How layer `index` attends: 'self' over prefix and actions together, or 'cross' to the prefix only."""
        every = self.self_attn_every_n_layers
        if "cross" not in self.attention_mode or (every > 0 and index % every == 0):
            return "self"
        return "cross"
