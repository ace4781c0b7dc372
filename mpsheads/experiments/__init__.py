"""Experiments: what each run measured, the statistics of it, and reports made from it alone."""

from mpsheads.experiments.results import FORMAT_VERSION, append_result, key_of, read_results

__all__ = ["FORMAT_VERSION", "append_result", "key_of", "read_results"]
