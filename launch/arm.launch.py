"""Brings up the policy, the controller and, in simulation, the simulated SO-101.

    ros2 launch smolvla_ros arm.launch.py instruction:="touch the red cube"
    ros2 launch smolvla_ros arm.launch.py sim:=false checkpoint:=/path/to/checkpoint robot:=my_arm.yaml dry_run:=true

`smolvla-ros arm` does the same, with the same arguments, where launch is not installed.
"""

import dataclasses
import sys
from pathlib import Path

from launch.actions import DeclareLaunchArgument, ExecuteProcess, LogInfo, OpaqueFunction, Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue

from launch import Action, LaunchContext, LaunchDescription
from smolvla_ros.bringup import ArmOptions, CommandProcess, NodeProcess, arm_processes
from smolvla_ros.bringup.options import launch_text, typed_arguments

FIELDS = dataclasses.fields(ArmOptions)


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(field.name, default_value=launch_text(field.default), description=field.metadata["help"])
        for field in FIELDS
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[Action]:
    typed = typed_arguments(sys.argv, Path(__file__).name)  # with the misspelt ones, which are refused
    given = {field.name: LaunchConfiguration(field.name).perform(context) for field in FIELDS}
    options = ArmOptions.from_strings({**typed, **given})
    return [started(process) for process in arm_processes(options)]


def started(process: NodeProcess | CommandProcess) -> Action:
    ending = {
        "output": "screen",
        "sigterm_timeout": "2",
        "on_exit": end_the_others,
        "additional_env": dict(process.environment),
    }
    if not process.vital:
        ending["on_exit"] = LogInfo(msg=f"{process.name} ended; the others go on without it")
    if isinstance(process, CommandProcess):
        return ExecuteProcess(cmd=process.command, name=process.name, **ending)
    # The type is stated, or an instruction like "1" would arrive as a number.
    parameters = {
        name: ParameterValue(value, value_type=list[str] if isinstance(value, list) else type(value))
        for name, value in process.parameters.items()
    }
    return LifecycleNode(
        package="smolvla_ros",
        executable=process.name,
        name=process.name,
        namespace=process.namespace,
        parameters=[*map(str, process.parameter_files), parameters],
        remappings=[tuple(rule.split(":=")) for rule in process.remappings],
        ros_arguments=process.ros_arguments,
        **ending,
    )


def end_the_others(event: ProcessExited, context: LaunchContext) -> list[Action]:
    if context.is_shutdown:  # launch_ros fails when it is shut down a second time
        return []
    if event.returncode:  # an exception is what gives `ros2 launch` an exit code; it ends the others, too
        raise RuntimeError(f"{event.process_name} failed with exit code {event.returncode}: see its log above")
    return [Shutdown(reason=f"{event.process_name} ended")]
