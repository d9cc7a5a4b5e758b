"""The robot's own controllers as their parameters tell: do they take the commands, and does motion stay as it is meant?

What is asked of joint_trajectory_controller follows from its rules (docs/explanation/execution.md). Also
forward_command_controller, whose messages carry no names: only the order of its joints says what a value is for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from smolvla_ros.examination_finding import Finding
from smolvla_ros.parameters.controller import CommandGroup, ControllerParameters

# What is asked for, beside `constraints.<joint>.trajectory`; a controller that lacks one says nothing about it.
ASKED_PARAMETERS = (
    "joints", "command_joints", "command_interfaces", "state_interfaces", "interface_name", "update_rate",
    "use_sim_time", "allow_partial_joints_goal", "allow_trajectory_replacement",
    "allow_nonzero_velocity_at_trajectory_end", "interpolate_from_desired_state", "open_loop_control",
)  # fmt: skip
# How far behind its commands hardware may be, beside the delay that a stream of trajectories has by itself [s].
_HARDWARE_LAG_S = 0.03


@dataclass(frozen=True)
class ArmController:
    """A node that listens to a command: its full name, its parameters, its manager's update rate [Hz], 0: unknown."""

    name: str
    parameters: Mapping[str, Any]
    manager_rate_hz: int = 0

    @property
    def rate_hz(self) -> int:
        """Updates per second; a controller's own 0 stands for its manager's rate."""
        return int(self.parameters.get("update_rate") or self.manager_rate_hz)

    @property
    def joints(self) -> tuple[str, ...]:
        """The joints that a message must name."""
        return tuple(filter(None, self.parameters.get("command_joints") or ())) or tuple(
            self.parameters.get("joints") or ()
        )


def examine_controller(
    found: ArmController, group: CommandGroup, ours: ControllerParameters, use_sim_time: bool
) -> Iterator[Finding]:
    """One finding for each setting that does not fit, or a single one: it fits.

    Args:
        found: who takes the commands of the group.
        ours: parameters of the controller node.
        use_sim_time: of the controller node.
    """
    trajectory = group.type == "joint_trajectory"
    wrong = [*_interfaces(found), *_clock(found, use_sim_time)]
    wrong += [*_trajectory(found, group, ours)] if trajectory else _order(found, group)
    if wrong:
        yield from wrong
    elif found.joints:
        rate = f", {found.rate_hz} updates per second" if found.rate_hz else ""
        yield Finding("ok", "arm's controller", f"{found.name}: its joints, interfaces and settings fit{rate}")
    else:
        yield Finding("warn", "arm's controller", f"{found.name} listens, and does not tell its parameters",
                      "compare its settings with docs/explanation/execution.md yourself")  # fmt: skip


def _interfaces(found: ArmController) -> Iterator[Finding]:
    commands, states = (found.parameters.get(f"{kind}_interfaces") for kind in ("command", "state"))
    single = found.parameters.get("interface_name")
    if single:
        commands = [single]
    if commands and "position" not in commands:
        yield Finding("fail" if single else "warn", "arm's controller",
                      f"{found.name} commands {', '.join(commands)}, and positions are sent",
                      "give it the command interface 'position'; a trajectory that goes through its PID gains lags and "
                      "overshoots by them")  # fmt: skip
    if states and "position" not in states:
        yield Finding("fail", "arm's controller", f"{found.name} reads {', '.join(states)}",
                      "its state_interfaces need 'position'")  # fmt: skip


def _clock(found: ArmController, use_sim_time: bool) -> Iterator[Finding]:
    theirs = found.parameters.get("use_sim_time")
    if theirs is not None and bool(theirs) != use_sim_time:
        clocks = ("the machine's clock", "/clock")
        yield Finding("fail", "arm's controller",
                      f"{found.name} goes by {clocks[bool(theirs)]}, controller_node by {clocks[use_sim_time]}",
                      "set use_sim_time alike: trajectories are dated")  # fmt: skip


def _trajectory(found: ArmController, group: CommandGroup, ours: ControllerParameters) -> Iterator[Finding]:
    """What joint_trajectory_controller makes of a stream."""
    facts, about = found.parameters, "arm's controller"
    unknown, left_out = sorted(set(group.joints) - set(found.joints)), sorted(set(found.joints) - set(group.joints))
    if found.joints and unknown:
        yield Finding("fail", about, f"{found.name} drives {', '.join(found.joints)}, not {', '.join(unknown)}",
                      "name the group's joints as the controller does: command.<group>.joints")  # fmt: skip
    elif left_out and not facts.get("allow_partial_joints_goal"):
        yield Finding("fail", about, f"{found.name} refuses trajectories without {', '.join(left_out)}",
                      "command them too, or set its allow_partial_joints_goal")  # fmt: skip
    if facts.get("allow_trajectory_replacement"):
        yield Finding("warn", about, f"{found.name}: allow_trajectory_replacement is true",
                      "set it to false: a message whose stamp has passed begins anew otherwise, at up to 3 times the "
                      "speed")  # fmt: skip
    if found.rate_hz and 2.0 / found.rate_hz > ours.trajectory_slack_s:
        yield Finding("warn", about, f"{found.name} updates {found.rate_hz} times a second, and trajectory_slack_s is "
                      f"{ours.trajectory_slack_s:g}",
                      f"set trajectory_slack_s to {2.0 / found.rate_hz:g} at least: two of its periods")  # fmt: skip
    lag_s = 1.0 / ours.control_rate_hz + ours.trajectory_slack_s + _HARDWARE_LAG_S
    for joint in group.joints:
        tolerance = facts.get(f"constraints.{joint}.trajectory") or 0.0
        limit = ours.joint[joint].max_velocity * lag_s
        if 0.0 < tolerance < limit:
            yield Finding("warn", about, f"{found.name}: constraints.{joint}.trajectory is {tolerance:g}, and at full "
                          f"speed an arm may be {limit:.2g} behind", "raise it, or lower max_velocity: what breaks it "
                          "ends in a hold of that controller")  # fmt: skip


def _order(found: ArmController, group: CommandGroup) -> list[Finding]:
    if not found.joints or found.joints == group.joints:
        return []
    return [Finding("fail", "arm's controller", f"{found.name} takes {', '.join(found.joints)}, and "
                    f"{', '.join(group.joints)} are sent: such messages carry no names",
                    "give command_joints (command.<group>.joints) its joints in its order")]  # fmt: skip
