"""Whether several nodes tell the same joints: then one of them is wrong, and the arm is where the other one says.

Who sent a message cannot be told, but how many publish on the topics can, and so can which joints come together. A
driver for the arm and one for the gripper are two publishers of two groups without a joint in common.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from rclpy.node import Node


def rival_sources(node: Node, topics: Sequence[str], groups: Set[tuple[int, ...]]) -> str:
    """A sentence naming the publishers if they must have a joint in common; empty otherwise.

    Args:
        topics: of joint states.
        groups: the joints that came together in one message, of all messages heard.
    """
    publishers = [one for topic in topics for one in node.get_publishers_info_by_topic(topic)]
    joints = [joint for group in groups for joint in group]
    disjoint = len(joints) == len(set(joints))
    if len(publishers) < 2 or not groups or (disjoint and len(groups) >= len(publishers)):
        return ""
    names = ", ".join(sorted(f"{one.node_namespace.rstrip('/')}/{one.node_name}" for one in publishers))
    where = ", ".join(node.resolve_topic_name(topic) for topic in topics)
    return (
        f"{len(publishers)} publishers tell of the same joints on {where}: {names}; expected "
        "one for each joint. Which of them knows where the arm is?"
    )
