"""`mpsheads reproduce`: the paper's comparisons, or your own, from TOML files to a report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from mpsheads.cli.options import RUN, PrintOptions, argument, option
from mpsheads.cli.output import console, print_json, table

_WHAT = "What is run"
_BASELINE = "dense"


@dataclass(frozen=True)
class ExperimentOptions:
    """In what a run differs from the file of the experiment."""

    train: Annotated[
        str | None,
        option(
            _WHAT,
            "Where heads are trained: a BEIR folder or an ir_datasets id, with a split after a "
            "colon.",
            "COLLECTION[:SPLIT]",
        ),
    ] = None
    triples: Annotated[
        str | None,
        option(
            _WHAT,
            "Take pairs and hard negatives from this file, as mpsheads mine writes, or from an "
            "ir_datasets id.",
            "FILE|ID",
            default="those of an id that has some, else mined",
        ),
    ] = None
    max_triples: Annotated[
        int | None,
        option(
            _WHAT,
            "Most triples, the first ones; only what they name is encoded.",
            default="1000000",
        ),
    ] = None
    test: Annotated[
        list[str] | None,
        option(
            _WHAT,
            "Where they are measured; repeat it. The pool is judged (default), all, or the path of "
            "a TREC run.",
            "COLLECTION[:SPLIT][@POOL]",
        ),
    ] = None
    encoder: Annotated[
        list[str] | None,
        option(_WHAT, "minilm, mpnet, bert, a folder or a hub name; repeat it.", "MODEL"),
    ] = None
    size: Annotated[
        list[int] | None, option(_WHAT, "Numbers of a compressed vector; repeat it.")
    ] = None
    bits: Annotated[
        list[int] | None, option(_WHAT, "Bits a number, of 32, 8, 4, 2, 1; repeat it.")
    ] = None
    seeds: Annotated[
        int | None, option(_WHAT, "How many seeds, from 0 on.", default="20, as in the paper")
    ] = None
    fraction: Annotated[
        list[float] | None,
        option(_WHAT, "Part of the training queries, or a whole number of them; repeat it."),
    ] = None
    method: Annotated[
        list[str] | None, option(_WHAT, "Only methods with this label; repeat it.", "LABEL")
    ] = None
    trained: Annotated[
        list[str] | None,
        option(_WHAT, "Only methods of which this is trained; repeat it.", "nothing|head|layers"),
    ] = None
    epochs: Annotated[
        int | None, option(_WHAT, "Epochs of training, unless a method has its own.")
    ] = None


def reproduce(
    options: ExperimentOptions,
    shown: PrintOptions,
    name: Annotated[
        list[str] | None,
        argument(
            "efficiency, ...; all; or TOML files.",
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
        str | None, option(RUN, "cpu, cuda, cuda:1, ...", "NAME", default="the fastest")
    ] = None,
) -> None:
    """Run the paper's comparisons, or those of your own TOML files, and make a report of them.

    Results go to OUTPUT/results.jsonl, a line each, as soon as they are known. What is there is not
    run again, so a run that was stopped goes on where it was; the report is made from that file.

    [bold]Examples[/bold]

    [cyan]mpsheads reproduce frozen --encoder minilm --train ./train-pairs:train
    --test ./trec-dl:dl19 --test ./trec-dl:dl20 --seeds 3[/cyan]

    [cyan]mpsheads reproduce all --report-only --output reproduction[/cyan]
    """
    from mpsheads import experiments as room
    from mpsheads.cli.data import pick_device, show_progress

    if report_only and dry_run:
        raise ValueError("Give either `report_only` or `dry_run`.")
    pick_device(device)
    chosen = room.select(
        room.find_experiments(name or ["all"]),
        methods=options.method or (),
        trained=options.trained or (),
        seeds=options.seeds,
        epochs=options.epochs,
        train=options.train,
        triples=options.triples,
        max_triples=options.max_triples,
        tests=options.test,
        encoders=options.encoder,
        sizes=options.size,
        bits=options.bits,
        fractions=options.fraction,
    )
    file = output / "results.jsonl"
    if report_only:
        expected = room.expected_keys(chosen, room.read_results(file))
    else:
        plan = room.run_experiments(
            chosen, file, device=device, dry_run=dry_run, progress=show_progress()
        )
        if dry_run:
            _print_plan(plan.rows, file, as_json=shown.as_json)
            return
        expected = plan.keys
    names = {experiment.name for experiment in chosen}
    lines = [line for line in room.read_results(file) if not name or line["experiment"] in names]
    labels = dict.fromkeys(line["method"] for line in lines)
    if baseline != _BASELINE and baseline not in labels:
        raise ValueError(f"`baseline` {baseline!r} has no results; there are {'; '.join(labels)}.")
    report = room.make_report(lines, baseline, expected or None)
    written = [str(path) for path in room.write_report(report, output)]
    if shown.as_json:
        missing = list(report.missing)
        print_json(
            {"results": str(file), "lines": len(lines), "report": written, "missing": missing}
        )
        return
    out = console()
    out.print(Path(written[0]).read_text(encoding="utf-8"), markup=False, soft_wrap=True)
    out.print(f"{len(lines):,} results in {file}; report in {' and '.join(written)}")


def _print_plan(plan: list[dict[str, Any]], file: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"results": str(file), "plan": plan})
        return
    words = ("experiment", "encoder", "method", "trained")
    rows = [
        [
            *(str(row[name]) for name in words),
            ", ".join(map(str, row["sizes"])),
            *(f"{row[name]:,}" for name in ("runs", "to_do")),
        ]
        for row in plan
    ]
    out = console()
    out.print(table([*words, "sizes", "runs", "to do"], rows, left=5))
    out.print(f"{sum(row['to_do'] for row in plan):,} to do; results in {file}")
