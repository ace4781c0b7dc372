"""`mpsheads encode`: passages to shards of codes; collections to vectors in a file."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mpsheads.cli import options, passages
from mpsheads.cli.options import Model, Texts, option, typer
from mpsheads.cli.output import console, print_json

if TYPE_CHECKING:
    from torch import Tensor

    from mpsheads.search import Manifest

_SUFFIXES = (".npy", ".safetensors")
_OUTPUT = (
    "A folder gets Parquet shards of ids and codes; a .safetensors file queries and documents as "
    "vectors, with their ids; a .npy file documents."
)
_BITS = "With a folder: bytes a passage of a head that is fitted to the first shard."
_HEAD = f"{options.HEAD} For a folder of passages only a saved one."
_TEXTS = "With a folder: keep the texts."
_VECTORS = "With a folder: keep the embeddings as they were before the head."
_ROWS = "With a folder: passages of a shard, which is what a kill may cost."
_RAY = (
    "With a folder that all machines see: spread the shards over the Ray cluster at this address; "
    "auto, as without one, finds that of this machine, local starts one."
)
Vectors = Mapping[str, "tuple[Tensor, list[str] | None]"]
"""Name, "queries" or "documents", to vectors and ids."""


def encode(
    output: Annotated[Path, option(_OUTPUT, metavar="FOLDER|FILE")],
    texts: Texts,
    model: Model,
    reading: passages.Reading,
    source: Annotated[str | None, typer.Argument(metavar="[SOURCE]", help=passages.SOURCE)] = None,
    bytes: Annotated[int, option(_BITS, "Head", flag="--bytes")] = 64,
    keep_text: Annotated[bool, option(_TEXTS, "Passages", flag="--keep-text")] = False,
    keep_vectors: Annotated[bool, option(_VECTORS, "Passages", flag="--keep-vectors")] = False,
    rows: Annotated[int, option(_ROWS, "Passages")] = 16384,
    head: Annotated[str | None, option(_HEAD, "Head", "FOLDER|KIND")] = None,
    ray: Annotated[str | None, option(_RAY, metavar="[ADDRESS]")] = None,
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    """Encode passages to codes in a folder, or a collection to vectors in a file.

    A folder is written shard by shard: a killed run that is started again goes on where it was.

    For a file, the dataset may also be one of vectors, .npy or .safetensors, which is then
    compressed; or give --document-vectors alone.

    [bold]Examples[/bold]

    [cyan]mpsheads encode my.jsonl --bytes 64 --output passages[/cyan]

    [cyan]mpsheads encode --dataset nfcorpus:test --output nfcorpus.safetensors[/cyan]

    [cyan]mpsheads encode --dataset vectors.npy --head trained-head --output small.npy[/cyan]
    """
    from mpsheads._checks import check_equal
    from mpsheads._files import locked
    from mpsheads.cli.data import pick_device
    from mpsheads.heads import compress_vectors, make_head
    from mpsheads.retrieval import save_vectors

    where = pick_device(model.device)
    how: dict[str, Any] = {"bytes": bytes, "rows": rows, "ray": ray}
    how |= {"keep_text": keep_text, "keep_vectors": keep_vectors}
    if source is not None:
        if output.suffix in _SUFFIXES:
            raise ValueError(f"`output` {output} must be a folder, for passages from {source}.")
        if texts != Texts():
            raise ValueError(f"Give the passages {source} or a collection by `dataset`, not both.")
        how |= {"seed": seed}
        read = reading.passages(source)
        manifest, features = passages.encode_to_shards(read, model, output, head, **how)
        print_json(asdict(manifest)) if as_json else _print_manifest(manifest, features, output)
        return
    _check_file(output, how, reading)
    only_documents = output.suffix == ".npy"
    with locked(output, is_file=True):
        vectors = _read(texts, only_documents) or _encode(texts, model, only_documents)
        check_equal("width", **{name: tensor.shape[1] for name, (tensor, _) in vectors.items()})
        x = vectors[min(vectors)][0]  # documents, where there are both
        options: dict[str, Any] = {"documents": x, "seed": seed, "device": where}
        made = None if head is None else make_head(head, x.shape[1], **options)
        words = "uncompressed" if made is None else f"from the {made.name} head"
        compressed = {name: compress_vectors(made, x).cpu() for name, (x, _) in vectors.items()}
        ids = {name: ids for name, (_, ids) in vectors.items() if ids is not None}
        save_vectors(output, ids={} if only_documents else ids, **compressed)
    if as_json:
        about: dict[str, Any] = {name: list(tensor.shape) for name, tensor in compressed.items()}
        print_json({"output": str(output), "head": head, **about, "bytes": output.stat().st_size})
    else:
        _print(compressed, words, output)


def _check_file(output: Path, how: dict[str, Any], reading: passages.Reading) -> None:
    """Raise `ValueError` unless it is a file of vectors, and no option is for a folder."""
    if output.suffix not in _SUFFIXES:
        raise ValueError(
            f"`output` {str(output)!r} must end in .npy or .safetensors, or give the passages for "
            f"a folder first: mpsheads encode SOURCE --output FOLDER."
        )
    usual = {"bytes": 64, "rows": 16384, "ray": None, "keep_text": False, "keep_vectors": False}
    usual |= asdict(passages.Reading())
    for name, value in {**how, **asdict(reading)}.items():
        if value != usual[name]:
            raise ValueError(
                f"`{name}` is for passages in a folder, not for {output}: give `head`."
            )


def _print(compressed: "Mapping[str, Tensor]", words: str, output: Path) -> None:
    for name, tensor in compressed.items():
        count, numbers = tensor.shape
        size = numbers * tensor.element_size()
        console().print(f"{count:,} {name}: {numbers} numbers, {size:,} bytes each, {words}")
    console().print(f"written to {output}")


def _print_manifest(manifest: "Manifest", features: int, output: Path) -> None:
    console().print(
        f"{manifest.passages:,} passages in {manifest.bytes_per_vector} bytes each, "
        f"{4 * features:,} before, in {len(manifest.shards)} shards; written to {output}"
    )


def _read(texts: Texts, only_documents: bool) -> Vectors:
    """The vectors of files; none if there are texts to encode."""
    from mpsheads.retrieval import load_vectors

    files = {"queries": texts.query_vectors, "documents": texts.document_vectors}
    if texts.dataset is not None:
        file = Path(texts.dataset)
        files = files | {"documents": file} if file.suffix in _SUFFIXES else {}
    if only_documents and all(files.values()) and len(files) > 1:
        raise ValueError("`output` must end in .safetensors to hold queries and documents.")
    return {name: load_vectors(file, name=name) for name, file in files.items() if file}


def _encode(texts: Texts, model: Model, only_documents: bool) -> Vectors:
    """Embeddings of a collection."""
    from mpsheads.cli.data import make_encoder, read_source
    from mpsheads.retrieval import encode_cached

    source, encoder = read_source(texts), make_encoder(model, texts)
    if only_documents and source.collection.by_neighbours:
        raise ValueError(
            f"`output` of passages alone must be a folder, or end in .safetensors with the ids, "
            f"since some passages ask: mpsheads encode {texts.dataset} --keep-vectors --output DIR."
        )
    if only_documents and encoder is not None and texts.document_vectors is None:
        documents, pool = source.collection.documents, source.pool
        ids = list(documents) if pool is None else sorted(set().union(*pool.values()))
        wanted = [documents[identifier] for identifier in ids]
        return {"documents": (encode_cached(encoder, wanted, kind="document"), ids)}
    embedded = source.embed(encoder)
    queries = {} if only_documents else {"queries": (embedded.queries, embedded.query_ids)}
    return {**queries, "documents": (embedded.documents, embedded.document_ids)}
