"""Hard negatives of a small collection, by BM25."""
# ruff: noqa: E402 - the part that a page shows has its own imports

from mpsheads.retrieval import Collection

collection = Collection(
    name="cats",
    documents={
        "d1": "Cats purr when they are content.",
        "d2": "Cats hiss when they are afraid.",
        "d3": "Dogs bark at the postman.",
    },
    queries={"q1": "why do cats purr"},
    qrels={"q1": {"d1": 1}},
)

# --8<-- [start:mine]
from mpsheads.retrieval import write_triples
from mpsheads.training import mine_triples

mined = mine_triples(collection, by="bm25", margin=None)
write_triples(mined.triples, "triples.tsv.gz")
# --8<-- [end:mine]

print(mined.triples)
