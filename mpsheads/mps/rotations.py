"""Circuits of Pauli rotations on observables, with a derivative by hand.

A rotation `exp(-i a P / 2)` by a Pauli string P leaves alone the strings that commute with P, and
turns the others in pairs: `Q -> cos(a) Q + sin(a) i P Q`. Most gates are one or a few of them.
"""

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
_Rotation = tuple[_Pairs, int, float]
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


Rotations = tuple[_Rotation, ...]
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
        return _Rotate.apply(parameters, place, num_sites, rotations)  # pyright: ignore
    cos, sin = _angles(rotations, parameters)
    observable = parameters.new_zeros(4**num_sites, len(parameters))
    observable = torch.cat([observable[:place], observable[:1] + 1, observable[place + 1 :]])
    for number in range(len(rotations) - 1, -1, -1):
        rows, own, other = _pairs_of(observable, rotations[number])
        turned = (own * cos[number] + other * sin[number]).flatten(0, 1)
        observable = observable.index_copy(0, rows, turned)
    return observable


def _angles(rotations: Rotations, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines `(rotations, batch)`; what the others of the pairs come times, `(_, 2, 1, batch)`."""
    places, factors = _taken(rotations, parameters)
    angles = parameters.T[places] * factors
    sin = angles.sin()
    return angles.cos(), torch.stack([-sin, sin], 1)[:, :, None]


def _taken(rotations: Rotations, like: Tensor) -> tuple[Tensor, Tensor]:
    """Which parameter each rotation takes, and times what: `(rotations, 1)`, all whole halves."""
    halves = indices((round(2 * factor) for _, _, factor in rotations), like)
    return indices((r[1] for r in rotations), like), halves[:, None].to(like.dtype) / 2


def _pairs_of(observable: Tensor, rotation: _Rotation) -> tuple[Tensor, Tensor, Tensor]:
    """Which strings a rotation turns, what they are, and the others: `(2, pairs, batch)`."""
    (first, second), _, _ = rotation
    rows, others = indices(first + second, observable), indices(second + first, observable)
    own = observable.index_select(0, rows).unflatten(0, (2, -1))
    return rows, own, observable.index_select(0, others).unflatten(0, (2, -1))


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
            rows, own, other = _pairs_of(observable, rotations[number])
            turned.append(own.mul_(cos[number]).addcmul_(other, sin[number]))
            observable.index_copy_(0, rows, own.flatten(0, 1))
        ctx.save_for_backward(parameters, cos, sin, *turned)
        ctx.rotations, ctx.num_parameters = rotations, parameters.shape[1]
        return observable

    @staticmethod
    @first_derivative
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        _, cos, sin, *turned = ctx.saved_tensors
        grad, halves = grads[0].clone(), cos.new_empty(len(cos), 2, cos.shape[1])
        for number, rotation in enumerate(ctx.rotations):
            rows, own, other = _pairs_of(grad, rotation)
            torch.sum(turned.pop().mul(other), 1, out=halves[number])
            own.mul_(cos[number]).addcmul_(other, sin[number], value=-1)
            grad.index_copy_(0, rows, own.flatten(0, 1))
        places, factors = _taken(ctx.rotations, cos)
        slopes = (halves[:, 0] - halves[:, 1]) * factors
        total = cos.new_zeros(ctx.num_parameters, cos.shape[1])
        return total.index_add_(0, places, slopes).T, None, None, None


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
