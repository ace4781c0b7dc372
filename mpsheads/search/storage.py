"""The files of an index: codes, ids and texts that are mapped into memory, and the head."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpsheads._files import read_json, write_array
from mpsheads._hashes import hash_of_file
from mpsheads._optional import optional_import
from mpsheads.heads import ProjectionHead
from mpsheads.search.engines import Engine
from mpsheads.similarity import Codes

FORMAT = "mpsheads.index.1"
ABOUT, CODES, LAYOUT, TABLE = "index.json", "codes.npy", "layout.safetensors", "passages.arrow"
_BATCH = 65536  # rows of the table in one batch


def read_about(folder: Path) -> dict[str, Any]:
    """What `index.json` says."""
    file = folder / ABOUT
    if not file.is_file():
        raise FileNotFoundError(f"{folder} is no index: it has no {ABOUT}.")
    about = read_json(file)
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError(f"{ABOUT} is not of the format {FORMAT!r}.")
    return about


def read_passages(file: Path) -> Any:
    """Ids and texts by memory map; raises `ValueError` where ids are not strings, all of them."""
    arrow = optional_import("pyarrow", "search")
    try:
        table = arrow.ipc.open_file(arrow.memory_map(str(file))).read_all()
    except OSError as error:  # which does not name it
        raise ValueError(f"{TABLE}: {error}") from error
    kinds = {field.name: field.type for field in table.schema}
    if kinds.pop("id", None) != arrow.string() or set(kinds.items()) - {("text", arrow.string())}:
        raise ValueError(f"{TABLE} must have the strings id and text, got {table.schema.names}")
    table.validate()  # sizes alone, for texts are not read
    table.select(["id"]).validate(full=True)
    check_ids(table["id"])
    return table


def write_data(
    folder: Path, head: ProjectionHead, codes: Codes, table: Any, engine: Engine
) -> None:
    """Write all that an index holds into a new folder."""
    arrow = optional_import("pyarrow", "search")
    head.save_pretrained(folder / "head")
    write_array(folder / CODES, codes.packed.contiguous().numpy())
    codes[:0].save(folder / LAYOUT)
    file = arrow.OSFile(str(folder / TABLE), "wb")
    with file as sink, arrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=_BATCH)
    engine.save(folder)


def content_digest(folder: Path) -> str:
    """Twelve digits of the SHA-256 of all files of a folder: equal content, equal name."""
    digest = hashlib.sha256()
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        digest.update(file.relative_to(folder).as_posix().encode())
        digest.update(bytes.fromhex(hash_of_file(file)))
    return digest.hexdigest()[:12]


def with_rows(layout: Codes, packed: np.ndarray) -> Codes:
    """Codes made like `layout`, whose bytes are these."""
    if packed.dtype != np.uint8 or packed.ndim != 2:
        raise ValueError(f"codes must be a matrix of bytes, got {packed.dtype}")
    return replace(layout, packed=torch.from_numpy(packed))


def code_matrix(column: Any) -> np.ndarray:
    """The bytes of a column of fixed size, `(rows, bytes)`."""
    size = column.type.byte_width
    parts = [
        np.frombuffer(c.buffers()[1], np.uint8)[c.offset * size : (c.offset + len(c)) * size]
        for c in column.chunks
    ]
    return np.concatenate(parts).reshape(-1, size)


def values_at(column: Any, rows: list[int]) -> list[Any]:
    """The values of rows, without those of -1; one by one, since `take` joins the whole column."""
    return [column[row].as_py() for row in rows if row >= 0]


def hits_at(table: Any, rows: Tensor, scores: Tensor) -> list[dict[str, Any]]:
    """What was found for one query, with `id`, `score` and `text`, which may be `None`."""
    ids = values_at(table["id"], rows.tolist())
    kept = "text" in table.column_names
    texts = values_at(table["text"], rows.tolist()) if kept else [None] * len(ids)
    found = zip(ids, scores.tolist()[: len(ids)], texts, strict=True)
    return [{"id": i, "score": score, "text": text} for i, score, text in found]


def other_columns(table: Any) -> list[str]:
    """What an index does not keep of a shard."""
    return [name for name in table.column_names if name not in ("id", "text", "code")]


def string_table(ids: Sequence[str], texts: Sequence[str] | None) -> Any:
    """The table of an index: ids and, if they are kept, texts."""
    arrow = optional_import("pyarrow", "search")
    columns = {"id": ids} | ({} if texts is None else {"text": texts})
    return arrow.table({name: arrow.array(v, arrow.string()) for name, v in columns.items()})


def check_ids(ids: Any) -> None:
    """Raise `ValueError` if an id comes twice or is missing."""
    compute = optional_import("pyarrow.compute", "search")
    if ids.null_count:
        raise ValueError("`ids` must be strings, none of them missing.")
    if compute.count_distinct(ids).as_py() < len(ids):
        counts = compute.value_counts(ids)
        twice = counts.filter(compute.greater(counts.field("counts"), 1)).field("values")[0]
        raise ValueError(f"`ids` must differ, but {twice.as_py()!r} comes twice.")
