"""`mpsheads compare`: several heads on the same queries, with intervals and paired tests."""

from pathlib import Path
from typing import Annotated, Any

from mpsheads.cli.heads import fit, make_head
from mpsheads.cli.options import (
    DEFAULT_MEASURES,
    HEAD,
    RUN,
    DataOptions,
    HeadsToCompare,
    Measures,
    RunOptions,
    ShapeOptions,
    option,
)
from mpsheads.cli.output import console, print_json, probability, table, with_interval
from mpsheads.cli.scores import Row, measure_heads
from mpsheads.cli.sources import Source, pick_device
from mpsheads.heads import ProjectionHead
from mpsheads.plotting import quality_vs_bytes
from mpsheads.plotting.quality import check_format
from mpsheads.retrieval import evaluate as evaluate_run

UNCOMPRESSED = "uncompressed"
_WIDE = 100  # columns of a terminal


def compare(
    data: DataOptions,
    shape: ShapeOptions,
    run: RunOptions,
    head: HeadsToCompare = None,
    baseline: Annotated[
        str, option(HEAD, "What the others are tested against: one of the heads.")
    ] = UNCOMPRESSED,
    measure: Measures = None,
    plot: Annotated[
        Path | None,
        option(RUN, "Draw the first measure against bytes a vector.", "FILE"),
    ] = None,
) -> None:
    """Compare heads with each other and with the uncompressed embeddings.

    Each is tested against the baseline by a paired randomisation test over queries; the p-values
    are corrected for their number by Holm's method.

    [bold]Example[/bold]

    [cyan]mpsheads compare --dataset nfcorpus --split test --head trained-head --head pca:128
    --head truncation:128 --plot heads.png[/cyan]
    """
    device = pick_device(run.device)
    if not head:
        raise ValueError("Give at least one `head`, or use `mpsheads evaluate`.")
    if plot is not None:
        check_format(plot)
    source = Source(data, run.device)
    measures = measure or DEFAULT_MEASURES
    evaluate_run({}, source.collection.qrels, measures)
    heads: dict[str, ProjectionHead | None] = {UNCOMPRESSED: None}
    for named in [*head, baseline]:
        if named not in heads:
            heads[named] = make_head(named, source.features, shape, run.seed, device)
    embedded = source.embed()
    for named, made in heads.items():
        if made is not None:
            fit(made, named, embedded.documents)
    rows = measure_heads(
        heads,
        embedded,
        source.collection.qrels,
        measures,
        pool=source.pool,
        baseline=baseline,
        seed=run.seed,
    )
    if plot is not None:
        subtitle = f"{source.collection.name}, {len(embedded.query_ids):,} queries"
        quality_vs_bytes(rows, plot, measure=measures[0], subtitle=subtitle)
    report = {
        "dataset": source.collection.name,
        "pool": source.pool_name,
        "encoder": source.encoder_name,
        "queries": len(embedded.query_ids),
        "documents": len(embedded.doc_ids),
        "baseline": baseline,
        "results": rows,
    }
    if run.as_json:
        print_json(report)
    else:
        _print(report, rows, measures)


def _print(report: dict[str, Any], rows: list[Row], measures: list[str]) -> None:
    out = console()
    out.print(
        f"{report['dataset']}, {report['queries']:,} queries, {report['documents']:,} documents, "
        f"pool {report['pool']}. Brackets: 95% bootstrap intervals."
    )
    intervals = len(measures) if out.width >= _WIDE else 1  # of how many measures they are shown
    cells = [
        [
            row["label"],
            f"{row['parameters']:,}",
            f"{row['bytes_per_vector']:,}",
            *(
                with_interval(row["measures"][name], "\n")
                if place < intervals
                else f"{row['measures'][name]['mean']:.3f}"
                for place, name in enumerate(measures)
            ),
            "–" if row["difference"] is None else f"{row['difference']:+.3f}",
            probability(row["p_value_holm"]),
        ]
        for row in rows
    ]
    out.print(table(["head", "params", "bytes", *measures, "Δ", "p"], cells))
    out.print(
        f"Δ: {measures[0]} less that of {report['baseline']}, paired over queries; p: "
        f"randomisation test, corrected by Holm's method for {len(rows) - 1} heads."
    )
