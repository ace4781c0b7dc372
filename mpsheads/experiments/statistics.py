"""How sure a difference is: over queries, over seeds, and over many comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mpsheads.retrieval import holm, paired_test

Scores = Mapping[int, Mapping[str, Mapping[str, float]]]
"""What a method scored: seed -> test -> query_id -> score."""

_SAMPLES = 10_000


@dataclass(frozen=True)
class Summary:
    """A method's scores in a few numbers.

    Attributes:
        tests: test -> mean over its queries and over seeds.
        mean: Mean over tests, each counting the same however many queries it has.
        sd: Standard deviation over seeds of the mean over tests; `None` with fewer than two seeds
            that ran on every test.
        seeds: The seeds that ran on every test.
    """

    tests: dict[str, float]
    mean: float
    sd: float | None
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """Whether method a differs from method b on the same queries.

    Attributes:
        difference: Mean over tests of a - b.
        interval: Its 95% bootstrap interval over queries, drawn anew within each test.
        p_queries: Two-sided p-value of the randomisation test over queries, on scores averaged
            over seeds; `None` with a single query.
        p_seeds: Two-sided p-value of the paired t-test over the seeds that both have run; `None`
            with fewer than two of them, or where nothing depends on the seed.
        effect_size: Cohen's d, the difference by the standard deviation of the queries'
            differences; `None` where they are all equal.
    """

    difference: float
    interval: tuple[float, float]
    p_queries: float | None
    p_seeds: float | None
    effect_size: float | None


def summarise(scores: Scores) -> Summary:
    """Means over tests and seeds, and the spread over seeds.

    Raises:
        ValueError: If there are no scores, or seeds hold different queries of one test.
    """
    tests = {t: float(np.mean(list(row.values()))) for t, row in _query_means(scores).items()}
    by_seed = _seed_means(scores)
    sd = float(np.std(list(by_seed.values()), ddof=1)) if len(by_seed) > 1 else None
    return Summary(tests, float(np.mean(list(tests.values()))), sd, tuple(sorted(by_seed)))


def mean_interval(scores: Scores, *, seed: int = 0) -> tuple[float, float]:
    """The 95% bootstrap interval over queries of the mean over tests, scores averaged over seeds.

    Args:
        scores: What a method scored.
        seed: Seed of the resampling.

    Raises:
        ValueError: If there are no scores, or seeds hold different queries of one test.
    """
    means = _query_means(scores)
    return _interval([np.array(list(row.values())) for row in means.values()], seed)


def compare(a: Scores, b: Scores, *, seed: int = 0) -> Comparison:
    """Compare two methods on the same tests and queries.

    Each test counts the same: the queries' differences are weighted so that their mean is the mean
    over tests.

    Args:
        a: What a method scored.
        b: What the method that it is compared with scored; other seeds are allowed.
        seed: Seed of resampling and of random signs.

    Returns:
        The comparison, its p-values uncorrected; see `correct`.

    Raises:
        ValueError: If tests or queries differ, or there are none.
    """
    means_a, means_b = _query_means(a), _query_means(b)
    if means_a.keys() != means_b.keys():
        raise ValueError(
            f"`a` and `b` must hold the same tests, got {sorted(means_a)} and {sorted(means_b)}."
        )
    differences = []
    for test, row in means_a.items():
        _check_queries(test, row, means_b[test], "`a` and `b`")
        differences.append(np.array([score - means_b[test][q] for q, score in row.items()]))
    n_queries = sum(map(len, differences))
    weights = [np.full(len(d), n_queries / (len(differences) * len(d))) for d in differences]
    weight, difference = np.concatenate(weights), np.concatenate(differences)
    weighted = (weight * difference).tolist()
    p_queries = None
    if n_queries > 1:
        p_queries = paired_test(weighted, [0.0] * n_queries, samples=_SAMPLES, seed=seed).p_value
    return Comparison(
        difference=float(np.mean(weighted)),
        interval=_interval(differences, seed),
        p_queries=p_queries,
        p_seeds=_seeds_test(_seed_means(a), _seed_means(b)),
        effect_size=_effect_size(difference, weight),
    )


def correct(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with p-values corrected for their number by Holm's method.

    P-values over queries are one family, those over seeds another; `None` does not count.
    """
    queries = _holm([comparison.p_queries for comparison in comparisons])
    seeds = _holm([comparison.p_seeds for comparison in comparisons])
    return [
        replace(comparison, p_queries=q, p_seeds=s)
        for comparison, q, s in zip(comparisons, queries, seeds, strict=True)
    ]


def _holm(p_values: Sequence[float | None]) -> list[float | None]:
    corrected = iter(holm([p for p in p_values if p is not None]))
    return [None if p is None else next(corrected) for p in p_values]


def _query_means(scores: Scores) -> dict[str, dict[str, float]]:
    """The mean of each query of each test over the seeds that ran on the test."""
    rows: dict[str, list[Mapping[str, float]]] = {}
    for tests in scores.values():
        for test, row in tests.items():
            rows.setdefault(test, []).append(row)
    if not rows or not all(row for found in rows.values() for row in found):
        raise ValueError("`scores` must hold at least one query of each test.")
    for test, found in rows.items():
        for row in found:
            _check_queries(test, found[0], row, "seeds")
    return {
        test: {q: float(np.mean([row[q] for row in found])) for q in found[0]}
        for test, found in sorted(rows.items())
    }


def _seed_means(scores: Scores) -> dict[int, float]:
    """The mean over tests of each seed, for those that ran on every test."""
    tests = {test for row in scores.values() for test in row}
    return {
        seed: float(np.mean([np.mean(list(row[test].values())) for test in sorted(tests)]))
        for seed, row in scores.items()
        if row.keys() == tests
    }


def _seeds_test(a: Mapping[int, float], b: Mapping[int, float]) -> float | None:
    common = sorted(a.keys() & b.keys())
    difference = [a[seed] - b[seed] for seed in common]
    if len(common) < 2 or float(np.std(difference)) < 1e-12:
        return None
    return paired_test(difference, [0.0] * len(common), samples=1).t_p_value


def _effect_size(difference: np.ndarray, weight: np.ndarray) -> float | None:
    mean = float(np.mean(weight * difference))
    if len(difference) < 2:
        return None
    spread = float(np.sqrt((weight * (difference - mean) ** 2).sum() / (len(difference) - 1)))
    return None if spread < 1e-12 else mean / spread


def _interval(values: Sequence[np.ndarray], seed: int) -> tuple[float, float]:
    """Percentile bootstrap of the mean of the tests' means; one array of queries a test."""
    random = np.random.default_rng(seed)
    means = np.zeros(_SAMPLES)
    for x in values:
        counts = random.multinomial(len(x), np.full(len(x), 1 / len(x)), size=_SAMPLES)
        means += counts @ x / (len(x) * len(values))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _check_queries(
    test: str, first: Mapping[str, float], other: Mapping[str, float], who: str
) -> None:
    if first.keys() != other.keys():
        raise ValueError(
            f"{who} must hold the same queries of {test}, got {len(first)} and {len(other)}, "
            f"of which {len(first.keys() & other.keys())} are common."
        )
