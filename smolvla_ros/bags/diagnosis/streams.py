"""Streams that are missing, end, pause or are too slow; and a replay that had nothing to act on."""

from __future__ import annotations

import math

import numpy as np

from smolvla_ros.bags.replay.result import BagFinding, Replay, StreamHealth
from smolvla_ros.robot.observation import Freshness

from ..replay.facts import INSTRUCTION, JOINT_STATES

_STOPPED_S, _LATE_S = 1.0, 3.0
_MANY_GAPS = 5.0  # usual gaps
_REFUSED = 0.05  # share of the messages
_SKIPPED = 0.2  # share of the instants


def stream_findings(replay: Replay, freshness: Freshness) -> list[BagFinding]:
    """One finding at most for each stream that the policy needs; a single one if they are not there together."""
    needed = [stream for stream in replay.streams if stream.name == JOINT_STATES or stream.name.startswith("camera ")]
    if apart := _apart(replay, needed):
        return [apart]
    found = [_ends(replay, stream) or _slow(stream, freshness) or _gaps(replay, stream, freshness) for stream in needed]
    return [finding for finding in found if finding]


def _apart(replay: Replay, needed: list[StreamHealth]) -> BagFinding | None:
    present = [stream for stream in needed if stream.messages]
    if not present:
        return None
    ends, begins = min(present, key=lambda s: s.last_ns), max(present, key=lambda s: s.first_ns)
    if begins.first_ns <= ends.last_ns:
        return None
    ends_s, begins_s = ((ns - replay.start_ns) / 1e9 for ns in (ends.last_ns, begins.first_ns))
    text = (
        f"Streams have no time in common: {ends.topic} ({ends.name}) ends at {ends_s:.1f} s, {begins.topic} "
        f"({begins.name}) begins at {begins_s:.1f} s. Were bags of two sessions, or of machines with different "
        "clocks, put together?"
    )
    return BagFinding("no_overlap", "error", text)


def _kind(stream: StreamHealth) -> str:
    return "joint_states" if stream.name == JOINT_STATES else "camera"


def _limit_s(stream: StreamHealth, freshness: Freshness) -> float:
    limit_ns = freshness.max_joint_state_age_ns if stream.name == JOINT_STATES else freshness.max_image_age_ns
    return limit_ns / 1e9


def _ends(replay: Replay, stream: StreamHealth) -> BagFinding | None:
    duration_s = (replay.end_ns - replay.start_ns) / 1e9
    name = f"dead_{_kind(stream)}"
    if stream.messages == 0:
        text = f"{stream.topic} ({stream.name}) has no message in {duration_s:.1f} s: was its driver running?"
        return BagFinding(name, "error", text)
    usual_s = stream.p95_gap_s if math.isfinite(stream.p95_gap_s) else 0.0
    silent_s = (replay.end_ns - stream.last_ns) / 1e9
    if silent_s > max(_STOPPED_S, _MANY_GAPS * usual_s):
        at_s = (stream.last_ns - replay.start_ns) / 1e9
        text = (
            f"{stream.topic} ({stream.name}) stops after {at_s:.1f} s of {duration_s:.1f} s, while the bag goes on "
            f"for another {silent_s:.1f} s. From there on the policy node would not act. Look at its driver, cable "
            "and power."
        )
        return BagFinding(name, "error", text)
    late_s = (stream.first_ns - _begin_ns(replay)) / 1e9
    if late_s > max(_LATE_S, _MANY_GAPS * usual_s):
        text = f"{stream.topic} ({stream.name}) begins {late_s:.1f} s too late: nothing can be replayed before."
        return BagFinding(f"late_{_kind(stream)}", "warning", text)
    return None


def _begin_ns(replay: Replay) -> int:
    """When the policy was first wanted: nobody minds how drivers start up before."""
    told = [time_ns for time_ns, text in replay.facts.instructions if text]
    return max(replay.start_ns, min(told)) if told else replay.start_ns


def _slow(stream: StreamHealth, freshness: Freshness) -> BagFinding | None:
    limit_s = _limit_s(stream, freshness)
    if stream.messages < 3 or 1.0 / max(stream.rate_hz, 1e-9) <= 0.75 * limit_s:
        return None
    text = (
        f"{stream.topic} ({stream.name}) comes at {stream.rate_hz:.1f} Hz, with gaps of up to {stream.max_gap_s:.2f} "
        f"s; the policy node does not act on anything older than {limit_s:g} s. Raise the rate, or if the robot is "
        f"that slow, 'max_{'joint_state' if stream.name == JOINT_STATES else 'image'}_age_s'."
    )
    return BagFinding(f"slow_{_kind(stream)}", "error", text)


def _gaps(replay: Replay, stream: StreamHealth, freshness: Freshness) -> BagFinding | None:
    limit_s = _limit_s(stream, freshness)
    if not stream.max_gap_s > limit_s:
        return None
    gaps = replay.facts.streams[stream.topic].gaps
    long = [(length, start) for length, start in gaps if length / 1e9 > limit_s and start >= _begin_ns(replay)]
    if not long:
        return None
    length_ns, start_ns = max(long)
    many = f"{len(long)} times" if len(long) > 1 else "once"
    text = (
        f"{stream.topic} ({stream.name}) is silent {many} for longer than the {limit_s:g} s that the policy node "
        f"accepts, at worst for {length_ns / 1e9:.2f} s from {(start_ns - replay.start_ns) / 1e9:.1f} s on. Look for "
        "a full disk, a busy USB bus or a lossy network."
    )
    return BagFinding(f"{_kind(stream)}_gaps", "warning", text)


def refusal_findings(replay: Replay) -> list[BagFinding]:
    """Messages that the live node refuses; for those whose reason has no finding of its own."""
    return [
        BagFinding(
            "refused_messages",
            "error" if stream.refused == stream.messages else "warning",
            f"{stream.refused} of {stream.messages} messages of {stream.topic} ({stream.name}) are refused: "
            f"{stream.refusal}.",
        )
        for stream in replay.streams
        if stream.refused > _REFUSED * stream.messages
    ]


def waiting_findings(replay: Replay) -> list[BagFinding]:
    """No instruction, no observation, or inference that fails: why there are few answers, or none."""
    waited = {kind: [skipped for skipped in replay.skipped if skipped.kind == kind] for kind in
              ("instruction", "observation", "inference")}  # fmt: skip
    findings = []
    if not replay.chunks and _share(replay, "instruction") > max(0.5, _share(replay, "observation")):
        told = replay.facts.named(INSTRUCTION)
        where = f"{told[0].topic} says nothing" if told else "the bag has no instruction topic"
        text = f"There is no instruction: {where}. Name one with --instruction, and publish it when recording."
        findings.append(BagFinding("missing_instruction", "error", text))
    if waited["inference"]:
        worst = max(waited["inference"], key=lambda skipped: skipped.instants)
        findings.append(BagFinding("inference_failed", "error", f"The policy failed: {worst.reason}."))
    if (share := _share(replay, "observation")) > _SKIPPED:
        worst = max(waited["observation"], key=lambda skipped: skipped.instants)
        text = f"For {share:.0%} of the time there was nothing to act on; most often: {worst.reason}."
        findings.append(BagFinding("no_observation", "warning" if replay.chunks else "error", text))
    return findings


def _share(replay: Replay, kind: str) -> float:
    instants = max(1, round((replay.end_ns - replay.start_ns) / 1e9 / replay.step_s))
    return float(np.sum([skipped.instants for skipped in replay.skipped if skipped.kind == kind])) / instants
