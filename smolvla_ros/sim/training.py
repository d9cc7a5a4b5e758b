"""Training of the demo policy: flow matching, with auxiliary losses that teach it which words mean which things.

The flow loss is SmolVLA's: x_t = t * noise + (1 - t) * actions, target noise - actions, t ~ Beta(1.5, 1). Joints count
by what they are worth in millimetres. In rounds, states that the policy itself meets are labelled and added (DAgger).
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from smolvla_ros.model import Prefix, SmolVLANetwork
from smolvla_ros.model.checkpoint.saving import Training, save_checkpoint
from smolvla_ros.model.normalisation import Normaliser

from .batches import Batch, Batches
from .dataset import AIMED_JOINTS, LabelledStates, SampleSource, ShardFactory
from .demo_model import (
    IMAGE_FEATURES,
    VALUE_NAMES,
    demo_config,
    demo_tokenizer,
    known_words,
    model_card,
    statistics,
)
from .expert import STEP_S
from .heads import LOSSES, AuxiliaryHeads, Truth
from .manipulation import Kind
from .pointing import PointingLoss
from .scene import PLACES
from .task import COLOURS
from .tasks import TASKS
from .units import to_checkpoint
from .world import PICTURE_SIZE

log = logging.getLogger(__name__)

_PADDING_WEIGHT = 0.1  # of the flow's unused columns, which only need to stay harmless
# A hand that is to hold still creeps by what each chunk is off, chunk after chunk.
_STAY_WEIGHT = 3.0
# When the policy's own states are asked for, and when they join: parts of all steps.
_ROUNDS = ((0.25, 0.36), (0.43, 0.54), (0.715, 0.79))
_CURVES = ("flow", "pointing", *LOSSES)
# An error of the pan joint moves the grasp point most; the roll hardly moves, so its error is noise.
_JOINT_WEIGHTS = (4.0, 1.5, 1.5, 1.5, 0.05, 1.0)


@dataclass(frozen=True)
class Round:
    """States of the policy itself: met by the weights of step `asked`, trained on from step `joins` on."""

    asked: int
    joins: int
    shards: int


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that decides the result, the samples apart. `rounds` are given as parts of all steps."""

    seed: int = 1
    steps: int = 14_000
    pictures: int = 16  # per batch
    instructions: int = 2  # for each picture; they share the image tokens
    draws: int = 3  # (noise, time) pairs for each instruction; they share the prefix
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    position_std: float = 0.3
    token_std: float = 0.1
    save_every: int = 500
    evaluate_every: int = 2500
    rounds: tuple[Round, ...] = ()

    @classmethod
    def planned(cls, steps: int, seed: int, shards: int) -> TrainingSettings:
        """Three rounds, each of `shards`: when the policy has learnt something, when it is nearly there, and near the
        end, when it makes the mistakes that it will make."""
        rounds = tuple(Round(round(a * steps), round(b * steps), shards) for a, b in _ROUNDS)
        return cls(seed=seed, steps=steps, rounds=rounds if shards else ())


class DemoTraining:
    """The state of one training run. One thread; own states are made in the processes of `factory`."""

    def __init__(
        self, shards: list[LabelledStates], settings: TrainingSettings, factory: ShardFactory | None = None
    ) -> None:
        self.settings, self._factory = settings, factory
        torch.manual_seed(settings.seed)
        self.tokenizer = demo_tokenizer()
        self.batches = Batches(shards, self.tokenizer)
        config = demo_config(self.tokenizer.get_vocab_size())
        self.network = SmolVLANetwork(config)
        self.network.reset_embeddings(settings.position_std, settings.token_std)
        side = config.vision.grid // config.scale_factor
        self.heads = AuxiliaryHeads(config.text.hidden_size, len(IMAGE_FEATURES) * side * side)
        self.pointing = PointingLoss(self.network)
        self.statistics = statistics(shards[0])
        self._state, self._action = (self._normaliser(name) for name in ("observation.state", "action"))
        self.parameters = [*self.network.parameters(), *self.heads.parameters()]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=settings.weight_decay
        )
        self.step = 0
        self._under_way: dict[Round, list[tuple[Path, Future[None] | None]]] = {}
        self._joined: set[Round] = set()

    def run(self, folder: Path, evaluate: Callable[[Path], dict[str, Any]]) -> None:
        """Trains on to the last step, saving `folder` now and then; curves go to `<folder>.curves.jsonl`."""
        started, running, first = time.monotonic(), np.zeros(len(_CURVES)), self.step
        while self.step < self.settings.steps:
            self._rounds(folder)
            running = 0.95 * running + 0.05 * np.array([*self._train_step().values()])
            self.step += 1
            seconds = time.monotonic() - started
            if self.step % 50 == 0:
                means = running / (1 - 0.95 ** min(self.step - first, 1000))
                _note(folder, self.step, seconds, dict(zip(_CURVES, means.round(5).tolist(), strict=True)))
            if self.step % self.settings.save_every == 0 or self.step == self.settings.steps:
                self.save(folder)
            if self.step % self.settings.evaluate_every == 0 or self.step == self.settings.steps:
                self.save(folder)
                _note(folder, self.step, seconds, evaluate(folder))

    def save(self, folder: Path) -> None:
        """Writes the checkpoint, and beside it `<folder>.resume` with all that `resume` needs."""
        self._save_policy(folder)
        unfinished = resume_path(folder).with_suffix(".part")
        save_file(self._all_tensors(), unfinished, metadata={"step": str(self.step)})
        unfinished.rename(resume_path(folder))

    def resume(self, folder: Path) -> None:
        """Goes on where the run that saved `folder` stopped; settings and samples must be the same."""
        self.optimiser.zero_grad()
        for parameter in self.parameters:  # makes the optimiser allocate its state
            parameter.grad = torch.zeros_like(parameter)
        self.optimiser.step()
        with safe_open(resume_path(folder), framework="pt") as file, torch.no_grad():
            for name, tensor in self._all_tensors().items():
                tensor.copy_(file.get_tensor(name))
            self.step = int(file.metadata()["step"])

    def _save_policy(self, folder: Path) -> None:
        samples = len(self.batches)
        training = Training(
            statistics=self.statistics,
            image_shapes=dict.fromkeys(IMAGE_FEATURES, (3, *PICTURE_SIZE)),
            state_names=VALUE_NAMES,
            action_names=VALUE_NAMES,
            fps=round(1 / STEP_S),
            run=asdict(self.settings) | {"samples": samples, "step": self.step},
            card=model_card(samples, self.step),
            words=known_words(),
        )
        save_checkpoint(folder, self.network, self.tokenizer, training)

    def _rounds(self, folder: Path) -> None:
        """Starts the rounds that are due, and takes in those that join now; after resuming, all that were before."""
        for number, one in enumerate(self.settings.rounds, start=1):
            if self._factory is None or one in self._joined or self.step < one.asked:
                continue
            if one not in self._under_way:
                met_by = folder.with_name(f"{folder.name}.round{number}")
                if not met_by.exists():
                    self._save_policy(met_by)
                self._under_way[one] = self._factory.start(SampleSource(f"own{number}", one.shards, met_by))
            if self.step >= one.joins:
                self.batches.add(self._factory.finish(self._under_way.pop(one)))
                self._joined.add(one)

    def _train_step(self) -> dict[str, float]:
        """One batch; its losses. Its random numbers depend on seed and step only, so a run can be resumed."""
        rng = np.random.default_rng((self.settings.seed, self.step))
        torch.manual_seed(int(rng.integers(2**31)))
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * one_cycle(self.step / self.settings.steps)
        batch = self.batches.draw(self.settings.pictures, self.settings.instructions, rng)
        prefix = self._prefix(batch)
        truth = self._truth(batch)
        actions = self._action.normalise(torch.from_numpy(to_checkpoint(batch.actions)))
        flow, plain = self._flow_loss(prefix, actions, truth.kind == Kind.STAY)
        losses, pointing = self.heads.losses(prefix.hidden, truth), self.pointing(batch.images, truth)
        self.optimiser.zero_grad()
        (flow + self.heads.total(losses) + pointing).backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        values = {"flow": plain, "pointing": pointing} | losses
        return {name: values[name].item() for name in _CURVES}

    def _prefix(self, batch: Batch) -> Prefix:
        image_tokens = self.network.encode_images(list(_disturbed(batch.images) * 2.0 - 1.0))
        state = self._state.normalise(torch.from_numpy(to_checkpoint(batch.states)))
        state = nn.functional.pad(state, (0, self.network.config.max_state_dim - state.shape[1]))
        each = self.settings.instructions
        tokens = [t.repeat_interleave(each, 0) for t in image_tokens]
        return self.network.encode_prefix(tokens, batch.tokens, state, batch.mask)

    def _flow_loss(self, prefix: Prefix, actions: Tensor, stay: Tensor) -> tuple[Tensor, Tensor]:
        """The loss with its weights, and the plain mean squared error of the joints; `stay` [B]: told to hold still."""
        config, draws = self.network.config, self.settings.draws
        actions = nn.functional.pad(actions, (0, config.max_action_dim - config.action_dim)).repeat_interleave(draws, 0)
        noise = torch.randn_like(actions)
        t = torch.distributions.Beta(1.5, 1.0).sample((len(actions),)) * 0.999 + 0.001
        x_t = t[:, None, None] * noise + (1 - t[:, None, None]) * actions
        error = (self.network.velocity(prefix.repeated(draws, config), x_t, t) - (noise - actions)).square()
        joints, padding = error[..., : config.action_dim], error[..., config.action_dim :]
        each = torch.where(stay, _STAY_WEIGHT, 1.0).repeat_interleave(draws)[:, None, None]
        weighted = (joints * each * torch.tensor(_JOINT_WEIGHTS)).mean() + _PADDING_WEIGHT * padding.mean()
        return weighted, joints.mean()

    def _truth(self, batch: Batch) -> Truth:
        full = np.zeros((*batch.aims.shape[:-1], len(VALUE_NAMES)))
        full[..., :AIMED_JOINTS] = batch.aims
        aims = self._action.normalise(torch.from_numpy(to_checkpoint(full)))[..., :AIMED_JOINTS]
        return Truth(
            aims=aims,
            near=torch.from_numpy(batch.near),
            held=torch.from_numpy(batch.held),
            kind=torch.tensor([int(TASKS[asked.task].kind) for asked in batch.asked]),
            cube=torch.tensor([COLOURS.index(a.colour) if a.colour else -1 for a in batch.asked]),
            place=torch.tensor([PLACES.index(a.place) if a.place else -1 for a in batch.asked]),
            cube_token=batch.cube_token,
            place_token=batch.place_token,
        )

    def _normaliser(self, feature: str) -> Normaliser:
        return Normaliser("MEAN_STD", self.statistics[feature]["mean"], self.statistics[feature]["std"])

    def _all_tensors(self) -> dict[str, Tensor]:
        """Weights and optimiser state by name, as views."""
        named = {f"network.{n}": p for n, p in self.network.named_parameters()}
        named |= {f"heads.{n}": p for n, p in self.heads.named_parameters()}
        states = {f"{name}/{key}": value for name, p in named.items() for key, value in self.optimiser.state[p].items()}
        return {name: p.data for name, p in named.items()} | states


def resume_path(folder: Path) -> Path:
    return folder.with_name(folder.name + ".resume")


def curves_path(folder: Path) -> Path:
    return folder.with_name(folder.name + ".curves.jsonl")


def one_cycle(progress: float) -> float:
    """The learning rate's factor: up over the first twentieth, down along a cosine to a hundredth."""
    if progress < 0.05:
        return 0.05 + 0.95 * progress / 0.05
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (progress - 0.05) / 0.95))


def _note(folder: Path, step: int, seconds: float, figures: dict[str, Any]) -> None:
    """One line of the curves, and of the log."""
    with curves_path(folder).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, "seconds": round(seconds, 1), **figures}) + "\n")
    shown = " ".join(
        f"{name} {value:.3f}" if isinstance(value, float) else f"{name} {value}" for name, value in figures.items()
    )
    log.info("step %d (%.0f s) %s", step, seconds, shown)


def _disturbed(images: Tensor) -> Tensor:
    """Brightness and tint at random; images [cameras, B, 3, H, W] in [0, 1], the same light for all cameras."""
    light = 1.0 + 0.12 * (2 * torch.rand(1, images.shape[1], 1, 1, 1) - 1)
    tint = 1.0 + 0.04 * (2 * torch.rand(1, images.shape[1], 3, 1, 1) - 1)
    return (images * (light * tint)).clamp(0.0, 1.0)
