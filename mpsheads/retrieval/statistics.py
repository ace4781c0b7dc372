"""How sure a measured mean is, and whether two systems differ."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mpsheads._checks import check_choice, check_integers, check_type
from mpsheads._optional import optional_import
from mpsheads.heads import ProjectionHead
from mpsheads.retrieval.embedded import EmbeddedCollection
from mpsheads.retrieval.evaluation import check_measures, evaluate

_SAMPLES = 10_000
_BLOCK = 1 << 22  # resampled numbers held at once


def bootstrap_interval(
    values: Sequence[float], *more_tests: Sequence[float], seed: int = 0
) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of a mean over queries, from 10,000 resamples.

    Args:
        values: One number a query.
        *more_tests: The same of further tests. The interval is then that of the mean of the tests'
            means; the queries of each test are drawn anew within it.
        seed: Seed of the resampling.

    Returns:
        The lower and the upper end.

    Raises:
        ImportError: If SciPy is missing.
        ValueError: If there are no values, or one is not finite.
    """
    tests = [_finite("values", x) for x in (values, *more_tests)]
    result = optional_import("scipy.stats", "retrieval").bootstrap(
        [np.repeat(x, 2) if len(x) == 1 else x for x in tests],  # SciPy asks for two
        lambda *drawn, axis: sum(x.mean(axis=axis) for x in drawn) / len(drawn),
        n_resamples=_SAMPLES,
        batch=_batch(max(map(len, tests))),
        method="percentile",
        rng=seed,
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def paired_test(differences: Sequence[float], *, seed: int = 0) -> float:
    """Two-sided p-value of the difference of two systems in the mean over the same queries.

    Under the null hypothesis the sign of each query's difference is a coin toss. The p-value is the
    share of sign patterns, of 10,000 random ones and the one seen, whose mean difference is at
    least as far from 0 as the one seen. Correct it where several pairs are compared.

    Args:
        differences: Of each query, one system's number less the other's.
        seed: Seed of the patterns.

    Raises:
        ValueError: If there are fewer than two queries, or a number is not finite.

    Cost: half a second for 7,000 queries.
    """
    check_integers(0, seed=seed)
    x = _finite("differences", differences)
    if len(x) < 2:
        raise ValueError(f"`differences` must be those of at least 2 queries, got {len(x)}.")
    rng, total, extreme = np.random.default_rng(seed), x.sum(), 1
    least = abs(total) - 1e-12 * np.abs(x).sum()  # sums that are equal differ by rounding
    for done in range(0, _SAMPLES, batch := _batch(len(x))):
        flips = rng.integers(0, 2, (min(batch, _SAMPLES - done), len(x)), dtype=bool).astype(float)
        sums = np.abs(total - 2 * flips @ x)
        extreme += np.count_nonzero(sums >= least)
    return float(extreme / (_SAMPLES + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in the same order; each is valid for the whole family.

    Args:
        p_values: One number in [0, 1] a comparison; may be empty.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    x = _finite("p_values", p_values) if np.size(p_values) else np.empty(0)
    order = np.argsort(x, kind="stable")
    steps = x[order] * np.arange(len(x), 0, -1)
    corrected = np.empty(len(x))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected.tolist()


def measure_heads(
    heads: Mapping[str, ProjectionHead | None],
    embedded: EmbeddedCollection,
    measures: Sequence[str],
    *,
    baseline: str,
    top_k: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """One row a head: its size, its measures, and a paired test against the baseline.

    Args:
        heads: Label to head; `None` stands for uncompressed embeddings.
        embedded: What the heads compress, with the judgments.
        measures: Names as `evaluate` takes them; the first one is tested.
        baseline: The label that the others are tested against.
        top_k: Documents ranked for each query; no measure may look deeper.
        seed: Seed of intervals and tests.

    Returns:
        Rows in the order of `heads`: "label", "head" (its name, `None` if uncompressed),
        "out_features", "parameters", "bytes_per_vector", "config", and under "measures" for each
        measure "mean" and "interval" (the 95% bootstrap interval). "difference", "p_value" and
        "p_value_holm" hold mean difference and randomisation test of the first measure; the last
        is corrected for the number of rows by Holm's method. `None` for the baseline itself.

    Raises:
        ImportError: If ir_measures or SciPy is missing.
        ValueError: If `baseline` is not a label, a measure is unknown or looks deeper than `top_k`,
            or a head does not fit.
    """
    check_measures(measures, top_k)
    for label, head in heads.items():
        check_type(f"heads[{label!r}]", head, (ProjectionHead, type(None)))
    check_choice("baseline", baseline, tuple(heads))
    evaluations = {
        label: evaluate(embedded.rank(head, top_k=top_k), embedded.qrels, measures)
        for label, head in heads.items()
    }
    base = evaluations[baseline].values(measures[0])
    differences = {
        label: np.subtract(evaluation.values(measures[0]), base).tolist()
        for label, evaluation in evaluations.items()
        if label != baseline and len(base) > 1
    }
    tests = {label: paired_test(own, seed=seed) for label, own in differences.items()}
    corrected = dict(zip(tests, holm(list(tests.values())), strict=True))
    rows: list[dict[str, Any]] = []
    for label, head in heads.items():
        own = evaluations[label]
        intervals = {m: list(bootstrap_interval(own.values(m), seed=seed)) for m in measures}
        row = {"label": label, "head": None, "out_features": embedded.features, "parameters": 0}
        row |= {"bytes_per_vector": 4 * embedded.features, "config": None}
        if head is not None:
            row |= {"head": head.name, "out_features": head.out_features, "config": head.config}
            row |= {"parameters": head.num_parameters, "bytes_per_vector": head.bytes_per_vector}
        row["measures"] = {m: {"mean": own.mean[m], "interval": intervals[m]} for m in measures}
        row["difference"] = float(np.mean(differences[label])) if label in tests else None
        row |= {"p_value": tests.get(label), "p_value_holm": corrected.get(label)}
        rows.append(row)
    return rows


def _batch(width: int) -> int:
    """How many resamples of `width` numbers are held at once."""
    return max(1, _BLOCK // width)


def _finite(name: str, values: Sequence[float]) -> np.ndarray:
    try:
        x = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"`{name}` must be a list of numbers: {error}.") from None
    if x.ndim != 1 or len(x) == 0:
        raise ValueError(f"`{name}` must be a non-empty list of numbers, got shape {x.shape}.")
    if not np.isfinite(x).all():
        raise ValueError(f"`{name}`[{int(np.argmin(np.isfinite(x)))}] is not finite.")
    return x
