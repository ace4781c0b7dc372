import threading

import pytest
import torch
from torch.testing import assert_close

from mpsheads.cli.threads import ParallelEncoder, torch_threads
from mpsheads.retrieval import Encoder
from tests.cli.conftest import WORDS

TEXTS = [" ".join(WORDS[: 1 + i % 9]) + f" {i}" for i in range(400)]


@pytest.fixture
def two_threads():
    with torch_threads(2):
        yield


def test_several_threads_give_the_embeddings_of_one(model_folder, two_threads):
    expected = Encoder(model_folder, dtype="float32").encode(TEXTS, kind="query")
    done = []
    encoder = ParallelEncoder(model_folder, dtype="float32")
    assert_close(encoder.encode(TEXTS, kind="query", advance=done.append), expected)
    assert sum(done) == len(TEXTS)


def test_the_network_is_shared_and_the_tokenizer_is_not(model_folder):
    encoder = ParallelEncoder(model_folder)
    encoder.encode(["quantum"])
    twin = encoder._twin()
    assert twin._network is encoder._network
    assert twin._tokenizer is not encoder._tokenizer


def test_threads_each_take_texts(model_folder, two_threads, monkeypatch):
    seen = set()
    both = threading.Barrier(2, timeout=20)
    encode = Encoder.encode

    def counted(self, texts, **options):
        if len(texts) > 1 and len(seen) < 2:
            seen.add((threading.get_ident(), torch.get_num_threads()))
            both.wait()
        return encode(self, texts, **options)

    monkeypatch.setattr(Encoder, "encode", counted)
    ParallelEncoder(model_folder).encode(TEXTS[:256])
    assert len(seen) == 2
    assert {count for _, count in seen} == {1}


def test_it_stands_for_the_plain_encoder_in_the_cache(model_folder):
    encoders = [kind(model_folder, max_length=32) for kind in (Encoder, ParallelEncoder)]
    assert encoders[0].fingerprint("query") == encoders[1].fingerprint("query")


def test_an_error_in_a_thread_is_raised(model_folder, two_threads, monkeypatch):
    encode = Encoder.encode

    def failing(self, texts, **options):
        if TEXTS[-1] in texts:
            raise ValueError("this one")
        return encode(self, texts, **options)

    monkeypatch.setattr(Encoder, "encode", failing)
    with pytest.raises(ValueError, match="this one"):
        ParallelEncoder(model_folder).encode(TEXTS)


def test_the_number_of_threads_is_put_back():
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
