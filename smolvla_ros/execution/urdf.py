"""Limits of the joints out of a robot description (URDF).

The text comes from outside: its size is capped, and document types, in which entities grow without bound, are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from xml.etree import ElementTree

_MAX_CHARACTERS = 4_000_000
_MOVABLE = ("revolute", "prismatic", "continuous")
_RUN_XACRO = ": it is the source of a description; run xacro on it, and publish what that writes"
_DOCUMENT_TYPE = re.compile(r"<!\s*(DOCTYPE|ENTITY)")


class UrdfError(ValueError):
    """The text is no robot description that can be used; the message says why."""


@dataclass(frozen=True)
class UrdfLimits:
    """Limits of one joint in rad or m, s; NaN where the description says nothing.

    `placeholders` are attributes that stand there and say nothing, such as velocity="0", by what they should limit;
    `mimics` is the joint that moves this one; empty: none does.
    """

    lower: float = math.nan
    upper: float = math.nan
    velocity: float = math.nan
    acceleration: float = math.nan
    placeholders: Mapping[str, str] = field(default_factory=dict)
    mimics: str = ""


def read_limits(text: str) -> dict[str, UrdfLimits]:
    """The limits of every movable joint by name: the narrowest of <limit>, <safety_controller> and <ros2_control>.

    A continuous joint has no position limits. `acceleration` is an attribute of newer descriptions only. A mimic joint
    has limits of its own like any other; `mimic="false"` in <ros2_control> makes it none. A speed of 0 or less, and
    lower = upper = 0, are placeholders.

    Raises:
        UrdfError: the text is not XML, not a robot, a joint stands twice, or a limit is not a number.
    """
    root = _parsed(text)
    limits: dict[str, UrdfLimits] = {}
    for joint in root.findall("joint"):
        if joint.get("type") not in _MOVABLE:
            continue
        name = joint.get("name", "")
        if name in limits:
            raise UrdfError(f"robot_description has the joint '{name}' twice, expected each name once")
        limits[name] = _limits(joint, name)
    for joint in root.findall("ros2_control/joint[@mimic='false']"):
        if joint.get("name") in limits:
            limits[joint.get("name", "")] = replace(limits[joint.get("name", "")], mimics="")
    for name, narrower in _of_ros2_control(root):
        if name in limits:
            limits[name] = _narrowed(limits[name], narrower)
    return limits


def _parsed(text: str) -> ElementTree.Element:
    if len(text) > _MAX_CHARACTERS:
        raise UrdfError(f"robot_description has {len(text)} characters, expected at most {_MAX_CHARACTERS}")
    if _DOCUMENT_TYPE.search(text):
        raise UrdfError("robot_description has a document type or entities (<!DOCTYPE, <!ENTITY), which are not read: "
                        "expected plain elements, as xacro writes them")  # fmt: skip
    try:
        # White space or a byte-order mark before the XML declaration is no XML, and common.
        root = ElementTree.fromstring(text.lstrip("\ufeff \t\r\n"))
    except ElementTree.ParseError as error:
        hint = _RUN_XACRO if "xacro:" in text else ""
        raise UrdfError(f"robot_description is not well-formed XML: {error}{hint}") from error
    except (ValueError, RecursionError) as error:
        raise UrdfError(f"robot_description is not XML: {error}") from error
    if root.tag != "robot":
        raise UrdfError(f"robot_description begins with <{root.tag[:100]}>, expected <robot>")
    macro = next((element.tag for element in root if "xacro" in str(element.tag)), None)
    if macro is not None:
        raise UrdfError(f"robot_description has <{macro[:100]}>, a macro{_RUN_XACRO}")
    return root


def _limits(joint: ElementTree.Element, name: str) -> UrdfLimits:
    """Of one joint: its <limit>, and the soft limits where they are narrower."""
    limit, soft = joint.find("limit"), joint.find("safety_controller")
    found = UrdfLimits()
    if limit is not None:
        # Absent position attributes of a <limit> mean 0 (http://wiki.ros.org/urdf/XML/joint).
        lower, upper = (_number(limit.get(key, "0"), name, key) for key in ("lower", "upper"))
        speed, acceleration = (
            _number(limit.attrib[key], name, key) if key in limit.attrib else math.nan
            for key in ("velocity", "acceleration")
        )
        placeholders = {}
        if joint.get("type") == "continuous":
            lower = upper = math.nan
        elif lower == upper == 0.0:
            lower = upper = math.nan
            placeholders["position"] = 'lower="0" upper="0"'
        if speed <= 0.0:
            placeholders["velocity"] = f'velocity="{limit.get("velocity")}"'
            speed = math.nan
        acceleration = acceleration if acceleration > 0.0 else math.nan
        found = UrdfLimits(lower, upper, speed, acceleration, placeholders)
    if (mimic := joint.find("mimic")) is not None:
        found = replace(found, mimics=mimic.get("joint", ""))
    if soft is not None and joint.get("type") != "continuous":
        lower, upper = (_number(soft.get(key, "0"), name, key) for key in ("soft_lower_limit", "soft_upper_limit"))
        if lower < upper:
            found = _narrowed(found, UrdfLimits(lower, upper))
    if found.lower > found.upper:
        raise UrdfError(f"robot_description: joint '{name}' may move from {found.lower:g} to {found.upper:g}, expected "
                        "the lower limit below the upper one")  # fmt: skip
    return found


def _of_ros2_control(root: ElementTree.Element) -> Iterator[tuple[str, UrdfLimits]]:
    """Limits of the command interfaces, by joint: those of positions and velocities."""
    for joint in root.findall("ros2_control/joint"):
        name = joint.get("name", "")
        for interface in joint.findall("command_interface"):
            bounds = {
                parameter.get("name"): _number(parameter.text or "", name, f"{parameter.get('name')} of ros2_control")
                for parameter in interface.findall("param")
                if parameter.get("name") in ("min", "max")
            }
            lower, upper = bounds.get("min", math.nan), bounds.get("max", math.nan)
            if lower == upper == 0.0:
                continue
            if interface.get("name") == "position":
                yield name, UrdfLimits(lower, upper)
            elif interface.get("name") == "velocity":
                speeds = [speed for speed in (-lower, upper) if speed > 0.0]
                yield name, UrdfLimits(velocity=min(speeds, default=math.nan))


def _narrowed(limits: UrdfLimits, by: UrdfLimits) -> UrdfLimits:
    """The narrower of each limit, where NaN is no limit."""

    def larger(first: float, second: float) -> float:
        return second if math.isnan(first) or second > first else first

    def smaller(first: float, second: float) -> float:
        return second if math.isnan(first) or second < first else first

    return replace(
        limits,
        lower=larger(limits.lower, by.lower),
        upper=smaller(limits.upper, by.upper),
        velocity=smaller(limits.velocity, by.velocity),
    )


def _number(text: str, joint: str, attribute: str) -> float:
    """The number of an attribute; NaN for an infinite one, which limits nothing."""
    if "${" in text:
        raise UrdfError(f"robot_description: {attribute} of joint '{joint}' is {text[:100]!r}{_RUN_XACRO}")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise UrdfError(f"robot_description: {attribute} of joint '{joint}' is {text[:100]!r}, expected a number")
    return value if math.isfinite(value) else math.nan
