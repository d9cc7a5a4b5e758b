"""Whole arms in processes of their own, over real DDS."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SMOLVLA_ROS = Path(sys.executable).parent / "smolvla-ros"


PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
# For whatever is killed, and for the process of the tests. The range LOCALHOST would add shared memory to the profile.
LOOPBACK_UDP = {
    "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET",
    **dict.fromkeys(PROFILE_VARIABLES, str(Path(__file__).with_name("loopback_udp.xml"))),
}


def user_environment():
    """Without the transport profile of the tests, so that the bring-up sets its own, as it does for users."""
    inherited = {name: value for name, value in os.environ.items() if name not in PROFILE_VARIABLES}
    return inherited | {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


class Arm:
    """A running bring-up, its output and the processes that belong to it."""

    def __init__(self, command, log, environment=None):
        self._log = log.open("w+")
        self.process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT,
            start_new_session=True, env=user_environment() | (environment or {}),
        )  # fmt: skip

    @property
    def output(self):
        return Path(self._log.name).read_text()

    def wait_for_output(self, text, timeout_s=60):
        wait_for(lambda: text in self.output, timeout_s, lambda: f"no {text!r} in:\n{self.output}")

    def end(self, number=signal.SIGINT):
        """Sends a signal; (exit code, seconds until the process had ended)."""
        start = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(timeout=10), time.monotonic() - start

    def close(self):
        """Ends it in order; an arm that does not end is killed with all its processes, and fails the test."""
        try:
            if self.process.poll() is None:
                self.end()
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        finally:
            self._log.close()


def wait_for(condition, timeout_s, problem=lambda: "timed out"):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, problem()
        time.sleep(0.02)


def node_processes(domain):
    """Names of the node processes in a ROS domain by process id; those that have ended are left out."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode().split("\0")
            environment = (folder / "environ").read_bytes().decode().split("\0")
        except OSError:  # it has ended meanwhile
            continue
        names = [Path(part).name for part in command if "/lib/smolvla_ros/" in part]
        if names and f"ROS_DOMAIN_ID={domain}" in environment:
            found[int(folder.name)] = names[0]
    return found
