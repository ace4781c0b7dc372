"""Every engine through the index: what it finds, keeps, forgets and refuses."""

import subprocess
import sys
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

from mpsheads import MPSProjectionHead
from mpsheads.search import ENGINES, Index
from mpsheads.search.engines.base import Neighbours, eight_bits
from mpsheads.search.shards import codes_of

pytestmark = pytest.mark.slow
ROWS, FEATURES, K = 3000, 48, 10
CASES = {
    "exact": ("exact", {}),
    "lists": ("lists", {}),
    "usearch": ("usearch", {}),
    "usearch, 1 bit": ("usearch", {"bits": 1}),
    "faiss, graph": ("faiss", {}),
    "faiss, lists": ("faiss", {"kind": "ivf"}),
    "pgvector": ("pgvector", {}),
    "pgvector, 1 bit": ("pgvector", {"bits": 1}),
    "milvus": ("milvus", {}),
}


def clustered(rows, seed):
    """Random vectors around 60 means."""
    means = torch.randn(60, FEATURES, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    cluster = torch.randint(len(means), (rows,), generator=generator)
    return means[cluster] + 0.5 * torch.randn(rows, FEATURES, generator=generator)


X, QUERIES = clustered(ROWS, 1), clustered(40, 2)


@pytest.fixture(scope="module")
def made():
    """By what it compares: a head, and the codes of `X`."""
    generator = torch.Generator().manual_seed(0)
    heads = {
        "cosine": MPSProjectionHead.for_bytes(FEATURES, 12, generator=generator).fit(X).eval(),
        "log_fidelity": MPSProjectionHead(FEATURES, 24, generator=generator).fit(X).eval(),
    }
    return {name: (head, codes_of(head, X)) for name, head in heads.items()}


@pytest.fixture
def exact(made):
    return Index.build(made["cosine"][1], made["cosine"][0])


@pytest.fixture(params=CASES)
def build(request, made, monkeypatch, tmp_path_factory):
    """Builds an index of rows of `X` with one of the engines."""
    engine, options = CASES[request.param]
    if engine == "pgvector":
        monkeypatch.setenv("MPSHEADS_POSTGRES", request.getfixturevalue("postgres"))
    elif engine == "milvus":
        monkeypatch.setenv("MPSHEADS_MILVUS", str(tmp_path_factory.mktemp("milvus") / "lite.db"))

    def make(rows=ROWS, compared_by="cosine", **more):
        head, codes = made[compared_by]
        return Index.build(codes[:rows], head, engine=engine, **options, **more)

    return make


def found(index, **how):
    return index.search(QUERIES, K, **how)[0]


def recall(ids, wanted):
    return sum(len(set(a) & set(b)) for a, b in zip(ids, wanted, strict=True)) / (K * len(wanted))


@pytest.mark.parametrize("compared_by", ["cosine", "log_fidelity"])
def test_an_engine_finds_what_reading_all_codes_finds(build, compared_by):
    index = build(compared_by=compared_by)
    assert index.head.compared_by == compared_by
    assert recall(found(index), found(Index.build(index.codes, index.head))) >= 0.98
    candidates = index.engine.candidates(index.head(QUERIES), K, None)
    if index.engine.name == "exact":
        assert candidates is None
        return
    assert index.engine.nbytes > 0
    for rows in candidates:
        assert len(rows) < ROWS / 3
        assert torch.equal(rows, rows.unique())


def test_where_holds_and_the_closest_of_the_allowed_are_found(build, exact):
    index = build()
    odd, few = [str(i) for i in range(1, ROWS, 2)], ["2", "3", "5"]
    ids = found(index, where=odd)
    assert all(int(identifier) % 2 for row in ids for identifier in row)
    assert recall(ids, found(exact, where=odd)) >= 0.98
    assert index.search(QUERIES[:1], K, where=few) == exact.search(QUERIES[:1], K, where=few)


def test_more_is_asked_for_until_enough_are_allowed(build, exact):
    """None of the first 300 neighbours of the query may be found."""
    index = build()
    near = exact.search(QUERIES[:1], 300)[0][0]
    far = sorted({str(i) for i in range(ROWS)} - set(near))
    ids, wanted = (some.search(QUERIES[:1], K, where=far)[0] for some in (index, exact))
    assert len(ids[0]) == K
    assert not set(ids[0]) & set(near)
    rows = torch.tensor(sorted(map(int, far)))
    for found_rows in index.engine.candidates(index.head(QUERIES[:1]), K, rows) or ():
        assert len(found_rows) < ROWS / 2
    one_bit = getattr(index.engine, "options", {}).get("bits") == 1
    if not one_bit and index.engine.name != "lists":  # coarse, and these stop at k
        assert recall(ids, wanted) >= 0.9


def test_rows_come_and_go_and_the_index_comes_back_from_disk(build, exact, tmp_path):
    index, codes, gone = build(2000), exact.codes, [str(i) for i in range(0, ROWS, 3)]
    index.add([str(i) for i in range(2000, ROWS)], codes[2000:])
    whole = found(exact)
    assert recall(found(index), whole) >= 0.98
    assert index.remove(gone) == exact.remove(gone) == 1000
    assert recall(found(index), found(exact)) >= 0.98
    index.save(tmp_path)
    back = Index.load(tmp_path)
    assert len(back) == 2000
    if isinstance(back.engine, Neighbours):
        assert back.engine._read(next(tmp_path.glob("data-*"))) == 2000
    assert recall(found(back), found(exact)) >= 0.98
    back.add(gone, codes[::3])
    back.save(tmp_path)
    again = Index.load(tmp_path)
    assert again.search(QUERIES, K) == back.search(QUERIES, K)
    assert recall(found(again), whole) >= 0.98


@pytest.mark.parametrize("rows", [1, 2, 11])
def test_few_passages(build, rows, tmp_path):
    index = build(rows)
    if isinstance(index.engine, Neighbours):
        index.engine.options["oversample"] = 1  # else all are scored
    index.save(tmp_path)
    for some in (index, Index.load(tmp_path)):
        for k in (1, 3, 20):
            got, scores = some.search_rows(X[:1], k)
            assert (got >= 0).sum() == min(k, rows)
            assert got[0, 0] == 0
            assert scores.isfinite().sum() == min(k, rows)


def test_an_engine_of_other_codes_is_refused(build, tmp_path):
    index = build(40)
    index.save(tmp_path)
    if index.engine.name != "exact":
        with pytest.raises(ValueError, match="40 rows for 39 codes"):
            type(index.engine).load(next(tmp_path.glob("data-*")), index.codes[:39], index.head)


def test_unknown_options_are_refused_in_one_line(build):
    with pytest.raises(ValueError, match=r"^The engine \w+ takes [^\n]*, got speed\.$"):
        build(speed=3)


@pytest.mark.parametrize(
    ("engine", "options", "message"),
    [
        ("milvus", {}, "Give `uri`, or set MPSHEADS_MILVUS"),
        ("milvus", {"collection": "a b"}, "`collection` must be letters, digits and _, got 'a b'"),
        ("pgvector", {"bits": 8}, "`bits` must be one of 16, 1, got 8"),
        ("usearch", {"bits": 4}, "`bits` must be one of 8, 1, got 4"),
        ("usearch", {"connectivity": 1}, "`connectivity` must be at least 2, got 1"),
        ("usearch", {"expansion": 0}, "`expansion` must be at least 1, got 0"),
        ("faiss", {"kind": "flat"}, '`kind` must be one of "hnsw", "ivf", got \'flat\''),
        ("faiss", {"connectivity": 1}, "`connectivity` must be at least 2, got 1"),
        ("faiss", {"kind": "ivf", "lists": 41}, "`lists` must be at most the 40 passages, got 41"),
        ("faiss", {"kind": 3}, "`kind` must be a str, got int"),
        ("lists", {"lists": "many"}, "`lists` must be an integer, got 'many'"),
        ("lists", {"seed": -1}, "`seed` must be at least 0, got -1"),
    ],
)
def test_options_that_do_not_fit_are_refused(exact, engine, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Index.build(exact.codes[:40], exact.head, engine=engine, **options)


def test_points_lie_around_nought_and_their_bytes_use_the_whole_range(exact):
    engine = Index.build(exact.codes, exact.head, engine="usearch").engine
    assert isinstance(engine, Neighbours)
    points = engine._points(exact.codes)
    assert abs(points.mean(0)).max() < 1e-5
    assert abs(eight_bits(points)).max() == 127
    assert eight_bits(2 * points).min() == -127


FAISS = """
from itertools import product
import torch
from mpsheads import MPSProjectionHead
from mpsheads.search import Index
from mpsheads.search.shards import codes_of

x, head = torch.randn(40, 12, generator=torch.Generator().manual_seed(0)), MPSProjectionHead(12, 5)
graphs = [{"connectivity": c, "expansion": e} for c, e in product((1, 2, 300), (1, 64))]
lists = [{"lists": l, "probes": p} for l, p in product((1, 7, 41), (1, 10**6))] + [{}]
options = [{"kind": "hnsw", **o} for o in graphs] + [{"kind": "ivf", **o} for o in lists]
for rows, chosen in product((0, 1, 7, 40), options):
    print(rows, chosen, flush=True)  # the last line names the call that ended the process
    codes = codes_of(head, x)[:rows]
    try:
        index = Index.build(codes, head, engine="faiss", **chosen)
    except ValueError as error:
        assert "`lists`" in str(error) or "`connectivity`" in str(error) or not rows, error
        continue
    for k in (1, 50):
        found, _ = index.search(x[:2], k)
        assert [len(ids) for ids in found] == [min(k, rows)] * 2, found
    index.remove(map(str, range(rows)))
    index.add(["a"], codes[:1])
    assert index.search(x[:1], 3)[0] == [["a"]]
"""


def test_no_size_or_option_makes_faiss_end_the_process():
    run = subprocess.run([sys.executable, "-c", FAISS], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout.splitlines()[-1:] + run.stderr.splitlines()[-3:]
    assert run.stdout.count("\n") == 52


def test_keys_of_no_row_are_passed_over(exact):
    engine = Index.build(exact.codes, exact.head, engine="usearch").engine
    assert isinstance(engine, Neighbours)
    assert engine._rows(np.array([ROWS + 7, 5, -1, 2])).tolist() == [2, 5]


@pytest.mark.parametrize("engine", sorted(set(ENGINES) - {"exact", "lists"}))
def test_states_are_for_the_exact_engine(engine):
    head = MPSProjectionHead(FEATURES, 24, readout="state", bond_dim=1).eval()
    with pytest.raises(ValueError, match="use exact"):
        Index.build(codes_of(head, X[:40]), head, engine=engine)


@pytest.mark.parametrize(
    ("engine", "module", "extra"),
    [
        ("usearch", "usearch.index", "search"),
        ("faiss", "faiss", "search"),
        ("pgvector", "psycopg", "pgvector"),
        ("milvus", "pymilvus", "milvus"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(exact, monkeypatch, engine, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    options = {"uri": "lite.db"} if engine == "milvus" else {}
    with pytest.raises(ImportError, match=rf'{module}.*pip install "mpsheads\[{extra}\]"'):
        Index.build(exact.codes[:40], exact.head, engine=engine, **options)


@pytest.mark.parametrize("engine", ["usearch", "faiss"])
def test_a_damaged_file_is_named(exact, engine, tmp_path):
    Index.build(exact.codes[:40], exact.head, engine=engine).save(tmp_path)
    (next(tmp_path.glob("data-*")) / f"{engine}.bin").write_bytes(b"no")
    with pytest.raises(ValueError, match=rf"not a whole index: {engine}\.bin was changed"):
        Index.load(tmp_path)


def test_a_table_of_postgres_outlives_a_crash_and_holds_no_secret(made, postgres, tmp_path):
    head, codes = made["cosine"]
    secret = {"dsn": f"{postgres} password=hush", "table": 'odd "name"; --'}
    Index.build(codes[:1000], head, engine="pgvector", **secret).save(tmp_path)
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or b"hush" not in file.read_bytes()
    with pytest.raises(ValueError, match=r"`table` .* is there already"):
        Index.build(codes[:10], head, engine="pgvector", **secret)
    Index.load(tmp_path).add([str(i) for i in range(1000, ROWS)], codes[1000:])  # never saved
    index = Index.load(tmp_path)
    wanted = Index.build(codes[:1000], head)
    assert recall(found(index), found(wanted)) >= 0.98
    index.add(["a", "b"], codes[:2])
    assert {"0", "a"} <= set(index.search(X[:1], 5)[0][0])
    index.engine._run("DROP TABLE {table}")
    with pytest.raises(ValueError, match=r"is not a whole index: the table .* is not in the"):
        Index.load(tmp_path)


def test_a_lost_connection_is_made_anew(made, postgres):
    head, codes = made["cosine"]
    index = Index.build(codes[:300], head, engine="pgvector", dsn=postgres)
    before = found(index)
    index.engine._db.close()
    assert found(index) == before


def test_a_server_that_is_not_there_is_named_without_its_password(made):
    head, codes = made["cosine"]
    dsn = "host=/nowhere user=me password=hush"
    with pytest.raises(ConnectionError, match=r"`dsn` or MPSHEADS_POSTGRES .*/nowhere") as caught:
        Index.build(codes[:10], head, engine="pgvector", dsn=dsn)
    assert "hush" not in str(caught.value)


def test_a_collection_of_milvus_is_found_again_and_the_folder_holds_no_secret(made, tmp_path):
    head, codes = made["cosine"]
    where = {"uri": str(tmp_path / "lite.db"), "token": "hush", "collection": "passages"}
    Index.build(codes[:1000], head, engine="milvus", **where).save(tmp_path / "index")
    for file in (tmp_path / "index").rglob("*"):
        assert file.is_dir() or b"hush" not in file.read_bytes()
    with pytest.raises(ValueError, match="`collection` passages is there already"):
        Index.build(codes[:10], head, engine="milvus", **where)
    Index.load(tmp_path / "index").add(["a"], codes[1000:1001])  # never saved
    index = Index.load(tmp_path / "index")
    assert recall(found(index), found(Index.build(codes[:1000], head))) >= 0.98
    index.add(["b"], codes[:1])
    assert index.engine._read(tmp_path) == 1001
    assert "b" in index.search(X[:1], 5)[0][0]
    index.engine._client.drop_collection("passages")
    with pytest.raises(ValueError, match="is not a whole index: the collection passages is not in"):
        Index.load(tmp_path / "index")


def test_a_cluster_is_asked_for_bytes_and_its_address_kept_without_a_password(made, monkeypatch):
    """The calls that a cluster would get; there was none to run them on."""
    client = MagicMock(**{"has_collection.return_value": False})
    monkeypatch.setattr("pymilvus.MilvusClient", MagicMock(return_value=client))
    where = {"uri": "https://me:hush@example.org:19530", "token": "hush"}
    engine = Index.build(made["cosine"][1], made["cosine"][0], engine="milvus", **where).engine
    assert engine.options["uri"] == "https://example.org:19530"
    assert "hush" not in str(engine.options)
    (_, kind), width = client.create_schema().add_field.call_args
    assert (kind.name, width) == ("INT8_VECTOR", {"dim": 32})
    rows = client.upsert.call_args.args[1]
    assert len(rows) == ROWS
    assert rows[0]["point"].dtype == "int8"


def test_a_milvus_that_is_not_there_is_named_without_its_password(made):
    head, codes = made["cosine"]
    uri = "http://me:hush@127.0.0.1:9"
    with pytest.raises(ConnectionError, match=r"`uri` http://127.0.0.1:9 leads to") as caught:
        Index.build(codes[:10], head, engine="milvus", uri=uri)
    assert "hush" not in str(caught.value)
