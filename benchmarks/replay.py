"""What replaying costs beside the inferences: two cameras of 640x480 at 30 Hz, joint states and commands at 100 Hz.

    python benchmarks/replay.py                                       # 60 s, uncompressed mcap (3.3 GB), shipped policy
    python benchmarks/replay.py --compression storage --json replay.json      # as `smolvla-ros record` writes it
    python benchmarks/replay.py --seconds 20 --profile replay.prof

The bag is made by the script. Seconds are CPU seconds of all threads, which other processes change little; the time on
the clock is told beside them.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from smolvla_ros.bags.messages import MessageTypes, Recorded
from smolvla_ros.bags.reader import open_bag
from smolvla_ros.bags.replay import ingest
from smolvla_ros.bags.replay.node import Setup
from smolvla_ros.bags.replay.result import Replay
from smolvla_ros.bags.replay.run import ReplaySettings, replay
from smolvla_ros.bags.streams import find_streams
from smolvla_ros.installation import find_ros_in_virtual_environment, share_folder
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.parameters.files import read_parameters
from smolvla_ros.parameters.policy import PolicyParameters
from smolvla_ros.policy.predictor import Predictor
from smolvla_ros.policy.setup import load_policy
from smolvla_ros.robot import RobotConfig
from smolvla_ros.robot.observation import ObservationBuffer

START_NS = 1_790_000_000 * 10**9
HEIGHT, WIDTH, PICTURES = 480, 640, 30
FRAME_NS, JOINT_NS = 33_333_333, 10_000_000


# What is timed: where it is called, and what it is called here.
STAGES = (
    (ingest.Ingest, "put", "ingest"),
    (MessageTypes, "deserialise", "deserialising"),
    (ObservationBuffer, "put_image", "observation buffer"),
    (ingest.Facts, "image", "facts for the report"),
    (ObservationBuffer, "decode", "decoding"),
    (Predictor, "predict", "inference"),
)


class Seconds:
    """CPU time by stage."""

    def __init__(self) -> None:
        self.of: dict[str, float] = {}

    def timed(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start_s = time.process_time()
            try:
                return call(*args, **kwargs)
            finally:
                self.of[stage] = self.of.get(stage, 0.0) + time.process_time() - start_s

        return timed


class TimedRead:
    """`Bag.read` whose iterator's time is counted."""

    def __init__(self, read: Callable[..., Iterator[Recorded]], seconds: Seconds):
        self._read, self._seconds = read, seconds

    def __call__(self, *args: Any) -> Iterator[Recorded]:
        messages = self._read(*args)
        step = self._seconds.timed("reading", lambda: next(messages, None))
        return iter(step, None)


def write_bag(folder: Path, seconds: float, storage: str, compression: str, joints: tuple[str, ...]) -> None:
    """A bag of moving pictures with the noise of a sensor, and of joints that move on sines."""
    types = MessageTypes({})
    make = types.store.types
    draw = np.random.default_rng(0)
    ramp = np.linspace(0, 200, WIDTH)[None, :, None] + np.zeros((HEIGHT, 1, 3))
    pictures = [
        np.clip(np.roll(ramp, 20 * place, axis=1) + draw.normal(20.0, 3.0, ramp.shape), 0, 255)
        .astype(np.uint8)
        .reshape(-1)
        for place in range(PICTURES)
    ]

    def header(now_ns: int) -> Any:
        stamp = make["builtin_interfaces/msg/Time"](sec=now_ns // 10**9, nanosec=now_ns % 10**9)
        return make["std_msgs/msg/Header"](stamp=stamp, frame_id="")

    def events() -> Iterator[tuple[str, int, Any]]:
        yield "/instruction", START_NS, make["std_msgs/msg/String"](data="touch the red cube")
        for frame in range(round(seconds * 1e9) // FRAME_NS):
            now_ns = START_NS + frame * FRAME_NS
            for camera in ("front", "wrist"):
                yield f"/{camera}/image_raw", now_ns, make["sensor_msgs/msg/Image"](
                    header=header(now_ns), height=HEIGHT, width=WIDTH, encoding="rgb8", is_bigendian=0, step=3 * WIDTH,
                    data=pictures[frame % PICTURES],
                )  # fmt: skip
            for at_ns in range(now_ns, now_ns + FRAME_NS, JOINT_NS):
                positions = 0.3 * np.sin((at_ns - START_NS) * 1e-9 + np.arange(len(joints)))
                for topic in ("/joint_states", "/joint_command"):
                    yield topic, at_ns, make["sensor_msgs/msg/JointState"](
                        header=header(at_ns), name=list(joints), position=positions, velocity=np.empty(0),
                        effort=np.empty(0),
                    )  # fmt: skip

    writer = Writer(folder, version=9, storage_plugin=StoragePlugin[storage.upper()])
    if compression != "none":
        writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    with writer:
        connections: dict[str, Any] = {}
        for topic, log_ns, message in events():
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, message.__msgtype__, typestore=types.store)
            writer.write(connections[topic], log_ns, types.serialise(message))


def make_setup(checkpoint: str, threads: int) -> Setup:
    config = share_folder() / "config" / "so101_sim.yaml"
    choices = {"checkpoint": checkpoint, "torch_threads": threads, "seed": 0}
    parameters = read_parameters(config, "/policy_node", PolicyParameters, choices)
    described = RobotConfig.from_parameters(parameters)
    return Setup(described, parameters, load_policy(parameters, described, print), checkpoint, "so101_sim")


def replay_timed(path: Path, setup: Setup, request: str) -> tuple[Replay, dict[str, float]]:
    """Replays, and tells the seconds of each stage and of all."""
    seconds = Seconds()
    config = share_folder() / "config" / "so101_sim.yaml"
    parameters = read_parameters(config, "/controller_node", ControllerParameters)
    with contextlib.ExitStack() as patches:
        for owner, name, stage in STAGES:
            timed = seconds.timed(stage, getattr(owner, name))
            patches.enter_context(mock.patch.object(owner, name, lambda *a, _timed=timed, **k: _timed(*a, **k)))
        start_s, clock_s = time.process_time(), time.perf_counter()
        with open_bag(path) as bag:
            streams = find_streams(bag, setup.robot, parameters)
            bag.read = TimedRead(bag.read, seconds)  # type: ignore[method-assign]
            found = replay(bag, streams, setup, ReplaySettings(request=request), lambda done_s: None)
        seconds.of |= {"total": time.process_time() - start_s, "clock": time.perf_counter() - clock_s}
        return found, seconds.of


def figures(found: Replay, seconds: dict[str, float], setup: Setup) -> dict[str, Any]:
    """Seconds by stage, each without those named below it, and what they are for."""
    import torch

    ingest_s = seconds["ingest"]
    parts = {
        "reading": seconds["reading"],
        "ingest": ingest_s,
        "  deserialising": seconds["deserialising"],
        "  observation buffer": seconds["observation buffer"],
        "  facts for the report": seconds["facts for the report"],
        "decoding": seconds["decoding"],
        "inference": seconds["inference"] - seconds["decoding"],
    }
    named = sum(value for name, value in parts.items() if not name.startswith(" "))
    return {
        "replayed_s": (found.end_ns - found.start_ns) / 1e9,
        "images": sum(stream.messages for stream in found.streams if "camera" in stream.name),
        "messages": sum(stream.messages for stream in found.streams),
        "chunks": len(found.chunks),
        "checkpoint": setup.checkpoint,
        "threads": torch.get_num_threads(),
        "seconds": parts | {"rest": seconds["total"] - named, "total": seconds["total"]},
        "clock_s": seconds["clock"],
        "beside_inference": 1.0 - parts["inference"] / seconds["total"],
    }


def show(measured: dict[str, Any]) -> None:
    """Prints the figures for people."""
    for name, value in measured.items():
        if name != "seconds":
            print(f"{name:18} {value:.2f}" if isinstance(value, float) else f"{name:18} {value}")
    for stage, seconds in measured["seconds"].items():
        print(f"  {stage:24} {seconds:8.2f} s")


def main() -> None:
    find_ros_in_virtual_environment()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the bag (default: 60)")
    parser.add_argument("--storage", default="mcap", choices=("mcap", "sqlite3"))
    parser.add_argument("--compression", default="none", choices=("none", "message", "file", "storage"))
    parser.add_argument(
        "--checkpoint", default=str(share_folder() / "checkpoints" / "demo"), help="default: as shipped"
    )
    parser.add_argument("--request", default="threshold", help="request rule (default: threshold)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="write a profile (pstats) of it there")
    args = parser.parse_args()
    setup = make_setup(args.checkpoint, args.threads)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "bag"
        write_bag(path, args.seconds, args.storage, args.compression, setup.robot.joint_names)
        profile = cProfile.Profile() if args.profile else contextlib.nullcontext()
        with profile:
            found, seconds = replay_timed(path, setup, args.request)
    measured = figures(found, seconds, setup)
    show(measured)
    if args.json:
        args.json.write_text(json.dumps(measured, indent=2) + "\n")
    if args.profile:
        profile.dump_stats(args.profile)


if __name__ == "__main__":
    main()
