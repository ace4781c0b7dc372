"""Gate matrices, `(out, in)`, as differentiable functions of their angles.

A new gate family goes here: a function of angles, and its line in `FAMILIES`. Names are those of
OpenQASM and Qiskit where they have one. Angles are in radians, and the first site is the most
significant.
"""

import cmath
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Float, Inexact
from torch import Tensor

from mpsheads.mps.gate_factors import Rows, complex_of, constant_factors, contract, split

Factors = tuple[Tensor, ...]


def rx(angle: Float[Tensor, "*b"]) -> Complex[Tensor, "*b 2 2"]:
    """Rotation `exp(-i angle X / 2)`."""
    cos, sin = (angle / 2).cos(), -1j * (angle / 2).sin()
    return _matrix([[cos, sin], [sin, cos]])


def ry(angle: Float[Tensor, "*b"]) -> Complex[Tensor, "*b 2 2"]:
    """Rotation `exp(-i angle Y / 2)`."""
    cos, sin = (angle / 2).cos(), (angle / 2).sin()
    return _matrix([[cos, -sin], [sin, cos]])


def rz(angle: Float[Tensor, "*b"]) -> Complex[Tensor, "*b 2 2"]:
    """Rotation `exp(-i angle Z / 2)`."""
    phase = _cis(-angle / 2)
    return _matrix([[phase, 0], [0, phase.conj()]])


def phase(angle: Float[Tensor, "*b"]) -> Complex[Tensor, "*b 2 2"]:
    """`diag(1, exp(i angle))`."""
    return _matrix([[1, 0], [0, _cis(angle)]])


def zyz(angles: Float[Tensor, "*b 3"]) -> Complex[Tensor, "*b 2 2"]:
    """Any rotation of a qubit, `Rz(beta) Ry(gamma) Rz(delta)`.

    Args:
        angles: `(beta, gamma, delta)` on the last axis, in radians.

    Source: Nielsen and Chuang, theorem 4.1, without the global phase.
    """
    beta, gamma, delta = angles.unbind(-1)
    cos, sin = (gamma / 2).cos(), (gamma / 2).sin()
    total, difference = _cis((beta + delta) / 2), _cis((beta - delta) / 2)
    stay, flip = total * cos, difference * sin
    return _matrix([[stay.conj(), -flip.conj()], [flip, stay]])


def su2(vector: Float[Tensor, "*b 3"]) -> Complex[Tensor, "*b 2 2"]:
    """Rotation about an axis, `exp(-i (x X + y Y + z Z) / 2)`: smooth also at the identity.

    Args:
        vector: `(x, y, z)` on the last axis: the axis times the angle in radians.

    Source: Nielsen and Chuang, equation 4.8.
    """
    size = vector.detach().abs().amax(-1).clamp_min(1)  # whose square may be out of range
    square = (vector / size[..., None]).square().sum(-1)  # all is smooth in it, not in the norm
    near = square < 1e-4
    angle = torch.where(near, torch.ones_like(square), square).sqrt() * size
    cos = torch.where(near, 1 - square / 8 + square**2 / 384, (angle / 2).cos())
    series = 0.5 - square / 48 + square**2 / 3840
    x, y, z = (vector * torch.where(near, series, (angle / 2).sin() / angle)[..., None]).unbind(-1)
    return _matrix([[cos - 1j * z, -1j * x - y], [-1j * x + y, cos + 1j * z]])


def unitary(angles: Float[Tensor, "*b 4"]) -> Complex[Tensor, "*b 2 2"]:
    """Any unitary of a qubit, `exp(i alpha) Rz(beta) Ry(gamma) Rz(delta)`.

    Args:
        angles: `(alpha, beta, gamma, delta)` on the last axis, in radians. The phase `alpha`
            matters where the gate is controlled.

    Source: Nielsen and Chuang, theorem 4.1; Kankeu et al. 2025 (arXiv:2501.04591).
    """
    return _cis(angles[..., 0])[..., None, None] * zyz(angles[..., 1:])


def controlled(matrix: Inexact[Tensor, "*b 2 2"]) -> Inexact[Tensor, "*b 4 4"]:
    """`|0><0| (x) 1 + |1><1| (x) matrix`, the control first (most significant)."""
    upper = torch.eye(2, 4, dtype=matrix.dtype, device=matrix.device)
    lower = torch.cat([torch.zeros_like(matrix), matrix], -1)
    return torch.cat([upper.expand_as(lower), lower], -2)


def controlled_factors(matrix: Inexact[Tensor, "*b 2 2"]) -> Factors:
    """`controlled(matrix)` as an MPO of bond 2: projectors on the control, choices after."""
    eye = torch.eye(2, dtype=matrix.dtype, device=matrix.device)
    projectors = torch.diag_embed(eye).movedim(0, -1)[None]  # 1 out in rank: |0><0|, |1><1|
    choices = torch.stack([eye.expand_as(matrix), matrix], -3)[..., None]  # rank out in 1
    return projectors.expand(*matrix.shape[:-2], 1, 2, 2, 2), choices


def interaction_factors(angle: Float[Tensor, "*b"], pauli: str) -> Factors:
    """`exp(-i angle P (x) P / 2) = cos(angle / 2) 1 (x) 1 - i sin(angle / 2) P (x) P`: bond 2."""
    eye, matrix = (_matrix(CONSTANTS[name], angle) for name in ("id", pauli))
    cos, sin = (angle / 2).cos()[..., None, None], -1j * (angle / 2).sin()[..., None, None]
    first = torch.stack([eye, matrix], -1)[..., None, :, :, :]
    return first, torch.stack([cos * eye, sin * matrix], -3)[..., None]


def fsim(angles: Float[Tensor, "*b 2"]) -> Complex[Tensor, "*b 4 4"]:
    """Fermionic simulation gate: hopping by `theta`, interaction by `phi`.

    Args:
        angles: `(theta, phi)` on the last axis.

    Source: Foxen et al. 2020 (arXiv:2001.08343), equation 1; `cirq.FSimGate`.
    """
    theta, phi = angles.unbind(-1)
    c, s = theta.cos(), -1j * theta.sin()
    return _matrix([[1, 0, 0, 0], [0, c, s, 0], [0, s, c, 0], [0, 0, 0, _cis(-phi)]])


def givens(angle: Float[Tensor, "*b"]) -> Complex[Tensor, "*b 4 4"]:
    """Givens rotation of `|01>` and `|10>`: real hopping, as `cirq.givens`."""
    c, s = angle.cos(), angle.sin()
    return _matrix([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]])


def canonical(angles: Float[Tensor, "*b 3"]) -> Complex[Tensor, "*b 4 4"]:
    """`exp(i (a X (x) X + b Y (x) Y + c Z (x) Z))`.

    Args:
        angles: `(a, b, c)` on the last axis.
    """
    a, b, c = angles.unbind(-1)
    even, odd = _cis(c), _cis(-c)
    p, q = even * (a - b).cos(), 1j * even * (a - b).sin()
    r, s = odd * (a + b).cos(), 1j * odd * (a + b).sin()
    return _matrix([[p, 0, 0, q], [0, r, s, 0], [0, s, r, 0], [q, 0, 0, p]])


def su4(angles: Float[Tensor, "*b 15"]) -> Complex[Tensor, "*b 4 4"]:
    """Any two-qubit gate up to phase, `(A (x) B) exp(i (a XX + b YY + c ZZ)) (C (x) D)`.

    Args:
        angles: Those of `su2` for A and B, then `(a, b, c)`, then those of C and D.

    Source: the KAK decomposition; Vatan and Williams 2004 (quant-ph/0308006), theorem 1.
    """
    a, b, c, d = (su2(angles[..., i : i + 3]) for i in (0, 3, 9, 12))
    return kron(a, b) @ canonical(angles[..., 6:9]) @ kron(c, d)


def kron(first: Inexact[Tensor, "*b m m"], second: Inexact[Tensor, "*b n n"]) -> Tensor:
    """Tensor product of each pair of matrices in two batches."""
    product = first[..., :, None, :, None] * second[..., None, :, None, :]
    return product.flatten(-4, -3).flatten(-2, -1)


_H, _T = 0.5**0.5, cmath.exp(0.25j * math.pi)


def _permutation(*columns: int) -> Rows:
    return tuple(tuple(complex(j == k) for k in range(len(columns))) for j in columns)


CONSTANTS: dict[str, Rows] = {
    "id": ((1, 0), (0, 1)),
    "h": ((_H, _H), (_H, -_H)),
    "x": ((0, 1), (1, 0)),
    "y": ((0, -1j), (1j, 0)),
    "z": ((1, 0), (0, -1)),
    "s": ((1, 0), (0, 1j)),
    "sdg": ((1, 0), (0, -1j)),
    "t": ((1, 0), (0, _T)),
    "tdg": ((1, 0), (0, _T.conjugate())),
    "cx": _permutation(0, 1, 3, 2),
    "cz": ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, -1)),
    "swap": _permutation(0, 2, 1, 3),
    "iswap": ((1, 0, 0, 0), (0, 0, 1j, 0), (0, 1j, 0, 0), (0, 0, 0, 1)),
    "ccx": _permutation(0, 1, 2, 3, 4, 5, 7, 6),
}
"""The gates without parameters, row by row."""

PAULI = "1XYZ"
"""The letters of Pauli strings, in the order of their numbers in base 4."""


@dataclass(frozen=True)
class GateFamily:
    """How a gate of a circuit turns its parameters into a matrix.

    Attributes:
        num_sites: How many qubits it acts on.
        num_parameters: How many angles it takes.
        matrix: From angles `(*b, num_parameters)` to the unitary `(*b, 2**num_sites,
            2**num_sites)`, complex, in the precision of the angles; the first site is most
            significant.
        special: From the same angles to `factors`, where the gate's operator-Schmidt rank is below
            4.
    """

    num_sites: int
    num_parameters: int
    matrix: Callable[[Tensor], Tensor]
    special: Callable[[Tensor], Factors] | None = None

    def factors(self, angles: Float[Tensor, "*b {self.num_parameters}"]) -> Factors:
        """The gate as an MPO of its exact operator-Schmidt rank, differentiable in the angles.

        Returns:
            One tensor `(*b, left, out, in, right)` for each site, outer bonds 1.
        """
        return self.special(angles) if self.special else split(self.matrix(angles))


def _one(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda angles: function(angles[..., 0])


def _of_rank_two(num_parameters: int, factors: Callable[[Tensor], Factors]) -> GateFamily:
    return GateFamily(2, num_parameters, lambda angles: contract(factors(angles)), factors)


def _controlled(num_parameters: int, target: Callable[[Tensor], Tensor]) -> GateFamily:
    return _of_rank_two(num_parameters, lambda angles: controlled_factors(target(angles)))


def _interaction(pauli: str) -> GateFamily:
    return _of_rank_two(1, lambda angles: interaction_factors(angles[..., 0], pauli))


def _constant(rows: Rows) -> GateFamily:
    return GateFamily(
        len(rows).bit_length() - 1,
        0,
        lambda angles: constant_matrix(rows, angles),
        lambda angles: tuple(constant_matrix(factor, angles) for factor in constant_factors(rows)),
    )


FAMILIES: dict[str, GateFamily] = {
    "rx": GateFamily(1, 1, _one(rx)),
    "ry": GateFamily(1, 1, _one(ry)),
    "rz": GateFamily(1, 1, _one(rz)),
    "p": GateFamily(1, 1, _one(phase)),
    "zyz": GateFamily(1, 3, zyz),
    "su2": GateFamily(1, 3, su2),
    "cp": _controlled(1, _one(phase)),
    "crx": _controlled(1, _one(rx)),
    "cry": _controlled(1, _one(ry)),
    "crz": _controlled(1, _one(rz)),
    "controlled-unitary": _controlled(4, unitary),
    "rxx": _interaction("x"),
    "ryy": _interaction("y"),
    "rzz": _interaction("z"),
    "fsim": GateFamily(2, 2, fsim),
    "givens": GateFamily(2, 1, _one(givens)),
    "su4": GateFamily(2, 15, su4),
    **{name: _constant(rows) for name, rows in CONSTANTS.items()},
}
"""The gates that a circuit can name."""


def constant_matrix(numbers: Rows | np.ndarray, like: Tensor) -> Tensor:
    """Constant numbers as a complex tensor for each row of angles."""
    tensor = torch.tensor(numbers, dtype=complex_of(like.dtype), device=like.device)
    return tensor.expand(*like.shape[:-1], *tensor.shape)


def _cis(angle: Tensor) -> Tensor:
    """`exp(i angle)`, ten times faster than the complex exponential."""
    return torch.complex(angle.cos(), angle.sin())


def _matrix(rows: Sequence[Sequence[Any]], like: Tensor | None = None) -> Tensor:
    """A complex matrix from rows of tensors and numbers, in the shape and precision of `like`.

    Numbers are filled in on the device, so nothing is copied to a GPU.
    """
    entries = [entry for row in rows for entry in row]
    like = like if like is not None else next(e for e in entries if isinstance(e, Tensor))
    dtype = complex_of(like.dtype)
    tensors = [
        entry.to(dtype) if isinstance(entry, Tensor) else torch.full_like(like, entry, dtype=dtype)
        for entry in entries
    ]
    return torch.stack(tensors, -1).unflatten(-1, (len(rows), len(rows)))
