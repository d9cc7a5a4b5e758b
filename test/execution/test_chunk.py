"""The table of malformed chunks: one good message, one mutation per rule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolvla_ros.execution.chunk import Chunk, ChunkError, Rejection, check_steps

JOINTS = ("shoulder", "elbow", "gripper")
GOOD = {
    "session": 7,
    "sequence": 1,
    "stamp_ns": 1_000,
    "joint_names": list(JOINTS),
    "step_ns": 33_000_000,
    "rows": 4,
    "positions": [0.1 * value for value in range(12)],
    "frozen_rows": 0,
}


def with_value(index, value):
    positions = list(GOOD["positions"])
    positions[index] = value
    return positions


MALFORMED = [
    ("no session", {"session": 0}, Rejection.NO_SESSION),
    ("no sequence", {"sequence": 0}, Rejection.NO_SEQUENCE),
    ("zero stamp", {"stamp_ns": 0}, Rejection.NO_STAMP),
    ("negative stamp", {"stamp_ns": -1}, Rejection.NO_STAMP),
    ("zero step", {"step_ns": 0}, Rejection.BAD_STEP),
    ("negative step", {"step_ns": -33_000_000}, Rejection.BAD_STEP),
    ("step above one second", {"step_ns": 1_000_000_001}, Rejection.BAD_STEP),
    ("no rows", {"rows": 0, "positions": []}, Rejection.BAD_ROWS),
    ("too many rows", {"rows": 1001, "positions": [0.0] * 3003}, Rejection.BAD_ROWS),
    ("rows by the billion and no data", {"rows": 4_294_967_295}, Rejection.BAD_ROWS),
    ("more frozen rows than rows", {"frozen_rows": 5}, Rejection.BAD_FROZEN_ROWS),
    ("one position short", {"positions": GOOD["positions"][:-1]}, Rejection.SIZE_MISMATCH),
    ("one position too many", {"positions": [*GOOD["positions"], 0.0]}, Rejection.SIZE_MISMATCH),
    ("rows do not fit the positions", {"rows": 3}, Rejection.SIZE_MISMATCH),
    ("empty positions", {"positions": []}, Rejection.SIZE_MISMATCH),
    ("a joint twice", {"joint_names": ["shoulder", "elbow", "elbow"]}, Rejection.DUPLICATE_JOINT),
    ("a joint missing", {"joint_names": ["shoulder", "elbow"]}, Rejection.MISSING_JOINT),
    ("no joints", {"joint_names": []}, Rejection.MISSING_JOINT),
    ("a joint of another robot", {"joint_names": ["shoulder", "elbow", "wrist"]}, Rejection.MISSING_JOINT),
    ("one joint too many", {"joint_names": [*JOINTS, "wrist"]}, Rejection.UNKNOWN_JOINT),
    ("NaN in the first row", {"positions": with_value(0, float("nan"))}, Rejection.NOT_FINITE),
    ("infinity in the last row", {"positions": with_value(11, float("inf"))}, Rejection.NOT_FINITE),
    ("a number that would overflow", {"positions": with_value(3, 1e308)}, Rejection.NOT_FINITE),
    ("minus infinity", {"positions": with_value(5, float("-inf"))}, Rejection.NOT_FINITE),
]


@pytest.mark.parametrize(("change", "reason"), [row[1:] for row in MALFORMED], ids=[row[0] for row in MALFORMED])
def test_a_malformed_chunk_is_refused_with_its_reason(change, reason):
    with pytest.raises(ChunkError) as refusal:
        Chunk.from_fields(JOINTS, **(GOOD | change))
    assert refusal.value.reason == reason
    assert str(refusal.value)


def test_the_good_chunk_is_taken_as_it_is():
    chunk = Chunk.from_fields(JOINTS, **GOOD)
    np.testing.assert_array_equal(chunk.positions, np.array(GOOD["positions"]).reshape(4, 3))
    assert (chunk.session, chunk.sequence, chunk.rows) == (7, 1, 4)


@given(st.permutations(range(3)))
def test_columns_are_taken_by_name_whatever_their_order(order):
    table = np.array(GOOD["positions"]).reshape(4, 3)
    fields = GOOD | {"joint_names": [JOINTS[i] for i in order], "positions": table[:, order].ravel().tolist()}
    np.testing.assert_array_equal(Chunk.from_fields(JOINTS, **fields).positions, table)


def test_the_positions_are_a_copy_of_the_message():
    positions = np.array(GOOD["positions"])
    chunk = Chunk.from_fields(JOINTS, **(GOOD | {"positions": positions}))
    positions[:] = 9.0
    assert chunk.positions.max() < 2.0


@pytest.mark.parametrize("value", [1e6, -1e6, 0.71])
def test_a_chunk_that_jumps_between_two_rows_is_refused_with_the_joint(value):
    chunk = Chunk.from_fields(JOINTS, **(GOOD | {"positions": [0.0] * 4 + [value] + [0.0] * 7}))
    with pytest.raises(ChunkError, match="elbow") as refusal:
        check_steps(chunk, JOINTS, np.array([0.5, 0.7, 0.5]))
    assert refusal.value.reason == Rejection.STEP_TOO_LARGE


def test_a_chunk_of_one_row_has_no_steps():
    chunk = Chunk.from_fields(JOINTS, **(GOOD | {"rows": 1, "positions": [0.0, 9.0, 0.0]}))
    check_steps(chunk, JOINTS, np.full(3, 0.1))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "session": st.integers(-(2**63), 2**64),
            "sequence": st.integers(-(2**63), 2**64),
            "stamp_ns": st.integers(-(2**63), 2**63),
            "step_ns": st.integers(-(2**63), 2**63),
            "rows": st.integers(0, 2**32 - 1),
            "frozen_rows": st.integers(0, 2**32 - 1),
            "positions": st.lists(st.floats(), max_size=20),
            "joint_names": st.lists(st.sampled_from([*JOINTS, "", "wrist"]), max_size=5),
        },
    )
)
def test_whatever_comes_is_a_good_chunk_or_a_typed_refusal(change):
    try:
        chunk = Chunk.from_fields(JOINTS, **(GOOD | change))
    except ChunkError as error:
        assert error.reason in Rejection
    else:
        assert chunk.positions.shape == (chunk.rows, 3)
        assert np.isfinite(chunk.positions).all()
