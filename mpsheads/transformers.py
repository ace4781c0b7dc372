"""A projection head on a transformers encoder, as one transformers model."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from mpsheads._checks import check_choice, check_equal
from mpsheads._optional import installed_by
from mpsheads._typing import PathLike
from mpsheads.heads import MPSProjectionHead, ProjectionHead
from mpsheads.heads.mixing import Mixing

with installed_by("transformers", "transformers"):
    from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
    from transformers.utils.generic import ModelOutput

__all__ = ["MPSHeadConfig", "MPSHeadModel", "MPSHeadOutput"]

_WIDTHS = ("hidden_size", "d_model", "dim", "n_embd")
_DEPTHS = ("num_hidden_layers", "n_layers", "num_layers", "n_layer")
_POOLINGS = ("mean", "cls")


class MPSHeadConfig(PretrainedConfig):
    """The configuration of an `MPSHeadModel`.

    Args:
        encoder: Configuration of the encoder, an object or its `to_dict()`.
        head: Kind and arguments of the head, as in the `config.json` of a saved head.
        pooling: "mean" of the last hidden state over tokens that are not padding, or "cls", that
            of the first token.
        trainable_layers: How many of the encoder's last layers are trained; `None` for all of it.
        base_model: Name of the encoder on the Hugging Face hub, for the model card.
    """

    model_type = "mps_head"
    sub_configs = {"encoder": AutoConfig}  # noqa: RUF012  # pyright: ignore

    def __init__(
        self,
        encoder: PretrainedConfig | dict[str, Any] | None = None,
        head: dict[str, Any] | None = None,
        pooling: str = "mean",
        trainable_layers: int | None = 4,
        base_model: str | None = None,
        **kwargs: Any,
    ) -> None:
        check_choice("pooling", pooling, _POOLINGS)
        if isinstance(encoder, dict):
            encoder = AutoConfig.for_model(**encoder)
        self.encoder = AutoConfig.for_model("bert") if encoder is None else encoder
        width = _number(self.encoder, _WIDTHS, "width")
        default = {"head": MPSProjectionHead.name, "in_features": width, "out_features": width // 3}
        self.head = default if head is None else head
        self.pooling = pooling
        self.trainable_layers = trainable_layers
        self.base_model = base_model
        super().__init__(**kwargs)

    def to_dict(self) -> dict[str, Any]:
        """As written to `config.json`: without the folder that the encoder came from."""
        found = super().to_dict()
        found["encoder"].pop("_name_or_path", None)
        return found


@dataclass
class MPSHeadOutput(ModelOutput):
    """What an `MPSHeadModel` returns.

    Attributes:
        compressed: The head's vectors `(batch, out_features)`.
        pooled: The embeddings before the head `(batch, in_features)`.
        last_hidden_state: Of the encoder, `(batch, tokens, in_features)`.
        hidden_states: Of all layers, if asked for.
        attentions: Of all layers, if asked for.
    """

    compressed: Tensor | None = None
    pooled: Tensor | None = None
    last_hidden_state: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class MPSHeadModel(PreTrainedModel):
    """An encoder, its pooling and a projection head; the encoder's last layers are trainable.

    `MPSHeadModel.from_encoder` puts one together; `from_pretrained`, or `AutoModel.from_pretrained`
    once this module is imported, reads one. The tokenizer is the encoder's; save it to the same
    folder with `tokenizer.save_pretrained`.

    Pooling and head are computed in float32 where the encoder runs in 16 bits.

    Source: Kankeu et al. 2025 (arXiv:2501.04591): a head on BERT with its last 4 layers trained.
    """

    config_class = MPSHeadConfig
    base_model_prefix = "encoder"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _keep_in_fp32_modules_strict = ["head"]  # noqa: RUF012

    config: MPSHeadConfig

    def __init__(
        self,
        config: MPSHeadConfig,
        encoder: PreTrainedModel | None = None,
        head: ProjectionHead | None = None,
    ) -> None:
        super().__init__(config)
        self.encoder = AutoModel.from_config(config.encoder) if encoder is None else encoder
        if head is None:
            with torch.device("cpu"):  # also while transformers builds on the meta device
                head = _build(config.head)
        self.head = head
        check_equal(
            "width", encoder=_number(config.encoder, _WIDTHS, "width"), head=head.in_features
        )
        self.config.encoder = self.encoder.config  # one object, which keeps its attention
        self.model_tags = ["mpsheads", "matrix-product-states", "sentence-similarity"]
        self.post_init()
        self.freeze()

    @classmethod
    def from_encoder(
        cls,
        encoder: PreTrainedModel | PathLike,
        head: ProjectionHead | None = None,
        *,
        pooling: str = "mean",
        trainable_layers: int | None = 4,
        **encoder_options: Any,
    ) -> "MPSHeadModel":
        """Put a head on an encoder.

        Args:
            encoder: A transformers encoder, or its folder or name, which `AutoModel` loads. It is
                used as it is, not copied.
            head: The head; `MPSProjectionHead` to a third of the encoder's width if `None`.
            pooling: "mean" or "cls".
            trainable_layers: How many of the encoder's last layers are trained, 4 in the paper; 0
                freezes it, `None` trains all of it.
            encoder_options: Passed on to `AutoModel.from_pretrained`, such as `dtype`.

        Raises:
            ValueError: If the widths do not fit, or the encoder's layers are not found.
        """
        if not isinstance(encoder, PreTrainedModel):
            encoder = cast(
                PreTrainedModel, AutoModel.from_pretrained(str(encoder), **encoder_options)
            )
        if encoder.config.is_encoder_decoder:
            encoder = cast(PreTrainedModel, encoder.get_encoder())
        if head is None:
            width = _number(encoder.config, _WIDTHS, "width")
            head = MPSProjectionHead(width, width // 3)
        config = MPSHeadConfig(
            encoder=encoder.config.to_dict(),  # a copy: transformers resets attributes of its parts
            head={"head": head.name, **head.config},
            pooling=pooling,
            trainable_layers=trainable_layers,
            base_model=_hub_name(encoder),
        )
        return cls(config, encoder, head)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Read a model from a folder or the hub; arguments are those of transformers."""
        found = super().from_pretrained(*args, **kwargs)
        model = found[0] if isinstance(found, tuple) else found
        for module in model.modules():
            if isinstance(module, Mixing):  # transformers keeps all of a head in float32
                module.orders = module.orders.long()
        model.freeze()
        return found

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> MPSHeadOutput | tuple[Any, ...]:
        """Compress texts.

        Args:
            input_ids: Tokens `(batch, tokens)`; or give `inputs_embeds`.
            attention_mask: 1 for tokens, 0 for padding; all are tokens if `None`.
            return_dict: Return a tuple instead, if False.
            kwargs: Passed on to the encoder, such as `token_type_ids` or `output_hidden_states`.
        """
        encoded = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **kwargs
        )
        hidden = encoded.last_hidden_state
        mask = hidden.new_ones(hidden.shape[:2]) if attention_mask is None else attention_mask
        pooled = _pool(hidden, mask, self.config.pooling)
        output = MPSHeadOutput(
            compressed=self.head(pooled.to(_dtype(self.head, pooled.dtype))),
            pooled=pooled,
            last_hidden_state=hidden,
            hidden_states=encoded.get("hidden_states"),
            attentions=encoded.get("attentions"),
        )
        return output.to_tuple() if return_dict is False else output

    def similarity(self, zq: Tensor, zd: Tensor, **kwargs: Any) -> Tensor:
        """The head's similarity of all pairs of compressed vectors; higher is closer.

        Keyword arguments are those of `head.similarity`.
        """
        return self.head.similarity(zq, zd, **kwargs)

    def freeze(self) -> None:
        """Let gradients flow to the head and the last `config.trainable_layers` layers alone.

        Raises:
            ValueError: If the encoder's layers are not found, or are fewer.
        """
        count = self.config.trainable_layers
        for name, parameter in self.encoder.named_parameters():  # nothing reads the pooler
            parameter.requires_grad_(count is None and "pooler" not in name.split("."))
        if count:
            for layer in _last_layers(self.encoder, count):
                layer.requires_grad_(True)

    def get_input_embeddings(self) -> nn.Module:
        """The encoder's."""
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Set the encoder's."""
        self.encoder.set_input_embeddings(value)

    def save_pretrained(self, save_directory: PathLike, **kwargs: Any) -> None:  # pyright: ignore
        """Write configuration, weights and, where there is none, a model card (`README.md`).

        Keyword arguments are those of transformers.
        """
        push, repo_id = kwargs.pop("push_to_hub", False), kwargs.pop("repo_id", None)
        self.config.head = {"head": self.head.name, **self.head.config}
        super().save_pretrained(save_directory, **kwargs)
        if kwargs.get("is_main_process", True):
            card = Path(save_directory) / "README.md"
            if not card.exists():
                card.write_text(self.model_card(), encoding="utf-8")
        if push:
            self.push_to_hub(repo_id or Path(save_directory).name, token=kwargs.get("token"))

    def push_to_hub(  # pyright: ignore
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        commit_message: str = "Upload the model",
        create_pr: bool = False,
        **kwargs: Any,
    ) -> str:
        """Upload the model with its card to the Hugging Face hub.

        Args:
            repo_id: `owner/name`, made if it does not exist. A card that it has stays as it is.
            private: Whether a new repository is private.
            token: Token for the hub; the stored one if `None`.
            revision: Branch to upload to.
            commit_message: First line of the commit.
            create_pr: Upload as a pull request.
            kwargs: Passed on to `save_pretrained`, such as `max_shard_size`.

        Returns:
            The address of the commit.
        """
        from huggingface_hub import HfApi

        api = HfApi(token=token)
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, **kwargs)
            card = Path(folder) / "README.md"
            card.write_text(self.model_card(repo_id), encoding="utf-8")
            if api.file_exists(repo_id, "README.md", revision=revision):
                card.unlink()
            return api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                commit_message=commit_message,
                revision=revision,
                create_pr=create_pr,
            ).commit_url

    def model_card(self, repo_id: str = "path/to/model") -> str:
        """The text of `README.md`: what the model is, its numbers, and how to use it."""
        from huggingface_hub import ModelCardData

        base = self.config.base_model
        data = ModelCardData(
            library_name="transformers",
            tags=self.model_tags,
            pipeline_tag="feature-extraction",
            base_model=base,
        )
        return _CARD.format(
            data=data.to_yaml(),
            repo_id=repo_id,
            encoder=base or type(self.encoder).__name__,
            head=type(self.head).__name__,
            settings="\n".join(f"| {k} | {v} |" for k, v in self.head.config.items()),
            pooling=self.config.pooling,
            parameters=f"{self.head.num_parameters:,}",
            size=f"{self.head.bytes_per_vector:,}",
            width=self.head.in_features,
            vector=self.head.out_features,
            before=f"{4 * self.head.in_features:,}",
        )

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: the encoder initialises itself, and heads are built with their first values."""


def _pool(hidden: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """`(batch, tokens, features)` to `(batch, features)`, at least in float32."""
    if hidden.dtype in (torch.float16, torch.bfloat16):
        hidden = hidden.float()
    if pooling == "cls":
        rows = torch.arange(len(mask), device=mask.device)
        return hidden[rows, mask.int().argmax(dim=1)]  # also with padding on the left
    weights = mask.to(hidden.dtype).unsqueeze(-1)
    return (hidden * weights).sum(1) / weights.sum(1).clamp_min(1)


def _last_layers(encoder: PreTrainedModel, count: int) -> list[nn.Module]:
    """The last layers of an encoder: of its one list that has as many as its configuration says."""
    depth = _number(encoder.config, _DEPTHS, "number of layers")
    lists = [m for m in encoder.modules() if isinstance(m, nn.ModuleList) and len(m) == depth]
    if len(lists) != 1:
        raise ValueError(
            f"The layers of {type(encoder).__name__} were not found: {len(lists)} lists have "
            f"{depth} modules. Use trainable_layers=0 or None, and set `requires_grad` yourself."
        )
    if not 0 < count <= depth:
        raise ValueError(
            f"`trainable_layers` must be None or from 0 to {depth}, the layers of the encoder, "
            f"got {count}."
        )
    return list(lists[0])[-count:]


def _hub_name(encoder: PreTrainedModel) -> str | None:
    """What the encoder is called on the hub, unless it came from a folder or from no file."""
    name = str(getattr(encoder.config, "_name_or_path", ""))
    return name if name and name.count("/") <= 1 and not Path(name).exists() else None


def _build(config: dict[str, Any]) -> ProjectionHead:
    """The untrained head that a configuration describes."""
    arguments = {**config}
    name = arguments.pop("head")
    check_choice("head", name, tuple(ProjectionHead._kinds))
    return ProjectionHead._kinds[name](**arguments)


def _number(config: PretrainedConfig, names: tuple[str, ...], what: str) -> int:
    found = [getattr(config, name, None) for name in names]
    numbers = [n for n in found if isinstance(n, int)]
    if not numbers:
        raise ValueError(
            f"The {what} of a {config.model_type} encoder is not known: its configuration has none "
            f"of {', '.join(names)}."
        )
    return numbers[0]


def _dtype(head: ProjectionHead, default: torch.dtype) -> torch.dtype:
    tensors = (*head.parameters(), *head.buffers())
    return next((t.dtype for t in tensors if t.is_floating_point()), default)


_CARD = """---
{data}
---

# {encoder} with a {head}

Text embeddings of {width} numbers, compressed to {vector} by a projection head of
[mpsheads](https://arxiv.org/abs/2501.04591): a simulated quantum circuit, or a classical layer to
compare with.

| | |
| --- | --- |
| encoder | {encoder} |
| pooling | {pooling} |
| head | {head} |
| parameters of the head | {parameters} |
| bytes a vector, float32 | {size} (before: {before}) |
{settings}

## Use

```bash
pip install "mpsheads[transformers]"
```

```python
import mpsheads
import torch
from transformers import AutoTokenizer

model = mpsheads.load("{repo_id}")
tokenizer = AutoTokenizer.from_pretrained("{repo_id}")
texts = ["Cats purr when they are content.", "Rain is water that falls."]
with torch.no_grad():
    z = model(**tokenizer(texts, padding=True, truncation=True, return_tensors="pt")).compressed
print(model.similarity(z, z))  # higher is closer
```

The vectors are compared by `model.similarity` and not by their cosine, unless the head is a
classical one. Do not normalise them.
"""

AutoConfig.register(MPSHeadConfig.model_type, MPSHeadConfig, exist_ok=True)
AutoModel.register(MPSHeadConfig, MPSHeadModel, exist_ok=True)
