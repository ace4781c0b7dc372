"""The Heisenberg picture: observables evolved backwards through a circuit, as MPS of Pauli vectors.

An operator on n qubits is a vector over the 4**n Pauli strings, so it is an MPS with physical
dimension 4 (1, X, Y, Z) and real numbers only. A gate maps it by U^dagger O U: a real operator
whose rank is the square of the gate's. What applies gates to states applies these as well.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from mpsheads._checks import check_equal
from mpsheads._constants import constant, indices
from mpsheads.mps.circuit import Circuit
from mpsheads.mps.evolve import apply_layer
from mpsheads.mps.gates import CONSTANTS, PAULI
from mpsheads.mps.schedule import Factors, Layer, layers
from mpsheads.mps.state import MPS, product_state

_LAYER_RANK = 4  # a bond grows at most by this factor before it is trimmed
_ZERO = 1e-13


def pauli_string(
    string: str,
    batch_size: int = 1,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> MPS:
    """The observable named by one letter of `1XYZ` per site, as Pauli vectors.

    Args:
        string: For example `"11Z"`, site 0 first.
        batch_size: Number of copies.
        dtype: Real dtype.
        device: Where the tensors are made.

    Raises:
        ValueError: If the string is empty or has another letter.
    """
    if not string or set(string) - set(PAULI):
        raise ValueError(f"`string` must be letters of {PAULI}, at least one, got {string!r}.")
    eye = torch.eye(4, dtype=dtype, device=device)
    rows = eye.index_select(0, indices(map(PAULI.index, string), eye))
    return product_state(rows.expand(batch_size, -1, -1))


Step = tuple[Layer, dict[int, list[int]]]
"""A layer, and for a bond what of it can differ from zero afterwards, where that is not all."""


def evolve_observable(
    observable: MPS,
    circuit: Circuit,
    parameters: Float[Tensor, "batch parameters"],
    steps: Sequence[Step] | None = None,
) -> MPS:
    """The observable `U^dagger O U` of the circuit U, exactly.

    Args:
        observable: Pauli vectors, one for each row of `parameters`.
        circuit: The circuit U.
        parameters: `(batch, num_parameters)`, a different circuit for each observable.
        steps: What `live_steps` finds; by default all layers, and all of their bonds.

    Returns:
        Pauli vectors. A bond that d controlled gates cross has dimension at most 4**d, and at most
        4**k where k sites lie on its shorter side.

    Raises:
        ValueError: If sites, parameters or batch sizes do not fit.

    Cost: O(len(circuit) * batch * max_bond**2). It does not grow with the number of input states.
    """
    check_equal("number of sites", observable=observable.n_sites, circuit=circuit.num_sites)
    check_equal("batch size", observable=observable.batch_size, parameters=len(parameters))
    maps = _maps(circuit, parameters)
    if steps is None:
        steps = [(layer, {}) for layer in layers(circuit, maps, _LAYER_RANK, reverse=True)]
    for layer, live in steps:
        observable = _narrowed(apply_layer(observable, layer, maps), live)
    return observable


@torch.no_grad()
def live_steps(string: str, circuit: Circuit) -> tuple[Step, ...]:
    """The layers of `evolve_observable` of a Pauli string, and what of bonds can differ from zero.

    A control that nothing sees afterwards, for example, stays a projection on 0 or 1: two of the
    four products that the gate's map is a sum of vanish, whatever the parameters.
    """
    angles = np.random.default_rng(0).standard_normal((2, circuit.num_parameters))
    maps = _maps(circuit, torch.from_numpy(angles))
    observable = pauli_string(string, 2, dtype=torch.float64)
    steps = []
    for layer in layers(circuit, maps, _LAYER_RANK, reverse=True):
        observable = apply_layer(observable, layer, maps)
        live: dict[int, list[int]] = {}
        for bond, (left, right) in enumerate(pairwise(observable.sites)):
            size = left.abs().amax((0, 1, 2)) * right.abs().amax((0, 2, 3))
            alive = (size > _ZERO * size.max()).nonzero().flatten().tolist()
            if len(alive) < len(size):
                live[bond] = alive
        observable = _narrowed(observable, live)
        steps.append((layer, live))
    return tuple(steps)


def _narrowed(observable: MPS, live: dict[int, list[int]]) -> MPS:
    """The observable with some of its bonds cut down."""
    sites = list(observable.sites)
    for bond, alive in live.items():
        index = indices(alive, observable.sites[0])
        sites[bond] = sites[bond].index_select(3, index)
        sites[bond + 1] = sites[bond + 1].index_select(1, index)
    return MPS(tuple(sites), observable.log_norm) if live else observable


def _maps(circuit: Circuit, parameters: Tensor) -> Factors:
    """What each kind of gate does to observables, as operators of rank up to 16."""
    return {
        kind: tuple(_conjugation(factor) for factor in factors)
        for kind, factors in circuit.factors(parameters).items()
    }


def _conjugation(
    factor: Complex[Tensor, "gates batch left 2 2 right"],
) -> Float[Tensor, "gates batch left*left 4 4 right*right"]:
    """The real map of Pauli vectors that belongs to one site of a gate, `O -> G^dagger O G`.

    It is bilinear in the gate and its conjugate: one matrix product with constant coefficients.
    """
    gates, batch, left, _, _, right = factor.shape
    flat = factor.flatten(2)
    products = torch.view_as_real((flat.conj().unsqueeze(3) * flat.unsqueeze(2)).resolve_conj())
    coefficients = _coefficients(left, right, like=products)
    return (products.flatten(2) @ coefficients).reshape(gates, batch, left**2, 4, 4, right**2)


@constant
def _coefficients(left: int, right: int) -> np.ndarray:
    """What multiplies the real and imaginary parts of `conj(F) F` in the map of Pauli vectors.

    The map's bonds are pairs of bonds of the gate, one of its adjoint and one of itself.
    Exchanging the two is complex conjugation, so in the basis of symmetric and antisymmetric pairs
    all is real. `(products, maps)`.
    """
    pairs = [_real_pairs(bond) for bond in (left, right)]
    paulis = np.array([CONSTANTS[name] for name in ("id", "x", "y", "z")])
    found = np.einsum(
        "mxz,nyw,jbc,ida->xbayzcdwmijn", pairs[0].conj(), pairs[1], paulis, paulis, optimize=True
    )
    found = found.reshape(np.prod(found.shape[:8]), -1) / 2
    return np.stack([found.real, -found.imag], axis=1).reshape(2 * len(found), -1)


def _real_pairs(bond: int) -> np.ndarray:
    """A unitary change of basis from pairs (x, z) to those on which all maps are real."""
    rows = np.zeros((bond, bond, bond, bond), dtype=np.complex128)
    for x in range(bond):
        rows[x, x, x, x] = 1
        for z in range(x):
            rows[x, z, x, z] = rows[x, z, z, x] = 0.5**0.5
            rows[z, x, x, z], rows[z, x, z, x] = 1j * 0.5**0.5, -1j * 0.5**0.5
    return rows.reshape(bond**2, bond, bond)
