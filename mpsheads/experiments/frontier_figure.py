"""The figure of a frontier: a measure against bytes a vector, with its Pareto front."""

import math
from collections.abc import Sequence
from typing import Any

from mpsheads._optional import optional_import
from mpsheads.experiments.figures import styles
from mpsheads.experiments.frontier import (
    Point,
    Recommendation,
    label_of,
    pareto_front,
    uncompressed_row,
)
from mpsheads.experiments.frontier_labels import Label, place_labels
from mpsheads.experiments.frontier_plan import METHODS
from mpsheads.experiments.rows import Table
from mpsheads.experiments.sentences import number
from mpsheads.plotting.style import FONT, GRID, INK, QUIET, new_figure

_MARKS = {32: "o", 8: "s", 4: "D", 2: "^", 1: "v"}
_WIDTH, _HEIGHT = 13.0, 8.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.95, 2.3, 1.25, 0.95  # inches around the axes
_DODGE = 0.15  # octaves, at most, that points of equal bytes are moved to stand side by side
_FADED = 0.4
_SMALL = FONT - 2


def draw_frontier(table: Table, points: Sequence[Point], chosen: Recommendation) -> Any:
    """Draw all points; those of the Pareto front are ringed, joined and named.

    Colour is the method, shape the number of bits; area grows with the root of the number of
    parameters. Points of equal bytes stand side by side.

    Args:
        table: From `frontier_table`.
        points: From `measure_points`, of its rows.
        chosen: From `recommend`; its budget is drawn, and its row marked.

    Returns:
        A figure of matplotlib.

    Raises:
        ImportError: If matplotlib is missing.
    """
    tests = " and ".join(table.tests) if len(table.tests) < 4 else f"{len(table.tests)} tests"
    mean = "mean of " if len(table.tests) > 1 else ""
    heading = f"{table.measure} against bytes a vector"
    subtitle = f"{table.encoder}, {mean}{tests}; bold: recommended for {chosen.budget:,} bytes"
    figure = new_figure(heading, subtitle, width=_WIDTH, height=_HEIGHT)
    edges = (_LEFT / _WIDTH, _BOTTOM / _HEIGHT)
    size = (1 - (_LEFT + _RIGHT) / _WIDTH, 1 - (_TOP + _BOTTOM) / _HEIGHT)
    axes = figure.add_axes((*edges, *size))
    labels = list(dict.fromkeys(point.row.label for point in points))
    labels.sort(key=lambda label: list(METHODS).index(label) if label in METHODS else len(METHODS))
    colours = {label: colour for label, (colour, _) in styles(labels).items()}
    front = {id(row) for row in pareto_front([point.row for point in points])}
    x = _places(points, labels)
    _scales(axes, points, chosen.budget)
    _levels(axes, points, chosen.budget)
    most = max(point.row.parameters or 0 for point in points)
    for point in sorted(points, key=lambda point: -(point.row.parameters or 0)):
        is_bright = id(point.row) in front or point.row is chosen.row
        _mark(axes, point, x[id(point)], colours[point.row.label], most, is_bright=is_bright)
    ringed = sorted(
        (point for point in points if id(point.row) in front), key=lambda p: (p.row.bytes, x[id(p)])
    )
    _join(axes, ringed, x, most)
    _name(axes, ringed, points, x, colours, chosen)
    _legends(figure, axes, points, colours, most)
    return figure


def _places(points: Sequence[Point], labels: Sequence[str]) -> dict[int, float]:
    """The bytes of each point by its id, moved a little where several have as many."""
    groups: dict[int, list[Point]] = {}
    for point in points:
        groups.setdefault(point.row.bytes or 1, []).append(point)
    found = {}
    for size, members in groups.items():
        members = sorted(members, key=lambda point: labels.index(point.row.label))
        step = min(0.06, 2 * _DODGE / max(1, len(members) - 1))
        for place, point in enumerate(members):
            found[id(point)] = size * 2 ** (step * (place - (len(members) - 1) / 2))
    return found


def _scales(axes: Any, points: Sequence[Point], budget: int) -> None:
    sizes = sorted({point.row.bytes or 1 for point in points} | {budget})
    low = min(point.interval[0] for point in points)
    high = max(point.interval[1] for point in points)
    margin = 0.04 * (high - low) or 0.01
    axes.set_xscale("log", base=2)
    axes.set_xlim(sizes[0] / 2**0.6, sizes[-1] * 2**0.45)
    axes.set_ylim(low - margin, high + 2 * margin)
    first, last = math.ceil(math.log2(sizes[0])), math.floor(math.log2(sizes[-1]))
    ticks = [2**power for power in range(first, last + 1)]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("bytes a vector (log scale)", fontsize=FONT, color=INK, labelpad=6)
    axes.tick_params(labelsize=FONT - 1, length=0, colors=INK, pad=6)
    axes.locator_params(axis="y", nbins=8, steps=[1, 2, 5, 10])
    axes.grid(axis="y", color=GRID, linewidth=1)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color("#B0B0B0")


def _levels(axes: Any, points: Sequence[Point], budget: int) -> None:
    """The uncompressed quality, the budget, and a band for each number of bytes."""
    for size in {point.row.bytes or 1 for point in points}:
        ends = (size / 2 ** (_DODGE + 0.04), size * 2 ** (_DODGE + 0.04))
        axes.axvspan(*ends, color="#000000", alpha=0.03, linewidth=0, zorder=0)
    edge = _edge(budget)
    axes.axvline(edge, color=INK, linewidth=1.2, zorder=1.5)
    axes.annotate(
        f"budget {budget:,} bytes",
        (edge, 0),
        xycoords=("data", "axes fraction"),
        xytext=(5, 6),
        textcoords="offset points",
        fontsize=_SMALL,
        color=INK,
        zorder=6,
    )
    plain = uncompressed_row([point.row for point in points])
    if plain is None or plain.mean is None:
        return
    axes.axhline(plain.mean, color=INK, linewidth=1.5, linestyle=(0, (1, 2)), zorder=1.5)
    axes.annotate(
        f"uncompressed {number(plain.mean)}",
        (0, plain.mean),
        xycoords=("axes fraction", "data"),
        xytext=(4, 5),
        textcoords="offset points",
        fontsize=_SMALL,
        color=INK,
    )


def _edge(budget: int) -> float:
    """Where the budget is drawn: points of as many bytes stand left of it."""
    return budget * 2 ** (_DODGE + 0.04)


def _mark(axes: Any, point: Point, x: float, colour: str, most: int, *, is_bright: bool) -> None:
    row = point.row
    alpha = 1.0 if is_bright else _FADED
    axes.vlines(
        x,
        *point.interval,
        color=colour,
        linewidth=1.2 if is_bright else 0.6,
        alpha=0.8 if is_bright else 0.25,
        zorder=2.5 if is_bright else 2,
    )
    axes.scatter(
        x,
        row.mean,
        s=_area(row.parameters or 0, most),
        marker=_MARKS[row.bits or 32],
        color=colour,
        edgecolors="white",
        linewidths=0.8,
        alpha=alpha,
        zorder=4 if is_bright else 3,
    )


def _join(axes: Any, front: Sequence[Point], x: dict[int, float], most: int) -> None:
    """Rings, and steps of the quality that is to be had for at most so many bytes."""
    axes.plot(
        [x[id(point)] for point in front],
        [point.row.mean for point in front],
        drawstyle="steps-post",
        color=INK,
        linewidth=1.4,
        alpha=0.65,
        zorder=2.3,
    )
    for point in front:
        axes.scatter(
            x[id(point)],
            point.row.mean,
            s=(_area(point.row.parameters or 0, most) ** 0.5 + 9) ** 2,
            marker="o",
            facecolors="none",
            edgecolors=INK,
            linewidths=1.4,
            zorder=4.5,
        )


def _name(
    axes: Any,
    front: Sequence[Point],
    points: Sequence[Point],
    x: dict[int, float],
    colours: dict[str, str],
    chosen: Recommendation,
) -> None:
    """The name of each point of the front, and of the recommended one, where nothing is covered."""
    plain = uncompressed_row([point.row for point in points])
    named = list(front)
    named += [point for point in points if point.row is chosen.row and point not in named]
    marks = [
        Label(
            label_of(point.row),
            (x[id(point)], point.row.mean or 0.0),
            colours[point.row.label],
            is_bold=point.row is chosen.row,
        )
        for point in named
    ]
    place_labels(
        axes,
        marks,
        avoid=[(x[id(point)], point.row.mean or 0.0) for point in points],
        level=None if plain is None else plain.mean,
        wall=_edge(chosen.budget),
        size=_SMALL,
    )


def _area(parameters: int, most: int) -> float:
    """Area of a mark in square points."""
    return 30 + 150 * (parameters / most if most else 0.0) ** 0.5


def _legends(
    figure: Any, axes: Any, points: Sequence[Point], colours: dict[str, str], most: int
) -> None:
    """Methods, bits and parameters, in a column right of the axes."""
    lines = optional_import("matplotlib.lines", "retrieval")

    def dot(label: str, **look: Any) -> Any:
        return lines.Line2D([], [], linestyle="none", label=label, **look)

    groups: list[tuple[str, list[Any]]] = []
    groups.append(
        ("method", [dot(n, marker="o", color=c, markersize=8) for n, c in colours.items()])
    )
    bits = [b for b in _MARKS if any((point.row.bits or 32) == b for point in points)]
    shapes = [dot(f"{b}", marker=_MARKS[b], color="#777777", markersize=8) for b in bits]
    groups.append(("bits a number", shapes))
    if most:
        counts = dict.fromkeys((0, _round(most / 50), _round(most / 5), _round(most)))
        circles = [
            dot(f"{n:,}", marker="o", color="#BDBDBD", markersize=_area(n, most) ** 0.5)
            for n in counts
        ]
        groups.append(("parameters", circles))
    ring = dot("Pareto front", marker="o", color=INK, markerfacecolor="none", markersize=12)
    bar = lines.Line2D([], [], linestyle="none", marker="|", color="#777777", markersize=14)
    bar.set_label("95% interval")
    groups.append(("", [ring, bar]))
    top = 1 - _TOP / _HEIGHT
    left = 1 - (_RIGHT - 0.15) / _WIDTH
    for title, handles in groups:
        legend = figure.legend(
            handles=handles,
            title=title or None,
            loc="upper left",
            bbox_to_anchor=(left, top),
            frameon=False,
            fontsize=_SMALL,
            title_fontsize=_SMALL,
            alignment="left",
            labelcolor=QUIET if title != "method" else "linecolor",
            handletextpad=0.4,
            labelspacing=0.35,
            borderpad=0,
            borderaxespad=0,
        )
        legend.get_title().set_color(INK)
        top -= ((len(handles) + bool(title)) * 0.235 + 0.28) / _HEIGHT


def _round(value: float) -> int:
    """The value with one significant digit."""
    return int(float(f"{value:.0e}"))
