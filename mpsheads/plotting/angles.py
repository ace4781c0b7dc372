"""The outputs of a head: which values they take, and how many bits of a code they use."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mpsheads._typing import PathLike
from mpsheads.plotting.style import (
    BLUE,
    COLOUR_MAP,
    FONT,
    INK,
    QUIET,
    draw_panels,
    tidy,
    whole_numbers,
)
from mpsheads.similarity import Codes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CELLS = 40


def angle_histogram(
    z: Tensor, path: PathLike, *, codes: Sequence[Codes] = (), subtitle: str = ""
) -> Path:
    """Draw which values the outputs take: for each output, over all, and the bits of codes in use.

    Args:
        z: Outputs of a head for some texts, `(texts, outputs)`.
        path: Where the picture goes; the ending, such as .png, .svg or .pdf, gives the format.
        codes: The same in codes: `[head.quantize(z, bits) for bits in (8, 4, 2, 1)]`.
        subtitle: A quiet line, such as the name of the collection.

    Raises:
        ValueError: If `z` is no matrix, or the format is unknown.
        ImportError: If matplotlib is missing.
    """
    panels = [partial(angle_map_on, z), partial(angle_histogram_on, z)]
    panels += [partial(code_bits_on, codes)] if codes else []
    return draw_panels(panels, path, title="What the outputs are", subtitle=subtitle, high=4.9)


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


def code_bits_on(codes: Sequence[Codes], axes: "Axes") -> None:
    """Draw into axes of matplotlib how many bits of each code the outputs use.

    A bar is the mean over outputs of `code_entropy`, its line reaches from the 5% to the 95%
    quantile, and the outline is the width of the code. "≥" marks what too few texts leave too low.
    `codes` are those of `angle_histogram`.
    """
    tidy(axes, title="bits in use", xlabel="bits of a code")
    for place, code in enumerate(codes):
        used = code_entropy(code).numpy()
        few = len(code) < 4 * 2**code.bits  # cells may be empty by chance
        axes.bar(place, code.bits, width=0.72, color="#ECEEF1", edgecolor=QUIET, linewidth=1)
        axes.bar(place, used.mean(), width=0.72, color=BLUE, linewidth=0)
        axes.vlines(place, *np.quantile(used, (0.05, 0.95)), color=INK, linewidth=1.6)
        words = f"{'≥' * few}{used.mean():.1f}"
        look = {"ha": "center", "va": "bottom", "fontsize": FONT, "color": INK}
        axes.text(place, code.bits + 0.12, words, **look)
    axes.set_xticks(range(len(codes)), [str(code.bits) for code in codes])
    axes.set_ylim(0, 1.12 * max(code.bits for code in codes))
    whole_numbers(axes.yaxis, 5)


def _values(z: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The outputs and the edges of the cells: 0 to pi of angles that fill half of that."""
    if z.ndim != 2 or 0 in z.shape:
        raise ValueError(f"`z` must have shape (texts, outputs), got {tuple(z.shape)}.")
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


def code_entropy(codes: Codes) -> Tensor:
    """How many bits the codes of each output carry.

    The entropy of how often each of the 2**bits cells is hit, per output: `bits` if all are hit
    equally, 0 if it is always the same one. Corrected for the finite sample (Miller 1955), since
    few texts hit few cells; still too low for fewer than about 4 * 2**bits texts.

    Args:
        codes: Of a head's outputs for some texts: `head.quantize(z, bits)`.

    Returns:
        `(outputs,)`, in bits, from 0 to `codes.bits`.
    """
    cells = codes.numbers().cpu().long().T
    counts = torch.zeros(codes.width, 2**codes.bits, dtype=torch.float64)
    counts.scatter_add_(1, cells, torch.ones_like(cells, dtype=torch.float64))
    missed = ((counts > 0).sum(dim=1) - 1) / (2 * len(codes))
    entropy = torch.special.entr(counts / len(codes)).sum(dim=1) + missed
    return (entropy / math.log(2)).clamp(max=codes.bits)
