"""From passages to a search: encode them to shards, build an index, find the closest."""

from mpsheads._arrays import hold
from mpsheads.search.backend import IndexBackend
from mpsheads.search.engines import ENGINES, Engine
from mpsheads.search.index import Index
from mpsheads.search.measuring import check_index
from mpsheads.search.shards import Manifest, codes_of, encode_passages, read_manifest, read_shards

__all__ = [
    "ENGINES",
    "Engine",
    "Index",
    "IndexBackend",
    "Manifest",
    "check_index",
    "codes_of",
    "encode_passages",
    "read_manifest",
    "read_shards",
]

hold(globals())
