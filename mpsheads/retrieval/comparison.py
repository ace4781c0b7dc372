"""Heads measured and compared on one embedded collection."""

from collections.abc import Mapping, Sequence
from typing import Any

from mpsheads.heads import ProjectionHead
from mpsheads.retrieval.embedded import EmbeddedCollection
from mpsheads.retrieval.evaluation import Evaluation, check_measures, evaluate
from mpsheads.retrieval.statistics import bootstrap_interval, holm, paired_test


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
        ValueError: If `baseline` is not a label, a measure is unknown, or a head does not fit.
    """
    check_measures(measures)
    if baseline not in heads:
        raise ValueError(f"`baseline` must be one of {list(heads)}, got {baseline!r}.")
    evaluations = {
        label: evaluate(embedded.rank(head, top_k=top_k), embedded.qrels, measures)
        for label, head in heads.items()
    }
    base = evaluations[baseline].values(measures[0])
    tests = {
        label: paired_test(evaluation.values(measures[0]), base, seed=seed)
        for label, evaluation in evaluations.items()
        if label != baseline and len(base) > 1
    }
    corrected = dict(zip(tests, holm([test.p_value for test in tests.values()]), strict=True))
    return [
        {
            **_size(label, head, embedded.features),
            "measures": _means(evaluations[label], seed),
            "difference": tests[label].mean_difference if label in tests else None,
            "p_value": tests[label].p_value if label in tests else None,
            "p_value_holm": corrected.get(label),
        }
        for label, head in heads.items()
    ]


def _size(label: str, head: ProjectionHead | None, features: int) -> dict[str, Any]:
    return {
        "label": label,
        "head": None if head is None else head.name,
        "out_features": features if head is None else head.out_features,
        "parameters": 0 if head is None else head.num_parameters,
        "bytes_per_vector": 4 * features if head is None else head.bytes_per_vector,
        "config": None if head is None else head.config,
    }


def _means(evaluation: Evaluation, seed: int) -> dict[str, dict[str, Any]]:
    return {
        measure: {
            "mean": mean,
            "interval": list(bootstrap_interval(evaluation.values(measure), seed=seed)),
        }
        for measure, mean in evaluation.mean.items()
    }
