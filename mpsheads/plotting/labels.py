"""Placing text: labels side by side that do not overlap."""

from collections.abc import Sequence

import numpy as np


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions as near as possible to the wanted ones, at least `gap` apart, in their order.

    The sum of squared shifts is the least possible among positions within `[low, high]`; where
    they do not all fit, the gap shrinks to what does.

    Args:
        wanted: Where each label would like to be; any order.
        gap: Smallest distance between neighbours.
        low: Lowest position allowed.
        high: Highest position allowed.

    Source: with the k-th position lowered by k gaps the task is isotonic regression, which the
    pooling of adjacent violators solves (Barlow et al. 1972).
    """
    if not wanted:
        return []
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    order = np.argsort(wanted, kind="stable")
    offsets = gap * np.arange(len(wanted))
    blocks: list[list[float]] = []  # mean and number of members
    for target in np.asarray(wanted, dtype=float)[order] - offsets:
        blocks.append([float(target), 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (mean, count), (other, more) = blocks.pop(), blocks.pop()
            blocks.append([(mean * count + other * more) / (count + more), count + more])
    levels = np.repeat([mean for mean, _ in blocks], [int(count) for _, count in blocks])
    placed = np.clip(levels, low, high - offsets[-1]) + offsets
    result = np.empty(len(wanted))
    result[order] = placed
    return result.tolist()
