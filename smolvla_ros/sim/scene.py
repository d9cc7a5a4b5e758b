"""The scenes: an arm at a table with four cubes to touch, and the same with a plate, a bin and jaws that grasp.

`so101.xml` holds the arm and the cubes. The scene for picking and placing is the same file with other shapes and
contacts where things are grasped, so there is one arm.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from .cameras import mujoco
from .task import COLOURS

Scene = Literal["touch", "pick_place"]
SCENES = get_args(Scene)

PLACES = ("plate", "bin")
PLATE_RADIUS_M = 0.042
BIN_INNER_HALF_M = 0.036
# Height of what bears a cube.
SUPPORT_M = {"": 0.0, "plate": 0.006, "bin": 0.003}

FINGERS = ("fixed_jaw", "moving_jaw", "fixed_pad", "moving_pad")

_ARM = Path(__file__).with_name("so101.xml")
# Jaws must not sink into a cube: with MuJoCo's default contacts they go 8 mm deep, and the grasp shifts meanwhile.
_STIFF: dict[str, Any] = {"solref": [0.004, 1.0], "solimp": [0.98, 0.995, 0.001, 0.5, 2.0], "condim": 4}
_CUBE_HALF_M = 0.015
_GRIPPER_TORQUE_NM = 1.0
# To the side: on the arm's middle line the moving jaw hides the cube that is about to be grasped.
_WRIST_CAMERA_SHIFT_M = 0.025


def load_model(scene: Scene = "touch") -> mujoco.MjModel:
    """The compiled scene."""
    spec = mujoco.MjSpec.from_file(str(_ARM))
    if scene == "pick_place":
        _make_graspable(spec)
        _add_plate(spec.worldbody)
        _add_bin(spec.worldbody)
    return spec.compile()


def _make_graspable(spec: mujoco.MjSpec) -> None:
    """Smaller cubes, flat pads inside both jaws, contacts that hold."""
    for colour in COLOURS:
        _set(spec.geom(colour), size=[_CUBE_HALF_M] * 3, friction=[0.8, 0.01, 0.001], **_STIFF)
        _set(spec.geom(f"{colour}_shade"), size=[0.017, 0.017, 0.0004], pos=[0.0, 0.0, -0.015])
    pads = {
        "fixed": ("gripper", [0.003, 0.009, 0.0165], [-0.0058, 0.0, -0.0823], [0.99705, 0.0, -0.07677, 0.0]),
        "moving": ("moving_jaw", [0.003, 0.0165, 0.009], [-0.0147, -0.0543, 0.019], [0.99491, 0.0, 0.0, -0.10074]),
    }
    for side, (body, size, pos, quat) in pads.items():
        _set(spec.geom(f"{side}_jaw"), friction=[1.2, 0.01, 0.001], **_STIFF)
        spec.body(body).add_geom(
            name=f"{side}_pad", type=mujoco.mjtGeom.mjGEOM_BOX, size=size, pos=pos, quat=quat, material="finger",
            mass=0.0, contype=2, conaffinity=1, friction=[1.2, 0.02, 0.001], **_STIFF,
        )  # fmt: skip
    spec.actuator("gripper").forcerange = [-_GRIPPER_TORQUE_NM, _GRIPPER_TORQUE_NM]
    spec.actuator("gripper").forcelimited = True
    spec.camera("wrist").pos[1] += _WRIST_CAMERA_SHIFT_M


def _add_plate(world: Any) -> None:
    body = world.add_body(name="plate", mocap=True, pos=[0.2, 0.2, 0.0])
    half_m = SUPPORT_M["plate"] / 2
    body.add_geom(
        name="plate", type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=[PLATE_RADIUS_M, half_m, 0.0], pos=[0.0, 0.0, half_m],
        rgba=[0.95, 0.95, 0.97, 1.0], contype=1, conaffinity=3,
    )  # fmt: skip
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=[0.028, half_m + 0.0002, 0.0], pos=[0.0, 0.0, half_m],
        rgba=[0.80, 0.84, 0.90, 1.0], contype=0, conaffinity=0,
    )  # fmt: skip


def _add_bin(world: Any) -> None:
    body = world.add_body(name="bin", mocap=True, pos=[0.2, -0.2, 0.0])
    half_m = SUPPORT_M["bin"] / 2
    boxes = [((0.038, 0.038, half_m), (0.0, 0.0, half_m), (0.22, 0.22, 0.26, 1.0))]
    for sign in (-1.0, 1.0):
        boxes.append(((0.0025, 0.0405, 0.011), (sign * 0.038, 0.0, 0.011), (0.45, 0.30, 0.55, 1.0)))
        boxes.append(((0.0405, 0.0025, 0.011), (0.0, sign * 0.038, 0.011), (0.45, 0.30, 0.55, 1.0)))
    for index, (size, pos, rgba) in enumerate(boxes):
        body.add_geom(
            name="bin" if index == 0 else f"bin_wall_{index}", type=mujoco.mjtGeom.mjGEOM_BOX, size=size, pos=pos,
            rgba=rgba, contype=1, conaffinity=3,
        )  # fmt: skip


def _set(element: Any, **values: Any) -> None:
    for name, value in values.items():
        setattr(element, name, value)
