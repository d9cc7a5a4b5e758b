"""Two network namespaces joined by a bad link: delay, jitter (which reorders), loss and partitions, without `tc netem`.

Each namespace has a TUN device; a thread of this process carries packets of IP from one to the other. Needs root,
/dev/net/tun and iproute2. A kernel module like netem would be finer in time: this one is good to about 1 ms.

    python bad_link.py NAMESPACE SCRIPT [ARGUMENT...]      runs a Python script within a namespace
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import os
import random
import runpy
import select
import shutil
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

_TUNSETIFF, _TUN_WITHOUT_HEADER = 0x400454CA, 0x1001
_CLONE_NEWNET = 0x40000000
_MTU = 1500
_DEVICE = "link0"


@dataclass
class Conditions:
    """Of both directions; may be changed while packets are under way. `up`: False is a partition."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    up: bool = True


@dataclass
class Carried:
    """Packets and bytes that came to one end of the link, and how many of them were lost on the way."""

    packets: int = 0
    octets: int = 0
    lost: int = 0


def missing() -> str:
    """Why there can be no such link here; '' if there can."""
    if os.geteuid() != 0:
        return "needs root to make network namespaces"
    if shutil.which("ip") is None:
        return "needs `ip` of iproute2"
    if not os.path.exists("/dev/net/tun"):
        return "needs /dev/net/tun"
    name = f"probe_{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if made.returncode:
        return f"may make no network namespace: {made.stderr.strip()}"
    try:
        os.close(_tun(name))
    except OSError as error:
        return f"may make no TUN device: {error.strerror}"
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)
    return ""


@dataclass
class BadLink:
    """A context manager. `names`: of the two namespaces, whose addresses are 10.77.0.1 and 10.77.0.2.

    `carried` counts by the end at which a packet came in: [0] what the first namespace sent. Written by the carrying
    thread only.
    """

    conditions: Conditions = field(default_factory=Conditions)
    seed: int = 0

    def __enter__(self) -> BadLink:
        self.names = tuple(f"smolvla_{end}_{os.getpid()}" for end in ("policy", "arm"))
        self.carried = (Carried(), Carried())
        self._ends: list[int] = []
        self._stopping = threading.Event()
        try:
            for number, name in enumerate(self.names, start=1):
                _ip("netns", "add", name)
                self._ends.append(_tun(name))
                _ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", _DEVICE)
                _ip("-n", name, "link", "set", _DEVICE, "up", "mtu", str(_MTU), "multicast", "on")
                _ip("-n", name, "link", "set", "lo", "up")
                _ip("-n", name, "route", "add", "224.0.0.0/4", "dev", _DEVICE)
        except BaseException:
            self._remove()
            raise
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._remove()

    def _remove(self) -> None:
        for end in self._ends:
            os.close(end)
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def _carry(self) -> None:
        rng = random.Random(self.seed)
        under_way: list[tuple[float, int, int, bytes]] = []
        number = 0
        while not self._stopping.is_set():
            wait_s = min(0.1, max(0.0, under_way[0][0] - time.monotonic())) if under_way else 0.1
            ready, _, _ = select.select(self._ends, [], [], wait_s)
            now_s = time.monotonic()
            for end in ready:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        packet = os.read(end, 65536)
                        side, told = self._ends.index(end), self.conditions
                        count = self.carried[side]
                        count.packets, count.octets = count.packets + 1, count.octets + len(packet)
                        if not told.up or rng.random() < told.loss:
                            count.lost += 1
                            continue
                        due_s = now_s + max(0.0, told.delay_s + rng.uniform(-told.jitter_s, told.jitter_s))
                        number += 1
                        heapq.heappush(under_way, (due_s, number, self._ends[1 - side], packet))
            while under_way and under_way[0][0] <= time.monotonic():
                _, _, other, packet = heapq.heappop(under_way)
                with contextlib.suppress(OSError):  # the other end goes down
                    os.write(other, packet)


def _tun(namespace: str) -> int:
    """A TUN device in a namespace, as a file that does not block."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        enter(namespace)
        try:
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", _DEVICE.encode(), _TUN_WITHOUT_HEADER))
        finally:
            _set_namespace(home)
    finally:
        os.close(home)
    return device


def enter(namespace: str) -> None:
    """Takes the calling thread into a namespace."""
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        _set_namespace(there)
    finally:
        os.close(there)


def _set_namespace(file: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns came with Python 3.12
    if libc.setns(file, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


if __name__ == "__main__":
    enter(sys.argv[1])
    sys.argv = sys.argv[2:]
    sys.path.insert(0, str(Path(sys.argv[0]).parent))
    runpy.run_path(sys.argv[0], run_name="__main__")
