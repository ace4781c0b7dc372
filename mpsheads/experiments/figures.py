"""The figure of a table: a measure by epochs, training queries or size, or a dot a method."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mpsheads._optional import optional_import
from mpsheads.experiments.tables import TRAINED, Row, Table
from mpsheads.experiments.wording import number, part
from mpsheads.plotting.style import DOTTED, FONT, GRID, INK, QUIET, colour_of, draw_panels, tidy

_SHOWN = {
    "epoch": "epochs of training",
    "fraction": "training queries (log scale)",
    "size": "numbers a vector (log scale)",
}


def draw(table: Table, tables: Sequence[Table], path: Path) -> bool:
    """Draw a table as an SVG file; the same table gives the same file.

    By epoch, training queries or size, the first of them that varies; else a dot a method. Of
    other numbers of bits and sizes only the largest is drawn.

    Args:
        table: What is drawn.
        tables: All tables of the report: a method has the same colour in each figure.
        path: Where the figure goes.

    Returns:
        Whether there is a figure; there is none if no method has every test.

    Raises:
        ImportError: If matplotlib is missing.
    """
    labels = list(dict.fromkeys(row.label for each in tables for row in each.rows))
    by = next((name for name in _SHOWN if table.varying(name)), None)
    rows = [row for row in table.rows if row.mean is not None]
    for name in ("bits", "size"):
        if by != name and table.varying(name):
            most = table.varying(name)[-1]
            rows = [row for row in rows if row.is_uncompressed or getattr(row, name) == most]
    if not rows:
        return False
    seeds = "bands: standard deviation over seeds" if any(row.sd for row in rows) else "one seed"
    draws = partial(_draw_lines, by=by) if by else partial(_draw_dots, measure=table.measure)
    tests = f"mean of {len(table.tests)} tests" if len(table.tests) > 1 else next(iter(table.tests))
    look = {"svg.fonttype": "none", "svg.hashsalt": "mpsheads"}
    with optional_import("matplotlib", "retrieval").rc_context(look):
        draw_panels(
            [partial(draws, rows=rows, labels=labels)],
            path,
            title=f"{table.experiment}: {table.measure}",
            subtitle=f"{table.encoder}, {tests}; "
            + (seeds if by else "bars: 95% interval over queries"),
            wide=11,
            high=5.2 if by else 1.6 + 0.48 * len(rows),
        )
    return True


def _draw_lines(axes: Any, *, by: str, rows: Sequence[Row], labels: Sequence[str]) -> None:
    """A line for each method, with a band of its standard deviation; a level for what has one."""
    tidy(axes, xlabel=_SHOWN[by])
    lines: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        lines.setdefault((row.label, row.trained), []).append(row)
    ways = [way for way in TRAINED if way != "nothing" and any(way == t for _, t in lines)]
    values: set[float] = set()
    for (label, trained), own in lines.items():
        name = f"{label}, {TRAINED[trained]}" if trained in ways[1:] else label
        look: dict[str, Any] = {"color": colour_of(label, labels), "label": name}
        level = own[0].is_uncompressed if by == "size" else trained == "nothing"
        if level:
            axes.axhline(own[0].mean, linewidth=1.6, linestyle=DOTTED, zorder=1.5, **look)
            continue
        own = sorted(own, key=lambda row: getattr(row, by))
        x, y = [getattr(row, by) for row in own], np.array([row.mean for row in own])
        sd = np.array([row.sd or 0.0 for row in own])
        axes.fill_between(x, y - sd, y + sd, color=look["color"], alpha=0.15, linewidth=0)
        look |= {"linestyle": "--" if trained in ways[1:] else "-", "linewidth": 2.2}
        axes.plot(x, y, marker="o", markeredgecolor="white", zorder=3, **look)
        values.update(x)
    if by != "epoch":
        axes.set_xscale("log", base=2 if by == "size" else 10)
    ticks = sorted(values)
    axes.set_xticks(ticks, [part(tick) if by == "fraction" else f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.locator_params(axis="y", nbins=6, steps=[1, 2, 5, 10])
    axes.margins(y=0.08)
    axes.legend(frameon=False, fontsize=FONT - 2, labelcolor="linecolor", ncols=2)


def _draw_dots(axes: Any, *, measure: str, rows: Sequence[Row], labels: Sequence[str]) -> None:
    """A dot with its interval over queries for each method, its name below, its value beside."""
    tidy(axes, xlabel=measure)
    axes.grid(visible=False)
    axes.grid(axis="x", color=GRID, linewidth=1)
    for place, row in enumerate(rows):
        colour = colour_of(row.label, labels)
        axes.plot(row.interval, [place, place], color=colour, linewidth=2.2)
        axes.plot(row.mean, place, marker="o", color=colour, markersize=9)
        name = f"{row.label}, {TRAINED[row.trained]}  {number(row.mean)}"
        text = {"va": "bottom", "textcoords": "offset points", "fontsize": FONT - 1, "zorder": 4}
        at = ("axes fraction", "data")
        axes.annotate(name, (0.0, place), (4, 3), xycoords=at, color=colour, **text)
    axes.set_ylim(len(rows) - 0.4, -0.8)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=7, steps=[1, 2, 5, 10])
    axes.tick_params(axis="x", colors=QUIET, labelcolor=INK)
