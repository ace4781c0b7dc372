"""Gates and circuits applied to batches of MPS, exactly and without any SVD.

A two-site operator is a sum of r products, an MPO of bond r: it multiplies the bonds between its
sites by r. A controlled gate has r = 2.
"""

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from mpsheads.mps.circuit import Circuit
from mpsheads.mps.state import MPS, trim_bonds


def apply_gate(
    state: MPS, matrix: Inexact[Tensor, "*b out _in"], sites: int | tuple[int, ...]
) -> MPS:
    """Apply a one- or two-site gate.

    Args:
        state: The states.
        matrix: `(out, in)` for all states, or `(batch, out, in)` with one gate for each. Two sites
            take phys**2 rows, the first of `sites` most significant.
        sites: One site, or two different ones, neighbours or not, in either order.

    Returns:
        New states. A two-site gate multiplies the bonds between its sites by phys**2 (up to what
        the shorter side needs); `apply_controlled` does with 2.

    Raises:
        ValueError: If a site does not exist or is named twice, or shapes do not fit.
        TypeError: If the gate is complex and the states are real.
    """
    sites = (sites,) if isinstance(sites, int) else tuple(sites)
    _check_sites(state, sites)
    matrix = _fit_gate(state, matrix)
    dims = [state.phys_dims[site] for site in sites]
    size = dims[0] if len(sites) == 1 else dims[0] * dims[-1]
    if matrix.shape[1:] != (size, size):
        raise ValueError(f"`matrix` must be {size} x {size} here, got {tuple(matrix.shape[1:])}.")
    if len(sites) == 1:
        return apply_one_site(state, matrix, sites[0])
    a, b = dims
    blocks = matrix.reshape(-1, a, b, a, b).permute(0, 1, 3, 2, 4)  # batch out in | out in
    units = torch.eye(a * a, dtype=matrix.dtype, device=matrix.device).reshape(1, a * a, a, a)
    return apply_pair(state, units, blocks.reshape(-1, a * a, b, b), sites)


def apply_controlled(
    state: MPS, matrix: Inexact[Tensor, "*b 2 2"], control: int, target: int
) -> MPS:
    """Apply `|0><0| (x) 1 + |1><1| (x) matrix`: exact, and the bond only doubles.

    Args:
        state: States of qubits.
        matrix: The gate on the target where the control is 1: `(2, 2)` or `(batch, 2, 2)`.
        control: Site of the control.
        target: Site of the target, on either side, at any distance.

    Raises:
        ValueError: If a site does not exist, the two are the same, or shapes do not fit.
        TypeError: If the gate is complex and the states are real.

    Source: the operator-Schmidt rank of a controlled gate is 2. Cost: O(batch * bond**2) a site
    from control to target.
    """
    _check_sites(state, (control, target))
    matrix = _fit_gate(state, matrix)
    eye = torch.eye(2, dtype=matrix.dtype, device=matrix.device)
    projectors = torch.diag_embed(eye)[None]  # 1 rank out in: |0><0|, |1><1|
    choices = torch.stack([eye.expand_as(matrix), matrix], dim=1)  # batch rank out in
    return apply_pair(state, projectors, choices, (control, target))


def apply_circuit(state: MPS, circuit: Circuit, parameters: Float[Tensor, "*b parameters"]) -> MPS:
    """Apply every gate of a circuit, first to last.

    Args:
        state: The states, on as many sites as the circuit.
        circuit: What to apply.
        parameters: `(num_parameters,)` shared by all states, or `(batch, num_parameters)`.

    Raises:
        ValueError: If sites or parameters do not fit.
    """
    if state.n_sites != circuit.n_sites:
        raise ValueError(f"`state` has {state.n_sites} sites, `circuit` {circuit.n_sites}.")
    gates = {family: iter(m) for family, m in circuit.matrices(parameters).items()}
    for operation in circuit:
        matrix = next(gates[operation.gate])
        if len(operation.sites) == 1:
            state = apply_gate(state, matrix, operation.sites)
        else:
            state = apply_controlled(state, matrix, *operation.sites)
    return state


def apply_one_site(state: MPS, matrix: Inexact[Tensor, "_b out out"], site: int) -> MPS:
    """Apply `(batch or 1, out, in)` matrices to one site; no checks."""
    tensor = torch.einsum("bqp,blpr->blqr", _grow(matrix, state), state.sites[site])
    return state.with_sites({site: tensor})


def apply_pair(
    state: MPS,
    first: Inexact[Tensor, "_b rank _out1 _in1"],
    second: Inexact[Tensor, "_c rank _out2 _in2"],
    sites: tuple[int, ...],
) -> MPS:
    """Apply the operator `sum_k first[k] (x) second[k]` to two sites; no checks.

    Args:
        state: The states.
        first: Factors on the first site, `(batch or 1, rank, out, in)`.
        second: Factors on the second site.
        sites: The two sites, in either order.
    """
    if sites[0] > sites[1]:
        first, second, sites = second, first, sites[::-1]
    left_site, right_site = sites
    rank = first.shape[1]
    opened = torch.einsum("bkqp,blpr->blqrk", _grow(first, state), state.sites[left_site])
    closed = torch.einsum("bkqp,blpr->blkqr", _grow(second, state), state.sites[right_site])
    tensors = {left_site: opened.flatten(3), right_site: closed.flatten(1, 2)}
    wire = torch.eye(rank, dtype=state.dtype, device=state.device)
    for i in range(left_site + 1, right_site):  # the operator's bond passes through
        passed = torch.einsum("blpr,kj->blkprj", state.sites[i], wire)
        tensors[i] = passed.flatten(4).flatten(1, 2)
    return trim_bonds(state.with_sites(tensors), left_site, right_site)


def _grow(matrix: Tensor, state: MPS) -> Tensor:
    return matrix.expand(state.batch_size, *matrix.shape[1:])


def _check_sites(state: MPS, sites: tuple[int, ...]) -> None:
    if len(sites) not in (1, 2) or len(set(sites)) != len(sites):
        raise ValueError(f"`sites` must be one site or two different ones, got {sites}.")
    if not all(0 <= site < state.n_sites for site in sites):
        raise ValueError(f"`sites` must lie within 0..{state.n_sites - 1}, got {sites}.")


def _fit_gate(state: MPS, matrix: Tensor) -> Tensor:
    """The gate as `(batch or 1, out, in)` in the states' dtype."""
    if matrix.is_complex() and not state.dtype.is_complex:
        raise TypeError(
            f"The gate is complex and the states are {state.dtype}. Convert them first: "
            f"`state.to(torch.complex64)`."
        )
    matrix = matrix if matrix.ndim == 3 else matrix[None]
    if matrix.ndim != 3 or (matrix.shape[0] not in (1, state.batch_size)):
        raise ValueError(
            f"`matrix` must be (out, in) or ({state.batch_size}, out, in), "
            f"got {tuple(matrix.shape)}."
        )
    return matrix.to(state.dtype)
