"""The lists of transforms before and after the network: their order is the behaviour."""

from __future__ import annotations

import pytest
import torch

from smolvla_ros.model import SmolVLAConfig, aloha
from smolvla_ros.model.normalisation import Normaliser
from smolvla_ros.model.transforms import Transforms, run

CAMERA = "observation.images.front"
SCALE = Normaliser("MEAN_STD", torch.linspace(-0.5, 0.5, 14), torch.linspace(0.5, 2.0, 14))


def ways(is_aloha: bool, outside: bool = False, images: dict[str, Normaliser] | None = None) -> Transforms:
    config = SmolVLAConfig(
        image_features=(CAMERA,), state_dim=14, action_dim=14, adapt_to_pi_aloha=is_aloha, image_size_wh=(8, 8)
    )
    return Transforms.of(config, SCALE, SCALE, images or {}, outside)


@pytest.mark.parametrize("outside", [False, True], ids=["inside the normalisation", "outside, up to LeRobot 0.3"])
def test_alohas_conversion_stands_on_the_side_of_the_normalisation_where_lerobot_had_it(outside):
    values, made = torch.linspace(-0.8, 0.8, 14), ways(True, outside)
    if outside:
        state, actions = SCALE.normalise(aloha.decode_state(values)), aloha.encode_actions(SCALE.unnormalise(values))
    else:
        state, actions = aloha.decode_state(SCALE.normalise(values)), SCALE.unnormalise(aloha.encode_actions(values))
    torch.testing.assert_close(run(made.state, values), state, rtol=0, atol=0)
    torch.testing.assert_close(run(made.actions, values), actions, rtol=0, atol=0)
    other = run(ways(True, not outside).state, values)
    assert not torch.allclose(other, state), "the order makes no difference here, so this test shows nothing"


def test_other_arms_are_scaled_only_and_the_state_is_padded_with_zeros():
    values = torch.linspace(-0.8, 0.8, 14)
    made = ways(False)
    torch.testing.assert_close(run(made.actions, run(made.state, values)), values)
    seen = run(made.to_network, run(made.state, values))
    assert seen.shape == (1, 32) and not seen[0, 14:].any()


def test_images_are_scaled_before_they_are_fitted_so_that_the_border_stays_black():
    image = torch.full((4, 8, 3), 255, dtype=torch.uint8)
    half = Normaliser("MEAN_STD", torch.full((3, 1, 1), 0.5), torch.full((3, 1, 1), 1.0))
    plain, scaled = (run(ways(False, images=images).images[CAMERA], image) for images in ({}, {CAMERA: half}))
    assert plain.shape == scaled.shape == (1, 3, 8, 8)
    assert (plain[..., :4, :] == -1).all() and (scaled[..., :4, :] == -1).all()
    assert (plain[..., 4:, :] == 1).all() and torch.allclose(scaled[..., 4:, :], torch.zeros(1))


def test_no_transform_changes_what_it_was_given():
    made = ways(True, images={CAMERA: SCALE.identity(1)})
    for transforms, given in (
        (made.state, torch.linspace(-0.8, 0.8, 14)),
        (made.actions, torch.linspace(-0.8, 0.8, 14)),
        (made.images[CAMERA], torch.full((4, 8, 3), 7, dtype=torch.uint8)),
    ):
        before = given.clone()
        run(transforms, given)
        assert torch.equal(given, before)
