"""The outputs of a head: which values they take."""

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from mpsheads._checks import check_finite
from mpsheads._typing import PathLike
from mpsheads.plotting.style import BLUE, COLOUR_MAP, draw_panels, tidy, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CELLS = 40


def angle_histogram(z: Tensor, path: PathLike, *, subtitle: str = "") -> Path:
    """Draw which values the outputs take: for each output, and over all.

    Args:
        z: Outputs of a head for some texts, `(texts, outputs)`.
        path: Where the picture goes; the ending, such as .png, .svg or .pdf, gives the format.
        subtitle: A quiet line, such as the name of the collection.

    Raises:
        ValueError: If `z` is no matrix or not finite, or the format is unknown.
        ImportError: If matplotlib is missing.
    """
    panels = [partial(angle_map_on, z), partial(angle_histogram_on, z)]
    return draw_panels(panels, path, title="What the outputs are", subtitle=subtitle)


def angle_map_on(z: Tensor, axes: "Axes") -> None:
    """Draw the histogram of each output into axes of matplotlib, as columns of a heat map.

    `z` is that of `angle_histogram`.
    """
    values, edges = _values(z)
    counts = np.stack([np.histogram(column, edges)[0] for column in values.T], axis=1)
    tidy(axes, title="outputs, one by one", xlabel="output", ylabel="value")
    axes.grid(visible=False)
    axes.imshow(
        counts,
        vmin=0,
        vmax=float(np.quantile(counts[counts > 0], 0.995)),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap=COLOUR_MAP,
        extent=(-0.5, counts.shape[1] - 0.5, edges[0], edges[-1]),
    )
    axes.set_yticks(*_ticks(edges))
    whole_numbers(axes.xaxis, 7)


def angle_histogram_on(z: Tensor, axes: "Axes") -> None:
    """Draw the histogram over all outputs and texts into axes of matplotlib.

    `z` is that of `angle_histogram`.
    """
    values, edges = _values(z)
    counts, _ = np.histogram(values, edges)
    tidy(axes, title="all outputs", xlabel="value", ylabel="% of outputs")
    axes.stairs(100 * counts / counts.sum(), edges, fill=True, color=BLUE)
    axes.set_xticks(*_ticks(edges))
    axes.set_xlim(edges[0], edges[-1])


def _values(z: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The outputs and the edges of the cells: 0 to pi of angles that fill half of that."""
    if z.ndim != 2 or 0 in z.shape:
        raise ValueError(f"`z` must have shape (texts, outputs), got {tuple(z.shape)}.")
    check_finite("z", z)
    low, high = float(z.min()), float(z.max())
    if low >= 0 and math.pi / 2 < high - low and high <= math.pi + 1e-5:
        low, high = 0.0, math.pi
    elif low == high:
        low, high = low - 0.5, high + 0.5
    values = z.detach().cpu().double().numpy()
    return values.clip(low, high), np.linspace(low, high, _CELLS + 1)


def _ticks(edges: np.ndarray) -> tuple[list[float], list[str]]:
    low, high = float(edges[0]), float(edges[-1])
    places = [low, (low + high) / 2, high]
    if (low, high) == (0.0, math.pi):
        return places, ["0", "π/2", "π"]
    return places, [f"{place:.3g}" for place in places]
