"""The settings of a training run."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from mpsheads._typing import Positive

_MOST = 1 << 32
_WARMUP = 0.05  # part of all steps in which the rate rises


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained. Two runs with equal settings, data and model give equal weights.

    Similarities are multiplied by a scale that is trained along. It starts where the untrained
    head's logits spread as much as cosine / 0.05 does, for texts at the head's
    `logit_scale`. A log-fidelity sums one term per qubit, so its scale falls as the head gets
    wider. In the loss "paper" it is 20.

    The paper's recipe is `TrainingConfig(epochs=5, batch_size=64, loss="paper", hard_negatives=5)`.

    Attributes:
        epochs: Passes over the pairs.
        batch_size: Pairs a step, or all where there are fewer. The documents of the other pairs are
            the negatives.
        learning_rate: Peak rate of Adam; `None` takes 3e-3 for an `MPSProjectionHead` after `fit`,
            1e-2 without and for `ReferenceHead`, 1e-3 for `DenseHead`; 4e-5 for the paper's loss
            and for encoders. A few hundred steps on texts of the kind that is searched bear 3e-2
            after `fit`, too. It rises linearly in the first twentieth of all steps, then falls
            along a cosine to zero; that of "paper" is constant.
        loss: "contrastive" (cross-entropy of the relevant document among those of the batch);
            "both", which adds the KL divergence from the uncompressed cosines over 0.05, for
            embeddings alone; or "paper": cross-entropy of the relevant document among itself and
            the pair's own `hard_negatives`, of 20 times the fidelity, or the cosine for heads that
            are compared by it. Pairs without hard negatives are left out.
        hard_negatives: Hard negatives that join the batch for each pair, if it has as many; 0 for
            none. A few often help; each adds up to `batch_size` documents to a step.
        seed: Seed of the order of pairs, and of dropout, in [0, 2**32).

    Source of "paper": Kankeu et al. 2025 (arXiv:2501.04591).
    """

    epochs: Positive = 3
    batch_size: Positive = 128
    learning_rate: float | None = None
    loss: Literal["both", "contrastive", "paper"] = "both"
    hard_negatives: Annotated[int, 0] = 0
    seed: Annotated[int, 0] = 0

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise ValueError(
                "`batch_size` must be at least 2: the others are the negatives, got 1."
            )
        rate = self.learning_rate
        if rate is not None and not (rate > 0 and math.isfinite(rate)):
            raise ValueError(f"`learning_rate` must be a positive finite number, got {rate}.")
        for name in ("hard_negatives", "seed"):
            if getattr(self, name) >= _MOST:
                raise ValueError(f"`{name}` must lie in [0, 2**32), got {getattr(self, name)}.")
        if self.loss == "paper" and not self.hard_negatives:
            raise ValueError(
                '`hard_negatives` must be at least 1 for loss="paper", which compares a pair with '
                "nothing else, got 0. The paper takes 5."
            )

    def learning_rate_at(self, step: int, steps: int, peak: float) -> float:
        """Rate of step `step` (from 0) of `steps`, of which the highest is `peak`."""
        if self.loss == "paper":
            return peak
        rising = int(_WARMUP * steps)
        if step < rising:
            return peak * (step + 1) / (rising + 1)
        return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
