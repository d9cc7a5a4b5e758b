"""From checked parameters to what the policy node is made of. Imports torch only where a policy is loaded."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smolvla_ros.parameters import ParameterError
from smolvla_ros.parameters.policy import PolicyParameters
from smolvla_ros.policy.continuation import Continuation
from smolvla_ros.policy.requests import RequestPolicy
from smolvla_ros.robot import RobotConfig, raw_conversion
from smolvla_ros.robot.fit import fit_problems
from smolvla_ros.robot.observation import Freshness

from .loop_types import LoopSettings
from .predictor import Guide, Predictor


def load_policy(parameters: PolicyParameters, robot: RobotConfig, warn: Callable[[str], Any]) -> Any:
    """The checkpoint, held against the robot and warmed up.

    Raises:
        ParameterError: it cannot be loaded, or is for another robot.
    """
    import torch

    from smolvla_ros.model import CheckpointError, SmolVLAPolicy

    torch.set_num_threads(parameters.torch_threads or max(1, len(os.sched_getaffinity(0)) - 1))
    try:
        loaded = SmolVLAPolicy.from_checkpoint(
            parameters.checkpoint,
            revision=parameters.revision,
            device=_device(parameters, torch.cuda.is_available(), warn),
            dtype=parameters.dtype,
            num_steps=parameters.num_steps,
            engine=parameters.engine,
            overlong_instruction=parameters.overlong_instruction,
            unseen_words=parameters.unseen_words,
            statistics=chosen_statistics(parameters),
        )
    except CheckpointError as error:
        raise ParameterError([f"parameter 'checkpoint' is {parameters.checkpoint!r}: {error}"]) from error
    problems = fit_problems(
        robot,
        cameras=loaded.cameras,
        state_dim=loaded.state_dim,
        action_dim=loaded.action_dim,
        state_names=loaded.state_names,
        action_names=loaded.action_names,
        allow_missing_cameras=parameters.allow_missing_cameras,
    )
    if problems:
        raise ParameterError(problems)
    loaded.warm_up(min(parameters.max_batch, len(arm_names(parameters))))
    raw_conversion.converter()  # where cv_bridge is installed it is tried now and not at the first image
    return loaded


def file_hashes(folder: Path, warn: Callable[[str], object] = lambda _: None) -> dict[str, str]:
    """What tells a checkpoint from every other: the SHA-256 of each of its files that acts on the actions.

    A file that cannot be read is left out, and named in a warning.
    """
    hashes = {}
    for file in sorted((*folder.glob("*.json"), *folder.glob("*.safetensors"))):
        try:
            with file.open("rb") as content:
                hashes[file.name] = hashlib.file_digest(content, "sha256").hexdigest()
        except OSError as error:
            warn(f"no checksum of {file}, so nothing can tell whether it changes: {error.strerror}")
    return hashes


def chunk_rows(parameters: PolicyParameters, policy: Any) -> int:
    """How many rows of a chunk are published."""
    chunk_size = int(policy.config.chunk_size)
    return min(parameters.actions_per_chunk or chunk_size, chunk_size)


def arm_names(parameters: PolicyParameters) -> tuple[str, ...]:
    """The arms, at least one; the name of one in the node's own namespace is empty.

    Raises:
        ParameterError: a name stands twice.
    """
    if len(set(parameters.arms)) != len(parameters.arms):
        raise ParameterError([f"parameter 'arms' is {list(parameters.arms)}, expected each name once"])
    return parameters.arms or ("",)


def predictor(parameters: PolicyParameters, policy: Any, robot: RobotConfig) -> Predictor:
    """What asks the policy, with fresh noise."""
    return Predictor(
        policy,
        robot,
        rows=chunk_rows(parameters, policy),
        noise_shape=(policy.config.chunk_size, policy.config.max_action_dim),
        seed=None if parameters.seed == -1 else parameters.seed,
        guide=guide(parameters),
    )


def guide(parameters: PolicyParameters) -> Guide | None:
    """How a chunk is made to continue the one before; None: it is not."""
    form = parameters.rtc
    if form == "off":
        return None
    import torch

    from smolvla_ros.model import Guidance

    def make(continuation: Continuation) -> Guidance:
        return Guidance(
            leftover=torch.from_numpy(continuation.rows),
            delay=continuation.delay,
            horizon=parameters.rtc_horizon or len(continuation.rows),
            schedule=parameters.rtc_schedule,
            max_weight=parameters.rtc_max_guidance_weight,
            form=form,
        )

    return make


def new_session() -> int:
    """The number of a run of the policy: random, so that it is new whatever the clock says. Fits a uint64, never 0."""
    return secrets.randbelow(2**64 - 1) + 1


def loop_settings(parameters: PolicyParameters, session: int) -> LoopSettings:
    """The settings of the inference thread."""
    return LoopSettings(
        session=session,
        step_s=parameters.step_s,
        needs_status=parameters.request_rule != "continuous",
        min_change=parameters.observation_min_change,
        hold_and_go=parameters.slow_policy == "hold_and_go",
        delay_percentile=None if parameters.rtc == "off" else parameters.rtc_delay_percentile,
        retry_backoff_s=parameters.retry_backoff_s,
        max_failures=parameters.max_failures,
    )


def request_policy(parameters: PolicyParameters) -> RequestPolicy:
    """When the policy is asked."""
    return RequestPolicy(
        parameters.request_rule, parameters.request_threshold, parameters.request_every_n
    )


def freshness(parameters: PolicyParameters) -> Freshness:
    """What data are trusted."""
    return Freshness(
        max_image_age_ns=round(parameters.max_image_age_s * 1e9),
        max_joint_state_age_ns=round(parameters.max_joint_state_age_s * 1e9),
        future_tolerance_ns=round(parameters.future_tolerance_s * 1e9),
        frozen_frames=parameters.frozen_camera_frames,
        accept_zero_stamps=parameters.accept_zero_stamps,
    )


def _device(parameters: PolicyParameters, cuda_there: bool, warn: Callable[[str], Any]) -> str:
    """The device asked for; the CPU instead only if that was asked for too, and never silently."""
    device = parameters.device
    if device.startswith("cuda") and not cuda_there and parameters.device_fallback == "cpu":
        warn(f"device {device!r} is absent: running on the CPU (device_fallback)")
        return "cpu"
    return device


def chosen_statistics(parameters: PolicyParameters) -> dict[str, str]:
    chosen = {"observation.state": parameters.state_statistics, "action": parameters.action_statistics}
    return {feature: choice for feature, choice in chosen.items() if choice}
