"""Tokens of odd tokenizers and encoders: no special ones, no padding, positions with an offset."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from mpsheads import MPSProjectionHead
from mpsheads._encoders import token_limit
from mpsheads.retrieval import Encoder
from tests.later import Later

transformers = Later("transformers")
hf = Later("mpsheads.transformers")
PLAIN = {"dtype": "float32", "device": "cpu"}
TEXTS = ["the quantum state", "a", "tensor network search head", "gate of the"]
SMALL = {
    "vocab_size": 200,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 34,
    "pad_token_id": 1,
}
OWN = {
    "longformer": {"attention_window": [8]},
    "esm": {"position_embedding_type": "absolute", "mask_token_id": 4},
    "luke": {"entity_vocab_size": 9, "entity_emb_size": 4},
    "mpnet": {"vocab_size": 200},
    "distilbert": {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16},
}
KINDS = ("bert", "roberta", "xlm-roberta", "camembert", "mpnet", "ibert", "longformer")
KINDS += ("xlm-roberta-xl", "esm", "luke", "data2vec-text", "roberta-prelayernorm")
KINDS += ("distilbert", "electra", "nystromformer", "mobilebert")


def changed(model_folder: Path, folder: Path, special: bool = True, **config: object) -> Path:
    """A copy of the tiny model with another `tokenizer_config.json`; perhaps no special tokens."""
    shutil.copytree(model_folder, folder, dirs_exist_ok=True)
    file = folder / "tokenizer_config.json"
    content = {**json.loads(file.read_text()), **config}
    file.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    if not special:
        file = folder / "tokenizer.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "post_processor": None}))
        file = folder / "tokenizer_config.json"
        content = json.loads(file.read_text())
        content["tokenizer_class"] = "PreTrainedTokenizerFast"
        file.write_text(json.dumps(content))
    return folder


def headed(folder: Path, **options: str):
    return hf.MPSHeadModel.from_encoder(
        folder, MPSProjectionHead(32, 8), trainable_layers=0, **options
    ).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_max_length_above_the_models_positions_cuts(kind, tmp_path, model_folder):
    config = transformers.AutoConfig.for_model(kind, **{**SMALL, **OWN.get(kind, {})})
    torch.manual_seed(0)
    network = transformers.AutoModel.from_config(config).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    limit = token_limit(network, tokenizer, 4096)
    assert 32 <= limit <= 34
    ids = torch.arange(limit)[None] % 90 + 5
    with torch.no_grad():
        assert network(input_ids=ids, attention_mask=torch.ones_like(ids))[0].isfinite().all()


@pytest.mark.parametrize("special", [True, False])
def test_texts_without_tokens_are_zeros(model_folder, tmp_path, special):
    folder = changed(model_folder, tmp_path, special)
    encoder = Encoder(folder, **PLAIN)
    texts = ["", *TEXTS, " ", ""]
    z = encoder.encode(texts)
    none = torch.tensor([not text.strip() for text in texts])
    assert (z[none] == 0).all().item() is not special
    assert (z[~none].norm(dim=1) > 0).all()
    assert_close(z[1:-2], encoder.encode(TEXTS))
    assert_close(encoder.encode([""]), z[:1])
    done = []
    encoder.encode(texts, advance=done.append)
    assert sum(done) == len(texts)


def test_a_model_with_a_head_takes_texts_without_tokens(model_folder, tmp_path):
    model = headed(changed(model_folder, tmp_path, False))
    z = model.encode(["", *TEXTS])
    assert z.isfinite().all()
    assert_close(z[:1], model.head(torch.zeros(1, 32)))
    assert_close(z[1:], model.encode(TEXTS))
    assert_close(model.encode([""]), z[:1])


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("names", [None, ["input_ids"]])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_batch_gives_each_text_what_it_has_alone(model_folder, tmp_path, side, names, pooling):
    folder = changed(model_folder, tmp_path, padding_side=side, model_input_names=names)
    encoder = Encoder(folder, pooling=pooling, **PLAIN)
    alone = torch.cat([encoder.encode([text]) for text in TEXTS])
    assert_close(encoder.encode(TEXTS), alone)
    model = headed(folder, pooling=pooling)
    assert_close(model.encode(TEXTS), torch.cat([model.encode([text]) for text in TEXTS]))


def test_no_padding_token_is_named_with_its_cure(model_folder, tmp_path):
    folder = changed(model_folder, tmp_path, False, pad_token=None)
    with pytest.raises(ValueError, match=rf"tokenizer of {folder} has no .*`pad_token`.*config"):
        Encoder(folder, **PLAIN).encode(TEXTS)


@pytest.mark.parametrize("kind", ["fnet", "convbert", "yoso"])
def test_an_encoder_that_mixes_padding_with_the_text_gets_none(kind, model_folder, tmp_path):
    folder = changed(model_folder, tmp_path)
    own = {"hidden_size": 32, "embedding_size": 32, "initializer_range": 0.3, "pad_token_id": 0}
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **{**SMALL, **own})
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    encoder = Encoder(folder, **PLAIN)
    alone = torch.cat([encoder.encode([text]) for text in TEXTS])
    assert_close(encoder.encode(TEXTS), alone)
    model = headed(folder)
    assert_close(model.encode(TEXTS), torch.cat([model.encode([text]) for text in TEXTS]))
