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
from mpsheads.plotting.quality import quality_vs_bytes, quality_vs_bytes_on

__all__ = [
    "EntropyProfile",
    "PairDistances",
    "angle_histogram",
    "angle_histogram_on",
    "angle_map_on",
    "block_entropy_on",
    "code_bits_on",
    "code_entropy",
    "distance_distributions",
    "distance_distributions_on",
    "draw_circuit",
    "draw_circuit_on",
    "entanglement_entropy",
    "entanglement_entropy_on",
    "entropy_profile",
    "overview",
    "quality_vs_bytes",
    "quality_vs_bytes_on",
]
