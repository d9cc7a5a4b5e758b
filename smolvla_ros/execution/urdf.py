"""Limits of the joints out of a robot description (URDF)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.etree import ElementTree


class UrdfError(ValueError):
    """The text is no robot description that can be used; the message says why."""


@dataclass(frozen=True)
class UrdfLimits:
    """Limits of one joint in rad or m, s; NaN where the description says nothing."""

    lower: float = math.nan
    upper: float = math.nan
    velocity: float = math.nan
    acceleration: float = math.nan


def read_limits(text: str) -> dict[str, UrdfLimits]:
    """The limits of every movable joint by name.

    A continuous joint has no position limits. `acceleration` is an attribute of newer descriptions only. A mimic joint
    has limits of its own like any other.

    Raises:
        UrdfError: the text is not XML, not a robot, or a limit is not a number.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise UrdfError(f"robot_description is not well-formed XML: {error}") from error
    if root.tag != "robot":
        raise UrdfError(f"robot_description begins with <{root.tag}>, expected <robot>")
    limits = {}
    for joint in root.findall("joint"):
        if joint.get("type") not in ("revolute", "prismatic", "continuous"):
            continue
        name, limit = joint.get("name", ""), joint.find("limit")
        positions = ("lower", "upper") if joint.get("type") != "continuous" else ()
        # Absent position attributes of a <limit> mean 0 (http://wiki.ros.org/urdf/XML/joint).
        defaults = dict.fromkeys(positions, "0") if limit is not None else {}
        found = {**defaults, **(dict(limit.attrib) if limit is not None else {})}
        wanted = (*positions, "velocity", "acceleration")
        values = {key: _number(found[key], name, key) for key in wanted if key in found}
        limits[name] = UrdfLimits(**values)
    return limits


def _number(text: str, joint: str, attribute: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UrdfError(f"robot_description: {attribute} of joint '{joint}' is {text!r}, expected a number") from None
