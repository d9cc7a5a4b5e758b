"""Real-time chunking: a new chunk is drawn towards the rows of the old one that will be executed meanwhile.

Two forms of the guidance (arXiv 2506.07339) exist. 'lerobot' takes the Jacobian of the clean estimate for the
identity, as LeRobot does, and costs nothing; 'paper' uses the true vector-Jacobian product, one backward pass a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from smolvla_ros.model.errors import ObservationError

Schedule = Literal["zeros", "ones", "linear", "exp"]
SCHEDULES: tuple[Schedule, ...] = ("zeros", "ones", "linear", "exp")
FORMS = ("lerobot", "paper")


@dataclass(frozen=True)
class Guidance:
    """What the old chunk asks of the new one.

    Attributes:
        leftover: rows of the old chunk from the new one's first row on, normalised, [rows, columns] with at most
            chunk_size rows and max_action_dim columns. What is missing counts as zero.
        delay: rows that will be executed before the new chunk can be; they count fully.
        horizon: rows with any weight. In the paper's words this is chunk size minus execution horizon.
        schedule: how the weight falls from `delay` to `horizon`.
        max_weight: bound of the guidance gain.
        form: 'lerobot' or 'paper', see above.
    """

    leftover: Tensor
    delay: int
    horizon: int
    schedule: Schedule = "linear"
    max_weight: float = 10.0
    form: Literal["lerobot", "paper"] = "lerobot"

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES or self.form not in FORMS:
            raise ObservationError(
                f"guidance has schedule {self.schedule!r} and form {self.form!r}; "
                f"expected one of {', '.join(SCHEDULES)} and one of {', '.join(FORMS)}"
            )
        if self.leftover.ndim != 2 or not torch.isfinite(self.leftover).all():
            raise ObservationError(
                f"guidance leftover has shape {tuple(self.leftover.shape)}; expected finite rows [rows, columns]"
            )
        if self.delay < 0 or self.horizon < 0 or not 0.0 < self.max_weight < math.inf:
            raise ObservationError(
                f"guidance has delay {self.delay}, horizon {self.horizon}, max_weight {self.max_weight}; "
                "expected delay and horizon >= 0 and a finite max_weight > 0"
            )


def prefix_weights(delay: int, horizon: int, length: int, schedule: Schedule) -> Tensor:
    """Weight of each of `length` rows: 1 before `delay`, falling by the schedule, 0 from `horizon` on."""
    end = min(horizon, length)
    start = min(delay, end)
    weights = torch.zeros(length)
    weights[:start] = 1.0
    ramp = torch.linspace(1.0, 0.0, end - start + 2)[1:-1]
    if schedule == "ones":
        weights[start:end] = 1.0
    elif schedule == "linear":
        weights[start:end] = ramp
    elif schedule == "exp":
        weights[start:end] = ramp * ramp.expm1() / (math.e - 1.0)
    return weights


def guidance_gain(t: float, max_weight: float) -> float:
    """Strength of the pull at time t (1 = noise): min(max_weight, (t^2 + (1 - t)^2) / (t (1 - t)))."""
    tau = 1.0 - t
    return max_weight if tau <= 0.0 else min(max_weight, (t**2 + tau**2) / (t * tau))


def check_leftover(guidance: Guidance, chunk_size: int, columns: int) -> None:
    """Raises ObservationError if more is left over than fits into a chunk."""
    found = tuple(guidance.leftover.shape)
    if found[0] > chunk_size or found[1] > columns:
        raise ObservationError(
            f"guidance leftover is {found[0]} x {found[1]}; expected at most {chunk_size} x {columns}"
        )


class GuidedVelocity:
    """Wraps a velocity so that it leads to chunks that continue old ones.

    Args:
        guidance: for each chunk; None: it continues nothing, and its velocity is not changed by a bit.
        chunk: [B, chunk_size, max_action_dim], gives size and device of what will be guided.

    Raises:
        ObservationError: the forms or bounds of the chunks differ, or there is no guidance at all.
    """

    def __init__(self, guidance: Sequence[Guidance | None], chunk: Tensor) -> None:
        kinds = {(given.form, given.max_weight) for given in guidance if given is not None}
        if len(kinds) != 1:
            raise ObservationError(f"guidance has forms and bounds {sorted(kinds)}; expected one for all chunks")
        ((self.form, self.max_weight),) = kinds
        self.target = torch.zeros_like(chunk)
        self.weights = torch.zeros_like(chunk[:, :, :1])
        for index, given in enumerate(guidance):
            if given is not None:
                rows, columns = given.leftover.shape
                check_leftover(given, *chunk.shape[1:])
                self.target[index, :rows, :columns] = given.leftover.to(chunk)
                weights = prefix_weights(given.delay, min(given.horizon, rows), chunk.shape[1], given.schedule)
                self.weights[index] = weights.to(chunk)[:, None]

    def __call__(self, velocity: Callable[[Tensor], Tensor], x_t: Tensor, t: float) -> Tensor:
        """The guided velocity [B, chunk_size, max_action_dim] at x_t and time t."""
        if self.form == "lerobot":
            v = velocity(x_t)
            correction = (self.target - (x_t - t * v)) * self.weights
        else:
            v, correction = self._with_jacobian(velocity, x_t, t)
        return v - guidance_gain(t, self.max_weight) * correction

    def _with_jacobian(self, velocity: Callable[[Tensor], Tensor], x_t: Tensor, t: float) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x_t = x_t.detach().requires_grad_()
            v = velocity(x_t)
            clean = x_t - t * v
            error = ((self.target - clean) * self.weights).detach()
            (correction,) = torch.autograd.grad(clean, x_t, error)
        return v.detach(), correction
