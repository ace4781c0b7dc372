"""The outputs of a head: which values they take, and how many bits of a code they use."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mpsheads._typing import PathLike
from mpsheads.plotting.learned import CODE_BITS, cell_counts, code_entropy, too_few
from mpsheads.plotting.quality import check_format
from mpsheads.plotting.style import (
    BLUE,
    COLOUR_MAP,
    FONT,
    INK,
    QUIET,
    new_figure,
    save_figure,
    tidy,
    whole_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CELLS = 40
Bits = Sequence[int] | Mapping[int, tuple[float, float]]
"""Widths of codes, perhaps with the range that the cells of each fill."""
_ANGLES = {0.0: "0", math.pi / 2: "π/2", math.pi: "π"}


def angle_histogram(
    z: Tensor,
    path: PathLike,
    *,
    bits: Bits = CODE_BITS,
    low: float = 0.0,
    high: float = math.pi,
    name: str = "angle",
    title: str = "What the outputs are",
    subtitle: str = "",
) -> Path:
    """Draw which values the outputs take: for each output, over all, and the bits of codes in use.

    Args:
        z: Outputs of a head for some texts, `(texts, outputs)`.
        path: Where the picture goes; the ending, such as .png, .svg or .pdf, gives the format. It
            appears when it is complete.
        bits: Widths of codes whose use is shown; none leaves that panel out. A mapping gives the
            range that the cells of each fill, where it is another.
        low: Lower end of the range of an output: 0 for angles, -1 for Bloch components.
        high: Upper end: pi for angles, 1 for Bloch components.
        name: What an output is.
        title: Heading.
        subtitle: A second, quieter line, such as the name of the collection.

    Returns:
        The path.

    Raises:
        ValueError: If `z` is no matrix, a width of codes is not from 1 to 8, the range is empty, or
            the format is unknown.
        ImportError: If matplotlib is missing.
    """
    check_format(Path(path))
    figure = new_figure(title, subtitle)
    right = 0.6 if bits else 0.84
    left_axes = figure.add_axes((0.075, 0.145, right - 0.155, 0.6))
    angle_map_on(z, left_axes, low=low, high=high, name=name)
    middle = figure.add_axes((right - 0.06, 0.145, 0.17, 0.6))
    angle_histogram_on(z, middle, low=low, high=high, sideways=True)
    middle.tick_params(labelleft=False)
    if bits:
        code_bits_on(z, figure.add_axes((0.79, 0.145, 0.19, 0.6)), bits=bits, low=low, high=high)
    return save_figure(figure, path)


def angle_map_on(
    z: Tensor, axes: "Axes", *, low: float = 0.0, high: float = math.pi, name: str = "angle"
) -> None:
    """Draw the histogram of each output into axes of matplotlib, as columns of a heat map.

    Args:
        z: Outputs of a head for some texts, `(texts, outputs)`.
        axes: Where.
        low: Lower end of the range of an output.
        high: Upper end.
        name: What an output is.

    Raises:
        ValueError: If `z` is no matrix, or the range is empty.
    """
    counts = cell_counts(z, _CELLS, low=low, high=high)
    tidy(axes, title="of each output", xlabel="output", ylabel=name)
    axes.grid(visible=False)
    axes.imshow(
        counts.T.numpy(),
        vmin=0,
        vmax=float(torch.quantile(counts[counts > 0].float(), 0.995)),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap=COLOUR_MAP,
        extent=(-0.5, len(counts) - 0.5, low, high),
    )
    _range_ticks(axes, "y", low, high)
    whole_numbers(axes.xaxis, 7)


def angle_histogram_on(
    z: Tensor,
    axes: "Axes",
    *,
    low: float = 0.0,
    high: float = math.pi,
    name: str = "",
    sideways: bool = False,
) -> None:
    """Draw the histogram over all outputs and texts into axes of matplotlib.

    Args:
        z: Outputs of a head for some texts, `(texts, outputs)`.
        axes: Where.
        low: Lower end of the range of an output.
        high: Upper end.
        name: Label of the axis of values.
        sideways: Values go upwards, as beside a heat map.

    Raises:
        ValueError: If `z` is no matrix, or the range is empty.
    """
    counts = cell_counts(z, _CELLS, low=low, high=high).sum(dim=0)
    share = (counts / counts.sum() * 100).tolist()
    step = (high - low) / _CELLS
    places = [low + (i + 0.5) * step for i in range(_CELLS)]
    labels = ("% of outputs", name) if sideways else (name, "% of outputs")
    tidy(axes, title="over all", xlabel=labels[0], ylabel=labels[1])
    if sideways:
        axes.barh(places, share, height=step, color=BLUE, linewidth=0)
        axes.grid(visible=False)
        axes.set_xlim(0, 1.08 * max(share))
        whole_numbers(axes.xaxis, 3)
    else:
        axes.bar(places, share, width=step, color=BLUE, linewidth=0)
    _range_ticks(axes, "y" if sideways else "x", low, high)


def code_bits_on(
    z: Tensor,
    axes: "Axes",
    *,
    bits: Bits = CODE_BITS,
    low: float = 0.0,
    high: float = math.pi,
) -> None:
    """Draw into axes of matplotlib how many bits of a code the outputs use.

    A bar is the mean over outputs of `code_entropy`, its line reaches from the 5% to the 95%
    quantile, and the outline is the width of the code. "≥" marks what too few texts leave too low.

    Args:
        z: Outputs of a head for some texts, `(texts, outputs)`.
        axes: Where.
        bits: Widths of the codes. A mapping gives the range that the cells of each fill.
        low: Lower end of the range of an output.
        high: Upper end.

    Raises:
        ValueError: If `z` is no matrix, a width is not from 1 to 8, or the range is empty.
    """
    tidy(axes, title="bits in use", xlabel="bits of a code")
    for place, width in enumerate(bits):
        first, last = bits[width] if isinstance(bits, Mapping) else (low, high)
        used = code_entropy(z, width, low=first, high=last)
        mean = float(used.mean())
        ends = torch.quantile(used, used.new_tensor([0.05, 0.95])).tolist()
        axes.bar(place, width, width=0.72, color="#ECEEF1", edgecolor=QUIET, linewidth=1)
        axes.bar(place, mean, width=0.72, color=BLUE, linewidth=0)
        axes.plot([place] * 2, ends, color=INK, linewidth=1.6)
        sign = "≥" if too_few(len(z), width) else ""
        axes.text(
            place,
            width + 0.12,
            f"{sign}{mean:.1f}",
            ha="center",
            va="bottom",
            fontsize=FONT,
            color=INK,
        )
    axes.set_xticks(range(len(bits)), [str(width) for width in bits])
    axes.set_ylim(0, 1.12 * max(bits))
    whole_numbers(axes.yaxis, 5)


def _range_ticks(axes: Any, which: str, low: float, high: float) -> None:
    ends = {low: f"{low:.3g}", (low + high) / 2: f"{(low + high) / 2:.3g}", high: f"{high:.3g}"}
    ticks = _ANGLES if (low, high) == (0.0, math.pi) else ends
    getattr(axes, f"set_{which}ticks")(list(ticks), list(ticks.values()))
    getattr(axes, f"set_{which}lim")(low, high)
