"""Draws docs/images/trajectory_following.png: what joint_trajectory_controller commands, with and without our stamps.

    python docs/plot_trajectory_following.py

The stream is a sine at the velocity limit out of chunks, as the controller node sends it at 100 Hz; the follower is
benchmarks/trajectory_following.py's at 500 Hz and its defaults, with hardware that is 30 ms late and 4 ms of jitter.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import trajectory_following as bench

PICTURE = Path(__file__).parent / "images" / "trajectory_following.png"
RATE_HZ, JOINT = 500, 0
WINDOW_S = (1.0, 1.6)


def main() -> None:
    stream = bench.sent(bench.sine())
    figure, axes = plt.subplots(2, 2, figsize=(11.0, 6.0), sharex=True, constrained_layout=True)
    for column, (title, sent) in enumerate(
        (("before: stamp 0, first point one period ahead", bench.undated(stream)), ("now: dated", stream))
    ):
        followed = bench.follow(sent, RATE_HZ, from_desired=False, lag_ms=30, jitter_ms=4)
        meant = bench.planned(stream, followed.times_ns)[:, JOINT]
        got = followed.positions[:, JOINT]
        times = (followed.times_ns - stream.times_ns[0]) * 1e-9
        position, velocity = axes[:, column]
        position.set_title(title, fontsize=10)
        position.plot(times, got, color="tab:blue", label="commanded by joint_trajectory_controller")
        position.plot(times, meant, color="black", linewidth=1.0, linestyle="--", label="meant")
        for values, colour, style in ((got, "tab:blue", "-"), (meant, "black", "--")):
            velocity.plot(times[1:], np.diff(values) * RATE_HZ, color=colour, linestyle=style, linewidth=1.0)
        fastest = np.abs(np.diff(got) * RATE_HZ).max()
        velocity.set_title(f"up to {fastest:.1f} rad/s", fontsize=9, loc="right")
        velocity.set_xlabel("s")
        position.set_ylim(-1.3, 1.3)
        velocity.set_yscale("symlog", linthresh=5.0)
        velocity.set_ylim(-400, 400)
        velocity.set_yticks([-100, -10, -4, 0, 4, 10, 100], ["-100", "-10", "-4", "0", "4", "10", "100"])
        for axis in (position, velocity):
            axis.set_xlim(*WINDOW_S)
            axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("position [rad]")
    axes[1, 0].set_ylabel("velocity [rad/s]")
    axes[0, 0].legend(fontsize=8, loc="lower left")
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()
