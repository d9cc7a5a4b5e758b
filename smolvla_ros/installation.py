"""Where the package is installed, and the environment variables that its nodes need."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from xml.etree import ElementTree

from ament_index_python.packages import get_package_prefix

PACKAGE = "smolvla_ros"


def find_ros_in_virtual_environment() -> None:
    """Puts the virtual environment on AMENT_PREFIX_PATH where ROS 2 comes from wheels.

    Such an environment is an ament prefix, but no setup file is sourced that says so. Changes this process's
    environment, and so that of its children.
    """
    paths = [path for path in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if path]
    marker = Path(sys.prefix, "share", "ament_index", "resource_index", "packages", PACKAGE)
    if marker.is_file() and sys.prefix not in paths:
        os.environ["AMENT_PREFIX_PATH"] = os.pathsep.join([sys.prefix, *paths])


def share_folder() -> Path:
    """The folder with launch/, config/ and checkpoints/."""
    return Path(get_package_prefix(PACKAGE), "share", PACKAGE)


def version() -> str:
    """The version of the installed package."""
    root = ElementTree.parse(share_folder() / "package.xml").getroot()
    return str(root.findtext("version"))


def executable(name: str) -> Path:
    """The path of a node's executable."""
    return Path(get_package_prefix(PACKAGE), "lib", PACKAGE, name)


def transport_variables() -> dict[str, str]:
    """Variables that make Fast DDS carry raw images without loss, unless the user has a profile or another transport.

    Two names for one file: Fast DDS renamed the variable between ROS 2 distributions.
    """
    names = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
    if any(name in os.environ for name in (*names, "FASTDDS_BUILTIN_TRANSPORTS")):
        return {}
    return dict.fromkeys(names, str(share_folder() / "config" / "fastdds.xml"))
