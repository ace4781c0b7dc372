"""Features to qubits. A new encoding goes here."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def feature_angles(x: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Angle of each feature's qubit, `(tanh(x) + 1) pi / 2`, in (0, pi).

    Source: Kankeu et al. 2025 (arXiv:2501.04591).
    """
    return (torch.tanh(x) + 1) * (math.pi / 2)


def qubit_amplitudes(angles: Float[Tensor, "*b"]) -> Float[Tensor, "*b 2"]:
    """Amplitudes `(cos(angle/2), -sin(angle/2))` of each feature's qubit: phase pi, so real.

    Source: Kankeu et al. 2025 (arXiv:2501.04591), whose phase differs from pi by 1e-9 at most.
    """
    return torch.stack([(angles / 2).cos(), -(angles / 2).sin()], dim=-1)


def bloch_components(
    angles: Float[Tensor, "*b inputs"],
) -> Float[Tensor, "*b 2 inputs"]:
    """Expectation values of X and Z of each feature's qubit, `(-sin(angle), cos(angle))`.

    That of Y vanishes. The components come before the last axis, so that what runs over the inputs
    stays contiguous.
    """
    return torch.stack([-angles.sin(), angles.cos()], dim=-2)


def equalise_norm(x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
    """Each row brought to norm `sqrt(features)`, so that a feature has size about 1.

    Sentence embeddings of queries and of passages differ in norm; a fidelity of angles would see
    that difference, a cosine does not. A row of zeros stays.
    """
    return torch.nn.functional.normalize(x) * math.sqrt(x.shape[1])
