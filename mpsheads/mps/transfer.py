"""Observables on a few qubits over all of their Pauli strings, evolved through a circuit."""

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from mpsheads._checks import check_equal
from mpsheads._constants import constant
from mpsheads.mps.circuit import Circuit
from mpsheads.mps.rotations import PAULI, as_rotations, rotate

PAULIS = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
"""The matrices 1, X, Y, Z."""


@constant
def pauli_strings(k: int) -> np.ndarray:
    """All Pauli strings on k qubits, `(4**k, 2**k, 2**k)`, the first qubit most significant."""
    strings = PAULIS
    for _ in range(k - 1):
        grown = np.einsum("iab,jcd->ijacbd", strings, PAULIS)
        strings = grown.reshape(4 * len(strings), *(2 * size for size in strings.shape[1:]))
    return strings


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

    Cost: O(batch * 4**num_sites) for each gate on one site or pair. Circuits whose gates are
    rotations by Pauli strings, as those of heads are, take a few calls a gate.
    """
    check_equal("number of sites", string=len(string), circuit=circuit.num_sites)
    place = 0
    for letter in string:
        place = 4 * place + PAULI.index(letter)
    rotations = as_rotations(circuit)
    if rotations is not None:
        return rotate(place, circuit.num_sites, rotations, parameters)
    observable = torch.nn.functional.one_hot(torch.tensor(place), 4**circuit.num_sites)
    observable = observable.to(parameters).expand(len(parameters), -1)
    unitaries = circuit.unitaries(parameters)
    for operation, unitary in zip(reversed(circuit.operations), unitaries[::-1], strict=True):
        observable = _act(transfer(unitary), observable, operation.sites, circuit.num_sites)
    return observable.T


def transfer(unitary: Complex[Tensor, "*b _d _d"]) -> Float[Tensor, "*b strings strings"]:
    """What a gate does to Pauli strings, `R_ij = tr(P_i U^dagger P_j U) / 2**k`."""
    k = unitary.shape[-1].bit_length() - 1
    paulis = pauli_strings(k).to(unitary.device, unitary.dtype)
    evolved = unitary.mH.unsqueeze(-3) @ paulis @ unitary.unsqueeze(-3)  # j . .
    return torch.einsum("iab,...jba->...ij", paulis, evolved).real / 2**k


def _act(
    matrix: Float[Tensor, "batch size size"],
    observable: Float[Tensor, "batch strings"],
    sites: tuple[int, ...],
    num_sites: int,
) -> Float[Tensor, "batch strings"]:
    """A transfer matrix on some sites of observables."""
    k, ahead = len(sites), list(range(1, len(sites) + 1))
    there = [site + 1 for site in sites]
    moved = observable.unflatten(1, [4] * num_sites).movedim(there, ahead)
    acted = matrix @ moved.reshape(len(observable), 4**k, -1)
    return acted.reshape(moved.shape).movedim(ahead, there).flatten(1)
