"""`mpsheads encode`: texts, or vectors, to embeddings or to compressed vectors in a file."""

from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from mpsheads.cli.heads import compress, fit, make_head
from mpsheads.cli.options import RUN, DataOptions, Head, RunOptions, ShapeOptions, option
from mpsheads.cli.output import console, print_json
from mpsheads.cli.sources import Source, pick_device
from mpsheads.heads import ProjectionHead
from mpsheads.retrieval import load_vectors, save_vectors

_SUFFIXES = (".npy", ".safetensors")
_NAMES = ("queries", "documents")
Vectors = dict[str, tuple[Tensor, list[str] | None]]
"""Name, "queries" or "documents", to vectors and ids."""


def encode(
    data: DataOptions,
    shape: ShapeOptions,
    run: RunOptions,
    output: Annotated[
        Path,
        option(
            RUN,
            "A .safetensors file gets queries and documents with their ids; a .npy file the "
            "documents alone.",
            "FILE",
        ),
    ],
    head: Head = None,
) -> None:
    """Encode a collection, and compress it if a head is given.

    The dataset may also be a file of vectors, .npy or .safetensors, which is then compressed; or
    give --document-vectors alone.

    [bold]Examples[/bold]

    [cyan]mpsheads encode --dataset nfcorpus --split test --output nfcorpus.safetensors[/cyan]

    [cyan]mpsheads encode --dataset vectors.npy --head trained-head --output small.npy[/cyan]
    """
    device = pick_device(run.device)
    if output.suffix not in _SUFFIXES:
        raise ValueError(f"`output` {str(output)!r} must end in .npy or .safetensors.")
    vectors, features = _read_or_encode(data, run.device, output)
    made = None
    if head is not None:
        made = make_head(head, features, shape, run.seed, device)
        fit(made, head, vectors.get("documents", next(iter(vectors.values())))[0])
    compressed = {name: compress(made, tensor).cpu() for name, (tensor, _) in vectors.items()}
    ids = {name: ids for name, (_, ids) in vectors.items() if ids is not None}
    if output.suffix == ".npy":
        ids = {}
    save_vectors(output, ids=ids, **compressed)
    report = {
        "output": str(output),
        "head": head,
        **{name: list(tensor.shape) for name, tensor in compressed.items()},
        "bytes": output.stat().st_size,
    }
    if run.as_json:
        print_json(report)
    else:
        _print(report, compressed, made)


def _read_or_encode(data: DataOptions, device: str | None, output: Path) -> tuple[Vectors, int]:
    """The vectors to compress, and their width."""
    file = None if data.dataset is None else Path(data.dataset)
    only_documents = output.suffix == ".npy"
    vectors: Vectors = {}
    if file is not None and file.suffix in _SUFFIXES:
        names = ("documents",) if only_documents else _NAMES
        vectors = _read(file, names)
    elif file is None and (data.document_vectors or data.query_vectors):
        files = {"queries": data.query_vectors, "documents": data.document_vectors}
        given = {name: path for name, path in files.items() if path is not None}
        vectors = {name: load_vectors(path, name=name) for name, path in given.items()}
        if only_documents and len(vectors) > 1:
            raise ValueError("`output` must end in .safetensors to hold queries and documents.")
    else:
        vectors = _encode(Source(data, device), only_documents=only_documents)
    widths = {name: tensor.shape[1] for name, (tensor, _) in vectors.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"Queries and documents must be of one width, got {widths}.")
    return vectors, next(iter(widths.values()))


def _encode(source: Source, *, only_documents: bool) -> Vectors:
    if only_documents:
        return {"documents": (source.embed_documents(), source.pool_ids)}
    embedded = source.embed()
    return {
        "queries": (embedded.queries, embedded.query_ids),
        "documents": (embedded.documents, embedded.doc_ids),
    }


def _read(file: Path, names: tuple[str, ...]) -> Vectors:
    """The tensors called "queries" and "documents", or else the only one there is."""
    if file.suffix == ".safetensors" and file.is_file() and file.stat().st_size:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(file, framework="pt") as opened:
                there = [name for name in names if name in set(opened.keys())]
        except SafetensorError:
            there = []  # `load_vectors` says what is wrong
        if there:
            return {name: load_vectors(file, name=name) for name in there}
    return {"documents": load_vectors(file, name="documents")}


def _print(
    report: dict[str, object], vectors: dict[str, Tensor], head: ProjectionHead | None
) -> None:
    out = console()
    for name, tensor in vectors.items():
        size = tensor.shape[1] * torch.finfo(tensor.dtype).bits // 8
        kind = "uncompressed" if head is None else f"from the {head.name} head"
        out.print(
            f"{tensor.shape[0]:,} {name}: {tensor.shape[1]} numbers, {size:,} bytes each, {kind}"
        )
    out.print(f"written to {report['output']}")
