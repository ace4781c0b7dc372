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

from mpsheads._checks import check_positive
from mpsheads._files import replacing
from mpsheads._progress import progress_bar
from mpsheads._typing import PathLike
from mpsheads.retrieval.encoder import Encoder, TextKind, check_texts
from mpsheads.retrieval.models import default_cache_dir


def encode_cached(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    kind: TextKind,
    cache_dir: PathLike | None = None,
    shard_size: int = 2048,
    progress: bool = False,
) -> Tensor:
    """Embeddings of texts, read from the cache where they are in it, else encoded and kept.

    The cache has one folder per `encoder.fingerprint(kind)`, and in it shards: safetensors files
    with embeddings, the SHA-256 of the text of each, and a checksum. A text is found by its
    content, so collections and pools share what they have in common. Texts not yet there are
    encoded longest first, and each shard is written as soon as it is full: a killed run that is
    started again goes on at the first shard that is missing. Several processes may share a cache;
    they may encode the same text twice, but do no other harm. A shard that is damaged is removed
    with a warning, and its texts are encoded again.

    Args:
        encoder: What encodes the texts.
        texts: Texts in any order; repeated ones are encoded once.
        kind: `"document"` or `"query"`.
        cache_dir: Folder of the cache, made if absent; by default `$MPSHEADS_CACHE` or
            `~/.cache/mpsheads`.
        shard_size: Most texts in a shard.
        progress: Show a bar on stderr if something is to be encoded.

    Returns:
        `(len(texts), encoder.features)`, float32, on the CPU, in the order of `texts`.

    Raises:
        OSError: If the folder cannot be written.
        TypeError, ValueError: As `Encoder.encode` does.
    """
    check_positive(shard_size=shard_size)
    check_texts(texts)
    base = Path(cache_dir or default_cache_dir()).expanduser()
    folder = base / "embeddings" / encoder.fingerprint(kind)[:32]
    result = torch.empty(len(texts), encoder.features)
    rows: dict[bytes, list[int]] = {}
    for row, text in enumerate(texts):
        rows.setdefault(_digest(text), []).append(row)
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


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _fill_from_shards(folder: Path, rows: dict[bytes, list[int]], result: Tensor) -> list[bytes]:
    """Copy what the shards hold into `result`; returns the digests of the texts not found."""
    missing = set(rows)
    for file in sorted(folder.glob("*.safetensors")):
        if not missing:
            break
        try:
            digests, embeddings = _read_shard(file, missing, result.shape[1])
        except FileNotFoundError:  # another process removed it
            continue
        except (SafetensorError, ValueError):
            warnings.warn(f"{file} is damaged; its texts are encoded again.", stacklevel=3)
            file.unlink(missing_ok=True)
            continue
        for digest, embedding in zip(digests, embeddings, strict=True):
            if digest in missing:
                result[rows[digest]] = embedding
        missing.difference_update(digests)
    return list(missing)


def _read_shard(file: Path, wanted: set[bytes], features: int) -> tuple[list[bytes], Tensor]:
    """Digests and embeddings of the texts of a shard; none if it holds none of those `wanted`.

    Raises:
        SafetensorError, ValueError: If the shard is damaged.
    """
    with safe_open(file, framework="pt") as shard:
        digests = [row.tobytes() for row in shard.get_tensor("digests").numpy()]
        if wanted.isdisjoint(digests):
            return [], torch.empty(0)
        embeddings = shard.get_tensor("embeddings")
        checksum = (shard.metadata() or {}).get("sha256")
    if embeddings.shape != (len(digests), features) or checksum != _checksum(digests, embeddings):
        raise ValueError("The shard does not fit its checksum.")
    return digests, embeddings


def _write_shard(folder: Path, digests: list[bytes], embeddings: Tensor) -> None:
    """Write a shard whose name is the hash of the texts it holds."""
    name = hashlib.sha256(b"".join(digests)).hexdigest()[:32]
    raw = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(len(digests), 32)
    tensors = {"digests": torch.from_numpy(raw.copy()), "embeddings": embeddings.contiguous()}
    with replacing(folder / f"{name}.safetensors") as file:
        save_file(tensors, file, metadata={"sha256": _checksum(digests, embeddings)})


def _checksum(digests: list[bytes], embeddings: Tensor) -> str:
    content = hashlib.sha256(b"".join(digests))
    content.update(embeddings.contiguous().numpy().data)
    return content.hexdigest()
