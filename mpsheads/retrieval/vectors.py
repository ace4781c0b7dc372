"""Embeddings in files: .npy and .safetensors."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from mpsheads._checks import check_finite, check_type, list_of_texts
from mpsheads._files import as_path, map_array, replacing, write_array
from mpsheads._typing import PathLike


def load_vectors(path: PathLike, *, name: str | None = None) -> tuple[Tensor, list[str] | None]:
    """Read embeddings from a .npy or a .safetensors file.

    Args:
        path: The file. A .npy file holds one array; a .safetensors file one tensor, or several of
            which `name` is taken.
        name: Name of the tensor, such as `"queries"` or `"documents"`.

    Returns:
        The vectors `(rows, features)` as float32, and the ids of the rows if the file holds them
        (JSON under `<name>_ids` in the metadata of a .safetensors file), else `None`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty or broken, has no such tensor, or the tensor is not a
            non-empty matrix of finite floating-point numbers; the message names the first bad row.
    """
    path = as_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of vectors {path}.")
    if path.suffix == ".npy":
        vectors, ids = _load_npy(path), None
    elif path.suffix == ".safetensors":
        vectors, ids = _load_safetensors(path, name)
    else:
        raise ValueError(f"{path} must end in .npy or .safetensors.")
    if not vectors.is_floating_point():
        raise ValueError(f"{path} must hold floating-point numbers, got {vectors.dtype}.")
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise ValueError(
            f"{path} must hold a matrix (rows, features), got shape {tuple(vectors.shape)}."
        )
    if ids is not None and len(ids) != len(vectors):
        raise ValueError(f"{path} holds {len(ids)} ids for {len(vectors)} rows.")
    vectors = vectors.float()
    check_finite(str(path), vectors)
    return vectors, ids


def save_vectors(
    path: PathLike, *, ids: Mapping[str, Sequence[str]] | None = None, **tensors: Tensor
) -> None:
    """Write named matrices to a .safetensors file, or a single one to a .npy file.

    Args:
        path: The file, replaced if it is there. It appears when it is complete.
        ids: For each name the ids of the rows; only for .safetensors.
        **tensors: The matrices `(rows, features)`, such as `queries=zq, documents=zd`.

    Raises:
        ValueError: If the ending, the shapes or the ids do not fit.
    """
    path, ids = as_path(path), {} if ids is None else ids
    for name, tensor in tensors.items():
        check_type(name, tensor, Tensor)
        if tensor.ndim != 2:
            raise ValueError(f"`{name}` must be a matrix, got shape {tuple(tensor.shape)}.")
    for name, rows in ids.items():
        list_of_texts(f"ids[{name!r}]", rows)
        count = len(tensors.get(name, ()))
        if len(rows) != count:
            raise ValueError(f"`ids` has {len(rows)} for the {count} rows of `{name}`.")
    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    memory = [t.untyped_storage().data_ptr() for t in plain.values()]
    for (name, tensor), own in zip(plain.items(), memory, strict=True):
        plain[name] = tensor if memory.count(own) == 1 else tensor.clone()  # the format shares none
    if path.suffix == ".safetensors" and plain:
        from safetensors.torch import save_file

        metadata = {f"{name}_ids": json.dumps(list(rows)) for name, rows in ids.items()}
        with replacing(path) as file:
            save_file(plain, file, metadata=metadata)
            _sort_header(file)
    elif path.suffix == ".npy" and len(plain) == 1 and not ids:
        with replacing(path) as file:
            write_array(file, next(iter(plain.values())).float().numpy())
    else:
        raise ValueError(
            f"{path} must end in .safetensors, or in .npy for a single tensor without ids."
        )


def _sort_header(file: Path) -> None:
    """Bring the metadata of a .safetensors file, which are written in any order, into one."""
    with file.open("r+b") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
        header = {"__metadata__": dict(sorted(header.pop("__metadata__", {}).items())), **header}
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode().ljust(size)
        assert len(text) == size
        stream.seek(8)
        stream.write(text)


def _load_npy(path: Path) -> Tensor:
    array = map_array(path)
    try:
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    except TypeError as error:
        raise ValueError(f"{path} is not a complete .npy file of numbers: {error}") from error


def _load_safetensors(path: Path, name: str | None) -> tuple[Tensor, list[str] | None]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            chosen = names[0] if name not in names and len(names) == 1 else name
            if chosen not in names:
                asked = "give one by name" if name is None else f"none is called {name!r}"
                raise ValueError(f"{path} holds the tensors {sorted(names)}; {asked}.")
            vectors = file.get_tensor(chosen)
            raw = (file.metadata() or {}).get(f"{chosen}_ids")
    except SafetensorError as error:
        raise ValueError(f"{path} is not a complete .safetensors file: {error}") from error
    try:
        return vectors, None if raw is None else TypeAdapter(list[str]).validate_json(raw)
    except ValidationError as error:
        raise ValueError(f"{path} has ids that are not a list of strings in JSON.") from error
