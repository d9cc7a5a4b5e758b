"""The step of `make` that takes the CPU build of torch: it installs nothing where it must not, and never fails."""

import os
import subprocess
import sys

import pytest

PYTHON = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
  *find_spec*) exit {torch_is_missing} ;;
  *urlopen*) exit {unreachable} ;;
  *" install "*) exit {install} ;;
esac
"""


@pytest.mark.parametrize(
    ("torch_is_missing", "unreachable", "install", "tries"),
    [(1, 0, 0, False), (0, 1, 0, False), (0, 0, 0, True), (0, 0, 1, True)],
)
@pytest.mark.skipif(sys.platform != "linux" or os.path.exists("/dev/nvidiactl"), reason="a machine without a GPU only")
def test_the_cpu_build_is_tried_only_without_torch_and_with_an_index_and_never_fails(
    repository, tmp_path, torch_is_missing, unreachable, install, tries
):
    log, python = tmp_path / "log", tmp_path / "python"
    python.write_text(
        PYTHON.format(log=log, torch_is_missing=torch_is_missing, unreachable=unreachable, install=install)
    )
    python.chmod(0o755)
    command = [repository / "packaging" / "cpu-torch", python]
    run = subprocess.run(command, cwd=repository, capture_output=True, timeout=20)
    assert run.returncode == 0 and run.stderr == b""
    calls = log.read_text()
    assert ("-c constraints.txt --index-url https://download.pytorch.org/whl/cpu torch" in calls) == tries
