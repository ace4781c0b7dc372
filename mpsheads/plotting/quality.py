"""Quality against size: what a head is worth at the bytes that it costs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpsheads._files import replacing
from mpsheads._optional import optional_import
from mpsheads._typing import PathLike
from mpsheads.plotting.labels import spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {
    "mps": "#0072B2",
    "reference": "#D55E00",
    "dense": "#009E73",
    "pca": "#B5488B",
    "truncation": "#7A7A7A",
}
_MORE_COLOURS = ("#E69F00", "#56B4E9", "#5D3A9B", "#A0522D", "#2F4F4F")
_NAMES = {
    "mps": "MPS head",
    "reference": "paper's head",
    "dense": "Linear + tanh",
    "pca": "PCA",
    "truncation": "truncation",
}
_INK, _QUIET = "#222222", "#6B6B6B"
_DODGE = 0.115  # horizontal distance of heads at equal bytes, in powers of two
_FONT = 14


@dataclass(frozen=True)
class _Point:
    head: str
    bytes: int
    parameters: int
    mean: float
    interval: tuple[float, float]


def quality_vs_bytes(
    results: Sequence[Mapping[str, Any]],
    path: PathLike,
    *,
    measure: str = "nDCG@10",
    title: str = "Search quality by size of the vectors",
    subtitle: str = "",
) -> Path:
    """Draw a measure against bytes a vector: one colour per head, intervals, parameters as area.

    Args:
        results: One mapping per head and size, as `mpsheads compare --json` and the `results.json`
            of the demo hold them under "results": `"head"` (its kind, `None` for uncompressed
            vectors), `"bytes_per_vector"`, `"parameters"`, and under `"measures"` and the measure's
            name `"mean"` and `"interval"` (lower and upper end).
        path: Where the picture goes; the ending, such as .png, .svg or .pdf, gives the format. It
            appears when it is complete.
        measure: Which measure is drawn.
        title: Heading.
        subtitle: A second, quieter line, such as the name of the collection.

    Returns:
        The path.

    Raises:
        ValueError: If there is nothing to draw, a result lacks a field, or the format is unknown.
        ImportError: If matplotlib is missing.
    """
    path = Path(path)
    check_format(path)
    points = [_point(result, measure, row) for row, result in enumerate(results)]
    heads = [point for point in points if point.head]
    if not heads:
        raise ValueError("`results` must hold at least one head besides uncompressed vectors.")
    uncompressed = next((point for point in points if not point.head), None)
    figure_module = optional_import("matplotlib.figure", "retrieval")
    figure = figure_module.Figure(figsize=(11, 6.4), dpi=160, facecolor="white")
    axes = figure.add_axes((0.075, 0.145, 0.9, 0.665))
    kinds = list(dict.fromkeys(point.head for point in heads))
    shifts = {k: 2.0 ** (_DODGE * (i - (len(kinds) - 1) / 2)) for i, k in enumerate(kinds)}
    _axes(axes, points, measure)
    for size in {point.bytes for point in heads}:
        edges = (size * shift * 2.0 ** (sign * _DODGE) for shift, sign in _ends(shifts))
        axes.axvspan(*edges, color="#000000", alpha=0.035, linewidth=0, zorder=0)
    if uncompressed is not None:
        left = min(point.bytes for point in points) * min(shifts.values()) * 2.0**-_DODGE
        _draw_uncompressed(axes, uncompressed, left)
    for kind in kinds:
        members = [point for point in heads if point.head == kind]
        _draw_head(axes, members, _colour(kinds, kind), shifts[kind], heads)
    _label_heads(axes, heads, shifts)
    _size_legend(figure, heads)
    figure.text(0.02, 0.94, title, fontsize=_FONT + 6, fontweight="bold", color=_INK)
    figure.text(0.02, 0.89, subtitle, fontsize=_FONT, color=_QUIET)
    _save(figure, path)
    return path


def quality_vs_bytes_on(
    results: Sequence[Mapping[str, Any]], axes: "Axes", *, measure: str = "nDCG@10"
) -> None:
    """Draw a measure against bytes a vector into axes of matplotlib, without the parameters.

    Args:
        results: As in `quality_vs_bytes`.
        axes: Where.
        measure: Which measure is drawn.

    Raises:
        ValueError: If there is nothing to draw, or a result lacks a field.
    """
    points = [_point(result, measure, row) for row, result in enumerate(results)]
    kinds = list(dict.fromkeys(point.head for point in points if point.head))
    if not kinds:
        raise ValueError("`results` must hold at least one head besides uncompressed vectors.")
    _axes(axes, points, measure)
    sizes = [point.bytes for point in points]
    axes.set_xlim(min(sizes) / 1.6, max(sizes) * 1.6)
    axes.set_xlabel("bytes a vector (log scale)", fontsize=_FONT, color=_INK, loc="center")
    axes.set_title(measure, loc="left", x=0, fontsize=_FONT, color=_INK, pad=10)
    for point in points:
        if not point.head:
            axes.axhline(point.mean, color=_INK, linewidth=1.6, linestyle=(0, (5, 3)))
            label = {"textcoords": "offset points", "xytext": (4, 5), "color": _INK}
            at = (axes.get_xlim()[0], point.mean)
            axes.annotate("uncompressed", at, fontsize=_FONT - 2, **label)
    for place, kind in enumerate(kinds):
        members = sorted((p for p in points if p.head == kind), key=lambda p: p.bytes)
        shift = 2.0 ** (_DODGE * (place - (len(kinds) - 1) / 2))
        axes.errorbar(
            [point.bytes * shift for point in members],
            [point.mean for point in members],
            yerr=_bars(members),
            fmt="o-",
            color=_colour(kinds, kind),
            markersize=6,
            linewidth=1.8,
            label=_NAMES.get(kind, kind),
        )
    axes.legend(loc="lower right", frameon=False, fontsize=_FONT - 2, labelcolor="linecolor")


def _ends(shifts: Mapping[str, float]) -> list[tuple[float, int]]:
    """The least and the largest shift, with the direction that leads outwards."""
    return [(min(shifts.values()), -1), (max(shifts.values()), 1)]


def _point(result: Mapping[str, Any], measure: str, row: int) -> _Point:
    try:
        values = result["measures"][measure]
        low, high = values["interval"]
        return _Point(
            head=result["head"] or "",
            bytes=int(result["bytes_per_vector"]),
            parameters=int(result["parameters"]),
            mean=float(values["mean"]),
            interval=(float(low), float(high)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"`results`[{row}] must hold head, bytes_per_vector, parameters, and mean and interval "
            f"of {measure} under measures; it fails at {error!r}."
        ) from error


def _colour(kinds: Sequence[str], kind: str) -> str:
    others = [other for other in kinds if other not in _COLOURS]
    return _COLOURS.get(kind) or _MORE_COLOURS[others.index(kind) % len(_MORE_COLOURS)]


def _axes(axes: Any, points: Sequence[_Point], measure: str) -> None:
    """Scales, ticks at the sizes that occur, and a quiet grid."""
    sizes = sorted({point.bytes for point in points})
    low = min(point.interval[0] for point in points)
    high = max(point.interval[1] for point in points)
    margin = 0.09 * (high - low) or 0.01
    axes.set_xscale("log", base=2)
    octaves = math.log2(sizes[-1] / sizes[0] * 1.5)
    names = max(1.26, (0.15 * octaves + 0.4) / 0.85)  # octaves that the names on the left take
    axes.set_xlim(sizes[0] / 2**names, sizes[-1] * 1.5)
    axes.set_ylim(low - margin, high + margin)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes], minor=False)
    axes.minorticks_off()
    axes.tick_params(labelsize=_FONT, length=0, colors=_INK, pad=7)
    axes.set_xlabel(
        "bytes a vector (log scale)", fontsize=_FONT, color=_INK, labelpad=6, loc="left"
    )
    axes.set_title(measure, loc="left", x=-0.061, fontsize=_FONT, color=_INK, pad=10)
    axes.locator_params(axis="y", steps=[1, 2, 5, 10])  # so that two or three decimals are exact
    axes.grid(axis="y", color="#E6E6E6", linewidth=1)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color("#B0B0B0")


def _draw_uncompressed(axes: Any, point: _Point, left: float) -> None:
    """A line with its interval from `left` to the end, and the point itself."""
    right = axes.get_xlim()[1]
    axes.fill_between([left, right], *point.interval, color="#000000", alpha=0.06, linewidth=0)
    axes.hlines(
        point.mean, left, right, color=_INK, linewidth=1.6, linestyle=(0, (5, 3)), zorder=1.5
    )
    axes.errorbar(
        point.bytes,
        point.mean,
        yerr=_bars([point]),
        fmt="D",
        color=_INK,
        markersize=8,
        elinewidth=1.8,
        zorder=4,
    )
    axes.annotate(
        f"uncompressed {point.mean:.3f}",
        (point.bytes, point.mean),
        xytext=(-12, 6),
        textcoords="offset points",
        ha="right",
        fontsize=_FONT,
        color=_INK,
    )


def _draw_head(
    axes: Any, points: Sequence[_Point], colour: str, shift: float, everyone: Sequence[_Point]
) -> None:
    points = sorted(points, key=lambda point: point.bytes)
    x = [point.bytes * shift for point in points]
    y = [point.mean for point in points]
    axes.plot(x, y, color=colour, linewidth=2.2, alpha=0.55, zorder=2)
    axes.errorbar(x, y, yerr=_bars(points), fmt="none", color=colour, elinewidth=1.8, zorder=3)
    axes.scatter(
        x,
        y,
        s=[_area(point.parameters, everyone) for point in points],
        color=colour,
        edgecolors="white",
        linewidths=1.3,
        zorder=4,
        label=points[0].head,
    )


def _bars(points: Sequence[_Point]) -> list[list[float]]:
    """Lengths of the bars below and above the means."""
    below = [max(0.0, point.mean - point.interval[0]) for point in points]
    return [below, [max(0.0, point.interval[1] - point.mean) for point in points]]


def _area(parameters: int, everyone: Sequence[_Point]) -> float:
    """Area of a marker, proportional to the parameters above a least visible one."""
    most = max(point.parameters for point in everyone) or 1
    return 60 + 300 * parameters / most


def _label_heads(axes: Any, points: Sequence[_Point], shifts: Mapping[str, float]) -> None:
    """Name each head beside its smallest size, in a column, with a thin line to its point."""
    kinds = list(shifts)
    first = {
        kind: min((p for p in points if p.head == kind), key=lambda p: p.bytes) for kind in kinds
    }
    place = axes.transAxes.inverted().transform
    height = {
        kind: float(place(axes.transData.transform((point.bytes, point.mean)))[1])
        for kind, point in first.items()
    }
    line = _FONT * 1.45 * axes.figure.dpi / 72 / axes.bbox.height
    placed = spread([height[kind] for kind in kinds], line, line / 2, 1 - line / 2)
    for kind, y in zip(kinds, placed, strict=True):
        axes.annotate(
            _NAMES.get(kind, kind),
            (first[kind].bytes * shifts[kind], first[kind].mean),
            xytext=(0.135, y),
            textcoords="axes fraction",
            ha="right",
            va="center",
            fontsize=_FONT,
            fontweight="bold" if kind == "mps" else "normal",
            color=_colour(kinds, kind),
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 2.5},
            arrowprops={
                "arrowstyle": "-",
                "color": _colour(kinds, kind),
                "alpha": 0.5,
                "linewidth": 1,
                "relpos": (1, 0.5),
                "shrinkA": 1,
                "shrinkB": 7,
            },
        )


def _size_legend(figure: Any, points: Sequence[_Point]) -> None:
    """Circles that say which area means how many parameters."""
    most = max(point.parameters for point in points)
    if most == 0:
        return
    lines = optional_import("matplotlib.lines", "retrieval")
    counts = dict.fromkeys((0, _round(most / 5), _round(most)))
    circles = [
        lines.Line2D(
            [],
            [],
            linestyle="none",
            marker="o",
            color="#BDBDBD",
            markersize=_area(count, points) ** 0.5,
            label=f"{count:,}",
        )
        for count in counts
    ]
    figure.legend(
        handles=[lines.Line2D([], [], linestyle="none", label="parameters:"), *circles],
        loc="lower right",
        bbox_to_anchor=(0.985, 0.025),
        ncols=len(circles) + 1,
        frameon=False,
        fontsize=_FONT - 2,
        labelcolor=_QUIET,
        handletextpad=0.3,
        columnspacing=1.3,
    )


def _round(value: float) -> int:
    """The value with one significant digit."""
    return int(float(f"{value:.0e}"))


def check_format(path: Path) -> None:
    """Raise `ValueError` unless the ending of `path` is that of a picture format."""
    module = optional_import("matplotlib.backend_bases", "retrieval")
    known = module.FigureCanvasBase.get_supported_filetypes()
    if path.suffix.lower().lstrip(".") not in known:
        raise ValueError(f"`path` {str(path)!r} must end in one of .{', .'.join(sorted(known))}.")


def _save(figure: Any, path: Path) -> None:
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix.lower().lstrip("."))
