"""What a head returns of its kept qubits. A new readout is a class and a line in `READOUTS`."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from mpsheads import similarity
from mpsheads.mps import MPS
from mpsheads.mps.state import trim_bonds
from mpsheads.similarity import Codes

_NO_DIRECTION = 1e-3  # a vector of expectation values so short is that of rounding
# by bits: width of the best equal cells, in standard deviations
_BEST_CELLS = {1: 1.596, 2: 0.9957, 4: 0.3352, 8: 0.0308}


class Readout(ABC):
    """How the kept qubits become a vector, and how two such vectors are compared.

    Attributes:
        name: What a head calls it.
        letters: The Pauli matrices of each kept qubit that the vector is made of; empty where it
            takes the whole state.
        kind: What `mpsheads.similarity.quantize` calls such vectors.
    """

    name: ClassVar[str]
    letters: ClassVar[str]
    kind: ClassVar[str]

    def span(self, bits: int, width: int) -> float:
        """The part of their range that codes of such vectors fill.

        Args:
            bits: Bits a number.
            width: Numbers a vector.
        """
        return 1.0

    @abstractmethod
    def num_kept(self, out_features: int, bond_dim: int) -> int:
        """Kept qubits of a vector of so many numbers.

        Args:
            out_features: The numbers.
            bond_dim: Largest bond dimension between kept qubits.

        Raises:
            ValueError: If there is no such vector.
        """

    @abstractmethod
    def similarity(
        self, zq: Tensor | Codes, zd: Tensor | Codes, bond_dims: Sequence[int], *, pairwise: bool
    ) -> Tensor:
        """Log-fidelity of all pairs, or of rows with rows."""


class LocalReadout(Readout):
    """A readout of expectation values, each of one kept qubit."""

    @abstractmethod
    def vector(
        self, values: Float[Tensor, "letters kept batch"]
    ) -> Float[Tensor, "batch out_features"]:
        """The vector from the expectation values of `letters`."""


class ProbabilityReadout(LocalReadout):
    """Each kept qubit's probability of 1 as an angle `2 asin(sqrt(p1))` in [0, pi].

    Source: the measurement of Kankeu et al. 2025 (arXiv:2501.04591), from the entangled state.
    """

    name = "probability"
    letters = "Z"
    kind = "angle"

    def num_kept(self, out_features: int, bond_dim: int) -> int:
        """One number a qubit."""
        return out_features

    def vector(
        self, values: Float[Tensor, "letters kept batch"]
    ) -> Float[Tensor, "batch out_features"]:
        """`probability_angle` of Z."""
        return probability_angle(values[0]).T

    def similarity(
        self, zq: Tensor | Codes, zd: Tensor | Codes, bond_dims: Sequence[int], *, pairwise: bool
    ) -> Tensor:
        """Product of `cos(difference / 2)**2`."""
        return similarity.log_fidelity(zq, zd, pairwise=pairwise)


class DirectionReadout(ProbabilityReadout):
    """The direction of the vector z of all `<Z>` as angles `(1 - z / |z|) pi / 2`, in [0, pi].

    Each kept qubit is prepared anew at an angle whose distance from pi/2 is its share of z. So all
    vectors lie on a sphere of radius pi/2 about the middle, where the log-fidelity is
    `-(pi**2 / 8) (1 - cos) ` of the angle between directions but for terms of fourth order: it
    ranks like the cosine, is never far below zero however many qubits there are, and its numbers
    have the known spread `pi / (2 sqrt(n))`, to which the cells of codes are fitted.
    """

    name = "direction"

    def vector(
        self, values: Float[Tensor, "letters kept batch"]
    ) -> Float[Tensor, "batch out_features"]:
        """The normalised values as angles; a vector of zeros gives pi/2."""
        unit = torch.nn.functional.normalize(values[0], dim=0, eps=_NO_DIRECTION)
        return (math.pi / 2) * (1 - unit.T)

    def span(self, bits: int, width: int) -> float:
        """That of the best uniform cells for numbers of a normal distribution.

        Source: Max 1960 (doi:10.1109/TIT.1960.1057548), table II.
        """
        return min(1.0, _BEST_CELLS[bits] * 2**bits / 2 / math.sqrt(width))


class BlochReadout(LocalReadout):
    """The state of each kept qubit: its Bloch vector (x, y, z), of length 1 at most."""

    name = "bloch"
    letters = "XYZ"
    kind = "bloch"

    def num_kept(self, out_features: int, bond_dim: int) -> int:
        """Three numbers a qubit."""
        if out_features % 3:
            low = out_features // 3 * 3
            sizes = f"{low} or {low + 3}" if low else "3"
            raise ValueError(
                f'`out_features` must be a multiple of 3 for readout="bloch", three numbers for '
                f"each kept qubit, got {out_features}. The nearest are {sizes}."
            )
        return out_features // 3

    def vector(
        self, values: Float[Tensor, "letters kept batch"]
    ) -> Float[Tensor, "batch out_features"]:
        """The components, qubit after qubit."""
        return values.permute(2, 1, 0).flatten(1)

    def similarity(
        self, zq: Tensor | Codes, zd: Tensor | Codes, bond_dims: Sequence[int], *, pairwise: bool
    ) -> Tensor:
        """Product of Uhlmann fidelities."""
        if isinstance(zq, Codes) or isinstance(zd, Codes):
            return similarity.log_fidelity(zq, zd, pairwise=pairwise)
        return similarity.bloch_log_fidelity(zq, zd, pairwise=pairwise)


class StateReadout(Readout):
    """The pure state of the kept qubits when all others are projected on `|0>`: an MPS.

    The vector holds its site tensors `(left, 2, right)`, each of norm 1, complex numbers as two.
    """

    name = "state"
    letters = ""
    kind = "state"

    def num_kept(self, out_features: int, bond_dim: int) -> int:
        """As many as fill the vector."""
        kept = 1
        while _size(kept + 1, bond_dim) <= out_features:
            kept += 1
        if _size(kept, bond_dim) != out_features:
            near = f"{_size(kept, bond_dim)} ({kept}) and {_size(kept + 1, bond_dim)} ({kept + 1})"
            raise ValueError(
                f'`out_features` must be the size of an MPS for readout="state", got '
                f"{out_features}. The nearest sizes (kept qubits) with bonds of {bond_dim} "
                f"are {near}."
            )
        return kept

    def bond_dims(self, kept: int, bond_dim: int) -> tuple[int, ...]:
        """The bonds between the kept qubits."""
        return tuple(min(bond_dim, 2 ** min(k, kept - k, 30)) for k in range(1, kept))

    def vector(
        self, state: MPS, kept: Sequence[int], bond_dims: Sequence[int]
    ) -> Float[Tensor, "batch out_features"]:
        """Project the other sites, join their tensors to those of the kept ones, pack the rest."""
        sites, carry = [], None
        for place, site in enumerate(state.sites):
            if place not in set(kept):
                site = site[:, :, 0]
            carry = site if carry is None else torch.einsum("blr,br...->bl...", carry, site)
            if place in set(kept):
                sites.append(carry)
                carry = None
        assert carry is None, "the last site is kept"
        projected = trim_bonds(MPS(tuple(sites), torch.zeros_like(state.log_norm)))
        return similarity.pack_state(_widen(projected, bond_dims))

    def similarity(
        self, zq: Tensor | Codes, zd: Tensor | Codes, bond_dims: Sequence[int], *, pairwise: bool
    ) -> Tensor:
        """Squared overlap of the states."""
        if isinstance(zq, Codes) or isinstance(zd, Codes):
            return similarity.log_fidelity(zq, zd, pairwise=pairwise)
        return similarity.state_log_fidelity(zq, zd, tuple(bond_dims), pairwise=pairwise)


def probability_angle(z: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """The angle `2 asin(sqrt(p1))` of a qubit with `<Z> = z`, which is `acos(z)`, in [0, pi].

    Its derivative is unbounded at the poles, so z is held a rounding error away from them, where
    the gradient is zero instead.
    """
    limit = 1 - 2 * torch.finfo(z.dtype).eps
    return torch.acos(z.clamp(-limit, limit))


def _size(kept: int, bond_dim: int) -> int:
    ends = [1, *READOUT_STATE.bond_dims(kept, bond_dim), 1]
    return sum(4 * a * b for a, b in pairwise(ends))


def _widen(state: MPS, bond_dims: Sequence[int]) -> MPS:
    """Zeros up to the given bonds, so that all vectors are alike."""
    ends = [1, *bond_dims, 1]
    sites = tuple(
        torch.nn.functional.pad(site, (0, right - site.shape[3], 0, 0, 0, left - site.shape[1]))
        for site, left, right in zip(state.sites, ends, ends[1:], strict=False)
    )
    return MPS(sites, state.log_norm)


READOUT_STATE = StateReadout()
READOUTS: dict[str, Readout] = {
    readout.name: readout
    for readout in (ProbabilityReadout(), DirectionReadout(), BlochReadout(), READOUT_STATE)
}
"""The readouts that a head can name."""
