"""Entanglement of a head's states, bond by bond."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mpsheads._checks import check_choice
from mpsheads._typing import PathLike
from mpsheads.mps import MPS
from mpsheads.plotting.learned import EntropyProfile, entropy_profile
from mpsheads.plotting.style import BLUE, DOTTED, FONT, INK, QUIET, draw_panels, tidy, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SPREAD = (0.05, 0.25, 0.5, 0.75, 0.95)
_TITLES = {
    "place": ("entanglement inside the blocks", "bond, counted from the kept qubit"),
    "block": ("the strongest bond of each block", "block"),
    "bond": ("entanglement along the register", "bond"),
}
States = MPS | Iterable[MPS] | EntropyProfile
"""What `head.state(x)` returns for some texts, several such batches, or their profile."""


def entanglement_entropy(
    states: States, path: PathLike, *, kept_sites: Sequence[int] = (), subtitle: str = ""
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
    by = ("place", "block") if len(profile.blocks) > 1 else ("bond",)
    panels = [partial(entanglement_entropy_on, profile, by=each) for each in by]
    look = {"title": "Entanglement inside the head", "wide": 11 / len(by), "high": 4.9}
    return draw_panels(panels, path, subtitle=subtitle, **look)


def entanglement_entropy_on(
    states: States, axes: "Axes", *, by: str = "bond", kept_sites: Sequence[int] = ()
) -> None:
    """Draw entropies into axes of matplotlib: bars of half, lines of 90% of the texts.

    Args:
        states: As in `entanglement_entropy`, and so are `kept_sites` and the errors.
        axes: Where.
        by: "place" in the block, over all blocks; "block", each at the bond that is most entangled
            on average; or "bond".
        kept_sites: The sites that are read out.
    """
    check_choice("by", by, tuple(_TITLES))
    profile = _profile(states, kept_sites)
    groups: dict[int, list[int]] = {bond: [bond] for bond in range(len(profile.limits))}
    if by == "place":
        groups = profile.bonds_by_distance
    elif by == "block":
        groups = {block: [bond] for block, bond in enumerate(profile.strongest)}
    title, xlabel = _TITLES[by]
    tidy(axes, title=title, xlabel=xlabel, ylabel="entropy (bits)")
    wide = min(9.0, 300 / len(groups))
    for place, bonds in groups.items():
        low, lower, middle, upper, high = np.quantile(profile.entropies[:, bonds].numpy(), _SPREAD)
        axes.vlines(place, low, high, color=BLUE, linewidth=min(1.6, wide / 3), zorder=2)
        axes.vlines(place, lower, upper, color=BLUE, linewidth=wide, zorder=3)
        if wide > 4:
            axes.plot(place, middle, "_", color="white", ms=9, mew=2, zorder=4)
        most = float(profile.limits[bonds].max())
        line = {"color": QUIET, "linewidth": 1.5, "linestyle": DOTTED}
        axes.hlines(most, place - 0.4, place + 0.4, **line)
    most = float(profile.limits.max())
    words = "bar 50%, line 90% of texts; dotted: limit"
    axes.text(0, 1, words, transform=axes.transAxes, va="top", fontsize=FONT - 2, color=INK)
    axes.set_ylim(0, 1.17 * most)
    axes.set_xlim(min(groups) - 0.6, max(groups) + 0.6)
    whole_numbers(axes.xaxis, 7)


def _profile(states: States, kept_sites: Sequence[int]) -> EntropyProfile:
    if not isinstance(states, EntropyProfile):
        states = entropy_profile(states, kept_sites=kept_sites)
    if not states.limits.any():
        raise ValueError("`states` are products: no bond can carry entanglement.")
    return states
