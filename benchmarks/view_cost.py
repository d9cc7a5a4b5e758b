"""What the live view takes of a core, while nobody looks and with one browser, beside the simulated arm.

    python benchmarks/view_cost.py [--seconds 20] [--json FILE]

Starts the arm that ships and `smolvla-ros view`, and counts the processor time of the view's process alone (the browser
here is headless Chromium with software WebGL, which takes far more). Ports and ROS domain are those of the environment.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from machine import machine
from playwright.sync_api import expect, sync_playwright

SMOLVLA_ROS = Path(sys.executable).with_name("smolvla-ros")
_START_TIMEOUT_S = 120.0
_SETTLED_S = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement (default: 20)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    args = parser.parse_args()
    described = machine()
    result: dict[str, str | float] = {"machine": described}
    print(described)
    with (
        started("arm", "--instruction", "touch the red cube", until="ready: "),
        started("view", "--port", "0", until="view: ") as (view, address),
    ):
        result["nobody_percent"] = percent(view.pid, args.seconds)
        with looked_at(address):
            result["one_browser_percent"] = percent(view.pid, args.seconds)
        time.sleep(_SETTLED_S)
        result["nobody_again_percent"] = percent(view.pid, args.seconds)
    for name, value in result.items():
        if isinstance(value, float):
            print(f"{name.removesuffix('_percent').replace('_', ' '):12} {value:5.1f} % of a core")
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


@contextlib.contextmanager
def started(*arguments: str, until: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A command once it has printed a line that begins with `until`, and the rest of that line."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [SMOLVLA_ROS, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            give_up_s = time.monotonic() + _START_TIMEOUT_S
            while (line := printed(log, until)) is None:
                if process.poll() is not None or time.monotonic() > give_up_s:
                    log.seek(0)
                    raise SystemExit(f"`smolvla-ros {' '.join(arguments)}` did not start:\n{log.read()}")
                time.sleep(0.1)
            yield process, line
        finally:
            process.terminate()
            process.wait()


def printed(log: IO[str], until: str) -> str | None:
    log.seek(0)
    return next((line.removeprefix(until).strip() for line in log if line.startswith(until)), None)


@contextlib.contextmanager
def looked_at(address: str) -> Iterator[None]:
    """One browser shows the view."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--enable-unsafe-swiftshader"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(address)
        expect(page.get_by_role("status")).to_be_visible(timeout=1e3 * _START_TIMEOUT_S)
        page.wait_for_timeout(1e3 * _SETTLED_S)
        yield
        browser.close()


def percent(process_id: int, seconds: float) -> float:
    """Of one core, by a process and all of its threads."""
    before, start_s = processor_s(process_id), time.monotonic()
    time.sleep(seconds)
    return 100.0 * (processor_s(process_id) - before) / (time.monotonic() - start_s)


def processor_s(process_id: int) -> float:
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
