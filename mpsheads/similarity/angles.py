"""Product states of qubits given by their angles, real and non-negative: features and rows."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from mpsheads._checks import is_concrete
from mpsheads.similarity.codes import Codes
from mpsheads.similarity.products import Product

_GROUP = 3


def angle_product(dtype: torch.dtype) -> Product:
    """Overlaps of groups of three qubits: amplitudes, held at the smallest normal number."""
    return Product(power=2, floor=torch.finfo(dtype).tiny)


def angle_rows(
    zq: Float[Tensor, "*queries n"], zd: Float[Tensor, "*documents n"]
) -> Float[Tensor, "*rows"]:
    """Log-fidelity of each row with the same row; leading axes broadcast."""
    size = ((zq - zd) / 2).cos().abs()
    return 2 * size.clamp_min(torch.finfo(size.dtype).tiny).log().sum(-1)


def angle_features(z: Float[Tensor, "rows n"]) -> Float[Tensor, "groups 8 rows"]:
    """Amplitudes of each group of three qubits: unit vectors of 8 numbers, non-negative."""
    missing = -z.shape[1] % _GROUP
    half = torch.nn.functional.pad(z.T, (0, 0, 0, missing)) / 2  # |0> gives a factor of 1
    qubits = torch.stack([half.cos(), half.sin()]).unflatten(1, (-1, _GROUP))  # 2 group member rows
    first, second, third = qubits.permute(2, 1, 0, 3)  # each group 2 rows
    pair = (first[:, :, None] * second[:, None]).flatten(1, 2)
    return (pair[:, :, None] * third[:, None]).flatten(1, 2)


class AngleFeatures:
    """`angle_features` of chunk after chunk in the same memory, where no gradient flows.

    Args:
        dtype: Of the features.
        codes: Where the chunks are bytes of codes, these; amplitudes then come from tables of their
            levels, which costs less than a sine and a cosine.
    """

    def __init__(self, dtype: torch.dtype, codes: Codes | None = None) -> None:
        self.dtype, self.codes = dtype, codes
        self.memory: dict[int, _Memory] = {}
        if codes is not None:
            half = codes.levels(dtype) / 2
            self.cos, self.sin = half.cos(), half.sin()

    def __call__(self, z: Tensor) -> Float[Tensor, "groups 8 rows"]:
        """Features of one chunk; good until the next call."""
        part = None if self.codes is None else replace(self.codes, packed=z)
        if torch.is_grad_enabled() or not is_concrete(z):
            return angle_features(z if part is None else part.dequantize(self.dtype))
        if len(z) not in self.memory:
            width = z.shape[1] if part is None else part.width
            self.memory[len(z)] = _Memory(width, len(z), self.dtype, z.device)
        memory = self.memory[len(z)]
        if part is None:
            memory.sin.copy_(z.T).mul_(0.5)
            torch.cos(memory.sin, out=memory.cos)
            memory.sin.sin_()
        else:
            cells = part.numbers().T.contiguous().view(-1).int()
            torch.index_select(self.cos, 0, cells, out=memory.cos.view(-1))
            torch.index_select(self.sin, 0, cells, out=memory.sin.view(-1))
        return memory.features()


class _Memory:
    """Memory for the features of one chunk: amplitudes of qubits, of pairs and of groups."""

    def __init__(self, n: int, rows: int, dtype: torch.dtype, device: torch.device) -> None:
        groups = -(-n // _GROUP)
        sizes = (2, groups, _GROUP), (groups, 4), (groups, 8)
        make = [torch.zeros(*size, rows, dtype=dtype, device=device) for size in sizes]
        self.qubits, self.pairs, self.groups = make
        self.qubits[0] = 1  # what fills the last group up is |0>
        self.cos, self.sin = (half.flatten(0, 1)[:n] for half in self.qubits)

    def features(self) -> Float[Tensor, "groups 8 rows"]:
        """Products of three of the qubits that `cos` and `sin` hold; good until the next call."""
        first, second, third = self.qubits.permute(2, 1, 0, 3)  # each group 2 rows
        torch.mul(first[:, :, None], second[:, None], out=self.pairs.unflatten(1, (2, 2)))
        out = self.groups.unflatten(1, (4, 2))
        torch.mul(self.pairs[:, :, None], third[:, None], out=out)
        return self.groups
