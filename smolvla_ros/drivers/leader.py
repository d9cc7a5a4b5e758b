"""A leader arm: a person moves it by hand, and what it measures is where a follower is to be.

Joints are led in rad, both arms' zero being the middle of their calibrated ranges; the gripper by its share of the way
from closed to open, as LeRobot does, because the leader's is a trigger that turns less far than the jaw.

Where leader and follower differ at the start, the follower is led to the leader from where it stands, the distance
shrinking at `GLIDE_RAD_S`: a person cannot put six joints where those of another arm are, so to refuse until they are
near would end in guessing. The same begins anew after either of the two was silent. While one of them is silent there
are no goals at all; whoever executes them holds then.

One thread owns an object. Time is an argument [s].
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from .calibration import GRIPPER, GRIPPER_CLOSED_RAD, MotorCalibration
from .glide import Glide
from .servo_bus import BusError, PortLostError, Present, ServoBus
from .servo_registers import TORQUE_ENABLE
from .so101 import PATIENCE_S

# A follower that has not told where it is for longer than this is not led [s].
_FOLLOWER_TIMEOUT_S = 0.25
_NO_FOLLOWER = "no joint states of the follower: does its driver run, in the same namespace?"


class Leader:
    """A leader arm on a bus, and the follower as far as it has told where it stands.

    Args:
        bus: opened; the servos' torque is taken off.
        motors: the leader's calibration, by joint.
        gripper_open_rad: where the follower's gripper is as far open as its calibration allows.

    Attributes:
        trouble: why there are no goals; empty while there are.
        leads: whether the last cycle gave goals.

    Raises:
        BusError: a servo did not take the torque off.
    """

    def __init__(self, bus: ServoBus, motors: Mapping[str, MotorCalibration], gripper_open_rad: float):
        self._bus, self._motors = bus, dict(motors)
        self._joint_of = {motor.id: joint for joint, motor in motors.items()}
        leader_open_rad = motors[GRIPPER].limits_rad[1]
        self._gripper_ratio = (gripper_open_rad - GRIPPER_CLOSED_RAD) / (leader_open_rad - GRIPPER_CLOSED_RAD)
        self._placed: dict[str, tuple[float, float]] = {}  # rad in the follower's terms, and when
        self._follower: dict[str, tuple[float, float]] = {}
        self._glide = Glide()
        self.leads = False
        self.trouble = ""
        for motor in self._motors.values():
            bus.write(motor.id, TORQUE_ENABLE, 0)

    @property
    def glide_left_s(self) -> float:
        """How long until the follower is where the leader is."""
        return self._glide.left_s

    def hear_follower(self, positions: Mapping[str, float], now_s: float) -> None:
        """Where joints of the follower are [rad]; those that are not the arm's, or not finite, say nothing."""
        known = {joint: rad for joint, rad in positions.items() if joint in self._motors and math.isfinite(rad)}
        self._follower |= {joint: (float(rad), now_s) for joint, rad in known.items()}

    def cycle(self, now_s: float) -> dict[str, float]:
        """Reads the leader; the follower's goals by joint [rad], or nothing.

        Raises:
            PortLostError: the port is gone.
        """
        trouble = ""
        try:
            found, errors = self._bus.read_present(list(self._joint_of))
            self._placed |= {self._joint_of[servo]: (self._goal(servo, one), now_s) for servo, one in found.items()}
            trouble = "; ".join(f"{self._joint_of[e.servo]} ({e})" for e in errors)
        except PortLostError as error:
            self.leads, self.trouble = False, str(error)
            raise
        except BusError as error:
            trouble = str(error)
        if not self._is_fresh(self._placed, now_s, PATIENCE_S):
            self.leads, self.trouble = False, f"the leader is silent: {trouble or 'no answer yet'}"
        elif not self._is_fresh(self._follower, now_s, _FOLLOWER_TIMEOUT_S):
            self.leads, self.trouble = False, _NO_FOLLOWER
        else:
            return self._goals(now_s)
        return {}

    def _goals(self, now_s: float) -> dict[str, float]:
        wanted = {joint: rad for joint, (rad, _) in self._placed.items()}
        if not self.leads:
            self._glide.begin({joint: rad for joint, (rad, _) in self._follower.items()}, wanted, now_s)
        self.leads, self.trouble = True, ""
        return self._glide.towards(wanted, now_s)

    def _is_fresh(self, told: Mapping[str, tuple[float, float]], now_s: float, age_s: float) -> bool:
        """Whether all joints were told of, none longer ago than `age_s`."""
        return len(told) == len(self._motors) and all(now_s - then_s <= age_s for _, then_s in told.values())

    def _goal(self, servo: int, present: Present) -> float:
        """A joint's place in the follower's terms [rad]."""
        joint = self._joint_of[servo]
        rad = self._motors[joint].to_rad(present.position)
        if joint != GRIPPER:
            return rad
        return GRIPPER_CLOSED_RAD + self._gripper_ratio * (rad - GRIPPER_CLOSED_RAD)
