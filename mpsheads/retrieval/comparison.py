"""Heads measured and compared on one embedded collection."""

from collections.abc import Mapping, Sequence
from typing import Any

from mpsheads.heads import ProjectionHead
from mpsheads.retrieval.embedded import EmbeddedCollection
from mpsheads.retrieval.evaluation import check_measures, evaluate
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
    rows: list[dict[str, Any]] = []
    for label, head in heads.items():
        evaluation, tested = evaluations[label], label != baseline and len(base) > 1
        test = paired_test(evaluation.values(measures[0]), base, seed=seed) if tested else None
        intervals = {m: bootstrap_interval(evaluation.values(m), seed=seed) for m in measures}
        rows.append(
            {
                "label": label,
                "head": head and head.name,
                "out_features": head.out_features if head else embedded.features,
                "parameters": head.num_parameters if head else 0,
                "bytes_per_vector": head.bytes_per_vector if head else 4 * embedded.features,
                "config": head and head.config,
                "measures": {
                    m: {"mean": evaluation.mean[m], "interval": list(intervals[m])}
                    for m in measures
                },
                "difference": test and test.mean_difference,
                "p_value": test and test.p_value,
                "p_value_holm": None,
            }
        )
    compared = [row for row in rows if row["p_value"] is not None]
    for row, p_value in zip(compared, holm([row["p_value"] for row in compared]), strict=True):
        row["p_value_holm"] = p_value
    return rows
