"""Plays a bag to the policy and the controller, which run by its time and send no command.

    ros2 launch smolvla_ros replay.launch.py bag:=/path/to/bag
    ros2 launch smolvla_ros replay.launch.py bag:=/path/to/bag rate:=0.5 loop:=true checkpoint:=/path/to/another

`smolvla-ros play` does the same, with the same arguments, where rosbag2 is not installed.
"""

import dataclasses
import sys
import tempfile
from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnShutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.events.lifecycle import StateTransition

from launch import Action, EventHandler, LaunchContext, LaunchDescription
from smolvla_ros.bringup import ArmOptions, ReplayOptions
from smolvla_ros.bringup.options import launch_text, typed_arguments
from smolvla_ros.bringup.replay import bag_play_command, plan_replay

FIELDS = dataclasses.fields(ReplayOptions)


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(field.name, default_value=launch_text(field.default), description=field.metadata["help"])
        for field in FIELDS
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[Action]:
    typed = typed_arguments(sys.argv, Path(__file__).name)  # with the misspelt ones, which are refused
    given = {field.name: LaunchConfiguration(field.name).perform(context) for field in FIELDS}
    options = ReplayOptions.from_strings({**typed, **given})
    folder = tempfile.TemporaryDirectory(prefix="smolvla_ros_")
    plan = plan_replay(options, Path(folder.name))
    play = ExecuteProcess(cmd=bag_play_command(options, plan.topics), output="screen", on_exit=end_the_nodes)
    if plan.arm is None:
        return [play]
    return [
        arm(plan.arm),
        # It loads for seconds; what is played meanwhile would be lost on it.
        RegisterEventHandler(EventHandler(matcher=policy_is_active, entities=[play])),
        RegisterEventHandler(OnShutdown(on_shutdown=lambda *_: folder.cleanup())),
    ]


def arm(options: ArmOptions) -> Action:
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    texts = {name: launch_text(value) for name, value in given.items()}
    return IncludeLaunchDescription(str(Path(__file__).with_name("arm.launch.py")), launch_arguments=texts.items())


def end_the_nodes(event: ProcessExited, context: LaunchContext) -> list[Action]:
    # launch_ros fails when it is shut down a second time.
    return [] if context.is_shutdown else [Shutdown(reason="the bag has ended")]


def policy_is_active(event: object) -> bool:
    if not isinstance(event, StateTransition) or event.goal_state != "active":
        return False
    return event.action.node_name.endswith("/policy_node")
