"""Training of a head on embeddings that were computed once, or with an encoder's last layers."""

from mpsheads._arrays import hold
from mpsheads.training.checkpoint import CHECKPOINT, read_checkpoint
from mpsheads.training.config import TrainingConfig
from mpsheads.training.data import Batch, TrainingData, training_data
from mpsheads.training.loop import TrainingResult, train
from mpsheads.training.losses import contrastive_loss, distillation_loss
from mpsheads.training.mining import MinedTriples, mine_hard_negatives, mine_triples
from mpsheads.training.validation import hold_out, ranking_validation

__all__ = [
    "CHECKPOINT",
    "Batch",
    "MinedTriples",
    "TrainingConfig",
    "TrainingData",
    "TrainingResult",
    "contrastive_loss",
    "distillation_loss",
    "hold_out",
    "mine_hard_negatives",
    "mine_triples",
    "ranking_validation",
    "read_checkpoint",
    "train",
    "training_data",
]

hold(globals())
