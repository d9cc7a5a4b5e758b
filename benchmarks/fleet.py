"""One policy for several arms: chunks per second one by one and together, latency, success, and what a bad arm costs.

    python benchmarks/fleet.py [--arms 1 2 4 8] [--episodes 8] [--json FILE]

Simulated arms that pick and place in virtual time, through the loop, the request rule and the controllers of the nodes,
with the checkpoint that ships. An inference takes the processor time that it really took in one thread, so other
processes disturb it little; pictures and physics cost nothing. All arms ask as soon as they may (rule 'continuous').
`cpu_percent` is the inference thread's share of a core. The last rows are three healthy arms beside a fourth that is
healthy, and beside one whose pictures are damaged, whose camera stops, whose controller falls silent and whose
questions make no sense, in turns; there, an inference takes the medians measured before, so only the loop is compared.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine
from rich.console import Console
from rich.table import Table

from smolvla_ros.model import SmolVLAPolicy
from smolvla_ros.policy.loop_types import LoopState, SentChunk
from smolvla_ros.policy.questions import Predicted, Question
from smolvla_ros.policy.requests import RequestPolicy
from smolvla_ros.robot.observation import Observation, Pictures
from smolvla_ros.sim import World, scenarios
from smolvla_ros.sim.evaluation import asked_in_turn, controller_settings
from smolvla_ros.sim.policies import CheckpointPolicy
from smolvla_ros.sim.referee import Referee
from smolvla_ros.sim.tasks import TASKS
from smolvla_ros.sim.virtual_arm import LOOP_SETTINGS, Sight
from smolvla_ros.virtual.clock import VirtualClock
from smolvla_ros.virtual.policy import VirtualPolicy, VirtualSide
from smolvla_ros.virtual.stack import VirtualStack

CHECKPOINT = Path(__file__).resolve().parent.parent / "checkpoints" / "demo"
MAX_BATCH = 8
FAULTS = ("pictures", "camera", "controller", "question")
FAULT_S = 0.5


@dataclass(frozen=True)
class FleetRow:
    """Latencies from joint state to chunk; `interval_p50_ms` between two chunks of an arm; `batch` is the mean size."""

    arms: int
    batched: bool
    fault: str
    chunks_per_s: float
    p50_ms: float
    p99_ms: float
    interval_p50_ms: float
    success: float
    cpu_percent: float
    batch: float


class Timed:
    """A checkpoint that tells how long its answers took; `fixed_s`: by how many there were, instead of measured."""

    def __init__(self, policy: CheckpointPolicy, fixed_s: dict[int, float] | None = None):
        self.rows, self.normalised_state = policy.rows, policy.normalised_state
        self.took: list[tuple[int, float]] = []
        self.senseless: set[str] = set()
        self._policy, self._fixed_s, self._prepared_s = policy, fixed_s, 0.0

    def prepare(self, question: Question) -> Any:
        if question.arm in self.senseless:
            raise ValueError("a question without sense")
        begun_s = time.thread_time()
        prepared = self._policy.prepare(question)
        self._prepared_s += time.thread_time() - begun_s
        return prepared

    def predict(self, prepared: Sequence[Any]) -> list[Predicted]:
        begun_s = time.thread_time()
        found = self._policy.predict(prepared)
        seconds = self._prepared_s + time.thread_time() - begun_s
        self._prepared_s = 0.0
        self.took.append((len(prepared), self._fixed_s[len(prepared)] if self._fixed_s else seconds))
        return found

    def medians_s(self) -> dict[int, float]:
        sizes = {size for size, _ in self.took}
        return {size: float(np.median([s for n, s in self.took if n == size])) for size in sizes}


class FleetArm:
    """A world, and what stands before its policy; `fault` is what is wrong now."""

    def __init__(self, world: World, number: int):
        self.world, self.name, self.fault = world, f"arm{number}", ""
        self.chunks: list[SentChunk] = []
        self.arrived_s: list[float] = []
        self._sight = Sight(world, 0)
        self.side = VirtualSide(self.name, self, RequestPolicy("continuous"), LOOP_SETTINGS)

    def join(self, clock: VirtualClock, policy: VirtualPolicy, number: int) -> None:
        self.clock, self.stack = clock, VirtualStack(clock, controller_settings(self.world), policy.arms[number])

    def take(self, now_ns: int) -> tuple[Observation | None, str]:
        return (None, "the camera stands still") if self.fault == "camera" else self._sight.take(now_ns)

    def decode(self, observation: Observation) -> tuple[Pictures | None, str]:
        pictures, problem = self._sight.decode(observation)
        return (None, "a damaged picture") if self.fault == "pictures" else (pictures, problem)

    def clear(self) -> None:
        """The worlds have no clock that could jump."""

    def sense(self) -> None:
        self.stack.measure(self.world.joint_positions())
        for chunk in self.stack.deliver():
            self.chunks.append(chunk)
            self.arrived_s.append(self.clock.steady_ns * 1e-9)
        if self.fault == "controller":
            self.stack.policy.hear(None)
        else:
            self.stack.hear()

    def move(self, step_s: float) -> None:
        command = self.stack.command()
        if command is not None:
            self.world.set_targets(command.positions)
        self.world.step(step_s)


def wave(
    worlds: Sequence[World], source: Timed, most: int, first: int, faulty: bool
) -> tuple[list[FleetArm], list[bool], float]:
    """An episode of each arm at once: the arms, their successes, and the seconds until the last is decided."""
    arms, referees = [FleetArm(world, number) for number, world in enumerate(worlds)], []
    for number, arm in enumerate(arms):
        arm.world.reset(scenarios.FIRST_SEED + first + number)
    clock = VirtualClock(10**9)
    policy = VirtualPolicy(
        clock, source, [arm.side for arm in arms], lambda _: round(source.took[-1][1] * 1e9), max_batch=most
    )
    for number, arm in enumerate(arms):
        arm.join(clock, policy, number)
        asked, rng = asked_in_turn("place", first + number), np.random.default_rng([first, number])
        referees.append(Referee(arm.world, asked))
        arm.stack.instruct(TASKS["place"].say(asked, rng))
    step_s = controller_settings(worlds[0]).period_s / 2
    for step in range(round(scenarios.EPISODE_LIMIT_S / step_s)):
        clock.advance_to(10**9 + round(step * step_s * 1e9))
        if faulty:
            arms[-1].fault = FAULTS[int(step * step_s / FAULT_S) % len(FAULTS)]
            source.senseless = {arms[-1].name} if arms[-1].fault == "question" else set()
        for arm in arms:
            arm.sense()
        policy.look()
        for arm, referee in zip(arms, referees, strict=True):
            if step % 2 == 0:
                arm.move(2 * step_s)
            referee.watch()
        watched = referees[:-1] if faulty else referees
        if all(referee.decided for referee in watched):
            break
    assert all(arm.stack.policy.state[0] is not LoopState.GIVEN_UP for arm in (arms[:-1] if faulty else arms))
    return arms, [referee.verdict().success for referee in referees], (step + 1) * step_s


def measure(
    worlds: Sequence[World], model: SmolVLAPolicy, most: int, episodes: int,
    fixed_s: dict[int, float] | None = None, fault: str = "",
) -> tuple[FleetRow, dict[int, float]]:  # fmt: skip
    """One row, of the first three arms only where a fourth is compared; and the medians of its inferences by size."""
    policy = CheckpointPolicy(model)
    source, seconds = Timed(policy, fixed_s), 0.0
    latencies_s, intervals_s, successes = [], [], []
    counted = 3 if fixed_s else len(worlds)
    for first in range(0, episodes, len(worlds)):
        policy.reset(first)
        arms, verdicts, took_s = wave(worlds, source, most, first, fault == "injected")
        seconds += took_s
        successes += verdicts[:counted]
        for arm in arms[:counted]:
            latencies_s += [chunk.latency_s for chunk in arm.chunks]
            intervals_s += np.diff(arm.arrived_s).tolist()
    busy_s, answers = sum(s for _, s in source.took), sum(n for n, _ in source.took)
    row = FleetRow(
        arms=len(worlds), batched=most > 1, fault=fault, chunks_per_s=answers / busy_s,
        p50_ms=1e3 * float(np.percentile(latencies_s, 50)), p99_ms=1e3 * float(np.percentile(latencies_s, 99)),
        interval_p50_ms=1e3 * float(np.median(intervals_s)), success=float(np.mean(successes)),
        cpu_percent=100 * busy_s / seconds, batch=answers / len(source.took),
    )  # fmt: skip
    return row, source.medians_s()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arms", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--episodes", type=int, default=8, help="of each row, at least")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = SmolVLAPolicy.from_checkpoint(CHECKPOINT)
    model.warm_up()
    worlds = [World(scene="pick_place") for _ in range(max(*args.arms, 4))]
    rows = []
    for arms in args.arms:
        for most in (1, MAX_BATCH) if arms > 1 else (1,):
            row, medians_s = measure(worlds[:arms], model, most, max(args.episodes, arms))
            rows.append(row)
            print(f"{arms} arms, at most {most} together: {row.chunks_per_s:.1f} chunks/s", flush=True)
    alone_s = measure(worlds[:1], model, 1, 1)[1][1]
    fixed_s = {size: alone_s * (0.7 + 0.3 * size) for size in range(1, 5)}
    rows += [measure(worlds[:4], model, MAX_BATCH, args.episodes, fixed_s, fault)[0] for fault in ("none", "injected")]
    for world in worlds:
        world.close()
    table = Table(*(name for name in asdict(rows[0])), title=machine())
    for row in rows:
        table.add_row(*(f"{value:.1f}" if isinstance(value, float) else str(value) for value in asdict(row).values()))
    Console(width=140).print(table)
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "rows": [asdict(row) for row in rows]}, indent=1))


if __name__ == "__main__":
    main()
