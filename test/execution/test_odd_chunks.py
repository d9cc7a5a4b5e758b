"""Chunks of any length, step, roughness and distance, for robots with any limits and rates: the invariants hold.

The lives of test_invariants.py have one robot and smooth chunks; the checks are those of the rig.
"""

import numpy as np
import pytest

from smolvla_ros.execution.limits import JointLimits
from smolvla_ros.execution.status import Reason

MS = 1_000_000


def between(chance, lowest, highest, size):
    """Evenly on a logarithmic scale."""
    return 10 ** chance.uniform(np.log10(lowest), np.log10(highest), size)


def odd_robot(chance, new_rig):
    joints = int(chance.choice([1, 2, 6, 20]))
    reach = between(chance, 1e-3, 100.0, joints)
    lower = -reach * chance.uniform(0.0, 1.0, joints)
    limits = JointLimits(
        tuple(f"joint_{index}" for index in range(joints)),
        lower,
        lower + reach,
        velocity=between(chance, 0.01, 100.0, joints),
        acceleration=between(chance, 0.01, 1e4, joints),
        step=between(chance, 1e-3, 10.0, joints),
        jump=between(chance, 1e-3, 10.0, joints),
        tracking=np.full(joints, 0.5),
        path=chance.choice([0.0, 0.03, 10.0], joints),
    )
    rig = new_rig(
        limits=limits,
        period_s=float(chance.choice([0.001, 0.01, 0.02, 0.1, 1.0])),
        ease_in_rows=int(chance.choice([0, 1, 5, 100])),
        ease_in_exclude_joints=("joint_0",) if chance.random() < 0.2 else (),
        interpolation=str(chance.choice(["cubic", "linear"])),
        merge_rule=str(chance.choice(["latest_only", "average", "temporal_ensemble"])),
        alignment=str(chance.choice(["executed", "stamp"])),
    )
    rig.measured = chance.uniform(limits.lower, limits.upper)
    return rig


def odd_rows(chance, limits, start):
    """Rows that may pass the checks of a chunk, or only just fail them."""
    rows = int(chance.choice([1, 2, 3, 5, 20, 100]))
    joints = len(start)
    size = np.minimum(limits.step, limits.upper - limits.lower) * chance.choice([1e-9, 1e-3, 0.1, 0.99])
    shapes = (
        np.cumsum(chance.uniform(-1.0, 1.0, (rows, joints)) * size, axis=0),
        np.arange(rows)[:, None] * size * chance.choice([-1.0, 1.0], joints),
        np.zeros((rows, joints)),
        size * np.where(np.arange(rows) % 2, 0.5, -0.5)[:, None],
        np.zeros((rows, joints)) + chance.uniform(-1.0, 1.0, joints) * limits.jump,
        (np.arange(rows) >= rows // 2)[:, None] * size,
    )
    positions = start + shapes[chance.integers(len(shapes))]
    return np.clip(positions, limits.lower, limits.upper) if chance.random() < 0.8 else positions


@pytest.mark.parametrize("seed", range(32))
def test_whatever_chunks_come_to_whatever_robot_the_invariants_hold(new_rig, seed):
    chance = np.random.default_rng(seed)
    rig = odd_robot(chance, new_rig)
    rig.tick(3)
    for _ in range(8):
        start = rig.commands[-1][1] if rig.commands else rig.measured
        rows, step_ns = odd_rows(chance, rig.limits, start), int(10 ** chance.uniform(0.0, 9.0))
        stamp_ns = rig.now_ns + int(chance.choice([-50, 0, 90])) * MS
        rig.deliver(rig.chunk(stamp_ns=stamp_ns, step_ns=step_ns, positions=rows))
        rig.tick(int(chance.choice([1, 2, 5, 30])))
        if chance.random() < 0.2:
            rig.controller.stop()
            rig.tick(int(chance.integers(1, 20)))
            rig.resume()
        assert rig.reason != Reason.INTERNAL_ERROR, rig.status.detail
