"""Checks of what callers hand over: sites, states with a norm, matrices that fit to sites."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from jaxtyping import Inexact
from torch import Tensor
from torch.utils import _pytree

from mpsheads._checks import as_integers, check_equal, check_finite, is_concrete
from mpsheads.mps.chain import Chain

State = TypeVar("State", bound=Chain)


def check_sites(sites: int | Sequence[int], n_sites: int) -> tuple[int, ...]:
    """The sites as a tuple; `ValueError` unless they are distinct and exist."""
    named = as_integers("sites", sites)
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


def check_alike(same_dtype: bool = True, /, **states: Chain) -> None:
    """Raise `ValueError` unless sites, devices and maybe dtypes of states and operators agree."""
    wanted = {"n_sites": "number of sites", "phys_dims": "physical dimensions", "device": "device"}
    for name, state in states.items():
        if not isinstance(state, Chain):
            raise TypeError(f"`{name}` must be a batch of states, got {type(state).__name__}.")
    for what, readable in (wanted | ({"dtype": "dtype"} if same_dtype else {})).items():
        check_equal(readable, **{name: getattr(state, what) for name, state in states.items()})


def check_pairs(**states: Chain) -> None:
    """`check_alike` of two batches that are also as large as each other."""
    check_alike(**states)
    (a, first), (b, second) = states.items()
    if first.batch_size != second.batch_size:
        raise ValueError(
            f"The batch size must agree: `{a}` has {first.batch_size}, `{b}` has "
            f"{second.batch_size}. One state is repeated by `{a}[[0] * {second.batch_size}]`."
        )


def meet(state: State, name: str, count: int) -> State:
    """The states, a single one repeated for each of `count` of what the argument `name` holds."""
    if count in (1, state.batch_size):
        return state
    if state.batch_size != 1:
        raise ValueError(
            f"`{name}` must be one for all states, or for each of {state.batch_size}, got {count}."
        )
    return _pytree.tree_map(lambda x: x.expand(count, *x.shape[1:]), state)


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
            f"`{name}` must be finite with a norm above zero, but state {row} of the batch {what} "
            f"in {weight.dtype}. Factors out of its range belong in `log_norm`."
        )


def fitting_matrix(
    name: str, matrix: Tensor, state: State, levels: int
) -> tuple[State, Inexact[Tensor, "_b {levels} {levels}"]]:
    """The states and `(batch or 1, levels, levels)` in their precision, complex if either is.

    A single state is repeated for several matrices.
    """
    if matrix.ndim not in (2, 3) or matrix.shape[-2:] != (levels, levels):
        raise ValueError(
            f"`{name}` must be (out, in) or (batch, out, in) with {levels} levels for these "
            f"sites, got shape {tuple(matrix.shape)}."
        )
    check_equal("device", state=state.device, **{name: matrix.device})
    check_finite(name, matrix)
    matrix = matrix.to(working_dtype(state, matrix.dtype)).reshape(-1, levels, levels)
    return meet(state, name, len(matrix)), matrix


def working_dtype(state: Chain, dtype: torch.dtype) -> torch.dtype:
    """The precision of the states, complex if they or an operator of the given dtype are."""
    return torch.promote_types(state.dtype, torch.complex32) if dtype.is_complex else state.dtype
