"""States set by hand, without physics: the arm somewhere on the way of some task, and cubes where they would be then.

Demonstrations hold only what the expert meets. These cover what a wrong action leads to, and every stage in proportion
to how hard it is: coming down on a cube, closing, carrying, letting go.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .grasping import GRASP_POINT_M, TIP_POINT_M, Array, GraspKinematics, held_outward, in_gripper, jaw_angle, jaw_face
from .labels import Things
from .layout import REGIONS, Layout
from .manipulation import CLOSED_RAD, LIFT_M, OPEN_RAD
from .scene import PLACES, SUPPORT_M
from .task import COLOURS
from .world import HOME

_STAGES = {"free": 0.20, "grasp": 0.28, "carry": 0.30, "leave": 0.10, "touch": 0.12}
_GRASP_HEIGHT_M = 0.013
_LOWEST_M = 0.004
_ALREADY_PLACED = 0.12


@dataclass(frozen=True)
class DrawnState:
    """Joints [6], where everything is, yaws [4] of the cubes, and the colour that the state is about."""

    joints: Array
    things: Things
    yaws: Array
    colour: str


class StateDrawer:
    """Draws states in one layout. One thread."""

    def __init__(self, kinematics: GraspKinematics, layout: Layout, rng: np.random.Generator):
        self._kinematics, self._layout, self._rng = kinematics, layout, rng
        self._halves = np.array([cube.half_size_m for cube in layout.cubes])

    def draw(self) -> DrawnState:
        """A state with the grasp point above the table."""
        while True:
            state = self._draw()
            if self._kinematics.point(state.joints)[2] > _LOWEST_M:
                return state

    def _draw(self) -> DrawnState:
        rng = self._rng
        stage = rng.choice(list(_STAGES), p=list(_STAGES.values()))
        index, place = int(rng.integers(len(COLOURS))), str(rng.choice(PLACES))
        cubes = np.array([[*cube.xy, cube.half_size_m] for cube in self._layout.cubes])
        self._put_others_away(cubes, index, place if stage == "leave" else "")
        yaws = np.array([cube.yaw for cube in self._layout.cubes])
        joints = getattr(self, f"_{stage}")(cubes, index, place)
        if stage == "carry":
            yaws[index] = -joints[0] + rng.normal(0.0, 0.05)
        return DrawnState(joints, Things(cubes, self._halves, self._layout.places), yaws, COLOURS[index])

    def _put_others_away(self, cubes: Array, index: int, kept_free: str) -> None:
        """Some of the other cubes already lie in a place."""
        rng = self._rng
        for other in range(len(COLOURS)):
            place = str(rng.choice(PLACES))
            xy = np.asarray(self._layout.places[place])
            taken = np.hypot(*(cubes[:, :2] - xy).T).min() < 0.03
            if other != index and rng.random() < _ALREADY_PLACED and place != kept_free and not taken:
                cubes[other] = [*(xy + rng.uniform(-0.012, 0.012, 2)), SUPPORT_M[place] + self._halves[other]]

    def _free(self, cubes: Array, index: int, place: str) -> Array:
        """At home, where every episode begins, or anywhere above the table."""
        rng = self._rng
        if rng.random() < 0.45:
            joints = HOME.copy()
        else:
            jaw = OPEN_RAD if rng.random() < 0.5 else rng.uniform(CLOSED_RAD, OPEN_RAD)
            joints = self._kinematics.joints([*REGIONS["pick_place"].draw_xy(rng), rng.uniform(0.03, 0.15)], jaw)
            joints[4] += rng.normal(0.0, 0.06)
        return np.asarray(joints + rng.normal(0.0, 0.02, 6) * (rng.random() < 0.5))

    def _grasp(self, cubes: Array, index: int, place: str) -> Array:
        """In the funnel over the cube and down, the jaw open to closed; a closing jaw has pushed the cube."""
        rng, half = self._rng, self._halves[index]
        away = abs(rng.normal(0.0, 0.02))
        low = cubes[index, 2] - half + _GRASP_HEIGHT_M
        height = low + (abs(rng.normal(0.0, 0.006)) if rng.random() < 0.5 else rng.uniform(0.0, 0.09))
        near = height < low + 0.022
        if near:
            away = min(away, abs(rng.normal(0.0, 0.007)))
        jaw = OPEN_RAD if rng.random() < 0.5 else rng.uniform(jaw_angle(2 * half) - 0.02, OPEN_RAD)
        joints = self._kinematics.joints([*(cubes[index, :2] + self._towards(away)), height], jaw)
        outward, sideways = in_gripper(joints, cubes[index] - self._kinematics.point(joints))
        if near and abs(sideways) < 0.012:
            face = jaw_face(jaw) - half - GRASP_POINT_M[0]
            pushed = max(min(float(outward), float(face)), float(held_outward(half)))
            cubes[index, :2] += (pushed - outward) * _outwards(joints)
        return self._disturbed(joints, (0.0, 0.01))

    def _carry(self, cubes: Array, index: int, place: str) -> Array:
        """With the cube in hand: just lifted, on the way, or over a place; the cube is put between the jaws."""
        rng, half = self._rng, self._halves[index]
        start, goal = cubes[index, :2].copy(), np.asarray(self._layout.places[place])
        where = rng.random()
        if where < 0.30:
            xy = start + rng.normal(0.0, 0.004, 2)
            under = abs(rng.normal(0.0, 0.003)) if rng.random() < 0.4 else rng.uniform(0.0, LIFT_M + 0.02)
        elif where < 0.62:
            part = rng.random()
            xy, under = start * (1 - part) + goal * part + rng.normal(0.0, 0.02, 2), rng.uniform(0.045, 0.095)
        else:
            xy = goal + self._towards(abs(rng.normal(0.0, 0.014)))
            release = SUPPORT_M[place] + (0.003 if place == "plate" else 0.014)
            under = release + (abs(rng.normal(0.0, 0.004)) if rng.random() < 0.5 else rng.uniform(0.0, 0.07))
        joints = self._kinematics.joints(
            [*xy, under + _GRASP_HEIGHT_M + rng.normal(0.0, 0.002)], jaw_angle(2 * half) + rng.uniform(-0.02, 0.022)
        )
        joints = self._disturbed(joints, (0.0, 0.01, 0.02))
        grasp, out = self._kinematics.point(joints), _outwards(joints)
        rest, aside = held_outward(half) + rng.normal(0.0, 0.002), rng.normal(0.0, 0.003)
        cubes[index, :2] = grasp[:2] + rest * out + aside * np.array([-out[1], out[0]])
        cubes[index, 2] = grasp[2] - _GRASP_HEIGHT_M + half + rng.normal(0.0, 0.004)
        return joints

    def _leave(self, cubes: Array, index: int, place: str) -> Array:
        """Has let go of the cube in its place: the jaw opens, then the arm rises."""
        rng, half = self._rng, self._halves[index]
        goal = np.asarray(self._layout.places[place])
        cubes[index] = [*(goal + rng.normal(0.0, 0.006, 2)), SUPPORT_M[place] + half]
        if rng.random() < 0.2:
            return self._free(cubes, index, place)
        rise = abs(rng.normal(0.0, 0.004)) if rng.random() < 0.5 else rng.uniform(0.0, 0.09)
        jaw = OPEN_RAD if rise > 0.03 and rng.random() < 0.7 else rng.uniform(jaw_angle(2 * half) + 0.03, OPEN_RAD)
        shift = float(held_outward(half)) if rng.random() < 0.5 else rng.uniform(-0.008, 0.008)
        out = _outwards(self._kinematics.joints(cubes[index], jaw))
        position = [*(cubes[index, :2] - shift * out), cubes[index, 2] - half + _GRASP_HEIGHT_M + rise]
        return self._disturbed(self._kinematics.joints(position, jaw), (0.0, 0.01))

    def _touch(self, cubes: Array, index: int, place: str) -> Array:
        """With the jaw closed over a cube or on it."""
        rng = self._rng
        top = cubes[index, 2] + self._halves[index]
        height = top + (rng.normal(0.0, 0.004) if rng.random() < 0.4 else rng.uniform(0.0, 0.07))
        away = abs(rng.normal(0.0, 0.03)) if height > top + 0.02 else abs(rng.normal(0.0, 0.006))
        jaw = 0.1 + abs(rng.normal(0.0, 0.05))
        position = [*(cubes[index, :2] + self._towards(away)), max(height, top - 0.006)]
        return self._disturbed(self._kinematics.joints(position, jaw, TIP_POINT_M), (0.0, 0.01))

    def _towards(self, distance_m: float) -> Array:
        turn = self._rng.uniform(-np.pi, np.pi)
        return distance_m * np.array([np.cos(turn), np.sin(turn)])

    def _disturbed(self, joints: Array, spreads_rad: tuple[float, ...]) -> Array:
        spread = self._rng.choice(spreads_rad)
        return np.asarray(joints + self._rng.normal(0.0, spread, 6) * [1.0, 1.0, 1.0, 1.0, 1.0, 0.3])


def _outwards(joints: Array) -> Array:
    """The horizontal direction in which the arm points [2]."""
    return np.array([np.cos(joints[0]), -np.sin(joints[0])])
