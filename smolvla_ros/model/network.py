"""The SmolVLA network, in the order in which one forward pass runs.

    vision   images                      -> image tokens            `vision.py`, once a chunk
    prefix   image tokens | text | state -> keys and values         language layers, once a chunk
    step     noisy actions + time        -> velocity                expert layers reading these, `num_steps` times

Everything is batched and differentiable; training needs nothing but these calls. Nothing in here waits for the device
or makes a tensor from host values, so that one CUDA graph can hold all of it. Reference: SmolVLA, arXiv 2506.01844,
in the form that LeRobot implements. Shapes: B batch, P prefix tokens, K key/value heads, D head size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smolvla_ros.model.config import SmolVLAConfig
from smolvla_ros.model.layers import Embedding, Linear, RMSNorm
from smolvla_ros.model.layout import PrefixLayout, Rooms
from smolvla_ros.model.stack import CrossAttention, ExpertLayer, LanguageLayer, LastLanguageLayer
from smolvla_ros.model.vision import Connector, VisionTower


@dataclass(frozen=True)
class Prefix:
    """What the expert reads; never changed after it is made.

    `keys`, `values`: for each expert layer [B, K, P, D]. `hidden` [B, P, text width]: the stream that enters the
    last language layer, image tokens first, then text, then state (for auxiliary training losses). `rooms`: None, or
    buffers in which keys and values stand already, with room for those of the actions.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    hidden: Tensor
    layout: PrefixLayout
    rooms: Rooms | None = None

    def repeated(self, times: int, config: SmolVLAConfig) -> Prefix:
        """Every observation `times` times in a row, for several (noise, time) pairs per observation."""
        keys, values = (tuple(t.repeat_interleave(times, 0) for t in part) for part in (self.keys, self.values))
        layout = PrefixLayout.build(self.layout.valid.repeat_interleave(times, 0), self.layout.padded, config)
        return Prefix(keys, values, self.hidden.repeat_interleave(times, 0), layout)


class LanguageModel(nn.Module):
    """Token embedding and the first `kept_layers` layers; of the last one only what makes keys and values."""

    def __init__(self, config: SmolVLAConfig) -> None:
        super().__init__()
        self.embed_tokens = Embedding(config.text.vocab_size, config.text.hidden_size)
        layers: list[nn.Module] = [LanguageLayer(config.text) for _ in range(config.kept_layers - 1)]
        self.layers = nn.ModuleList([*layers, LastLanguageLayer(config.text)])


class ActionExpert(nn.Module):
    """A slim stack beside the language layers; `config.expert_at` says whose keys and values each layer reads."""

    def __init__(self, config: SmolVLAConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ExpertLayer(config, index) for index in config.expert_at)
        self.norm = RMSNorm(config.expert_width, config.text.rms_norm_eps)


class SmolVLANetwork(nn.Module):
    """The network of a configuration, with random weights until a checkpoint is loaded into it."""

    def __init__(self, config: SmolVLAConfig) -> None:
        super().__init__()
        self.config = config
        text_size, width = config.text.hidden_size, config.expert_width
        self.vision = VisionTower(config.vision)
        self.connector = Connector(config.vision.hidden_size, text_size, config.scale_factor)
        self.language = LanguageModel(config)
        self.expert = ActionExpert(config)
        self.state_proj = Linear(config.max_state_dim, text_size)
        self.action_in_proj = Linear(config.max_action_dim, width)
        self.action_out_proj = Linear(width, config.max_action_dim)
        self.action_time_mlp_in = Linear(2 * width, width)
        self.action_time_mlp_out = Linear(width, width)
        self.parameter_count = sum(parameter.numel() for parameter in self.parameters())

    def encode_images(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Vision. One tensor [B, 3, h, w] in [-1, 1] per camera -> one [B, tokens, text width] per camera."""
        if len({image.shape for image in images}) > 1:
            return [self.connector(self.vision(image)) for image in images]
        return list(self.connector(self.vision(torch.cat(tuple(images)))).chunk(len(images)))

    def encode_prefix(
        self,
        image_tokens: Sequence[Tensor],
        tokens: Tensor,
        state: Tensor,
        token_mask: Tensor | None = None,
        masked_images: int = 0,
        image_mask: Tensor | None = None,
        rooms: Rooms | None = None,
    ) -> Prefix:
        """Prefix: runs the language layers, and keeps what the expert reads of them.

        Args:
            image_tokens: what `encode_images` gave, in the order of `config.image_features`.
            tokens: token ids [B, T]. `token_mask` [B, T] is False for padding; None if there is none.
            state: [B, max_state_dim], normalised and padded with zeros.
            masked_images: cameras that are declared empty. Their own tokens are masked everywhere and left out
                here; only the special tokens round them, if the policy uses these, remain.
            image_mask: [B, cameras + masked_images], False where an observation lacks what the others have; None: all
                have all.
            rooms: buffers for so many prefixes of this length, and their layout without padding; None: made here.
        """
        x = self._embedded(image_tokens, tokens, state, masked_images)
        layout = self._layout(x, [image.shape[1] for image in image_tokens], token_mask, image_mask, rooms)
        keys: list[Tensor] = []
        values: list[Tensor] = []
        for index, layer in enumerate(self.language.layers):
            hidden = x
            x, k, v = layer(x, layout.prefix_rotary, layout.prefix_mask)
            if index in self.config.expert_at:
                k, v = self.expert.layers[len(keys)].self_attn.read(k, v)  # type: ignore[union-attr,operator]
                keys.append(k)
                values.append(v)
        if rooms:
            rooms.fill(keys, values)
        return Prefix(tuple(keys), tuple(values), hidden, layout, rooms)

    def denoise(self, prefix: Prefix, x_t: Tensor, time_features: Tensor) -> Tensor:
        """Step: the flow at noisy actions x_t [B, chunk, max_action_dim] -> [B, chunk, max_action_dim] float32.

        Reads the prefix and changes nothing of it. `time_features` are those of x_t's time.
        """
        actions = self.action_in_proj(x_t)
        # One product over both, as in LeRobot: the sum of two rounds otherwise, which bfloat16 layers amplify.
        both = torch.cat([actions, time_features.expand_as(actions)], dim=-1)
        x = self.action_time_mlp_out(F.silu(self.action_time_mlp_in(both)))
        for index, layer in enumerate(self.expert.layers):
            room = prefix.rooms.of(index) if prefix.rooms else None
            x = layer(x, prefix.keys[index], prefix.values[index], prefix.layout, room)
        return self.action_out_proj(self.expert.norm(x))  # type: ignore[no-any-return]

    def velocity(self, prefix: Prefix, x_t: Tensor, t: Tensor) -> Tensor:
        """`denoise` at times t [B] or [] (1 = noise, 0 = actions).

        In training x_t = t * noise + (1 - t) * actions and the target is noise - actions.
        """
        return self.denoise(prefix, x_t, self.time_features(t))

    def time_features(self, t: Tensor) -> Tensor:
        """Sines and cosines of the times: t [...] -> [..., 1, width] float32."""
        width = self.config.expert_width
        fraction = torch.linspace(0.0, 1.0, width // 2, dtype=torch.float64, device=t.device)
        period = self.config.min_period * (self.config.max_period / self.config.min_period) ** fraction
        phase = t[..., None].double() * (2 * math.pi / period)
        return torch.cat([phase.sin(), phase.cos()], dim=-1).float()[..., None, :]

    def _embedded(self, image_tokens: Sequence[Tensor], tokens: Tensor, state: Tensor, masked_images: int) -> Tensor:
        """[B, P, text width]: images, text, state."""
        scale = math.sqrt(self.config.text.hidden_size)
        start, end = (self._special(ids, tokens) for ids in (self.config.image_start_ids, self.config.image_end_ids))
        parts: list[Tensor] = []
        for image in image_tokens:
            # LeRobot rounds this factor to the images' type, unlike the text's.
            parts += [*start, image * float(torch.tensor(scale, dtype=image.dtype)), *end]
        parts += [*start, *end] * masked_images
        parts += [self.language.embed_tokens(tokens) * scale, self.state_proj(state)[:, None]]
        return torch.cat(parts, dim=1)

    def _layout(
        self,
        embedded: Tensor,
        image_lengths: Sequence[int],
        token_mask: Tensor | None,
        image_mask: Tensor | None,
        rooms: Rooms | None,
    ) -> PrefixLayout:
        """Of a prefix [B, P, width]: masked cameras and padding are nowhere, and what follows moves up."""
        padded = token_mask is not None or image_mask is not None
        if rooms and not padded:
            return rooms.layout
        valid = torch.ones(embedded.shape[:2], dtype=torch.bool, device=embedded.device)
        if token_mask is not None:
            valid[:, -1 - token_mask.shape[1] : -1] = token_mask
        if image_mask is not None:
            specials, at = len(self.config.image_start_ids + self.config.image_end_ids), 0
            lengths = [*image_lengths, *[0] * (image_mask.shape[1] - len(image_lengths))]
            for index, length in enumerate(lengths):
                valid[:, at : at + specials + length] = image_mask[:, index : index + 1]
                at += specials + length
        return PrefixLayout.build(valid, padded, self.config)

    def _special(self, ids: tuple[int, ...], tokens: Tensor) -> list[Tensor]:
        """Embeddings of special tokens [B, n, text width], which are not scaled; nothing if there are none."""
        return [self.language.embed_tokens.weight[i].expand(len(tokens), 1, -1) for i in ids]

    def reset_embeddings(self, position_std: float = 0.02, token_std: float = 0.02) -> None:
        """Draws the two embedding tables anew; a wider `position_std` lets a small vision tower learn places sooner."""
        self.vision.position_embedding.reset_parameters(position_std)
        self.language.embed_tokens.reset_parameters(token_std)

    def use_mixed_precision(self) -> SmolVLANetwork:
        """Switches to the types that LeRobot runs in: the towers in bfloat16, every projection of them in float32.

        The vision tower is bfloat16 only where the policy was built upon a pretrained backbone.
        """
        self.language.bfloat16()
        self.expert.bfloat16()
        if self.config.load_vlm_weights:
            self.vision.bfloat16()
            self.connector.bfloat16()
        for module in self.expert.modules():
            if isinstance(module, CrossAttention):
                module.k_proj.float()
                module.v_proj.float()
        return self

    def towers(self) -> dict[str, nn.Module]:
        """The parts in which the work is done; the rest are projections of single rows or of the actions."""
        return {"vision": self.vision, "connector": self.connector, "language": self.language, "expert": self.expert}
