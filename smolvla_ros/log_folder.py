"""Where the logs of a node go: where ROS 2 puts them, or elsewhere if nothing can be written there."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path


def ensure_log_folder() -> None:
    """Makes sure, before `rclpy.init`, that there is a folder for logs; rcl would end with a traceback otherwise.

    A container or a service may have a home that is read-only, or none. One line on stderr tells where the logs are.
    """
    folder: Path | str = "~/.ros/log"
    try:
        folder = _log_folder()
        folder.mkdir(parents=True, exist_ok=True)
        problem = "" if os.access(folder, os.W_OK | os.X_OK) else "it cannot be written"
    except (OSError, RuntimeError) as error:  # also: there is no home
        problem = getattr(error, "strerror", None) or str(error)
    if problem:
        os.environ["ROS_LOG_DIR"] = tempfile.mkdtemp(prefix="ros_log_")
        print(f"no logs in {folder} ({problem}): they go to {os.environ['ROS_LOG_DIR']}", file=sys.stderr, flush=True)


def _log_folder() -> Path:
    """As rcl finds it: ROS_LOG_DIR, else `log` in ROS_HOME, else in ~/.ros."""
    if os.environ.get("ROS_LOG_DIR"):
        return Path(os.environ["ROS_LOG_DIR"]).expanduser()
    return Path(os.environ.get("ROS_HOME") or "~/.ros").expanduser() / "log"
