"""The figure of a table: a measure by epochs of training, training queries or size."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mpsheads._optional import optional_import
from mpsheads.experiments.tables import TRAINED, Row, Table
from mpsheads.experiments.wording import part
from mpsheads.plotting.style import DOTTED, FONT, colour_of, draw_panels, tidy

_SHOWN = {
    "epoch": "epochs of training",
    "fraction": "training queries (log scale)",
    "size": "numbers a vector (log scale)",
}


def draw(table: Table, tables: Sequence[Table], path: Path) -> bool:
    """Draw a table as an SVG file by what varies: epochs, else training queries, else size.

    Of several numbers of bits, and of sizes that it is not drawn by, only the largest is shown. The
    same table gives the same file.

    Args:
        table: What is drawn.
        tables: All tables of the report: a method has the same colour in each figure.
        path: Where the figure goes.

    Returns:
        Whether there is a figure; there is none if nothing varies, or no method has every test.

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
    if by is None or not rows:
        return False
    tests = f"mean of {len(table.tests)} tests" if len(table.tests) > 1 else next(iter(table.tests))
    look = {"svg.fonttype": "none", "svg.hashsalt": "mpsheads"}
    with optional_import("matplotlib", "retrieval").rc_context(look):
        draw_panels(
            [partial(_draw_lines, by=by, rows=rows, labels=labels)],
            path,
            title=f"{table.experiment}: {table.measure}",
            subtitle=f"{table.encoder}, {tests}; bands: standard deviation over seeds",
            wide=11,
            high=5.2,
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
