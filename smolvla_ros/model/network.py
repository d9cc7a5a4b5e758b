"""The SmolVLA network: images, text and state become a prefix once; the expert turns noise into actions.

    image tokens | text tokens | state token    -> language layers -> keys, values      (`encode_prefix`, once)
    noisy actions + time -> expert layers reading these keys, values -> velocity        (`velocity`, every step)

Everything is batched and differentiable; training needs nothing but these calls. Reference: SmolVLA,
arXiv 2506.01844, in the form that LeRobot implements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smolvla_ros.model.config import SmolVLAConfig
from smolvla_ros.model.expert import ActionExpert, CrossAttention, Geometry
from smolvla_ros.model.language import LanguageModel
from smolvla_ros.model.layers import Rotary
from smolvla_ros.model.vision import Connector, VisionTower


@dataclass(frozen=True)
class Prefix:
    """What the expert reads; never changed after it is made.

    `keys`, `values`: for each expert layer [B, K, P, D]. `hidden` [B, P, text width]: the stream that enters the
    last language layer, image tokens first, then text, then state (for auxiliary training losses).
    `valid` [B, P]: False for padding.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    hidden: Tensor
    valid: Tensor
    geometry: Geometry

    def repeated(self, times: int, config: SmolVLAConfig) -> Prefix:
        """Every observation `times` times in a row, for several (noise, time) pairs per observation."""
        keys, values = (tuple(t.repeat_interleave(times, 0) for t in part) for part in (self.keys, self.values))
        valid = self.valid.repeat_interleave(times, 0)
        geometry = Geometry.build(valid, self.geometry.cross_mask is None, config.chunk_size, config.text.head_dim)
        return Prefix(keys, values, self.hidden.repeat_interleave(times, 0), valid, geometry)


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
        self.state_proj = nn.Linear(config.max_state_dim, text_size)
        self.action_in_proj = nn.Linear(config.max_action_dim, width)
        self.action_out_proj = nn.Linear(width, config.max_action_dim)
        self.action_time_mlp_in = nn.Linear(2 * width, width)
        self.action_time_mlp_out = nn.Linear(width, width)

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

    def encode_images(self, images: Sequence[Tensor]) -> list[Tensor]:
        """One tensor [B, 3, h, w] in [-1, 1] per camera -> one [B, tokens, text width] per camera."""
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
    ) -> Prefix:
        """Runs the language layers over the prefix.

        Args:
            image_tokens: what `encode_images` gave, in the order of `config.image_features`.
            tokens: token ids [B, T]. `token_mask` [B, T] is False for padding; None if there is none.
            state: [B, max_state_dim], normalised and padded with zeros.
            masked_images: cameras that are declared empty. Their own tokens are masked everywhere and left out
                here; only the special tokens round them, if the policy uses these, remain.
        """
        scale = math.sqrt(self.config.text.hidden_size)
        parts: list[Tensor] = []
        for image in image_tokens:
            # LeRobot rounds this factor to the images' type, unlike the text's.
            scaled = image * torch.tensor(scale, dtype=image.dtype, device=image.device)
            parts += [*self._special(self.config.image_start_ids, tokens), scaled]
            parts += self._special(self.config.image_end_ids, tokens)
        for _ in range(masked_images):
            parts += self._special(self.config.image_start_ids + self.config.image_end_ids, tokens)
        parts += [self.language.embed_tokens(tokens) * scale, self.state_proj(state)[:, None]]
        return self._encode(torch.cat(parts, dim=1), token_mask)

    def velocity(self, prefix: Prefix, x_t: Tensor, t: Tensor) -> Tensor:
        """The flow at noisy actions x_t [B, chunk, max_action_dim] and times t [B] or [] (1 = noise, 0 = actions).

        Returns [B, chunk, max_action_dim] float32. In training x_t = t * noise + (1 - t) * actions and the
        target is noise - actions.
        """
        return self.denoise(prefix, x_t, self.time_features(t))

    def time_features(self, t: Tensor) -> Tensor:
        """Sines and cosines of the times: t [...] -> [..., 1, width] float32."""
        width = self.config.expert_width
        fraction = torch.linspace(0.0, 1.0, width // 2, dtype=torch.float64, device=t.device)
        period = self.config.min_period * (self.config.max_period / self.config.min_period) ** fraction
        phase = t[..., None].double() * (2 * math.pi / period)
        return torch.cat([phase.sin(), phase.cos()], dim=-1).float()[..., None, :]

    def denoise(self, prefix: Prefix, x_t: Tensor, time_features: Tensor) -> Tensor:
        """`velocity` with the time already embedded: one explicit step, reading the prefix and changing nothing."""
        actions = self.action_in_proj(x_t)
        # One product over both, as in LeRobot: the sum of two rounds otherwise, which bfloat16 layers amplify.
        both = torch.cat([actions, time_features.expand_as(actions)], dim=-1)
        x = self.action_time_mlp_out(F.silu(self.action_time_mlp_in(both)))
        x = self.expert(x, prefix.keys, prefix.values, prefix.geometry)
        return self.action_out_proj(x.float())  # type: ignore[no-any-return]

    def _special(self, ids: tuple[int, ...], tokens: Tensor) -> list[Tensor]:
        """Embeddings of special tokens [B, n, text width], which are not scaled; nothing if there are none."""
        if not ids:
            return []
        return [self.language.embed_tokens(torch.tensor(ids, device=tokens.device)).expand(len(tokens), -1, -1)]

    def _encode(self, embedded: Tensor, token_mask: Tensor | None) -> Prefix:
        batch, length, _ = embedded.shape
        valid = torch.ones(batch, length, dtype=torch.bool, device=embedded.device)
        if token_mask is not None:
            valid[:, -1 - token_mask.shape[1] : -1] = token_mask
        # Images and text see each other but not the state, which comes last and sees everything.
        mask = valid[:, None].repeat(1, length, 1)
        mask[:, :-1, -1] = False
        rotary = Rotary(valid.cumsum(1) - 1, self.config.text.head_dim)
        keys: list[Tensor] = []
        values: list[Tensor] = []
        hidden = embedded
        for index, (stream, k, v) in enumerate(self.language(embedded, rotary, mask)):
            hidden = stream
            if index in self.config.expert_at:
                k, v = self.expert.read(len(keys), k, v)
                keys.append(k)
                values.append(v)
        geometry = Geometry.build(valid, token_mask is None, self.config.chunk_size, self.config.text.head_dim)
        return Prefix(tuple(keys), tuple(values), hidden, valid, geometry)
