"""The tests see the installed package, as users do: the source tree has no compiled messages."""

import ctypes
import importlib.util
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest
from arms import LOOPBACK_UDP
from domain_coordinator import domain_id

ROOT = Path(__file__).resolve().parent.parent

_WALL_CLOCK = ("bringup", "cli", "drivers", "nodes", "parallel", "system", "system_controller")

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_GRACE_S = 5.0
_domains = itertools.cycle(range(1, 101))

# Torch with as many threads as cores, beside the processes that a test starts, is many times slower than with one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says something about the machine.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--hostile-bags", type=int, default=60, metavar="N", help="how many damaged bags are tried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Several processes and a wall clock: a machine that stalls for a while is a true fault to them, so one such test
    may fail once; the summary names it as rerun."""
    for item in items:
        if item.path.is_relative_to(ROOT / "test") and item.path.relative_to(ROOT / "test").parts[0] in _WALL_CLOCK:
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_configure() -> None:
    spec = importlib.util.find_spec("smolvla_ros")
    if spec is None or Path(spec.origin or "").is_relative_to(ROOT / "smolvla_ros"):
        pytest.exit(
            "the tests need the installed package: run `make test`, or `make build` and then `.venv/bin/pytest`"
            " (not `python -m pytest`, which puts the source tree first)",
            returncode=4,
        )
    from smolvla_ros.installation import find_ros_in_virtual_environment

    find_ros_in_virtual_environment()  # also for a test that is run alone
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # grandchildren without a parent come to this process


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return ROOT


@pytest.fixture(scope="module", autouse=True)
def ros_domain() -> Iterator[int]:
    """A ROS domain of this module's own that does not leave the machine, and no process that outlives the module: the
    tests that come next would hear it."""
    with domain_id(_domains.__next__) as domain:
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        os.environ |= LOOPBACK_UDP
        yield domain
        left = _processes_left()
    assert not left, f"processes that the tests of this module left running, killed now: {left}"


def _processes_left() -> list[str]:
    """Command lines of the processes that go on, now killed; also of those whose parents have ended."""
    commands = {child: _command(child) for child in psutil.Process().children(recursive=True)}
    of_tests = [child for child, command in commands.items() if "multiprocessing." not in command]  # Python keeps those
    left = psutil.wait_procs(of_tests, timeout=_GRACE_S)[1]
    for process in left:
        process.kill()
    psutil.wait_procs(left)
    return [commands[process] for process in left]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has ended meanwhile
        return ""
