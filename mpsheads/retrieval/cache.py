"""Embeddings kept on disk, so that no text is encoded twice."""

import hashlib
import sqlite3
from collections.abc import Sequence
from contextlib import closing

import torch
from torch import Tensor

from mpsheads._progress import progress_bar
from mpsheads.retrieval.encoder import Encoder, TextKind
from mpsheads.retrieval.models import default_cache_dir

_WRITTEN_AT_ONCE = 1024  # texts
_PATIENCE = 600  # seconds that a process waits for another one's writing


def encode_cached(
    encoder: Encoder, texts: Sequence[str], *, kind: TextKind, progress: bool = False
) -> Tensor:
    """Embeddings of texts, read from the cache where they are in it, else encoded and kept.

    The cache, in `$MPSHEADS_CACHE/embeddings` or `~/.cache/mpsheads/embeddings`, has one SQLite
    file per `encoder.fingerprint(kind)`, with the embedding of each text under the text's SHA-256.
    So collections and pools share what they have in common. Texts not yet there are encoded longest
    first, and written 1024 at a time: a killed run that is started again goes on there. Several
    processes may share a cache.

    Args:
        encoder: What encodes the texts.
        texts: Texts in any order; repeated ones are encoded once.
        kind: `"document"` or `"query"`.
        progress: Show a bar on stderr if something is to be encoded.

    Returns:
        `(len(texts), encoder.features)`, float32, on the CPU, in the order of `texts`.

    Raises:
        OSError: If the folder cannot be written, or the file is damaged.
        TypeError, ValueError: As `Encoder.encode` does.
    """
    result = torch.empty(len(texts), encoder.features)
    rows: dict[bytes, list[int]] = {}
    for row, text in enumerate(texts):
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        rows.setdefault(digest, []).append(row)
    file = default_cache_dir() / "embeddings" / f"{encoder.fingerprint(kind)[:32]}.sqlite"
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(file, timeout=_PATIENCE)) as database:
            missing = _fill(database, rows, result)
            missing.sort(key=lambda digest: (-len(texts[rows[digest][0]]), digest))
            with progress_bar(f"Encoding {kind} texts", len(missing), enabled=progress) as advance:
                for start in range(0, len(missing), _WRITTEN_AT_ONCE):
                    part = missing[start : start + _WRITTEN_AT_ONCE]
                    first = [texts[rows[digest][0]] for digest in part]
                    embeddings = encoder.encode(first, kind=kind, advance=advance)
                    pairs = zip(part, (row.tobytes() for row in embeddings.numpy()), strict=True)
                    with database:
                        database.executemany(
                            "INSERT OR IGNORE INTO embeddings VALUES (?, ?)", pairs
                        )
            _fill(database, {digest: rows[digest] for digest in missing}, result)
    except sqlite3.Error as error:
        cure = "" if isinstance(error, sqlite3.OperationalError) else " Delete it."
        raise OSError(f"The cache {file} cannot be used: {error}.{cure}") from error
    return result


def _fill(
    database: sqlite3.Connection, rows: dict[bytes, list[int]], result: Tensor
) -> list[bytes]:
    """Copy what the file holds into `result`; returns the digests of the texts not found."""
    with database:
        table = "embeddings (digest BLOB PRIMARY KEY, embedding BLOB)"
        database.execute(f"CREATE TABLE IF NOT EXISTS {table}")
    missing = []
    for digest, places in rows.items():
        query = "SELECT embedding FROM embeddings WHERE digest = ?"
        found = database.execute(query, (digest,)).fetchone()
        if found is None:
            missing.append(digest)
        else:
            result[places] = torch.frombuffer(bytearray(found[0]), dtype=torch.float32)
    return missing
