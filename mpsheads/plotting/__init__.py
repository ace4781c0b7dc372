"""Figures of results, circuits, and of what a head has learned."""

from mpsheads.plotting.angles import (
    angle_histogram,
    angle_histogram_on,
    angle_map_on,
    code_bits_on,
)
from mpsheads.plotting.circuits import draw_circuit, draw_circuit_on
from mpsheads.plotting.distances import distance_distributions, distance_distributions_on
from mpsheads.plotting.entanglement import (
    block_entropy_on,
    entanglement_entropy,
    entanglement_entropy_on,
)
from mpsheads.plotting.learned import (
    EntropyProfile,
    PairDistances,
    code_entropy,
    entropy_profile,
)
from mpsheads.plotting.overview import overview
from mpsheads.plotting.quality import (
    QualityPoint,
    pareto_front,
    quality_vs_bytes,
    quality_vs_bytes_on,
)
from mpsheads.plotting.style import check_format, colour_of, new_figure, save_figure, tidy

__all__ = [
    "EntropyProfile",
    "PairDistances",
    "QualityPoint",
    "angle_histogram",
    "angle_histogram_on",
    "angle_map_on",
    "block_entropy_on",
    "check_format",
    "code_bits_on",
    "code_entropy",
    "colour_of",
    "distance_distributions",
    "distance_distributions_on",
    "draw_circuit",
    "draw_circuit_on",
    "entanglement_entropy",
    "entanglement_entropy_on",
    "entropy_profile",
    "new_figure",
    "overview",
    "pareto_front",
    "quality_vs_bytes",
    "quality_vs_bytes_on",
    "save_figure",
    "tidy",
]
