"""The tests see the installed package, as users do: the source tree has no compiled messages."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    spec = importlib.util.find_spec("smolvla_ros")
    if spec is None or Path(spec.origin or "").is_relative_to(ROOT / "smolvla_ros"):
        pytest.exit(
            "the tests need the installed package: run `make test`, or `make build` and then `.venv/bin/pytest`"
            " (not `python -m pytest`, which puts the source tree first)",
            returncode=4,
        )


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return ROOT
