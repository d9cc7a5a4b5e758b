"""The three nodes, each in its world, under fuzz."""

from __future__ import annotations

import math
import random
import time
from pathlib import Path
from typing import Any

from controller_world import JOINTS, World
from executor_thread import destroy
from node_fuzz import NodeFuzz, integer
from rclpy.duration import Duration
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray, String, UInt64
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from smolvla_ros.msg import ActionChunk, ExecutionStatus
from smolvla_ros.qos import BEST_EFFORT, LATCHED
from smolvla_ros.sim import JOINTS as SIM_JOINTS

CHECKPOINT = Path(__file__).parent.parent / "fixtures" / "lerobot" / "default"
ROWS, STEP_S, SPEED = 20, 0.05, 0.5
POLICY_JOINTS = [f"joint_{number}" for number in range(6)]
_STAMPS = ("header.stamp", "image_stamp")
# What holds the arm for long comes once in so many times only: else it would never move.
_RARE = {"/controller_node/instance": 400, "/arm_trouble": 100, "takeover": 50, "stop": 20, "park": 20}
_RARE_SESSIONS = 60


class Fresh:
    """Good data of the moment for whatever a mutation left alone."""

    def __init__(self, world: World):
        self.monitor = world.monitor
        self.session, self.sequence, self._begun_s, self._sent_s = 1, 0, time.monotonic(), 0.0
        self._chance = random.Random(1)

    def wanted(self, name: str, paths: str) -> bool:
        return self._chance.random() * (_RARE_SESSIONS if "session" in paths else _RARE.get(name, 1)) < 1.0

    def freshen(self, message: Any, paths: str) -> None:
        now = self.monitor.get_clock().now().to_msg()
        for name in ("header", "image_stamp"):
            if hasattr(message, name) and not any(stamp in paths for stamp in _STAMPS):
                owner = message.header if name == "header" else message
                setattr(owner, "stamp" if name == "header" else name, now)
        if isinstance(message, ActionChunk) and "sequence" not in paths:
            self.sequence += 1
            message.sequence = self.sequence
        if isinstance(message, ActionChunk) and "session" not in paths:
            message.session = self.session

    def policy(self) -> None:
        """Every 150 ms a good chunk from where the arm is; every 3 s as another session."""
        now_s = time.monotonic()
        if now_s - self._begun_s > 3.0:
            self.session, self.sequence, self._begun_s = self.session + 1, 0, now_s
        if now_s - self._sent_s < 0.15 or not self.monitor.commands and not self.monitor.states:
            return
        self._sent_s = now_s
        row = list(self.monitor.commands[-1][1]) if self.monitor.commands else [0.0, 0.0]
        message = chunk(row)
        self.freshen(message, "")
        self.monitor.chunks.publish(message)


def chunk(row: list[float]) -> ActionChunk:
    """A second of motion towards a wandering goal."""
    message = ActionChunk(session=1, sequence=1, rows=ROWS, joint_names=JOINTS, instruction="go", instruction_id=1)
    message.step = Duration(seconds=STEP_S).to_msg()
    for index in range(ROWS):
        goals = [math.sin(time.time() + index * STEP_S + joint) for joint in range(len(row))]
        limit = SPEED * STEP_S if index else 0.0
        row = [q + max(-limit, min(limit, goal - q)) for q, goal in zip(row, goals, strict=True)]
        message.positions.extend(row)
    return message


def fuzz_controller(world: World, messages: int, seed: int) -> tuple[Any, NodeFuzz]:
    """In motion, with its stop asked for all the time."""
    world.bare_service()
    world.arm()
    process = world.controller()
    world.monitor.wait_for_commanders(1)
    monitor, fresh = world.monitor, Fresh(world)
    create = monitor.create_publisher
    trouble = create(String, "arm_trouble", LATCHED)
    fuzz = NodeFuzz(
        monitor,
        "/controller_node",
        [
            (monitor.chunks, chunk([0.0, 0.0])),
            (create(JointState, "joint_states", 1), JointState(name=JOINTS, position=[0.0, 0.0])),
            (create(String, "instruction", 1), String(data="go")),
            (create(UInt64, "/controller_node/instance", 1), UInt64(data=0)),
            (create(JointState, "person_commands", BEST_EFFORT), JointState(name=JOINTS, position=[0.0, 0.0])),
            (trouble, String(data="")),
        ],
        [("stop", Trigger), ("resume", Trigger), ("park", Trigger), ("takeover", SetBool)],
        integer("ease_in_rows", 5),
        fresh.freshen,
        fresh.wanted,
    )
    stop, resume = (monitor.create_client(Trigger, f"/controller_node/{name}") for name in ("stop", "resume"))

    def ask() -> Any:
        future = stop.call_async(Trigger.Request())
        future.add_done_callback(lambda _: resume.call_async(Trigger.Request()))
        return future

    def meanwhile() -> None:
        fresh.policy()
        trouble.publish(String())  # whatever was said of the arm, it is well

    fuzz.run(messages, seed, meanwhile, ask)
    fuzz.close()
    destroy(monitor, stop, resume)
    return process, fuzz


def fuzz_policy(world: World, messages: int, seed: int) -> tuple[Any, NodeFuzz]:
    """With cameras, joint states and a controller's status that are good between what is not."""
    world.bare_service()
    process = world.node(
        "policy_node", checkpoint=CHECKPOINT, joints=f"[{', '.join(POLICY_JOINTS)}]", cameras="[top, wrist]",
        instruction="touch the red cube", torch_threads=1, **{"camera.wrist.transport": "compressed"},
    )  # fmt: skip
    world.monitor.wait_until(lambda: "loaded" in process.log, "loaded", 60.0)
    monitor, fresh = world.monitor, Fresh(world)
    monitor.ignore_commands_and_status()
    create = monitor.create_publisher
    picture = Image(height=8, width=8, step=24, encoding="rgb8", data=bytes(192))
    jpeg = CompressedImage(format="jpeg", data=_jpeg())
    topics = [
        (create(Image, "top/image_raw", qos_profile_sensor_data), picture),
        (create(CompressedImage, "wrist/image_raw/compressed", qos_profile_sensor_data), jpeg),
        (create(JointState, "joint_states", 10), JointState(name=POLICY_JOINTS, position=[0.1] * 6)),
        (create(String, "instruction", 10), String(data="touch the red cube")),
        (create(ExecutionStatus, "execution_status", 1), ExecutionStatus(state=ExecutionStatus.HOLDING)),
    ]
    fuzz = NodeFuzz(monitor, "/policy_node", topics, [], integer("request_every_n", 5), fresh.freshen)
    sent_s = [0.0]

    def good() -> None:
        if time.monotonic() - sent_s[0] > 0.05:
            sent_s[0] = time.monotonic()
            for publisher, message in topics:
                fresh.freshen(message, "")
                publisher.publish(message)

    fuzz.run(messages, seed, good)
    fuzz.close()
    world.monitor.chunks_heard.clear()
    monitor.wait_until(lambda: good() or world.monitor.chunks_heard, "a chunk after all that", 60.0)
    return process, fuzz


def fuzz_sim(world: World, messages: int, seed: int) -> tuple[Any, NodeFuzz]:
    """The simulated arm, whose joint states must stay finite."""
    world.bare_service()
    process = world.node("sim_node")
    monitor, fresh = world.monitor, Fresh(world)
    monitor.wait_until(lambda: monitor.states, "joint states", 60.0)
    create = monitor.create_publisher
    point = JointTrajectoryPoint(positions=[0.0] * 6, velocities=[0.0] * 6)
    point.time_from_start.nanosec = 10**8
    zeros = [0.0] * 6
    topics = [
        (create(JointTrajectory, "joint_trajectory_controller/joint_trajectory", 1),
         JointTrajectory(joint_names=list(SIM_JOINTS), points=[point])),
        (create(Float64MultiArray, "forward_position_controller/commands", 1), Float64MultiArray(data=zeros)),
        (create(JointState, "joint_command", 1), JointState(name=list(SIM_JOINTS), position=zeros)),
    ]  # fmt: skip
    monitor.ignore_commands_and_status()
    fuzz = NodeFuzz(monitor, "/sim_node", topics, [("reset", Trigger)], integer("seed", 1), fresh.freshen)
    fuzz.run(messages, seed, lambda: None)
    fuzz.close()
    seen = len(monitor.states)
    monitor.wait_until(lambda: len(monitor.states) > seen + 20, "joint states after all that")
    assert all(math.isfinite(x) for state in monitor.states for x in state.position)
    return process, fuzz


def _jpeg() -> bytes:
    import cv2
    import numpy as np

    return bytes(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1])
