"""The Heisenberg picture: observables evolved backwards through a circuit, as MPS of Pauli vectors.

An operator on n qubits is a vector over the 4**n Pauli strings, so it is an MPS with physical
dimension 4 (1, X, Y, Z) and real numbers only. A gate maps it by U^dagger O U: a 4 x 4 matrix for
a gate on one qubit, a real operator of rank 4 for a controlled gate. The functions that apply gates
to states apply these as well.
"""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from mpsheads._checks import check_equal
from mpsheads.mps.circuit import Circuit
from mpsheads.mps.evolve import apply_one_site, apply_pair
from mpsheads.mps.gates import FAMILIES
from mpsheads.mps.state import MPS, product_state, trim_bonds

PAULI = "1XYZ"


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
    check_equal("number of sites", observable=observable.n_sites, circuit=circuit.n_sites)
    check_equal("batch size", observable=observable.batch_size, parameters=len(parameters))
    maps = {
        family: (_conjugation if FAMILIES[family].num_sites == 1 else _controlled_conjugation)(m)
        for family, m in circuit.matrices(parameters).items()
    }
    gates = {family: iter(m.flip(0)) for family, m in maps.items()}
    control = _control_maps(parameters)
    for operation in reversed(circuit.operations):
        gate = next(gates[operation.gate])
        if len(operation.sites) == 1:
            observable = apply_one_site(observable, gate, operation.sites[0])
        else:
            observable = apply_pair(observable, control, gate, operation.sites)
    return observable


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


def real_components(observable: MPS) -> MPS:
    """The observable without its Y components: all that real product states see of it.

    Returns:
        Vectors over (1, X, Z) a site, bonds trimmed to 3**k.
    """
    keep = [0, 1, 3]
    return trim_bonds(
        MPS(tuple(site[:, :, keep] for site in observable.sites), observable.log_norm)
    )


def _paulis(like: Tensor) -> Complex[Tensor, "4 2 2"]:
    matrices = [[1, 0, 0, 1], [0, 1, 1, 0], [0, -1j, 1j, 0], [1, 0, 0, -1]]
    return torch.tensor(matrices, dtype=like.dtype, device=like.device).reshape(4, 2, 2)


def _conjugation(unitary: Complex[Tensor, "*b 2 2"]) -> Float[Tensor, "*b 4 4"]:
    """The real matrix of B -> U^dagger B U on Pauli vectors."""
    paulis = _paulis(unitary)
    moved = unitary.mH[..., None, :, :] @ paulis @ unitary[..., None, :, :]
    return torch.einsum("iab,...jba->...ij", paulis, moved).real / 2


def _controlled_conjugation(unitary: Complex[Tensor, "*b 2 2"]) -> Float[Tensor, "*b 4 4 4"]:
    """Target maps of O -> C^dagger O C for a controlled U; `_control_maps` has the control's.

    The map is a sum of four products. The part of the control's operator that is diagonal, 1 and Z,
    goes to the projectors on 0 and 1, with the target left alone or conjugated. The off-diagonal
    part, X and Y, is turned in its plane, with B -> (B U + U^dagger B)/2 on the target, and with
    B -> i (B U - U^dagger B)/2.
    """
    paulis = _paulis(unitary)
    right, left = paulis @ unitary[..., None, :, :], unitary.mH[..., None, :, :] @ paulis
    even = torch.einsum("iab,...jba->...ij", paulis, right + left).real / 4
    odd = torch.einsum("iab,...jba->...ij", paulis, 1j * (right - left)).real / 4
    eye = torch.eye(4, dtype=even.dtype, device=even.device).expand_as(even)
    return torch.stack([eye, _conjugation(unitary), even, odd], dim=-3)


def _control_maps(like: Tensor) -> Float[Tensor, "1 4 4 4"]:
    """Control maps `(1, rank, out, in)`: to the projectors on 0 and 1; X and Y kept; turned."""
    maps = like.new_zeros(1, 4, 4, 4)
    maps[0, 0, 0, 0] = maps[0, 0, 0, 3] = maps[0, 0, 3, 0] = maps[0, 0, 3, 3] = 0.5
    maps[0, 1, 0, 0] = maps[0, 1, 3, 3] = 0.5
    maps[0, 1, 0, 3] = maps[0, 1, 3, 0] = -0.5
    maps[0, 2, 1, 1] = maps[0, 2, 2, 2] = 1
    maps[0, 3, 2, 1], maps[0, 3, 1, 2] = 1, -1
    return maps
