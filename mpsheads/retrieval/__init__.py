"""Collections, encoders, the cache of embeddings, exact search and evaluation."""

from mpsheads._arrays import hold
from mpsheads.retrieval._rows import Columns
from mpsheads.retrieval.bm25 import BM25
from mpsheads.retrieval.cache import encode_cached
from mpsheads.retrieval.collections import (
    Collection,
    candidate_pool,
    dataset_name,
    has_split,
    load_collection,
    parse_dataset,
    with_split,
)
from mpsheads.retrieval.docstrings import docstring_collection
from mpsheads.retrieval.embedded import EmbeddedCollection, Pool, embed, embed_dataset
from mpsheads.retrieval.encoder import Encoder
from mpsheads.retrieval.evaluation import Evaluation, check_measures, evaluate
from mpsheads.retrieval.models import NAMED_MODELS, default_cache_dir, fetch_model
from mpsheads.retrieval.passages import Passage, Passages
from mpsheads.retrieval.runs import Run, read_run, write_run
from mpsheads.retrieval.statistics import bootstrap_interval, holm, measure_heads, paired_test
from mpsheads.retrieval.triples import Triple, load_triples, write_triples
from mpsheads.retrieval.vectors import load_vectors, save_vectors

__all__ = [
    "BM25",
    "NAMED_MODELS",
    "Collection",
    "Columns",
    "EmbeddedCollection",
    "Encoder",
    "Evaluation",
    "Passage",
    "Passages",
    "Pool",
    "Run",
    "Triple",
    "bootstrap_interval",
    "candidate_pool",
    "check_measures",
    "dataset_name",
    "default_cache_dir",
    "docstring_collection",
    "embed",
    "embed_dataset",
    "encode_cached",
    "evaluate",
    "fetch_model",
    "has_split",
    "holm",
    "load_collection",
    "load_triples",
    "load_vectors",
    "measure_heads",
    "paired_test",
    "parse_dataset",
    "read_run",
    "save_vectors",
    "with_split",
    "write_run",
    "write_triples",
]

hold(globals())
