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
from mpsheads.plotting.style import BLUE, DOTTED, FONT, INK, QUIET, draw_panels, tidy, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SPREAD = (0.05, 0.25, 0.5, 0.75, 0.95)


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

    @property
    def groups(self) -> dict[int, list[int]]:
        """Places on the horizontal axis -> the bonds that are shown there.

        Of several blocks the bonds are counted from the kept qubit, the last of each; else every
        bond has a place.
        """
        if len(self.blocks) < 2:
            return {bond: [bond] for bond in range(len(self.limits))}
        return {
            place: [block[-place] for block in self.blocks if len(block) >= place]
            for place in range(1, max(map(len, self.blocks)) + 1)
        }


def entropy_profile(states: MPS | Iterable[MPS]) -> EntropyProfile:
    """The entanglement entropy of every bond of a batch of states, or of several batches.

    Args:
        states: What `head.state(x)` returns, or several of them for many texts.

    Raises:
        ValueError: If there is no batch, or one has another number of sites.

    Cost: that of `mpsheads.mps.entanglement_entropy`, one batch at a time.
    """
    batches = [states] if isinstance(states, MPS) else list(states)
    if len(numbers := {batch.n_sites for batch in batches}) != 1:
        raise ValueError(f"`states` must have one number of sites, got {sorted(numbers)}.")
    entropies = [entanglement_entropy(batch, base=2).detach().cpu() for batch in batches]
    dims = torch.tensor([batch.bond_dims for batch in batches]).amax(dim=0)
    return EntropyProfile(torch.cat(entropies), dims.double().log2())


def draw_entropies(profile: EntropyProfile, path: PathLike, *, subtitle: str = "") -> Path:
    """Draw the entropies of a profile, as `entropy_on` does.

    Args:
        profile: What `entropy_profile` makes of states.
        path: Where the picture goes; the ending, such as .png, .svg or .pdf, gives the format.
        subtitle: A quiet line, such as the name of the collection.

    Raises:
        ValueError: If no bond can be entangled, or the format is unknown.
        ImportError: If matplotlib is missing.
    """
    title = "Entanglement inside the head"
    return draw_panels([partial(entropy_on, profile)], path, title=title, subtitle=subtitle, wide=9)


def entropy_on(profile: EntropyProfile, axes: "Axes") -> None:
    """Draw entropies into axes of matplotlib: bars of half, lines of 90% of the texts.

    Args:
        profile: What `entropy_profile` makes of states.
        axes: Where.

    Raises:
        ValueError: If no bond can be entangled.
    """
    if not profile.limits.any():
        raise ValueError("`profile` is that of products: no bond can carry entanglement.")
    groups = profile.groups
    counted = ", counted from the kept qubit" if len(profile.blocks) > 1 else ""
    tidy(axes, xlabel=f"bond{counted}", ylabel="entropy (bits)")
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
