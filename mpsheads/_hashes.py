"""Hashes of tensors and texts, to tell whether they are the same as before."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor


def hash_of(parts: Iterable[Tensor | Sequence[str]]) -> str:
    """64 hexadecimal digits of all parts: tensors with their dtypes and shapes, or texts."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            digest.update(f"{part.dtype} {tuple(part.shape)}".encode())
            flat = part.detach().cpu().contiguous().flatten()
            digest.update(flat.view(torch.uint8).numpy().data)
        else:
            digest.update(json.dumps(list(part)).encode())
    return digest.hexdigest()


def hash_of_file(file: Path) -> str:
    """SHA-256 of a file, in 64 hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
