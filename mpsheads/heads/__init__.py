"""Projection heads: layers that compress embeddings."""

from mpsheads.heads.base import ProjectionHead, compress, load_head
from mpsheads.heads.dense import DenseHead, PCAHead, TruncationHead
from mpsheads.heads.grouping import fit_grouping
from mpsheads.heads.projection import MPSProjectionHead
from mpsheads.heads.reference import ReferenceHead

__all__ = [
    "DenseHead",
    "MPSProjectionHead",
    "PCAHead",
    "ProjectionHead",
    "ReferenceHead",
    "TruncationHead",
    "compress",
    "fit_grouping",
    "load_head",
]
