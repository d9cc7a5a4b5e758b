"""The list of what to start, and the options behind it. No ROS graph."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest
import rclpy
import yaml
from ament_index_python.packages import PackageNotFoundError
from rclpy.context import Context
from rclpy.node import Node

from smolvla_ros.bringup import ArmOptions, BringUpError, arm_processes
from smolvla_ros.bringup.options import launch_text, typed_arguments
from smolvla_ros.installation import share_folder
from smolvla_ros.parameters import ParameterError
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.parameters.policy import PolicyParameters


@pytest.fixture(autouse=True)
def no_settings_of_the_caller(monkeypatch):
    for name in ("FASTDDS_BUILTIN_TRANSPORTS", "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE",
                 "OMP_NUM_THREADS", "MUJOCO_GL"):
        monkeypatch.delenv(name, raising=False)


def parameter_values(command):
    """What the last parameter file, whose values count most, gives the node by its full name."""
    *_, file = [text for flag, text in zip(command, command[1:], strict=False) if flag == "--params-file"]
    ((section, content),) = yaml.safe_load(Path(file).read_text(encoding="utf-8")).items()
    rules = [word for word in command if word.startswith(("__ns:=", "__node:="))]
    name, namespace = (next(rule.partition(":=")[2] for rule in rules if key in rule) for key in ("__node", "__ns"))
    assert section == f"{namespace.rstrip('/')}/{name}"
    return content["ros__parameters"]


def by_name(options):
    return {process.name: process for process in arm_processes(options)}


def test_simulation_starts_three_nodes_with_the_policy_that_ships():
    processes = by_name(ArmOptions())
    assert set(processes) == {"policy_node", "controller_node", "sim_node", "episode_node"}
    assert processes["policy_node"].parameters["checkpoint"] == str((share_folder() / "checkpoints" / "demo").resolve())
    assert {file.name for process in processes.values() for file in process.parameter_files} == {"so101_sim.yaml"}


def test_a_real_arm_has_no_simulation_and_its_own_config():
    processes = by_name(ArmOptions(sim=False, checkpoint="org/name"))
    assert set(processes) == {"policy_node", "controller_node", "episode_node"}
    assert processes["policy_node"].parameters["checkpoint"] == "org/name"
    assert processes["policy_node"].parameter_files[0].name == "so101.yaml"


def test_a_real_arm_never_gets_the_policy_of_the_simulation_by_default():
    with pytest.raises(BringUpError, match="needs the checkpoint that was trained for it"):
        ArmOptions(sim=False)


def test_an_unknown_robot_is_answered_with_those_that_ship():
    with pytest.raises(BringUpError, match=r"robot is 'nope', expected .*so101, so101_sim"):
        arm_processes(ArmOptions(robot="nope"))


def test_a_robot_file_and_a_checkpoint_folder_are_passed_as_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("/**: {ros__parameters: {joints: [a]}}")
    (tmp_path / "weights").mkdir()
    process = by_name(ArmOptions(robot="mine.yaml", checkpoint="weights"))["policy_node"]
    assert process.parameter_files == (tmp_path / "mine.yaml",)
    assert process.parameters["checkpoint"] == str(tmp_path / "weights")


def test_a_revision_reaches_the_policy_and_nobody_else():
    processes = by_name(ArmOptions(checkpoint="org/name", revision="v2"))
    told = [name for name, process in processes.items() if process.parameters.get("revision") == "v2"]
    assert told == ["policy_node"]


AWKWARD_TEXTS = ("touch the red cube", "1", "yes", "$(touch /tmp/x); `id` | 'a' \"b\" \\", "töuch ☃", "a: b")


@pytest.mark.parametrize("text", AWKWARD_TEXTS)
def test_an_instruction_reaches_the_node_as_the_text_that_was_given(text):
    process = by_name(ArmOptions(instruction=text))["policy_node"]
    assert parameter_values(process.command)["instruction"] == text


def test_no_instruction_sets_no_parameter():
    assert "instruction" not in by_name(ArmOptions())["policy_node"].parameters


def test_dry_run_is_a_parameter_of_the_controller():
    assert parameter_values(by_name(ArmOptions(dry_run=True))["controller_node"].command)["dry_run"] is True


def test_the_time_of_a_bag_or_another_simulator_is_asked_for_by_every_node():
    for process in arm_processes(ArmOptions(use_sim_time=True)):
        assert parameter_values(process.command)["use_sim_time"] is True
    assert all("use_sim_time" not in process.parameters for process in arm_processes(ArmOptions()))


def test_a_recorder_is_started_with_the_arm_it_records(tmp_path):
    (*_, recorder) = arm_processes(ArmOptions(namespace="left", use_sim_time=True, bag=str(tmp_path / "bag")))
    assert recorder.command[2:] == [
        "record", "--robot", str((share_folder() / "config" / "so101_sim.yaml").resolve()),
        "--out", str(tmp_path / "bag"), "--namespace", "left", "--log-level", "info", "--use-sim-time",
    ]  # fmt: skip


def test_a_view_is_served_beside_the_arm_of_its_namespace_and_nothing_ends_with_it():
    (*_, view) = arm_processes(ArmOptions(namespace="left", view=True))
    assert view.command[2:] == ["view", "--namespace", "left"]
    assert not view.vital
    assert "view" not in [process.name for process in arm_processes(ArmOptions())]


def test_an_existing_bag_is_refused_before_anything_is_started(tmp_path):
    with pytest.raises(BringUpError, match="exists already; expected a new folder"):
        arm_processes(ArmOptions(bag=str(tmp_path)))


@pytest.mark.parametrize(("namespace", "logger"), [("", "policy_node"), ("left", "left.policy_node"),
                                                   ("/a/b", "a.b.policy_node")])
def test_namespace_and_log_level_are_remapped_for_each_node(namespace, logger):
    command = by_name(ArmOptions(namespace=namespace, log_level="debug"))["policy_node"].command
    assert f"__ns:=/{namespace.strip('/')}" in command
    assert f"{logger}:=debug" in command


def test_the_transport_is_set_unless_the_user_has_chosen_one(monkeypatch):
    profile = str(share_folder() / "config" / "fastdds.xml")
    for process in arm_processes(ArmOptions()):
        assert process.environment["FASTDDS_DEFAULT_PROFILES_FILE"] == profile
        assert process.environment["FASTRTPS_DEFAULT_PROFILES_FILE"] == profile
    monkeypatch.setenv("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
    assert all("FASTDDS_DEFAULT_PROFILES_FILE" not in process.environment for process in arm_processes(ArmOptions()))


def test_only_the_policy_may_use_several_threads_for_arithmetic():
    processes = by_name(ArmOptions())
    assert processes["controller_node"].environment["OMP_NUM_THREADS"] == "1"
    assert processes["sim_node"].environment["OMP_NUM_THREADS"] == "1"
    assert "OMP_NUM_THREADS" not in processes["policy_node"].environment


def test_the_simulation_renders_without_a_display():
    assert by_name(ArmOptions())["sim_node"].environment["MUJOCO_GL"] == "egl"


def test_launch_arguments_are_read_as_options():
    options = ArmOptions.from_strings({"sim": "false", "checkpoint": "x", "dry_run": "True"})
    assert options == ArmOptions(sim=False, checkpoint="x", dry_run=True)


@pytest.mark.parametrize(("values", "problem"), [
    ({"sim": "maybe"}, "sim is 'maybe', expected true or false"),
    ({"log_level": "loud"}, "log_level is 'loud', expected one of debug"),
    ({"dry-run": "true"}, "'dry-run' is no launch argument: did you mean 'dry_run'?"),
    ({"xyz": "1"}, "'xyz' is no launch argument; there are sim, robot"),
])  # fmt: skip
def test_a_wrong_launch_argument_is_refused_by_name(values, problem):
    with pytest.raises(BringUpError, match=problem):
        ArmOptions.from_strings(values)


def test_launch_arguments_are_those_of_the_command_that_names_the_launch_file_and_of_no_other():
    command = ["/opt/ros/bin/ros2", "launch", "smolvla_ros", "arm.launch.py", "dryrun:=true", "instruction:=a:=b"]
    assert typed_arguments(command, "arm.launch.py") == {"dryrun": "true", "instruction": "a:=b"}
    assert typed_arguments([*command[:3], "mine.launch.py", "rviz:=true"], "arm.launch.py") == {}


def test_nodes_end_when_they_cannot_start_if_that_is_asked_for():
    nodes = by_name(ArmOptions(exit_on_failed_start=True))
    assert all(node.parameters["exit_on_failed_start"] is True for node in nodes.values())
    assert "exit_on_failed_start" not in by_name(ArmOptions())["policy_node"].parameters


def test_a_real_so101_is_its_driver_and_its_cameras_instead_of_the_simulation():
    options = ArmOptions(so101="/dev/ttyACM0", camera=("front=/dev/video0", "wrist=1A2B"), robot="so101",
                         checkpoint="org/name", namespace="left")  # fmt: skip
    processes = arm_processes(options)
    assert [(process.namespace, process.name) for process in processes] == [
        ("left", "policy_node"), ("left", "controller_node"), ("left", "so101_node"), ("left", "episode_node"),
        ("left/front", "camera_node"), ("left/wrist", "camera_node"),
    ]  # fmt: skip
    assert [dict(process.parameters) for process in processes[2:]] == [
        {"port": "/dev/ttyACM0"}, {}, {"device": "/dev/video0"}, {"device": "1A2B"},
    ]  # fmt: skip


def test_a_leader_arm_takes_the_place_of_the_policy():
    options = ArmOptions(so101="/dev/ttyACM0", robot="so101", policy=False, leader="/dev/ttyACM1",
                         leader_calibration="/leader.json", namespace="right")  # fmt: skip
    processes = arm_processes(options)
    assert [(process.namespace, process.name) for process in processes] == [
        ("right", "controller_node"), ("right", "so101_node"), ("right", "teleop_node"),
    ]  # fmt: skip
    leader = {"leader_port": "/dev/ttyACM1", "leader_calibration": "/leader.json"}
    assert dict(processes[2].parameters) == leader


@pytest.mark.parametrize(("options", "problem"), [
    ({"so101": "/dev/ttyACM0", "checkpoint": "x"}, "robot-from-lerobot"),
    ({"so101": "/dev/ttyACM0", "robot": "so101"}, "checkpoint is empty"),
    ({"camera": ("front=/dev/video0",)}, "cameras of its own"),
    ({"sim": False, "checkpoint": "x", "camera": ("/dev/video0",)}, "expected NAME=DEVICE"),
    ({"sim": False, "checkpoint": "x", "camera": ("front=",)}, "expected NAME=DEVICE"),
    ({"leader": "/dev/ttyACM1", "policy": False}, "go together"),
    ({"leader": "/dev/ttyACM1", "leader_calibration": "x"}, "run `smolvla-ros teleop`"),
    ({"bus": "real"}, "expected emulated"),
    ({"bus": "emulated", "sim": False, "checkpoint": "x"}, "of the simulated arm"),
    ({"params": "nope.yaml"}, "no such file"),
    ({"remap": ("a:b",)}, "expected FROM:=TO"),
])  # fmt: skip
def test_a_bring_up_that_cannot_be_meant_is_refused_with_what_to_give(options, problem):
    with pytest.raises(BringUpError, match=problem):
        ArmOptions(**options)


def test_a_parameter_file_counts_more_than_the_robot_and_topics_are_remapped(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("/**/controller_node: {ros__parameters: {control_rate_hz: 50.0}}")
    command = by_name(ArmOptions(params=str(mine), remap=("joint_states:=/arm/joint_states",)))["policy_node"].command
    files = [command[place + 1] for place, word in enumerate(command) if word == "--params-file"]
    assert files[1] == str(mine)
    assert len(files) == 3  # and what the options say
    assert command[command.index("joint_states:=/arm/joint_states") - 1] == "-r"


def test_what_an_option_says_counts_more_than_a_section_of_the_robot_for_the_node(tmp_path):
    """As rcl reads it: such a section must not undo a dry run."""
    robot = tmp_path / "mine.yaml"
    robot.write_text("/**: {ros__parameters: {joints: [a]}}\n/**/controller_node: {ros__parameters: {dry_run: false}}")
    options = ArmOptions(robot=str(robot), namespace="left", dry_run=True)
    context = Context()
    rclpy.init(args=by_name(options)["controller_node"].command, context=context)
    node = Node("any", context=context, automatically_declare_parameters_from_overrides=True)
    try:
        assert node.get_parameter("dry_run").value is True
    finally:
        node.destroy_node()
        context.shutdown()


def test_every_option_goes_through_a_launch_argument_and_back():
    options = ArmOptions(sim=False, checkpoint="x", camera=("front=/dev/video0", "wrist=/dev/video2"), dry_run=True)
    texts = {name: launch_text(value) for name, value in dataclasses.asdict(options).items()}
    assert ArmOptions.from_strings(texts) == options


def test_the_launch_file_declares_exactly_the_options(repository):
    """Read as text: launch is not installed everywhere. test/system runs the file."""
    tree = ast.parse((repository / "launch" / "arm.launch.py").read_text())
    text = ast.unparse(tree)
    assert "dataclasses.fields(ArmOptions)" in text
    assert not re.search(r"DeclareLaunchArgument\('", text)
    assert {field.name for field in dataclasses.fields(ArmOptions)} == {
        "sim", "robot", "so101", "bus", "camera", "leader", "leader_calibration", "policy", "checkpoint", "revision",
        "namespace", "instruction", "dry_run", "use_sim_time", "episodes", "bag", "view", "params", "remap",
        "log_level", "exit_on_failed_start", "arms",
    }  # fmt: skip


PARAMETERS = {"policy_node": PolicyParameters, "controller_node": ControllerParameters}


@pytest.mark.parametrize("node", PARAMETERS)
@pytest.mark.parametrize("name", ["so101_sim", "so101"])
def test_the_robot_configs_that_ship_hold_only_known_parameters(name, node):
    sections = yaml.safe_load((share_folder() / "config" / f"{name}.yaml").read_text())
    values = {"checkpoint": "x"} if node == "policy_node" else {}
    for section in ("/**", f"/**/{node}"):
        values |= dict(flattened(sections.get(section, {"ros__parameters": {}})["ros__parameters"]))
    try:
        PARAMETERS[node].from_values(values)
    except ParameterError as error:
        pytest.fail(str(error))


def flattened(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def test_where_robot_state_publisher_is_installed_it_tells_the_frames_of_the_arm_that_ships(monkeypatch):
    def prefix(name):
        if name == "robot_state_publisher":
            return "/opt/ros"
        raise PackageNotFoundError(name)

    assert "robot_state_publisher" not in by_name(ArmOptions())
    monkeypatch.setattr("smolvla_ros.bringup.processes.get_package_prefix", prefix)
    process = by_name(ArmOptions(namespace="left"))["robot_state_publisher"]
    assert process.command[:4] == ["/opt/ros/lib/robot_state_publisher/robot_state_publisher", "--ros-args", "-r",
                                   "__ns:=/left"]  # fmt: skip
    assert "so101" in yaml.safe_load(process.command[-1].removeprefix("robot_description:="))
    assert "robot_state_publisher" not in by_name(ArmOptions(sim=False, robot="so101", checkpoint="org/name"))


def test_several_arms_have_one_policy_and_everything_else_each_of_its_own():
    processes = arm_processes(ArmOptions(arms="left,right", namespace="cell"))
    nodes = {f"{process.namespace}/{process.name}" for process in processes}
    names = ("controller_node", "sim_node", "episode_node")
    own = {f"cell/{arm}/{name}" for arm in ("left", "right") for name in names}
    assert nodes - own == {"cell/policy_node"} and own < nodes
    policy = next(process for process in processes if process.name == "policy_node")
    assert parameter_values(policy.command)["arms"] == ["left", "right"]


@pytest.mark.parametrize(
    "arguments, error",
    [
        ({"arms": "left,"}, "expected names of letters, digits and _"),
        ({"arms": "left, right"}, "expected names of letters, digits and _"),
        ({"arms": "left,left"}, "expected each name once"),
        ({"arms": "left,right", "view": True}, "view is of one arm, and arms names 2"),
        ({"arms": "left,right", "bus": "emulated"}, "bus is of one arm"),
    ],
)
def test_arms_that_cannot_be_are_refused(arguments, error):
    with pytest.raises(BringUpError, match=error):
        ArmOptions(**arguments)
