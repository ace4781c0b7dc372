"""Distances of relevant pairs against those of others, before and after compression."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mpsheads._optional import optional_import
from mpsheads.plotting.style import BLUE, DOTTED, FONT, INK, ORANGE, QUIET, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CELLS = 48
_SHOWN = (0.001, 0.999)  # of either sample; what lies beyond counts in the outermost cells


@dataclass(frozen=True)
class PairDistances:
    """Distances of queries to documents that are relevant to them, and to others.

    Attributes:
        name: What is measured, such as `"1 - cosine"`.
        relevant: For each query, `(documents,)`: distances of its relevant pairs, small is close.
        other: For each query the same of its other pairs.
        title: Which vectors these are, such as `"before: 384 numbers"`.
    """

    name: str
    relevant: Sequence[Tensor]
    other: Sequence[Tensor]
    title: str = ""

    @property
    def auc(self) -> float:
        """Probability that a relevant pair is closer than another one; ties count half."""
        return _auc(torch.cat(list(self.relevant)), torch.cat(list(self.other)))

    @property
    def auc_within_queries(self) -> float:
        """The same among pairs of one query, averaged over queries: all that a ranking sees."""
        return float(np.mean([*map(_auc, self.relevant, self.other)]))

    @property
    def separation(self) -> tuple[float, float]:
        """The distance that separates best, and the overlap: the share of errors at it, in [0, 1].

        The overlap is the share of relevant pairs beyond the threshold plus that of others within
        it: the area that two densities share if they cross once. By the one-sided test of
        Kolmogorov and Smirnov.
        """
        stats = optional_import("scipy.stats", "retrieval")
        samples = (torch.cat(list(parts)).double().numpy() for parts in (self.relevant, self.other))
        test = stats.ks_2samp(*samples, alternative="greater", method="asymp")
        return float(test.statistic_location), 1.0 - float(test.statistic)


def _auc(relevant: Tensor, other: Tensor) -> float:
    """By the statistic of Mann and Whitney: how many pairs of the two are in order."""
    stats = optional_import("scipy.stats", "retrieval")
    x, y = other.double().numpy(), relevant.double().numpy()
    return float(stats.mannwhitneyu(x, y, method="asymptotic").statistic) / (len(x) * len(y))


def distances_on(distances: PairDistances, axes: "Axes") -> None:
    """Draw the distributions of relevant and of other pairs into axes of matplotlib.

    Heights are densities: both areas are equal, whatever the numbers of pairs. The panel states
    the overlap and the probability that a relevant pair is the closer one (AUC); a line marks the
    distance that separates them best.
    """
    relevant, other = (
        torch.cat(list(parts)).double().numpy() for parts in (distances.relevant, distances.other)
    )
    ends = np.quantile(relevant, _SHOWN), np.quantile(other, _SHOWN)
    low, high = float(np.min(ends)), float(np.max(ends))
    low, high = (low, high) if low < high else (low - 0.5, high + 0.5)
    tidy(axes, title=distances.title, xlabel=distances.name)
    axes.grid(visible=False)
    axes.set_yticks([])
    samples = ((other, ORANGE, "other pairs", 0.89), (relevant, BLUE, "relevant pairs", 0.98))
    for values, colour, name, height in samples:
        look = {"range": (low, high), "density": True, "color": colour}
        axes.hist(values.clip(low, high), _CELLS, histtype="stepfilled", alpha=0.3, **look)
        axes.hist(values.clip(low, high), _CELLS, histtype="step", lw=1.8, **look)
        text = {"color": colour, "va": "top", "transform": axes.transAxes}
        axes.text(0.02, height, name, fontsize=FONT - 1, **text)
    threshold, overlap = distances.separation
    axes.axvline(threshold, ymax=0.66, color=QUIET, linewidth=1.3, linestyle=DOTTED)
    axes.set_ylim(0, 1.45 * axes.get_ylim()[1])
    axes.set_xlim(low, high)
    words = (
        f"overlap {overlap:.3f}\nAUC {distances.auc:.3f}\n"
        f"within queries {distances.auc_within_queries:.3f}"
    )
    place = {"transform": axes.transAxes, "ha": "right", "va": "top", "linespacing": 1.4}
    axes.text(0.985, 0.98, words, fontsize=FONT - 1, color=INK, **place)
