"""Folders of sentence-transformers models are encoded by all that they say."""

import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from mpsheads import MPSProjectionHead
from mpsheads.retrieval import Encoder
from tests.integrations.tiny import FEATURES, TEXTS, write_bert
from tests.later import Later

pytestmark = pytest.mark.slow

st = Later("sentence_transformers")
base_modules = Later("sentence_transformers.base.modules")
modules = Later("sentence_transformers.sentence_transformer.modules")
ours = Later("mpsheads.sentence_transformers")
MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
PLAIN = {"dtype": "float32", "device": "cpu"}
ENDS = {
    "nothing": lambda width: [],
    "dense": lambda width: [base_modules.Dense(width, 24)],
    "normalize": lambda width: [modules.Normalize()],
    "head": lambda width: [ours.Projection(MPSProjectionHead(width, width // 3))],
    "dense, normalize, head": lambda width: [
        base_modules.Dense(width, 24),
        modules.Normalize(),
        ours.Projection(MPSProjectionHead(24, 8)),
    ],
}


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("bert"), layers=1)


def saved(bert: Path, folder: Path, pooling="mean", end="nothing", **options):
    modes = (pooling,) if isinstance(pooling, str) else pooling
    first = [modules.Transformer(str(bert)), modules.Pooling(FEATURES, pooling)]
    made = [*first, *ENDS[end](FEATURES * len(modes))]
    model = st.SentenceTransformer(modules=made, device="cpu", **options)
    model.save_pretrained(str(folder), create_model_card=False)
    return model.eval()


@pytest.mark.parametrize(
    ("pooling", "end"),
    [
        *((mode, "nothing") for mode in (*MODES, ("mean", "max"))),
        *(("mean", end) for end in ENDS if end != "nothing"),
        ("lasttoken", "dense, normalize, head"),
    ],
)
def test_embeddings_are_those_of_sentence_transformers(bert, tmp_path, pooling, end):
    model = saved(bert, tmp_path, pooling, end)
    encoder = Encoder(tmp_path, batch_size=2, **PLAIN)
    expected = model.encode(TEXTS, convert_to_tensor=True)
    z = encoder.encode(TEXTS)
    assert z.dtype == torch.float32
    assert_close(z, expected.clone())
    assert encoder.features == z.shape[1]
    assert_close(encoder.encode([]), torch.empty(0, z.shape[1]))
    (z * torch.ones(z.shape[1], requires_grad=True)).sum().backward()  # no inference tensor


def test_a_text_is_what_it_is_alone_also_where_the_tokenizer_pads_on_the_left(bert, tmp_path):
    model = saved(bert, tmp_path, "lasttoken")
    model.tokenizer.padding_side = "left"
    model.save_pretrained(str(tmp_path), create_model_card=False)
    encoder = Encoder(tmp_path, **PLAIN)
    texts = [*TEXTS, "a", "the cat purr " * 9]
    alone = torch.cat([encoder.encode([text]) for text in texts])
    assert_close(encoder.encode(texts), alone)


def test_prompts_are_the_models_unless_prefixes_are_given(bert, tmp_path):
    prompts = {"query": "why do ", "document": "it is "}
    model = saved(bert, tmp_path, prompts=prompts)
    for kind, embed in (("query", model.encode_query), ("document", model.encode_document)):
        expected = embed(TEXTS, convert_to_tensor=True).clone()
        assert_close(Encoder(tmp_path, **PLAIN).encode(TEXTS, kind=kind), expected)
    given = Encoder(tmp_path, query_prefix="the ", **PLAIN)
    expected = model.encode(TEXTS, prompt="the ", convert_to_tensor=True).clone()
    assert_close(given.encode(TEXTS, kind="query"), expected)


def test_max_length_cuts_and_the_models_own_limit_stays(bert, tmp_path):
    model = saved(bert, tmp_path)
    model.max_seq_length = 12
    model.save_pretrained(str(tmp_path), create_model_card=False)
    long, cut = "rain " * 50, lambda tokens: "rain " * (tokens - 2)
    for limit, tokens in ((8, 8), (256, 12)):
        encoder = Encoder(tmp_path, max_length=limit, **PLAIN)
        assert_close(encoder.encode([long]), encoder.encode([cut(tokens)]))


def test_named_pooling_takes_the_bare_transformer(bert, tmp_path):
    saved(bert, tmp_path, "max", "dense")
    for pooling in ("mean", "cls"):
        expected = Encoder(bert, pooling=pooling, **PLAIN).encode(TEXTS)
        assert_close(Encoder(tmp_path, pooling=pooling, **PLAIN).encode(TEXTS), expected)


def test_the_fingerprint_covers_every_module_and_16_bits_leave_the_head_whole(bert, tmp_path):
    prints = set()
    for end in ENDS:
        saved(bert, tmp_path / end, end=end)
        prints.add(Encoder(tmp_path / end, **PLAIN).fingerprint())
    assert len(prints) == len(ENDS)
    half = Encoder(tmp_path / "head", dtype="bfloat16", device="cpu")
    full = Encoder(tmp_path / "head", **PLAIN)
    # 8 bits of mantissa before the head
    assert_close(half.encode(TEXTS), full.encode(TEXTS), atol=0.1, rtol=0)
    weights = half._network.model[-1].head.angles
    assert torch.equal(weights, full._network.model[-1].head.angles)


def test_without_sentence_transformers_the_error_names_the_extra(bert, tmp_path, monkeypatch):
    saved(bert, tmp_path)
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    for name in [name for name in sys.modules if name.startswith("mpsheads.sentence_transformers")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match=r"mpsheads\[sentence-transformers\]"):
        Encoder(tmp_path, **PLAIN).encode(["a"])


def test_foreign_modules_and_broken_folders_are_one_error(bert, tmp_path):
    saved(bert, tmp_path, end="dense")
    file = tmp_path / "modules.json"
    text = file.read_text()
    for content in (text.replace("sentence_transformers.base", "evil"), text[:40], "[3]", "{}"):
        file.write_text(content)
        with pytest.raises(ValueError, match=f"{tmp_path} cannot be loaded: ") as caught:
            Encoder(tmp_path, **PLAIN).encode(["a"])
        assert "\n" not in str(caught.value)
