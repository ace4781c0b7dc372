"""Collections by ir_datasets id, from a small cache in the layout that ir_datasets keeps."""

import sys
from pathlib import Path

import pytest

from mpsheads.retrieval import candidate_pool, load_collection, load_triples
from tests.retrieval.tiny import IRDS_HOME

MSMARCO = IRDS_HOME / "msmarco-passage"
TRIPLES = "msmarco-passage/train/triples-small"
JUDGED = "msmarco-passage/trec-dl-2019/judged"


@pytest.fixture
def irds(monkeypatch: pytest.MonkeyPatch):
    """ir_datasets with a home of its own and without a network."""
    module = pytest.importorskip("ir_datasets")
    if Path(module.util.home_path()) != IRDS_HOME:
        pytest.skip("ir_datasets was imported with another home before these tests.")
    import requests

    def no_network(**_: object) -> None:
        raise requests.exceptions.ConnectionError("no network in tests")

    monkeypatch.setattr(requests, "get", no_network)
    return module


@pytest.fixture
def msmarco(irds) -> Path:
    """Four passages, three queries of which two are judged."""
    (MSMARCO / "trec-dl-2019").mkdir(parents=True, exist_ok=True)
    passages = "0\tA qubit is a state.\n1\tTensor networks.\n2\tSearch.\n3\tNot judged.\n"
    (MSMARCO / "collection.tsv").write_text(passages)
    (MSMARCO / "irds_version.txt").write_text("v2")
    queries = "10\twhat is a qubit\n11\ttensor network\n12\tnever judged\n"
    (MSMARCO / "trec-dl-2019" / "queries.tsv").write_text(queries)
    (MSMARCO / "trec-dl-2019" / "qrels").write_text("10 Q0 0 3\n10 Q0 2 0\n11 Q0 1 2\n")
    (MSMARCO / "train").mkdir(exist_ok=True)
    (MSMARCO / "train" / "small.triples.qidpid.tsv").write_text("10\t0\t1\n11\t1\t3\n11\t1\n")
    return MSMARCO


@pytest.mark.parametrize(
    ("source", "split"),
    [
        (JUDGED, None),
        ("msmarco-passage/trec-dl-2019", None),
        ("msmarco-passage/trec-dl-2019", "judged"),
        ("msmarco-passage", "trec-dl-2019/judged"),
    ],
)
def test_an_id_loads_its_judged_queries(msmarco: Path, source: str, split: str | None) -> None:
    collection = load_collection(source, split)
    assert collection.name == (f"{source}/{split}" if split else source)
    assert dict(collection.queries) == {"10": "what is a qubit", "11": "tensor network"}
    assert collection.qrels == {"10": {"0": 3, "2": 0}, "11": {"1": 2}}


def test_documents_are_read_one_by_one_on_request(msmarco: Path) -> None:
    documents = load_collection(JUDGED).documents
    assert documents["1"] == "Tensor networks."
    assert "3" in documents
    assert "4" not in documents
    assert list(documents) == ["0", "1", "2", "3"]
    assert len(documents) == 4
    with pytest.raises(KeyError):
        documents["4"]


def test_loading_does_not_touch_the_documents(
    msmarco: Path, irds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(irds.formats.TsvDocs, "docs_iter", lambda _: pytest.fail("documents read"))
    collection = load_collection(JUDGED)
    assert candidate_pool(collection, "all") is None


def test_the_judged_pool_comes_from_the_document_store(msmarco: Path) -> None:
    collection = load_collection(JUDGED)
    assert candidate_pool(collection, "judged") == {"10": ["0", "2"], "11": ["1"]}


@pytest.mark.parametrize("version", [None, "v1", "v2\n"])
def test_files_that_ir_datasets_would_delete_are_guarded(
    msmarco: Path, version: str | None
) -> None:
    file = msmarco / "irds_version.txt"
    file.unlink() if version is None else file.write_text(version)
    with pytest.raises(
        ValueError, match=r"would delete .*collection\.tsv.*exactly 'v2'.*printf v2"
    ):
        load_collection(JUDGED)
    assert (msmarco / "collection.tsv").read_text().startswith("0\tA qubit")


def test_a_failed_download_is_one_error_and_deletes_nothing(
    msmarco: Path,
) -> None:
    (msmarco / "trec-dl-2019" / "qrels").unlink()
    before = sorted(msmarco.rglob("*"))
    with pytest.raises(FileNotFoundError, match=r"could not be fetched.*no network in tests"):
        load_collection("msmarco-passage/trec-dl-2020/judged")
    assert [file for file in before if not file.exists()] == []


def test_triples_of_an_id_are_streamed_and_other_ids_are_refused(msmarco: Path) -> None:
    assert list(load_triples(TRIPLES, 2)) == [("10", "0", "1"), ("11", "1", "3")]
    with pytest.raises(
        (ValueError, OSError), match=r"pairs of documents .* malformed at record 3: exp"
    ):
        list(load_triples(TRIPLES))
    with pytest.raises(ValueError, match=rf"has no pairs of documents\. Of its parts.*{TRIPLES}"):
        load_triples("msmarco-passage")
    with pytest.raises(FileNotFoundError, match="no/such is neither a file of triples nor an id"):
        load_triples("no/such")
    (msmarco / "train" / "small.triples.qidpid.tsv").unlink()
    with pytest.raises(FileNotFoundError, match=r"could not be fetched.*no network in tests"):
        list(load_triples(TRIPLES))
    (msmarco / "irds_version.txt").write_text("v1")
    with pytest.raises(ValueError, match="would delete"):
        load_triples(TRIPLES)


def test_an_id_registered_by_the_user_loads(irds, tmp_path: Path) -> None:
    name = _register(irds, tmp_path, "own", qrels="q1 0 d1 1\nq1 0 d9 1\nq2 0 d2 0\n")
    collection = load_collection(name)
    assert dict(collection.documents) == {"d1": "A qubit.", "d2": "A gate."}
    assert dict(collection.queries) == {"q1": "qubit", "q2": "gate"}
    assert candidate_pool(collection, "judged") == {"q1": ["d1"], "q2": ["d2"]}


@pytest.mark.parametrize(
    ("qrels", "match"),
    [
        ("q1 0 d1 1\nq1 d2 1\n", "qrels .* malformed at record 2: expected 4 columns, got 3"),
        ("q1 0 d1 one\n", "qrels .* malformed at record 1: invalid literal"),
        ("", "holds no judgments"),
        ("q7 0 d1 1\n", "'q7' is not one of its queries"),
    ],
)
def test_malformed_judgments_of_an_id_are_named(
    irds, tmp_path: Path, qrels: str, match: str
) -> None:
    with pytest.raises((ValueError, OSError), match=match):
        load_collection(_register(irds, tmp_path, tmp_path.name, qrels))


def test_documents_that_are_not_there_are_one_error(irds, tmp_path: Path) -> None:
    collection = load_collection(_register(irds, tmp_path, "lost", "q1 0 d1 1\n"))
    (tmp_path / "docs.tsv").unlink()
    with pytest.raises(FileNotFoundError, match=r"could not be fetched.*docs\.tsv"):
        collection.documents["d1"]


def test_an_unknown_id_is_named(irds) -> None:
    with pytest.raises(FileNotFoundError, match="'no/such' is no folder here, and no id"):
        load_collection("no/such")


def test_a_split_that_an_id_lacks_is_answered_with_those_that_it_has(irds) -> None:
    with pytest.raises(ValueError, match=r"`split` 'x' is not one of those of .*test"):
        load_collection("beir/scifact", "x")
    with pytest.raises(ValueError, match=r"`split` None is not one of .*trec-dl-2019/judged"):
        load_collection("msmarco-passage")


def test_without_ir_datasets_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(ImportError, match=r"`ir_datasets`.*mpsheads\[retrieval\]"):
        load_collection(JUDGED)


def _register(irds, folder: Path, name: str, qrels: str) -> str:
    """Register a collection of two documents and two queries; returns its id."""
    (folder / "docs.tsv").write_text("d1\tA qubit.\nd2\tA gate.\n")
    (folder / "queries.tsv").write_text("q1\tqubit\nq2\tgate\n")
    (folder / "qrels.txt").write_text(qrels)
    files = [str(folder / file) for file in ("docs.tsv", "queries.tsv", "qrels.txt")]
    irds.registry.register(f"mpsheads-{name}", irds.create_dataset(*files))
    return f"mpsheads-{name}"
