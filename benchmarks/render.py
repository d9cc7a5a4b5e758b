"""Pictures per second of the simulated scene, with shadows and multisampling off and on.

    python benchmarks/render.py [--seconds 2] [--json FILE]

A pair is one picture of each of the policy's two cameras. One thread; the software renderer may use more cores itself.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from smolvla_ros.sim.world import CAMERAS, World

SIZES = ((96, 96), (240, 320), (480, 640))


def pairs_per_second(world: World, size: tuple[int, int], shadows: bool, seconds: float) -> float:
    for camera in CAMERAS:
        world.render(camera, size, shadows)  # makes the OpenGL context
    pairs, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for camera in CAMERAS:
            world.render(camera, size, shadows)
        pairs += 1
    return pairs / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each figure")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    console = Console()
    world, rows = World(), []
    cases = [(size, shadows) for size in SIZES for shadows in (False, True)]
    for (height, width), shadows in track(cases, "rendering", console=console):
        rate = pairs_per_second(world, (height, width), shadows, arguments.seconds)
        rows.append({"width": width, "height": height, "shadows": shadows, "pairs_per_second": round(rate, 1)})
    world.close()
    table = Table("size", "shadows, multisampling", "pairs per second", title=f"{os.cpu_count()} cores")
    for row in rows:
        quality = "on" if row["shadows"] else "off"
        table.add_row(f"{row['width']} x {row['height']}", quality, f"{row['pairs_per_second']:.1f}")
    console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
