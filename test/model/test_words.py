"""Words never seen in training are named, and refused where that is wanted."""

import json
import shutil

import pytest

from smolvla_ros.installation import share_folder
from smolvla_ros.model import CheckpointError, InstructionError, SmolVLAPolicy
from smolvla_ros.model.words import TrainedWords

WORDS = TrainedWords(["touch", "the", "Red", "green", "cube", "don't"])


@pytest.mark.parametrize("instruction, unseen", [
    ("touch the red cube", []),
    ("Touch the RED cube!", []),
    ("grab the red cube, grab it", ["grab", "it"]),
    ("don’t touch the cube", []),
    ("touch the purple 3rd cube", ["purple", "3rd"]),
    ("", []),
    ("attrape le cube", ["attrape", "le"]),
])  # fmt: skip
def test_words_are_compared_in_any_case_and_without_punctuation(instruction, unseen):
    assert WORDS.unseen(instruction) == unseen


def test_a_remark_says_what_may_have_been_meant():
    assert WORDS.remark("touch the gren cube") == "never seen in training: gren (green?)"
    assert WORDS.remark("touch the green cube") == ""


def test_where_nobody_knows_the_words_nothing_is_unseen():
    assert TrainedWords().unseen("anything at all") == []


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "policy"
    shutil.copytree(share_folder() / "checkpoints" / "demo", folder)
    return folder


def list_words(folder, words):
    file = folder / "smolvla_ros.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"words": words}))


def test_a_policy_tells_the_words_that_its_checkpoint_does_not_list(checkpoint):
    list_words(checkpoint, ["touch", "the", "red", "cube"])
    policy = SmolVLAPolicy.from_checkpoint(checkpoint)
    policy.check_instruction("fetch the red cube")
    assert policy.remark("fetch the red cube") == "never seen in training: fetch"


def test_unseen_words_are_refused_where_that_is_wanted_and_warming_up_is_not(checkpoint):
    list_words(checkpoint, ["touch", "the", "red", "cube"])
    policy = SmolVLAPolicy.from_checkpoint(checkpoint, unseen_words="refuse")
    policy.warm_up()
    policy.check_instruction("touch the red cube")
    with pytest.raises(InstructionError, match="never seen in training: fetch; say it in the words of training"):
        policy.check_instruction("fetch the red cube")


@pytest.mark.parametrize("words", ["touch", [1], {"touch": 1}])
def test_a_list_of_words_that_is_none_is_refused_by_name(checkpoint, words):
    list_words(checkpoint, words)
    with pytest.raises(CheckpointError, match="words"):
        SmolVLAPolicy.from_checkpoint(checkpoint)
