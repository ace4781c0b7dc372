"""Experiments: what each run measured, the statistics of it, and reports made from it alone.

`mpsheads reproduce` is `find_experiments`, `select`, `run_experiments`, `read_results` and
`write_report`. `mpsheads frontier` is `frontier_experiment`, `run_experiments`, `frontier_table`,
`recommend` and `write_frontier`.
"""

from mpsheads.experiments.frontier import (
    FRONTIER_METHODS,
    Recommendation,
    frontier_experiment,
    frontier_table,
    recommend,
    write_frontier,
)
from mpsheads.experiments.report import cells, write_report
from mpsheads.experiments.results import append_result, key_of, read_results
from mpsheads.experiments.running import run_experiments
from mpsheads.experiments.spec import (
    Experiment,
    Method,
    experiment_names,
    find_experiments,
    read_experiment,
)
from mpsheads.experiments.tables import Comparison, Row, Table, compare, make_tables
from mpsheads.experiments.trials import encoder_labels, name_of, select
from mpsheads.plotting import pareto_front

__all__ = [
    "FRONTIER_METHODS",
    "Comparison",
    "Experiment",
    "Method",
    "Recommendation",
    "Row",
    "Table",
    "append_result",
    "cells",
    "compare",
    "encoder_labels",
    "experiment_names",
    "find_experiments",
    "frontier_experiment",
    "frontier_table",
    "key_of",
    "make_tables",
    "name_of",
    "pareto_front",
    "read_experiment",
    "read_results",
    "recommend",
    "run_experiments",
    "select",
    "write_frontier",
    "write_report",
]
