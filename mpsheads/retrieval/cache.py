"""Embeddings kept on disk, so that no text is encoded twice."""

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mpsheads._checks import check_positive, check_texts
from mpsheads._files import replacing
from mpsheads._progress import progress_bar
from mpsheads.retrieval.encoder import Encoder, TextKind
from mpsheads.retrieval.models import default_cache_dir


def encode_cached(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    kind: TextKind,
    shard_size: int = 2048,
    progress: bool = False,
) -> Tensor:
    """Embeddings of texts, read from the cache where they are in it, else encoded and kept.

    The cache, in `$MPSHEADS_CACHE` or `~/.cache/mpsheads`, has one folder per
    `encoder.fingerprint(kind)`, and in it shards: safetensors files with embeddings and the SHA-256
    of the text of each. A text is found by its content, so collections and pools share
    what they have in common. Texts not yet there are encoded longest first, and each shard is
    written as soon as it is full: a killed run that is started again goes on at the first shard
    that is missing. Several processes may share a cache; they may encode the same text twice, but
    do no other harm. A shard that is damaged is removed with a warning, and its texts are encoded
    again.

    Args:
        encoder: What encodes the texts.
        texts: Texts in any order; repeated ones are encoded once.
        kind: `"document"` or `"query"`.
        shard_size: Most texts in a shard.
        progress: Show a bar on stderr if something is to be encoded.

    Returns:
        `(len(texts), encoder.features)`, float32, on the CPU, in the order of `texts`.

    Raises:
        OSError: If the folder cannot be written.
        TypeError, ValueError: As `Encoder.encode` does.
    """
    check_positive(shard_size=shard_size)
    check_texts("texts", texts)
    folder = default_cache_dir() / "embeddings" / encoder.fingerprint(kind)[:32]
    result = torch.empty(len(texts), encoder.features)
    rows: dict[bytes, list[int]] = {}
    for row, text in enumerate(texts):
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        rows.setdefault(digest, []).append(row)
    missing = _fill_from_shards(folder, rows, result)
    missing.sort(key=lambda digest: (-len(texts[rows[digest][0]]), digest))
    with progress_bar(f"Encoding {kind} texts", len(missing), enabled=progress) as advance:
        for start in range(0, len(missing), shard_size):
            part = missing[start : start + shard_size]
            first = [texts[rows[digest][0]] for digest in part]
            embeddings = encoder.encode(first, kind=kind, advance=advance)
            _write_shard(folder, part, embeddings)
            for digest, embedding in zip(part, embeddings, strict=True):
                result[rows[digest]] = embedding
    return result


def _fill_from_shards(folder: Path, rows: dict[bytes, list[int]], result: Tensor) -> list[bytes]:
    """Copy what the shards hold into `result`; returns the digests of the texts not found."""
    missing = set(rows)
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt") as shard:
                digests = [row.tobytes() for row in shard.get_tensor("digests").numpy()]
                if missing.isdisjoint(digests):
                    continue
                embeddings = shard.get_tensor("embeddings")
        except FileNotFoundError:  # another process removed it
            continue
        except SafetensorError:
            warnings.warn(f"{file} is damaged; its texts are encoded again.", stacklevel=3)
            file.unlink(missing_ok=True)
            continue
        for digest, embedding in zip(digests, embeddings, strict=True):
            if digest in missing:
                result[rows[digest]] = embedding
        missing.difference_update(digests)
    return list(missing)


def _write_shard(folder: Path, digests: list[bytes], embeddings: Tensor) -> None:
    """Write a shard whose name is the hash of the texts it holds."""
    whole = b"".join(digests)
    raw = torch.from_numpy(np.frombuffer(whole, dtype=np.uint8).reshape(-1, 32).copy())
    with replacing(folder / f"{hashlib.sha256(whole).hexdigest()[:32]}.safetensors") as file:
        save_file({"digests": raw, "embeddings": embeddings.contiguous()}, file)
