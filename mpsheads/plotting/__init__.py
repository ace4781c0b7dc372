"""Figures of results and circuits."""

from mpsheads.plotting.circuits import draw_circuit, draw_circuit_on
from mpsheads.plotting.quality import quality_vs_bytes

__all__ = ["draw_circuit", "draw_circuit_on", "quality_vs_bytes"]
