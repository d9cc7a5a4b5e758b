"""One bag replayed, written down, told in figures: what `replay` does here, in other processes, on other machines."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bringup.options import BringUpError

from .bag_options import node_parameters, robot_of

if TYPE_CHECKING:
    from smolvla_ros.bags.many.result import FailedBag, ReplayedBag
    from smolvla_ros.bags.reader import Bag
    from smolvla_ros.bags.replay.conditions import Condition
    from smolvla_ros.bags.replay.node import Setup
    from smolvla_ros.bags.replay.result import Replay
    from smolvla_ros.bags.replay.run import ReplaySettings
    from smolvla_ros.bags.streams import Streams
    from smolvla_ros.parameters import Value
    from smolvla_ros.parameters.policy import PolicyParameters
    from smolvla_ros.robot import RobotConfig

AGAINST = "against"  # the folder beside a bag's results with those of the other checkpoint
_KEPT = 2  # policies in memory: the one asked about and the one that it is held against


def _nothing() -> None:
    """Nobody wants to stop."""


@dataclass(frozen=True)
class ReplayTask:
    """A bag, and how it is replayed.

    Attributes:
        name: of the bag, for people; `folder`: where its results go, made if need be.
        robot, namespace, remaps, fail_if, rows: as the options of `replay`.
        checkpoint: what the user calls it; '' for that of the bag or the config. `against`: '' for none.
        parameters: of the policy node, in place of those of the bag or the config.
    """

    name: str
    bag: str
    folder: Path
    settings: ReplaySettings
    robot: str = ""
    namespace: str = ""
    remaps: Mapping[str, str] = dataclasses.field(default_factory=dict)
    checkpoint: str = ""
    against: str = ""
    parameters: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    fail_if: tuple[str, ...] = ()
    rows: str = "parquet"


def with_threads(task: ReplayTask, cpus: int) -> ReplayTask:
    """So many threads for the inference, whatever the robot's own computer has; --param torch_threads counts more."""
    return dataclasses.replace(task, parameters={"torch_threads": cpus, **task.parameters})


@dataclass(frozen=True)
class PreparedBag:
    """An open bag with all that has to be known before a policy is loaded."""

    bag: Bag
    parameters: PolicyParameters
    robot: RobotConfig
    streams: Streams
    conditions: tuple[Condition, ...]


def prepare(bag: Bag, task: ReplayTask, checkpoint: str) -> PreparedBag:
    """Whose bag it is and where its topics are.

    Raises:
        BagError, BringUpError: an option does not fit the bag.
    """
    from smolvla_ros.bags.replay.conditions import parse_condition
    from smolvla_ros.bags.streams import find_streams
    from smolvla_ros.bringup.options import ArmOptions

    overrides = dict(task.parameters)
    if checkpoint:
        overrides["checkpoint"] = ArmOptions(checkpoint=checkpoint).checkpoint_source
    policy_parameters, controller_parameters = node_parameters(bag, task.robot, task.namespace, overrides)
    robot = robot_of(policy_parameters, task.robot)
    conditions = tuple(parse_condition(text, robot.joint_names) for text in task.fail_if)
    streams = find_streams(bag, robot, controller_parameters, task.namespace, task.remaps)
    return PreparedBag(bag, policy_parameters, robot, streams, conditions)


def load(prepared: PreparedBag, task: ReplayTask, checkpoint: str) -> Setup:
    """Loads the policy.

    Raises:
        BringUpError: it cannot be loaded, or is for another robot.
    """
    from smolvla_ros.bags.replay.node import Setup
    from smolvla_ros.parameters import ParameterError
    from smolvla_ros.policy import setup

    try:
        policy = setup.load_policy(prepared.parameters, prepared.robot, _warn)
    except ParameterError as error:
        raise BringUpError(str(error)) from error
    return Setup(
        prepared.robot, prepared.parameters, policy, checkpoint or prepared.parameters.checkpoint,
        task.robot or "of the bag",
    )  # fmt: skip


def replayed(prepared: PreparedBag, setup: Setup, settings: ReplaySettings, tell: Callable[[float], None]) -> Replay:
    """Replays and diagnoses; `tell` takes the seconds of the bag that are done."""
    from smolvla_ros.bags.diagnosis import diagnose
    from smolvla_ros.bags.replay.run import replay
    from smolvla_ros.policy.setup import freshness

    found = replay(prepared.bag, prepared.streams, setup, settings, tell)
    return dataclasses.replace(found, findings=(*found.findings, *diagnose(found, freshness(setup.parameters))))


def write(found: Replay, folder: Path, rows: str) -> None:
    """report.html, replay.json and the rows."""
    from smolvla_ros.bags.replay.rows import write_rows
    from smolvla_ros.bags.replay.summary import write_summary
    from smolvla_ros.bags.report import write_report

    folder.mkdir(parents=True, exist_ok=True)
    write_report(found, folder / "report.html")
    write_summary(found, folder)
    write_rows(found, folder, rows)


class BagReplayer:
    """Replays one of many bags after the other; a policy that the bag before had, too, is loaded already.

    Args:
        check: called at each instant of a replay; what it raises ends it.
    """

    def __init__(self, check: Callable[[], Any] = _nothing) -> None:
        self._check = check
        self._setups: dict[str, Setup] = {}
        self._refused: dict[str, str] = {}

    def __call__(self, task: ReplayTask) -> ReplayedBag | FailedBag:
        """Writes all of a bag; one that cannot be used is told of and harms no other."""
        from smolvla_ros.bags.many.blocks import pairs
        from smolvla_ros.bags.many.result import FailedBag, figures_of
        from smolvla_ros.bags.reader import open_bag

        try:
            with open_bag(task.bag) as bag:
                checkpoints = (task.checkpoint, task.against) if task.against else (task.checkpoint,)
                prepared = [prepare(bag, task, checkpoint) for checkpoint in checkpoints]
                setups = [self._setup(one, task, name) for one, name in zip(prepared, checkpoints, strict=True)]
                found = self._replay(prepared[0], setups[0], task, task.folder)
                beside = None
                if task.against:
                    theirs = self._replay(prepared[1], setups[1], task, task.folder / AGAINST)
                    beside = pairs(task.name, found, theirs)
        except (BagError, BringUpError) as error:
            return FailedBag(task.name, task.bag, str(error))
        except OSError as error:
            return FailedBag(task.name, task.bag, f"{error.filename or task.bag}: {error.strerror or error}")
        broken = [text for condition in prepared[0].conditions if (text := condition.broken(found))]
        return figures_of(task.name, found, broken, beside)

    def _replay(self, prepared: PreparedBag, setup: Setup, task: ReplayTask, folder: Path) -> Replay:
        found = replayed(prepared, setup, task.settings, lambda done_s: self._check())
        self._check()
        write(found, folder, task.rows)
        return found

    def _setup(self, prepared: PreparedBag, task: ReplayTask, checkpoint: str) -> Setup:
        """Loaded once; one that cannot be is not tried again for the next bag."""
        key = repr((prepared.parameters, checkpoint, task.robot))
        if key in self._refused:
            raise BringUpError(self._refused[key])
        if key not in self._setups:
            while len(self._setups) >= _KEPT:
                del self._setups[next(iter(self._setups))]
            try:
                self._setups[key] = load(prepared, task, checkpoint)
            except BringUpError as error:
                self._refused[key] = str(error)
                raise
        return self._setups[key]


def _warn(text: str) -> None:
    print(f"smolvla-ros replay: {text}", file=sys.stderr)
