"""What a head returns of its kept qubits. A new readout is a class and a line in `READOUTS`."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize, pad

from mpsheads import similarity
from mpsheads.mps import MPS
from mpsheads.mps.linalg import to_unit
from mpsheads.mps.state import trim_bonds

_NO_DIRECTION = 1e-3  # a vector of expectation values so short is that of rounding
# by bits: width of the best equal cells, in standard deviations
_BEST_CELLS = {1: 1.596, 2: 0.9957, 4: 0.3352, 8: 0.0308}


class Readout:
    """Each kept qubit's probability of 1 as an angle `2 asin(sqrt(p1))` in [0, pi].

    Attributes:
        kind: What `mpsheads.similarity.quantize` calls such vectors.
        logit_scale: See `ProjectionHead.logit_scale`.

    Source: the measurement of Kankeu et al. 2025 (arXiv:2501.04591), from the entangled state.
    """

    kind: ClassVar[str] = "angle"
    logit_scale: ClassVar[float] = 1.0

    def vector(self, z: Float[Tensor, "kept batch"]) -> Float[Tensor, "batch kept"]:
        """The vector from the expectation values of Z."""
        return probability_angle(z).T

    def span(self, bits: int, width: int) -> float:
        """The part of their range that codes of `width` numbers with so many bits each fill."""
        return 1.0

    def num_kept(self, out_features: int, bond_dim: int) -> int:
        """Kept qubits of a vector of so many numbers, with bonds up to `bond_dim` between them.

        Raises:
            ValueError: If there is no such vector.
        """
        return out_features

    def bond_dims(self, kept: int, bond_dim: int) -> tuple[int, ...]:
        """The bonds between the kept qubits that the vector holds."""
        return ()


class DirectionReadout(Readout):
    """The direction of the vector z of all `<Z>` as angles `(1 - z / |z|) pi / 2`, in [0, pi].

    Each kept qubit is prepared anew at an angle whose distance from pi/2 is its share of z. So all
    vectors lie on a sphere of radius pi/2 about the middle, where the log-fidelity is
    `-(pi**2 / 8) (1 - cos) ` of the angle between directions but for terms of fourth order: it
    ranks like the cosine, is never far below zero however many qubits there are, and its numbers
    have the known spread `pi / (2 sqrt(n))`, to which the cells of codes are fitted.
    """

    logit_scale = 20.0

    def vector(self, z: Float[Tensor, "kept batch"]) -> Float[Tensor, "batch kept"]:
        """The normalised values as angles; a vector of zeros gives pi/2."""
        return (math.pi / 2) * (1 - normalize(z, dim=0, eps=_NO_DIRECTION).T)

    def span(self, bits: int, width: int) -> float:
        """That of the best uniform cells for numbers of a normal distribution.

        Source: Max 1960 (doi:10.1109/TIT.1960.1057548), table II.
        """
        return min(1.0, _BEST_CELLS.get(bits, 1.0) * 2**bits / 2 / math.sqrt(width))


class StateReadout(Readout):
    """The state of the kept qubits where all others are projected on 0: its site tensors."""

    kind = "state"

    def num_kept(self, out_features: int, bond_dim: int) -> int:
        """As many as fill the vector."""
        kept = max(1, out_features // (4 * bond_dim**2))  # no site is larger
        while self._size(kept + 1, bond_dim) <= out_features:
            kept += 1
        if self._size(kept, bond_dim) != out_features:
            near = [f"{self._size(k, bond_dim)} ({k})" for k in (kept, kept + 1)]
            raise ValueError(
                f'`out_features` must be the size of an MPS for readout="state", got '
                f"{out_features}. The nearest sizes (kept qubits) with bonds of {bond_dim} "
                f"are {' and '.join(near)}."
            )
        return kept

    def bond_dims(self, kept: int, bond_dim: int) -> tuple[int, ...]:
        """What as many qubits need, up to `bond_dim`."""
        return tuple(min(bond_dim, 2 ** min(k, kept - k, 30)) for k in range(1, kept))

    def _size(self, kept: int, bond_dim: int) -> int:
        return sum(4 * a * b for a, b in pairwise([1, *self.bond_dims(kept, bond_dim), 1]))


def project_state(
    state: MPS, kept: Sequence[int], bond_dims: Sequence[int]
) -> Float[Tensor, "batch out_features"]:
    """The kept sites of a state where all others are projected on 0, packed.

    The tensors between kept sites are joined to the next; bonds are filled up with zeros. Norms are
    given up on the way.
    """
    sites, carry, last = [], None, set(kept)
    for place, site in enumerate(state.sites):
        site = site if place in last else site[:, :, 0]
        carry = site if carry is None else torch.einsum("blr,br...->bl...", carry, site)
        carry, _ = to_unit(carry, *range(1, carry.ndim))  # so that long ways do not underflow
        if place in last:
            sites.append(carry)
            carry = None
    assert carry is None, "the last site is kept"
    projected = trim_bonds(MPS(tuple(sites), torch.zeros_like(state.log_norm)))
    wide = [
        pad(site, (0, right - site.shape[3], 0, 0, 0, left - site.shape[1]))
        for site, (left, right) in zip(projected.sites, pairwise([1, *bond_dims, 1]), strict=True)
    ]
    return similarity.pack_state(MPS(tuple(wide), projected.log_norm))


def probability_angle(z: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """The angle `2 asin(sqrt(p1))` of a qubit with `<Z> = z`, which is `acos(z)`, in [0, pi].

    Its derivative is unbounded at the poles, so z is held a rounding error away from them, where
    the gradient is zero instead.
    """
    limit = 1 - 2 * torch.finfo(z.dtype).eps
    return torch.acos(z.clamp(-limit, limit))


class AmplitudeReadout(Readout):
    """The amplitudes of one particle on the kept sites; see `mpsheads.heads.amplitudes`."""

    kind = "trellis"
    logit_scale = 20.0


READOUTS: dict[str, Readout] = {
    "probability": Readout(),
    "direction": DirectionReadout(),
    "amplitude": AmplitudeReadout(),
    "state": StateReadout(),
}
"""The readouts that a head can name."""
