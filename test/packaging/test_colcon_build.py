"""The same package built by colcon, here on the ROS 2 wheels that the tests run on."""

import os
import shutil
import subprocess
import sys

import pytest

CHECK = """
from ament_index_python.packages import get_package_share_path
from smolvla_ros.msg import ActionChunk, ExecutionStatus
from rclpy.serialization import serialize_message
import smolvla_ros.bringup
assert serialize_message(ActionChunk(rows=3))
share = get_package_share_path("smolvla_ros")
assert (share / "launch" / "arm.launch.py").is_file()
assert (share / "config" / "so101_sim.yaml").is_file()
print(share)
"""


@pytest.fixture(scope="module")
def workspace(repository, tmp_path_factory):
    if not shutil.which("colcon"):
        pytest.skip("colcon is not on the path")
    folder = tmp_path_factory.mktemp("workspace")
    command = [
        "colcon", "--log-base", folder / "log", "build", "--paths", repository,
        "--build-base", folder / "build", "--install-base", folder / "install", "--cmake-args", "-DBUILD_TESTING=OFF",
        f"-DPython3_EXECUTABLE={sys.executable}", f"-DCMAKE_PREFIX_PATH={sys.prefix}",
        f"-DCMAKE_PROJECT_INCLUDE={repository / 'cmake' / 'pypi_wheels.cmake'}",
    ]  # fmt: skip
    # The compiler must not load the wheels' libraries, and python3 must be the one that has them.
    environment = {key: value for key, value in os.environ.items() if key not in
                   ("LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")}
    environment |= {"AMENT_PREFIX_PATH": sys.prefix}
    built = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_a_colcon_workspace_gives_messages_modules_launch_and_config(workspace, tmp_path):
    script = f'. "{workspace}/install/setup.bash" && "{sys.executable}" -c "$CHECK"'
    run = subprocess.run(
        ["bash", "-c", script], env=os.environ | {"CHECK": CHECK}, cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip().startswith(str(workspace / "install"))


def test_a_colcon_workspace_has_the_nodes_where_ros2_run_looks(workspace):
    folder = workspace / "install" / "smolvla_ros" / "lib" / "smolvla_ros"
    assert {"policy_node", "controller_node", "sim_node", "smolvla-ros"} <= {file.name for file in folder.iterdir()}
