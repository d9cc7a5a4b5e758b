"""The world: a SO-101 on a table with one cube of each colour (and a plate and a bin, see `scene`), in MuJoCo.

`World` has no clock and no thread of its own: `step(dt)` moves it on by `dt` seconds. Units are rad, m and s, and
joints go in the order of `JOINTS`. One thread at a time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .cameras import Renderer, mujoco
from .layout import Layout
from .scene import FINGERS, Scene, load_model
from .task import COLOURS

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
CAMERAS = ("front", "wrist")
# Folded back, clear of every cube and out of the front camera's view of them.
HOME = np.array([0.0, -1.0, 0.6, 1.2, 0.0, 0.1])
PICTURE_SIZE = (96, 96)

_SETTLE_S = 0.1


class World:
    """A seeded scene with its physics.

    Args:
        seed: decides the layout, see `reset`.
        picture_size: height and width of what `render` gives.
        scene: what stands on the table.
    """

    def __init__(self, seed: int = 0, picture_size: tuple[int, int] = PICTURE_SIZE, scene: Scene = "touch"):
        self.scene = scene
        self.model = load_model(scene)
        self.data = mujoco.MjData(self.model)
        self._picture_size = picture_size
        self._renderers: dict[tuple[int, int, bool], Renderer] = {}
        self._pristine = load_model(scene)
        self._joint_qpos = [self.model.joint(name).qposadr[0] for name in JOINTS]
        self._joint_dofs = [self.model.joint(name).dofadr[0] for name in JOINTS]
        self._is_finger = np.array([self.model.geom(i).name in FINGERS for i in range(self.model.ngeom)])
        self._cube_index = np.full(self.model.ngeom, -1)
        self._cube_index[[self.model.geom(colour).id for colour in COLOURS]] = range(len(COLOURS))
        self._range = self.model.jnt_range[[self.model.joint(name).id for name in JOINTS]].copy()
        self.reset(seed)

    # Time and episodes.

    def reset(self, seed: int, layout: Layout | None = None) -> None:
        """Lays the scene out from `seed` (or as `layout` says), with the arm at rest at `HOME`; time starts at 0."""
        self.layout = layout or Layout.draw(np.random.default_rng(seed), self.scene)
        mujoco.mj_resetData(self.model, self.data)
        self._dress(self.layout)
        for name, xy in self.layout.places.items():
            self.data.mocap_pos[self.model.body(name).mocapid[0], :2] = xy
        for cube in self.layout.cubes:
            self.place_cube(cube.colour, (*cube.xy, cube.half_size_m), cube.yaw)
        self.place_arm(HOME)
        self._touched = ""
        self._excused: set[str] = set()
        self._unstepped_s = 0.0
        self.step(_SETTLE_S)
        self.data.time = 0.0

    def step(self, dt_s: float) -> None:
        """Moves the physics on by `dt_s`; what is less than one physics step is kept for the next call."""
        timestep_s = self.model.opt.timestep
        self._unstepped_s += dt_s
        while self._unstepped_s >= timestep_s - 1e-9:
            mujoco.mj_step(self.model, self.data)
            self._unstepped_s -= timestep_s
            self._watch_contacts()

    @property
    def time_s(self) -> float:
        """Simulated time since the reset."""
        return float(self.data.time)

    # The arm.

    def joint_positions(self) -> NDArray[np.float64]:
        """Measured joint positions [6], rad."""
        return self.data.qpos[self._joint_qpos].copy()

    def joint_velocities(self) -> NDArray[np.float64]:
        """Measured joint velocities [6], rad/s."""
        return self.data.qvel[self._joint_dofs].copy()

    def joint_efforts(self) -> NDArray[np.float64]:
        """Torques of the servos [6], Nm."""
        return self.data.actuator_force.copy()

    def targets(self) -> NDArray[np.float64]:
        """What the servos were last told [6], rad."""
        return self.data.ctrl.copy()

    def set_targets(self, positions: ArrayLike) -> None:
        """Tells the servos where to go [6], rad; values past a joint's range are held at its end, as the servos do."""
        self.data.ctrl[:] = np.clip(np.asarray(positions, float), self._range[:, 0], self._range[:, 1])

    def place_arm(self, positions: ArrayLike) -> None:
        """Puts the arm at rest at `positions` [6] without moving through anything."""
        self.data.qpos[self._joint_qpos] = positions
        self.data.qvel[self._joint_dofs] = 0.0
        self.set_targets(positions)
        mujoco.mj_forward(self.model, self.data)

    # The cubes.

    def touched(self) -> str:
        """The colour of the first cube that the fingers touched since the reset; '' before that."""
        return self._touched

    def forget_touch(self) -> None:
        """Starts the next task without a new layout: `touched` is '' until a finger meets a cube.

        The cube touched last and those under the fingers now do not count: while leaving one, a finger can brush it.
        """
        self._excused = self.pressed() | {self._touched}
        self._touched = ""

    def cube_position(self, colour: str) -> NDArray[np.float64]:
        """Centre of a cube [3], m."""
        return self.data.body(colour).xpos.copy()

    def pressed(self) -> set[str]:
        """Colours of the cubes that a finger presses on at this moment."""
        pairs = self.data.contact.geom[self.data.contact.dist <= 0.0]
        fingers, others = self._is_finger[pairs], self._cube_index[pairs[:, ::-1]]
        return {COLOURS[i] for i in others[fingers & (others >= 0)]}

    def move_cube(self, colour: str, xy: tuple[float, float]) -> None:
        """Puts a cube elsewhere on the table at once, as a person would between two pictures."""
        self.place_cube(colour, (*xy, self.layout.cube(colour).half_size_m), yaw=0.0)
        mujoco.mj_forward(self.model, self.data)

    def place_cube(self, colour: str, position: ArrayLike, yaw: float) -> None:
        """Puts a cube's centre at `position` [3], at rest; seen after the next `step` or `place_arm`."""
        address = self.model.body(colour).jntadr[0]
        start = self.model.jnt_qposadr[address]
        self.data.qpos[start : start + 7] = [*np.asarray(position), np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        velocity = self.model.jnt_dofadr[address]
        self.data.qvel[velocity : velocity + 6] = 0.0

    # Pictures.

    def render(self, camera: str, size: tuple[int, int] | None = None, shadows: bool = False) -> NDArray[np.uint8]:
        """The present picture of a camera ('front', 'wrist', or 'viewer' for people): uint8 RGB [H, W, 3]."""
        key = (*(size or self._picture_size), shadows)
        if key not in self._renderers:
            self._renderers[key] = Renderer(self.model, key[0], key[1], shadows)
        self._renderers[key].capture(self.data, camera)
        return self._renderers[key].draw()

    def close(self) -> None:
        """Frees the OpenGL contexts; in the thread that rendered."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def _dress(self, layout: Layout) -> None:
        """Gives the model the looks of `layout`; sizes only shrink, so that MuJoCo's bounding volumes stay valid."""
        model, pristine = self.model, self._pristine
        for cube in layout.cubes:
            model.geom(cube.colour).size[:] = cube.half_size_m
            model.geom(cube.colour).rgba[:3] = cube.rgb
            model.geom(f"{cube.colour}_shade").pos[2] = 0.0006 - cube.half_size_m
        model.light_diffuse[:] = pristine.light_diffuse * layout.light_scale
        model.light_pos[0, :2] = pristine.light_pos[0, :2] + layout.light_shift_m
        table = model.mat("table")
        table.rgba[:3] = np.clip(pristine.mat("table").rgba[:3] * layout.table_scale, 0.0, 1.0)
        for camera, shift in layout.camera_shift_m.items():
            model.camera(camera).pos[:] = pristine.camera(camera).pos + shift
            turn = np.zeros(4)
            mujoco.mju_euler2Quat(turn, np.array(layout.camera_turn_rad[camera]), "xyz")
            mujoco.mju_mulQuat(model.camera(camera).quat, pristine.camera(camera).quat, turn)

    def _watch_contacts(self) -> None:
        if not self._touched:
            new = self.pressed() - self._excused
            self._touched = min(new, default="")  # two within one physics step: any fixed choice
