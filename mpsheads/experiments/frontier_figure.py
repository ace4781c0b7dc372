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
    colours = {label: colour for label, (colour, _) in styles(labels).items()}
    front = {id(row) for row in pareto_front([point.row for point in points])}
    x = _places(points, labels)
    _scales(axes, points, chosen.budget)
    _levels(axes, points, chosen.budget)
    most = max(point.row.parameters or 0 for point in points)
    for point in sorted(points, key=lambda point: -(point.row.parameters or 0)):
        _mark(axes, point, x[id(point)], colours, most, is_front=id(point.row) in front)
    ringed = sorted(
        (point for point in points if id(point.row) in front), key=lambda p: (p.row.bytes, x[id(p)])
    )
    _join(axes, ringed, x)
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
    edge = budget * 2 ** (_DODGE + 0.04)  # points of as many bytes stand left of it
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


def _mark(
    axes: Any, point: Point, x: float, colours: dict[str, str], most: int, *, is_front: bool
) -> None:
    row, colour = point.row, colours[point.row.label]
    alpha = 1.0 if is_front else _FADED
    axes.vlines(
        x,
        *point.interval,
        color=colour,
        linewidth=1.2 if is_front else 0.6,
        alpha=0.8 if is_front else 0.25,
        zorder=2.5 if is_front else 2,
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
        zorder=4 if is_front else 3,
    )
    if is_front:
        axes.scatter(
            x,
            row.mean,
            s=(_area(row.parameters or 0, most) ** 0.5 + 9) ** 2,
            marker="o",
            facecolors="none",
            edgecolors=INK,
            linewidths=1.4,
            zorder=4.5,
        )


def _join(axes: Any, front: Sequence[Point], x: dict[int, float]) -> None:
    """The quality that is to be had for at most so many bytes: steps to the right and up."""
    axes.plot(
        [x[id(point)] for point in front],
        [point.row.mean for point in front],
        drawstyle="steps-post",
        color=INK,
        linewidth=1.4,
        alpha=0.65,
        zorder=2.7,
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
    figure = axes.figure
    backends = optional_import("matplotlib.backends.backend_agg", "retrieval")
    renderer = backends.FigureCanvasAgg(figure).get_renderer()
    pixel = figure.dpi / 72
    marks = [axes.transData.transform((x[id(p)], p.row.mean)) for p in points]
    plain = uncompressed_row([point.row for point in points])
    level = axes.transData.transform((1, plain.mean))[1] if plain is not None else None
    named = list(front)
    named += [point for point in points if point.row is chosen.row and point not in named]
    taken: list[Any] = []
    frame = axes.get_window_extent(renderer)
    for point in named:
        place = axes.transData.transform((x[id(point)], point.row.mean))
        is_chosen = point.row is chosen.row
        text = axes.annotate(
            label_of(point.row),
            (x[id(point)], point.row.mean),
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=_SMALL,
            fontweight="bold" if is_chosen else "normal",
            color=colours[point.row.label],
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
            arrowprops={
                "arrowstyle": "-",
                "color": colours[point.row.label],
                "linewidth": 0.9,
                "alpha": 0.7,
                "shrinkA": 2,
                "shrinkB": 8,
            },
            zorder=5 if not is_chosen else 5.5,
        )
        box = text.get_window_extent(renderer)
        width, height = box.width / pixel, box.height / pixel
        best = min(
            _candidates(width),
            key=lambda offset: _cost(
                offset, place, width, height, pixel, taken, marks, frame, level
            ),
        )
        text.set_position(best)
        taken.append(_box(best, place, width, height, pixel))


def _candidates(width: float) -> list[tuple[float, float]]:
    """Offsets in points of a label's middle from its mark, upwards and to the left first."""
    heights = [18 + 10 * step for step in range(16)]
    sides = [-width / 2 - 4, -width / 4, 0.0, width / 4, width / 2 + 4]
    return [(side, sign * height) for sign in (1, -1) for height in heights for side in sides]


def _box(
    offset: tuple[float, float], place: Any, width: float, height: float, pixel: float
) -> tuple[float, float, float, float]:
    x, y = place[0] + offset[0] * pixel, place[1] + offset[1] * pixel
    half, tall = (width / 2 + 2) * pixel, (height / 2 + 1) * pixel
    return x - half, y - tall, x + half, y + tall


def _cost(
    offset: tuple[float, float],
    place: Any,
    width: float,
    height: float,
    pixel: float,
    taken: Sequence[tuple[float, float, float, float]],
    marks: Sequence[Any],
    frame: Any,
    level: float | None,
) -> float:
    """How bad a label lies: over others, marks or the level, out of the axes, far away, below."""
    left, low, right, high = _box(offset, place, width, height, pixel)
    cost = math.hypot(*offset) / 20 + (3 if offset[1] < 0 else 0)
    for a, b, c, d in taken:
        if left < c and a < right and low < d and b < high:
            cost += 100
    radius = 7 * pixel
    cost += 8 * sum(
        left - radius < x < right + radius and low - radius < y < high + radius for x, y in marks
    )
    if level is not None and low < level < high:
        cost += 4
    if left < frame.x0 or right > frame.x1 or low < frame.y0 or high > frame.y1:
        cost += 200
    return cost


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
