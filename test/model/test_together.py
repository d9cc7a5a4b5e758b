"""Several questions in one go give each the numbers that it gets alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from smolvla_ros.installation import share_folder
from smolvla_ros.model import Guidance, ObservationError, SmolVLAPolicy
from smolvla_ros.model.engines.cuda_graph import StaticForward, uniform
from smolvla_ros.model.together import PreparedQuestion, together

CheckpointOf = Callable[[str], Path]
CasesOf = Callable[[Path], list[Any]]
TOLERANCE = 2e-5  # normalised


def prepared(case: Any, policy: SmolVLAPolicy, **changes: Any) -> PreparedQuestion:
    asked = {"images": case.images, "instruction": case.task, "guidance": case.guidance, **changes}
    return policy.prepare(state=case.state, noise=case.expected["noise"][0].numpy(), **asked)


def assert_as_alone(policy: SmolVLAPolicy, questions: list[PreparedQuestion], atol: float = TOLERANCE) -> None:
    alone = [policy.predict_together([question])[0] for question in questions]
    for together_, single in zip(policy.predict_together(questions), alone, strict=True):
        np.testing.assert_allclose(together_.normalised, single.normalised, rtol=0, atol=atol)
        assert together_.truncated == single.truncated


@pytest.mark.parametrize(
    "variant", ["default", "cross_all", "special_tokens", "empty_cameras", "no_resize", "one_camera", "pad_max_length"]
)
def test_questions_together_get_lerobots_own_numbers(
    variant: str, checkpoint_of: CheckpointOf, cases_of: CasesOf
) -> None:
    """With prompts of different lengths, one that is cut, and cameras left out, as the cases have them."""
    policy, cases = SmolVLAPolicy.from_checkpoint(checkpoint_of(variant)), cases_of(checkpoint_of(variant))
    found = policy.predict_together([prepared(case, policy) for case in cases])
    for prediction, case in zip(found, cases, strict=True):
        expected = case.expected["actions_normalized"][0]
        np.testing.assert_allclose(prediction.normalised, expected, rtol=0, atol=TOLERANCE)
    assert_as_alone(policy, [prepared(case, policy) for case in cases])


@pytest.mark.parametrize("variant", ["default", "special_tokens", "empty_cameras"])
@pytest.mark.parametrize("form", ["lerobot", "paper"])
def test_whoever_lacks_a_camera_or_continues_something_changes_nothing_for_the_others(
    variant: str, form: Any, checkpoint_of: CheckpointOf, cases_of: CasesOf
) -> None:
    policy, case = SmolVLAPolicy.from_checkpoint(checkpoint_of(variant)), cases_of(checkpoint_of(variant))[0]
    first, *others = case.images
    guidance = Guidance(torch.ones(6, 6), delay=2, horizon=5, form=form)
    lone = {first: case.images[first]}
    questions = [
        prepared(case, policy, instruction="go", guidance=None),
        prepared(case, policy, images=lone, guidance=guidance),
        prepared(case, policy, images={name: case.images[name] for name in others} or lone, guidance=None),
        prepared(case, policy, instruction="put the red cube into the bin", guidance=replace(guidance, delay=4)),
    ]
    assert_as_alone(policy, questions)
    inputs = together(questions, policy.config)
    assert inputs.token_mask is not None and (inputs.image_mask is not None or not others)


def test_the_demo_policy_answers_four_arms_together_as_each_alone() -> None:
    policy = SmolVLAPolicy.from_checkpoint(share_folder() / "checkpoints" / "demo")
    draw = np.random.default_rng(0)
    words = ["touch the red cube", "put the blue cube on the plate", "stay", "place the green block into the bin"]
    questions = [
        policy.prepare(
            {camera: draw.integers(0, 256, (96, 128, 3), np.uint8) for camera in policy.cameras},
            draw.normal(0, 20, policy.state_dim).astype(np.float32), text,
            draw.standard_normal((policy.config.chunk_size, policy.config.max_action_dim), dtype=np.float32),
        )
        for text in words
    ]  # fmt: skip
    assert_as_alone(policy, questions)


@pytest.mark.parametrize("dtype", ["bfloat16", "bfloat16_products"])
def test_below_float32_questions_together_differ_by_no_more_than_rounding(
    dtype: str, checkpoint_of: CheckpointOf, cases_of: CasesOf
) -> None:
    folder = checkpoint_of("bf16_native")
    policy = SmolVLAPolicy.from_checkpoint(folder, dtype=dtype)
    assert_as_alone(policy, [prepared(case, policy) for case in cases_of(folder)], atol=0.05)


def test_one_question_is_computed_without_masks(checkpoint_of: CheckpointOf, cases_of: CasesOf) -> None:
    policy, case = SmolVLAPolicy.from_checkpoint(checkpoint_of("default")), cases_of(checkpoint_of("default"))[0]
    inputs = together([prepared(case, policy)], policy.config)
    assert inputs.token_mask is None and inputs.image_mask is None


def test_what_is_wrong_with_a_question_is_found_when_it_is_prepared(
    checkpoint_of: CheckpointOf, cases_of: CasesOf
) -> None:
    policy, case = SmolVLAPolicy.from_checkpoint(checkpoint_of("default")), cases_of(checkpoint_of("default"))[0]
    for wrong in ({"images": {}}, {"guidance": Guidance(torch.zeros(11, 6), delay=1, horizon=4)}):
        with pytest.raises(ObservationError):
            prepared(case, policy, **wrong)


def test_the_forward_of_a_graph_for_several_questions_gives_what_each_gets_alone(
    checkpoint_of: CheckpointOf, cases_of: CasesOf
) -> None:
    """All but the capture, on memory that does not move: full questions first, then shorter ones with less to see."""
    policy, case = SmolVLAPolicy.from_checkpoint(checkpoint_of("default")), cases_of(checkpoint_of("default"))[0]
    lone = dict([next(iter(case.images.items()))])
    rounds = [
        [prepared(case, policy, instruction="go there"), prepared(case, policy, instruction="stay")],
        [prepared(case, policy, instruction="go", images=lone), prepared(case, policy, instruction="go on")],
    ]
    with torch.no_grad():
        forward = StaticForward(policy.engine, uniform(together(rounds[0], policy.config)))
        for questions in rounds:
            forward.load(uniform(together(questions, policy.config)))
            forward.run()
            for chunk, question in zip(forward.chunk, questions, strict=True):
                alone = policy.engine.chunk(together([question], policy.config))[0]
                torch.testing.assert_close(chunk, alone, rtol=0, atol=TOLERANCE)
