"""Pauli transfer matrices: what gates do to observables, in real numbers.

An observable on k qubits is a real vector over the 4**k Pauli strings, and a gate maps it by
`O -> U^dagger O U`. For a gate of one angle, the entries of that map are sums of 1 and of sines and
cosines of the angle and of its half: all gates of a family are one product with a constant matrix.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from mpsheads._checks import check_equal, is_concrete
from mpsheads.mps.circuit import Circuit, Operation
from mpsheads.mps.gate_factors import Rows
from mpsheads.mps.gates import FAMILIES
from mpsheads.mps.rotations import PAULI, as_rotations, rotate


class _Gate(NamedTuple):
    """Gates that are computed together: a family, or one fixed matrix."""

    family: str
    adjoint: bool = False
    matrix: Rows | None = None

    @property
    def num_parameters(self) -> int:
        return 0 if self.matrix is not None else FAMILIES[self.family].num_parameters


class _Step(NamedTuple):
    """A gate on several sites with the rotations before it, or the last rotations of one site.

    Attributes:
        sites: Where it acts, in the order of the gate.
        words: What acts there, in the order of time reversed: the gate itself, then for each of
            the sites the gates on it alone. Each word is a product of gates, first to last, as a
            kind of word and a number in that kind; `None` is the identity.
    """

    sites: tuple[int, ...]
    words: tuple[tuple["_Word", int] | None, ...]


_Word = tuple[_Gate, ...]


@dataclass
class _Plan:
    """The circuit as steps, and for each kind of word where the parameters of each start."""

    steps: list[_Step] = field(default_factory=list)
    starts: dict[_Word, list[tuple[int, ...]]] = field(default_factory=dict)

    def number(self, gates: Sequence[tuple[_Gate, int]]) -> tuple[_Word, int] | None:
        """The word of some gates with their parameters, numbered among those of its kind."""
        if not gates:
            return None
        word = tuple(gate for gate, _ in gates)
        starts = self.starts.setdefault(word, [])
        starts.append(tuple(start for _, start in gates))
        return word, len(starts) - 1


def evolve_dense(
    string: str, circuit: Circuit, parameters: Float[Tensor, "batch parameters"]
) -> Float[Tensor, "strings batch"]:
    """The observable `U^dagger O U` of a Pauli string O, over all Pauli strings.

    Args:
        string: One letter of `1XYZ` for each site.
        circuit: The circuit U, on a few sites.
        parameters: `(batch, num_parameters)`.

    Returns:
        `(4**num_sites, batch)`, site 0 most significant, letters in the order of `1XYZ`.

    Raises:
        ValueError: If sites or parameters do not fit.

    Cost: O(batch * 4**num_sites) for each gate, in one batched product for each gate on several
    sites and one for the rotations of each of these.
    """
    check_equal("number of sites", string=len(string), circuit=circuit.num_sites)
    place = 0
    for letter in string:
        place = 4 * place + PAULI.index(letter)
    if is_concrete(parameters) and (rotations := as_rotations(circuit)) is not None:
        return rotate(place, circuit.num_sites, rotations, parameters)
    plan = _plan(circuit)
    angles = _Angles.of(parameters)
    words = {word: _maps(word, starts, angles) for word, starts in plan.starts.items()}
    observable = parameters.new_zeros(4**circuit.num_sites, 1)
    observable[place] = 1
    observable = observable.expand(-1, len(parameters))
    for step in reversed(plan.steps):
        targets = (step.sites, *((site,) for site in step.sites))
        for sites, named in zip(targets, step.words, strict=True):
            if named is not None:
                word, number = named
                observable = words[word][number](observable, sites, circuit.num_sites)
    return observable


class _Angles(NamedTuple):
    """What entries of transfer matrices are sums of, `(parameters, batch)` each."""

    parameters: Tensor  # batch parameters
    functions: tuple[Tensor, ...]  # 1, cosine, sine, and those of the half

    @classmethod
    def of(cls, parameters: Float[Tensor, "batch parameters"]) -> "_Angles":
        angles = parameters.T
        half = angles / 2
        ones = torch.ones_like(angles)
        return cls(parameters, (ones, angles.cos(), angles.sin(), half.cos(), half.sin()))

    def features(
        self, kept: tuple[int, ...], places: Sequence[int]
    ) -> Float[Tensor, "{len(kept)} count batch"]:
        """Some of the functions of some of the parameters."""
        return torch.stack([self.functions[i][list(places)] for i in kept])


@dataclass(frozen=True)
class _Map:
    """A transfer matrix for each observable of a batch, which is the last axis everywhere.

    Attributes:
        matrix: `(4**k, 4**k, batch or 1)`, or constant matrices `(terms, 4**k, 4**k)`.
        weights: `(terms, batch)`, what multiplies the latter.
    """

    matrix: Tensor
    weights: Tensor | None = None

    def __call__(
        self, observable: Float[Tensor, "strings batch"], sites: tuple[int, ...], num_sites: int
    ) -> Float[Tensor, "strings batch"]:
        """The observables with the map applied on some sites."""
        k, first = len(sites), sites[0]
        if sites == tuple(range(first, first + k)):
            return self._act(observable.unflatten(0, (4**first, 4**k, -1))).flatten(0, 2)
        ahead = list(range(k))
        moved = observable.unflatten(0, [4] * num_sites).movedim(sites, ahead)
        acted = self._act(moved.reshape(1, 4**k, -1, observable.shape[1]))
        return acted.reshape(moved.shape).movedim(ahead, sites).flatten(0, num_sites - 1)

    def _act(self, legs: Float[Tensor, "left size right batch"]) -> Tensor:
        if self.weights is None:
            rows = [(row.unsqueeze(1) * legs).sum(1) for row in self.matrix.unbind(0)]
            return torch.stack(rows, 1)
        flat, total = legs.flatten(2), None
        for constant, weight in zip(self.matrix.unbind(0), self.weights.unbind(0), strict=True):
            term = (constant @ flat).view(legs.shape)
            total = term * weight if total is None else torch.addcmul(total, term, weight)
        assert total is not None
        return total


def _maps(word: _Word, starts: Sequence[tuple[int, ...]], angles: _Angles) -> list[_Map]:
    """The maps of all words of a kind."""
    coefficients = _coefficients(word)
    if coefficients is None:
        products = None
        for gate, column in zip(word, zip(*starts, strict=True), strict=True):
            found = _matrices(gate, column, angles.parameters)
            products = found if products is None else products @ found
        assert products is not None
        return [_Map(matrix) for matrix in products.permute(0, 2, 3, 1).unbind(0)]
    kept, constants = coefficients
    constants = constants.to(angles.parameters.device, angles.parameters.dtype)
    weights = None
    for functions, column in zip(kept, zip(*starts, strict=True), strict=True):
        found = angles.features(functions, column)  # functions count batch
        if weights is not None:
            found = (weights.unsqueeze(1) * found).flatten(0, 1)
        weights = found
    assert weights is not None
    size = constants.shape[-1]
    if size > 4:
        return [_Map(constants, weight) for weight in weights.unbind(1)]
    matrices = constants.flatten(1).T @ weights.flatten(1)  # (size size) (count batch)
    return [_Map(m) for m in matrices.view(size, size, *weights.shape[1:]).unbind(2)]


@lru_cache(maxsize=1024)
def _coefficients(
    word: _Word,
) -> tuple[tuple[tuple[int, ...], ...], Float[Tensor, "terms size size"]] | None:
    """The map of a word as a sum of constant matrices, float64.

    Returns:
        For each gate which functions of its angle occur, and the matrix that belongs to each
        product of one for each gate; `None` if a gate is of another kind.
    """
    kept, product = [], None
    for gate in word:
        if gate.num_parameters != 1:
            return None
        found = _trigonometric(gate.family)
        if found is None:
            return None
        found = found.mT if gate.adjoint else found
        functions = found.flatten(1).any(1)
        kept.append(tuple(functions.nonzero().flatten().tolist()))
        found = found[functions]
        if product is not None:
            found = (product.unsqueeze(1) @ found.unsqueeze(0)).flatten(0, 1)
        product = found
    assert product is not None
    return tuple(kept), product


@lru_cache
def _trigonometric(family: str) -> Float[Tensor, "5 size size"] | None:
    """What multiplies `(1, cos a, sin a, cos a/2, sin a/2)` in the transfer matrix of a family.

    `None` where these are not enough, as for a gate whose own entries are cosines of whole angles.
    """
    gate = FAMILIES[family]
    angles = torch.arange(6, dtype=torch.float64) * (4 * math.pi / 5) + 0.3
    angles[5] = 0.7  # to try what the others gave
    exact = transfer(gate.matrix(angles[:, None]))
    functions = torch.stack(_Angles.of(angles[None]).functions)[..., 0].T  # angle function
    found = torch.linalg.solve(functions[:5], exact[:5].flatten(1))
    found = torch.where(found.abs() < 1e-12, 0.0, found)
    if not torch.allclose(functions[5] @ found, exact[5].flatten(), atol=1e-12):
        return None
    return found.reshape(5, *exact.shape[1:])


def transfer(unitary: Tensor) -> Float[Tensor, "*b size size"]:
    """The transfer matrix of any gate, `R_ij = tr(P_i U^dagger P_j U) / 2**k`."""
    k = unitary.shape[-1].bit_length() - 1
    paulis = pauli_strings(k).to(unitary.device, unitary.dtype)
    evolved = unitary.mH.unsqueeze(-3) @ paulis @ unitary.unsqueeze(-3)  # j . .
    return torch.einsum("iab,...jba->...ij", paulis, evolved).real / 2**k


@lru_cache
def pauli_strings(k: int) -> Complex[Tensor, "strings size size"]:
    """All Pauli strings on k qubits as matrices, the first qubit most significant, complex128."""
    paulis = torch.tensor(
        [[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]],
        dtype=torch.complex128,
    )
    strings = paulis
    for _ in range(k - 1):
        strings = torch.einsum("iab,jcd->ijacbd", strings, paulis)
        strings = strings.flatten(0, 1).flatten(3, 4).flatten(1, 2)
    return strings


def _plan(circuit: Circuit) -> _Plan:
    """The circuit's steps; kept with it."""
    if "_transfer_plan" in circuit.__dict__:
        return circuit.__dict__["_transfer_plan"]
    plan = _Plan()
    waiting: list[list[tuple[_Gate, int]]] = [[] for _ in range(circuit.num_sites)]
    for operation in circuit:
        gates = _elementary(operation)
        if len(operation.sites) == 1:
            waiting[operation.sites[0]] += gates
            continue
        words = (plan.number(waiting[site]) for site in operation.sites)
        plan.steps.append(_Step(operation.sites, (plan.number(gates), *words)))
        for site in operation.sites:
            waiting[site] = []
    for site, gates in enumerate(waiting):
        if gates:
            plan.steps.append(_Step((site,), (plan.number(gates), None)))
    circuit.__dict__["_transfer_plan"] = plan
    return plan


def _elementary(operation: Operation) -> list[tuple[_Gate, int]]:
    """The operation as gates of one angle where it is a product of them, first to last."""
    names, starts = [operation.gate], [operation.start]
    if operation.gate == "zyz":  # Rz(beta) Ry(gamma) Rz(delta)
        names, starts = ["rz", "ry", "rz"], [operation.start + i for i in (2, 1, 0)]
    gates = [_Gate(name, operation.adjoint, operation.matrix) for name in names]
    pairs = list(zip(gates, starts, strict=True))
    return pairs[::-1] if operation.adjoint else pairs


def _matrices(
    gate: _Gate, starts: Sequence[int], parameters: Float[Tensor, "batch parameters"]
) -> Float[Tensor, "count b size size"]:
    """Transfer matrices of gates of any kind; b is the batch, or 1."""
    if gate.num_parameters == 0:
        found = _constant(gate.matrix, gate.family).to(parameters.device, parameters.dtype)
        found = found.expand(len(starts), 1, -1, -1)
    else:
        columns = np.array(starts)[:, None] + np.arange(gate.num_parameters)
        angles = parameters[:, columns.flatten().tolist()].unflatten(1, columns.shape)
        found = transfer(FAMILIES[gate.family].matrix(angles.transpose(0, 1)))
    return found.mT if gate.adjoint else found


@lru_cache(maxsize=1024)
def _constant(matrix: Rows | None, family: str) -> Tensor:
    if matrix is None:
        return transfer(FAMILIES[family].matrix(torch.zeros(1, 0, dtype=torch.float64)))
    return transfer(torch.from_numpy(np.array(matrix, dtype=np.complex128))[None])
