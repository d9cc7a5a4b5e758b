"""The direction of the dependencies, checked on what a fresh interpreter has really loaded."""

import subprocess
import sys

import pytest

LIST_LOADED = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(getattr(package, "__path__", ()), package.__name__ + "."):
    importlib.import_module(module.name)
print(*sys.modules, sep="\\n")
"""

FORBIDDEN = {
    "smolvla_ros.model": ["rclpy", "smolvla_ros.execution", "smolvla_ros.nodes", "smolvla_ros.robot", "mujoco"],
    "smolvla_ros.execution": ["rclpy", "torch", "transformers", "mujoco", "cv2", "smolvla_ros.model",
                              "smolvla_ros.nodes", "smolvla_ros.robot"],
    "smolvla_ros.robot": ["rclpy", "torch", "smolvla_ros.nodes", "smolvla_ros.model"],
    "smolvla_ros.parameters": ["rclpy", "torch", "smolvla_ros.nodes", "smolvla_ros.model"],
    "smolvla_ros.policy": ["rclpy", "torch", "mujoco", "smolvla_ros.nodes"],
    "smolvla_ros.bags": ["rclpy", "torch", "mujoco", "smolvla_ros.nodes"],
    "smolvla_ros.virtual": ["rclpy", "torch", "mujoco", "smolvla_ros.nodes", "smolvla_ros.sim", "smolvla_ros.bags"],
    "smolvla_ros.sim": ["rclpy", "smolvla_ros.nodes"],
    "smolvla_ros.view": ["rclpy", "torch", "mujoco", "smolvla_ros.nodes"],
    "smolvla_ros.bringup": ["rclpy", "torch", "mujoco", "smolvla_ros.nodes"],
    "smolvla_ros.cli": ["rclpy", "torch", "mujoco", "smolvla_ros.nodes"],
    "smolvla_ros.nodes.controller_node": ["torch", "transformers", "mujoco", "smolvla_ros.model"],
    "smolvla_ros.nodes.sim_node": ["torch", "transformers", "smolvla_ros.model"],
}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_a_package_loads_nothing_that_it_must_not_know(package):
    run = subprocess.run([sys.executable, "-P", "-c", LIST_LOADED, package], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    loaded = run.stdout.split()
    assert package in loaded
    found = [name for name in FORBIDDEN[package] if name in loaded]
    assert not found
