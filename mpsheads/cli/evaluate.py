"""`mpsheads evaluate`: how good rankings are, with heads or without, and which differ."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpsheads.cli.options import DataOptions, RunOptions, ShapeOptions
from mpsheads.cli.output import console, print_json, probability, table, with_interval

if TYPE_CHECKING:
    from mpsheads.retrieval import EmbeddedCollection

_UNCOMPRESSED = "uncompressed"
_MEASURES = ["nDCG@10", "RR@10", "R@100"]
_WIDE = 100  # columns of a terminal


def evaluate(
    data: DataOptions,
    shape: ShapeOptions,
    run: RunOptions,
    head: list[str] | None = None,
    baseline: str = _UNCOMPRESSED,
    measure: list[str] | None = None,
    plot: Path | None = None,
    run_output: Path | None = None,
    per_query: bool = False,
    top_k: int = 1000,
) -> None:
    """Rank the candidates of each query, with each head and without, and compare the rankings.

    Each head is tested against the baseline by a paired randomisation test over queries; the
    p-values are corrected for their number by Holm's method. Without a head, the uncompressed
    embeddings are ranked by cosine.

    [bold]Examples[/bold]

    [cyan]mpsheads evaluate --dataset trec-dl --split dl19 --pool runs/bm25.dl19.trec --json[/cyan]

    [cyan]mpsheads evaluate --dataset nfcorpus --split test --head trained-head --head pca:128
    --head truncation:128 --plot heads.png[/cyan]
    """
    from mpsheads.cli import data as inputs
    from mpsheads.plotting import check_format, quality_points, quality_vs_bytes
    from mpsheads.retrieval import check_measures, measure_heads, write_run
    from mpsheads.retrieval import evaluate as evaluate_run

    device, measures = inputs.pick_device(run.device), measure or _MEASURES
    check_measures(measures)
    _check(head or [], plot, run_output)
    if plot is not None:
        check_format(plot)
    collection, pool = inputs.read_collection(data)
    encoder = inputs.make_encoder(data, run.device)
    names = [name for name in dict.fromkeys([*(head or []), baseline]) if name != _UNCOMPRESSED]
    features = inputs.width(data, encoder)
    for name in names:  # a wrong one is told before anything is encoded
        inputs.head_from(name, features, shape, run.seed, device)
    embedded = inputs.embed_collection(data, encoder, collection, pool)
    heads: dict[str, Any] = {_UNCOMPRESSED: None}
    for name in names:
        heads[name] = inputs.head_from(name, features, shape, run.seed, device, embedded.documents)
    rows = measure_heads(heads, embedded, measures, baseline=baseline, top_k=top_k, seed=run.seed)
    report = {**_report(data, embedded), "baseline": baseline, "results": rows}
    report["encoder"] = None if encoder is None else data.encoder
    if run_output is not None:
        last = list(heads)[-1]
        write_run(embedded.rank(heads[last], top_k=top_k), run_output, tag=last.split("/")[-1])
    if per_query:
        rankings = {label: embedded.rank(made, top_k=top_k) for label, made in heads.items()}
        report["per_query"] = {
            label: evaluate_run(ranking, embedded.qrels, measures).per_query
            for label, ranking in rankings.items()
        }
    if plot is not None:
        subtitle = f"{collection.name}, {len(embedded.query_ids):,} queries"
        points = quality_points(rows, measures[0])
        quality_vs_bytes(points, plot, measure=measures[0], subtitle=subtitle)
    print_json(report) if run.as_json else _print(report, measures)


def _report(data: DataOptions, embedded: "EmbeddedCollection") -> dict[str, Any]:
    return {
        "dataset": embedded.collection.name,
        "pool": data.pool or "all",
        "queries": len(embedded.query_ids),
        "documents": len(embedded.document_ids),
    }


def _check(heads: list[str], plot: Path | None, run_output: Path | None) -> None:
    if plot is not None and not heads:
        raise ValueError("`plot` needs at least one `head` to draw.")
    if run_output is not None and len(heads) > 1:
        raise ValueError(f"`run_output` takes the ranking of one `head`, got {len(heads)}.")


def _print(report: dict[str, Any], measures: list[str]) -> None:
    out, rows = console(), report["results"]
    for label, queries in report.get("per_query", {}).items():
        lines = [
            [q, *(f"{values[name]:.4f}" for name in measures)] for q, values in queries.items()
        ]
        out.print(table([label, *measures], lines))
    out.print(
        f"{report['dataset']}, {report['queries']:,} queries, {report['documents']:,} documents, "
        f"pool {report['pool']}. Brackets: 95% bootstrap intervals."
    )
    intervals = len(measures) if out.width >= _WIDE else 1  # of how many measures they are shown
    columns, cells = ["head", "params", "bytes", *measures], []
    for row in rows:
        means = list(row["measures"].values())
        shown = [with_interval(mean, "\n") for mean in means[:intervals]]
        shown += [f"{mean['mean']:.3f}" for mean in means[intervals:]]
        cells.append(
            [row["label"], f"{row['parameters']:,}", f"{row['bytes_per_vector']:,}", *shown]
        )
    if len(rows) == 1:
        out.print(table(columns, cells))
        return
    for row, cell in zip(rows, cells, strict=True):
        difference = "–" if row["difference"] is None else f"{row['difference']:+.3f}"
        cell += [difference, probability(row["p_value_holm"])]
    out.print(table([*columns, "Δ", "p"], cells))
    out.print(
        f"Δ: {measures[0]} less that of {report['baseline']}, paired over queries; p: "
        f"randomisation test, corrected by Holm's method for {len(rows) - 1} heads."
    )
