"""The page of many replays: of the same hand as that of one, and like it complete in itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from smolvla_ros.bags.many.result import ManyReplays, ReplayedBag, mean_error
from smolvla_ros.bags.many.verdict import Difference
from smolvla_ros.bags.many.words import many_sentence

from . import many_figures
from .page import write_page


def write_many_report(found: ManyReplays, file: Path) -> None:
    """Writes the page; links lead to each bag's own report in bags/NAME beside it."""
    write_page(file, "many.html.jinja", _content(found))


def _content(found: ManyReplays) -> dict[str, Any]:
    sentence, mood = many_sentence(found)
    return {
        "found": found,
        "total": len(found.bags) + len(found.failed) + len(found.stopped),
        "verdict": sentence,
        "mood": mood,
        "chunks": sum(bag.chunks for bag in found.bags),
        "seconds": sum(bag.duration_s for bag in found.bags),
        "mean_error": mean_error(found.bags),
        "worst": max(found.bags, key=lambda bag: bag.errors_mean if bag.chunks else -1.0, default=None),
        "bags": [_bag(found, bag) for bag in found.bags],
        "comparison": found.comparison,
        "joint_words": {} if found.comparison is None else {k: _word(d) for k, d in found.comparison.joints.items()},
        "links": {bag.name: _link(bag) for bag in found.bags},
        "drawn": len(many_figures.drawn_bags(found)),
        "figures": _figures(found),
    }


def _figures(found: ManyReplays) -> dict[str, str]:
    if not many_figures.drawn_bags(found):
        return {}
    figures = {"bags": many_figures.errors_by_bag(found), "heat": many_figures.heat_by_bag(found)}
    if found.comparison is not None:
        figures["joints"] = many_figures.joint_differences(found.comparison)
    return figures


def _bag(found: ManyReplays, bag: ReplayedBag) -> dict[str, Any]:
    beside = found.comparison.bags.get(bag.name) if found.comparison else None
    differences = found.comparison.bag_joints.get(bag.name) if found.comparison else None
    return {
        "figures": bag,
        "link": _link(bag),
        "against": _link(bag, "against/") if found.against else "",
        "beside": beside,
        "share": bag.errors_mean / bag.hold_mean if bag.hold_mean > 1e-3 else float("nan"),
        "faults": [finding for finding in bag.findings if finding.severity != "note"],
        "joints": [
            {
                "name": name, "mean": bag.joint_mean[k], "p95": bag.joint_p95[k], "std": bag.joint_std[k],
                "hold": bag.joint_hold[k], "difference": None if differences is None else float(differences[k]),
            }
            for k, name in enumerate(bag.joints)
        ],
    }  # fmt: skip


def _word(found: Difference) -> str:
    return "nearer" if found.high < 0.0 else "farther" if found.low > 0.0 else ""


def _link(bag: ReplayedBag, below: str = "") -> str:
    return f"bags/{quote(bag.name)}/{below}report.html"
