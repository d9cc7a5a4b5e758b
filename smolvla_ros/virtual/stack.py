"""Policy and controller joined without a network: chunks one way, the status the other.

Whoever owns a `VirtualStack` moves its clock, feeds the controller's joint states and the policy's buffer, and calls,
at each instant: `deliver`, `look`, and in every control period `command`. One thread.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.execution.chunk import Chunk, ChunkError, Rejection
from smolvla_ros.execution.commander import Command
from smolvla_ros.execution.controller import Controller
from smolvla_ros.execution.settings import ControllerSettings
from smolvla_ros.execution.simulated_time import SimulatedTime
from smolvla_ros.execution.status import Status
from smolvla_ros.policy.loop_types import SentChunk
from smolvla_ros.policy.requests import ExecutionView

from .clock import VirtualClock
from .policy import VirtualAsker


class VirtualStack:
    """A policy node and a controller node that were switched on at the clock's present instant.

    Args:
        clock: driven by whoever owns this.
        settings: of the controller.
        policy: the arm's side of it.
        sim_time: the controller reads its clock as under use_sim_time.

    `refused` counts the chunks that the controller refused, by reason.
    """

    def __init__(
        self,
        clock: VirtualClock,
        settings: ControllerSettings,
        policy: VirtualAsker,
        *,
        sim_time: bool = False,
    ):
        self.clock = clock
        self._simulated = SimulatedTime(round(settings.period_s * 1e9)) if sim_time else None
        self.refused: Counter[Rejection] = Counter()
        self.policy = policy
        self.controller = Controller(settings)
        self.controller.activate(self._now_ns, clock.steady_ns)

    def restart_policy(self, policy: VirtualAsker) -> None:
        """Another run of the policy takes the place of the first."""
        self.policy = policy

    def instruct(self, text: str) -> None:
        """An instruction, as both nodes hear it; an empty one ends motion."""
        self.policy.instruct(text)
        if not text:
            self.controller.withdraw()

    def measure(self, positions: NDArray[np.float64]) -> None:
        """Joint positions [joints] in rad or m for the controller; the policy has its own buffer."""
        for _ in range(3):  # motion starts from states that agree, and arms tell theirs more often than actions come
            self.controller.receive_joint_positions(positions, self._now_ns, self.clock.steady_ns)

    def deliver(self) -> list[SentChunk]:
        """Hands over the chunks that are there by now; those that the controller took."""
        return [chunk for chunk in self.policy.take_arrived() if self._takes(chunk)]

    def look(self) -> list[SentChunk]:
        """The policy hears the status and looks whether to infer; the chunks that took no time, as `deliver`."""
        self.hear()
        self.policy.look()
        return self.deliver()

    def hear(self) -> None:
        """The policy hears the status; for several arms, whose policy looks when it has heard all of them."""
        self.policy.hear(execution_view(self.controller.status(), self.policy.settings.session))

    def command(self) -> Command | None:
        """One tick of the control thread: the last command, or None if there is nothing new to send."""
        clock, command = self.clock, None
        due = self._simulated.due(clock.ros_ns, clock.steady_ns) if self._simulated else (clock.ros_ns,)
        for now_ns in due:
            command = self.controller.step(now_ns, clock.steady_ns)
        return command

    @property
    def _now_ns(self) -> int:
        clock = self.clock
        return self._simulated.now_ns(clock.ros_ns, clock.steady_ns) if self._simulated else clock.ros_ns

    def _takes(self, sent: SentChunk) -> bool:
        loop = self.policy.settings
        chunk = Chunk(
            loop.session, sent.sequence, sent.stamp_ns, round(loop.step_s * 1e9), sent.positions, sent.frozen_rows,
            sent.image_stamp_ns,
        )  # fmt: skip
        try:
            self.controller.receive_chunk(chunk, self._now_ns, self.clock.steady_ns)
        except ChunkError as error:
            self.refused[error.reason] += 1
            return False
        return True


def execution_view(status: Status, session: int) -> ExecutionView:
    """What the policy node of this session makes of a status."""
    last_session, last_sequence, rejection = status.counters.last_chunk
    return ExecutionView.of(status, session, status.now_ns, (last_session, last_sequence, rejection is not None))
