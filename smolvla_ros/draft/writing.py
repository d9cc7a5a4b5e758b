"""The file itself: YAML with a comment wherever something was found, taken from elsewhere or guessed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from .found import CommandTopic, FoundRobot, ImageTopic
from .units import DraftJoint

# Slow, for the first day, as in the files that ship [rad/s, rad/s^2]; a gripper crosses its way in half a second.
_VELOCITY, _ACCELERATION = 1.0, 4.0
_GRIPPER_WAY_S = 0.5


@dataclass(frozen=True)
class Draft:
    """All that stands in the file. `commands` cover every joint once; `cameras` are by feature."""

    joints: tuple[DraftJoint, ...]
    cameras: Mapping[str, ImageTopic]
    commands: tuple[CommandTopic, ...]
    found: FoundRobot
    fps: float
    sources: Sequence[str]


def draft_text(draft: Draft) -> str:
    """The file's text."""
    lines = [
        f"# Written by `smolvla-ros init` from {' and '.join(draft.sources)}.",
        "# Next: `smolvla-ros check CHECKPOINT --robot THIS_FILE`, then a dry run and `smolvla-ros doctor`.",
        "# Every parameter with its unit and range: docs/reference/parameters.md.",
        "/**:",
        "  ros__parameters:",
        *_indented(_shared(draft)),
        "",
        "/**/policy_node:",
        "  ros__parameters:",
        *_indented(["device: cuda", "device_fallback: cpu"]),
        *_indented([f"step_s: {1.0 / draft.fps!r}  # {draft.fps:g} rows per second"]),
        "",
        "# Slow, for the first day: raise the limits once the arm has shown that it does what it is told.",
        "/**/controller_node:",
        "  ros__parameters:",
        *_indented(_controller(draft)),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _shared(draft: Draft) -> list[str]:
    names = {feature: feature.rpartition(".")[2] for feature in draft.cameras}
    lines = [f"cameras: {_flow(list(names.values()))}"]
    for feature, image in draft.cameras.items():
        record = {"feature": feature, "topic": image.topic, "transport": image.transport}
        lines.append(f"camera.{names[feature]}: {_flow(record)}{_of_image(image)}")
    joints = [joint.name for joint in draft.joints]
    telling = [topic for topic, told in draft.found.joint_states.items() if set(told) & set(joints)]
    if telling and telling != ["joint_states"]:
        lines.append(f"joint_states_topics: {_flow(telling)}")
    rates = ", ".join(f"{topic}: {draft.found.rates_hz.get(topic, 0.0):.0f} per second" for topic in telling)
    lines += [
        "# In the policy's order; its value = scale * position + offset, the position in rad or m."
        + (f" {rates}." if rates else ""),
        f"joints: {_flow(joints)}",
    ]
    for joint in draft.joints:
        described: dict[str, Any] = {"feature": joint.feature} if joint.feature else {}
        described |= {"scale": joint.scale, "offset": joint.offset} if joint.unit != "rad" else {}
        if described:
            lines.append(f"joint.{joint.name}: {_flow(described)}  # {_unit_text(joint)}")
    return lines


def _controller(draft: Draft) -> list[str]:
    lines = _commands(draft)
    grippers = [joint for joint in draft.joints if joint.gripper]
    for joint in draft.joints:
        velocity = _velocity(joint)
        record: dict[str, Any] = {
            "min_position": round(joint.lower, 4),
            "max_position": round(joint.upper, 4),
            "max_velocity": round(velocity, 4),
            "max_acceleration": round(10.0 * velocity, 4) if joint.gripper else _ACCELERATION,
        }
        if joint.gripper:
            way = round(max(joint.upper - joint.lower, 1e-3), 4)
            record |= {"max_step": way, "max_jump": way, "tracking_tolerance": way}
        lines.append(f"joint.{joint.name}: {_flow(record)}  # positions: {joint.limits_source}")
    if grippers:
        lines += [
            "# A gripper may snap, and closes on things that keep it from its command.",
            f"ease_in_exclude_joints: {_flow([joint.name for joint in grippers])}",
        ]
    return lines


def _commands(draft: Draft) -> list[str]:
    commands = draft.commands
    if len(commands) == 1:
        record = commands[0]
        lines = [f"command_type: {record.type}" + _heard_by(record), f"command_topic: {_flow(record.topic)}"]
        if list(record.joints) != [joint.name for joint in draft.joints]:
            lines.append(f"command_joints: {_flow(list(record.joints))}")
        return lines
    names = [record.topic.strip("/").replace("/", "_").replace("_joint_trajectory", "") for record in commands]
    lines = [f"command_groups: {_flow(names)}"]
    for name, record in zip(names, commands, strict=True):
        group = {"type": record.type, "topic": record.topic, "joints": list(record.joints)}
        lines.append(f"command.{name}: {_flow(group)}{_heard_by(record)}")
    return lines


def _velocity(joint: DraftJoint) -> float:
    usual = (joint.upper - joint.lower) / _GRIPPER_WAY_S if joint.gripper else _VELOCITY
    return max(1e-3, usual if math.isnan(joint.velocity) else min(usual, joint.velocity))


def _unit_text(joint: DraftJoint) -> str:
    if joint.unit == "rad":
        return "the policy counts in rad or m"
    return "degrees" if joint.unit == "degrees" else f"{joint.unit} of the way between its limits"


def _of_image(image: ImageTopic) -> str:
    if not image.rate_hz:
        return "  # nothing was heard on it: look"
    return f"  # {image.rate_hz:.0f} per second" + (f", {image.size}" if image.size else "")


def _heard_by(record: CommandTopic) -> str:
    return f"  # heard by {record.listener}" if record.listener else "  # nobody was asked: look"


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _flow(value: Any) -> str:
    """A value in one line of YAML."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=math.inf, sort_keys=False, allow_unicode=True)
    return text.removesuffix("...\n").strip()
