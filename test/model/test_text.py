"""Instructions: the newline, the token limit, and what is no instruction."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from smolvla_ros.model import InstructionError, InstructionReader, SmolVLAPolicy, TextSettings, train_tokenizer

TOKENIZER = Path(__file__).parent.parent / "fixtures" / "lerobot" / "default" / "vlm" / "tokenizer.json"
LEFT = TextSettings(cut_side="left")


def reader(settings: TextSettings = LEFT, **options: str) -> InstructionReader:
    return InstructionReader(Tokenizer.from_file(str(TOKENIZER)), settings, **options)


def text_of(length: int) -> str:
    """A text of exactly so many tokens with its newline: every digit is one."""
    return "1234567890"[: length - 1] if length < 11 else "1" * (length - 1)


def test_a_newline_ends_every_instruction_once() -> None:
    assert reader().read("touch the cube").ids == reader().read("touch the cube\n").ids
    assert (
        reader(TextSettings(ends_with_newline=False)).read("touch the cube").ids
        == reader().read("touch the cube").ids[:-1]
    )


def test_exactly_the_limit_is_read_whole_and_one_more_is_cut() -> None:
    at_limit, beyond = reader().read(text_of(48)), reader().read(text_of(49))
    assert (len(at_limit.ids), at_limit.truncated) == (48, False)
    assert (len(beyond.ids), beyond.truncated) == (48, True)


def test_a_cut_is_warned_of_and_takes_the_side_of_the_tokenizer(caplog: pytest.LogCaptureFixture) -> None:
    text = "2" + text_of(60)
    with caplog.at_level(logging.WARNING):
        left = reader().read(text)
    assert "has 61 tokens, its beginning was cut to 48" in caplog.text
    whole = reader(TextSettings(truncation=False)).read(text)
    assert left.ids == whole.ids[-48:]
    assert reader(TextSettings(cut_side="right")).read(text).ids == whole.ids[:48]


def test_the_old_format_read_texts_of_any_length() -> None:
    whole = reader(TextSettings(truncation=False)).read(text_of(100))
    assert (len(whole.ids), whole.truncated) == (100, False)


@pytest.mark.parametrize("settings", [LEFT, TextSettings(truncation=False)])
def test_too_long_an_instruction_can_be_refused(settings: TextSettings) -> None:
    with pytest.raises(InstructionError, match="49 tokens, the policy was trained with at most 48; shorten it"):
        reader(settings, overlong="refuse").read(text_of(49))
    assert len(reader(settings, overlong="refuse").read(text_of(48)).ids) == 48


def test_composed_and_decomposed_letters_are_the_same_instruction() -> None:
    assert reader().read("Gro\u0308\u00dfe").ids == reader().read("Gr\u00f6\u00dfe").ids


@pytest.mark.parametrize("text", ["", "   ", "\n", " \n", "\u3000"])
def test_an_empty_instruction_is_refused(text: str) -> None:
    with pytest.raises(InstructionError, match="empty"):
        reader().read(text)


@pytest.mark.parametrize(
    "character",
    ["\0", "\t", "\r", "\x1b", "\x7f", "\u0085", "\u202e", "\u2066", "\u200b", "\ufeff", "\u2028", "\ud800"],
)
def test_control_characters_are_refused_by_name_and_place(character: str) -> None:
    with pytest.raises(InstructionError, match=rf"U\+{ord(character):04X} at position 5"):
        reader().read(f"touch{character} it")


def test_a_newline_within_is_refused() -> None:
    with pytest.raises(InstructionError, match=r"U\+000A"):
        reader().read("touch\nit")


@pytest.mark.parametrize("token", ["<image>", "<end_of_utterance>", "<|im_start|>", "<fake_token_around_image>"])
def test_special_tokens_of_the_model_are_refused(token: str) -> None:
    with pytest.raises(InstructionError, match="a token of the model; leave it out"):
        reader().read(f"touch {token} it")


def test_a_flood_of_text_is_refused() -> None:
    with pytest.raises(InstructionError, match="at most 2000 are read"):
        reader().read("a" * 2_001)


def test_text_that_would_take_half_a_minute_to_normalise_is_refused_by_its_length() -> None:
    with pytest.raises(InstructionError, match="has 160001 characters"):
        reader().read("a" + "\u0323\u0300" * 80_000)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_and_never_more_than_the_limit(text: str) -> None:
    try:
        tokens = reader().read(text)
    except InstructionError:
        return
    assert 1 <= len(tokens.ids) <= 48


@pytest.mark.parametrize(
    "text", ["touch the red cube", "../../etc/passwd", "$(reboot)", "%s {0} \\x00", "große Tür 🤖"]
)
def test_a_trained_tokenizer_reads_any_text_without_loss(text: str) -> None:
    tokenizer = train_tokenizer(["touch the red cube", "go to the blue cube"], vocab_size=280)
    assert tokenizer.decode(InstructionReader(tokenizer, LEFT).read(text).ids) == text + "\n"


def test_the_policy_refuses_before_it_infers(checkpoint_of: Callable[[str], Path]) -> None:
    policy = SmolVLAPolicy.from_checkpoint(checkpoint_of("default"), overlong_instruction="refuse")
    with pytest.raises(InstructionError, match="100 tokens"):
        policy.check_instruction(text_of(100))
