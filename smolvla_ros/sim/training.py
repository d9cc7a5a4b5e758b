"""Training of the demo policy: flow matching, with two auxiliary losses that teach it which cube is meant.

The flow loss is SmolVLA's: x_t = t * noise + (1 - t) * actions, target noise - actions, t ~ Beta(1.5, 1). Alone it
takes very long to connect words with cubes. So two small heads, used in training only, read the joints that touch each
cube from the image tokens, and those that touch the named cube from the state token; they are dropped when saving.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from smolvla_ros.model import Prefix, SmolVLANetwork
from smolvla_ros.model.checkpoint.saving import Training, save_checkpoint
from smolvla_ros.model.normalisation import Normaliser

from .dataset import Demonstrations
from .demo_model import IMAGE_FEATURES, VALUE_NAMES, demo_config, demo_tokenizer, model_card, statistics
from .expert import STEP_S
from .task import COLOURS, draw_instruction
from .units import to_checkpoint
from .world import PICTURE_SIZE

log = logging.getLogger(__name__)

_AIMED_JOINTS = 4  # the joints that decide where the tool point is
_PADDING_WEIGHT = 0.1  # of the flow's unused columns, which only need to stay harmless


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that decides the result, the samples apart."""

    seed: int = 1
    steps: int = 3000
    pictures: int = 40  # per batch
    instructions: int = 2  # for each picture, naming different cubes; they share the image tokens
    draws: int = 1  # (noise, time) pairs for each instruction; they share the prefix
    learning_rate: float = 1.5e-3
    weight_decay: float = 1e-4
    auxiliary_weight: float = 1.0
    position_std: float = 0.3
    token_std: float = 0.1
    evaluate_every: int = 500


class AuxiliaryHeads(nn.Module):
    """Training's view into the prefix: where all cubes are, and where the named one is."""

    def __init__(self, width: int, image_tokens: int) -> None:
        super().__init__()
        self.all_cubes = nn.Sequential(
            nn.Linear(width * image_tokens, 128), nn.SiLU(), nn.Linear(128, len(COLOURS) * _AIMED_JOINTS)
        )
        self.named_cube = nn.Sequential(nn.Linear(width, 128), nn.SiLU(), nn.Linear(128, _AIMED_JOINTS))
        self.image_tokens = image_tokens

    def losses(self, prefix: Prefix, goals: Tensor, named: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared errors of all goals and of the named one; `goals` [B, colours, 4], `named` [B]."""
        everywhere = self.all_cubes(prefix.hidden[:, : self.image_tokens].flatten(1)).unflatten(1, goals.shape[1:])
        chosen = goals[torch.arange(len(goals)), named]
        return (everywhere - goals).square().mean(), (self.named_cube(prefix.hidden[:, -1]) - chosen).square().mean()


class DemoTraining:
    """The state of one training run. One thread."""

    def __init__(self, samples: Demonstrations, settings: TrainingSettings) -> None:
        self.settings, self.samples = settings, samples
        torch.manual_seed(settings.seed)
        self.tokenizer = demo_tokenizer()
        config = demo_config(self.tokenizer.get_vocab_size())
        self.network = SmolVLANetwork(config)
        self.network.reset_embeddings(settings.position_std, settings.token_std)
        side = config.vision.grid // config.scale_factor
        self.heads = AuxiliaryHeads(config.text.hidden_size, len(IMAGE_FEATURES) * side * side)
        self.statistics = statistics(samples)
        self._state, self._action = (self._normaliser(name) for name in ("observation.state", "action"))
        self.parameters = [*self.network.parameters(), *self.heads.parameters()]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=settings.weight_decay
        )
        self.step = 0

    def run(self, folder: Path, evaluate: Callable[[Path], str]) -> None:
        """Trains on to the last step, saving and evaluating `folder` at every `evaluate_every`."""
        started, running = time.monotonic(), np.zeros(3)
        while self.step < self.settings.steps:
            running = 0.95 * running + 0.05 * np.array(self._train_step())
            self.step += 1
            if self.step % 50 == 0:
                flow, everywhere, named = running / (1 - 0.95 ** min(self.step, 1000))
                seconds = time.monotonic() - started
                log.info("step %d flow %.4f cubes %.4f named %.4f  %.0f s", self.step, flow, everywhere, named, seconds)
            if self.step % self.settings.evaluate_every == 0 or self.step == self.settings.steps:
                self.save(folder)
                log.info("step %d %s", self.step, evaluate(folder))

    def save(self, folder: Path) -> None:
        """Writes the checkpoint, and beside it `<folder>.resume` with all that `resume` needs."""
        run = asdict(self.settings) | {"samples": len(self.samples), "step": self.step}
        shapes = dict.fromkeys(IMAGE_FEATURES, (3, *PICTURE_SIZE))
        training = Training(
            statistics=self.statistics,
            image_shapes=shapes,
            state_names=VALUE_NAMES,
            action_names=VALUE_NAMES,
            fps=round(1 / STEP_S),
            run=run,
            card=model_card(len(self.samples), self.step),
        )
        save_checkpoint(folder, self.network, self.tokenizer, training)
        save_file(self._all_tensors(), resume_path(folder), metadata={"step": str(self.step)})

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

    def _train_step(self) -> tuple[float, float, float]:
        """One batch; the three losses. Its random numbers depend on seed and step only, so a run can be resumed."""
        rng = np.random.default_rng((self.settings.seed, self.step))
        torch.manual_seed(int(rng.integers(2**31)))
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * one_cycle(self.step / self.settings.steps)
        pictures, each = self.settings.pictures, self.settings.instructions
        rows = np.repeat(rng.integers(len(self.samples), size=pictures), each)
        colours = np.concatenate([rng.choice(len(COLOURS), each, replace=False) for _ in range(pictures)])
        named = torch.from_numpy(colours)
        prefix = self._prefix(rows, colours, rng)
        actions = self._action.normalise(torch.from_numpy(to_checkpoint(self.samples.actions[rows, colours])))
        flow = self._flow_loss(prefix, actions)
        goals = self._action.normalise(torch.from_numpy(to_checkpoint(self.samples.goals[rows])))
        everywhere, chosen = self.heads.losses(prefix, goals[..., :_AIMED_JOINTS], named)
        self.optimiser.zero_grad()
        (flow + self.settings.auxiliary_weight * (everywhere + chosen)).backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        return flow.item(), everywhere.item(), chosen.item()

    def _prefix(self, rows: NDArray[np.int64], colours: NDArray[np.int64], rng: np.random.Generator) -> Prefix:
        """rows [B] of the samples, each picture `settings.instructions` times in a row; colours [B] named."""
        each = self.settings.instructions
        images = torch.from_numpy(self.samples.images[rows[::each]]).permute(1, 0, 4, 2, 3).float() / 255.0
        image_tokens = self.network.encode_images(list(_disturbed(images) * 2.0 - 1.0))
        # The policy reads text with a newline at its end, as SmolVLA was trained.
        texts = [draw_instruction(COLOURS[colour], rng) + "\n" for colour in colours]
        encoded = [self.tokenizer.encode(text).ids for text in texts]
        tokens = nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids in encoded], batch_first=True)
        mask = torch.arange(tokens.shape[1]) < torch.tensor([len(ids) for ids in encoded])[:, None]
        state = self._state.normalise(torch.from_numpy(to_checkpoint(self.samples.states[rows])))
        state = nn.functional.pad(state, (0, self.network.config.max_state_dim - state.shape[1]))
        return self.network.encode_prefix([t.repeat_interleave(each, 0) for t in image_tokens], tokens, state, mask)

    def _flow_loss(self, prefix: Prefix, actions: Tensor) -> Tensor:
        config, draws = self.network.config, self.settings.draws
        actions = nn.functional.pad(actions, (0, config.max_action_dim - config.action_dim)).repeat_interleave(draws, 0)
        noise = torch.randn_like(actions)
        t = torch.distributions.Beta(1.5, 1.0).sample((len(actions),)) * 0.999 + 0.001
        x_t = t[:, None, None] * noise + (1 - t[:, None, None]) * actions
        error = (self.network.velocity(prefix.repeated(draws, config), x_t, t) - (noise - actions)).square()
        return error[..., : config.action_dim].mean() + _PADDING_WEIGHT * error[..., config.action_dim :].mean()

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


def one_cycle(progress: float) -> float:
    """The learning rate's factor: up over the first twentieth, down along a cosine to a hundredth."""
    if progress < 0.05:
        return 0.05 + 0.95 * progress / 0.05
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (progress - 0.05) / 0.95))


def _disturbed(images: Tensor) -> Tensor:
    """Brightness and tint at random; images [cameras, B, 3, H, W] in [0, 1], the same light for all cameras."""
    light = 1.0 + 0.12 * (2 * torch.rand(1, images.shape[1], 1, 1, 1) - 1)
    tint = 1.0 + 0.04 * (2 * torch.rand(1, images.shape[1], 3, 1, 1) - 1)
    return (images * (light * tint)).clamp(0.0, 1.0)
