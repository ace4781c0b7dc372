"""Compress the search of your own collection: encode it, train a head, compare before and after.

    python examples/compress_a_search.py FOLDER [ENCODER]

FOLDER is a BEIR collection with the splits `train` and `test`: `corpus.jsonl`, `queries.jsonl` and
`qrels/SPLIT.tsv`. ENCODER is `minilm` (the default), a model's folder, or a name on the Hugging
Face hub. The trained head is left in `trained-head`.
"""

# --8<-- [start:compress]
import sys

import torch

from mpsheads import MPSProjectionHead, cosine
from mpsheads.retrieval import Encoder, encode_cached, evaluate, load_collection, rank
from mpsheads.training import TrainingConfig, train_head, training_data

folder = sys.argv[1]
encoder = Encoder(sys.argv[2] if len(sys.argv) > 2 else "minilm")
train, test = (load_collection(folder, split) for split in ("train", "test"))
documents = encode_cached(encoder, list(test.documents.values()), kind="document")


def embed(queries):
    """Embeddings of queries, read from the cache the second time."""
    return encode_cached(encoder, list(queries.values()), kind="query")


def ndcg(zq, zd, similarity):
    """nDCG@10 of ranking every document for every test query."""
    run = rank(zq, list(test.queries), zd, list(test.documents), similarity)
    return evaluate(run, test.qrels, ["nDCG@10"]).mean["nDCG@10"]


torch.manual_seed(0)
head = MPSProjectionHead(encoder.features, encoder.features // 3, bond_dim=4).fit(documents)
data = training_data(train, embed(train.queries), documents)
config = TrainingConfig(epochs=5, batch_size=min(128, len(data)))
head = train_head(head, data, config, "trained-head", progress=False).head

queries = embed(test.queries)
with torch.no_grad():
    zq, zd = head(queries), head(documents)
print(f"{4 * encoder.features} bytes a vector: nDCG@10 {ndcg(queries, documents, cosine):.3f}")
print(f"{head.bytes_per_vector} bytes a vector: nDCG@10 {ndcg(zq, zd, head.similarity):.3f}")
# --8<-- [end:compress]
