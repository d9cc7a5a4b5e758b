"""What is right and wrong with a live arm before it moves, out of what `ArmProbe` has heard; for `doctor`."""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from smolvla_ros.controller_examination import examine_controller
from smolvla_ros.examination_finding import Finding
from smolvla_ros.execution.urdf import UrdfLimits
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.parameters.policy import PolicyParameters
from smolvla_ros.probe import ArmProbe, Stream, median
from smolvla_ros.robot import RobotConfig
from smolvla_ros.robot.joint_limits import joint_limits

# Below, motion is no longer smooth or watched closely.
_SLOW_CAMERA_HZ, _SLOW_JOINTS_HZ = 5.0, 20.0
_LITTLE_SPACE = 2_000_000_000
# Of the way between its limits: a joint found further outside is not in the units of its limits.
_WRONG_UNITS = 0.5


def examine_arm(probe: ArmProbe) -> Iterator[Finding]:
    """Nodes, streams, joints and commands."""
    yield from _nodes(probe)
    robot = probe.robot()
    if robot is None:
        yield Finding("fail", "robot", "policy and controller have not described themselves",
                      "start them: `smolvla-ros arm`; look at --namespace and ROS_DOMAIN_ID")  # fmt: skip
        return
    config, policy, controller = robot
    for stream in probe.streams:
        if stream.camera:
            yield from _stream(probe, stream, policy, policy.max_image_age_s, _SLOW_CAMERA_HZ)
        elif stream.what == "joint states":
            yield from _stream(probe, stream, policy, controller.state_timeout_s, _SLOW_JOINTS_HZ)
    yield from _joints(probe, config, controller)
    yield from _commands(probe, controller)
    yield from _clock(probe)


def examine_machine(wanted: int = 0) -> Iterator[Finding]:
    """This machine: its disk, its load, its rights; `wanted` is the real-time priority that a node asks for."""
    free = shutil.disk_usage(Path.cwd()).free
    level: Literal["ok", "warn"] = "warn" if free < _LITTLE_SPACE else "ok"
    yield Finding(level, "disk", f"{free / 1e9:.1f} GB free", "make room before recording")
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]
    level = "warn" if load > cores else "ok"
    yield Finding(level, "CPU", f"{cores} cores, {load:.1f} of them wanted by what runs",
                  "end what is not needed: the policy and the control thread wait for each other's cores")  # fmt: skip
    allowed = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    may = os.geteuid() == 0 or allowed == resource.RLIM_INFINITY or allowed >= max(1, wanted)
    if wanted and not may:
        yield Finding("fail", "real-time", f"fifo_priority is {wanted}, this user may ask for {allowed}",
                      "add 'USER - rtprio 99' to /etc/security/limits.d, log in again")  # fmt: skip
    elif may:
        yield Finding("ok", "real-time", "this user may ask for SCHED_FIFO" + ("" if wanted else " (not asked for)"))
    else:
        yield Finding("ok", "real-time", "SCHED_FIFO is neither asked for nor allowed")


def _nodes(probe: ArmProbe) -> Iterator[Finding]:
    for name in ("policy_node", "controller_node"):
        state = probe.states.get(name)
        if state == "active":
            yield Finding("ok", name, "active")
        elif state is None:
            yield Finding("fail", name, "does not run in this namespace and ROS domain", "start it: `smolvla-ros arm`")
        elif not state:
            yield Finding("fail", name, "does not answer", "it may still be loading, or hang: look at its log")
        else:
            yield Finding("fail", name, f"is {state}", "its log says why; mend that and start it again")


def _stream(
    probe: ArmProbe, stream: Stream, policy: PolicyParameters, oldest_s: float, slow_hz: float
) -> Iterator[Finding]:
    """Whether what is wanted comes, fast enough and with usable stamps."""
    about, where = stream.what, stream.topic
    for text in probe.mismatches(stream):
        yield Finding("fail", about, f"{where}: {text}", "change the publisher or the robot config (topic, transport)")
    if not stream.times_s:
        publishers = probe.publishers(where)
        text = f"published by {', '.join(publishers)}, but nothing comes" if publishers else "nobody publishes it"
        yield Finding("fail", about, f"{where}: {text}", "start the driver, or mend the topic in the robot config")
        return
    rate, silent_s = stream.rate_hz(), stream.silent_s(time.monotonic()) or 0.0
    slow = rate < slow_hz or silent_s > 1.0
    yield Finding("warn" if slow else "ok", about, f"{where}: {rate:.1f} per second",
                  f"expected at least {slow_hz:g}: look at the driver's rate and at the network")  # fmt: skip
    yield _stamps(stream, policy, oldest_s)
    if stream.camera:
        yield from _size(stream)


def _stamps(stream: Stream, policy: PolicyParameters, oldest_s: float) -> Finding:
    if not stream.ages_s:
        accepted = policy.accept_zero_stamps
        return Finding("ok" if accepted else "fail", stream.what, "not stamped",
                       "stamp it in the driver, or set accept_zero_stamps")  # fmt: skip
    ages = list(stream.ages_s)
    middle, spread = median(ages), max(ages) - min(ages)
    text = f"stamps are {1e3 * middle:.0f} ms old, within {1e3 * spread:.0f} ms"
    if middle < -policy.future_tolerance_s or middle > oldest_s:
        return Finding("fail", stream.what, f"{text}; expected -{policy.future_tolerance_s:g} to {oldest_s:g} s",
                       "the clocks of the machines differ (chrony), or use_sim_time does")  # fmt: skip
    if middle > oldest_s / 2:
        return Finding("warn", stream.what, text, f"more than {oldest_s:g} s is refused: network or driver are slow")
    return Finding("ok", stream.what, text)


def _size(stream: Stream) -> Iterator[Finding]:
    message = stream.message()
    if hasattr(message, "height"):
        small = min(message.height, message.width) < 64
        yield Finding("warn" if small else "ok", stream.what, f"{message.width} x {message.height}, {message.encoding}",
                      "very small: the policy sees little")  # fmt: skip
    else:
        yield Finding("ok", stream.what, f"{message.format}, {len(message.data) / 1e3:.0f} kB")


def _joints(probe: ArmProbe, config: RobotConfig, controller: ControllerParameters) -> Iterator[Finding]:
    """Names, and measured positions against the limits; of all topics that tell joints, together."""
    found: dict[str, float] = {}
    shared = False
    for stream in (stream for stream in probe.streams if stream.what == "joint states"):
        publishers = probe.publishers(stream.topic)
        if len(publishers) > 1:
            shared = True
            yield Finding("warn", "joints", f"{len(publishers)} nodes publish {stream.topic}: {', '.join(publishers)}",
                          "only fine if they tell of different joints; else end one")  # fmt: skip
        if stream.times_s:
            message = stream.message()
            found |= zip(message.name, message.position, strict=False)
    if not found:
        return
    missing = [name for name in config.joint_names if name not in found]
    if missing:
        yield Finding("warn" if shared else "fail", "joints",
                      f"the last message lacks {', '.join(missing)}; it has {', '.join(found)}",
                      "name the joints in the robot config as the driver does, and the topics of all drivers in "
                      "joint_states_topics")  # fmt: skip
    outside = []
    for name in config.joint_names:
        row = joint_limits(controller.joint[name], probe.urdf_limits.get(name, UrdfLimits()))
        lower, upper, position = row["lower"], row["upper"], found.get(name, np.nan)
        if max(lower - position, position - upper) > _WRONG_UNITS * (upper - lower):  # not where one is unknown
            unit = _unit(position, lower, upper)
            outside.append(f"{name} is at {position:.3g}, limits {lower:g} to {upper:g}{unit}")
    if outside:
        yield Finding("fail", "joints", "; ".join(outside), "publish rad and m, as ROS has them, or mend the limits")
    elif not missing:
        yield Finding("ok", "joints", "all there, and where their limits allow")


def _unit(position: float, lower: float, upper: float) -> str:
    """What a position outside the limits may be counted in."""
    slack = 0.1 * (upper - lower)
    candidates = {"the width between two fingers": 2.0, "degrees": 180.0 / np.pi, "millimetres": 1000.0}
    for unit, factor in candidates.items():
        if lower - slack <= position / factor <= upper + slack:
            return f": {unit}?"
    return ""


def _commands(probe: ArmProbe, controller: ControllerParameters) -> Iterator[Finding]:
    """Who takes the commands, with which settings, and who else gives them; actions have no topic to look at."""
    simulated = bool(probe.described.get("controller_node", {}).get("use_sim_time"))
    for group in controller.groups:
        if not group.is_action:
            topic = probe.resolve(group.topic)
            yield from _command_topic(probe, topic, controller.dry_run)
            for found in probe.arm_controllers.get(topic, ()):
                yield from examine_controller(found, group, controller, simulated)


def _command_topic(probe: ArmProbe, topic: str, dry_run: bool) -> Iterator[Finding]:
    listeners = probe.listeners(topic)
    if dry_run:
        yield Finding("ok", "command", f"dry run: nothing is sent on {topic}")
    elif listeners:
        yield Finding("ok", "command", f"{topic}: heard by {listeners}")
    else:
        yield Finding("fail", "command", f"{topic}: nobody listens",
                      "start the arm's controller (ros2_control), or mend command_type and command_topic")  # fmt: skip
    others = [name for name in probe.publishers(topic) if not name.endswith("/controller_node")]
    if others:
        yield Finding("fail", "command", f"{', '.join(others)} also publishes on {topic}", "end it: two cannot command")


def _clock(probe: ArmProbe) -> Iterator[Finding]:
    simulated = [name for name, facts in probe.described.items() if facts.get("use_sim_time")]
    publishers = probe.publishers("/clock")
    if simulated and not publishers:
        yield Finding("fail", "clock", f"{', '.join(simulated)} wait for /clock, which nobody publishes",
                      "start the simulator, or set use_sim_time to false")  # fmt: skip
    elif publishers and not simulated:
        yield Finding("warn", "clock", f"{', '.join(publishers)} publishes /clock, and no node of the arm uses it",
                      "set use_sim_time, or end the simulator")  # fmt: skip
    else:
        yield Finding("ok", "clock", "that of /clock" if simulated else "that of the machine")
