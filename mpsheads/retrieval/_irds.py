"""Collections by their ir_datasets id; documents stay on disk until they are asked for."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mpsheads._checks import check_held
from mpsheads._optional import optional_import

Parts = tuple[str, Mapping[str, str], dict[str, str], dict[str, dict[str, int]]]


def load_irds(source: str, split: str | None) -> Parts:
    """Name, documents, queries and qrels of an ir_datasets id; see `load_collection`."""
    name, dataset = source, _find(source)
    if dataset is None:
        raise FileNotFoundError(f"`source` {source!r} is no folder here, and no id of ir_datasets.")
    if split is not None or not _is_complete(dataset):
        parts = [part for part in _parts(source) if _is_complete(_find(part))]
        splits = sorted(part[len(source) + 1 :] for part in parts)
        name = f"{source}/{choose_split(f'the ir_datasets id {source!r}', splits, split)}"
        dataset = _find(name)
    _guard_user_files(name, dataset)
    qrels: dict[str, dict[str, int]] = {}
    for judgment in _records(name, "qrels", dataset.qrels_iter):
        qrels.setdefault(judgment.query_id, {})[judgment.doc_id] = int(judgment.relevance)
    texts = {q.query_id: _text(q) for q in _records(name, "queries", dataset.queries_iter)}
    if not qrels:
        raise ValueError(f"The ir_datasets id {name!r} holds no judgments.")
    check_held(f"The qrels of {name!r}", qrels, texts, "its queries")
    return name, _Documents(name, dataset), {q: t for q, t in texts.items() if q in qrels}, qrels


def irds_documents(name: str) -> Iterator[tuple[str, str]] | None:
    """Id and text of each document of an ir_datasets id, from disk; `None` if there is no such."""
    dataset = _find(name)
    if dataset is None or not dataset.has_docs():
        return None
    _guard_user_files(name, dataset)
    records = _records(name, "documents", dataset.docs_iter)
    return ((record.doc_id, _text(record)) for record in records)


def load_docpairs(source: str) -> Iterator[tuple[str, str, str]]:
    """Query, first and second document of each pair of an ir_datasets id; see `load_triples`."""
    dataset = _find(source)
    if dataset is None:
        raise FileNotFoundError(f"{source} is neither a file of triples nor an id of ir_datasets.")
    if not dataset.has_docpairs():
        parts = [part for part in _parts(source) if _find(part).has_docpairs()]
        raise ValueError(
            f"The ir_datasets id {source!r} has no pairs of documents. "
            f"Of its parts these have: {', '.join(parts) or 'none'}."
        )
    _guard_user_files(source, dataset)
    records = _records(source, "pairs of documents", dataset.docpairs_iter)
    return ((pair.query_id, pair.doc_id_a, pair.doc_id_b) for pair in records)


def choose_split(source: str, splits: Sequence[str], split: str | None) -> str:
    """The split that is asked for; by default the only one, else `test`. Others raise."""
    default = splits[0] if len(splits) == 1 else "test"
    chosen = default if split is None else split
    if chosen not in splits:
        listed = ", ".join(splits) or "there are none"
        raise ValueError(f"`split` {split!r} is not one of those of {source}: {listed}.")
    return chosen


def _find(name: str) -> Any:
    try:
        return optional_import("ir_datasets", "retrieval").load(name)
    except KeyError:
        return None


def _parts(source: str) -> list[str]:
    registry = optional_import("ir_datasets", "retrieval").registry
    return [name for name in registry if name.startswith(f"{source}/")]


def _is_complete(dataset: Any) -> bool:
    return bool(dataset.has_docs() and dataset.has_queries() and dataset.has_qrels())


def _records(name: str, what: str, iterate: Callable[[], Iterable[Any]]) -> Iterator[Any]:
    """What an id holds; an error says the id, the place, and where files are looked for."""
    done = 0
    try:
        for record in iterate():
            yield record
            done += 1
    except (OSError, EOFError, RuntimeError, ValueError) as error:
        home = os.environ.get("IR_DATASETS_HOME", "~/.ir_datasets")
        kind = ValueError if isinstance(error, ValueError) else FileNotFoundError
        raise kind(
            f"The {what} of the ir_datasets id {name!r} in {home} could not be fetched, or are "
            f"malformed at record {done + 1}: {' '.join(str(error).split())[:300]}"
        ) from error


class _Documents(Mapping[str, str]):
    """doc_id -> text from the document store of ir_datasets, which is built on first use."""

    def __init__(self, name: str, dataset: Any) -> None:
        self._name, self._dataset = name, dataset

    @cached_property
    def _store(self) -> Any:
        return self._dataset.docs_store()

    def __getitem__(self, doc_id: str) -> str:
        records = _records(self._name, "documents", lambda: [self._store.get_many([doc_id])])
        return _text(next(records)[doc_id])

    def __iter__(self) -> Iterator[str]:
        documents = _records(self._name, "documents", self._dataset.docs_iter)
        return (document.doc_id for document in documents)

    def __len__(self) -> int:
        def count() -> list[int]:
            return [int(self._dataset.docs_count() or self._store.count())]

        return next(_records(self._name, "documents", count))

    def __repr__(self) -> str:
        return f"<documents of {self._name!r}, on disk>"


def _text(record: Any) -> str:
    return str(record.default_text()).strip()


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
