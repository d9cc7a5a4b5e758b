"""How joint_trajectory_controller follows our stream of trajectories: speed and velocity jumps beside the plan's own.

    python benchmarks/trajectory_following.py --json rows.json    # every cell, with the shipped policy's motion
    python benchmarks/trajectory_following.py --policy expert --rates 500

The messages are those of the controller node at 100 Hz. Who follows them is `smolvla_ros.sim.trajectory_follower`, with
the rules of joint_trajectory_controller 4.42: its own update rate, both settings of interpolate_from_desired_state,
hardware that lags, messages that take 0.3 ms and up to `jitter_ms` more. Streams: the simulated arm doing tasks
(`demo`), a sine at the velocity limit, and chunks that contradict each other (`seams`). `speed_ratio`, `jump_ratio`:
the largest speed that the arm is commanded, and change of velocity from one update to the next, as multiples of those
of the commands behind the messages; of the worst joint, and of the worst of some phases between messages and updates.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline

from smolvla_ros.execution.chunk import Chunk
from smolvla_ros.execution.commander import Command
from smolvla_ros.execution.controller import Controller
from smolvla_ros.execution.limits import JointLimits
from smolvla_ros.nodes.command_output import outputs_from
from smolvla_ros.nodes.controller_settings import settings_from
from smolvla_ros.parameters import Value
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.parameters.policy import PolicyParameters
from smolvla_ros.policy import setup as policy_setup
from smolvla_ros.policy.questions import OneByOne, Predicted, Question
from smolvla_ros.robot.joint_limits import limits_from
from smolvla_ros.sim import JOINTS, World, scenarios
from smolvla_ros.sim.expert import STEP_S
from smolvla_ros.sim.policies import CheckpointPolicy, ExpertPolicy
from smolvla_ros.sim.trajectory_follower import FollowedTrajectory, TrajectoryFollower
from smolvla_ros.sim.virtual_arm import VirtualArm
from smolvla_ros.stamps import stamp_ns

ROOT = Path(__file__).resolve().parents[1]
PERIOD_NS, START_NS = 10_000_000, 10**12
STEP_NS = round(STEP_S * 1e9)
DELAY_TICKS = 4  # of the policy
WAY_NS = 300_000  # of a message

Array = NDArray[np.float64]


class Arrival(NamedTuple):
    """A chunk and when it reaches the controller, counted from the start."""

    at_ns: int
    chunk: Chunk


class Sent(NamedTuple):
    """Messages with their instants, and the commands behind them: instants [n], positions and velocities [n, joints].

    `start`: where the arm stood before, [joints].
    """

    start: Array
    messages: list[tuple[int, FollowedTrajectory]]
    times_ns: NDArray[np.int64]
    positions: Array
    velocities: Array


class Following(NamedTuple):
    """One way of following: instants [n], and what was commanded there, [n, joints]."""

    times_ns: NDArray[np.int64]
    positions: Array


@dataclass(frozen=True)
class Row:
    """One cell."""

    stream: str
    rate_hz: int
    from_desired: bool
    lag_ms: int
    jitter_ms: int
    speed_ratio: float
    jump_ratio: float


# Streams of chunks.


def demo(policy: str, tasks: int = 2) -> list[Arrival]:
    """What the policy answers while the simulated arm does tasks."""
    world = World(scene="touch" if policy == "expert" else "pick_place")
    arrivals: list[Arrival] = []
    for seed in range(tasks):
        begin_ns = arrivals[-1].at_ns + 10**9 if arrivals else 0
        make_arm = functools.partial(_arm, policy=policy, begin_ns=begin_ns, arrivals=arrivals)
        scenarios.task(world, make_arm, seed)
    return arrivals


def _arm(world: World, seed: int, *, policy: str, begin_ns: int, arrivals: list[Arrival]) -> VirtualArm:
    parameters = PolicyParameters.from_values({"checkpoint": policy, "joints": list(JOINTS)})
    heard = _asked(policy, world)
    heard.reset(seed)
    settings = settings_from(_parameters(), limits_from(_parameters(), None))
    return VirtualArm(
        world, _Recorded(heard, begin_ns, arrivals), settings=settings,
        requests=policy_setup.request_policy(parameters), delay=lambda: DELAY_TICKS,
    )  # fmt: skip


class _Recorded(OneByOne):
    """A policy whose answers are kept."""

    def __init__(self, policy: Any, begin_ns: int, arrivals: list[Arrival]):
        self._policy, self._begin_ns, self._arrivals = policy, begin_ns, arrivals
        self.rows = policy.rows
        self.normalised_state = policy.normalised_state

    def answer(self, question: Question) -> Predicted:
        predicted: Predicted = self._policy.predict([self._policy.prepare(question)])[0]
        at_ns = self._begin_ns + question.observation.stamp_ns - 10**9
        chunk = Chunk(1, len(self._arrivals) + 1, START_NS + at_ns, STEP_NS, predicted.positions, 0)
        self._arrivals.append(Arrival(at_ns + DELAY_TICKS * STEP_NS, chunk))
        return predicted


@functools.cache
def _asked(policy: str, world: World) -> Any:
    if policy == "expert":
        return ExpertPolicy(world)
    from smolvla_ros.model import SmolVLAPolicy

    return CheckpointPolicy(SmolVLAPolicy.from_checkpoint(policy), None)


def sine(seconds: float = 4.0) -> list[Arrival]:
    """All joints at their velocity limits, one after the other in phase; chunks that agree."""
    limits = _limits()
    frequency = 0.7 * limits.acceleration / limits.velocity
    middle, amplitude = 0.5 * (limits.lower + limits.upper), limits.velocity / frequency

    def path(times_s: Array) -> Array:
        return middle + amplitude * np.sin(frequency * times_s[:, None]) * np.minimum(times_s[:, None], 1.0)

    starts = np.arange(0.0, seconds, 0.3)
    return [_from_path(path, number, start_s, 0.13) for number, start_s in enumerate(starts, start=1)]


def seams(count: int = 12) -> list[Arrival]:
    """Chunks each of which contradicts the one before: it begins and turns elsewhere."""
    random, limits = np.random.default_rng(7), _limits()
    middle = 0.5 * (limits.lower + limits.upper)
    arrivals = []
    for number in range(1, count + 1):
        rate, phase, aside = (random.uniform(-1.0, 1.0, len(middle)) for _ in range(3))

        def path(times_s: Array, rate: Array = rate, phase: Array = phase, aside: Array = aside) -> Array:
            return middle + 0.1 * aside + 0.2 * np.sin(6.0 * rate * times_s[:, None] + 3.0 * phase)

        arrivals.append(_from_path(path, number, 0.4 * number, 0.13))
    return arrivals


def _from_path(path: Callable[[Array], Array], number: int, stamp_s: float, latency_s: float) -> Arrival:
    rows = path(stamp_s + STEP_S * np.arange(30))
    chunk = Chunk(1, number, START_NS + round(stamp_s * 1e9), STEP_NS, rows, 0)
    return Arrival(round((stamp_s + latency_s) * 1e9), chunk)


# From chunks to messages.


def sent(arrivals: list[Arrival], **changes: Value) -> Sent:
    """What the controller node sends in driven time; the arm does what it is told."""
    parameters, limits = _parameters(**changes), _limits()
    controller = Controller(settings_from(parameters, limits))
    publisher = _Publisher()
    (output,) = outputs_from(publisher, parameters, controller, limits)  # type: ignore[arg-type]
    arriving = list(arrivals)
    begin_ns = arriving[0].at_ns - 20 * PERIOD_NS
    position, messages, commands, times = arriving[0].chunk.positions[0], [], [], []
    controller.activate(START_NS + begin_ns, begin_ns)
    for tick_ns in range(begin_ns, arriving[-1].at_ns + 10**9, PERIOD_NS):
        now_ns = START_NS + tick_ns
        controller.receive_joint_positions(position, now_ns, tick_ns)
        while arriving and arriving[0].at_ns <= tick_ns:
            controller.receive_chunk(arriving.pop(0).chunk, now_ns, tick_ns)
        command: Command | None = controller.step(now_ns, tick_ns)
        if command is None:
            continue
        output.send(command, now_ns)
        messages.append((now_ns, as_followed(publisher.message)))
        times.append(now_ns)
        commands.append(command)
        position = command.positions
    columns = (np.array([getattr(command, name) for command in commands]) for name in ("positions", "velocities"))
    return Sent(arrivals[0].chunk.positions[0], messages, np.array(times), *columns)


class _Publisher:
    """Stands for a node and its publisher."""

    message: Any = None

    def create_publisher(self, *_: Any) -> _Publisher:
        return self

    def publish(self, message: Any) -> None:
        self.message = message


def as_followed(message: Any) -> FollowedTrajectory:
    """What a follower takes, out of a message that is refilled afterwards."""
    return FollowedTrajectory(
        stamp_ns(message.header.stamp),
        np.array([stamp_ns(point.time_from_start) for point in message.points]),
        np.array([point.positions for point in message.points]),
        np.array([point.velocities for point in message.points]),
    )


def undated(stream: Sent) -> Sent:
    """The same commands as streams usually are: without a stamp, from the next period on. For comparison."""
    messages = []
    for sent_ns, message in stream.messages:
        delay_ns = round(1e9 * _parameters().trajectory_slack_s) + PERIOD_NS
        times_ns = message.stamp_ns + message.times_ns - sent_ns - delay_ns + PERIOD_NS
        ahead = times_ns >= PERIOD_NS
        assert message.velocities is not None
        cut = FollowedTrajectory(0, times_ns[ahead], message.positions[ahead], message.velocities[ahead])
        messages.append((sent_ns, cut))
    return stream._replace(messages=messages)


# From messages to motion.


def follow(
    stream: Sent, rate_hz: int, *, from_desired: bool, lag_ms: int, jitter_ms: int, phase: float = 0.5,
    blends: bool = False,
) -> Following:  # fmt: skip
    """What joint_trajectory_controller commands from the first message to the last; `phase` of its first update."""
    random, period_ns = np.random.default_rng(1), round(1e9 / rate_hz)
    ways = WAY_NS + (1e6 * jitter_ms * random.uniform(0.0, 1.0, len(stream.messages))).astype(np.int64)
    arriving_ns = np.maximum.accumulate(np.array([at_ns for at_ns, _ in stream.messages]) + ways)
    first_ns, last_ns = int(arriving_ns[0]), int(arriving_ns[-1])
    times = np.arange(first_ns - 2 * period_ns + round(phase * period_ns), last_ns, period_ns)
    follower = TrajectoryFollower(
        stream.start, int(times[0]) - period_ns, period_ns, from_desired=from_desired, blends=blends
    )
    lag = round(lag_ms * 1e6 / period_ns)
    commands, pending = [stream.start] * (lag + 2), 0
    for now_ns in times.tolist():
        while pending < len(arriving_ns) and arriving_ns[pending] <= now_ns:
            follower.receive(stream.messages[pending][1], int(arriving_ns[pending]))
            pending += 1
        measured, before = commands[-1 - lag], commands[-2 - lag]
        commands.append(follower.update(now_ns, measured, (measured - before) * rate_hz))
    return Following(times, np.array(commands[lag + 2 :]))


def planned(stream: Sent, times_ns: NDArray[np.int64]) -> Array:
    """The commands behind the messages as one motion, at these instants."""
    begin_ns = stream.times_ns[0] - PERIOD_NS
    seconds = np.concatenate([[0.0], (stream.times_ns - begin_ns) * 1e-9])
    positions = np.concatenate([stream.start[None], stream.positions])
    velocities = np.concatenate([np.zeros_like(stream.start)[None], stream.velocities])
    motion = CubicHermiteSpline(seconds, positions, velocities)
    return np.asarray(motion(np.clip((times_ns - begin_ns) * 1e-9, 0.0, seconds[-1])))


def extremes(positions: Array, rate_hz: int) -> tuple[Array, Array]:
    """Largest speed and change of velocity between two updates, [joints] each."""
    velocity = np.diff(positions, axis=0) * rate_hz
    return np.abs(velocity).max(axis=0), np.abs(np.diff(velocity, axis=0)).max(axis=0)


def row_of(name: str, stream: Sent, rate_hz: int, from_desired: bool, lag_ms: int, jitter_ms: int) -> Row:
    """One cell. Where a period of the controller is long, it counts when in it messages come."""
    phases = max(1, 400 // rate_hz)
    ratios = np.zeros(2)
    for phase in (np.arange(phases) + 0.5) / phases:
        way = {"from_desired": from_desired, "lag_ms": lag_ms, "jitter_ms": jitter_ms, "phase": float(phase)}
        followed = follow(stream, rate_hz, **way)  # type: ignore[arg-type]
        found = extremes(followed.positions, rate_hz)
        own = extremes(planned(stream, followed.times_ns), rate_hz)
        moves = own[0] > 0.01 * _limits().velocity
        ratios = np.maximum(ratios, [(a[moves] / b[moves]).max() for a, b in zip(found, own, strict=True)])
    return Row(name, rate_hz, from_desired, lag_ms, jitter_ms, *(round(float(ratio), 3) for ratio in ratios))


def _parameters(**changes: Value) -> ControllerParameters:
    """The controller of the simulated arm as it is configured, sending trajectories."""
    sections = yaml.safe_load((ROOT / "config" / "so101_sim.yaml").read_text())
    given: dict[str, Value] = {}
    for section in ("/**", "/**/controller_node"):
        for name, value in sections[section]["ros__parameters"].items():
            nested = value.items() if isinstance(value, dict) else [("", value)]
            given |= {f"{name}.{key}" if key else name: inner for key, inner in nested}
    given |= {"command_type": "joint_trajectory", **changes}
    return ControllerParameters.from_values(given)


def _limits() -> JointLimits:
    return limits_from(_parameters(), None)


STREAMS = ("demo", "sine", "seams")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--streams", nargs="+", default=list(STREAMS), choices=STREAMS)
    add("--rates", nargs="+", type=int, default=[100, 200, 500, 1000], metavar="HZ")
    add("--policy", default=str(ROOT / "checkpoints" / "demo"), help="checkpoint folder, or 'expert' (no network)")
    add("--undated", action="store_true", help="as if messages had no stamp and began one period ahead")
    add("--json", type=Path, metavar="FILE", help="write the rows there")
    args = parser.parse_args()
    makers = {"demo": lambda: demo(args.policy), "sine": sine, "seams": seams}
    rows = []
    for name in args.streams:
        stream = sent(makers[name]())
        stream = undated(stream) if args.undated else stream
        for cell in itertools.product(args.rates, (False, True), (0, 30), (0, 4)):
            rows.append(row_of(name, stream, *cell))
            print("  ".join(f"{key}={value}" for key, value in asdict(rows[-1]).items()), flush=True)
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
