"""The rows of tables, text files and collections, whatever they are kept in."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from mpsheads._checks import check_unicode
from mpsheads._files import as_path, parse_json, raw_lines, read_lines
from mpsheads._optional import optional_import
from mpsheads._typing import PathLike
from mpsheads.retrieval._irds import irds_documents

_TABLES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
_TEXTS = (".txt", ".md")
_ROWS = 256  # of a Parquet file at once, whatever they unpack to
_LONGEST_FIELD = 1 << 24  # characters of a field of a table


class Columns(NamedTuple):
    """Which columns of a table, or fields of JSON lines, are read; `None` finds them by name.

    Attributes:
        text: By default one called text, contents, content, passage, document, body or sentence,
            or else the only one.
        id: By default _id, id, doc_id, docid, pid or passage_id; without, rows are numbered from 0.
        title: By default title, which is put before the text, as in BEIR; without, none.
    """

    text: str | None = None
    id: str | None = None
    title: str | None = None

    known = {  # noqa: RUF012  # of the class, not a column
        "id": ("_id", "id", "doc_id", "docid", "pid", "passage_id"),
        "text": ("text", "contents", "content", "passage", "document", "body", "sentence"),
        "title": ("title",),
    }


class _PairColumns(Columns):
    """The title is the query, the text the document that answers it."""

    known = {  # noqa: RUF012
        "id": (),
        "text": ("positive", "document", "passage", "answer", "context", *Columns.known["text"]),
        "title": ("query", "anchor", "question"),
    }


def rows(source: Any, columns: Columns, whole_files: bool) -> Iterator[tuple[str, Any]]:
    """Yield (place, (id, title, text)), or (place, error) of a row that cannot be read."""
    if not isinstance(source, str | Path):
        return _of_python(source, columns)
    path = as_path(source)
    if path.is_dir():
        return _of_folder(path, columns, whole_files)
    if path.is_file():
        return _of_file(path, columns)
    if path.suffix in (*_TABLES, *_TEXTS, ".gz") or path.is_absolute():
        raise FileNotFoundError(f"There is no file or folder {str(source)!r}.")
    name = str(source)
    documents = irds_documents(name)
    if documents is not None:
        return ((f"{name}, {i!r}", (i, None, text)) for i, text in documents)
    return _of_dataset(name, columns)


def _of_python(source: Any, columns: Columns) -> Iterator[tuple[str, Any]]:
    if hasattr(source, "to_list"):  # a column of pandas or polars
        source = source.to_list()
    if hasattr(source, "__arrow_c_stream__"):
        arrow = optional_import("pyarrow", "search")
        return _of_batches("the table", arrow.RecordBatchReader.from_stream(source), columns)
    if isinstance(source, bytes) or not isinstance(source, Sequence):
        raise TypeError(
            f"`source` must be a path, an id, a list of strings or a table of pyarrow, polars or "
            f"pandas, got {type(source).__name__}."
        )
    return ((f"text {i}", (None, None, text)) for i, text in enumerate(source))


def _of_folder(folder: Path, columns: Columns, whole_files: bool) -> Iterator[tuple[str, Any]]:
    for corpus in (folder / "corpus.jsonl", folder / "corpus.jsonl.gz"):
        if corpus.is_file():
            return _of_file(corpus, columns)
    if (folder / "dataset_info.json").is_file() or (folder / "dataset_dict.json").is_file():
        return _of_dataset(folder, columns)
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in _TEXTS and f.is_file())
    files = [f for f in files if not any(p[0] == "." for p in f.relative_to(folder).parts)]
    if not files:
        raise FileNotFoundError(
            f"`source` {folder} holds no corpus.jsonl, no saved dataset, and no .txt or .md file."
        )
    return (row for file in files for row in _of_text_file(file, folder, whole_files))


def _of_text_file(file: Path, folder: Path, whole: bool) -> Iterator[tuple[str, Any]]:
    """A file's paragraphs, which blank lines part, or its whole text."""
    name = file.relative_to(folder).as_posix()
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        yield str(file), ValueError(f"not UTF-8 text ({error.reason}).")
        return
    if whole:
        yield str(file), (name, None, text)
        return
    groups = groupby(text.splitlines(), key=lambda line: bool(line.strip()))
    blocks = ("\n".join(lines) for filled, lines in groups if filled)
    for number, block in enumerate(blocks, 1):
        yield f"{file}, paragraph {number}", (f"{name}#{number}", None, block)


def _of_file(file: Path, columns: Columns) -> Iterator[tuple[str, Any]]:
    kind = Path(file.name.removesuffix(".gz")).suffix.lower()
    if kind in (".jsonl", ".ndjson"):
        return json_rows(file, columns)
    if kind in (".csv", ".tsv"):
        return _of_csv(file, "\t" if kind == ".tsv" else ",", columns)
    if kind == ".parquet":
        return _of_parquet(file, columns)
    if kind in _TEXTS:
        return ((place, (None, None, line)) for place, line in read_lines(file))
    endings = ", ".join((*_TABLES, *_TEXTS))
    raise ValueError(f"`source` {file} must end in one of {endings}.")


def json_rows(file: Path, columns: Columns) -> Iterator[tuple[str, Any]]:
    """The `rows` of a JSONL file; where all columns are given, the first line may lack some."""
    chosen = columns if None not in columns else None
    for place, line in read_lines(file):
        try:
            record = parse_json(line, "the line")
            if not isinstance(record, dict):
                raise ValueError("the line is not a JSON object.")
        except ValueError as error:
            yield place, error
            continue
        if chosen is None:
            strings = [name for name, value in record.items() if isinstance(value, str)]
            chosen = _choose(place, list(record), strings, columns)
            titles = (name for name in columns.known["title"] if name != chosen.text)
            title = chosen.title or next(titles, None)  # which the first may lack
            chosen = chosen._replace(title=title)
        own = columns.known["id"] if chosen.id is None else ()
        if late := next((name for name in own if record.get(name) is not None), None):
            raise ValueError(f"{place}: {late!r} is an id, which the first row lacks.")
        yield place, _fields(record.get, chosen)


def _of_csv(file: Path, delimiter: str, columns: Columns) -> Iterator[tuple[str, Any]]:
    csv.field_size_limit(_LONGEST_FIELD)
    lines = (line for _, line in raw_lines(file))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
        if header is None:
            raise ValueError(f"{file} is empty.")
        chosen = _choose(str(file), header, header, columns)
        if len(header) == 1 and (other := ({*";,\t"} - {delimiter}) & {*header[0]}):
            raise ValueError(
                f"{file} must have fields parted by {delimiter!r}, not {min(other)!r}."
            )
        for row in reader:
            place = f"{file}, line {reader.line_num}"
            if len(row) == len(header):
                yield place, _fields(dict(zip(header, row, strict=True)).get, chosen)
            elif row:
                yield place, ValueError(f"{len(row)} fields under {len(header)} columns.")
    except csv.Error as error:
        raise ValueError(f"{file}, line {reader.line_num}: {error}.") from error


def _of_parquet(file: Path, columns: Columns) -> Iterator[tuple[str, Any]]:
    parquet = optional_import("pyarrow.parquet", "search")
    try:
        table = parquet.ParquetFile(file, memory_map=True)
        batches = table.iter_batches(_ROWS)
        yield from _of_batches(str(file), batches, columns, schema=table.schema_arrow)
    except (OSError, UnicodeError, optional_import("pyarrow", "search").ArrowException) as error:
        raise ValueError(f"{file} is not a whole Parquet file: {error}") from error


def _of_dataset(source: PathLike, columns: Columns) -> Iterator[tuple[str, Any]]:
    """A dataset that was saved to disk, or on the hub."""
    datasets = optional_import("datasets", "search")
    if isinstance(source, Path):
        data = datasets.load_from_disk(source)
    else:
        try:
            data = datasets.load_dataset(source, split="train", streaming=True)
        except Exception as error:
            raise FileNotFoundError(
                f"`source` {source!r} is neither a file, nor a folder, nor an id that ir_datasets "
                f"or the Hugging Face hub knows: {' '.join(str(error).split())[:200]}"
            ) from error
    if isinstance(data, Mapping):
        parts = list(data)
        if len(parts) > 1 and "train" not in parts:
            raise ValueError(f"{source} holds the parts {parts}: give the folder of one of them.")
        data = data["train" if "train" in parts else parts[0]]
    names = list(data.column_names or next(iter(data)))
    strings = [name for name in names if getattr(data.features[name], "dtype", "") == "string"]
    chosen = _choose(str(source), names, strings, columns)
    for number, record in enumerate(data):
        yield f"{source}, row {number}", _fields(record.get, chosen)


def _of_batches(
    name: str, batches: Any, columns: Columns, schema: Any = None
) -> Iterator[tuple[str, Any]]:
    """The rows of Arrow's record batches."""
    schema = schema or batches.schema
    texts = ("string", "large_string", "string_view")
    strings = [field.name for field in schema if str(field.type) in texts]
    chosen = _choose(name, schema.names, strings, columns)
    number = 0
    for batch in batches:
        for record in batch.select([column for column in chosen if column]).to_pylist():
            yield f"{name}, row {number}", _fields(record.get, chosen)
            number += 1


def _fields(get: Callable[[str], Any], columns: Columns) -> Any:
    """Id, title and text of a row; an error if it lacks the id that the others have."""
    identifier, title = (None if c is None else get(c) for c in (columns.id, columns.title))
    if columns.id is not None and identifier is None:
        return ValueError(f"the id is missing, in {columns.id!r}.")
    return identifier, title, get(str(columns.text))


def _choose(place: str, names: list[str], strings: list[str], columns: Columns) -> Columns:
    """The columns that are asked for, which must be there, or those that are plain by name."""
    listed = ", ".join(names)[:200]
    for part, column in columns._asdict().items():
        if column is not None and column not in names:
            raise ValueError(f"{place}: `{part}_column` {column!r} is not there, only {listed}.")
    found = {
        part: getattr(columns, part)
        or next((n for n in known if n in names and n not in columns), None)
        for part, known in columns.known.items()
    }
    if found["text"] is None:
        known = (*found.values(), *Columns.known["id"])
        others = [name for name in strings if name not in known]
        if len(others) != 1:
            raise ValueError(
                f"{place}: which of {listed} is the text? Call it so, or name it by `text_column`."
            )
        found["text"] = others[0]
    return type(columns)(**found)


def holds_pairs(file: Path) -> bool:
    """Whether a file has a column of queries; its first row says so, if there is a good one."""
    for _, row in _of_file(file, _PairColumns()):
        return isinstance(row, ValueError) or row[1] is not None
    return True


def read_pairs(file: Path) -> Iterator[tuple[str, str]]:
    """Query and document of each row of a table of pairs, by name; see `_PairColumns`."""
    for place, row in _of_file(file, _PairColumns()):
        if isinstance(row, ValueError):
            raise ValueError(f"{place}: {row}")
        for name, text in zip(("query", "document"), row[1:], strict=True):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"{place}: the {name} must be a text, got {shown(text)}.")
            check_unicode(f"{place}: the {name}", text)
        yield row[1], row[2]


def shown(value: object) -> str:
    return "nothing" if value is None else repr(value)[:80]
