"""`mpsheads evaluate`: how good a ranking is, with a head or without."""

from pathlib import Path
from typing import Annotated, Any

from mpsheads.cli.heads import fit, make_head
from mpsheads.cli.options import (
    DEFAULT_MEASURES,
    RUN,
    DataOptions,
    Head,
    Measures,
    RunOptions,
    ShapeOptions,
    option,
)
from mpsheads.cli.output import console, print_json, table, with_interval
from mpsheads.cli.scores import describe, rank_compressed, summarise
from mpsheads.cli.sources import Source, pick_device
from mpsheads.retrieval import evaluate as evaluate_run
from mpsheads.retrieval import write_run


def evaluate(
    data: DataOptions,
    shape: ShapeOptions,
    run: RunOptions,
    head: Head = None,
    measure: Measures = None,
    run_output: Annotated[
        Path | None,
        option(RUN, "Write the ranking as a TREC run.", "FILE"),
    ] = None,
    per_query: Annotated[bool, option(RUN, "Also show each query.", flag="--per-query")] = False,
    top_k: Annotated[int, option(RUN, "Documents kept a query.")] = 1000,
) -> None:
    """Rank the candidates of each query, and measure the ranking.

    Without a head, the uncompressed embeddings are ranked by cosine.

    [bold]Example[/bold]

    [cyan]mpsheads evaluate --dataset nfcorpus --split test --head trained-head[/cyan]

    [cyan]mpsheads evaluate --dataset trec-dl --split dl19 --pool runs/bm25.dl19.trec --json[/cyan]
    """
    device = pick_device(run.device)
    source = Source(data, run.device)
    measures = measure or DEFAULT_MEASURES
    evaluate_run({}, source.collection.qrels, measures)  # a misspelt one is told before encoding
    made = None
    if head is not None:
        made = make_head(head, source.features, shape, run.seed, device)
    embedded = source.embed()
    if made is not None and head is not None:
        fit(made, head, embedded.documents)
    ranking = rank_compressed(made, embedded, source.pool, top_k)
    evaluation = evaluate_run(ranking, source.collection.qrels, measures)
    if run_output is not None:
        write_run(ranking, run_output, tag=made.name if made else "uncompressed")
    report: dict[str, Any] = {
        "dataset": source.collection.name,
        "pool": source.pool_name,
        "encoder": source.encoder_name,
        "queries": len(evaluation.per_query),
        "documents": len(embedded.doc_ids),
        **describe(head or "uncompressed", made, embedded.documents.shape[1]),
        "measures": summarise(evaluation, run.seed),
    }
    if per_query:
        report["per_query"] = evaluation.per_query
    if run.as_json:
        print_json(report)
    else:
        _print(report)


def _print(report: dict[str, Any]) -> None:
    out = console()
    if "per_query" in report:
        names = list(report["measures"])
        rows = [
            [query_id, *(f"{values[name]:.4f}" for name in names)]
            for query_id, values in report["per_query"].items()
        ]
        out.print(table(["query", *names], rows))
    out.print(
        f"{report['dataset']}, {report['queries']:,} queries, {report['documents']:,} documents, "
        f"pool {report['pool']}; {report['label']}: {report['out_features']} numbers, "
        f"{report['bytes_per_vector']:,} bytes a vector, {report['parameters']:,} parameters"
    )
    rows = [[name, with_interval(values)] for name, values in report["measures"].items()]
    out.print(table(["measure", "mean [95% interval]"], rows))
