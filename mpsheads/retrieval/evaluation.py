"""Measures of a run against judgments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mpsheads._checks import whole_number
from mpsheads._optional import optional_import
from mpsheads.retrieval.runs import MOST_GRADE, Run, check_rows, ranking


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


def evaluate(
    run: Run,
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str] = ("nDCG@10", "RR@10", "R@100"),
) -> Evaluation:
    """Evaluate a run with ir_measures, which asks trec_eval.

    Args:
        run: The scores of each query's documents. Equal scores are ordered as `ranking` does.
        qrels: The grades of each query's judged documents, whole numbers of at most `MOST_GRADE`. A
            query that the run lacks counts 0; one of the run without judgments is left out.
        measures: Names of ir_measures, such as `nDCG@10`, `R@100` (recall), `RR`, `P`, `AP`,
            `Success`. The binary ones take the lowest relevant grade, `RR(rel=2)@10`; 1 if absent.

    Returns:
        Values, in [0, 1] for the measures above, under the names given.

    Raises:
        ImportError: If ir_measures or pytrec_eval-terrier is missing.
        TypeError: If an id is not a string.
        ValueError: If a measure is unknown, there are no judgments, an id is not Unicode or holds a
            NUL, a tab or a line break, a grade is not a whole number or too high, or a score NaN.
    """
    parsed = dict(zip(measures, check_measures(measures), strict=True))
    check_rows("run", run)
    check_rows("qrels", qrels)
    grade_of = partial(whole_number, "`qrels`: a grade", most=MOST_GRADE)
    judgments = {
        q: {d: grade_of(grade) for d, grade in row.items()} for q, row in qrels.items() if row
    }
    if not judgments:
        raise ValueError("`qrels` must hold at least one judgment.")
    ranked = {query_id: ranking(run[query_id]) for query_id in qrels if run.get(query_id)}
    scores = {  # that no tool can take for equal
        query_id: {doc_id: float(-place) for place, doc_id in enumerate(doc_ids)}
        for query_id, doc_ids in ranked.items()
    }
    per_query = {query_id: dict.fromkeys(measures, 0.0) for query_id in judgments}
    for metric in _provider().evaluator(set(parsed.values()), judgments).iter_calc(scores):
        equal = (name for name, measure in parsed.items() if measure == metric.measure)
        per_query[metric.query_id] |= dict.fromkeys(equal, float(metric.value))
    mean = {m: float(np.mean([row[m] for row in per_query.values()])) for m in measures}
    return Evaluation(per_query, mean)


def check_measures(measures: Sequence[str], top_k: int | None = None) -> list[Any]:
    """The measures of `ir_measures` that `evaluate` computes, by their names.

    Raises:
        ImportError: If ir_measures is missing.
        ValueError: If there are none, or one is unknown, lacks its cut, has a wrong parameter, or
            looks deeper than at the `top_k` documents that are ranked.
    """
    if not measures:
        raise ValueError("`measures` must name at least one measure, in a list.")
    parse, parsed = optional_import("ir_measures", "retrieval").parse_measure, []
    for name in measures:
        try:
            measure = parse(name)
            usable = measure.params.get("cutoff", 1) >= 1 and _provider().supports(measure)
        except (NameError, KeyError, TypeError, ValueError, AssertionError):  # as it says no
            usable, measure = False, None
        if measure is None or not usable:
            raise ValueError(
                f"`measures` holds {name!r}, which is not computed here. Take such as nDCG@10, "
                f"RR(rel=2)@10, R@100, P@5, AP or Success@5: R, P and Success need a cut, which "
                f"is at least 1, and nDCG uses the grades, so it takes no (rel=...)."
            )
        if top_k is not None and measure.params.get("cutoff", 0) > top_k:
            raise ValueError(f"`top_k` must be at least the cut of `measures` {name}, got {top_k}.")
        parsed.append(measure)
    return parsed


def _provider() -> Any:
    """What computes the measures: trec_eval, and for RR with a cut the code of MS MARCO.

    ir_measures knows more providers, some of which run other programs.
    """
    providers = optional_import("ir_measures.providers", "retrieval")
    return providers.FallbackProvider([providers.registry[n] for n in ("pytrec_eval", "msmarco")])
