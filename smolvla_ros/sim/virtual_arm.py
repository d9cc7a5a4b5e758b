"""The simulated arm in virtual time: a world around the inference loop and the controller of the nodes (`virtual`).

One tick is one action period, and one picture of each camera. A policy looks at the world at a tick; the chunk that it
makes, however long that really took, reaches the controller `delay` ticks later, so results depend on nothing but
seeds. Synchronous execution is the request rule of that name in the same loop. With a delay of 0 the world stands still
during inference.

Within a tick: a chunk that is due reaches the controller, then the policy is asked, then the controller commands and
the physics move on, as many times as control periods fit into the tick.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.execution.settings import ControllerSettings
from smolvla_ros.execution.status import ControllerState, Status
from smolvla_ros.policy.loop_types import LoopSettings, LoopState
from smolvla_ros.policy.questions import ChunkSource
from smolvla_ros.policy.requests import RequestPolicy
from smolvla_ros.robot.observation import Observation, Pictures
from smolvla_ros.virtual.clock import VirtualClock
from smolvla_ros.virtual.policy import lone_arm
from smolvla_ros.virtual.stack import VirtualStack

from .expert import STEP_S
from .world import CAMERAS, JOINTS, World

_STEP_NS = round(STEP_S * 1e9)
_START_NS = 10**9

LOOP_SETTINGS = LoopSettings(
    session=1, step_s=STEP_S, needs_status=True, min_change=0.0, hold_and_go=False, delay_percentile=None,
    retry_backoff_s=0.0, max_failures=1,
)  # fmt: skip


@dataclass(frozen=True)
class Tick:
    """What happened in one tick.

    Attributes:
        tick: its number, from 0.
        remaining_rows: what was left at the end.
        commands: [control steps, 6] in rad; without rows before the first command.
        sequence: number of the chunk being executed, or executed last; 0: none yet.
        observation_tick: when the pictures behind that chunk were taken; -1: none yet.
        merged: a chunk reached the controller in this tick and was taken.
        idle: there was no row to execute.
    """

    tick: int
    remaining_rows: int
    commands: NDArray[np.float64]
    sequence: int
    observation_tick: int
    merged: bool
    idle: bool


class VirtualArm:
    """An arm that has just been switched on.

    Args:
        world: moved on by `step`.
        policy: what looks at it.
        settings: of the controller; its period divides the action period.
        requests: when the policy is asked.
        delay: ticks from an observation to its chunk; called once per inference.
        loop: of the inference loop.
        image_lag: ticks by which pictures are older than the joint positions.
    """

    def __init__(
        self,
        world: World,
        policy: ChunkSource,
        *,
        settings: ControllerSettings,
        requests: RequestPolicy,
        delay: Callable[[], int],
        loop: LoopSettings = LOOP_SETTINGS,
        image_lag: int = 0,
    ):
        self.world = world
        self._control_steps = round(STEP_S / settings.period_s)
        self._sight = Sight(world, image_lag)
        self._clock = VirtualClock(_START_NS)
        side = lone_arm(self._clock, policy, self._sight, requests, loop, lambda _: delay() * _STEP_NS)
        self._stack = VirtualStack(self._clock, settings, side)
        self._words = ""
        self._seen_ticks = {0: -1}  # by sequence number
        self._tick = 0

    @property
    def chunks_refused(self) -> int:
        return self._stack.refused.total()

    def status(self) -> Status:
        """The controller's, at the last control step."""
        return self._stack.controller.status()

    def step(self, words: str) -> Tick:
        """One action period under this instruction."""
        if words != self._words:
            self._words = words
            self._stack.instruct(words)
        self._clock.advance_to(_START_NS + self._tick * _STEP_NS)
        self._sight.take_pictures()
        self._stack.measure(self.world.joint_positions())
        taken = self._stack.deliver() + self._stack.look()
        state, text = self._stack.policy.state
        if state is LoopState.GIVEN_UP:
            raise RuntimeError(text)
        self._seen_ticks |= {chunk.sequence: (chunk.image_stamp_ns - _START_NS) // _STEP_NS for chunk in taken}
        commands = self._move()
        after = self.status()
        self._tick += 1
        return Tick(
            tick=self._tick - 1,
            remaining_rows=after.remaining_rows,
            commands=commands,
            sequence=after.sequence,
            observation_tick=self._seen_ticks[after.sequence],
            merged=bool(taken),
            idle=after.state != ControllerState.FOLLOWING,
        )

    def _move(self) -> NDArray[np.float64]:
        sent = []
        for step in range(self._control_steps):
            self._clock.advance_to(_START_NS + self._tick * _STEP_NS + step * _STEP_NS // self._control_steps)
            command = self._stack.command()
            if command is not None:
                self.world.set_targets(command.positions)
                sent.append(command.positions)
            self.world.step(STEP_S / self._control_steps)
        return np.array(sent).reshape(len(sent), len(JOINTS))


class Sight:
    """What the policy is given: joint positions as they are now, pictures as they were `lag` ticks ago."""

    def __init__(self, world: World, lag: int):
        self._world = world
        self._lag = lag
        self._kept: deque[dict[str, NDArray[np.uint8]]] = deque(maxlen=lag + 1)

    def take_pictures(self) -> None:
        """Once per tick; without a lag they are made when somebody looks."""
        if self._lag:
            self._kept.append(self._pictures())

    def take(self, now_ns: int) -> tuple[Observation | None, str]:
        taken_ns = now_ns - max(0, len(self._kept) - 1) * _STEP_NS
        return Observation(now_ns, taken_ns, taken_ns, {}, self._world.joint_positions()), ""

    def decode(self, observation: Observation) -> tuple[Pictures | None, str]:
        return Pictures(self._kept[0] if self._lag else self._pictures(), 0.0), ""

    def clear(self) -> None:
        """The world has no clock that could jump."""

    def _pictures(self) -> dict[str, NDArray[np.uint8]]:
        return {camera: self._world.render(camera) for camera in CAMERAS}
