"""One CUDA graph over vision, prefix and all steps, for each number of observations, cameras and tokens.

On a GPU a small batch waits for the launches of some ten thousand kernels; a graph launches them at once.
`StaticForward` is all but the capture and runs on a CPU too, where tests hold it to the eager bits.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from smolvla_ros.model.engines.torch_engine import ChunkInputs, TorchEngine
from smolvla_ros.model.network import SmolVLANetwork
from smolvla_ros.model.rtc import GuidedVelocity
from smolvla_ros.model.sampler import sample

log = logging.getLogger(__name__)

_KEPT_GRAPHS = 16
# Text of several observations is padded to the next multiple, so that few graphs serve all instructions.
_TOKENS_STEP = 16
_WARM_UPS = 2

# Shapes of the images, tokens, empty cameras, and the bound of the guidance or None without it.
Key = tuple[tuple[torch.Size, ...], int, int, float | None]


class StaticForward:
    """From inputs to a chunk on memory of its own that never moves: what a graph can be captured from."""

    def __init__(self, engine: TorchEngine, like: ChunkInputs) -> None:
        guided = like.guided
        if guided is not None:
            guided = copy.copy(guided)
            guided.target, guided.weights = guided.target.clone(), guided.weights.clone()
        self.inputs = replace(
            like,
            images=[image.clone() for image in like.images],
            tokens=like.tokens.clone(),
            state=like.state.clone(),
            noise=like.noise.clone(),
            guided=guided,
            token_mask=None if like.token_mask is None else like.token_mask.clone(),
            image_mask=None if like.image_mask is None else like.image_mask.clone(),
        )
        self.chunk = torch.zeros_like(like.noise)
        self._engine = engine
        self._rooms = engine.new_rooms(like)

    def load(self, inputs: ChunkInputs) -> None:
        """Copies inputs of the same key into place."""
        for mine, given in zip(_tensors(self.inputs), _tensors(inputs), strict=True):
            mine.copy_(given, non_blocking=True)

    def run(self) -> None:
        """Fills `chunk`. Waits for nothing and makes no tensor from host values."""
        inputs, network = self.inputs, self._engine.network
        prefix = self._engine.encoded(self._engine.encode(inputs.images), inputs, self._rooms)

        def step(x_t: Tensor, time_features: Tensor) -> Tensor:
            return network.denoise(prefix, x_t, time_features)

        self.chunk.copy_(sample(step, inputs.noise, self._engine.features, inputs.guided))


class GraphEngine(TorchEngine):
    """The network by replayed graphs.

    A graph is captured when its key is first seen: at configure, and in the inference thread when the instruction has
    a new length. The paper's guidance needs a backward pass and runs eagerly; so does a
    key whose capture failed, which `reason` and the log tell.
    """

    name = "cuda_graph"

    def __init__(self, network: SmolVLANetwork, num_steps: int, reason: str = "") -> None:
        super().__init__(network, num_steps, reason)
        self._graphs: dict[Key, tuple[StaticForward, torch.cuda.CUDAGraph | None]] = {}

    def take_steps(self, num_steps: int) -> None:
        super().take_steps(num_steps)
        self._graphs.clear()

    def chunk(self, inputs: ChunkInputs, finished: Callable[[str], object] = lambda stage: None) -> Tensor:
        if inputs.guided is not None and inputs.guided.form == "paper":
            return super().chunk(inputs, finished)
        inputs = uniform(inputs)
        key = _key(inputs)
        if key not in self._graphs:
            if len(self._graphs) >= _KEPT_GRAPHS:
                self._graphs.pop(next(iter(self._graphs)))
            self._graphs[key] = self._captured(StaticForward(self, inputs))
        forward, graph = self._graphs[key]
        if graph is None:
            return super().chunk(inputs, finished)
        forward.load(inputs)
        graph.replay()
        finished("denoise")
        return forward.chunk.clone()

    def _captured(self, forward: StaticForward) -> tuple[StaticForward, torch.cuda.CUDAGraph | None]:
        try:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UPS):
                    forward.run()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # Other threads of the node may use the device meanwhile.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                forward.run()
        except (
            RuntimeError,
            AssertionError,
        ) as error:  # no driver, out of memory, an operation that cannot be captured
            told = f"eager, for the CUDA graph was not captured: {str(error).splitlines()[0]}"
            log.warning("%s", told)
            self.reason = f"{self.reason.partition('; eager')[0]}; {told}"
            return forward, None
        return forward, graph


def uniform(inputs: ChunkInputs) -> ChunkInputs:
    """Several observations with masks, whether or not anything is masked, and text of a length that many share."""
    batch, length = inputs.tokens.shape
    if batch == 1:
        return inputs
    there = torch.ones(batch, length, dtype=torch.bool, device=inputs.tokens.device)
    all_cameras = there.new_ones(batch, len(inputs.images) + inputs.masked_images)
    spare = -length % _TOKENS_STEP
    return replace(
        inputs,
        tokens=F.pad(inputs.tokens, (0, spare)),
        token_mask=F.pad(there if inputs.token_mask is None else inputs.token_mask, (0, spare)),
        image_mask=all_cameras if inputs.image_mask is None else inputs.image_mask,
    )


def _key(inputs: ChunkInputs) -> Key:
    bound = inputs.guided.max_weight if inputs.guided else None
    return tuple(image.shape for image in inputs.images), inputs.tokens.shape[1], inputs.masked_images, bound


def _tensors(inputs: ChunkInputs) -> list[Tensor]:
    guided: GuidedVelocity | None = inputs.guided
    return [
        *inputs.images,
        inputs.tokens,
        inputs.state,
        inputs.noise,
        *((guided.target, guided.weights) if guided else ()),
        *(mask for mask in (inputs.token_mask, inputs.image_mask) if mask is not None),
    ]
