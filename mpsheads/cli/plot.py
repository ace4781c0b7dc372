"""`mpsheads plot`: figures of what a saved head has learned."""

import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from torch import Tensor

from mpsheads._checks import check_choice, check_positive
from mpsheads.cli import learned
from mpsheads.cli.heads import compress
from mpsheads.cli.options import RUN, DataOptions, RunOptions, argument, option
from mpsheads.cli.output import console, print_json, table, with_interval
from mpsheads.cli.scores import Row
from mpsheads.cli.sources import Embedded, Source, pick_device
from mpsheads.heads import ProjectionHead, load_head
from mpsheads.plotting import (
    EntropyProfile,
    PairDistances,
    angle_histogram,
    distance_distributions,
    entanglement_entropy,
    overview,
    quality_vs_bytes,
)
from mpsheads.retrieval import evaluate as evaluate_run
from mpsheads.retrieval import load_vectors

_FORMATS = ("png", "svg", "pdf")
_NUMBERS = "numbers.json"


def plot(
    data: DataOptions,
    run: RunOptions,
    path: Annotated[str, argument("Folder of a saved head.", "PATH")],
    output: Annotated[Path, option(RUN, "Folder of the figures.", "FOLDER")] = Path("figures"),
    file_format: Annotated[
        str, option(RUN, "Format of the figures.", "png|svg|pdf", "--format")
    ] = "png",
    texts: Annotated[int, option(RUN, "Most texts whose states are computed.")] = 256,
    measure: Annotated[
        str, option(RUN, "Measure of quality, spelled as in ir-measures.", "NAME", "--measure")
    ] = "nDCG@10",
) -> None:
    """Draw what a head has learned, on the texts of a collection.

    Five figures: entanglement, angles, distances of relevant and of other pairs before and after,
    quality by bytes, and an overview; with them the numbers that they show. What a head does not
    have is left out, and said. With --document-vectors alone, entanglement and angles are drawn.

    [bold]Example[/bold]

    [cyan]mpsheads plot trained-head --dataset nfcorpus --split test --output figures[/cyan]
    """
    check_choice("file_format", file_format, _FORMATS)
    check_positive(texts=texts)
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"`output` {output} is a file; it must be a folder.")
    head = load_head(path, device=pick_device(run.device))
    if data.dataset is None and data.document_vectors is not None:
        documents, _ = load_vectors(data.document_vectors, name="documents")
        learned.check_width(head, path, documents.shape[1])
        found = _look(head, documents, texts, run.seed)
        found.left_out["distances"] = found.left_out["quality"] = "there is no `dataset` to search"
        name = str(data.document_vectors)
    else:
        source = Source(data, run.device)
        learned.check_width(head, path, source.features)
        evaluate_run({}, source.collection.qrels, [measure])  # a misspelt one is told here
        embedded = source.embed()
        documents = embedded.documents
        found = _look(head, documents, texts, run.seed)
        _compare(found, source, embedded, measure, run.seed)
        name = source.collection.name
    report = {
        "head": path,
        "kind": head.name,
        "dataset": name,
        "documents": len(documents),
        **found.numbers(),
    }
    report["figures"] = _write(found, report, output, file_format, measure)
    if run.as_json:
        print_json(report)
    else:
        _print(report, output)


@dataclass
class _Found:
    """What is drawn.

    Attributes:
        head: The head.
        z: Its outputs for all documents.
        entanglement: Entropies of its states of some.
        discarded: Mean weight that truncation cut off these states.
        distances: Before and after compression.
        rows: Quality by bytes.
        left_out: Name of a figure -> why it is not drawn.
    """

    head: ProjectionHead
    z: Tensor
    entanglement: EntropyProfile | None = None
    discarded: float = 0.0
    distances: list[PairDistances] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def numbers(self) -> dict[str, Any]:
        """The figures as numbers."""
        report: dict[str, Any] = {"left_out": self.left_out}
        if self.entanglement is not None:
            report["entanglement"] = learned.describe_entanglement(
                self.entanglement, self.discarded
            )
        report["outputs"] = learned.describe_outputs(self.head, self.z)
        if self.distances:
            before, after = map(learned.describe_distances, self.distances)
            report["distances"] = {"before": before, "after": after}
        if self.rows:
            report["quality"] = self.rows
        return report


def _look(head: ProjectionHead, documents: Tensor, texts: int, seed: int) -> _Found:
    """What documents alone show of a head."""
    found = _Found(head, compress(head, documents))
    chosen = documents[learned.sample_rows(len(documents), texts, seed)]
    profile = learned.profile(head, chosen)
    if profile is None:
        found.left_out["entanglement"] = f"a {head.name} head has no quantum states"
    elif not profile[0].limits.any():
        found.left_out["entanglement"] = "no bond of this head can carry any"
    else:
        found.entanglement, found.discarded = profile
    return found


def _compare(found: _Found, source: Source, embedded: Embedded, measure: str, seed: int) -> None:
    """What judgments show of a head."""
    judgments = source.collection.qrels
    found.distances = learned.sample_distances(found.head, embedded, judgments, source.pool, seed)
    found.rows = learned.measure_sizes(found.head, embedded, judgments, measure, source.pool, seed)


def _write(
    found: _Found, report: dict[str, Any], output: Path, file_format: str, measure: str
) -> dict[str, str]:
    """Draw all figures, then put them into the folder; returns name -> path."""
    head, dataset = found.head, report["dataset"]
    what = f"{head.name} head, {head.in_features} to {head.out_features} numbers; {dataset}"
    name, ends = learned.outputs(head)
    widths = _listed(learned.bytes_by_bits(head))
    low, high = ends or (float(found.z.min()), float(found.z.max()))
    figures: dict[str, Callable[[Path], Path]] = {}
    if found.entanglement is not None:
        profile = found.entanglement
        texts = f"{len(profile.entropies):,} texts"
        figures["entanglement"] = lambda path: entanglement_entropy(
            profile, path, subtitle=f"{what}, {texts}"
        )
    figures["angles"] = lambda path: angle_histogram(
        found.z,
        path,
        bits=learned.code_ranges(head),
        low=low,
        high=high,
        name=name,
        subtitle=f"{what}, {len(found.z):,} texts",
    )
    if found.distances:
        figures["distances"] = lambda path: distance_distributions(
            found.distances, path, subtitle=what
        )
    if found.rows:
        figures["quality"] = lambda path: quality_vs_bytes(
            found.rows,
            path,
            measure=measure,
            subtitle=f"{dataset}; documents at {widths} bits a number",
        )
    figures["overview"] = lambda path: overview(
        path,
        states=found.entanglement,
        z=found.z,
        output_range=ends,
        distances=found.distances,
        results=found.rows,
        measure=measure,
        output_name=name,
        bits=learned.code_ranges(head),
        subtitle=what,
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".drawing-") as scratch:
        drawn = {
            name: draw(Path(scratch) / f"{name}.{file_format}") for name, draw in figures.items()
        }
        files = {name: str(output / file.name) for name, file in drawn.items()}
        numbers = Path(scratch) / _NUMBERS
        text = json.dumps({**report, "figures": files}, indent=2)
        numbers.write_text(text + "\n", encoding="utf-8")
        output.mkdir(exist_ok=True)
        for file in [*drawn.values(), numbers]:
            file.replace(output / file.name)
    return files


def _listed(numbers: Iterable[int]) -> str:
    """`32, 8 and 4`."""
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}"


def _print(report: dict[str, Any], output: Path) -> None:
    out = console()
    found = report.get("entanglement")
    if found:
        out.print(
            f"entanglement: {found['mean_bits']:.2f} bits a bond, largest "
            f"{found['largest_bits']:.2f}, over {found['texts']:,} texts"
        )
    if "bits_in_use" in report["outputs"]:
        out.print(f"bits in use: {learned.bits_in_words(report['outputs'])}")
    for when, values in report.get("distances", {}).items():
        out.print(f"{when}: overlap {values['overlap']:.3f}, AUC {values['auc']:.3f}")
    rows = report.get("quality", [])
    if rows:
        measure = next(iter(rows[0]["measures"]))
        cells = [
            [
                row["label"],
                f"{row['bytes_per_vector']:,}",
                with_interval(row["measures"][measure]),
            ]
            for row in rows
        ]
        out.print(table(["", "bytes", f"{measure} \\[95%]"], cells))
    for name, reason in report["left_out"].items():
        out.print(f"{name}: left out, {reason.replace('`', '')}")
    names = ", ".join(Path(file).name for file in report["figures"].values())
    out.print(f"written to {output}: {names}, {_NUMBERS}")
