"""What RViz and Foxglove open: the chunk's way as a topic, and layouts whose topics are ours."""

import json
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import rclpy
import yaml
from geometry_msgs.msg import PoseArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor

from smolvla_ros.msg import ActionChunk, ExecutionStatus
from smolvla_ros.nodes.view_node import ViewNode
from smolvla_ros.view.robot_model import RobotModel
from smolvla_ros.view.watched import Watched

JOINTS = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]
TOPICS = {
    "/robot_description", "/joint_states", "/chunk_path", "/front/image_raw", "/wrist/image_raw", "/execution_status",
    "/episode", "/instruction", "/controller_node/stop", "/controller_node/resume",
}  # fmt: skip


def test_the_way_of_a_chunk_is_told_to_who_follows_it_and_to_nobody_else(repository, ros_domain):
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node("view_node", context=context)
    view = ViewNode(SimpleNamespace(node=node), Watched())
    assert not view.has_followers
    heard = []
    node.create_subscription(PoseArray, "chunk_path", heard.append, 1)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    rows = np.linspace(np.zeros(6), np.full(6, 0.5), 4)
    chunks = node.create_publisher(ActionChunk, "action_chunk", 1)
    chunk = ActionChunk(session=1, sequence=1, joint_names=JOINTS, rows=4, positions=rows.ravel().tolist())
    chunk.header.stamp.sec = chunk.image_stamp.sec = 100
    chunk.step.nanosec = 33_000_000
    while not heard:
        chunks.publish(chunk)
        view.take(all_streams=view.has_followers)
        executor.spin_once(timeout_sec=0.05)
    expected = RobotModel((repository / "urdf" / "so101.urdf").read_text()).tool_path(JOINTS, rows)
    found = [(pose.position.x, pose.position.y, pose.position.z) for pose in heard[0].poses]
    np.testing.assert_allclose(found, expected)
    assert heard[0].header.frame_id == "world"
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_the_layouts_show_topics_that_there_are(repository):
    rviz = yaml.safe_load((repository / "config" / "rviz" / "arm.rviz").read_text())
    displays = rviz["Visualization Manager"]["Displays"]
    topics = [d[key]["Value"] for d in displays for key in ("Topic", "Description Topic") if key in d]
    assert {f"/{topic}" for topic in topics} <= TOPICS and len(topics) == 4
    layout = json.loads((repository / "config" / "foxglove" / "arm.json").read_text())
    panels = layout["configById"]

    def shown(part):
        return [part] if isinstance(part, str) else [*shown(part["first"]), *shown(part["second"])]

    assert sorted(shown(layout["layout"])) == sorted(panels)
    text = json.dumps(panels)
    assert {topic for topic in TOPICS if topic in text} == TOPICS


def test_the_layout_of_plotjuggler_names_fields_and_joints_that_there_are(repository):
    root = ElementTree.parse(repository / "config" / "plotjuggler" / "arm.xml").getroot()
    for splitter in root.iter("DockSplitter"):
        assert int(splitter.get("count")) == len(splitter) == len(splitter.get("sizes").split(";"))
    curves = [curve.get("name").split("/")[1:] for curve in root.iter("curve")]
    told = {field for topic, field, *_ in curves if topic == "execution_status"}
    assert told <= set(ExecutionStatus.get_fields_and_field_types()) and len(told) == 8
    plotted = [(topic, joint, field) for topic, joint, *field in curves if topic != "execution_status"]
    assert sorted(plotted) == sorted((t, j, ["position"]) for t in ("joint_states", "joint_command") for j in JOINTS)


@pytest.mark.parametrize("name", ["rviz/arm.rviz", "foxglove/arm.json", "plotjuggler/arm.xml"])
def test_the_layouts_are_installed(name):
    from smolvla_ros.installation import share_folder

    assert (share_folder() / "config" / name).is_file()
