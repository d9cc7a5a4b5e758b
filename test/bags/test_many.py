"""Which bags are meant, and which of two checkpoints is nearer."""

import dataclasses

import numpy as np
import pytest

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bags.many.blocks import ErrorBlocks, Pairs, pairs
from smolvla_ros.bags.many.finding import find_bags
from smolvla_ros.bags.many.verdict import compare_checkpoints

JOINTS = ("pan", "lift")


def bag_at(path):
    path.mkdir(parents=True)
    (path / "metadata.yaml").write_text("")
    return path


def test_a_folder_stands_for_the_bags_below_it_and_a_bag_for_itself(tmp_path):
    inner, lone = bag_at(tmp_path / "monday" / "first"), bag_at(tmp_path / "lone")
    (tmp_path / "monday" / "notes.txt").write_text("")
    assert find_bags([str(tmp_path / "monday"), str(lone), str(inner)]) == {"first": inner, "lone": lone}


def test_bags_of_one_name_are_told_apart_by_their_folders(tmp_path):
    bags = [bag_at(tmp_path / day / "run") for day in ("monday", "tuesday")]
    assert find_bags([str(tmp_path)]) == {"monday/run": bags[0], "tuesday/run": bags[1]}


def test_a_folder_with_links_in_a_circle_is_searched_once(tmp_path):
    bag = bag_at(tmp_path / "a" / "bag")
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    assert find_bags([str(tmp_path)]) == {"bag": bag}


def test_a_folder_without_a_bag_is_refused_and_a_missing_path_is_left_to_its_turn(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BagError, match="is no bag, and there is none below it"):
        find_bags([str(tmp_path / "empty")])
    assert list(find_bags([str(tmp_path / "gone"), str(bag_at(tmp_path / "there"))])) == ["gone", "there"]


def made_pairs(name, ours, theirs):
    """Errors [blocks, joints] of both."""
    sides = [
        ErrorBlocks(4.0 * np.array(one), np.full(np.shape(one), 4), ("go",) * len(one)) for one in (ours, theirs)
    ]
    return Pairs(name, JOINTS, 2.0, 10, *sides)


def bags_with(differences, blocks=3):
    rng = np.random.default_rng(1)
    theirs = [0.1 + 0.02 * rng.random((blocks, 2)) for _ in differences]
    both = zip(theirs, differences, strict=True)
    return [made_pairs(f"bag_{k}", one + add, one) for k, (one, add) in enumerate(both)]


@pytest.mark.parametrize(
    ("differences", "margin", "verdict"),
    [
        ([-0.02, -0.03, -0.01, -0.02, -0.02, -0.03], 0.0, "nearer"),
        ([0.02, 0.03, 0.01, 0.02, 0.02, 0.03], 0.0, "farther"),
        ([0.02, 0.03, 0.01, 0.02, 0.02, 0.03], 0.05, "nearer"),
        ([-0.02, 0.03, -0.01, 0.02, -0.02, 0.01], 0.0, "open"),
        ([0.0] * 6, 0.0, "nearer"),
    ],
)
def test_the_verdict_follows_the_interval_over_bags(differences, margin, verdict):
    found = compare_checkpoints(bags_with(differences), margin, seed=0)
    assert (found.verdict, found.over) == (verdict, "6 bags")
    assert found.total.low <= found.total.difference <= found.total.high
    assert found.total.difference == pytest.approx(np.mean(differences))


def test_with_few_bags_the_interval_is_over_blocks_of_time():
    found = compare_checkpoints(bags_with([-0.02, -0.03], blocks=5), 0.0, seed=0)
    assert (found.verdict, found.over) == ("nearer", "10 blocks of 2.0 s of 2 bags")


def test_too_little_to_tell_is_no_verdict():
    found = compare_checkpoints(bags_with([-0.02], blocks=5), 0.0, seed=0)
    assert found.verdict == "open" and np.isnan(found.total.low)
    assert compare_checkpoints([], 0.0, seed=0) is None


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    hits = 0
    for seed in range(40):
        found = compare_checkpoints(bags_with(rng.normal(0.01, 0.02, 12), blocks=1), 0.0, seed)
        hits += found.total.low <= 0.01 <= found.total.high
    assert 32 <= hits < 40


def test_the_same_seed_gives_the_same_interval_and_another_one_nearly():
    bags = bags_with(np.random.default_rng(2).normal(0.0, 0.02, 20))
    first, again, other = (compare_checkpoints(bags, 0.0, seed).total for seed in (0, 0, 1))
    assert first == again != other
    assert first.low == pytest.approx(other.low, abs=1e-3)


def test_where_they_differ_most_is_named_with_its_joint():
    bags = bags_with([0.0] * 6)
    far = bags[2].ours.sums.copy()
    far[1, 0] += 4 * 0.5
    bags[2] = dataclasses.replace(bags[2], ours=dataclasses.replace(bags[2].ours, sums=far))
    place = compare_checkpoints(bags, 0.0, seed=0).places[0]
    assert (place.bag, place.time_s, place.joint) == ("bag_2", 2.0, "pan")
    assert place.ours - place.theirs == pytest.approx(0.5)


def test_only_what_both_can_be_compared_at_counts(one_replay):
    short = dataclasses.replace(one_replay, chunks=one_replay.chunks[:1], rows=one_replay.rows // 2)
    found = pairs("bag", one_replay, short)
    assert found.rows == one_replay.rows // 2
    assert found.theirs.counts.any(axis=1).sum() == found.ours.counts.any(axis=1).sum() == 1


@pytest.fixture(scope="module")
def one_replay(repository):
    from recorded_motion import facts, record
    from replays import replay_of

    from smolvla_ros.parameters.files import read_parameters
    from smolvla_ros.parameters.robot import RobotParameters
    from smolvla_ros.robot import RobotConfig

    file = repository / "config" / "so101_sim.yaml"
    robot = RobotConfig.from_parameters(read_parameters(file, "/robot", RobotParameters))
    motion = record(0, 8.0)
    return replay_of(motion, facts(motion, robot), robot)
