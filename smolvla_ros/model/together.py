"""Several questions to the network in one go: padded to one shape, with masks for what one has and another has not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from smolvla_ros.model.config import SmolVLAConfig
from smolvla_ros.model.engines.torch_engine import ChunkInputs
from smolvla_ros.model.rtc import Guidance, GuidedVelocity


@dataclass(frozen=True)
class PreparedQuestion:
    """What one chunk is made from, checked and on the device.

    `pixels`: [1, 3, h, w] in [-1, 1] by image feature, for those that there are. `ids`: of the tokens. `state`
    [1, max_state_dim]; `noise` [1, chunk_size, max_action_dim]. `truncated`: the instruction was cut. `prepare_s`:
    what it took.
    """

    pixels: Mapping[str, Tensor]
    ids: Sequence[int]
    state: Tensor
    noise: Tensor
    guidance: Guidance | None
    truncated: bool
    prepare_s: float


def of_one_size(questions: Sequence[PreparedQuestion], config: SmolVLAConfig) -> list[list[int]]:
    """Places of the questions that can be answered in one go, for policies that take pictures of any size."""
    groups: dict[object, list[int]] = {}
    for place, question in enumerate(questions):
        sizes = {name: pixels.shape for name, pixels in question.pixels.items()}
        groups.setdefault(None if config.image_size_wh else tuple(sorted(sizes.items())), []).append(place)
    return list(groups.values())


def together(questions: Sequence[PreparedQuestion], config: SmolVLAConfig) -> ChunkInputs:
    """The questions as the engine takes them.

    Text is padded at its end. A camera that only some have is grey and masked for the others; one that none has is left
    out. Masks are made only where something is masked, so one question is computed as it is.
    """
    device = questions[0].state.device
    names = [name for name in config.image_features if any(name in question.pixels for question in questions)]
    empty = [min(config.empty_cameras, len(config.image_features) - len(q.pixels)) for q in questions]
    there = [
        [name in question.pixels for name in names] + [slot < count for slot in range(max(empty))]
        for question, count in zip(questions, empty, strict=True)
    ]
    lengths = [len(question.ids) for question in questions]
    longest = max(lengths)
    tokens = [[*question.ids, *[0] * (longest - len(question.ids))] for question in questions]
    text = [[place < length for place in range(longest)] for length in lengths]
    noise = torch.cat([question.noise for question in questions])
    guidance = [question.guidance for question in questions]
    return ChunkInputs(
        images=[_pictures(name, questions) for name in names],
        tokens=torch.tensor(tokens, device=device),
        state=torch.cat([question.state for question in questions]),
        noise=noise,
        masked_images=max(empty),
        guided=GuidedVelocity(guidance, noise) if any(guidance) else None,
        token_mask=None if min(lengths) == longest else torch.tensor(text, device=device),
        image_mask=None if all(map(all, there)) else torch.tensor(there, device=device),
    )


def _pictures(name: str, questions: Sequence[PreparedQuestion]) -> Tensor:
    """[B, 3, h, w] of one camera."""
    like = next(question.pixels[name] for question in questions if name in question.pixels)
    return torch.cat([question.pixels.get(name, torch.zeros_like(like)) for question in questions])
