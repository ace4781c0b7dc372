"""`mpsheads.load` takes what mpsheads saved, and refuses foreign code."""

import json

import huggingface_hub
import pytest
import torch
from torch.testing import assert_close

import mpsheads
from mpsheads import DenseHead, MPSProjectionHead
from tests.integrations.tiny import FEATURES, TEXTS
from tests.later import Later

pytestmark = pytest.mark.slow

st = Later("sentence_transformers")
base_modules = Later("sentence_transformers.base.modules")
modules = Later("sentence_transformers.sentence_transformer.modules")
ours = Later("mpsheads.sentence_transformers")
hf = Later("mpsheads.transformers")


@pytest.fixture
def saved(model, tmp_path):
    model.save_pretrained(str(tmp_path / "saved"))
    return tmp_path / "saved"


def change(file, **values):
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**content, **values}))


def test_a_pipeline_is_loaded_where_sentence_transformers_asks_for_trust(model, saved):
    with pytest.raises(ValueError, match="trust_remote_code"):
        st.SentenceTransformer(str(saved), device="cpu")
    found = mpsheads.load(saved)
    assert isinstance(found, st.SentenceTransformer)
    assert not found.training
    assert_close(found.encode(TEXTS), model.encode(TEXTS))
    assert found.similarity_fn_name == "custom"


def test_options_reach_the_pipeline(saved):
    found = mpsheads.load(str(saved), similarity_fn_name="dot", truncate_dim=5, device="cpu")
    assert found.similarity_fn_name == "dot"
    assert found.encode(TEXTS).shape == (len(TEXTS), 5)


def test_a_pipeline_without_a_head_is_loaded_without_the_flag(base, tmp_path):
    base.save_pretrained(str(tmp_path))
    found = mpsheads.load(tmp_path)
    assert found.trust_remote_code is False
    assert_close(found.encode(TEXTS), base.encode(TEXTS))


def test_a_router_of_known_modules_is_loaded(encoder_folder, tmp_path):
    def route():
        return [modules.Transformer(str(encoder_folder)), modules.Pooling(FEATURES, "mean")]

    router = base_modules.Router.for_query_document(query_modules=route(), document_modules=route())
    head = ours.Projection(MPSProjectionHead(FEATURES, 16))
    model = st.SentenceTransformer(modules=[router, head], device="cpu")
    model.save_pretrained(str(tmp_path))
    found = mpsheads.load(tmp_path)
    assert_close(found.encode_query(TEXTS), model.encode_query(TEXTS))


@pytest.mark.parametrize("head", [MPSProjectionHead(12, 4), DenseHead(12, 5)])
def test_a_head_is_loaded(head, tmp_path):
    head.save_pretrained(tmp_path)
    found = mpsheads.load(tmp_path)
    assert type(found) is type(head)
    x = torch.randn(3, 12)
    assert_close(found(x), head(x))
    with pytest.raises(TypeError, match="takes no options, got 'dtype'"):
        mpsheads.load(tmp_path, dtype=torch.float16)


def test_a_transformers_model_is_loaded(encoder_folder, tmp_path):
    model = hf.MPSHeadModel.from_encoder(encoder_folder, trainable_layers=1).eval()
    model.save_pretrained(tmp_path)
    found = mpsheads.load(tmp_path, dtype=torch.bfloat16)
    assert isinstance(found, hf.MPSHeadModel)
    assert found.encoder.dtype == torch.bfloat16
    assert not found.training


def test_a_model_of_the_hub_is_fetched_whole(saved, model, monkeypatch):
    asked = {}

    def download(name, **options):
        asked.update(name=name, **options)
        return str(saved)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    found = mpsheads.load("owner/name", revision="v1", token="secret")
    assert (asked["name"], asked["revision"], asked["token"]) == ("owner/name", "v1", "secret")
    assert_close(found.encode(TEXTS), model.encode(TEXTS))


@pytest.mark.parametrize(
    "kind",
    [
        "modeling.Module",
        "os.system",
        "mpsheads.Module",
        "mpsheads.evil/repo--modeling.Module",
        "mpsheads--modeling.Module",
        "mpsheads.sentence_transformers.Projection2",
        "mpsheads_evil.sentence_transformers.Projection",
        "sentence_transformers--modeling.Module",
        "sentence_transformers_evil.Module",
    ],
)
def test_a_module_of_foreign_code_is_refused(saved, kind):
    modules = json.loads((saved / "modules.json").read_text())
    modules[1]["type"] = kind
    (saved / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ValueError, match="not part of Sentence Transformers"):
        mpsheads.load(saved)


def test_foreign_code_in_a_router_is_refused(saved):
    (saved / "1_Router").mkdir()
    types = {"types": {"query_0": "evil.Module"}, "structure": {}, "parameters": {}}
    change(saved / "1_Router" / "router_config.json", **types)
    modules = json.loads((saved / "modules.json").read_text())
    router = "sentence_transformers.base.modules.router.Router"
    modules[0] = {"idx": 0, "name": "0", "path": "1_Router", "type": router}
    (saved / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ValueError, match=r"'evil\.Module', which is not part of Sent"):
        mpsheads.load(saved)


EVIL = "import pathlib; pathlib.Path({ran!r}).touch()\nraise SystemExit"


@pytest.mark.parametrize("name", ["modeling.py", "mpsheads.py", "sentence_transformers.py"])
def test_code_in_the_folder_is_not_run(saved, model, tmp_path, name):
    (saved / name).write_text(EVIL.format(ran=str(tmp_path / "ran")))
    change(saved / "config.json", auto_map={"AutoModel": "modeling.Model"})
    change(saved / "tokenizer_config.json", auto_map={"AutoTokenizer": ["modeling.T", None]})
    assert_close(mpsheads.load(saved).encode(TEXTS), model.encode(TEXTS))
    assert not (tmp_path / "ran").exists()


def test_code_in_a_transformers_model_is_not_run(encoder_folder, tmp_path):
    model = hf.MPSHeadModel.from_encoder(encoder_folder, trainable_layers=1).eval()
    model.save_pretrained(tmp_path)
    (tmp_path / "modeling.py").write_text(EVIL.format(ran=str(tmp_path / "ran")))
    config = json.loads((tmp_path / "config.json").read_text())
    config["encoder"]["auto_map"] = config["auto_map"] = {"AutoModel": "modeling.Model"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert_close(mpsheads.load(tmp_path).encode(TEXTS), model.encode(TEXTS))
    assert not (tmp_path / "ran").exists()


def test_an_activation_of_torch_is_no_foreign_code(base, tmp_path):
    dense = base_modules.Dense(FEATURES, 24, activation_function=torch.nn.ReLU())
    narrow = st.SentenceTransformer(modules=[*base, dense], device="cpu")
    model = ours.add_head(narrow, MPSProjectionHead(24, 8))
    model.save_pretrained(str(tmp_path))
    assert_close(mpsheads.load(tmp_path).encode(TEXTS), model.encode(TEXTS))


@pytest.mark.parametrize(
    "options", [{"trust_remote_code": True}, {"model_kwargs": {"trust_remote_code": True}}]
)
def test_trust_cannot_be_asked_for(saved, options):
    with pytest.raises(TypeError, match="takes no `trust_remote_code`"):
        mpsheads.load(saved, **options)


def test_other_folders_are_named(tmp_path, encoder_folder, monkeypatch):
    with pytest.raises(ValueError, match="holds nothing that mpsheads saved"):
        mpsheads.load(encoder_folder)
    with pytest.raises(ValueError, match="holds nothing that mpsheads saved"):
        mpsheads.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        mpsheads.load(tmp_path / "none")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json: not JSON"):
        mpsheads.load(tmp_path)

    def unreachable(*_, **__):
        raise OSError

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(FileNotFoundError, match="nor to be had from the hub"):
        mpsheads.load("owner/name")
