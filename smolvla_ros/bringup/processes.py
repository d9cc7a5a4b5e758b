"""The one list of what a bring-up starts. `launch/arm.launch.py` and `smolvla-ros arm` both read it."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ament_index_python.packages import PackageNotFoundError, get_package_prefix

from smolvla_ros.installation import executable, share_folder, transport_variables

from .options import ArmOptions, BringUpError

# The simulated arm opens its bus only when it has compiled its world.
_PORT_TIMEOUT_S = 60.0
ParameterValue = str | bool | int | float | list[str]


@dataclass(frozen=True)
class NodeProcess:
    """One node in a process of its own.

    `parameters` override those of the `parameter_files`, a later of which overrides an earlier one; `remappings` are
    FROM:=TO; `environment` is added to the inherited one.
    """

    name: str
    namespace: str
    parameter_files: tuple[Path, ...]
    log_level: str
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    remappings: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    vital: ClassVar[bool] = True

    @property
    def ros_arguments(self) -> list[str]:
        """What launch_ros has no own argument for: the level of this node's logger only, as rcl's own is of no use."""
        logger = ".".join(part for part in (*self.namespace.split("/"), self.name) if part)
        return ["--log-level", f"{logger}:={self.log_level}"]

    @property
    def command(self) -> list[str]:
        """The command line. It is executed without a shell: the instruction in it is any text."""
        arguments = ["-r", f"__node:={self.name}", "-r", f"__ns:=/{self.namespace.strip('/')}"]
        arguments += [word for rule in self.remappings for word in ("-r", rule)]
        files = [*self.parameter_files, *([self._own_file()] if self.parameters else [])]
        arguments += [word for file in files for word in ("--params-file", str(file))]
        # The executable's first line asks for the python3 on the path, which need not be this one.
        return [sys.executable, str(executable(self.name)), "--ros-args", *arguments, *self.ros_arguments]

    def _own_file(self) -> Path:
        """A parameter file with this node's full name: `-p` counts less than a section of an earlier file that names
        the node, so that such a file would undo a dry run.
        """
        node = "/".join(part for part in (*self.namespace.split("/"), self.name) if part)
        file = _own_folder() / f"{node.replace('/', '.')}.yaml"
        # JSON is YAML, and its quotes keep "1" or "yes" a string.
        content = {f"/{node}": {"ros__parameters": dict(self.parameters)}}
        file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        return file


@functools.cache
def _own_folder() -> Path:
    """Of this process's parameter files, which are read when a node starts."""
    folder = tempfile.mkdtemp(prefix="smolvla_ros_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@dataclass(frozen=True)
class CommandProcess:
    """A command of `smolvla-ros`, or any other, in a process of its own; nothing ends because it does."""

    name: str
    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    vital: ClassVar[bool] = False


def arm_processes(options: ArmOptions) -> tuple[NodeProcess | CommandProcess, ...]:
    """What `options` ask for: the policy, and for each arm the controller, the arm or its driver, cameras; a recorder
    and the view.

    Raises:
        BringUpError: an option names a file that does not exist.
    """
    nodes = [_policy(options)] if options.policy else []
    for arm in options.arm_names:
        nodes += [_node(options, name, values, arm) for name, values in _parameters_of_arm(options).items()]
    nodes += [teleop_process(options)] if options.leader else []
    nodes += [_node(options, "camera_node", {"device": device}, name) for name, device in options.cameras.items()]
    commands = [_recorder(options)] if options.bag else []
    commands += [_view(options)] if options.view else []
    for arm in options.arm_names:
        commands += _state_publisher(options, arm)
    return (*nodes, *commands)


def _policy(options: ArmOptions) -> NodeProcess:
    told = {name: value for name in ("instruction", "revision") if (value := getattr(options, name))}
    arms = {"arms": list(options.arm_names)} if options.arms else {}
    return _node(options, "policy_node", {"checkpoint": options.checkpoint_source, **told, **arms})


def _parameters_of_arm(options: ArmOptions) -> dict[str, dict[str, ParameterValue]]:
    """What each arm has of its own: parameters of its nodes by name."""
    parameters: dict[str, dict[str, ParameterValue]] = {"controller_node": {"dry_run": options.dry_run}}
    if options.so101:
        parameters["so101_node"] = {"port": options.so101}
    elif options.is_simulated:
        parameters["sim_node"] = {}
    if options.bus:
        port = str(Path(tempfile.gettempdir()) / f"smolvla_ros_servo_bus_{os.getpid()}")
        calibration = share_folder() / "config" / "so101_sim_calibration.json"
        parameters["sim_node"]["servo_bus"] = port
        parameters["controller_node"]["command_type"] = "joint_state"
        parameters["so101_node"] = {"port": port, "calibration": str(calibration), "port_timeout_s": _PORT_TIMEOUT_S}
    if options.episodes and options.policy:
        parameters["episode_node"] = {}
    return parameters


def teleop_process(options: ArmOptions) -> NodeProcess:
    """What reads the leader arm, also beside an arm that is up already."""
    leader = {"leader_port": options.leader, "leader_calibration": str(Path(options.leader_calibration).absolute())}
    return _node(options, "teleop_node", leader)


def _node(
    options: ArmOptions, name: str, parameters: Mapping[str, ParameterValue], inside: str = ""
) -> NodeProcess:
    """A node of the arm, in the namespace `inside` within the arm's."""
    if options.exit_on_failed_start:
        parameters = {**parameters, "exit_on_failed_start": True}
    return NodeProcess(
        name=name,
        namespace="/".join(part for part in (options.namespace.strip("/"), inside) if part),
        parameter_files=options.parameter_files,
        remappings=options.remap,
        log_level=options.log_level,
        parameters={**parameters, "use_sim_time": True} if options.use_sim_time else parameters,
        environment=transport_variables() | _variables(name),
    )


def _recorder(options: ArmOptions) -> CommandProcess:
    if Path(options.bag).exists():
        raise BringUpError(f"bag is '{options.bag}', which exists already; expected a new folder")
    arguments = ["--robot", str(options.robot_file), "--out", str(Path(options.bag).absolute())]
    arguments += ["--namespace", options.namespace, "--log-level", options.log_level]
    arguments += ["--use-sim-time"] if options.use_sim_time else []
    return CommandProcess("record", [sys.executable, str(executable("smolvla-ros")), "record", *arguments],
                          transport_variables() | _variables("record"))  # fmt: skip


def _view(options: ArmOptions) -> CommandProcess:
    command = [sys.executable, str(executable("smolvla-ros")), "view", "--namespace", options.namespace]
    return CommandProcess("view", command, transport_variables() | _variables("view"))


def _state_publisher(options: ArmOptions, arm: str) -> list[CommandProcess]:
    """Frames of the arm that ships, for RViz and Foxglove, where robot_state_publisher is installed (not from PyPI)."""
    name = "robot_state_publisher"
    if not (options.is_simulated or options.so101):
        return []  # the robot's own bring-up does it
    try:
        program = Path(get_package_prefix(name), "lib", name, name)
    except PackageNotFoundError:
        return []
    urdf = (share_folder() / "urdf" / "so101.urdf").read_text(encoding="utf-8")
    namespace = "/".join(part for part in (options.namespace.strip("/"), arm) if part)
    arguments = ["-r", f"__ns:=/{namespace}", "-p", f"robot_description:={json.dumps(urdf)}"]
    return [CommandProcess(name, [str(program), "--ros-args", *arguments], transport_variables())]


def _variables(name: str) -> dict[str, str]:
    """Thread counts and the renderer. The policy sets torch's threads itself, by its parameter."""
    wanted = {"PYTHONUNBUFFERED": "1"}
    if name != "policy_node":
        wanted |= {"OMP_NUM_THREADS": "1"}  # a pool of threads would only take cores from the network
    if name == "sim_node":
        wanted |= {"MUJOCO_GL": "egl"}  # no display needed
    return {key: value for key, value in wanted.items() if key not in os.environ}
