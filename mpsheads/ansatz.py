"""Ansätze: families of circuits, as data. A new one goes here, and into `ANSATZE`."""

from collections.abc import Callable

from mpsheads._checks import check_positive
from mpsheads.mps.circuit import Circuit


def staircase(n_sites: int, depth: int = 1) -> Circuit:
    """Layers of a rotation on every site, then controlled gates down the chain to its last site.

    A layer is ZYZ on every site, then a controlled unitary from site 0 to 1, from 1 to 2, and so on
    to the last site: 3 * n_sites + 4 * (n_sites - 1) parameters. Each bond is crossed once a layer,
    so the state needs bond dimension at most 2**depth.

    Args:
        n_sites: Length of the chain. The last site is the one that a head keeps.
        depth: Number of layers.

    Source: Kankeu et al. 2025 (arXiv:2501.04591), whose circuit is one such layer. There the
    control is traced out after each gate; here the entanglement stays.
    """
    check_positive(n_sites=n_sites, depth=depth)
    rotations = [("zyz", (site,)) for site in range(n_sites)]
    steps = [("controlled-unitary", (site, site + 1)) for site in range(n_sites - 1)]
    return Circuit.of(n_sites, [*rotations, *steps] * depth)


ANSATZE: dict[str, Callable[[int, int], Circuit]] = {"staircase": staircase}
"""The ansätze that a head can name: from (n_sites, depth) to a circuit."""
