"""Locally purified states: exact mixed states of some sites of an MPS."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from mpsheads.mps.arguments import check_pairs, check_sites, check_weights, fitting_matrix
from mpsheads.mps.chain import Chain, check_chain, pytree
from mpsheads.mps.contract import log_norm
from mpsheads.mps.density import environment_size, step_right
from mpsheads.mps.linalg import qr, to_unit
from mpsheads.mps.observables import expectation
from mpsheads.mps.paths import einsum
from mpsheads.mps.state import MPS


@pytree
@dataclass(frozen=True, repr=False, eq=False)
class PurifiedMPS(Chain):
    """A batch of mixed states `rho = X X^dagger` in a form that cannot lose positivity.

    X maps the Kraus legs to the physical ones and is an MPS with both on each site, times
    `exp(log_norm)`.

    Attributes:
        sites: One tensor `(batch, left, phys, kraus, right)` per site; the first left and the last
            right bond have dimension 1. Kraus dimensions of 1 make a pure state.
        log_norm: Natural logarithm of a factor that multiplies each X, `(batch,)`, real.

    Raises:
        ValueError: If there is no site, or batch sizes, bonds, dtypes or devices do not fit.

    Source: Verstraete, García-Ripoll and Cirac 2004 (arXiv:cond-mat/0406426); De las Cuevas et al.
    2013 (arXiv:1308.1914).
    """

    sites: tuple[Inexact[Tensor, "batch _left _phys _kraus _right"], ...]
    log_norm: Float[Tensor, " batch"]

    def __post_init__(self) -> None:
        check_chain(self, "batch, left, phys, kraus, right", self.log_norm)


def partial_trace(state: MPS, keep: int | Sequence[int]) -> PurifiedMPS:
    """The mixed state of some sites, exactly: the others become Kraus legs of their neighbours.

    Args:
        state: The states.
        keep: The sites that stay, distinct; they keep the order of the chain.

    Returns:
        A mixed state on the sites `keep`, with the bonds that the pure one has there. Its trace is
        the squared norm. A Kraus leg that is larger than the rest of its tensor is turned (an
        isometry, which no density matrix sees) so that it is not: at most phys * left * right.
        First derivatives are right for every function of the density matrix; higher ones are not.

    Raises:
        ValueError: If a site does not exist or is named twice.

    Cost: O(max_bond**6) for each site that is traced out between two others, O(max_bond**3) for
    the rest.
    """
    kept = sorted(check_sites(keep, state.n_sites))
    start = end = state.sites[0].new_ones(state.batch_size, 1, 1, 1)  # b l k r
    log = state.log_norm
    for site in state.sites[: kept[0]]:
        start, log = _scaled(_absorb(start, site), log)
    for site in state.sites[: kept[-1] : -1]:
        end, log = _scaled(_turned(einsum("blpr,brkx->blpkx", site, end).flatten(2, 3)), log)
    sites = []
    for i, until in zip(kept, [*kept[1:], kept[-1] + 1], strict=True):
        rest = state.sites[i].flatten(1, 2)[:, :, None]  # b (l p) k r
        for site in state.sites[i + 1 : until]:
            rest, log = _scaled(_absorb(rest, site), log)
        tensor = rest.unflatten(1, state.sites[i].shape[1:3])  # b l p k r
        if i == kept[0]:
            tensor = einsum("bxjl,blpkr->bxpjkr", start, tensor).flatten(3, 4)
        if i == kept[-1]:
            tensor = einsum("blpkr,brjx->blpkjx", tensor, end).flatten(3, 4)
        sites.append(_turned(tensor.flatten(1, 2)).unflatten(1, tensor.shape[1:3]))
    return PurifiedMPS.unchecked(sites, log)


def purification(rho: PurifiedMPS) -> MPS:
    """The pure states X, each site's Kraus leg merged into its physical one, `(phys, kraus)`."""
    return MPS.unchecked([site.flatten(2, 3) for site in rho.sites], rho.log_norm)


def mixed_to_dense(rho: PurifiedMPS) -> Inexact[Tensor, "batch levels levels"]:
    """Density matrices, site 0 the most significant digit; the trace is not divided out.

    Cost: O(levels**2 * product of Kraus dimensions): for a few sites only.
    """
    x = rho.sites[0].new_ones(rho.batch_size, 1, 1, 1)  # b levels kraus r
    for site in rho.sites:
        x = torch.einsum("bxjl,blpkr->bxpjkr", x, site).flatten(3, 4).flatten(1, 2)
    x = x[..., 0] * rho.log_norm.exp()[:, None, None]
    return x @ x.mH


def mixed_trace(rho: PurifiedMPS) -> Float[Tensor, " {rho.batch_size}"]:
    """Trace of each density matrix. Cost: O(n_sites * max_bond**3 * kraus)."""
    return (2 * log_norm(purification(rho))).exp()


def mixed_purity(rho: PurifiedMPS) -> Float[Tensor, " {rho.batch_size}"]:
    """Purity `tr rho**2 / (tr rho)**2`, between 1 / levels and 1.

    Raises:
        ValueError: If a state is zero or not finite.

    Cost: O(n_sites * max_bond**5 * kraus) a state.
    """
    one = rho.sites[0].new_ones(rho.batch_size, 1, 1)
    return purity_sweep(rho.sites, one, one)


def mixed_expectation(
    rho: PurifiedMPS, operator: Inexact[Tensor, "*b phys phys"], site: int
) -> Inexact[Tensor, " _batch"]:
    """Expectation value `tr(rho O) / tr rho` of a one-site matrix.

    Args:
        rho: The mixed states.
        operator: `(out, in)`, or `(batch, out, in)`, one for each state.
        site: Which site.

    Returns:
        One number per state, as `expectation` returns it.

    Raises:
        ValueError: If the site, dimensions, batch sizes or devices do not fit, or a state is zero
            or not finite.

    Cost: O(n_sites * max_bond**3 * kraus) a state.
    """
    (site,) = check_sites(site, rho.n_sites)
    phys, kraus = rho.sites[site].shape[2:4]
    rho, matrix = fitting_matrix("operator", operator, rho, phys)
    eye = torch.eye(kraus, dtype=matrix.dtype, device=matrix.device)
    return expectation(purification(rho), torch.kron(matrix.contiguous(), eye), site)


def mixed_fidelity(rho: PurifiedMPS, state: MPS) -> Float[Tensor, " {rho.batch_size}"]:
    """Fidelity `<psi| rho |psi>` of each mixed state with a pure one, norms divided out.

    Args:
        rho: Mixed states.
        state: As many pure states on as many sites.

    Returns:
        Between 0 and 1: Uhlmann's fidelity, which for pure states is `|<a|b>|**2`.

    Raises:
        ValueError: If dimensions, batch sizes, dtypes or devices differ, or a state is zero or not
            finite.

    Cost: O(n_sites * max_bond**5) a state, for equal bonds.
    """
    check_pairs(rho=rho, state=state)
    mixed = pure = state.sites[0].new_ones(state.batch_size, 1, 1)  # norms, b l* l
    env = mixed.new_ones(state.batch_size, 1, 1, 1, 1)  # b psi* rho rho* psi
    for x, psi in zip(rho.sites, state.sites, strict=True):
        step = "bxlmy,bxpu,blpkv,bmqkw,byqt->buvwt"
        env = einsum(step, env, psi.conj(), x, x.conj(), psi)
        merged = x.flatten(2, 3)
        mixed, pure = step_right(mixed, merged, merged), step_right(pure, psi, psi)
        sizes = environment_size(mixed)[:, None, None], environment_size(pure)[:, None, None]
        mixed, pure = mixed / sizes[0], pure / sizes[1]
        env = env / (sizes[0] * sizes[1])[..., None, None]
    norm = (mixed * pure)[:, 0, 0].real
    check_weights(norm)
    return env.flatten().real / norm


def purity_sweep(
    sites: Sequence[Inexact[Tensor, "batch _left _phys _kraus _right"]],
    left: Inexact[Tensor, "batch _l _l"],
    right: Inexact[Tensor, "batch _r _r"],
) -> Float[Tensor, " batch"]:
    """Purity of the physical legs of some sites, between a left and a right environment.

    Two copies of the density matrix are contracted at once: bra and ket of a copy share its Kraus
    leg, the physical legs lead to the other copy.
    """
    double = torch.einsum("bml,bny->bmlny", left, left)
    for site in sites:
        site, _ = to_unit(site, 1, 2, 3, 4)  # four of them are multiplied at once
        bra = site.conj()
        step = "bmlny,blpku,bmqkv,byqjs,bnpjt->bvuts"
        double = einsum(step, double, site, bra, site, bra)
        merged = site.flatten(2, 3)
        left = step_right(left, merged, merged)
        size = environment_size(left)
        left, double = left / size[:, None, None], double / size[:, None, None, None, None] ** 2
    norm = torch.einsum("bvu,buv->b", left, right).real
    check_weights(norm)
    return einsum("bvuts,buv,bst->b", double, right, right).real / norm**2


def _absorb(tensor: Tensor, site: Tensor) -> Tensor:
    """A site traced out: the level of the site joins the Kraus leg of `(batch, rows, kraus, r)`."""
    return _turned(einsum("bxkl,blpr->bxkpr", tensor, site).flatten(2, 3))


def _turned(tensor: Tensor) -> Tensor:
    """The same `(batch, rows, kraus, r)` up to an isometry, with a Kraus leg of at most rows * r.

    Only R of the QR is used: what moves outside of it changes the density matrix only in second
    order.
    """
    _, rows, kraus, right = tensor.shape
    if kraus <= rows * right:
        return tensor
    matrix = tensor.movedim(2, 3).flatten(1, 2)  # b (rows r) kraus
    return qr(matrix.mH)[1].mH.unflatten(1, (rows, right)).movedim(3, 2)


def _scaled(tensor: Tensor, log: Tensor) -> tuple[Tensor, Tensor]:
    tensor, size = to_unit(tensor, 1, 2, 3)
    return tensor, log + size.flatten().log()
