"""`mpsheads info`: what is installed, what the machine can do, and what a saved head is."""

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mpsheads.cli import options
from mpsheads.cli.options import Model, Texts, option, typer
from mpsheads.cli.output import console, print_json, table

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from mpsheads.heads import ProjectionHead

_FIGURES = "Draw into this folder what the head makes of documents."
_TEXTS = 256  # documents whose states are computed


def info(
    model: Model,
    path: Annotated[
        str | None, typer.Argument(help="Folder of a saved head.", metavar="PATH")
    ] = None,
    figures: Annotated[Path | None, option(_FIGURES, metavar="FOLDER")] = None,
    dataset: options.Dataset = None,
    document_vectors: options.DocumentVectors = None,
    as_json: options.AsJson = False,
) -> None:
    """Show versions, the device and the cache; or what a saved head is, and what it does to texts.

    The figures show entanglement and outputs for the documents of a dataset, or of a file.

    [bold]Examples[/bold]

    [cyan]mpsheads info demo-out/mps-64-bytes[/cyan]

    [cyan]mpsheads info trained-head --dataset nfcorpus --figures figures[/cyan]
    """
    from mpsheads.cli.data import pick_device
    from mpsheads.heads import load_head

    where = pick_device(model.device)
    texts = dataset or document_vectors
    if (figures or texts) and not (path and figures and texts):
        rule = "`figures` needs `path` and texts, which are for it alone"
        raise ValueError(f"{rule}: `dataset` or `document_vectors`.")
    report = _machine(where)
    if path is not None:
        head = load_head(path, device=where)
        report["head"] = _describe(head, path)
        if figures is not None:
            x = _documents(model, dataset, document_vectors)
            name = str(document_vectors or dataset)
            report["head"]["figures"] = _draw(head, x, figures, name)
    print_json(report) if as_json else _print(report)


def _documents(model: Model, dataset: str | None, vectors: Path | None) -> "Tensor":
    """Embeddings of all documents of a collection, or of a file."""
    from mpsheads.cli.data import make_encoder, read_source, show_progress
    from mpsheads.retrieval import encode_cached, load_vectors

    if vectors is not None:
        return load_vectors(vectors, name="documents")[0]
    texts = list(read_source(Texts(dataset)).collection.documents.values())
    encoder: Any = make_encoder(model)
    return encode_cached(encoder, texts, kind="document", progress=show_progress())


def _machine(device: "torch.device") -> dict[str, Any]:
    import torch

    import mpsheads
    from mpsheads.retrieval import default_cache_dir

    return {
        "mpsheads": mpsheads.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
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
        "bytes_by_bits": (
            {head.config["bits"]: head.bytes_per_vector}
            if head.config.get("bits")
            else {bits: head_size_in_bytes(head, bits) for bits in (32, 8, 4, 2, 1)}
        ),
        "config": head.config,
        "root_mean_squares": {
            name: float(values.detach().double().square().mean().sqrt())
            for name, values in head.named_parameters()
            if values.numel()
        },
    }


def _draw(head: "ProjectionHead", documents: "Tensor", folder: Path, name: str) -> list[str]:
    """Draw outputs, and entanglement if the head has states; the paths of the pictures."""
    import torch

    from mpsheads import plotting
    from mpsheads.heads import MPSProjectionHead, compress_vectors

    subtitle = f"{head.name} head, {head.in_features} to {head.out_features} numbers; {name}"
    z = compress_vectors(head, documents)
    written = [plotting.angle_histogram(z, folder / "angles.png", subtitle=subtitle)]
    if isinstance(head, MPSProjectionHead):
        order = torch.randperm(len(documents), generator=torch.Generator().manual_seed(0))
        vectors = documents[order[:_TEXTS]].to(head.angles)
        with torch.no_grad():
            profile = plotting.entropy_profile(head.state(part) for part in vectors.split(32))
        if profile.limits.any():  # else no bond can carry entanglement
            file = folder / "entanglement.png"
            written.append(plotting.draw_entropies(profile, file, subtitle=subtitle))
    return [str(path) for path in written]


def _print(report: dict[str, Any]) -> None:
    out = console()
    if "head" not in report:
        rows = [[name, str(value)] for name, value in report.items()]
        out.print(table(["mpsheads", ""], rows, left=2))
        return
    head = report["head"]
    out.print(head["description"], soft_wrap=True)
    squares = head["root_mean_squares"].items()
    rows = [[name, f"root mean square {value:.3g}"] for name, value in squares]
    out.print(table(["parameters", ""], rows, left=2))
    if "figures" in head:
        out.print(f"written: {', '.join(head['figures'])}")
