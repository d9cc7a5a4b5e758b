"""Many replays as replays.json: what the page of many shows, for scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..replay.summary import plain
from .result import ManyReplays, without_pairs

FORMAT = 1  # counts up when a name in the file changes its meaning or goes


def write_many_summary(found: ManyReplays, folder: Path) -> Path:
    """Writes replays.json into the folder. The same replays give the same bytes."""
    file = folder / "replays.json"
    file.write_text(json.dumps(many_summary(found), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return file


def many_summary(found: ManyReplays) -> dict[str, Any]:
    """What the file holds: the fields of `ManyReplays` by name, null for NaN."""
    bags = [{name: value for name, value in plain(without_pairs(bag)).items() if name != "pairs"}
            for bag in found.bags]  # fmt: skip
    return {
        "format": FORMAT,
        "bags": bags,
        "failed": plain(found.failed),
        "stopped": plain(found.stopped),
        "against": found.against,
        "comparison": plain(found.comparison),
    }
