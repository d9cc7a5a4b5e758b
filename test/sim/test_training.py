"""Training of the demo policy: it learns, it can be interrupted, and what it saves is a whole checkpoint."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from smolvla_ros.model import SmolVLAPolicy
from smolvla_ros.sim.batches import Batches, draw_asked
from smolvla_ros.sim.dataset import ASKED, CHUNK_STEPS, LabelledStates, drawn_states, make_samples, met_states
from smolvla_ros.sim.demo_model import VALUE_NAMES, demo_tokenizer, known_words, statistics
from smolvla_ros.sim.pointing import cube_shares
from smolvla_ros.sim.task import COLOURS, draw_instruction, instructions
from smolvla_ros.sim.training import DemoTraining, TrainingSettings, curves_path, one_cycle
from smolvla_ros.sim.units import to_checkpoint, to_radians
from smolvla_ros.sim.world import HOME, World

SETTINGS = TrainingSettings(steps=6, pictures=4, save_every=3, evaluate_every=3)


@pytest.fixture(scope="module")
def samples() -> LabelledStates:
    return make_samples(drawn_states((3,)), 24, (3,))


def weights(training: DemoTraining) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in training.network.parameters()])


def test_losses_fall_on_a_handful_of_samples(samples: LabelledStates) -> None:
    training = DemoTraining([samples], TrainingSettings(steps=30, pictures=8, learning_rate=3e-3))
    losses = []
    while training.step < 30:
        losses.append(training._train_step())
        training.step += 1
    parts = losses[:3], losses[-3:]
    first, last = ({name: np.mean([one[name] for one in part]) for name in losses[0]} for part in parts)
    assert last["flow"] < 0.9 * first["flow"]
    assert last["all"] < 0.5 * first["all"], "places of all things"
    assert last["kind"] < first["kind"], "what is to be done"
    assert last["pointing"] < first["pointing"], "where words look"


def test_where_a_cube_is_seen_is_told_by_its_colour() -> None:
    images = torch.full((2, 1, 3, 96, 96), 0.7)  # [cameras, pictures, ...], a grey table
    red, green = (torch.tensor(rgb)[:, None, None] for rgb in ((0.7, 0.1, 0.1), (0.1, 0.5, 0.2)))
    images[0, 0, :, 24:36, 72:84] = red
    images[1, 0, :, 0:24, 12:36] = red  # half in the first token, half in the second
    images[0, 0, :, 95:, 91:] = green  # a few pixels, which may be an edge
    shares = cube_shares(images, side=4)
    assert shares.shape == (1, len(COLOURS), 32)
    expected = torch.zeros(32)
    expected[[7, 16, 17]] = torch.tensor([0.5, 0.25, 0.25])
    torch.testing.assert_close(shares[0, COLOURS.index("red")], expected)
    assert not shares[0, COLOURS.index("green")].any() and not shares[0, COLOURS.index("blue")].any()


def test_every_cube_on_the_table_is_seen_in_its_colour() -> None:
    world = World(scene="pick_place")
    for seed in range(10):
        world.reset(seed)
        images = torch.from_numpy(world.render("front")).permute(2, 0, 1)[None, None] / 255
        assert (cube_shares(images, side=4)[0].sum(-1) > 0.99).sum() >= 3, "one at most may be behind the arm"
    world.close()


def test_an_interrupted_run_ends_as_one_that_was_not(samples: LabelledStates, tmp_path: Path) -> None:
    whole = DemoTraining([samples], SETTINGS)
    whole.run(tmp_path / "whole", lambda folder: {})

    def give_up(folder: Path) -> dict[str, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        DemoTraining([samples], SETTINGS).run(tmp_path / "broken", give_up)
    resumed = DemoTraining([samples], SETTINGS)
    resumed.resume(tmp_path / "broken")
    assert resumed.step == 3
    resumed.run(tmp_path / "broken", lambda folder: {})
    assert torch.equal(weights(whole), weights(resumed))


def test_what_is_saved_is_the_policy_that_was_trained(samples: LabelledStates, tmp_path: Path) -> None:
    training = DemoTraining([samples], SETTINGS)
    training.save(tmp_path / "demo")
    policy = SmolVLAPolicy.from_checkpoint(tmp_path / "demo")
    assert policy.cameras == ("observation.images.front", "observation.images.wrist")
    assert policy.state_names == policy.action_names == VALUE_NAMES
    images = dict(zip(policy.cameras, samples.images[0], strict=True))
    noise = np.zeros((CHUNK_STEPS, 32), np.float32)
    chunk = policy.infer(images, to_checkpoint(samples.states[0]), "touch the red cube", noise)
    assert chunk.shape == (CHUNK_STEPS, 6) and np.isfinite(chunk).all()


def test_the_checkpoint_carries_the_words_it_was_trained_on(samples: LabelledStates, tmp_path: Path) -> None:
    DemoTraining([samples], SETTINGS).save(tmp_path / "demo")
    told = json.loads((tmp_path / "demo" / "smolvla_ros.json").read_text())["words"]
    assert told == known_words() and {"red", "plate", "grab", "stop"} <= set(told)


def test_transformers_reads_the_tokenizer_as_it_was_trained(samples: LabelledStates, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    DemoTraining([samples], SETTINGS).save(tmp_path / "demo")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "demo" / "vlm")
    for text in ("Touch the RED cube.\n", "put the blue block on the plate\n", "don't grab the gren one!\n"):
        assert theirs(text)["input_ids"] == demo_tokenizer().encode(text).ids


def test_curves_are_one_object_a_line(samples: LabelledStates, tmp_path: Path) -> None:
    DemoTraining([samples], SETTINGS).run(tmp_path / "demo", lambda folder: {"place": {"success": 1}})
    lines = [json.loads(line) for line in curves_path(tmp_path / "demo").read_text().splitlines()]
    assert [(line["step"], line["place"]) for line in lines] == [(3, {"success": 1}), (6, {"success": 1})]


def test_samples_depend_on_their_seed_alone() -> None:
    first, again, other = (make_samples(drawn_states((seed,)), 6, (seed,)) for seed in (5, 5, 6))
    assert np.array_equal(first.images, again.images) and np.array_equal(first.actions, again.actions)
    assert not np.array_equal(first.states, other.states)


def test_a_sample_holds_what_to_do_for_everything_that_could_be_asked_for(samples: LabelledStates) -> None:
    assert samples.actions.shape == (24, len(ASKED), CHUNK_STEPS, 6)
    stay = [asked.task for asked in ASKED].index("stay")
    moved = np.abs(samples.actions[..., :5] - samples.states[:, None, None, :5]).max((2, 3))
    assert moved[:, stay].max() < 0.02, "the state is measured with a little noise"
    assert np.median(np.delete(moved, stay, axis=1)) > 0.2


def test_an_expert_disturbed_meets_states_with_a_cube_in_hand() -> None:
    met = make_samples(met_states((4,), None), 60, (4,))
    assert len(met) == 60 and np.isfinite(met.actions).all()
    assert np.ptp(met.states, axis=0)[:4].min() > 0.3


def test_batches_ask_for_the_cube_that_a_state_is_about_and_for_others(samples: LabelledStates) -> None:
    rng = np.random.default_rng(0)
    first = [draw_asked("red", False, True, rng) for _ in range(200)]
    second = [draw_asked("red", False, False, rng) for _ in range(200)]
    assert {asked.colour for asked in first} == {"red"}
    assert {asked.task for asked in first} == {"touch", "pick", "place"}
    assert {asked.colour for asked in second} == {"", *COLOURS}
    batch = Batches([samples], demo_tokenizer()).draw(5, 2, rng)
    assert batch.images.shape[:2] == (2, 5) and batch.actions.shape == (10, CHUNK_STEPS, 6)
    named = [bool(asked.colour) for asked in batch.asked]
    assert all((token >= 0) or not name for token, name in zip(batch.cube_token, named, strict=True))


def test_statistics_are_in_the_units_of_the_checkpoint(samples: LabelledStates) -> None:
    found = statistics(samples)
    state, image = found["observation.state"], found["observation.images.front"]
    assert set(state) == {"mean", "std", "min", "max", "count", "q01", "q10", "q50", "q90", "q99"}
    assert float(state["std"].min()) >= 2.0, "a joint that hardly moves does not have its noise scaled up"
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
