"""The pip build: CMakeLists.txt run against the ROS 2 wheels of PyPI, its install tree packed into a wheel.

colcon ignores this file (package.xml says ament_cmake), so both ways of building share one CMakeLists.txt.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from backend import extras, requirements
from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

SOURCE = Path(__file__).resolve().parent


def ros_prefix() -> Path:
    """Return the ament prefix of the ROS 2 wheels: the build environment that pip made, or the active one."""
    spec = importlib.util.find_spec("rosidl_adapter")
    if spec is None or spec.origin is None:
        raise SystemExit("rosidl_adapter is not installed: run `pip install -r packaging/build-requirements.txt`")
    for folder in Path(spec.origin).resolve().parents:
        if (folder / "share" / "rosidl_adapter" / "package.xml").is_file():
            return folder
    raise SystemExit(f"no share/rosidl_adapter/package.xml above {spec.origin}: the ros-* wheels need a venv")


def cmake_environment(prefix: Path) -> dict[str, str]:
    """Return the environment for CMake, without what the wheels' bootstrapper adds for its own interpreter."""
    env = {key: value for key, value in os.environ.items() if key != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    env.pop("LD_LIBRARY_PATH", None)  # the compiler would load the wheels' libraries
    return env | {"AMENT_PREFIX_PATH": str(prefix)}


def run_cmake(build: Path, stage: Path) -> None:
    """Configure, build and install CMakeLists.txt into `stage`; an existing `build` folder is reused."""
    prefix = ros_prefix()
    env = cmake_environment(prefix)
    cache = build / "CMakeCache.txt"
    is_for_prefix = cache.is_file() and f"={prefix}\n" in cache.read_text()
    definitions = {
        "CMAKE_BUILD_TYPE": "Release",
        "BUILD_TESTING": "OFF",
        "CMAKE_INSTALL_PREFIX": stage,
        "CMAKE_PREFIX_PATH": prefix,
        "CMAKE_PROJECT_INCLUDE": SOURCE / "cmake" / "pypi_wheels.cmake",
        "Python3_EXECUTABLE": sys.executable,
    }
    configure = ["cmake", "-S", SOURCE, "-B", build, "-G", "Ninja", *([] if is_for_prefix else ["--fresh"])]
    configure += [f"-D{key}={value}" for key, value in definitions.items()]
    for command in (configure, ["cmake", "--build", build], ["cmake", "--install", build]):
        subprocess.run(command, check=True, env=env)


class BuildPackage(build_py):
    """Takes the Python package and the data files from CMake's install tree."""

    def run(self) -> None:
        temporary = Path(self.get_finalized_command("build").build_temp).resolve()
        stage = temporary / "stage"
        shutil.rmtree(stage, ignore_errors=True)
        run_cmake(temporary / "cmake", stage)

        (python_dir,) = stage.glob("lib/python*/*-packages")
        package = Path(self.build_lib) / "smolvla_ros"
        shutil.rmtree(package, ignore_errors=True)  # a module deleted from the source must not survive
        shutil.copytree(python_dir / "smolvla_ros", package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.rmtree(python_dir.parent)

        folders: dict[str, list[str]] = {}
        for file in sorted(path for path in stage.rglob("*") if path.is_file()):
            folders.setdefault(str(file.parent.relative_to(stage)), []).append(os.path.relpath(file, SOURCE))
        self.distribution.data_files = sorted(folders.items())


class BinaryDistribution(Distribution):
    """Makes the wheel specific to the platform and the Python version, as the compiled messages are."""

    def has_ext_modules(self) -> bool:
        return True


setup(
    version=ElementTree.parse(SOURCE / "package.xml").findtext("version"),
    install_requires=requirements("requirements"),
    extras_require=extras(),
    cmdclass={"build_py": BuildPackage},
    distclass=BinaryDistribution,
)
