"""From noise to actions: the flow is followed from t = 1 to t = 0 in equal Euler steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from smolvla_ros.model.network import SmolVLANetwork
from smolvla_ros.model.rtc import GuidedVelocity

# step(x_t [B, chunk, max_action_dim], time_features=[1, width]) -> velocity of x_t's shape.
Step = Callable[..., Tensor]


def step_features(network: SmolVLANetwork, num_steps: int) -> Tensor:
    """The embedded times of all steps: [num_steps, 1, width]. The same for every chunk."""
    times = torch.tensor([1.0 - step / num_steps for step in range(num_steps)], dtype=torch.float32)
    return network.time_features(times.to(network.action_out_proj.weight.device))


def sample(step: Step, noise: Tensor, features: Tensor, guided: GuidedVelocity | None = None) -> Tensor:
    """noise [B, chunk_size, max_action_dim] -> normalised actions of the same shape, float32.

    `features` are those of `step_features`, whose number is the number of steps.
    """
    num_steps, x_t = len(features), noise
    for index, time_features in enumerate(features):
        velocity = partial(step, time_features=time_features)
        v = guided(velocity, x_t, 1.0 - index / num_steps) if guided else velocity(x_t)
        x_t = x_t - v / num_steps
    return x_t
