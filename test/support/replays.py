"""Replays made by hand of a recorded motion, for tests of diagnosis and report: no bag, no network."""

from __future__ import annotations

from typing import Any

import numpy as np
from recorded_motion import Motion

from smolvla_ros.bags.replay.comparison import chunk_errors, hold_errors
from smolvla_ros.bags.replay.facts import Activity, Facts
from smolvla_ros.bags.replay.health import StreamRecord
from smolvla_ros.bags.replay.result import Replay, ReplayedChunk, Seams, Skipped, Spread, Trace
from smolvla_ros.robot import RobotConfig

STEP_NS, ROWS = 33_333_333, 50

# Of the shipped checkpoint, in its units: degrees, gripper 0 to 100.
STATISTICS = {
    "observation.state": {
        "mean": np.array([0.04, -2.26, 3.31, 61.0, -0.01, 14.99]),
        "std": np.array([22.8, 24.1, 12.3, 11.5, 5.41, 4.85]),
        "min": np.array([-65.2, -80.5, -35.6, 12.7, -60.2, -14.1]),
        "max": np.array([58.9, 35.8, 58.5, 103.5, 62.4, 85.4]),
    },
    "action": {
        "mean": np.array([0.19, 8.18, -0.64, 59.9, 0.005, 14.41]),
        "std": np.array([23.2, 13.7, 6.26, 10.8, 1.35, 1.32]),
        "min": np.array([-60.5, -73.9, -28.1, 25.2, -58.1, -5.4]),
        "max": np.array([55.1, 32.8, 50.2, 98.9, 37.5, 67.5]),
    },
}


def replay_of(
    motion: Motion, facts: Facts, robot: RobotConfig, *, error_rad: float = 0.02, every: int = 50, **changes: Any
) -> Replay:
    """A policy that does what was commanded, but for a slowly growing error; asked at every n-th control period."""
    rng = np.random.default_rng(0)
    joints = len(robot.joints)
    times_ns, commands = motion.times_ns, motion.commands
    chunks = []
    for k in range(20, len(times_ns), every):
        at_ns = times_ns[k] + STEP_NS * np.arange(ROWS)
        reference = np.column_stack([np.interp(at_ns, times_ns, c, right=np.nan) for c in commands.T])
        filled = np.column_stack([np.interp(at_ns, times_ns, c) for c in commands.T])
        drift = np.linspace(0.2, 1.0, ROWS)[:, None] * rng.normal(0.0, error_rad, joints)
        chunks.append(ReplayedChunk(
            requested_ns=int(times_ns[k]), stamp_ns=int(times_ns[k]),
            image_stamp_ns=int(times_ns[k]), start_ns=int(times_ns[k]), usable_ns=int(times_ns[k]) + 130_000_000,
            instruction="touch the red cube", state=motion.positions[k],
            positions=filled + drift, reference=reference, frozen_rows=0, inference_s=0.12, recorded=None,
        ))  # fmt: skip
    std = STATISTICS["action"]["std"] / np.abs([joint.scale for joint in robot.joints])
    grid = np.arange(times_ns[0], times_ns[-1], STEP_NS)
    onto = [np.column_stack([np.interp(grid, times_ns, c) for c in rows.T]) for rows in (commands, motion.positions)]
    few = Spread(0.01, 0.02, 0.03)
    made = {
        "bag": "/data/session", "checkpoint": "checkpoints/demo", "robot_config": "so101_sim", "robot": robot,
        "joints": robot.joint_names, "start_ns": facts.start_ns, "end_ns": facts.end_ns,
        "step_s": STEP_NS / 1e9, "rows": ROWS,
        "request": "threshold", "latency": "133 ms", "reference": "commands on /joint_command", "seed": 0,
        "chunks": tuple(chunks),
        "skipped": (Skipped("observation", int(grid[0]), int(grid[2]), 3, "no image from camera 'front' yet"),),
        "streams": tuple(_health(activity) for activity in facts.streams.values()),
        "errors": chunk_errors(chunks, ROWS, std), "hold_errors": hold_errors(chunks, ROWS, std),
        "recorded_errors": None, "recorded_unmatched": 0,
        "seams": Seams(max(0, len(chunks) - 1), 0, few, few, few, few, 0.0, np.full(joints, 1.0)),
        "trace": Trace(grid, onto[0], np.zeros(len(grid), np.int64), onto[0], onto[1]),
        "stage_s": dict.fromkeys(("decode", "vision", "denoise", "inference"), few), "action_std": std,
        "statistics": STATISTICS, "defects": (), "facts": facts,
    }  # fmt: skip
    return Replay(**{**made, **changes})


def _health(activity: Activity) -> Any:
    """As if it were counted by the replay: from what the facts saw of the stream."""
    record = StreamRecord(activity.name, activity.topic, "")
    total, refused = int(activity.messages.sum()), int(activity.refused.sum())
    if total:
        times_ns = np.linspace(activity.first_ns, activity.last_ns or activity.first_ns, total).astype(np.int64)
        for place, time_ns in enumerate(times_ns):
            record.add(int(time_ns), None, "refused in this test" if place < refused else "")
    return record.health()
