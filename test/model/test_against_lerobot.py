"""Every variant gives LeRobot's own numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from smolvla_ros.model import SmolVLAPolicy
from smolvla_ros.model.layers import RMSNorm, attend

CheckpointOf = Callable[[str], Path]
CasesOf = Callable[[Path], list[Any]]
FLOAT32_VARIANTS = [
    "cross_all",
    "default",
    "empty_cameras",
    "no_resize",
    "norm_modes",
    "num_steps_5",
    "one_camera",
    "pad_max_length",
    "rtc",
    "special_tokens",
]


@pytest.mark.parametrize("variant", FLOAT32_VARIANTS)
def test_normalised_chunks_equal_those_of_lerobot(variant: str, checkpoint_of: CheckpointOf, cases_of: CasesOf) -> None:
    policy = SmolVLAPolicy.from_checkpoint(checkpoint_of(variant))
    cases = cases_of(checkpoint_of(variant))
    assert cases
    for case in cases:
        found = case.predict(policy)
        np.testing.assert_allclose(found.normalised, case.expected["actions_normalized"][0], rtol=0, atol=1e-5)
        np.testing.assert_allclose(found.actions, case.expected["actions"][0], rtol=0, atol=5e-4)


def test_the_old_format_gives_the_chunks_of_the_lerobot_of_its_time(
    checkpoint_of: CheckpointOf, cases_of: CasesOf
) -> None:
    """Two LeRobot versions differ by 1e-3 in these units on equal weights; the third text has 100 tokens."""
    policy = SmolVLAPolicy.from_checkpoint(checkpoint_of("old_format"))
    for case in cases_of(checkpoint_of("old_format")):
        np.testing.assert_allclose(case.predict(policy).actions, case.expected["actions"][0], rtol=0, atol=4e-3)


def test_mixed_bfloat16_is_as_close_to_float32_as_lerobots_own(checkpoint_of: CheckpointOf, cases_of: CasesOf) -> None:
    """On whatever CPU: its kernels sum in their own order, which layers of bfloat16 amplify.

    As many roundings give another sample of the same error, so its size is compared, with room for the spread between
    samples (0.89 on AVX2, 1 where the reference was made). Where the roundings lie, the next test holds.
    """
    policy = SmolVLAPolicy.from_checkpoint(checkpoint_of("bf16_native"), dtype="bfloat16")
    exact = SmolVLAPolicy.from_checkpoint(checkpoint_of("bf16_native"))
    ours, theirs = [], []
    for case in cases_of(checkpoint_of("bf16_native")):
        wide = case.predict(exact).normalised
        ours.append(case.predict(policy).normalised - wide)
        theirs.append(case.expected["actions_normalized"][0].numpy() - wide)
    assert np.sqrt(np.mean(np.square(ours))) <= 1.25 * np.sqrt(np.mean(np.square(theirs)))
    assert np.abs(ours).max() <= 1.5 * np.abs(theirs).max()
    assert np.abs(ours).max() > 1e-3, "nothing was rounded"


def test_below_float32_norm_and_softmax_are_computed_wide_and_rounded_once() -> None:
    x = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    norm = RMSNorm(8, 1e-5)
    wide = norm(x.float()).bfloat16()
    torch.testing.assert_close(norm.bfloat16()(x), wide, rtol=0, atol=0)
    q, k, v = (torch.randn(1, 2, n, 4, generator=torch.Generator().manual_seed(n)).bfloat16() for n in (5, 6, 7))
    q, k, v = q.transpose(1, 2), k, v[:, :, :6]
    weights = (q.transpose(1, 2).float() @ k.float().transpose(-1, -2) / 2).softmax(-1).bfloat16()
    expected = (weights.float() @ v.float()).bfloat16().transpose(1, 2).flatten(2)
    torch.testing.assert_close(attend(q, k, v, None), expected, rtol=2**-7, atol=1e-6)


def test_float32_of_bfloat16_weights_equals_lerobots(checkpoint_of: CheckpointOf, cases_of: CasesOf) -> None:
    folder = checkpoint_of("bf16_native")
    expected = load_file(folder / "fp32_of_same_weights.safetensors")["case0.actions_normalized_fp32"]
    found = cases_of(folder)[0].predict(SmolVLAPolicy.from_checkpoint(folder))
    np.testing.assert_allclose(found.normalised, expected[0], rtol=0, atol=1e-5)


def test_intermediate_tensors_equal_those_of_lerobot(checkpoint_of: CheckpointOf, cases_of: CasesOf) -> None:
    folder = checkpoint_of("default")
    expected, case = load_file(folder / "debug_case0.safetensors"), cases_of(folder)[0]
    network = SmolVLAPolicy.from_checkpoint(folder).network
    with torch.no_grad():
        images = list(expected["pixel_values"].split(1))
        close = {"rtol": 0, "atol": 1e-5}
        torch.testing.assert_close(network.vision(torch.cat(images)), expected["vision_last_hidden"], **close)
        image_tokens = network.encode_images(images)
        torch.testing.assert_close(torch.cat(image_tokens), expected["image_features_connector"], **close)
        prefix = network.encode_prefix(image_tokens, case.expected["tokens"], expected["state_padded"])
        torch.testing.assert_close(prefix.keys[0].transpose(1, 2), expected["k_cache_0"], **close)
        torch.testing.assert_close(prefix.values[2].transpose(1, 2), expected["v_cache_2"], **close)
        for step, (x_t, v_t) in enumerate(zip(expected["x_t"], expected["v_t"], strict=True)):
            torch.testing.assert_close(network.velocity(prefix, x_t, torch.tensor(1 - step / 10)), v_t, **close)


def test_a_cut_instruction_is_reported(checkpoint_of: CheckpointOf, cases_of: CasesOf) -> None:
    policy = SmolVLAPolicy.from_checkpoint(checkpoint_of("default"))
    assert [case.predict(policy).truncated for case in cases_of(checkpoint_of("default"))] == [False, False, True]
