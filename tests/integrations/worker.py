"""A short training, alone or as a process of `torchrun`.

python -m tests.integrations.worker ENCODER OUTPUT
"""

import os
import sys
from pathlib import Path

import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from mpsheads import MPSProjectionHead
from mpsheads.sentence_transformers import add_head, head_similarity
from tests.integrations.tiny import FEATURES, QUERIES, TEXTS

STEPS, SAVED = 4, 2
compared: set[tuple[int, int]] = set()  # how many queries with how many documents


def train(encoder: str, output: Path, checkpoint: str | None = None) -> SentenceTransformer:
    """Train four steps, the whole model, with dropout; or the last two from a checkpoint."""
    torch.manual_seed(0)
    model = add_head(SentenceTransformer(encoder, device="cpu"), MPSProjectionHead(FEATURES, 16))
    similarity = head_similarity(model)

    def recorded(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        compared.add((len(a), len(b)))
        return similarity(a, b)

    loss = MultipleNegativesRankingLoss(
        model,
        similarity_fct=recorded,
        scale=1.0,
        gather_across_devices="RANK" in os.environ,
    )
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(output),
        per_device_train_batch_size=4,
        max_steps=STEPS,
        save_steps=SAVED,
        logging_steps=1,
        learning_rate=1e-3,
        use_cpu=True,
        ddp_backend="gloo" if "RANK" in os.environ else None,
        ddp_find_unused_parameters="RANK" in os.environ,  # nothing reads the pooler
        report_to="none",
        disable_tqdm=True,
    )
    pairs = Dataset.from_dict({"query": QUERIES * 4, "document": TEXTS * 4})
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=pairs, loss=loss
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    return model


def main() -> None:
    """Train, train the last half again from the checkpoint, and save the weights of both."""
    encoder, output = sys.argv[1], Path(sys.argv[2])
    whole = train(encoder, output / "whole").state_dict()
    resumed = train(encoder, output / "resumed", str(output / "whole" / f"checkpoint-{SAVED}"))
    result = {"whole": whole, "resumed": resumed.state_dict(), "compared": sorted(compared)}
    torch.save(result, output / f"rank-{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main()
