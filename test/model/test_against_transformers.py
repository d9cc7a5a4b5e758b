"""The backbone beside transformers' own SmolVLM, with the same weights: names, vision, connector, language layers."""

from __future__ import annotations

import pytest
import torch
from transformers import SmolVLMConfig, SmolVLMModel

from smolvla_ros.model import SmolVLAConfig, SmolVLANetwork, TextConfig, VisionConfig
from smolvla_ros.model.checkpoint.weights import checkpoint_views, unused_shapes
from smolvla_ros.model.config import ROPE_BASE
from smolvla_ros.model.layers import Rotary, additive

PREFIX = "model.vlm_with_expert.vlm.model."
CONFIG = SmolVLAConfig(
    vision=VisionConfig(hidden_size=48, intermediate_size=96, num_layers=2, num_heads=4, image_size=64, patch_size=8),
    text=TextConfig(
        hidden_size=72, intermediate_size=160, num_layers=4, num_heads=6, num_kv_heads=2, head_dim=12, vocab_size=120
    ),
    scale_factor=4,
    image_features=("observation.images.front",),
    num_vlm_layers=4,
)


@pytest.fixture(scope="module")
def both() -> tuple[SmolVLANetwork, SmolVLMModel]:
    """Our network, and theirs with its weights; a rotary base that the backbone's own configuration does not set."""
    torch.manual_seed(0)
    ours = SmolVLANetwork(CONFIG).eval()
    for parameter in ours.parameters():  # also norms and biases, which begin at one and zero
        parameter.data += 0.1 * torch.randn_like(parameter)
    vision, text = CONFIG.vision, CONFIG.text
    config = SmolVLMConfig(
        scale_factor=CONFIG.scale_factor,
        vision_config={
            "hidden_size": vision.hidden_size, "intermediate_size": vision.intermediate_size,
            "num_hidden_layers": vision.num_layers, "num_attention_heads": vision.num_heads,
            "image_size": vision.image_size, "patch_size": vision.patch_size,
        },
        text_config={
            "model_type": "llama", "hidden_size": text.hidden_size, "intermediate_size": text.intermediate_size,
            "num_hidden_layers": text.num_layers, "num_attention_heads": text.num_heads,
            "num_key_value_heads": text.num_kv_heads, "head_dim": text.head_dim, "vocab_size": text.vocab_size,
            "rms_norm_eps": text.rms_norm_eps, "pad_token_id": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_BASE},
        },
    )  # fmt: skip
    theirs = SmolVLMModel(config).eval()
    weights = {name.removeprefix(PREFIX): t for name, t in checkpoint_views(ours).items() if name.startswith(PREFIX)}
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert not unexpected
    assert {PREFIX + name for name in missing} == {name for name in unused_shapes(CONFIG) if name.startswith(PREFIX)}
    return ours, theirs


@torch.no_grad()
@pytest.mark.parametrize("height, width", [(64, 64), (32, 32)])
def test_image_tokens_are_those_of_transformers(both, height, width):
    ours, theirs = both
    pixels = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1
    expected = theirs.connector(theirs.vision_model(pixel_values=pixels).last_hidden_state)
    torch.testing.assert_close(torch.cat(ours.encode_images([pixels])), expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_keys_and_values_of_the_language_layers_are_those_of_transformers(both):
    ours, theirs = both
    length, draw = 9, torch.Generator().manual_seed(2)
    embedded = torch.randn(2, length, CONFIG.text.hidden_size, generator=draw)
    looks = torch.ones(2, length, length, dtype=torch.bool)
    looks[:, :-1, -1] = False  # the state comes last; images and text do not see it
    positions = torch.arange(length).expand(2, -1)
    cache = theirs.text_model(
        inputs_embeds=embedded, attention_mask=additive(looks), position_ids=positions, use_cache=True
    ).past_key_values
    x, rotary = embedded, Rotary(positions, CONFIG.text.head_dim)
    mask = additive(looks, CONFIG.text.num_heads // CONFIG.text.num_kv_heads)
    for index, layer in enumerate(ours.language.layers):
        x, keys, values = layer(x, rotary, mask)
        torch.testing.assert_close(keys, cache.layers[index].keys, rtol=0, atol=1e-5)
        torch.testing.assert_close(values, cache.layers[index].values, rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_embedded_text_is_that_of_transformers(both):
    ours, theirs = both
    tokens = torch.arange(CONFIG.text.vocab_size)[None]
    assert torch.equal(ours.language.embed_tokens(tokens), theirs.get_input_embeddings()(tokens))
