"""Exact ranking against a plain sort of all pairs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mpsheads.retrieval import Collection, EmbeddedCollection
from mpsheads.similarity import cosine, log_fidelity, quantize


def rank(zq, query_ids, zd, document_ids, similarity, *, pool=None, top_k=1000):
    texts = Collection("tiny", dict.fromkeys(document_ids, ""), dict.fromkeys(query_ids, ""), {})
    own = (query_ids, torch.empty(len(query_ids), 1), document_ids, torch.empty(len(zd), 1), pool)
    embedded = EmbeddedCollection("tiny", texts, *own)
    return embedded.rank(queries=zq, documents=zd, similarity=similarity, top_k=top_k)


def dot(zq: Tensor, zd: Tensor) -> Tensor:
    return zq @ zd.T


def names(prefix: str, n: int) -> list[str]:
    return [f"{prefix}{i}" for i in range(n)]


def plain_rank(scores: Tensor, doc_ids: list[str], top_k: int) -> list[list[tuple[str, float]]]:
    """Sort every row of scores, equal ones by doc_id."""
    rows = [
        sorted(zip(doc_ids, row, strict=True), key=lambda p: (p[1], p[0]), reverse=True)
        for row in scores.tolist()
    ]
    return [row[:top_k] for row in rows]


@given(
    st.integers(1, 5), st.integers(1, 40), st.integers(1, 45), st.integers(0, 2**31), st.booleans()
)
def test_ranks_as_a_plain_sort_does_also_with_ties(
    n_queries: int, n_documents: int, top_k: int, seed: int, negative: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    zq, zd = (
        torch.randint(-2, 3, (n, 3), generator=generator).float() for n in (n_queries, n_documents)
    )
    order = torch.randperm(n_documents, generator=generator).tolist()
    doc_ids = [names("d", n_documents)[i] for i in order]

    def similarity(a: Tensor, b: Tensor) -> Tensor:
        return -(dot(a, b) ** 2) * 0.1 if negative else dot(a, b)

    run = rank(zq, names("q", n_queries), zd, doc_ids, similarity, top_k=top_k)
    assert list(run) == names("q", n_queries)
    expected = plain_rank(similarity(zq, zd), doc_ids, top_k)
    assert [list(row.items()) for row in run.values()] == expected


def test_scores_far_apart_and_zeros_of_both_signs_keep_their_order() -> None:
    scores = {"a": -1e30, "b": 5e-39, "d": 0.0, "c": -0.0, "e": -3.0, "f": 1e30, "i": 1e-45}
    scores |= {"g": float("-inf"), "h": float("inf")}
    zd = torch.tensor(list(scores.values()))[:, None]
    run = rank(torch.ones(1, 1), ["q"], zd, list(scores), lambda zq, zd: zd.T)
    assert "".join(run["q"]) == "hfbidceag"
    assert run["q"]["a"] == zd[0].item()


@pytest.mark.parametrize("similarity", [cosine, log_fidelity])
def test_a_pool_gives_the_same_order_as_the_whole_collection(similarity, generator) -> None:
    zq, zd = (3 * torch.rand(n, 8, generator=generator) for n in (4, 30))
    queries, documents = names("q", 4), names("d", 30)
    pool = {"q0": documents[:9], "q2": [documents[5]], "q3": documents[::-1], "q9": ["x"]}
    everything = rank(zq, queries, zd, documents, similarity)
    run = rank(zq, queries, zd, documents, similarity, pool=pool)
    assert list(run) == ["q0", "q2", "q3"]
    for query_id, row in run.items():
        kept = [d for d in everything[query_id] if d in pool[query_id]]
        assert list(row) == kept
        torch.testing.assert_close(
            torch.tensor(list(row.values())), torch.tensor([everything[query_id][d] for d in kept])
        )
    assert [
        len(row)
        for row in rank(zq, queries, zd, documents, similarity, pool=pool, top_k=3).values()
    ] == [3, 1, 3]


def test_float64_vectors_are_taken(generator) -> None:
    z = torch.rand(3, 4, generator=generator, dtype=torch.float64)
    run = rank(z[:1], ["q"], z, ["a", "b", "c"], cosine, pool={"q": ["b", "a"]})
    assert list(run["q"]) == ["a", "b"]


def test_equal_scores_and_repeated_candidates_of_a_pool_are_ordered_by_doc_id() -> None:
    z = torch.ones(3, 4)
    pool = {"q": ["c", "c", "b", "a"]}
    run = rank(z[:1], ["q"], z, ["a", "b", "c"], cosine, pool=pool, top_k=2)
    assert list(run["q"]) == ["c", "b"]


def test_memory_does_not_grow_with_the_collection() -> None:
    sizes: list[tuple[int, int]] = []

    def similarity(a: Tensor, b: Tensor) -> Tensor:
        sizes.append((len(a), len(b)))
        return dot(a, b)

    zq, zd = torch.randn(300, 2), torch.randn(40_000, 2)
    run = rank(zq, names("q", 300), zd, names("d", 40_000), similarity, top_k=2)
    assert max(a * b for a, b in sizes) <= 256 * 16384
    best = dot(zq, zd).topk(2).indices
    assert [list(row) for row in run.values()] == [[f"d{i}" for i in row] for row in best.tolist()]


def test_wrong_arguments_are_named() -> None:
    z = torch.ones(2, 3)
    with pytest.raises(ValueError, match="`pool`: 'w' is not one of tiny's embedded documents"):
        rank(z, ["a", "b"], z, ["x", "y"], cosine, pool={"b": ["x", "w"]})
    with pytest.raises(ValueError, match="`top_k` must be at least 1"):
        rank(z, ["a", "b"], z, ["x", "y"], cosine, top_k=0)
    with pytest.raises(ValueError, match="similarity is NaN"):
        rank(z * float("nan"), ["a", "b"], z, ["x", "y"], dot)


@pytest.mark.parametrize("bits", [8, 2])
def test_codes_rank_as_the_vectors_they_stand_for(bits: int) -> None:
    generator = torch.Generator().manual_seed(0)
    zq, zd = (3 * torch.rand(n, 16, generator=generator) for n in (4, 30))
    codes = quantize(zd, bits)
    pool = {"q1": names("d", 20)}
    for options in ({"top_k": 7}, {"pool": pool}):
        found = rank(zq, names("q", 4), codes, names("d", 30), log_fidelity, **options)
        plain = codes.dequantize()
        expected = rank(zq, names("q", 4), plain, names("d", 30), log_fidelity, **options)
        assert {q: list(run) for q, run in found.items()} == {
            q: list(run) for q, run in expected.items()
        }
    both = rank(quantize(zq, bits), names("q", 4), codes, names("d", 30), log_fidelity)
    assert list(both) == names("q", 4)
