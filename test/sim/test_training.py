"""Training of the demo policy: it learns, it can be interrupted, and what it saves is a whole checkpoint."""

from pathlib import Path

import numpy as np
import pytest
import torch

from smolvla_ros.model import SmolVLAPolicy
from smolvla_ros.sim.dataset import Demonstrations, draw_samples
from smolvla_ros.sim.demo_model import VALUE_NAMES, statistics
from smolvla_ros.sim.task import COLOURS, draw_instruction, instructions
from smolvla_ros.sim.training import DemoTraining, TrainingSettings, one_cycle
from smolvla_ros.sim.units import to_checkpoint, to_radians
from smolvla_ros.sim.world import HOME

SETTINGS = TrainingSettings(steps=6, pictures=4, evaluate_every=3)


@pytest.fixture(scope="module")
def samples() -> Demonstrations:
    return draw_samples(16, 3)


def weights(training: DemoTraining) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in training.network.parameters()])


def test_losses_fall_on_a_handful_of_samples(samples: Demonstrations) -> None:
    training = DemoTraining(samples, TrainingSettings(steps=30, pictures=8, learning_rate=3e-3))
    losses = []
    while training.step < 30:
        losses.append(training._train_step())
        training.step += 1
    first, last = np.mean(losses[:3], axis=0), np.mean(losses[-3:], axis=0)
    assert last[0] < 0.9 * first[0], "flow"
    assert last[1] < 0.5 * first[1], "places of all cubes"


def test_an_interrupted_run_ends_as_one_that_was_not(samples: Demonstrations, tmp_path: Path) -> None:
    whole = DemoTraining(samples, SETTINGS)
    whole.run(tmp_path / "whole", lambda folder: "")

    def give_up(folder: Path) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        DemoTraining(samples, SETTINGS).run(tmp_path / "broken", give_up)
    resumed = DemoTraining(samples, SETTINGS)
    resumed.resume(tmp_path / "broken")
    assert resumed.step == 3
    resumed.run(tmp_path / "broken", lambda folder: "")
    assert torch.equal(weights(whole), weights(resumed))


def test_what_is_saved_is_the_policy_that_was_trained(samples: Demonstrations, tmp_path: Path) -> None:
    training = DemoTraining(samples, SETTINGS)
    training.save(tmp_path / "demo")
    policy = SmolVLAPolicy.from_checkpoint(tmp_path / "demo")
    assert policy.cameras == ("observation.images.front", "observation.images.wrist")
    assert policy.state_names == policy.action_names == VALUE_NAMES
    images = dict(zip(policy.cameras, samples.images[0], strict=True))
    noise = np.zeros((50, 32), np.float32)
    chunk = policy.infer(images, to_checkpoint(samples.states[0]), "touch the red cube", noise)
    assert chunk.shape == (50, 6) and np.isfinite(chunk).all()


def test_statistics_are_in_the_units_of_the_checkpoint(samples: Demonstrations) -> None:
    found = statistics(samples)
    state, image = found["observation.state"], found["observation.images.front"]
    assert set(state) == {"mean", "std", "min", "max", "count", "q01", "q10", "q50", "q90", "q99"}
    assert torch.allclose(state["mean"], torch.from_numpy(to_checkpoint(samples.states)).mean(0), atol=1e-3)
    assert (state["q10"] <= state["q90"]).all() and (state["min"] <= state["q01"]).all()
    assert image["mean"].shape == (3, 1, 1) and 0.0 < float(image["mean"].min()) < float(image["max"].max()) <= 1.0


def test_units_are_degrees_and_a_gripper_from_0_to_100() -> None:
    assert np.allclose(to_checkpoint([np.pi / 2, 0, 0, 0, 0, -0.175]), [90, 0, 0, 0, 0, 0], atol=1e-4)
    assert to_checkpoint([0, 0, 0, 0, 0, 1.745])[5] == pytest.approx(100)
    assert np.allclose(to_radians(to_checkpoint(HOME)), HOME, atol=1e-6)


def test_the_robot_config_has_the_same_units(repository: Path) -> None:
    yaml = pytest.importorskip("yaml")
    shared = yaml.safe_load((repository / "config" / "so101_sim.yaml").read_text())["/**"]["ros__parameters"]
    for index, joint in enumerate(shared["joints"]):
        value = to_checkpoint(np.full(6, 0.5))[index]
        settings = shared[f"joint.{joint}"]
        assert 0.5 * settings["scale"] + settings.get("offset", 0.0) == pytest.approx(value, rel=1e-5)
        assert settings["feature"] == VALUE_NAMES[index]


def test_every_wording_names_exactly_one_colour() -> None:
    rng = np.random.default_rng(0)
    for colour in COLOURS:
        texts = instructions(colour) + [draw_instruction(colour, rng) for _ in range(50)]
        assert all([other for other in COLOURS if other in text] == [colour] for text in texts)
        assert len(set(texts)) > 1000


def test_the_learning_rate_rises_and_falls_once() -> None:
    rates = [one_cycle(step / 1000) for step in range(1001)]
    top = int(np.argmax(rates))
    assert np.diff(rates[: top + 1]).min() > 0 > np.diff(rates[top:]).max()
    assert max(rates) == pytest.approx(1.0) and rates[-1] == pytest.approx(0.01)
