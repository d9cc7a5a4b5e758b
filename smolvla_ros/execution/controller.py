"""The controller: chunks and joint states in, one command per period out. The state machine behind one lock.

Threads: one lock guards everything. Every public method takes it and is atomic, so chunks, joint states and services
may come from the executor's thread while the control thread steps. Nothing is called back while the lock is held, and
nothing that takes long is done: a chunk's plan is made without it, from a snapshot (`Seam`), and taken over if it still
fits. The controller owns its state machine; nobody else touches it.

Time is an argument: `now_ns` on the ROS clock, `steady_ns` on a clock that neither jumps nor pauses.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from .chunk import Chunk, ChunkError, Rejection
from .commander import Command
from .machine import StateMachine
from .settings import ControllerSettings
from .status import Status, Transition

# A plan that was overtaken by a control step is made again so often; then with the lock held, so that it ends.
_UNLOCKED_TRIES = 3


class Controller:
    """Turns chunks of actions into commands inside the limits. See the module for states, threads and time."""

    def __init__(self, settings: ControllerSettings):
        self._lock = threading.Lock()
        self._machine = StateMachine(settings)

    # Asked for from outside.

    def update(self, settings: ControllerSettings) -> None:
        """Changes the settings between two steps. Joints and period must stay the same."""
        with self._lock:
            self._machine.apply(settings)

    def activate(self, now_ns: int, steady_ns: int) -> None:
        """Starts holding: waits for a joint state and for a chunk that were both made after this instant."""
        with self._lock:
            self._machine.activate(now_ns, steady_ns)

    def halt(self) -> None:
        """Brakes for good; `at_rest` tells when it is time to deactivate."""
        with self._lock:
            self._machine.supervision.halting = True

    def deactivate(self) -> None:
        """From now on nothing is commanded."""
        with self._lock:
            self._machine.deactivate()

    def withdraw(self) -> None:
        """No instruction is in force any more: brakes, and needs a chunk whose observation is later than this."""
        with self._lock:
            self._machine.withdraw()

    def stop(self) -> None:
        """Holds until `resume`, whatever else happens."""
        with self._lock:
            self._machine.stop()

    def resume(self) -> None:
        """Leaves the stop and goes, under the limits, to where the arm is found: it may have sagged or been moved.

        Motion needs a fresh chunk.
        """
        with self._lock:
            self._machine.resume()

    def park(self) -> str:
        """Goes to the park pose with a part of the limits, and stays there until `resume`; a stop ends it.

        Returns:
            Why not; empty: it does.
        """
        with self._lock:
            return self._machine.park()

    @property
    def parked(self) -> bool:
        """Whether the arm stands at its park pose, as it was asked to."""
        with self._lock:
            return self._machine.supervision.parking and self._machine.supervision.parked

    @property
    def parking(self) -> bool:
        """Whether it goes there, is there, or will go on when what holds it has ended."""
        with self._lock:
            return self._machine.supervision.parking

    def take_over(self, taken: bool) -> str:
        """A person commands the arm from now on, or no longer: then motion needs a fresh chunk.

        Returns:
            Why not; empty: it is so.
        """
        with self._lock:
            return self._machine.take_over(taken)

    def receive_person_positions(self, positions: NDArray[np.float64], steady_ns: int) -> None:
        """Where the person wants the arm, [joints] in rad or m, finite; used while a person has taken over only."""
        with self._lock:
            self._machine.holding.person_wants(positions, steady_ns)

    def conflict(self, detail: str) -> None:
        """Somebody else commands the arm: brake, then keep silent, while `detail` is not empty."""
        with self._lock:
            self._machine.supervision.conflict = detail

    def arm_trouble(self, detail: str) -> None:
        """The arm's driver takes no commands: brake, then keep silent, while `detail` is not empty."""
        with self._lock:
            self._machine.supervision.arm_trouble = detail

    def fail(self, detail: str) -> None:
        """Something that must not happen happened: hold until the next activation."""
        with self._lock:
            self._machine.supervision.failure = self._machine.supervision.failure or detail

    # Data.

    def receive_joint_positions(
        self,
        positions: NDArray[np.float64],
        now_ns: int,
        steady_ns: int,
        ages_ns: NDArray[np.int64] | None = None,
    ) -> None:
        """Takes measured positions of all joints, finite and in their order.

        Args:
            positions: [joints] in rad or m.
            now_ns, steady_ns: when the message came that told some of them.
            ages_ns: [joints], how old the measurement of each was then; None: all are new. Drivers may tell different
                joints in different messages.
        """
        with self._lock:
            if not self._machine.supervision.joint_states.receive(positions, now_ns, steady_ns, ages_ns):
                self._machine.journal.counters.joint_states_rejected += 1

    def lack_joint_states(self, problem: str) -> None:
        """What is missing of the joint states, for the hold that follows from it."""
        with self._lock:
            self._machine.supervision.joint_states.problem = problem

    def reject_joint_state(self, problem: str = "") -> None:
        """Counts a joint state that could not be used; what was known before stays, and ages."""
        with self._lock:
            self._machine.journal.counters.joint_states_rejected += 1
            self._machine.supervision.joint_states.problem = problem

    def reject_chunk(self, reason: Rejection, session: int, sequence: int) -> None:
        """Counts a chunk that failed the checks of its fields."""
        with self._lock:
            self._machine.journal.counters.reject(reason, session, sequence)

    def receive_chunk(self, chunk: Chunk, now_ns: int, steady_ns: int) -> None:
        """Merges a chunk, or refuses all of it and leaves everything as it was.

        Raises:
            ChunkError: typed, after it was counted.
        """
        try:
            self._merge(chunk, now_ns, steady_ns)
        except ChunkError as error:
            with self._lock:
                self._machine.refuse(chunk, error)
            raise

    # The control step.

    def step(self, now_ns: int, steady_ns: int) -> Command | None:
        """One control period: the command to send now, or None if nothing is to be sent."""
        with self._lock:
            return self._machine.step(now_ns, steady_ns)

    def carry_on(self, command: Command) -> None:
        """After periods that were missed: takes as commanded where the arm has been led meanwhile."""
        with self._lock:
            self._machine.commander.carry_on(command)

    # What it tells.

    @property
    def at_rest(self) -> bool:
        """Whether no joint is commanded to move."""
        with self._lock:
            return self._machine.commander.at_rest

    def look_ahead(self, spacing_s: float, points: int) -> list[Command]:
        """The present command and the ones that would follow if nothing new came, `spacing_s` apart."""
        with self._lock:
            machine = self._machine
            return machine.commander.look_ahead(machine.timeline.plan, machine.now_ns, spacing_s, points)

    def take_transitions(self) -> list[Transition]:
        """The changes of state or reason since the last call, oldest first."""
        with self._lock:
            return self._machine.journal.take_transitions()

    def status(self) -> Status:
        """A snapshot of everything after the last step."""
        with self._lock:
            machine = self._machine
            supervision = machine.supervision
            return machine.journal.status(machine.now_ns, machine.timeline, supervision.taken_over, supervision.parked)

    # A chunk. The lock is taken in steps: it is not held while the plan is made.

    def _merge(self, chunk: Chunk, now_ns: int, steady_ns: int) -> None:
        with self._lock:
            if self._machine.active:
                self._machine.admission.hear(chunk, steady_ns)
            seam = self._machine.seam(chunk, now_ns, steady_ns)
        for _ in range(_UNLOCKED_TRIES):
            merged = seam.merge(chunk)
            with self._lock:
                found, seam = seam, self._machine.seam(chunk, now_ns, steady_ns)
                if seam.same(found):
                    self._machine.commit(chunk, seam, merged)
                    return
        with self._lock:
            seam = self._machine.seam(chunk, now_ns, steady_ns)
            self._machine.commit(chunk, seam, seam.merge(chunk))

