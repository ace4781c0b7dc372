"""Circuits of Pauli rotations on observables, with a derivative by hand.

A rotation `exp(-i a P / 2)` by a Pauli string P leaves alone the strings that commute with P, and
turns the others in pairs: `Q -> cos(a) Q + sin(a) i P Q`. Most gates are one or a few of them.
"""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from mpsheads._checks import is_concrete
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

    Args:
        string: One letter of `1XYZ` for each site.
        rotations: The rotations, which are done last to first.
        parameters: `(batch, num_parameters)` of the circuit.

    Returns:
        `(4**sites, batch)`, site 0 most significant, letters in the order of `1XYZ`. First
        derivatives only, except where torch traces the code.

    Cost: O(batch * 4**sites) and two calls for each rotation.
    """
    start = torch.zeros(4 ** len(string))
    start[int("".join(str(PAULI.index(letter)) for letter in string), 4)] = 1
    observable = start.to(parameters)[:, None].expand(-1, len(parameters))
    places = torch.tensor([place for _, place, _ in rotations], dtype=torch.long)
    factors = torch.tensor([factor for _, _, factor in rotations]).to(parameters)
    angles = parameters.T[places.to(parameters.device)] * factors[:, None]  # rotations batch
    if not is_concrete(parameters):
        return _rotated(observable, rotations, angles.cos(), angles.sin())[0]
    evolved = _Rotate.apply(observable, rotations, angles)
    assert isinstance(evolved, Tensor)
    return evolved


def _rotated(
    observable: Tensor, rotations: Rotations, cos: Tensor, sin: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """The evolved observable, and the two groups of strings that each rotation leaves."""
    turned: list[Tensor] = []
    find = _rows if is_concrete(cos) else _rows.__wrapped__  # a traced tensor must not be kept
    for number in range(len(rotations) - 1, -1, -1):
        rows = find(rotations[number][0], observable.device)
        pair = _turn(*(observable.index_select(0, r) for r in rows), cos[number], sin[number])
        observable = observable.index_copy(0, rows[0], pair[0]).index_copy(0, rows[1], pair[1])
        turned += pair
    return observable, turned


def _turn(first: Tensor, second: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    return torch.addcmul(first * cos, second, sin, value=-1), (second * cos).addcmul(first, sin)


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, observable: Tensor, rotations: Rotations, angles: Tensor) -> Tensor:
        cos, sin = angles.cos(), angles.sin()
        evolved, turned = _rotated(observable, rotations, cos, sin)
        ctx.save_for_backward(cos, sin, *turned)
        ctx.rotations = rotations
        return evolved

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        cos, sin, *turned = ctx.saved_tensors
        grad, grad_angles = grads[0].clone(), torch.empty_like(cos)
        for number, (pairs, _, _) in enumerate(ctx.rotations):
            rows = _rows(pairs, grad.device)
            other, after = turned.pop(), turned.pop()
            first, second = (grad.index_select(0, strings) for strings in rows)
            torch.sum((second * after).addcmul_(first, other, value=-1), 0, out=grad_angles[number])
            pair = _turn(first, second, cos[number], -sin[number])
            grad.index_copy_(0, rows[0], pair[0]).index_copy_(0, rows[1], pair[1])
        return None, None, grad_angles


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


@lru_cache(maxsize=4096)
def _rows(pairs: _Pairs, device: torch.device) -> tuple[Tensor, Tensor]:
    """`Rotations.pairs` of one rotation as tensors."""
    first, second = (torch.tensor(rows, dtype=torch.long, device=device) for rows in pairs)
    return first, second
