"""A snapshot of an arm in motion, as the view would have heard it."""

from dataclasses import replace

import numpy as np
import pytest

from smolvla_ros.view.watched import ChunkAhead, ExecutionFacts, Watched

JOINTS = ("shoulder_pan", "gripper")
LIMITS = {"joint.shoulder_pan.min_position": -1.0, "joint.shoulder_pan.max_position": 1.0,
          "joint.gripper.min_position": 0.0, "joint.gripper.max_position": 2.0}  # fmt: skip


@pytest.fixture
def facts():
    """Execution facts with some fields replaced."""
    following = ExecutionFacts(
        state="following", reason="none", detail="", dry_run=False, sequence=7, remaining_rows=40,
        remaining_s=1.3, action_age_s=0.2, idle_fraction=0.02, chunks_merged=12, chunks_rejected=1, clamps=0,
    )  # fmt: skip
    return lambda **changes: replace(following, **changes)


@pytest.fixture
def watched(facts):
    watched = Watched()
    watched.set_status(facts(), 10.0)
    rows = np.linspace([0.0, 0.0], [0.5, 1.0], 50)
    watched.set_chunk(ChunkAhead(JOINTS, rows, 5, 7), 10.0)
    watched.set_joints({"shoulder_pan": 0.25}, 10.0)
    watched.set_joints({"gripper": 1.5}, 10.0)
    watched.set_image("front", np.zeros((4, 4, 3), np.uint8), 10.0)
    parameters = {"joints": list(JOINTS), "command_type": "joint_state", **LIMITS}
    watched.set_description("controller_node", {"parameters": parameters}, 10.0)
    checkpoint = {"folder": "/somewhere/demo", "sha256": {"model.safetensors": "0123456789abcdef"}}
    policy = {"instruction": "touch the red cube", "checkpoint": checkpoint, "session": 5}
    watched.set_description("policy_node", policy, 10.0)
    return watched
