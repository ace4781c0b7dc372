"""The paper's head: the circuit of Kankeu et al. 2025 by its closed form in real numbers."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpsheads.encodings import equalise_norm, feature_angles
from mpsheads.heads.angles import FidelityHead
from mpsheads.heads.base import check_input
from mpsheads.heads.readouts import probability_angle


class ReferenceHead(FidelityHead):
    """The head of the paper, with its parameters and its circuit.

    An embedding fills R = in_features / out_features registers of n = out_features qubits. Step by
    step, register R-1 down to 1 controls the next one: qubit k of either register is rotated (ZYZ),
    a controlled unitary acts on the pair, the control is traced out, and the target is written back
    as the real amplitudes `(sqrt(p0), sqrt(p1))` of its measurement. Register 0 is the output. No
    entanglement outlives a gate.

    Args:
        in_features: Width of the embeddings.
        out_features: Width of the compressed vectors; divides `in_features`.
        normalize: Bring each embedding to norm `sqrt(in_features)` first. The paper does not; with
            sentence embeddings, whose norm differs between queries and passages, it helps.
        generator: Source of the initial parameters; torch's default one if `None`.

    Attributes:
        angles_raw: The one parameter, `(R-1, 3, n, 4)`: step; gate on the control, on the target,
            controlled gate; qubit; alpha, beta, gamma, delta. Each number t stands for the angle
            `2 pi (tanh(t) + 1)`. Near zero the circuit is near the identity.

    Raises:
        ValueError: If `out_features` does not divide `in_features`.

    Source: Kankeu et al. 2025 (arXiv:2501.04591). 12 n (R - 1) parameters: 6,144 at 768 -> 256.
    Cost: about ten multiply-adds a feature, beside its tanh, sine and cosine.
    """

    name = "reference"

    def __init__(
        self,
        in_features: int = 768,
        out_features: int = 256,
        *,
        normalize: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(in_features, out_features, normalize=normalize)
        self.normalize = normalize
        shape = (self.registers - 1, 3, out_features, 4)
        self.angles_raw = nn.Parameter(0.01 * torch.randn(shape, generator=generator))

    def forward(self, x: Float[Tensor, "batch _"]) -> Float[Tensor, "batch {self.out_features}"]:
        """Compress embeddings to angles in [0, pi].

        Args:
            x: `(batch, in_features)`, any real numbers.

        Returns:
            `(batch, out_features)`: `2 asin(sqrt(p1))` of each qubit of register 0.
        """
        check_input(self, x)
        if self.normalize:
            x = equalise_norm(x)
        angles = feature_angles(x).unflatten(1, (self.registers, self.out_features)).unbind(1)
        if self.registers == 1:
            return angles[0]
        tiny = torch.finfo(x.dtype).tiny
        bloch_x, bloch_z = -angles[-1].sin(), angles[-1].cos()  # Y vanishes: amplitudes are real
        coefficients = _bloch_rows(2 * math.pi * (torch.tanh(self.angles_raw) + 1))
        for rows, target in zip(coefficients.unbind(0), angles[-2::-1], strict=True):
            (control_x, control_z), (plain_x, plain_z), (turned_x, turned_z) = rows
            p1 = (1 - control_x * bloch_x - control_z * bloch_z) / 2
            target_x, target_z = -target.sin(), target.cos()
            plain = plain_x * target_x + plain_z * target_z
            turned = turned_x * target_x + turned_z * target_z
            bloch_z = plain + p1 * (turned - plain)
            squared = (1 - bloch_z) * (1 + bloch_z)
            bloch_x = squared.clamp_min(tiny).sqrt()  # written back: real, not negative
        return probability_angle(bloch_z)


def _bloch_rows(angles: Float[Tensor, "steps 3 n 4"]) -> Float[Tensor, "steps 3 2 n"]:
    """What makes the third Bloch component of each step, from the input's X and Z.

    Rows: of the control after its gate; of the target after its gate; of the target after its gate
    and the controlled one. Columns: coefficients of X and of Z; Y is zero.
    """
    cos, sin = angles[..., 1:].cos().unbind(-1), angles[..., 1:].sin().unbind(-1)
    (cos_b, cos_g, cos_d), (sin_b, sin_g, sin_d) = cos, sin  # each: steps 3 n
    row_x, row_y, row_z = -sin_g * cos_d, sin_g * sin_d, cos_g  # z of R r = row . r
    control, plain = (torch.stack([row_x[:, i], row_z[:, i]], 1) for i in (0, 1))
    image_x = torch.stack(  # of (1, 0, 0) under the target's gate
        [
            cos_b * cos_g * cos_d - sin_b * sin_d,
            sin_b * cos_g * cos_d + cos_b * sin_d,
            row_x,
        ]
    )[:, :, 1]
    image_z = torch.stack([cos_b * sin_g, sin_b * sin_g, row_z])[:, :, 1]  # of (0, 0, 1)
    controlled = torch.stack([row_x, row_y, row_z])[:, :, 2]
    turned = torch.stack([(controlled * image_x).sum(0), (controlled * image_z).sum(0)], 1)
    return torch.stack([control, plain, turned], dim=1)
