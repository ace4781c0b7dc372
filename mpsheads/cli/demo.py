"""`mpsheads demo`: a search of docstrings, compressed in every way that this package knows."""

import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpsheads.cli.options import RunOptions
from mpsheads.cli.output import console, print_json, table, to_json, with_interval

if TYPE_CHECKING:
    import torch

    from mpsheads.heads import ProjectionHead
    from mpsheads.retrieval import Collection, EmbeddedCollection

_MEASURE = "nDCG@10"
_MAX_LENGTH, _EPOCHS, _RATE = 128, 12, 3e-2  # few steps, on texts of the kind that is searched
_KINDS = ("mps", "reference", "dense", "pca", "truncation")
_SAMPLES, _HITS = 3, 3
_NAME_WIDTH = 35  # so that two names fit a line of 80 columns
_BATCH, _TIMED = 256, 50  # vectors in a batch that is timed, and batches


def demo(
    run: RunOptions,
    encoder: str = "minilm",
    pairs: int = 4000,
    output: Path = Path("demo-out"),
) -> None:
    """Build a search from what is installed, compress it, and compare the heads.

    The texts are the docstrings of the standard library and of the installed packages: the
    summary line is the query, the rest is the document to find. Some minutes the first time,
    seconds after that.

    [bold]Example[/bold]

    [cyan]mpsheads demo --output demo-out[/cyan]
    """
    from mpsheads.cli.data import pick_device, show_progress
    from mpsheads.retrieval import Encoder, embed

    began = time.perf_counter()
    say = _teller(began)
    device = pick_device(run.device)
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"`output` {output} is a file; it must be a folder.")
    model = Encoder(encoder, max_length=_MAX_LENGTH, device=run.device)
    sizes = _sizes(model.features)
    say("Reading docstrings of the standard library and of installed packages")
    collections = _collect(pairs, run.seed)
    counts = {split: len(collection.documents) for split, collection in collections.items()}
    say(f"  {sum(counts.values()):,}: " + ", ".join(f"{n:,} {s}" for s, n in counts.items()))
    say(f"Encoding them with {encoder}, {_MAX_LENGTH} tokens")
    embedded = {
        split: embed(collection, model, progress=show_progress())
        for split, collection in collections.items()
    }
    say(f"Training heads, {model.features} numbers to {sizes}")
    cache = _cache("heads", [_code(), model.fingerprint("document"), counts, pairs, run.seed])
    heads: dict[str, ProjectionHead | None] = {"uncompressed": None}
    for size in sizes:
        for kind in _KINDS:
            heads[f"{kind} {size}"] = _make(kind, size, embedded, run.seed, device, cache, say)
    say("Measuring on the test split")
    test = embedded["test"]
    rows = _measure(heads, test, run.seed)
    best = heads[f"mps {sizes[0]}"]
    assert best is not None
    report: dict[str, Any] = {
        "pairs": counts,
        "encoder": repr(model),
        "seconds": time.perf_counter() - began,
        "results": rows,
        "samples": _samples(test, best),
    }
    _write(report, output, best)
    print_json(report) if run.as_json else _print(report, output, best)


def _measure(
    heads: "dict[str, ProjectionHead | None]", test: "EmbeddedCollection", seed: int
) -> list[dict[str, Any]]:
    """A row for each head: its quality, and how long it takes for a vector."""
    from mpsheads.retrieval import measure_heads

    rows = measure_heads(heads, test, [_MEASURE], baseline="uncompressed", top_k=10, seed=seed)
    for row in rows:
        head = heads[row["label"]]
        row["encode_microseconds"] = None if head is None else _microseconds(head, test.documents)
    return rows


def _teller(began: float) -> Callable[[str], None]:
    """Tell on stderr what is being done, and when; stdout holds the results alone."""

    def say(text: str) -> None:
        sys.stderr.write(f"{time.perf_counter() - began:4.0f} s  {text}\n")
        sys.stderr.flush()

    return say


def _sizes(features: int) -> tuple[int, int]:
    """The two lengths of compressed vectors: a third and an eighth of the features."""
    if features % 24:
        raise ValueError(
            f"`encoder` must have a width that 24 divides, so that a third and an eighth of it are "
            f"whole; this one has {features}."
        )
    return features // 3, features // 8


def _collect(pairs: int, seed: int) -> "dict[str, Collection]":
    """The docstring collection of this environment, from the cache if that has not changed."""
    from importlib import metadata

    from mpsheads._files import replacing
    from mpsheads.retrieval import Collection, docstring_collection

    installed = sorted({f"{d.name} {d.version}" for d in metadata.distributions()})
    folder = _cache("docstrings", [installed, sys.version, pairs, seed, _code()])
    file = folder / "collections.json"
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
        return {split: Collection(**fields) for split, fields in saved.items()}
    except (OSError, ValueError, TypeError):
        collections = docstring_collection(limit=pairs, seed=seed)
    with replacing(file) as temporary:
        content = {split: vars(collection) for split, collection in collections.items()}
        temporary.write_text(json.dumps(content), encoding="utf-8")
    return collections


def _make(
    kind: str,
    size: int,
    embedded: "dict[str, EmbeddedCollection]",
    seed: int,
    device: "torch.device",
    cache: Path,
    say: Callable[[str], None],
) -> "ProjectionHead":
    """The head, fitted or trained; a run that the cache holds is finished, not repeated."""
    from mpsheads.cli.data import show_progress
    from mpsheads.heads import make_head
    from mpsheads.training import TrainingConfig, ranking_validation, train, training_data

    began, train_split = time.perf_counter(), embedded["train"]
    documents = train_split.documents
    head = make_head(
        kind, train_split.features, size, documents=documents, seed=seed, device=device
    )
    if not any(parameter.requires_grad for parameter in head.parameters()):
        return head
    data = training_data(train_split)
    config = TrainingConfig(
        epochs=_EPOCHS,
        batch_size=min(128, len(data)),
        learning_rate=_RATE if kind == "mps" else None,
        seed=seed,
    )
    folder = cache / f"{kind}-{size}"
    how = "from the cache" if (folder / "model.safetensors").is_file() else ""
    result = train(
        head,
        data,
        config,
        folder,
        validation=ranking_validation(embedded["dev"], _MEASURE),
        resume=True,
        progress=show_progress(),
        device=device,
    )
    how = how or f"in {time.perf_counter() - began:.0f} s"
    score = f"nDCG@10 {result.best_validation:.3f} on the dev split"
    say(f"  {kind} {size}: {head.num_parameters:,} parameters, {score}, {how}")
    return result.model


def _microseconds(head: "ProjectionHead", vectors: "torch.Tensor") -> float:
    """Time of the head's forward pass per vector, on one thread: the median over batches of 256."""
    import statistics

    import torch

    from mpsheads._threads import torch_threads

    like = next(iter([*head.parameters(), *head.buffers()]), vectors)
    batch = vectors[torch.arange(_BATCH) % len(vectors)].to(like.device)
    seconds = []
    with torch.no_grad(), torch_threads(1):
        for _ in range(_TIMED + 5):
            began = time.perf_counter()
            head(batch)
            if like.is_cuda:
                torch.cuda.synchronize(like.device)
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[5:]) / _BATCH * 1e6


def _cache(what: str, state: Any) -> Path:
    """A folder of the cache that belongs to one state of everything that decides its content."""
    from mpsheads.retrieval import default_cache_dir

    digest = hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16]
    return default_cache_dir() / "demo" / f"{what}-{digest}"


def _code() -> str:
    """A hash of the sources that decide what is collected and trained."""
    root = Path(__file__).parents[1]
    rooms = ("retrieval", "training", "heads", "similarity", "mps")
    files = sorted([*root.glob("*.py"), *(f for room in rooms for f in (root / room).glob("*.py"))])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _samples(test: "EmbeddedCollection", head: "ProjectionHead") -> list[dict[str, Any]]:
    """The first queries of the test split, with what is found before and after compression."""
    few = test.only(test.query_ids[:_SAMPLES])
    before, after = (few.rank(h, top_k=_HITS) for h in (None, head))
    return [
        {
            "query": few.collection.queries[query_id],
            "relevant": next(iter(few.qrels[query_id])),
            "before": list(before[query_id]),
            "after": list(after[query_id]),
        }
        for query_id in few.query_ids
    ]


def _write(report: dict[str, Any], output: Path, head: "ProjectionHead") -> None:
    from mpsheads._files import replacing
    from mpsheads.plotting import quality_points, quality_vs_bytes

    output.mkdir(parents=True, exist_ok=True)
    head.save_pretrained(output / f"{head.name}-{head.out_features}")
    count = f"{report['pairs']['test']:,}"
    subtitle = f"{count} summary lines, each to find the docstring it is from among {count}"
    points = quality_points(report["results"], _MEASURE)
    quality_vs_bytes(points, output / "quality_vs_bytes.png", subtitle=subtitle)
    with replacing(output / "results.json") as file:
        file.write_text(to_json(report), encoding="utf-8")


def _print(report: dict[str, Any], output: Path, head: "ProjectionHead") -> None:
    out, cells = console(), []
    for row in report["results"]:
        if row["head"] == _KINDS[0]:
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
    columns = [f"{4 * head.in_features:,} bytes", f"{head.bytes_per_vector:,} bytes"]
    for sample in report["samples"]:
        out.print(sample["query"], markup=False, style="bold")
        hits = [[_hit(sample, w, place) for w in ("before", "after")] for place in range(_HITS)]
        out.print(table(columns, hits, left=2))
    out.print("[green]✓[/green] the docstring that the query is from\n")
    out.print(
        f"Written to {output}: results.json, quality_vs_bytes.png, and the head "
        f"{head.name}-{head.out_features}, which `{type(head).__name__}.from_pretrained` reads."
    )


def _hit(sample: dict[str, Any], when: str, place: int) -> str:
    """A document by its name, cut on the left if long, and whether it is the right one."""
    name = sample[when][place] if place < len(sample[when]) else ""
    shown = name if len(name) <= _NAME_WIDTH else f"..{name[2 - _NAME_WIDTH :]}"
    return f"[green]✓ {shown}[/green]" if name == sample["relevant"] else f"  {shown}"
