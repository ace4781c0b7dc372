"""Circuits of Pauli rotations on observables, with a derivative by hand.

A rotation `exp(-i a P / 2)` by a Pauli string P leaves alone the strings that commute with P, and
turns the others in pairs: `Q -> cos(a) Q + sin(a) i P Q`. Most gates are one or a few of them. They
are done in place on some rows of the observable, so a circuit on a few sites costs little more than
the calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from mpsheads.mps.circuit import Circuit, Operation

PAULI = "1XYZ"

_PARTS: dict[str, tuple[tuple[int, float, str], ...]] = {
    # which parameter, times what, of which rotation, first to last; they commute but for "zyz"
    "rx": ((0, 1.0, "X"),),
    "ry": ((0, 1.0, "Y"),),
    "rz": ((0, 1.0, "Z"),),
    "p": ((0, 1.0, "Z"),),
    "zyz": ((2, 1.0, "Z"), (1, 1.0, "Y"), (0, 1.0, "Z")),
    "rxx": ((0, 1.0, "XX"),),
    "ryy": ((0, 1.0, "YY"),),
    "rzz": ((0, 1.0, "ZZ"),),
    "crx": ((0, 0.5, "1X"), (0, -0.5, "ZX")),
    "cry": ((0, 0.5, "1Y"), (0, -0.5, "ZY")),
    "crz": ((0, 0.5, "1Z"), (0, -0.5, "ZZ")),
    "cp": ((0, 0.5, "Z1"), (0, 0.5, "1Z"), (0, -0.5, "ZZ")),
}


class _Pairs(NamedTuple):
    """The strings that a rotation turns, each of `first` into that of `second`."""

    first: Tensor
    second: Tensor


@dataclass(frozen=True, eq=False)
class Rotations:
    """A circuit as Pauli rotations, first to last.

    Attributes:
        pairs: Which strings each turns.
        places: Which parameter each takes.
        factors: What its angle is as a multiple of that.
    """

    pairs: tuple[_Pairs, ...]
    places: Tensor
    factors: Tensor


def as_rotations(circuit: Circuit) -> Rotations | None:
    """The circuit as rotations, `None` if a gate is something else; kept with the circuit."""
    if "_rotations" not in circuit.__dict__:
        circuit.__dict__["_rotations"] = _find(circuit)
    return circuit.__dict__["_rotations"]


def rotate(
    place: int, num_sites: int, rotations: Rotations, parameters: Float[Tensor, "batch _"]
) -> Float[Tensor, "strings batch"]:
    """A Pauli string after all rotations, last to first.

    Args:
        place: The string as a number in base 4.
        num_sites: Its length.
        rotations: The rotations.
        parameters: `(batch, num_parameters)` of the circuit.

    Returns:
        `(4**num_sites, batch)`. First derivatives only.
    """
    found = _Rotate.apply(parameters, place, num_sites, rotations)
    assert isinstance(found, Tensor)
    return found


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, parameters: Tensor, place: int, num_sites: int, rotations: Rotations
    ) -> Tensor:
        places = rotations.places.to(parameters.device)
        angles = parameters.T[places] * rotations.factors.to(parameters)[:, None]
        cos, sin = angles.cos(), angles.sin()
        observable = parameters.new_zeros(4**num_sites, len(parameters))
        observable[place] = 1
        turned = []
        for number in range(len(rotations.pairs) - 1, -1, -1):
            pairs = rotations.pairs[number]
            first, second = (observable.index_select(0, rows) for rows in pairs)
            after = (first * cos[number]).addcmul_(second, sin[number], value=-1)
            other = (second * cos[number]).addcmul_(first, sin[number])
            observable.index_copy_(0, pairs.first, after).index_copy_(0, pairs.second, other)
            turned += [after, other]
        ctx.save_for_backward(cos, sin, places, *turned)
        ctx.rotations, ctx.shape = rotations, parameters.shape
        return observable

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        grad = grads[0].clone()
        cos, sin, places, *turned = ctx.saved_tensors
        grad_angles = torch.empty_like(cos)
        for number, pairs in enumerate(ctx.rotations.pairs):
            after, other = turned[-2 * number - 2], turned[-2 * number - 1]
            first, second = (grad.index_select(0, rows) for rows in pairs)
            torch.sum((second * after).addcmul_(first, other, value=-1), 0, out=grad_angles[number])
            grad.index_copy_(0, pairs.first, (first * cos[number]).addcmul_(second, sin[number]))
            second = (second * cos[number]).addcmul_(first, sin[number], value=-1)
            grad.index_copy_(0, pairs.second, second)
        grad_angles.mul_(ctx.rotations.factors.to(cos)[:, None])
        total = cos.new_zeros(ctx.shape[1], ctx.shape[0]).index_add_(0, places, grad_angles)
        return total.T, None, None, None


def _find(circuit: Circuit) -> Rotations | None:
    pairs, places, factors = [], [], []
    for operation in circuit:
        parts = _parts(operation)
        if parts is None:
            return None
        for place, factor, letters in parts:
            string = ["1"] * circuit.num_sites
            for site, letter in zip(operation.sites, letters, strict=True):
                string[site] = letter
            pairs.append(_pairs("".join(string)))
            places.append(place)
            factors.append(factor)
    return Rotations(tuple(pairs), torch.tensor(places, dtype=torch.long), torch.tensor(factors))


def _parts(operation: Operation) -> Sequence[tuple[int, float, str]] | None:
    """The rotations of an operation: parameter, factor, letters on its sites."""
    if operation.gate not in _PARTS:
        return None
    parts = [
        (operation.start + place, factor, letters)
        for place, factor, letters in _PARTS[operation.gate]
    ]
    if operation.adjoint:
        parts = [(place, -factor, letters) for place, factor, letters in reversed(parts)]
    return parts


@lru_cache(maxsize=4096)
def _pairs(string: str) -> _Pairs:
    """The strings Q with `i P Q` a string, not minus one, for P = `string`, and what that is."""
    first, second = [], []
    for number in range(4 ** len(string)):
        quarters, product = 1, 0  # i P Q = i**quarters * product
        for site, letter in enumerate(string):
            a, b = PAULI.index(letter), number >> 2 * (len(string) - 1 - site) & 3
            product = 4 * product + (a ^ b)  # 1, X, Y, Z as 0 to 3: the exclusive or
            if a and b and a != b:
                quarters += 1 if (b - a) % 3 == 1 else 3  # X Y = i Z and so on around
        if quarters % 4 == 0:  # that of the other one of the pair is 2; commuting ones are odd
            first.append(number)
            second.append(product)
    return _Pairs(torch.tensor(first, dtype=torch.long), torch.tensor(second, dtype=torch.long))
