"""The training loop: one call that ends with a saved model, and continues where it was killed."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, SupportsFloat

import torch
from torch import Tensor, nn

from mpsheads._checks import as_device, assume_finite, check_equal
from mpsheads._files import as_path, locked
from mpsheads._hashes import hash_of
from mpsheads._progress import progress_bar
from mpsheads._threads import torch_threads
from mpsheads._typing import PathLike
from mpsheads.heads import MPSProjectionHead, ProjectionHead
from mpsheads.similarity import cosine
from mpsheads.training.checkpoint import (
    CHECKPOINT,
    check_folder,
    check_same_run,
    read_checkpoint,
    write_checkpoint,
)
from mpsheads.training.config import TrainingConfig
from mpsheads.training.data import Batch, TrainingData
from mpsheads.training.losses import contrastive_loss, distillation_loss
from mpsheads.training.mining import mine_hard_negatives

_LEARNING_RATE = {"mps": 1e-2, "reference": 1e-2}
_FITTED_LEARNING_RATE, _OTHER_LEARNING_RATE = 3e-3, 1e-3
_ROTATION_LEARNING_RATE = 2e-3
_PAPER_LEARNING_RATE, _PAPER_SCALE = 4e-5, 20.0
_SCALE_SAMPLE, _TEMPERATURE = 256, 0.05  # the latter of the teacher's logits
_NEGATIVES = (
    "documents that are near a query, and safely not relevant. Mine them from more documents, "
    "or train with another loss or `hard_negatives=0`."
)


@dataclass(frozen=True)
class TrainingResult:
    """What a run ended with.

    Attributes:
        model: The trained model: of the best epoch if there was a validation, else of the last.
        output_dir: Folder with the saved model, `metrics.jsonl` and `checkpoint.pt`.
        history: One mapping an epoch: epoch (from 1), loss, learning_rate, scale, validation
            (`None` without one), seconds. The lines of `metrics.jsonl`.
        best_epoch: The epoch whose weights `model` holds.
        best_validation: Its score, `None` without validation.
        scale: The factor on similarities at that epoch, trained or the paper's; the losses used
            it, ranking does not need it.
    """

    model: Any
    output_dir: Path
    history: list[dict[str, Any]]
    best_epoch: int
    best_validation: float | None
    scale: float


def train(
    model: nn.Module,
    data: TrainingData,
    config: TrainingConfig | None = None,
    output_dir: PathLike = "trained-head",
    *,
    validation: Callable[[Any], float] | None = None,
    resume: bool = False,
    progress: bool = True,
    device: torch.device | str | None = None,
) -> TrainingResult:
    """Train a model on pairs of queries and relevant documents, and save it.

    Args:
        model: What is trained, in place: a head on embeddings, or an `MPSHeadModel` (the last
            layers of an encoder, and a head) on texts.
        data: Embeddings or texts, and pairs. Batches are cut where they live and moved to `device`.
        config: Settings; the defaults if `None`.
        output_dir: Folder for the model (`mpsheads.load` reads it), `metrics.jsonl` and
            `checkpoint.pt`, which is rewritten after each epoch.
        validation: Called after each epoch with the model in evaluation mode; the epoch with the
            highest score is kept. `ranking_validation` makes one.
        resume: Continue the run in `output_dir` from its last epoch, on the same machine to the
            same weights as if it had not been interrupted. Starts anew if none is there; a
            finished run is returned.
        progress: Show a progress bar on the standard error stream.
        device: Where the model is put; where it is if `None`.

    Raises:
        TypeError: If `model` has nothing to train or is in float16, or an argument is none such.
        ValueError: If model and data do not fit, there are no hard negatives for the paper's loss,
            `output_dir` holds a run and `resume` is not set, a run with other settings or data is
            resumed, or the loss stops being finite. In the last case the epoch before remains.
        FileExistsError: If `output_dir` is a file.
        BlockingIOError: If another process trains into `output_dir`.
        OSError: If a file cannot be written; the epoch before remains.
        ImportError: If `progress` is set and rich is not installed.

    Within `torch.autocast` an encoder multiplies in 16 bits; similarities and losses do not. On a
    CPU a head trains in one thread, as its steps are too small for more.

    Cost: for an encoder, a forward pass of `batch_size * (2 + hard_negatives)` texts a step, and a
    backward pass through the trained layers, which alone keep activations.
    """
    config = TrainingConfig() if config is None else config
    folder = as_path(output_dir)
    _check(model, data, config)
    check_folder(folder, resume=resume)
    if device is not None:
        model.to(as_device(device))
    run = _Run(model, data, config, folder, validation)
    small = isinstance(model, ProjectionHead) and run.device.type == "cpu"
    with locked(folder), torch_threads(1) if small else nullcontext():
        check_folder(folder, resume=resume)  # as another run may have ended by now
        if resume and (folder / CHECKPOINT).exists():
            run.restore()
        left = config.epochs - len(run.history)
        if left:
            run.prepare()
        title = f"training {getattr(model, 'name', type(model).__name__)}"
        with progress_bar(title, left * run.steps, enabled=progress) as advance:
            for _ in range(left):
                run.epoch(advance)
        return run.finish()


class _Run:
    """A run in progress: what a checkpoint holds, and one method for each stage."""

    def __init__(
        self,
        model: Any,
        data: TrainingData,
        config: TrainingConfig,
        folder: Path,
        validation: Callable[[Any], float] | None,
    ) -> None:
        self.model, self.data, self.config = model, data, config
        self.folder, self.validation = folder, validation
        self.head: ProjectionHead = getattr(model, "head", model)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.device, self.dtype = trained[0].device, trained[0].dtype
        frozen = (p for p in model.parameters() if not p.requires_grad)
        self.identity = {
            "setting": asdict(config),
            "head": {"name": self.head.name, **self.head.config, "dtype": str(self.dtype)},
            "encoder": {"fingerprint": hash_of(frozen)},
            "data": data.fingerprint(),
            "callback": {"validation": "given" if validation else "none"},
        }
        self.rows = torch.arange(len(data))  # of the pairs that are trained on
        self.generator = torch.Generator().manual_seed(config.seed)
        self.log_scale = nn.Parameter(torch.zeros((), device=self.device))
        self.paper = config.loss == "paper"
        self.optimiser = torch.optim.Adam(trained if self.paper else [*trained, self.log_scale])
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {}

    @property
    def batch_size(self) -> int:
        """Pairs a step: no more than there are."""
        return min(self.config.batch_size, len(self.rows))

    @property
    def steps(self) -> int:
        """Steps an epoch; the pairs that are left over wait for the next."""
        return len(self.rows) // self.batch_size

    @property
    def rate(self) -> float:
        """The peak rate; that of a resumed run is of the head that the checkpoint holds."""
        return self.config.learning_rate or _usual_rate(self.model, self.paper)

    @property
    def scale(self) -> Tensor:
        """The factor on similarities."""
        if self.paper:
            return torch.tensor(_PAPER_SCALE)
        return self.log_scale.exp()

    def prepare(self) -> None:
        """Mine hard negatives if they are asked for, and set the first scale of a new run."""
        count = self.config.hard_negatives
        if count and self.data.hard_negatives is None:
            self.data = mine_hard_negatives(self.data, count)
        if self.paper:
            self.rows = self.data.with_negatives(count).cpu()
            if not len(self.rows):
                raise ValueError(f"`data` has no hard negatives: {_NEGATIVES}")
        elif not self.history:
            with torch.no_grad():
                self.log_scale.fill_(self._first_scale()).log_()

    def _first_scale(self) -> float:
        """The one at which logits of head and teacher spread equally; the usual one if none do."""
        if not isinstance(self.data.queries, Tensor):
            return self.head.logit_scale
        sample = torch.randperm(len(self.data), generator=torch.Generator().manual_seed(0))
        batch = self.data.batch(sample[:_SCALE_SAMPLE].to(self.data.pairs.device))
        self.model.eval()  # nothing is drawn
        both = self._teacher(batch), self._similarity(batch)
        ratio = float(torch.div(*(scores.std(correction=0) for scores in both)))
        return ratio / _TEMPERATURE if 0 < ratio < torch.inf else self.head.logit_scale

    def epoch(self, advance: Callable[[int], None]) -> None:
        """Train for one epoch, validate, and write the checkpoint."""
        began, number = time.perf_counter(), len(self.history) + 1
        total = rate = 0.0
        self.model.train()
        order = self.rows[torch.randperm(len(self.rows), generator=self.generator)]
        own = [] if self.device.type == "cpu" else [self.device]
        with torch.random.fork_rng(own, device_type=self.device.type):  # which dropout draws from
            torch.manual_seed(self.config.seed * 1_000_003 + number)
            for step, rows in enumerate(order.split(self.batch_size)[: self.steps]):
                place = (number - 1) * self.steps + step
                whole = self.steps * self.config.epochs
                rate = self.config.learning_rate_at(place, whole, self.rate)
                total += self._step(rows.to(self.data.pairs.device), rate)
                advance(1)
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad and not torch.isfinite(parameter).all():
                raise self._not_finite(f"parameter `{name}`")
        score = self._validate()
        line = {"epoch": number, "loss": total / self.steps, "learning_rate": rate}
        line |= {"scale": float(self.scale.detach()), "validation": score}
        self.history.append({**line, "seconds": round(time.perf_counter() - began, 3)})
        if score is None or not self.best or score > self.best["validation"]:
            self.best = {"epoch": number, "validation": score, "scale": line["scale"]}
            self.best["weights"] = {k: v.clone() for k, v in self._weights().items()}
        self._save()

    @assume_finite()  # the loss shows what is not
    def _step(self, rows: Tensor, rate: float) -> float:
        """One optimiser step; returns the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._loss(rows)
        if not torch.isfinite(loss):
            raise self._not_finite("loss")
        loss.backward()
        self.optimiser.step()
        return loss.item()

    def _not_finite(self, what: str) -> ValueError:
        epochs = len(self.history)
        kept = f"{self.folder / CHECKPOINT} holds epoch {epochs}; try" if epochs else "Try"
        return ValueError(
            f"The {what} became NaN or infinite in epoch {epochs + 1}. "
            f"{kept} a smaller `learning_rate` (now {self.rate})."
        )

    def _loss(self, rows: Tensor) -> Tensor:
        batch = self.data.batch(rows, self.config.hard_negatives, only_own=self.paper)
        target, ignored = batch.target.to(self.device), batch.ignored.to(self.device)
        similarity = self._similarity(batch)
        if self.paper and self.head.compared_by == "log_fidelity":
            similarity = similarity.exp()
        scores = self.scale * similarity
        loss = contrastive_loss(scores, target, ignored)
        if self.config.loss != "both":
            return loss
        return loss + distillation_loss(scores, self._teacher(batch) / _TEMPERATURE)

    def _similarity(self, batch: Batch) -> Tensor:
        """Of all pairs, from one forward pass, as a circuit's observables are evolved in each."""
        both: Any = (batch.queries, batch.documents)
        if isinstance(batch.queries, Tensor):
            z = self.model.encode(torch.cat(both).to(self.device, self.dtype))
        else:
            z = self.model.encode([*batch.queries, *batch.documents])
        zq, zd = z.split([len(rows) for rows in both])
        with torch.autocast(self.device.type, enabled=False):
            return self.head.similarity(zq, zd)

    def _teacher(self, batch: Batch) -> Tensor:
        """Cosines of the uncompressed embeddings."""
        both: Any = (batch.queries, batch.documents)
        return cosine(*(x.to(self.device, self.dtype) for x in both))

    @torch.no_grad()
    def _validate(self) -> float | None:
        if self.validation is None:
            return None
        score = self.validation(self.model.eval())
        if not isinstance(score, SupportsFloat) or (score := float(score)) != score:
            raise ValueError(f"`validation` must return a number, more is better, got {score!r}.")
        return score

    def _weights(self) -> dict[str, Tensor]:
        """Trained parameters, and all buffers: they say what a fitted head pairs."""
        frozen = {n for n, p in self.model.named_parameters() if not p.requires_grad}
        state = self.model.state_dict()
        return {name: value for name, value in state.items() if name not in frozen}

    def _save(self) -> None:
        state = {
            "identity": self.identity,
            "history": self.history,
            "best": self.best,
            "weights": self._weights(),
            "log_scale": self.log_scale.detach(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
        }
        write_checkpoint(self.folder, state)

    def restore(self) -> None:
        """Take over the state of the checkpoint, if this run is the same run."""
        state = read_checkpoint(self.folder)
        check_same_run(self.folder, state["identity"], self.identity)
        self.history, self.best = state["history"], state["best"]
        self.model.load_state_dict(state["weights"], strict=False)
        with torch.no_grad():
            self.log_scale.copy_(state["log_scale"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])

    def finish(self) -> TrainingResult:
        """Save the model of the best epoch, and report."""
        best = self.best
        self.model.load_state_dict(best["weights"], strict=False)
        self.model.eval().save_pretrained(self.folder)
        numbers = (best["epoch"], best["validation"], best["scale"])
        return TrainingResult(self.model, self.folder, self.history, *numbers)


def _check(model: nn.Module, data: TrainingData, config: TrainingConfig) -> None:
    """Raise on everything that can be known before the first step."""
    kind, embeddings = type(model).__name__, isinstance(data.queries, Tensor)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        fit = " A PCAHead is fitted: call `head.fit(embeddings)`." if kind == "PCAHead" else ""
        raise TypeError(f"`model` is a {kind}, which has nothing to train.{fit}")
    if any(parameter.dtype == torch.float16 for parameter in model.parameters()):
        raise TypeError("`model` must not be in float16, in which steps vanish: `model.float()`.")
    if config.loss == "both" and len(data) < 2:
        raise ValueError(f'`data` must hold two pairs for loss="both", got {len(data)}.')
    if embeddings is not isinstance(model, ProjectionHead):
        raise ValueError(
            f"`data` holds {'embeddings' if embeddings else 'texts'}, which {kind} does not take: "
            f"a head trains on embeddings, an `MPSHeadModel` on texts."
        )
    if isinstance(model, ProjectionHead) and isinstance(data.documents, Tensor):
        check_equal("number of features", model=model.in_features, data=data.documents.shape[1])
    elif config.loss == "both":
        raise ValueError(
            '`loss` must be "contrastive" or "paper" for texts: "both" compares with embeddings '
            "that do not change."
        )
    if config.hard_negatives and data.hard_negatives is None and not embeddings:
        raise ValueError(f"`data` has no hard negatives, and holds texts: {_NEGATIVES}")


def _usual_rate(model: nn.Module, paper: bool) -> float:
    """The peak rate of a model; a head that starts from data has less to learn."""
    if paper or not isinstance(model, ProjectionHead):
        return _PAPER_LEARNING_RATE
    if isinstance(model, MPSProjectionHead) and model.is_fitted:
        full = model.config["mixing"] == "full"
        return _ROTATION_LEARNING_RATE if full else _FITTED_LEARNING_RATE
    return _LEARNING_RATE.get(model.name, _OTHER_LEARNING_RATE)
