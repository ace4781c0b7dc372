"""A projection head on a transformers encoder, as one transformers model."""

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from mpsheads._arrays import door
from mpsheads._checks import check_equal, check_type
from mpsheads._encoders import Pooling, last_layers, pool_tokens, token_batches, token_limit
from mpsheads._files import as_path, replacing_all
from mpsheads._optional import installed_by
from mpsheads._typing import PathLike, Positive
from mpsheads.heads import HEADS, MPSProjectionHead, ProjectionHead
from mpsheads.heads.mixing import Mixing
from mpsheads.heads.saving import check_config

with installed_by("transformers", "transformers"):
    from transformers import AutoConfig, AutoModel, AutoTokenizer, PretrainedConfig, PreTrainedModel
    from transformers.utils.generic import ModelOutput

__all__ = ["MPSHeadConfig", "MPSHeadModel", "MPSHeadOutput"]

_BATCH_SIZE, _ROWS = 64, 1024  # texts that the encoder, and embeddings that the head takes at once


class MPSHeadConfig(PretrainedConfig):
    """The configuration of an `MPSHeadModel`.

    Args:
        encoder: Configuration of the encoder, an object or its `to_dict()`.
        head: Kind and arguments of the head, as in the `config.json` of a saved head.
        pooling: "mean" of the last hidden state over tokens that are not padding, or "cls", that
            of the first token.
        trainable_layers: How many of the encoder's last layers are trained; `None` for all of it.
        max_tokens: Tokens after which `encode` cuts a text.
    """

    model_type = "mps_head"
    sub_configs = {"encoder": AutoConfig}  # noqa: RUF012  # pyright: ignore

    @door
    def __init__(
        self,
        encoder: PretrainedConfig | dict[str, Any] | None = None,
        head: dict[str, Any] | None = None,
        pooling: Pooling = "mean",
        trainable_layers: int | None = 4,
        max_tokens: Positive = 256,
        **kwargs: Any,
    ) -> None:
        if isinstance(encoder, dict) and "model_type" in encoder:
            encoder = AutoConfig.for_model(**encoder)
        self.encoder: Any = AutoConfig.for_model("bert") if encoder is None else encoder
        check_type("encoder", self.encoder, PretrainedConfig, "the configuration of an encoder")
        width = self.encoder.hidden_size
        default = {"head": MPSProjectionHead.name, "in_features": width, "out_features": width // 3}
        self.head = default if head is None else head
        self.pooling = pooling
        self.trainable_layers = trainable_layers
        self.max_tokens = max_tokens
        super().__init__(**kwargs)

    def to_dict(self) -> dict[str, Any]:
        """As written to `config.json`: without the folder that the encoder came from."""
        entries = super().to_dict()
        entries["encoder"].pop("_name_or_path", None)
        return entries


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
    once this module is imported, reads one. The encoder's tokenizer is read when it is needed, and
    saved beside the model.

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
    _tokenizer: Any = None

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
                kind, arguments = check_config(Path("config.json"), config.head, HEADS)
                head = HEADS[kind](**arguments)
        self.head = head
        check_equal("width", encoder=config.encoder.hidden_size, head=head.in_features)
        self.config.encoder = self.encoder.config  # one object, which keeps its attention
        self.model_tags = ["mpsheads", "matrix-product-states", "sentence-similarity"]
        self.post_init()
        self.freeze()

    @classmethod
    @door
    def from_encoder(
        cls,
        encoder: PreTrainedModel | PathLike,
        head: ProjectionHead | None = None,
        *,
        pooling: Pooling = "mean",
        trainable_layers: int | None = 4,
        max_length: Positive = 256,
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
            max_length: Tokens after which `encode` cuts a text.
            encoder_options: Passed on to `AutoModel.from_pretrained`, such as `dtype`.

        Raises:
            ValueError: If the widths do not fit, or the encoder's layers are not found.
        """
        if not isinstance(encoder, PreTrainedModel):
            encoder = cast(
                PreTrainedModel, AutoModel.from_pretrained(str(as_path(encoder)), **encoder_options)
            )
        if encoder.config.is_encoder_decoder:
            encoder = cast(PreTrainedModel, encoder.get_encoder())
        if head is None:
            width = encoder.config.hidden_size
            head = MPSProjectionHead(width, width // 3)
        config = MPSHeadConfig(
            encoder=encoder.config.to_dict(),  # a copy: transformers resets attributes of its parts
            head={"head": head.name, **head.config},
            pooling=pooling,
            trainable_layers=trainable_layers,
            max_tokens=max_length,
        )
        return cls(config, encoder, head)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Read a model from a folder or the hub; arguments are those of transformers."""
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        for module in model.modules():
            if isinstance(module, Mixing):  # transformers keeps all of a head in float32
                module.orders = module.orders.long()
        model.freeze()
        return loaded

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
        pooled = pool_tokens(hidden, mask, self.config.pooling)
        output = MPSHeadOutput(
            compressed=self._compress(pooled),
            pooled=pooled,
            last_hidden_state=hidden,
            hidden_states=encoded.get("hidden_states"),
            attentions=encoded.get("attentions"),
        )
        return output.to_tuple() if return_dict is False else output

    @door
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Compress texts, in batches of like length. In training mode alone it keeps gradients.

        Args:
            texts: Any number of texts, cut after `config.max_tokens` tokens. One without any
                token is compressed as the zero vector.

        Returns:
            `(len(texts), out_features)`, in the order of the texts, on the model's device.

        Raises:
            TypeError: If `texts` is one string.
            ValueError: If the model has no tokenizer.
        """
        pooled = torch.zeros(len(texts), self.head.in_features, device=self.device)
        options = (self.config.max_tokens, _BATCH_SIZE)
        with nullcontext() if self.training else torch.no_grad():
            for rows, batch in token_batches(self.encoder, self.tokenizer, texts, *options):
                batch = batch.to(self.device)
                hidden = self.encoder(**batch).last_hidden_state
                part = pool_tokens(hidden, batch["attention_mask"], self.config.pooling)
                pooled = pooled.to(part.dtype).index_put((torch.tensor(rows),), part)
            return torch.cat([self._compress(part) for part in pooled.split(_ROWS)])

    def _compress(self, pooled: Tensor) -> Tensor:
        """The head's vectors, in its own precision."""
        own = next((t for t in self.head.state_dict().values() if t.is_floating_point()), pooled)
        return self.head(pooled.to(own.dtype))

    @property
    def tokenizer(self) -> Any:
        """The encoder's tokenizer, from where the model or its encoder came; or what was set.

        Raises:
            ValueError: If there is none.
        """
        source = self.config._name_or_path or self.config.encoder._name_or_path
        if self._tokenizer is None and source:
            with suppress(OSError, ValueError):  # transformers' errors where there is none
                self._tokenizer = AutoTokenizer.from_pretrained(source)
        if self._tokenizer is None:
            raise ValueError("There is no tokenizer: set `model.tokenizer` to the encoder's.")
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, value: Any) -> None:
        self._tokenizer = value

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
            for layer in last_layers(self.encoder, count):
                layer.requires_grad_(True)

    def train(self, mode: bool = True) -> "MPSHeadModel":
        """Set training mode, in which the trained layers alone drop out."""
        super().train(mode)
        count = self.config.trainable_layers
        if mode and count is not None:
            self.encoder.eval()
            for layer in last_layers(self.encoder, count) if count else []:
                layer.train()
        return self

    def save_pretrained(self, save_directory: PathLike, **kwargs: Any) -> None:  # pyright: ignore
        """Write configuration, weights and tokenizer.

        Keyword arguments are those of transformers. A process that is killed leaves an older model
        as it was, or, killed while files are renamed, a folder that no load takes for a model.

        Raises:
            OSError: If a file cannot be written; the older model remains.
        """
        self.config.head = {"head": self.head.name, **self.head.config}
        if kwargs.get("push_to_hub"):
            kwargs.setdefault("repo_id", as_path(save_directory).name)
        with replacing_all(save_directory) as folder:
            super().save_pretrained(folder, **kwargs)
            if not kwargs.get("is_main_process", True):
                return
            with suppress(ValueError):  # there may be none
                limits = (self.encoder, self.tokenizer, self.config.max_tokens)
                self.tokenizer.model_max_length = token_limit(*limits)
                self.tokenizer.save_pretrained(folder)

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: the encoder initialises itself, and heads are built with their first values."""


AutoConfig.register(MPSHeadConfig.model_type, MPSHeadConfig, exist_ok=True)
AutoModel.register(MPSHeadConfig, MPSHeadModel, exist_ok=True)
