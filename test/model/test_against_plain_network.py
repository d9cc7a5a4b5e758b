"""The network against a plain second one, over sizes, attention patterns, cameras and text lengths."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smolvla_ros.model import SmolVLAConfig, SmolVLANetwork, TextConfig, VisionConfig
from smolvla_ros.model.checkpoint.weights import checkpoint_views, unused_shapes
from smolvla_ros.model.sampler import sample, step_features

_spec = importlib.util.spec_from_file_location("plain_network", Path(__file__).with_name("plain_network.py"))
plain = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(plain)

VOCABULARY = 50
BASE = SmolVLAConfig(
    vision=VisionConfig(
        hidden_size=16,
        intermediate_size=24,
        num_layers=1,
        num_heads=2,
        image_size=16,
        patch_size=4,
        layer_norm_eps=1e-5,
    ),
    text=TextConfig(
        hidden_size=24,
        intermediate_size=32,
        num_layers=4,
        num_heads=4,
        num_kv_heads=2,
        head_dim=6,
        vocab_size=VOCABULARY,
    ),
    scale_factor=2,
    chunk_size=5,
    n_action_steps=5,
    num_steps=3,
    max_state_dim=8,
    max_action_dim=7,
    num_vlm_layers=3,
)


def random_network(config: SmolVLAConfig) -> tuple[SmolVLANetwork, dict[str, torch.Tensor]]:
    """A network with every parameter random, and its weights by checkpoint name, unused ones included."""
    torch.manual_seed(0)
    network = SmolVLANetwork(config).requires_grad_(False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network, checkpoint_views(network) | {n: torch.randn(s) * 0.3 for n, s in unused_shapes(config).items()}


def assert_equal_actions(
    config: SmolVLAConfig, image_sizes: list[tuple[int, int]], text: int, padding: int = 0, masked_images: int = 0
) -> None:
    network, weights = random_network(config)
    images = [torch.rand(3, *size) * 2 - 1 for size in image_sizes]
    tokens = torch.randint(VOCABULARY, (text + padding,))
    token_mask = torch.arange(text + padding) < text
    state, noise = torch.randn(config.max_state_dim), torch.randn(config.chunk_size, config.max_action_dim)
    reference = plain.PlainNetwork(config, weights)
    caches, mask = reference.prefix(images, masked_images, tokens, token_mask, state)
    prefix = network.encode_prefix(
        network.encode_images([image[None] for image in images]),
        tokens[None],
        state[None],
        token_mask[None] if padding else None,
        masked_images,
    )
    found = sample(partial(network.denoise, prefix), noise[None], step_features(network, config.num_steps))[0]
    torch.testing.assert_close(found, reference.sample(caches, mask, noise), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {"attention_mode": "self_attn"},
        {"self_attn_every_n_layers": 1},
        {"self_attn_every_n_layers": 3},
        {"self_attn_every_n_layers": 0},
        {"self_attn_every_n_layers": -1, "num_vlm_layers": 4, "num_expert_layers": 2},
        {"num_vlm_layers": 0},
        {"num_vlm_layers": 1},
        {"expert_width_multiplier": 0.25},
        {"expert_width_multiplier": 1.5},
        {"scale_factor": 1},
        {"scale_factor": 4},
        {"text": replace(BASE.text, num_kv_heads=1)},
        {"text": replace(BASE.text, num_kv_heads=4, rms_norm_eps=1e-2)},
        {"text": replace(BASE.text, head_dim=10)},
        {"vision": replace(BASE.vision, image_size=32)},
        {"vision": replace(BASE.vision, image_size=8, patch_size=2)},
        {"chunk_size": 1},
        {"num_steps": 1},
        {"min_period": 0.1, "max_period": 1.0},
        {"image_start_ids": (3, 4), "image_end_ids": (3,)},
    ],
    ids=str,
)
def test_every_architecture_gives_the_actions_of_the_plain_network(change: dict) -> None:
    config = replace(BASE, **change)
    side = config.vision.image_size
    assert_equal_actions(config, [(side, side), (side, side)], text=4)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    cameras=st.lists(st.sampled_from([(16, 16), (8, 8), (24, 24), (8, 32), (32, 8), (17, 19)]), min_size=1, max_size=3),
    text=st.integers(1, 9),
    padding=st.integers(0, 4),
    masked_images=st.integers(0, 2),
    special=st.booleans(),
)
def test_any_cameras_text_and_padding_give_the_actions_of_the_plain_network(
    cameras: list[tuple[int, int]], text: int, padding: int, masked_images: int, special: bool
) -> None:
    config = replace(BASE, image_start_ids=(3, 4), image_end_ids=(3,)) if special else BASE
    assert_equal_actions(config, cameras, text, padding, masked_images)


def test_a_batch_gives_what_its_members_give_alone() -> None:
    """Different text lengths in one batch, as in training, and repeated prefixes for several noises."""
    network, _ = random_network(BASE)
    images, state = torch.rand(2, 3, 16, 16), torch.randn(2, BASE.max_state_dim)
    tokens, mask = torch.randint(VOCABULARY, (2, 5)), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    together = network.encode_prefix(network.encode_images([images]), tokens, state, mask).repeated(2, BASE)
    x_t, t = torch.randn(4, BASE.chunk_size, BASE.max_action_dim), torch.rand(4)
    found = network.velocity(together, x_t, t)
    for row in range(4):
        member = slice(row // 2, row // 2 + 1)
        text = tokens[member, : int(mask[member].sum())]
        alone = network.encode_prefix(network.encode_images([images[member]]), text, state[member])
        expected = network.velocity(alone, x_t[row : row + 1], t[row : row + 1])
        torch.testing.assert_close(found[row : row + 1], expected, rtol=1e-4, atol=1e-5)


def test_every_weight_gets_a_gradient_in_training() -> None:
    network, _ = random_network(BASE)
    network.requires_grad_(True)
    tokens = torch.randint(VOCABULARY, (2, 4))
    prefix = network.encode_prefix(
        network.encode_images([torch.rand(2, 3, 16, 16)]), tokens, torch.randn(2, BASE.max_state_dim)
    )
    x_t = torch.randn(2, BASE.chunk_size, BASE.max_action_dim)
    network.velocity(prefix, x_t, torch.rand(2)).square().mean().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_the_state_is_seen_by_the_actions_but_not_by_images_and_text() -> None:
    network, _ = random_network(BASE)
    image_tokens, tokens = network.encode_images([torch.rand(1, 3, 16, 16)]), torch.randint(VOCABULARY, (1, 4))
    one, other = (network.encode_prefix(image_tokens, tokens, torch.full((1, 8), value)) for value in (0.0, 1.0))
    torch.testing.assert_close(one.hidden[:, :-1], other.hidden[:, :-1])
    assert not torch.allclose(one.hidden[:, -1], other.hidden[:, -1])
