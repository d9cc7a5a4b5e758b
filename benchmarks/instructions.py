"""What a checkpoint of the simulated arm makes of wordings, and of an instruction that changes while it carries a cube.

    python benchmarks/instructions.py [--checkpoint DIR] [--episodes 20] [--seed 0] [--json FILE]

In virtual time, behind the nodes' controller, with 3 to 6 ticks of latency. A wording is right when the arm does what
it says or, where nothing can be done, holds still; a change when what was asked for last is so in the end.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from machine import machine

from smolvla_ros.execution.metrics import wilson_interval
from smolvla_ros.model import SmolVLAPolicy
from smolvla_ros.policy.requests import RequestPolicy
from smolvla_ros.sim import scenarios
from smolvla_ros.sim.evaluation import controller_settings, draw_delay
from smolvla_ros.sim.policies import CheckpointPolicy
from smolvla_ros.sim.scene import PLACES
from smolvla_ros.sim.task import COLOURS
from smolvla_ros.sim.tasks import Asked
from smolvla_ros.sim.virtual_arm import VirtualArm
from smolvla_ros.sim.world import World

ROOT = Path(__file__).resolve().parents[1]
STAY = Asked("stay")


@dataclass(frozen=True)
class Wording:
    """A way of saying something: texts with {c} for the colour, {o} for another one; what they ask for."""

    name: str
    texts: tuple[str, ...]
    asked: Callable[[str], Asked]


def _touch(colour: str) -> Asked:
    return Asked("touch", colour)


def _pick(colour: str) -> Asked:
    return Asked("pick", colour)


def _plate(colour: str) -> Asked:
    return Asked("place", colour, "plate")


def _bin(colour: str) -> Asked:
    return Asked("place", colour, "bin")


def _stay(colour: str) -> Asked:
    return STAY


WORDINGS = (
    Wording("touch, plain", ("touch the {c} cube", "tap the {c} block"), _touch),
    Wording("pick up, plain", ("pick up the {c} cube", "grab the {c} block"), _pick),
    Wording("put on the plate, plain", ("put the {c} cube on the plate", "place the {c} block on the dish"), _plate),
    Wording("put in the bin, plain", ("put the {c} cube in the bin", "drop the {c} box into the basket"), _bin),
    Wording("capitals", ("PUT THE {C} CUBE ON THE PLATE", "Put The {C} Block On The Plate"), _plate),
    Wording("filler and punctuation", ("Could you please put the {c} cube on the plate, thanks!",
                                       "ok, now put the {c} cube on the plate."), _plate),
    Wording("one letter wrong in the noun", ("touch the {c} cubbe", "touch the {c} blcok"), _touch),
    Wording("one letter wrong in the verb", ("tuch the {c} cube", "toucch the {c} cube", "pres the {c} cube"), _touch),
    Wording("verbs never trained", ("fetch the {c} cube", "collect the {c} cube", "seize the {c} cube"), _pick),
    Wording("nouns never trained", ("touch the {c} thing", "touch the {c} object"), _touch),
    Wording("stop, hold still", ("stop", "do nothing", "hold still", "freeze please"), _stay),
    Wording("a negation", ("do not touch the {c} cube", "never pick up the {c} block",
                           "don't put the {c} cube in the bin"), _stay),
    Wording("no colour", ("touch the cube", "put the block on the plate"), _stay),
    Wording("an unknown colour", ("touch the purple cube", "pick up the orange block",
                                  "put the pink cube in the bin"), _stay),
    Wording("no verb", ("{c} cube", "the {c} one"), _stay),
    Wording("an unknown place", ("put the {c} cube on the shelf", "put the {c} block on the table"), _stay),
    Wording("small talk", ("hello", "how are you", "thanks"), _stay),
    Wording("French", ("attrape le cube {c}", "pose le cube sur la table"), _stay),
    Wording("this, not that", ("touch the {c} cube, not the {o} one",), _touch),
)  # fmt: skip


class Bench:
    """A world with a policy in it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._world, self._seed = World(scene="pick_place"), seed
        self._policy = CheckpointPolicy(SmolVLAPolicy.from_checkpoint(folder))
        self._settings = controller_settings(self._world)

    def arm(self, index: int) -> tuple[VirtualArm, np.random.Generator]:
        """An arm at rest in a new layout."""
        rng = np.random.default_rng([self._seed, index])
        self._world.reset(scenarios.FIRST_SEED + 100_000 * self._seed + index)
        self._policy.reset(int(rng.integers(2**31)))
        requests, delay = RequestPolicy("continuous"), partial(draw_delay, rng)
        arm = VirtualArm(self._world, self._policy, settings=self._settings, requests=requests, delay=delay)
        return arm, rng

    def wording(self, wording: Wording, index: int) -> bool:
        arm, rng = self.arm(index)
        colour = COLOURS[index % len(COLOURS)]
        other = str(rng.choice([one for one in COLOURS if one != colour]))
        text = wording.texts[index // len(COLOURS) % len(wording.texts)]
        text = text.format(c=colour, C=colour.upper() if text.isupper() else colour.title(), o=other)
        return scenarios.watched(arm, wording.asked(colour), text)[0].success

    def close(self) -> None:
        self._world.close()

    def change(self, change: str, index: int) -> bool | None:
        """None: it never got to carrying, which does not count here."""
        arm, rng = self.arm(index)
        colour, place = COLOURS[index % len(COLOURS)], PLACES[index // len(COLOURS) % len(PLACES)]
        return scenarios.changed_while_carrying(arm, Asked("place", colour, place), change, rng)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "checkpoints" / "demo")
    parser.add_argument("--episodes", type=int, default=20, help="of each row (default: 20)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    print(machine())
    bench, rows = Bench(args.checkpoint, args.seed), []

    def row(name: str, outcomes: list[bool]) -> None:
        low, high = wilson_interval(sum(outcomes), len(outcomes)) if outcomes else (0.0, 1.0)
        rows.append({"row": name, "episodes": len(outcomes), "right": sum(outcomes), "low": low, "high": high})
        print(f"{name:32} {sum(outcomes):3} of {len(outcomes):3}   {low:.2f} to {high:.2f}", flush=True)

    for wording in WORDINGS:
        row(wording.name, [bench.wording(wording, index) for index in range(args.episodes)])
    for change in scenarios.CHANGES:
        found = [bench.change(change, index) for index in range(args.episodes)]
        row(f"while carrying: {change}", [outcome for outcome in found if outcome is not None])
    bench.close()
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
