"""The policy: camera images, joint state and an instruction in; a chunk of actions out, in checkpoint units.

A policy belongs to one thread. `predict` runs without gradients and leaves nothing behind between calls.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smolvla_ros.model.checkpoint.golden import replay_golden
from smolvla_ros.model.checkpoint.loading import LoadingPlan, load_weights, read_plan, usable_device
from smolvla_ros.model.config import SmolVLAConfig
from smolvla_ros.model.engines.arithmetic import check_dtype
from smolvla_ros.model.engines.building import build_engine
from smolvla_ros.model.engines.torch_engine import TorchEngine
from smolvla_ros.model.errors import CheckpointError, ObservationError
from smolvla_ros.model.images import check_image
from smolvla_ros.model.rtc import Guidance, check_leftover
from smolvla_ros.model.stage_clock import StageClock
from smolvla_ros.model.text import Overlong
from smolvla_ros.model.together import PreparedQuestion, of_one_size, together
from smolvla_ros.model.transforms import run
from smolvla_ros.model.words import UnseenWords

Images = Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Prediction:
    """One chunk of actions.

    Attributes:
        actions: [chunk_size, action_dim] float32 in checkpoint units.
        normalised: the same as the sampler made them; what `Guidance.leftover` is made of.
        stage_s: seconds of preprocess, vision, prefix, denoise and postprocess.
        truncated: the instruction was longer than the policy reads and was cut.
    """

    actions: NDArray[np.float32]
    normalised: NDArray[np.float32]
    stage_s: dict[str, float]
    truncated: bool


class SmolVLAPolicy:
    """A loaded checkpoint, ready to infer.

    `config` holds the checkpoint's facts, `network` the weights, `engine` what runs them. `golden_difference` is the
    largest deviation from the checkpoint's golden input (normalised), None if it has none.
    """

    def __init__(self, plan: LoadingPlan, engine: TorchEngine, device: torch.device) -> None:
        self.config: SmolVLAConfig = plan.config
        self.network = engine.network
        self.engine = engine
        self.golden_difference: float | None = None
        self._plan = plan
        self._transforms = plan.transforms
        self._device = device

    @classmethod
    def from_checkpoint(
        cls,
        folder: str | Path,
        device: str = "cpu",
        dtype: str = "float32",
        *,
        revision: str = "",
        overlong_instruction: Overlong = "cut",
        unseen_words: UnseenWords = "accept",
        num_steps: int = 0,
        engine: str = "auto",
        statistics: Mapping[str, str] | None = None,
    ) -> Self:
        """Loads a checkpoint as LeRobot writes it, and proves that its normalisation acts.

        Args:
            folder: holds config.json, model.safetensors (or a LoRA adapter) and, since September 2025, the two
                processor pipelines. A hub id 'org/name' is fetched first.
            device: 'cpu', 'cuda', 'cuda:1', ...; the device stored in the checkpoint is ignored.
            dtype: one of `DTYPES`: 'float32'; 'bfloat16', the mixed types that LeRobot runs in; 'bfloat16_products',
                where all but the products stays float32; 'int8' for the products; 'auto' for the fastest here.
            engine: one of `ENGINES` or 'auto': 'cuda_graph' on a GPU, else 'torch'.
            num_steps: of the sampler; 0: the checkpoint's own.
            revision: commit, tag or branch of a hub id.
            overlong_instruction: beyond the policy's token limit, 'cut' as in training (with a warning) or 'refuse'.
            unseen_words: what to do with an instruction of words never seen in training, where the checkpoint lists
                those that were.
            statistics: for checkpoints without usable ones: a feature ('observation.state', 'action') mapped to
                the name of a set in the checkpoint, to a statistics file, or to 'none' for un-normalised values.

        Raises:
            CheckpointError: anything wrong with the folder, the device or the choices, with the remedy.
        """
        check_dtype(dtype)
        torch_device = usable_device(device)
        plan = read_plan(folder, revision, overlong_instruction, unseen_words, statistics)
        made, arithmetic = build_engine(
            partial(load_weights, plan, torch_device), plan.config, torch_device, dtype, engine, plan.config.num_steps
        )
        policy = cls(plan, made, torch_device)
        policy._probe()
        policy.golden_difference = replay_golden(policy, plan.location.folder, arithmetic.dtype)
        if num_steps:
            policy.engine.take_steps(num_steps)
        return policy

    @property
    def cameras(self) -> tuple[str, ...]:
        """The keys expected in `images`, in the order of the image tokens."""
        sources = {new: old for old, new in self._plan.processing.rename_map.items()}
        return tuple(sources.get(name, name) for name in self._plan.cameras)

    @property
    def folder(self) -> Path:
        """Where the checkpoint lies; for a hub id that is a folder of the cache, named by the commit."""
        return self._plan.location.folder

    @property
    def state_dim(self) -> int:
        return self.config.state_dim

    @property
    def action_dim(self) -> int:
        return self.config.action_dim

    def statistics(self, feature: Literal["observation.state", "action"]) -> dict[str, NDArray[np.float64]]:
        """What is known of the training data, in checkpoint units: mean, std, min, max, q01, ..., each [D]."""
        is_state = feature == "observation.state"
        source = self._plan.processing.state if is_state else self._plan.processing.action
        size = self.state_dim if is_state else self.action_dim
        found = source.found(feature)
        return {name: values.cpu().double().numpy() for name, values in found.items() if values.shape == (size,)}

    @property
    def state_names(self) -> tuple[str, ...] | None:
        """Names of the state's values, where the checkpoint tells them."""
        return self._plan.names.state

    @property
    def action_names(self) -> tuple[str, ...] | None:
        """Names of the action's values, where the checkpoint tells them."""
        return self._plan.names.action

    def infer(
        self,
        images: Images,
        state: NDArray[np.float32],
        instruction: str,
        noise: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """`predict(...).actions`: [chunk_size, action_dim] float32 in checkpoint units."""
        return self.predict(images, state, instruction, noise).actions

    def predict(
        self,
        images: Images,
        state: NDArray[np.float32],
        instruction: str,
        noise: NDArray[np.float32] | None = None,
        guidance: Guidance | None = None,
    ) -> Prediction:
        """Predicts one chunk.

        Args:
            images: RGB uint8 [height, width, 3] of any size for the keys of `cameras`. Like in LeRobot a camera
                may be left out, as long as one is there.
            state: [state_dim] in checkpoint units.
            instruction: what to do.
            noise: [chunk_size, max_action_dim]; drawn from torch's generator if None.
            guidance: real-time chunking towards the rows of the previous chunk.

        Raises:
            ObservationError: an image, the state, the noise or the guidance does not fit.
            InstructionError: the instruction is empty, too long or not plain text.
        """
        return self.predict_together([self.prepare(images, state, instruction, noise, guidance)])[0]

    def prepare(
        self,
        images: Images,
        state: NDArray[np.float32],
        instruction: str,
        noise: NDArray[np.float32] | None = None,
        guidance: Guidance | None = None,
    ) -> PreparedQuestion:
        """The first half of `predict`: all that can be wrong with one question is found here."""
        started = time.perf_counter()
        with torch.no_grad():
            tokens = self._plan.reader.read(instruction)
            if guidance:
                check_leftover(guidance, self.config.chunk_size, self.config.max_action_dim)
            return PreparedQuestion(
                pixels=self._pixels(images),
                ids=tokens.ids,
                state=run(self._transforms.to_network, self._state(state)),
                noise=self._noise(noise),
                guidance=guidance,
                truncated=tokens.truncated,
                prepare_s=time.perf_counter() - started,
            )

    def predict_together(self, questions: Sequence[PreparedQuestion]) -> list[Prediction]:
        """The second half, for several questions in one go: for each what `predict` would give alone, up to rounding.

        Questions may differ in the lengths of their instructions, in which cameras they have and in whether they are
        guided; in form and bound of the guidance they may not. The seconds of the stages are those of all together.
        """
        found: dict[int, Prediction] = {}
        for places in of_one_size(questions, self.config):
            found |= zip(places, self._predicted([questions[place] for place in places]), strict=True)
        return [found[place] for place in range(len(questions))]

    def _predicted(self, questions: Sequence[PreparedQuestion]) -> list[Prediction]:
        clock = StageClock(self._device)
        with torch.no_grad():
            inputs = together(questions, self.config)
            clock.stage("preprocess")
            normalised = self.engine.chunk(inputs, clock.stage)[:, :, : self.action_dim]
            actions = [_array(run(self._transforms.actions, chunk)) for chunk in normalised]
            clock.stage("postprocess")
        return [
            Prediction(
                made,
                _array(chunk),
                {**clock.stage_s, "preprocess": question.prepare_s + clock.stage_s["preprocess"]},
                question.truncated,
            )
            for made, chunk, question in zip(actions, normalised, questions, strict=True)
        ]

    def check_instruction(self, instruction: str) -> None:
        """Raises the InstructionError that `predict` would, and one for unseen words that are to be refused; any thread
        may ask."""
        self._plan.reader.check(instruction)

    def remark(self, instruction: str) -> str:
        """What to tell who gave the instruction, though it is accepted; '' for nothing."""
        return self._plan.reader.words.remark(instruction)

    def normalised_state(self, state: NDArray[np.float32]) -> NDArray[np.float32]:
        """The state [state_dim] as the network sees it, in which distances of all joints are comparable."""
        return _array(self._state(state))

    def warm_up(self, most: int = 1) -> None:
        """An inference on grey images, so that the first real one is as fast as the others; on a GPU for each number
        of questions up to `most`, as each has a graph of its own.
        """
        width, height = self.config.image_size_wh or (self.config.vision.image_size,) * 2
        grey = np.full((height, width, 3), 128, dtype=np.uint8)
        middle = self._plan.state.unnormalise(torch.zeros(self.state_dim))
        question = self.prepare(dict.fromkeys(self.cameras, grey), _array(middle), "warm up")
        for size in range(1, 1 + (most if self._device.type == "cuda" else 1)):
            self.predict_together([question] * size)

    def _pixels(self, images: Images) -> dict[str, Tensor]:
        """The given cameras' images by the checkpoint's names."""
        renamed = {self._plan.processing.rename_map.get(name, name): image for name, image in images.items()}
        expected = f"expected {', '.join(self.cameras)}"
        if unknown := sorted(renamed.keys() - set(self.config.image_features)):
            raise ObservationError(f"the policy has no camera {', '.join(unknown)}; {expected}")
        if not renamed:
            raise ObservationError(f"no image given; {expected}")
        pixels = {}
        for name, image in renamed.items():
            check_image(name, image)
            on_device = torch.from_numpy(np.ascontiguousarray(image)).to(self._device)
            pixels[name] = run(self._transforms.images[name], on_device)
        return pixels

    def _state(self, state: NDArray[np.float32]) -> Tensor:
        """The state as the network sees it: [state_dim]."""
        values = np.asarray(state, dtype=np.float32)
        if values.shape != (self.state_dim,):
            raise ObservationError(f"the state has shape {list(values.shape)}, expected [{self.state_dim}]")
        if not np.isfinite(values).all():
            raise ObservationError(f"the state has values that are not finite: {values.tolist()}")
        return run(self._transforms.state, torch.from_numpy(values).to(self._device))

    def _probe(self) -> None:
        """Sends known values through both ways of the normalisation; what comes out must be what the statistics say."""
        state, action = self._plan.state, self._plan.action
        if self.config.adapt_to_pi_aloha:
            return  # the arm's conversion comes between, and is not linear
        for known in (0.0, 1.0):
            values = torch.full((self.state_dim,), known)
            seen = torch.from_numpy(self.normalised_state(_array(state.unnormalise(values))))
            said = run(self._transforms.actions, torch.full((self.action_dim,), known, device=self._device)).cpu()
            expected = action.unnormalise(torch.full((self.action_dim,), known))
            if not torch.allclose(seen, values, atol=1e-2) or not torch.allclose(said, expected, rtol=1e-4, atol=1e-6):
                raise CheckpointError(
                    f"{self._plan.location.folder}: the normalisation does not act as its statistics say: the state "
                    f"that must give {known} gives {seen.tolist()}; they are too small or too large for float32"
                )

    def _noise(self, noise: NDArray[np.float32] | None) -> Tensor:
        shape = (self.config.chunk_size, self.config.max_action_dim)
        if noise is None:
            return torch.randn((1, *shape), device=self._device)
        values = np.asarray(noise, dtype=np.float32)
        if values.shape != shape or not np.isfinite(values).all():
            raise ObservationError(f"the noise has shape {list(values.shape)}, expected finite {list(shape)}")
        return torch.from_numpy(values).to(self._device)[None]


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.cpu().numpy().astype(np.float32)
