"""The cache of embeddings: shared, resumed, checked."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mpsheads.retrieval import Encoder, default_cache_dir, encode_cached

TEXTS = [f"{'state ' * (i % 7)}head {i}" for i in range(20)]
MANY = [f"head {i}" for i in range(2100)]  # written in three parts


class Counting(Encoder):
    """The tiny encoder, which notes what it encodes and may die on the way."""

    seen: list[str]
    dies_at: int | None = None

    def encode(self, texts: Sequence[str], **options) -> Tensor:
        if self.dies_at is not None and len(self.seen) >= self.dies_at:
            raise KeyboardInterrupt
        self.seen.extend(texts)
        return super().encode(texts, **options)


@pytest.fixture
def counting(model_folder: Path) -> Callable[..., Counting]:
    def make(**options) -> Counting:
        encoder = Counting(model_folder, dtype="float32", device="cpu", **options)
        encoder.seen = []
        return encoder

    return make


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPSHEADS_CACHE", str(tmp_path))


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.sqlite"))


def test_cached_embeddings_are_those_of_the_encoder_in_the_order_of_the_texts(counting) -> None:
    encoder = counting()
    z = encode_cached(encoder, TEXTS, kind="document")
    assert_close(z, Encoder.encode(encoder, TEXTS))
    lengths = [len(text) for text in encoder.seen[: len(TEXTS)]]
    assert lengths == sorted(lengths, reverse=True)
    assert (z.dtype, z.device.type) == (torch.float32, "cpu")


def test_a_second_call_encodes_nothing_and_gives_the_same_bits(counting) -> None:
    first = encode_cached(counting(), TEXTS, kind="document")
    again = counting()
    second = encode_cached(again, TEXTS[::-1], kind="document")
    assert again.seen == []
    assert torch.equal(second.flip(0), first)


def test_collections_and_pools_share_what_they_have_in_common(counting) -> None:
    encode_cached(counting(), TEXTS[:8], kind="document")
    encoder = counting()
    texts = [*TEXTS[4:12], *TEXTS[7:10]]  # each once, also if repeated
    z = encode_cached(encoder, texts, kind="document")
    assert sorted(encoder.seen) == sorted(TEXTS[8:12])
    assert_close(z, Encoder.encode(encoder, texts))


def test_kinds_and_settings_do_not_mix(counting, tmp_path: Path) -> None:
    prefixed = counting(query_prefix="search ")
    documents = encode_cached(prefixed, TEXTS, kind="document")
    queries = encode_cached(prefixed, TEXTS, kind="query")
    short = encode_cached(counting(max_length=4), TEXTS, kind="document")
    assert len(files_in(tmp_path)) == 3
    assert not torch.allclose(documents, queries)
    assert not torch.allclose(documents, short)


@pytest.mark.slow
def test_a_run_that_died_goes_on_where_it_stopped_with_the_same_bits(
    counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = encode_cached(counting(), MANY, kind="document")
    monkeypatch.setenv("MPSHEADS_CACHE", str(tmp_path / "died"))
    dying = counting()
    dying.dies_at = 2048
    with pytest.raises(KeyboardInterrupt):
        encode_cached(dying, MANY, kind="document")
    resumed = counting()
    z = encode_cached(resumed, MANY, kind="document")
    assert len(resumed.seen) == len(MANY) - 2048
    assert set(resumed.seen).isdisjoint(dying.seen)
    assert torch.equal(z, whole)


@pytest.mark.slow
def test_a_killed_process_leaves_a_cache_that_the_next_one_uses(
    counting, model_folder: Path
) -> None:
    code = f"""
import os, signal
from mpsheads.retrieval import Encoder, encode_cached
class Killed(Encoder):
    calls = 0
    def encode(self, texts, **options):
        self.calls += 1
        if self.calls == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(texts, **options)
encoder = Killed({str(model_folder)!r}, dtype="float32", device="cpu")
encode_cached(encoder, {MANY!r}, kind="document")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    encoder = counting()
    encode_cached(encoder, MANY, kind="document")
    assert len(encoder.seen) == len(MANY) - 2048


def test_a_damaged_file_is_named_with_the_way_out(counting, tmp_path: Path) -> None:
    encode_cached(counting(), TEXTS, kind="document")
    (file,) = files_in(tmp_path)
    file.write_bytes(b"no database" * 100)
    with pytest.raises(OSError, match=rf"{file.name} cannot be used: .*\. Delete it\."):
        encode_cached(counting(), TEXTS, kind="document")


def test_writers_at_the_same_time_do_no_harm(counting) -> None:
    results: dict[int, Tensor] = {}
    encoders = [counting() for _ in range(4)]
    for encoder in encoders:
        encoder.encode(["load the weights before the threads start"])

    def work(i: int) -> None:
        results[i] = encode_cached(encoders[i], TEXTS, kind="document")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = counting().encode(TEXTS)
    for i in range(4):
        assert_close(results[i], expected)
    last = counting()
    encode_cached(last, TEXTS, kind="document")
    assert last.seen == []


def test_no_texts_give_no_rows(counting) -> None:
    assert encode_cached(counting(), [], kind="query").shape == (0, 32)


def test_the_default_folder_follows_the_environment(
    counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPSHEADS_CACHE", str(tmp_path / "there"))
    encode_cached(counting(), TEXTS[:1], kind="query")
    assert len(files_in(tmp_path / "there")) == 1
    monkeypatch.delenv("MPSHEADS_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "mpsheads"


def test_the_bar_counts_only_what_is_to_be_encoded(
    counting, capfd: pytest.CaptureFixture[str]
) -> None:
    encode_cached(counting(), TEXTS[:5], kind="document")
    encode_cached(counting(), TEXTS, kind="document", progress=True)
    assert "15/15" in capfd.readouterr().err
    encode_cached(counting(), TEXTS, kind="document", progress=True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(os.geteuid() == 0, reason="Root writes everywhere.")
def test_a_folder_that_cannot_be_written_is_named(counting, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match=str(tmp_path)):
        encode_cached(counting(), ["a"], kind="query")
