"""Figures of results."""

from mpsheads.plotting.quality import quality_vs_bytes

__all__ = ["quality_vs_bytes"]
