"""From noise to actions: the flow is followed from t = 1 to t = 0 in equal Euler steps."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from smolvla_ros.model.network import Prefix, SmolVLANetwork
from smolvla_ros.model.rtc import GuidedVelocity


def sample(
    network: SmolVLANetwork, prefix: Prefix, noise: Tensor, num_steps: int, guided: GuidedVelocity | None = None
) -> Tensor:
    """noise [B, chunk_size, max_action_dim] -> normalised actions of the same shape, float32."""
    times = [1.0 - step / num_steps for step in range(num_steps)]
    features = network.time_features(torch.tensor(times, dtype=torch.float32, device=noise.device))
    x_t = noise
    for t, time_features in zip(times, features, strict=True):
        velocity = partial(network.denoise, prefix, time_features=time_features)
        v = guided(velocity, x_t, t) if guided else velocity(x_t)
        x_t = x_t - v / num_steps
    return x_t
