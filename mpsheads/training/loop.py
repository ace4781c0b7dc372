"""The training loop: one call that ends with a saved head, and continues where it was killed."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mpsheads._checks import check_equal
from mpsheads._progress import progress_bar
from mpsheads._typing import PathLike
from mpsheads.heads import MPSProjectionHead, ProjectionHead
from mpsheads.training.candidates import cut_candidates, rows_with_negatives
from mpsheads.training.checkpoint import (
    CHECKPOINT,
    check_folder,
    check_same_run,
    read_checkpoint,
    write_checkpoint,
    write_metrics,
)
from mpsheads.training.config import TrainingConfig
from mpsheads.training.data import Batch, TrainingData
from mpsheads.training.guards import Progress, validated
from mpsheads.training.losses import (
    contrastive_loss,
    distillation_loss,
    paper_loss,
    paper_similarities,
)
from mpsheads.training.mining import mine_hard_negatives

Validation = Callable[[ProjectionHead], float]
"""Scores a head, higher is better; for example its nDCG@10 on held-out queries."""

_LEARNING_RATE = {"mps": 1e-2, "reference": 1e-2, "dense": 1e-3}
_FITTED_LEARNING_RATE = 3e-3
_PAPER_LEARNING_RATE, _PAPER_SCALE = 4e-5, 20.0
_SCALE_SAMPLE = 256


@dataclass(frozen=True)
class TrainingResult:
    """What a run ended with.

    Attributes:
        head: The trained head: of the best epoch if there was a validation, else of the last.
        output_dir: Folder with the saved head, `metrics.jsonl` and `checkpoint.pt`.
        history: One mapping an epoch: epoch (from 1), loss, learning_rate, scale, validation
            (`None` without one), seconds. The lines of `metrics.jsonl`.
        best_epoch: The epoch whose weights `head` holds.
        best_validation: Its score, `None` without validation.
        scale: The factor on similarities at that epoch, trained or the paper's; the losses used
            it, ranking does not need it.
    """

    head: ProjectionHead
    output_dir: Path
    history: list[dict[str, Any]]
    best_epoch: int
    best_validation: float | None
    scale: float


def train_head(
    head: ProjectionHead,
    data: TrainingData,
    config: TrainingConfig | None = None,
    output_dir: PathLike = "trained-head",
    *,
    validation: Validation | None = None,
    resume: bool = False,
    progress: bool = True,
    device: torch.device | str | None = None,
) -> TrainingResult:
    """Train a head on pairs of embeddings, and save it.

    Args:
        head: The head to train, in place.
        data: Embeddings and pairs. Batches are cut where they live and moved to `device`.
        config: Settings; the defaults if `None`.
        output_dir: Folder for the head (`config.json`, `model.safetensors`), `metrics.jsonl` and
            `checkpoint.pt`, which is rewritten after each epoch.
        validation: Called after each epoch with the head in evaluation mode; the epoch with the
            highest score is kept.
        resume: Continue the run in `output_dir` from its last epoch, to the same weights as if it
            had not been interrupted. Starts anew if none is there; a finished run is returned.
        progress: Show a progress bar on the standard error stream.
        device: Where the head is put; where it is if `None`.

    Raises:
        TypeError: If `head` has nothing to train.
        ValueError: If head and data do not fit, `output_dir` holds a run and `resume` is not set,
            a run with other settings or data is resumed, or the loss stops being finite. In the
            last case the checkpoint of the epoch before remains.
        FileExistsError: If `output_dir` is a file.
        ImportError: If `progress` is set and rich is not installed.
    """
    config = TrainingConfig() if config is None else config
    folder = Path(output_dir)
    _check(head, data, config, folder, resume=resume)
    run = _Run(head.to(device), data, config, folder, validation)
    if resume and (folder / CHECKPOINT).exists():
        run.restore()
    if len(run.history) < config.epochs:
        run.prepare()
    steps = len(run.rows) // config.batch_size
    left = steps * (config.epochs - len(run.history))
    with progress_bar(f"training {head.name}", left, enabled=progress) as advance:
        while len(run.history) < config.epochs:
            run.epoch(steps, advance)
    return run.finish()


class _Run:
    """A run in progress: what a checkpoint holds, and one method for each stage."""

    def __init__(
        self,
        head: ProjectionHead,
        data: TrainingData,
        config: TrainingConfig,
        folder: Path,
        validation: Validation | None,
    ) -> None:
        self.head, self.data, self.config = head, data, config
        self.folder, self.validation = folder, validation
        first = next(parameter for parameter in head.parameters() if parameter.requires_grad)
        self.device, self.dtype = first.device, first.dtype
        self.identity = {
            "setting": asdict(config),
            "head": {"name": head.name, **head.config, "dtype": str(self.dtype)},
            "data": data.fingerprint(),
            "callback": {"validation": "given" if validation else "none"},
        }
        self.rows = torch.arange(len(data))  # of the pairs that are trained on
        self.generator = torch.Generator().manual_seed(config.seed)
        self.log_scale = nn.Parameter(torch.zeros((), device=self.device))
        trained = [p for p in head.parameters() if p.requires_grad]
        self.paper = config.loss == "paper"
        self.optimiser = torch.optim.Adam(trained if self.paper else [*trained, self.log_scale])
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {}

    def prepare(self) -> None:
        """Mine hard negatives if they are asked for, and set the first scale of a new run."""
        if self.config.hard_negatives and self.data.hard_negatives is None:
            self.data = mine_hard_negatives(self.data, self.config.hard_negatives)
        if self.paper:
            self.rows = rows_with_negatives(self.data, self.config.hard_negatives).cpu()
            _check_batch_size(self.config, len(self.rows), "with hard negatives ")
        if not self.history and not self.paper:
            with torch.no_grad():
                self.log_scale.fill_(self._first_scale()).log_()

    def _first_scale(self) -> float:
        """`config.scale`, or the one at which logits of head and teacher spread equally."""
        if self.config.scale is not None:
            return self.config.scale
        sample = torch.randperm(len(self.data), generator=torch.Generator().manual_seed(0))
        batch = self.data.batch(sample[:_SCALE_SAMPLE].to(self.data.pairs.device))
        batch = batch.to(self.device, self.dtype)
        similarity, _ = self._similarity(batch)
        ratio = float(_teacher(batch).std() / similarity.std())
        if not 0 < ratio < float("inf"):
            raise ValueError(
                "`head` gives no usable similarities before training: their standard deviation is "
                f"{float(similarity.std())} over a sample of pairs. Check its parameters."
            )
        return ratio / self.config.temperature

    def epoch(self, steps: int, advance: Callable[[int], None]) -> None:
        """Train for one epoch, validate, and write the checkpoint."""
        began = time.perf_counter()
        number = len(self.history) + 1
        self.head.train()
        order = self.rows[torch.randperm(len(self.rows), generator=self.generator)]
        peak = self.peak
        total, rate = 0.0, peak
        for step, rows in enumerate(order.split(self.config.batch_size)[:steps]):
            done = (number - 1) * steps + step
            rate = self.config.learning_rate_at(done, steps * self.config.epochs, peak)
            total += self._step(rows.to(self.data.pairs.device), rate, step + 1)
            advance(1)
        self._progress.check_parameters(dict(self.head.named_parameters()))
        score = validated(self.validation, self.head, self.head)
        line = {"epoch": number, "loss": total / steps, "learning_rate": rate}
        line |= {"scale": self._scale(), "validation": score}
        self.history.append({**line, "seconds": round(time.perf_counter() - began, 3)})
        if score is None or not self.best or score > self.best["validation"]:
            weights = {k: v.detach().clone() for k, v in self.head.state_dict().items()}
            self.best = {"epoch": number, "validation": score, "weights": weights}
            self.best["scale"] = line["scale"]
        self._save()

    def _step(self, rows: Tensor, rate: float, step: int) -> float:
        """One optimiser step; returns the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        loss, discarded = self._paper_loss(rows) if self.paper else self._batch_loss(rows)
        if discarded is not None:
            loss = loss + self.config.truncation_weight * discarded
        value = loss.item()
        self._progress.check_loss(value, step)
        loss.backward()
        self.optimiser.step()
        return value

    def _scale(self) -> float:
        if self.paper:
            return self.config.scale or _PAPER_SCALE
        return self.log_scale.exp().item()

    def _batch_loss(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        batch = self.data.batch(rows, self.config.hard_negatives).to(self.device, self.dtype)
        similarity, discarded = self._similarity(batch)
        return _loss(similarity * self.log_scale.exp(), batch, self.config), discarded

    def _paper_loss(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        found = cut_candidates(self.data, rows, self.config.hard_negatives)
        found = found.to(self.device, self.dtype)
        zq, zd, discarded = self._project(found.queries, found.documents)
        similarities = paper_similarities(self.head, zq, zd, found.place)
        return paper_loss(similarities, self._scale(), found.missing), discarded

    def _similarity(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Of all pairs, and the mean discarded weight if it counts."""
        zq, zd, discarded = self._project(batch.queries, batch.documents)
        return self.head.similarity(zq, zd), discarded

    def _project(self, queries: Tensor, documents: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The vectors of both, and the mean discarded weight if it counts.

        In one forward pass, as a circuit's observables are evolved in each.
        """
        x, discarded = torch.cat([queries, documents]), None
        if self.config.truncation_weight and isinstance(self.head, MPSProjectionHead):
            z, weight = self.head.project(x)
            discarded = weight.mean()
        else:
            z = self.head(x)
        zq, zd = z.split([len(queries), len(documents)])
        return zq, zd, discarded

    @property
    def peak(self) -> float:
        """The peak rate; that of a resumed run is of the head that the checkpoint holds."""
        return self.config.learning_rate or _usual_rate(self.head, self.paper)

    @property
    def _progress(self) -> Progress:
        return Progress(self.folder, len(self.history), self.peak)

    def _save(self) -> None:
        state = {
            "identity": self.identity,
            "history": self.history,
            "best": self.best,
            "head": self.head.state_dict(),
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
        self.head.load_state_dict(state["head"])
        with torch.no_grad():
            self.log_scale.copy_(state["log_scale"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])

    def finish(self) -> TrainingResult:
        """Save the head of the best epoch, and report."""
        self.head.load_state_dict(self.best["weights"])
        self.head.eval()
        self.head.save_pretrained(self.folder)
        write_metrics(self.folder, self.history)
        return TrainingResult(
            head=self.head,
            output_dir=self.folder,
            history=self.history,
            best_epoch=self.best["epoch"],
            best_validation=self.best["validation"],
            scale=self.best["scale"],
        )


def _loss(scores: Tensor, batch: Batch, config: TrainingConfig) -> Tensor:
    if config.loss == "contrastive":
        return contrastive_loss(scores, batch.target, batch.ignored)
    distilled = distillation_loss(scores, _teacher(batch) / config.temperature)
    if config.loss == "distillation":
        return distilled
    contrast = contrastive_loss(scores, batch.target, batch.ignored)
    return contrast + config.distillation_weight * distilled


def _teacher(batch: Batch) -> Tensor:
    """Cosine of the uncompressed embeddings, `(queries, documents)`."""
    return normalize(batch.queries) @ normalize(batch.documents).T


def _check(
    head: ProjectionHead, data: TrainingData, config: TrainingConfig, folder: Path, *, resume: bool
) -> None:
    """Raise on everything that can be known before the first step."""
    if not any(parameter.requires_grad for parameter in head.parameters()):
        fit = " A PCAHead is fitted: call `head.fit(embeddings)`." if head.name == "pca" else ""
        raise TypeError(f"`head` is a {type(head).__name__}, which has nothing to train.{fit}")
    check_equal("number of features", head=head.in_features, data=data.features)
    _check_batch_size(config, len(data))
    mined = data.hard_negatives
    if mined is not None and mined.shape[1] < config.hard_negatives:
        raise ValueError(
            f"`hard_negatives` must not exceed the {mined.shape[1]} a pair that `data` has, "
            f"got {config.hard_negatives}."
        )
    check_folder(folder, resume=resume)


def _check_batch_size(config: TrainingConfig, pairs: int, which: str = "") -> None:
    if config.batch_size > pairs:
        raise ValueError(
            f"`batch_size` must not exceed the number of pairs {which}{pairs}, "
            f"got {config.batch_size}."
        )


def _usual_rate(head: ProjectionHead, paper: bool) -> float:
    """The peak rate of a head; one that starts from data has less to learn."""
    if paper:
        return _PAPER_LEARNING_RATE
    if isinstance(head, MPSProjectionHead) and head.is_fitted:
        return _FITTED_LEARNING_RATE
    return _LEARNING_RATE.get(head.name, 1e-3)
