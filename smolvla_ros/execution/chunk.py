"""A chunk of actions and the checks that a received one must pass before anything believes it.

What can be said of the message alone is checked here; what depends on the state of the controller (session, age,
jump from the last command) is checked in `admission` and `controller`, with the same error type.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.stamps import stamp_ns
from smolvla_ros.wording import listed

MAX_ROWS = 1000
MAX_JOINTS = 1000
MAX_STEP_NS = 1_000_000_000
# Beyond this a position is no position, and arithmetic with it could overflow [rad or m].
MAX_POSITION = 1e6


class Rejection(StrEnum):
    """Why a chunk was refused. The value is the name of its counter."""

    NO_SESSION = "no_session"
    NO_SEQUENCE = "no_sequence"
    NO_STAMP = "no_stamp"
    BAD_STEP = "bad_step"
    BAD_ROWS = "bad_rows"
    BAD_FROZEN_ROWS = "bad_frozen_rows"
    SIZE_MISMATCH = "size_mismatch"
    DUPLICATE_JOINT = "duplicate_joint"
    MISSING_JOINT = "missing_joint"
    UNKNOWN_JOINT = "unknown_joint"
    NOT_FINITE = "not_finite"
    STEP_TOO_LARGE = "step_too_large"
    OLD_SESSION = "old_session"
    OLD_SEQUENCE = "old_sequence"
    FUTURE_STAMP = "future_stamp"
    TOO_OLD = "too_old"
    BEFORE_HOLD = "before_hold"
    EXPIRED = "expired"
    JUMP_TOO_LARGE = "jump_too_large"
    NOT_ACCEPTING = "not_accepting"


class ChunkError(ValueError):
    """A chunk is refused; `reason` is typed, the text names what was found and what was expected."""

    def __init__(self, reason: Rejection, text: str):
        self.reason = reason
        super().__init__(text)


@dataclass(frozen=True)
class Chunk:
    """A chunk whose fields have all been checked.

    Attributes:
        session: identifies one run of the policy; numbers of different runs have no order.
        sequence: number within the session, from 1.
        stamp_ns: the instant of row 0 on the ROS clock: that of the joint state that the policy saw.
        step_ns: time between two rows.
        positions: [rows, joints] in rad or m, columns in the robot's order.
        frozen_rows: leading rows that continue the chunk executed before.
        image_stamp_ns: of the oldest image that the policy saw; 0: none.
    """

    session: int
    sequence: int
    stamp_ns: int
    step_ns: int
    positions: NDArray[np.float64]
    frozen_rows: int = 0
    image_stamp_ns: int = 0

    @property
    def observed_ns(self) -> int:
        """When the oldest part of the observation was measured: what limits of age are about."""
        return min(self.stamp_ns, self.image_stamp_ns or self.stamp_ns)

    @property
    def rows(self) -> int:
        return len(self.positions)

    @classmethod
    def from_message(cls, message: Any, joints: Sequence[str]) -> Chunk:
        """Checks an ActionChunk, of rclpy or of a bag, and brings its columns into the order of `joints`.

        Raises:
            ChunkError: see `from_fields`.
        """
        return cls.from_fields(
            joints,
            session=message.session,
            sequence=message.sequence,
            stamp_ns=stamp_ns(message.header.stamp),
            image_stamp_ns=stamp_ns(message.image_stamp),
            joint_names=message.joint_names,
            step_ns=message.step.sec * 1_000_000_000 + message.step.nanosec,
            rows=message.rows,
            positions=message.positions,
            frozen_rows=message.frozen_rows,
        )

    @classmethod
    def from_fields(
        cls,
        joints: Sequence[str],
        *,
        session: int,
        sequence: int,
        stamp_ns: int,
        joint_names: Sequence[str],
        step_ns: int,
        rows: int,
        positions: Sequence[float],
        frozen_rows: int = 0,
        image_stamp_ns: int = 0,
    ) -> Chunk:
        """Checks the fields of a message and brings its columns into the order of `joints`.

        Raises:
            ChunkError: the first rule that is broken. Sizes are checked before anything is allocated.
        """
        if session <= 0:
            raise ChunkError(Rejection.NO_SESSION, f"session is {session}, expected the number of a run of the policy")
        if sequence <= 0:
            raise ChunkError(Rejection.NO_SEQUENCE, f"sequence is {sequence}, expected 1 or more")
        if stamp_ns <= 0:
            raise ChunkError(Rejection.NO_STAMP, f"stamp is {stamp_ns} ns, expected the time of the joint state")
        if image_stamp_ns < 0:
            raise ChunkError(Rejection.NO_STAMP, f"image_stamp is {image_stamp_ns} ns, expected 0 or more")
        if not 0 < step_ns <= MAX_STEP_NS:
            raise ChunkError(Rejection.BAD_STEP, f"step is {step_ns * 1e-9:g} s, expected more than 0 and at most 1 s")
        if not 0 < rows <= MAX_ROWS:
            raise ChunkError(Rejection.BAD_ROWS, f"the chunk has {rows} rows, expected 1 to {MAX_ROWS}")
        if not 0 <= frozen_rows <= rows:
            raise ChunkError(Rejection.BAD_FROZEN_ROWS, f"{frozen_rows} of {rows} rows are said to be frozen")
        columns = _columns(joints, joint_names)
        if len(positions) != rows * len(joint_names):
            raise ChunkError(
                Rejection.SIZE_MISMATCH,
                f"the chunk has {len(positions)} positions, expected {rows} rows x {len(joint_names)} joints",
            )
        table = np.array(positions, dtype=np.float64).reshape(rows, len(joint_names))[:, columns]
        _check_finite(table, joints)
        return cls(session, sequence, stamp_ns, step_ns, table, frozen_rows, image_stamp_ns)


def check_steps(chunk: Chunk, joints: Sequence[str], max_step: NDArray[np.float64]) -> None:
    """Refuses a chunk that jumps between two of its rows.

    Args:
        max_step: largest change from one row to the next, [joints] in rad or m.

    Raises:
        ChunkError: STEP_TOO_LARGE, naming the joint.
    """
    if chunk.rows < 2:
        return
    steps = chunk.positions[1:] - chunk.positions[:-1]
    np.abs(steps, out=steps)
    if (steps > max_step).any():
        largest = steps.max(axis=0)
        worst = int(np.argmax(largest / max_step))
        raise ChunkError(
            Rejection.STEP_TOO_LARGE,
            f"{joints[worst]} moves by {largest[worst]:.3g} between two rows, allowed {max_step[worst]:.3g}",
        )


def _columns(joints: Sequence[str], names: Sequence[str]) -> list[int]:
    if len(names) > MAX_JOINTS:
        text = f"the chunk names {len(names)} joints, at most {MAX_JOINTS} are looked at"
        raise ChunkError(Rejection.UNKNOWN_JOINT, text)
    places = {name: column for column, name in enumerate(names)}
    if len(places) != len(names):
        twice = [name for name, times in Counter(names).items() if times > 1]
        raise ChunkError(Rejection.DUPLICATE_JOINT, f"the chunk names {listed(twice)} more than once")
    missing = [name for name in joints if name not in places]
    if missing:
        raise ChunkError(
            Rejection.MISSING_JOINT,
            f"the chunk lacks {listed(missing)}; it has {listed(names)}",
        )
    unknown = sorted(set(names) - set(joints))
    if unknown:
        raise ChunkError(
            Rejection.UNKNOWN_JOINT, f"the chunk moves {listed(unknown)}; the robot has {listed(joints)}"
        )
    return [places[name] for name in joints]


def _check_finite(table: NDArray[np.float64], joints: Sequence[str]) -> None:
    usable = np.abs(table) <= MAX_POSITION  # false for NaN
    if not usable.all():
        row, column = np.argwhere(~usable)[0]
        raise ChunkError(
            Rejection.NOT_FINITE,
            f"row {row} of {joints[column]} is {table[row, column]}, expected a finite number below {MAX_POSITION:g}",
        )
