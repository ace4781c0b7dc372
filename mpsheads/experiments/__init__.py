"""Experiments: what each run measured, the statistics of it, and reports made from it alone."""

from mpsheads.experiments.report import Report, make_report, write_report
from mpsheads.experiments.results import FORMAT_VERSION, append_result, key_of, read_results
from mpsheads.experiments.rows import Row, Table
from mpsheads.experiments.statistics import Comparison, Summary, compare, correct, summarise

__all__ = [
    "FORMAT_VERSION",
    "Comparison",
    "Report",
    "Row",
    "Summary",
    "Table",
    "append_result",
    "compare",
    "correct",
    "key_of",
    "make_report",
    "read_results",
    "summarise",
    "write_report",
]
