"""PEP 517 build backend: setuptools, with the versions of the ROS 2 wheels taken from constraints.txt.

The ros-* wheels pin each other loosely, so leaving one of them free mixes two ROS distributions in one environment.
The section "ROS 2" of constraints.txt is the one place that names the distribution; the build requirements and the
requirements of the installed package both follow it.
"""

from pathlib import Path

from setuptools.build_meta import (  # noqa: F401  (hooks that pip calls)
    build_sdist,
    build_wheel,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_wheel,
)

ROOT = Path(__file__).resolve().parent.parent


def _entries(path: Path) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def requirements(name: str) -> list[str]:
    """Read packaging/<name>.txt; every ros-* entry gets the compatible-release pin of its constraint."""
    pins = dict(entry.split("==") for entry in _entries(ROOT / "constraints.txt"))
    return [_pinned(entry, pins) for entry in _entries(ROOT / "packaging" / f"{name}.txt")]


def extras() -> dict[str, list[str]]:
    """The requirements of every extra, and of all of them together but [ray], which is for clusters only."""
    own = {file.stem: requirements(f"extras/{file.stem}") for file in sorted((ROOT / "packaging" / "extras").iterdir())}
    together = sorted({entry for entries in own.values() for entry in entries})
    return {**own, "all": together, "ray": requirements("ray")}


def _pinned(entry: str, pins: dict[str, str]) -> str:
    return f"{entry}~={pins[entry.partition('[')[0]]}" if entry.startswith("ros-") else entry


def get_requires_for_build_wheel(config_settings: dict | None = None) -> list[str]:
    """PEP 517: what has to be installed before the wheel can be built."""
    return requirements("build-requirements")


def get_requires_for_build_editable(config_settings: dict | None = None) -> list[str]:
    """PEP 660: refused, since the compiled messages cannot live in the source tree."""
    raise SystemExit(
        "smolvla_ros cannot be installed in editable mode: its ROS messages are generated and compiled. "
        "Use `pip install .`, or `colcon build --symlink-install` to edit in place."
    )
