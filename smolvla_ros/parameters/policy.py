"""The policy node: checkpoint, when to infer, what data to trust."""

from smolvla_ros.policy.requests import RULES

from .table import Parameter

PARAMETERS = (
    Parameter("checkpoint", "", "Folder of a LeRobot SmolVLA checkpoint, or a hub id 'org/name'.", required=True),
    Parameter("revision", "", "Commit, tag or branch, if checkpoint is a hub id; empty: the newest."),
    Parameter("device", "cpu", "Torch device of the network: 'cpu', 'cuda', 'cuda:1', ..."),
    Parameter("device_fallback", "error", "What to do if the device is absent.", choices=("error", "cpu")),
    Parameter("dtype", "float32", "Arithmetic of the network; 'bfloat16' is LeRobot's own mix of bfloat16 and float32, "
              "slow on most CPUs.", choices=("float32", "bfloat16")),
    Parameter("state_statistics", "", "For a checkpoint without usable statistics of 'observation.state': the name of "
              "a set in it, a file, or 'none' for un-normalised values; empty: those of the checkpoint."),
    Parameter("action_statistics", "", "The same for 'action'."),
    Parameter("torch_threads", 0, "Threads of torch; 0: one less than there are cores, so that control keeps one.",
              minimum=0, maximum=256),
    Parameter("seed", -1, "Seed of the sampler's noise; -1: a new one at every activation.", minimum=-1),
    Parameter("instruction", "", "Instruction to start with; empty: wait for the topic."),
    Parameter("overlong_instruction", "refuse", "What to do with an instruction of more tokens than the policy reads.",
              choices=("refuse", "cut")),
    Parameter("allow_missing_cameras", False,
              "Accept that the robot feeds only some of the checkpoint's image features."),
    Parameter("step_s", 1.0 / 30.0, "Time between two actions: 1 / fps of the training data.", "s", 0.001, 1.0),
    Parameter("actions_per_chunk", 0, "Rows of a chunk that are published; 0: all that the policy predicts.",
              minimum=0, maximum=1000),
    Parameter("request_rule", "threshold", "When the next chunk is computed.", choices=RULES, live=True),
    Parameter("request_threshold", 0.5, "Rule 'threshold': as soon as less than this part of a chunk is left.",
              minimum=0.0, maximum=1.0, live=True),
    Parameter("request_every_n", 10, "Rule 'every_n': after so many executed actions.",
              minimum=1, maximum=1000, live=True),
    Parameter("observation_min_change", 0.0, "Observation filter: no inference while every joint is within this "
              "distance of where it was at the last one, in the checkpoint's normalised units; 0: off. An empty queue "
              "and a new instruction are always answered.", minimum=0.0, maximum=10.0),
    Parameter("slow_policy", "hold_and_go", "What to do while the median latency exceeds half of what a chunk covers: "
              "'hold_and_go' executes the chunk, holds, looks and goes on; 'warn' keeps to request_rule.",
              choices=("hold_and_go", "warn")),
    Parameter("rtc", "off", "Real-time chunking, where a new chunk continues the one being executed: 'lerobot' as "
              "LeRobot does it, at no cost; 'paper' with the true vector-Jacobian product, one backward pass per "
              "denoising step.",
              choices=("off", "lerobot", "paper")),
    Parameter("rtc_schedule", "exp", "How the pull towards the running chunk falls off after the rows that pass during "
              "inference.", choices=("zeros", "ones", "linear", "exp")),
    Parameter("rtc_horizon", 0, "Rows that are pulled towards the running chunk at all; 0: as many as are left of it.",
              minimum=0, maximum=1000),
    Parameter("rtc_max_guidance_weight", 10.0, "Bound of the pull.", minimum=0.01, maximum=1000.0),
    Parameter("rtc_delay_percentile", 75.0, "Percentile of the last 50 latencies that is planned for. One slow call in "
              "a handful does not move it.", "%", 0.0, 100.0),
    Parameter("max_image_age_s", 0.5, "Images older than this are not acted on.", "s", 0.01, 60.0),
    Parameter("max_joint_state_age_s", 0.2, "Joint states older than this are not acted on.", "s", 0.01, 60.0),
    Parameter("future_tolerance_s", 0.05, "How far ahead of this machine's clock a stamp may lie.", "s", 0.0, 10.0),
    Parameter("accept_zero_stamps", False,
              "Take a zero stamp for the time of reception, instead of refusing the message."),
    Parameter("frozen_camera_frames", 0, "So many equal images in a row count as a frozen camera; 0: never. "
              "A simulated camera at rest repeats itself, a real one does not.", minimum=0, maximum=100000),
    Parameter("retry_backoff_s", 0.5, "Wait after a failed inference.", "s", 0.0, 60.0),
    Parameter("max_failures", 10, "The node deactivates after so many failed inferences in a row.",
              minimum=1, maximum=1000),
)  # fmt: skip
