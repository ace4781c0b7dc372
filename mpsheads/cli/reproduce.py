"""`mpsheads reproduce`: the paper's comparisons, or your own, from TOML files to a report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mpsheads.cli.options import RUN, argument, option
from mpsheads.cli.output import console, print_json, table
from mpsheads.cli.sources import pick_device, show_progress
from mpsheads.cli.threads import ParallelEncoder, torch_threads
from mpsheads.experiments import key_of, make_report, read_results, write_report
from mpsheads.experiments.runs import Runner, runs_of
from mpsheads.experiments.spec import Experiment, find_experiments
from mpsheads.retrieval import Encoder
from mpsheads.retrieval._progress import progress_bar

WHAT = "What is run"
RESULTS = "results.jsonl"


@dataclass(frozen=True)
class ExperimentOptions:
    """In what a run differs from the file of the experiment."""

    train: Annotated[
        str | None,
        option(
            WHAT,
            "Where heads are trained: a BEIR folder or an ir_datasets id, with a split after a "
            "colon.",
            "COLLECTION[:SPLIT]",
        ),
    ] = None
    test: Annotated[
        list[str] | None,
        option(
            WHAT,
            "Where they are measured; repeat it. The pool is judged (default), all, or the path of "
            "a TREC run.",
            "COLLECTION[:SPLIT][@POOL]",
        ),
    ] = None
    encoder: Annotated[
        list[str] | None,
        option(WHAT, "minilm, mpnet, bert, a folder or a hub name; repeat it.", "MODEL"),
    ] = None
    size: Annotated[
        list[int] | None, option(WHAT, "Numbers of a compressed vector; repeat it.")
    ] = None
    bits: Annotated[
        list[int] | None, option(WHAT, "Bits a number, of 32, 8, 4, 2, 1; repeat it.")
    ] = None
    seeds: Annotated[
        int | None,
        option(WHAT, "How many seeds, from 0 on.  [dim]\\[default: 20, as in the paper][/dim]"),
    ] = None
    fraction: Annotated[
        list[float] | None,
        option(WHAT, "Part of the training queries, or a whole number of them; repeat it."),
    ] = None
    method: Annotated[
        list[str] | None, option(WHAT, "Only methods with this label; repeat it.", "LABEL")
    ] = None
    trained: Annotated[
        list[str] | None,
        option(WHAT, "Only methods of which this is trained; repeat it.", "nothing|head|layers"),
    ] = None
    epochs: Annotated[int | None, option(WHAT, "Epochs of training.")] = None


def reproduce(
    options: ExperimentOptions,
    name: Annotated[
        list[str] | None,
        argument(
            "similarity, compression, frozen, data-size, epochs, research; all; or TOML files.",
            "[EXPERIMENT]...",
        ),
    ] = None,
    output: Annotated[Path, option(RUN, "Folder of results and report.", "FOLDER")] = Path(
        "reproduction"
    ),
    baseline: Annotated[
        str, option(RUN, "The method that others are compared with.", "LABEL")
    ] = "dense",
    report_only: Annotated[
        bool, option(RUN, "Only make the report, from the results alone.", flag="--report-only")
    ] = False,
    dry_run: Annotated[bool, option(RUN, "Only say what would be run.", flag="--dry-run")] = False,
    device: Annotated[str | None, option(RUN, "cpu, cuda, ...", "NAME")] = None,
    as_json: Annotated[bool, option(RUN, "Print JSON.", flag="--json")] = False,
    debug: Annotated[bool, option(RUN, "Show the traceback of an error.", flag="--debug")] = False,
) -> None:
    """Run the paper's comparisons, or those of your own TOML files, and make a report of them.

    Results go to OUTPUT/results.jsonl, a line each, as soon as they are known. What is there is not
    run again, so a run that was stopped goes on where it was; the report is made from that file.

    [bold]Examples[/bold]

    [cyan]mpsheads reproduce frozen --encoder minilm --train ./train-pairs:train
    --test ./trec-dl:dl19 --test ./trec-dl:dl20 --seeds 3[/cyan]

    [cyan]mpsheads reproduce all --report-only --output reproduction[/cyan]
    """
    experiments = [_changed(e, options) for e in find_experiments(name or ["all"])]
    place, file = pick_device(device), output / RESULTS
    expected = []
    if not report_only:
        done = 0
        for encoder_name in dict.fromkeys(e for made in experiments for e in made.encoders):
            encoder = ParallelEncoder(encoder_name, device=device)
            label = Path(encoder_name).name if "/" in encoder_name else encoder_name
            runner = Runner(encoder, label, file, device=place, progress=show_progress())
            mine = [made for made in experiments if encoder_name in made.encoders]
            expected += _keys(mine, label, encoder)
            if dry_run:
                _print_runs(runner, mine)
            else:
                done += _run(runner, mine)
        if dry_run:
            return
    lines = read_results(file)
    named = {made.name for made in experiments}
    chosen = [line for line in lines if not name or line["experiment"] in named]
    written = write_report(make_report(chosen, baseline, expected or None), output)
    if as_json:
        print_json(
            {"results": str(file), "lines": len(chosen), "report": [str(p) for p in written]}
        )
        return
    out = console()
    out.print(written[0].read_text(encoding="utf-8"), markup=False, soft_wrap=True)
    out.print(f"{len(chosen):,} results in {file}; report in {' and '.join(map(str, written))}")


def _changed(experiment: Experiment, options: ExperimentOptions) -> Experiment:
    """What the options ask for instead."""
    training = dict(experiment.training)
    if options.epochs is not None:
        training["epochs"] = options.epochs
    methods = tuple(
        method
        for method in experiment.methods
        if (not options.method or method.label in options.method)
        and (not options.trained or method.trained in ["nothing", *options.trained])
    )
    if not methods:
        known = ", ".join(f"{m.label} ({m.trained})" for m in experiment.methods)
        raise ValueError(
            f"`method` and `trained` leave nothing of {experiment.name}; it has {known}."
        )
    if options.seeds is not None and options.seeds < 1:
        raise ValueError(f"`seeds` must be at least 1, got {options.seeds}.")
    return experiment.changed(
        train=options.train,
        tests=_tuple(options.test),
        encoders=_tuple(options.encoder),
        sizes=_tuple(options.size),
        bits=_tuple(options.bits),
        seeds=None if options.seeds is None else tuple(range(options.seeds)),
        fractions=_tuple(options.fraction),
        training=training,
        methods=methods,
    )


def _tuple(values: Sequence | None) -> tuple | None:
    return tuple(values) if values else None


def _keys(experiments: Sequence[Experiment], encoder: str, model: Encoder) -> list[tuple]:
    runs = [run for made in experiments for run in runs_of(made, encoder, model.features)]
    return [key_of(line) for run in runs for line in run.results]


def _run(runner: Runner, experiments: Sequence[Experiment]) -> int:
    missing = {made.name: len(runner.missing(made)) for made in experiments}
    for made in experiments:
        if missing[made.name]:
            runner.prepare(made)
    added = 0
    total = sum(missing.values())
    title = f"{runner.name}: {', '.join(missing)}"
    with torch_threads(1), progress_bar(title, total, enabled=show_progress()) as advance:
        for made in experiments:
            added += runner.run(made, advance)
    return added


def _print_runs(runner: Runner, experiments: Sequence[Experiment]) -> None:
    rows = []
    for made in experiments:
        missing = runner.missing(made)
        runs = runs_of(made, runner.name, runner.encoder.features)
        for method in made.methods:
            of_method = [run for run in runs if run.method == method]
            sizes = sorted({run.size for run in of_method}, reverse=True)
            rows.append(
                [
                    made.name,
                    method.label,
                    method.trained,
                    ", ".join(map(str, sizes)),
                    f"{len(of_method):,}",
                    f"{sum(run.method == method for run in missing):,}",
                ]
            )
    out = console()
    out.print(f"{runner.name}, {runner.encoder.features} features; results in {runner.file}")
    out.print(table(["experiment", "method", "trained", "sizes", "runs", "to do"], rows, left=4))
