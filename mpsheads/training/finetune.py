"""The paper's training: an encoder's last layers together with a head."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from mpsheads._checks import check_choice
from mpsheads._optional import optional_import
from mpsheads._progress import progress_bar
from mpsheads._typing import PathLike
from mpsheads.heads import ProjectionHead
from mpsheads.retrieval import Encoder
from mpsheads.retrieval.encoder import _fastest_dtype
from mpsheads.training.candidates import cut_candidates, rows_with_negatives
from mpsheads.training.checkpoint import (
    CHECKPOINT,
    check_folder,
    check_same_run,
    read_checkpoint,
    write_checkpoint,
    write_metrics,
)
from mpsheads.training.config import FinetuneConfig
from mpsheads.training.devices import named_memory_failure, seeded
from mpsheads.training.guards import Progress, validated
from mpsheads.training.losses import contrastive_loss, paper_loss, paper_similarities
from mpsheads.training.texts import TextModel, TextPairs, uncompressed_head

TextValidation = Callable[[TextModel], float]
"""Scores an encoder with its head, higher is better."""


@dataclass(frozen=True)
class FinetuneResult:
    """What a run ended with.

    Attributes:
        trained: The encoder and the head, of the best epoch if there was a validation, else of the
            last. `trained.encode(texts)` and `trained.compress(texts)` give vectors.
        output_dir: Folder with the model (`mpsheads.load` reads it), its tokenizer,
            `metrics.jsonl` and `checkpoint.pt`.
        history: One mapping an epoch: epoch (from 1), loss, validation (`None` without one),
            seconds. The lines of `metrics.jsonl`.
        best_epoch: The epoch whose weights `trained` holds.
        best_validation: Its score, `None` without validation.
    """

    trained: TextModel
    output_dir: Path
    history: list[dict[str, Any]]
    best_epoch: int
    best_validation: float | None


def finetune(
    encoder: PathLike,
    head: ProjectionHead | None,
    data: TextPairs,
    config: FinetuneConfig | None = None,
    output_dir: PathLike = "finetuned",
    *,
    similarity: Literal["cosine", "fidelity"] | None = None,
    pooling: Literal["mean", "cls"] = "mean",
    validation: TextValidation | None = None,
    resume: bool = False,
    progress: bool = True,
    device: torch.device | str | None = None,
    dtype: Literal["auto", "float32", "bfloat16"] = "auto",
) -> FinetuneResult:
    """Train an encoder's last layers together with a head, and save both.

    Args:
        encoder: Folder or name of the encoder, as `mpsheads.retrieval.Encoder` takes it.
        head: The head, trained in place; `None` trains the encoder alone, on embeddings that are
            not compressed.
        data: Texts, pairs and hard negatives.
        config: Settings; the paper's if `None`.
        output_dir: Folder for the model and the checkpoint, which is rewritten after each epoch.
        similarity: How embeddings are compared if there is no head, see `uncompressed_head`;
            "cosine" if `None`.
        pooling: "mean" or "cls".
        validation: Called after each epoch in evaluation mode; the epoch with the highest score is
            kept.
        resume: Continue the run in `output_dir` from its last epoch, on the same machine to the
            same weights as if it had not been interrupted. Starts anew if none is there; a
            finished run is returned.
        progress: Show a progress bar on the standard error stream.
        device: Where to train; the first accelerator that there is, else the CPU, if `None`.
        dtype: What the encoder multiplies in; "auto" is bfloat16 where the device is fast at it.
            Weights, pooling, head and loss are in float32.

    Raises:
        ImportError: If transformers, or rich for `progress`, is missing.
        FileNotFoundError: If there is no such encoder.
        FileExistsError: If `output_dir` is a file.
        TypeError: If there is nothing to train.
        ValueError: If head, encoder and data do not fit, there are no hard negatives for the
            paper's loss, `output_dir` holds a run and `resume` is not set, another run is resumed,
            or the loss stops being finite. In the last case the epoch before remains.
        MemoryError: If a step does not fit the device's memory.

    Cost: a forward pass of `batch_size * (2 + hard_negatives)` texts a step, and a backward pass
    through the trained layers, which alone keep activations.
    """
    config = FinetuneConfig() if config is None else config
    folder = Path(output_dir)
    check_choice("dtype", dtype, ("auto", "float32", "bfloat16"))
    _check(head, data, config, folder, similarity, resume=resume)
    base = Encoder(
        encoder, pooling=pooling, max_length=config.max_length, device=device, dtype="float32"
    )
    head = head or uncompressed_head(base.features, similarity or "cosine")
    working = _fastest_dtype(base.device) if dtype == "auto" else getattr(torch, dtype)
    with seeded(config.seed, base.device):  # weights that the encoder's files lack are drawn
        run = _Run(base, head, data, config, folder, validation, working)
    if resume and (folder / CHECKPOINT).exists():
        run.restore()
    left = config.epochs - len(run.history)
    if left:
        run.prepare()
    with progress_bar(f"training {head.name}", left * run.steps, enabled=progress) as advance:
        while len(run.history) < config.epochs:
            run.epoch(advance)
    return run.finish()


class _Run:
    """A run in progress: what a checkpoint holds, and one method for each stage."""

    def __init__(
        self,
        base: Encoder,
        head: ProjectionHead,
        data: TextPairs,
        config: FinetuneConfig,
        folder: Path,
        validation: TextValidation | None,
        dtype: torch.dtype,
    ) -> None:
        optional_import("transformers", "transformers")
        from mpsheads.transformers import MPSHeadModel

        self.data, self.config, self.folder = data, config, folder
        self.validation, self.device = validation, base.device
        model = MPSHeadModel.from_encoder(
            base._network,
            head.to(base.device),
            pooling=base.pooling,
            trainable_layers=config.trainable_layers,
        )
        self.text_model, self.head = TextModel(base, model, dtype), head
        self.trained = {
            name: parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and parameter.numel()
        }
        if not self.trained:
            raise TypeError(
                f"`head` is a {type(head).__name__}, which has nothing to train, and "
                f"`trainable_layers` is 0."
            )
        self.optimiser = torch.optim.Adam(self._groups())
        self.identity = {
            "setting": {**asdict(config), "dtype": str(dtype)},
            "encoder": {"fingerprint": base.fingerprint()},
            "head": {"name": head.name, **head.config},
            "data": data.fingerprint(),
            "callback": {"validation": "given" if validation else "none"},
        }
        self.generator = torch.Generator().manual_seed(config.seed)
        self.rows, self.tokens = torch.arange(len(data)), {}
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {}

    def _groups(self) -> list[dict[str, Any]]:
        """The parameters of encoder and head with their rates."""
        own = {id(parameter) for parameter in self.head.parameters()}
        rate = self.config.learning_rate
        rates = {False: rate, True: self.config.head_learning_rate or rate}
        groups = [
            {"params": [p for p in self.trained.values() if (id(p) in own) is is_head], "lr": lr}
            for is_head, lr in rates.items()
        ]
        return [group for group in groups if group["params"]]

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return -(-len(self.rows) // self.config.batch_size)

    def prepare(self) -> None:
        """Choose the pairs and tokenise their texts."""
        if self.config.loss == "paper":
            self.rows = rows_with_negatives(self.data.numbers, self.config.hard_negatives)
        texts = self.data.texts()
        rows = self.text_model.tokens(list(texts.values()))
        self.tokens = dict(zip(texts, rows, strict=True))

    def epoch(self, advance: Callable[[int], None]) -> None:
        """Train for one epoch, validate, and write the checkpoint."""
        began = time.perf_counter()
        number, total = len(self.history) + 1, 0.0
        self._start_dropout()
        order = self.rows[torch.randperm(len(self.rows), generator=self.generator)]
        seed = int(torch.randint(1 << 62, (), generator=self.generator))
        with seeded(seed, self.device), named_memory_failure():
            for step, rows in enumerate(order.split(self.config.batch_size)):
                total += self._step(rows, step + 1) * len(rows)
                advance(1)
        self._progress.check_parameters(self.trained)
        score = validated(self.validation, self.text_model.model, self.text_model)
        line = {"epoch": number, "loss": total / len(order), "validation": score}
        self.history.append({**line, "seconds": round(time.perf_counter() - began, 3)})
        if score is None or not self.best or score > self.best["validation"]:
            self.best = {"epoch": number, "validation": score, "weights": self._weights()}
        self._save()

    def _start_dropout(self) -> None:
        """Put what is trained into training mode, the encoder's layers only for dropout."""
        from mpsheads.transformers import _last_layers

        encoder, count = self.text_model.model.encoder, self.config.trainable_layers
        self.text_model.model.eval()
        self.head.train()
        if self.config.dropout and count != 0:
            for module in [encoder] if count is None else _last_layers(encoder, count):
                module.train()

    def _step(self, rows: Tensor, step: int) -> float:
        """One optimiser step; returns the loss."""
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._loss(rows)
        value = loss.item()
        self._progress.check_loss(value, step)
        loss.backward()
        self.optimiser.step()
        return value

    def _loss(self, rows: Tensor) -> Tensor:
        numbers, count = self.data.numbers, self.config.hard_negatives
        if self.config.loss == "paper":
            found = cut_candidates(numbers, rows, count)
            zq, zd = self._vectors(found.queries, found.documents)
            place, missing = found.place.to(self.device), found.missing.to(self.device)
            similarities = paper_similarities(self.head, zq, zd, place)
            return paper_loss(similarities, self.config.scale or 20.0, missing)
        batch = numbers.batch(rows, count)
        zq, zd = self._vectors(batch.queries, batch.documents)
        scores = (self.config.scale or self.head.logit_scale) * self.head.similarity(zq, zd)
        return contrastive_loss(scores, batch.target.to(self.device), batch.ignored.to(self.device))

    def _vectors(self, queries: Tensor, documents: Tensor) -> Sequence[Tensor]:
        """The head's vectors of texts given by their numbers."""
        numbers = torch.cat([queries, documents])[:, 0].long().tolist()
        z = self.head(self.text_model.embed([self.tokens[number] for number in numbers]))
        return z.split([len(queries), len(documents)])

    @property
    def _progress(self) -> Progress:
        return Progress(self.folder, len(self.history), self.config.learning_rate)

    def _weights(self) -> dict[str, Tensor]:
        return {name: p.detach().cpu().clone() for name, p in self.trained.items()}

    def _save(self) -> None:
        state = {
            "identity": self.identity,
            "history": self.history,
            "best": self.best,
            "weights": self._weights(),
            "head_buffers": dict(self.head.named_buffers()),  # what a fitted head pairs
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
        }
        write_checkpoint(self.folder, state)

    def restore(self) -> None:
        """Take over the state of the checkpoint, if this run is the same run."""
        state = read_checkpoint(self.folder)
        check_same_run(self.folder, state["identity"], self.identity)
        self.history, self.best = state["history"], state["best"]
        self._load(state["weights"])
        self.head.load_state_dict(state["head_buffers"], strict=False)
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])

    @torch.no_grad()
    def _load(self, weights: dict[str, Tensor]) -> None:
        for name, parameter in self.trained.items():
            parameter.copy_(weights[name])

    def finish(self) -> FinetuneResult:
        """Save the model of the best epoch, and report."""
        self._load(self.best["weights"])
        self.text_model.model.eval()
        self.text_model.save_pretrained(self.folder)
        write_metrics(self.folder, self.history)
        return FinetuneResult(
            trained=self.text_model,
            output_dir=self.folder,
            history=self.history,
            best_epoch=self.best["epoch"],
            best_validation=self.best["validation"],
        )


def _check(
    head: ProjectionHead | None,
    data: TextPairs,
    config: FinetuneConfig,
    folder: Path,
    similarity: str | None,
    *,
    resume: bool,
) -> None:
    """Raise on everything that can be known before the encoder is read."""
    if head is not None and similarity is not None:
        raise ValueError(
            f"`similarity` is for `head=None`; a {type(head).__name__} compares its vectors itself."
        )
    if config.loss == "paper":
        rows_with_negatives(data.numbers, config.hard_negatives)
    there = 0 if data.hard_negatives is None else data.hard_negatives.shape[1]
    if there < config.hard_negatives:
        raise ValueError(
            f"`hard_negatives` must not exceed the {there} a pair that `data` has, "
            f"got {config.hard_negatives}."
        )
    check_folder(folder, resume=resume)
