"""Gates, circuits and operators applied to batches of MPS.

A gate on several sites is a matrix product operator whose bonds are its operator-Schmidt rank: it
multiplies the bonds between its sites by that rank, exactly, and nothing is decomposed. Truncation
runs only where a limit demands it.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Inexact
from torch import Tensor
from torch.utils.checkpoint import checkpoint as recompute

from mpsheads._checks import check_equal, is_concrete, is_traced
from mpsheads.mps.arguments import (
    check_alike,
    check_complex,
    check_qubits,
    check_sites,
    fitting_matrix,
    meet,
)
from mpsheads.mps.canonical import Truncation, canonicalize, compress, truncate_window
from mpsheads.mps.chain import alike
from mpsheads.mps.circuit import Circuit
from mpsheads.mps.gate_factors import mirror, reorder, split
from mpsheads.mps.gates import controlled_factors
from mpsheads.mps.mpo import MPO
from mpsheads.mps.schedule import Factors, Layer, SiteGroup, Step, layers
from mpsheads.mps.state import MPS, trim_bonds

_LAYER_RANK = 4  # a bond grows at most by this factor before it is trimmed or truncated
_WIDEST_UNIT = 8  # up to this bond, multiplying its unit matrix along is cheaper than permuting


def apply_gate(
    state: MPS,
    matrix: Inexact[Tensor, "*b out _in"],
    sites: int | Sequence[int],
    truncation: Truncation | None = None,
) -> MPS:
    """Apply a matrix to one, two or three sites, neighbours or not, in any order.

    Args:
        state: The states.
        matrix: `(out, in)` for all states, or `(batch, out, in)` with one gate for each; it need
            not be unitary. The first of `sites` is most significant.
        sites: One site, or up to three different ones.
        truncation: What to keep of the bonds between the sites; by default everything.

    Returns:
        New states. The bonds between the sites grow by the number of products that the gate is a
        sum of: at most phys**2, 2 for a constant controlled gate. A gate that needs gradients is
        taken at its full rank. With a `center`, a truncation stays local.

    Raises:
        ValueError: If a site does not exist or is named twice, or shapes do not fit.
        TypeError: If the gate is complex and the states are real.

    Cost: O(batch * bond**2) a site from the first to the last; with a truncation that of
    `compress` there, and of `canonicalize` up to there.
    """
    named = check_sites(sites, state.n_sites)
    if len(named) > 3:
        raise ValueError(f"`sites` must be one to three different sites, got {named}.")
    dims = [state.phys_dims[site] for site in named]
    state, matrix = _fit_gate(state, matrix, math.prod(dims))
    order = sorted(range(len(named)), key=named.__getitem__)
    places = sorted(named)
    factors = _split(reorder(matrix, order, dims), [dims[i] for i in order])
    if len(named) > 1:
        return _apply_spanning(state, places, factors, truncation)
    grown = _apply_factors(state, places, factors)
    stays = state.center == places[0] or (state.center is not None and _is_unitary(matrix))
    return grown.with_sites({}, center=state.center) if stays else grown


def apply_controlled(
    state: MPS,
    matrix: Inexact[Tensor, "*b 2 2"],
    control: int,
    target: int,
    truncation: Truncation | None = None,
) -> MPS:
    """Apply `|0><0| (x) 1 + |1><1| (x) matrix`: exact, and the bond only doubles.

    Args:
        state: States of qubits.
        matrix: The gate on the target where the control is 1: `(2, 2)` or `(batch, 2, 2)`.
        control: Site of the control.
        target: Site of the target, on either side, at any distance.
        truncation: What to keep of the bonds between the two; by default everything. With a
            `center`, it stays local.

    Raises:
        ValueError: If a site does not exist, the two are the same, or shapes do not fit.
        TypeError: If the gate is complex and the states are real.

    Source: the operator-Schmidt rank of a controlled gate is 2. Cost: O(batch * bond**2) a site
    from control to target.
    """
    check_qubits(state)
    check_sites((control, target), state.n_sites)
    state, matrix = _fit_gate(state, matrix, 2)
    factors = controlled_factors(matrix)
    if control > target:
        factors = mirror(factors)
    return _apply_spanning(state, sorted((control, target)), factors, truncation)


def apply_circuit(
    state: MPS,
    circuit: Circuit,
    parameters: Float[Tensor, "*b parameters"] | None = None,
    truncation: Truncation | None = None,
    *,
    checkpoint: bool = False,
) -> MPS:
    """Apply every gate of a circuit.

    Args:
        state: States of qubits, on as many sites as the circuit.
        circuit: What to apply.
        parameters: `(num_parameters,)` shared by all states, or `(batch, num_parameters)`; by
            default those that the circuit came with.
        truncation: What to keep of each bond; by default everything, in bonds that grow by the
            rank of each gate that crosses them, up to what the shorter side needs.
        checkpoint: Compute each layer again in the backward pass, so that a training step holds the
            states between layers and what one layer needs, rather than all of it. For
            `backward` and `torch.autograd.grad`; `torch.func.grad` takes no checkpoints.

    Returns:
        New states, in the states' dtype.

    Raises:
        ValueError: If sites or parameters do not fit, or a site is no qubit.
        TypeError: If the states are real: gates are complex.

    Cost: sites with the same sequence of gates are one batched contraction, so the number of
    operations on tensors does not grow with the number of sites, but with the depth; their work is
    O(batch * n_sites * bond**2). Gates that all states share are joined into operators first and
    each bond's final tensor is written once. Memory with gradients: the tensors of each layer,
    16 bytes * batch * n_sites * bond**2 in single precision, plus those of `compress`.
    """
    check_equal("number of sites", state=state.n_sites, circuit=circuit.num_sites)
    check_qubits(state)
    check_complex("Gates are", torch.complex64, state)
    parameters = circuit.given(parameters, state.log_norm)
    state = meet(state, "parameters", len(parameters))
    factors: Factors = {
        kind: tuple(factor.to(state.dtype) for factor in found)
        for kind, found in circuit.factors(parameters).items()
    }
    for layer in layers(circuit, factors, _LAYER_RANK):
        if checkpoint:
            state = recompute(apply_layer, state, layer, factors, truncation, use_reentrant=False)  # type: ignore[assignment]
        else:
            state = apply_layer(state, layer, factors, truncation)
    return state


def apply_mpo(state: MPS, operator: MPO, truncation: Truncation | None = None) -> MPS:
    """Apply a matrix product operator.

    Args:
        state: The states.
        operator: One operator for all states, or one for each, on the same sites.
        truncation: What to keep of each bond; by default everything, in bonds that are the
            products of those of the state and the operator.

    Raises:
        ValueError: If sites, physical dimensions or batch sizes do not fit.
        TypeError: If the operator is complex and the states are real.

    Cost: O(batch * n_sites * state_bond**2 * operator_bond**2), then that of `compress`.
    """
    check_alike(False, state=state, operator=operator)
    check_complex("`operator` is", operator.dtype, state)
    state = meet(state, "operator", operator.batch_size)
    layer, factors = [], {}
    for shape, members in alike(site.shape for site in operator.sites).items():
        factors[shape] = (torch.stack([operator.sites[i].to(state.dtype) for i in members]),)
        layer.append(SiteGroup(tuple(members), (Step.of(shape, 0, range(len(members))),)))
    return apply_layer(state, tuple(layer), factors, truncation)


def apply_layer(
    state: MPS, layer: Layer, factors: Factors, truncation: Truncation | None = None
) -> MPS:
    """Apply one layer of a circuit, trim what no bond needs, and truncate; no checks."""
    tensors: dict[int, Tensor] = {}
    for group in layer:
        for members in alike(state.sites[site].shape for site in group.sites).values():
            part = group.part(members)
            sites = torch.stack([state.sites[site] for site in part.sites])
            tensors |= zip(part.sites, _apply_steps(part, factors, sites).unbind(), strict=True)
    grown = trim_bonds(state.with_sites(tensors))
    return grown if truncation is None else compress(grown, truncation)


def _apply_steps(
    group: SiteGroup, factors: Factors, sites: Inexact[Tensor, "g b l p r"]
) -> Inexact[Tensor, "g b _l p _r"]:
    """All factors of a group, applied to its sites one after the other, or joined first.

    Factors that all states share are joined into one operator while they are few numbers.
    """
    steps = [step.factor(factors, sites.shape[3]) for step in group.steps]
    shared = sites.shape[1] > 1 and all(step.shape[1] == 1 for step in steps)
    if shared:
        joined = steps[0]
        for step in steps[1:]:
            joined = _act(step, joined)
        steps = [joined]
    tensor = sites.unsqueeze(4)  # no leg of an operator's input
    for step in steps:
        tensor = _act(step, tensor)
    return tensor.squeeze(4)


def _act(
    factor: Inexact[Tensor, "g _b a q p c"], tensor: Inexact[Tensor, "g _b2 l p e r"]
) -> Inexact[Tensor, "g _b3 _al q e _rc"]:
    """One site of an operator applied to the same site of a state (e = 1), or of an operator."""
    g, b, left, phys, extra, right = tensor.shape
    if left * extra * right == 1 and not is_traced(tensor):  # a product: bound by writing
        _, _, a, q, _, c = factor.shape
        rows = factor.movedim(4, 2).flatten(3)  # g b p (a q c)
        grown = _Spread.apply(tensor.reshape(g, b, phys), rows)
        return grown.reshape(g, -1, a, q, 1, c)  # type: ignore[union-attr]
    if factor.shape[1] == 1 < b and extra == 1 and right <= _WIDEST_UNIT:
        unit = torch.eye(right, dtype=factor.dtype, device=factor.device)
        spread = torch.einsum("gaqpc,sr->gpsaqrc", factor[:, 0], unit)  # the bond passes through
        grown = tensor.reshape(g, b * left, phys * right) @ spread.flatten(3).flatten(1, 2)
        grown = grown.reshape(g, b, left, *factor.shape[2:4], 1, right, factor.shape[5])
    else:
        grown = torch.einsum("gbaqpc,gblper->gblaqerc", factor, tensor)
    return grown.flatten(6, 7).flatten(2, 3)


class _Spread(torch.autograd.Function):
    """`(g, b, p), (g, b or 1, p, n) -> (g, b, n)`: forward by elements, backward by matmul.

    Over an axis of two, products by elements are several times faster than BLAS.
    """

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(vectors, rows)
        columns = vectors.unsqueeze(3).unbind(2)
        total = columns[0] * rows[:, :, 0]
        for column, row in zip(columns[1:], rows.unbind(2)[1:], strict=True):
            total.addcmul_(column, row)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (vectors, rows), (grad,) = ctx.saved_tensors, grads
        grad_vectors = grad_rows = None
        if ctx.needs_input_grad[0]:
            grad_vectors = torch.einsum("gbn,gbpn->gbp", grad, rows.conj())
        if ctx.needs_input_grad[1]:
            path = "gbn,gbp->gpn" if rows.shape[1] == 1 else "gbn,gbp->gbpn"
            grad_rows = torch.einsum(path, grad, vectors.conj()).reshape(rows.shape)
        return grad_vectors, grad_rows


def _apply_spanning(
    state: MPS, places: list[int], factors: Sequence[Tensor], truncation: Truncation | None
) -> MPS:
    """One operator on several sites, and the truncation of the bonds between them.

    With a center the truncation is local: it is moved to the first site, and what lies outside the
    operator stays canonical.
    """
    first, last = places[0], places[-1]
    local = truncation is not None and state.center is not None
    if local:
        state = canonicalize(state, first)
    grown = trim_bonds(_apply_factors(state, places, factors), first, last)
    if truncation is None:
        return grown
    if not local:
        return compress(grown, truncation, first=first, last=last - 1)
    grown = grown.with_sites({}, center=first)
    if not any(truncation.applies_to(bond) for bond in grown.bond_dims[first:last]):
        return canonicalize(grown, last)
    return truncate_window(grown, truncation, first, last - 1, first, last)


def _apply_factors(state: MPS, places: list[int], factors: Sequence[Tensor]) -> MPS:
    """One operator on some sites in ascending order, its bonds passing through those between."""
    tensors = {}
    for place, factor in zip(places, factors, strict=True):
        grown = torch.einsum("baqpc,blpr->blaqrc", factor, state.sites[place])
        tensors[place] = grown.flatten(4, 5).flatten(1, 2)
    for (left, right), factor in zip(pairwise(places), factors[:-1], strict=True):
        wire = torch.eye(factor.shape[-1], dtype=state.dtype, device=state.device)
        for i in range(left + 1, right):
            passed = torch.einsum("blpr,ac->blaprc", state.sites[i], wire)
            tensors[i] = passed.flatten(4, 5).flatten(1, 2)
    return state.with_sites(tensors)


def _split(matrix: Tensor, dims: list[int]) -> tuple[Tensor, ...]:
    """A gate as factors `(b, left, out, in, right)`, of the smaller bond of its two splittings.

    Of a constant gate those products are left out which nothing multiplies: two of four for a
    controlled gate, if the control is at the end that is split off.
    """
    flipped = reorder(matrix, range(len(dims))[::-1], dims)
    plain = _without_zeros(split(matrix, dims))
    mirrored = mirror(_without_zeros(split(flipped, dims[::-1])))
    return plain if plain[0].shape[-1] <= mirrored[0].shape[-1] else mirrored


def _without_zeros(factors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Factors without those parts of their bonds that the one with the gate's numbers lacks."""
    parts = list(factors)
    for i in range(len(parts) - 1):
        used = _used(parts[1], 1 if i == 0 else 4)
        parts[i], parts[i + 1] = parts[i][..., used], parts[i + 1][:, used]
    return tuple(parts)


def _used(legs: Tensor, axis: int) -> list[int]:
    """Entries of an axis along which something is not zero; all of them if gradients are due."""
    if legs.requires_grad or not is_concrete(legs):
        return list(range(legs.shape[axis]))
    others = [i for i in range(legs.ndim) if i != axis]
    return (legs != 0).any(dim=others).nonzero()[:, 0].tolist() or [0]  # type: ignore[arg-type]


def _is_unitary(matrix: Tensor) -> bool:
    if not is_concrete(matrix):
        return False
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    tolerance = 10 * matrix.shape[-1] * torch.finfo(matrix.dtype).eps
    return bool(((matrix.mH @ matrix - eye).abs() <= tolerance).all())


def _fit_gate(state: MPS, matrix: Tensor, levels: int) -> tuple[MPS, Tensor]:
    check_complex("`matrix` is", matrix.dtype, state)
    return fitting_matrix("matrix", matrix, state, levels)
