"""What playing a bag brings up, written once: `launch/replay.launch.py` and `smolvla-ros play` both read it.

The nodes run as on the robot, by the bag's time and without sending a command. Their parameters are those that the bag
tells of, unless a robot config is given.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from smolvla_ros.bags.names import StreamNames
from smolvla_ros.bags.playback import robot_topics
from smolvla_ros.bags.reader import Bag, open_bag
from smolvla_ros.bags.streams import described, recorded_parameters
from smolvla_ros.parameters import ParameterError, Value
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.parameters.files import read_parameters

from .options import ArmOptions, BringUpError, ReplayOptions

NODES = ("policy_node", "controller_node")
_CLOCK_HZ = 100


@dataclass(frozen=True)
class ReplayPlan:
    """The arm to bring up (None: none) and the topics of the bag to play."""

    arm: ArmOptions | None
    topics: tuple[str, ...]


def plan_replay(options: ReplayOptions, folder: Path) -> ReplayPlan:
    """What `options` ask for.

    Args:
        folder: where the parameters that the bag tells of are written as a file for the nodes.

    Raises:
        BagError: the bag cannot be read.
        BringUpError: the bag does not tell what was left out, or an option does not fit it.
    """
    with open_bag(options.bag) as bag:
        if options.start * 1e9 > bag.end_ns - bag.start_ns:
            raise BringUpError(f"start is {options.start:g} s, the bag has {(bag.end_ns - bag.start_ns) * 1e-9:.1f} s")
        told = recorded_parameters(bag, options.namespace)
        parameters = _controller_parameters(options, told)
        if not options.instruction:
            options = replace(options, instruction=_instruction(options, bag))
        return ReplayPlan(
            arm=None if options.topics_only else _arm(options, told, folder),
            topics=_topics(options, bag, parameters),
        )


def bag_play_command(options: ReplayOptions, topics: tuple[str, ...]) -> list[str]:
    """The command line of rosbag2 that plays these topics as `smolvla-ros play` does."""
    arguments = ["--clock", str(_CLOCK_HZ), "--rate", f"{options.rate:g}", "--start-offset", f"{options.start:g}"]
    arguments += ["--loop"] if options.loop else []
    arguments += ["--start-paused"] if options.start_paused else []
    arguments += ["--remap", *options.remap.split()] if options.remap else []
    return ["ros2", "bag", "play", options.bag, *arguments, "--topics", *topics]


def _topics(options: ReplayOptions, bag: Bag, parameters: ControllerParameters | None) -> tuple[str, ...]:
    chosen = options.topics.split() or robot_topics(bag.topics, parameters, StreamNames(options.namespace))
    unknown = [topic for topic in chosen if topic not in bag.topics]
    if unknown:
        raise BringUpError(f"topics holds {', '.join(unknown)}; the bag has {', '.join(bag.topics)}")
    return tuple(chosen)


def _instruction(options: ReplayOptions, bag: Bag) -> str:
    """The first instruction that the policy node told of, for a bag without the topic on which it was said."""
    names = StreamNames(options.namespace)
    description = names.resolve("policy_node/description")
    if names.resolve("instruction") in bag.topics or description not in bag.topics:
        return ""
    told = (described(message).get("instruction") for message in bag.read([description]))
    return next((text for text in told if isinstance(text, str) and text), "")


def _controller_parameters(
    options: ReplayOptions, told: Mapping[str, Mapping[str, Value]]
) -> ControllerParameters | None:
    """The controller's parameters, which name the command topics; None if nobody tells them."""
    try:
        if options.robot:
            file = ArmOptions(robot=options.robot).robot_file
            return read_parameters(file, "/controller_node", ControllerParameters)
        return ControllerParameters.from_values(told["controller_node"]) if "controller_node" in told else None
    except ParameterError as error:
        if options.topics_only and not options.robot:
            return None
        raise BringUpError(str(error) if options.robot else f"{options.bag}: {error}; give robot") from error


def _arm(options: ReplayOptions, told: Mapping[str, Mapping[str, Value]], folder: Path) -> ArmOptions:
    missing = [name for name in NODES if name not in told]
    if missing and not options.robot:
        raise BringUpError(
            f"{options.bag} does not tell the parameters of {' and '.join(missing)} (`smolvla-ros record` notes them): "
            "give robot and checkpoint, or topics_only"
        )
    checkpoint = options.checkpoint or str(told.get("policy_node", {}).get("checkpoint", ""))
    if not checkpoint:
        raise BringUpError(f"{options.bag} does not tell its checkpoint: give one")
    if os.path.isabs(checkpoint) and not Path(checkpoint).exists():
        raise BringUpError(f"the checkpoint {checkpoint} is not on this machine: give the folder of a copy")
    return ArmOptions(
        sim=False,
        robot=options.robot or str(_written(told, folder / "robot.yaml")),
        checkpoint=checkpoint,
        namespace=options.namespace,
        instruction=options.instruction,
        dry_run=True,
        episodes=False,
        use_sim_time=True,
        log_level=options.log_level,
    )


def _written(told: Mapping[str, Mapping[str, Value]], file: Path) -> Path:
    """Parameters as a file for the nodes. Empty lists are defaults, and rcl cannot tell their type."""
    sections = {
        f"/**/{name}": {"ros__parameters": {key: value for key, value in told[name].items() if value != []}}
        for name in NODES
    }
    file.write_text(yaml.safe_dump(sections), encoding="utf-8")
    return file
