"""Collections by their ir_datasets id; documents stay on disk until they are asked for."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
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
    queries = {query_id: texts[query_id] for query_id in qrels}
    return name, _Documents(name, dataset), queries, qrels


def load_docpairs(source: str) -> Iterator[tuple[str, str, str]]:
    """Query, first and second document of each pair of an ir_datasets id; see `load_triples`."""
    try:
        irds = optional_import("ir_datasets", "retrieval")
    except ImportError as error:
        raise ImportError(f"There is no file of triples {source}. {error}") from error
    dataset = _find(irds, source)
    if dataset is None:
        raise FileNotFoundError(
            f"There is neither a file of triples {source} nor such an id in ir_datasets."
        )
    if not dataset.has_docpairs():
        ids = [name for name in irds.registry if name.startswith(f"{source}/")]
        some = [name for name in ids if _find(irds, name).has_docpairs()]
        known = f"Of its parts these have: {', '.join(some)}." if some else "Nor has a part of it."
        raise ValueError(f"The ir_datasets id {source!r} has no pairs of documents. {known}")
    _guard_user_files(source, dataset)
    records = _records(source, "pairs of documents", dataset.docpairs_iter)
    return ((pair.query_id, pair.doc_id_a, pair.doc_id_b) for pair in records)


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


def _choose(irds: ModuleType, source: str, split: str | None) -> tuple[str, Any]:
    """The id that has queries and judgments, `source` or `source/split`, and its data set."""
    whole = _find(irds, source)
    if whole is None:
        raise FileNotFoundError(
            f"`source` {source!r} is neither a folder here nor an id that ir_datasets knows."
        )
    if split is None and _is_complete(whole):
        return source, whole
    if split is not None and _is_complete(part := _find(irds, f"{source}/{split}")):
        return f"{source}/{split}", part
    ids = [name for name in irds.registry if name.startswith(f"{source}/")]
    splits = sorted(name[len(source) + 1 :] for name in ids if _is_complete(_find(irds, name)))
    if split is None and (len(splits) == 1 or "test" in splits):
        name = f"{source}/{splits[0] if len(splits) == 1 else 'test'}"
        return name, _find(irds, name)
    known = f"There are: {', '.join(splits)}." if splits else "It has no splits."
    if split is not None:
        raise ValueError(f"`split` {split!r} is not one of the ir_datasets id {source!r}. {known}")
    raise ValueError(f"The ir_datasets id {source!r} has no judgments. Give `split`. {known}")


def _find(irds: ModuleType, name: str) -> Any:
    try:
        return irds.load(name)
    except KeyError:
        return None


def _is_complete(dataset: Any) -> bool:
    if dataset is None:
        return False
    return bool(dataset.has_docs() and dataset.has_queries() and dataset.has_qrels())


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


class _DropFailures(logging.Filter):
    """Keep what the one error will say, and notes on opened files, off the screen."""

    def filter(self, record: logging.LogRecord) -> bool:
        dropped = ("download error", "Download failed", "[error]", "Opening ")
        return not record.getMessage().startswith(dropped)


@contextmanager
def _one_error(name: str) -> Iterator[None]:
    """Turn the errors of a download, or of files that are not there, into one that says so."""
    logger = logging.getLogger("ir_datasets")
    quiet = _DropFailures()
    logger.addFilter(quiet)
    try:
        yield
    except (OSError, RuntimeError, EOFError) as error:
        home = os.environ.get("IR_DATASETS_HOME", "~/.ir_datasets")
        raise FileNotFoundError(
            f"Files of the ir_datasets id {name!r} are not in {home} and could not be fetched: "
            f"{_reason(error)}."
        ) from error
    finally:
        logger.removeFilter(quiet)


def _reason(error: BaseException) -> str:
    """The innermost cause in one line: ir_datasets lists failed sources, urllib3 nests reasons."""
    if len(error.args) == 2 and isinstance(error.args[1], list) and error.args[1]:
        return _reason(error.args[1][-1][1])
    nested = error.args[0] if error.args else None
    if isinstance(cause := getattr(nested, "reason", None), BaseException):
        return _reason(cause)
    if isinstance(error, FileNotFoundError) and isinstance(nested, Path):
        return f"{nested} is missing"
    return (" ".join(str(error).split()) or type(error).__name__)[:300].rstrip(".")
