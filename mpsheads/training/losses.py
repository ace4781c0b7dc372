"""Losses over a batch of queries and the documents that they share."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from mpsheads._checks import check_equal

Scores = Float[Tensor, "queries documents"]


def contrastive_loss(
    scores: Scores,
    target: Int64[Tensor, " queries"],
    ignored: Bool[Tensor, "queries documents"] | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy of picking each query's relevant document among the batch's documents.

    Of 20 times the fidelities, with all ignored but a pair's own document and its five hard
    negatives, it is the loss of Kankeu et al. 2025 (arXiv:2501.04591).

    Args:
        scores: Scaled similarities `(queries, documents)`, the logits.
        target: For each query the column of its relevant document, int64 `(queries,)`.
        ignored: True where a document does not count for a query, bool `(queries, documents)`:
            other relevant documents of the query. A query's own target must not be ignored.

    Returns:
        The mean over queries of `logsumexp(scores of counted documents) - score of the target`.

    Raises:
        TypeError: If the scores are no floating tensor.
        ValueError: If the shapes do not fit, or there is no score.
    """
    _check_scores(scores)
    check_equal("number of queries", scores=scores.shape[0], target=target.shape[0])
    if ignored is not None:
        check_equal("shape", scores=tuple(scores.shape), ignored=tuple(ignored.shape))
        scores = scores.masked_fill(ignored, -torch.inf)
    return functional.cross_entropy(scores, target)


def distillation_loss(scores: Scores, teacher_scores: Scores) -> Float[Tensor, ""]:
    """How far the ranking distribution of the head is from that of the uncompressed vectors.

    Args:
        scores: The head's scaled similarities `(queries, documents)`.
        teacher_scores: Uncompressed similarities divided by the temperature, the same shape.

    Returns:
        The mean over queries of KL(softmax of the teacher, softmax of the head), in nats. No
        gradient flows to the teacher.

    Raises:
        TypeError: If one of them is no floating tensor.
        ValueError: If the shapes differ, or there is no score.

    Source: Hinton et al. 2015 (arXiv:1503.02531), without the factor temperature**2, as the head
    has a scale of its own.
    """
    _check_scores(scores)
    check_equal("shape", scores=tuple(scores.shape), teacher_scores=tuple(teacher_scores.shape))
    teacher = teacher_scores.detach().log_softmax(dim=1)
    student = scores.log_softmax(dim=1)
    return functional.kl_div(student, teacher, reduction="batchmean", log_target=True)


def _check_scores(scores: Tensor) -> None:
    if 0 in scores.shape:
        raise ValueError(f"`scores` must hold some, got shape {tuple(scores.shape)}.")
