"""The policy node as a process over DDS, on a small checkpoint: what it publishes, awaits, refuses, and how it ends."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
from ament_index_python.packages import get_package_prefix
from arms import user_environment
from lifecycle_msgs.srv import GetState
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from smolvla_ros.msg import ActionChunk, ExecutionStatus

CHECKPOINT = Path(__file__).parent.parent / "fixtures" / "lerobot" / "default"
JOINTS = [f"joint_{number}" for number in range(6)]
CAMERAS = {"top": "front/image_raw", "wrist": "wrist/image_raw"}
START_TIMEOUT_S = 60.0
PARAMETERS = {
    "checkpoint": str(CHECKPOINT),
    "cameras": list(CAMERAS),
    "camera.top.topic": CAMERAS["top"],
    "joints": JOINTS,
    "joint.joint_0.scale": 2.0,
    "torch_threads": 1,
    "max_image_age_s": 2.0,
    "max_joint_state_age_s": 2.0,
}


class PolicyProcess:
    """A policy node in a process of its own, its log in a file."""

    def __init__(self, log: Path, environment: dict[str, str] | None = None, **changes):
        parameters = {**PARAMETERS, **changes}
        arguments = [part for name, value in parameters.items() for part in ("-p", f"{name}:={_yaml(value)}")]
        executable = Path(get_package_prefix("smolvla_ros")) / "lib" / "smolvla_ros" / "policy_node"
        self._log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, executable, "--ros-args", *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                env=environment,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_for_log(self, text: str, timeout_s: float = START_TIMEOUT_S) -> None:
        end_s = time.monotonic() + timeout_s
        while text not in self.log:
            assert time.monotonic() < end_s, f"{text!r} was never logged:\n{self.log}"
            assert self.process.poll() is None, f"the node ended with {self.process.returncode}:\n{self.log}"
            time.sleep(0.05)

    def shared_memory(self) -> set[Path]:
        """The segments of Fast DDS that are the process's own."""
        maps = Path(f"/proc/{self.process.pid}/maps").read_text().split()
        return {Path(word) for word in maps if word.startswith("/dev/shm/fastrtps_") and "port" not in word}

    def end(self, number: int = signal.SIGINT, times: int = 1) -> tuple[int, float]:
        """Signals the process; its exit code and how long it took."""
        start_s = time.monotonic()
        for _ in range(times):
            self.process.send_signal(number)
        return self.process.wait(timeout=20), time.monotonic() - start_s


def _yaml(value) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(str, value)) + "]"
    return repr(value) if value == "" else str(value)


class Robot:
    """Everything around the policy: cameras, joint states, a controller's status, an operator."""

    def __init__(self):
        self.node = rclpy.create_node("robot")
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        create = self.node.create_publisher
        self.images = {name: create(Image, topic, qos_profile_sensor_data) for name, topic in CAMERAS.items()}
        self.joints = create(JointState, "joint_states", 10)
        self.status = create(ExecutionStatus, "execution_status", QoSProfile(depth=1))
        self.instruction = create(String, "instruction", latched)
        self.chunks: list[ActionChunk] = []
        self.node.create_subscription(ActionChunk, "action_chunk", self.chunks.append, QoSProfile(depth=10))
        self.executed = (0, 0)
        self.encoding, self.joint_names = "rgb8", JOINTS

    def publish(self, cameras=tuple(CAMERAS)):
        stamp = self.node.get_clock().now().to_msg()
        for name in cameras:
            pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
            message = Image(height=48, width=64, step=192, encoding=self.encoding, data=pixels.tobytes())
            message.header.stamp = stamp
            self.images[name].publish(message)
        joints = JointState(name=self.joint_names[::-1], position=[0.1 * k for k in range(len(self.joint_names))][::-1])
        joints.header.stamp = stamp
        self.joints.publish(joints)
        session, sequence = self.executed
        self.status.publish(ExecutionStatus(state=ExecutionStatus.HOLDING, session=session, sequence=sequence))

    def run(self, seconds: float, until=lambda: False, cameras=tuple(CAMERAS)):
        """Publishes at 20 Hz until the condition holds or the time is over."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s and not until():
            self.publish(cameras)
            rclpy.spin_once(self.node, timeout_sec=0.05)

    def say(self, text: str):
        self.instruction.publish(String(data=text))

    def state_of_policy(self) -> str:
        client = self.node.create_client(GetState, "policy_node/get_state")
        assert client.wait_for_service(timeout_sec=20.0)
        future = client.call_async(GetState.Request())
        rclpy.spin_until_future_complete(self.node, future, timeout_sec=20.0)
        self.node.destroy_client(client)
        return future.result().current_state.label


@pytest.fixture(scope="module")
def context(ros_domain):
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def robot(context):
    made = Robot()
    yield made
    made.node.destroy_node()


@pytest.fixture
def start(tmp_path, ros_domain):
    started = []

    def start(**changes) -> PolicyProcess:
        started.append(PolicyProcess(tmp_path / f"policy_{len(started)}.log", **changes))
        return started[-1]

    yield start
    for policy in started:
        if policy.process.poll() is None:
            policy.process.kill()
            policy.process.wait()


def test_an_instruction_and_fresh_data_give_chunks_that_follow_what_was_executed(start, robot):
    policy = start(seed=0)
    policy.wait_for_log("no instruction")
    robot.run(0.5)
    assert robot.chunks == []
    robot.say("touch the red cube")
    robot.run(20, until=lambda: robot.chunks)
    first = robot.chunks[0]
    assert list(first.joint_names) == JOINTS
    assert first.rows == 10 and len(first.positions) == 60
    assert first.sequence == 1 and first.session > 0
    assert first.instruction == "touch the red cube" and first.instruction_id == 1
    assert 0 < first.inference_s <= first.latency_s < 20
    assert np.isfinite(first.positions).all()
    robot.executed = (first.session, first.sequence)
    robot.run(20, until=lambda: len(robot.chunks) > 1)
    assert robot.chunks[1].sequence == 2 and robot.chunks[1].session == first.session

    robot.say("")
    robot.run(1.0)
    count = len(robot.chunks)
    robot.run(1.0)
    assert len(robot.chunks) == count, "no instruction, no chunks"
    assert policy.end() == (0, pytest.approx(0, abs=3))


def test_plain_and_latched_instructions_count_alike_also_those_that_were_said_before_the_node_was_there(start, robot):
    robot.say("touch the red cube")
    policy = start(seed=0)
    robot.run(START_TIMEOUT_S, until=lambda: robot.chunks)
    assert robot.chunks[0].instruction == "touch the red cube"
    plain = robot.node.create_publisher(String, "instruction", 10)
    robot.run(10, until=lambda: plain.get_subscription_count() == 1)
    for text in ("touch the blue cube", "touch the red cube"):
        plain.publish(String(data=text))
        robot.executed = (robot.chunks[-1].session, robot.chunks[-1].sequence)
        robot.run(20, until=lambda text=text: robot.chunks[-1].instruction == text)
        assert robot.chunks[-1].instruction == text
    plain.publish(String(data=""))
    policy.wait_for_log("no instruction")
    robot.run(1.0)
    count = len(robot.chunks)
    robot.run(1.0)
    assert len(robot.chunks) == count, "no instruction, no chunks"


def test_a_stopped_camera_is_named_and_the_policy_recovers_alone(start, robot):
    policy = start(max_image_age_s=0.3)
    robot.say("touch the red cube")
    robot.run(START_TIMEOUT_S, until=lambda: robot.chunks)
    robot.executed = (robot.chunks[-1].session, robot.chunks[-1].sequence)
    robot.run(20, until=lambda: "camera 'wrist' is older" in policy.log, cameras=["top"])
    policy.wait_for_log("the last image from camera 'wrist' is older than 0.3 s", timeout_s=1)
    count = len(robot.chunks)
    robot.run(0.5, cameras=["top"])
    assert len(robot.chunks) == count
    robot.executed = (robot.chunks[-1].session, robot.chunks[-1].sequence)
    robot.run(20, until=lambda: len(robot.chunks) > count)
    assert len(robot.chunks) > count
    assert policy.log.count("older than 0.3 s") <= 2, "logged at its edge, not all the time"


def test_bad_data_are_refused_by_name_and_nothing_is_published(start, robot):
    policy = start()
    robot.say("touch the red cube")
    robot.encoding, robot.joint_names = "16UC1", JOINTS[:-1]
    robot.run(START_TIMEOUT_S, until=lambda: "no image from camera" in policy.log)
    robot.run(1.0)
    assert "image of camera 'top' refused: encoding is '16UC1'" in policy.log
    assert "no image from camera 'top' can be used: encoding is '16UC1'" in policy.log
    assert "no joint state of 'joint_5' yet" in policy.log
    assert robot.chunks == []
    assert policy.process.poll() is None


@pytest.mark.parametrize("text", ["touch the <image>", "a\x07b", "move " * 300])
def test_an_instruction_that_is_none_is_refused_and_nothing_moves(start, robot, text):
    policy = start()
    policy.wait_for_log("no instruction")
    robot.say(text)
    robot.run(10, until=lambda: "instruction refused" in policy.log)
    assert "instruction refused" in policy.log
    robot.run(0.5)
    assert robot.chunks == []


@pytest.mark.parametrize(
    "changes, error",
    [
        ({"checkpoint": "/nowhere"}, "parameter 'checkpoint' is '/nowhere'"),
        ({"checkpoint": ""}, "parameter 'checkpoint' must be set"),
        ({"joints": JOINTS[:5]}, "state has 6 values, the robot has 5 joints"),
        ({"camera.wrist.feature": "observation.images.side"}, "camera 'wrist' feeds 'observation.images.side'"),
        ({"step_s": 0.0}, "parameter 'step_s' is 0.0, expected 0.001 to 1 s"),
        ({"request_treshold": 0.5}, "did you mean 'request_threshold'?"),
        ({"device": "cuda:9"}, "cuda:9"),
    ],
)
def test_what_cannot_work_is_refused_at_configure_with_one_clear_error(start, robot, changes, error):
    policy = start(**changes)
    policy.wait_for_log("cannot configure: ")
    assert error in policy.log
    assert "Traceback" not in policy.log
    assert robot.state_of_policy() == "unconfigured"
    robot.say("touch the red cube")
    robot.run(0.5)
    assert robot.chunks == []
    assert policy.end(signal.SIGTERM) == (0, pytest.approx(0, abs=3))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("delay_s", [0.4, 1.0, 2.0, 3.5])
def test_a_signal_at_any_time_of_the_start_ends_the_process_with_code_0(start, number, delay_s):
    policy = start(environment=user_environment())
    time.sleep(delay_s)
    segments = policy.shared_memory()
    code, took_s = policy.end(number, times=2)
    assert code == 0, policy.log
    assert took_s < 3.0
    assert "Traceback" not in policy.log
    assert not [segment for segment in segments if segment.exists()]


def test_an_active_node_leaves_no_shared_memory_when_it_ends(start):
    policy = start(environment=user_environment())
    policy.wait_for_log("no instruction")
    segments = policy.shared_memory()
    assert policy.end()[0] == 0
    assert segments and not [segment for segment in segments if segment.exists()]
