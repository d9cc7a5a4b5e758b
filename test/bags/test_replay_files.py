"""What a replay writes: every number as a table, all figures as JSON, and the conditions of continuous integration."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from replaying import JOINTS, ROWS, STEP_NS, run
from simulated_bag import make_bag

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bags.replay.conditions import METRICS, parse_condition
from smolvla_ros.bags.replay.result import BagFinding, Skipped
from smolvla_ros.bags.replay.rows import write_rows
from smolvla_ros.bags.replay.summary import summary, write_summary


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return make_bag(tmp_path_factory.mktemp("files") / "bag")


@pytest.fixture(scope="module")
def found(bag):
    return run(bag, latency="0")


@pytest.fixture(scope="module")
def repeated(bag):
    return run(bag, request="recorded")


def table(replay, folder, kind="parquet"):
    file = write_rows(replay, folder, kind)
    return pd.read_parquet(file) if kind == "parquet" else pd.read_csv(file)


def test_there_is_a_line_for_every_row_and_joint_of_every_chunk(found, tmp_path):
    rows = table(found, tmp_path)
    assert len(rows) == len(found.chunks) * ROWS * JOINTS
    line = rows[(rows["chunk"] == 1) & (rows["row"] == 3) & (rows["joint"] == "elbow_flex")].iloc[0]
    chunk = found.chunks[1]
    assert line["time_ns"] == chunk.start_ns + 3 * STEP_NS
    assert line["predicted"] == chunk.positions[3, 2] and line["reference"] == chunk.reference[3, 2]
    assert line["error"] == pytest.approx(chunk.positions[3, 2] - chunk.reference[3, 2])
    assert line["error_std"] == pytest.approx(line["error"] / found.action_std[2])
    assert (line["state"], line["instruction"]) == (chunk.state[2], chunk.instruction)


def test_the_mean_of_the_table_is_the_error_of_the_summary(found, tmp_path):
    rows = table(found, tmp_path)
    assert rows["error"].abs().mean() == pytest.approx(found.errors.robot.mean)
    by_joint = rows.assign(error=rows["error"].abs()).groupby("joint")["error"].mean()
    assert by_joint["gripper"] == pytest.approx(found.errors.robot.joint_mean[5])


def test_what_is_not_known_is_empty_and_never_a_number(found, repeated, tmp_path):
    rows = table(found, tmp_path)
    unknown = np.isnan(np.concatenate([chunk.reference.ravel() for chunk in found.chunks]))
    assert unknown.any() and rows["reference"].isna().tolist() == unknown.tolist()
    assert rows["recorded"].isna().all()
    recorded = table(repeated, tmp_path)["recorded"].to_numpy().reshape(-1, ROWS, JOINTS)
    np.testing.assert_array_equal(recorded[0], repeated.chunks[0].recorded.positions[:ROWS])


def test_csv_and_parquet_hold_the_same(found, tmp_path):
    pd.testing.assert_frame_equal(table(found, tmp_path), table(found, tmp_path, "csv"), check_dtype=False)


def test_without_chunks_the_table_has_a_head_and_no_lines(found, tmp_path):
    empty = dataclasses.replace(found, chunks=())
    for kind in ("parquet", "csv"):
        assert "predicted" in table(empty, tmp_path, kind) and len(table(empty, tmp_path, kind)) == 0


def test_no_rows_are_written_where_none_are_wanted(found, tmp_path):
    assert write_rows(found, tmp_path, "none") is None and not list(tmp_path.iterdir())


def test_the_summary_is_strict_json_with_null_for_what_is_not_known(found, tmp_path):
    nothing = dataclasses.replace(found, action_std=np.full(JOINTS, np.nan))
    text = write_summary(nothing, tmp_path).read_text()
    read = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert read["action_std"] == [None] * JOINTS
    assert read["errors"]["robot"]["mean"] == found.errors.robot.mean
    assert read["joints"] == list(found.joints) and read["recorded_errors"] is None
    assert read["streams"][0]["name"] == "camera front"
    assert len(read["chunks"]) == len(found.chunks)


def test_two_replays_write_the_same_bytes(bag, found, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    again = run(bag, latency="0")
    for write in (write_summary, lambda r, f: write_rows(r, f, "parquet"), lambda r, f: write_rows(r, f, "csv")):
        assert write(found, tmp_path / "one").read_bytes() == write(again, tmp_path / "two").read_bytes()


def test_nothing_in_the_summary_depends_on_the_speed_of_the_machine(found):
    slower = dataclasses.replace(
        found, stage_s={}, chunks=tuple(dataclasses.replace(chunk, inference_s=99.0) for chunk in found.chunks)
    )
    assert summary(slower) == summary(found)


# Conditions.


def broken(replay, text):
    return parse_condition(text, replay.joints).broken(replay)


def test_a_condition_holds_or_not_and_says_with_which_figure(found):
    value = found.errors.robot.mean
    assert broken(found, f"mae>{value / 2}") == f"mae is {value:.4g}: mae>{value / 2}"
    assert broken(found, f"mae>{value * 2}") == ""
    assert broken(found, f" mae <= {value} ") and not broken(found, f"mae < {value}")
    assert broken(found, f"mae>={value}") and not broken(found, f"mae>{value}")


def test_a_condition_may_be_put_on_a_joint(found):
    errors = found.errors.robot.joint_p95
    place = int(errors.argmax())
    limit = np.sort(errors)[-2:].mean()
    for joint, value in zip(found.joints, errors, strict=True):
        assert bool(broken(found, f"p95:{joint}>{limit}")) == (value > limit)
    assert f"p95 of {found.joints[place]} is" in broken(found, f"p95 : {found.joints[place]} > {limit}")


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_can_be_measured(found, repeated, name):
    replay, metric = repeated if name.startswith("recorded") else found, METRICS[name]
    assert np.isfinite(metric.value(replay))
    assert metric.joints is None or np.isfinite(metric.joints(replay)).all()


def test_what_could_not_be_measured_fails(found):
    assert "could not be measured" in broken(found, "recorded_mae>100")
    assert "could not be measured" in broken(found, "recorded_p95:gripper>100")


def test_counts_are_those_of_the_result(found):
    skips = (
        Skipped("observation", 0, 0, 100, "before the first chunk"),
        Skipped("instruction", found.end_ns, found.end_ns, 10, "nobody asked"),
        Skipped("observation", found.end_ns, found.end_ns, 2, "stale"),
        Skipped("inference", found.end_ns, found.end_ns, 1, "failed"),
    )
    findings = (BagFinding("a", "error", ""), BagFinding("b", "warning", ""), BagFinding("c", "note", ""))
    counted = dataclasses.replace(found, skipped=skips, findings=findings)
    assert broken(counted, "skipped>2") and not broken(counted, "skipped>3")
    assert broken(counted, "errors>=1") and not broken(counted, "errors>1")
    assert broken(counted, "warnings>0") and broken(counted, f"chunks<={len(found.chunks)}")


def test_standing_still_is_the_yardstick(found):
    ratio = found.errors.robot.mean / found.hold_errors.robot.mean
    assert broken(found, f"hold_ratio>{ratio * 0.99}") and not broken(found, f"hold_ratio>{ratio * 1.01}")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mae", "is no condition; expected METRIC>NUMBER"),
        ("mae=1", "is no condition"),
        ("", "is no condition"),
        ("mea>1", "no metric 'mea' (did you mean 'mae'?)"),
        ("mae>much", "'much' is no number"),
        ("mae>nan", "'nan' is no number"),
        ("mae:griper>1", "no joint 'griper' (did you mean 'gripper'?)"),
        ("skipped:gripper>1", "skipped is not measured by joint; mae, p95"),
    ],
)
def test_what_is_no_condition_is_refused_with_what_is_one(text, reason):
    with pytest.raises(BagError) as refused:
        parse_condition(text, ["pan", "gripper"])
    assert reason in str(refused.value)
