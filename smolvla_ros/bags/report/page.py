"""Everything that the page shows, by name, and writing it."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from smolvla_ros.bags.replay.result import Replay
from smolvla_ros.bags.replay.verdict import hardest_joint, verdict

from . import figures
from .pictures import thumbnails
from .timeline import strips

_REASONS = 8


def write_report(replay: Replay, file: Path) -> None:
    """Writes the page; an existing file is replaced only when the new one is complete."""
    write_page(file, "page.html.jinja", _content(replay))


def write_page(file: Path, template: str, content: Mapping[str, Any]) -> None:
    """Fills a template of this folder and replaces the file by the complete page.

    Args:
        content: what the template shows; `figures` are those of its plots, as plotly's JSON by name.
    """
    figures = {name: _script_json(text) for name, text in content["figures"].items()}
    page = _templates().get_template(template).render(**{**content, "figures": figures, "plotly": Markup(_plotly())})
    part = file.with_name(file.name + ".part")
    part.write_text(page, encoding="utf-8")
    os.replace(part, file)


@functools.cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": figure_text, "signed": _signed, "number": number, "share": _share}
    return environment


def figure_text(value: float, digits: int = 3) -> str:
    """A number for people, or a dash where there is none."""
    return f"{value:.{digits}f}" if np.isfinite(value) else "–"


def _signed(value: float, digits: int = 4) -> str:
    """A difference for people: a minus that is as wide as a plus."""
    return f"{value:+.{digits}f}".replace("-", "\u2212") if np.isfinite(value) else "–"


def number(value: int) -> str:
    """A count with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u202f")


def _share(value: float) -> str:
    return f"{value:.0%}" if np.isfinite(value) else "–"


def _content(replay: Replay) -> dict[str, Any]:
    sentence, mood = verdict(replay)
    started = datetime.fromtimestamp(replay.start_ns / 1e9, tz=UTC)
    answered = bool(replay.chunks)
    return {
        "replay": replay,
        "title": Path(replay.bag).name,
        "verdict": sentence,
        "mood": mood,
        "duration_s": (replay.end_ns - replay.start_ns) / 1e9,
        "started": f"{started:%Y-%m-%d %H:%M:%S} UTC",
        "hardest": hardest_joint(replay),
        "joint_rows": _joint_rows(replay),
        "instructions": _instructions(replay),
        "waits": _waits(replay),
        "strips": strips(replay),
        "thumbnails": thumbnails(replay),
        "drawn": len(figures.drawn_chunks(replay)),
        "stages": _stages(replay),
        "figures": {
            "traces": figures.traces(replay),
            **({"horizon": figures.horizon(replay), "heat": figures.heat_map(replay)} if answered else {}),
        },
    }


def _instructions(replay: Replay) -> list[str]:
    return [text for text, _ in Counter(chunk.instruction for chunk in replay.chunks).most_common(_REASONS)]


def _joint_rows(replay: Replay) -> list[dict[str, Any]]:
    robot, hold, std = replay.errors.robot, replay.hold_errors.robot, replay.errors.std
    return [
        {
            "name": name,
            "mean": robot.joint_mean[joint],
            "p95": robot.joint_p95[joint],
            "std": std.joint_mean[joint],
            "hold": hold.joint_mean[joint],
        }
        for joint, name in enumerate(replay.joints)
    ]


def _waits(replay: Replay) -> list[dict[str, Any]]:
    """Reasons for which there was no answer: how often, from when to when, the most frequent first."""
    found: dict[str, dict[str, Any]] = {}
    for skipped in replay.skipped:
        wait = found.setdefault(skipped.reason, {"reason": skipped.reason, "instants": 0, "first_ns": skipped.time_ns})
        wait["instants"] += skipped.instants
        wait["first_s"] = (wait["first_ns"] - replay.start_ns) / 1e9
        wait["last_s"] = (skipped.last_ns - replay.start_ns) / 1e9
    return sorted(found.values(), key=lambda wait: -int(wait["instants"]))[:_REASONS]


def _stages(replay: Replay) -> list[dict[str, Any]]:
    """Every stage in ms, with the length of its bars in per cent of the longest."""
    longest = max((spread.p95 for spread in replay.stage_s.values() if np.isfinite(spread.p95)), default=0.0) or 1.0
    return [
        {
            "name": name,
            "p50": 1e3 * spread.p50, "p95": 1e3 * spread.p95, "max": 1e3 * spread.max,
            "bar": 100.0 * spread.p50 / longest, "whisker": 100.0 * (spread.p95 - spread.p50) / longest,
        }
        for name, spread in replay.stage_s.items()
    ]  # fmt: skip


def _script_json(text: str) -> Markup:
    """JSON that may stand in a script element: nothing in it can end the element."""
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


@functools.cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())
