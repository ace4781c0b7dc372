"""Ranking, measuring and comparing heads on one set of embeddings; rows for tables and JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from mpsheads.cli.heads import compress
from mpsheads.cli.sources import Embedded, Pool
from mpsheads.heads import ProjectionHead
from mpsheads.retrieval import (
    Evaluation,
    Run,
    bootstrap_interval,
    evaluate,
    holm,
    paired_test,
    rank,
)
from mpsheads.similarity import cosine

Row = dict[str, Any]


def rank_compressed(
    head: ProjectionHead | None, embedded: Embedded, pool: Pool, top_k: int = 1000
) -> Run:
    """Rank by a head's similarity; `None` by the cosine of the embeddings as they are."""
    return rank(
        compress(head, embedded.queries),
        embedded.query_ids,
        compress(head, embedded.documents),
        embedded.doc_ids,
        cosine if head is None else head.similarity,
        pool=pool,
        top_k=top_k,
    )


def describe(label: str, head: ProjectionHead | None, features: int) -> Row:
    """What a row says of a head, before it is measured."""
    return {
        "label": label,
        "head": None if head is None else head.name,
        "out_features": features if head is None else head.out_features,
        "parameters": 0 if head is None else head.num_parameters,
        "bytes_per_vector": 4 * features if head is None else head.bytes_per_vector,
        "config": None if head is None else head.config,
    }


def summarise(evaluation: Evaluation, seed: int) -> dict[str, dict[str, Any]]:
    """Mean and 95% bootstrap interval of each measure."""
    return {
        measure: {
            "mean": mean,
            "interval": list(bootstrap_interval(evaluation.values(measure), seed=seed)),
        }
        for measure, mean in evaluation.mean.items()
    }


def measure_heads(
    heads: Mapping[str, ProjectionHead | None],
    embedded: Embedded,
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str],
    *,
    pool: Pool = None,
    baseline: str,
    top_k: int = 1000,
    seed: int = 0,
) -> list[Row]:
    """One row a head: its size, its measures, and a paired test against the baseline.

    Args:
        heads: Label to head; `None` stands for uncompressed embeddings.
        embedded: What the heads compress.
        qrels: The judgments.
        measures: Names; the first one is tested.
        pool: The candidates of each query.
        baseline: The label that the others are tested against.
        top_k: Documents ranked for each query; no measure may look deeper.
        seed: Seed of intervals and tests.

    Returns:
        Rows in the order of `heads`. Under "difference", "p_value" and "p_value_holm" they hold
        mean difference and randomisation test of the first measure; the last is corrected for
        the number of rows by Holm's method. `None` for the baseline itself.
    """
    evaluations = {
        label: evaluate(rank_compressed(head, embedded, pool, top_k), qrels, measures)
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
            **describe(label, head, embedded.documents.shape[1]),
            "measures": summarise(evaluations[label], seed),
            "difference": tests[label].mean_difference if label in tests else None,
            "p_value": tests[label].p_value if label in tests else None,
            "p_value_holm": corrected.get(label),
        }
        for label, head in heads.items()
    ]
