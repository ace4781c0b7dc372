"""`mpsheads evaluate`: how good rankings are, with heads or without, and which differ."""

from pathlib import Path
from typing import Annotated, Any

from mpsheads.cli import options
from mpsheads.cli.options import Model, Texts, option
from mpsheads.cli.output import console, print_json, probability, table, with_interval

_UNCOMPRESSED = "uncompressed"
_MEASURES = ["nDCG@10", "RR@10", "R@100"]
_BASELINE = "What the others are tested against: one of the heads."
_MEASURE = (
    "Measure, spelled as in ir-measures; repeat it. The first one is tested. By default nDCG@10, "
    "RR@10 and R@100."
)
_PLOT = "Draw the first measure against bytes a vector."
_RUN_OUTPUT = "Write the ranking of the head, if any, as a TREC run."

_IDENTICAL = "Rank also a document that has the query's own id, which BEIR leaves out."


def evaluate(
    texts: Texts,
    model: Model,
    head: Annotated[
        list[str] | None, option(f"{options.HEAD} Repeat it for each.", "Head", "FOLDER|KIND")
    ] = None,
    baseline: Annotated[str, option(_BASELINE, "Head")] = _UNCOMPRESSED,
    measure: Annotated[list[str] | None, option(_MEASURE, metavar="NAME")] = None,
    plot: Annotated[Path | None, option(_PLOT, metavar="FILE")] = None,
    run_output: Annotated[Path | None, option(_RUN_OUTPUT, metavar="FILE")] = None,
    top_k: Annotated[int, option("Documents kept a query.")] = 1000,
    keep_identical_ids: Annotated[
        bool, option(_IDENTICAL, "Data", flag="--keep-identical-ids")
    ] = False,
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    """Rank the candidates of each query, with each head and without, and compare the rankings.

    Each head is tested against the baseline by a paired randomisation test over queries; the
    p-values are corrected for their number by Holm's method. Without a head, the uncompressed
    embeddings are ranked by cosine.

    [bold]Examples[/bold]

    [cyan]mpsheads evaluate --dataset trec-dl:dl19@runs/bm25.dl19.trec --json[/cyan]

    [cyan]mpsheads evaluate --dataset nfcorpus:test --head trained-head --head pca:128
    --head truncation:128 --plot heads.png[/cyan]
    """
    from mpsheads.cli import data as inputs
    from mpsheads.heads import make_head
    from mpsheads.plotting import check_format, quality_points, quality_vs_bytes
    from mpsheads.retrieval import check_measures, measure_heads, write_run

    where, measures = inputs.pick_device(model.device), measure or _MEASURES
    check_measures(measures, top_k)
    if plot is not None and not head:
        raise ValueError("`plot` needs at least one `head` to draw.")
    check_format(plot or "plot.png")
    if run_output is not None and len(head or ()) > 1:
        raise ValueError(f"`run_output` takes the ranking of one `head`, got {len(head or ())}.")
    ignore = False if keep_identical_ids else None
    source = inputs.read_source(texts, ignore_identical_ids=ignore)
    encoder = inputs.make_encoder(model, texts)
    names = [name for name in dict.fromkeys([*(head or []), baseline]) if name != _UNCOMPRESSED]
    made = {"in_features": source.width(encoder), "seed": seed, "device": where}
    for name in names:  # a wrong one is told before anything is encoded
        make_head(name, **made)
    embedded = source.embed(encoder)
    heads: dict[str, Any] = {_UNCOMPRESSED: None}
    for name in names:
        heads[name] = make_head(name, documents=embedded.documents, **made)
    rows = measure_heads(heads, embedded, measures, baseline=baseline, top_k=top_k, seed=seed)
    counts = {"queries": len(embedded.query_ids), "documents": len(embedded.document_ids)}
    collection = source.collection
    report = {"dataset": collection.name, "pool": source.named_pool or "all", **counts}
    report |= {"encoder": encoder and model.encoder, "baseline": baseline, "results": rows}
    report |= {"identical_ids": len(embedded.identical_ids), "note": collection.note}
    if run_output is not None:
        ranked = (head or [_UNCOMPRESSED])[0]
        tag = "-".join(Path(ranked).resolve().name.split())
        write_run(embedded.rank(heads[ranked], top_k=top_k), run_output, tag=tag)
    if plot is not None:
        subtitle = f"{collection.name}, {len(embedded.query_ids):,} queries"
        points = quality_points(rows, measures[0])
        quality_vs_bytes(points, plot, measure=measures[0], subtitle=subtitle)
    print_json(report) if as_json else _print(report, measures)


def _print(report: dict[str, Any], measures: list[str]) -> None:
    out, rows = console(), report["results"]
    out.print(
        f"{report['dataset']}, {report['queries']:,} queries, {report['documents']:,} documents, "
        f"pool {report['pool']}. Brackets: 95% bootstrap intervals."
    )
    if report["note"]:
        out.print(report["note"])
    if count := report["identical_ids"]:
        out.print(
            f"For {count:,} queries the document of the same id is not ranked, as in BEIR; "
            f"`--keep-identical-ids` ranks it."
        )
    columns, cells = ["head", "params", "bytes", *measures], []
    for row in rows:
        first, *others = row["measures"].values()
        shown = [with_interval(first, "\n"), *(f"{mean['mean']:.3f}" for mean in others)]
        sizes = (f"{row[name]:,}" for name in ("parameters", "bytes_per_vector"))
        cells.append([row["label"], *sizes, *shown])
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
