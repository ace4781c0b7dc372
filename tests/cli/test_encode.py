from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mpsheads.heads import DenseHead
from mpsheads.retrieval import Encoder, load_vectors


@pytest.fixture
def head():
    made = DenseHead(48, 8, generator=torch.Generator().manual_seed(3))
    made.save_pretrained("my-head")
    return made.eval()


def test_a_collection_is_encoded_with_its_ids(command, beir, model_folder):
    options = ["--dataset", beir, "--encoder", model_folder]
    assert command("encode", *options, "--output", "o.safetensors").code == 0
    documents, doc_ids = load_vectors("o.safetensors", name="documents")
    queries, query_ids = load_vectors("o.safetensors", name="queries")
    assert doc_ids == [f"d{i}" for i in range(60)]
    assert query_ids == [f"q{i}" for i in range(30, 40)]
    encoder = Encoder(model_folder)
    assert_close(
        documents[:2], encoder.encode(["quantum quantum number 0", "state quantum number 1"])
    )
    assert_close(queries[:1], encoder.encode(["quantum network number 30"], kind="query"))


@pytest.mark.slow
def test_what_was_encoded_is_evaluated_as_the_texts_are(command, beir, model_folder):
    options = ["--dataset", beir]
    command("encode", *options, "--encoder", model_folder, "--output", "o.safetensors")
    files = ["--query-vectors", "o.safetensors", "--document-vectors", "o.safetensors"]
    from_files = command("evaluate", *options, *files, "--json").json
    from_texts = command("evaluate", *options, "--encoder", model_folder, "--json").json
    assert from_files["results"] == from_texts["results"]


def test_a_collection_is_compressed_by_a_head(command, data, vectors, head):
    options = ["--head", "my-head", "--output", "o.safetensors", "--json"]
    report = command("encode", *data, *options).json
    assert (report["documents"], report["queries"]) == ([60, 8], [10, 8])
    documents, _ = load_vectors(vectors["both"], name="documents")
    assert_close(load_vectors("o.safetensors", name="documents")[0], head(documents).detach())


@pytest.mark.parametrize("as_dataset", [True, False])
def test_a_file_of_vectors_is_compressed(command, vectors, head, as_dataset):
    flag = "--dataset" if as_dataset else "--document-vectors"
    options = [flag, vectors["documents"], "--head", "my-head", "--output", "o.npy"]
    ran = command("encode", *options)
    assert "60 documents: 8 numbers, 32 bytes each, from the dense head" in ran.out
    documents = torch.from_numpy(np.load(vectors["documents"]))
    assert_close(torch.from_numpy(np.load("o.npy")), head(documents).detach())


@pytest.mark.parametrize("flag", ["--dataset", "--document-vectors"])
def test_a_file_of_queries_and_documents_keeps_both_and_their_ids(command, vectors, head, flag):
    both = ["--query-vectors", vectors["both"], flag, vectors["both"]]
    options = [*both, "--head", "my-head", "--output", "o.safetensors"]
    assert command("encode", *options).code == 0
    for name, count in {"queries": 40, "documents": 60}.items():
        compressed, ids = load_vectors("o.safetensors", name=name)
        original, expected = load_vectors(vectors["both"], name=name)
        assert ids == expected
        assert len(ids) == count
        assert_close(compressed, head(original).detach())


def test_only_documents_are_encoded_for_npy(command, beir, model_folder, monkeypatch):
    kinds = []
    encode = Encoder.encode
    monkeypatch.setattr(
        Encoder, "encode", lambda self, *a, **k: (kinds.append(k["kind"]), encode(self, *a, **k))[1]
    )
    options = ["--dataset", beir, "--encoder", model_folder]
    command("encode", *options, "--output", "o.npy")
    assert set(kinds) == {"document"}
    assert np.load("o.npy").shape == (60, 48)


def test_bad_usage_is_one_line_and_leaves_nothing(fails, vectors, beir, data):
    options = ["encode", "--dataset", vectors["documents"]]
    assert "must end in .npy or .safetensors" in fails(*options, "--output", "o.txt")
    line = fails(*options, "--output", "o.npy", "--head", "nosuch")
    assert "'nosuch' is not a folder" in line
    for unread in (["--bytes", 32], ["--keep-text"], ["--id-column", "x"], ["--rows", 9]):
        line = fails(*options, "--output", "o.npy", *unread)
        assert f"`{unread[0]}` is for passages in a folder, not for o.npy" in line
    assert "Missing option '--output'" in fails(*options)
    broken = vectors["documents"].with_name("broken.npy")
    broken.write_bytes(vectors["documents"].read_bytes()[:-9])
    assert "not a complete .npy file" in fails("encode", "--dataset", broken, "--output", "o.npy")
    broken = broken.with_suffix(".safetensors")
    broken.write_bytes(b"nothing")
    line = fails("encode", "--dataset", broken, "--output", "o.npy")
    assert "not a complete .safetensors file" in line
    both = ["--query-vectors", vectors["both"], "--document-vectors", vectors["both"]]
    assert "must end in .safetensors to hold" in fails("encode", *both, "--output", "o.npy")
    assert "Give `--dataset`" in fails("encode", "--output", "o.npy")
    assert not list(Path.cwd().iterdir())
