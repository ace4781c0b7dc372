"""Whatever is given to retrieval, mining and search, an error says which argument is wrong."""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from mpsheads.experiments import read_experiment
from mpsheads.experiments.quantise import fit_quantiser
from mpsheads.experiments.spec import find_experiments
from mpsheads.heads import MPSProjectionHead
from mpsheads.retrieval import (
    BM25,
    Collection,
    EmbeddedCollection,
    Passages,
    bootstrap_interval,
    candidate_pool,
    docstring_collection,
    embed,
    evaluate,
    holm,
    load_collection,
    load_triples,
    load_vectors,
    measure_heads,
    paired_test,
    parse_dataset,
    read_run,
    save_vectors,
    write_run,
    write_triples,
)
from mpsheads.search import Index, read_manifest
from mpsheads.similarity import load_codes
from mpsheads.training import mine_hard_negatives, mine_triples, training_data

pytestmark = pytest.mark.slow

X = torch.randn(40, 16, generator=torch.Generator().manual_seed(0))
HEAD = MPSProjectionHead(16, 4)
CODES = HEAD.quantize(HEAD(X).detach(), 8)
INDEX = Index.build(CODES, HEAD)
MINE = Collection("c", {"d": "t", "e": "u"}, {"q": "t"}, {"q": {"d": 1}})
EMBEDDED = EmbeddedCollection("c", MINE, ["q"], X[:1], ["d", "e"], X[1:3])
DATA = training_data(EMBEDDED)
QRELS = {"q": {"d": 1}}
WRONG = [None, 3, -1, 0, 2.5, True, "x", "", b"x", [], {}, [None], [3], {"a": 3}, object()]
WRONG += [torch.ones(2), torch.ones(2, 3, 4), np.ones(3), float("nan"), (1, 2), [[1]], set("ab")]

CALLS = {
    "run": lambda w: evaluate(w, QRELS),
    "a row of run": lambda w: evaluate({"q": w}, QRELS),
    "a score": lambda w: evaluate({"q": {"d": w}}, QRELS),
    "qrels": lambda w: evaluate({}, w),
    "a row of qrels": lambda w: evaluate({}, {"q": w}),
    "a grade": lambda w: evaluate({}, {"q": {"d": w}}),
    "measures": lambda w: evaluate({}, QRELS, w),
    "values": bootstrap_interval,
    "differences": paired_test,
    "seed of a test": lambda w: paired_test([1.0, 2.0], seed=w),
    "p_values": holm,
    "read_run": read_run,
    "written run": lambda w: write_run(w, "run"),
    "written path": lambda w: write_run({"q": {"d": 1.0}}, w),
    "tag": lambda w: write_run({"q": {"d": 1.0}}, "run", w),
    "load_triples": lambda w: list(load_triples(w)),
    "limit": lambda w: load_triples("x.tsv", w),
    "triples": lambda w: write_triples(w, "t"),
    "load_collection": load_collection,
    "split": lambda w: load_collection(".", w),
    "candidate_pool": lambda w: candidate_pool(MINE, w),
    "dataset": parse_dataset,
    "documents": lambda w: Collection("c", w, {"q": "x"}, {"q": {}}),
    "queries": lambda w: Collection("c", {"d": "x"}, w, {"q": {}}),
    "judgments": lambda w: Collection("c", {"d": "x"}, {"q": "x"}, w),
    "embedded queries": lambda w: EmbeddedCollection("c", MINE, ["q"], w, ["d"], X[:1]),
    "embedded ids": lambda w: EmbeddedCollection("c", MINE, w, X[:1], ["d"], X[:1]),
    "ranked by": EMBEDDED.rank,
    "ranked documents": lambda w: EMBEDDED.rank(documents=w),
    "top_k": lambda w: EMBEDDED.rank(top_k=w),
    "similarity": lambda w: EMBEDDED.rank(similarity=w),
    "measure": EMBEDDED.scores,
    "only": EMBEDDED.only,
    "pool": lambda w: embed(MINE, None, pool=w),
    "query_vectors": lambda w: embed(MINE, None, query_vectors=w),
    "Passages": lambda w: list(Passages(w)),
    "BM25": BM25,
    "language": lambda w: BM25(["a b"], language=w),
    "load_vectors": load_vectors,
    "save_vectors": lambda w: save_vectors("a.npy", x=w),
    "ids of vectors": lambda w: save_vectors("a.safetensors", ids=w, x=torch.eye(2)),
    "heads": lambda w: measure_heads(w, EMBEDDED, ["AP"], baseline="a"),
    "baseline": lambda w: measure_heads({"a": None}, EMBEDDED, ["AP"], baseline=w),
    "packages": lambda w: docstring_collection(["json"] if w is None else w),
    "by": lambda w: mine_triples(EMBEDDED, w),
    "count": lambda w: mine_triples(EMBEDDED, "encoder", w),
    "margin": lambda w: mine_triples(EMBEDDED, "encoder", margin=w),
    "depth": lambda w: mine_triples(EMBEDDED, "encoder", depth=w),
    "mined": mine_triples,
    "hard negatives": mine_hard_negatives,
    "their count": lambda w: mine_hard_negatives(DATA, w),
    "training_data": training_data,
    "read_experiment": read_experiment,
    "find_experiments": find_experiments,
    "quantiser": lambda w: fit_quantiser(w, 2, 0, X),
    "size": lambda w: fit_quantiser("itq", w, 0, X),
    "Index.build": lambda w: Index.build(w, HEAD),
    "head": lambda w: Index.build(CODES, w),
    "ids": lambda w: Index.build(CODES, HEAD, ids=w),
    "texts": lambda w: Index.build(CODES, HEAD, texts=w),
    "engine": lambda w: Index.build(CODES, HEAD, engine=w),
    "lists": lambda w: Index.build(CODES, HEAD, engine="lists", lists=w),
    "probes": lambda w: Index.build(CODES, HEAD, engine="lists", probes=w),
    "seed of lists": lambda w: Index.build(CODES, HEAD, engine="lists", seed=w),
    "kind": lambda w: Index.build(CODES, HEAD, engine="faiss", kind=w),
    "connectivity": lambda w: Index.build(CODES, HEAD, engine="faiss", connectivity=w),
    "bits": lambda w: Index.build(CODES, HEAD, engine="usearch", bits=w),
    "expansion": lambda w: Index.build(CODES, HEAD, engine="usearch", expansion=w),
    "searched": INDEX.search,
    "k": lambda w: INDEX.search(X[:1], w),
    "where": lambda w: INDEX.search(X[:1], where=w),
    "added ids": lambda w: INDEX.add(w, X[:2]),
    "added": lambda w: INDEX.add(["n"], w),
    "removed": lambda w: Index.build(CODES, HEAD).remove(w),
    "Index.load": Index.load,
    "Index.save": INDEX.save,
    "read_manifest": read_manifest,
    "load_codes": load_codes,
}


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_argument_is_named(name, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for wrong in WRONG:
        try:
            CALLS[name](wrong)
        except TypeError as error:  # of ours, or of the checks of shapes that tests switch on
            named = "`" in str(error) or isinstance(error, TypeCheckError)
            assert named, (wrong, error)  # noqa: PT017
        except (ValueError, OSError):
            pass
