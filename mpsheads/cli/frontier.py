"""`mpsheads frontier`: quality against bytes a vector, and what to take for a budget."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mpsheads.cli import options
from mpsheads.cli.options import option
from mpsheads.cli.output import console, print_json, table

if TYPE_CHECKING:
    from mpsheads.experiments import Recommendation, Table

_WHAT = "What is measured"
_DATASET = (
    "Folder of a BEIR collection, a file or folder of passages alone, which ask for each other, or "
    "an id of ir_datasets; repeat it."
)
_TRAIN = (
    "Where heads are trained, and PCA and quantisers fitted; the split train of the dataset by "
    "default."
)
_UNTRAINED = "Train nothing: what is fitted to the documents of the dataset alone."
_METHOD = (
    "truncation, pca, pq, opq, rq, lsq, rabitq, itq, turboquant, dense, reference, mps, "
    "'mps, untrained', codes or 'codes, untrained'; repeat it. By default all but the slow rq and "
    "lsq."
)
_SIZE = "Numbers a vector; repeat it. By default all, 1/2, 1/3, 1/6, 1/12 of the features."
_REPORT_ONLY = "Run nothing: make the report from OUTPUT/results.jsonl."
_COLUMNS = ("bytes", "parameters", "mean", "kept", "p")


def frontier(
    dataset: Annotated[
        list[str] | None, option(_DATASET, _WHAT, "FOLDER|ID[:SPLIT][@POOL]")
    ] = None,
    train: Annotated[str | None, option(_TRAIN, _WHAT, "FOLDER|ID[:SPLIT]")] = None,
    untrained: Annotated[bool, option(_UNTRAINED, _WHAT, flag="--untrained")] = False,
    encoder: options.EncoderName = "minilm",
    method: Annotated[list[str] | None, option(_METHOD, _WHAT, "LABEL")] = None,
    size: Annotated[list[int] | None, option(_SIZE, _WHAT)] = None,
    bits: Annotated[
        list[int] | None, option("Bits a number, of 32, 8, 4, 2, 1; repeat it.", _WHAT)
    ] = None,
    seeds: Annotated[int, option("How many seeds, from 0 on.", _WHAT)] = 1,
    budget: Annotated[int, option("Bytes a vector that are recommended for.")] = 64,
    output: Annotated[
        Path, option("Folder of results, report and figure.", metavar="FOLDER")
    ] = Path("frontier"),
    report_only: Annotated[bool, option(_REPORT_ONLY, flag="--report-only")] = False,
    device: options.Device = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure nDCG@10 against bytes a vector, and recommend a setting for a budget.

    Every head and quantiser at several sizes and bits, with intervals and the Pareto front. Each
    query ranks all documents; with DATASET@judged those judged for it, with DATASET@FILE those of a
    TREC run. Several datasets give their mean.

    Results go to OUTPUT/results.jsonl as soon as they are known: a run that was stopped goes on
    where it was. The report is of all results there of this encoder and these datasets.

    [bold]Examples[/bold]

    [cyan]mpsheads frontier --dataset ./nfcorpus --budget 64 --output frontier[/cyan]

    [cyan]mpsheads frontier --dataset ./cranfield --train ./train-pairs:train --size 128
    --size 64[/cyan]

    [cyan]mpsheads frontier --dataset my.jsonl --untrained --budget 32[/cyan]
    """
    from mpsheads import experiments as room
    from mpsheads._checks import check_positive
    from mpsheads.cli.data import pick_device, show_progress
    from mpsheads.retrieval import Encoder

    check_positive(budget=budget, seeds=seeds)
    file, notes = output / "results.jsonl", []
    if not report_only:
        pick_device(device)
        experiment, notes = room.frontier_experiment(
            dataset or (),
            encoder,
            Encoder(encoder, device=device).features,
            train=train,
            untrained=untrained,
            methods=method or (),
            sizes=size or (),
            bits=bits or (32, 8, 4, 2, 1),
            seeds=range(seeds),
        )
        train = experiment.train
        room.run_experiments([experiment], file, device=device, progress=show_progress())
    (label,) = room.encoder_labels([encoder]).values()
    tests = [room.name_of(test if "@" in test else f"{test}@all") for test in dataset or ()]
    lines = [
        line
        for line in room.read_results(file)
        if (line["experiment"], line["encoder"]) == ("frontier", label)
        and (train is None or line["train"] == room.name_of(train))
        and (not tests or line["test"] in tests)
    ]
    measured = room.frontier_table(lines)
    chosen = room.recommend(measured.rows, budget)
    paths = room.write_frontier(lines, measured, chosen, output, notes=notes)
    (_print_json if as_json else _print)(measured, chosen, notes, [str(file), *map(str, paths)])


def _print(measured: "Table", chosen: "Recommendation", notes: list[str], files: list[str]) -> None:
    from mpsheads.experiments import cells, pareto_front

    out, texts = console(), dict(zip(measured.rows, cells(measured), strict=True))
    out.print(
        f"Pareto front of {len(measured.rows)} settings: {measured.encoder}, "
        f"{', '.join(measured.tests)}; trained and fitted on {measured.train}",
    )
    columns = [name for name in _COLUMNS if name in texts[measured.rows[0]]]
    front = pareto_front(measured.rows)
    shown = [[str(row), *(texts[row][name] for name in columns)] for row in front]
    out.print(table(["numbers × bits", *columns], shown))
    for text in (chosen.sentence, *notes, f"results, report and figure: {', '.join(files)}"):
        out.print(f"{text}\n")


def _print_json(
    measured: "Table", chosen: "Recommendation", notes: list[str], files: list[str]
) -> None:
    from mpsheads.experiments import pareto_front

    names = ("method", "size", "bits", "bytes", "parameters", "mean", "sd", "interval", "kept")
    rows = {row: {"label": str(row)} | {n: getattr(row, n) for n in names} for row in measured.rows}
    kept = {name: getattr(chosen, name) for name in ("budget", "kept_interval", "sentence")}
    kept |= {"best": str(chosen.best), "tied": [str(row) for row in chosen.tied]}
    front = pareto_front(measured.rows)
    report = {name: getattr(measured, name) for name in ("encoder", "train", "measure")}
    report |= {"tests": list(measured.tests), "recommendation": rows[chosen.row] | kept}
    report["rows"] = [{**values, "on_front": row in front} for row, values in rows.items()]
    print_json({**report, "notes": notes, "files": files})
