"""Experiments: what each run measured, the statistics of it, and reports made from it alone.

`mpsheads reproduce` is `find_experiments`, `select`, `run_experiments` (or `expected_keys` of the
lines that are there, to report only), `read_results`, `make_report` and `write_report`.

`mpsheads frontier` is a `Grid`, a `Runner`, `run_frontier` (or `written_lines`, to report only),
`make_frontier` and `write_frontier`. `FRONTIER_METHODS` maps labels to methods, `DEFAULT_METHODS`
are the labels measured unless others are asked for; `encoder_label` is what results call an
encoder.
"""

from mpsheads.experiments.frontier import (
    Frontier,
    Recommendation,
    frontier_table,
    make_frontier,
    recommend,
    write_frontier,
)
from mpsheads.experiments.grid import (
    DEFAULT_METHODS,
    FRONTIER_METHODS,
    FrontierPlan,
    Grid,
    plan_frontier,
    run_frontier,
    written_lines,
)
from mpsheads.experiments.quantise import code, product_quantiser
from mpsheads.experiments.report import Report, make_report, write_report
from mpsheads.experiments.results import append_result, key_of, read_results
from mpsheads.experiments.running import Plan, Runner, run_experiments
from mpsheads.experiments.spec import (
    Experiment,
    Method,
    experiment_names,
    find_experiments,
    read_experiment,
)
from mpsheads.experiments.tables import Comparison, Row, Table, compare, compare_all, make_tables
from mpsheads.experiments.trials import (
    Trial,
    encoder_label,
    expected_keys,
    select,
    trials_of,
)
from mpsheads.experiments.wording import label_of
from mpsheads.plotting import pareto_front

__all__ = [
    "DEFAULT_METHODS",
    "FRONTIER_METHODS",
    "Comparison",
    "Experiment",
    "Frontier",
    "FrontierPlan",
    "Grid",
    "Method",
    "Plan",
    "Recommendation",
    "Report",
    "Row",
    "Runner",
    "Table",
    "Trial",
    "append_result",
    "code",
    "compare",
    "compare_all",
    "encoder_label",
    "expected_keys",
    "experiment_names",
    "find_experiments",
    "frontier_table",
    "key_of",
    "label_of",
    "make_frontier",
    "make_report",
    "make_tables",
    "pareto_front",
    "plan_frontier",
    "product_quantiser",
    "read_experiment",
    "read_results",
    "recommend",
    "run_experiments",
    "run_frontier",
    "select",
    "trials_of",
    "write_frontier",
    "write_report",
    "written_lines",
]
