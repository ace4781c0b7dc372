"""The module that holds a head, and the model that ends with it."""

import inspect
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mpsheads._arrays import door
from mpsheads._files import as_path
from mpsheads._optional import installed_by
from mpsheads._typing import PathLike
from mpsheads.heads import ProjectionHead, load_head
from mpsheads.sentence_transformers.similarity import check_length, compare, find_head, pack

with installed_by("sentence-transformers", "sentence_transformers"):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Module
    from sentence_transformers.sentence_transformer.model_card import (
        SentenceTransformerModelCardData,
    )
    from sentence_transformers.sentence_transformer.modules import Normalize

_NAME = "custom"  # what `similarity_fn_name` reports; MTEB knows this one


class Projection(Module):
    """The last module of a `SentenceTransformer`: a head that compresses the pooled embedding.

    Built into a model, it makes `model.similarity` and `model.similarity_pairwise` the head's own,
    unless the user named another one (`similarity_fn_name`); after saving and loading too. For
    heads that compare states and not directions, `model.encode` then refuses
    `normalize_embeddings=True`, which would ruin the vectors silently. For these, and for heads
    with codes of their own, `precision="uint8"` and the others give codes with no calibration,
    which `model.similarity` takes.

    The head keeps its own dtype: embeddings are converted to it, and in a model loaded in 16 bits
    the head computes in float32.

    Args:
        head: Any head of mpsheads.
    """

    __module__ = "mpsheads.sentence_transformers"  # what modules.json names

    @door
    def __init__(self, head: ProjectionHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Replace `features["sentence_embedding"]` by the compressed vectors.

        Raises:
            ValueError: If no module before it has made one.
        """
        if "sentence_embedding" not in features:
            raise ValueError("A head takes one vector a text: put a Pooling module before it.")
        x, stored = features["sentence_embedding"], self.head.state_dict().values()
        own = next((tensor for tensor in stored if tensor.is_floating_point()), x)
        return {**features, "sentence_embedding": self.head(x.to(own.dtype))}

    def get_embedding_dimension(self) -> int:
        """Width of the compressed vectors."""
        return self.head.out_features

    def get_config_dict(self) -> dict[str, Any]:
        """The kind of head and its arguments, for `print(model)`."""
        return {"head": self.head.name, **self.head.config}

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Write the head as `head.save_pretrained` does; always as safetensors."""
        self.head.save_pretrained(output_path)

    @classmethod
    def load(  # pyright: ignore[reportIncompatibleMethodOverride]  # all others by name
        cls, model_name_or_path: str, subfolder: str = "", **options: Any
    ) -> "Projection":
        """Read the head from a folder, or from that subfolder of a repository on the hub."""
        names = inspect.signature(cls.load_dir_path).parameters.keys() & options.keys()
        hub = {name: options[name] for name in names}
        folder = cls.load_dir_path(model_name_or_path, subfolder=subfolder, **hub)
        return cls(load_head(folder or subfolder))

    def on_model_ready(self, model: Any) -> None:
        """Fit the model to the head; sentence-transformers calls it when the model is built.

        After `model.append(module)` it is not called: use `add_head`, or call it yourself.

        Raises:
            ValueError: If the embeddings before the head have another width than it takes, or if
                a module after it normalises its vectors.
        """
        if not isinstance(model, SentenceTransformer):
            return
        _check_neighbours(model, self)
        if any(t.dtype in (torch.float16, torch.bfloat16) for t in self.head.parameters()):
            self.head.float()
        if getattr(model, "_similarity_fn_name", None) is None:
            model._similarity = partial(_similarity, self, pairwise=False)
            model._similarity_pairwise = partial(_similarity, self, pairwise=True)
            model._similarity_fn_name = _NAME  # pyright: ignore[reportAttributeAccessIssue]
        if self.head.compared_by != "cosine" or self.head.config.get("bits"):
            model.encode = partial(_checked_encode, model, self)
        card = model.model_card_data
        card.add_tags(["mpsheads"])
        if type(card) is SentenceTransformerModelCardData:
            card.__class__ = _ModelCardData


@door
def add_head(
    model: SentenceTransformer | PathLike, head: ProjectionHead, *, drop_normalize: bool = False
) -> SentenceTransformer:
    """A model that ends with `head`, whose similarity becomes that of the model.

    The new model computes `head(model.encode(texts))`. It shares the modules of `model`, so
    training one trains both; prompts are taken over.

    Args:
        model: A sentence-transformers model without a head, or its folder or name.
        head: Takes embeddings of the model's width.
        drop_normalize: Leave out the `Normalize` modules at the end of `model`. Needed for a
            `DenseHead` or `PCAHead` trained on embeddings of `mpsheads.retrieval.Encoder`, which
            are not normalised; quantum heads bring all embeddings to one norm themselves.

    Raises:
        ValueError: If the model has a head already, or the widths do not fit.
    """
    if not isinstance(model, SentenceTransformer):
        model = SentenceTransformer(str(as_path(model)))
    modules = list(model.children())
    if any(isinstance(module, Projection) for module in modules):
        raise ValueError("`model` has a head already. Take the model without it.")
    while drop_normalize and isinstance(modules[-1], Normalize):
        modules.pop()
    result = type(model)(
        modules=[*modules, Projection(head)],
        device=str(model.device),
        prompts={k: v for k, v in model.prompts.items() if v is not None},
        default_prompt_name=model.default_prompt_name,
    )
    result.trust_remote_code = model.trust_remote_code
    result.model_card_data.base_model = model.model_card_data.base_model
    return result


@door
def load_model(folder: PathLike, **options: Any) -> SentenceTransformer:
    """A saved model, without `trust_remote_code`: `Projection` is taken from here, not by its name.

    Args:
        folder: Where it lies.
        options: Passed on to `SentenceTransformer`.

    Raises:
        ValueError: If it names a module that is neither of sentence-transformers nor this one.
    """
    ours = {f"{Projection.__module__}.Projection": Projection}
    return SentenceTransformer._load_with_module_classes(str(as_path(folder)), ours, **options)


def _similarity(module: Projection, a: Any, b: Any, *, pairwise: bool) -> Tensor:
    return compare(module.head, a, b, pairwise=pairwise)


def _checked_encode(model: SentenceTransformer, module: Projection, *args: Any, **kw: Any) -> Any:
    """`model.encode` that makes the head's codes and refuses what would ruin vectors of angles."""
    encode, head = type(model).encode, module.head
    names = list(inspect.signature(encode).parameters)[1:]
    given = {**dict(zip(names, args, strict=False)), **kw}
    length = given.get("truncate_dim") or model.truncate_dim
    if head.compared_by != "cosine":
        if given.get("normalize_embeddings"):
            raise ValueError(
                "`normalize_embeddings` must be False: the vectors of this model are not "
                "directions but states, and another norm makes another state. Compare them with "
                "`model.similarity`."
            )
        if length is not None:
            check_length(head, min(length, head.out_features))
    precision = given.get("precision") or "float32"
    if precision == "float32":
        return encode(model, *args, **kw)
    if length is not None and length < head.out_features:
        raise ValueError('`truncate_dim` must be None or `precision` "float32": codes are whole.')
    plain = {"precision": None, "convert_to_tensor": True, "normalize_embeddings": False}
    z = encode(model, **{**given, **plain})
    packed = pack(head, z.reshape(-1, head.out_features), precision)
    packed = packed[0] if len(z) and z.ndim == 1 else packed
    if not given.get("convert_to_tensor") and given.get("convert_to_numpy", True):
        return packed.numpy()
    return packed if given.get("convert_to_tensor") or packed.ndim == 1 else list(packed)


class _ModelCardData(SentenceTransformerModelCardData):
    """A model card that names the similarity, and loads the model in a way that asks no trust."""

    def get_model_specific_metadata(self) -> dict[str, Any]:
        """The similarity is the head's, unless the user named another."""
        found = super().get_model_specific_metadata()
        model = self.model
        if model is not None and model.similarity_fn_name == _NAME:
            cosine = find_head(model).compared_by == "cosine"
            found["similarity_fn_name"] = "Cosine Similarity" if cosine else "Log-Fidelity"
        return found

    def generate_usage_snippet(self) -> str:
        """The example of sentence-transformers with `mpsheads.load`."""
        theirs = "from sentence_transformers import SentenceTransformer"
        snippet = super().generate_usage_snippet().replace(theirs, "import mpsheads")
        return snippet.replace("model = SentenceTransformer(", "model = mpsheads.load(")


def _check_neighbours(model: SentenceTransformer, projection: Projection) -> None:
    modules, head = list(model.children()), projection.head
    if projection not in modules:
        return  # inside a router, whose routes say nothing of their order
    place = modules.index(projection)
    if head.compared_by != "cosine" and any(isinstance(m, Normalize) for m in modules[place + 1 :]):
        raise ValueError(
            "A Normalize module after this head changes its states. Put the head last: "
            "`mpsheads.sentence_transformers.add_head`."
        )
    widths = (getattr(m, "get_embedding_dimension", None) for m in reversed(modules[:place]))
    width = next((w() for w in widths if w is not None), None)
    if width is not None and width != head.in_features:
        raise ValueError(
            f"`head` takes {head.in_features} features, but the model's embeddings have "
            f"{width}. Build it with in_features={width}."
        )
