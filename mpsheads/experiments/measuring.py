"""From a model that is ready to its results."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mpsheads.encodings import equalise_norm, feature_angles
from mpsheads.experiments.quantise import code
from mpsheads.experiments.results import Line
from mpsheads.heads import ProjectionHead, compress_vectors
from mpsheads.retrieval import EmbeddedCollection, evaluate
from mpsheads.similarity import log_fidelity

_CALIBRATION = 2048  # documents whose texts a model encodes to calibrate codes


def measure(
    model: Any,
    results: Sequence[Line],
    tests: Mapping[str, EmbeddedCollection],
    training: EmbeddedCollection | None,
    *,
    similarity: Callable[[Tensor, Tensor], Tensor] | None = None,
    decoded: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[Line]:
    """The results of a head, or of an `MPSHeadModel` on texts, for each test and number of bits.

    Codes of unbounded numbers are calibrated on documents of `training`; a quantiser gives
    `decoded`, what it leaves of documents, in their place.
    """
    head: ProjectionHead = getattr(model, "head", model)
    vectors = {
        name: (_vectors(model, tests[name], "queries"), _vectors(model, tests[name], "documents"))
        for name in {line["test"] for line in results}
    }
    calibration = None
    own = decoded is not None or head.config.get("bits") is not None
    if not own and any(line["bits"] < 32 for line in results):
        assert training is not None
        calibration = _vectors(model, training, "documents", _CALIBRATION)
    for line in results:
        test, (zq, zd) = tests[line["test"]], vectors[line["test"]]
        if decoded is not None:
            zd = decoded(zd)
        elif head.config.get("bits") is not None:  # its own codes
            zd = head.quantize(zd, head.config["bits"])
        elif line["bits"] < 32:
            assert calibration is not None
            zd = code(head, zd, calibration, line["bits"])
        compare = similarity or head.similarity
        run = test.rank(queries=zq, documents=zd, similarity=compare)
        per_query = evaluate(run, test.qrels, [line["measure"]]).per_query
        scores = {query_id: values[line["measure"]] for query_id, values in per_query.items()}
        yield {**line, "parameters": head.num_parameters, "scores": scores}


def angle_fidelity(zq: Tensor, zd: Tensor) -> Tensor:
    """Log-fidelity of qubits whose angles are those of the paper's encoding of embeddings."""
    return log_fidelity(feature_angles(equalise_norm(zq)), feature_angles(equalise_norm(zd)))


@torch.no_grad()
def _vectors(
    model: Any, embedded: EmbeddedCollection, kind: str, most: int | None = None
) -> Tensor:
    """The model's vectors of "queries" or "documents"; of texts at most the first `most`."""
    if isinstance(model, ProjectionHead):
        return compress_vectors(model, getattr(embedded, kind)).cpu()
    return model.encode(embedded.texts(kind)[:most]).cpu()
