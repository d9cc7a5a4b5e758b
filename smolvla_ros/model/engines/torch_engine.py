"""The reference engine: the network itself, on buffers that are made once for each length of the prefix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from smolvla_ros.model.layout import Rooms
from smolvla_ros.model.network import Prefix, SmolVLANetwork
from smolvla_ros.model.rtc import GuidedVelocity
from smolvla_ros.model.sampler import sample, step_features

_KEPT_ROOMS = 16  # buffers for so many sizes: observations together, and cameras times instructions in turn
_KEPT_PICTURES = 16  # of several arms that stand still


@dataclass(frozen=True)
class ChunkInputs:
    """All that B chunks are made from, on the device.

    `images`: one [B, 3, h, w] in [-1, 1] per camera; `tokens` [B, T]; `state` [B, max_state_dim]; `noise`
    [B, chunk_size, max_action_dim]. `masked_images` are declared empty. `guided` continues earlier chunks.
    `token_mask` [B, T] is False for padding, `image_mask` [B, cameras + masked_images] for what an observation lacks;
    None: there is all.
    """

    images: Sequence[Tensor]
    tokens: Tensor
    state: Tensor
    noise: Tensor
    masked_images: int = 0
    guided: GuidedVelocity | None = None
    token_mask: Tensor | None = None
    image_mask: Tensor | None = None


class TorchEngine:
    """Runs the network as it is. One thread; every call is without gradients but those that guidance makes itself.

    `reason` says in one line what was chosen and why.
    """

    name = "torch"

    def __init__(self, network: SmolVLANetwork, num_steps: int, reason: str = "") -> None:
        self.network = network
        self.reason = reason
        self.features = step_features(network, num_steps)
        self._rooms: dict[tuple[int, int], Rooms] = {}
        self._seen: list[tuple[Tensor, Tensor]] = []

    @property
    def num_steps(self) -> int:
        return len(self.features)

    def take_steps(self, num_steps: int) -> None:
        """Chunks are made in so many steps from now on."""
        self.features = step_features(self.network, num_steps)

    def chunk(self, inputs: ChunkInputs, finished: Callable[[str], object] = lambda stage: None) -> Tensor:
        """-> normalised actions [B, chunk_size, max_action_dim] float32; `finished` is told every stage."""
        image_tokens = self.vision(inputs.images)
        finished("vision")
        prefix = self.prefix(image_tokens, inputs)
        finished("prefix")
        step = partial(self.step, prefix)
        chunk = sample(step, inputs.noise, self.features, inputs.guided)
        finished("denoise")
        return chunk

    def vision(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Image tokens [B, n, text width] of each camera; a picture that was there before is not computed again."""
        pictures = [picture for image in images for picture in torch.split(image, 1)]
        known = [next((seen for seen in self._seen if _same(picture, seen[0])), None) for picture in pictures]
        unknown = [picture for picture, seen in zip(pictures, known, strict=True) if seen is None]
        fresh = iter(zip(unknown, self.encode(unknown) if unknown else [], strict=True))
        now = [seen or next(fresh) for seen in known]
        others = [seen for seen in self._seen if all(seen is not one for one in now)]
        self._seen = (now + others)[: max(_KEPT_PICTURES, len(now))]
        batch, tokens = len(images[0]), [tokens for _, tokens in now]
        return [torch.cat(tokens[first : first + batch]) for first in range(0, len(tokens), batch)]

    def encode(self, images: Sequence[Tensor]) -> list[Tensor]:
        """`vision` without memory."""
        return self.network.encode_images(images)

    def new_rooms(self, inputs: ChunkInputs) -> Rooms:
        """Buffers of one's own for prefixes as long as that of these inputs."""
        vision, config = self.network.config.vision, self.network.config
        sides = [[side // vision.patch_size // config.scale_factor for side in i.shape[-2:]] for i in inputs.images]
        length = self._length(sum(rows * columns for rows, columns in sides), inputs)
        return self._make_rooms(len(inputs.tokens), length)

    def prefix(self, image_tokens: Sequence[Tensor], inputs: ChunkInputs) -> Prefix:
        """Valid until the next call."""
        length = self._length(sum(part.shape[1] for part in image_tokens), inputs)
        return self.encoded(image_tokens, inputs, self._rooms_for(len(inputs.tokens), length))

    def encoded(self, image_tokens: Sequence[Tensor], inputs: ChunkInputs, rooms: Rooms) -> Prefix:
        """`prefix` in these buffers."""
        return self.network.encode_prefix(
            image_tokens, inputs.tokens, inputs.state, inputs.token_mask, inputs.masked_images, inputs.image_mask, rooms
        )

    def step(self, prefix: Prefix, x_t: Tensor, time_features: Tensor) -> Tensor:
        return self.network.denoise(prefix, x_t, time_features)

    def _rooms_for(self, batch: int, length: int) -> Rooms:
        if (batch, length) not in self._rooms:
            if len(self._rooms) >= _KEPT_ROOMS:
                self._rooms.pop(next(iter(self._rooms)))
            self._rooms[batch, length] = self._make_rooms(batch, length)
        return self._rooms[batch, length]

    def _length(self, image_tokens: int, inputs: ChunkInputs) -> int:
        specials = len(self.network.config.image_start_ids + self.network.config.image_end_ids)
        cameras = len(inputs.images) + inputs.masked_images
        return image_tokens + cameras * specials + inputs.tokens.shape[1] + 1

    def _make_rooms(self, batch: int, length: int) -> Rooms:
        weight = self.network.expert.norm.weight  # keys and values have the type of the stream
        return Rooms(batch, length, self.network.config, weight.dtype, weight.device)


def _same(image: Tensor, other: Tensor) -> bool:
    """Equal byte for byte; never on a GPU, where asking would wait for it."""
    return image.device.type == "cpu" and image.shape == other.shape and torch.equal(image, other)
