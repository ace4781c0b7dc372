"""Projection heads: layers that compress embeddings."""

from mpsheads.heads.base import (
    HEADS,
    ProjectionHead,
    compress_vectors,
    head_size_in_bytes,
    load_head,
)
from mpsheads.heads.dense import DenseHead, PCAHead, TruncationHead
from mpsheads.heads.description import block_circuit, describe
from mpsheads.heads.frozen import FrozenHead, freeze
from mpsheads.heads.making import make_head
from mpsheads.heads.projection import MPSProjectionHead
from mpsheads.heads.reference import ReferenceHead

__all__ = [
    "HEADS",
    "DenseHead",
    "FrozenHead",
    "MPSProjectionHead",
    "PCAHead",
    "ProjectionHead",
    "ReferenceHead",
    "TruncationHead",
    "block_circuit",
    "compress_vectors",
    "describe",
    "freeze",
    "head_size_in_bytes",
    "load_head",
    "make_head",
]
