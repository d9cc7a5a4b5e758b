"""The documentation builds, and none of its links leads nowhere."""

import re
import subprocess
import sys


def test_the_site_builds_without_a_warning(repository, tmp_path):
    sphinx = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going"]
    built = subprocess.run([*sphinx, repository / "docs", tmp_path], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "index.html").is_file()


def test_every_test_that_the_page_of_faults_names_is_there(repository):
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", (repository / "docs" / "explanation" / "faults.md").read_text())
    assert len(named) > 60
    assert [name for file, name in named if f"def {name}(" not in (repository / "test" / file).read_text()] == []
