"""The policy that ships allows what the nodes of the simulated arm really have: nothing lacks, nothing is left over."""

import importlib.util

import pytest
import rclpy

NODES = ("policy_node", "controller_node", "sim_node", "episode_node")


@pytest.fixture(scope="module")
def generator(repository):
    spec = importlib.util.spec_from_file_location("generate_policy", repository / "security" / "generate_policy.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_policy_that_is_written_is_read_back(generator):
    rights = {"/left/policy_node": {("topic", "publish"): ["/left/action_chunk"], ("action", "call"): ["/grip"]}}
    text = generator.policy_of(rights)
    assert generator.read_policy(text) == rights
    assert '<profile ns="/left" node="policy_node">' in text and '<topics publish="ALLOW">' in text


def test_the_policy_names_every_topic_service_and_action_that_the_nodes_have(start, operator, generator, repository):
    start("arm")
    for name in NODES:
        operator.wait_until_active(name, 90)
    node = rclpy.create_node("onlooker")
    try:
        found = {name: {} for name in NODES}
        for _ in range(60):  # discovery of all endpoints takes a moment
            operator.pause(0.25)
            found = generator.live_rights(node)
            written = generator.read_policy((repository / "security" / "arm.policy.xml").read_text())
            if found == written:
                break
        assert found == written
    finally:
        node.destroy_node()
