"""The paper's head: the circuit of Kankeu et al. 2025 by its closed form in real numbers."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpsheads.encodings import equalise_norm, feature_angles
from mpsheads.heads.base import ProjectionHead, check_input, without_autocast
from mpsheads.heads.readouts import probability_angle


class ReferenceHead(ProjectionHead):
    """The head of the paper, with its parameters and its circuit.

    An embedding fills R = in_features / out_features registers of n = out_features qubits. Step by
    step, register R-1 down to 1 controls the next one: qubit k of either register is rotated (ZYZ),
    a controlled unitary acts on the pair, the control is traced out, and the target is written back
    as the real amplitudes `(sqrt(p0), sqrt(p1))` of its measurement. Register 0 is the output. No
    entanglement outlives a gate.

    Of a pair's twelve angles five count: its output depends on three directions on the Bloch
    sphere, those that Z is turned to for the control, for the target, and for the target under the
    controlled gate; inputs are real, so the first one's length and the difference of the other two
    only matter as a product.

    Args:
        in_features: Width of the embeddings.
        out_features: Width of the compressed vectors; divides `in_features`.
        normalize: Bring each embedding to norm `sqrt(in_features)` first. The paper does not; with
            sentence embeddings, whose norm differs between queries and passages, it helps.
        generator: Source of the initial parameters; torch's default one if `None`.

    Attributes:
        angles_raw: `(R-1, 3, n, 4)`: step; gate on the control, on the target, controlled gate;
            qubit; alpha, beta, gamma, delta. Each number t stands for the angle
            `2 pi (tanh(t) + 1)`. Near zero the circuit is near the identity.

    Raises:
        ValueError: If `out_features` does not divide `in_features`.

    Source: Kankeu et al. 2025 (arXiv:2501.04591). 12 n (R - 1) parameters: 6,144 at 768 ->
    256. Cost: about ten multiply-adds a feature, beside its sine and cosine.
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
        if in_features % out_features:
            divisors = [n for n in range(1, in_features + 1) if in_features % n == 0]
            near = sorted(sorted(divisors, key=lambda n: abs(n - out_features))[:2])
            raise ValueError(
                f"`out_features` must divide `in_features` {in_features}, got {out_features}. "
                f"The nearest that do are {' and '.join(map(str, near))}."
            )
        self.normalize = normalize
        shape = (self.registers - 1, 3, out_features)
        raw = 0.01 * torch.randn(*shape, 4, generator=generator)
        self.angles_raw = nn.Parameter(raw)

    @property
    def registers(self) -> int:
        """How many features go into each kept qubit, `in_features / out_features`."""
        return self.in_features // self.out_features

    def forward(self, x: Float[Tensor, "batch _"]) -> Float[Tensor, "batch {self.out_features}"]:
        """Compress embeddings to angles in [0, pi].

        Args:
            x: `(batch, in_features)`, any real numbers. Single precision is the least that is
                computed in.

        Returns:
            `(batch, out_features)`: `2 asin(sqrt(p1))` of each qubit of register 0, in the head's
            dtype.
        """
        check_input(self, x)
        own = self.angles_raw.dtype
        with without_autocast(x):
            return self._project(x.to(torch.promote_types(own, torch.float32))).to(own)

    def _project(self, x: Tensor) -> Tensor:
        if self.normalize:
            x = equalise_norm(x)
        angles = feature_angles(x).unflatten(1, (self.registers, self.out_features)).unbind(1)
        if self.registers == 1:
            return angles[0]
        tiny = torch.finfo(x.dtype).tiny
        bloch_x, bloch_z = -angles[-1].sin(), angles[-1].cos()  # Y vanishes: amplitudes are real
        for rows, target in zip(self._rows(x.dtype).unbind(0), angles[-2::-1], strict=True):
            (control_x, control_z), (plain_x, plain_z), (turned_x, turned_z) = rows
            p1 = (1 - control_x * bloch_x - control_z * bloch_z) / 2
            target_x, target_z = -target.sin(), target.cos()
            plain = plain_x * target_x + plain_z * target_z
            turned = turned_x * target_x + turned_z * target_z
            bloch_z = plain + p1 * (turned - plain)
            squared = (1 - bloch_z) * (1 + bloch_z)
            bloch_x = squared.clamp_min(tiny).sqrt()  # written back: real, not negative
        return probability_angle(bloch_z)

    def _rows(self, dtype: torch.dtype) -> Float[Tensor, "steps 3 2 n"]:
        """What makes the third Bloch component of each step from the input's X and Z.

        Rows: of the control after its gate; of the target after its gate; of the target after its
        gate and the controlled one. Columns: coefficients of X and of Z; Y is zero.
        """
        angles = 2 * math.pi * (torch.tanh(self.angles_raw.to(dtype)) + 1)
        cos, sin = angles[..., 1:].cos().unbind(-1), angles[..., 1:].sin().unbind(-1)
        (cos_b, cos_g, cos_d), (sin_b, sin_g, sin_d) = cos, sin  # each: steps 3 n
        row = torch.stack([-sin_g * cos_d, sin_g * sin_d, cos_g], 2)  # z of R r = row . r
        control, plain, controlled = row.unbind(1)  # each: steps component n
        image = torch.stack(  # of (1, 0, 0) and (0, 0, 1) under the target's gate
            [
                torch.stack(
                    [
                        cos_b * cos_g * cos_d - sin_b * sin_d,
                        sin_b * cos_g * cos_d + cos_b * sin_d,
                        -sin_g * cos_d,
                    ]
                ),
                torch.stack([cos_b * sin_g, sin_b * sin_g, cos_g]),
            ]
        )[:, :, :, 1]  # image component steps n
        turned = torch.einsum("scn,icsn->sin", controlled, image)
        return torch.stack([control[:, ::2], plain[:, ::2], turned], dim=1)
