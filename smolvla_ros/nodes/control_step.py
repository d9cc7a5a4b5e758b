"""What the control thread does in a tick: the controller's steps that are due, and one command to every output.

A set point stands until the next one comes. A trajectory does not: after a stall of the control thread the arm is where
the last message has led it by now, along the plan or already braking, and not where it was commanded last. So the
motion goes on from there: a command by where the thread was would send the arm back.
"""

from __future__ import annotations

from collections.abc import Sequence

from smolvla_ros.execution.controller import Controller
from smolvla_ros.parameters.controller import ControllerParameters

from .command_output import CommandOutput


class ControlStep:
    """For the control thread."""

    def __init__(self, controller: Controller, outputs: Sequence[CommandOutput], parameters: ControllerParameters):
        self._controller, self._outputs, self._dry_run = controller, outputs, parameters.dry_run
        self._period_ns = round(1e9 / parameters.control_rate_hz)
        self._sent_ns = 0  # 0: nothing that the arm would follow

    def __call__(self, instants: Sequence[int], steady_ns: int) -> None:
        """Steps at these instants of ROS time [ns], rising, the last of which is now; sends the last command."""
        if not instants:
            return
        now_ns = instants[-1]
        if self._sent_ns and now_ns - self._sent_ns > 1.5 * self._period_ns and self._carried_on(now_ns):
            instants = (now_ns,)
        command = None
        for at_ns in instants:
            command = self._controller.step(at_ns, steady_ns)
        self._sent_ns = 0
        if command is None or self._dry_run:
            return
        for output in self._outputs:
            output.send(command, now_ns)
        self._sent_ns = now_ns

    def _carried_on(self, now_ns: int) -> bool:
        """Takes as commanded what trajectories have led the arm to; False if none were sent."""
        before_ns = now_ns - self._period_ns
        led = [command for output in self._outputs if (command := output.carry_on(before_ns)) is not None]
        if led:
            self._controller.carry_on(led[0])
        return bool(led)
