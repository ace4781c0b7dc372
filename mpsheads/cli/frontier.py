"""`mpsheads frontier`: quality against bytes a vector, and what to take for a budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mpsheads._checks import check_positive
from mpsheads._progress import progress_bar
from mpsheads._threads import torch_threads
from mpsheads.cli.frontier_output import print_report, report_of
from mpsheads.cli.options import ENCODER, RunOptions, option
from mpsheads.cli.output import print_json
from mpsheads.cli.sources import pick_device, show_progress
from mpsheads.cli.threads import ParallelEncoder
from mpsheads.cli.train import has_split
from mpsheads.experiments.data import choose_queries, name_of, split_reference
from mpsheads.experiments.frontier import frontier_table, measure_points, recommend
from mpsheads.experiments.frontier_page import write_frontier
from mpsheads.experiments.frontier_plan import (
    DEFAULT,
    EXPERIMENT,
    METHODS,
    TRAINING,
    Grid,
    Plan,
    make_plan,
    quantiser_notes,
)
from mpsheads.experiments.frontier_use import usage
from mpsheads.experiments.results import Line, key_of, read_results
from mpsheads.experiments.runs import Runner, runs_of
from mpsheads.experiments.spec import BITS, Experiment
from mpsheads.plotting.quality import check_format

_WHAT = "What is measured"
_RESULTS = "results.jsonl"
_LEAST_QUERIES = 20  # from which on some are held out to choose the epoch


@dataclass(frozen=True)
class FrontierOptions:
    """What is measured, and on what."""

    dataset: Annotated[
        list[str] | None,
        option(
            _WHAT,
            "Folder of a BEIR collection, or an id of ir_datasets such as "
            "msmarco-passage/trec-dl-2019/judged.",
            "FOLDER|ID[:SPLIT][@POOL]",
        ),
    ] = None
    train: Annotated[
        str | None,
        option(
            _WHAT,
            "Where heads are trained, and PCA and quantisers fitted.  [dim]\\[default: the split "
            "train of the dataset][/dim]",
            "FOLDER|ID[:SPLIT]",
        ),
    ] = None
    untrained: Annotated[
        bool,
        option(
            _WHAT,
            "Train nothing: uncompressed vectors, truncation, PCA, PQ, OPQ and the untrained MPS "
            "head, fitted on the documents of the dataset.",
            flag="--untrained",
        ),
    ] = False
    encoder: Annotated[
        str,
        option(
            ENCODER, "A name that mpsheads models lists, a folder, or a name on the hub.", "MODEL"
        ),
    ] = "minilm"
    method: Annotated[
        list[str] | None,
        option(
            _WHAT,
            f"{', '.join(METHODS)}; repeat it.  [dim]\\[default: the first {len(DEFAULT)}][/dim]",
            "LABEL",
        ),
    ] = None
    size: Annotated[
        list[int] | None,
        option(
            _WHAT,
            "Numbers a vector; repeat it.  [dim]\\[default: all, 1/2, 1/3, 1/6, 1/12 of the "
            "features][/dim]",
        ),
    ] = None
    bits: Annotated[
        list[int] | None, option(_WHAT, "Bits a number, of 32, 8, 4, 2, 1; repeat it.")
    ] = None
    seeds: Annotated[int, option(_WHAT, "How many seeds for what is trained, from --seed on.")] = 1


def frontier(
    options: FrontierOptions,
    run: RunOptions,
    budget: Annotated[int, option(_WHAT, "Bytes a vector that are recommended for.")] = 64,
    output: Annotated[
        Path, option(_WHAT, "Folder of results, report and figures.", "FOLDER")
    ] = Path("frontier"),
    plot: Annotated[
        Path | None, option(_WHAT, "Also draw the figure here: .png, .svg or .pdf.", "FILE")
    ] = None,
    report_only: Annotated[
        bool,
        option(_WHAT, "Only make the report, from the results alone.", flag="--report-only"),
    ] = False,
) -> None:
    """Measure nDCG@10 against bytes a vector, and recommend a setting for a budget.

    Every head and quantiser at several sizes and bits, from 8 to 3,072 bytes a vector, with
    intervals and the Pareto front. Each query ranks all documents; with DATASET@judged those judged
    for it, with DATASET@FILE those of a TREC run. Several datasets give their mean.

    Results go to OUTPUT/results.jsonl as soon as they are known: a run that was stopped goes on
    where it was.

    [bold]Examples[/bold]

    [cyan]mpsheads frontier --dataset ./nfcorpus --budget 64 --output frontier[/cyan]

    [cyan]mpsheads frontier --dataset ./cranfield --train ./train-pairs:train --size 128 --size 64
    --plot frontier.png[/cyan]

    [cyan]mpsheads frontier --dataset ./cranfield --untrained --budget 32[/cyan]
    """
    check_positive(budget=budget, seeds=options.seeds)
    if plot is not None:
        check_format(plot)
    file, label = output / _RESULTS, _label(options.encoder)
    notes: tuple[str, ...] = ()
    if report_only:
        lines, train = _written(options, file, label), options.train or ""
    else:
        train, plan, keys = _run(options, run, budget, file, label)
        notes, lines = plan.notes, [line for line in read_results(file) if key_of(line) in keys]
    notes = (*notes, *quantiser_notes(lines))
    found = frontier_table(lines)
    points = measure_points(found.rows)
    chosen = recommend(found.rows, budget)
    how = usage(
        chosen.row,
        features=found.features or 0,
        train=train or found.train,
        encoder=options.encoder,
        pairs=min((line["pairs"] for line in lines if "pairs" in line), default=None),
        device=run.device,
    )
    written = write_frontier(output, found, points, chosen, how, notes, plot)
    if run.as_json:
        print_json(report_of(found, points, chosen, how, notes, [file, *written]))
    else:
        print_report(found, points, chosen, how, notes, [file, *written])


def _run(
    options: FrontierOptions, run: RunOptions, budget: int, file: Path, label: str
) -> tuple[str, Plan, set[tuple]]:
    """Measure what is missing; returns where heads were trained, the plan, and its keys."""
    tests = tuple(_whole(reference) for reference in options.dataset or ())
    train = _train_reference(options, tests)
    methods = _methods(options)
    encoder = ParallelEncoder(options.encoder, device=run.device)
    runner = Runner(encoder, label, file, device=pick_device(run.device), progress=show_progress())
    split = runner.split(train)
    select = "last"
    if not options.untrained:
        for test in tests:
            _check_apart(runner, train, test)
        if len(choose_queries(split, 1.0, 0)) >= _LEAST_QUERIES:
            select = "best"
    base = Experiment(
        name=EXPERIMENT,
        methods=(METHODS[methods[0]],),
        train=train,
        tests=tests,
        seeds=tuple(range(run.seed, run.seed + options.seeds)),
        select=select,
        training=TRAINING,
    )
    grid = Grid(
        encoder.features,
        len(split.doc_ids),
        methods,
        tuple(options.size) if options.size else None,
        tuple(options.bits) if options.bits else BITS,
    )
    plan = make_plan(grid, base)
    runs = [one for made in plan.experiments for one in runs_of(made, label, encoder.features)]
    results = [line for made in runs for line in made.results]
    _check_budget(results, budget)
    known = {key_of(line) for line in read_results(file)} if file.exists() else set()
    missing = [  # an experiment of a plan is one run
        experiment
        for experiment, made in zip(plan.experiments, runs, strict=True)
        if any(key_of(line) not in known for line in made.results)
    ]
    if missing:
        runner.prepare(missing[-1])
    with (
        torch_threads(1),
        progress_bar(f"{label}: frontier", len(missing), enabled=show_progress()) as advance,
    ):
        for experiment in missing:
            runner.run(experiment, advance)
    return train, plan, {key_of(line) for line in results}


def _whole(reference: str) -> str:
    """The reference with full retrieval unless it names a pool."""
    return reference if "@" in reference else f"{reference}@all"


def _label(encoder: str) -> str:
    return Path(encoder).name if "/" in encoder else encoder


def _methods(options: FrontierOptions) -> tuple[str, ...]:
    """The labels asked for, checked."""
    asked = tuple(options.method or DEFAULT)
    unknown = next((name for name in asked if name not in METHODS), None)
    if unknown is not None:
        raise ValueError(f"`method` {unknown!r} is not known; there are {', '.join(METHODS)}.")
    if not options.untrained:
        return asked
    trained = [name for name in asked if METHODS[name].is_trained]
    if options.method and trained:
        raise ValueError(
            f"`method` {trained[0]!r} is trained, but `untrained` leaves training out."
        )
    return tuple(name for name in asked if name not in trained)


def _train_reference(options: FrontierOptions, tests: Sequence[str]) -> str:
    """Where heads are trained; with `untrained`, where PCA and quantisers are fitted."""
    if not tests:
        raise ValueError("Give `dataset`: the folder of a BEIR collection or an ir_datasets id.")
    if options.untrained:
        if options.train:
            raise ValueError("Give either `train` or `untrained`.")
        return tests[0]
    if options.train:
        source, split, _ = split_reference(options.train)
        is_plain = split is None and "@" not in options.train
        return f"{source}:train" if is_plain and has_split(source, "train") else options.train
    sources = list(dict.fromkeys(split_reference(test)[0] for test in tests))
    if len(sources) > 1:
        raise ValueError(
            f"Give `train`: of {len(sources)} collections, none goes before the others. Or take "
            f"`untrained`."
        )
    if not has_split(sources[0], "train"):
        raise ValueError(
            f"`dataset` {sources[0]} has no split train to train heads on. Give `train` with "
            f"another collection, or take `untrained`: uncompressed vectors, truncation, PCA, PQ, "
            f"OPQ and the untrained MPS head, fitted on its documents."
        )
    return f"{sources[0]}:train@all"


def _check_apart(runner: Runner, train: str, test: str) -> None:
    """Raise unless what is measured on is not trained on."""
    first, second = runner.split(train).collection, runner.split(test).collection
    if (first.name, first.folder) == (second.name, second.folder):
        raise ValueError(
            f"`dataset` {test} is what heads are trained on. Measure on another split, as in "
            f"FOLDER:test, or give another `train`."
        )


def _check_budget(results: Sequence[Line], budget: int) -> None:
    """Raise before anything is trained if no vector will be so small."""
    least = min(line["bytes"] for line in results)
    if least > budget:
        raise ValueError(
            f"Nothing fits `budget` {budget}, in bytes a vector: the smallest vector to be "
            f"measured has {least}. Give a larger one, or fewer numbers with `size` or `bits`."
        )


def _written(options: FrontierOptions, file: Path, label: str) -> list[Line]:
    """The results in the file that the options ask for; what they do not name may be any."""
    lines = [line for line in read_results(file) if line["experiment"] == EXPERIMENT]
    tests = [name_of(_whole(reference)) for reference in options.dataset or ()]
    train = None
    if options.train or (options.untrained and tests):
        train = name_of(_train_reference(options, [_whole(t) for t in options.dataset or ["-"]]))
    chosen = [
        line
        for line in lines
        if line["encoder"] == label
        and (not tests or line["test"] in tests)
        and (train is None or line["train"] == train)
        and (not options.method or line["method"] in [*options.method, "uncompressed"])
        and (not options.size or line["size"] in [*options.size, line["features"]])
        and (not options.bits or line["bits"] in options.bits or line["method"] == "uncompressed")
    ]
    if not chosen:
        held = ", ".join(dict.fromkeys(f"{line['encoder']} on {line['test']}" for line in lines))
        raise ValueError(f"{file} holds no such results; there are {held or 'none'}.")
    trains = list(dict.fromkeys(line["train"] for line in chosen))
    if len(trains) > 1:
        raise ValueError(
            f"{file} holds results trained on {' and '.join(trains)}. Give `train`, or `dataset` "
            f"and `untrained`."
        )
    return chosen
