"""`mpsheads reproduce`: the paper's comparisons, or your own, from TOML files to a report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from mpsheads._checks import check_choice, check_positive
from mpsheads._progress import progress_bar
from mpsheads._threads import torch_threads
from mpsheads.cli.options import RUN, argument, option
from mpsheads.cli.output import console, print_json, table
from mpsheads.cli.sources import pick_device, show_progress
from mpsheads.cli.threads import ParallelEncoder
from mpsheads.experiments import key_of, make_report, read_results, write_report
from mpsheads.experiments.planning import check_heads, runs_of
from mpsheads.experiments.results import Line
from mpsheads.experiments.runs import Runner
from mpsheads.experiments.spec import TRAINED, Experiment
from mpsheads.experiments.toml_files import experiment_names, find_experiments

WHAT = "What is run"
RESULTS = "results.jsonl"
_BASELINE = "dense"


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
    triples: Annotated[
        str | None,
        option(
            WHAT,
            "Take pairs and hard negatives from this file, as mpsheads mine writes, or from an "
            "ir_datasets id.  [dim]\\[default: those of an id that has some, else mined][/dim]",
            "FILE|ID",
        ),
    ] = None
    max_triples: Annotated[
        int | None,
        option(
            WHAT,
            "Most triples, the first ones; only what they name is encoded.  "
            "[dim]\\[default: 1000000][/dim]",
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
    epochs: Annotated[
        int | None, option(WHAT, "Epochs of training, unless a method has its own.")
    ] = None


def reproduce(
    options: ExperimentOptions,
    name: Annotated[
        list[str] | None,
        argument(
            f"{', '.join(experiment_names())}; all; or TOML files.",
            "[EXPERIMENT]...",
        ),
    ] = None,
    output: Annotated[Path, option(RUN, "Folder of results and report.", "FOLDER")] = Path(
        "reproduction"
    ),
    baseline: Annotated[
        str, option(RUN, "The method that others are compared with.", "LABEL")
    ] = _BASELINE,
    report_only: Annotated[
        bool, option(RUN, "Only make the report, from the results alone.", flag="--report-only")
    ] = False,
    dry_run: Annotated[bool, option(RUN, "Only say what would be run.", flag="--dry-run")] = False,
    device: Annotated[
        str | None,
        option(RUN, "cpu, cuda, cuda:1, ...  [dim]\\[default: the fastest][/dim]", "NAME"),
    ] = None,
    as_json: Annotated[bool, option(RUN, "Print JSON instead of a table.", flag="--json")] = False,
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
    if report_only and dry_run:
        raise ValueError("Give either `report_only` or `dry_run`.")
    experiments = _chosen(find_experiments(name or ["all"]), options)
    file = output / RESULTS
    if report_only:
        expected = _described(experiments, read_results(file))
    else:
        expected, plan = _run_all(experiments, file, device, dry_run=dry_run)
        if dry_run:
            _print_plan(plan, file, as_json=as_json)
            return
    named = {made.name for made in experiments}
    lines = [line for line in read_results(file) if not name or line["experiment"] in named]
    _check_baseline(baseline, lines)
    report = make_report(lines, baseline, expected or None)
    written = write_report(report, output)
    if as_json:
        files = [str(path) for path in written]
        missing = list(report.missing)
        print_json({"results": str(file), "lines": len(lines), "report": files, "missing": missing})
        return
    out = console()
    out.print(written[0].read_text(encoding="utf-8"), markup=False, soft_wrap=True)
    out.print(f"{len(lines):,} results in {file}; report in {' and '.join(map(str, written))}")


def _chosen(experiments: Sequence[Experiment], options: ExperimentOptions) -> list[Experiment]:
    """The experiments as the options ask for them, without those of which nothing is left."""
    for trained in options.trained or ():
        check_choice("trained", trained, TRAINED)
    methods = [method for made in experiments for method in made.methods]
    for label in options.method or ():
        if label not in [method.label for method in methods]:
            known = "; ".join(dict.fromkeys(method.label for method in methods))
            raise ValueError(f"`method` {label!r} is not known; there are {known}.")
    if options.seeds is not None:
        check_positive(seeds=options.seeds)
    found = [_changed(made, options) for made in experiments]
    left = [made for made in found if made is not None]
    if not left:
        raise ValueError("`method` and `trained` leave nothing to run.")
    return left


def _changed(experiment: Experiment, options: ExperimentOptions) -> Experiment | None:
    """What the options ask for instead; `None` if no method is left."""
    methods = tuple(
        method
        for method in experiment.methods
        if (not options.method or method.label in options.method)
        and (not options.trained or method.trained in ["nothing", *options.trained])
    )
    if not methods:
        return None
    training = dict(experiment.training)
    if options.epochs is not None:
        check_positive(epochs=options.epochs)
        training["epochs"] = options.epochs
    return experiment.changed(
        train=options.train,
        triples=options.triples,
        max_triples=options.max_triples,
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


def _labels(experiments: Sequence[Experiment]) -> dict[str, str]:
    """Each encoder and what results call it."""
    names = list(dict.fromkeys(name for made in experiments for name in made.encoders))
    labels = {name: Path(name).name if "/" in name else name for name in names}
    for name in names:
        other = next((n for n in names if n != name and labels[n] == labels[name]), None)
        if other is not None:
            raise ValueError(
                f"`encoder` {name} and {other} are both called {labels[name]!r} in results. Run "
                f"them into different folders, with `output`."
            )
    return labels


def _run_all(
    experiments: Sequence[Experiment], file: Path, device: str | None, *, dry_run: bool
) -> tuple[list[tuple], list[dict[str, Any]]]:
    """Do what is missing, or only look; returns the keys of all results, and what was to be done.

    Everything is checked before anything is embedded.
    """
    runners = {
        encoder: Runner(
            ParallelEncoder(encoder, device=device),
            label,
            file,
            device=pick_device(device),
            progress=show_progress(),
        )
        for encoder, label in _labels(experiments).items()
    }
    plans = {encoder: _of_encoder(experiments, encoder) for encoder in runners}
    plan = [row for name, runner in runners.items() for row in _plan(runner, plans[name])]
    expected = [
        key_of(line)
        for name, runner in runners.items()
        for made in plans[name]
        for run in runs_of(made, runner.name, runner.encoder.features)
        for line in run.results
    ]
    if not dry_run:
        for name, runner in runners.items():
            _run(runner, plans[name])
    return expected, plan


def _of_encoder(experiments: Sequence[Experiment], encoder: str) -> list[Experiment]:
    return [made for made in experiments if encoder in made.encoders]


def _run(runner: Runner, experiments: Sequence[Experiment]) -> None:
    total = 0
    for made in experiments:
        total += len(runner.missing(made))
        runner.prepare(made)
    title = f"{runner.name}: {', '.join(made.name for made in experiments)}"
    with torch_threads(1), progress_bar(title, total, enabled=show_progress()) as advance:
        for made in experiments:
            runner.run(made, advance)


def _described(experiments: Sequence[Experiment], lines: Sequence[Line]) -> list[tuple]:
    """The keys of all results of the experiments that are the ones in the file.

    An experiment of which nothing is there was run with other options, of which nothing is known.
    """
    there = {key_of(line) for line in lines}
    features = {line["encoder"]: line["features"] for line in lines if "features" in line}
    expected = []
    for encoder, label in _labels(experiments).items():
        for made in _of_encoder(experiments, encoder) if label in features else ():
            runs = runs_of(made, label, features[label])
            keys = [key_of(line) for run in runs for line in run.results]
            expected += keys if there.intersection(keys) else []
    return expected


def _check_baseline(baseline: str, lines: Sequence[Line]) -> None:
    known = list(dict.fromkeys(line["method"] for line in lines))
    if baseline != _BASELINE and baseline not in known:
        raise ValueError(f"`baseline` {baseline!r} has no results; there are {'; '.join(known)}.")


def _plan(runner: Runner, experiments: Sequence[Experiment]) -> list[dict[str, Any]]:
    """Of each method, what there is to run."""
    rows = []
    for made in experiments:
        missing = runner.missing(made)
        check_heads(missing, runner.encoder.features)
        runs = runs_of(made, runner.name, runner.encoder.features)
        for method in made.methods:
            of_method = [run for run in runs if run.method == method]
            row: dict[str, Any] = {
                "experiment": made.name,
                "encoder": runner.name,
                "method": method.label,
                "trained": method.trained,
                "sizes": sorted({run.size for run in of_method}, reverse=True),
                "runs": len(of_method),
                "to_do": sum(run.method == method for run in missing),
            }
            rows.append(row)
    return rows


def _print_plan(plan: Sequence[dict[str, Any]], file: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"results": str(file), "plan": list(plan)})
        return
    rows = [
        [
            *(str(row[name]) for name in ("experiment", "encoder", "method", "trained")),
            ", ".join(map(str, row["sizes"])),
            f"{row['runs']:,}",
            f"{row['to_do']:,}",
        ]
        for row in plan
    ]
    out = console()
    names = ["experiment", "encoder", "method", "trained", "sizes", "runs", "to do"]
    out.print(table(names, rows, left=5))
    out.print(f"{sum(row['to_do'] for row in plan):,} to do; results in {file}")
