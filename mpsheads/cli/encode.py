"""`mpsheads encode`: texts, or vectors, to embeddings or to compressed vectors in a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mpsheads.cli.options import DataOptions, RunOptions, ShapeOptions
from mpsheads.cli.output import console, print_json

if TYPE_CHECKING:
    from torch import Tensor

_SUFFIXES = (".npy", ".safetensors")
Vectors = Mapping[str, "tuple[Tensor, list[str] | None]"]
"""Name, "queries" or "documents", to vectors and ids."""


def encode(
    data: DataOptions,
    shape: ShapeOptions,
    run: RunOptions,
    output: Path,
    head: str | None = None,
) -> None:
    """Encode a collection, and compress it if a head is given.

    The dataset may also be a file of vectors, .npy or .safetensors, which is then compressed; or
    give --document-vectors alone.

    [bold]Examples[/bold]

    [cyan]mpsheads encode --dataset nfcorpus --split test --output nfcorpus.safetensors[/cyan]

    [cyan]mpsheads encode --dataset vectors.npy --head trained-head --output small.npy[/cyan]
    """
    from mpsheads.cli.data import head_from, pick_device
    from mpsheads.heads import compress_vectors
    from mpsheads.retrieval import save_vectors

    device = pick_device(run.device)
    if output.suffix not in _SUFFIXES:
        raise ValueError(f"`output` {str(output)!r} must end in .npy or .safetensors.")
    vectors = _read_or_encode(data, run.device, only_documents=output.suffix == ".npy")
    widths = {name: tensor.shape[1] for name, (tensor, _) in vectors.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"Queries and documents must be of one width, got {widths}.")
    made, words = None, "uncompressed"
    if head is not None:
        documents = vectors.get("documents", next(iter(vectors.values())))[0]
        made = head_from(head, documents.shape[1], shape, run.seed, device, documents)
        words = f"from the {made.name} head"
    compressed = {name: compress_vectors(made, x).cpu() for name, (x, _) in vectors.items()}
    ids = {name: ids for name, (_, ids) in vectors.items() if ids is not None}
    save_vectors(output, ids={} if output.suffix == ".npy" else ids, **compressed)
    if run.as_json:
        shapes = {name: list(tensor.shape) for name, tensor in compressed.items()}
        size = output.stat().st_size
        print_json({"output": str(output), "head": head, **shapes, "bytes": size})
        return
    for name, tensor in compressed.items():
        count, numbers = tensor.shape
        size = numbers * tensor.element_size()
        console().print(f"{count:,} {name}: {numbers} numbers, {size:,} bytes each, {words}")
    console().print(f"written to {output}")


def _read_or_encode(data: DataOptions, device: str | None, *, only_documents: bool) -> Vectors:
    """The vectors to compress."""
    from mpsheads.cli.data import embed_collection, make_encoder, read_collection
    from mpsheads.retrieval import encode_cached, load_vectors

    if data.dataset is not None and Path(data.dataset).suffix in _SUFFIXES:
        return _read(Path(data.dataset), only_documents=only_documents)
    if data.dataset is None and (data.document_vectors or data.query_vectors):
        files = {"queries": data.query_vectors, "documents": data.document_vectors}
        if only_documents and all(files.values()):
            raise ValueError("`output` must end in .safetensors to hold queries and documents.")
        return {name: load_vectors(path, name=name) for name, path in files.items() if path}
    collection, pool = read_collection(data)
    encoder = make_encoder(data, device)
    if only_documents and encoder is not None and data.document_vectors is None:
        ids = list(collection.documents) if pool is None else sorted(set().union(*pool.values()))
        texts = [collection.documents[identifier] for identifier in ids]
        return {"documents": (encode_cached(encoder, texts, kind="document"), ids)}
    embedded = embed_collection(data, encoder, collection, pool)
    queries = {} if only_documents else {"queries": (embedded.queries, embedded.query_ids)}
    return {**queries, "documents": (embedded.documents, embedded.document_ids)}


def _read(file: Path, *, only_documents: bool) -> Vectors:
    """The tensors called "queries" and "documents", or else the only one in the file."""
    from safetensors import SafetensorError, safe_open

    from mpsheads.retrieval import load_vectors

    names: list[str] = []
    if file.suffix == ".safetensors" and file.is_file() and file.stat().st_size:
        try:
            with safe_open(file, framework="pt") as opened:
                held = set(opened.keys())
        except SafetensorError:
            held = set()  # `load_vectors` says what is wrong
        wanted = ["documents"] if only_documents else ["queries", "documents"]
        names = [name for name in wanted if name in held]
    return {name: load_vectors(file, name=name) for name in names or ["documents"]}
