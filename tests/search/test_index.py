"""An index: what is searched, added, removed and read back is what `top_k` finds in the codes."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from torch.testing import assert_close

from mpsheads import MPSProjectionHead
from mpsheads.heads import DenseHead
from mpsheads.retrieval import Passages
from mpsheads.search import ENGINES, Index, check_index, encode_passages
from mpsheads.search import index as index_module
from mpsheads.search.storage import hits_at
from mpsheads.similarity import top_k
from tests.search.stub import Stub

TEXTS = [f"text {i}" for i in range(120)]
X = Stub().encode(TEXTS)
IDS = [f"p{i}" for i in range(120)]


@pytest.fixture(scope="module")
def head():
    return MPSProjectionHead.for_bytes(32, 16, generator=torch.Generator().manual_seed(0)).fit(X)


@pytest.fixture
def index(head):
    return Index.build(X.numpy(), head, ids=IDS, texts=TEXTS)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    options = {"bytes": 16, "rows": 50, "keep_text": True, "keep_vectors": True}
    encode_passages(Passages(TEXTS), Stub(), folder, **options)
    return folder


def test_it_finds_what_the_heads_similarity_ranks_first(index, head):
    queries = X[:7] + 0.1
    ids, scores = index.search(queries, 5)
    values, rows = top_k(head(queries), head.code(X), 5, similarity=head.similarity)
    assert ids == [[IDS[row] for row in found] for found in rows.tolist()]
    assert_close(torch.tensor(scores), values)
    assert index.search(queries.numpy(), 5) == (ids, scores)
    assert (len(index), index.nbytes) == (120, 120 * 16)


def test_more_ids_and_texts_than_arrow_joins_are_searched(head):
    """Arrow joins a column to take rows of it, which fails from 2 GB on; here in little memory."""
    column = pa.chunked_array([pa.array(["x" * (1 << 25)])] * 65)
    table = pa.table({"id": column, "text": column})
    index = Index(head, head.code(X[:65]), table, ENGINES["exact"]())
    ids, scores = index.search(X[2:3], 1)
    hits = hits_at(table, *(found[0] for found in index.search_rows(X[2:3], 1)))
    assert [len(hits[0]["id"]), len(hits[0]["text"])] == [len(ids[0][0])] * 2 == [1 << 25] * 2
    assert hits[0]["score"] == scores[0][0]


def test_where_keeps_to_ids_or_an_expression(index):
    assert index.search(X[:1], 3, where=["p5", "p9", "nobody"])[0][0] in (
        ["p5", "p9"],
        ["p9", "p5"],
    )
    (found,), _ = index.search(X[11:12], 4, where=pc.ends_with(pc.field("text"), pattern="1"))
    assert found[0] == "p11"
    assert all(identifier.endswith("1") for identifier in found)
    assert index.search(X[:2], 3, where=[]) == ([[], []], [[], []])
    with pytest.raises(TypeError, match="`where` must be ids"):
        index.search(X[:1], 3, where="p5")


def test_what_is_removed_is_not_found_and_what_is_added_is(index, head):
    assert index.remove({"p3", "nobody"}) == 1
    assert len(index) == 119
    assert "p3" not in index.search(X[3:4], 119)[0][0]
    index.add(["p3", "new"], X[3:5] * 2, ["again", "more"])
    assert index.search(X[3:4], 1)[0] == [["p3"]]
    assert index.text("p3") == "again"
    assert set(index.search(X[4:5], 2)[0][0]) == {"p4", "new"}
    with pytest.raises(ValueError, match="'p4' comes twice"):
        index.add(["p4"], X[:1], ["x"])
    with pytest.raises(ValueError, match="`texts` must be given if and only if"):
        index.add(["y"], X[:1])
    with pytest.raises(KeyError):
        index.text("nobody")


@pytest.mark.parametrize("engine", ["exact", "lists"])
def test_it_is_read_back_as_it_was_saved(tmp_path, head, engine):
    index = Index.build(X, head, ids=IDS, engine=engine)
    index.remove(["p0", "p60"])
    index.save(tmp_path / "i")
    read = Index.load(tmp_path / "i")
    (ids, scores), (before, scored) = read.search(X[:9], 4), index.search(X[:9], 4)
    assert ids == before
    assert_close(torch.tensor(scores), torch.tensor(scored))
    assert (len(read), len(read.codes), read.engine.name) == (118, 118, engine)
    read.add(["p0"], X[:1])
    (tmp_path / "i" / ".index.json.other-1.tmp").touch()  # of a writer that was killed
    read.save(tmp_path / "i")  # over the files that are mapped
    assert Index.load(tmp_path / "i").search(X[:1], 1)[0] == [["p0"]]
    (before,) = (tmp_path / "i").glob("data-*")
    (before / "codes.npy").write_bytes(b"damaged")
    read.save(tmp_path / "i")  # equal content
    assert list((tmp_path / "i").glob("data-*")) == [before]
    Index.load(tmp_path / "i").verify()


def test_an_index_that_is_replaced_while_it_is_read_is_read_anew(
    tmp_path, index, head, monkeypatch
):
    index.save(tmp_path)
    newer, read = Index.build(X[:7], head), index_module.read_about

    def read_about(folder):
        about = read(folder)
        if about["passages"] != 7:
            newer.save(tmp_path)
        return about

    monkeypatch.setattr(index_module, "read_about", read_about)
    assert len(Index.load(tmp_path)) == 7


def test_a_folder_of_shards_is_indexed(tmp_path, shards):
    index = Index.build(shards)
    assert index.search(X[5:6], 1)[0] == [["5"]]
    assert index.text("7") == "text 7"
    index.save(tmp_path)
    with pytest.raises(ValueError, match="does not say which encoder"):
        Index.load(tmp_path).search_texts(["text 5"])
    with pytest.raises(ValueError, match="`head` is another one"):
        Index.build(shards, MPSProjectionHead.for_bytes(32, 8))


def test_recall_is_measured_without_the_query_itself(shards):
    measured = check_index(Index.build(shards), shards, queries=40)
    assert measured["recall_exact"] == 1.0
    assert measured["recall_of_codes"] == measured["recall_uncompressed"]
    assert 0.4 < measured["recall_of_codes"] < 1.0
    few = check_index(Index.build(shards, engine="lists", lists=12, probes=1), shards)
    assert few["recall_exact"] < 0.9
    assert few["queries"] == 120


def test_more_lists_are_read_where_few_passages_are_allowed(head):
    index = Index.build(head.code(X), head, ids=IDS, engine="lists", lists=30, probes=1)
    ids, _ = index.search(X[:1], 10, where=IDS[50:60])
    assert sorted(ids[0]) == IDS[50:60]


@pytest.mark.parametrize("engine", ["exact", "lists"])
@pytest.mark.parametrize("count", [1, 2, 11])
def test_few_passages_are_all_found(head, engine, count):
    index = Index.build(head.code(X[:count]), head, engine=engine)
    ids, scores = index.search(X[:3], 10**12)
    assert all(sorted(found) == sorted(map(str, range(count))) for found in ids)
    assert all(scored == sorted(scored, reverse=True) for scored in scores)


def test_a_zero_vector_is_coded_and_scored(head):
    x = torch.cat([torch.zeros(1, 32), X[:3]])
    index = Index.build(head.code(x), head)
    for queries in (X[:1], torch.zeros(1, 32)):
        scores = index.search(queries, 4)[1][0]
        assert len(scores) == 4
        assert np.isfinite(scores).all()


def test_log_fidelity_is_searched_in_8_bits(tmp_path):
    head = MPSProjectionHead(32, 12, readout="probability").fit(X)
    index = Index.build(head.quantize(head(X).detach(), 8), head, ids=IDS)
    index.save(tmp_path)
    ids, scores = Index.load(tmp_path).search(X[:3], 2)
    assert [found[0] for found in ids] == IDS[:3]
    assert all(score <= 0 for row in scores for score in row)


WRONG = {
    "no head": (lambda c, h: Index.build(c), "Give `head`"),
    "engine": (lambda c, h: Index.build(c, h, engine="x"), '`engine` must be one of "exact"'),
    "option": (lambda c, h: Index.build(c, h, lists=3), "takes no options, got lists"),
    "lists": (lambda c, h: Index.build(c, h, engine="lists", lists=999), "at most the 120"),
    "list option": (lambda c, h: Index.build(c, h, engine="lists", x=1), "takes lists, probes"),
    "rows": (lambda c, h: Index.build(c, h, ids=["a"]), "number of rows"),
    "twice": (lambda c, h: Index.build(c, h, ids=["a"] * 120), "'a' comes twice"),
    "width": (lambda c, h: Index.build(c, DenseHead(32, 8)), "number of features"),
    "k": (lambda c, h: Index.build(c, h).search(X[:1], 0), "`k` must be at least 1"),
    "query": (lambda c, h: Index.build(c, h).search(X[:1, :9]), "must have shape"),
    "nan": (lambda c, h: Index.build(c, h).search(X[:1] * torch.nan), "must be finite"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused(head, name):
    call, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        call(head.code(X), head)


def _spoil(data, name):
    match name:
        case "index.json":
            (data.parent / name).write_text("{}")
        case "codes.npy":
            np.save(data / name, np.zeros((3, 16), np.uint8))
        case "passages.arrow" | "layout.safetensors":
            (data / name).write_bytes(b"x" * 99)
        case "engine":
            file = data.parent / "index.json"
            file.write_text(json.dumps(json.loads(file.read_text()) | {"engine": "nope"}))
        case "head":
            MPSProjectionHead.for_bytes(32, 8).save_pretrained(data / "head")


def test_one_changed_letter_of_a_text_is_noticed_before_texts_are_filtered_or_served(
    tmp_path, index
):
    from mpsheads.search.serve import make_app

    index.save(tmp_path)
    file = next(tmp_path.glob("data-*/passages.arrow"))
    content = bytearray(file.read_bytes())
    content[content.index(b"text 117")] ^= 1
    file.write_bytes(content)
    loaded, texts = Index.load(tmp_path), pc.field("text") != "x"
    assert len(loaded.search(X[:1], 3)[0][0]) == 3  # reads none
    for read in (
        lambda: loaded.search(X[:1], 3, where=texts),
        lambda: loaded.save(tmp_path / "copy"),
        lambda: make_app(loaded),
    ):
        with pytest.raises(ValueError, match=r"data-\w+ was changed or damaged"):
            read()
    content[content.index(b"uext 117")] ^= 1
    file.write_bytes(content)
    assert loaded.search(X[:1], 3, where=texts)[0]


def test_damaged_lists_are_one_clear_error(tmp_path, head):
    Index.build(head.code(X), head, engine="lists").save(tmp_path)
    next(tmp_path.glob("data-*/lists.safetensors")).write_bytes(b"x" * 99)
    with pytest.raises(ValueError, match="is not a whole index"):
        Index.load(tmp_path)


def test_what_an_engine_cannot_take_is_not_added(index, monkeypatch):
    def fails(codes):
        raise ConnectionError

    monkeypatch.setattr(index.engine, "add", fails)
    with pytest.raises(ConnectionError):
        index.add(["new"], X[:1], ["x"])
    assert (len(index), len(index.table)) == (120, 120)


@pytest.mark.parametrize(
    "name", ["index.json", "codes.npy", "passages.arrow", "layout.safetensors", "engine", "head"]
)
def test_a_spoiled_index_is_one_clear_error(tmp_path, index, name):
    index.save(tmp_path)
    _spoil(next(tmp_path.glob("data-*")), name)
    with pytest.raises(ValueError, match="is not a whole index"):
        Index.load(tmp_path)


def test_a_folder_that_is_no_index_is_not_touched(tmp_path, index):
    with pytest.raises(FileNotFoundError, match="is no index"):
        Index.load(tmp_path / "nowhere")
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(FileExistsError, match="holds something else"):
        index.save(tmp_path)


def test_engines_are_listed_by_their_words():
    assert {"exact", "lists"} <= set(ENGINES)
    assert all(engine.name == name for name, engine in ENGINES.items())
