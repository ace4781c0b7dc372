"""Collections of documents, queries and judgments: BEIR folders and ir_datasets ids."""

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mpsheads._checks import check_held, check_id, whole_number
from mpsheads._files import as_path, read_table
from mpsheads._typing import PathLike
from mpsheads.retrieval._irds import choose_split, load_irds
from mpsheads.retrieval._rows import Columns, holds_pairs, json_rows, read_pairs
from mpsheads.retrieval.passages import Passages, passage_of
from mpsheads.retrieval.runs import MOST_GRADE, check_rows, ranking, read_run

_GRADE = re.compile(r" *[+-]?[0-9]{1,9} *")
_COLUMNS = ("query-id", "corpus-id", "score")
_ASKING = 200  # passages that ask for others where there are no queries, at most one in ten


@dataclass(frozen=True)
class Collection:
    """Documents, the queries of one split, and their judgments.

    Attributes:
        name: Name for tables, such as `trec-dl-mini/dl19`.
        documents: doc_id -> text, title and text joined by a space. For an ir_datasets id it is
            lazy: a text is read from disk when it is asked for.
        queries: query_id -> text, of the queries with judgments in the split.
        qrels: query_id -> doc_id -> grade; a grade above 0 is relevant.
        folder: Where the collection lies, if it is a folder.
        ignore_identical_ids: Whether a document that has the id of a query is that query itself:
            then it is neither ranked for it nor a negative of it.
        by_neighbours: Whether queries are passages, and relevant is what the uncompressed vectors
            hold closest: `qrels` is then empty until the collection is embedded.
    """

    name: str
    documents: Mapping[str, str]
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    folder: Path | None = None
    ignore_identical_ids: bool = False
    by_neighbours: bool = False

    @property
    def note(self) -> str:
        """What a reader of its figures must know; empty if nothing."""
        return self.by_neighbours * (
            f"{self.name} has no queries: {len(self.queries):,} of its passages ask, and relevant "
            f"are the ten others that the uncompressed vectors hold closest."
        )

    def check_judged(self) -> None:
        """Raise `ValueError` if there are no judgments but the neighbours of passages."""
        if self.by_neighbours:
            raise ValueError(
                f"{self.name} holds passages alone: no queries, and no judgments to train on or to "
                f"rank by. Give a BEIR folder, a file of pairs or an ir_datasets id."
            )

    def __post_init__(self) -> None:
        check_rows("qrels", self.qrels)
        for name in ("documents", "queries"):
            ids = getattr(self, name)
            for identifier in ids if isinstance(ids, dict) else ():  # others lie on a disk
                check_id(f"`{name}`", "id", identifier)


def load_collection(
    source: PathLike, split: str | None = None, *, ignore_identical_ids: bool | None = None
) -> Collection:
    """Load a BEIR folder, a file of pairs, passages alone or an ir_datasets id.

    A BEIR folder holds `corpus.jsonl` (lines with `_id`, `text` and perhaps `title`),
    `queries.jsonl` (`_id`, `text`) and `qrels/SPLIT.tsv` (tab-separated `query-id`, `corpus-id`,
    `score` under a header line with these names). Each may be gzipped, with `.gz` added to its
    name; where both are there, the plain file is read. As in BEIR, judgments of documents that the
    corpus lacks are tolerated as long as one document is there, and of several judgments of the
    same pair the last counts. Queries without judgments in the split are left out.

    A file of pairs, `.jsonl`, `.csv`, `.tsv` or `.parquet`, has a query (also called anchor or
    question) and a document that answers it (positive, passage, answer, context or text) a row.
    Equal texts are one query or document. It has no splits.

    Other files and folders are read as `Passages`. Where nobody asks, one in ten of them, at most
    200 drawn by a fixed seed, are taken out and ask for the others; see `by_neighbours`.

    Args:
        source: Path of the folder or file, or an id such as `msmarco-passage/trec-dl-2019/judged`.
        split: Name of the qrels, or of the part of an ir_datasets id. By default the only one
            that there is, else `test`.
        ignore_identical_ids: Whether a document of a BEIR folder with a query's id is that query,
            as in ArguAna and Quora, and left out of its ranking. By default as in BEIR, unless one
            is judged relevant for its query: then both are numbered, and the ids say nothing.

    Raises:
        FileNotFoundError: If the folder or one of its files is missing, or an ir_datasets id
            could not be downloaded.
        ValueError: If a file is malformed, with its name and line; if there is no such split.
        ImportError: If ir_datasets is needed and missing.
    """
    folder = as_path(source)
    if any((folder / name).exists() for name in ("queries.jsonl", "queries.jsonl.gz", "qrels")):
        return _load_folder(folder, split, ignore_identical_ids)
    if folder.exists():
        if split is not None:
            raise ValueError(f"`split` {split!r} is not there: {folder} is no BEIR folder.")
        pairs = folder.is_file() and holds_pairs(folder)
        return _load_pairs(folder) if pairs else _load_passages(folder)
    name = str(source)
    if folder.is_absolute() or name.startswith((".", "~")) or name.endswith("/"):
        raise FileNotFoundError(f"`source` {name!r} is not a folder.")
    return Collection(*load_irds(name, split))


def has_split(source: PathLike, split: str) -> bool:
    """Whether a BEIR folder or an ir_datasets id has a split of this name."""
    folder = as_path(source)
    if folder.exists():
        return folder.is_dir() and split in _splits(folder)
    try:
        load_collection(source, split)
    except ValueError:
        return False
    return True


def parse_dataset(dataset: str) -> tuple[str, str | None, str | None]:
    """Source, split and pool of `FOLDER|ID[:SPLIT][@POOL]`; `None` for what it does not say.

    `"data/mini:dl19@all"` gives `("data/mini", "dl19", "all")`. What is there by the whole name is
    the source.
    """
    if as_path(dataset).exists():
        return dataset, None, None
    source, _, pool = dataset.partition("@")
    folder, colon, split = source.rpartition(":")
    if colon and "/" not in split and "\\" not in split and len(folder) > 1:
        return folder, split, pool or None
    return source, None, pool or None


def with_split(dataset: str, split: str) -> str:
    """The dataset with a split of this name, if it names none and has it."""
    source, named, pool = parse_dataset(dataset)
    if named is not None or not has_split(source, split):
        return dataset
    return f"{source}:{split}" + (f"@{pool}" if pool else "")


def dataset_name(dataset: str) -> str:
    """A short name for tables: `data/mini:dl19@all` is `mini/dl19 (all)`.

    It leaves out the path to a folder, also if that is gone by now, and the pool "judged".
    """
    source, split, pool = parse_dataset(dataset)
    path = as_path(source)
    if path.is_dir() or path.is_absolute() or source.startswith("."):
        source = path.resolve().name
    shown = "" if pool in (None, "judged") else f" ({pool})"
    return source + (f"/{split}" if split else "") + shown


def candidate_pool(collection: Collection, pool: PathLike = "all") -> dict[str, list[str]] | None:
    """The documents that each query ranks.

    Args:
        collection: The collection.
        pool: `"all"`: every document; `"judged"`: those with a judgment for the query; else the
            path of a TREC run, also relative to the collection's folder: those that the run ranks
            for the query.

    Returns:
        query_id -> doc_ids, best first for a run, or `None` for every document. Queries that a
        run lacks are left out; `evaluate` counts them 0.

    Raises:
        FileNotFoundError: If there is no such run.
        ValueError: If the run is malformed, ranks none of the queries, or names a document that
            the collection lacks.
    """
    if pool == "all":
        return None
    documents = collection.documents
    if pool == "judged":
        collection.check_judged()
        return {
            query_id: [doc_id for doc_id in grades if doc_id in documents]
            for query_id, grades in collection.qrels.items()
        }
    path = as_path(pool)
    if not path.is_file() and collection.folder is not None:
        path = collection.folder / path
    if not path.is_file():
        raise FileNotFoundError(
            f'`pool` {str(pool)!r} is neither "all" nor "judged" nor the path of a run.'
        )
    run = read_run(path)
    candidates = {q: ranking(run[q]) for q in collection.queries if q in run}
    if not candidates:
        raise ValueError(f"{path} ranks none of the queries of {collection.name}.")
    for doc_ids in candidates.values():
        check_held(str(path), doc_ids, documents, f"the documents of {collection.name}")
    return candidates


def _load_folder(folder: Path, split: str | None, ignore: bool | None) -> Collection:
    corpus_file, queries_file = (_plain_or_gz(folder, f"{n}.jsonl") for n in ("corpus", "queries"))
    splits = _splits(folder)
    split = choose_split(str(folder / "qrels"), list(splits), split)
    texts = _read_texts(queries_file)
    qrels: dict[str, dict[str, int]] = {}
    for place, query_id, doc_id, grade in _read_qrels(splits[split]):
        if query_id not in texts:
            raise ValueError(f"{place}: query {query_id[:80]!r} is not in {queries_file}.")
        qrels.setdefault(query_id, {})[doc_id] = grade
    documents = _read_texts(corpus_file)
    if not any(doc_id in documents for grades in qrels.values() for doc_id in grades):
        raise ValueError(f"{splits[split]} judges no document that {corpus_file} holds.")
    queries = {query_id: text for query_id, text in texts.items() if query_id in qrels}
    if ignore is None:
        ignore = not any(grades.get(query_id, 0) > 0 for query_id, grades in qrels.items())
    return Collection(f"{folder.resolve().name}/{split}", documents, queries, qrels, folder, ignore)


def _load_passages(path: Path) -> Collection:
    texts: dict[str, str] = {}
    for identifier, text in Passages(path):
        if identifier in texts:
            raise ValueError(f"{path}: the id {identifier!r} comes a second time.")
        texts[identifier] = text
    if (asking := min(_ASKING, len(texts) // 10)) < 1:
        raise ValueError(
            f"{path} holds {len(texts)} passages and no queries. With 10 or more passages some of "
            f"them ask for the others."
        )
    drawn = sorted(random.Random(0).sample(list(texts), asking))
    queries = {identifier: texts.pop(identifier) for identifier in drawn}
    return Collection(path.resolve().stem, texts, queries, {}, by_neighbours=True)


def _load_pairs(file: Path) -> Collection:
    queries: dict[str, str] = {}
    documents: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    for query, document in read_pairs(file):
        query_id = queries.setdefault(query, f"q{len(queries)}")
        qrels.setdefault(query_id, {})[documents.setdefault(document, f"d{len(documents)}")] = 1
    if not qrels:
        raise ValueError(f"{file} holds no pair.")
    by_id = [{number: text for text, number in each.items()} for each in (documents, queries)]
    return Collection(file.stem, by_id[0], by_id[1], qrels)


def _plain_or_gz(folder: Path, name: str) -> Path:
    for file in (folder / name, folder / f"{name}.gz"):
        if file.is_file():
            return file
    raise FileNotFoundError(
        f"{folder / name} is missing, and so is {name}.gz: {folder} is no BEIR collection."
    )


def _splits(folder: Path) -> dict[str, Path]:
    """Name and file of each split, the plain file where there is also a gzipped one."""
    files = sorted((folder / "qrels").glob("*.tsv*"), reverse=True)
    by_name = {file.name.removesuffix(".gz").removesuffix(".tsv"): file for file in files}
    return dict(sorted(by_name.items()))


def _read_texts(file: Path) -> dict[str, str]:
    """doc_id or query_id -> text, from a JSONL file."""
    texts: dict[str, str] = {}
    for place, row in json_rows(file, Columns("text", "_id", "title")):
        identifier, text = passage_of(place, row)
        if identifier in texts:
            raise ValueError(f'{place}: "_id" {identifier!r} comes a second time.')
        texts[identifier] = text
    return texts


def _read_qrels(file: Path) -> Iterator[tuple[str, str, str, int]]:
    """Yield (place, query_id, doc_id, grade)."""
    for place, (query_id, doc_id, grade) in read_table(file, _COLUMNS):
        number = int(grade) if _GRADE.fullmatch(grade) else grade
        yield place, query_id, doc_id, whole_number(f"{place}: the score", number, MOST_GRADE)
