"""From a head that is ready to its results."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from torch import Tensor

from mpsheads.experiments.data import Split
from mpsheads.experiments.methods import code
from mpsheads.experiments.results import Line
from mpsheads.heads import ProjectionHead, compress


def score_head(
    head: ProjectionHead,
    lines: Sequence[Line],
    tests: Mapping[str, Split],
    known: Tensor | None,
    similarity: Callable[..., Tensor] | None = None,
) -> Iterator[Line]:
    """The results of a head, for each test and number of bits.

    Args:
        head: The head.
        lines: What each result says besides its scores.
        tests: Where to measure.
        known: Training documents, which codes of unbounded numbers are calibrated on.
        similarity: Of all pairs; the head's own if `None`.
    """
    compressed = {}
    calibration = None
    for line in lines:
        test = tests[line["test"]]
        if line["test"] not in compressed:
            compressed[line["test"]] = (
                compress(head, test.queries).cpu(),
                compress(head, test.documents).cpu(),
            )
        zq, zd = compressed[line["test"]]
        if line["bits"] < 32:
            assert known is not None
            calibration = compress(head, known).cpu() if calibration is None else calibration
            zd = code(head, zd, calibration, line["bits"])
        scores = test.scores(zq, zd, similarity or head.similarity, line["measure"])
        yield {**line, "parameters": head.num_parameters, "scores": scores}
