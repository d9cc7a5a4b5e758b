"""What a replay found: frozen values that the report, the JSON file and the rows are made of.

Times are in ns on the bag's clock, positions in rad or m in the robot's order of joints. NaN: there is no such value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from smolvla_ros.robot import RobotConfig

    from .facts import Facts

Array = NDArray[np.float64]
Times = NDArray[np.int64]


@dataclass(frozen=True)
class BagFinding:
    """Something to know about the bag: `name` such as 'swapped_joints'; one or two sentences, figures and remedy."""

    name: str
    severity: Literal["error", "warning", "note"]
    text: str


@dataclass(frozen=True)
class StreamHealth:
    """How the messages of one topic came.

    Attributes:
        name: what they are to the policy, as in `replay.facts`: 'camera front', 'joint states', 'instruction', ...
        messages: of the topic in the time that was replayed.
        refused, refusal: how many of them the live node would not have taken or nobody can read; the first reason.
        rate_hz, p95_gap_s, max_gap_s: of the log times.
        first_ns, last_ns: log times; 0 without a message.
        stamp_lag_p50_s: median of log time - header stamp, zero stamps left out; NaN for types without a header.
        zero_stamps: messages stamped 0.
    """

    name: str
    topic: str
    type: str
    messages: int
    refused: int
    refusal: str
    rate_hz: float
    p95_gap_s: float
    max_gap_s: float
    first_ns: int
    last_ns: int
    stamp_lag_p50_s: float
    zero_stamps: int


@dataclass(frozen=True)
class RecordedChunk:
    """A chunk that the robot's own policy node sent: number, rows [rows, joints], stamps, and when it was asked for.

    `stamp_ns` is of row 0, `image_stamp_ns` of its oldest image; `latency_s` is from `stamp_ns` to its publication,
    `step_s` the time between two rows.
    """

    sequence: int
    stamp_ns: int
    image_stamp_ns: int
    requested_ns: int
    latency_s: float
    step_s: float
    instruction: str
    positions: Array


@dataclass(frozen=True)
class ReplayedChunk:
    """One answer of the policy; row i is for the instant start_ns + i * step.

    Attributes:
        requested_ns: when it was asked.
        stamp_ns: of the joint state in the observation, to which row 0 belongs.
        image_stamp_ns: of its oldest image.
        start_ns: `stamp_ns`, or, if the recorded arm was held then, when it was let go: chunks do not run while it is.
        usable_ns: when the controller would have had it.
        instruction: what it was asked for.
        state: [joints] positions that the policy saw.
        positions: [rows, joints] what it answered.
        reference: [rows, joints] what the robot did at those instants; NaN where the bag does not tell, and from when
            on it did something else because the instruction changed.
        frozen_rows: leading rows that continue the chunk before.
        inference_s: time that the answer took here.
        recorded: the chunk of the bag that this one repeats; only with requests 'recorded'.
    """

    requested_ns: int
    stamp_ns: int
    image_stamp_ns: int
    start_ns: int
    usable_ns: int
    instruction: str
    state: Array
    positions: Array
    reference: Array
    frozen_rows: int
    inference_s: float
    recorded: RecordedChunk | None


@dataclass(frozen=True)
class Skipped:
    """Instants in a row, from `time_ns` to `last_ns`, at which the live node would have waited, and why.

    `kind`: no 'instruction' was in force, there was no 'observation', or the 'inference' failed.
    """

    kind: Literal["instruction", "observation", "inference"]
    time_ns: int
    last_ns: int
    instants: int
    reason: str


@dataclass(frozen=True)
class ErrorTable:
    """|predicted - reference| in one unit: mean and 95th percentile over everything, joints, rows of a chunk, and both.

    Attributes:
        mean, p95: over all joints and rows; joints in rad and in m are thrown together.
        joint_mean, joint_p95: [joints].
        row_mean, row_p95: [rows]; row i lies i steps after the observation.
        cell_mean: [rows, joints].
    """

    mean: float
    p95: float
    joint_mean: Array
    joint_p95: Array
    row_mean: Array
    row_p95: Array
    cell_mean: Array


@dataclass(frozen=True)
class Errors:
    """Errors in the robot's units, and in standard deviations of the checkpoint's training actions (NaN if unknown).

    `values`: how many numbers were compared.
    """

    robot: ErrorTable
    std: ErrorTable
    values: int


@dataclass(frozen=True)
class Spread:
    """Median, 95th percentile and maximum."""

    p50: float
    p95: float
    max: float


@dataclass(frozen=True)
class Seams:
    """The execution that the chunks would have given, row after row, without the controller's limits and easing.

    Metrics are those of `smolvla_ros.execution.metrics`.

    Attributes:
        switches: changes from a chunk that was being executed to the next.
        expired: chunks that came when all of their instants had passed.
        jump: largest joint jump at each of them [rad or m].
        jump_ratio: the same in median steps within a chunk.
        overlap: disagreement of the two chunks where both have rows [rad or m].
        action_age_s: command time - stamp of the observation behind it.
        idle_fraction: instants after the first chunk without a row to execute.
        jerk_rms: [joints] of the commands.
    """

    switches: int
    expired: int
    jump: Spread
    jump_ratio: Spread
    overlap: Spread
    action_age_s: Spread
    idle_fraction: float
    jerk_rms: Array


@dataclass(frozen=True)
class Trace:
    """Everything over the time of the replay, one row per instant of the grid: [instants] and [instants, joints].

    `commanded` is the virtual execution of the replayed chunks (NaN while there is none), `chunk` the index of the one
    behind it (-1: none), `reference` what the errors are measured against, `measured` the joint states.
    """

    times_ns: Times
    commanded: Array
    chunk: Times
    reference: Array
    measured: Array


@dataclass(frozen=True)
class Replay:
    """All of it.

    Attributes:
        bag, checkpoint, robot_config: as the user named them.
        robot: cameras, joints, units.
        start_ns, end_ns: the part of the bag that was replayed.
        step_s, rows: of a chunk.
        request, latency, reference: how it was replayed, in words.
        seed: of the sampler's noise.
        streams: every topic that matters, in the order of display.
        errors: of the chunks; `hold_errors`: the same for a policy that answers "stay where you are".
        recorded_errors: replayed against recorded chunks; None without requests 'recorded'.
        recorded_unmatched: of the chunks compared there, how many come from other images than the recorded ones.
        seams, trace: the virtual execution.
        stage_s: seconds of each stage of an inference on this machine; nothing of it goes into replay.json.
        action_std: [joints] in rad or m; NaN where the checkpoint does not tell.
        statistics: feature ('observation.state', 'action') -> 'mean', 'q01', ... -> [joints] in checkpoint units.
        defects: what is damaged about the bag, or missing of this replay; empty if it is complete.
        facts: what the bag shows beside the answers.
    """

    bag: str
    checkpoint: str
    robot_config: str
    robot: RobotConfig
    joints: tuple[str, ...]
    start_ns: int
    end_ns: int
    step_s: float
    rows: int
    request: str
    latency: str
    reference: str
    seed: int
    chunks: tuple[ReplayedChunk, ...]
    skipped: tuple[Skipped, ...]
    streams: tuple[StreamHealth, ...]
    errors: Errors
    hold_errors: Errors
    recorded_errors: Errors | None
    recorded_unmatched: int
    seams: Seams
    trace: Trace
    stage_s: Mapping[str, Spread]
    action_std: Array
    statistics: Mapping[str, Mapping[str, Array]]
    defects: tuple[str, ...]
    facts: Facts
    findings: tuple[BagFinding, ...] = ()
