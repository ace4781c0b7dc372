"""Checks of what callers hand over: sites, states with a norm, matrices that fit to sites."""

from collections.abc import Sequence

import torch
from jaxtyping import Inexact
from torch import Tensor

from mpsheads._checks import check_equal, check_finite, is_concrete
from mpsheads.mps.chain import Chain


def check_sites(sites: int | Sequence[int], n_sites: int) -> tuple[int, ...]:
    """The sites as a tuple; `ValueError` unless they are distinct and exist."""
    named = (sites,) if isinstance(sites, int) else tuple(sites)
    if not named:
        raise ValueError("`sites` must name at least one site.")
    if len(set(named)) != len(named) or not all(0 <= site < n_sites for site in named):
        raise ValueError(
            f"`sites` must be distinct and lie within 0..{n_sites - 1}, got {list(named)}."
        )
    return named


def check_qubits(state: Chain) -> None:
    """Raise `ValueError` unless every site is a qubit."""
    if set(state.phys_dims) != {2}:
        raise ValueError(f"`state` must be one of qubits, got dimensions {state.phys_dims}.")


def check_alike(**states: Chain) -> None:
    """Raise `ValueError` unless sites, dtypes and devices of the named states agree."""
    for what in ("phys_dims", "dtype", "device"):
        readable = "physical dimensions" if what == "phys_dims" else what
        check_equal(readable, **{name: getattr(state, what) for name, state in states.items()})


def check_complex(what: str, dtype: torch.dtype, state: Chain) -> None:
    """Raise `TypeError` if something complex is to act on real states."""
    if dtype.is_complex and not state.dtype.is_complex:
        raise TypeError(
            f"{what} complex and the states are {state.dtype}. Convert them first: "
            f"`state.to(torch.complex64)`."
        )


def check_weights(weight: Tensor, name: str = "state") -> None:
    """Raise `ValueError` unless every state, along the first axis, has a norm to divide out."""
    if not is_concrete(weight):
        return
    good = (weight > 0) & weight.isfinite()
    if not good.all():
        row = int((~good).reshape(len(weight), -1).any(dim=1).nonzero()[0])
        what = "is zero" if (weight[row] == 0).any() else "holds NaN or infinity"
        raise ValueError(
            f"`{name}` must be finite with a norm above zero, but state {row} of the batch {what}."
        )


def fitting_matrix(
    name: str, matrix: Tensor, state: Chain, levels: int
) -> Inexact[Tensor, "_b {levels} {levels}"]:
    """`(batch or 1, levels, levels)` in the states' precision, complex if either is."""
    if matrix.ndim not in (2, 3) or matrix.shape[-2:] != (levels, levels):
        raise ValueError(
            f"`{name}` must be (out, in) or (batch, out, in) with {levels} levels for these "
            f"sites, got shape {tuple(matrix.shape)}."
        )
    if matrix.ndim == 3 and len(matrix) not in (1, state.batch_size):
        raise ValueError(
            f"`{name}` must have one matrix for each of {state.batch_size} states, got "
            f"{len(matrix)}."
        )
    check_equal("device", state=state.device, **{name: matrix.device})
    check_finite(name, matrix)
    return matrix.to(working_dtype(state, matrix.dtype)).reshape(-1, levels, levels)


def working_dtype(state: Chain, dtype: torch.dtype) -> torch.dtype:
    """The precision of the states, complex if they or an operator of the given dtype are."""
    return torch.promote_types(state.dtype, torch.complex32) if dtype.is_complex else state.dtype
