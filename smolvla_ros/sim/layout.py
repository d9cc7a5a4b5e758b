"""Random layouts: where the cubes lie and how the scene looks, drawn from a seed."""

from __future__ import annotations

from colorsys import rgb_to_hsv
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .scene import PLACES, Scene
from .task import COLOURS

PAN_AXIS_XY = np.array([0.0388, 0.0])


@dataclass(frozen=True)
class Region:
    """Where things may lie, seen from the pan axis, and how cubes look there.

    Cubes are turned by at most `yaw_rad` from the table's axes, or from the direction in which the gripper comes.
    `spacing_m` is between centres of cubes: wide enough for the gripper to come down without brushing a neighbour.
    """

    radius_m: tuple[float, float]
    angle_rad: tuple[float, float]
    spacing_m: float
    half_size_m: tuple[float, float]
    yaw_rad: float
    radial_yaw: bool

    def draw_xy(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """A point, uniform over the region's area."""
        radius = np.sqrt(rng.uniform(self.radius_m[0] ** 2, self.radius_m[1] ** 2))
        angle = rng.uniform(*self.angle_rad)
        return np.asarray(PAN_AXIS_XY + radius * np.array([np.cos(angle), np.sin(angle)]))


# Well inside what the arm reaches (`kinematics.REACH_M`); for grasping, where the gripper still points straight down.
REGIONS: dict[Scene, Region] = {
    "touch": Region((0.19, 0.315), (-0.75, 0.75), 0.078, (0.018, 0.022), np.pi / 4, radial_yaw=False),
    "pick_place": Region((0.16, 0.235), (-0.9, 0.9), 0.060, (0.0125, 0.0145), 0.25, radial_yaw=True),
}
# Between centres of the two places, and of a cube and a place: room for the open jaws.
_PLACE_SPACING_M = 0.095
_CLEARANCE_M = {"plate": 0.074, "bin": 0.083}

_BASE_RGB = {
    "red": (0.78, 0.13, 0.12), "green": (0.13, 0.55, 0.22), "blue": (0.12, 0.30, 0.78), "yellow": (0.92, 0.74, 0.12),
}  # fmt: skip


def base_hues_deg() -> list[float]:
    """Hue of each of `COLOURS`, before its shade is drawn."""
    return [360 * rgb_to_hsv(*_BASE_RGB[colour])[0] for colour in COLOURS]


@dataclass(frozen=True)
class Cube:
    """One cube on the table; position of its centre from above in m, yaw in rad."""

    colour: str
    xy: tuple[float, float]
    yaw: float
    half_size_m: float
    rgb: tuple[float, float, float]

    @property
    def top_m(self) -> float:
        return 2 * self.half_size_m


@dataclass(frozen=True)
class Layout:
    """Everything that a seed decides: the cubes (one of each colour), light and the cameras' small errors."""

    cubes: tuple[Cube, ...]
    light_scale: float
    light_shift_m: tuple[float, float]
    table_scale: float
    camera_shift_m: dict[str, tuple[float, float, float]]
    camera_turn_rad: dict[str, tuple[float, float, float]]
    places: dict[str, tuple[float, float]] = field(default_factory=dict)  # plate and bin, where there are any

    def cube(self, colour: str) -> Cube:
        return next(cube for cube in self.cubes if cube.colour == colour)

    @classmethod
    def draw(cls, rng: np.random.Generator, scene: Scene = "touch") -> Layout:
        region = REGIONS[scene]
        places, positions = _draw_positions(rng, region, with_places=scene == "pick_place")
        cubes = tuple(
            Cube(
                colour,
                xy,
                _yaw(region, xy, rng),
                float(rng.uniform(*region.half_size_m)),
                _shade(_BASE_RGB[colour], rng),
            )
            for colour, xy in zip(COLOURS, positions, strict=True)
        )
        # The wrist camera sits on the arm: small errors there move the picture more.
        return cls(
            cubes,
            light_scale=float(rng.uniform(0.8, 1.15)),
            light_shift_m=_triple(rng, 0.25)[:2],
            table_scale=float(rng.uniform(0.85, 1.12)),
            camera_shift_m={"front": _triple(rng, 0.008), "wrist": _triple(rng, 0.002)},
            camera_turn_rad={"front": _triple(rng, 0.012), "wrist": _triple(rng, 0.02)},
            places=places,
        )


def _yaw(region: Region, xy: tuple[float, float], rng: np.random.Generator) -> float:
    turn = float(rng.uniform(-region.yaw_rad, region.yaw_rad))
    return turn + float(np.arctan2(xy[1], xy[0] - PAN_AXIS_XY[0])) if region.radial_yaw else turn


def _draw_positions(
    rng: np.random.Generator, region: Region, with_places: bool
) -> tuple[dict[str, tuple[float, float]], list[tuple[float, float]]]:
    """Positions of plate and bin (if there are any) and of all cubes, clear of each other."""
    while True:
        places = {name: region.draw_xy(rng) for name in PLACES} if with_places else {}
        if with_places and np.linalg.norm(places["plate"] - places["bin"]) < _PLACE_SPACING_M:
            continue
        cubes: list[NDArray[np.float64]] = []
        for _ in range(200):
            xy = region.draw_xy(rng)
            clear = all(np.linalg.norm(xy - place) >= _CLEARANCE_M[name] for name, place in places.items())
            if clear and all(np.linalg.norm(xy - other) >= region.spacing_m for other in cubes):
                cubes.append(xy)
            if len(cubes) == len(COLOURS):
                order = rng.permutation(len(cubes))  # the first place found is no likelier for any colour
                return {name: _pair(xy) for name, xy in places.items()}, [_pair(cubes[i]) for i in order]


def _pair(xy: NDArray[np.float64]) -> tuple[float, float]:
    return float(xy[0]), float(xy[1])


def _shade(rgb: tuple[float, float, float], rng: np.random.Generator) -> tuple[float, float, float]:
    shaded = np.clip(np.array(rgb) * rng.uniform(0.85, 1.12) + rng.uniform(-0.03, 0.03, 3), 0.02, 1.0)
    return float(shaded[0]), float(shaded[1]), float(shaded[2])


def _triple(rng: np.random.Generator, bound: float) -> tuple[float, float, float]:
    x, y, z = rng.uniform(-bound, bound, 3)
    return float(x), float(y), float(z)
