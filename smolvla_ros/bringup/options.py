"""The arguments of a bring-up: one declaration for `ros2 launch` and for the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .environment import share_folder

LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")


class BringUpError(ValueError):
    """An argument of the bring-up cannot be used; the text says what to give instead."""


def _argument(default: str | bool, text: str) -> str | bool:
    return dataclasses.field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class ArmOptions:
    """What to bring up. The fields are the arguments, their metadata the help texts."""

    sim: bool = _argument(True, "start the simulated SO-101; false: a real arm and its cameras run already")
    robot: str = _argument("", "robot config: the name of a shipped one or a YAML file; default: so101_sim or so101")
    checkpoint: str = _argument("", "folder or hub id of the policy; default in simulation: the one that ships")
    namespace: str = _argument("", "namespace of all nodes and topics, for several arms")
    instruction: str = _argument("", "instruction to start with; default: wait for `smolvla-ros say`")
    dry_run: bool = _argument(False, "compute and publish everything but the command to the arm")
    log_level: str = _argument("info", f"log level of the nodes: {', '.join(LOG_LEVELS)}")

    def __post_init__(self) -> None:
        if self.log_level not in LOG_LEVELS:
            raise BringUpError(f"log_level is '{self.log_level}', expected one of {', '.join(LOG_LEVELS)}")
        if not self.sim and not self.checkpoint:
            raise BringUpError("checkpoint is empty: the policy that ships was trained in simulation only, so a real "
                               "arm needs the checkpoint that was trained for it")

    @classmethod
    def from_strings(cls, values: Mapping[str, str]) -> ArmOptions:
        """Builds the options from launch arguments, which are all strings.

        Raises:
            BringUpError: a switch is neither true nor false, or an option cannot be used.
        """
        switches = {field.name for field in dataclasses.fields(cls) if isinstance(field.default, bool)}
        return cls(**{name: _switch(name, text) if name in switches else text for name, text in values.items()})

    @property
    def robot_file(self) -> Path:
        """The robot's parameter file.

        Raises:
            BringUpError: there is no such file.
        """
        robot = self.robot or ("so101_sim" if self.sim else "so101")
        shipped = share_folder() / "config"
        for file in (shipped / f"{robot}.yaml", Path(robot)):
            if file.is_file():
                return file.resolve()
        names = ", ".join(sorted(file.stem for file in shipped.glob("*.yaml")))
        raise BringUpError(f"robot is '{robot}', expected a YAML file or one of those that ship: {names}")

    @property
    def checkpoint_source(self) -> str:
        """The checkpoint as the policy node takes it: an absolute folder where there is one, else a hub id."""
        folder = Path(self.checkpoint).expanduser() if self.checkpoint else share_folder() / "checkpoints" / "demo"
        return str(folder.resolve()) if folder.exists() else self.checkpoint


def _switch(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise BringUpError(f"{name} is '{text}', expected true or false")
    return text.lower() == "true"
