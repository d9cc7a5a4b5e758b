"""Policy and arm on two machines: a bad link between two network namespaces, and one that is down for five seconds."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import bad_link
import pytest
from arms import PROFILE_VARIABLES
from bad_link import BadLink, Conditions

SUPPORT = Path(bad_link.__file__).parent
PARTITION_S = 5.0


@pytest.fixture(scope="module")
def link():
    problem = bad_link.missing()
    if problem:
        pytest.skip(problem)
    with BadLink(Conditions(delay_s=0.03, jitter_s=0.02, loss=0.03), seed=1) as link:
        yield link


def scene(link, folder, repository, seconds, partitions):
    profile = dict.fromkeys(PROFILE_VARIABLES, str(repository / "config" / "network" / "two_machines.xml"))
    policy, arm = link.names
    return subprocess.Popen(
        [sys.executable, SUPPORT / "bad_link.py", arm, SUPPORT / "two_machines.py", policy, folder, str(seconds),
         str(partitions)],
        env={**os.environ, **profile, "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_an_arm_moves_over_a_bad_link_holds_while_it_is_down_and_goes_on_by_itself(link, tmp_path, repository):
    with scene(link, tmp_path, repository, seconds=4.0, partitions=1) as arm:
        try:
            for line in arm.stdout:
                if line == "measured\n":
                    link.conditions.up = False
                    down_s = time.monotonic()
                elif line == "held\n":
                    time.sleep(max(0.0, down_s + PARTITION_S - time.monotonic()))
                    link.conditions.up = True
                elif line.startswith("{"):
                    found = json.loads(line)
        finally:
            arm.terminate()
    print(found, link.carried)
    assert found["problems"] == []
    assert found["following"] > 0.9
    assert found["resumed_after_s"] < PARTITION_S + 3.0
    assert min(count.lost for count in link.carried) > 10
