"""Collections by their ir_datasets id; documents stay on disk until they are asked for."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from mpsheads._optional import optional_import

Parts = tuple[str, Mapping[str, str], dict[str, str], dict[str, dict[str, int]]]


def load_irds(source: str, split: str | None) -> Parts:
    """Name, documents, queries and qrels of an ir_datasets id; see `load_collection`."""
    irds = _ir_datasets(f"`source` {source!r} is not a folder here.")
    name, dataset = _choose(irds, source, split)
    _guard_user_files(name, dataset)
    qrels: dict[str, dict[str, int]] = {}
    for judgment in _records(name, "qrels", dataset.qrels_iter):
        qrels.setdefault(judgment.query_id, {})[judgment.doc_id] = int(judgment.relevance)
    texts = {q.query_id: _text(q) for q in _records(name, "queries", dataset.queries_iter)}
    if not qrels:
        raise ValueError(f"The ir_datasets id {name!r} holds no judgments.")
    unknown = next((query_id for query_id in qrels if query_id not in texts), None)
    if unknown is not None:
        raise ValueError(f"The qrels of {name!r} name query {unknown!r}, which it does not hold.")
    return name, _Documents(name, dataset), {q: texts[q] for q in qrels}, qrels


def load_docpairs(source: str) -> Iterator[tuple[str, str, str]]:
    """Query, first and second document of each pair of an ir_datasets id; see `load_triples`."""
    irds = _ir_datasets(f"There is no file of triples {source}.")
    dataset = _find(irds, source)
    if dataset is None:
        raise FileNotFoundError(
            f"There is neither a file of triples {source} nor such an id in ir_datasets."
        )
    if not dataset.has_docpairs():
        parts = [part for part in _parts(irds, source) if _find(irds, part).has_docpairs()]
        listed = f"Of its parts these have: {', '.join(parts)}." if parts else "Nor has a part."
        raise ValueError(f"The ir_datasets id {source!r} has no pairs of documents. {listed}")
    _guard_user_files(source, dataset)
    records = _records(source, "pairs of documents", dataset.docpairs_iter)
    return ((pair.query_id, pair.doc_id_a, pair.doc_id_b) for pair in records)


def _ir_datasets(otherwise: str) -> ModuleType:
    try:
        return optional_import("ir_datasets", "retrieval")
    except ImportError as error:
        raise ImportError(f"{otherwise} {error}") from error


def _records(name: str, what: str, iterate: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """The queries or judgments of an id; a malformed one is named by its place."""
    done = 0
    with _one_error(name):
        try:
            for record in iterate():
                yield record
                done += 1
        except (ValueError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "expected" not in str(error):
                raise
            raise ValueError(
                f"The {what} of the ir_datasets id {name!r} are malformed at record {done + 1}: "
                f"{error}."
            ) from error


class _Documents(Mapping[str, str]):
    """doc_id -> text from the document store of ir_datasets, which is built on first use."""

    def __init__(self, name: str, dataset: Any) -> None:
        self._name = name
        self._dataset = dataset

    @cached_property
    def _store(self) -> Any:
        return self._dataset.docs_store()

    def __getitem__(self, doc_id: str) -> str:
        with _one_error(self._name):
            records = self._store.get_many([doc_id])
        return _text(records[doc_id])

    def __contains__(self, doc_id: object) -> bool:
        with _one_error(self._name):
            return isinstance(doc_id, str) and doc_id in self._store.get_many([doc_id])

    def __iter__(self) -> Iterator[str]:
        with _one_error(self._name):
            for document in self._dataset.docs_iter():
                yield document.doc_id

    def __len__(self) -> int:
        with _one_error(self._name):
            return int(self._dataset.docs_count() or self._store.count())

    def __repr__(self) -> str:
        return f"<documents of {self._name!r}, on disk>"


def _text(record: Any) -> str:
    return str(record.default_text()).strip()


def _choose(irds: ModuleType, source: str, split: str | None) -> tuple[str, Any]:
    """The id that has queries and judgments, `source` or `source/split`, and its data set."""
    whole = _find(irds, source)
    if whole is None:
        raise FileNotFoundError(
            f"`source` {source!r} is neither a folder here nor an id that ir_datasets knows."
        )
    if split is None and _is_complete(whole):
        return source, whole
    parts = [part for part in _parts(irds, source) if _is_complete(_find(irds, part))]
    splits = sorted(part[len(source) + 1 :] for part in parts)
    if split is None and (len(splits) == 1 or "test" in splits):
        split = splits[0] if len(splits) == 1 else "test"
    if split in splits:
        return f"{source}/{split}", _find(irds, f"{source}/{split}")
    listed = f"There are: {', '.join(splits)}." if splits else "It has no splits."
    if split is not None:
        raise ValueError(f"`split` {split!r} is not one of the ir_datasets id {source!r}. {listed}")
    raise ValueError(f"The ir_datasets id {source!r} has no judgments. Give `split`. {listed}")


def _parts(irds: ModuleType, source: str) -> list[str]:
    return [name for name in irds.registry if name.startswith(f"{source}/")]


def _find(irds: ModuleType, name: str) -> Any:
    try:
        return irds.load(name)
    except KeyError:
        return None


def _is_complete(dataset: Any) -> bool:
    return bool(dataset.has_docs() and dataset.has_queries() and dataset.has_qrels())


def _guard_user_files(name: str, dataset: Any) -> None:
    """Raise where ir_datasets would delete files that it takes for those of an older version.

    Some collections (MS MARCO passages among them) have a version file; where it is missing or
    holds anything else, ir_datasets deletes the collection at the first touch of the documents.
    """
    for part in getattr(dataset, "_constituents", []):
        _guard_user_files(name, part)
    settings = getattr(dataset, "__dict__", {})
    file, version = settings.get("_version_file"), settings.get("_version")
    if file is None or version is None:
        return
    affected = [str(f) for f in settings.get("_affected_files", []) if Path(f).exists()]
    if affected and (not Path(file).is_file() or Path(file).read_text() != version):
        raise ValueError(
            f"ir_datasets would delete {' and '.join(affected)}, because {file} does not "
            f"hold exactly {version!r}. If these files belong to that version, run: "
            f"printf {version} > {file}; else move them away first."
        )


@contextmanager
def _one_error(name: str) -> Iterator[None]:
    """Turn the errors of a download, or of files that are not there, into one that says so."""
    try:
        yield
    except (OSError, RuntimeError, EOFError) as error:
        home = os.environ.get("IR_DATASETS_HOME", "~/.ir_datasets")
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileNotFoundError(
            f"Files of the ir_datasets id {name!r} are not in {home} and could not be fetched: "
            f"{reason[:300]}"
        ) from error
