"""Held-out queries, and the score of a model on them while it trains."""

import random
from collections.abc import Callable
from typing import Any

from mpsheads.heads import ProjectionHead
from mpsheads.retrieval import EmbeddedCollection
from mpsheads.retrieval.evaluation import check_measures


def hold_out(
    embedded: EmbeddedCollection, *, seed: int = 0
) -> tuple[EmbeddedCollection, EmbeddedCollection]:
    """Set a random tenth of the queries aside, 1,000 at most; they rank all embedded documents.

    Args:
        embedded: The collection.
        seed: Seed of the choice.

    Returns:
        The collection with the other queries, and with those set aside.

    Raises:
        ValueError: If there are too few queries with a relevant document.
    """
    usable = sorted({query_id for query_id, _ in embedded.relevant_pairs()})
    count = min(1000, round(0.1 * len(usable)))
    if count < 1:
        raise ValueError(
            f"{embedded.name} has only {len(usable)} queries with relevant documents, too few to "
            f"hold some out. Validate on another split or collection."
        )
    chosen = set(random.Random(seed).sample(usable, count))
    parts = [[i for i in embedded.query_ids if (i in chosen) is held] for held in (False, True)]
    return embedded.only(parts[0]), embedded.only(parts[1])


def ranking_validation(
    embedded: EmbeddedCollection, measure: str = "nDCG@10"
) -> Callable[[Any], float]:
    """A function for `train(validation=...)`: the mean of a ranking measure.

    Args:
        embedded: Held-out queries and the documents that they rank.
        measure: What `evaluate` computes, for example "nDCG@10" or "RR@10".

    Returns:
        A function of a head, which compresses the embeddings at each call; or of a model of texts,
        which encodes them. A few hundred queries are enough.
    """
    check_measures([measure])

    def validate(model: Any) -> float:
        how: dict[str, Any] = {"head": model}
        if not isinstance(model, ProjectionHead):
            names = ("queries", "documents")
            how = {name: model.encode(embedded.texts(name)) for name in names}
            how["similarity"] = model.similarity
        scores = embedded.scores(measure, **how)
        return sum(scores.values()) / len(scores)

    return validate
