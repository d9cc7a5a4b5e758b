"""What the expert would do, for anything that could be asked for: the labels of samples, and the expert as a policy.

A cube in the hand that is not the one meant is put down first, where it is: on the table, the plate or the bin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .grasping import Array, in_gripper, is_held
from .layout import PAN_AXIS_XY
from .manipulation import LIFT_M, Aim, Kind, Manipulator
from .scene import BIN_INNER_HALF_M, PLATE_RADIUS_M, SUPPORT_M
from .task import COLOURS
from .tasks import TASKS, Asked
from .world import World

# Height above what bears a cube at which the jaws let go; in the bin they stay clear of its walls.
_RELEASE_M = {"": 0.003, "plate": 0.003, "bin": 0.014}
# A cube farther away than this has rolled out of reach.
REACHABLE_M = 0.33


@dataclass(frozen=True)
class Things:
    """Where everything is: cubes [4, 3] and their half sizes [4] in the order of `COLOURS`, places by name [2]; m."""

    cubes: Array
    halves_m: Array
    places: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, world: World) -> Things:
        return cls(
            np.stack([world.cube_position(colour) for colour in COLOURS]),
            np.array([world.layout.cube(colour).half_size_m for colour in COLOURS]),
            world.layout.places,
        )

    @property
    def reachable(self) -> bool:
        return bool(np.hypot(*(self.cubes[:, :2] - PAN_AXIS_XY).T).max() < REACHABLE_M)

    def under(self, xy: Array) -> str:
        """The place at `xy`; '' is the table."""
        away = {name: np.asarray(place) - xy for name, place in self.places.items()}
        if "plate" in away and np.hypot(*away["plate"]) < PLATE_RADIUS_M:
            return "plate"
        return "bin" if "bin" in away and np.abs(away["bin"]).max() < BIN_INNER_HALF_M else ""


class Labeller:
    """The expert's answers. Never changes."""

    def __init__(self) -> None:
        self.manipulator = Manipulator()

    def held(self, joints: Array, things: Things) -> str:
        """The colour of the cube in the hand, or ''."""
        offset = things.cubes - self.manipulator.kinematics.point(joints)
        each = is_held(np.broadcast_to(joints, (len(COLOURS), 6)), offset, things.halves_m)
        return COLOURS[int(each.argmax())] if each.any() else ""

    def near(self, joints: Array, things: Things) -> Array:
        """Offsets (outward, sideways) of the four cubes, the plate and the bin from the grasp point [6, 2], m."""
        xy = np.concatenate([things.cubes[:, :2], [things.places["plate"], things.places["bin"]]])
        offset = xy - self.manipulator.kinematics.point(joints)[:2]
        return np.stack(in_gripper(np.broadcast_to(joints, (len(xy), 6)), offset), -1)

    def aim(self, joints: Array, things: Things, asked: Asked) -> tuple[Array, Aim]:
        """The cube that the next motion is about [3], and what is to be done with it."""
        kind, colour, place = TASKS[asked.task].kind, asked.colour, asked.place
        held = self.held(joints, things)
        if kind == Kind.STAY:
            colour = held or COLOURS[0]
        elif held and held != colour:
            kind, colour, place = Kind.PLACE, held, things.under(things.cubes[COLOURS.index(held), :2])
            asked = Asked("place", colour, "")
        index = COLOURS.index(colour)
        cube = things.cubes[index]
        xy = np.asarray(things.places[asked.place]) if asked.place else cube[:2]
        release = LIFT_M if kind == Kind.PICK else SUPPORT_M[place] + _RELEASE_M[place]
        values = (int(kind), things.halves_m[index], xy, SUPPORT_M[place], release)
        return cube, Aim(*(np.asarray(value) for value in values))

    def chunks(self, states: Sequence[tuple[Array, Things]], asked: Sequence[Asked], rows: int) -> Array:
        """The commands [states, asked, rows, 6] for each state and each thing that could be asked for."""
        pairs = [self.aim(joints, things, one) for joints, things in states for one in asked]
        joints = np.repeat(np.stack([joints for joints, _ in states]), len(asked), axis=0)
        cubes = np.stack([cube for cube, _ in pairs])
        chunks = self.manipulator.rollout(joints, cubes, Aim.stack([aim for _, aim in pairs]), rows)
        return chunks.reshape(len(states), len(asked), rows, 6)
