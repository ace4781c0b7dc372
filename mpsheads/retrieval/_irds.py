"""Collections by their ir_datasets id; documents stay on disk until they are asked for."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from mpsheads._optional import optional_import

Parts = tuple[str, Mapping[str, str], dict[str, str], dict[str, dict[str, int]]]


def load_irds(source: str, split: str | None) -> Parts:
    """Name, documents, queries and qrels of an ir_datasets id; see `load_collection`."""
    try:
        irds = optional_import("ir_datasets", "retrieval")
    except ImportError as error:
        raise ImportError(f"`source` {source!r} is not a folder here. {error}") from error
    name = _choose_id(irds, source, split)
    dataset = irds.load(name)
    _guard_user_files(name, dataset)
    with _one_error(name):
        qrels: dict[str, dict[str, int]] = {}
        for judgment in dataset.qrels_iter():
            grades = qrels.setdefault(judgment.query_id, {})
            grades[judgment.doc_id] = int(judgment.relevance)
        texts = {query.query_id: _text(query) for query in dataset.queries_iter()}
    if not qrels:
        raise ValueError(f"The ir_datasets id {name!r} holds no judgments.")
    unknown = next((query_id for query_id in qrels if query_id not in texts), None)
    if unknown is not None:
        raise ValueError(f"The qrels of {name!r} name query {unknown!r}, which it does not hold.")
    queries = {query_id: texts[query_id] for query_id in qrels}
    return name, _Documents(name, dataset), queries, qrels


class _Documents(Mapping[str, str]):
    """doc_id -> text from the document store of ir_datasets, which is built on first use."""

    def __init__(self, name: str, dataset: Any) -> None:
        self._name = name
        self._dataset = dataset
        self._opened: Any = None

    @property
    def _store(self) -> Any:
        if self._opened is None:
            self._opened = self._dataset.docs_store()
        return self._opened

    def __getitem__(self, doc_id: str) -> str:
        with _one_error(self._name):
            found = self._store.get_many([doc_id])
        return _text(found[doc_id])

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


def _choose_id(irds: ModuleType, source: str, split: str | None) -> str:
    """The id that has queries and judgments: `source`, or `source/split`."""
    if not _is_known(irds, source):
        raise FileNotFoundError(
            f"`source` {source!r} is neither a folder here nor an id that ir_datasets knows."
        )
    if split is not None:
        if _is_complete(irds, f"{source}/{split}"):
            return f"{source}/{split}"
    elif _is_complete(irds, source):
        return source
    ids = (name for name in irds.registry if name.startswith(f"{source}/"))
    splits = sorted(name[len(source) + 1 :] for name in ids if _is_complete(irds, name))
    if split is None and (len(splits) == 1 or "test" in splits):
        return f"{source}/{splits[0] if len(splits) == 1 else 'test'}"
    known = f"There are: {', '.join(splits)}." if splits else "It has no splits."
    if split is not None:
        raise ValueError(f"`split` {split!r} is not one of the ir_datasets id {source!r}. {known}")
    raise ValueError(f"The ir_datasets id {source!r} has no judgments. Give `split`. {known}")


def _is_known(irds: ModuleType, name: str) -> bool:
    try:
        irds.load(name)
    except KeyError:
        return False
    return True


def _is_complete(irds: ModuleType, name: str) -> bool:
    if not _is_known(irds, name):
        return False
    dataset = irds.load(name)
    return dataset.has_docs() and dataset.has_queries() and dataset.has_qrels()


def _guard_user_files(name: str, dataset: Any) -> None:
    """Raise where ir_datasets would delete files that it takes for those of an older version.

    Some collections (MS MARCO passages among them) have a version file; where it is missing or
    holds anything else, ir_datasets deletes the collection at the first touch of the documents.
    """
    for part in getattr(dataset, "_constituents", []):
        _guard_user_files(name, part)
    version_file, version = (
        vars(dataset).get(key) if hasattr(dataset, "__dict__") else None
        for key in ("_version_file", "_version")
    )
    if version_file is None or version is None:
        return
    version_file = Path(version_file)
    there = [str(f) for f in vars(dataset).get("_affected_files", []) if os.path.exists(f)]  # noqa: PTH110
    if there and (not version_file.is_file() or version_file.read_text() != version):
        raise ValueError(
            f"ir_datasets would delete {' and '.join(there)}, because {version_file} does not "
            f"hold exactly {version!r}. If these files belong to that version, run: "
            f"printf {version} > {version_file}; else move them away first."
        )


@contextmanager
def _one_error(name: str) -> Iterator[None]:
    """Turn the errors of a download or of files that are not there into one that says so."""
    logger = logging.getLogger("ir_datasets")
    level = logger.level
    try:
        yield
    except (OSError, RuntimeError, EOFError) as error:
        raise FileNotFoundError(
            f"The ir_datasets id {name!r} is not complete on this machine and could not be "
            f"fetched: {_reason(error)}"
        ) from error
    finally:
        logger.setLevel(level)


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]} ..."
