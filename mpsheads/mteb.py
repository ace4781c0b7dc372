"""A model with a head on the tasks of MTEB, compared by the head's similarity."""

from typing import Any

from mpsheads._hashes import hash_of
from mpsheads._optional import installed_by
from mpsheads.sentence_transformers import find_head

with installed_by("mteb", "mteb"):
    from mteb.models import SentenceTransformerEncoderWrapper
with installed_by("sentence-transformers", "sentence_transformers"):
    from sentence_transformers import SentenceTransformer

__all__ = ["mteb_model"]


def mteb_model(
    model: SentenceTransformer, *, name: str | None = None, revision: str | None = None, **meta: Any
) -> SentenceTransformerEncoderWrapper:
    """A `SentenceTransformer` with a head, as `mteb.evaluate` takes it.

    `mteb.evaluate(model, ...)` itself would keep the results under the name of the model without
    the head, and has no similarity of pairs but cosine and dot product.

    Args:
        model: The model, such as `mpsheads.load` or `add_head` gives it. Both similarities are its
            own: the head's, unless the user named another one.
        name: `owner/name` under which MTEB keeps the results; made from the base model and the
            head if `None`.
        revision: Of the model, for the same use; a hash of its weights if `None`, so that results
            of another training are not taken for this one's.
        meta: Further fields of MTEB's `ModelMeta`, such as `languages` or `training_datasets`.

    Raises:
        ValueError: If the model has no head.
    """
    head = find_head(model)
    base = model.model_card_data.base_model
    parts = [*([base.split("/")[-1]] if base else []), head.name, str(head.out_features)]
    network: Any = model.transformers_model
    fields = {
        "name": name or "mpsheads/" + "-".join(parts),
        "revision": revision or hash_of(model.state_dict().values())[:40],
        "n_parameters": sum(t.numel() for t in model.state_dict().values()),
        "n_embedding_parameters": network and network.get_input_embeddings().weight.numel(),
        "similarity_fn_name": None,  # MTEB asks the model then
        "experiment_kwargs": {"head": head.name, **{k: str(v) for k, v in head.config.items()}},
    }
    wrapped = SentenceTransformerEncoderWrapper(model)
    wrapped.mteb_model_meta = wrapped.mteb_model_meta.model_copy(update={**fields, **meta})
    return wrapped
