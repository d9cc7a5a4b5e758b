"""Writes the SROS2 policy of an arm that is up: what each of its nodes really publishes, hears, serves and calls.

    smolvla-ros arm &                                                   # or ros2 launch smolvla_ros arm.launch.py ...
    python security/generate_policy.py --out security/arm.policy.xml

The graph is that of the running nodes, so remappings, cameras and command groups of your robot are in it.
docs/how_to/security.md says what to do with the file. The one that lies here is that of the simulated arm.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import rclpy
from lifecycle_msgs.srv import GetState
from rclpy.action import get_action_client_names_and_types_by_node, get_action_server_names_and_types_by_node
from rclpy.node import Node

# What ROS nodes of this package are called; commands such as `smolvla-ros say` are nodes of the operator.
NODES = (
    "policy_node", "controller_node", "sim_node", "so101_node", "camera_node", "teleop_node", "episode_node",
    "recorder_node",
)  # fmt: skip
_ACTION = "/_action/"

# (kind, permission) -> names
Rights = Mapping[tuple[str, str], Sequence[str]]


def rights_of(node: Node, name: str, namespace: str) -> Rights:
    """Full names of what a node of the graph has, sorted; topics and services of actions stand as the action."""
    topic_sources = {
        "publish": node.get_publisher_names_and_types_by_node,
        "subscribe": node.get_subscriber_names_and_types_by_node,
    }
    service_sources = {
        "reply": node.get_service_names_and_types_by_node,
        "request": node.get_client_names_and_types_by_node,
    }
    rights: dict[tuple[str, str], Sequence[str]] = {}
    for kind, sources in (("topic", topic_sources), ("service", service_sources)):
        for permission, source in sources.items():
            names = {found for found, _ in source(name, namespace) if _ACTION not in found}
            rights[kind, permission] = sorted(names)
    for permission, actions in (
        ("execute", get_action_server_names_and_types_by_node),
        ("call", get_action_client_names_and_types_by_node),
    ):
        rights["action", permission] = sorted(found for found, _ in actions(node, name, namespace))
    return {key: names for key, names in rights.items() if names}


def policy_of(rights: Mapping[str, Rights]) -> str:
    """The policy as sros2 reads it; `rights` by full name of the node, each of which gets an enclave of its name."""
    policy = ElementTree.Element("policy", version="0.2.0")
    enclaves = ElementTree.SubElement(policy, "enclaves")
    for full_name, names_by_right in sorted(rights.items()):
        enclave = ElementTree.SubElement(enclaves, "enclave", path=full_name)
        namespace, _, name = full_name.rpartition("/")
        profile = ElementTree.SubElement(
            ElementTree.SubElement(enclave, "profiles"), "profile", ns=namespace or "/", node=name
        )
        for (kind, permission), names in names_by_right.items():
            group = ElementTree.SubElement(profile, f"{kind}s", {permission: "ALLOW"})
            for found in names:
                ElementTree.SubElement(group, kind).text = found
    ElementTree.indent(policy)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(policy, encoding="unicode") + "\n"


def read_policy(text: str) -> dict[str, Rights]:
    """The rights in a policy, by full name of the node."""
    rights: dict[str, Rights] = {}
    for enclave in ElementTree.fromstring(text).iter("enclave"):
        found: dict[tuple[str, str], Sequence[str]] = {}
        for group in enclave.iterfind("profiles/profile/*"):
            (permission,) = group.attrib
            found[group.tag.removesuffix("s"), permission] = [str(element.text) for element in group]
        rights[enclave.attrib["path"]] = found
    return rights


def live_rights(node: Node, names: Sequence[str] = NODES) -> dict[str, Rights]:
    """The rights of those nodes that run, by full name."""
    there = sorted(set(node.get_node_names_and_namespaces()))
    return {f"{space.rstrip('/')}/{name}": rights_of(node, name, space) for name, space in there if name in names}


def not_active(node: Node, names: Sequence[str], timeout_s: float = 5.0) -> list[str]:
    """Those of the lifecycle nodes (full names) that are not active: they do not have everything yet."""
    waiting = []
    for name in names:
        client = node.create_client(GetState, f"{name}/get_state")
        answer = client.call_async(GetState.Request()) if client.wait_for_service(timeout_s) else None
        if answer is not None:
            rclpy.spin_until_future_complete(node, answer, timeout_sec=timeout_s)
        if answer is None or answer.result() is None or answer.result().current_state.label != "active":
            waiting.append(name)
    return waiting


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the policy")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to look around (default: 5)")
    arguments = parser.parse_args()
    rclpy.init()
    node: Any = rclpy.create_node("policy_generator")
    time.sleep(arguments.seconds)
    rights = live_rights(node)
    waiting = not_active(node, list(rights))
    node.destroy_node()
    rclpy.shutdown()
    if not rights:
        print("no node of an arm runs in this ROS domain: start it, for instance `smolvla-ros arm`", file=sys.stderr)
        return 1
    if waiting:
        print(f"{', '.join(waiting)}: not active, so not all is there yet; wait, or look at its log", file=sys.stderr)
        return 1
    arguments.out.write_text(policy_of(rights), encoding="utf-8")
    print(f"{arguments.out}: {', '.join(rights)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
