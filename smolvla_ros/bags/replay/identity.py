"""Whether the policy that is replayed is the one that the bag was recorded with."""

from __future__ import annotations

from pathlib import Path

from smolvla_ros.policy.setup import file_hashes

from ..moved import MovedBag
from ..reader import Bag
from ..streams import Streams, described
from .result import BagFinding


def other_checkpoint(bag: Bag | MovedBag, streams: Streams, folder: Path) -> list[BagFinding]:
    """A note if the files in `folder` differ from those of which the bag has checksums; empty if it has none."""
    told = _recorded_checkpoint(bag, streams)
    recorded, present = told.get("sha256"), file_hashes(folder) if told else {}
    if not isinstance(recorded, dict) or not recorded or recorded == present:
        return []
    differing = sorted(name for name in recorded.keys() | present.keys() if recorded.get(name) != present.get(name))
    text = (
        f"The policy is not the one that was recorded ({told.get('folder', 'elsewhere')}): {', '.join(differing)} "
        "differ. The errors hold the difference of the two, too."
    )
    return [BagFinding("other_checkpoint", "note", text)]


def _recorded_checkpoint(bag: Bag | MovedBag, streams: Streams) -> dict[str, object]:
    """The last one that the policy node told with checksums: it tells them when they are made."""
    topic = streams.descriptions.get("policy_node")
    found: dict[str, object] = {}
    for recorded in bag.read([topic]) if topic else ():
        checkpoint = described(recorded).get("checkpoint")
        if isinstance(checkpoint, dict) and checkpoint.get("sha256"):
            found = checkpoint
    return found
