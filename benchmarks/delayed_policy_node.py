"""The policy node with an inference that takes a given time at least; started by async_ros.py."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from smolvla_ros.nodes.policy_node import PolicyNode
from smolvla_ros.nodes.running import run_node
from smolvla_ros.parameters import parameter
from smolvla_ros.parameters.policy import PolicyParameters


class DelayedPolicy:
    """Wraps a policy; every inference takes at least `latency_s`."""

    def __init__(self, policy: Any, latency_s: float):
        self._policy = policy
        self._latency_s = latency_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def predict_together(self, questions: Sequence[Any]) -> Any:
        due_s = time.monotonic() + self._latency_s
        predictions = self._policy.predict_together(questions)
        time.sleep(max(0.0, due_s - time.monotonic()))
        return predictions


@dataclass(frozen=True)
class DelayedPolicyParameters(PolicyParameters):
    """The policy node's, and one more."""

    injected_latency_s: float = parameter(0.0, "Inference takes this long at least.", "s", 0.0, 10.0)


class DelayedPolicyNode(PolicyNode):
    """The policy node with a slower policy."""

    PARAMETERS = DelayedPolicyParameters
    parameters: DelayedPolicyParameters

    def configure(self) -> None:
        super().configure()
        self._policy = DelayedPolicy(self._policy, self.parameters.injected_latency_s)


if __name__ == "__main__":
    sys.exit(run_node(DelayedPolicyNode))
