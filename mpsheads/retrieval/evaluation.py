"""Measures of a run against judgments, and how sure they are."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mpsheads._checks import check_positive
from mpsheads._optional import optional_import
from mpsheads.retrieval.runs import Run, ranking

_PATTERN = re.compile(r"(nDCG|RR|R|P|AP|Success)(?:\(rel=(\d+)\))?(?:@(\d+))?")
_KNOWN = "nDCG, RR, R, P, AP, Success, such as nDCG@10, RR(rel=2)@10 or R@100"
_BLOCK = 1 << 22  # resampled numbers held at once


@dataclass(frozen=True)
class Evaluation:
    """How well a run does.

    Attributes:
        per_query: query_id -> measure -> value, for every query with judgments.
        mean: measure -> mean over these queries.
    """

    per_query: dict[str, dict[str, float]]
    mean: dict[str, float]

    def values(self, measure: str) -> list[float]:
        """The values of one measure, in the order of `per_query`."""
        if measure not in self.mean:
            raise ValueError(f"`measure` must be one of {list(self.mean)}, got {measure!r}.")
        return [values[measure] for values in self.per_query.values()]


@dataclass(frozen=True)
class PairedTest:
    """Whether two systems differ on the same queries.

    Attributes:
        mean_difference: Mean of a - b.
        p_value: Two-sided p-value of the randomisation test.
        t_p_value: Two-sided p-value of the paired t-test.
    """

    mean_difference: float
    p_value: float
    t_p_value: float


def evaluate(
    run: Run,
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str] = ("nDCG@10", "RR@10", "R@100"),
) -> Evaluation:
    """Evaluate a run with trec_eval.

    Args:
        run: The scores of each query's documents. Equal scores are ordered by doc_id.
        qrels: The grades of each query's judged documents. A query that the run lacks counts 0;
            a query of the run without judgments is left out.
        measures: Names as in ir-measures: `nDCG`, `RR`, `R` (recall), `P`, `AP`, `Success`, with
            a cut such as `@10`, and for the binary ones the lowest relevant grade such as
            `(rel=2)`, which is 1 if not given: `"nDCG@10"`, `"RR(rel=2)@10"`.

    Returns:
        Values in [0, 1], under the names given.

    Raises:
        ImportError: If pytrec_eval-terrier is missing.
        ValueError: If a measure is unknown, or there are no judgments.
    """
    parsed = [parse_measure(measure) for measure in measures]
    if not parsed:
        raise ValueError("`measures` must name at least one measure.")
    if not any(qrels.values()):
        raise ValueError("`qrels` must hold at least one judgment.")
    rankings = {query_id: ranking(run.get(query_id, {})) for query_id in qrels}
    per_query: dict[str, dict[str, float]] = {query_id: {} for query_id in qrels}
    for measure, (name, relevance, cut) in zip(measures, parsed, strict=True):
        values = _trec_eval(rankings, qrels, name, relevance, cut)
        for query_id, row in per_query.items():
            row[measure] = values.get(query_id, 0.0)
    mean = {m: float(np.mean([row[m] for row in per_query.values()])) for m in measures}
    return Evaluation(per_query, mean)


def parse_measure(measure: str) -> tuple[str, int, int | None]:
    """`"RR(rel=2)@10"` to `("RR", 2, 10)`."""
    match = _PATTERN.fullmatch(measure)
    if match is None:
        raise ValueError(f"`measures` holds {measure!r}; known are {_KNOWN}.")
    name, relevance, cut = match.groups()
    if name == "nDCG" and relevance is not None:
        raise ValueError(f"`measures` holds {measure!r}, but nDCG uses the grades: drop (rel=...).")
    if name in ("R", "P", "Success") and cut is None:
        raise ValueError(f"`measures` holds {measure!r}, which needs a cut, such as {name}@10.")
    if cut is not None and int(cut) < 1:
        raise ValueError(f"`measures` holds {measure!r}, but a cut must be at least 1.")
    return name, int(relevance or 1), None if cut is None else int(cut)


def _trec_eval(
    rankings: Mapping[str, Sequence[str]],
    qrels: Mapping[str, Mapping[str, int]],
    name: str,
    relevance: int,
    cut: int | None,
) -> dict[str, float]:
    """One measure by trec_eval, query_id -> value; a run is cut here, as its RR cannot be."""
    pytrec_eval = optional_import("pytrec_eval", "retrieval")
    base = {"nDCG": "ndcg", "RR": "recip_rank", "AP": "map"}.get(name)
    asked = base or f"{ {'R': 'recall', 'P': 'P', 'Success': 'success'}[name] }.{cut}"
    if base == "ndcg" and cut is not None:
        asked = f"ndcg_cut.{cut}"
    if base == "map" and cut is not None:
        asked = f"map_cut.{cut}"
    judgments = {q: {d: int(grade) for d, grade in row.items()} for q, row in qrels.items() if row}
    scores = {
        query_id: {d: float(len(ranked) - i) for i, d in enumerate(ranked[:cut])}
        for query_id, ranked in rankings.items()
        if ranked and query_id in judgments
    }
    if not scores:
        return {}
    evaluator = pytrec_eval.RelevanceEvaluator(judgments, {asked}, relevance_level=relevance)
    key = asked.replace(".", "_")
    return {query_id: float(values[key]) for query_id, values in evaluator.evaluate(scores).items()}


def bootstrap_interval(
    values: Sequence[float], *, level: float = 0.95, samples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over queries.

    Args:
        values: One number a query.
        level: Probability that the interval is to cover, in (0, 1).
        samples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        The lower and the upper end.

    Raises:
        ValueError: If there are no values, one is not finite, or `level` is out of range.
    """
    x = _finite("values", values)
    check_positive(samples=samples)
    if not 0.0 < level < 1.0:
        raise ValueError(f"`level` must lie in (0, 1), got {level}.")
    random = np.random.default_rng(seed)
    means = [
        x[random.integers(len(x), size=(rows, len(x)))].mean(axis=1)
        for rows in _blocks(samples, len(x))
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_test(
    a: Sequence[float], b: Sequence[float], *, samples: int = 10_000, seed: int = 0
) -> PairedTest:
    """Test whether two systems differ in the mean of a measure over the same queries.

    Under the null hypothesis the sign of each query's difference is a coin toss. The p-value is
    the share of `samples` random sign patterns whose mean difference is at least as large as the
    one seen, with the one seen counted in, so it is never below 1 / (samples + 1). Correct it
    where several pairs are compared.

    Args:
        a: One number a query.
        b: The other system's numbers, in the same order of queries.
        samples: Number of random sign patterns.
        seed: Seed of the patterns.

    Raises:
        ImportError: If SciPy is missing.
        ValueError: If the lengths differ, there are fewer than two queries, or a number is not
            finite.
    """
    x, y = _finite("a", a), _finite("b", b)
    check_positive(samples=samples)
    if len(x) != len(y) or len(x) < 2:
        raise ValueError(
            f"`a` and `b` must hold the same queries, at least 2: got {len(x)} and {len(y)} values."
        )
    difference = x - y
    mean = float(difference.mean())
    random = np.random.default_rng(seed)
    extreme = 0
    for rows in _blocks(samples, len(x)):
        signs = random.integers(2, size=(rows, len(x)), dtype=np.int8) * 2.0 - 1.0
        extreme += int((np.abs(signs @ difference) / len(x) >= abs(mean) - 1e-12).sum())
    return PairedTest(mean, (extreme + 1) / (samples + 1), _t_test(difference))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in the same order; each is valid for the whole family.

    Args:
        p_values: One number in [0, 1] a comparison; may be empty.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank_from_0, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank_from_0) * p_values[i]))
        corrected[i] = largest
    return corrected


def _t_test(difference: np.ndarray) -> float:
    spread = float(difference.std(ddof=1))
    mean = float(difference.mean())
    if spread == 0.0:
        return 1.0 if mean == 0.0 else 0.0
    special = optional_import("scipy.special", "retrieval")
    t = mean / (spread / len(difference) ** 0.5)
    return float(2 * special.stdtr(len(difference) - 1, -abs(t)))


def _finite(name: str, values: Sequence[float]) -> np.ndarray:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) == 0:
        raise ValueError(f"`{name}` must be a non-empty list of numbers, got shape {x.shape}.")
    if not np.isfinite(x).all():
        raise ValueError(f"`{name}`[{int(np.argmin(np.isfinite(x)))}] is not finite.")
    return x


def _blocks(samples: int, width: int) -> list[int]:
    """Numbers of rows that add up to `samples`, each block of at most about `_BLOCK` numbers."""
    rows = max(1, _BLOCK // width)
    return [min(rows, samples - start) for start in range(0, samples, rows)]
