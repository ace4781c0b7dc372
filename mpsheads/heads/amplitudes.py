"""Embeddings as one particle: the amplitudes on the kept sites, and their codes on a trellis.

The circuit is that of `mixing` alone, so it is an orthogonal matrix: it selects what is kept.
Where codes are made, a fixed circuit scrambles the kept amplitudes among each other, so that each
bit says equally much. Neither changes a cosine of kept vectors.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from mpsheads._checks import check_choice, check_positive
from mpsheads._constants import constant
from mpsheads.heads.mixing import Mixing, Rotation, scrambler
from mpsheads.mps.trellis import ERRORS, RATES
from mpsheads.similarity import Codes, quantize_trellis
from mpsheads.similarity.codes import code_bytes

_LEAST_BYTES = 8
_PART = 2 / 3  # of the features: with more numbers than these, fewer bits of each say less


class Amplitudes(nn.Module):
    """What is behind the readout "amplitude" besides the mixing.

    Args:
        in_features: Width of the embeddings.
        out_features: Number of amplitudes.
        bits: Bits a number of codes; `None` without.
        scramble: Seed of the circuit that scrambles; `None` for none.

    Attributes:
        mean: That of the fitted documents, brought to norm 1; `(in_features,)`. This and the next
            are `None` without `bits`.
        span: The usual size of an amplitude of a document after the mean is taken off.
    """

    mean: Tensor | None
    span: Tensor | None

    def __init__(
        self, in_features: int, out_features: int, bits: int | float | None, scramble: int | None
    ) -> None:
        super().__init__()
        self.in_features, self.bits, self.scramble = in_features, bits, scramble
        self.register_buffer("mean", None if bits is None else torch.zeros(in_features))
        span = None if bits is None else torch.full((), in_features**-0.5)
        self.register_buffer("span", span)
        if scramble is not None:
            _scrambling(out_features, scramble, like=self.mean)  # here, where no tracer meets it

    def matrix(
        self, mixing: Mixing | Rotation | None, kept: int, like: Tensor
    ) -> Float[Tensor, "kept features"]:
        """From embeddings to what is kept: the first rows of the mixing, scrambled."""
        if mixing is None:
            rows = torch.eye(kept, self.in_features, device=like.device)
        else:
            rows = mixing.matrix(kept)
        return rows if self.scramble is None else _scrambling(kept, self.scramble, like=rows) @ rows

    def quantize(
        self, z: Tensor, bits: int | float | None, mixing: Mixing | Rotation | None
    ) -> Codes:
        """Vectors as words of a trellis."""
        bits = self.bits if bits is None else bits
        if self.span is None or bits is None:
            rates = ", ".join(f"{rate:g}" for rate in RATES)
            raise ValueError(f"The head was made without codes. Make it with `bits`, of {rates}.")
        centre = self._centre(mixing, z.shape[1]).detach()
        return quantize_trellis(z, float(bits), centre=centre, span=float(self.span))

    def through_codes(self, z: Tensor, mixing: Mixing | Rotation | None) -> Tensor:
        """What codes leave of vectors, with their error as noise, through which gradients pass.

        A word that is the nearest of a good code is `(1 - error) x` and noise of the variance
        `error (1 - error)`, for numbers x of variance 1.
        """
        assert self.span is not None
        assert self.bits is not None
        centre, error = self._centre(mixing, z.shape[1]), ERRORS[self.bits]
        away = math.sqrt(z.shape[1]) * normalize(z - centre)
        noise = math.sqrt(error * (1 - error)) * torch.randn_like(away)
        return centre + self.span * ((1 - error) * away + noise)

    def _centre(self, mixing: Mixing | Rotation | None, kept: int) -> Float[Tensor, " kept"]:
        """What the mean becomes, as one row, not by the whole matrix."""
        assert self.mean is not None
        mean = self.mean.to(torch.promote_types(self.mean.dtype, torch.float32))[None]
        with torch.autocast(mean.device.type, enabled=False):
            rows = (mean if mixing is None else mixing(mean))[:, :kept]
            if self.scramble is not None:
                rows = rows @ _scrambling(kept, self.scramble, like=rows).T
        return rows[0]

    @torch.no_grad()
    def fit(self, documents: Float[Tensor, "samples features"], matrix: Tensor) -> None:
        """Set mean and span by documents of norm 1."""
        if self.mean is None or self.span is None:
            return
        mean = documents.mean(0)
        kept = (documents - mean) @ matrix.to(documents).T
        self.mean.copy_(mean)
        self.span.copy_(kept.square().mean().sqrt().clamp_min(torch.finfo(torch.float32).tiny))


@constant
def _scrambling(width: int, seed: int) -> np.ndarray:
    """The matrix of `scrambler`. It is no buffer, so nothing of it is stored or can be lost."""
    with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):
        return scrambler(width, seed).matrix().numpy()


def code_layout(
    in_features: int, bytes: int, bits: int | float | None = None, *, own: bool = False
) -> tuple[int, float]:
    """How many numbers, in how many bits each, are best kept; see `MPSProjectionHead.for_bytes`.

    Past 8 bits of each feature nothing is gained, so fewer bytes are taken.
    """
    check_positive(in_features=in_features, bytes=bytes)
    if bytes < _LEAST_BYTES:
        raise ValueError(f"`bytes` must be at least {_LEAST_BYTES}, got {bytes}.")
    if bits is None:
        rates = RATES[RATES.index(1.5 if own else 1.0) :]
        fewest = (rate for rate in rates if 8 * bytes / rate <= _PART * in_features)
        bits = next(fewest, RATES[-1])
    check_choice("bits", bits, RATES)
    numbers = min(int(8 * bytes / bits), in_features)
    while code_bytes(numbers, bits, trellis=True) > bytes:
        numbers -= 1
    return numbers, float(bits)
