"""Projection heads: layers that compress embeddings."""

from mpsheads.heads.base import ProjectionHead, load_head
from mpsheads.heads.dense import DenseHead, PCAHead, TruncationHead

__all__ = ["DenseHead", "PCAHead", "ProjectionHead", "TruncationHead", "load_head"]
