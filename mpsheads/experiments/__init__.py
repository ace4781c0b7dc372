"""Experiments: what each run measured, the statistics of it, and reports made from it alone."""

from mpsheads.experiments.frontier import (
    Point,
    Recommendation,
    frontier_table,
    measure_points,
    pareto_front,
    recommend,
)
from mpsheads.experiments.report import Report, make_report, write_report
from mpsheads.experiments.results import FORMAT_VERSION, append_result, key_of, read_results
from mpsheads.experiments.rows import Row, Table
from mpsheads.experiments.statistics import Comparison, Summary, compare, correct, summarise

__all__ = [
    "FORMAT_VERSION",
    "Comparison",
    "Point",
    "Recommendation",
    "Report",
    "Row",
    "Summary",
    "Table",
    "append_result",
    "compare",
    "correct",
    "frontier_table",
    "key_of",
    "make_report",
    "measure_points",
    "pareto_front",
    "read_results",
    "recommend",
    "summarise",
    "write_report",
]
