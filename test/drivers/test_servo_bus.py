"""The bus against the emulator. The protocol in between is spoken by Feetech's library, which neither of them wrote."""

import pytest

from smolvla_ros.drivers.servo_bus import BusError, ServoBus
from smolvla_ros.drivers.servo_registers import GOAL_POSITION, MODEL_STS3215, TORQUE_ENABLE, sign_magnitude, signed

SERVOS = [1, 2, 3, 4, 5, 6]


def test_ping_names_the_model(bus):
    assert bus.ping(3) == MODEL_STS3215


def test_a_register_that_was_written_is_read_again(bus):
    bus.write(2, GOAL_POSITION, 3000)
    assert bus.read(2, GOAL_POSITION) == 3000
    bus.write(2, TORQUE_ENABLE, 1)
    assert bus.read(2, TORQUE_ENABLE) == 1


def test_one_exchange_reads_all_servos(bus, emulated):
    before = emulated.packets
    found, errors = bus.read_present(SERVOS)
    assert (sorted(found), errors, emulated.packets - before) == (SERVOS, [], 1)
    assert found[5].position == 2047
    assert found[1].voltage_v == pytest.approx(7.4)


def test_one_exchange_moves_all_servos(bus, emulated):
    goals = {servo: 2000 + servo for servo in SERVOS}
    bus.write_goals(goals)
    bus.ping(1)  # the bus is serial: what came before has arrived
    assert {servo: emulated.goal(servo) for servo in SERVOS} == goals


@pytest.mark.parametrize("silent", [1, 4, 6])
@pytest.mark.parametrize("fault", ["silent", "wrong_checksum", "cut_short"])
def test_a_servo_that_fails_is_named_and_costs_at_most_its_neighbour(bus, emulated, silent, fault):
    emulated.misbehave(lambda faults: getattr(faults, fault).add(silent))
    found, errors = bus.read_present(SERVOS)
    failed = {error.servo for error in errors}
    # An answer that breaks off swallows the beginning of the next one, on any bus.
    assert {silent} <= failed <= ({silent, silent + 1} if fault == "cut_short" else {silent})
    assert set(found) == set(SERVOS) - failed
    emulated.misbehave(lambda faults: getattr(faults, fault).clear())
    assert bus.read_present(SERVOS)[1] == []


def test_alarms_come_in_words(bus, emulated):
    emulated.misbehave(lambda faults: faults.alarms.update({2: 4 | 32}))
    assert bus.read_present(SERVOS)[0][2].alarms == ("too hot", "overload")


def test_a_servo_that_is_not_there_is_told(bus):
    with pytest.raises(BusError, match="servo 9: no answer to ping"):
        bus.ping(9)


def test_a_port_that_is_not_there_is_told_with_what_to_look_at():
    with pytest.raises(BusError, match="is the arm plugged in"):
        ServoBus("/dev/ttyNotThere")


def test_a_baud_rate_that_no_servo_has_is_refused(emulated):
    with pytest.raises(BusError, match="baud rate 12345"):
        ServoBus(emulated.port, 12345)


@pytest.mark.parametrize(("value", "bit"), [(0, 15), (5, 15), (-5, 15), (-2047, 11), (1000, 10)])
def test_signs_survive_both_ways(value, bit):
    assert signed(sign_magnitude(value, bit), bit) == value


def test_a_cycle_at_100_hz_fits_the_bus(bus, emulated):
    """Bytes on the wire, by the emulator's count: what 1 Mbaud takes for one cycle of six servos."""
    before = emulated.bytes_on_wire
    bus.read_present(SERVOS)
    bus.write_goals(dict.fromkeys(SERVOS, 2000))
    bus.ping(1)
    cycle_ms = (emulated.bytes_on_wire - before) * 1e-2
    assert cycle_ms < 3.0
