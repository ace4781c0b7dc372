"""Gate matrices, `(out, in)`, as differentiable functions of their angles.

A new gate family goes here: a function of angles, and its line in `FAMILIES`.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float, Inexact
from torch import Tensor


def rx(angle: Float[Tensor, "*b"]) -> Complex[Tensor, "*b 2 2"]:
    """Rotation `exp(-i angle X / 2)`; `angle` in radians."""
    cos, sin = (angle / 2).cos(), -1j * (angle / 2).sin()
    return _matrix(cos, sin, sin, cos)


def ry(angle: Float[Tensor, "*b"]) -> Complex[Tensor, "*b 2 2"]:
    """Rotation `exp(-i angle Y / 2)`; `angle` in radians."""
    cos, sin = (angle / 2).cos(), (angle / 2).sin()
    return _matrix(cos, -sin, sin, cos)


def rz(angle: Float[Tensor, "*b"]) -> Complex[Tensor, "*b 2 2"]:
    """Rotation `exp(-i angle Z / 2)`; `angle` in radians."""
    phase, zero = torch.exp(-0.5j * angle), torch.zeros_like(angle)
    return _matrix(phase, zero, zero, phase.conj())


def zyz(angles: Float[Tensor, "*b 3"]) -> Complex[Tensor, "*b 2 2"]:
    """Any rotation of a qubit, `Rz(beta) Ry(gamma) Rz(delta)`.

    Args:
        angles: `(beta, gamma, delta)` on the last axis, in radians.

    Source: Nielsen and Chuang, theorem 4.1, without the global phase.
    """
    beta, gamma, delta = angles.unbind(-1)
    cos, sin = (gamma / 2).cos(), (gamma / 2).sin()
    total, difference = torch.exp(0.5j * (beta + delta)), torch.exp(0.5j * (beta - delta))
    return _matrix(total.conj() * cos, -difference.conj() * sin, difference * sin, total * cos)


def unitary(angles: Float[Tensor, "*b 4"]) -> Complex[Tensor, "*b 2 2"]:
    """Any unitary of a qubit, `exp(i alpha) Rz(beta) Ry(gamma) Rz(delta)`.

    Args:
        angles: `(alpha, beta, gamma, delta)` on the last axis, in radians. The phase `alpha`
            matters where the gate is controlled.

    Source: Nielsen and Chuang, theorem 4.1; Kankeu et al. 2025 (arXiv:2501.04591).
    """
    return torch.exp(1j * angles[..., 0])[..., None, None] * zyz(angles[..., 1:])


def controlled(matrix: Inexact[Tensor, "*b 2 2"]) -> Inexact[Tensor, "*b 4 4"]:
    """`|0><0| (x) 1 + |1><1| (x) matrix`, the control first (most significant)."""
    full = torch.zeros(*matrix.shape[:-2], 4, 4, dtype=matrix.dtype, device=matrix.device)
    full[..., 0, 0] = full[..., 1, 1] = 1
    full[..., 2:, 2:] = matrix
    return full


class GateFamily(NamedTuple):
    """How a gate of a circuit turns its parameters into a matrix.

    Attributes:
        num_sites: 1 for a gate on one qubit, 2 for a controlled one (control, target).
        num_parameters: How many angles it takes.
        matrix: From angles `(*b, num_parameters)` to the matrix `(*b, 2, 2)` on its last site.
    """

    num_sites: int
    num_parameters: int
    matrix: Callable[[Tensor], Tensor]


FAMILIES: dict[str, GateFamily] = {
    "rx": GateFamily(1, 1, lambda angles: rx(angles[..., 0])),
    "ry": GateFamily(1, 1, lambda angles: ry(angles[..., 0])),
    "rz": GateFamily(1, 1, lambda angles: rz(angles[..., 0])),
    "zyz": GateFamily(1, 3, zyz),
    "controlled-unitary": GateFamily(2, 4, unitary),
}
"""The gates that a circuit can name."""


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    rows = torch.stack([torch.stack([a, b], -1), torch.stack([c, d], -1)], -2)
    return rows if rows.is_complex() else torch.complex(rows, torch.zeros_like(rows))
