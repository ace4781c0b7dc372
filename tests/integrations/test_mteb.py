"""A model with a head on tasks of MTEB that are made here."""

import pytest
import torch

from mpsheads import MPSProjectionHead, log_fidelity
from tests.integrations.tiny import FEATURES, QUERIES, TEXTS
from tests.later import Later

pytestmark = pytest.mark.slow
datasets = Later("datasets")
mteb = Later("mteb")
ours = Later("mpsheads.mteb")
search = Later("mpsheads.search")
st = Later("mpsheads.sentence_transformers")


@pytest.fixture(scope="module")
def tasks():
    """Two tasks, made where `mteb` is needed first: importing it takes seconds."""
    from mteb.abstasks import AbsTaskPairClassification, AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    COMMON = {
        "description": "A few sentences.",
        "dataset": {"path": "none", "revision": "none"},
        "eval_splits": ["test"],
        "eval_langs": ["eng-Latn"],
    }

    class Search(AbsTaskRetrieval):
        metadata = TaskMetadata(name="Search", type="Retrieval", main_score="mrr_at_10", **COMMON)

        def load_data(self, num_proc=None, **kwargs):
            self.queries = {"test": {f"q{i}": text for i, text in enumerate(QUERIES)}}
            self.corpus = {"test": {f"d{i}": {"title": "", "text": t} for i, t in enumerate(TEXTS)}}
            self.relevant_docs = {"test": {f"q{i}": {f"d{i}": 1} for i in range(len(QUERIES))}}
            self.convert_v1_dataset_format_to_v2(num_proc)
            self.data_loaded = True

    class Pairs(AbsTaskPairClassification):
        metadata = TaskMetadata(
            name="Pairs", type="PairClassification", main_score="similarity_ap", **COMMON
        )

        def load_data(self, num_proc=None, **kwargs):
            other = TEXTS[1:] + TEXTS[:1]
            columns = {
                "sentence1": QUERIES * 2,
                "sentence2": TEXTS + other,
                "labels": [1] * 5 + [0] * 5,
            }
            self.dataset = datasets.DatasetDict({"test": datasets.Dataset.from_dict(columns)})
            self.data_loaded = True

    class Reranking(Search):
        metadata = TaskMetadata(
            name="Reranking", type="Reranking", main_score="mrr_at_10", **COMMON
        )

        def load_data(self, num_proc=None, **kwargs):
            super().load_data(num_proc, **kwargs)
            ranked = {f"q{i}": ["d0", "d4", f"d{i}"] for i in (1, 2, 3)}
            ranked |= {"q0": ["d3", "d0"], "q4": ["d4", "d1"]}
            self.dataset["default"]["test"]["top_ranked"] = ranked

    return {"search": Search, "pairs": Pairs, "reranking": Reranking}


def scores(encoder, task, **options):
    result = mteb.evaluate(encoder, task, cache=None, show_progress_bar=False, **options)
    return result.task_results[0].scores["test"][0]


@pytest.mark.parametrize("prompts", [{}, {"query": "why ", "document": "the "}])
def test_retrieval_ranks_by_log_fidelity_of_prompted_texts(model, tasks, prompts):
    model.prompts = prompts
    zq, zd = torch.tensor(model.encode_query(QUERIES)), torch.tensor(model.encode_document(TEXTS))
    fidelity = log_fidelity(zq, zd)
    ranks = 1 + (fidelity > fidelity.diagonal()[:, None]).sum(1)
    expected = (1 / ranks).mean().item()
    assert scores(ours.mteb_model(model), tasks["search"]())["mrr_at_10"] == pytest.approx(
        expected, abs=1e-4
    )


def test_pairs_are_classified_by_log_fidelity(model, tasks):
    encoder, z = ours.mteb_model(model), model.encode(TEXTS)
    assert 0 < scores(encoder, tasks["pairs"]())["similarity_ap"] <= 1
    expected = log_fidelity(torch.tensor(z), torch.tensor(z).flip(0)).diagonal()
    torch.testing.assert_close(encoder.similarity_pairwise(z, z[::-1].copy()), expected)


def test_the_metadata_are_filled_and_the_revision_is_of_the_weights(model):
    meta, vocabulary = (
        ours.mteb_model(model).mteb_model_meta,
        model.transformers_model.config.vocab_size,
    )
    assert (meta.name, meta.embed_dim, meta.max_tokens) == ("mpsheads/mps-16", 16, 32)
    assert meta.n_parameters == sum(p.numel() for p in model.state_dict().values())
    assert meta.n_embedding_parameters == vocabulary * 48
    assert meta.experiment_kwargs["head"] == "mps"
    named = ours.mteb_model(model, name="me/model", revision="1", languages=["eng-Latn"])
    chosen = named.mteb_model_meta
    assert (chosen.name, chosen.revision, chosen.languages) == ("me/model", "1", ["eng-Latn"])
    assert ours.mteb_model(model).mteb_model_meta.revision == meta.revision
    with torch.no_grad():
        next(model[-1].parameters()).add_(0.1)
    assert ours.mteb_model(model).mteb_model_meta.revision != meta.revision


def test_a_similarity_that_the_user_names_is_used(model):
    model.similarity_fn_name = "cosine"
    encoder, z = ours.mteb_model(model), model.encode(TEXTS)
    assert encoder.similarity(z, z).max() <= 1 + 1e-6
    assert encoder.similarity_pairwise(z, z).tolist() == pytest.approx([1.0] * len(TEXTS))


def test_a_model_without_a_head_is_refused(base):
    with pytest.raises(ValueError, match="one projection head"):
        ours.mteb_model(base)


def mean_reciprocal_rank(similarity, ranked=None, ties=False):
    ranks = []
    for i, row in enumerate(similarity):
        others = range(len(TEXTS)) if ranked is None else ranked[i]
        before = row >= row[i] if ties else row > row[i]
        ranks.append(1 + sum(bool(before[j]) for j in others if j != i))
    return sum(1 / rank for rank in ranks) / len(ranks)


@pytest.mark.parametrize("precision", ["uint8", "int8", "binary"])
def test_codes_are_measured_by_precision(model, tasks, precision):
    zq, zd = (model.encode(t, precision=precision) for t in (QUERIES, TEXTS))
    scored = model.similarity(zq, zd)
    best, worst = mean_reciprocal_rank(scored), mean_reciprocal_rank(scored, ties=True)
    encoder, options = ours.mteb_model(model), {"encode_kwargs": {"precision": precision}}
    found = scores(encoder, tasks["search"](), **options)["mrr_at_10"]
    assert worst - 1e-4 < found < best + 1e-4
    assert precision == "binary" or best == worst
    assert 0 < scores(encoder, tasks["pairs"](), **options)["similarity_ap"] <= 1


@pytest.mark.parametrize("kind", ["angles", "codes"])
@pytest.mark.parametrize("engine", ["exact", "lists"])
def test_an_index_is_the_search_backend(base, head, tasks, kind, engine, generator):
    from mteb.models import SearchEncoderWrapper

    if kind == "codes":
        head = MPSProjectionHead.for_bytes(FEATURES, 8, generator=generator)
    model = st.add_head(base, head)
    backend = search.IndexBackend(head, engine, **({"probes": 8} if engine == "lists" else {}))
    wrapped = SearchEncoderWrapper(ours.mteb_model(model), index_backend=backend)
    codes = head.quantize(torch.tensor(model.encode(TEXTS)), head.config.get("bits") or 8)
    similarity = head.similarity(torch.tensor(model.encode(QUERIES)), codes)
    found = scores(wrapped, tasks["search"]())["mrr_at_10"]
    assert found == pytest.approx(mean_reciprocal_rank(similarity), abs=1e-4)
    ranked = [[3, 0], [0, 4, 1], [0, 4, 2], [0, 4, 3], [4, 1]]
    found = scores(wrapped, tasks["reranking"]())["mrr_at_10"]
    assert found == pytest.approx(mean_reciprocal_rank(similarity, ranked), abs=1e-4)
    assert backend.index is None
    with pytest.raises(ValueError, match="call `add_documents` first"):
        backend.search(codes.dequantize(), 1)


def test_documents_of_a_backend_come_in_parts(head, generator):
    z = head(torch.randn(20, FEATURES, generator=generator)).detach()
    backend = search.IndexBackend(head)
    backend.add_documents(z[:12].numpy(), [str(i) for i in range(12)])
    backend.add_documents(z[12:], [str(i) for i in range(12, 20)])
    values, places = backend.search(z[10:15], 3)
    expected = head.similarity(z[10:15], head.quantize(z, 8)).topk(3)
    assert places == expected.indices.tolist()
    torch.testing.assert_close(torch.tensor(values), expected.values)
