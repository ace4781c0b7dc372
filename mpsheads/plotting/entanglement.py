"""Entanglement of a head's states, bond by bond: its numbers and its panels."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mpsheads._typing import PathLike
from mpsheads.mps import MPS, entanglement_entropy
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
_TITLES = {
    "place": ("entanglement inside the blocks", "bond, counted from the kept qubit"),
    "block": ("the strongest bond of each block", "block"),
    "bond": ("entanglement along the register", "bond"),
}


@dataclass(frozen=True)
class EntropyProfile:
    """Entanglement of every bond of a register, over a sample of texts.

    Attributes:
        entropies: `(texts, bonds)`: von Neumann entropy of the two sides of each bond, in bits.
        limits: `(bonds,)`: the most that the bond dimension allows, in bits.
    """

    entropies: Tensor
    limits: Tensor

    @property
    def blocks(self) -> list[list[int]]:
        """The bonds of each block of two qubits or more; between blocks, limits are 0."""
        limits = enumerate(self.limits.tolist())
        groups = groupby(limits, key=lambda bond_and_limit: bond_and_limit[1] > 0)
        return [[bond for bond, _ in bonds] for inside, bonds in groups if inside]

    def groups(self, by: str) -> dict[int, list[int]]:
        """Places on the horizontal axis of a panel -> the bonds that are shown there."""
        if by == "bond":
            return {bond: [bond] for bond in range(len(self.limits))}
        if by == "block":
            mean = self.entropies.mean(dim=0).tolist()
            return {i: [max(block, key=mean.__getitem__)] for i, block in enumerate(self.blocks)}
        longest = max(map(len, self.blocks))
        return {
            place: [block[-place] for block in self.blocks if len(block) >= place]
            for place in range(1, longest + 1)  # the kept qubit is the last of its block
        }


def entropy_profile(states: MPS | Iterable[MPS]) -> EntropyProfile:
    """The entanglement entropy of every bond of a batch of states, or of several batches.

    Args:
        states: What `head.state(x)` returns, or several of them for many texts.

    Cost: that of `mpsheads.mps.entanglement_entropy`, one batch at a time.
    """
    batches = [states] if isinstance(states, MPS) else list(states)
    entropies = [entanglement_entropy(batch, base=2).detach().cpu() for batch in batches]
    dims = torch.tensor([batch.bond_dims for batch in batches]).amax(dim=0)
    return EntropyProfile(torch.cat(entropies), dims.double().log2())


def draw_entropies(profile: EntropyProfile, path: PathLike, *, subtitle: str = "") -> Path:
    """Draw the entropies of a profile: inside the blocks and of each block, or of every bond.

    Args:
        profile: What `entropy_profile` makes of states.
        path: Where the picture goes; the ending, such as .png, .svg or .pdf, gives the format.
        subtitle: A quiet line, such as the name of the collection.

    Raises:
        ValueError: If no bond can be entangled, or the format is unknown.
        ImportError: If matplotlib is missing.
    """
    panels = [partial(entropy_on, profile, by=by) for by in ("place", "block")]
    if len(profile.blocks) < 2:
        panels = [partial(entropy_on, profile)]
    title, wide = "Entanglement inside the head", 11.4 / len(panels)
    return draw_panels(panels, path, title=title, subtitle=subtitle, wide=wide)


def entropy_on(profile: EntropyProfile, axes: "Axes", *, by: str = "bond") -> None:
    """Draw entropies into axes of matplotlib: bars of half, lines of 90% of the texts.

    Args:
        profile: What `entropy_profile` makes of states.
        axes: Where.
        by: "place" in the block, over all blocks; "block", each at the bond that is most entangled
            on average; or "bond".

    Raises:
        ValueError: If no bond can be entangled.
    """
    if not profile.limits.any():
        raise ValueError("`profile` is that of products: no bond can carry entanglement.")
    groups = profile.groups(by)
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
    words = "bar 50%, line 90% of texts; dotted: limit"
    axes.text(0, 1, words, transform=axes.transAxes, va="top", fontsize=FONT - 2, color=INK)
    axes.set_ylim(0, 1.17 * float(profile.limits.max()))
    axes.set_xlim(min(groups) - 0.6, max(groups) + 0.6)
    whole_numbers(axes.xaxis, 7)
