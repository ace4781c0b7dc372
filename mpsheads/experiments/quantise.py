"""Few bits a number: codes of any head's vectors, and product quantisers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mpsheads._optional import optional_import
from mpsheads.heads import ProjectionHead
from mpsheads.similarity import Codes

_SAMPLE = 8192  # vectors that quantiles and rotations are fitted to
_QUANTILES = (0.005, 0.995)
_COLUMNS = 1024  # torch takes quantiles of 2**24 numbers at most
_CENTROIDS = 256  # of a code of one byte


def code(head: ProjectionHead, zd: Tensor, calibration: Tensor, bits: int) -> Tensor | Codes:
    """Compressed vectors in few bits a number.

    Angles need no calibration. Other vectors are brought to norm 1, and each number becomes the
    middle of one of 2**bits equal cells between two quantiles of the training documents.

    Args:
        head: What compressed them.
        zd: Vectors of documents `(n, out_features)`.
        calibration: Vectors of training documents `(m, out_features)`.
        bits: 8, 4, 2 or 1.

    Returns:
        Codes, or floating-point vectors that have only 2**bits values a number.
    """
    if head.compared_by == "log_fidelity":
        return head.quantize(zd, bits)
    levels = torch.tensor(_QUANTILES, dtype=calibration.dtype)
    some = normalize(calibration[_rows(len(calibration))]).split(_COLUMNS, dim=1)
    low, high = torch.cat([torch.quantile(part, levels, dim=0) for part in some], dim=1)
    step = (high - low).clamp_min(torch.finfo(calibration.dtype).eps) / 2**bits
    cells = ((normalize(zd) - low) / step).floor().clamp(0, 2**bits - 1)
    return low + (cells + 0.5) * step


def _rows(count: int) -> Tensor:
    """At most `_SAMPLE` of so many rows, always the same."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return order[:_SAMPLE] if count > _SAMPLE else torch.arange(count)


def product_quantiser(
    kind: str, size: int, seed: int, documents: Tensor
) -> tuple[Callable[[Tensor], Tensor], int]:
    """What is left of vectors in `size` bytes, each the code of a part of the vector (faiss).

    Args:
        kind: "pq", or "opq" for a learned rotation first.
        size: Bytes; it divides the number of features.
        seed: Of the clustering.
        documents: Training documents `(n, features)`, brought to norm 1 here.

    Returns:
        From vectors to their reconstructions, and the number of parameters: the centroids, and
        the rotation.

    Raises:
        ValueError: If the size does not divide the features.
        ImportError: If faiss is missing.

    Source: Jegou et al. 2011 (doi:10.1109/TPAMI.2010.57); Ge et al. 2013 for the rotation
    (doi:10.1109/CVPR.2013.379).
    """
    faiss: Any = optional_import("faiss", "experiments")
    features = documents.shape[1]
    if features % size:
        raise ValueError(f"`size` {size} of {kind} must divide the {features} features.")
    x, rotation = normalize(documents).numpy(), None
    if kind == "opq":
        rotation = faiss.OPQMatrix(features, size)
        rotation.niter = 20
        inner = faiss.ProductQuantizer(features, size, 8)
        inner.cp.min_points_per_centroid = 1  # no warning on stderr
        rotation.pq = inner
        rotation.train(x[:_SAMPLE])
        x = rotation.apply(x)
    quantiser = faiss.ProductQuantizer(features, size, 8)
    quantiser.cp.seed, quantiser.cp.min_points_per_centroid = seed + 1, 1
    quantiser.train(x)

    def reconstruct(vectors: Tensor) -> Tensor:
        y = normalize(vectors).numpy()
        y = y if rotation is None else rotation.apply(y)
        y = quantiser.decode(quantiser.compute_codes(y))
        return torch.from_numpy(y if rotation is None else rotation.reverse_transform(y))

    parameters = _CENTROIDS * features + (features**2 if rotation is not None else 0)
    return reconstruct, parameters
