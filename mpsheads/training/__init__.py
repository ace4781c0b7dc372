"""Training of a head on embeddings that were computed once."""

from mpsheads.training.config import TrainingConfig
from mpsheads.training.data import Batch, TrainingData, training_data
from mpsheads.training.loop import TrainingResult, train_head
from mpsheads.training.losses import contrastive_loss, distillation_loss, paper_loss
from mpsheads.training.mining import MinedTriples, mine_hard_negatives, mine_triples
from mpsheads.training.validation import ranking_validation

__all__ = [
    "Batch",
    "MinedTriples",
    "TrainingConfig",
    "TrainingData",
    "TrainingResult",
    "contrastive_loss",
    "distillation_loss",
    "mine_hard_negatives",
    "mine_triples",
    "paper_loss",
    "ranking_validation",
    "train_head",
    "training_data",
]
