"""Few bits a number: codes of any head's vectors, and the quantisers that set the bar."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mpsheads._checks import check_choice, check_finite, check_positive
from mpsheads._optional import optional_import
from mpsheads.heads import ProjectionHead
from mpsheads.similarity import Codes

_SAMPLE = 8192  # vectors that quantiles and rotations are fitted to
_QUANTILES = (0.005, 0.995)
_COLUMNS = 1024  # torch takes quantiles of 2**24 numbers at most
_CENTROIDS = 256  # of a code of one byte
_ROUNDS = 50  # of ITQ
_SIZES: dict[str, Callable[[int, int], bool]] = {  # of features and bytes: whether it is possible
    "pq": lambda features, size: features % size == 0 and features // size >= 2,
    "opq": lambda features, size: features % size == 0 and features // size >= 4,
    "rq": lambda _, size: size <= 64,
    "lsq": lambda _, size: size <= 64,
    "rabitq": lambda features, size: size == rabitq_bytes(features),
    "itq": lambda features, size: 8 * size <= features,
    "turboquant": lambda features, size: 8 * size in (features * bits for bits in (1, 2, 3, 4)),
}


def code(head: ProjectionHead, zd: Tensor, calibration: Tensor, bits: int) -> Tensor | Codes:
    """Compressed documents in 8, 4, 2 or 1 bits a number, or what is left of them.

    Angles need no calibration. Other vectors are brought to norm 1, and each number becomes the
    middle of one of 2**bits equal cells between two quantiles of the training documents.
    """
    if head.compared_by == "log_fidelity":
        return head.quantize(zd, bits)
    levels = torch.tensor(_QUANTILES, dtype=calibration.dtype)
    order = torch.randperm(len(calibration), generator=torch.Generator().manual_seed(0))
    some = normalize(calibration[order[:_SAMPLE]]).split(_COLUMNS, dim=1)
    low, high = torch.cat([torch.quantile(part, levels, dim=0) for part in some], dim=1)
    step = (high - low).clamp_min(torch.finfo(calibration.dtype).eps) / 2**bits
    cells = ((normalize(zd) - low) / step).floor().clamp(0, 2**bits - 1)
    return low + (cells + 0.5) * step


def quantiser_sizes(kind: str, features: int, sizes: Iterable[int]) -> list[int]:
    """Those numbers of bytes a vector that a quantiser can have."""
    return [size for size in sizes if _SIZES[kind](features, size)]


def rabitq_bytes(features: int) -> int:
    """The one number of bytes that "rabitq" can have."""
    return -(-features // 8) + 8


def fit_quantiser(
    kind: str, size: int, seed: int, documents: Tensor
) -> tuple[Callable[[Tensor], Tensor], int]:
    """What is left of vectors in `size` bytes; vectors are brought to norm 1 first.

    "pq" cuts a vector in parts and codes each by its nearest centroid, "opq" turns it by a learned
    rotation first, "rq" codes what is left in one round after the other, and "lsq" searches all
    rounds together. "rabitq" has one bit a feature and 8 bytes of factors. These are faiss's. "itq"
    has one bit of each principal component after a learned rotation of them. "turboquant" is a
    random rotation of all features, each then rounded to the best levels of a normal distribution;
    it is fitted to nothing.

    Returns:
        From vectors to their reconstructions, and how many numbers must be stored for that.

    Source: Jegou et al. 2011 (doi:10.1109/TPAMI.2010.57); Ge et al. 2013
    (doi:10.1109/CVPR.2013.379); Gao and Long 2024 (arXiv:2405.12497); Gong et al. 2013
    (doi:10.1109/TPAMI.2012.193); Zandieh et al. 2025 (arXiv:2504.19874).
    """
    features = documents.shape[1]
    check_choice("kind", kind, tuple(_SIZES))
    check_positive(size=size)
    if not quantiser_sizes(kind, features, [size]):
        raise ValueError(f"`size` of {kind} cannot be {size} bytes for {features} numbers.")
    check_documents(kind, documents)
    x = normalize(documents)
    if kind == "turboquant":
        turn = _random_rotation(features, seed)
        levels = _normal_levels(8 * size // features)
        rounded = lambda y: _nearest(y * features**0.5, levels) / features**0.5  # noqa: E731
        return lambda vectors: rounded(normalize(vectors) @ turn.T) @ turn, 0
    if kind == "itq":
        return _itq(x, 8 * size, seed)
    return _with_faiss(kind, size, seed, x.numpy())


def check_documents(kind: str, documents: Tensor, needed: int | None = None) -> None:
    """Raise `ValueError` unless a quantiser, or what needs so many, can be fitted to these."""
    count, features = documents.shape
    check_finite("documents", documents)
    if count < (needed := needed or fewest_vectors(kind, features)):
        raise ValueError(f"{kind} needs {needed} `documents` to be fitted to, got {count}.")


def fewest_vectors(kind: str, features: int) -> int:
    """How many vectors a quantiser must be fitted to; with fewer faiss may end the process."""
    return {
        "turboquant": 0,
        "rabitq": 1,
        "opq": max(_CENTROIDS, features),
        "itq": features + 1,
    }.get(kind, _CENTROIDS)


def _with_faiss(kind: str, size: int, seed: int, x: Any) -> tuple[Callable[[Tensor], Tensor], int]:
    faiss: Any = optional_import("faiss", "experiments")
    features, turn, offset = x.shape[1], None, 0.0
    parameters = _CENTROIDS * features
    if kind == "opq":
        turn = faiss.OPQMatrix(features, size)
        turn.niter = 20
        turn.pq = faiss.ProductQuantizer(features, size, 8)
        turn.pq.cp.seed, turn.pq.cp.min_points_per_centroid = seed + 1, 1  # no warning on stderr
        turn.train(x[:_SAMPLE])
    elif kind == "rabitq":
        turn, offset = faiss.RandomRotationMatrix(features, features), x.mean(0)
        turn.init(seed + 1)
    y = x - offset if turn is None else turn.apply(x - offset)
    if kind == "rabitq":
        quantiser, parameters = faiss.RaBitQuantizer(features, faiss.METRIC_INNER_PRODUCT), features
    elif kind == "lsq":
        quantiser = faiss.LocalSearchQuantizer(features, size, 8)
        quantiser.random_seed, parameters = seed + 1, parameters * size
    elif kind == "rq":
        quantiser = faiss.ResidualQuantizer(features, size, 8)
        parameters *= size
    else:
        quantiser = faiss.ProductQuantizer(features, size, 8)
    if kind in ("pq", "opq", "rq"):
        quantiser.cp.seed, quantiser.cp.min_points_per_centroid = seed + 1, 1
    quantiser.train(y)

    def reconstruct(vectors: Tensor) -> Tensor:
        y = normalize(vectors).numpy() - offset
        y = y if turn is None else turn.apply(y)
        y = quantiser.decode(quantiser.compute_codes(y))
        return torch.from_numpy((y if turn is None else turn.reverse_transform(y)) + offset)

    return reconstruct, parameters + (features**2 if kind == "opq" else 0)


def _itq(x: Tensor, bits: int, seed: int) -> tuple[Callable[[Tensor], Tensor], int]:
    """Iterative quantisation: the rotation of principal components that is nearest to signs."""
    mean = x.mean(0)
    _, axes = torch.linalg.eigh(((x - mean).T @ (x - mean)).double())
    axes = axes.float().flip(1)[:, :bits]
    y, turn = (x - mean) @ axes, _random_rotation(bits, seed)
    for _ in range(_ROUNDS):
        left, _, right = torch.linalg.svd(y.T @ (y @ turn).sign())
        turn = left @ right
    basis, size = axes @ turn, (y @ turn).abs().mean()

    def reconstruct(vectors: Tensor) -> Tensor:
        return mean + size * ((normalize(vectors) - mean) @ basis).sign() @ basis.T

    return reconstruct, basis.numel() + len(mean)


def _random_rotation(width: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.init.orthogonal_(torch.empty(width, width), generator=generator)


def _normal_levels(bits: int) -> Tensor:
    """The levels of least squared error for a normal distribution (Lloyd's algorithm)."""
    x = torch.erfinv(torch.linspace(-1, 1, 1 << 14)[1:-1].double()) * 2**0.5
    levels = torch.quantile(x, (torch.arange(2**bits) + 0.5).double() / 2**bits)
    for _ in range(200):
        cells = torch.bucketize(x, (levels[1:] + levels[:-1]) / 2)
        levels = torch.stack([x[cells == cell].mean() for cell in range(2**bits)])
    return levels.float()


def _nearest(y: Tensor, levels: Tensor) -> Tensor:
    return levels[torch.bucketize(y, (levels[1:] + levels[:-1]) / 2)]
