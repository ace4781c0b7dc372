"""Passages encoded to Parquet shards, which a killed run goes on with."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from mpsheads._checks import check_equal, first_fault
from mpsheads._files import as_path, discard, locked, read_json, replacing
from mpsheads._hashes import hash_of_file
from mpsheads._optional import optional_import
from mpsheads._progress import progress_bar
from mpsheads._typing import PathLike, Positive
from mpsheads.heads import MPSProjectionHead, ProjectionHead, load_head
from mpsheads.retrieval import Passage, Passages
from mpsheads.similarity import Codes

ROWS = 16384
"""Passages of a shard: what is in memory at a time, and what a kill may cost."""
_FORMAT = "mpsheads.passages.1"
_MANIFEST, _HEAD = "manifest.json", "head"
_TEXTS = b"mpsheads.texts"  # in a file's metadata: what it was made from
_PACKED = {"id": "zstd", "text": "zstd", "code": "none", "vector.list.element": "none"}
_AT_ONCE = 1024  # texts given to the encoder
Over = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""What maps a function over items, the first of them alone; results come in any order."""
_Shard = tuple[Path, list[Passage], str]  # a file, its passages, and their hash


@runtime_checkable
class TextEncoder(Protocol):
    """What makes embeddings of texts, such as `mpsheads.retrieval.Encoder`."""

    @property
    def features(self) -> int:
        """Width of the embeddings."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments that make the same encoder again, in terms of JSON."""
        ...

    def encode(self, texts: Any) -> Tensor:
        """Embeddings `(len(texts), features)`, float32, on the CPU."""
        ...

    def fingerprint(self) -> str:
        """A hash of all that decides the embeddings."""
        ...


@dataclass(frozen=True)
class Manifest:
    """What a folder of shards holds: the content of `manifest.json`.

    Attributes:
        source: What the passages are from.
        passages: How many there are.
        encoder: Arguments of the `Encoder`.
        fingerprint: That of the encoder.
        head: SHA-256 of the head that was given, or how it was made.
        bytes_per_vector: Bytes of a code.
        rows: Passages of a shard.
        keep_text: Whether shards hold the texts.
        keep_vectors: Whether shards hold the embeddings as they were before the head.
        shards: SHA-256 of each file by its name; empty until all are there.
        format: Name and version of this layout.
    """

    source: str
    passages: int
    encoder: dict[str, Any]
    fingerprint: str
    head: str
    bytes_per_vector: int
    rows: int
    keep_text: bool
    keep_vectors: bool
    shards: dict[str, str]
    format: str = _FORMAT


def encode_passages(
    passages: Passages,
    encoder: TextEncoder,
    output: PathLike,
    *,
    head: ProjectionHead | None = None,
    bytes: Positive = 64,
    rows: Positive = ROWS,
    keep_text: bool = False,
    keep_vectors: bool = False,
    seed: int = 0,
    progress: bool = False,
    over: Over | None = None,
) -> Manifest:
    """Encode passages and write their codes to a folder of Parquet files.

    A shard has the columns `id` (string), `code` (binary of fixed size), and on request `text`
    (string) and `vector` (list of float32). The folder also holds the head, and `manifest.json`,
    which lists the files and their checksums when all are there.

    The passages are read twice: first all rows are checked and counted, then they are encoded. A
    killed run that is started again keeps the shards that it finished, and ends with the same
    bytes as one that was not killed.

    Args:
        passages: What is encoded.
        encoder: What makes embeddings of texts.
        output: The folder, made if it is not there.
        head: What compresses them. By default one for `bytes`, fitted to the first shard; sorted
            passages want a head that was fitted to a sample of them.
        bytes: Bytes a vector of the head that is fitted.
        rows: Passages of a shard.
        keep_text: Write the texts, too.
        keep_vectors: Write the embeddings, too: `4 * features` bytes a passage.
        seed: Seed of the head that is fitted.
        progress: Show a bar on stderr.
        over: What writes the shards, such as `mpsheads.search.cluster.on_ray()`, which has many
            machines do it; by default this one writes them in turn.

    Returns:
        What is in the folder.

    Raises:
        BlockingIOError: If another process writes to the folder.
        ValueError: If a row is bad or an id comes twice; if the folder holds something else, or
            shards of other passages or of another head.

    Memory: the encoder, 8 bytes for each id, and `rows` passages with their embeddings: 25 MB and
    the texts for 16,384 of 384 numbers.
    """
    folder = as_path(output)
    if folder.is_file():
        raise NotADirectoryError(f"`output` {folder} is a file; it must be a folder.")
    with locked(folder):
        count, generator = passages.check(), torch.Generator().manual_seed(seed)
        if head is None and (first := min(count, rows)) < 2:
            raise ValueError(
                f"`head` is fitted to the first passages, to two at least and better some "
                f"thousand, but there is {first}. Give a saved one."
            )
        new = MPSProjectionHead.for_bytes(encoder.features, bytes, own=True, generator=generator)
        used = head or new
        check_equal("number of features", head=used.in_features, encoder=encoder.features)
        how = f"fitted to the first shard, seed {seed}" if head is None else head_digest(head)
        wanted = Manifest(
            source=passages.name,
            passages=count,
            encoder=encoder.settings,
            fingerprint=encoder.fingerprint(),
            head=how,
            bytes_per_vector=codes_of(used, torch.ones(1, used.in_features)).bytes_per_vector,
            rows=rows,
            keep_text=keep_text,
            keep_vectors=keep_vectors,
            shards={},
        )
        _begin(folder, wanted)

        write = partial(_write_shard, wanted, encoder, used, head is None)
        with progress_bar("Encoding passages", count, enabled=progress) as advance:
            shards = _write_shards(folder, rows, passages, write, over, advance)
        done = replace(wanted, shards=shards)
        _write_manifest(folder, done)
    return done


def read_manifest(folder: PathLike) -> Manifest:
    """The manifest of a folder that `encode_passages` wrote.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is not a manifest of this version.
    """
    file = as_path(folder) / _MANIFEST
    if not file.is_file():
        raise FileNotFoundError(f"{folder} holds no encoded passages: it has no {_MANIFEST}.")
    try:
        manifest = TypeAdapter(Manifest).validate_python(read_json(file))
    except ValidationError as error:
        fault = first_fault(error)
        raise ValueError(f"{file} is not a manifest of encoded passages: {fault}") from error
    if manifest.format != _FORMAT:
        raise ValueError(f"{file} is of the format {manifest.format[:40]!r}, not {_FORMAT!r}.")
    return manifest


def read_shards(folder: PathLike, names: Sequence[str] | None = None) -> Iterator[Any]:
    """Yield the shards of a whole folder as tables of pyarrow, in order, checked by their hashes.

    Of the files that `names` lists, if it is given.

    Raises:
        FileNotFoundError, ValueError: As `read_manifest` does; if the folder is not whole yet, or
            a file is not the one that was written.
    """
    parquet = optional_import("pyarrow.parquet", "search")
    folder = as_path(folder)
    shards = read_manifest(folder).shards
    if not shards:
        raise ValueError(f"{folder} is not whole yet. Run the command that began it once more.")
    for name in shards if names is None else names:
        file, digest = folder / name, shards[name]
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing. Encode the passages again.")
        _hash_of(file, digest)
        yield parquet.read_table(file)


def _hash_of(file: Path, known: str | None) -> str:
    """SHA-256 of a shard; raises `ValueError` if another one is known."""
    digest = hash_of_file(file)
    if known not in (None, digest):
        raise ValueError(f"{file} was changed or damaged. Delete it and encode again.")
    return digest


def codes_of(head: ProjectionHead, x: Tensor) -> Codes:
    """Embeddings in the codes of the head, or in 8 bits a number where it has none of its own.

    Raises:
        ValueError: If the head's vectors have no known range.
    """
    coded = head.code(x)
    return coded if isinstance(coded, Codes) else head.quantize(coded, 8)


def head_digest(head: ProjectionHead) -> str:
    """SHA-256 of a head's configuration and numbers."""
    digest = hashlib.sha256(json.dumps(head.config, sort_keys=True, default=str).encode())
    for name, tensor in sorted(head.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _begin(folder: Path, wanted: Manifest) -> None:
    """Write the manifest of a new folder; raise unless what is there was begun alike."""
    if not (folder / _MANIFEST).exists():
        if others := [file.name for file in folder.iterdir() if not file.name.startswith(".")]:
            raise ValueError(f"`output` {folder} holds other files, such as {min(others)}.")
        _write_manifest(folder, wanted)
        return
    begun = replace(read_manifest(folder), shards={}, encoder=wanted.encoder)
    for part, value in asdict(wanted).items():
        if getattr(begun, part) != value:
            raise ValueError(
                f"`output` {folder} was begun with another {part}: {getattr(begun, part)!r}, not "
                f"{value!r}. Delete it, or take another folder."
            )


def _write_shards(
    folder: Path,
    rows: int,
    passages: Passages,
    write: Callable[..., tuple[str, str, int]],
    over: Over | None,
    advance: Callable[[int], None],
) -> dict[str, str]:
    """Write those shards that are not there; returns the SHA-256 of each by its name."""
    parquet, digests = optional_import("pyarrow.parquet", "search"), {}
    known = read_manifest(folder).shards

    def missing() -> Iterator[_Shard]:
        rest = iter(passages)
        while part := list(islice(rest, rows)):
            file = folder.absolute() / f"{len(digests):05d}.parquet"
            digests[file.name] = ""  # so that they are in order
            texts = hashlib.sha256("\0".join(map("\0".join, part)).encode()).hexdigest()
            if not file.exists():
                yield file, part, texts
                continue
            digests[file.name] = _hash_of(file, known.get(file.name))
            held = (parquet.read_metadata(file).metadata or {}).get(_TEXTS, b"").decode()
            check_equal(f"passages of {file.name}, by their hash,", shard=held, source=texts)
            advance(len(part))

    here = map(partial(write, advance=advance), missing())
    for name, digest, count in here if over is None else over(write, missing()):
        digests[name] = digest
        advance(count if over else 0)
    return digests


def _write_shard(
    manifest: Manifest,
    encoder: TextEncoder,
    head: ProjectionHead,
    fit: bool,
    shard: _Shard,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[str, str, int]:
    """Write a shard, and before the first one the head; name, SHA-256 and number of passages."""
    file, part, texts = shard
    check_equal("fingerprint", model=encoder.fingerprint(), first_machine=manifest.fingerprint)
    vectors = _embed(encoder, part, advance)
    saved = file.parent / _HEAD
    if not (saved / "config.json").exists():
        if fit:
            head.fit(vectors)  # pyright: ignore[reportCallIssue]  # one of `for_bytes`
        head.save_pretrained(saved)
    codes = codes_of(load_head(saved), vectors)
    with replacing(file) as temporary:
        table = _table(manifest, part, codes, vectors)
        table = table.replace_schema_metadata({_TEXTS: texts.encode()})
        parquet = optional_import("pyarrow.parquet", "search")
        parquet.write_table(table, temporary, compression=_PACKED)
        return file.name, hash_of_file(temporary), len(part)


def _embed(encoder: TextEncoder, part: list[Passage], advance: Callable[[int], None]) -> Tensor:
    vectors = []
    for start in range(0, len(part), _AT_ONCE):
        texts = [passage.text for passage in part[start : start + _AT_ONCE]]
        vectors.append(encoder.encode(texts))
        advance(len(texts))
    return torch.cat(vectors)


def _table(manifest: Manifest, part: list[Passage], codes: Codes, vectors: Tensor) -> Any:
    """The rows of a shard."""
    arrow = optional_import("pyarrow", "search")
    packed = arrow.py_buffer(codes.packed.cpu().numpy())
    kind = arrow.binary(codes.bytes_per_vector)
    ids = arrow.array([passage.id for passage in part], arrow.string())
    columns = {
        "id": ids,
        "code": arrow.FixedSizeBinaryArray.from_buffers(kind, len(codes), [None, packed]),
    }
    if manifest.keep_text:
        columns["text"] = arrow.array([passage.text for passage in part], arrow.string())
    if manifest.keep_vectors:
        numbers = arrow.array(np.ravel(vectors.numpy()))
        columns["vector"] = arrow.FixedSizeListArray.from_arrays(numbers, vectors.shape[1])
    return arrow.table(columns)


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    for stale in list(folder.rglob(".*.tmp")):  # of writers that were killed
        discard(stale)
    with replacing(folder / _MANIFEST) as file:
        file.write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")
