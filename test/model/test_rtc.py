"""Real-time chunking: weights and gains of the papers, and what the two forms do to a chunk."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from smolvla_ros.model import Guidance, ObservationError, SmolVLAPolicy
from smolvla_ros.model.rtc import SCHEDULES, GuidedVelocity, guidance_gain, prefix_weights


@pytest.mark.parametrize(
    ("schedule", "ramp"),
    [
        ("linear", [0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
        ("exp", [0.7123, 0.4876, 0.3158, 0.1888, 0.0993, 0.0413, 0.0097]),
        ("ones", [1.0] * 7),
        ("zeros", [0.0] * 7),
    ],
)
def test_weights_fall_from_the_delay_to_the_horizon(schedule: Any, ramp: list[float]) -> None:
    expected = torch.tensor([1.0] * 3 + ramp + [0.0] * 40)
    torch.testing.assert_close(prefix_weights(3, 10, 50, schedule), expected, rtol=0, atol=1e-4)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 50), st.sampled_from(SCHEDULES))
def test_weights_never_rise_and_stay_between_zero_and_one(delay: int, horizon: int, length: int, schedule: Any) -> None:
    weights = prefix_weights(delay, horizon, length, schedule)
    assert len(weights) == length
    assert ((weights >= 0) & (weights <= 1)).all()
    assert (weights.diff() <= 1e-6).all()
    assert (weights[: min(delay, horizon, length)] == 1).all()
    assert (weights[min(horizon, length) :] == 0).all()


def test_gains_of_ten_steps_are_those_of_lerobot() -> None:
    gains = [guidance_gain(1 - step / 10, 10.0) for step in range(10)]
    assert gains == pytest.approx([10, 9.111, 4.25, 2.762, 2.167, 2.0, 2.167, 2.762, 4.25, 9.111], abs=1e-3)


def curved(x: torch.Tensor) -> torch.Tensor:
    """A velocity with a Jacobian that couples rows."""
    return torch.tanh(x) + 0.3 * x.roll(1, dims=1)


def test_the_papers_form_uses_the_true_jacobian() -> None:
    x, t = torch.randn(1, 4, 3), 0.6
    guidance = Guidance(torch.randn(4, 3), delay=1, horizon=4, form="paper")
    found = GuidedVelocity([guidance], x)(curved, x, t)
    jacobian = torch.autograd.functional.jacobian(
        lambda flat: flat - t * curved(flat.view(1, 4, 3)).flatten(), x.flatten()
    )
    clean = x - t * curved(x)
    error = (guidance.leftover - clean) * prefix_weights(1, 4, 4, "linear")[:, None]
    expected = curved(x) - guidance_gain(t, 10.0) * (error.flatten() @ jacobian).view(1, 4, 3)
    torch.testing.assert_close(found, expected)


def test_lerobots_form_takes_the_jacobian_for_the_identity() -> None:
    x, t = torch.randn(1, 4, 3), 0.6
    guidance = Guidance(torch.randn(4, 3), delay=1, horizon=4)
    error = (guidance.leftover - (x - t * curved(x))) * prefix_weights(1, 4, 4, "linear")[:, None]
    expected = curved(x) - guidance_gain(t, 10.0) * error
    torch.testing.assert_close(GuidedVelocity([guidance], x)(curved, x, t), expected)


@pytest.mark.parametrize("form", ["lerobot", "paper"])
def test_a_guided_chunk_continues_the_old_one(form: Any, checkpoint_of: Callable[[str], Path], cases_of: Any) -> None:
    policy = SmolVLAPolicy.from_checkpoint(checkpoint_of("default"))
    case = cases_of(checkpoint_of("default"))[0]
    arguments = (case.images, case.state, case.task)
    old = policy.predict(*arguments, case.expected["noise"][0].numpy()).normalised
    noise = np.random.default_rng(1).standard_normal((10, 32), dtype=np.float32)
    guidance = Guidance(torch.from_numpy(old[2:]), delay=3, horizon=6, schedule="exp", form=form)
    free, guided = (policy.predict(*arguments, noise, given).normalised for given in (None, guidance))
    assert np.abs(guided[:3] - old[2:5]).mean() < 0.5 * np.abs(free[:3] - old[2:5]).mean()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"leftover": torch.full((4, 6), math.nan)}, "expected finite rows"),
        ({"leftover": torch.zeros(1, 4, 6)}, "expected finite rows"),
        ({"delay": -1}, "delay -1"),
        ({"horizon": -1}, "horizon -1"),
        ({"max_weight": 0.0}, "max_weight 0.0"),
        ({"max_weight": math.inf}, "max_weight inf"),
        ({"schedule": "cosine"}, "schedule 'cosine'"),
        ({"form": "trained"}, "form 'trained'"),
    ],
    ids=str,
)
def test_guidance_that_makes_no_sense_is_refused(change: dict, reason: str) -> None:
    with pytest.raises(ObservationError, match=reason):
        Guidance(**{"leftover": torch.zeros(4, 6), "delay": 1, "horizon": 4, **change})


@pytest.mark.parametrize("shape", [(11, 6), (4, 33)])
def test_a_leftover_larger_than_a_chunk_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ObservationError, match="expected at most 10 x 32"):
        GuidedVelocity([Guidance(torch.zeros(shape), delay=1, horizon=4)], torch.zeros(1, 10, 32))
