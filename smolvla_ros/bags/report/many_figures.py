"""The figures of the page of many replays, as plotly's JSON. What is drawn does not grow beyond `MOST_BAGS`."""

from __future__ import annotations

import html

import numpy as np
import plotly.graph_objects as go

from smolvla_ros.bags.many.result import ManyReplays, ReplayedBag
from smolvla_ros.bags.many.verdict import Comparison

from .figures import BAD, POLICY, QUIET, ROBOT, finished

GOOD = "#2e8b57"
MOST_BAGS = 60
_BAG_PX, _JOINT_PX, _EDGES_PX = 26, 30, 100
_LETTERS = 28


def drawn_bags(found: ManyReplays) -> tuple[ReplayedBag, ...]:
    """All bags in which something was compared, or, of many, those with the largest errors."""
    compared = [bag for bag in found.bags if np.isfinite(bag.errors_mean)]
    worst = sorted(compared, key=lambda bag: -bag.errors_mean)[:MOST_BAGS]
    return tuple(bag for bag in compared if bag in worst)


def errors_by_bag(found: ManyReplays) -> str:
    """The mean error of each bag, of the other checkpoint, and of standing still."""
    bags = drawn_bags(found)
    names = [_label(bag) for bag in bags]
    figure = go.Figure()
    hold = [bag.hold_mean for bag in bags]
    figure.add_scatter(x=hold, y=names, name="standing still", mode="markers",
                       marker={"color": QUIET, "symbol": "line-ns-open", "size": 13, "line": {"width": 2}})  # fmt: skip
    ours = [bag.errors_mean for bag in bags]
    if found.comparison is not None:
        beside = [found.comparison.bags.get(bag.name) for bag in bags]
        ours = [one.ours if one else error for one, error in zip(beside, ours, strict=True)]
        theirs = [one.theirs if one else np.nan for one in beside]
        between = [value for a, b in zip(ours, theirs, strict=True) for value in (a, b, None)]
        figure.add_scatter(x=between, y=[name for name in names for _ in range(3)], mode="lines", hoverinfo="skip",
                           line={"color": QUIET, "width": 1}, showlegend=False)  # fmt: skip
        figure.add_scatter(x=theirs, y=names, name="the other checkpoint", mode="markers",
                           marker={"color": ROBOT, "size": 9})  # fmt: skip
    figure.add_scatter(x=ours, y=names, name="the checkpoint" if found.against else "policy", mode="markers",
                       marker={"color": POLICY, "size": 10})  # fmt: skip
    figure.update_xaxes(title_text="mean error [rad]", rangemode="tozero")
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_layout(hovermode="closest")
    return finished(figure, height=_EDGES_PX + _BAG_PX * len(bags))


def heat_by_bag(found: ManyReplays) -> str:
    """Bags by joints: the mean error, or how much farther the checkpoint is than the other."""
    bags = drawn_bags(found)
    if found.comparison is not None:
        bags = tuple(bag for bag in bags if bag.name in found.comparison.bag_joints)
        cells = np.array([found.comparison.bag_joints[bag.name] for bag in bags])
        span = float(np.nanmax(np.abs(cells))) if np.isfinite(cells).any() else 1.0
        scale = [[0.0, GOOD], [0.5, "rgba(128,128,128,0.06)"], [1.0, BAD]]
        low, unit, text = -(span or 1.0), "rad", "%{z:+.4f} rad"
    else:
        in_std = all(np.isfinite(bag.joint_std).any() for bag in bags)
        cells = np.array([bag.joint_std if in_std else bag.joint_mean for bag in bags])
        span = float(np.nanmax(cells)) if np.isfinite(cells).any() else 1.0
        scale = [[0.0, "rgba(224,112,45,0.04)"], [1.0, "rgba(224,112,45,1)"]]
        low, unit = 0.0, "std" if in_std else "rad"
        text = "%{z:.3f} " + unit
    figure = go.Figure(
        go.Heatmap(
            x=[html.escape(name) for name in found.bags[0].joints], y=[_label(bag) for bag in bags],
            z=np.float32(cells), zmin=low, zmax=span or 1.0, colorscale=scale, xgap=2, ygap=2,
            colorbar={"title": {"text": unit}, "thickness": 10, "outlinewidth": 0},
            hovertemplate="%{y}, %{x}<br>" + text + "<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(showgrid=False, automargin=True)
    figure.update_yaxes(autorange="reversed", showgrid=False, automargin=True)
    return finished(figure, height=_EDGES_PX + _BAG_PX * len(bags), top_px=14)


def joint_differences(comparison: Comparison) -> str:
    """How much farther the checkpoint is than the other, by joint, with the intervals."""
    names = ["all joints", *map(html.escape, comparison.joints)]
    found = [comparison.total, *comparison.joints.values()]
    colours = [GOOD if one.high < 0.0 else BAD if one.low > 0.0 else QUIET for one in found]
    figure = go.Figure()
    for name, one, colour in zip(names, found, colours, strict=True):
        figure.add_scatter(x=[one.low, one.high], y=[name, name], mode="lines", hoverinfo="skip", showlegend=False,
                           line={"color": colour, "width": 3})  # fmt: skip
    figure.add_scatter(x=[one.difference for one in found], y=names, mode="markers", showlegend=False,
                       marker={"color": colours, "size": 9},
                       hovertemplate="%{y}: %{x:+.4f} rad<extra></extra>")  # fmt: skip
    figure.add_vline(x=0.0, line_color=QUIET, line_width=1)
    if comparison.margin:
        figure.add_vline(x=comparison.margin, line_color=QUIET, line_width=1, line_dash="dot")
    figure.update_xaxes(title_text="difference [rad]; left: nearer")
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_layout(hovermode="closest")
    return finished(figure, height=_EDGES_PX + _JOINT_PX * len(names), top_px=14)


def _label(bag: ReplayedBag) -> str:
    """Its name, cut in the middle where it is long."""
    name = bag.name
    return html.escape(name if len(name) <= _LETTERS else f"{name[: _LETTERS // 2]}…{name[-_LETTERS // 2 + 1 :]}")
