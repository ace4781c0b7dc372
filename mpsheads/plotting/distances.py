"""Distances of relevant pairs against those of others, before and after compression."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mpsheads._typing import PathLike
from mpsheads.plotting.learned import PairDistances
from mpsheads.plotting.style import BLUE, DOTTED, FONT, INK, ORANGE, QUIET, draw_panels, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CELLS = 48
_SHOWN = (0.001, 0.999)  # of either sample; what lies beyond counts in the outermost cells


def distance_distributions(
    distances: Sequence[PairDistances], path: PathLike, *, subtitle: str = ""
) -> Path:
    """Draw distributions of distances side by side, such as before and after compression.

    Each panel states the overlap of the two distributions and the probability that a relevant pair
    is the closer one (AUC); a line marks the distance that separates them best.

    Args:
        distances: One for each panel.
        path: Where the picture goes; the ending, such as .png, .svg or .pdf, gives the format.
        subtitle: A quiet line, such as the name of the collection.

    Raises:
        ValueError: If there is nothing to draw, or the format is unknown.
        ImportError: If matplotlib is missing.
    """
    if not distances:
        raise ValueError("`distances` must hold at least one pair of distributions.")
    panels = [partial(distance_distributions_on, panel) for panel in distances]
    title = "Distances of relevant and of other pairs"
    return draw_panels(panels, path, title=title, subtitle=subtitle, wide=5.8, high=4.9)


def distance_distributions_on(distances: PairDistances, axes: "Axes") -> None:
    """Draw one pair of distributions into axes of matplotlib.

    Heights are densities: both areas are equal, whatever the numbers of pairs.
    """
    relevant, other = (x.double().numpy() for x in (distances.relevant, distances.other))
    ends = np.quantile(relevant, _SHOWN), np.quantile(other, _SHOWN)
    low, high = float(np.min(ends)), float(np.max(ends))
    low, high = (low, high) if low < high else (low - 0.5, high + 0.5)
    cells = np.linspace(low, high, _CELLS + 1)
    tidy(axes, title=distances.title, xlabel=distances.name)
    axes.grid(visible=False)
    axes.set_yticks([])
    tallest = 0.0
    for values, colour, name in (
        (other, ORANGE, "other pairs"),
        (relevant, BLUE, "relevant pairs"),
    ):
        density, _ = np.histogram(values.clip(low, high), cells, density=True)
        tallest = max(tallest, float(density.max()))
        axes.stairs(density, cells, fill=True, color=colour, alpha=0.3)
        axes.stairs(density, cells, color=colour, linewidth=1.8, label=name)
    axes.axvline(distances.threshold, ymax=0.66, color=QUIET, linewidth=1.3, linestyle=DOTTED)
    axes.set_ylim(0, 1.5 * tallest)
    axes.set_xlim(low, high)
    within = distances.auc_within_queries
    lines = [f"overlap {distances.overlap:.3f}", f"AUC {distances.auc:.3f}"]
    lines += [] if within is None else [f"within queries {within:.3f}"]
    place = {"transform": axes.transAxes, "ha": "right", "va": "top", "linespacing": 1.4}
    axes.text(0.985, 0.98, "\n".join(lines), fontsize=FONT - 1, color=INK, **place)
    axes.legend(
        loc="upper left",
        reverse=True,
        frameon=False,
        fontsize=FONT - 1,
        labelcolor="linecolor",
        borderpad=0,
        handlelength=0,
        handletextpad=0,
    )
