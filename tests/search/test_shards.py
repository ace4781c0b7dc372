"""Shards: what a kill leaves is gone on with to the same bytes, and nothing else is mixed in."""

import json
import signal
import subprocess
import sys
import textwrap

import pyarrow.parquet as pq
import pytest
import torch
from torch.testing import assert_close

from mpsheads import MPSProjectionHead
from mpsheads.heads import DenseHead, load_head
from mpsheads.retrieval import Passages
from mpsheads.search import encode_passages, read_manifest, read_shards
from tests.search.stub import Stub

TEXTS = [f"text {i}" for i in range(50)]


def encode(folder, texts=TEXTS, encoder=None, **options):
    options = {"bytes": 8, "rows": 16, **options}
    return encode_passages(Passages(texts), encoder or Stub(), folder, **options)


def contents(folder):
    return {
        file.relative_to(folder): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != ".lock"
    }


def test_shards_hold_ids_codes_texts_and_vectors(tmp_path):
    manifest = encode(tmp_path, keep_text=True, keep_vectors=True)
    tables = list(read_shards(tmp_path))
    assert [len(table) for table in tables] == [16, 16, 16, 2]
    assert (manifest.passages, manifest.bytes_per_vector) == (50, 8)
    assert read_manifest(tmp_path) == manifest
    rows = [row for table in tables for row in table.to_pylist()]
    assert [row["id"] for row in rows] == [str(i) for i in range(50)]
    assert [row["text"] for row in rows] == TEXTS
    x = Stub().encode(TEXTS)
    assert_close(torch.tensor([row["vector"] for row in rows]), x)
    codes = load_head(tmp_path / "head").code(x)
    assert [row["code"] for row in rows] == [bytes(c) for c in codes.packed.tolist()]


def test_by_default_only_ids_and_codes_are_kept(tmp_path):
    encode(tmp_path)
    assert next(read_shards(tmp_path)).column_names == ["id", "code"]


def test_the_head_is_fitted_to_the_first_shard_by_the_seed(tmp_path):
    encode(tmp_path, seed=3)
    generator = torch.Generator().manual_seed(3)
    head = MPSProjectionHead.for_bytes(32, 8, own=True, generator=generator)
    head.fit(Stub().encode(TEXTS[:16]))
    assert_close(load_head(tmp_path / "head").state_dict(), head.state_dict())


def test_a_given_head_codes_and_one_without_codes_takes_8_bits(tmp_path):
    head = MPSProjectionHead(32, 12, readout="probability").fit(Stub().encode(TEXTS))
    manifest = encode(tmp_path / "a", head=head)
    assert manifest.bytes_per_vector == 12
    with pytest.raises(ValueError, match="no range known"):
        encode(tmp_path / "b", head=DenseHead(32, 8))
    with pytest.raises(ValueError, match="number of features"):
        encode(tmp_path / "c", head=MPSProjectionHead(33, 12))


def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path):
    whole = encode(tmp_path / "whole")
    for at in ("text 3", "text 20", "text 49"):
        folder = tmp_path / at
        with pytest.raises(KeyboardInterrupt):
            encode(folder, encoder=Stub(fails_at=at))
        with pytest.raises(ValueError, match="not whole yet"):
            next(read_shards(folder))
        killed = folder / "head" / ".files.other-1.tmp"  # within its last steps
        killed.mkdir(parents=True)
        (killed / "half").touch()
        assert encode(folder) == whole
        assert contents(folder) == contents(tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path):
    encode(tmp_path / "whole")
    code = """
        import os, signal, sys
        from mpsheads import _files
        from tests.search.test_shards import encode
        real, left = _files.Path.replace, int(sys.argv[2])
        def replace(self, target):
            global left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, target)
        _files.Path.replace = replace
        encode(sys.argv[1])
    """
    for renames in range(0, 9, 2):
        folder = tmp_path / str(renames)
        arguments = [sys.executable, "-c", textwrap.dedent(code), str(folder), str(renames)]
        ended = subprocess.run(arguments, capture_output=True)
        assert ended.returncode in (0, -signal.SIGKILL), ended.stderr.decode()
        encode(folder)
        assert contents(folder) == contents(tmp_path / "whole"), renames


def test_finished_shards_are_not_encoded_again(tmp_path):
    encode(tmp_path)

    class Never(Stub):
        def encode(self, texts):
            raise AssertionError

    assert encode(tmp_path, encoder=Never()) == read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bytes": 16}, "another bytes_per_vector: 8, not 16"),
        ({"rows": 8}, "another rows: 16, not 8"),
        ({"seed": 1}, "another head"),
        ({"keep_text": True}, "another keep_text"),
        ({"encoder": Stub(40)}, "another fingerprint"),
        ({"texts": TEXTS[:40]}, "another passages: 50, not 40"),
        ({"texts": [*TEXTS[:-1], "other"]}, r"passages of 00003\.parquet"),
    ],
)
def test_a_folder_takes_nothing_else(tmp_path, change, message):
    encode(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=message):
        encode(tmp_path, **change)
    assert contents(tmp_path) == before


def test_other_files_and_a_second_writer_are_kept_out(tmp_path):
    from mpsheads._files import locked

    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(ValueError, match=r"holds other files, such as mine\.txt"):
        encode(tmp_path)
    with pytest.raises(NotADirectoryError, match="is a file"):
        encode(tmp_path / "mine.txt")
    with locked(tmp_path / "busy"), pytest.raises(BlockingIOError, match="is writing to"):
        encode(tmp_path / "busy")


def test_bad_passages_leave_nothing_behind(tmp_path):
    for texts in ([], ["fine", ""]):
        with pytest.raises(ValueError, match=r"holds no passage|the text is empty"):
            encode(tmp_path / "out", texts=texts)
        assert not contents(tmp_path / "out")


def test_a_damaged_or_missing_shard_is_named(tmp_path):
    encode(tmp_path)
    shard = tmp_path / "00001.parquet"
    shard.write_bytes(shard.read_bytes()[:4] + b"x" + shard.read_bytes()[5:])
    for read in (lambda: list(read_shards(tmp_path)), lambda: encode(tmp_path)):
        with pytest.raises(ValueError, match=r"00001\.parquet was changed or damaged"):
            read()
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=r"00001\.parquet is missing"):
        list(read_shards(tmp_path))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "x"}', "[" * 9999])
def test_a_foreign_manifest_is_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"not a manifest|of the format|JSON"):
        read_manifest(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no encoded passages"):
        read_manifest(tmp_path / "nowhere")


def test_another_format_is_named(tmp_path):
    encode(tmp_path)
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": "other"}))
    with pytest.raises(ValueError, match="of the format 'other'"):
        read_manifest(tmp_path)


def test_parquet_files_are_plain_for_other_tools(tmp_path):
    encode(tmp_path, keep_text=True)
    table = pq.read_table(tmp_path / "00000.parquet")
    assert [str(field.type) for field in table.schema] == [
        "string",
        "fixed_size_binary[8]",
        "string",
    ]
