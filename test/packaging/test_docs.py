"""The documentation builds, and none of its links leads nowhere."""

import subprocess
import sys


def test_the_site_builds_without_a_warning(repository, tmp_path):
    sphinx = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going"]
    built = subprocess.run([*sphinx, repository / "docs", tmp_path], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "index.html").is_file()
