"""The circuit of Kankeu et al. 2025 (arXiv:2501.04591), simulated pair by pair as the paper does.

Every pair of qubits of every embedding goes through complex 2 x 2 and 4 x 4 matrix products, a
density matrix and a partial trace. It is what the closed form of `ReferenceHead` is timed against.
"""

import math

import torch
from torch import Tensor


def amplitudes(embeddings: Tensor, angles_raw: Tensor) -> Tensor:
    """Real amplitudes of the kept qubits.

    Args:
        embeddings: `(batch, registers * n)`, float32 or float64.
        angles_raw: `(registers - 1, 3, n, 4)`, as the parameter of `ReferenceHead`.

    Returns:
        `(batch, n, 2)`, not negative.
    """
    registers = angles_raw.shape[0] + 1
    qubits = _encode(embeddings).unflatten(1, (registers, -1))  # batch register n 2
    gates = _zyz(2 * math.pi * (torch.tanh(angles_raw) + 1))  # step gate n 2 2
    control = qubits[:, registers - 1]
    for step in range(registers - 1):
        on_control, on_target, controlled = gates[step]
        target = qubits[:, registers - 2 - step]
        control = (on_control @ control[..., None]).squeeze(-1)
        target = (on_target @ target[..., None]).squeeze(-1)
        pair = (control[..., :, None] * target[..., None, :]).flatten(-2)  # batch n 4
        density = pair[..., :, None] * pair.conj()[..., None, :]
        gate = _controlled(controlled)
        density = gate @ density @ gate.mH
        density = density.unflatten(-1, (2, 2)).unflatten(-3, (2, 2))  # batch n c t c* t*
        traced = density[..., 0, :, 0, :] + density[..., 1, :, 1, :]
        probabilities = torch.diagonal(traced, dim1=-2, dim2=-1).real
        probabilities = probabilities.clamp_min(torch.finfo(embeddings.dtype).tiny)
        control = probabilities.sqrt().to(pair.dtype)
    return control.real if registers > 1 else control.abs()


def fidelity(queries: Tensor, documents: Tensor) -> Tensor:
    """Product over qubits of the squared overlap, `(queries, documents)`, of amplitudes."""
    return (queries[:, None] * documents[None]).sum(-1).square().prod(-1)


def _encode(x: Tensor) -> Tensor:
    """`cos(theta/2)|0> + e^(i pi) sin(theta/2)|1>`, theta = (tanh(x) + 1) pi / 2."""
    theta = (torch.tanh(x) + 1) * math.pi / 2
    one = torch.exp(1j * torch.full_like(theta, math.pi)) * (theta / 2).sin()
    return torch.stack([(theta / 2).cos().to(one.dtype), one], dim=-1)


def _zyz(angles: Tensor) -> Tensor:
    """`e^(i alpha) Rz(beta) Ry(gamma) Rz(delta)`, `(*, 2, 2)` from angles `(*, 4)`."""
    alpha, beta, gamma, delta = angles.unbind(-1)
    cos, sin = (gamma / 2).cos(), (gamma / 2).sin()
    rows = [
        torch.exp(1j * (alpha - beta / 2 - delta / 2)) * cos,
        -torch.exp(1j * (alpha - beta / 2 + delta / 2)) * sin,
        torch.exp(1j * (alpha + beta / 2 - delta / 2)) * sin,
        torch.exp(1j * (alpha + beta / 2 + delta / 2)) * cos,
    ]
    return torch.stack(rows, dim=-1).unflatten(-1, (2, 2))


def _controlled(gate: Tensor) -> Tensor:
    """`|0><0| (x) 1 + |1><1| (x) gate`, `(*, 4, 4)` from `(*, 2, 2)`."""
    full = torch.zeros(*gate.shape[:-2], 4, 4, dtype=gate.dtype, device=gate.device)
    full[..., 0, 0] = full[..., 1, 1] = 1
    full[..., 2:, 2:] = gate
    return full
