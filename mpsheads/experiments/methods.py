"""From a method, a size and a seed to a head or a quantiser."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mpsheads._checks import check_choice
from mpsheads._optional import optional_import
from mpsheads.encodings import equalise_norm, feature_angles
from mpsheads.experiments.spec import Method
from mpsheads.heads import (
    DenseHead,
    MPSProjectionHead,
    PCAHead,
    ProjectionHead,
    ReferenceHead,
    TruncationHead,
)
from mpsheads.similarity import cosine, log_fidelity

_SAMPLE = 8192  # vectors that quantiles and rotations are fitted to
_QUANTILES = (0.005, 0.995)
_COLUMNS = 1024  # torch takes quantiles of 2**24 numbers at most
_CENTROIDS = 256  # of a code of one byte


def make_head(method: Method, size: int, seed: int, known: Tensor) -> ProjectionHead:
    """A new head of a method, fitted or waiting for training, or both.

    Args:
        method: Which head.
        size: Numbers of a compressed vector.
        seed: Of its parameters.
        known: Embeddings of training documents `(n, features)`.
    """
    features = known.shape[1]
    if method.head == "pca":
        return PCAHead(features, size).fit(known)
    if method.head == "truncation":
        return TruncationHead(features, size)
    head = new_head(method, features, size, seed)
    if isinstance(head, MPSProjectionHead) and method.settings.get(
        "fitted", head.mixing is not None
    ):
        head.fit(_sample(known, seed))
    elif method.settings.get("start") == "pca":
        assert isinstance(head, DenseHead)
        axes = PCAHead(features, size).fit(_sample(known, seed)).components
        with torch.no_grad():
            head.linear.weight.copy_(axes)
            head.linear.bias.zero_()
    return head


def new_head(method: Method, features: int, size: int, seed: int) -> ProjectionHead:
    """A head that waits for training.

    Args:
        method: Of head "mps", "reference" or "dense".
        features: Numbers of an embedding.
        size: Numbers of a compressed vector.
        seed: Of its parameters.

    Raises:
        TypeError, ValueError: If the head does not take the size or a setting.
    """
    generator = torch.Generator().manual_seed(seed)
    if method.head == "dense":
        check_choice("start", method.settings.get("start", "random"), ("random", "pca"))
        return DenseHead(features, size, generator=generator)
    settings: dict[str, Any] = dict(method.settings)
    if method.head == "reference":
        return ReferenceHead(features, size, **{"normalize": True, **settings}, generator=generator)
    fitted = settings.pop("fitted", None)
    if not isinstance(fitted, bool | None):
        raise TypeError(f"`fitted` must be true or false, got {fitted!r}.")
    return MPSProjectionHead(features, size, **settings, generator=generator)


def _sample(known: Tensor, seed: int) -> Tensor:
    """Some of the vectors, drawn anew for each seed."""
    if len(known) <= _SAMPLE:
        return known
    chosen = torch.randperm(len(known), generator=torch.Generator().manual_seed(seed))
    return known[chosen[:_SAMPLE]]


def code(head: ProjectionHead, zd: Tensor, known: Tensor, bits: int) -> Any:
    """Compressed vectors in few bits a number.

    Angles need no calibration. Other vectors are brought to norm 1, and each number becomes the
    middle of one of 2**bits equal cells between two quantiles of the training documents.

    Args:
        head: What compressed them.
        zd: Vectors of documents.
        known: Vectors of training documents.
        bits: 8, 4, 2 or 1.

    Returns:
        Codes, or floating-point vectors that have only 2**bits values a number.
    """
    if isinstance(head, MPSProjectionHead | ReferenceHead):
        return head.quantize(zd, bits)
    levels = torch.tensor(_QUANTILES, dtype=known.dtype)
    sample = normalize(_sample(known, 0)).split(_COLUMNS, dim=1)
    low, high = torch.cat([torch.quantile(part, levels, dim=0) for part in sample], dim=1)
    step = (high - low).clamp_min(torch.finfo(known.dtype).eps) / 2**bits
    cells = ((normalize(zd) - low) / step).floor().clamp(0, 2**bits - 1)
    return low + (cells + 0.5) * step


def product_quantiser(
    method: Method, size: int, seed: int, known: Tensor
) -> tuple[Callable[[Tensor], Tensor], int]:
    """What is left of vectors in `size` bytes, each the code of a part of the vector (faiss).

    Args:
        method: Of head "pq", or "opq" for a learned rotation first.
        size: Bytes; it divides the number of features.
        seed: Of the clustering.
        known: Training documents, brought to norm 1 here.

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
    features = known.shape[1]
    if features % size:
        raise ValueError(f"`size` {size} of {method.head} must divide the {features} features.")
    x, rotation = normalize(known).numpy(), None
    if method.head == "opq":
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


def uncompressed_similarity(method: Method) -> Callable[[Tensor, Tensor], Tensor]:
    """Cosine, or the log-fidelity of qubits whose angles are those of the paper's encoding."""
    if method.similarity == "cosine":
        return cosine
    return lambda zq, zd: log_fidelity(_angles(zq), _angles(zd))


def _angles(x: Tensor) -> Tensor:
    return feature_angles(equalise_norm(x))
