"""A model with a head on the tasks of MTEB, compared by the head's similarity."""

import hashlib
from typing import Any

import torch

from mpsheads._optional import installed_by
from mpsheads.sentence_transformers import find_head

with installed_by("mteb", "mteb"):
    from mteb.models import ModelMeta, SentenceTransformerEncoderWrapper
    from mteb.models.model_meta import ScoringFunction
with installed_by("sentence-transformers", "sentence_transformers"):
    from sentence_transformers import SentenceTransformer

__all__ = ["HeadEncoder"]

_CITATION = """@article{kankeu2025quantum,
  title   = {Quantum-inspired Embeddings Projection and Similarity Metrics for Representation Learning},
  author  = {Kankeu, Ivan and Fritsch, Stefan Gerd and Sch{\\"o}nhoff, Gunnar and Mounzer, Elie and
             Lukowicz, Paul and Kiefer-Emmanouilidis, Maximilian},
  journal = {arXiv preprint arXiv:2501.04591},
  year    = {2025},
}"""  # noqa: E501


class HeadEncoder(SentenceTransformerEncoderWrapper):
    """A `SentenceTransformer` with a head, as `mteb.evaluate` takes it.

    Queries go through `encode_query`, documents through `encode_document`, and both similarities
    are those of the model: the head's, unless the user named another one.

    Args:
        model: The model, such as `mpsheads.load` or `add_head` gives it.
        name: `owner/name` under which MTEB keeps the results; made from the base model and the
            head if `None`.
        revision: Of the model, for the same use; a hash of its weights if `None`, so that results
            of another training are not taken for this one's.
        meta: Further fields of MTEB's `ModelMeta`, such as `languages` or `training_datasets`.

    Attributes:
        mteb_model_meta: What MTEB writes beside the results: name, parameters, width, similarity.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        *,
        name: str | None = None,
        revision: str | None = None,
        **meta: Any,
    ) -> None:
        head = find_head(model)
        super().__init__(model)
        base = model.model_card_data.base_model
        kind = f"{head.name}-{head.out_features}"
        tensors = model.state_dict().values()
        embeddings = _token_embeddings(model)
        fields = {
            "name": name or f"mpsheads/{base.split('/')[-1] + '-' if base else ''}{kind}",
            "revision": revision or _fingerprint(model),
            "n_parameters": sum(t.numel() for t in tensors),
            "n_embedding_parameters": embeddings,
            "memory_usage_mb": sum(t.numel() * t.element_size() for t in tensors) / 2**20,
            "max_tokens": model.max_seq_length,
            "embed_dim": model.get_embedding_dimension(),
            "similarity_fn_name": _scoring(model.similarity_fn_name),
            "framework": ["Sentence Transformers", "PyTorch"],
            "open_weights": True,
            "use_instructions": any(model.prompts.values()),
            "adapted_from": base,
            "citation": _CITATION,
            "experiment_kwargs": {
                "head": head.name,
                **{k: str(v) for k, v in head.config.items()},
            },
        }
        self.mteb_model_meta = ModelMeta.create_empty(overwrites={**fields, **meta})

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """The model's similarity of the i-th vectors of both sets."""
        return self.model.similarity_pairwise(embeddings1, embeddings2)


def _scoring(name: str) -> ScoringFunction:
    """MTEB's word for a similarity; it knows those of sentence-transformers, and "custom"."""
    return ScoringFunction(name)


def _token_embeddings(model: SentenceTransformer) -> int | None:
    network: Any = model.transformers_model
    return None if network is None else network.get_input_embeddings().weight.numel()


def _fingerprint(model: SentenceTransformer) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:40]
