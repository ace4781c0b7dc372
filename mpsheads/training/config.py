"""The settings of training runs."""

import math
from dataclasses import dataclass

from mpsheads._checks import check_choice, check_positive

LOSSES = ("contrastive", "distillation", "both", "paper")


@dataclass(frozen=True)
class TrainingConfig:
    """How a head is trained. Two runs with equal settings, data and head give equal weights.

    Attributes:
        epochs: Passes over the pairs.
        batch_size: Pairs a step. The documents of the other pairs are the negatives.
        learning_rate: Peak rate of Adam; `None` takes 3e-3 for an `MPSProjectionHead` after `fit`,
            1e-2 without and for `ReferenceHead`, 1e-3 for `DenseHead`; 4e-5 for the paper's loss.
            A few hundred steps on texts of the kind that is searched bear 3e-2 after `fit`, too.
        loss: "contrastive" (cross-entropy of the relevant document), "distillation" (KL from the
            uncompressed similarities), "both", their sum, or "paper": cross-entropy of the
            relevant document among itself and the pair's own `hard_negatives`, of `scale` times
            the fidelity, or times the cosine for heads that are compared by it. The paper takes
            five, a batch of 64 and five epochs; its rate and its scale are constant. Pairs
            without hard negatives are left out.
        distillation_weight: Factor of the distillation term in "both".
        temperature: The uncompressed cosine is divided by it to make the teacher's logits.
        scale: Initial factor on the head's similarities; it is trained along. `None` chooses it so
            that the untrained head's logits spread as much as cosine / temperature does. A
            log-fidelity sums one term per qubit, so its scale falls as the head gets wider. In
            "paper" it is not trained, and 20 if `None`.
        hard_negatives: Mined negatives that join the batch for each pair, 0 for none. A few often
            help; each adds up to `batch_size` documents to a step.
        truncation_weight: Factor of the mean weight that a truncating head discards, added to the
            loss; 0 leaves it out. It trains circuits that need less bond dimension.
        warmup: Part of all steps in which the rate rises linearly; then it falls along a cosine
            to zero. "paper" has neither.
        seed: Seed of the order of pairs.
    """

    epochs: int = 3
    batch_size: int = 128
    learning_rate: float | None = None
    loss: str = "both"
    distillation_weight: float = 1.0
    temperature: float = 0.05
    scale: float | None = None
    hard_negatives: int = 0
    truncation_weight: float = 0.0
    warmup: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(epochs=self.epochs, batch_size=self.batch_size)
        if self.batch_size < 2:
            raise ValueError(
                "`batch_size` must be at least 2: the others are the negatives, got 1."
            )
        check_choice("loss", self.loss, LOSSES)
        _check_rates(self, "learning_rate", "distillation_weight", "temperature", "scale")
        _check_integers(self, "hard_negatives")
        _check_negatives(self)
        if not 0 <= self.truncation_weight < math.inf:
            raise ValueError(
                f"`truncation_weight` must be a finite number, at least 0, got "
                f"{self.truncation_weight}."
            )
        if not 0 <= self.warmup < 1:
            raise ValueError(f"`warmup` must lie in [0, 1), got {self.warmup}.")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise TypeError(f"`seed` must be an integer, got {self.seed!r}.")

    def learning_rate_at(self, step: int, steps: int, peak: float) -> float:
        """Rate of step `step` (from 0) of `steps`: linear warm-up to `peak`, then a cosine to 0.

        Always `peak` for the loss "paper".
        """
        if self.loss == "paper":
            return peak
        rising = int(self.warmup * steps)
        if step < rising:
            return peak * (step + 1) / (rising + 1)
        return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


@dataclass(frozen=True)
class FinetuneConfig:
    """How an encoder's last layers are trained with a head. The defaults are the paper's recipe.

    Attributes:
        epochs: Passes over the pairs.
        batch_size: Pairs a step; the last step of an epoch may have fewer.
        learning_rate: Constant rate of Adam.
        head_learning_rate: That of the head's parameters, if they shall have another.
        loss: "paper", cross-entropy of the relevant document among itself and the pair's own hard
            negatives, by `scale` times the fidelity, or times the cosine for heads that are
            compared by it; pairs without hard negatives are left out. "contrastive", among all
            documents of the batch, by `scale` times the head's similarity, for quantum heads the
            log-fidelity.
        hard_negatives: Hard negatives a pair.
        scale: Factor on similarities, not trained; 20 in "paper" if `None`, else `logit_scale`.
        trainable_layers: How many of the encoder's last layers are trained; 0 for the head alone,
            `None` for all of the encoder.
        max_length: Tokens after which a text is cut.
        dropout: Whether the trained layers drop out, as much as the encoder's configuration says;
            frozen ones never do. Without it a step takes about half as long on a CPU.
        seed: Seed of the order of pairs and of dropout.

    Source: Kankeu et al. 2025 (arXiv:2501.04591).
    """

    epochs: int = 5
    batch_size: int = 64
    learning_rate: float = 4e-5
    head_learning_rate: float | None = None
    loss: str = "paper"
    hard_negatives: int = 5
    scale: float | None = None
    trainable_layers: int | None = 4
    max_length: int = 256
    dropout: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(epochs=self.epochs, batch_size=self.batch_size, max_length=self.max_length)
        check_choice("loss", self.loss, ("paper", "contrastive"))
        _check_rates(self, "learning_rate", "head_learning_rate", "scale")
        _check_integers(self, "hard_negatives", "trainable_layers")
        _check_negatives(self)
        if not isinstance(self.dropout, bool):
            raise TypeError(f"`dropout` must be True or False, got {self.dropout!r}.")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise TypeError(f"`seed` must be an integer, got {self.seed!r}.")


def _check_rates(config: TrainingConfig | FinetuneConfig, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ValueError(f"`{name}` must be a positive finite number, got {value}.")


def _check_integers(config: TrainingConfig | FinetuneConfig, *names: str) -> None:
    """Raise unless those that are not `None` are integers of at least 0."""
    for name in names:
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int | None):
            raise TypeError(f"`{name}` must be an integer, got {value!r}.")
        if value is not None and value < 0:
            raise ValueError(f"`{name}` must be at least 0, got {value}.")


def _check_negatives(config: TrainingConfig | FinetuneConfig) -> None:
    if config.loss == "paper" and not config.hard_negatives:
        raise ValueError(
            '`hard_negatives` must be at least 1 for loss="paper", which compares a pair with '
            "nothing else, got 0. The paper takes 5."
        )
