"""From checked parameters to what the policy node is made of. Imports torch only where a policy is loaded."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from smolvla_ros.parameters import ParameterError
from smolvla_ros.parameters.table import Value
from smolvla_ros.policy.continuation import Continuation
from smolvla_ros.policy.requests import RequestPolicy
from smolvla_ros.robot import RobotConfig
from smolvla_ros.robot.fit import fit_problems
from smolvla_ros.robot.observation import Freshness

from .loop import LoopSettings
from .predictor import Guide, Predictor


def load_policy(values: Mapping[str, Value], robot: RobotConfig, warn: Callable[[str], Any]) -> Any:
    """The checkpoint, held against the robot and warmed up.

    Raises:
        ParameterError: it cannot be loaded, or is for another robot.
    """
    import torch

    from smolvla_ros.model import CheckpointError, SmolVLAPolicy

    torch.set_num_threads(_integer(values["torch_threads"]) or max(1, (os.cpu_count() or 2) - 1))
    try:
        loaded = SmolVLAPolicy.from_checkpoint(
            str(values["checkpoint"]),
            device=_device(values, torch.cuda.is_available(), warn),
            dtype=values["dtype"],  # type: ignore[arg-type]
            overlong_instruction=values["overlong_instruction"],  # type: ignore[arg-type]
            statistics=_statistics(values),
        )
    except CheckpointError as error:
        raise ParameterError([f"parameter 'checkpoint' is {values['checkpoint']!r}: {error}"]) from error
    problems = fit_problems(
        robot,
        cameras=loaded.cameras,
        state_dim=loaded.state_dim,
        action_dim=loaded.action_dim,
        state_names=loaded.state_names,
        action_names=loaded.action_names,
        allow_missing_cameras=bool(values["allow_missing_cameras"]),
    )
    if problems:
        raise ParameterError(problems)
    loaded.warm_up()
    return loaded


def file_hashes(folder: Path) -> dict[str, str]:
    """What tells a checkpoint from every other: the SHA-256 of each of its files that acts on the actions."""
    hashes = {}
    for file in sorted((*folder.glob("*.json"), *folder.glob("*.safetensors"))):
        with file.open("rb") as content:
            hashes[file.name] = hashlib.file_digest(content, "sha256").hexdigest()
    return hashes


def chunk_rows(values: Mapping[str, Value], policy: Any) -> int:
    """How many rows of a chunk are published."""
    chunk_size = int(policy.config.chunk_size)
    return min(_integer(values["actions_per_chunk"]) or chunk_size, chunk_size)


def predictor(values: Mapping[str, Value], policy: Any, robot: RobotConfig) -> Predictor:
    """What asks the policy, with fresh noise."""
    return Predictor(
        policy,
        robot,
        rows=chunk_rows(values, policy),
        noise_shape=(policy.config.chunk_size, policy.config.max_action_dim),
        seed=None if values["seed"] == -1 else _integer(values["seed"]),
        guide=guide(values),
    )


def guide(values: Mapping[str, Value]) -> Guide | None:
    """How a chunk is made to continue the one before; None: it is not."""
    if values["rtc"] == "off":
        return None
    import torch

    from smolvla_ros.model import Guidance

    def make(continuation: Continuation) -> Guidance:
        return Guidance(
            leftover=torch.from_numpy(continuation.rows),
            delay=continuation.delay,
            horizon=_integer(values["rtc_horizon"]) or len(continuation.rows),
            schedule=values["rtc_schedule"],  # type: ignore[arg-type]
            max_weight=_number(values["rtc_max_guidance_weight"]),
            form=values["rtc"],  # type: ignore[arg-type]
        )

    return make


def new_session() -> int:
    """The number of a run of the policy: random, so that it is new whatever the clock says. Fits a uint64, never 0."""
    return secrets.randbelow(2**64 - 1) + 1


def loop_settings(values: Mapping[str, Value], session: int) -> LoopSettings:
    """The settings of the inference thread."""
    return LoopSettings(
        session=session,
        step_s=_number(values["step_s"]),
        needs_status=values["request_rule"] != "continuous",
        min_change=_number(values["observation_min_change"]),
        hold_and_go=values["slow_policy"] == "hold_and_go",
        delay_percentile=None if values["rtc"] == "off" else _number(values["rtc_delay_percentile"]),
        retry_backoff_s=_number(values["retry_backoff_s"]),
        max_failures=_integer(values["max_failures"]),
    )


def request_policy(values: Mapping[str, Value]) -> RequestPolicy:
    """When the policy is asked."""
    return RequestPolicy(
        str(values["request_rule"]), _number(values["request_threshold"]), _integer(values["request_every_n"])
    )


def freshness(values: Mapping[str, Value]) -> Freshness:
    """What data are trusted."""
    return Freshness(
        max_image_age_ns=round(_number(values["max_image_age_s"]) * 1e9),
        max_joint_state_age_ns=round(_number(values["max_joint_state_age_s"]) * 1e9),
        future_tolerance_ns=round(_number(values["future_tolerance_s"]) * 1e9),
        frozen_frames=_integer(values["frozen_camera_frames"]),
        accept_zero_stamps=bool(values["accept_zero_stamps"]),
    )


def _device(values: Mapping[str, Value], cuda_there: bool, warn: Callable[[str], Any]) -> str:
    """The device asked for; the CPU instead only if that was asked for too, and never silently."""
    device = str(values["device"])
    if device.startswith("cuda") and not cuda_there and values["device_fallback"] == "cpu":
        warn(f"device {device!r} is absent: running on the CPU (device_fallback)")
        return "cpu"
    return device


def _statistics(values: Mapping[str, Value]) -> dict[str, str]:
    chosen = {"observation.state": str(values["state_statistics"]), "action": str(values["action_statistics"])}
    return {feature: choice for feature, choice in chosen.items() if choice}


def _number(value: Value) -> float:
    return float(value)  # type: ignore[arg-type]


def _integer(value: Value) -> int:
    return int(value)  # type: ignore[arg-type]
