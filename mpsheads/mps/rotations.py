"""Circuits of Pauli rotations on observables, with a derivative by hand.

A rotation `exp(-i a P / 2)` by a Pauli string P leaves alone the strings that commute with P, and
turns the others in pairs: `Q -> cos(a) Q + sin(a) i P Q`. Most gates are one or a few of them. They
are done in place on some rows of the observable, so a circuit on a few sites costs little more than
the calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class Rotations:
    """A circuit as Pauli rotations, first to last.

    Python's numbers only, so that no transform of torch sees them.

    Attributes:
        pairs: The strings that each turns, those of the first list into those of the second.
        places: Which parameter each takes.
        factors: What its angle is as a multiple of that.
    """

    pairs: tuple[_Pairs, ...]
    places: tuple[int, ...]
    factors: tuple[float, ...]

    def rows(self, number: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """`pairs` of one rotation as tensors."""
        first, second = self.pairs[number]
        return _as_tensor(first, device), _as_tensor(second, device)


def as_rotations(circuit: Circuit) -> Rotations | None:
    """The circuit as rotations, `None` if a gate is something else."""
    pairs, places, factors = [], [], []
    for operation in circuit:
        if operation.gate not in _PARTS:
            return None
        for place, factor, letters in _PARTS[operation.gate][:: -1 if operation.adjoint else 1]:
            string = ["1"] * circuit.num_sites
            for site, letter in zip(operation.sites, letters, strict=True):
                string[site] = letter
            pairs.append(_pairs("".join(string)))
            places.append(operation.start + place)
            factors.append(-factor if operation.adjoint else factor)
    return Rotations(tuple(pairs), tuple(places), tuple(factors))


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
    place, num_sites = 0, len(string)
    for letter in string:
        place = 4 * place + PAULI.index(letter)
    if is_concrete(parameters):
        found = _Rotate.apply(parameters, place, num_sites, rotations)
        assert isinstance(found, Tensor)
        return found
    cos, sin = _angles(rotations, parameters)
    observable = parameters.new_zeros(4**num_sites, len(parameters))
    observable = torch.cat([observable[:place], observable[:1] + 1, observable[place + 1 :]])
    for number in range(len(rotations.pairs) - 1, -1, -1):
        first, second = rotations.pairs[number]
        turned, kept = _whole(first, second, len(observable))
        partner = observable[torch.tensor(turned, device=observable.device)]
        signs = torch.tensor(kept, dtype=observable.dtype, device=observable.device)[:, None]
        moving = signs.abs()
        observable = observable * (1 + moving * (cos[number] - 1)) + partner * signs * sin[number]
    return observable


def _angles(rotations: Rotations, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of all rotations, `(rotations, batch)`."""
    places = torch.tensor(rotations.places, dtype=torch.long, device=parameters.device)
    factors = torch.tensor(rotations.factors, dtype=parameters.dtype, device=parameters.device)
    angles = parameters.T[places] * factors[:, None]
    return angles.cos(), angles.sin()


def _whole(first: Sequence[int], second: Sequence[int], size: int) -> tuple[list[int], list[float]]:
    """For each string its partner, itself if it has none, and the sign of what comes from there."""
    partner, sign = list(range(size)), [0.0] * size
    for a, b in zip(first, second, strict=True):
        partner[a], partner[b] = b, a
        sign[a], sign[b] = -1.0, 1.0
    return partner, sign


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, parameters: Tensor, place: int, num_sites: int, rotations: Rotations
    ) -> Tensor:
        cos, sin = _angles(rotations, parameters)
        observable = parameters.new_zeros(4**num_sites, len(parameters))
        observable[place] = 1
        turned = []
        for number in range(len(rotations.pairs) - 1, -1, -1):
            pairs = rotations.rows(number, parameters.device)
            first, second = (observable.index_select(0, rows) for rows in pairs)
            after = (first * cos[number]).addcmul_(second, sin[number], value=-1)
            other = (second * cos[number]).addcmul_(first, sin[number])
            observable.index_copy_(0, pairs[0], after).index_copy_(0, pairs[1], other)
            turned += [after, other]
        ctx.save_for_backward(cos, sin, *turned)
        ctx.rotations, ctx.shape = rotations, parameters.shape
        return observable

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        grad = grads[0].clone()
        cos, sin, *turned = ctx.saved_tensors
        rotations: Rotations = ctx.rotations
        grad_angles = torch.empty_like(cos)
        for number in range(len(rotations.pairs)):
            pairs = rotations.rows(number, grad.device)
            after, other = turned[-2 * number - 2], turned[-2 * number - 1]
            first, second = (grad.index_select(0, rows) for rows in pairs)
            torch.sum((second * after).addcmul_(first, other, value=-1), 0, out=grad_angles[number])
            grad.index_copy_(0, pairs[0], (first * cos[number]).addcmul_(second, sin[number]))
            second = (second * cos[number]).addcmul_(first, sin[number], value=-1)
            grad.index_copy_(0, pairs[1], second)
        places = torch.tensor(rotations.places, dtype=torch.long, device=grad.device)
        grad_angles.mul_(torch.tensor(rotations.factors).to(cos)[:, None])
        total = cos.new_zeros(ctx.shape[1], ctx.shape[0]).index_add_(0, places, grad_angles)
        return total.T, None, None, None


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
def _as_tensor(rows: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(rows, dtype=torch.long, device=device)
