"""The policy's doors: what it takes, what it refuses, what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from smolvla_ros.model import CheckpointError, ObservationError, SmolVLAPolicy
from smolvla_ros.model.checkpoint.golden import GOLDEN_FILE, record_golden
from smolvla_ros.model.images import resize_with_pad
from smolvla_ros.model.normalisation import STATISTICS_OF_MODE, Normaliser

TOP, WRIST = "observation.images.top", "observation.images.wrist"
IMAGE = np.zeros((48, 64, 3), np.uint8)
STATE = np.zeros(6, np.float32)


@pytest.fixture(scope="module")
def policy(checkpoint_of: Callable[[str], Path]) -> SmolVLAPolicy:
    return SmolVLAPolicy.from_checkpoint(checkpoint_of("default"))


def test_it_says_what_it_expects(policy: SmolVLAPolicy) -> None:
    assert policy.cameras == (TOP, WRIST)
    assert (policy.state_dim, policy.action_dim, policy.config.chunk_size) == (6, 6, 10)
    assert (policy.state_names, policy.action_names) == (None, None)


def test_it_tells_the_statistics_of_its_training_data_in_checkpoint_units(policy: SmolVLAPolicy) -> None:
    state, action = policy.statistics("observation.state"), policy.statistics("action")
    assert {"mean", "std"} <= state.keys()
    assert all(values.shape == (6,) for values in (*state.values(), *action.values()))
    middle = policy.normalised_state(state["mean"].astype(np.float32))
    np.testing.assert_allclose(middle, 0.0, atol=1e-5)


def test_equal_noise_gives_equal_actions_and_fresh_noise_does_not(policy: SmolVLAPolicy) -> None:
    images, noise = {TOP: IMAGE, WRIST: IMAGE}, np.ones((10, 32), np.float32)
    first, again = (policy.infer(images, STATE, "go", noise) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (10, 6)
    assert first.dtype == np.float32
    assert not np.array_equal(policy.infer(images, STATE, "go"), policy.infer(images, STATE, "go"))


def test_a_prediction_tells_the_time_of_every_stage(policy: SmolVLAPolicy) -> None:
    stages = policy.predict({TOP: IMAGE}, STATE, "go").stage_s
    assert list(stages) == ["preprocess", "vision", "prefix", "denoise", "postprocess"]
    assert all(seconds >= 0 for seconds in stages.values())


def test_the_order_in_which_images_are_given_does_not_matter(policy: SmolVLAPolicy) -> None:
    noise, other = np.ones((10, 32), np.float32), IMAGE + 90
    one = policy.infer({TOP: IMAGE, WRIST: other}, STATE, "go", noise)
    np.testing.assert_array_equal(one, policy.infer({WRIST: other, TOP: IMAGE}, STATE, "go", noise))
    assert not np.allclose(one, policy.infer({WRIST: IMAGE, TOP: other}, STATE, "go", noise))


def test_an_image_in_another_memory_layout_is_the_same_image(policy: SmolVLAPolicy) -> None:
    noise, image = np.ones((10, 32), np.float32), np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    flipped = np.ascontiguousarray(image[:, ::-1])[:, ::-1]
    found = policy.infer({TOP: flipped}, STATE, "go", noise)
    np.testing.assert_array_equal(found, policy.infer({TOP: image}, STATE, "go", noise))


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ({}, "no image given; expected observation.images.top, observation.images.wrist"),
        ({"observation.images.front": IMAGE}, "no camera observation.images.front; expected observation.images.top"),
        ({TOP: IMAGE.astype(np.float32)}, r"is float32 \[48, 64, 3\]; expected uint8"),
        ({TOP: IMAGE[..., 0]}, r"is uint8 \[48, 64\]"),
        ({TOP: IMAGE[..., :2]}, r"is uint8 \[48, 64, 2\]"),
        ({TOP: np.zeros((4, 48, 64, 3), np.uint8)}, "expected uint8"),
        ({TOP: IMAGE[:0]}, "at least one pixel"),
        ({TOP: np.zeros((1, 10_000, 3), np.uint8)}, "no pixel left when fitted"),
        ({TOP: IMAGE.tolist()}, "is list"),
    ],
)
def test_images_that_do_not_fit_are_refused(policy: SmolVLAPolicy, images: dict, reason: str) -> None:
    with pytest.raises(ObservationError, match=reason):
        policy.infer(images, STATE, "go")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (np.zeros(5), r"shape \[5\], expected \[6\]"),
        (np.zeros((1, 6)), r"shape \[1, 6\]"),
        (np.array([0, 0, np.nan, 0, 0, 0]), "not finite"),
        (np.array([0, 0, np.inf, 0, 0, 0]), "not finite"),
    ],
)
def test_states_that_do_not_fit_are_refused(policy: SmolVLAPolicy, state: np.ndarray, reason: str) -> None:
    with pytest.raises(ObservationError, match=reason):
        policy.infer({TOP: IMAGE}, state, "go")


@pytest.mark.parametrize("noise", [np.zeros((10, 31)), np.zeros((1, 10, 32)), np.full((10, 32), np.nan)])
def test_noise_that_does_not_fit_is_refused(policy: SmolVLAPolicy, noise: np.ndarray) -> None:
    with pytest.raises(ObservationError, match=r"expected finite \[10, 32\]"):
        policy.infer({TOP: IMAGE}, STATE, "go", noise)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 150), st.integers(1, 150), st.integers(1, 80), st.integers(1, 80))
def test_a_fitted_image_keeps_its_aspect_at_the_bottom_right(width: int, height: int, to_w: int, to_h: int) -> None:
    try:
        fitted = resize_with_pad(torch.ones(1, 3, height, width), to_w, to_h)
    except ObservationError:
        assert max(width / to_w, height / to_h) > min(width, height)
        return
    assert fitted.shape == (1, 3, to_h, to_w)
    filled = fitted[0, 0] > 0.5
    rows, columns = int(filled.any(1).sum()), int(filled.any(0).sum())
    assert filled[to_h - rows :, to_w - columns :].all()
    assert int(filled.sum()) == rows * columns
    assert rows == to_h or columns == to_w or abs(rows - to_h) <= 1 or abs(columns - to_w) <= 1
    ratio = max(width / to_w, height / to_h)
    assert (columns, rows) == (
        (width, height) if (width, height) == (to_w, to_h) else (int(width / ratio), int(height / ratio))
    )


@given(st.sampled_from(list(STATISTICS_OF_MODE)), st.lists(st.floats(-3, 3, width=32), min_size=3, max_size=3))
def test_unnormalising_inverts_normalising(mode: str, values: list[float]) -> None:
    normaliser = Normaliser(mode, torch.tensor([-1.0, 0.5, 2.0]), torch.tensor([3.0, 1.0, 2.5]))
    there_and_back = normaliser.unnormalise(normaliser.normalise(torch.tensor(values)))
    torch.testing.assert_close(there_and_back, torch.tensor(values), rtol=1e-4, atol=1e-4)


def test_the_normalisation_that_acts_is_the_one_of_the_statistics(good: Path) -> None:
    """The probe after loading goes through the doors that data go through; here its values are looked at."""
    policy = SmolVLAPolicy.from_checkpoint(good)
    statistics = load_file(good / "policy_preprocessor_step_5_normalizer_processor.safetensors")
    mean, std = (statistics[f"observation.state.{name}"].numpy() for name in ("mean", "std"))
    np.testing.assert_allclose(policy.normalised_state(mean), np.zeros(6), atol=1e-5)
    np.testing.assert_allclose(policy.normalised_state(mean + 2 * std), np.full(6, 2.0), atol=1e-4)


def test_a_normalisation_that_cannot_act_in_float32_is_found_by_the_probe(good: Path) -> None:
    name = "policy_preprocessor_step_5_normalizer_processor.safetensors"
    tensors = load_file(good / name) | {"observation.state.mean": torch.full((6,), 1e9)}
    save_file(tensors | {"observation.state.std": torch.full((6,), 1e-3)}, good / name)
    with pytest.raises(CheckpointError, match="does not act as its statistics say"):
        SmolVLAPolicy.from_checkpoint(good)


def with_golden(folder: Path) -> Path:
    policy = SmolVLAPolicy.from_checkpoint(folder)
    assert policy.golden_difference is None
    record_golden(policy, folder, {TOP: IMAGE + 40, WRIST: IMAGE}, STATE, "touch the red cube")
    return folder


def test_a_golden_input_is_replayed_after_loading(good: Path) -> None:
    assert SmolVLAPolicy.from_checkpoint(with_golden(good)).golden_difference == pytest.approx(0.0, abs=1e-4)


def test_a_policy_that_no_longer_gives_its_golden_actions_is_refused(good: Path) -> None:
    tensors = load_file(with_golden(good) / "model.safetensors")
    tensors["model.action_out_proj.bias"] += 0.1
    save_file(tensors, good / "model.safetensors")
    with pytest.raises(CheckpointError, match="the stored observation gives actions that differ by 0"):
        SmolVLAPolicy.from_checkpoint(good)


@pytest.mark.parametrize("name", ["state", "noise", "normalised"])
def test_a_golden_input_of_another_policy_is_refused(name: str, good: Path) -> None:
    tensors: dict[str, Any] = load_file(with_golden(good) / GOLDEN_FILE)
    save_file(tensors | {name: torch.zeros(3)}, good / GOLDEN_FILE, metadata={"instruction": "go"})
    with pytest.raises(CheckpointError, match="does not belong to this checkpoint"):
        SmolVLAPolicy.from_checkpoint(good)


def test_bfloat16_holds_the_types_that_lerobot_runs_in(checkpoint_of: Callable[[str], Path]) -> None:
    network = SmolVLAPolicy.from_checkpoint(checkpoint_of("bf16_native"), dtype="bfloat16").network
    wide = {name for name, parameter in network.named_parameters() if parameter.dtype == torch.float32}
    assert all(".k_proj." in name or ".v_proj." in name or "_proj" in name or "time_mlp" in name for name in wide)
    assert len(wide) == 2 * 2 + 10  # two cross layers, five projections with biases


def test_warming_up_leaves_the_policy_as_it_was(policy: SmolVLAPolicy) -> None:
    noise = np.ones((10, 32), np.float32)
    before = policy.infer({TOP: IMAGE}, STATE, "go", noise)
    policy.warm_up()
    np.testing.assert_array_equal(before, policy.infer({TOP: IMAGE}, STATE, "go", noise))
