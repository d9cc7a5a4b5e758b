"""Registers of an STS3215 servo (address, size) and how it writes numbers; from its manual (FT-SMS-STS)."""

MODEL_STS3215 = 777
BAUD_RATE = 1_000_000

MIN_POSITION = (9, 2)
MAX_POSITION = (11, 2)
HOMING_OFFSET = (31, 2)
OPERATING_MODE = (33, 1)
TORQUE_ENABLE = (40, 1)
GOAL_POSITION = (42, 2)
LOCK = (55, 1)
PRESENT = (56, 8)


def signed(value: int, sign_bit: int) -> int:
    """A number of sign and magnitude, as the servo counts."""
    magnitude = value & ((1 << sign_bit) - 1)
    return -magnitude if value & (1 << sign_bit) else magnitude


def sign_magnitude(value: int, sign_bit: int) -> int:
    """The reverse of `signed`."""
    return abs(value) | (1 << sign_bit if value < 0 else 0)
