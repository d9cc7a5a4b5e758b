"""The newest position of every joint, whoever tells it: the one way in for joint states.

A robot may tell its joints in one message or in several (a driver for the arm, one for the gripper), on one topic or
on two. Each message tells of some joints; what it does not name stays as it was told last, and ages. Joints that are
not the robot's are ignored. Both nodes, the recorder and everything that reads bags use what is here.

`now_ns` is on the clock of the stamps: the ROS clock, and log times in a bag.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.stamps import stamp_ns
from smolvla_ros.wording import listed

from .refusals import Refusal, Refusals, RefusedMessage, StampRule

MAX_NAMES = 1000
# Beyond this a position is no position, and arithmetic with it could overflow [rad or m].
MAX_POSITION = 1e6
# Messages of so many different lists of names are understood without looking the names up again.
_LAYOUTS = 8
_GROUPS = 64


class JointPositions(NamedTuple):
    """What is used of a joint state: stamp [ns] as it came, and one position for each name."""

    stamp_ns: int
    names: Sequence[str]
    positions: Sequence[float] | NDArray[np.float64]

    @classmethod
    def of(cls, message: Any) -> JointPositions:
        """Of a sensor_msgs/JointState, of rclpy or of a bag."""
        return cls(stamp_ns(message.header.stamp), message.name, message.position)


class _Layout(NamedTuple):
    """Which of the wanted joints a message names, and where in the message they stand."""

    names: list[str]
    joints: tuple[int, ...]
    places: NDArray[np.intp]


class JointOrder:
    """Finds the wanted joints in messages, by name; joints that are not wanted are ignored.

    Names are looked up when they change only: at 100 Hz that would cost more than a control step. Not locked: one
    thread owns an object.
    """

    def __init__(self, wanted: Sequence[str]):
        self._wanted = tuple(wanted)
        self._layouts: list[_Layout] = []

    def take(
        self, names: Sequence[str], positions: Sequence[float] | NDArray[np.float64]
    ) -> tuple[tuple[int, ...], list[float]]:
        """Which joints are told of (places among the wanted ones), and their positions; both may be empty.

        Raises:
            RefusedMessage: sizes, a name that stands twice, a position that is none.
        """
        if len(names) > MAX_NAMES:
            raise RefusedMessage(
                Refusal.TOO_LARGE, f"the joint state has {len(names)} names, at most {MAX_NAMES} are looked at"
            )
        if len(positions) != len(names):
            raise RefusedMessage(
                Refusal.LENGTHS_DIFFER, f"the joint state has {len(names)} names but {len(positions)} positions"
            )
        layout = self._layout(names)
        values = np.asarray(positions, dtype=np.float64)[layout.places].tolist()
        for joint, value in zip(layout.joints, values, strict=True):
            if not abs(value) <= MAX_POSITION:  # false for NaN
                raise RefusedMessage(
                    Refusal.NOT_FINITE,
                    f"the position of '{self._wanted[joint]}' is {value}, expected a finite number of rad or m",
                )
        return layout.joints, values

    def take_all(self, names: Sequence[str], positions: Sequence[float]) -> NDArray[np.float64]:
        """The positions of all wanted joints, [joints].

        Raises:
            RefusedMessage: as `take`; or a joint is missing.
        """
        joints, values = self.take(names, positions)
        if len(joints) != len(self._wanted):
            missing = [name for joint, name in enumerate(self._wanted) if joint not in joints]
            raise RefusedMessage(Refusal.LENGTHS_DIFFER, f"{listed(missing)} is missing; there is {listed(names)}")
        found = np.empty(len(joints))
        found[list(joints)] = values
        return found

    def _layout(self, names: Sequence[str]) -> _Layout:
        for layout in self._layouts:
            if layout.names == names:
                return layout
        names = list(names)
        places = {name: place for place, name in enumerate(names)}
        if len(places) != len(names):
            twice = [name for name, times in Counter(names).items() if times > 1]
            raise RefusedMessage(Refusal.DUPLICATE_JOINT, f"the joint state names {listed(twice)} more than once")
        joints = tuple(joint for joint, name in enumerate(self._wanted) if name in places)
        layout = _Layout(names, joints, np.array([places[self._wanted[joint]] for joint in joints], dtype=np.intp))
        self._layouts = [layout, *self._layouts[: _LAYOUTS - 1]]
        return layout


class JointStates:
    """The newest position of every joint and when it was measured. Not locked: whoever shares it locks.

    Args:
        joints: the robot's, in its order.
        rule: for stamps.
        read: takes what is used out of a message; a node that takes them as bytes has one of its own.

    `refusals` counts what was refused; a message that tells of none of the joints is neither used nor refused.
    `groups` are the joints that came together, since the last `clear`.
    """

    def __init__(
        self, joints: Sequence[str], rule: StampRule, read: Callable[[Any], JointPositions] = JointPositions.of
    ):
        self.rule = rule
        self._read = read
        self.refusals = Refusals()
        self._joints = tuple(joints)
        self._order = JointOrder(joints)
        self._positions = [math.nan] * len(self._joints)
        self._stamps_ns = [-1] * len(self._joints)
        self._foreign: Sequence[str] = ()
        self.groups: set[tuple[int, ...]] = set()

    @classmethod
    def as_they_come(cls, joints: Sequence[str]) -> JointStates:
        """Goes by the order of arrival: a stamp that a node would refuse does not make recorded positions wrong."""
        rule = StampRule(max_age_ns=0, future_tolerance_ns=0, accept_zero=True)
        return cls(joints, rule, lambda message: JointPositions.of(message)._replace(stamp_ns=0))

    def put(self, message: Any, now_ns: int) -> bool:
        """Takes a joint state that arrived at `now_ns`; False if it tells nothing new of the robot's joints.

        Of each joint the newest measurement counts, not the message that arrived last.

        Raises:
            RefusedMessage: it cannot be used, and was counted; what was known before stays.
        """
        try:
            state = self._read(message)
            joints, values = self._order.take(state.names, state.positions)
            if not joints:
                self._foreign = self._foreign or list(state.names)
                return False
            if len(self.groups) < _GROUPS:
                self.groups.add(joints)
            measured_ns = self.rule.checked(state.stamp_ns, now_ns)
        except RefusedMessage as error:
            self.refusals.add(error)
            raise
        self.refusals.accepted()
        # A known stamp that lies ahead of the clock is from before the clock was set back.
        ahead_ns = now_ns + self.rule.future_tolerance_ns
        used = False
        for joint, value in zip(joints, values, strict=True):
            if self._stamps_ns[joint] <= measured_ns or self._stamps_ns[joint] > ahead_ns:
                self._positions[joint], self._stamps_ns[joint], used = value, measured_ns, True
        return used

    def clear(self) -> None:
        """Forgets all positions; what was counted stays."""
        self.groups.clear()
        self._positions = [math.nan] * len(self._joints)
        self._stamps_ns = [-1] * len(self._joints)

    @property
    def complete(self) -> bool:
        """Whether every joint has been told."""
        return min(self._stamps_ns, default=0) >= 0

    @property
    def positions(self) -> NDArray[np.float64]:
        """[joints] in rad or m; NaN: not told yet. The caller's own."""
        return np.array(self._positions)

    @property
    def stamp_ns(self) -> int:
        """When the joint was measured whose measurement is the oldest; -1 if one has not been told yet."""
        return min(self._stamps_ns, default=-1)

    def ages_ns(self, now_ns: int) -> NDArray[np.int64]:
        """How old the measurement of each joint is, [joints]; a stamp slightly in the future is new."""
        return np.maximum(now_ns - np.array(self._stamps_ns, dtype=np.int64), 0)

    def problem(self, now_ns: int) -> str:
        """One sentence naming what is missing or stale, and what was refused since; empty if nothing is.

        It holds no number that differs from message to message.
        """
        missing = [name for name, stamp_ns in zip(self._joints, self._stamps_ns, strict=True) if stamp_ns < 0]
        # A stamp ahead of the clock is from before the clock was set back.
        oldest_ns, newest_ns = now_ns - self.rule.max_age_ns, now_ns + self.rule.future_tolerance_ns
        stamps = zip(self._joints, self._stamps_ns, strict=True)
        stale = [name for name, stamp_ns in stamps if not oldest_ns <= stamp_ns <= newest_ns]
        if missing:
            known = len(missing) < len(self._joints)
            text = f"no joint state of {_quoted(missing)} yet" if known or self._foreign else "no joint state yet"
            if self._foreign:
                text += f" (heard of {listed(self._foreign)})"
        elif stale:
            limit = f"is older than {self.rule.max_age_ns / 1e9:g} s"
            all_stale = len(stale) == len(self._joints)
            text = f"the last joint state {limit}" if all_stale else f"the last state of {_quoted(stale)} {limit}"
        else:
            return ""
        return text + (f" (refused: {self.refusals.text})" if self.refusals.text else "")


def _quoted(names: Sequence[str]) -> str:
    return listed(f"'{name}'" for name in names)
