"""Entanglement of a head's states, bond by bond."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mpsheads._optional import optional_import
from mpsheads._typing import PathLike
from mpsheads.mps import MPS
from mpsheads.plotting.learned import EntropyProfile, entropy_profile, quantiles
from mpsheads.plotting.quality import check_format
from mpsheads.plotting.style import (
    BLUE,
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

_SPREAD = (0.05, 0.25, 0.5, 0.75, 0.95)
_UNIT = "entropy (bits)"
_DOTTED = (0, (1, 2))


def entanglement_entropy(
    states: MPS | Iterable[MPS] | EntropyProfile,
    path: PathLike,
    *,
    kept_sites: Sequence[int] = (),
    title: str = "Entanglement inside the head",
    subtitle: str = "",
) -> Path:
    """Draw the entanglement entropy of the bonds: by their place in a block, and by block.

    A register without bonds of dimension 1 is one chain: then the one panel has all its bonds.

    Args:
        states: What `head.state(x)` returns for some texts, several such batches, or the profile
            that `entropy_profile` makes of them.
        path: Where the picture goes; the ending, such as .png, .svg or .pdf, gives the format. It
            appears when it is complete.
        kept_sites: The sites that are read out: `head.kept_sites`.
        title: Heading.
        subtitle: A second, quieter line, such as the name of the collection.

    Returns:
        The path.

    Raises:
        ValueError: If there is no state, no bond, or the format is unknown.
        ImportError: If matplotlib is missing.
    """
    check_format(Path(path))
    profile = _profile(states, kept_sites)
    figure = new_figure(title, subtitle)
    if len(profile.blocks) == 1:
        entanglement_entropy_on(profile, figure.add_axes((0.085, 0.145, 0.89, 0.6)))
    else:
        block_entropy_on(profile, figure.add_axes((0.085, 0.145, 0.34, 0.6)))
        entanglement_entropy_on(profile, figure.add_axes((0.525, 0.145, 0.45, 0.6)))
    return save_figure(figure, path)


def entanglement_entropy_on(
    states: MPS | Iterable[MPS] | EntropyProfile, axes: "Axes", *, kept_sites: Sequence[int] = ()
) -> None:
    """Draw the entropy along the register into axes of matplotlib: mean and spread over texts.

    Of a register in blocks, each block is shown at the bond that is most entangled on average; of
    a single chain, every bond.

    Args:
        states: As in `entanglement_entropy`.
        axes: Where.
        kept_sites: The sites that are read out.

    Raises:
        ValueError: If there is no bond.
    """
    profile = _profile(states, kept_sites)
    in_blocks = len(profile.blocks) > 1
    values = profile.strongest if in_blocks else profile.entropies
    limits = [max(profile.limits[list(b[:-1])]) for b in profile.blocks if len(b) > 1]
    limit = torch.stack(limits) if in_blocks else profile.limits
    tidy(
        axes,
        title="the strongest bond of each block" if in_blocks else "along the register",
        xlabel="block" if in_blocks else "bond",
        ylabel=_UNIT,
    )
    x = range(values.shape[1])
    low, high = quantiles(values, (_SPREAD[0], _SPREAD[-1]))
    thick = min(7.0, 430 / len(x))
    spread = "5% to 95% of texts"
    axes.vlines(x, low, high, color=BLUE, alpha=0.3, linewidth=thick, label=spread)
    axes.plot(
        x, values.mean(dim=0), "o", color=BLUE, markersize=min(6.0, 2 + thick / 2), label="mean"
    )
    axes.plot(x, limit, color=QUIET, linewidth=1.5, linestyle=_DOTTED, label="limit")
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

    Args:
        states: As in `entanglement_entropy`.
        axes: Where.
        kept_sites: The sites that are read out.

    Raises:
        ValueError: If there is no bond.
    """
    profile = _profile(states, kept_sites)
    places = profile.by_distance
    limits = EntropyProfile(profile.limits[None], profile.limits, profile.kept_sites).by_distance
    tidy(
        axes,
        title="inside the blocks",
        xlabel="bond, counted from the kept qubit",
        ylabel=_UNIT,
    )
    for distance, values in places.items():
        low, lower, middle, upper, high = (float(q) for q in quantiles(values.flatten(), _SPREAD))
        axes.plot([distance] * 2, [low, high], color=BLUE, linewidth=1.6, zorder=2)
        axes.plot(
            [distance] * 2, [lower, upper], color=BLUE, linewidth=9, solid_capstyle="butt", zorder=3
        )
        axes.plot(distance, middle, "_", color="white", markersize=9, markeredgewidth=2, zorder=4)
        most = float(limits[distance].max())
        axes.plot(
            [distance - 0.3, distance + 0.3],
            [most] * 2,
            color=QUIET,
            linewidth=1.5,
            linestyle=_DOTTED,
        )
    axes.text(
        0,
        1,
        "bar 50%, line 90% of texts; dotted: limit",
        transform=axes.transAxes,
        va="top",
        fontsize=FONT - 2,
        color=INK,
    )
    _heights(axes, float(profile.limits.max()))
    axes.set_xlim(0.4, max(places) + 0.6)
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
