"""How an index finds candidates: engines behind one interface, chosen by a word."""

from mpsheads.search.engines.base import Engine, Exact
from mpsheads.search.engines.faiss import Faiss
from mpsheads.search.engines.lists import Lists
from mpsheads.search.engines.milvus import Milvus
from mpsheads.search.engines.pgvector import Pgvector
from mpsheads.search.engines.usearch import Usearch

ENGINES: dict[str, type[Engine]] = {
    engine.name: engine for engine in (Exact, Lists, Usearch, Faiss, Pgvector, Milvus)
}
"""The engines by their words."""

__all__ = ["ENGINES", "Engine", "Exact", "Faiss", "Lists", "Milvus", "Pgvector", "Usearch"]
