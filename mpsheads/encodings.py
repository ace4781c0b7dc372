"""Features to qubits. A new encoding goes here: a class, and its line in `ENCODINGS`."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import normalize, pad

from mpsheads._checks import is_concrete
from mpsheads._constants import constant
from mpsheads.mps.transfer import pauli_strings

_TINY = 1e-12  # what `normalize` divides a row of zeros by
Blocks = Sequence[Sequence[int]]
"""Which features each block of qubits holds; the last one goes to the qubit that is kept."""


def equalise_norm(x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
    """Each row brought to norm `sqrt(features)`, so that a feature has size about 1.

    Sentence embeddings of queries and of passages differ in norm; a fidelity of angles would see
    that difference, a cosine does not. A row of zeros stays.
    """
    return normalize(x, eps=_TINY) * math.sqrt(x.shape[1])


def feature_angles(x: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Angle of each feature's qubit, `(tanh(x) + 1) pi / 2`, in (0, pi).

    Computed as `pi sigmoid(2 x)`, which is the same.

    Source: Kankeu et al. 2025 (arXiv:2501.04591).
    """
    return math.pi * torch.sigmoid(2 * x)


def qubit_amplitudes(angles: Float[Tensor, "*b"]) -> Float[Tensor, "*b 2"]:
    """Amplitudes `(cos(angle/2), -sin(angle/2))` of each feature's qubit: phase pi, so real.

    Source: Kankeu et al. 2025 (arXiv:2501.04591), whose phase differs from pi by 1e-9 at most.
    """
    return torch.stack([(angles / 2).cos(), -(angles / 2).sin()], dim=-1)


class Encoding(ABC):
    """How the features of a block become the state of its qubits.

    Attributes:
        name: What a head calls it.
        letters: "1" and the Pauli matrices that its qubits have expectation values of.
        scaled: Whether the scale of the features matters.
        product: Whether its qubits are not entangled.
    """

    name: ClassVar[str]
    letters: ClassVar[str]
    scaled: ClassVar[bool] = True
    product: ClassVar[bool] = True

    @abstractmethod
    def num_qubits(self, features: int) -> int:
        """Qubits of a block of so many features."""

    @abstractmethod
    def components(
        self, x: Float[Tensor, "batch features"], scale: Tensor | None, blocks: Blocks
    ) -> Float[Tensor, "components rows batch"]:
        """Expectation values in the states of the inputs.

        Args:
            x: Embeddings; brought to norm `sqrt(features)` and multiplied by `scale` first.
            scale: One number, or one for each feature.
            blocks: The features of each block.

        Returns:
            Of the Pauli matrices in `letters`, or of products of them, with a row for each qubit,
            `row_of_sites` says which; the batch is the last axis.
        """

    @abstractmethod
    def row_of_sites(self, blocks: Blocks) -> list[int]:
        """The row of `components` that belongs to each qubit, block after block."""

    @abstractmethod
    def amplitudes(
        self, x: Float[Tensor, "batch features"], scale: Tensor | None, blocks: Blocks
    ) -> list[Complex[Tensor, "batch _amplitudes"]]:
        """The states: for each block its amplitudes, or for each qubit if `product`."""


class AngleEncoding(Encoding):
    """One feature a qubit: `cos(theta/2)|0> - sin(theta/2)|1>`, `theta = (tanh(s x) + 1) pi/2`.

    Source: Kankeu et al. 2025 (arXiv:2501.04591).
    """

    name = "angle"
    letters = "1XZ"

    def num_qubits(self, features: int) -> int:
        """As many as features."""
        return features

    def components(
        self, x: Float[Tensor, "batch features"], scale: Tensor | None, blocks: Blocks
    ) -> Float[Tensor, "2 features batch"]:
        """`(-sin(theta), cos(theta))` of each feature, in the order of the features."""
        assert scale is not None
        if is_concrete(x):
            found = _AngleComponents.apply(x, scale)
            assert isinstance(found, Tensor)
            return found
        angles = feature_angles(scale * equalise_norm(x)).T
        return torch.stack([-angles.sin(), angles.cos()])

    def row_of_sites(self, blocks: Blocks) -> list[int]:
        """The feature."""
        return [feature for block in blocks for feature in block]

    def amplitudes(
        self, x: Float[Tensor, "batch features"], scale: Tensor | None, blocks: Blocks
    ) -> list[Complex[Tensor, "batch 2"]]:
        """Of each qubit."""
        assert scale is not None
        real = qubit_amplitudes(feature_angles(scale * equalise_norm(x)))
        qubits = torch.complex(real, torch.zeros_like(real))
        return list(qubits[:, self.row_of_sites(blocks)].unbind(1))


class DenseAngleEncoding(Encoding):
    """Two features a qubit: `cos(theta/2)|0> + exp(i phi) sin(theta/2)|1>`.

    `theta = (tanh(s x) + 1) pi/2` and `phi = (tanh(s y) + 1) pi`. A feature y that is missing
    counts as 0, so that a block of one feature is encoded as by `AngleEncoding`.

    Source: LaRose and Coyle 2020 (arXiv:2003.01695), with the paper's bounded angles.
    """

    name = "dense_angle"
    letters = "1XYZ"

    def num_qubits(self, features: int) -> int:
        """Half as many as features, rounded up."""
        return (features + 1) // 2

    def components(
        self, x: Float[Tensor, "batch features"], scale: Tensor | None, blocks: Blocks
    ) -> Float[Tensor, "3 sites batch"]:
        """Bloch vectors of the qubits."""
        theta, phi = self._angles(x, scale, blocks)
        across = theta.sin()
        return torch.stack([across * phi.cos(), across * phi.sin(), theta.cos()]).mT

    def row_of_sites(self, blocks: Blocks) -> list[int]:
        """The qubits one after the other."""
        return list(range(sum(self.num_qubits(len(block)) for block in blocks)))

    def amplitudes(
        self, x: Float[Tensor, "batch features"], scale: Tensor | None, blocks: Blocks
    ) -> list[Complex[Tensor, "batch 2"]]:
        """Of each qubit."""
        theta, phi = self._angles(x, scale, blocks)
        zero, one = (theta / 2).cos(), torch.polar((theta / 2).sin(), phi)
        return list(torch.stack([zero.to(one.dtype), one], -1).unbind(1))

    def _angles(
        self, x: Tensor, scale: Tensor | None, blocks: Blocks
    ) -> tuple[Float[Tensor, "batch sites"], Float[Tensor, "batch sites"]]:
        first, second = [], []
        for block in blocks:
            odd = len(block) % 2  # the far end has the qubit of one feature
            first += [*block[:odd], *block[odd + 1 :: 2]]
            second += [x.shape[1]] * odd + list(block[odd::2])
        assert scale is not None
        angles = feature_angles(pad(scale * equalise_norm(x), (0, 1)))
        return angles[:, first], 2 * angles[:, second]


class AmplitudeEncoding(Encoding):
    """2**k features on k qubits: the features of a block, normalised, are its amplitudes.

    A block of another size is filled up with zeros to the next power of two, all blocks alike; one
    that has only zeros is `|0..0>`. Scale and norm do not matter.

    Source: Schuld and Petruccione 2018 (doi:10.1007/978-3-319-96424-9), section 5.2.
    """

    name = "amplitude"
    letters = "1XYZ"
    scaled = False
    product = False

    def num_qubits(self, features: int) -> int:
        """The logarithm to base 2, rounded up, at least 1."""
        return max(1, (features - 1).bit_length())

    def components(
        self, x: Float[Tensor, "batch features"], scale: Tensor | None, blocks: Blocks
    ) -> Float[Tensor, "strings blocks batch"]:
        """Of the Pauli strings of `real_strings` after the first, for each block."""
        vectors = self._vectors(x, blocks).permute(1, 2, 0)  # block amplitude batch
        size = vectors.shape[1]
        pairs = vectors.unsqueeze(1) * vectors.unsqueeze(2)
        strings = _string_matrices(size.bit_length() - 1).to(x.device, x.dtype)
        found = strings[1:].flatten(1) @ pairs.flatten(1, 2).transpose(0, 1).flatten(1)
        return found.unflatten(1, (len(blocks), -1))

    def row_of_sites(self, blocks: Blocks) -> list[int]:
        """The block."""
        size = self._size(blocks)
        return [number for number in range(len(blocks)) for _ in range(size)]

    def amplitudes(
        self, x: Float[Tensor, "batch features"], scale: Tensor | None, blocks: Blocks
    ) -> list[Complex[Tensor, "batch _amplitudes"]]:
        """Of each block."""
        vectors = self._vectors(x, blocks)
        return list(torch.complex(vectors, torch.zeros_like(vectors)).unbind(1))

    def _size(self, blocks: Blocks) -> int:
        return self.num_qubits(max(map(len, blocks)))

    def _vectors(self, x: Tensor, blocks: Blocks) -> Float[Tensor, "batch blocks amplitudes"]:
        size = 2 ** self._size(blocks)
        missing = x.shape[1]
        columns = [[*block, *[missing] * (size - len(block))] for block in blocks]
        vectors = pad(x, (0, 1))[:, columns]
        empty = (vectors == 0).all(2, keepdim=True)
        first = torch.zeros(size, dtype=x.dtype, device=x.device)
        first[0] = 1
        return normalize(torch.where(empty, first, vectors), dim=2)


@lru_cache
def real_strings(k: int) -> tuple[int, ...]:
    """The Pauli strings on k qubits that are real matrices, as numbers in base 4."""
    strings = []
    for number in range(4**k):
        digits = [number >> (2 * place) & 3 for place in range(k)]
        if digits.count(2) % 2 == 0:
            strings.append(number)
    return tuple(strings)


@constant
def _string_matrices(k: int) -> np.ndarray:
    """`real_strings` as matrices, `(strings, 2**k, 2**k)`."""
    return np.real(pauli_strings(k).numpy()[list(real_strings(k))])


class _AngleComponents(torch.autograd.Function):
    """`AngleEncoding.components` with its derivative by hand, which saves passes over memory."""

    @staticmethod
    def forward(ctx, x: Tensor, scale: Tensor) -> Tensor:
        norm = torch.linalg.vecdot(x, x).sqrt().clamp_min(_TINY)  # `norm` is slow on columns
        stretch = math.sqrt(x.shape[1]) / norm
        slope = torch.mul(x.T, 2 * stretch, out=x.new_empty(x.shape[1], len(x)))
        slope.mul_(scale.reshape(-1, 1)).sigmoid_()
        found = x.new_empty(2, *slope.shape)
        angles = torch.mul(slope, math.pi, out=found[1])
        torch.sin(angles, out=found[0]).neg_()
        angles.cos_()
        slope.addcmul_(slope, slope, value=-1)  # sigmoid' = sigmoid - sigmoid^2
        ctx.save_for_backward(x, scale, norm, slope, found)
        return found

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx, *grads: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        (grad,) = grads
        x, scale, norm, slope, found = ctx.saved_tensors
        inner = (grad[1] * found[0]).addcmul_(grad[0], found[1], value=-1)
        inner.mul_(slope)  # the derivative by sigmoid's argument, over pi
        stretch = (2 * math.pi * math.sqrt(x.shape[1]) / norm)[:, None]
        grad_x = torch.mul(inner.T, stretch, out=torch.empty_like(x))  # by scale * x, still
        space = inner.T if x.T.is_contiguous() else inner.view_as(x)
        each = torch.mul(grad_x, x, out=space)
        grad_scale = each.sum() if scale.ndim == 0 else each.sum(0)
        if not ctx.needs_input_grad[0]:
            return None, grad_scale
        along = each.sum(1) * scale if scale.ndim == 0 else each @ scale
        along = torch.where(norm > _TINY, along / norm.square(), 0.0)
        grad_x.mul_(scale).addcmul_(x, along[:, None], value=-1)
        return grad_x, grad_scale


ENCODINGS: dict[str, Encoding] = {
    encoding.name: encoding
    for encoding in (AngleEncoding(), DenseAngleEncoding(), AmplitudeEncoding())
}
"""The encodings that a head can name."""
