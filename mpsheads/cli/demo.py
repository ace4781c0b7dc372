"""`mpsheads demo`: a search of docstrings, compressed in every way that this package knows."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch

from mpsheads._files import replacing
from mpsheads.cli import demo_steps
from mpsheads.cli.options import ENCODER, RUN, RunOptions, option
from mpsheads.cli.output import console, print_json, table, with_interval
from mpsheads.cli.scores import Row, measure_heads, rank_compressed
from mpsheads.cli.sources import Embedded, pick_device
from mpsheads.cli.threads import ParallelEncoder
from mpsheads.heads import ProjectionHead
from mpsheads.plotting import quality_vs_bytes
from mpsheads.retrieval import Collection

_MEASURE = "nDCG@10"
_SAMPLES, _HITS = 3, 3
_NAME_WIDTH = 35  # so that two names fit a line of 80 columns


def demo(
    run: RunOptions,
    encoder: Annotated[
        str,
        option(ENCODER, "minilm, a model's folder, or a name on the Hugging Face hub.", "MODEL"),
    ] = "minilm",
    pairs: Annotated[int, option(RUN, "Most docstrings, over all splits.")] = 4000,
    output: Annotated[Path, option(RUN, "Folder of results, picture and head.", "FOLDER")] = Path(
        "demo-out"
    ),
) -> None:
    """Build a search from what is installed, compress it, and compare the heads.

    The texts are the docstrings of the standard library and of the installed packages: the
    summary line is the query, the rest is the document to find. Some minutes the first time,
    seconds after that.

    [bold]Example[/bold]

    [cyan]mpsheads demo --output demo-out[/cyan]
    """
    began = time.perf_counter()
    say = _teller(began)
    device = pick_device(run.device)
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"`output` {output} is a file; it must be a folder.")
    model = ParallelEncoder(encoder, max_length=demo_steps.MAX_LENGTH, device=run.device)
    demo_steps.sizes(model.features)
    say("Reading docstrings of the standard library and of installed packages")
    collections = demo_steps.collect(pairs, run.seed)
    counts = {split: len(collection.documents) for split, collection in collections.items()}
    say(f"  {sum(counts.values()):,}: " + ", ".join(f"{n:,} {s}" for s, n in counts.items()))
    say(f"Encoding them with {encoder}, {demo_steps.MAX_LENGTH} tokens")
    material = demo_steps.embed(collections, model)
    say(f"Training heads, {model.features} numbers to {demo_steps.sizes(model.features)}")
    heads = demo_steps.make_heads(material, run.seed, device, say)
    say("Measuring on the test split")
    test, judged = material.embedded["test"], collections["test"]
    rows = measure_heads(
        heads, test, judged.qrels, [_MEASURE], baseline="uncompressed", top_k=10, seed=run.seed
    )
    for row in rows:
        head = heads[row["label"]]
        row["encode_microseconds"] = (
            None if head is None else demo_steps.encode_microseconds(head, test.documents)
        )
    best = heads[f"mps {demo_steps.sizes(model.features)[0]}"]
    assert best is not None
    report: dict[str, Any] = {
        "pairs": counts,
        "encoder": repr(model),
        "threads": torch.get_num_threads(),
        "seconds": time.perf_counter() - began,
        "results": rows,
        "samples": _samples(judged, test, best),
    }
    _write(report, output, best)
    if run.as_json:
        print_json(report)
    else:
        _print(report, judged, output, best)


def _teller(began: float) -> Callable[[str], None]:
    """Tell on stderr what is being done, and when; stdout holds the results alone."""

    def say(text: str) -> None:
        sys.stderr.write(f"{time.perf_counter() - began:4.0f} s  {text}\n")
        sys.stderr.flush()

    return say


def _samples(collection: Collection, test: Embedded, head: ProjectionHead) -> list[dict[str, Any]]:
    """The first queries of the test split, with what is found before and after compression."""
    few = Embedded(test.query_ids[:_SAMPLES], test.queries[:_SAMPLES], test.doc_ids, test.documents)
    before, after = (rank_compressed(h, few, None, _HITS) for h in (None, head))
    return [
        {
            "query": collection.queries[query_id],
            "relevant": next(iter(collection.qrels[query_id])),
            "before": list(before[query_id]),
            "after": list(after[query_id]),
        }
        for query_id in few.query_ids
    ]


def _write(report: dict[str, Any], output: Path, head: ProjectionHead) -> None:
    output.mkdir(parents=True, exist_ok=True)
    head.save_pretrained(output / f"{head.name}-{head.out_features}")
    count = f"{report['pairs']['test']:,}"
    subtitle = f"{count} summary lines, each to find the docstring it is from among {count}"
    quality_vs_bytes(report["results"], output / "quality_vs_bytes.png", subtitle=subtitle)
    with replacing(output / "results.json") as file:
        file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _print(
    report: dict[str, Any], collection: Collection, output: Path, head: ProjectionHead
) -> None:
    out = console()
    out.print(_table(report["results"]))
    out.print(
        f"Brackets: 95% bootstrap intervals over {report['pairs']['test']:,} queries. Encoding: "
        f"the head alone, batches of 256, one thread. {report['seconds']:.0f} s in all.\n"
    )
    for sample in report["samples"]:
        out.print(f"[bold]{_escaped(sample['query'])}[/bold]")
        hits = [
            [_hit(sample, "before", place), _hit(sample, "after", place)] for place in range(_HITS)
        ]
        columns = [f"{4 * head.in_features:,} bytes", f"{head.bytes_per_vector:,} bytes"]
        out.print(table(columns, hits, left=2))
    out.print("[green]✓[/green] the docstring that the query is from\n")
    out.print(
        f"Written to {output}: results.json, quality_vs_bytes.png, and the head "
        f"{head.name}-{head.out_features}, which `{type(head).__name__}.from_pretrained` reads."
    )


def _hit(sample: dict[str, Any], when: str, place: int) -> str:
    """A document found, its name cut on the left if it is long, and whether it is the right one."""
    found = sample[when][place] if place < len(sample[when]) else ""
    shown = found if len(found) <= _NAME_WIDTH else f"..{found[2 - _NAME_WIDTH :]}"
    return f"[green]✓ {shown}[/green]" if found == sample["relevant"] else f"  {shown}"


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")


def _table(rows: list[Row]) -> Any:
    cells: list[list[str]] = []
    for row in rows:
        if cells and row["head"] == rows[1]["head"]:
            cells.append([])  # a line before each size
        micro = row["encode_microseconds"]
        cells.append(
            [
                row["label"],
                f"{row['parameters']:,}",
                f"{row['bytes_per_vector']:,}",
                with_interval(row["measures"][_MEASURE]),
                "–" if micro is None else f"{micro:.2f}",
            ]
        )
    columns = ["head", "parameters", "bytes a vector", f"{_MEASURE} [95%]", "encode µs"]
    return table([name.replace("[", "\\[") for name in columns], cells)
