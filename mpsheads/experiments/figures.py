"""Figures of experiments: a measure by size, training queries or epochs, and dot plots."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mpsheads._optional import optional_import
from mpsheads.experiments.tables import TRAINED, Row, Table
from mpsheads.experiments.wording import number, part
from mpsheads.plotting.style import (
    DOTTED,
    FONT,
    GRID,
    INK,
    QUIET,
    colour_of,
    draw_panels,
    tidy,
)

_SHOWN = {
    "epoch": "epochs of training",
    "fraction": "training queries (log scale)",
    "size": "numbers a vector (log scale)",
}


def draw(table: Table, tables: Sequence[Table], folder: Path, name: str) -> dict[str, str]:
    """Draw the figures of a table as SVG files; none if no method has every test.

    By epoch, training queries or size, whichever of them vary; else a dot for each method.

    Args:
        table: What is drawn.
        tables: All tables of the report: a method has the same colour in each figure.
        folder: Where the files go.
        name: What their names begin with.

    Returns:
        File name -> SVG; the same table gives the same text.

    Raises:
        ImportError: If matplotlib is missing.
    """
    matplotlib = optional_import("matplotlib", "retrieval")
    labels = list(dict.fromkeys(row.label for each in tables for row in each.curves))
    seeds = any(row.sd is not None for row in table.rows)
    what = "bands: standard deviation over seeds" if seeds else "one seed"
    kinds: dict[str, list[Callable[[Any], None]]] = {}
    rows = [row for row in table.rows if row.mean is not None]
    if len(table.curves) > len(table.rows):
        kinds["epochs"] = _panels(table, table.curves, "epoch", labels)
    if table.varying("fraction"):
        kinds["training-queries"] = _panels(table, rows, "fraction", labels)
    if not kinds and table.varying("size"):
        kinds["size"] = _panels(table, rows, "size", labels)
    if not kinds and rows:
        kinds["methods"] = [partial(_draw_dots, table=table, rows=rows, labels=labels)]
        what = "bars: 95% interval over queries"
    tests = f"mean of {len(table.tests)} tests" if len(table.tests) > 1 else next(iter(table.tests))
    heading = {
        "title": f"{table.experiment}: {table.measure}",
        "subtitle": f"{table.encoder}, {tests}; {what}",
    }
    svgs = {}
    for kind, panels in kinds.items():
        high = 1.6 + 0.48 * len(rows) if kind == "methods" else 5.2
        path = folder / f"{name}-{kind}.svg"
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mpsheads"}):
            draw_panels(
                panels, path, **heading, columns=2, wide=11 / min(2, len(panels)), high=high
            )
        svg = path.read_text(encoding="utf-8")
        svgs[path.name] = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        path.write_text(svgs[path.name], encoding="utf-8")
    return svgs


def _panels(
    table: Table, rows: Sequence[Row], by: str, labels: Sequence[str]
) -> list[Callable[[Any], None]]:
    """A panel for each way of training, size and number of bits that lines do not run along.

    Untrained methods join every panel of their size, and uncompressed vectors every panel.
    """
    rows = [row for row in rows if row.mean is not None]
    names = [name for name in ("trained", "size", "bits") if name != by]
    compressed = [row for row in rows if not row.is_uncompressed] or rows
    trained = [row for row in compressed if row.trained != "nothing"] or compressed
    keys = list(dict.fromkeys(tuple(getattr(row, name) for name in names) for row in trained))
    of = f" of {table.features}" if table.features else ""
    panels = []
    for key in keys:
        wanted = dict(zip(names, key, strict=True))
        shown = {
            "trained": TRAINED.get(wanted["trained"], ""),
            "size": f"{wanted.get('size')}{of} numbers",
            "bits": f"{wanted.get('bits')} bit",
        }
        differ = [n for place, n in enumerate(names) if len({each[place] for each in keys}) > 1]
        lines: dict[str, list[Row]] = {}
        for row in rows:
            if _belongs(row, wanted, rows):
                lines.setdefault(row.label, []).append(row)
        title = ", ".join(shown[name] for name in differ)
        panels.append(partial(_draw_lines, title=title, lines=lines, by=by, labels=labels))
    return panels


def _belongs(row: Row, wanted: dict[str, Any], rows: Sequence[Row]) -> bool:
    names = [] if row.is_uncompressed else [name for name in wanted if name != "trained"]
    if any(getattr(row, name) != wanted[name] for name in names):
        return False
    own = any(o.label == row.label and o.trained == wanted["trained"] for o in rows)
    return row.trained == wanted["trained"] or (row.trained == "nothing" and not own)


def _draw_lines(
    axes: Any, *, title: str, lines: dict[str, list[Row]], by: str, labels: Sequence[str]
) -> None:
    """A line for each method, with a band of its standard deviation; a level for what has one."""
    tidy(axes, title=title, xlabel=_SHOWN[by])
    values: set[float] = set()
    for label, rows in lines.items():
        look = {"color": colour_of(label, labels), "label": label}
        level = rows[0].is_uncompressed if by == "size" else rows[0].trained == "nothing"
        if level and (by == "size" or len(rows) == 1):
            axes.axhline(rows[0].mean, linewidth=1.6, linestyle=DOTTED, zorder=1.5, **look)
            continue
        rows = sorted(rows, key=lambda row: getattr(row, by) or 0)
        x, y = [getattr(row, by) or 0 for row in rows], np.array([row.mean for row in rows])
        sd = np.array([row.sd or 0.0 for row in rows])
        axes.fill_between(x, y - sd, y + sd, color=look["color"], alpha=0.15, linewidth=0)
        width = 2.6 if label == "mps" else 2.0
        axes.plot(x, y, marker="o", markeredgecolor="white", linewidth=width, zorder=3, **look)
        values.update(x)
    if by != "epoch":
        axes.set_xscale("log", base=2 if by == "size" else 10)
    ticks = sorted(values)
    ticks = [tick for tick in ticks if len(ticks) <= 12 or tick % 5 == 0]
    axes.set_xticks(ticks, [part(tick) if by == "fraction" else f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.locator_params(axis="y", nbins=6, steps=[1, 2, 5, 10])
    axes.margins(y=0.08)
    axes.legend(frameon=False, fontsize=FONT - 2, labelcolor="linecolor", ncols=2)


def _draw_dots(axes: Any, *, table: Table, rows: Sequence[Row], labels: Sequence[str]) -> None:
    """A dot with its interval over queries for each method, its name below, its value beside."""
    tidy(axes, xlabel=table.measure)
    axes.grid(visible=False)
    axes.grid(axis="x", color=GRID, linewidth=1)
    trained = len({row.trained for row in rows} - {"nothing"}) > 1
    for place, row in enumerate(rows):
        colour = colour_of(row.label, labels)
        axes.plot(row.interval, [place, place], color=colour, linewidth=2.2)
        axes.plot(row.mean, place, marker="o", color=colour, markersize=9)
        name = [row.label, *[f"{row.bits} bit"] * bool(table.varying("bits"))]
        name += [TRAINED.get(row.trained, "")] if trained else []
        text = {"va": "bottom", "textcoords": "offset points", "fontsize": FONT - 1, "zorder": 4}
        at = (0.0, place), ("axes fraction", "data")
        axes.annotate(
            f"{', '.join(name)}  {number(row.mean)}",
            at[0],
            (4, 3),
            xycoords=at[1],
            color=colour,
            **text,
        )
    axes.set_ylim(len(rows) - 0.4, -0.8)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=7, steps=[1, 2, 5, 10])
    axes.tick_params(axis="x", colors=QUIET, labelcolor=INK)
