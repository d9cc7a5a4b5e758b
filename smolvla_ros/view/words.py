"""The view in words and small drawings: HTML out of a snapshot. Pure, so that tests read what a person would."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape

import numpy as np

from .watched import ChunkAhead, ExecutionFacts, Heard, RunFacts, Snapshot

# A stream that was silent for so long is told as missing [s].
SILENT_S = 1.5
_COLOURS = {
    "following": "#16a34a", "holding": "#d97706", "stopped": "#dc2626", "parked": "#2563eb", "taken_over": "#7c3aed",
    "inactive": "#64748b", "": "#64748b",
}  # fmt: skip


@dataclass(frozen=True)
class Headline:
    """What stands largest: a state, and one sentence about it."""

    state: str
    text: str


def headline(snapshot: Snapshot, now_s: float) -> Headline:
    """The state in words; what is missing comes before what was heard long ago."""
    status = snapshot.status
    if status is None:
        return Headline("", "No controller yet. Start one with `smolvla-ros arm`.")
    if now_s - status.at_s > SILENT_S:
        return Headline("", f"The controller has been silent for {now_s - status.at_s:.0f} s.")
    facts: ExecutionFacts = status.value
    if facts.state == "following":
        dry_run = ", dry run: nothing is sent" if facts.dry_run else ""
        return Headline("following", f"Chunk {facts.sequence}{dry_run}")
    reason = facts.reason.replace("_", " ")
    return Headline(facts.state, f"{reason}: {facts.detail}" if facts.detail else reason)


def banner(snapshot: Snapshot, now_s: float) -> str:
    """The headline, and under it the instruction in force."""
    said = headline(snapshot, now_s)
    instruction = instruction_in_force(snapshot)
    asked = f"“{escape(instruction)}”" if instruction else "no instruction"
    state = said.state.upper().replace("_", " ") or "NOT CONNECTED"
    return (
        f'<div role="status" style="margin:0.2em 1em;padding:0.6em 0.9em;border-radius:8px;color:#fff;'
        f'background:{_COLOURS.get(said.state, "#64748b")}">'
        f'<div style="font-size:1.25em;font-weight:700">{escape(state)}</div>'
        f'<div style="font-size:0.9em">{escape(said.text)}</div></div>'
        f'<div style="margin:0.2em 1em;font-size:0.95em">{asked}</div>'
        f'<div style="margin:0.2em 1em;font-size:0.85em;opacity:0.75">{escape(run_line(snapshot))}</div>'
    )


def instruction_in_force(snapshot: Snapshot) -> str:
    """What the policy acts on by its own word; '' if nothing."""
    heard = snapshot.descriptions.get("policy_node")
    return str(heard.value.get("instruction", "")) if heard else ""


@dataclass(frozen=True)
class Remark:
    """What the policy has to say about an instruction; `good` if it is taken all the same."""

    text: str
    good: bool


def remark_on_instruction(status: str) -> Remark | None:
    """Out of a message on `~/instruction_status`; None if there is nothing to remark."""
    try:
        word = json.loads(status)
    except ValueError:
        return None
    if not isinstance(word, dict) or not (said := str(word.get("reason") or word.get("remark") or "")):
        return None
    taken = bool(word.get("accepted"))
    text = f"“{word.get('instruction', '')}”: {said}"
    return Remark(text if taken else f"{text}; what was said before stays", taken)


def run_line(snapshot: Snapshot) -> str:
    """The run that goes on, or how the last one ended; '' before the first."""
    if snapshot.run is None:
        return ""
    run: RunFacts = snapshot.run.value
    if not run.ending:
        return f"Run {run.number}: “{run.instruction}”"
    outcome = f", {run.outcome}" if run.outcome else ""
    return f"Run {run.number} ended: {run.ending}{outcome} ({run.detail})"


def figures(snapshot: Snapshot, now_s: float) -> str:
    """Queue, age and idle of the arm; latency of the policy by stage."""
    rows = []
    if snapshot.status is not None:
        facts: ExecutionFacts = snapshot.status.value
        age = f"{facts.action_age_s:.2f} s" if facts.action_age_s >= 0.0 else "-"
        rows += [
            ("queue", f"{facts.remaining_rows} rows, {facts.remaining_s:.2f} s"),
            ("action age", age),
            ("idle since activation", f"{100 * facts.idle_fraction:.1f} %"),
            ("chunks taken / refused", f"{facts.chunks_merged} / {facts.chunks_rejected}"),
            ("periods changed by a limit", str(facts.clamps)),
        ]
    if snapshot.latencies is not None and now_s - snapshot.latencies.at_s < 5.0:
        values = snapshot.latencies.value
        stages = [key.removesuffix("_p50_ms") for key in values if key.endswith("_p50_ms")]
        rows += [(f"latency: {stage.replace('_', ' ')}", f"{values[f'{stage}_p50_ms']} ms") for stage in stages]
    return _table(rows)


def streams(snapshot: Snapshot, now_s: float) -> str:
    """What comes in and what is missing, each with its age."""
    heard: dict[str, Heard | None] = {f"camera {name}": image for name, image in snapshot.images.items()}
    heard |= {"joint states": snapshot.joints, "controller": snapshot.status, "last chunk": snapshot.chunk}
    return _table([(name, _age(value, now_s)) for name, value in heard.items()])


def about(snapshot: Snapshot) -> str:
    """Which policy, which checkpoint, which robot."""
    rows = []
    policy = snapshot.descriptions.get("policy_node")
    if policy is not None:
        checkpoint = policy.value.get("checkpoint", {})
        digest = str(checkpoint.get("sha256", {}).get("model.safetensors", ""))[:12]
        rows += [
            ("checkpoint", str(checkpoint.get("folder", "?"))),
            ("weights", f"SHA-256 {digest}" if digest else "-"),
            ("session", str(policy.value.get("session", "?"))),
        ]
    joints = snapshot.parameters("controller_node").get("joints", [])
    parameters = snapshot.parameters("controller_node")
    groups = [f"{name}: {parameters.get(f'command.{name}.type')}" for name in parameters.get("command_groups", [])]
    command = ", ".join(groups) or str(parameters.get("command_type", ""))
    rows += [("joints", ", ".join(joints) or "-"), ("command", command or "-")]
    return _table(rows)


def joint_bars(snapshot: Snapshot) -> str:
    """One bar per joint: its range, where it is (dot), and where the chunk takes it (line from now to its end)."""
    parameters = snapshot.parameters("controller_node")
    joints = list(parameters.get("joints", []))
    if not joints or snapshot.joints is None:
        return "<p style='margin:0 1em'>waiting for joint states</p>"
    chunk: ChunkAhead | None = snapshot.chunk.value if snapshot.chunk else None
    lines = []
    for joint in joints:
        lower = float(parameters.get(f"joint.{joint}.min_position", 0.0))
        upper = float(parameters.get(f"joint.{joint}.max_position", 0.0))
        lines.append(_bar(joint, lower, upper, snapshot.joints.value.get(joint), _planned(chunk, joint)))
    return "".join(lines)


def _planned(chunk: ChunkAhead | None, joint: str) -> tuple[float, float] | None:
    if chunk is None or joint not in chunk.joints:
        return None
    column = chunk.positions[:, chunk.joints.index(joint)]
    return float(column.min()), float(column.max())


def _bar(joint: str, lower: float, upper: float, position: float | None, planned: tuple[float, float] | None) -> str:
    if not lower < upper:  # from the URDF, or none: a full turn
        lower, upper = -np.pi, np.pi

    def x(value: float) -> float:
        return 4.0 + 292.0 * float(np.clip((value - lower) / (upper - lower), 0.0, 1.0))

    drawing = '<rect x="4" y="9" width="292" height="4" rx="2" fill="currentColor" opacity="0.25"/>'
    if planned is not None:
        width = max(2.0, x(planned[1]) - x(planned[0]))
        drawing += f'<rect x="{x(planned[0]):.1f}" y="7" width="{width:.1f}" height="8" rx="3" fill="#3b82f6"/>'
    if position is not None:
        drawing += f'<circle cx="{x(position):.1f}" cy="11" r="5" fill="#f59e0b" stroke="currentColor"/>'
    value = "-" if position is None else f"{position:+.2f}"
    return (
        f'<div style="margin:0 1em;font-size:0.85em"><div style="display:flex;justify-content:space-between">'
        f'<span>{escape(joint)}</span><span>{value}</span></div>'
        f'<svg viewBox="0 0 300 22" width="100%" role="img" aria-label="{escape(joint)} {value}">{drawing}</svg></div>'
    )


def _age(heard: Heard | None, now_s: float) -> str:
    if heard is None:
        return "<b>never heard</b>"
    age_s = now_s - heard.at_s
    return f"<b>silent for {age_s:.0f} s</b>" if age_s > SILENT_S else "ok"


def _table(rows: list[tuple[str, str]]) -> str:
    body = "".join(
        f'<tr><td style="padding:0.1em 1em 0.1em 0;opacity:0.75">{escape(name)}</td>'
        f'<td>{value if value.startswith("<b>") else escape(value)}</td></tr>'
        for name, value in rows
    )
    return f'<table style="margin:0.2em 1em;font-size:0.85em">{body}</table>'
