"""The arguments of a bring-up: one declaration for `ros2 launch` and for the command line."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from smolvla_ros.installation import share_folder

LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")


class BringUpError(ValueError):
    """An argument of the bring-up cannot be used; the text says what to give instead."""


def typed_arguments(command: Sequence[str], launch_file: str) -> dict[str, str]:
    """The NAME:=VALUE of a `ros2 launch` command, if it is this launch file that it names.

    Launch itself takes any name, and what is misspelt does nothing. A launch file that includes this one may have
    arguments of its own.
    """
    names_it = any(Path(word).name == launch_file for word in command)
    pairs = (word.partition(":=") for word in command if ":=" in word)
    return {name: value for name, _, value in pairs} if names_it else {}


def launch_text(value: str | bool | float | tuple[str, ...]) -> str:
    """A value as a launch argument: `BringupOptions.from_strings` reads it back."""
    if isinstance(value, tuple):
        return " ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _argument(default: str | bool | float | tuple[str, ...], text: str) -> Any:
    """A field of `Options`."""
    return dataclasses.field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class BringupOptions:
    """Arguments of a bring-up: the fields are the arguments, their metadata the help texts."""

    @classmethod
    def from_strings(cls, values: Mapping[str, str]) -> Self:
        """Builds the options from launch arguments, which are all strings.

        Raises:
            BringUpError: there is no such argument, a text is no value of its argument, or an option cannot be used.
        """
        types = {field.name: type(field.default) for field in dataclasses.fields(cls)}
        for name in values.keys() - types.keys():
            meant = difflib.get_close_matches(name, types, n=1)
            hint = f": did you mean '{meant[0]}'?" if meant else f"; there are {', '.join(types)}"
            raise BringUpError(f"'{name}' is no launch argument{hint}")
        return cls(**{name: _READERS[types[name]](name, text) for name, text in values.items()})


@dataclass(frozen=True)
class ArmOptions(BringupOptions):
    """What to bring up."""

    sim: bool = _argument(True, "start the simulated SO-101; false: a real arm and its cameras run already")
    robot: str = _argument("", "robot config: the name of a shipped one or a YAML file; default: so101_sim or so101")
    so101: str = _argument("", "serial port of an SO-100 or SO-101: drive it with so101_node, not the simulation; "
                           "needs the robot config that `smolvla-ros robot-from-lerobot` writes")
    bus: str = _argument("", "emulated: drive the simulated arm by so101_node, as a real one, over an emulated bus")
    camera: tuple[str, ...] = _argument((), "NAME=DEVICE: start camera_node for NAME; a device, a part of its stable "
                                        "name, or a video file")
    leader: str = _argument("", "serial port of a leader arm, by which a person commands; needs leader_calibration")
    leader_calibration: str = _argument("", "LeRobot's calibration file of the leader arm")
    policy: bool = _argument(True, "start the policy; false: a person commands, see `smolvla-ros teleop`")
    checkpoint: str = _argument("", "folder or hub id of the policy; default in simulation: the one that ships")
    revision: str = _argument("", "commit, tag or branch of a hub id")
    namespace: str = _argument("", "namespace of all nodes and topics, for several arms")
    arms: str = _argument("", "names of several arms that one policy moves, such as left,right: each has its "
                          "controller and topics below its name")
    instruction: str = _argument("", "instruction to start with; default: wait for `smolvla-ros say`")
    dry_run: bool = _argument(False, "compute and publish everything but the command to the arm")
    use_sim_time: bool = _argument(False, "take the time from /clock: for simulators of others, and for bags")
    episodes: bool = _argument(True, "start episode_node, which `smolvla-ros run` needs")
    bag: str = _argument("", "record all of it to a new bag in this folder")
    view: bool = _argument(False, "serve the live view, for a browser on this machine, and print its address")
    params: str = _argument("", "ROS parameter file for all nodes, read after the robot config: its values count more")
    remap: tuple[str, ...] = _argument((), "FROM:=TO: remap a topic or service of all nodes, such as "
                                       "front/image_raw:=/camera/color/image_raw")
    exit_on_failed_start: bool = _argument(False, "end everything when a node cannot be configured or activated; else "
                                           "it stays up, to be mended and configured anew")
    log_level: str = _argument("info", f"log level of the nodes: {', '.join(LOG_LEVELS)}")

    def __post_init__(self) -> None:
        _check_log_level(self.log_level)
        if self.so101 and not self.robot:
            raise BringUpError("so101 needs a robot config with the calibration of this arm: write it with "
                               "`smolvla-ros robot-from-lerobot --calibration FILE --out my_arm.yaml`, then give robot")
        if self.bus not in ("", "emulated"):
            raise BringUpError(f"bus is '{self.bus}', expected emulated; the port of a real arm is given as so101")
        if self.bus and not self.is_simulated:
            raise BringUpError("the emulated bus is of the simulated arm: leave bus out with so101, and without sim")
        if self.camera and self.is_simulated:
            raise BringUpError("camera is given, and the simulated arm has cameras of its own: give so101, or no sim")
        for camera in self.camera:
            if camera.count("=") != 1 or not all(camera.split("=")):
                raise BringUpError(f"camera is '{camera}', expected NAME=DEVICE, such as front=/dev/video0")
        self._check_arms()
        for rule in self.remap:
            if rule.count(":=") != 1 or not all(rule.split(":=")):
                raise BringUpError(f"remap is '{rule}', expected FROM:=TO, such as front/image_raw:=/camera/image_raw")
        if self.params and not Path(self.params).is_file():
            raise BringUpError(f"params is '{self.params}', and there is no such file; expected a ROS parameter file")
        if bool(self.leader) != bool(self.leader_calibration):
            raise BringUpError("leader and leader_calibration go together: the port of the leader arm, and LeRobot's "
                               "calibration file of it")
        if self.leader and self.policy:
            raise BringUpError("leader would command from the start, and the policy would never: leave policy out, or "
                               "run `smolvla-ros teleop` when you want to take over")
        if self.policy and not self.is_simulated and not self.checkpoint:
            raise BringUpError("checkpoint is empty: the policy that ships was trained in simulation only, so a real "
                               "arm needs the checkpoint that was trained for it")

    def _check_arms(self) -> None:
        names = self.arms.split(",")
        if self.arms and not all(map(str.isidentifier, names)):
            raise BringUpError(f"arms is '{self.arms}', expected names of letters, digits and _, such as left,right")
        if len(set(names)) < len(names):
            raise BringUpError(f"arms is '{self.arms}', expected each name once")
        for name in ("so101", "bus", "camera", "leader", "bag", "view"):
            if self.arms and getattr(self, name):
                raise BringUpError(f"{name} is of one arm, and arms names {len(names)}: leave it out, and start what "
                                   f"belongs to one arm in its namespace, such as --namespace {names[0]}")

    @property
    def arm_names(self) -> tuple[str, ...]:
        """The arms; one without a name where none is named."""
        return tuple(self.arms.split(","))

    @property
    def is_simulated(self) -> bool:
        """Whether the arm is the simulated one."""
        return self.sim and not self.so101

    @property
    def cameras(self) -> dict[str, str]:
        """Devices of the cameras to start, by name."""
        return dict(camera.split("=") for camera in self.camera)

    @property
    def parameter_files(self) -> tuple[Path, ...]:
        """What the nodes read, in this order: a later file's values count more. Raises BringUpError."""
        return (self.robot_file, Path(self.params).resolve()) if self.params else (self.robot_file,)

    @property
    def robot_file(self) -> Path:
        """The robot's parameter file.

        Raises:
            BringUpError: there is no such file.
        """
        robot = self.robot or ("so101_sim" if self.is_simulated else "so101")
        shipped = share_folder() / "config"
        for file in (shipped / f"{robot}.yaml", shipped / "robots" / f"{robot}.yaml", Path(robot)):
            if file.is_file():
                return file.resolve()
        names = ", ".join(sorted(file.stem for file in shipped.rglob("*.yaml")))
        raise BringUpError(f"robot is '{robot}', expected a YAML file or one of those that ship: {names}")

    @property
    def checkpoint_source(self) -> str:
        """The checkpoint as the policy node takes it: an absolute folder where there is one, else a hub id."""
        folder = Path(self.checkpoint).expanduser() if self.checkpoint else share_folder() / "checkpoints" / "demo"
        return str(folder.resolve()) if folder.exists() else self.checkpoint


@dataclass(frozen=True)
class ReplayOptions(BringupOptions):
    """How a bag is played, and to what."""

    bag: str = _argument("", "folder or file of the bag")
    robot: str = _argument("", "robot config: the name of a shipped one or a YAML file; default: what the bag tells")
    checkpoint: str = _argument("", "folder or hub id of the policy; default: what the bag tells")
    namespace: str = _argument("", "namespace of the robot in the bag, and of the nodes")
    instruction: str = _argument("", "instruction to start with, for a bag that holds none")
    rate: float = _argument(1.0, "seconds of the bag per second")
    start: float = _argument(0.0, "where to begin, in seconds from the start of the bag")
    loop: bool = _argument(False, "begin again at the end")
    start_paused: bool = _argument(False, "wait for the service ~/resume, or the space key")
    topics: str = _argument("", "topics to play, separated by spaces; default: all that the robot said")
    remap: str = _argument("", "'A:=B C:=D' plays topic A of the bag as B, and C as D")
    topics_only: bool = _argument(False, "only play: start neither policy nor controller")
    log_level: str = _argument("info", "log level of the nodes")

    def __post_init__(self) -> None:
        _check_log_level(self.log_level)
        if not self.bag:
            raise BringUpError("bag is empty, expected the folder or file of a bag")
        if not 0.01 <= self.rate <= 100.0:
            raise BringUpError(f"rate is {self.rate:g}, expected 0.01 to 100 seconds of the bag per second")
        if self.start < 0.0:
            raise BringUpError(f"start is {self.start:g} s, expected 0 or more")
        for rule in self.remap.split():
            if len(rule.split(":=")) != 2:
                raise BringUpError(f"remap holds '{rule}', expected the form A:=B")


def _check_log_level(log_level: str) -> None:
    """Raises BringUpError for one that ROS does not have."""
    if log_level not in LOG_LEVELS:
        raise BringUpError(f"log_level is '{log_level}', expected one of {', '.join(LOG_LEVELS)}")


def _switch(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise BringUpError(f"{name} is '{text}', expected true or false")
    return text.lower() == "true"


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise BringUpError(f"{name} is '{text}', expected a number") from None


_READERS: dict[type, Callable[[str, str], str | bool | float | tuple[str, ...]]] = {
    str: lambda _, text: text,
    tuple: lambda _, text: tuple(text.split()),
    bool: _switch,
    float: _number,
}
