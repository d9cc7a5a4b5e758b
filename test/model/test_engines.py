"""What runs the network gives the network's own numbers, in whatever arithmetic and through whatever library."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from smolvla_ros.model import CheckpointError, Guidance, ObservationError, SmolVLAPolicy
from smolvla_ros.model.checkpoint.golden import fewer_steps, record_golden
from smolvla_ros.model.engines import arithmetic
from smolvla_ros.model.engines.arithmetic import choose
from smolvla_ros.model.engines.building import ENGINES, random_inputs
from smolvla_ros.model.engines.cuda_graph import GraphEngine, StaticForward
from smolvla_ros.model.engines.products import BFloat16Attention, Int8Product, Product, lay_out_for_few_rows
from smolvla_ros.model.engines.torch_engine import TorchEngine
from smolvla_ros.model.layers import Linear
from smolvla_ros.model.rtc import GuidedVelocity
from smolvla_ros.model.sampler import sample, step_features
from smolvla_ros.model.vision import GELULinear

CheckpointOf = Callable[[str], Path]
CasesOf = Callable[[Path], list[Any]]
CPU = torch.device("cpu")


@pytest.mark.parametrize("variant", ["default", "cross_all", "special_tokens", "empty_cameras", "rtc", "bf16_native"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_buffers_made_once_give_the_bits_of_fresh_ones(
    variant: str, dtype: str, checkpoint_of: CheckpointOf, cases_of: CasesOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice over all cases, so that buffers hold what another observation and another instruction left."""
    policy = SmolVLAPolicy.from_checkpoint(checkpoint_of(variant), dtype=dtype)
    cases = cases_of(checkpoint_of(variant))[:4] * 2
    buffered = [case.predict(policy).normalised for case in cases]
    monkeypatch.setattr(policy.engine, "_rooms_for", lambda *_: None)
    monkeypatch.setattr(policy.engine, "vision", policy.engine.encode)
    for found, case in zip(buffered, cases, strict=True):
        np.testing.assert_array_equal(found, case.predict(policy).normalised)


@pytest.mark.parametrize("kind", [Linear, GELULinear])
def test_a_packed_product_is_the_product_and_has_its_gradient(kind: type[Linear]) -> None:
    torch.manual_seed(0)
    linear, x = kind(24, 40), torch.randn(1, 7, 24)
    packed = Product(linear, packed=True)
    with torch.no_grad():
        torch.testing.assert_close(packed(x), linear(x), rtol=1e-5, atol=1e-5)
    gradients = []
    for module in (packed, linear):
        leaf = x.clone().requires_grad_()
        gradients += torch.autograd.grad(module(leaf).square().sum(), leaf)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "allowed"),
    [(lambda linear: Product(linear.bfloat16(), packed=False), 0.02), (lambda linear: Int8Product(linear), 0.03)],
    ids=["bfloat16", "int8"],
)
def test_rounded_products_return_float32_near_the_exact_ones(
    make: Callable[[Linear], nn.Module], allowed: float
) -> None:
    torch.manual_seed(0)
    linear, x = Linear(64, 48), torch.randn(1, 9, 64)
    exact = linear(x).detach()
    found = make(linear)(x)
    assert found.dtype == torch.float32
    assert 0 < (found - exact).abs().max() < allowed * exact.abs().max()


def test_attention_in_bfloat16_is_near_torchs_own_for_every_image_of_a_batch() -> None:
    attend = BFloat16Attention()
    for images in (2, 1, 3):
        q, k, v = torch.randn(3, images, 2, 9, 8).unbind()
        expected = nn.functional.scaled_dot_product_attention(q, k, v)
        torch.testing.assert_close(attend(q, k, v).float(), expected, rtol=0, atol=0.04)


def test_an_input_major_weight_gives_the_same_product() -> None:
    linear, x = Linear(24, 40), torch.randn(1, 7, 24)
    expected = linear(x)
    lay_out_for_few_rows(linear)
    torch.testing.assert_close(linear(x), expected)


@pytest.mark.parametrize(("dtype", "share"), [("bfloat16_products", 1.0), ("int8", 20.0)])
def test_rounded_modes_stay_as_near_to_float32_as_is_said(
    dtype: str, share: float, checkpoint_of: CheckpointOf, cases_of: CasesOf
) -> None:
    """'bfloat16_products' is nearer than LeRobot's own mix is."""
    folder = checkpoint_of("bf16_native")
    exact, rounded = (SmolVLAPolicy.from_checkpoint(folder, dtype=name) for name in ("float32", dtype))
    ours, theirs = [], []
    for case in cases_of(folder):
        wide = case.predict(exact).normalised
        ours.append(case.predict(rounded).normalised - wide)
        theirs.append(case.expected["actions_normalized"][0].numpy() - wide)
    assert np.abs(ours).max() > 1e-4
    assert np.sqrt(np.mean(np.square(ours))) < share * np.sqrt(np.mean(np.square(theirs)))


@pytest.mark.parametrize("dtype", ["bfloat16_products", "int8", "float32"])
def test_every_library_leaves_the_papers_guidance_its_gradient(
    dtype: str, checkpoint_of: CheckpointOf, cases_of: CasesOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arithmetic, "_time_product", lambda *_: ("packed" if dtype == "float32" else "plain", 1.0))
    policy = SmolVLAPolicy.from_checkpoint(checkpoint_of("default"), dtype=dtype)
    exact = SmolVLAPolicy.from_checkpoint(checkpoint_of("default"))
    case = cases_of(checkpoint_of("default"))[0]
    guidance = Guidance(torch.ones(6, 6), delay=2, horizon=5, form="paper")
    noise = case.expected["noise"][0].numpy()
    arguments = (case.images, case.state, case.task, noise, guidance)
    if dtype == "int8":
        with pytest.raises(ObservationError, match="use rtc 'lerobot'"):
            policy.predict(*arguments)
        return
    found, expected = (p.predict(*arguments).normalised for p in (policy, exact))
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.1 if dtype == "bfloat16_products" else 1e-4)


def test_auto_takes_float32_where_bfloat16_is_emulated(
    checkpoint_of: CheckpointOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SmolVLAPolicy.from_checkpoint(checkpoint_of("default")).config
    monkeypatch.setattr(arithmetic, "bfloat16_hardware", lambda: False)
    found = choose("auto", CPU, config)
    assert found.dtype == "float32"
    assert "has no bfloat16 instructions" in found.reason and "vision by" in found.reason


@pytest.mark.parametrize(("bfloat16_s", "expected"), [(0.5, "bfloat16_products"), (0.9, "float32")])
def test_auto_takes_bfloat16_where_it_is_worth_its_rounding(
    bfloat16_s: float, expected: str, checkpoint_of: CheckpointOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SmolVLAPolicy.from_checkpoint(checkpoint_of("default")).config
    monkeypatch.setattr(arithmetic, "bfloat16_hardware", lambda: True)
    monkeypatch.setattr(
        arithmetic,
        "_time_product",
        lambda rows, inputs, outputs, dtype, threads: ("plain", 1.0 if dtype == torch.float32 else bfloat16_s),
    )
    assert choose("auto", CPU, config).dtype == expected


def test_a_picture_that_did_not_change_is_not_computed_again(
    checkpoint_of: CheckpointOf, cases_of: CasesOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = SmolVLAPolicy.from_checkpoint(checkpoint_of("default"))
    case = cases_of(checkpoint_of("default"))[0]
    computed = []
    encode = policy.engine.encode
    monkeypatch.setattr(policy.engine, "encode", lambda images: computed.append(len(images)) or encode(images))
    first = case.predict(policy).normalised
    np.testing.assert_array_equal(case.predict(policy).normalised, first)
    name = next(iter(case.images))
    case.images[name] = case.images[name].copy()
    case.images[name] ^= 255
    changed = case.predict(policy).normalised
    assert computed == [len(case.images), 1]
    case.images[name] ^= 255
    np.testing.assert_allclose(case.predict(policy).normalised, first, rtol=0, atol=1e-5)
    assert not np.array_equal(changed, first)


def test_the_number_of_steps_can_be_chosen(checkpoint_of: CheckpointOf, cases_of: CasesOf) -> None:
    folder = checkpoint_of("num_steps_5")
    case = cases_of(folder)[0]
    chosen = SmolVLAPolicy.from_checkpoint(checkpoint_of("default"), num_steps=5)
    np.testing.assert_allclose(
        case.predict(chosen).normalised, case.expected["actions_normalized"][0], rtol=0, atol=1e-5
    )


def test_the_sampler_takes_as_many_steps_as_there_are_features(checkpoint_of: CheckpointOf) -> None:
    network = SmolVLAPolicy.from_checkpoint(checkpoint_of("default")).network
    seen = []
    sample(lambda x, time_features: seen.append(x) or x, torch.ones(1, 2, 3), step_features(network, 4))
    assert len(seen) == 4


@pytest.mark.parametrize("variant", ["default", "special_tokens", "bf16_native"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("guided", [False, True])
def test_the_forward_that_a_graph_is_captured_from_gives_the_eager_bits(
    variant: str, dtype: str, guided: bool, checkpoint_of: CheckpointOf
) -> None:
    """All but the capture: two observations one after the other through memory that does not move."""
    policy = SmolVLAPolicy.from_checkpoint(checkpoint_of(variant), dtype=dtype)
    observations = [random_inputs(policy.config, CPU, seed=seed) for seed in (1, 2)]
    if guided:
        observations = [
            replace(o, guided=GuidedVelocity([Guidance(torch.randn(5, 6), delay=2, horizon=4)], o.noise))
            for o in observations
        ]
    with torch.no_grad():
        forward = StaticForward(policy.engine, observations[0])
        places = [tensor.data_ptr() for tensor in (*forward.inputs.images, forward.inputs.noise, forward.chunk)]
        for observation in observations:
            forward.load(observation)
            forward.run()
            np.testing.assert_array_equal(forward.chunk.numpy(), policy.engine.chunk(observation).numpy())
        assert places == [tensor.data_ptr() for tensor in (*forward.inputs.images, forward.inputs.noise, forward.chunk)]


@pytest.mark.skipif(torch.cuda.is_available(), reason="shows what happens where nothing can be captured")
def test_where_nothing_can_be_captured_the_forward_is_eager_and_says_so(
    checkpoint_of: CheckpointOf, caplog: pytest.LogCaptureFixture
) -> None:
    policy = SmolVLAPolicy.from_checkpoint(checkpoint_of("default"))
    engine = GraphEngine(policy.network, 10, "float32")
    inputs = random_inputs(policy.config, CPU)
    with torch.no_grad():
        np.testing.assert_array_equal(engine.chunk(inputs).numpy(), policy.engine.chunk(inputs).numpy())
        engine.chunk(inputs)
    assert "eager, for the CUDA graph was not captured" in engine.reason
    assert len(caplog.records) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_replayed_graph_gives_the_eager_bits_on_a_gpu(
    dtype: str, checkpoint_of: CheckpointOf, cases_of: CasesOf
) -> None:
    folder = checkpoint_of("default")
    graph, eager = (
        SmolVLAPolicy.from_checkpoint(folder, device="cuda", dtype=dtype, engine=name)
        for name in ("cuda_graph", "torch")
    )
    for case in cases_of(folder) * 2:
        np.testing.assert_array_equal(case.predict(graph).normalised, case.predict(eager).normalised)
    assert "eager" not in graph.engine.reason


def test_openvino_gives_the_actions_of_torch(checkpoint_of: CheckpointOf, cases_of: CasesOf) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed (pip install openvino)")
    folder = checkpoint_of("default")
    policy = SmolVLAPolicy.from_checkpoint(folder, engine="openvino")
    assert "images by OpenVINO" in policy.engine.reason
    for case in cases_of(folder):
        np.testing.assert_allclose(
            case.predict(policy).normalised, case.expected["actions_normalized"][0], rtol=0, atol=2e-4
        )


def test_an_engine_that_is_not_installed_is_refused_with_the_remedy(
    checkpoint_of: CheckpointOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(CheckpointError, match="pip install openvino"):
        SmolVLAPolicy.from_checkpoint(checkpoint_of("default"), engine="openvino")


@pytest.mark.parametrize(
    ("engine", "dtype", "reason"),
    [
        ("onnx", "auto", "expected one of auto, torch, cuda_graph, openvino"),
        ("cuda_graph", "auto", "needs a CUDA device, but device is 'cpu'"),
        ("openvino", "bfloat16", "dtype 'bfloat16' were asked for; use device 'cpu' and dtype 'float32'"),
    ],
)
def test_an_engine_that_this_machine_has_not_is_refused_by_name(
    engine: str, dtype: str, reason: str, checkpoint_of: CheckpointOf
) -> None:
    with pytest.raises(CheckpointError, match=reason):
        SmolVLAPolicy.from_checkpoint(checkpoint_of("default"), engine=engine, dtype=dtype)


@pytest.mark.parametrize("wrong", [0.01, float("nan")])
def test_an_engine_that_gives_other_numbers_is_refused(
    wrong: float, checkpoint_of: CheckpointOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WrongEngine(TorchEngine):
        def encode(self, images: Any) -> Any:
            return [tokens * (1 + wrong) for tokens in super().encode(images)]

    monkeypatch.setitem(ENGINES, "openvino", WrongEngine)
    with pytest.raises(CheckpointError, match="gives actions that differ from torch's"):
        SmolVLAPolicy.from_checkpoint(checkpoint_of("default"), engine="openvino")


def test_fewer_steps_are_held_against_the_golden_input(good: Path, cases_of: CasesOf) -> None:
    policy, case = SmolVLAPolicy.from_checkpoint(good), cases_of(good)[0]
    record_golden(policy, good, case.images, case.state, case.task)
    changes = fewer_steps(policy, good)
    assert changes[10] < 1e-5 < changes[5] < changes[3]
    assert policy.engine.num_steps == 10
