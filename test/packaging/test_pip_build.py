"""What `pip install .` puts into the environment."""

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ament_index_python.packages import get_packages_with_prefixes
from ament_index_python.resources import get_resource

from smolvla_ros.installation import executable, find_ros_in_virtual_environment, share_folder

NODES = ("policy_node", "controller_node", "sim_node")
SHARED_FILES = (
    "package.xml",
    "launch/arm.launch.py",
    "config/so101_sim.yaml",
    "config/so101.yaml",
    "config/fastdds.xml",
    "checkpoints/demo/config.json",
    "checkpoints/demo/model.safetensors",
    "msg/ActionChunk.msg",
    "msg/ExecutionStatus.msg",
)


@pytest.fixture(scope="module")
def backend(repository):
    spec = importlib.util.spec_from_file_location("backend", repository / "packaging" / "backend.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def ament_prefix_path(monkeypatch):
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    find_ros_in_virtual_environment()


def test_the_messages_can_be_imported_filled_and_serialised():
    from rclpy.serialization import deserialize_message, serialize_message

    from smolvla_ros.msg import ActionChunk, ExecutionStatus

    chunk = ActionChunk(joint_names=["a", "b"], rows=1, positions=[0.5, -0.5])
    assert deserialize_message(serialize_message(chunk), ActionChunk) == chunk
    assert ExecutionStatus.FOLLOWING != ExecutionStatus.HOLDING


@pytest.mark.parametrize("file", SHARED_FILES)
def test_the_share_folder_has(file):
    assert (share_folder() / file).is_file()


@pytest.mark.parametrize("node", NODES)
def test_the_executable_is_installed_and_executable(node):
    assert executable(node).stat().st_mode & 0o111


def test_the_ament_index_knows_the_package_and_its_interfaces():
    assert get_packages_with_prefixes()["smolvla_ros"] == sys.prefix
    interfaces, _ = get_resource("rosidl_interfaces", "smolvla_ros")
    assert {"msg/ActionChunk.msg", "msg/ExecutionStatus.msg"} <= set(interfaces.split())


def test_the_wheel_holds_every_module_of_the_source_and_the_compiled_messages(repository, tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "-w", tmp_path, repository]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("_x86_64.whl") or wheel.name.endswith("_aarch64.whl")
    names = zipfile.ZipFile(wheel).namelist()
    sources = {str(path.relative_to(repository)) for path in repository.glob("smolvla_ros/**/*.py")}
    assert sources <= set(names)
    assert any(name.endswith("rosidl_typesupport_fastrtps_c.so") for name in names)
    data = {name.partition(".data/data/")[2] for name in names}
    assert {f"share/smolvla_ros/{file}" for file in SHARED_FILES} <= data
    assert {f"lib/smolvla_ros/{node}" for node in NODES} <= data


def test_every_requirement_has_a_pin(repository, backend):
    pins = {entry.partition("==")[0] for entry in backend._entries(repository / "constraints.txt")}
    for file in [*(repository / "packaging").glob("*requirements.txt"), *(repository / "packaging/extras").iterdir()]:
        entries = backend._entries(file)
        names = {entry.partition("[")[0].partition(">")[0] for entry in entries}
        assert names <= pins


def test_the_ros_wheels_follow_the_constraints_file(backend):
    ros = [entry for entry in backend.requirements("requirements") if entry.startswith("ros-")]
    assert "ros-rclpy[fastrtps]~=7.1.6" in ros
    assert all("~=" in entry for entry in ros)


def test_an_editable_install_is_refused_with_the_alternative(backend):
    with pytest.raises(SystemExit, match="colcon build --symlink-install"):
        backend.get_requires_for_build_editable()


def test_the_source_distribution_can_be_built_from(repository, backend):
    included = (repository / "MANIFEST.in").read_text()
    for folder in ("checkpoints", "cmake", "config", "launch", "msg", "packaging", "scripts", "smolvla_ros"):
        assert f"graft {folder}\n" in included
        assert Path(repository / folder).is_dir()
