"""A session of the simulated arm in virtual time: what the nodes would have published, in a second or two.

The scripted expert drives the arm, or the policy that ships. Topics, types and stamps are those of the nodes; log times
lie some milliseconds after the stamps.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from bag_events import Event, header, message, stamp, types

from smolvla_ros.execution.limits import JointLimits
from smolvla_ros.execution.settings import ControllerSettings
from smolvla_ros.installation import share_folder
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.parameters.files import read_parameters
from smolvla_ros.parameters.policy import PolicyParameters
from smolvla_ros.policy.requests import RequestPolicy
from smolvla_ros.sim import CAMERAS, JOINTS, World
from smolvla_ros.sim.expert import STEP_S
from smolvla_ros.sim.policies import CheckpointPolicy, ExpertPolicy, ManipulatorPolicy
from smolvla_ros.sim.scene import Scene as SimScene
from smolvla_ros.sim.task import COLOURS
from smolvla_ros.sim.tasks import Asked
from smolvla_ros.sim.virtual_arm import VirtualArm

START_NS = 1_790_000_000 * 10**9
SESSION = START_NS - 5 * 10**9
INSTRUCTION = "touch the red cube"

_STEP_NS = round(STEP_S * 1e9)
_CONTROL_STEPS = 3  # per action period: joint states and commands at 90 Hz
_DELAY_TICKS = 4
_VIRTUAL_START_NS = 10**9  # where virtual time starts
_LATENESS_MS = {"image_raw": (4.0, 1.0), "joint_states": (0.8, 0.2)}  # mean and deviation, by end of the topic's name
_OTHER_LATENESS_MS = (1.0, 0.3)


@dataclass(frozen=True)
class Scene:
    """What the arm did: for how long, in which layout, asked what, driven by 'expert' or 'checkpoint'."""

    seconds: float = 3.0
    seed: int = 7
    instruction: str = INSTRUCTION
    policy: str = "expert"
    picture_size: tuple[int, int] = (96, 96)


@functools.cache
def recorded_events(scene: Scene) -> tuple[Event, ...]:
    """What the live system would have published, in the order of log times; not to be changed."""
    types()  # makes the installed package known, which the recording reads its configs from
    recording = _Recording(scene)
    recording.run()
    return tuple(sorted(recording.events, key=lambda event: event.log_ns))


class _LoggedWorld(World):
    """A world that keeps its joints before every physics step: (time since the start [s], positions, velocities)."""

    def __init__(self, seed: int, picture_size: tuple[int, int], scene: SimScene):
        self.log: list[tuple[float, np.ndarray, np.ndarray]] = []
        super().__init__(seed, picture_size, scene)
        self.log.clear()

    def step(self, dt_s: float) -> None:
        self.log.append((self.time_s, self.joint_positions(), self.joint_velocities()))
        super().step(dt_s)


class _KeptPolicy:
    """A policy that keeps what it predicts: (tick, instruction, positions [rows, joints])."""

    def __init__(self, policy: Any):
        self.predictions: list[tuple[int, str, np.ndarray]] = []
        self.tick = 0
        self.rows = policy.rows
        self._policy = policy

    def normalised_state(self, observation: Any) -> Any:
        return self._policy.normalised_state(observation)

    def prepare(self, question: Any) -> Any:
        return question.instruction, self._policy.prepare(question)

    def predict(self, prepared: Any) -> Any:
        predictions = self._policy.predict([question for _, question in prepared])
        self.predictions += [(self.tick, prepared[0][0], prediction.positions) for prediction in predictions]
        return predictions


class _Recording:
    def __init__(self, scene: Scene):
        self.events: list[Event] = []
        self._scene = scene
        self._jitter = np.random.default_rng(scene.seed)
        known: SimScene = "touch" if scene.policy == "expert" else "pick_place"  # to the policy
        self._world = _LoggedWorld(scene.seed, scene.picture_size, known)
        self._policy = _KeptPolicy(_policy(scene, self._world))
        self._arm = VirtualArm(
            self._world, self._policy,
            settings=ControllerSettings(_limits(self._world), STEP_S / _CONTROL_STEPS),
            requests=RequestPolicy("threshold"), delay=lambda: _DELAY_TICKS,
        )  # fmt: skip

    def run(self) -> None:
        self._tell_descriptions()
        self._add("/instruction", -(10**8), message("std_msgs/msg/String", data=self._scene.instruction))
        for tick in range(round(self._scene.seconds / STEP_S)):
            now_ns = tick * _STEP_NS
            for camera in CAMERAS:
                self._add(f"/{camera}/image_raw", now_ns, _image(self._world.render(camera), START_NS + now_ns, camera))
            self._policy.tick = tick
            result = self._arm.step(self._scene.instruction)
            first = _CONTROL_STEPS - len(result.commands)
            for place, command in enumerate(result.commands, first):
                self._tell_command(now_ns + place * _STEP_NS // _CONTROL_STEPS, command)
            self._tell_status()
        for place, (_, positions, velocities) in enumerate(self._world.log):
            self._tell_joints(place * _STEP_NS // _CONTROL_STEPS, positions, velocities)
        for sequence, prediction in enumerate(self._policy.predictions, 1):
            self._tell_chunk(sequence, *prediction)
        self._world.close()

    def _add(self, topic: str, since_start_ns: int, content: Any) -> None:
        mean, deviation = _LATENESS_MS.get(topic.rpartition("/")[2], _OTHER_LATENESS_MS)
        late_ns = round(max(self._jitter.normal(mean, deviation), 0.1) * 1e6)
        self.events.append(Event(topic, START_NS + since_start_ns + late_ns, content))

    def _tell_descriptions(self) -> None:
        given = {"checkpoint": str(share_folder() / "checkpoints" / "demo")}  # by the launch file, not by the config
        for node, kind, choices in (
            ("policy_node", PolicyParameters, given),
            ("controller_node", ControllerParameters, {}),
        ):
            values = read_parameters(share_folder() / "config" / "so101_sim.yaml", f"/{node}", kind, choices).values()
            text = json.dumps({"node": f"/{node}", "parameters": values})
            self._add(f"/{node}/description", -2 * 10**8, message("std_msgs/msg/String", data=text))

    def _tell_joints(self, since_start_ns: int, positions: np.ndarray, velocities: np.ndarray) -> None:
        content = _joint_state(START_NS + since_start_ns, positions, velocities)
        self._add("/joint_states", since_start_ns, content)

    def _tell_command(self, since_start_ns: int, positions: np.ndarray) -> None:
        self._add("/joint_command", since_start_ns, _joint_state(START_NS + since_start_ns, positions, np.empty(0)))

    def _tell_chunk(self, sequence: int, tick: int, instruction: str, positions: np.ndarray) -> None:
        latency_ns = _DELAY_TICKS * _STEP_NS
        chunk = message(
            "smolvla_ros/msg/ActionChunk",
            header=header(START_NS + tick * _STEP_NS), image_stamp=stamp(START_NS + tick * _STEP_NS),
            session=SESSION, sequence=sequence, joint_names=list(JOINTS),
            step=message("builtin_interfaces/msg/Duration", sec=0, nanosec=_STEP_NS), rows=len(positions),
            positions=positions.ravel(), frozen_rows=0, instruction=instruction, instruction_id=1,
            inference_s=latency_ns * 1e-9 - 0.005, latency_s=latency_ns * 1e-9,
        )  # fmt: skip
        self._add("/action_chunk", tick * _STEP_NS + latency_ns, chunk)

    def _tell_status(self) -> None:
        status = self._arm.status()
        counters = status.counters
        since_start_ns = status.now_ns - _VIRTUAL_START_NS
        kind = types().store.types["smolvla_ros/msg/ExecutionStatus"]
        content = kind(
            header=header(START_NS + since_start_ns), state=int(status.state), reason=int(status.reason),
            detail=status.detail, dry_run=False, intervention=status.intervention, parked=status.parked,
            session=SESSION if status.session else 0, sequence=status.sequence,
            last_session=SESSION, last_sequence=status.counters.last_chunk[1], last_rejection="",
            row=status.row, remaining_rows=status.remaining_rows, remaining_s=status.remaining_s,
            action_age_s=status.action_age_s, seam_jump=status.seam_jump, idle_fraction=status.idle_fraction,
            chunks_received=counters.chunks_received, chunks_merged=counters.chunks_merged,
            chunks_rejected=counters.chunks_rejected, rows_received=status.rows_received,
            rows_executed=status.rows_executed, rows_discarded=status.rows_discarded, rows_queued=status.rows_queued,
            position_clamps=counters.position.ticks, velocity_clamps=counters.velocity.ticks,
            acceleration_clamps=counters.acceleration.ticks, ticks=counters.ticks, missed_ticks=0,
        )  # fmt: skip
        self._add("/execution_status", since_start_ns, content)


def _policy(scene: Scene, world: World) -> Any:
    """'expert' touches in the plain scene, 'manipulator' in that of the policy that ships, which is any other name."""
    if scene.policy == "expert":
        return ExpertPolicy(world)
    if scene.policy == "manipulator":
        expert = ManipulatorPolicy(world)
        expert.ask(Asked("touch", next(colour for colour in COLOURS if colour in scene.instruction)))
        return expert
    from smolvla_ros.model import SmolVLAPolicy

    return CheckpointPolicy(SmolVLAPolicy.from_checkpoint(share_folder() / "checkpoints" / "demo"))


def _limits(world: World) -> JointLimits:
    ranges = np.array([world.model.joint(name).range for name in JOINTS])
    ones = np.ones(len(JOINTS))
    return JointLimits(
        JOINTS, ranges[:, 0], ranges[:, 1],
        velocity=4.0 * ones, acceleration=30.0 * ones, step=2.0 * ones, jump=2.0 * ones, tracking=2.0 * ones,
    )  # fmt: skip


def _image(picture: np.ndarray, stamp_ns: int, camera: str) -> Any:
    height, width = picture.shape[:2]
    return message(
        "sensor_msgs/msg/Image", header=header(stamp_ns, f"{camera}_camera"), height=height, width=width,
        encoding="rgb8", is_bigendian=0, step=3 * width, data=picture.reshape(-1).copy(),
    )  # fmt: skip


def _joint_state(stamp_ns: int, positions: np.ndarray, velocities: np.ndarray) -> Any:
    return message(
        "sensor_msgs/msg/JointState", header=header(stamp_ns), name=list(JOINTS), position=np.array(positions),
        velocity=np.array(velocities), effort=np.empty(0),
    )  # fmt: skip
