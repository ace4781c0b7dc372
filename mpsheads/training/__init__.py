"""Training of a head on embeddings that were computed once, or with an encoder's last layers."""

from mpsheads.training.config import FinetuneConfig, TrainingConfig
from mpsheads.training.data import Batch, TrainingData, training_data
from mpsheads.training.finetune import FinetuneResult, TextValidation, finetune
from mpsheads.training.loop import TrainingResult, train_head
from mpsheads.training.losses import contrastive_loss, distillation_loss, paper_loss
from mpsheads.training.mining import MinedTriples, mine_hard_negatives, mine_triples
from mpsheads.training.texts import TextModel, TextPairs, uncompressed_head
from mpsheads.training.validation import ranking_validation

__all__ = [
    "Batch",
    "FinetuneConfig",
    "FinetuneResult",
    "MinedTriples",
    "TextModel",
    "TextPairs",
    "TextValidation",
    "TrainingConfig",
    "TrainingData",
    "TrainingResult",
    "contrastive_loss",
    "distillation_loss",
    "finetune",
    "mine_hard_negatives",
    "mine_triples",
    "paper_loss",
    "ranking_validation",
    "train_head",
    "training_data",
    "uncompressed_head",
]
