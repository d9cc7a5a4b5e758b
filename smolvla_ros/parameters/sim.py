"""The simulated arm: the task, rates and sizes of what it publishes, the clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .declaration import parameter
from .node import NodeParameterSet
from .table import ParameterError

TaskName = Literal["touch", "pick", "place", "stay"]  # as in sim/tasks/, which needs MuJoCo


@dataclass(frozen=True)
class SimParameters(NodeParameterSet):
    """Settings of the sim node."""

    seed: int = parameter(0, "Decides where the cubes lie and how the scene looks, from the next ~/reset on.",
        minimum=0, maximum=2**62, live=True)
    scene: Literal["touch", "pick_place"] = parameter("touch", "What stands on the table: four cubes to touch, or "
        "smaller ones to grasp, with a plate and a bin.")
    task: TaskName = parameter("touch", "What counts as success on `task_verdict`; "
        "pick and place need the scene pick_place. A change of it, of `target` or of `place` starts a new task in the "
        "same scene.", live=True)
    target: Literal["red", "green", "blue", "yellow"] = parameter("red", "Colour of the cube that the task is about.",
        live=True)
    place: Literal["plate", "bin"] = parameter("plate", "Where the cube belongs when the task is to place it.",
        live=True)
    joint_states_rate_hz: float = parameter(100.0, "Rate of joint_states.", "Hz", 1.0, 200.0)
    camera_rate_hz: float = parameter(20.0, "Rate of each camera.", "Hz", 0.5, 100.0)
    image_width: int = parameter(96, "Width of the cameras' images.", "px", 16, 1920)
    image_height: int = parameter(96, "Height of the cameras' images.", "px", 16, 1080)
    viewer_rate_hz: float = parameter(10.0, "Rate of viewer/image_raw, a picture for people; rendered only while "
        "somebody subscribes.", "Hz", 0.5, 60.0)
    viewer_width: int = parameter(480, "Width of the viewer's images.", "px", 16, 1920)
    viewer_height: int = parameter(360, "Height of the viewer's images.", "px", 16, 1080)
    viewer_shadows: bool = parameter(False, "Shadows and smooth edges for the viewer; without a GPU thirty times "
        "slower.")
    servo_bus: str = parameter("", "Path of a link to the serial port of an emulated servo bus, through which alone "
        "the arm then tells and takes joint positions: so101_node drives it as a real one. Empty: topics.")
    publish_clock: bool = parameter(False, "Publish /clock, and stamp everything with that time; for nodes with "
        "use_sim_time.")
    real_time_factor: float = parameter(1.0, "Simulated seconds per second. Other than 1 only makes sense with "
        "publish_clock.", minimum=0.05, maximum=10.0)

    def __post_init__(self) -> None:
        if self.task in ("pick", "place") and self.scene == "touch":
            raise ParameterError([f"parameter 'task' is '{self.task}', which needs scene 'pick_place', found 'touch'"])
