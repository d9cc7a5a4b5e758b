"""Which joint, camera and command topic of the robot is which of the policy's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from .expected import ExpectedFeatures
from .found import CommandTopic, FoundRobot, ImageTopic
from .questions import DraftError, Questions

_NOISE = re.compile(r"observation\.images?\.|\.pos$|^main_|_joint$|_joint(?=_?\d)|[^a-z0-9]")
_IMAGE_NOISE = re.compile(r"image_raw|image_color|image_rect|compressed|color|rgb|camera|cam|image|[^a-z0-9]")
_GRIPPER = re.compile(r"gripper|finger|knuckle|drive_joint|jaw|hand", re.IGNORECASE)


def is_gripper(*names: str) -> bool:
    """Whether a joint opens and closes something, by its names."""
    return any(_GRIPPER.search(name) for name in names)


def matched_joints(
    expected: ExpectedFeatures, found: FoundRobot, given: Sequence[str], questions: Questions
) -> tuple[str, ...]:
    """The robot's joint for each value of the policy, in its order.

    Args:
        given: said by the person, in the policy's order; empty: nothing was said.

    Raises:
        DraftError: it cannot be known.
    """
    there = found.joints
    if given:
        if len(given) != expected.size:
            raise DraftError(f"--joints names {len(given)} joints, {expected.source} has {expected.size} values: "
                             f"{', '.join(expected.names or ()) or 'without names'}")  # fmt: skip
        unknown = [name for name in given if there and name not in there]
        if unknown:
            raise DraftError(f"--joints names {', '.join(unknown)}; the robot tells of {', '.join(there)}")
        return tuple(given)
    if expected.names is None:
        raise DraftError(f"{expected.source} does not name its {expected.size} values: give --joints with their names "
                         f"in ROS, in its order (the robot tells of {', '.join(there) or 'none'})")  # fmt: skip
    if not there:
        return tuple(re.sub(r"\.pos$", "", name) for name in expected.names)
    return _paired(expected.names, there, questions)


def _paired(names: Sequence[str], there: Sequence[str], questions: Questions) -> tuple[str, ...]:
    """By name where exactly one joint has it, else by asking."""
    found = {name: [joint for joint in there if _plain(joint) == _plain(name)] for name in names}
    certain = {name: joints[0] for name, joints in found.items() if len(joints) == 1}
    left = [joint for joint in there if joint not in certain.values()]
    open_names = [name for name in names if name not in certain]
    grippers = [joint for joint in left if is_gripper(joint)]
    if len(open_names) == len(grippers) == 1 and is_gripper(open_names[0]):  # there is but one of its kind
        certain[open_names[0]] = grippers[0]
        open_names = []
    for name in open_names:
        certain[name] = questions.choose(f"which joint of the robot is '{name}'?", left, "--joints with all names")
        left.remove(certain[name])
    return tuple(certain[name] for name in names)


def matched_cameras(
    features: Sequence[str], found: FoundRobot, given: Mapping[str, str], questions: Questions
) -> dict[str, ImageTopic]:
    """The topic that feeds each image feature.

    Args:
        given: topics that the person has said, by feature or by its last part.

    Raises:
        DraftError: it cannot be known, or a feature is named that the policy does not have.
    """
    short = {feature.rpartition(".")[2]: feature for feature in features}
    unknown = [name for name in given if name not in short and name not in features]
    if unknown:
        raise DraftError(f"--camera names {', '.join(unknown)}; the policy has {', '.join(short) or 'no camera'}")
    said = {short.get(name, name): topic for name, topic in given.items()}
    known = {image.topic.strip("/"): image for image in found.images}
    chosen = {feature: known.get(topic.strip("/")) or image_topic(topic) for feature, topic in said.items()}
    for feature in features:
        if feature in chosen:
            continue
        name = feature.rpartition(".")[2]
        if not found.images:
            chosen[feature] = image_topic(f"{name}/image_raw")
            continue
        left = [image for image in found.images if image not in chosen.values()]
        same = [image for image in left if _IMAGE_NOISE.sub("", image.topic.lower()) == _IMAGE_NOISE.sub("", name)]
        if not same and len(features) == 1 and len({_source(image) for image in left}) == 1:
            same = left
        if same and len({_source(image) for image in same}) == 1:
            chosen[feature] = min(same, key=lambda image: image.transport)  # the compressed one: it costs the least
            continue
        topic = questions.choose(
            f"which pictures are '{name}'?", [image.topic for image in left], f"--camera {name}=TOPIC"
        )
        chosen[feature] = known[topic.strip("/")]
    return {feature: chosen[feature] for feature in features}


def matched_commands(
    joints: Sequence[str], found: FoundRobot, given: Sequence[CommandTopic], questions: Questions
) -> tuple[CommandTopic, ...]:
    """The topics that together take commands for all joints, none for two of them.

    Raises:
        DraftError: there are several ways, or none.
    """
    wanted = set(joints)
    candidates = list(given) or [topic for topic in found.commands if set(topic.joints) <= wanted]
    if not candidates and not found.joints:
        return (CommandTopic("joint_trajectory", "joint_trajectory_controller/joint_trajectory", tuple(joints)),)
    if len(candidates) == 1 and not candidates[0].joints:
        return (replace(candidates[0], joints=tuple(joints)),)
    chosen: list[CommandTopic] = []
    option = "--command TYPE=TOPIC[:JOINT,JOINT,...] for each controller of the robot"
    for joint in joints:
        if any(joint in topic.joints for topic in chosen):
            continue
        telling = [topic for topic in candidates if joint in topic.joints]
        ways = telling or [topic for topic in candidates if not topic.joints]
        named = {f"{topic.type}={topic.topic}": topic for topic in ways}
        if len(named) == 1:
            (picked,) = named.values()
        else:
            picked = named[questions.choose(f"where is '{joint}' commanded?", list(named), option)]
        if not picked.joints:  # it does not tell: all that no other one takes
            rest = tuple(name for name in joints if not any(name in topic.joints for topic in (*chosen, *candidates)))
            picked = replace(picked, joints=rest)
        chosen.append(picked)
    doubled = {joint for topic in chosen for joint in topic.joints if sum(joint in t.joints for t in chosen) > 1}
    if doubled:
        raise DraftError(f"{', '.join(sorted(doubled))} would be commanded twice: give --command for each controller")
    return tuple(chosen)


def image_topic(topic: str) -> ImageTopic:
    """A topic by its name alone."""
    return ImageTopic(topic, "compressed" if topic.endswith("/compressed") else "raw")


def _plain(name: str) -> str:
    return _NOISE.sub("", name.lower())


def _source(image: ImageTopic) -> str:
    return image.topic.removesuffix("/compressed")
