"""The policy node with an inference that takes a given time at least; started by async_ros.py."""

from __future__ import annotations

import sys
import time
from typing import Any

from smolvla_ros.nodes.lifecycle import main
from smolvla_ros.nodes.policy_node import PolicyNode
from smolvla_ros.parameters.table import Parameter, Value


class DelayedPolicy:
    """Wraps a policy; every prediction takes at least `latency_s`."""

    def __init__(self, policy: Any, latency_s: float):
        self._policy = policy
        self._latency_s = latency_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        due_s = time.monotonic() + self._latency_s
        prediction = self._policy.predict(*args, **kwargs)
        time.sleep(max(0.0, due_s - time.monotonic()))
        return prediction


class DelayedPolicyNode(PolicyNode):
    """The policy node and one more parameter."""

    TABLE = (
        *PolicyNode.TABLE,
        Parameter("injected_latency_s", 0.0, "Inference takes this long at least.", "s", 0.0, 10.0),
    )

    def configure(self, values: dict[str, Value]) -> None:
        super().configure(values)
        self._policy = DelayedPolicy(self._policy, float(values["injected_latency_s"]))  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main(DelayedPolicyNode))
