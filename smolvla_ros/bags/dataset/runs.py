"""Runs that episode_node told of while a bag was recorded: number, instruction, how they ended, what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bags.moved import MovedBag
from smolvla_ros.bags.reader import Bag
from smolvla_ros.episode.watch import EpisodeOutcome, Termination

from .episodes import RecordedEpisode


@dataclass(frozen=True)
class RecordedRun:
    """One run, in log time; `ended_ns` 0: the bag ends before it."""

    session: int
    number: int
    instruction: str
    began_ns: int
    ended_ns: int = 0
    termination_reason: str = Termination.RUNNING.name.lower()
    detail: str = ""
    outcome: str = EpisodeOutcome.UNKNOWN.name.lower()
    outcome_by_person: bool = False


def recorded_runs(bag: Bag | MovedBag, topic: str | None) -> list[RecordedRun]:
    """The runs of a bag in the order of their beginnings; the last word on each counts."""
    runs: dict[tuple[int, int], RecordedRun] = {}
    for recorded in bag.read([topic]) if topic else ():
        try:
            told = recorded.message
        except BagError:
            continue  # what is missing is told by the reader's defects
        key = (int(told.session), int(told.number))
        known = told.termination_reason in iter(Termination) and told.outcome in iter(EpisodeOutcome)
        if not told.number or not known:
            continue
        run = runs.get(key) or RecordedRun(*key, str(told.instruction), recorded.log_ns)
        ends = bool(told.termination_reason)
        runs[key] = replace(
            run,
            ended_ns=run.ended_ns or (recorded.log_ns if ends else 0),
            termination_reason=Termination(told.termination_reason).name.lower(),
            detail=str(told.detail),
            outcome=EpisodeOutcome(told.outcome).name.lower(),
            outcome_by_person=bool(told.outcome_by_person),
        )
    return sorted(runs.values(), key=lambda run: run.began_ns)


def run_of(episode: RecordedEpisode, runs: Sequence[RecordedRun]) -> dict[str, Any] | None:
    """The run that an episode of the dataset is of: the last one that had begun and had not ended at its middle."""
    middle_ns = int(episode.times_ns[len(episode.times_ns) // 2])
    going_on = [run for run in runs if run.began_ns <= middle_ns and (not run.ended_ns or middle_ns < run.ended_ns)]
    return asdict(going_on[-1]) if going_on else None
