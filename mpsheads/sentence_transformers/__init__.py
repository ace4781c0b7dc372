"""A projection head at the end of a sentence-transformers model, and what losses need of it.

A saved model names `mpsheads.sentence_transformers.Projection` in its `modules.json`. The names of
this package and that class are therefore kept for ever.
"""

from mpsheads.sentence_transformers.projection import Projection, add_head, load_model
from mpsheads.sentence_transformers.similarity import find_head, head_similarity

__all__ = ["Projection", "add_head", "find_head", "head_similarity", "load_model"]
