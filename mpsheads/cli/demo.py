"""`mpsheads demo`: a search of docstrings, compressed in every way that this package knows."""

import hashlib
import json
import statistics
import sys
import time
import timeit
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mpsheads.cli import options
from mpsheads.cli.options import option
from mpsheads.cli.output import console, print_json, table, to_json, with_interval

if TYPE_CHECKING:
    import torch

    from mpsheads.heads import ProjectionHead
    from mpsheads.retrieval import EmbeddedCollection, Encoder

_MEASURE = "nDCG@10"
_MAX_LENGTH = 128
_TRAINING = {"epochs": 20, "batch_size": 128}
_LARGER = {"batch_size": 256}
_FAST = {"learning_rate": 2e-2}  # few steps, on texts of the kind that is searched, bear it
_ROTATIONS = {"readout": "amplitude", "mixing": 24}
_HEADS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "mps": ("mps", {"mixing": 24}, _FAST),
    "rotations": ("mps", _ROTATIONS, _FAST),
    "full rotation": ("mps", {**_ROTATIONS, "mixing": "full"}, {}),
    "reference": ("reference", {}, {}),
    "dense": ("dense", {}, {}),
    "dense, fitted": ("dense", {"start": "pca"}, {}),
    "pca": ("pca", {}, {}),
    "truncation": ("truncation", {}, {}),
}
"""Label -> kind, its settings, and those of its training; each in two sizes."""
_BATCH, _TIMED = 256, 50  # vectors in a batch that is timed, and batches


def demo(
    encoder: options.EncoderName = "minilm",
    pairs: Annotated[int, option("Most docstrings, over all splits.")] = 4000,
    output: Annotated[
        Path, option("Folder of results, picture and head.", metavar="FOLDER")
    ] = Path("demo-out"),
    device: options.Device = None,
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    """Build a search from what is installed, compress it, and compare the heads.

    The texts are the docstrings of the standard library and of the installed packages: the
    summary line is the query, the rest is the document to find. What is encoded and trained is
    kept in the cache: some minutes the first time, half a minute after that.

    [bold]Example[/bold]

    [cyan]mpsheads demo --output demo-out[/cyan]
    """
    from mpsheads.cli.data import pick_device, show_progress
    from mpsheads.retrieval import Encoder, docstring_collection, embed, measure_heads

    began, where = time.perf_counter(), pick_device(device)
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"`output` {output} is a file; it must be a folder.")
    model = Encoder(encoder, max_length=_MAX_LENGTH, device=device)
    if model.features % 24:
        raise ValueError(
            f"`encoder` must have a width that 24 divides, so that a third and an eighth of it are "
            f"whole; this one has {model.features}."
        )
    _say(began, "Reading docstrings of the standard library and of installed packages")
    cache = _cache(model.fingerprint("document"), pairs, seed)
    collections = docstring_collection(limit=pairs, seed=seed)
    counts = {split: len(collection.documents) for split, collection in collections.items()}
    _say(began, f"Encoding them with {encoder}: {counts}")
    embedded = {
        split: embed(collection, model, progress=show_progress())
        for split, collection in collections.items()
    }
    heads: dict[str, Any] = {"uncompressed": None}
    for label, how in _wanted(model.features).items():
        _say(began, f"Training or fitting {label}")
        heads[label] = _make(*how, embedded, seed, where, cache / label.replace(" ", "-"))
    _say(began, "Measuring on the test split")
    test, best = embedded["test"], heads[f"mps {model.features // 3}"]
    best = heads.get(f"codes, {model.features // 6} bytes", best)
    rows = measure_heads(heads, test, [_MEASURE], baseline="uncompressed", top_k=10, seed=seed)
    for row, head in zip(rows, heads.values(), strict=True):
        row["encode_microseconds"] = head and _microseconds(head, test.documents)
        row["method"] = row["label"].removesuffix(" bytes").rpartition(" ")[0].removesuffix(",")
    report = {"pairs": counts, "encoder": repr(model), "seconds": time.perf_counter() - began}
    report["results"] = rows
    _write(report, output, best, test, model)
    print_json(report) if as_json else _print(report, output, best)


def _wanted(features: int) -> dict[str, tuple[int, str, dict[str, Any], dict[str, Any]]]:
    """Label -> size, kind, settings and training of each head."""
    heads = {
        f"{label} {size}": (size, *how)
        for size in (features // 3, features // 8)
        for label, how in _HEADS.items()
    }
    for size in (size for size in (features // 6, features // 12, features // 24) if size >= 8):
        heads[f"codes, {size} bytes"] = (size, "codes", {}, _LARGER)
    return heads


def _say(began: float, text: str) -> None:
    """Tell on stderr what is being done, and when; stdout holds the results alone."""
    sys.stderr.write(f"{time.perf_counter() - began:4.0f} s  {text}\n")
    sys.stderr.flush()


def _cache(*state: Any) -> Path:
    """A folder of the cache that belongs to one state of all that decides results."""
    from importlib import metadata

    from mpsheads.retrieval import default_cache_dir

    installed = sorted({f"{d.name} {d.version}" for d in metadata.distributions()})
    code = hashlib.sha256()
    for file in sorted(Path(__file__).parents[1].rglob("*.py")):
        code.update(file.read_bytes())
    text = json.dumps([installed, sys.version, code.hexdigest(), state])
    return default_cache_dir() / "demo" / hashlib.sha256(text.encode()).hexdigest()[:16]


def _make(
    size: int,
    kind: str,
    settings: dict[str, Any],
    training: dict[str, Any],
    embedded: "dict[str, EmbeddedCollection]",
    seed: int,
    device: "torch.device",
    folder: Path,
) -> "ProjectionHead":
    """The head, fitted or trained; a run that the cache holds is finished, not repeated."""
    from mpsheads.cli.data import show_progress
    from mpsheads.heads import make_head
    from mpsheads.training import TrainingConfig, ranking_validation, train, training_data

    data = training_data(embedded["train"])
    features = embedded["train"].features
    settings = {**settings, **data.paired(), "seed": seed, "device": device}
    head = make_head(kind, features, size, **settings)
    if not any(parameter.requires_grad for parameter in head.parameters()):
        return head
    config: dict[str, Any] = {**_TRAINING, **training, "seed": seed}
    return train(
        head,
        data,
        TrainingConfig(**config),
        folder,
        validation=ranking_validation(embedded["dev"], _MEASURE),
        resume=True,
        progress=show_progress(),
        device=device,
    ).model


def _microseconds(head: "ProjectionHead", vectors: "torch.Tensor") -> float:
    """Time of the frozen head per vector, on one thread: the median over batches of 256."""
    import torch

    from mpsheads._threads import torch_threads
    from mpsheads.heads import MPSProjectionHead, freeze

    like = next(iter([*head.parameters(), *head.buffers()]), vectors)
    ready = freeze(head) if isinstance(head, MPSProjectionHead) else head
    batch = vectors[torch.arange(_BATCH) % len(vectors)].to(like.device)
    with torch.no_grad(), torch_threads(1):
        seconds = timeit.repeat(lambda: ready(batch).cpu(), number=1, repeat=_TIMED + 5)
    return statistics.median(seconds[5:]) / _BATCH * 1e6


def _write(
    report: dict[str, Any],
    output: Path,
    head: "ProjectionHead",
    test: "EmbeddedCollection",
    encoder: "Encoder",
) -> None:
    """Results, picture, head, and an index of the documents of the test split."""
    from mpsheads._files import replacing
    from mpsheads.plotting import quality_points, quality_vs_bytes
    from mpsheads.search import Index, codes_of

    head.save_pretrained(output / f"mps-{head.bytes_per_vector}-bytes")
    count = f"{report['pairs']['test']:,}"
    subtitle = f"{count} summary lines, each to find the docstring it is from among {count}"
    points = quality_points(report["results"], _MEASURE)
    quality_vs_bytes(points, output / "quality_vs_bytes.png", subtitle=subtitle)
    with replacing(output / "results.json") as file:
        file.write_text(to_json(report), encoding="utf-8")
    codes = codes_of(head, test.documents)
    index = Index.build(codes, head, ids=test.document_ids, texts=test.texts("documents"))
    index.encoder = {**encoder.settings, "fingerprint": encoder.fingerprint()}
    index.save(output / "index")


def _print(report: dict[str, Any], output: Path, head: "ProjectionHead") -> None:
    out, cells, group = console(), [], "uncompressed"
    for row in report["results"]:
        before, group = group, row["label"].split()[-1]  # a size, or "bytes"
        if group != before:
            cells.append([])  # a line before each size
        micro = row["encode_microseconds"]
        numbers = (f"{row[name]:,}" for name in ("parameters", "bytes_per_vector"))
        mean = with_interval(row["measures"][_MEASURE])
        cells.append([row["label"], *numbers, mean, "–" if micro is None else f"{micro:.2f}"])
    columns = ["head", "parameters", "bytes a vector", rf"{_MEASURE} \[95%]", "encode µs"]
    out.print(table(columns, cells))
    out.print(
        f"Brackets: 95% bootstrap intervals over {report['pairs']['test']:,} queries. Encoding: "
        f"the head alone, batches of {_BATCH}, one thread. {report['seconds']:.0f} s in all.\n"
    )
    name = f"mps-{head.bytes_per_vector}-bytes"
    out.print(
        f"Written to {output}: results.json, quality_vs_bytes.png, and the head {name}, which "
        f"`{type(head).__name__}.from_pretrained` reads."
    )
    out.print(f'Now try: mpsheads search {output / "index"} "read a file line by line"')
