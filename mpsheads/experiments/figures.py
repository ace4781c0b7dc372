"""Figures of experiments: a measure by size, training queries or epochs, and dot plots."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpsheads._optional import optional_import
from mpsheads.experiments.rows import UNCOMPRESSED, Row, Table, is_uncompressed
from mpsheads.experiments.sentences import TRAINED, number, percent
from mpsheads.experiments.statistics import mean_interval
from mpsheads.plotting.labels import spread
from mpsheads.plotting.style import BLUE, FONT, GREEN, GREY, INK, ORANGE, QUIET, new_figure, tidy

_FIXED = {
    "mps": BLUE,
    "reference": ORANGE,
    "dense": GREEN,
    "pca": "#B5488B",
    "truncation": GREY,
    UNCOMPRESSED: INK,
}
_MORE = ("#A67700", "#5D3A9B", "#1B93A8", "#882255", "#2F4F4F")  # dark enough for names
_MARKERS = ("s", "^", "D", "v", "P", "X", "*")
_LETTER = FONT * 0.57 / 72  # inches that a letter is wide, at most

Style = tuple[str, str]
"""Colour and marker of a method."""


@dataclass(frozen=True)
class _Panel:
    title: str
    curves: dict[str, list[Row]]  # label -> its rows


def styles(labels: Sequence[str]) -> dict[str, Style]:
    """Label -> colour and marker, the same for a label in every figure of a report.

    Known methods have the colours that they have in all figures of mpsheads, and round markers.
    Others take colours and markers in their order.
    """
    found: dict[str, Style] = {}
    others = 0
    for label in labels:
        if label in _FIXED:
            found[label] = _FIXED[label], "o"
        else:
            found[label] = _MORE[others % len(_MORE)], _MARKERS[others % len(_MARKERS)]
            others += 1
    return found


def draw(table: Table, style: Mapping[str, Style]) -> dict[str, Any]:
    """The figures of a table: name -> figure of matplotlib; none if no method has every test.

    By epoch, training queries or size, whichever of them vary; else a dot for each method.

    Args:
        table: What is drawn.
        style: From `styles`, for every label of the table.

    Raises:
        ImportError: If matplotlib is missing.
    """
    rows = [row for row in table.rows if row.mean is not None]
    if not rows:
        return {}
    figures = {}
    epochs = {row.epoch for row in table.curves if row.trained != "nothing"} - {None}
    if len({row.epoch for row in table.curves if row.trained != "nothing"}) > 1 and epochs:
        curves = [row for row in table.curves if row.mean is not None]
        figures["epochs"] = _lines(table, curves, "epoch", style)
    if table.varying("fraction"):
        figures["training-queries"] = _lines(table, rows, "fraction", style)
    if not figures and table.varying("size"):
        figures["size"] = _lines(table, rows, "size", style)
    return figures or {"methods": _dots(table, rows, style)}


def to_svg(figure: Any) -> str:
    """The figure as SVG with its text as text; the same figure gives the same bytes."""
    matplotlib = optional_import("matplotlib", "retrieval")
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mpsheads"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def _heading(table: Table) -> str:
    return f"{table.experiment}: {table.measure}"


def _subtitle(table: Table, what: str) -> str:
    tests = table.tests[0] if len(table.tests) == 1 else f"mean of {len(table.tests)} tests"
    return f"{table.encoder}, {tests}; {what}"


def _lines(table: Table, rows: Sequence[Row], by: str, style: Mapping[str, Style]) -> Any:
    """A line for each method against size, fraction or epoch; a panel for what varies besides."""
    panels = _panels(table, rows, by)
    band = "bands: standard deviation over seeds"
    if all(row.sd is None for row in rows):
        band = "one seed"
    n_columns = 1 if len(panels) == 1 else 2
    n_lines = -(-len(panels) // n_columns)
    labels = list(dict.fromkeys(label for panel in panels for label in panel.curves))
    is_grid = n_columns > 1
    widths = [0.72 + _LETTER * len(label) for label in labels]
    per_row = len(labels) if sum(widths) < 10.6 else max(1, int(10.6 / max(widths)))
    top = 1.6 + 0.29 * -(-len(labels) // per_row) if is_grid else 1.25
    height = top + 3.9 * n_lines - 0.2 if is_grid else 6.0
    figure = new_figure(_heading(table), _subtitle(table, band), height=height)
    right = 0.25 if is_grid else min(4.0, 0.6 + _LETTER * max(map(len, labels)))
    edges = {"left": 0.85 / 11, "right": 1 - right / 11}
    edges |= {"top": 1 - top / height, "bottom": 0.85 / height}
    grid = figure.subplots(n_lines, n_columns, squeeze=False, sharey=True, gridspec_kw=edges)
    figure.subplots_adjust(wspace=0.1, hspace=0.42)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for place, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
        is_low = place + n_columns >= len(panels)
        _draw_panel(axes, panel, table, by, style, xlabel=is_low)
    if is_grid:
        _legend(figure, labels, style, 1 - 1.0 / height, per_row)
    else:
        _name_lines(grid[0, 0], panels[0], by, style)
    return figure


def _panels(table: Table, rows: Sequence[Row], by: str) -> list[_Panel]:
    """A panel for each way of training, size and number of bits that lines do not run along.

    Untrained methods join every panel of their size, and uncompressed vectors every panel that has
    no better ones.
    """
    names = [n for n in ("trained", "size", "bits") if n != by]
    members = [row for row in rows if not is_uncompressed(row)] or list(rows)
    trained = [row for row in members if row.trained != "nothing"] or members
    keys = dict.fromkeys(tuple(getattr(row, name) for name in names) for row in trained)
    panels = []
    for key in keys:
        curves: dict[str, list[Row]] = {}
        for row in rows:
            wanted = dict(zip(names, key, strict=True))
            if _belongs(row, wanted, rows):
                curves.setdefault(row.label, []).append(row)
        panels.append(_Panel(_title(table, names, key, list(keys)), curves))
    return panels


def _belongs(row: Row, wanted: Mapping[str, Any], rows: Sequence[Row]) -> bool:
    names = [n for n in wanted if n != "trained" and not (is_uncompressed(row) and n != "trained")]
    if any(getattr(row, name) != wanted[name] for name in names):
        return False
    if row.trained == wanted["trained"]:
        return True
    own = any(o.label == row.label and o.trained == wanted["trained"] for o in rows)
    return row.trained == "nothing" and not own


def _title(
    table: Table, names: Sequence[str], key: Sequence[Any], keys: Sequence[tuple[Any, ...]]
) -> str:
    """What sets a panel apart from the others."""
    parts = []
    for place, name in enumerate(names):
        if len({other[place] for other in keys}) > 1:
            of = f" of {table.features}" if table.features else ""
            value = key[place]
            shown = {"size": f"{value}{of} numbers", "bits": f"{value} bit"}
            parts.append(shown.get(name) or TRAINED.get(value, value))
    return ", ".join(parts)


def _x(row: Row, by: str) -> float | None:
    if by == "fraction":
        return row.queries or 100 * (row.fraction or 1.0)
    return getattr(row, by)


def _draw_panel(
    axes: Any, panel: _Panel, table: Table, by: str, style: Mapping[str, Style], *, xlabel: bool
) -> None:
    for label, rows in panel.curves.items():
        colour, marker = style[label]
        if _is_level(rows, by):
            dashes = (0, (5, 3)) if is_uncompressed(rows[0]) else (0, (1, 1.5))
            axes.axhline(rows[0].mean, color=colour, linewidth=1.6, linestyle=dashes, zorder=1.5)
            continue
        rows = sorted(rows, key=lambda row: _x(row, by) or 0)
        x, y = [_x(row, by) for row in rows], np.array([row.mean for row in rows])
        sd = np.array([row.sd or 0.0 for row in rows])
        axes.fill_between(x, y - sd, y + sd, color=colour, alpha=0.15, linewidth=0, zorder=2)
        width = 2.6 if label == "mps" else 2.0
        axes.plot(
            x,
            y,
            color=colour,
            marker=marker,
            markersize=7,
            markeredgecolor="white",
            linewidth=width,
            zorder=3,
        )
    tidy(axes, title=panel.title)
    _scale(axes, panel, table, by, xlabel=xlabel)
    axes.locator_params(axis="y", nbins=6, steps=[1, 2, 5, 10])
    axes.margins(y=0.08)


def _is_level(rows: Sequence[Row], by: str) -> bool:
    """Whether rows are drawn as a level: what nothing is trained in, or uncompressed vectors."""
    if by == "size":
        return is_uncompressed(rows[0])
    return len(rows) == 1 and rows[0].trained == "nothing"


def _scale(axes: Any, panel: _Panel, table: Table, by: str, *, xlabel: bool) -> None:
    """The scale and its ticks, at the values that occur."""
    lines = [rows for rows in panel.curves.values() if not _is_level(rows, by)]
    values = sorted({_x(row, by) or 0 for rows in lines for row in rows})
    format_: Callable[[float], str] = "{:,.0f}".format
    if by == "size":
        name = "numbers a vector (log scale)"
    elif by == "fraction" and any(row.queries for rows in lines for row in rows):
        name = "training queries (log scale)"
    elif by == "fraction":
        name, format_ = "part of the training queries (log scale)", lambda x: percent(x / 100)
    else:
        name = "epochs of training"
    if by != "epoch":
        axes.set_xscale("log", base=2 if by == "size" else 10)
    elif len(values) > 12:
        values = [v for v in values if v % 5 == 0] or values
    axes.set_xticks(values, [format_(value) for value in values])
    axes.minorticks_off()
    if xlabel:
        axes.set_xlabel(name, fontsize=FONT, color=INK, labelpad=6)


def _name_lines(axes: Any, panel: _Panel, by: str, style: Mapping[str, Style]) -> None:
    """Each line's name to its right, in its colour, with a thin line to its end."""
    ends = {}
    for label, rows in panel.curves.items():
        last = max(rows, key=lambda row: _x(row, by) or 0)
        right = axes.get_xlim()[1] if _is_level(rows, by) else _x(last, by)
        ends[label] = right, last.mean
    place = axes.transAxes.inverted().transform
    heights = [float(place(axes.transData.transform(end))[1]) for end in ends.values()]
    line = FONT * 1.4 * axes.figure.dpi / 72 / axes.bbox.height
    placed = spread(heights, line, 0.0, 1.0)
    for (label, end), y in zip(ends.items(), placed, strict=True):
        colour = style[label][0]
        axes.annotate(
            label,
            end,
            xytext=(1.03, y),
            textcoords="axes fraction",
            va="center",
            fontsize=FONT,
            fontweight="bold" if label == "mps" else "normal",
            color=colour,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "alpha": 0.5,
                "linewidth": 1,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 6,
            },
        )


def _legend(
    figure: Any, labels: Sequence[str], style: Mapping[str, Style], top: float, per_row: int
) -> None:
    """The names of all lines, in their colours, in rows below the heading."""
    lines = optional_import("matplotlib.lines", "retrieval")
    handles = []
    for label in labels:
        colour, marker = style[label]
        look = {"color": colour, "linewidth": 2, "label": label}
        if label.startswith(UNCOMPRESSED):
            handles.append(lines.Line2D([], [], linestyle=(0, (5, 3)), **look))
        else:
            handles.append(lines.Line2D([], [], marker=marker, markersize=7, **look))
    figure.legend(
        handles=[h for column in range(per_row) for h in handles[column::per_row]],
        loc="upper left",
        bbox_to_anchor=(0.06 / 11, top),
        ncols=min(per_row, len(handles)),
        frameon=False,
        fontsize=FONT,
        labelcolor="linecolor",
        handlelength=1.6,
        handletextpad=0.5,
        columnspacing=1.4,
    )


def _dots(table: Table, rows: Sequence[Row], style: Mapping[str, Style]) -> Any:
    """A dot with its interval over queries for each method, its value to the right."""
    several = len({(row.label, row.bits) for row in rows}) < len(rows)
    several |= len({row.trained for row in rows} - {"nothing"}) > 1
    bits = len({row.bits for row in rows}) > 1
    names = []
    for row in rows:
        parts = [TRAINED.get(row.trained, row.trained)] if several else []
        parts += [f"{row.bits} bit"] if bits and row.bits else []
        names.append(f"{row.label} ({', '.join(parts)})" if parts else row.label)
    height = 2.3 + 0.48 * len(rows)
    what = "bars: 95% interval over queries"
    figure = new_figure(_heading(table), _subtitle(table, what), height=height)
    left = min(4.8, 0.4 + _LETTER * max(map(len, names)))
    size = (left / 11, 0.85 / height, (10 - left) / 11, (height - 1.2 - 0.85) / height)
    axes = figure.add_axes(size)
    tidy(axes, xlabel=table.measure)
    axes.grid(visible=False)
    axes.grid(axis="x", color="#E6E6E6", linewidth=1)
    for place, row in enumerate(rows):
        low, high = mean_interval(row.scores)
        colour, marker = style[row.label]
        axes.plot([low, high], [place, place], color=colour, linewidth=2.2)
        axes.plot(row.mean, place, marker=marker, color=colour, markersize=9)
        axes.annotate(
            number(row.mean),
            (1.0, place),
            xycoords=("axes fraction", "data"),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=FONT,
            color=INK,
        )
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), names)
    axes.locator_params(axis="x", nbins=7, steps=[1, 2, 5, 10])
    for name, row in zip(axes.get_yticklabels(), rows, strict=True):
        name.set_color(style[row.label][0])
    axes.tick_params(axis="x", colors=QUIET)
    return figure
