"""How the controller node begins and ends: limits from the URDF, refusals, signals, simulated time."""

import signal
import time

import pytest
from builtin_interfaces.msg import Time as TimeMessage
from lifecycle_msgs.msg import Transition
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from std_msgs.msg import String

from smolvla_ros.msg import ExecutionStatus as Status

URDF = """<robot name="arm">
  <joint name="shoulder" type="revolute"><limit lower="-1.2" upper="1.2" effort="1" velocity="2.0"/></joint>
  <joint name="elbow" type="revolute"><limit lower="-1.2" upper="{upper}" effort="1" velocity="2.0"/></joint>
</robot>"""
FROM_URDF = {
    "limits_from": "robot_description",
    **{f"joint.{joint}.{name}": 0.0 for joint in ("shoulder", "elbow") for name in ("min_position", "max_position")},
}


@pytest.fixture
def description(world):
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    return world.monitor.create_publisher(String, "robot_description", latched)


@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGTERM, 1)])
def test_a_signal_in_motion_brakes_the_arm_and_ends_with_code_0_within_3_s(world, number, times):
    world.arm()
    controller = world.controller()
    world.policy()
    world.monitor.wait_for(Status.FOLLOWING)
    time.sleep(0.5)
    controller.signal(number, times)
    code, took_s = controller.wait(10)
    print(f"signal {number} x {times}: ended after {took_s:.2f} s")
    assert code == 0, controller.log
    assert took_s < 3.0
    assert "Traceback" not in controller.log
    world.monitor.wait_for(Status.INACTIVE)
    assert world.monitor.speed() < 0.25  # one period of the acceleration limit, 20 rad/s^2


def test_live_parameters_change_in_motion_and_others_are_refused(world):
    world.arm()
    world.controller()
    world.policy()
    world.monitor.wait_for(Status.FOLLOWING)
    changed, refused, out_of_range = world.monitor.set_parameters(
        merge_rule="average", control_rate_hz=50.0, ease_in_rows=101
    )
    assert changed.successful
    assert "read at configure" in refused.reason
    assert "out of range" in out_of_range.reason
    merged = world.monitor.status.chunks_merged
    world.monitor.wait_until(lambda: world.monitor.status.chunks_merged > merged + 2, "merged under the new rule")
    assert world.monitor.status.state == Status.FOLLOWING


def test_a_lifecycle_manager_deactivates_in_motion_and_activates_again(world):
    world.arm()
    world.controller()
    world.policy()
    world.monitor.wait_for(Status.FOLLOWING)
    assert world.monitor.change_state(Transition.TRANSITION_DEACTIVATE)
    world.monitor.wait_for(Status.INACTIVE)
    sent = len(world.monitor.commands)
    time.sleep(0.5)
    assert len(world.monitor.commands) == sent  # I2
    for service in ("stop", "resume", "park"):
        answer = world.monitor.call(service)
        assert not answer.success and "not active" in answer.message
    world.monitor.forget_command()
    assert world.monitor.change_state(Transition.TRANSITION_ACTIVATE)
    world.monitor.wait_for(Status.FOLLOWING)  # I8 is checked by the monitor


def test_limits_come_from_the_robot_description(world, description):
    description.publish(String(data=URDF.format(upper="1.2")))
    world.arm()
    world.controller(**FROM_URDF)
    world.policy()
    world.monitor.wait_for(Status.FOLLOWING)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (URDF.format(upper="-3"), "'elbow' may move from -1.2 to -3"),
        (URDF.format(upper="wide"), "upper of joint 'elbow' is 'wide'"),
        ("<robot/>", "no movable joint 'shoulder'"),
        (None, "no URDF came"),
    ],
)
def test_a_robot_description_that_cannot_be_used_fails_configure_with_its_reason(world, description, text, complaint):
    if text is not None:
        description.publish(String(data=text))
    patience_s = 2.0 if text is None else 20.0
    controller = world.controller(**FROM_URDF, robot_description_timeout_s=patience_s)
    world.monitor.wait_until(lambda: "cannot configure" in controller.log, "refused", patience_s + 10.0)
    assert complaint in controller.log
    assert controller.child.poll() is None
    controller.signal(signal.SIGINT)
    assert controller.wait(10)[0] == 0


@pytest.mark.parametrize(
    ("parameter", "value", "complaint"),
    [
        ("control_rate_hz", 0.0, "'control_rate_hz' is 0.0, expected 1 to 1000 Hz"),
        ("merge_rule", "mean", "'merge_rule' is 'mean', expected one of"),
        ("joint.elbow.max_velocity", 0.0, "joint 'elbow' has no velocity limit"),
        ("joint.wrist.max_velocity", 1.0, "'joint.wrist.max_velocity' is not known"),
        ("command_joints", "[shoulder, wrist]", "'command_joints'"),
        ("command_topic", "a b", "parameter 'command_topic' is 'a b', expected a topic name"),
    ],
)
def test_a_parameter_that_cannot_be_used_fails_configure_and_is_named(world, parameter, value, complaint):
    controller = world.controller(**{parameter: value})
    world.monitor.wait_until(lambda: "cannot configure" in controller.log, "refused")
    assert complaint in controller.log and "Traceback" not in controller.log


def test_a_simulated_clock_that_is_paused_or_set_back_causes_neither_a_jump_nor_a_flood_of_holds(world):
    """The arm and the policy run in real time; only the controller lives by /clock, which starts at the real time."""
    world.monitor.lost_commands = 5
    clock = world.monitor.create_publisher(Clock, "/clock", 1)
    offset_s = 0.0
    paused_at_s = None

    def publish():
        now_s = time.time() + offset_s if paused_at_s is None else paused_at_s
        clock.publish(Clock(clock=TimeMessage(sec=int(now_s), nanosec=int(now_s % 1 * 1e9))))

    timer = world.monitor.create_timer(0.005, publish)
    world.arm()
    world.controller(use_sim_time="true")
    world.policy()
    world.monitor.wait_for(Status.FOLLOWING)
    paused_at_s = time.time()
    seen = len(world.monitor.statuses)
    time.sleep(1.5)
    states = [status.state for status in world.monitor.statuses[seen + 5 :]]
    assert len(states) > 20
    assert sum(before != after for before, after in zip(states, states[1:], strict=False)) <= 1
    paused_at_s = None
    world.monitor.wait_for(Status.FOLLOWING)
    offset_s = -100.0
    world.monitor.wait_for(Status.HOLDING, Status.CLOCK_JUMP)
    offset_s = 0.0
    world.monitor.wait_for(Status.FOLLOWING)
    world.monitor.destroy_timer(timer)


def test_under_a_clock_of_60_hz_no_command_is_clamped(world):
    """The arm and the policy run in real time, which /clock tells."""
    clock = world.monitor.create_publisher(Clock, "/clock", 1)

    def publish():
        now_s = time.time()
        clock.publish(Clock(clock=TimeMessage(sec=int(now_s), nanosec=int(now_s % 1 * 1e9))))

    timer = world.monitor.create_timer(1.0 / 60.0, publish)
    world.arm()
    world.controller(use_sim_time="true")
    world.policy()
    world.monitor.wait_for(Status.FOLLOWING)
    time.sleep(2.0)
    before = world.monitor.status
    time.sleep(3.0)
    after = world.monitor.status
    clamped = after.acceleration_clamps - before.acceleration_clamps
    print(f"{clamped} of {after.ticks - before.ticks} ticks clamped")
    assert after.state == Status.FOLLOWING and after.ticks - before.ticks > 200
    assert clamped <= 0.05 * (after.ticks - before.ticks)
    world.monitor.destroy_timer(timer)
