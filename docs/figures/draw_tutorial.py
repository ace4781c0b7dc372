"""Draw the figures of the tutorial on matrix product states, as SVG files beside this script.

It runs the code of the page and draws what that computes; the times are those that
`benchmarks/scaling.py` wrote. Run it after a change, it takes less than a minute:
`.venv/bin/python docs/figures/draw_tutorial.py`. A folder as its one argument takes the files.
"""

import json
import math
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, ScalarFormatter

FIGURES = Path(__file__).resolve().parent
PAGE = FIGURES.parent / "tutorials" / "mps.md"
INK, MUTED, GRID = "#1e293b", "#64748b", "#e2e8f0"
BLUE, TEAL, AMBER = "#3f51b5", "#0f766e", "#b45309"
STYLE = {
    "svg.hashsalt": "mpsheads",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "cm",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
}


def entropy(page: dict[str, Any]) -> Figure:
    """Entanglement across each bond, for each time after the quench."""
    figure, axes = _axes("bond", "entanglement entropy (nats)", 7.6, 4.0)
    bonds = range(page["n"] - 1)
    for color, time, row in _shaded(page["times"].tolist(), page["profile"].tolist()):
        axes.plot(bonds, row, "o-", color=color)
        axes.text(5, row[5] + 0.035, f"t = {time:g}", fontsize=9.5, ha="center", va="bottom")
    most = [min(i + 1, page["n"] - 1 - i) * math.log(2) for i in bonds]
    axes.plot(bonds, most, ":", color=MUTED, linewidth=1.2)
    axes.text(2, 1.78, "the most that so few qubits allow", color=MUTED, fontsize=9.5)
    axes.set(ylim=(-0.05, 1.9), xticks=list(bonds))
    return figure


def truncation(page: dict[str, Any]) -> Figure:
    """True error and promised error against the largest bond, for the later times."""
    figure, axes = _axes("largest bond dimension", "1 - fidelity", 7.6, 4.2)
    times, bonds = page["times"].tolist(), page["bonds"]
    chosen = [(1, TEAL), (3, BLUE), (5, AMBER)]
    for which, color in chosen:
        error = [values[which].item() for values in page["errors"]]
        bound = [values[which].item() for values in page["bounds"]]
        seen = [i for i, value in enumerate(error) if value > 1e-12]
        points = [bonds[i] for i in seen]
        axes.plot(points, [error[i] for i in seen], "o-", color=color)
        axes.plot(points, [bound[i] for i in seen], "v--", color=color, alpha=0.55)
        axes.text(points[-1] * 1.06, error[seen[-1]], f"t = {times[which]:g}", color=color)
    axes.plot([], [], "o-", color=MUTED, label="true error")
    axes.plot([], [], "v--", color=MUTED, alpha=0.55, label="1 - fidelity_bound")
    axes.legend(frameon=False, loc="lower left")
    axes.set(xscale="log", yscale="log", xlim=(1.8, 45), ylim=(1e-12, 3))
    _plain_ticks(axes, bonds)
    return figure


def energies(page: dict[str, Any]) -> Figure:
    """Relative error of the energy of every start, over the evaluations."""
    figure, axes = _axes(
        "evaluations of all energies and gradients", "error of the energy", 7.6, 4.2
    )
    exact, first, second = (page[k] for k in ("ground", "first_history", "second_history"))
    for history, shift, color in ((first, 0, BLUE), (second, len(first), TEAL)):
        steps = [shift + i for i in range(len(history))]
        for errors in (1 - history / exact).T.tolist():
            axes.plot(steps, errors, color=color, linewidth=1.1, alpha=0.75)
    middle = len(first)
    axes.axvline(middle, color=MUTED, linestyle=":", linewidth=1.2)
    axes.text(middle / 2, 1.15, "one layer", color=BLUE, ha="center")
    axes.text(middle + len(second) / 2, 1.15, "two layers", color=TEAL, ha="center")
    axes.set(yscale="log", ylim=(5e-5, 2.2), xlim=(0, middle + len(second)))
    return figure


def scaling(_: object) -> Figure:
    """Time a state against qubits."""
    numbers = json.loads((FIGURES / "tutorial-scaling.json").read_text())
    figure, axes = _axes("qubits", "milliseconds a state", 7.6, 4.2)
    lines = {
        "quimb": ("quimb, one at a time", MUTED, "s-", 1.4),
        "mpsheads, with gradients": ("mpsheads, 64 at once, with gradients", TEAL, "^-", 1.4),
        "mpsheads": ("mpsheads, 64 at once", BLUE, "o-", 0.25),
    }
    qubits = [int(key) for key in numbers["qubits"]["mpsheads"]]
    for key, (name, color, style, offset) in lines.items():
        times = [1e3 * seconds for seconds in numbers["qubits"][key].values()]
        axes.plot(qubits, times, style, color=color)
        axes.text(qubits[-1], times[-1] * offset, name, color=color, ha="right")
    axes.set(xscale="log", yscale="log")
    axes.set_ylim(axes.get_ylim()[0] / 2, axes.get_ylim()[1] * 3)
    _plain_ticks(axes, qubits)
    return figure


DRAWN = {
    "tutorial-entropy": entropy,
    "tutorial-truncation": truncation,
    "tutorial-energies": energies,
    "tutorial-scaling": scaling,
}
"""The function that draws each figure, from the names that the page's code leaves."""


def draw_all(page: dict[str, Any], folder: Path) -> None:
    """Write every figure from the names that the page's code leaves."""
    with mpl.rc_context(STYLE):
        for name, draw in DRAWN.items():
            metadata = {"Date": None, "Creator": None}
            draw(page).savefig(folder / f"{name}.svg", metadata=metadata)


def _axes(x: str, y: str, width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y)
    return figure, axes


def _shaded(times: Sequence[float], rows: Sequence[Any]) -> Iterable[tuple[Any, float, Any]]:
    """Times and rows with colours from light to dark."""
    shades = mpl.colormaps["viridis_r"]
    last = len(times) - 1
    return [
        (shades(0.15 + 0.75 * i / last), t, row)
        for i, (t, row) in enumerate(zip(times, rows, strict=True))
    ]


def _plain_ticks(axes: Axes, values: Sequence[int]) -> None:
    """A logarithmic axis with plain numbers at the given places."""
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(FixedLocator([]))


def run_page() -> dict[str, Any]:
    """Run the code of the page, and return its names."""
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        exec(block, names)
    return names


if __name__ == "__main__":
    draw_all(run_page(), Path(sys.argv[1]) if len(sys.argv) > 1 else FIGURES)
