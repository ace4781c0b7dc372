"""The small collection that these tests share, and how it is written."""

import gzip
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_HOME = tempfile.TemporaryDirectory(prefix="mpsheads-irds-")  # removed when Python ends
IRDS_HOME = Path(_HOME.name)
BeirWriter = Callable[..., Path]

CORPUS = [
    {"_id": "d1", "title": "Qubits", "text": "The qubit is a state."},
    {"_id": "d2", "title": "", "text": "A tensor network."},
    {"_id": "d3", "text": "Search with a head."},
]
QUERIES = [
    {"_id": "q1", "text": "what is a qubit"},
    {"_id": "q2", "text": "tensor network"},
    {"_id": "q3", "text": "search"},
]
QRELS = {"test": [("q1", "d1", 2), ("q1", "d3", 0), ("q2", "d2", 1)], "train": [("q3", "d3", 1)]}


def jsonl(records: Sequence[Mapping[str, object]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def tsv(judgments: Sequence[tuple[str, str, int]]) -> str:
    return "query-id\tcorpus-id\tscore\n" + "".join(f"{q}\t{d}\t{g}\n" for q, d, g in judgments)


def write(file: Path, content: str | bytes | None) -> None:
    """Write a file, gzipped if its name says so; `None` removes it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        file.unlink()
        return
    raw = content.encode() if isinstance(content, str) else content
    file.write_bytes(gzip.compress(raw) if file.suffix == ".gz" else raw)
