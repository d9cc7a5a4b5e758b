"""What to do about each reason for which the controller holds: for people, in one place for commands, view and docs."""

from __future__ import annotations

from .status import Reason

WHAT_TO_DO: dict[Reason, str] = {
    Reason.NONE: "nothing: the arm follows the policy",
    Reason.WAITING_FOR_JOINT_STATES: "start the arm's driver; `smolvla-ros doctor` names joints, topic and "
    "QoS that do not match",
    Reason.JOINT_STATES_STALE: "look at the arm's driver and at the clocks of the machines; it goes on by itself",
    Reason.WAITING_FOR_CHUNK: "say what to do: `smolvla-ros say touch the red cube`; else `smolvla-ros status` tells "
    "what the policy waits for",
    Reason.CHUNK_EXHAUSTED: "it goes on with the next chunk; if that happens all the time the policy is too slow: "
    "`slow_policy: hold_and_go`, or a faster machine",
    Reason.JUMP_TOO_LARGE: "check units and joint order with `smolvla-ros check DIR --robot FILE`; if they are "
    "right, raise `joint.<joint>.max_jump`",
    Reason.PERSISTENT_CLAMPING: "the policy asks for positions outside the limits: check units with `smolvla-ros "
    "check`, then the limits themselves",
    Reason.TRACKING_ERROR: "free the arm, look whether its driver takes commands; then `smolvla-ros stop` and "
    "`smolvla-ros resume` begin where it is",
    Reason.CLOCK_JUMP: "it goes on by itself; keep clocks in step (chrony), and play bags with `use_sim_time`",
    Reason.CONFLICTING_PUBLISHER: "end the other one that commands the arm; `detail` names it",
    Reason.STOP_REQUESTED: "`smolvla-ros resume`",
    Reason.PARK_REQUESTED: "`smolvla-ros resume`",
    Reason.TAKEN_OVER_BY_PERSON: "nothing: a person commands the arm, until `~/takeover` with `false`",
    Reason.ARM_NOT_READY: "see to what the arm's driver says in `detail`; then it goes on by itself, from where the "
    "arm is",
    Reason.INTERNAL_ERROR: "a bug: keep the log, report it, then deactivate and activate the controller",
}


def what_to_do(reason: str) -> str:
    """The sentence for a reason by its name in any case; '' for one that is not known."""
    known = {member.name: text for member, text in WHAT_TO_DO.items()}
    return known.get(reason.upper(), "")


def table() -> str:
    """All reasons as a table in Markdown, as it stands in the documentation."""
    rows = [f"| `{reason.name.lower()}` | {text} |" for reason, text in WHAT_TO_DO.items() if reason != Reason.NONE]
    return "\n".join(["| reason | what to do |", "|---|---|", *rows])
