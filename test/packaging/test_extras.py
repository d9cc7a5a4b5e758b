"""Heavy parts are optional: what one of them needs, the others can do without, and its absence is one sentence."""

import importlib.metadata
import re
import subprocess
import sys

import pytest

from smolvla_ros.extras import MODULES

HIDE = """
import importlib, pkgutil, sys
hidden = sys.argv[1].split()
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
"""
IMPORT = HIDE + """
for name in sys.argv[2:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(getattr(package, "__path__", ()), name + "."):
        importlib.import_module(module.name)
"""
COMMAND = HIDE + """
from smolvla_ros.cli.main import main
sys.exit(main(sys.argv[2:]))
"""

PARTS = {
    "": ["smolvla_ros.model", "smolvla_ros.robot", "smolvla_ros.execution", "smolvla_ros.policy",
         "smolvla_ros.parameters", "smolvla_ros.cli.main", "smolvla_ros.bringup.processes",
         "smolvla_ros.bringup.supervisor",
         "smolvla_ros.nodes.policy_node", "smolvla_ros.nodes.controller_node"],
    "sim": ["smolvla_ros.sim", "smolvla_ros.evaluation", "smolvla_ros.nodes.sim_node"],
    "bags": ["smolvla_ros.bags", "smolvla_ros.bringup.replay", "smolvla_ros.nodes.recorder_node",
             "smolvla_ros.nodes.player_node"],
    "view": ["smolvla_ros.view", "smolvla_ros.nodes.view_node"],
    "so101": ["smolvla_ros.drivers", "smolvla_ros.nodes.so101_node", "smolvla_ros.nodes.teleop_node"],
}  # fmt: skip


def hidden_beside(extra: str) -> str:
    """The modules of all other extras; rosbags comes with what decodes images."""
    own = {*MODULES.get(extra, ()), "rosbags", "lz4"}
    if extra == "view":
        own |= {"PIL", "zstandard"}  # which viser brings
    return " ".join(module for modules in MODULES.values() for module in modules if module not in own)


def run(script: str, *arguments: str, **kwargs):
    return subprocess.run([sys.executable, "-P", "-c", script, *arguments], capture_output=True, text=True, **kwargs)


@pytest.mark.parametrize("extra", PARTS)
def test_a_part_can_be_imported_without_the_other_extras(extra):
    done = run(IMPORT, hidden_beside(extra), *PARTS[extra])
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(("extra", "command"), [
    ("bags", ["export", "bag", "--out", "out"]), ("bags", ["replay", "bag", "--out", "out"]), ("bags", ["play", "bag"]),
    ("bags", ["record"]), ("sim", ["train-demo"]), ("sim", ["demo"]), ("view", ["view"]),
])  # fmt: skip
def test_a_missing_extra_is_one_sentence_with_the_command_that_installs_it(extra, command, tmp_path):
    done = run(COMMAND, " ".join(MODULES[extra]), *command, cwd=tmp_path, timeout=60)
    assert done.returncode == 2, done.stderr[-2000:]
    assert f"smolvla-ros {command[0]} needs what the extra [{extra}] installs" in done.stderr
    assert f"pip install -c constraints.txt '.[{extra}]'" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(("extra", "node"), [("sim", "sim_node"), ("view", "view_node"), ("so101", "so101_node")])
def test_a_node_whose_extra_is_missing_says_so(extra, node):
    script = HIDE + f"from smolvla_ros.extras import load_main; load_main('smolvla_ros.nodes.{node}')"
    done = run(script, " ".join(MODULES[extra]))
    assert done.returncode == 1 and done.stderr.startswith(f"{node} needs what the extra [{extra}] installs")


def base_requirements() -> set[str]:
    told = importlib.metadata.requires("smolvla-ros")
    return {re.split("[<>~]", entry)[0] for entry in told if "extra ==" not in entry}


def test_the_installed_package_names_the_modules_of_every_extra():
    distributions = importlib.metadata.packages_distributions()
    told = [entry.split(";") for entry in importlib.metadata.requires("smolvla-ros")]
    for extra, modules in MODULES.items():
        wanted = {re.split("[<>~]", entry[0])[0] for entry in told if f'extra == "{extra}"' in entry[-1]}
        wanted -= base_requirements()  # an extra may ask for a newer version of what all need
        assert wanted <= {name.lower() for module in modules for name in distributions.get(module, [module])}
        assert len(wanted) == len(modules)


def test_the_nodes_of_an_arm_need_no_extra():
    base = base_requirements()
    assert base.isdisjoint({"mujoco", "av", "pandas", "pyarrow", "plotly", "viser", "matplotlib"})
    assert {"torch", "ros-rclpy[fastrtps]"} <= base
