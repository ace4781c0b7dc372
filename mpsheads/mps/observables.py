"""Expectation values and correlations of batches of MPS."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from mpsheads._checks import check_choice
from mpsheads.mps.arguments import (
    check_alike,
    check_qubits,
    check_sites,
    check_weights,
    fitting_matrix,
    meet,
    working_dtype,
)
from mpsheads.mps.density import (
    environment_size,
    left_environments,
    one_site_density_matrices,
    reduced_density_matrix,
    right_environments,
    step_right,
)
from mpsheads.mps.mpo import MPO, real_paulis
from mpsheads.mps.paths import einsum
from mpsheads.mps.state import MPS

_FAR = 1e8  # an operator's environment is rescaled where it leaves 1/_FAR.._FAR


def expectation(
    state: MPS,
    operator: Inexact[Tensor, "*b out out"] | str | MPO,
    sites: int | Sequence[int] | None = None,
) -> Inexact[Tensor, " _batch"]:
    """Expectation value of an operator in each state, norms divided out.

    Args:
        state: The states.
        operator: One of
            - a matrix `(out, in)` on `sites`, or `(batch, out, in)`, one for each state; the first
              of `sites` is its most significant digit. It is converted to the precision of the
              states;
            - a Pauli string, one letter of `1XYZ` for each of `sites`, or for every site;
            - an `MPO`, for all states or one for each.
        sites: One site or several, distinct, in any order. Leave it out for an `MPO` or a string
            with a letter for every site.

    Returns:
        One number per state, in the states' dtype. Its imaginary part vanishes for a Hermitian
        operator; of real states only the real part is returned.

    Raises:
        ValueError: If sites, dimensions, batch sizes or devices do not fit, a letter is unknown, or
            a state is zero or a number not finite.

    Cost: O(n_sites * max_bond**3) a state, times the bond dimension of an `MPO`; a matrix costs
    what `reduced_density_matrix` of its sites does.
    """
    if isinstance(operator, MPO):
        if sites is not None:
            raise ValueError(f"`sites` must be left out for an `MPO`, got {sites}.")
        return _like(state, _sandwich(state, operator, squared=False))
    if isinstance(operator, str):
        return _of_string(state, operator, sites)
    if sites is None:
        raise ValueError("`sites` must say where a matrix acts, got None.")
    named = check_sites(sites, state.n_sites)
    levels = math.prod([state.phys_dims[i] for i in named])
    state, matrix = fitting_matrix("operator", operator, state, levels)
    rho = reduced_density_matrix(state, named)
    return _like(state, torch.einsum("bpq,bqp->b", rho.to(matrix.dtype), matrix))


def variance(state: MPS, operator: MPO) -> Float[Tensor, " _batch"]:
    """Variance `<O^dagger O> - |<O>|**2` in each state: zero for eigenstates, never negative.

    Args:
        state: The states.
        operator: An `MPO`, such as a Hamiltonian, for all states or one for each.

    Returns:
        Real numbers. The two terms cancel, which leaves an error of a few roundings of the larger
        one: use double precision for a small variance of a large operator.

    Raises:
        ValueError: If sites, dimensions, batch sizes or devices do not fit, or a state is zero or
            not finite.

    Cost: O(n_sites * max_bond**3 * w**2) a state, w the operator's bond dimension.
    """
    mean = _sandwich(state, operator, squared=False)
    return (_sandwich(state, operator, squared=True).real - mean.abs() ** 2).clamp_min(0)


def correlation(
    state: MPS,
    a: Inexact[Tensor, "*a phys phys"] | str,
    b: Inexact[Tensor, "*b phys phys"] | str,
) -> Inexact[Tensor, "_batch sites sites"]:
    """Connected correlations `<A_i B_j> - <A_i> <B_j>` of all pairs of sites.

    They are computed as `<(A_i - <A_i>) (B_j - <B_j>)>`, so small ones keep their digits.

    Args:
        state: States with one physical dimension throughout.
        a: A one-site matrix `(out, in)`, or `(batch, out, in)`, one for each state, or a letter of
            `1XYZ`.
        b: Another.

    Returns:
        `(batch, sites, sites)`, row i and column j, in the states' dtype; of real states the real
        part. On the diagonal the operators multiply as matrices, A first.

    Raises:
        ValueError: If dimensions or devices do not fit, a letter is unknown, or a state is zero or
            not finite.

    Cost: O(n_sites**2 * max_bond**3) a state, in one sweep of O(n_sites) steps that carries a row
    for each site passed; O(n_sites * max_bond**2) numbers, and n_sites times as many where
    gradients are wanted.
    """
    levels = state.phys_dims[0]
    state, first = fitting_matrix("a", _letter("a", a, state), state, levels)
    state, second = fitting_matrix("b", _letter("b", b, state), state, levels)
    rho = one_site_density_matrices(state)
    dtype = torch.promote_types(first.dtype, second.dtype)
    rho = rho.to(dtype)
    operators = torch.stack([x.to(dtype).expand_as(rho[:, 0]) for x in (first, second)], dim=1)
    means = torch.einsum("bspq,boqp->bso", rho, operators)
    eye = torch.eye(rho.shape[-1], dtype=rho.dtype, device=rho.device)
    centred = operators[:, None] - means[..., None, None] * eye  # b s o p q
    diagonal = torch.einsum("bspq,bsqr,bsrp->bs", rho, centred[:, :, 0], centred[:, :, 1])
    columns, rows = _pairs(state, centred)
    return _like(
        state, torch.stack(columns, dim=2) + torch.stack(rows, dim=1) + torch.diag_embed(diagonal)
    )


def bloch_vectors(state: MPS) -> Float[Tensor, "batch sites 3"]:
    """Bloch vectors `(<X>, <Y>, <Z>)` of every qubit, of length at most 1.

    Raises:
        ValueError: If a site is not a qubit, or a state is zero or not finite.

    Cost: O(n_sites * max_bond**3) a state, for all qubits together.
    """
    check_qubits(state)
    rho = one_site_density_matrices(state)
    off, z = rho[..., 0, 1], rho[..., 0, 0] - rho[..., 1, 1]
    y = -2 * off.imag + 0.0 if off.is_complex() else torch.zeros_like(off)
    return torch.stack([2 * off.real, y, z.real], dim=-1)


def _pairs(state: MPS, centred: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Correlations above the diagonal as columns, those below it as rows, each `(batch, sites)`.

    The sweep carries environments with no operator (one row) and with A or B on each site passed.
    """
    n, rights = state.n_sites, right_environments(state)
    plain = centred.new_ones(state.batch_size, 1, 1)  # b m l
    passed = centred.new_zeros(state.batch_size, 2, 0, 1, 1)  # b o k m l
    columns, rows = [], []
    for j, (site, right) in enumerate(zip(state.sites, rights, strict=True)):
        ket, bra = site.to(centred.dtype), site.to(centred.dtype).conj()
        closed = einsum("blpu,buv,bmqv->blpmq", ket, right.to(ket.dtype), bra)
        norm = einsum("bml,blpmp->b", plain, closed).real
        closed = einsum("blpmq,boqp->boml", closed, centred[:, j].flip(1))  # b o: B, A
        values = torch.einsum("bokml,boml->bok", passed, closed) / norm[:, None, None]
        values = torch.nn.functional.pad(values, (0, n - j))
        columns.append(values[:, 0])  # A_i B_j
        rows.append(values[:, 1])  # A_j B_i
        moved = einsum("boqp,blpu->bolqu", centred[:, j], ket)
        new = step_right(plain[:, None], moved, site.to(ket.dtype)[:, None])
        passed = step_right(passed, ket[:, None, None], ket[:, None, None])
        plain = step_right(plain, ket, ket)
        size = environment_size(plain)
        passed = torch.cat([passed, new[:, :, None]], dim=2) / size[:, None, None, None, None]
        plain = plain / size[:, None, None]
    return columns, rows


def _of_string(state: MPS, string: str, sites: int | Sequence[int] | None) -> Tensor:
    """Expectation value of a Pauli string: one sweep over the sites from its first to its last."""
    check_qubits(state)
    named = check_sites(range(state.n_sites) if sites is None else sites, state.n_sites)
    if len(string) != len(named) or set(string) - set("1XYZ"):
        raise ValueError(
            f"`operator` must have one letter of 1XYZ for each of {len(named)} sites, got "
            f"{string!r}."
        )
    letters = {site: letter for site, letter in zip(named, string, strict=True) if letter != "1"}
    first, last = min(letters, default=0), max(letters, default=0)
    paulis = dict(zip("1XYZ", real_paulis(state.dtype, state.device), strict=True))
    left = left_environments(state, first)[-1]
    env = torch.stack([left, left], dim=1)  # b (without, with the operator) m l
    for i in range(first, last + 1):
        site = state.sites[i][:, None]
        ket = torch.cat([site, paulis[letters[i]] @ site], dim=1) if i in letters else site
        env = step_right(env, ket, site)
        env = env / environment_size(env[:, 0])[:, None, None, None]
    values = torch.einsum("bkvu,buv->bk", env, right_environments(state, last)[0])
    check_weights(values[:, 0].real)
    phase = 1j ** (list(letters.values()).count("Y") % 4)  # exactly
    value = values[:, 1] / values[:, 0].real
    return value * phase if state.dtype.is_complex else value * phase.real


def _sandwich(state: MPS, operator: MPO, *, squared: bool) -> Tensor:
    """`<O>`, or `<O^dagger O>`, in the promoted dtype of states and operator.

    The environment of the norm is carried along and gives the scale, so that no logarithms of
    large numbers are subtracted.
    """
    check_alike(False, state=state, operator=operator)
    state = meet(state, "operator", operator.batch_size)
    dtype = working_dtype(state, operator.dtype)
    plain = torch.ones(state.batch_size, 1, 1, dtype=dtype, device=state.device)  # b m l
    env = plain[:, :, None] if not squared else plain[:, :, None, None]  # b m (y) w l
    log = plain.real.new_zeros(state.batch_size)
    b = "" if operator.batch_size == 1 else "b"
    step = f"bmywl,blpu,{b}wqpr,{b}yqts,bmtv->bvsru" if squared else f"bmwl,blpu,{b}wqpr,bmqv->bvru"
    for site, layer in zip(state.sites, operator.sites, strict=True):
        ket, layer = site.to(dtype), layer.to(dtype)
        layer = layer if b else layer[0]
        layers = (layer, layer.conj()) if squared else (layer,)
        env = einsum(step, env, ket, *layers, ket.conj())
        plain = step_right(plain, ket, ket)
        size = environment_size(plain)
        plain = plain / size[:, None, None]
        env = env / size.reshape(-1, *[1] * (env.ndim - 1))
        size = env.detach().abs().flatten(1).amax(dim=1)
        far = (size > _FAR) | ((size < 1 / _FAR) & (size > 0))
        size = torch.where(far, size, torch.ones_like(size))
        env, log = env / size.reshape(-1, *[1] * (env.ndim - 1)), log + size.log()
    norm = plain[:, 0, 0].real
    check_weights(norm)
    return env.flatten() / norm * log.exp()


def _letter(name: str, operator: Tensor | str, state: MPS) -> Tensor:
    """The matrix that a letter names; complex for Y."""
    if not isinstance(operator, str):
        return operator
    check_qubits(state)
    check_choice(name, operator, ("1", "X", "Y", "Z"))
    matrix = real_paulis(state.dtype, state.device)["1XYZ".index(operator)]
    return 1j * matrix if operator == "Y" else matrix


def _like(state: MPS, value: Tensor) -> Tensor:
    return value if state.dtype.is_complex else value.real
