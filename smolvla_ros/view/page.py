"""The page in the browser, by viser: the arm and its chunk in 3D, pictures, words, plots, an instruction box, Stop.

Threads: `update` belongs to one thread; the callbacks of buttons run in viser's own threads and only call `Actions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
import viser
import viser.uplot
from numpy.typing import NDArray
from viser.extras import ViserUrdf

from . import words
from .robot_model import RobotModel, RobotModelError
from .watched import HISTORY_S, ChunkAhead, Snapshot

_PATH_BLUE = (37, 99, 235)
_PATH_POINTS = 12
# An arm that moved less is not drawn anew: each time costs milliseconds.
_SEEN_RAD = 0.002
# Figures and plots are read, not watched: they change this much more seldom than the pictures.
_SLOW_EVERY = 3
_FRUSTUM_M = 0.04
# Viser has no size of buttons; the red one is Stop.
_STYLE = (
    '<style>.mantine-Button-root[style*="color-red"]'
    "{height:4rem !important;font-size:1.25rem !important;font-weight:700 !important}</style>"
)
_PICTURE_ROWS = 240
_SERIES = (
    viser.uplot.Series(label="s"),
    viser.uplot.Series(label="queue", stroke="#2563eb"),
    viser.uplot.Series(label="action age", stroke="#d97706"),
)


class Actions(Protocol):
    """What a person can do; every method returns at once, any thread may call it."""

    def say(self, text: str) -> None: ...

    def stop(self) -> None: ...

    def resume(self) -> None: ...

    def reset(self) -> None: ...


@dataclass
class _Drawn:
    """What was drawn last, so that only changes are sent."""

    chunk: tuple[int, int] = (0, 0)
    instructions: tuple[str, ...] = ()
    robot: str = ""
    arm: NDArray[np.float64] | None = None
    html: dict[str, str] = field(default_factory=dict)
    image_at_s: dict[str, float] = field(default_factory=dict)


class Page:
    """One viser server with everything on it.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, host: str, port: int, actions: Actions):
        self.server = viser.ViserServer(host=host, port=port, verbose=False, label="smolvla_ros")
        self._actions = actions
        self._model: RobotModel | None = None
        self._shape: ViserUrdf | None = None
        self._picture: viser.GuiImageHandle | None = None
        self._frusta: dict[str, viser.CameraFrustumHandle] = {}
        self._drawn = _Drawn()
        self._updates = 0
        self._build()

    @property
    def port(self) -> int:
        return int(self.server.get_port())

    @property
    def is_watched(self) -> bool:
        """Whether a browser shows it."""
        return bool(self.server.get_clients())

    def close(self) -> None:
        self.server.stop()

    def tell(self, title: str, text: str, good: bool) -> None:
        """Shows a note to everybody who looks."""
        for client in self.server.get_clients().values():
            client.add_notification(title, text, auto_close_seconds=6.0, color="green" if good else "red")

    def update(self, snapshot: Snapshot, now_s: float) -> None:
        """Brings the page up to date; not worth calling while nobody looks."""
        self._updates += 1
        self._show("banner", self._banner, words.banner(snapshot, now_s))
        self._show_robot(snapshot.robot)
        self._show_images(snapshot)
        self._show_arm(snapshot)
        if self._updates % _SLOW_EVERY == 0:
            self._show("joints", self._joints, words.joint_bars(snapshot))
            self._show("figures", self._figures, words.figures(snapshot, now_s))
            self._show("streams", self._streams, words.streams(snapshot, now_s))
            self._show("about", self._about, words.about(snapshot))
            self._show_history(snapshot, now_s)
            self._show_instructions(snapshot)

    # What it is made of.

    def _build(self) -> None:
        gui, scene = self.server.gui, self.server.scene
        self._use_theme(dark=False)
        gui.set_panel_label("smolvla_ros")
        scene.set_up_direction("+z")
        scene.configure_default_lights(cast_shadow=False)  # shadows cost more than everything else without a GPU
        scene.add_grid("/grid", width=1.0, height=1.0, cell_size=0.05, section_size=0.25)
        self.server.initial_camera.position, self.server.initial_camera.look_at = (0.75, -0.5, 0.5), (0.18, 0.0, 0.08)
        gui.add_html(_STYLE)
        self._banner = gui.add_html("")
        stop = gui.add_button("Stop  (space)", color="red", icon=None, hint="brakes and holds until Resume")
        stop.on_click(lambda _: self._actions.stop())
        command = gui.add_command("Stop the arm", description="brakes and holds until Resume", hotkey="space")
        command.on_trigger(lambda _: self._actions.stop())
        resume = gui.add_button("Resume", color="green")
        resume.on_click(lambda _: self._actions.resume())
        self._build_instruction()
        self._pictures = gui.add_folder("Cameras")
        with gui.add_folder("Joints: now (dot), the chunk's way (blue)"):
            self._joints = gui.add_html("")
        with gui.add_folder("Queue and age [s]"):
            empty = np.array([-HISTORY_S, 0.0])
            self._plot = gui.add_uplot(
                (empty, np.zeros(2), np.zeros(2)), _SERIES, aspect=2.2,
                scales={"x": viser.uplot.Scale(time=False, auto=True)},
            )  # fmt: skip
        with gui.add_folder("Figures"):
            self._figures = gui.add_html("")
        with gui.add_folder("Streams"):
            self._streams = gui.add_html("")
        with gui.add_folder("About"):
            self._about = gui.add_html("")
            dark = gui.add_checkbox("dark", False)
            dark.on_update(lambda _: self._use_theme(dark.value))
            reset = gui.add_button("Reset the simulation")
            reset.on_click(lambda _: self._actions.reset())

    def _build_instruction(self) -> None:
        gui = self.server.gui
        with gui.add_form("Instruction") as form:
            self._text = gui.add_text("say", "")
            form.on_submit(lambda _: self._actions.say(self._text.value))
        nothing = gui.add_button("Withdraw the instruction", color="gray", hint="no instruction, no motion")
        nothing.on_click(lambda _: self._actions.say(""))
        self._history = gui.add_dropdown("again", ("-",))
        self._history.on_update(lambda _: self._take_again())

    def _take_again(self) -> None:
        if self._history.value != "-":
            self._text.value = self._history.value  # type: ignore[misc]  # viser sets it by __setattr__

    def _use_theme(self, dark: bool) -> None:
        self.server.gui.configure_theme(
            control_layout="fixed", control_width="large", show_logo=False, show_share_button=False, dark_mode=dark
        )

    # Keeping it up to date.

    def _show(self, name: str, handle: viser.GuiHtmlHandle, html: str) -> None:
        if self._drawn.html.get(name) != html:
            self._drawn.html[name] = html
            handle.content = html

    def _show_robot(self, urdf: str) -> None:
        """Draws another arm from now on; one whose description cannot be read leaves the one before."""
        if urdf == self._drawn.robot:
            return
        self._drawn.robot = urdf
        try:
            model = RobotModel(urdf)
        except RobotModelError as error:
            self.tell("robot_description", str(error), good=False)
            return
        if self._shape is not None:
            self._shape.remove()
        self._drawn.arm = None
        self._model, self._shape = model, ViserUrdf(self.server, model.urdf, root_node_name="/robot")

    def _show_images(self, snapshot: Snapshot) -> None:
        at_s = {name: heard.at_s for name, heard in snapshot.images.items()}
        if not at_s or at_s == self._drawn.image_at_s:
            return
        self._drawn.image_at_s = at_s
        picture = side_by_side([heard.value for heard in snapshot.images.values()])
        if self._picture is None:
            with self._pictures:
                self._picture = self.server.gui.add_image(picture, format="jpeg")
        self._picture.image = picture
        self._pictures.label = "Cameras: " + ", ".join(at_s)
        for name, heard in snapshot.images.items():
            self._show_frustum(name, heard.value)

    def _show_frustum(self, name: str, image: NDArray[np.uint8]) -> None:
        """The picture where its camera hangs, if the robot's description has the optical frame of that name."""
        frame = f"{name}_optical_frame"
        if self._model is None or not self._model.has_frame(frame):
            return
        pose = self._model.frame(frame)
        wxyz = viser.transforms.SO3.from_matrix(pose[:3, :3]).wxyz
        if name not in self._frusta:
            self._frusta[name] = self.server.scene.add_camera_frustum(
                f"/cameras/{name}", fov=0.8, aspect=image.shape[1] / image.shape[0], scale=_FRUSTUM_M, image=image,
                thickness=2.0, thickness_units="screen", format="jpeg", wxyz=wxyz, position=pose[:3, 3],
            )  # fmt: skip
            return
        frustum = self._frusta[name]
        frustum.image, frustum.wxyz, frustum.position = image, wxyz, pose[:3, 3]

    def _show_arm(self, snapshot: Snapshot) -> None:
        if self._model is None or self._shape is None or snapshot.joints is None:
            return
        configuration = self._model.move(snapshot.joints.value)
        if self._drawn.arm is None or np.abs(configuration - self._drawn.arm).max(initial=0.0) > _SEEN_RAD:
            self._drawn.arm = configuration.copy()
            self._shape.update_cfg(configuration)
        chunk: ChunkAhead | None = snapshot.chunk.value if snapshot.chunk else None
        if chunk is None or (chunk.session, chunk.sequence) == self._drawn.chunk:
            return
        self._drawn.chunk = (chunk.session, chunk.sequence)
        rows = chunk.positions[:: max(1, len(chunk.positions) // _PATH_POINTS)]
        path = self._model.tool_path(chunk.joints, rows)
        if len(path) > 1:
            self.server.scene.add_line_segments(
                "/chunk", np.stack((path[:-1], path[1:]), axis=1), colors=_PATH_BLUE, thickness=0.004
            )
            self.server.scene.add_icosphere("/chunk_end", radius=0.006, color=_PATH_BLUE, position=path[-1])

    def _show_history(self, snapshot: Snapshot, now_s: float) -> None:
        if len(snapshot.history) >= 2:
            table = np.array([(point.at_s - now_s, point.queue_s, point.age_s) for point in snapshot.history])
            self._plot.data = (table[:, 0], table[:, 1], table[:, 2])

    def _show_instructions(self, snapshot: Snapshot) -> None:
        if snapshot.instructions != self._drawn.instructions:
            self._drawn.instructions = tuple(snapshot.instructions)
            self._history.options = ("-", *(text for text in snapshot.instructions if text))


def side_by_side(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """RGB pictures [H, W, 3] of any sizes in one row, `_PICTURE_ROWS` high."""
    scaled = []
    for image in images:
        columns = max(1, round(image.shape[1] * _PICTURE_ROWS / image.shape[0]))
        scaled.append(cv2.resize(image, (columns, _PICTURE_ROWS), interpolation=cv2.INTER_AREA))
    return np.hstack(scaled)
