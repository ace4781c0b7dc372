"""Train a head on docstrings of three packages, and measure it on others. About a minute."""

# --8<-- [start:train]
import torch

from mpsheads import MPSProjectionHead
from mpsheads.retrieval import Encoder, docstring_collection, encode_cached, evaluate, rank
from mpsheads.training import TrainingConfig, train_head, training_data

parts = docstring_collection(["torch", "numpy", "transformers"], limit=600)  # three splits
encoder = Encoder("minilm")
torch.manual_seed(0)


def embed(collection):
    """Embeddings of the queries and of the documents, read from the cache the second time."""
    queries = encode_cached(encoder, list(collection.queries.values()), kind="query")
    return queries, encode_cached(encoder, list(collection.documents.values()), kind="document")


queries, documents = embed(parts["train"])
head = MPSProjectionHead(in_features=384, out_features=128, bond_dim=4).fit(documents)
data = training_data(parts["train"], queries, documents)
config = TrainingConfig(epochs=2, batch_size=32, seed=0)
train_head(head, data, config, "trained-head", progress=False)

test = parts["test"]
queries, documents = (head(x) for x in embed(test))
run = rank(queries, list(test.queries), documents, list(test.documents), head.similarity)
print(evaluate(run, test.qrels, ["nDCG@10"]).mean)
# --8<-- [end:train]
