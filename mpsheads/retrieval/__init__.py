"""Collections, encoders, the cache of embeddings, exact search and evaluation."""

from mpsheads.retrieval.bm25 import BM25
from mpsheads.retrieval.cache import default_cache_dir, encode_cached
from mpsheads.retrieval.collections import Collection, candidate_pool, load_collection
from mpsheads.retrieval.docstrings import docstring_collection
from mpsheads.retrieval.encoder import Encoder
from mpsheads.retrieval.evaluation import (
    Evaluation,
    PairedTest,
    bootstrap_interval,
    evaluate,
    holm,
    paired_test,
)
from mpsheads.retrieval.models import NAMED_MODELS, NamedModel, fetch_model
from mpsheads.retrieval.runs import Run, read_run, write_run
from mpsheads.retrieval.search import rank
from mpsheads.retrieval.triples import Triple, load_triples, read_triples, write_triples
from mpsheads.retrieval.vectors import load_vectors, save_vectors

__all__ = [
    "BM25",
    "NAMED_MODELS",
    "Collection",
    "Encoder",
    "Evaluation",
    "NamedModel",
    "PairedTest",
    "Run",
    "Triple",
    "bootstrap_interval",
    "candidate_pool",
    "default_cache_dir",
    "docstring_collection",
    "encode_cached",
    "evaluate",
    "fetch_model",
    "holm",
    "load_collection",
    "load_triples",
    "load_vectors",
    "paired_test",
    "rank",
    "read_run",
    "read_triples",
    "save_vectors",
    "write_run",
    "write_triples",
]
