"""Entanglement of a head's states, bond by bond."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpsheads._optional import optional_import
from mpsheads._typing import PathLike
from mpsheads.mps import MPS
from mpsheads.plotting.learned import EntropyProfile, entropy_profile
from mpsheads.plotting.style import (
    BLUE,
    DOTTED,
    FONT,
    INK,
    QUIET,
    draw_panels,
    tidy,
    whole_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SPREAD = (0.05, 0.25, 0.5, 0.75, 0.95)
_UNIT = "entropy (bits)"


def entanglement_entropy(
    states: MPS | Iterable[MPS] | EntropyProfile,
    path: PathLike,
    *,
    kept_sites: Sequence[int] = (),
    subtitle: str = "",
) -> Path:
    """Draw the entanglement entropy of the bonds: by their place in a block, and by block.

    A register without bonds of dimension 1 is one chain: then the one panel has all its bonds.

    Args:
        states: What `head.state(x)` returns for some texts, several such batches, or the profile
            that `entropy_profile` makes of them.
        path: Where the picture goes; the ending, such as .png, .svg or .pdf, gives the format.
        kept_sites: The sites that are read out: `head.kept_sites`.
        subtitle: A quiet line, such as the name of the collection.

    Raises:
        ValueError: If there is no state, no bond that can be entangled, or the format is unknown.
        ImportError: If matplotlib is missing.
    """
    profile = _profile(states, kept_sites)
    panels = [partial(entanglement_entropy_on, profile)]
    if len(profile.blocks) > 1:
        panels.insert(0, partial(block_entropy_on, profile))
    title = "Entanglement inside the head"
    wide = 11.0 / len(panels)
    return draw_panels(panels, path, title=title, subtitle=subtitle, wide=wide, high=4.9)


def entanglement_entropy_on(
    states: MPS | Iterable[MPS] | EntropyProfile, axes: "Axes", *, kept_sites: Sequence[int] = ()
) -> None:
    """Draw the entropy along the register into axes of matplotlib: mean and spread over texts.

    Of a register in blocks, each block is shown at the bond that is most entangled on average; of
    a single chain, every bond. Arguments and errors are those of `entanglement_entropy`.
    """
    profile = _profile(states, kept_sites)
    in_blocks = len(profile.blocks) > 1
    values, limit = profile.entropies, profile.limits
    if in_blocks:
        values, limit = values[:, profile.strongest], limit[profile.strongest]
    title = "the strongest bond of each block" if in_blocks else "along the register"
    tidy(axes, title=title, xlabel="block" if in_blocks else "bond", ylabel=_UNIT)
    x = range(values.shape[1])
    low, high = np.quantile(values.numpy(), (_SPREAD[0], _SPREAD[-1]), axis=0)
    thick = min(7.0, 430 / len(x))
    bar = {"color": BLUE, "alpha": 0.3, "linewidth": thick, "label": "5% to 95% of texts"}
    axes.vlines(x, low, high, **bar)
    size = min(6.0, 2 + thick / 2)
    axes.plot(x, values.mean(dim=0), "o", color=BLUE, markersize=size, label="mean")
    axes.plot(x, limit, color=QUIET, linewidth=1.5, linestyle=DOTTED, label="limit")
    axes.set_xlim(-1, len(x))
    _heights(axes, float(limit.max()))
    whole_numbers(axes.xaxis, 7)
    axes.legend(
        loc="upper left",
        ncols=3,
        frameon=False,
        fontsize=FONT - 2,
        labelcolor=INK,
        borderpad=0,
        borderaxespad=0,
        columnspacing=1.0,
        handlelength=1.2,
        handletextpad=0.5,
    )


def block_entropy_on(
    states: MPS | Iterable[MPS] | EntropyProfile, axes: "Axes", *, kept_sites: Sequence[int] = ()
) -> None:
    """Draw the entropy by place in the block into axes of matplotlib, over texts and blocks.

    Arguments and errors are those of `entanglement_entropy`.
    """
    profile = _profile(states, kept_sites)
    xlabel = "bond, counted from the kept qubit"
    tidy(axes, title="entanglement inside the blocks", xlabel=xlabel, ylabel=_UNIT)
    bonds = profile.bonds_by_distance
    for place, inside in bonds.items():
        values = profile.entropies[:, inside].numpy()
        low, lower, middle, upper, high = np.quantile(values, _SPREAD)
        axes.vlines(place, low, high, color=BLUE, linewidth=1.6, zorder=2)
        axes.vlines(place, lower, upper, color=BLUE, linewidth=9, zorder=3)
        axes.plot(place, middle, "_", color="white", markersize=9, markeredgewidth=2, zorder=4)
        most = float(profile.limits[inside].max())
        limit = {"color": QUIET, "linewidth": 1.5, "linestyle": DOTTED}
        axes.hlines(most, place - 0.3, place + 0.3, **limit)
    words = "bar 50%, line 90% of texts; dotted: limit"
    place = {"transform": axes.transAxes, "va": "top"}
    axes.text(0, 1, words, fontsize=FONT - 2, color=INK, **place)
    _heights(axes, float(profile.limits.max()))
    axes.set_xlim(0.4, max(bonds) + 0.6)
    whole_numbers(axes.xaxis, 8)


def _heights(axes: Any, most: float) -> None:
    """From 0 to what is possible, with room for a line of text above."""
    axes.set_ylim(0, 1.17 * most)
    ticker = optional_import("matplotlib.ticker", "retrieval")
    ticks = ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(0, most)
    axes.set_yticks([tick for tick in ticks if tick <= most * (1 + 1e-6)])


def _profile(
    states: MPS | Iterable[MPS] | EntropyProfile, kept_sites: Sequence[int]
) -> EntropyProfile:
    if not isinstance(states, EntropyProfile):
        states = entropy_profile(states, kept_sites=kept_sites)
    if not states.limits.any():
        raise ValueError("`states` are products: no bond can carry entanglement.")
    return states
