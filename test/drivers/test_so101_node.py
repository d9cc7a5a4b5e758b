"""The driver as a process of its own, over DDS, on an emulated bus."""

import os
import signal

import pytest
import yaml
from driver_client import DriverClient
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool

from smolvla_ros.cli.robot_from_lerobot import robot_parameters
from smolvla_ros.drivers.calibration import JOINTS, read_calibration
from smolvla_ros.drivers.servo_emulator import EmulatedBus
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.parameters.policy import PolicyParameters
from smolvla_ros.parameters.so101 import SO101Parameters
from smolvla_ros.qos import LATCHED

START = {1: 2025, 2: 1900, 3: 2000, 4: 2000, 5: 2047, 6: 2100}


class Client(DriverClient):
    """Hears the driver and commands it."""

    def __enter__(self):
        super().__enter__()
        self.states = self.hear(JointState, "joint_states")
        self._commands = self.node.create_publisher(JointState, "joint_command", 1)
        return self

    def command(self, positions):
        self._commands.publish(JointState(name=list(JOINTS), position=positions))


@pytest.fixture
def client():
    with Client() as client:
        yield client


@pytest.fixture
def driver(client, emulated, calibration_file):
    """Starts the driver with parameters."""
    values = {"port": emulated.port, "calibration": calibration_file}
    return lambda **parameters: client.start("so101_node", **values | parameters)


def test_the_arm_is_read_torqued_where_it_is_moved_and_left_where_it_stands(driver, client, emulated, here):
    process = driver()
    client.until(lambda: bool(client.states), "a joint state")
    assert list(client.states[-1].name) == list(JOINTS)
    assert list(client.states[-1].position) == pytest.approx(here, abs=1e-6)
    assert not emulated.torque(1)

    client.until(lambda: client.command(here) or emulated.torque(1), "torque at the present position")
    wanted = [here[0] + 0.2, *here[1:]]
    client.until(lambda: client.command(wanted) or abs(client.states[-1].position[0] - wanted[0]) < 0.01, "the motion")

    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert emulated.torque(1)  # nothing falls
    assert emulated.position(1) == pytest.approx(emulated.goal(1), abs=1.0)


def test_torque_goes_off_by_the_service_and_whoever_commands_is_told(driver, client, emulated, here):
    troubles = client.hear(String, "arm_trouble", LATCHED)
    driver()
    client.until(lambda: client.command(here) or emulated.torque(6), "torque")
    release = client.node.create_client(SetBool, "so101_node/release")
    client.until(release.service_is_ready, "the service")
    answer = release.call_async(SetBool.Request(data=True))
    client.until(lambda: client.command(here) or answer.done(), "the answer")
    assert answer.result().success
    client.until(lambda: client.command(here) or troubles[-1].data, "the reason for whoever commands")
    assert "released" in troubles[-1].data
    assert [one.data for one in troubles[:-1]] == [""]
    assert not any(emulated.torque(servo) for servo in range(1, 7))


def test_a_killed_driver_leaves_the_arm_where_it_is_and_its_successor_moves_nothing(driver, client, emulated, here):
    process = driver()
    client.until(lambda: client.command(here) or emulated.torque(1), "torque")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    goals = [emulated.goal(servo) for servo in range(1, 7)]
    client.states.clear()
    driver()
    client.until(lambda: len(client.states) > 5, "joint states of the successor")
    assert [emulated.goal(servo) for servo in range(1, 7)] == goals
    assert emulated.torque(1)


def test_an_alarm_reaches_the_diagnostics_by_name(driver, client, emulated):
    driver()
    client.until(lambda: bool(client.states), "a joint state")
    emulated.misbehave(lambda faults: faults.alarms.update({2: 4}))
    client.until(lambda: client.told("shoulder_lift (servo 2): too hot"), "the alarm in the diagnostics")


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"port": "/dev/ttyNotThere"}, "is the arm plugged in"),
        ({"calibration": "/nowhere.json"}, "No such file"),
        ({"baud_rate": 12345}, "baud rate 12345"),
    ],
)
def test_what_cannot_work_is_one_sentence_and_no_torque(driver, emulated, parameters, expected):
    process = driver(**parameters)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "cannot configure" in line:
            break
    assert expected in lines[-1]
    assert "Traceback" not in "".join(lines)
    assert not emulated.torque(1)


def test_the_file_from_lerobots_calibration_is_one_that_all_nodes_take(calibration_file, tmp_path):
    robot = robot_parameters(calibration_file, "degrees", ["front=front/image_raw/compressed"], "/dev/ttyACM0")
    sections = yaml.safe_load(yaml.safe_dump(robot))

    def values(*nodes):
        found = {}
        for node in nodes:
            for name, value in sections[node]["ros__parameters"].items():
                entries = value.items() if isinstance(value, dict) else (("", value),)
                found |= {f"{name}.{key}".rstrip("."): one for key, one in entries}
        return found

    controller = ControllerParameters.from_values(values("/**", "/**/controller_node"))
    policy = PolicyParameters.from_values(values("/**", "/**/policy_node") | {"checkpoint": "x"})
    driver = SO101Parameters.from_values(values("/**/so101_node"))
    assert policy.joints == controller.joints == JOINTS
    assert driver.port == "/dev/ttyACM0"
    assert controller.joint["shoulder_pan"].max_position == pytest.approx(1.944, abs=1e-3)


def test_a_pulled_cable_is_told_and_the_arm_is_driven_again_when_it_is_back(client, driver, calibration_file, tmp_path):
    link, motors = tmp_path / "arm", read_calibration(calibration_file)

    def plugged():
        bus = EmulatedBus(START, timed=False)
        bus.calibrate(motors.values())
        link.unlink(missing_ok=True)
        link.symlink_to(bus.port)
        return bus

    here = [motors[joint].to_rad(START[motors[joint].id]) for joint in JOINTS]
    with plugged() as bus:
        driver(port=link)
        client.until(lambda: client.command(here) or bus.torque(1), "torque")
    client.until(lambda: client.told("is the arm plugged in"), "the error")
    client.states.clear()
    with plugged() as bus:
        client.until(lambda: len(client.states) > 5, "joint states")
        assert not bus.torque(1)  # no command since
        client.until(lambda: client.command(here) or bus.torque(1), "torque again")
        assert bus.position(1) == START[1]
