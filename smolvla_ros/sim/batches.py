"""Batches of training: pictures, what is asked for each, in which words, and what the expert does then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from .dataset import ASKED, LabelledStates
from .scene import PLACES
from .task import COLOURS
from .tasks import TASKS, Asked, place

# Of the instructions that name a cube; placing is hardest.
_TASKS = {"place": 0.55, "pick": 0.20, "touch": 0.25}
_STAY = 0.22
_SAME_CUBE = 0.4
_INDEX = {asked: index for index, asked in enumerate(ASKED)}


@dataclass(frozen=True)
class Batch:
    """B instructions for P pictures, `instructions` in a row for each.

    images float [cameras, P, 3, H, W] in [0, 1]; states, actions, aims, near, held: as in
    `LabelledStates`, for each of B; tokens [B, T] with mask; asked [B].
    """

    images: Tensor
    states: NDArray[np.float32]
    actions: NDArray[np.float32]
    aims: NDArray[np.float32]
    near: NDArray[np.float32]
    held: NDArray[np.float32]
    tokens: Tensor
    mask: Tensor
    asked: list[Asked]
    cube_token: Tensor
    place_token: Tensor


class Batches:
    """Draws batches from shards of samples. `add` makes it draw from more."""

    def __init__(self, shards: Sequence[LabelledStates], tokenizer: Tokenizer):
        self.shards: list[LabelledStates] = []
        self._tokenizer = tokenizer
        self._colour_ids = torch.tensor([_id(tokenizer, colour) for colour in COLOURS])
        self._place_ids = torch.tensor([_id(tokenizer, name) for names in place.NAMES.values() for name in names])
        self.add(shards)

    def add(self, shards: Sequence[LabelledStates]) -> None:
        self.shards += shards
        self._starts = np.cumsum([0, *(len(shard) for shard in self.shards)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def draw(self, pictures: int, instructions: int, rng: np.random.Generator) -> Batch:
        """A batch that depends on the generator and the samples only."""
        rows = [self._row(int(i)) for i in rng.integers(len(self), size=pictures)]
        asked: list[Asked] = []
        actions = []
        for shard, row in rows:
            focus, held = COLOURS[int(shard.focus[row])], bool(shard.held[row])
            for number in range(instructions):
                asked.append(draw_asked(focus, held, number == 0, rng))
                actions.append(shard.actions[row, _INDEX[asked[-1]]])
        tokens, mask = self._tokens([TASKS[one.task].say(one, rng) for one in asked])
        images = torch.from_numpy(np.stack([shard.images[row] for shard, row in rows]))
        each = [pair for pair in rows for _ in range(instructions)]
        return Batch(
            images=images.permute(1, 0, 4, 2, 3).float() / 255.0,
            states=np.stack([shard.states[row] for shard, row in each]),
            actions=np.stack(actions),
            aims=np.stack([shard.aims[row] for shard, row in each]),
            near=np.stack([shard.near[row] for shard, row in each]),
            held=np.stack([shard.held[row] for shard, row in each]),
            tokens=tokens,
            mask=mask,
            asked=asked,
            cube_token=_first(tokens, self._colour_ids),
            place_token=_first(tokens, self._place_ids),
        )

    def _row(self, index: int) -> tuple[LabelledStates, int]:
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.shards[shard], index - int(self._starts[shard])

    def _tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        # The policy reads text with a newline at its end, as SmolVLA was trained.
        encoded = [torch.tensor(self._tokenizer.encode(text + "\n").ids) for text in texts]
        tokens = nn.utils.rnn.pad_sequence(encoded, batch_first=True)
        return tokens, torch.arange(tokens.shape[1]) < torch.tensor([len(ids) for ids in encoded])[:, None]


def draw_asked(focus: str, held: bool, about_focus: bool, rng: np.random.Generator) -> Asked:
    """What to ask for in a state that is about the cube `focus`; other cubes too, so that words make a difference."""
    if not about_focus and rng.random() < _STAY:
        return Asked("stay")
    same = about_focus or rng.random() < (0.7 if held else _SAME_CUBE)
    colour = focus if same else str(rng.choice([other for other in COLOURS if other != focus]))
    task = str(rng.choice(list(_TASKS), p=list(_TASKS.values())))
    return Asked(task, colour, str(rng.choice(PLACES)) if task == "place" else "")


def _id(tokenizer: Tokenizer, word: str) -> int:
    """The id of a word that is one token."""
    ids = tokenizer.encode(word).ids
    if len(ids) != 1:
        raise ValueError(f"the word '{word}' has {len(ids)} tokens, expected one")
    return int(ids[0])


def _first(tokens: Tensor, wanted: Tensor) -> Tensor:
    """Position of the first wanted token in each row, -1 for none."""
    found = torch.isin(tokens, wanted)
    return torch.where(found.any(1), found.int().argmax(1), -1)
