"""The files of a LeRobotDataset v3.0, fact by fact, written from plain arrays and read with other libraries."""

import json
import os
from fractions import Fraction

import av
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smolvla_ros.bags.dataset import video
from smolvla_ros.bags.dataset.layout import FilePlace
from smolvla_ros.bags.dataset.tables import FrameTable, frame_columns
from smolvla_ros.bags.dataset.video import CODECS, Clip, VideoFiles, choose_codec, even_size
from smolvla_ros.bags.dataset.writer import DatasetWriter
from smolvla_ros.bags.errors import BagError

FRONT, WRIST = "observation.images.front", "observation.images.wrist"
JOINTS = ("pan.pos", "lift.pos", "gripper.pos")
FPS = 30
LENGTHS = (7, 5, 9)
TASKS = ("touch the red cube", "touch the blue cube", "touch the red cube")


def picture(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth picture whose brightness tells its number."""
    ramp = np.linspace(0, 40, width)[None, :, None] + np.linspace(0, 40, height)[:, None, None]
    return np.broadcast_to(ramp + 8 * (number % 20), (height, width, 3)).astype(np.uint8)


def writer(out, cameras=(FRONT, WRIST)) -> DatasetWriter:
    return DatasetWriter(out, cameras=cameras, joints=JOINTS, fps=FPS, robot_type="an_arm", codec=choose_codec("h264"))


def pictures(first: int, count: int):
    return ({FRONT: picture(first + k), WRIST: picture(first + k + 7, 32, 32)} for k in range(count))


def vectors(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, len(JOINTS))).astype(np.float32)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("dataset") / "ds"
    with writer(out) as made:
        for episode, (length, task) in enumerate(zip(LENGTHS, TASKS, strict=True)):
            made.add_episode(task, vectors(episode, length), vectors(episode + 10, length),
                             pictures(sum(LENGTHS[:episode]), length))  # fmt: skip
        made.finish({"bags": []})
    return out


def test_there_are_the_files_of_the_format_and_one_that_tells_the_origin(dataset):
    assert {str(file.relative_to(dataset)) for file in dataset.rglob("*") if file.is_file()} == {
        "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet", "meta/info.json",
        "meta/stats.json", "meta/tasks.parquet", "meta/smolvla_ros.json",
        f"videos/{FRONT}/chunk-000/file-000.mp4", f"videos/{WRIST}/chunk-000/file-000.mp4",
    }  # fmt: skip


def test_info_tells_version_sizes_and_features(dataset):
    info = json.loads((dataset / "meta/info.json").read_text())
    features = info.pop("features")
    assert info == {
        "codebase_version": "v3.0", "robot_type": "an_arm", "total_episodes": 3, "total_frames": 21, "total_tasks": 2,
        "chunks_size": 1000, "data_files_size_in_mb": 100, "video_files_size_in_mb": 200, "fps": 30,
        "splits": {"train": "0:3"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }  # fmt: skip
    assert features["observation.state"] == {"dtype": "float32", "shape": [3], "names": list(JOINTS)}
    assert features["action"] == features["observation.state"]
    assert features[FRONT] == {
        "dtype": "video", "shape": [48, 64, 3], "names": ["height", "width", "channels"],
        "info": {
            "video.height": 48, "video.width": 64, "video.codec": "h264", "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False, "video.fps": 30, "video.channels": 3, "has_audio": False,
        },
    }  # fmt: skip
    assert features["timestamp"] == {"dtype": "float32", "shape": [1], "names": None}
    for name in ("frame_index", "episode_index", "index", "task_index"):
        assert features[name] == {"dtype": "int64", "shape": [1], "names": None}


def test_frames_have_the_columns_types_and_description_of_hugging_face_datasets(dataset):
    file = pq.ParquetFile(dataset / "data/chunk-000/file-000.parquet")
    schema = file.schema_arrow
    assert schema.names == ["observation.state", "action", "timestamp", "frame_index", "episode_index", "index",
                            "task_index"]  # fmt: skip
    assert schema.field("action").type == pa.list_(pa.field("element", pa.float32()), 3)
    assert schema.field("timestamp").type == pa.float32()
    assert schema.field("index").type == pa.int64()
    described = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert list(described) == schema.names
    assert described["action"] == {"feature": {"dtype": "float32", "_type": "Value"}, "length": 3, "_type": "List"}
    assert described["index"] == {"dtype": "int64", "_type": "Value"}
    assert file.metadata.row_group(0).column(0).compression == "SNAPPY"


def test_every_episode_is_a_row_group(dataset):
    metadata = pq.ParquetFile(dataset / "data/chunk-000/file-000.parquet").metadata
    assert [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)] == list(LENGTHS)


def test_frames_lie_on_k_over_fps_and_are_numbered_through(dataset):
    frames = pd.read_parquet(dataset / "data/chunk-000/file-000.parquet")
    place = np.concatenate([np.arange(length) for length in LENGTHS])
    assert (frames["timestamp"].to_numpy() == (place / FPS).astype(np.float32)).all()
    assert frames["frame_index"].tolist() == place.tolist()
    assert frames["index"].tolist() == list(range(21))
    assert frames["episode_index"].tolist() == np.repeat([0, 1, 2], LENGTHS).tolist()
    assert frames["task_index"].tolist() == np.repeat([0, 1, 0], LENGTHS).tolist()
    expected = np.concatenate([vectors(episode, length) for episode, length in enumerate(LENGTHS)])
    assert (np.stack(frames["observation.state"]) == expected).all()
    expected = np.concatenate([vectors(episode + 10, length) for episode, length in enumerate(LENGTHS)])
    assert (np.stack(frames["action"]) == expected).all()


def test_tasks_are_a_pandas_frame_with_the_text_as_index(dataset):
    tasks = pd.read_parquet(dataset / "meta/tasks.parquet")
    assert tasks.index.name == "task"
    assert tasks.loc["touch the blue cube"].task_index == 1
    assert tasks["task_index"].tolist() == [0, 1]


def test_episodes_tell_where_their_frames_and_videos_are(dataset):
    rows = pq.read_table(dataset / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["length"] for row in rows] == list(LENGTHS)
    assert [row["tasks"] for row in rows] == [[task] for task in TASKS]
    assert [(row["dataset_from_index"], row["dataset_to_index"]) for row in rows] == [(0, 7), (7, 12), (12, 21)]
    for row, first, last in zip(rows, (0, 7, 12), (7, 12, 21), strict=True):
        for camera in (FRONT, WRIST):
            assert row[f"videos/{camera}/from_timestamp"] == pytest.approx(first / FPS, abs=1e-12)
            assert row[f"videos/{camera}/to_timestamp"] == pytest.approx(last / FPS, abs=1e-12)
        files = [value for name, value in row.items() if name.endswith(("/chunk_index", "/file_index"))]
        assert files == [0] * 8


def test_statistics_of_episodes_and_of_all_have_the_shapes_of_the_features(dataset):
    row = pq.read_table(dataset / "meta/episodes/chunk-000/file-000.parquet").to_pylist()[1]
    statistics = json.loads((dataset / "meta/stats.json").read_text())
    names = {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"}
    columns = {"observation.state", "action", "timestamp", "frame_index", "episode_index", "index", "task_index"}
    assert set(statistics) == columns | {FRONT, WRIST}
    for feature, figures in statistics.items():
        assert set(figures) == names
        expected = {FRONT: (3, 1, 1), WRIST: (3, 1, 1), "action": (3,), "observation.state": (3,)}.get(feature, (1,))
        for name in names - {"count"}:
            assert np.shape(figures[name]) == expected
            assert np.shape(row[f"stats/{feature}/{name}"]) == expected
        assert np.shape(figures["count"]) == (1,)
    np.testing.assert_allclose(row["stats/action/mean"], vectors(11, 5).mean(axis=0), rtol=1e-6)
    assert statistics["index"]["max"] == [20] and statistics["action"]["count"] == [21]
    everything = np.stack([picture(k) for k in range(21)]) / 255.0
    assert np.ravel(statistics[FRONT]["mean"])[0] == pytest.approx(everything[..., 0].mean())
    assert np.ravel(statistics[FRONT]["std"])[0] == pytest.approx(everything[..., 0].std())


@pytest.mark.parametrize(("camera", "offset", "size"), [(FRONT, 0, (48, 64)), (WRIST, 7, (32, 32))])
def test_a_video_has_the_picture_of_every_frame_at_exactly_its_time(dataset, camera, offset, size):
    with av.open(str(dataset / f"videos/{camera}/chunk-000/file-000.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec.canonical_name == "h264" and stream.pix_fmt == "yuv420p"
        frames = list(container.decode(stream))
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(k, FPS) for k in range(21)]
    assert all(frames[first].key_frame for first in (0, 7, 12))
    for number, frame in enumerate(frames):
        shown = frame.to_ndarray(format="rgb24").astype(float)
        assert np.abs(shown - picture(number + offset, *size)).mean() < 4.0


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_every_codec_shows_every_frame_at_k_over_fps_and_at_least_every_other_is_a_key_frame(tmp_path, codec):
    if CODECS[codec].encoder not in av.codecs_available:
        pytest.skip(f"PyAV has no {CODECS[codec].encoder} here")
    clip = Clip(tmp_path / "clip.mp4", CODECS[codec], 12, (64, 64))
    for number in range(6):
        clip.add(picture(number, 64, 64))
    clip.finish()
    with av.open(str(clip.file)) as container:
        frames = list(container.decode(video=0))
        assert container.streams.video[0].codec.canonical_name == codec
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(k, 12) for k in range(6)]
    for number, frame in enumerate(frames):  # 8 levels brighter from one to the next
        assert np.abs(frame.to_ndarray(format="rgb24").astype(float) - picture(number, 64, 64)).mean() < 3.0
    assert all(frame.key_frame for frame in frames[::2])


def test_an_encoder_gives_no_thread_a_priority_over_the_rest_of_the_machine(tmp_path):
    """SVT-AV1 does, where it may: run by root."""
    clip = Clip(tmp_path / "clip.mp4", CODECS["av1"], FPS, (48, 64))
    for number in range(3):
        clip.add(picture(number))
    policies = {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}
    clip.finish()
    assert not policies & {os.SCHED_FIFO, os.SCHED_RR}


def clips(folder, frames, count):
    for number in range(count):
        clip = Clip(folder / f"clip-{number}.mp4", CODECS["h264"], FPS, (32, 32))
        for k in range(frames):
            clip.add(np.random.default_rng(number * frames + k).integers(0, 256, (32, 32, 3), dtype=np.uint8))
        clip.finish()
        yield clip


def test_a_video_file_that_would_get_too_large_is_followed_by_another(tmp_path):
    files = VideoFiles(tmp_path, FRONT, FPS, max_bytes=9_000)
    places = [files.append(clip) for clip in clips(tmp_path, 6, 6)]
    files.close()
    written = sorted((tmp_path / "videos").rglob("*.mp4"))
    assert len(written) > 1 and all(file.stat().st_size < 9_000 for file in written)
    assert [place.file.file for place in places] == sorted(place.file.file for place in places)
    for place in places:
        name = f"file-{place.file.file:03d}.mp4"
        assert tmp_path / "videos" / FRONT / "chunk-000" / name in written
        first = [other for other in places if other.file == place.file][0]
        assert first.from_s == 0.0
        assert place.to_s - place.from_s == pytest.approx(6 / FPS)


def test_a_video_file_ends_before_float32_seconds_get_coarser_than_the_readers_tolerance(tmp_path, monkeypatch):
    assert np.spacing(np.float32(video._MAX_FILE_S)) < 1e-4
    monkeypatch.setattr(video, "_MAX_FILE_S", 0.5)
    files = VideoFiles(tmp_path, FRONT, FPS)
    places = [files.append(clip) for clip in clips(tmp_path, 6, 4)]
    files.close()
    assert [(place.file.file, round(place.from_s * FPS)) for place in places] == [(0, 0), (0, 6), (1, 0), (1, 6)]


def test_a_data_file_that_would_get_too_large_is_followed_by_another(tmp_path):
    table, places = FrameTable(tmp_path, 3, max_bytes=20_000), []
    for episode in range(8):
        values = vectors(episode, 200)
        places.append(table.append(frame_columns(values, values, fps=30, episode=episode, first=200 * episode, task=0)))
    table.close()
    files = sorted((tmp_path / "data").rglob("*.parquet"))
    assert len(files) > 1 and all(file.stat().st_size < 22_000 for file in files)
    assert places[-1].file == len(files) - 1
    together = pd.concat([pd.read_parquet(file) for file in files])
    assert together["index"].tolist() == list(range(1600))


def test_a_chunk_has_a_thousand_files():
    assert FilePlace(0, 998).next() == FilePlace(0, 999)
    assert FilePlace(0, 999).next() == FilePlace(1, 0)


def test_an_odd_last_row_or_column_is_left_out_because_colours_come_in_pairs(tmp_path):
    assert even_size(picture(0, 49, 65)).shape == (48, 64, 3)
    with writer(tmp_path / "ds", [FRONT]) as made:
        made.add_episode("x", vectors(0, 2), vectors(0, 2), ({FRONT: picture(k, 49, 64)} for k in range(2)))
        made.finish({})
    assert made.cropped == {FRONT}
    info = json.loads((tmp_path / "ds/meta/info.json").read_text())
    assert info["features"][FRONT]["shape"] == [48, 64, 3]


def test_pictures_of_two_sizes_are_refused_by_name(tmp_path):
    with pytest.raises(BagError, match=r"'observation.images.front' has images of 32x32 and of 64x48"), \
            writer(tmp_path / "ds", [FRONT]) as made:  # fmt: skip
        made.add_episode("x", vectors(0, 2), vectors(0, 2), iter([{FRONT: picture(0)}, {FRONT: picture(0, 32, 32)}]))
    assert list(tmp_path.iterdir()) == []


def test_a_feature_with_a_slash_is_refused(tmp_path):
    with pytest.raises(BagError, match="no '/'"):
        writer(tmp_path / "ds", ["observation/front"])


def test_an_encoder_that_is_not_there_is_told_with_those_that_are(monkeypatch):
    monkeypatch.setattr(av, "codecs_available", {"libx264"})
    assert choose_codec("").name == "h264"
    with pytest.raises(BagError, match="'av1' needs the encoder libsvtav1, .* it has h264"):
        choose_codec("av1")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device"), BagError("damaged")])
def test_whatever_happens_while_writing_leaves_nothing_behind(tmp_path, error):
    def broken():
        yield {FRONT: picture(0), WRIST: picture(0, 32, 32)}
        raise error

    with pytest.raises(type(error)), writer(tmp_path / "ds") as made:
        made.add_episode("x", vectors(0, 3), vectors(0, 3), pictures(0, 3))
        made.add_episode("x", vectors(0, 3), vectors(0, 3), broken())
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_seen_under_the_name_before_all_is_written(tmp_path):
    with writer(tmp_path / "ds") as made:
        made.add_episode("x", vectors(0, 3), vectors(0, 3), pictures(0, 3))
        assert not (tmp_path / "ds").exists()
        made.finish({})
    assert [file.name for file in tmp_path.iterdir()] == ["ds"]


def test_a_folder_that_holds_something_is_never_written_over(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BagError, match="there already"):
        writer(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
