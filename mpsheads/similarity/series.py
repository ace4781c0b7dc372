"""Approximate log-fidelity of angle vectors: all pairs by one matrix product, and its error.

log cos^2(D/2) is a function of the difference D of two angles. A function c (1 - cosh(w D)) is one
too, and splits into two numbers of each angle, as cosh(w (a - b)) = (e^wa e^-wb + e^-wa e^wb) / 2.
So does -D^2, into one number. Sums of these are taken that agree with the exact function at D = 0
to as high an order as they can; all further terms of its series are negative and larger, so the
approximation lies above the exact value everywhere, and its error grows with D.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from mpsheads._checks import is_concrete
from mpsheads.similarity.arguments import check_sides

# For each number of terms: the factor of D^2, and the factor and rate of 1 - cosh(rate * D).
_SERIES: dict[int, tuple[float, float, float]] = {
    1: (-1 / 4, 0.0, 0.0),
    2: (0.0, 1.0, math.sqrt(1 / 2)),
    3: (-3 / 16, 1 / 16, math.sqrt(2)),
}
_DOCUMENTS = 4096


def approximate_log_fidelity(
    zq: Float[Tensor, "queries _"],
    zd: Float[Tensor, "documents _"],
    *,
    terms: int = 2,
    chunk: int | None = None,
) -> Float[Tensor, "queries documents"]:
    """Upper bound on the log-fidelity of all pairs of angle vectors, close for like vectors.

    Each factor log cos^2(D/2) = -D^2/4 - D^4/96 - D^6/1440 - ... of the difference D of two angles
    is replaced by

    - `terms=1`: -D^2/4, minus a quarter of the squared L2 distance;
    - `terms=2`: 1 - cosh(D/sqrt 2), right to the fifth order;
    - `terms=3`: -3 D^2/16 + (1 - cosh(D sqrt 2))/16, right to the seventh order.

    Args:
        zq: Angles of the queries, in radians within [0, pi].
        zd: Angles of the documents.
        terms: Numbers that each angle becomes; 1, 2 or 3.
        chunk: Documents handled at once; 4,096 by default.

    Returns:
        Natural logarithms. They lie above the exact ones, up to rounding, and by no more than the
        sum over the angles of `approximation_error(D, terms=terms)`.

    Raises:
        TypeError: If a side does not hold floating-point numbers.
        ValueError: If widths or devices differ, `terms` is not 1, 2 or 3, or `chunk` is less than
            1.

    Cost: `terms` multiply-adds an angle and pair, one matrix product of width `terms * n`.
    """
    zq, zd = check_sides("angles", zq, zd, chunk=chunk)
    _check_terms(terms)
    with torch.autocast(zq.device.type, enabled=False):
        square, factor, rate = _SERIES[terms]
        queries = zq - math.pi / 2  # centred: the least rounding
        columns = []
        for documents in zd.split(chunk or _DOCUMENTS) if is_concrete(zd) else [zd]:
            documents = documents - math.pi / 2
            value = zq.new_full((1, 1), factor * zq.shape[1])
            if square:
                norms = (queries**2).sum(1)[:, None] + (documents**2).sum(1)
                value = torch.addmm(value + square * norms, -2 * square * queries, documents.T)
            if factor:
                left, right = _exponential(queries, rate), _exponential(documents, rate)
                half = -factor / 2
                value = torch.addmm(value, half / left, right.T)
                value = torch.addmm(value, half * left, right.reciprocal().T)
            columns.append(value)
        return torch.cat(columns, dim=1)


def _exponential(z: Tensor, rate: float) -> Tensor:
    return torch.exp2((rate * math.log2(math.e)) * z)  # several times as fast as `exp`


def approximation_error(max_difference: float, *, terms: int = 2) -> float:
    """By how much `approximate_log_fidelity` can lie above the exact value, for each angle.

    Args:
        max_difference: Largest difference of two angles, in radians within [0, pi].
        terms: As there.

    Returns:
        The error at that difference; at smaller ones it is smaller. Infinite at pi, where states
        are orthogonal.
    """
    _check_terms(terms)
    if not 0 <= max_difference <= math.pi:
        raise ValueError(f"`max_difference` must lie in [0, pi], got {max_difference}.")
    if max_difference == math.pi:
        return math.inf
    square, factor, rate = _SERIES[terms]
    series = square * max_difference**2 + factor * (1 - math.cosh(rate * max_difference))
    return max(0.0, series - 2 * math.log(math.cos(max_difference / 2)))


def _check_terms(terms: int) -> None:
    if terms not in _SERIES:
        raise ValueError(f"`terms` must be 1, 2 or 3, got {terms!r}.")
