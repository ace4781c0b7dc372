"""Figures of results, and of what a head has learned.

Functions that end in `_on` draw one panel into axes of matplotlib; `draw_panels` puts any of them
side by side.
"""

from mpsheads.plotting.angles import angle_histogram, angle_histogram_on, angle_map_on
from mpsheads.plotting.entanglement import (
    EntropyProfile,
    draw_entropies,
    entropy_on,
    entropy_profile,
)
from mpsheads.plotting.quality import QualityPoint, pareto_front, quality_points, quality_vs_bytes
from mpsheads.plotting.style import check_format, draw_panels

__all__ = [
    "EntropyProfile",
    "QualityPoint",
    "angle_histogram",
    "angle_histogram_on",
    "angle_map_on",
    "check_format",
    "draw_entropies",
    "draw_panels",
    "entropy_on",
    "entropy_profile",
    "pareto_front",
    "quality_points",
    "quality_vs_bytes",
]
