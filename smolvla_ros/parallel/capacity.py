"""How many processes this machine can take: the CPUs and the memory that we may use, not those that are there."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


def usable_cpus(cgroup: Path = _CGROUP) -> int:
    """CPUs of this process's affinity, fewer where its container has a quota; at least 1."""
    cpus = len(os.sched_getaffinity(0))
    quota, _, period = _text(cgroup / "cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        cpus = min(cpus, math.ceil(int(quota) / int(period)))
    return max(1, cpus)


def available_bytes(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int:
    """Memory that can be had without swapping, within the limit of the container; 0 where nobody tells."""
    lines = (line.split() for line in _text(meminfo).splitlines())
    free = next((1024 * int(line[1]) for line in lines if line[:1] == ["MemAvailable:"]), 0)
    limit, used = _text(cgroup / "memory.max"), _text(cgroup / "memory.current")
    if limit.isdigit() and used.isdigit():
        within = max(0, int(limit) - int(used))
        free = min(free, within) if free else within
    return free


def fitting_jobs(tasks: int, bytes_each: int, cpus: int, free_bytes: int) -> int:
    """A process for each task, as far as CPUs and memory go; at least 1."""
    by_memory = free_bytes // bytes_each if free_bytes else cpus
    return max(1, min(tasks, cpus, by_memory))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return ""
