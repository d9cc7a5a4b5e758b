"""What a recorder sees of the simulated arm, as arrays and messages, for tests of diagnosis without any file.

`record(seed, seconds)` drives the arm with the scripted expert in virtual time; `facts(...)` feeds that, with faults
planted by the test, into the collector.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.bags.replay.facts import Facts, camera_stream
from smolvla_ros.robot import RobotConfig
from smolvla_ros.sim.policies import ExpertPolicy
from smolvla_ros.sim.task import COLOURS
from smolvla_ros.sim.world import CAMERAS, World

START_NS = 1_700_000_000 * 10**9
PERIOD_NS = 10_000_000
IMAGE_EVERY = 3
_ROWS_PER_STEP = 3.0  # control periods in an action period, nearly


@dataclass(frozen=True)
class Motion:
    """times_ns [n]; commands, positions [n, 6] in rad; images [n / IMAGE_EVERY] per camera."""

    times_ns: NDArray[np.int64]
    commands: NDArray[np.float64]
    positions: NDArray[np.float64]
    images: dict[str, list[NDArray[np.uint8]]]


@cache
def record(seed: int = 0, seconds: float = 8.0, at_rest: bool = False) -> Motion:
    """The expert touches one cube after the other; at rest the arm holds its home."""
    world, rng = World(seed), np.random.default_rng(seed)
    policy = ExpertPolicy(world)
    count = round(seconds * 1e9 / PERIOD_NS)
    commands, positions, images = [], [], {camera: [] for camera in CAMERAS}
    target, rows, since = str(rng.choice(COLOURS)), None, 0
    home = world.joint_positions()
    for k in range(count):
        if k % IMAGE_EVERY == 0:
            for camera in CAMERAS:
                images[camera].append(world.render(camera))
        if world.touched():
            target = str(rng.choice([colour for colour in COLOURS if colour != target]))
            world.forget_touch()
        if rows is None or since >= 50:
            rows, since = policy.actions(world.joint_positions(), f"touch the {target} cube"), 0
        place = min(since / _ROWS_PER_STEP, len(rows) - 1.0)
        low = int(place)
        command = rows[low] + (place - low) * (rows[min(low + 1, len(rows) - 1)] - rows[low])
        since += 1
        if at_rest:
            command = home
        positions.append(world.joint_positions())
        commands.append(command)
        world.set_targets(command)
        world.step(PERIOD_NS / 1e9)
    world.close()
    return Motion(START_NS + PERIOD_NS * np.arange(count), np.array(commands), np.array(positions), images)


def stamp(ns: int) -> SimpleNamespace:
    return SimpleNamespace(stamp=SimpleNamespace(sec=int(ns) // 10**9, nanosec=int(ns) % 10**9))


def image(pixels: NDArray[np.uint8], ns: int) -> SimpleNamespace:
    height, width = pixels.shape[:2]
    return SimpleNamespace(header=stamp(ns), height=height, width=width, step=3 * width, encoding="rgb8",
                           is_bigendian=0, data=np.ascontiguousarray(pixels).reshape(-1))  # fmt: skip


def joint_state(names: tuple[str, ...], positions: NDArray[np.float64], ns: int) -> SimpleNamespace:
    return SimpleNamespace(header=stamp(ns), name=list(names), position=list(positions))


def facts(
    motion: Motion,
    robot: RobotConfig,
    *,
    commands: NDArray[np.float64] | None = None,
    positions: NDArray[np.float64] | None = None,
    images: dict[str, list[NDArray[np.uint8]]] | None = None,
    shift_s: dict[str, float] | None = None,
    from_s: dict[str, float] | None = None,
    until_s: dict[str, float] | None = None,
    keep_every: dict[str, int] | None = None,
    late_s: dict[str, float] | None = None,
    topics: dict[str, str] | None = None,
    with_commands: bool = True,
    instruction: str = "touch the red cube",
) -> Facts:
    """The motion as seen by the recorder, with faults.

    `shift_s` moves a stream's header stamps into the past, `from_s` and `until_s` begin and end a stream, `keep_every`
    makes it slower, `late_s` is how long its messages are under way; all by stream name. `topics`: of cameras by name.
    """
    commands = motion.commands if commands is None else commands
    positions = motion.positions if positions is None else positions
    images = motion.images if images is None else images
    shift_s, until_s, keep_every, late_s = shift_s or {}, until_s or {}, keep_every or {}, late_s or {}
    pictured = {name: (topics or {}).get(name, f"/{name}/image_raw") for name in images}
    streams = {topic: camera_stream(name) for name, topic in pictured.items()}
    streams |= {"/joint_states": "joint states", "/joint_command": "commands", "/instruction": "instruction"}
    made = Facts(streams, robot, int(motion.times_ns[0]), int(motion.times_ns[-1]))

    def stamps(stream: str, k: int, delay_ns: int) -> tuple[int, int] | None:
        now = int(motion.times_ns[k])
        since_s = (now - int(motion.times_ns[0])) / 1e9
        if not (from_s or {}).get(stream, 0.0) <= since_s < until_s.get(stream, 1e9):
            return None
        delay_ns += round(late_s.get(stream, 0.0) * 1e9)
        return now - round(shift_s.get(stream, 0.0) * 1e9), now + delay_ns

    if instruction:
        made.instruction(instruction, int(motion.times_ns[0]))
    for k in range(len(motion.times_ns)):
        for name, pictures in images.items():
            stream = camera_stream(name)
            every = IMAGE_EVERY * keep_every.get(stream, 1)
            if k % every == 0 and (at := stamps(stream, k, 8_000_000)):
                made.image(pictured[name], name, image(pictures[k // IMAGE_EVERY], at[0]), at[1])
        if k % keep_every.get("joint states", 1) == 0 and (at := stamps("joint states", k, 1_000_000)):
            made.joint_state("/joint_states", joint_state(robot.joint_names, positions[k], at[0]), at[1])
        if with_commands and (at := stamps("commands", k, 500_000)):
            made.command("/joint_command", commands[k], at[0], at[1])
    made.close()
    return made
