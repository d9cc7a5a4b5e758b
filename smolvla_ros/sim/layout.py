"""Random layouts: where the cubes lie and how the scene looks, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .task import COLOURS

# Where cubes may lie, seen from the pan axis: well inside what the arm reaches (`kinematics.REACH_M`).
PAN_AXIS_XY = np.array([0.0388, 0.0])
RADIUS_M = (0.19, 0.315)
ANGLE_RAD = (-0.75, 0.75)
# Between centres: wide enough for the gripper to come down on one cube without brushing its neighbour.
SPACING_M = 0.078
HALF_SIZE_M = (0.018, 0.022)

_BASE_RGB = {
    "red": (0.78, 0.13, 0.12), "green": (0.13, 0.55, 0.22), "blue": (0.12, 0.30, 0.78), "yellow": (0.92, 0.74, 0.12),
}  # fmt: skip


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

    def cube(self, colour: str) -> Cube:
        return next(cube for cube in self.cubes if cube.colour == colour)

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Layout:
        cubes = tuple(
            Cube(
                colour,
                xy,
                float(rng.uniform(-np.pi / 4, np.pi / 4)),
                float(rng.uniform(*HALF_SIZE_M)),
                _shade(_BASE_RGB[colour], rng),
            )
            for colour, xy in zip(COLOURS, _places(rng), strict=True)
        )
        # The wrist camera sits on the arm: small errors there move the picture more.
        return cls(
            cubes,
            light_scale=float(rng.uniform(0.8, 1.15)),
            light_shift_m=_triple(rng, 0.25)[:2],
            table_scale=float(rng.uniform(0.85, 1.12)),
            camera_shift_m={"front": _triple(rng, 0.008), "wrist": _triple(rng, 0.002)},
            camera_turn_rad={"front": _triple(rng, 0.012), "wrist": _triple(rng, 0.02)},
        )


def _places(rng: np.random.Generator) -> list[tuple[float, float]]:
    """Places for all cubes, `SPACING_M` apart, uniform over the region's area."""
    while True:
        places: list[np.ndarray] = []
        for _ in range(200):
            radius = np.sqrt(rng.uniform(RADIUS_M[0] ** 2, RADIUS_M[1] ** 2))
            angle = rng.uniform(*ANGLE_RAD)
            place = PAN_AXIS_XY + radius * np.array([np.cos(angle), np.sin(angle)])
            if all(np.linalg.norm(place - other) >= SPACING_M for other in places):
                places.append(place)
            if len(places) == len(COLOURS):
                order = rng.permutation(len(places))  # the first place found is no likelier for any colour
                return [(float(places[i][0]), float(places[i][1])) for i in order]


def _shade(rgb: tuple[float, float, float], rng: np.random.Generator) -> tuple[float, float, float]:
    shaded = np.clip(np.array(rgb) * rng.uniform(0.85, 1.12) + rng.uniform(-0.03, 0.03, 3), 0.02, 1.0)
    return float(shaded[0]), float(shaded[1]), float(shaded[2])


def _triple(rng: np.random.Generator, bound: float) -> tuple[float, float, float]:
    x, y, z = rng.uniform(-bound, bound, 3)
    return float(x), float(y), float(z)
