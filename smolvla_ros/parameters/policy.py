"""The policy node: checkpoint, when to infer, what data to trust."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .declaration import parameter
from .node import NodeParameterSet
from .robot import RobotParameters


@dataclass(frozen=True)
class PolicyParameters(RobotParameters, NodeParameterSet):
    """Settings of the policy node."""

    checkpoint: str = parameter("", "Folder of a LeRobot SmolVLA checkpoint, or a hub id 'org/name'.", required=True)
    revision: str = parameter("", "Commit, tag or branch, if checkpoint is a hub id; empty: the newest.")
    device: str = parameter("cpu", "Torch device of the network: 'cpu', 'cuda', 'cuda:1', ...")
    device_fallback: Literal["error", "cpu"] = parameter("error", "What to do if the device is absent.")
    dtype: Literal["auto", "float32", "bfloat16", "bfloat16_products", "int8"] = parameter("auto",
        "Arithmetic of the network: 'auto' is the fastest on this machine that is as close to float32 as LeRobot is; "
        "'bfloat16' LeRobot's own mix; 'bfloat16_products' all but the products in float32; 'int8' on a CPU, if its "
        "actions on the golden input allow it.")
    engine: Literal["auto", "torch", "cuda_graph", "openvino"] = parameter("auto",
        "What runs the network: 'auto' is 'cuda_graph' on a GPU, else 'torch'; 'openvino' computes the images by "
        "OpenVINO, if that is installed. One that gives other numbers than torch is refused.")
    num_steps: int = parameter(0, "Denoising steps; 0: those of the checkpoint. `check` shows what fewer change.",
        minimum=0, maximum=100)
    state_statistics: str = parameter("", "For a checkpoint without usable statistics of 'observation.state': the "
        "name of a set in it, a file, or 'none' for un-normalised values; empty: those of the checkpoint.")
    action_statistics: str = parameter("", "The same for 'action'.")
    torch_threads: int = parameter(0, "Threads of torch; 0: one less than the cores that this process may use, "
        "so that control keeps one.",
        minimum=0, maximum=256)
    seed: int = parameter(-1, "Seed of the sampler's noise; -1: a new one at every activation.", minimum=-1)
    instruction: str = parameter("", "Instruction to start with; empty: wait for the topic.")
    overlong_instruction: Literal["refuse", "cut"] = parameter("refuse",
        "What to do with an instruction of more tokens than the policy reads.")
    unseen_words: Literal["accept", "refuse"] = parameter("accept",
        "What to do with an instruction of words never seen in training, where the checkpoint lists those that were. "
        "They are told either way.")
    allow_missing_cameras: bool = parameter(False, "Accept that the robot feeds only some of the checkpoint's image "
        "features.")
    step_s: float = parameter(1.0 / 30.0, "Time between two actions: 1 / fps of the training data.", "s", 0.001, 1.0)
    actions_per_chunk: int = parameter(0, "Rows of a chunk that are published; 0: all that the policy predicts.",
        minimum=0, maximum=1000)
    request_rule: Literal["synchronous", "threshold", "every_n", "continuous"] = parameter(
        "threshold", "When the next chunk is computed.", live=True)
    request_threshold: float = parameter(0.5, "Rule 'threshold': as soon as less than this part of a chunk is left.",
        minimum=0.0, maximum=1.0, live=True)
    request_every_n: int = parameter(10, "Rule 'every_n': after so many executed actions.",
        minimum=1, maximum=1000, live=True)
    observation_min_change: float = parameter(0.0, "Observation filter: no inference while every joint is within this "
        "distance of where it was at the last one, in the checkpoint's normalised units; 0: off. An empty queue and a "
        "new instruction are always answered.", minimum=0.0, maximum=10.0)
    slow_policy: Literal["hold_and_go", "warn"] = parameter("hold_and_go",
        "What to do while the median latency exceeds half of what a chunk covers: 'hold_and_go' executes the chunk, "
        "holds, looks and goes on; 'warn' keeps to request_rule.")
    rtc: Literal["off", "lerobot", "paper"] = parameter("off",
        "Real-time chunking, where a new chunk continues the one being executed: 'lerobot' as LeRobot does it, at no "
        "cost; 'paper' with the true vector-Jacobian product, one backward pass per denoising step.")
    rtc_schedule: Literal["zeros", "ones", "linear", "exp"] = parameter("exp",
        "How the pull towards the running chunk falls off after the rows that pass during inference.")
    rtc_horizon: int = parameter(0, "Rows that are pulled towards the running chunk at all; 0: as many as are left of "
        "it.", minimum=0, maximum=1000)
    rtc_max_guidance_weight: float = parameter(10.0, "Bound of the pull.", minimum=0.01, maximum=1000.0)
    rtc_delay_percentile: float = parameter(75.0, "Percentile of the last 50 latencies that is planned for. One slow "
        "call in a handful does not move it.", "%", 0.0, 100.0)
    max_image_age_s: float = parameter(0.5, "Images older than this are not acted on.", "s", 0.01, 60.0)
    max_joint_state_age_s: float = parameter(0.2, "Joint states older than this are not acted on.", "s", 0.01, 60.0)
    future_tolerance_s: float = parameter(0.05, "How far ahead of this machine's clock a stamp may lie.",
        "s", 0.0, 10.0)
    frozen_camera_frames: int = parameter(0, "So many equal images in a row count as a frozen camera; 0: never. A "
        "simulated camera at rest repeats itself, a real one does not.", minimum=0, maximum=100000)
    arms: tuple[str, ...] = parameter((), "Namespaces of the arms that this policy moves, which are built alike: each "
        "has its own cameras, joint states, instruction, controller and chunks below its name. Empty: one arm, in the "
        "node's own namespace. A camera topic that begins with a slash is seen by all.", is_topic=True)
    admission: Literal["punctual", "everybody"] = parameter("punctual", "Which of several arms may begin to move: "
        "'punctual' refuses an instruction where, by the latencies of the last minute, answers to all would come too "
        "late for some; as long as nothing is measured everybody may.")
    max_batch: int = parameter(8, "So many arms are answered together at most, where that is faster than one after the "
        "other.", minimum=1, maximum=64)
    retry_backoff_s: float = parameter(0.5, "Wait after a failed inference.", "s", 0.0, 60.0)
    max_failures: int = parameter(10, "After so many failed inferences in a row an arm is given up until something "
        "else is said to it; the node deactivates when all are.",
        minimum=1, maximum=1000)
