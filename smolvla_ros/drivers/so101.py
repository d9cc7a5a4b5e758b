"""When the arm may be torqued and moved: the rules of the driver, without ROS and without a clock of its own.

Servos are left as they are found until a command arrives that lies where the arm is; only then they are torqued, at the
present position. From then on the newest command is written in every cycle, inside the calibrated range. A servo that
raises an alarm, or a bus that fails for longer than `PATIENCE_S`, disengages: goals stay where they are (a servo keeps
its last goal by itself, so nothing falls). When all servos answer again without an alarm, a command must lie at the arm
again, as at the start: nobody knows what has happened to it meanwhile. Torque goes off only by `release`, until that is
taken back.

Whoever commands has to know of that, or it would be refused for ever: `trouble` says that the arm takes no commands,
and a refusal stands until a command lies at the arm or none has come for `QUIET_S`.

One thread owns an object. Time is an argument [s].
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .calibration import RAD_PER_TICK, MotorCalibration
from .glide import Glide
from .servo_bus import BusError, PortLostError, Present, ServoBus
from .servo_check import ArmError
from .servo_registers import TORQUE_ENABLE

# A first command further from the arm than this does not engage it [rad].
ENGAGE_RAD = 0.1
# A bus or a servo that fails for longer than this disengages the arm [s].
PATIENCE_S = 0.1
# Without a command for longer than this, whoever commanded has stopped: the next command is a first one [s].
QUIET_S = 0.2
_RELEASED = "released: its torque is off until `~/release` with false"


@dataclass(frozen=True)
class Reading:
    """One joint at one instant: rad, rad/s, load -1 to 1, and the servo's own measurements."""

    position_rad: float
    velocity_rad_s: float
    load: float
    present: Present


class SO101:
    """An arm on a bus.

    Args:
        bus: opened.
        motors: the calibration, by joint.

    Attributes:
        engaged: whether commands are written.
    """

    def __init__(self, bus: ServoBus, motors: Mapping[str, MotorCalibration]):
        self._bus, self._motors = bus, dict(motors)
        self._joint_of = {motor.id: joint for joint, motor in motors.items()}
        self._command: dict[str, float] = {}
        self._commanded_s = -math.inf
        self._heard_s: dict[str, float] = {}
        self._present: dict[str, Reading] = {}
        self._glide = Glide()
        self._fault = self._refusal = ""
        self._is_released = False
        self.engaged = False

    @property
    def trouble(self) -> str:
        """Why no commands are taken; empty: they are, or would be if they began at the arm."""
        return self._fault or (_RELEASED if self._is_released else self._refusal)

    def command(self, joints: Sequence[str], positions: Sequence[float], now_s: float) -> None:
        """Takes the newest command [rad]; joints that it leaves out keep theirs.

        Raises:
            ArmError: a joint that the arm does not have, a wrong length, or a value that is not finite.
        """
        if len(joints) != len(positions) or len(joints) > 2 * len(self._motors):
            raise ArmError(f"the command has {len(joints)} names and {len(positions)} positions, expected one for each")
        unknown = sorted(set(joints) - set(self._motors))
        if unknown:
            raise ArmError(f"the command moves {', '.join(unknown)[:80]}; the arm has {', '.join(self._motors)}")
        if not all(math.isfinite(value) for value in positions):
            raise ArmError("the command holds a position that is not finite")
        self._forget_old(now_s)
        self._command = self._command | dict(zip(joints, map(float, positions), strict=True))
        self._commanded_s = now_s

    def cycle(self, now_s: float) -> dict[str, Reading]:
        """Reads all servos and, if engaged, writes the command; the joints that answered.

        A failing exchange raises nothing: it is counted by the bus, told in `trouble`, and disengages when it lasts.

        Raises:
            PortLostError: the port is gone; disengaged.
        """
        try:
            found, errors = self._bus.read_present(list(self._joint_of))
        except PortLostError as error:
            self._disengage(str(error))
            raise
        except BusError as error:
            self._disengage_when_lasting(str(error), now_s)
            return {}
        readings = {self._joint_of[servo]: self._reading(servo, present) for servo, present in found.items()}
        self._present |= readings
        self._heard_s |= dict.fromkeys(readings, now_s)
        alarms = self._told((servo, ", ".join(one.alarms)) for servo, one in found.items() if one.alarms)
        if alarms:
            self._disengage(alarms)
        elif errors:
            self._disengage_when_lasting(self._told((e.servo, str(e).partition(": ")[2]) for e in errors), now_s)
        else:
            self._fault = ""
        if not alarms:
            self._move(now_s)
        return readings

    def release(self, released: bool) -> None:
        """Takes the torque off, so the arm falls if nobody holds it; takes no commands until that is taken back.

        Raises:
            BusError: a servo may still be torqued; no commands are taken all the same.
        """
        self._is_released = released
        if released:
            self.engaged, self._command = False, {}
            for motor in self._motors.values():
                self._bus.write(motor.id, TORQUE_ENABLE, 0)

    def _forget_old(self, now_s: float) -> None:
        if not self.engaged and now_s - self._commanded_s > QUIET_S:
            self._command, self._refusal = {}, ""

    def _move(self, now_s: float) -> None:
        self._forget_old(now_s)
        if set(self._command) != set(self._motors) or self._is_released:
            return
        try:
            if not self.engaged and not self._engage(self._command, now_s):
                return
            goals = self._glide.towards(self._command, now_s)
            self._bus.write_goals({one.id: one.to_ticks(goals[joint]) for joint, one in self._motors.items()})
        except BusError as error:
            self._disengage_when_lasting(str(error), now_s)

    def _engage(self, command: Mapping[str, float], now_s: float) -> bool:
        """Torques the arm where it is, if the command lies there and every servo was heard in this very cycle: one that
        moved on since would be told to go back.
        """
        if any(self._heard_s.get(joint) != now_s for joint in self._motors):
            return False
        places = {joint: self._place(joint) for joint in self._motors}
        joint = max(places, key=lambda joint: abs(places[joint] - command[joint]))
        if abs(places[joint] - command[joint]) > ENGAGE_RAD:
            self._refusal = (
                f"{joint} is commanded {command[joint]:.2f} rad and stands at {places[joint]:.2f}: the first command "
                f"must lie within {ENGAGE_RAD} rad of the arm (the controller begins anew there by itself)"
            )
            return False
        self._bus.write_goals({motor.id: self._ticks_now(joint) for joint, motor in self._motors.items()})
        for motor in self._motors.values():
            self._bus.write(motor.id, TORQUE_ENABLE, 1)
        self.engaged, self._refusal = True, ""
        self._glide.begin(places, command, now_s)
        return True

    def _place(self, joint: str) -> float:
        """Where a joint stands, inside its calibrated range [rad]."""
        lower, upper = self._motors[joint].limits_rad
        return min(upper, max(lower, self._present[joint].position_rad))

    def _told(self, troubles: Iterable[tuple[int, str]]) -> str:
        """What is wrong with which servos, the same trouble told once."""
        who: dict[str, list[str]] = {}
        for servo, what in troubles:
            who.setdefault(what, []).append(self._name(servo))
        every = len(self._motors)
        return "; ".join(f"{'all servos' if len(names) == every else ', '.join(names)}: {what}"
                         for what, names in who.items())  # fmt: skip

    def _ticks_now(self, joint: str) -> int:
        return max(0, self._present[joint].present.position)

    def _disengage(self, why: str) -> None:
        self.engaged, self._command, self._fault, self._refusal = False, {}, why, ""

    def _disengage_when_lasting(self, why: str, now_s: float) -> None:
        """One lost exchange is only counted, by the bus."""
        if any(now_s - self._heard_s.get(joint, -math.inf) > PATIENCE_S for joint in self._motors):
            self._disengage(why)

    def _name(self, servo: int) -> str:
        return f"{self._joint_of.get(servo, 'bus')} (servo {servo})" if servo else "bus"

    def _reading(self, servo: int, present: Present) -> Reading:
        motor = self._motors[self._joint_of[servo]]
        direction = 1.0 if motor.to_rad(1.0) > motor.to_rad(0.0) else -1.0
        velocity_rad_s = direction * present.velocity * RAD_PER_TICK
        return Reading(motor.to_rad(present.position), velocity_rad_s, direction * present.load, present)
