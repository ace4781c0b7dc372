"""The Heisenberg picture: observables evolved backwards through a circuit, as MPS of Pauli vectors.

An operator on n qubits is a vector over the 4**n Pauli strings, so it is an MPS with physical
dimension 4 (1, X, Y, Z) and real numbers only. A gate maps it by U^dagger O U: a real operator
whose rank is the square of the gate's. What applies gates to states applies these as well.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from mpsheads._checks import check_equal
from mpsheads._constants import constant
from mpsheads.mps.circuit import Circuit
from mpsheads.mps.evolve import apply_layer
from mpsheads.mps.schedule import Factors, layers
from mpsheads.mps.state import MPS, product_state, trim_bonds
from mpsheads.mps.transfer import PAULI, PAULIS

_LAYER_RANK = 4  # a bond grows at most by this factor before it is trimmed
_ZERO = 1e-13


def pauli_string(string: str, batch_size: int = 1, *, dtype: torch.dtype = torch.float32) -> MPS:
    """The observable named by one letter of `1XYZ` per site, as Pauli vectors.

    Args:
        string: For example `"11Z"`, site 0 first.
        batch_size: Number of copies.
        dtype: Real dtype.

    Raises:
        ValueError: If the string is empty or has another letter.
    """
    if not string or set(string) - set(PAULI):
        raise ValueError(f"`string` must be letters of {PAULI}, at least one, got {string!r}.")
    rows = torch.eye(4, dtype=dtype)[[PAULI.index(letter) for letter in string]]
    return product_state(rows.expand(batch_size, -1, -1))


def evolve_observable(
    observable: MPS, circuit: Circuit, parameters: Float[Tensor, "batch parameters"]
) -> MPS:
    """The observable `U^dagger O U` of the circuit U, exactly.

    Args:
        observable: Pauli vectors, one for each row of `parameters`.
        circuit: The circuit U.
        parameters: `(batch, num_parameters)`, a different circuit for each observable.

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
    for layer in layers(circuit, maps, _LAYER_RANK, reverse=True):
        observable = apply_layer(observable, layer, maps)
    return observable


def evolve_string(
    string: str, circuit: Circuit, parameters: Float[Tensor, "batch parameters"]
) -> MPS:
    """`evolve_observable` of a Pauli string, without the parts of bonds that are always zero.

    A control that nothing sees afterwards, for example, stays a projection on 0 or 1: two of the
    four products that the gate's map is a sum of vanish, whatever the parameters.
    """
    observable = pauli_string(string, len(parameters), dtype=parameters.dtype)
    observable = observable.to(device=parameters.device)
    maps = _maps(circuit, parameters)
    steps = layers(circuit, maps, _LAYER_RANK, reverse=True)
    for layer, bonds in zip(steps, live_bonds(string, circuit), strict=True):
        observable = _keep(apply_layer(observable, layer, maps), bonds)
    return observable


Live = dict[int, list[int]]
"""For a bond what of it can differ from zero, where that is not all."""


@lru_cache(maxsize=256)
@torch.no_grad()
def live_bonds(string: str, circuit: Circuit) -> tuple[Live, ...]:
    """What of each bond can differ from zero after each layer; the last 256 results are kept."""
    generator = torch.Generator().manual_seed(0)
    shape = (2, circuit.num_parameters)
    maps = _maps(circuit, torch.randn(shape, generator=generator, dtype=torch.float64))
    observable = pauli_string(string, 2, dtype=torch.float64)
    found = []
    for layer in layers(circuit, maps, _LAYER_RANK, reverse=True):
        observable = apply_layer(observable, layer, maps)
        live: Live = {}
        for bond, (left, right) in enumerate(pairwise(observable.sites)):
            size = left.abs().amax((0, 1, 2)) * right.abs().amax((0, 2, 3))
            alive = (size > _ZERO * size.max()).nonzero().flatten().tolist()
            if len(alive) < len(size):
                live[bond] = alive
        observable = _keep(observable, live)
        found.append(live)
    return tuple(found)


def _keep(observable: MPS, live: Live) -> MPS:
    """The observable with some of its bonds cut down."""
    sites = list(observable.sites)
    for bond, kept in live.items():
        index = torch.tensor(kept, device=observable.device)
        sites[bond] = sites[bond].index_select(3, index)
        sites[bond + 1] = sites[bond + 1].index_select(1, index)
    return MPS(tuple(sites), observable.log_norm) if live else observable


def _maps(circuit: Circuit, parameters: Tensor) -> Factors:
    """What each kind of gate does to observables, as operators of rank up to 16."""
    return {
        kind: tuple(_conjugation(factor) for factor in factors)
        for kind, factors in circuit.factors(parameters).items()
    }


def product_expectation(
    observable: MPS, inputs: Float[Tensor, "sites observables components inputs"]
) -> Float[Tensor, "observables inputs"]:
    """Expectation value of each observable in product states of qubits.

    Args:
        observable: Pauli vectors of `components + 1` entries a site, the identity first.
        inputs: `(sites, observables, components, inputs)`: for each observable its own input
            qubits, as expectation values of the Pauli matrices in the order of its entries; that of
            the identity is 1 and left out. The inputs are the last axis, along which all of the
            work is contiguous.

    Raises:
        ValueError: If sites or batch sizes do not fit.

    Cost: O(inputs * observables * sites * components * max_bond**2), one batched matrix product a
    site.
    """
    check_equal("number of sites", observable=observable.n_sites, inputs=inputs.shape[0])
    check_equal("number of observables", observable=len(observable), inputs=inputs.shape[1])
    vectors = inputs.unbind(0)
    first = observable.sites[0][:, 0].mT  # o r p
    value = torch.baddbmm(first[..., :1], first[..., 1:], vectors[0])  # o r i
    for components, site in zip(vectors[1:], observable.sites[1:], strict=True):
        _, _, phys, right = site.shape
        terms = site.permute(0, 2, 3, 1).flatten(1, 2) @ value  # o (p r) [l] i
        value, *others = terms.unflatten(1, (phys, right)).unbind(1)  # the identity's, the rest
        for term, component in zip(others, components.unbind(1), strict=True):
            value = torch.addcmul(value, term, component[:, None])  # o [p] r i
    return value[:, 0] * observable.log_norm.exp()[:, None]


def select_components(observable: MPS, kept: Sequence[int]) -> MPS:
    """The observable with some of its Pauli components at each site, in the order of `1XYZ`.

    Real product states, for example, see nothing of Y: `(0, 1, 3)`.

    Returns:
        Vectors over those, bonds trimmed to what the shorter side needs.
    """
    if len(kept) == len(PAULI):
        return observable
    sites = tuple(site[:, :, list(kept)] for site in observable.sites)
    return trim_bonds(MPS(sites, observable.log_norm))


def _conjugation(
    factor: Complex[Tensor, "gates batch left 2 2 right"],
) -> Float[Tensor, "gates batch left*left 4 4 right*right"]:
    """The real map of Pauli vectors that belongs to one site of a gate, `O -> G^dagger O G`.

    It is bilinear in the gate and its conjugate: one matrix product with constant coefficients.
    """
    gates, batch, left, _, _, right = factor.shape
    flat = factor.flatten(2)
    products = torch.view_as_real((flat.conj().unsqueeze(3) * flat.unsqueeze(2)).resolve_conj())
    coefficients = _coefficients(left, right).to(products)
    return (products.flatten(2) @ coefficients).reshape(gates, batch, left**2, 4, 4, right**2)


@constant
def _coefficients(left: int, right: int) -> np.ndarray:
    """What multiplies the real and imaginary parts of `conj(F) F` in the map of Pauli vectors.

    The map's bonds are pairs of bonds of the gate, one of its adjoint and one of itself.
    Exchanging the two is complex conjugation, so in the basis of symmetric and antisymmetric pairs
    all is real. `(products, maps)`.
    """
    pairs = [_real_pairs(bond) for bond in (left, right)]
    found = np.einsum(
        "mxz,nyw,jbc,ida->xbayzcdwmijn", pairs[0].conj(), pairs[1], PAULIS, PAULIS, optimize=True
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
