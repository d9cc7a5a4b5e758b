"""Replays of bags of the simulated arm with a policy that answers at once."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from one_by_one import AnswersOneByOne

from smolvla_ros.bags.reader import open_bag
from smolvla_ros.bags.replay.node import Setup
from smolvla_ros.bags.replay.result import Replay
from smolvla_ros.bags.replay.run import ReplaySettings, replay
from smolvla_ros.bags.streams import find_streams
from smolvla_ros.installation import share_folder
from smolvla_ros.model import InstructionError
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.parameters.files import read_parameters
from smolvla_ros.parameters.policy import PolicyParameters
from smolvla_ros.robot import RobotConfig

ROWS, JOINTS = 20, 6
STEP_NS = 33_333_333
OFFSET = 2.0  # of the fake policy's answers, in the checkpoint's units


class FakePolicy(AnswersOneByOne):
    """Answers with the state it sees and an offset, in every row; keeps what it was asked."""

    folder = Path("fake")
    config = SimpleNamespace(chunk_size=ROWS, max_action_dim=32)
    rows = np.full((ROWS, JOINTS), OFFSET, np.float32)

    def __init__(self) -> None:
        self.calls: list[SimpleNamespace] = []

    def predict(self, images: Any, state: Any, instruction: str, noise: Any = None, guidance: Any = None) -> Any:
        pictures = {name: image.copy() for name, image in images.items()}
        self.calls.append(SimpleNamespace(images=pictures, state=state, text=instruction, noise=noise, guide=guidance))
        actions = state + self.rows
        return SimpleNamespace(actions=actions, normalised=actions.astype(np.float32), stage_s={"denoise": 0.0})

    def normalised_state(self, state: Any) -> Any:
        return state

    def check_instruction(self, text: str) -> None:
        if len(text) > 100:
            raise InstructionError("the instruction is too long")

    def statistics(self, feature: str) -> dict[str, Any]:
        return {"mean": np.zeros(JOINTS), "std": np.full(JOINTS, 4.0)}


def make_setup(fake: Any, **parameters: Any) -> Setup:
    """The simulated arm's policy node with this policy, and parameters in place of those of its config."""
    given = PolicyParameters.from_values({**_policy_config().values(), "seed": 0, **parameters})
    return Setup(RobotConfig.from_parameters(given), given, fake, "fake", "so101_sim")


def controller_parameters(**parameters: Any) -> ControllerParameters:
    """The parameters of the simulated arm's controller node, with some in place of those of its config."""
    return ControllerParameters.from_values({**_controller_config().values(), **parameters})


@functools.cache
def _policy_config() -> PolicyParameters:
    """What the config says, read once; it leaves the checkpoint open."""
    choices = {"checkpoint": "fake"}
    return read_parameters(share_folder() / "config" / "so101_sim.yaml", "/policy_node", PolicyParameters, choices)


@functools.cache
def _controller_config() -> ControllerParameters:
    return read_parameters(share_folder() / "config" / "so101_sim.yaml", "/controller_node", ControllerParameters)


def run(folder: Path, fake: Any = None, parameters: Any = None, command: Any = None, **options: Any) -> Replay:
    """Replays a bag with the fake policy; `command`: parameters of the controller node."""
    setup = make_setup(fake or FakePolicy(), **(parameters or {}))
    with open_bag(folder) as bag:
        streams = find_streams(bag, setup.robot, controller_parameters(**(command or {})))
        return replay(bag, streams, setup, ReplaySettings(**options), lambda done_s: None)


def changed(message: Any, **fields: Any) -> Any:
    """A copy of a message with other fields."""
    twin = copy.deepcopy(message)
    for name, value in fields.items():
        setattr(twin, name, value)
    return twin
