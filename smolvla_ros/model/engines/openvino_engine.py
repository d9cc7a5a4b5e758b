"""OpenVINO for the vision tower, two thirds of all work; language model and expert stay in torch.

An optional extra: `pip install openvino`. Exported from torch in memory, once for each size of image, at the first use.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from smolvla_ros.model.engines.torch_engine import TorchEngine
from smolvla_ros.model.errors import CheckpointError
from smolvla_ros.model.network import SmolVLANetwork


class OpenVINOEngine(TorchEngine):
    """The network, its images through OpenVINO on the CPU. One thread."""

    name = "openvino"

    def __init__(self, network: SmolVLANetwork, num_steps: int, reason: str = "") -> None:
        try:
            self._openvino: Any = importlib.import_module("openvino")
        except ImportError as error:
            raise CheckpointError(
                f"engine 'openvino' was asked for, but cannot be imported ({error}); install it (pip install openvino) "
                "or use engine 'torch'"
            ) from error
        super().__init__(network, num_steps, f"{reason}; images by OpenVINO {self._openvino.__version__}")
        self._compiled: dict[tuple[int, ...], Any] = {}

    def encode(self, images: Sequence[Tensor]) -> list[Tensor]:
        return [self._encode(image) for image in images]

    def _encode(self, image: Tensor) -> Tensor:
        shape = tuple(image.shape)
        if shape not in self._compiled:
            self._compiled[shape] = self._compile(shape)
        (tokens,) = self._compiled[shape]([image.numpy()]).values()
        return torch.from_numpy(tokens.copy())

    def _compile(self, shape: tuple[int, ...]) -> Any:
        images = nn.Sequential(self.network.vision, self.network.connector)
        with torch.no_grad():
            model = self._openvino.convert_model(images, example_input=torch.zeros(shape), input=[list(shape)])
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
            # Pinned threads take twice as long beside a busy core.
            "ENABLE_CPU_PINNING": False,
        }
        return self._openvino.Core().compile_model(model, "CPU", settings)
