"""Quality against size: what a method is worth at the bytes that its vectors take."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpsheads._optional import optional_import
from mpsheads._typing import PathLike
from mpsheads.plotting.style import (
    DOTTED,
    FONT,
    INK,
    QUIET,
    colour_of,
    new_figure,
    save_figure,
    tidy,
)

UNCOMPRESSED = "uncompressed"
_MARKERS = {32: "o", 8: "s", 4: "D", 2: "^", 1: "v"}
_DODGE = 0.15  # octaves, at most, that points of equal bytes are moved to stand side by side
_SMALL = FONT - 2
_LEGEND = {
    "frameon": False,
    "fontsize": _SMALL,
    "labelcolor": "linecolor",
    "handletextpad": 0.4,
    "labelspacing": 0.35,
    "borderpad": 0,
}


@dataclass(frozen=True)
class QualityPoint:
    """A method at one size.

    Attributes:
        method: Its name, such as `"mps"`; `"uncompressed"` is drawn as a level.
        bytes: Bytes of a stored vector.
        mean: The measure.
        interval: Lower and upper end of its confidence interval.
        bits: Bits of a stored number.
        label: Its name beside the point, if it is emphasised.
        emphasis: Whether it is the one to look at.
    """

    method: str
    bytes: int
    mean: float
    interval: tuple[float, float]
    bits: int = 32
    label: str = ""
    emphasis: bool = False


def quality_points(
    rows: Iterable[Mapping[str, Any]], measure: str = "nDCG@10"
) -> list[QualityPoint]:
    """Points of the rows that `mpsheads.retrieval.measure_heads` returns.

    A row may name its "method"; else it is the head, and "codes" for one that has some.
    """
    return [
        QualityPoint(
            row.get("method") or _kind(row),
            row["bytes_per_vector"],
            row["measures"][measure]["mean"],
            tuple(row["measures"][measure]["interval"]),
        )
        for row in rows
    ]


def _kind(row: Mapping[str, Any]) -> str:
    coded = (row.get("config") or {}).get("bits")
    return "codes" if coded else row["head"] or UNCOMPRESSED


def pareto_front(points: Iterable[Any]) -> list[Any]:
    """Those points, by their `bytes`, that no other has the `mean` of at no more bytes.

    Points that are equal in both stay.
    """
    front: list[Any] = []
    for point in sorted(points, key=lambda point: (point.bytes, -point.mean)):
        best = (front[-1].bytes, front[-1].mean) if front else (0, -math.inf)
        if point.mean > best[1] or (point.bytes, point.mean) == best:
            front.append(point)
    return front


def quality_vs_bytes(
    points: Sequence[QualityPoint],
    path: PathLike,
    *,
    measure: str = "nDCG@10",
    title: str = "Search quality by size of the vectors",
    subtitle: str = "",
    front: bool = False,
) -> Path:
    """Draw a measure against bytes a vector: colour is the method, shape the bits of a number.

    Points of equal bytes stand side by side.

    Args:
        points: What is drawn.
        path: Where the picture goes; the ending, such as .png, .svg or .pdf, gives the format. It
            appears when it is complete.
        measure: Name of the measure.
        title: Heading.
        subtitle: A second, quieter line, such as the name of the collection.
        front: Ring and join the points of the Pareto front, and fade the others; otherwise
            the points of each method are joined.

    Returns:
        The path.

    Raises:
        ValueError: If there is nothing to draw, or the format is unknown.
        ImportError: If matplotlib is missing.
    """
    methods = list(dict.fromkeys(p.method for p in points if p.method != UNCOMPRESSED))
    if not methods:
        raise ValueError("`points` must hold at least one method besides uncompressed vectors.")
    width, height = (13.0, 8.0) if front else (11.5, 6.4)
    figure = new_figure(title, subtitle, width=width, height=height)
    size = (1 - 3.2 / width, 1 - 2.35 / height)
    axes = figure.add_axes((0.85 / width, 0.85 / height, *size))
    _scales(axes, points, measure)
    x, on_front = _places(points, [UNCOMPRESSED, *methods]), pareto_front(points) if front else []
    for point in points:
        faded = front and point not in on_front and not point.emphasis
        _mark(axes, point, x[point], colour_of(point.method, methods), faded=faded)
    if front:
        on_front.sort(key=lambda point: (point.bytes, x[point]))
        places, means = [x[p] for p in on_front], [p.mean for p in on_front]
        axes.plot(places, means, drawstyle="steps-post", color=INK, lw=1.4, alpha=0.6, zorder=2.3)
        axes.scatter(places, means, s=330, fc="none", ec=INK, lw=1.4, zorder=4.5)
    for method in [] if front else methods:
        own = sorted((p for p in points if p.method == method), key=lambda point: x[point])
        line = {"color": colour_of(method, methods), "lw": 2, "alpha": 0.5, "zorder": 2}
        axes.plot([x[p] for p in own], [p.mean for p in own], **line)
    anchor = (1 - 2.2 / width, 1 - 1.45 / height)
    handles = _handles(points, methods, front)
    figure.legend(handles=handles, bbox_to_anchor=anchor, loc="upper left", **_LEGEND)
    return save_figure(figure, path)


def _places(points: Sequence[QualityPoint], order: Sequence[str]) -> dict[QualityPoint, float]:
    """Where the points stand: at their bytes, moved a little where several have as many."""
    places = {}
    for size in {point.bytes for point in points}:
        members = [point for point in points if point.bytes == size]
        members.sort(key=lambda point: order.index(point.method))
        step = min(0.115, 2 * _DODGE / max(1, len(members) - 1))
        for place, point in enumerate(members):
            places[point] = size * 2 ** (step * (place - (len(members) - 1) / 2))
    return places


def _scales(axes: Any, points: Sequence[QualityPoint], measure: str) -> None:
    """The axes, and the uncompressed quality."""
    sizes = sorted({point.bytes for point in points})
    axes.set_xscale("log", base=2)
    axes.set_xlim(sizes[0] / 2**0.6, sizes[-1] * 2**0.45)
    if len(sizes) > 6:
        powers = range(math.ceil(math.log2(sizes[0])), math.floor(math.log2(sizes[-1])) + 1)
        sizes = [2**power for power in powers]
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.margins(y=0.08)
    axes.locator_params(axis="y", nbins=8, steps=[1, 2, 5, 10])
    levels = [point for point in points if point.method == UNCOMPRESSED]
    if levels:
        level = max(levels, key=lambda point: point.bytes).mean
        axes.axhline(level, color=INK, linewidth=1.5, linestyle=DOTTED, zorder=1.5)
        measure += f" (dotted line: uncompressed {level:.3f})"  # there it covers no point
    tidy(axes, title=measure, xlabel="bytes a vector (log scale)")


def _mark(axes: Any, point: QualityPoint, x: float, colour: str, *, faded: bool) -> None:
    """A point and its interval, and its name if it is the one to look at."""
    width, alpha, zorder = (0.6, 0.25, 2) if faded else (1.4, 0.8, 2.5)
    axes.vlines(x, *point.interval, color=colour, linewidth=width, alpha=alpha, zorder=zorder)
    look = {"color": colour, "edgecolors": "white", "linewidths": 0.8}
    look |= {"alpha": 0.4, "zorder": 3} if faded else {"alpha": 1.0, "zorder": 4}
    axes.scatter(x, point.mean, s=80, marker=_MARKERS.get(point.bits, "P"), **look)
    if point.emphasis:
        text = {"fontsize": _SMALL, "fontweight": "bold", "ha": "right", "zorder": 3.8}
        text["bbox"] = {"fc": "white", "ec": "none", "alpha": 0.85, "pad": 2}
        move = {"xytext": (-14, 12), "textcoords": "offset points"}
        axes.annotate(point.label, (x, point.mean), color=colour, **move, **text)


def _handles(points: Sequence[QualityPoint], methods: Sequence[str], front: bool) -> list[Any]:
    """What the legend explains, under headings: methods, bits and the rest."""
    handles = [_dot("method", color=INK)]
    for method in [UNCOMPRESSED, *methods] if front else methods:
        look = {"color": colour_of(method, methods), "marker": "o", "ms": 8}
        handles.append(_dot(method, **look))
    bits = sorted({point.bits for point in points}, reverse=True)
    if len(bits) > 1:
        handles += [_dot(""), _dot("bits a number", color=INK)]
        handles += [_dot(str(b), marker=_MARKERS.get(b, "P"), color=QUIET, ms=8) for b in bits]
    handles += [_dot(""), _dot("95% interval", marker="|", color=QUIET, ms=14)]
    ring = _dot("Pareto front", marker="o", color=INK, mfc="none", ms=12)
    return [*handles, ring] if front else handles


def _dot(label: str, **look: Any) -> Any:
    lines = optional_import("matplotlib.lines", "retrieval")
    return lines.Line2D([], [], linestyle="none", label=label, **look)
