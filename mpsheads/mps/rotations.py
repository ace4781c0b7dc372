"""Circuits of Pauli rotations on observables, with a derivative by hand.

A rotation `exp(-i a P / 2)` by a Pauli string P leaves alone the strings that commute with P, and
turns the others in pairs: `Q -> cos(a) Q + sin(a) i P Q`. Most gates are one or a few of them.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from mpsheads._checks import is_traced
from mpsheads._constants import indices
from mpsheads._derivatives import first_derivative
from mpsheads.mps.circuit import Circuit
from mpsheads.mps.gates import PAULI

_Pairs = tuple[tuple[int, ...], tuple[int, ...]]
_PARTS: dict[str, tuple[tuple[int, float, str], ...]] = {
    # which parameter, times what, of which rotation, first to last
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
    "controlled-unitary": (
        *((3, 0.5, "1Z"), (3, -0.5, "ZZ"), (2, 0.5, "1Y"), (2, -0.5, "ZY")),
        *((1, 0.5, "1Z"), (1, -0.5, "ZZ"), (0, 1.0, "Z1")),
    ),
}


Rotations = tuple[tuple[_Pairs, int, float], ...]
"""Which strings each rotation turns, those of the first list into those of the second, which
parameter it takes, and what its angle is as a multiple of that."""


def as_rotations(circuit: Circuit) -> Rotations | None:
    """The circuit as rotations, `None` if a gate is something else."""
    rotations = []
    for operation in circuit:
        if operation.gate not in _PARTS:
            return None
        for place, factor, letters in _PARTS[operation.gate][:: -1 if operation.adjoint else 1]:
            string = ["1"] * circuit.num_sites
            for site, letter in zip(operation.sites, letters, strict=True):
                string[site] = letter
            sign = -1 if operation.adjoint else 1
            rotations.append((_pairs("".join(string)), operation.start + place, sign * factor))
    return tuple(rotations)


def rotate(
    string: str, rotations: Rotations, parameters: Float[Tensor, "batch _"]
) -> Float[Tensor, "strings batch"]:
    """The observable `U^dagger O U` of a Pauli string O, over all Pauli strings, U the rotations.

    `(4**sites, batch)`, site 0 most significant, letters in the order of `1XYZ`. First derivatives
    only, except where torch traces the code. Cost: O(batch * 4**sites) for each rotation.
    """
    place, num_sites = 0, len(string)
    for letter in string:
        place = 4 * place + PAULI.index(letter)
    if not is_traced(parameters):
        evolved = _Rotate.apply(parameters, place, num_sites, rotations)
        assert isinstance(evolved, Tensor)
        return evolved
    cos, sin = _angles(rotations, parameters)
    observable = parameters.new_zeros(4**num_sites, len(parameters))
    observable = torch.cat([observable[:place], observable[:1] + 1, observable[place + 1 :]])
    for number in range(len(rotations) - 1, -1, -1):
        rows = [indices(strings, observable) for strings in rotations[number][0]]
        first, second = (observable[strings] for strings in rows)
        after = first * cos[number] - second * sin[number]
        other = second * cos[number] + first * sin[number]
        observable = observable.index_copy(0, torch.cat(rows), torch.cat([after, other]))
    return observable


def _angles(rotations: Rotations, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of all rotations, `(rotations, batch)`."""
    halves = indices((round(2 * factor) for _, _, factor in rotations), parameters)
    factors = halves.to(parameters.dtype) / 2
    angles = parameters.T[_places(rotations, parameters)] * factors[:, None]
    return angles.cos(), angles.sin()


def _places(rotations: Rotations, like: Tensor) -> Tensor:
    """Which parameter each rotation takes."""
    return indices((place for _, place, _ in rotations), like)


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, parameters: Tensor, place: int, num_sites: int, rotations: Rotations
    ) -> Tensor:
        cos, sin = _angles(rotations, parameters)
        observable = parameters.new_zeros(4**num_sites, len(parameters))
        observable[place] = 1
        turned: list[Tensor] = []
        for number in range(len(rotations) - 1, -1, -1):
            rows = [indices(strings, observable) for strings in rotations[number][0]]
            turned += _turn(observable, rows, cos[number], sin[number])
        ctx.save_for_backward(parameters, cos, sin, *turned)
        ctx.rotations, ctx.num_parameters = rotations, parameters.shape[1]
        return observable

    @staticmethod
    @first_derivative
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        _, cos, sin, *turned = ctx.saved_tensors
        grad, grad_angles = grads[0].clone(), torch.empty_like(cos)
        total = cos.new_zeros(ctx.num_parameters, cos.shape[1])
        for number, (pairs, _, factor) in enumerate(ctx.rotations):
            rows = [indices(strings, grad) for strings in pairs]
            other, after = turned.pop(), turned.pop()
            first, second = (grad.index_select(0, strings) for strings in rows)
            torch.sum((second * after).addcmul_(first, other, value=-1), 0, out=grad_angles[number])
            grad_angles[number] *= factor
            _turn(grad, rows, cos[number], -sin[number])
        places = _places(ctx.rotations, grad)
        return total.index_add_(0, places, grad_angles).T, None, None, None


def _turn(
    observable: Tensor, rows: Sequence[Tensor], cos: Tensor, sin: Tensor
) -> tuple[Tensor, Tensor]:
    """Turn pairs of strings in place; returns what they are then."""
    first, second = (observable.index_select(0, strings) for strings in rows)
    after = (first * cos).addcmul_(second, sin, value=-1)
    other = (second * cos).addcmul_(first, sin)
    observable.index_copy_(0, rows[0], after).index_copy_(0, rows[1], other)
    return after, other


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
    return tuple(first), tuple(second)
