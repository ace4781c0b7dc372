"""`mpsheads reproduce`: the paper's comparisons, or your own, from TOML files to a report."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpsheads.cli.options import PrintOptions
from mpsheads.cli.output import console, print_json, table

if TYPE_CHECKING:
    from mpsheads.experiments import Experiment

_BASELINE = "dense"


@dataclass(frozen=True)
class ExperimentOptions:
    """In what a run differs from the file of the experiment."""

    train: str | None = None
    triples: str | None = None
    max_triples: int | None = None
    test: list[str] | None = None
    encoder: list[str] | None = None
    size: list[int] | None = None
    bits: list[int] | None = None
    seeds: int | None = None
    fraction: list[float] | None = None
    method: list[str] | None = None
    trained: list[str] | None = None
    epochs: int | None = None


def reproduce(
    options: ExperimentOptions,
    shown: PrintOptions,
    name: list[str] | None = None,
    output: Path = Path("reproduction"),
    baseline: str = _BASELINE,
    report_only: bool = False,
    dry_run: bool = False,
    device: str | None = None,
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
    chosen = _chosen(name or ["all"], options)
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


def _chosen(names: list[str], options: ExperimentOptions) -> "list[Experiment]":
    """The experiments of these names, as the options ask for them."""
    from mpsheads.experiments import find_experiments, select

    return select(
        find_experiments(names),
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
