"""The first line about many replays: what a reader in a hurry takes away."""

from __future__ import annotations

import math
from typing import Literal

from .result import ManyReplays
from .verdict import Comparison

Mood = Literal["good", "fair", "bad"]


def many_sentence(found: ManyReplays) -> tuple[str, Mood]:
    """What the page says first, and what it is: of the comparison if there is one, else of the bags."""
    if not found.bags:
        return "No bag could be replayed.", "bad"
    if found.against:
        verdict = found.comparison.verdict if found.comparison else "open"
        moods: dict[str, Mood] = {"nearer": "good", "open": "fair", "farther": "bad"}
        return comparison_sentence(found), moods[verdict]
    total = len(found.bags) + len(found.failed) + len(found.stopped)
    good = sum(1 for bag in found.bags if bag.mood == "good")
    worst: Mood = "bad" if found.failed or any(bag.mood == "bad" for bag in found.bags) else "fair"
    text = f"In {good} of {total} bags the policy does what the robot did"
    missing = total - len(found.bags)
    text += f"; {missing} could not be replayed." if missing else "."
    return text, "good" if good == total else worst


def comparison_sentence(found: ManyReplays) -> str:
    """Which of the two is nearer to what the robot did, with the interval."""
    comparison = found.comparison
    if comparison is None:
        return "Nothing could be compared: at no instant did both policies answer and the bag tell what the robot did."
    total = comparison.total
    if math.isnan(total.low):
        return (f"These bags do not tell which is nearer: {comparison.over} are too few for an interval; mean error "
                f"{total.ours:.4f} against {total.theirs:.4f}.")  # fmt: skip
    return f"{_who(comparison)}: mean error {total.ours:.4f} against {total.theirs:.4f}, difference " \
           f"{total.difference:+.4f} (95 % interval {total.low:+.4f} to {total.high:+.4f}, over {comparison.over})."


def _who(comparison: Comparison) -> str:
    total, margin = comparison.total, comparison.margin
    if comparison.verdict == "nearer" and total.high < 0.0:
        return "The checkpoint is nearer to what the robot did than the other"
    if comparison.verdict == "nearer" and total.low == total.high == 0.0:
        return "Both checkpoints answer alike"
    if comparison.verdict == "nearer":
        return f"The checkpoint is not farther from what the robot did than the margin of {margin:g} allows"
    if comparison.verdict == "farther":
        return "The checkpoint is farther from what the robot did than the other"
    return "These bags do not tell which checkpoint is nearer"
