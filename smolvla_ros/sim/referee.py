"""Watches an episode and says how far it got, from the physics only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .manipulation import Kind
from .task import COLOURS
from .tasks import TASKS, Asked
from .world import World

_LIFTED_M = 0.02
_MOVED_M = 0.03
_STILL_RAD = 0.10


@dataclass(frozen=True)
class Verdict:
    """How far an episode got.

    Attributes:
        success: the task's own test held for as long as it must; for `stay`, nothing moved.
        reached: a finger pressed on the named cube.
        grasped: it was lifted.
        right_object: no other cube was lifted, nor touched first where touching is the task.
        placed: it rests where it was to be put (place only).
        dropped: having been lifted, it lies somewhere else and no finger is on it.
        moved_wrongly: another cube was lifted or moved by more than 3 cm, or the arm moved though told to hold still.
    """

    success: bool
    reached: bool
    grasped: bool
    right_object: bool
    placed: bool
    dropped: bool
    moved_wrongly: bool


class Referee:
    """One episode from here on; `watch` after each step of the world."""

    def __init__(self, world: World, asked: Asked):
        self._world, self.asked, self._task = world, asked, TASKS[asked.task]
        self._start = {colour: world.cube_position(colour) for colour in COLOURS}
        self._joints = world.joint_positions()
        self._since_s: float | None = None
        self._done = self._reached = self._grasped = self._wrong = self._arm_moved = False

    def watch(self) -> None:
        """Looks at the world as it is now."""
        world, asked = self._world, self.asked
        pressed = world.pressed()
        risen = {c for c in COLOURS if world.cube_position(c)[2] > self._start[c][2] + _LIFTED_M and c in pressed}
        self._reached |= asked.colour in pressed
        self._grasped |= asked.colour in risen
        self._wrong |= bool(risen - {asked.colour})
        if self._task.kind == Kind.TOUCH:  # on the way to grasping, a finger may brush a neighbour
            self._wrong |= world.touched() not in ("", asked.colour)
        if not self._done:
            self._arm_moved |= bool(np.abs(world.joint_positions() - self._joints).max() > _STILL_RAD)
        if not self._task.is_done(world, asked):
            self._since_s = None
        elif self._since_s is None:
            self._since_s = world.time_s
        if self._since_s is not None and world.time_s - self._since_s >= self._task.done_s - 1e-6:
            self._done = True

    @property
    def decided(self) -> bool:
        """Nothing that happens now changes the verdict: done, or the wrong cube touched where touching is all."""
        return self._done or (self._task.kind == Kind.TOUCH and bool(self._world.touched()))

    def verdict(self) -> Verdict:
        moved = any(
            np.hypot(*(self._world.cube_position(c) - self._start[c])[:2]) > _MOVED_M
            for c in COLOURS if c != self.asked.colour
        )  # fmt: skip
        still = not self._task.names_cube
        placed = self._done and bool(self.asked.place)
        held = self.asked.colour in self._world.pressed()
        return Verdict(
            success=self._done and not (still and self._arm_moved),
            reached=self._reached,
            grasped=self._grasped,
            right_object=not self._wrong,
            placed=placed,
            dropped=self._grasped and not placed and not held,
            moved_wrongly=moved or (still and self._arm_moved),
        )
