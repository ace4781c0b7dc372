"""Distances of relevant pairs against those of others, before and after compression."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mpsheads._typing import PathLike
from mpsheads.plotting.learned import PairDistances, quantiles
from mpsheads.plotting.quality import check_format
from mpsheads.plotting.style import BLUE, FONT, INK, ORANGE, QUIET, new_figure, save_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CELLS = 48
_SHOWN = (0.001, 0.999)  # of either sample; what lies beyond counts in the outermost cells
_RELEVANT, _OTHER = "relevant pairs", "other pairs"


def distance_distributions(
    distances: Sequence[PairDistances],
    path: PathLike,
    *,
    title: str = "Distances of relevant and of other pairs",
    subtitle: str = "",
) -> Path:
    """Draw distributions of distances side by side, such as before and after compression.

    Each panel states the overlap of the two distributions and the probability that a relevant pair
    is the closer one (AUC); a line marks the distance that separates them best.

    Args:
        distances: One for each panel.
        path: Where the picture goes; the ending, such as .png, .svg or .pdf, gives the format. It
            appears when it is complete.
        title: Heading.
        subtitle: A second, quieter line, such as the name of the collection.

    Returns:
        The path.

    Raises:
        ValueError: If there is nothing to draw, or the format is unknown.
        ImportError: If matplotlib is missing.
    """
    check_format(Path(path))
    if not distances:
        raise ValueError("`distances` must hold at least one pair of distributions.")
    width = 0.98 / len(distances)
    figure = new_figure(title, subtitle, width=max(11.0, 5.5 * len(distances)))
    for place, panel in enumerate(distances):
        axes = figure.add_axes((0.02 + place * width, 0.155, width - 0.04, 0.585))
        distance_distributions_on(panel, axes)
    return save_figure(figure, path)


def distance_distributions_on(distances: PairDistances, axes: "Axes") -> None:
    """Draw one pair of distributions into axes of matplotlib.

    Args:
        distances: The distances.
        axes: Where. Heights are densities: both areas are equal, whatever the numbers of pairs.
    """
    samples = (distances.relevant, distances.other)
    ends = [[float(q) for q in quantiles(sample, _SHOWN)] for sample in samples]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    low, high = (low, high) if low < high else (low - 0.5, high + 0.5)
    cells = np.linspace(low, high, _CELLS + 1)
    tidy(axes, title=distances.title, xlabel=distances.name)
    axes.grid(visible=False)
    axes.set_yticks([])
    tallest = 0.0
    for values, colour, name in (
        (distances.other, ORANGE, _OTHER),
        (distances.relevant, BLUE, _RELEVANT),
    ):
        density, _ = np.histogram(values.double().clamp(low, high).numpy(), cells, density=True)
        tallest = max(tallest, float(density.max()))
        axes.stairs(density, cells, fill=True, color=colour, alpha=0.3)
        axes.stairs(density, cells, color=colour, linewidth=1.8, label=name)
    axes.axvline(distances.threshold, ymax=0.66, color=QUIET, linewidth=1.3, linestyle=(0, (1, 2)))
    axes.set_ylim(0, 1.5 * tallest)
    axes.set_xlim(low, high)
    within = distances.auc_within_queries
    lines = [f"overlap {distances.overlap:.3f}", f"AUC {distances.auc:.3f}"]
    lines += [] if within is None else [f"within queries {within:.3f}"]
    axes.text(
        0.985,
        0.98,
        "\n".join(lines),
        transform=axes.transAxes,
        ha="right",
        va="top",
        fontsize=FONT - 1,
        color=INK,
        linespacing=1.4,
    )
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
