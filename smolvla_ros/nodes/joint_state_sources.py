"""Whether several nodes tell the same joints: then one of them is wrong, and the arm is where the other one says.

Who sent a message cannot be told, but how many publish on the topic can, and so can which joints come together. A
driver for the arm and one for the gripper are two publishers of two groups without a joint in common.
"""

from __future__ import annotations

from collections.abc import Set

from rclpy.node import Node

_TOPIC = "joint_states"


def rival_sources(node: Node, groups: Set[tuple[int, ...]]) -> str:
    """A sentence naming the publishers if they must have a joint in common; empty otherwise.

    Args:
        groups: the joints that came together in one message, of all messages heard.
    """
    publishers = node.get_publishers_info_by_topic(_TOPIC)
    joints = [joint for group in groups for joint in group]
    disjoint = len(joints) == len(set(joints))
    if len(publishers) < 2 or not groups or (disjoint and len(groups) >= len(publishers)):
        return ""
    names = ", ".join(sorted(f"{one.node_namespace.rstrip('/')}/{one.node_name}" for one in publishers))
    return (
        f"{len(publishers)} publishers tell of the same joints on {node.resolve_topic_name(_TOPIC)}: {names}; expected "
        "one for each joint. Which of them knows where the arm is?"
    )
