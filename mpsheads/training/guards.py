"""What stops a training run before it goes wrong: NaN and infinity, named with the way out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mpsheads.training.checkpoint import CHECKPOINT


@dataclass(frozen=True)
class Progress:
    """Where a run stands, for messages.

    Attributes:
        folder: Where its checkpoint lies.
        epochs: How many epochs the checkpoint holds.
        learning_rate: The rate, or its peak.
    """

    folder: Path
    epochs: int
    learning_rate: float

    def check_loss(self, value: float, step: int) -> None:
        """Raise `ValueError` if the loss of a step of the next epoch is not finite."""
        if value - value != 0:
            raise ValueError(
                f"The loss became {value} in epoch {self.epochs + 1}, step {step}. {self._way_out}"
            )

    def check_parameters(self, parameters: Mapping[str, Tensor]) -> None:
        """Raise `ValueError` if one is not finite after the next epoch."""
        for name, parameter in parameters.items():
            if not torch.isfinite(parameter).all():
                raise ValueError(
                    f"The parameter `{name}` became NaN or infinite in epoch {self.epochs + 1}. "
                    f"{self._way_out}"
                )

    @property
    def _way_out(self) -> str:
        kept = f"{self.folder / CHECKPOINT} holds epoch {self.epochs}; try"
        rate = f"a smaller `learning_rate` (now {self.learning_rate})."
        return f"{kept if self.epochs else 'Try'} {rate}"


def validated(
    validation: Callable[[Any], float] | None, model: torch.nn.Module, subject: Any
) -> float | None:
    """The score of `subject` with its model in evaluation mode, `None` without a validation.

    Raises:
        ValueError: If it is NaN.
    """
    if validation is None:
        return None
    model.eval()
    with torch.no_grad():
        score = float(validation(subject))
    if score != score:
        raise ValueError("`validation` returned NaN; it must return a number, higher is better.")
    return score
