"""The head as a module of a SentenceTransformer."""

import copy
import importlib
import itertools
import json
import pickle
import sys

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mpsheads import DenseHead, MPSProjectionHead, log_fidelity
from tests.integrations.tiny import FEATURES, HEADS, QUERIES, TEXTS
from tests.later import Later

pytestmark = pytest.mark.slow

st = Later("sentence_transformers")
base_modules = Later("sentence_transformers.base.modules")
modules = Later("sentence_transformers.sentence_transformer.modules")
st_util = Later("sentence_transformers.util")
quantization = Later("sentence_transformers.util.quantization")
ours = Later("mpsheads.sentence_transformers")
similarity = Later("mpsheads.sentence_transformers.similarity")

KEPT = FEATURES // 3


def reload(model, folder, **options):
    model.save_pretrained(str(folder))
    return st.SentenceTransformer(str(folder), device="cpu", trust_remote_code=True, **options)


@pytest.mark.parametrize("kind", HEADS)
def test_the_model_returns_the_heads_vectors_and_similarity_also_after_reload(base, kind, tmp_path):
    head = HEADS[kind]()
    model = ours.add_head(base, head)
    z = model.encode(TEXTS, convert_to_tensor=True)
    with torch.no_grad():
        expected = head(base.encode(TEXTS, convert_to_tensor=True).clone())
    assert_close(z, expected)
    assert model.get_embedding_dimension() == head.out_features
    for found in (model, reload(model, tmp_path)):
        assert_close(found.encode(TEXTS, convert_to_tensor=True), z)
        scores = found.similarity(z, z[:2])
        assert_close(scores, head.similarity(z, z[:2]))
        assert_close(
            found.similarity_pairwise(z[:3], z[1:4]), head.similarity(z, z)[:3, 1:4].diag()
        )
        assert found.similarity_fn_name == "custom"


def test_the_saved_folder_names_the_module_by_its_lasting_path(model, tmp_path):
    model.save_pretrained(str(tmp_path))
    modules = json.loads((tmp_path / "modules.json").read_text())
    assert modules[-1]["type"] == "mpsheads.sentence_transformers.Projection"
    files = {file.name for file in (tmp_path / modules[-1]["path"]).iterdir()}
    assert files == {"config.json", "model.safetensors"}
    card = (tmp_path / "README.md").read_text()
    assert "model = mpsheads.load(" in card
    assert "Log-Fidelity" in card
    assert "- mpsheads" in card


@pytest.mark.parametrize("name", ["cosine", "euclidean"])
def test_a_similarity_that_the_user_names_is_respected_and_saved(model, tmp_path, name):
    z = model.encode(TEXTS)
    model.save_pretrained(str(tmp_path))
    chosen = reload(model, tmp_path, similarity_fn_name=name)
    assert chosen.similarity_fn_name == name
    again = reload(chosen, tmp_path / "again")
    model.similarity_fn_name = name
    for found in (chosen, again, model):
        assert found.similarity_fn_name == name
        assert not torch.allclose(found.similarity(z, z), log_fidelity(*map(torch.tensor, (z, z))))
    if name == "cosine":
        assert_close(again.similarity(z, z), st_util.cos_sim(z, z))


def test_what_would_ruin_the_vectors_is_refused(model):
    defaults = [None, None, 32, False, "sentence_embedding", "float32", True, False, None]
    assert_close(model.encode(TEXTS, *defaults, False), model.encode(TEXTS))
    for encode in (model.encode, model.encode_query, model.encode_document):
        with pytest.raises(ValueError, match="`normalize_embeddings` must be False"):
            encode(TEXTS, normalize_embeddings=True)
    with pytest.raises(ValueError, match="normalize_embeddings"):
        model.encode(TEXTS, *defaults, True)
    with pytest.raises(ValueError, match="`truncate_dim` must be None or `precision`"):
        model.encode(TEXTS, truncate_dim=5, precision="int8")
    with pytest.raises(ValueError, match='`precision` must be one of "uint8", "int8"'):
        model.encode(TEXTS, precision="int4")


ANGLES = {"direction": {}, "probability": {"readout": "probability"}}
PRECISIONS = {"uint8": 8, "int8": 8, "ubinary": 1, "binary": 1}


@pytest.fixture(params=ANGLES)
def angles(request, base, generator):
    """A model of angles, and so many texts that the nearest differ."""
    head = MPSProjectionHead(FEATURES, 30, **ANGLES[request.param], generator=generator)
    words = sorted({word for text in TEXTS + QUERIES for word in text.split()})
    texts = [" ".join(words[i] for i in p) for p in itertools.permutations(range(8), 3)][::3]
    return ours.add_head(base, head.fit(base.encode(texts, convert_to_tensor=True))), texts


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_precision_gives_the_heads_codes_with_no_calibration(angles, precision):
    (model, texts), bits = angles, PRECISIONS[precision]
    z = model.encode(texts)
    codes = ours.find_head(model).quantize(torch.tensor(z), bits)
    expected = codes.numbers().numpy()
    if bits == 1:
        expected = np.packbits(z > np.pi / 2, axis=1)  # as theirs packs what is centred
    found = model.encode_document(texts, precision=precision)
    assert found.dtype == (np.uint8 if precision[0] == "u" else np.int8)
    assert_close(found.astype(int), expected.astype(int) - 128 * (precision[0] != "u"))
    one = model.encode(texts[1], precision=precision)
    assert_close(one, found[1])
    listed = model.encode(texts[:2], precision=precision, convert_to_numpy=False)
    assert_close(torch.stack(listed).numpy(), found[:2])
    tensor = model.encode(texts[1], precision=precision, convert_to_tensor=True)
    assert_close(tensor.numpy(), one)
    assert model.encode([], precision=precision).shape == (0, found.shape[1])
    head, zq = ours.find_head(model), torch.tensor(z[:3])
    for vectors in (found, torch.tensor(found), list(torch.tensor(found))):
        assert_close(model.similarity(zq, vectors), head.similarity(zq, codes))
        assert_close(model.similarity(vectors, zq), head.similarity(codes, zq))
    assert_close(model.similarity(found, found[:3]), head.similarity(codes, codes[:3]))
    pairs = head.similarity(zq, codes[:3], pairwise=True)
    assert_close(model.similarity_pairwise(zq, found[:3]), pairs)
    assert_close(ours.head_similarity(model)(zq, one), head.similarity(zq, codes[1:2]))


@pytest.mark.parametrize("kind", ["state", "amplitude"])
def test_codes_of_other_heads_are_theirs(base, kind, generator):
    head = HEADS["state"]()
    if kind == "amplitude":
        head = MPSProjectionHead.for_bytes(FEATURES, 12, generator=generator)
        head.fit(base.encode(TEXTS, convert_to_tensor=True))
    model = ours.add_head(base, head)
    z, found = torch.tensor(model.encode(TEXTS)), model.encode(TEXTS, precision="uint8")
    codes = head.quantize(z, 8) if kind == "state" else head.code(torch.tensor(base.encode(TEXTS)))
    assert_close(torch.tensor(found), codes.packed)
    assert_close(model.similarity(z, found), head.similarity(z, codes))
    assert_close(model.similarity(found, found), head.similarity(codes, codes))
    reason = "must be one of 8, 4" if kind == "state" else "words of a trellis and not numbers"
    with pytest.raises(ValueError, match=reason):
        model.encode(TEXTS, precision="ubinary")
    unnormalised = model.encode(TEXTS, precision="uint8", normalize_embeddings=kind != "state")
    assert_close(unnormalised, found)
    hits = st_util.semantic_search(z, found, score_function=model.similarity)
    assert shared(hits, head.similarity(z, codes), k=len(TEXTS)) == 1


def shared(hits, scores, k=10):
    """The part of the best `k` by `scores` that is among `hits`."""
    found = [{hit["corpus_id"] for hit in each} for each in hits]
    best = scores.topk(k).indices.tolist()
    return np.mean([len(f & set(b)) / k for f, b in zip(found, best, strict=True)])


def test_their_searches_take_the_codes(angles):
    model, texts = angles
    zq, zd = model.encode(QUERIES), model.encode(texts)
    scores = model.similarity(zq, zd)
    q, d = ({p: model.encode(t, precision=p) for p in PRECISIONS} for t in (QUERIES, texts))
    for precision in PRECISIONS:
        theirs = st_util.semantic_search(zq, d[precision], score_function=model.similarity)
        assert shared(theirs, model.similarity(zq, d[precision])) == 1
    with pytest.raises(RuntimeError, match="Expected a floating point"):
        st_util.semantic_search(q["int8"], d["int8"])  # their cosine
    faiss, usearch = quantization.semantic_search_faiss, quantization.semantic_search_usearch
    centred = torch.tensor(q["int8"]).float() @ torch.tensor(d["int8"]).float().T
    mixed, _ = faiss(q["int8"], d["uint8"], corpus_precision="uint8", rescore=False)
    found, _ = usearch(q["int8"], d["int8"], corpus_precision="int8", rescore=False)
    both, _ = faiss(q["uint8"], d["uint8"], corpus_precision="uint8", rescore=False)
    for hits in (mixed, found):
        assert shared(hits, centred) > 0.95  # but for ties
        if model[-1].head.config["readout"] == "direction":  # all of one norm
            assert shared(hits, scores) > 0.8
    assert shared(both, scores) < 0.5  # theirs does not take the middle off
    for search in (faiss, usearch):
        bits, _ = search(q["ubinary"], d["ubinary"], corpus_precision="ubinary", rescore=False)
        ranked = np.unpackbits(q["ubinary"][:, None] ^ d["ubinary"], axis=2).sum(2)
        ties = np.sort(ranked, 1)[:, 9]
        assert all(ranked[i, hit["corpus_id"]] <= ties[i] for i in range(5) for hit in bits[i])
        whole, signs = zq - np.float32(np.pi / 2), (zd > np.pi / 2).astype("f4")
        rescored, _ = search(whole, d["ubinary"], corpus_precision="ubinary", rescore_multiplier=99)
        expected = torch.tensor(whole @ signs.T).topk(10).values
        assert_close(torch.tensor([[h["score"] for h in hits] for hits in rescored]), expected)


def test_wrong_parts_are_refused(base, model, head):
    with pytest.raises(ValueError, match="Put the head last"):
        st.SentenceTransformer(
            modules=[*base, ours.Projection(head), modules.Normalize()], device="cpu"
        )
    st.SentenceTransformer(
        modules=[*base, ours.Projection(DenseHead(FEATURES, 4)), modules.Normalize()], device="cpu"
    )
    with pytest.raises(ValueError, match=f"the model's embeddings have {FEATURES}"):
        ours.add_head(base, MPSProjectionHead(96, 32))
    with pytest.raises(ValueError, match="has a head already"):
        ours.add_head(model, head)
    with pytest.raises(TypeError, match="`head` must be ProjectionHead, got Linear"):
        ours.add_head(base, torch.nn.Linear(FEATURES, 4))
    with pytest.raises(ValueError, match="one projection head, found 0"):
        ours.find_head(base)


def test_vectors_compared_by_cosine_may_be_normalised(base):
    model = ours.add_head(base, DenseHead(FEATURES, 10))
    z = model.encode(TEXTS, normalize_embeddings=True)
    assert_close(np.linalg.norm(z, axis=1), np.ones(len(TEXTS), dtype=z.dtype))


def test_the_normalize_module_before_the_head_can_be_left_out(base):
    head = DenseHead(FEATURES, 10)
    plain = ours.add_head(base, head, drop_normalize=True)
    assert len(list(plain.children())) == 3
    pooled = st.SentenceTransformer(modules=list(base.children())[:2], device="cpu")
    with torch.no_grad():
        expected = head(pooled.encode(TEXTS, convert_to_tensor=True).clone())
    assert_close(plain.encode(TEXTS, convert_to_tensor=True), expected)


def test_cut_vectors_are_compared_by_what_is_left(model, tmp_path):
    z = model.encode(TEXTS, truncate_dim=5)
    assert z.shape == (len(TEXTS), 5)
    cut = torch.tensor(z)
    assert_close(model.similarity(z, z), log_fidelity(cut, cut))
    shorter = reload(model, tmp_path, truncate_dim=7)
    assert shorter.encode(TEXTS).shape == (len(TEXTS), 7)
    assert_close(shorter.similarity(z, z), log_fidelity(cut, cut))


def test_states_cannot_be_cut(base):
    model = ours.add_head(base, HEADS["state"]())
    assert model.encode(TEXTS, truncate_dim=16).shape == (len(TEXTS), 16)
    with pytest.raises(ValueError, match="States cannot be cut"):
        model.encode(TEXTS, truncate_dim=9)
    with pytest.raises(ValueError, match="must have 16 numbers, got 17"):
        similarity.check_length(ours.find_head(model), 17)


def test_any_container_of_vectors_is_compared(model):
    z = model.encode(TEXTS, convert_to_tensor=True)
    expected = model.similarity(z, z)
    array = z.numpy()
    for vectors in (array, list(z), list(array), array.tolist(), z.double(), array.astype("f8")):
        assert_close(model.similarity(vectors, z), expected, check_dtype=False)
    assert_close(model.similarity(z[0], z), expected[:1])
    half = model.similarity(z.half(), z)
    assert half.dtype == torch.float32
    assert_close(half, model.similarity(z.half().float(), z))


def test_wrong_vectors_are_named(model, head):
    z = model.encode(TEXTS)
    with pytest.raises(
        TypeError, match=r"must be floating-point numbers or codes, got torch\.int32"
    ):
        model.similarity(z.astype("int32"), z)
    with pytest.raises(ValueError, match=f"must have {KEPT // 8} or {KEPT} bytes, got 5"):
        model.similarity(z[:, :5].astype("int8"), z)
    with pytest.raises(ValueError, match=f"`a` has {KEPT}, `b` has 5"):
        model.similarity(z, z[:, :5])
    with pytest.raises(ValueError, match="must agree"):
        similarity.compare(head, z[:2], z[:3], pairwise=True)


def test_the_functions_for_losses_are_plain_named_and_scaled(model, head):
    z = torch.tensor(model.encode(TEXTS))
    matrix, pairs = (
        ours.head_similarity(model, scale=0.5),
        ours.head_similarity(head, scale=2.0, pairwise=True),
    )
    assert (matrix.__name__, pairs.__name__) == ("log_fidelity", "log_fidelity_pairwise")
    assert type(matrix).__name__ == "function"
    assert_close(matrix(z, z), 0.5 * log_fidelity(z, z))
    assert_close(pairs(z[:2], z[2:4]), 2 * log_fidelity(z[:2], z[2:4]).diagonal())
    assert ours.head_similarity(DenseHead(4, 2)).__name__ == "cosine"


def test_a_copy_compares_with_its_own_head(model):
    copied = copy.deepcopy(model)
    assert copied._similarity.args[0] is copied[len(copied) - 1]
    with pytest.raises(ValueError, match="normalize_embeddings"):
        copied.encode(TEXTS, normalize_embeddings=True)
    assert copied.encode.args[0] is copied


def test_a_model_in_16_bits_keeps_its_head_in_32(base, head, tmp_path):
    model = ours.add_head(base, head)
    z = model.encode(TEXTS)
    short = reload(model, tmp_path, model_kwargs={"dtype": torch.bfloat16})
    assert short.dtype == torch.bfloat16
    assert {p.dtype for p in ours.find_head(short).parameters()} == {torch.float32}
    found = short.encode(TEXTS)
    assert found.dtype == np.float32
    assert_close(found, z, atol=0.1, rtol=0.1)  # the encoder rounds to 8 bits


def test_a_head_in_a_model_that_projects_before_it(encoder_folder):
    parts = [
        modules.Transformer(str(encoder_folder)),
        modules.Pooling(FEATURES, "cls"),
        base_modules.Dense(FEATURES, 24),
        ours.Projection(MPSProjectionHead(24, 8)),
    ]
    model = st.SentenceTransformer(modules=parts, device="cpu")
    assert model.encode(TEXTS).shape == (len(TEXTS), 8)


def test_a_pickled_model_is_whole(model):
    other = pickle.loads(pickle.dumps(model))  # as for a pool of processes
    assert_close(other.encode(TEXTS), model.encode(TEXTS))
    z = other.encode(TEXTS)
    assert_close(other.similarity(z, z), model.similarity(z, z))
    with pytest.raises(ValueError, match="normalize_embeddings"):
        other.encode(TEXTS, normalize_embeddings=True)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    for name in [n for n in sys.modules if n.startswith("mpsheads.sentence_transformers")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r'pip install "mpsheads\[sentence-transformers\]"'):
        importlib.import_module("mpsheads.sentence_transformers")
