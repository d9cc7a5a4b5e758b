"""The figures, as plotly's JSON. Colours are readable on light and dark ground; text and grid are coloured by the page.

How much is drawn does not grow with the length of the bag: lines have at most `_LINE_POINTS`, and of many chunks every
n-th is drawn.
"""

from __future__ import annotations

import html
import math

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from smolvla_ros.bags.replay.facts import COMMANDS
from smolvla_ros.bags.replay.result import Replay, ReplayedChunk

ROBOT, POLICY, QUIET, BAD = "#3f7fd6", "#e0702d", "#8b919b", "#d64550"

_LINE_POINTS = 1500
_CHUNKS = 160
_CHUNK_POINTS = 26
_TRACE_HEIGHT_PX, _HEAD_PX, _SMALL_HEIGHT_PX = 132, 60, 330
_INSTRUCTIONS, _SKIPPED = 40, 40
_PAUSE_S, _UNUSUAL = 0.25, 5.0  # a silence of the commands, at least so long, and so many times the usual gap
_LETTERS = 120  # that fit side by side


def drawn_chunks(replay: Replay) -> tuple[ReplayedChunk, ...]:
    """All chunks, or evenly chosen ones of many."""
    return replay.chunks[:: max(1, math.ceil(len(replay.chunks) / _CHUNKS))]


def traces(replay: Replay) -> str:
    """What every joint did, and what each chunk would have had it do."""
    joints = len(replay.joints)
    figure = make_subplots(
        rows=joints, cols=1, shared_xaxes=True, vertical_spacing=min(0.3 / joints, 0.05),
        subplot_titles=[html.escape(name) for name in replay.joints],
    )  # fmt: skip
    times_s = _seconds(replay, replay.trace.times_ns)
    measures_states = np.array_equal(replay.trace.reference, replay.trace.measured, equal_nan=True)
    reference = replay.trace.reference if measures_states else _without_pauses(replay)
    chunks = drawn_chunks(replay)
    for joint in range(joints):
        place, first = {"row": joint + 1, "col": 1}, joint == 0
        if not measures_states:
            x, y = _line(times_s, replay.trace.measured[:, joint])
            figure.add_scatter(x=x, y=y, name="robot, measured", legendgroup="m", showlegend=first, mode="lines",
                               line={"color": QUIET, "width": 1.2}, **place)  # fmt: skip
        x, y = _line(times_s, reference[:, joint])
        figure.add_scatter(x=x, y=y, name="robot, measured" if measures_states else "robot, commanded",
                           legendgroup="r", showlegend=first, mode="lines",
                           line={"color": ROBOT, "width": 2.2}, **place)  # fmt: skip
        x, y = _fans(replay, chunks, joint)
        figure.add_scatter(x=x, y=y, name="policy, each chunk", legendgroup="p", showlegend=first, mode="lines",
                           line={"color": POLICY, "width": 1.1}, opacity=0.75, **place)  # fmt: skip
        starts = np.array([chunk.start_ns for chunk in chunks], np.int64)
        first_rows = np.array([chunk.positions[0, joint] for chunk in chunks], np.float32)
        figure.add_scatter(x=_seconds(replay, starts), y=first_rows,
                           name="policy, first row", legendgroup="p", showlegend=False, mode="markers",
                           marker={"color": POLICY, "size": 3.5}, **place)  # fmt: skip
    _mark_events(figure, replay)
    # The lower half of a title's height is the gap above its plot: the names stand left, where lines begin.
    figure.update_annotations(x=0.0, xanchor="left", font_size=13, selector={"yanchor": "bottom"})
    figure.update_xaxes(range=list(_shown(replay)), ticks="")
    figure.update_xaxes(title_text="time in the bag [s]", row=joints, col=1)
    figure.update_yaxes(nticks=4, title_text="rad", title_standoff=4)
    return finished(figure, height=_HEAD_PX + _TRACE_HEIGHT_PX * joints)


def horizon(replay: Replay) -> str:
    """Error by how far ahead of its observation a row lies, with standing still as the yardstick."""
    ahead_s = (np.arange(replay.rows) * replay.step_s).astype(np.float32)
    figure = go.Figure()
    policy, hold = replay.errors.robot, replay.hold_errors.robot
    figure.add_scatter(x=ahead_s, y=np.float32(hold.row_mean), name="standing still, mean", mode="lines",
                       line={"color": QUIET, "width": 2.0})  # fmt: skip
    figure.add_scatter(x=ahead_s, y=np.float32(policy.row_p95), name="policy, 95th percentile", mode="lines",
                       line={"color": POLICY, "width": 1.2, "dash": "dot"})  # fmt: skip
    figure.add_scatter(x=ahead_s, y=np.float32(policy.row_mean), name="policy, mean", mode="lines",
                       line={"color": POLICY, "width": 2.6})  # fmt: skip
    late_s = float(np.median([chunk.usable_ns - chunk.stamp_ns for chunk in replay.chunks])) / 1e9
    if late_s > 0.0:
        figure.add_vrect(x0=0.0, x1=min(late_s, float(ahead_s[-1])), fillcolor=QUIET, opacity=0.13, line_width=0)
        figure.add_annotation(x=0.0, xanchor="left", y=1.0, yref="paper", yanchor="top", showarrow=False,
                              text=" past on arrival", font_size=11)  # fmt: skip
    figure.update_xaxes(title_text="time ahead of the observation [s]")
    figure.update_yaxes(title_text="|error| [rad]", rangemode="tozero")
    return finished(figure, height=_SMALL_HEIGHT_PX)


def heat_map(replay: Replay) -> str:
    """Mean error of every joint and row; in standard deviations of the training data, if they are known."""
    in_std = bool(np.isfinite(replay.action_std).all())
    cells = (replay.errors.std if in_std else replay.errors.robot).cell_mean.T
    unit = "std" if in_std else "rad"
    ahead_s = (np.arange(replay.rows) * replay.step_s).astype(np.float32)
    finite = cells[np.isfinite(cells)]
    figure = go.Figure(
        go.Heatmap(
            x=ahead_s, y=[html.escape(name) for name in replay.joints], z=np.float32(cells), zmin=0.0,
            zmax=float(finite.max()) if len(finite) and finite.max() > 0.0 else 1.0,
            colorscale=[[0.0, "rgba(224,112,45,0.04)"], [1.0, "rgba(224,112,45,1)"]], ygap=2,
            colorbar={"title": {"text": unit}, "thickness": 10, "outlinewidth": 0},
            customdata=np.float32(replay.errors.robot.cell_mean.T),
            hovertemplate="%{y}, %{x:.2f} s ahead<br>%{z:.3f} " + unit + " = %{customdata:.3f} rad<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(title_text="time ahead of the observation [s]", showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False, automargin=True)
    return finished(figure, height=max(_SMALL_HEIGHT_PX, 90 + 26 * len(replay.joints)), top_px=14)


def _without_pauses(replay: Replay) -> NDArray[np.float64]:
    """Commands where there were any: no line is drawn across an unusual silence of them."""
    shown, times_ns = replay.trace.reference.copy(), replay.trace.times_ns
    for commands in (stream for stream in replay.streams if stream.name == COMMANDS):
        usual_s = commands.p95_gap_s if np.isfinite(commands.p95_gap_s) else np.inf
        for length_ns, start_ns in replay.facts.streams[commands.topic].gaps:
            if length_ns / 1e9 > max(_PAUSE_S, _UNUSUAL * usual_s):
                silent = (times_ns > start_ns) & (times_ns < start_ns + length_ns)
                shown[np.ix_(silent, replay.facts.commanded[commands.topic])] = np.nan
    return shown


def _shown(replay: Replay) -> tuple[float, float]:
    """The time from shortly before the first chunk to the end; all of it without chunks [s]."""
    end_s = max((replay.end_ns - replay.start_ns) / 1e9, 1e-3)
    if not replay.chunks:
        return 0.0, end_s
    first_s = (replay.chunks[0].stamp_ns - replay.start_ns) / 1e9
    return max(0.0, first_s - 0.04 * (end_s - first_s) - 0.1), end_s


def _mark_events(figure: go.Figure, replay: Replay) -> None:
    """Instructions as lines, instants without an answer as shades, over all joints."""
    # Shapes of the whole column at once: plotly's add_vline would add one to each subplot.
    begin_s, end_s = _shown(replay)
    told = [((time_ns - replay.start_ns) / 1e9, text) for time_ns, text in replay.facts.instructions[:_INSTRUCTIONS]]
    for place, (at_s, text) in enumerate(told):
        at_s = max(at_s, 0.0)
        figure.add_shape(type="line", x0=at_s, x1=at_s, y0=0.0, y1=1.0, xref="x", yref="paper",
                         line={"color": QUIET, "width": 1, "dash": "dash"})  # fmt: skip
        until_s = told[place + 1][0] if place + 1 < len(told) else end_s
        room = int(_LETTERS * (until_s - at_s) / (end_s - begin_s))
        if not text or room < 4:
            continue
        shown = html.escape(text if len(text) <= room else text[: room - 1] + "…")
        figure.add_annotation(x=at_s, y=1.0, xref="x", yref="paper", text=shown, showarrow=False, xanchor="left",
                              yanchor="top", font_size=11, yshift=-2, xshift=3, name="instruction")  # fmt: skip
    longest = sorted(replay.skipped, key=lambda skipped: skipped.time_ns - skipped.last_ns)[:_SKIPPED]
    for skipped in longest:
        begin, end = ((time_ns - replay.start_ns) / 1e9 for time_ns in (skipped.time_ns, skipped.last_ns))
        figure.add_shape(type="rect", x0=begin, x1=end + replay.step_s, y0=0.0, y1=1.0, xref="x", yref="paper",
                         fillcolor=BAD, opacity=0.1, line_width=0, layer="below")  # fmt: skip


def _fans(
    replay: Replay, chunks: tuple[ReplayedChunk, ...], joint: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """All chunks of a joint as one line with gaps."""
    rows = np.unique(np.linspace(0, replay.rows - 1, min(replay.rows, _CHUNK_POINTS)).round().astype(int))
    x = np.full((len(chunks), len(rows) + 1), np.nan, np.float32)
    y = x.copy()
    for place, chunk in enumerate(chunks):
        x[place, :-1] = (chunk.start_ns - replay.start_ns) / 1e9 + rows * replay.step_s
        y[place, :-1] = chunk.positions[rows, joint]
    return x.ravel(), y.ravel()


def _line(times_s: NDArray[np.float32], values: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Thinned out, but keeping the smallest and the largest value of every stretch, so that no peak is lost."""
    if len(values) <= _LINE_POINTS:
        return times_s, values.astype(np.float32)
    edges = np.linspace(0, len(values), _LINE_POINTS // 2 + 1).astype(int)
    places = []
    for begin, end in zip(edges[:-1], edges[1:], strict=True):
        stretch = values[begin:end]
        if np.isnan(stretch).all():
            places.append(begin)
        else:
            places += sorted({begin + int(np.nanargmin(stretch)), begin + int(np.nanargmax(stretch))})
    return times_s[places], values[places].astype(np.float32)


def _seconds(replay: Replay, times_ns: NDArray[np.int64]) -> NDArray[np.float32]:
    return ((times_ns - replay.start_ns) / 1e9).astype(np.float32)


def finished(figure: go.Figure, height: int, top_px: int = 48) -> str:
    """What all figures have in common; as JSON."""
    figure.update_layout(
        height=height, margin={"l": 56, "r": 14, "t": top_px, "b": 44}, paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)", hovermode="x", font={"family": "system-ui, sans-serif", "size": 12},
        legend={"orientation": "h", "x": 0, "y": 1, "yref": "container", "yanchor": "top"}, template="none",
    )  # fmt: skip
    figure.update_xaxes(zeroline=False, showgrid=True, gridcolor="rgba(128,128,128,0.18)")
    figure.update_yaxes(zeroline=False, gridcolor="rgba(128,128,128,0.18)")
    return str(figure.to_json())
