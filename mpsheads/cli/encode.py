"""`mpsheads encode`: texts, or vectors, to embeddings or to compressed vectors in a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mpsheads.cli import options
from mpsheads.cli.data import Texts
from mpsheads.cli.options import option
from mpsheads.cli.output import console, print_json

if TYPE_CHECKING:
    from torch import Tensor

    from mpsheads.retrieval import Collection, Encoder, Pool

_SUFFIXES = (".npy", ".safetensors")
_OUTPUT = "A .safetensors file gets queries and documents with their ids; a .npy file documents."
Vectors = Mapping[str, "tuple[Tensor, list[str] | None]"]
"""Name, "queries" or "documents", to vectors and ids."""


def encode(
    output: Annotated[Path, option(_OUTPUT, metavar="FILE")],
    head: Annotated[str | None, option(options.HEAD, "Head", "FOLDER|KIND")] = None,
    dataset: options.Dataset = None,
    split: options.Split = None,
    pool: options.Pool = None,
    query_vectors: options.QueryVectors = None,
    document_vectors: options.DocumentVectors = None,
    encoder: options.EncoderName = "minilm",
    max_length: options.MaxLength = 256,
    pooling: options.Pooling = "mean",
    query_prefix: options.QueryPrefix = "",
    document_prefix: options.DocumentPrefix = "",
    device: options.Device = None,
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    """Encode a collection, and compress it if a head is given.

    The dataset may also be a file of vectors, .npy or .safetensors, which is then compressed; or
    give --document-vectors alone.

    [bold]Examples[/bold]

    [cyan]mpsheads encode --dataset nfcorpus --split test --output nfcorpus.safetensors[/cyan]

    [cyan]mpsheads encode --dataset vectors.npy --head trained-head --output small.npy[/cyan]
    """
    from mpsheads.cli.data import make_encoder, pick_device, read_collection
    from mpsheads.heads import compress_vectors, make_head
    from mpsheads.retrieval import save_vectors

    where = pick_device(device)
    if output.suffix not in _SUFFIXES:
        raise ValueError(f"`output` {str(output)!r} must end in .npy or .safetensors.")
    texts = Texts(dataset, split, pool, query_vectors, document_vectors)
    only_documents = output.suffix == ".npy"
    vectors = _read(texts, only_documents)
    if not vectors:
        collection, candidates = read_collection(texts)
        model = make_encoder(
            texts, device, encoder, max_length, pooling, query_prefix, document_prefix
        )
        vectors = _encode(texts, model, collection, candidates, only_documents)
    widths = {name: tensor.shape[1] for name, (tensor, _) in vectors.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"Queries and documents must be of one width, got {widths}.")
    made, words = None, "uncompressed"
    if head is not None:
        x = vectors.get("documents", next(iter(vectors.values())))[0]
        made = make_head(head, x.shape[1], documents=x, seed=seed, device=where)
        words = f"from the {made.name} head"
    compressed = {name: compress_vectors(made, x).cpu() for name, (x, _) in vectors.items()}
    ids = {name: ids for name, (_, ids) in vectors.items() if ids is not None}
    save_vectors(output, ids={} if only_documents else ids, **compressed)
    if as_json:
        shapes = {name: list(tensor.shape) for name, tensor in compressed.items()}
        size = output.stat().st_size
        print_json({"output": str(output), "head": head, **shapes, "bytes": size})
        return
    for name, tensor in compressed.items():
        count, numbers = tensor.shape
        size = numbers * tensor.element_size()
        console().print(f"{count:,} {name}: {numbers} numbers, {size:,} bytes each, {words}")
    console().print(f"written to {output}")


def _read(texts: Texts, only_documents: bool) -> Vectors:
    """The vectors of files; none if there are texts to encode."""
    from mpsheads.retrieval import load_vectors

    files = {"queries": texts.query_vectors, "documents": texts.document_vectors}
    if texts.dataset is not None:
        file = Path(texts.dataset)
        files = {"documents": file if file.suffix in _SUFFIXES else None}
    if only_documents and all(files.values()) and len(files) > 1:
        raise ValueError("`output` must end in .safetensors to hold queries and documents.")
    return {name: load_vectors(file, name=name) for name, file in files.items() if file}


def _encode(
    texts: Texts,
    encoder: "Encoder | None",
    collection: "Collection",
    pool: "Pool | None",
    only_documents: bool,
) -> Vectors:
    """Embeddings of a collection."""
    from mpsheads.cli.data import embed_texts
    from mpsheads.retrieval import encode_cached

    if only_documents and encoder is not None and texts.document_vectors is None:
        ids = list(collection.documents) if pool is None else sorted(set().union(*pool.values()))
        wanted = [collection.documents[identifier] for identifier in ids]
        return {"documents": (encode_cached(encoder, wanted, kind="document"), ids)}
    embedded = embed_texts(texts, encoder, collection, pool)
    queries = {} if only_documents else {"queries": (embedded.queries, embedded.query_ids)}
    return {**queries, "documents": (embedded.documents, embedded.document_ids)}
