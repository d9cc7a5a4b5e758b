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

_KEPT_LENGTHS = 8  # prefixes whose buffers are kept: cameras times instructions in turn


@dataclass(frozen=True)
class ChunkInputs:
    """All that a chunk is made from, on the device.

    `images`: one [1, 3, h, w] in [-1, 1] per camera; `tokens` [1, T]; `state` [1, max_state_dim]; `noise`
    [1, chunk_size, max_action_dim]. `masked_images` are declared empty. `guided` continues an earlier chunk.
    """

    images: Sequence[Tensor]
    tokens: Tensor
    state: Tensor
    noise: Tensor
    masked_images: int = 0
    guided: GuidedVelocity | None = None


class TorchEngine:
    """Runs the network as it is. One thread; every call is without gradients but those that guidance makes itself.

    `reason` says in one line what was chosen and why.
    """

    name = "torch"

    def __init__(self, network: SmolVLANetwork, num_steps: int, reason: str = "") -> None:
        self.network = network
        self.reason = reason
        self.features = step_features(network, num_steps)
        self._rooms: dict[int, Rooms] = {}
        self._seen: list[tuple[Tensor, Tensor]] = []

    @property
    def num_steps(self) -> int:
        return len(self.features)

    def take_steps(self, num_steps: int) -> None:
        """Chunks are made in so many steps from now on."""
        self.features = step_features(self.network, num_steps)

    def chunk(self, inputs: ChunkInputs, finished: Callable[[str], object] = lambda stage: None) -> Tensor:
        """-> normalised actions [1, chunk_size, max_action_dim] float32; `finished` is told every stage."""
        image_tokens = self.vision(inputs.images)
        finished("vision")
        prefix = self.prefix(image_tokens, inputs.tokens, inputs.state, inputs.masked_images)
        finished("prefix")
        step = partial(self.step, prefix)
        chunk = sample(step, inputs.noise, self.features, inputs.guided)
        finished("denoise")
        return chunk

    def vision(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Image tokens [1, n, text width] of each camera; a picture that did not change is not computed again."""
        seen = self._seen + [(torch.empty(0), torch.empty(0))] * (len(images) - len(self._seen))
        changed = [i for i, image in enumerate(images) if not _same(image, seen[i][0])]
        fresh = dict(zip(changed, self.encode([images[i] for i in changed]) if changed else [], strict=True))
        self._seen = [(image, fresh[i] if i in fresh else seen[i][1]) for i, image in enumerate(images)]
        return [tokens for _, tokens in self._seen]

    def encode(self, images: Sequence[Tensor]) -> list[Tensor]:
        """`vision` without memory."""
        return self.network.encode_images(images)

    def new_rooms(self, inputs: ChunkInputs) -> Rooms:
        """Buffers of one's own for a prefix as long as that of these inputs."""
        vision, config = self.network.config.vision, self.network.config
        sides = [[side // vision.patch_size // config.scale_factor for side in i.shape[-2:]] for i in inputs.images]
        images = sum(rows * columns for rows, columns in sides)
        return self._make_rooms(self._length(images, len(sides) + inputs.masked_images, inputs.tokens))

    def prefix(self, image_tokens: Sequence[Tensor], tokens: Tensor, state: Tensor, masked_images: int) -> Prefix:
        """Valid until the next call."""
        images = sum(part.shape[1] for part in image_tokens)
        length = self._length(images, len(image_tokens) + masked_images, tokens)
        return self.network.encode_prefix(
            image_tokens, tokens, state, masked_images=masked_images, rooms=self._rooms_for(length)
        )

    def step(self, prefix: Prefix, x_t: Tensor, time_features: Tensor) -> Tensor:
        return self.network.denoise(prefix, x_t, time_features)

    def _rooms_for(self, length: int) -> Rooms:
        if length not in self._rooms:
            if len(self._rooms) >= _KEPT_LENGTHS:
                self._rooms.pop(next(iter(self._rooms)))
            self._rooms[length] = self._make_rooms(length)
        return self._rooms[length]

    def _length(self, image_tokens: int, cameras: int, tokens: Tensor) -> int:
        specials = len(self.network.config.image_start_ids + self.network.config.image_end_ids)
        return image_tokens + cameras * specials + tokens.shape[1] + 1

    def _make_rooms(self, length: int) -> Rooms:
        weight = self.network.expert.norm.weight  # keys and values have the type of the stream
        return Rooms(length, self.network.config, weight.dtype, weight.device)


def _same(image: Tensor, other: Tensor) -> bool:
    """Equal byte for byte; never on a GPU, where asking would wait for it."""
    return image.device.type == "cpu" and image.shape == other.shape and torch.equal(image, other)
