"""The losses and evaluators of sentence-transformers on the head's similarity."""

import pytest
import torch
from torch.testing import assert_close

from mpsheads import log_fidelity
from tests.integrations.tiny import FEATURES, QUERIES, TEXTS
from tests.later import Later

pytestmark = pytest.mark.slow

evaluation = Later("sentence_transformers.sentence_transformer.evaluation")
losses = Later("sentence_transformers.sentence_transformer.losses")
ours = Later("mpsheads.sentence_transformers")

KEPT = FEATURES // 3
NEGATIVES = TEXTS[1:] + TEXTS[:1]


@pytest.fixture
def model(model):
    return model.eval()  # without dropout, so that a loss can be computed twice


def features(model, *columns):
    return [dict(model.preprocess(list(column))) for column in columns]


def vectors(model, *columns):
    return [model(batch)["sentence_embedding"] for batch in features(model, *columns)]


def ranking(zq, zd):
    return torch.nn.functional.cross_entropy(log_fidelity(zq, zd), torch.arange(len(zq)))


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


def assert_same_gradients(found, expected):
    assert any(g is not None and g.abs().max() > 0 for g in expected)
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert_close(a, b, atol=1e-5, rtol=1e-3)  # sums in another order


@pytest.mark.parametrize("cached", [False, True])
def test_multiple_negatives_ranking_is_cross_entropy_of_log_fidelities(model, cached):
    kwargs = {"similarity_fct": ours.head_similarity(model), "scale": 1.0}
    loss = (
        losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=2, **kwargs)
        if cached
        else losses.MultipleNegativesRankingLoss(model, **kwargs)
    )
    found = loss(features(model, QUERIES, TEXTS), torch.tensor([]))
    expected = ranking(*vectors(model, QUERIES, TEXTS))
    assert_close(found.detach(), expected.detach(), atol=1e-5, rtol=1e-5)
    assert_same_gradients(gradients(model, found), gradients(model, expected))
    assert loss.get_config_dict()["similarity_fct"] == "log_fidelity"


def test_margins_and_distillation_compare_pairs(model):
    zq, zd, zn = vectors(model, QUERIES, TEXTS, NEGATIVES)
    scores = torch.stack([log_fidelity(zq, z).diagonal() for z in (zd, zn)], dim=1)
    margins = torch.linspace(-1, 1, len(TEXTS))
    loss = losses.MarginMSELoss(
        model, similarity_fct=ours.head_similarity(model, pairwise=True, scale=0.1)
    )
    found = loss(features(model, QUERIES, TEXTS, NEGATIVES), margins)
    expected = (0.1 * (scores[:, 0] - scores[:, 1]) - margins).square().mean()
    assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert loss.get_config_dict() == {"similarity_fct": "log_fidelity_pairwise"}
    loss = losses.DistillKLDivLoss(model, similarity_fct=ours.head_similarity(model, pairwise=True))
    teacher = torch.randn(len(TEXTS), 2, generator=torch.Generator().manual_seed(0))
    found = loss(features(model, QUERIES, TEXTS, NEGATIVES), teacher)
    expected = torch.nn.functional.kl_div(
        scores.log_softmax(1), teacher.softmax(1), reduction="batchmean"
    )
    assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_cosent_orders_pairs(model):
    loss = losses.CoSENTLoss(
        model, scale=1.0, similarity_fct=ours.head_similarity(model, pairwise=True)
    )
    labels = torch.linspace(0, 1, len(TEXTS))
    found = loss(features(model, QUERIES, TEXTS), labels)
    scores = log_fidelity(*vectors(model, QUERIES, TEXTS)).diagonal()
    wrong = [scores[i] - scores[j] for i in range(len(TEXTS)) for j in range(i + 1, len(TEXTS))]
    assert_close(found, torch.stack([torch.zeros(()), *wrong]).logsumexp(0), atol=1e-5, rtol=1e-5)


def qrels():
    queries = {f"q{i}": text for i, text in enumerate(QUERIES)}
    corpus = {f"d{i}": text for i, text in enumerate(TEXTS)}
    return queries, corpus, {f"q{i}": {f"d{i}"} for i in range(len(QUERIES))}


def test_the_retrieval_evaluator_ranks_by_log_fidelity(model):
    own = evaluation.InformationRetrievalEvaluator(*qrels(), mrr_at_k=[5], name="tiny")
    given = evaluation.InformationRetrievalEvaluator(
        *qrels(), mrr_at_k=[5], name="tiny", score_functions={"ours": ours.head_similarity(model)}
    )
    scores = model.similarity(model.encode_query(QUERIES), model.encode_document(TEXTS))
    ranks = 1 + (scores > scores.diagonal()[:, None]).sum(1)
    expected = (1 / ranks).mean().item()
    assert own(model)["tiny_custom_mrr@5"] == pytest.approx(expected)
    assert given(model)["tiny_ours_mrr@5"] == pytest.approx(expected)


@pytest.mark.parametrize("batched", [True, False])
def test_the_reranking_evaluator_ranks_by_log_fidelity(model, batched):
    samples = [
        {"query": q, "positive": [TEXTS[i]], "negative": TEXTS[:i] + TEXTS[i + 1 :]}
        for i, q in enumerate(QUERIES)
    ]
    evaluator = evaluation.RerankingEvaluator(
        samples, similarity_fct=ours.head_similarity(model), use_batched_encoding=batched
    )
    scores = model.similarity(model.encode_query(QUERIES), model.encode_document(TEXTS))
    ranks = 1 + (scores > scores.diagonal()[:, None]).sum(1)
    assert evaluator(model)["mrr@10"] == pytest.approx((1 / ranks).mean().item())
