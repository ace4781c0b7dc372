"""Heads, their training, similarity and codes on every device there is, and on one that is none."""

import pytest
import torch

from mpsheads import (
    DenseHead,
    MPSProjectionHead,
    PCAHead,
    ReferenceHead,
    TruncationHead,
    assume_finite,
)
from mpsheads.heads import compress_vectors, freeze
from mpsheads.similarity import (
    approximate_log_fidelity,
    cosine,
    fidelity,
    log_fidelity,
    quantize,
    quantize_trellis,
    top_k,
)
from mpsheads.training import TrainingConfig, TrainingData, train
from tests.devices import places
from tests.devices.places import PLACE, same

IN, OUT, ROWS = 24, 8, 12


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


HEADS = {
    "default": lambda g: MPSProjectionHead(IN, OUT, generator=g),
    "without mixing": lambda g: MPSProjectionHead(IN, OUT, mixing=0, generator=g),
    "full mixing": lambda g: MPSProjectionHead(IN, OUT, mixing="full", generator=g),
    "deep": lambda g: MPSProjectionHead(IN, OUT, depth=2, generator=g),
    "long blocks": lambda g: MPSProjectionHead(48, 4, depth=2, generator=g),
    "probability": lambda g: MPSProjectionHead(IN, OUT, readout="probability", generator=g),
    "states": lambda g: MPSProjectionHead(IN, 24, readout="state", generator=g),
    "truncating": lambda g: MPSProjectionHead(IN, OUT, bond_dim=2, depth=2, generator=g),
    "own circuit": lambda g: MPSProjectionHead(IN, OUT, ansatz="brickwork", generator=g),
    "amplitudes": lambda g: MPSProjectionHead(IN, OUT, readout="amplitude", generator=g),
    "codes": lambda g: MPSProjectionHead.for_bytes(64, 8, generator=g),
    "reference": lambda g: ReferenceHead(IN, OUT, generator=g),
    "linear": lambda g: DenseHead(IN, OUT, generator=g),
    "pca": lambda g: PCAHead(IN, OUT),
    "truncation": lambda g: TruncationHead(IN, OUT),
}


def made(name):
    """A head, fitted where it can be, and embeddings for it."""
    head = HEADS[name](torch.Generator().manual_seed(0))
    x = numbers(3 * ROWS, head.in_features)
    if hasattr(head, "fit"):
        head.fit(x)
    return head, x[:ROWS]


@pytest.mark.parametrize("name", HEADS)
def test_vectors_similarity_and_gradients(name, monkeypatch):
    """Nothing is made on the CPU in between, forwards or backwards."""
    monkeypatch.setattr(torch, "randn_like", torch.ones_like)  # the noise of training
    results = []
    for at in (PLACE.move, lambda x: x):
        head, x = made(name)
        head, x = at(head), at(x.clone().requires_grad_())
        z = head(x)
        score = head.similarity(z[:4], z[4:])
        parameters = [p for p in head.parameters() if p.requires_grad]
        score.square().sum().backward()
        gradients = [p.grad for p in (x, *parameters) if p.grad is not None]
        results.append([z.detach(), score.detach(), *gradients])
    same(*results, torch.float32)


@pytest.mark.parametrize("name", ["default", "codes", "reference", "pca"])
def test_codes_fitting_freezing_and_chunks(name):
    results = []
    for at in (PLACE.move, lambda x: x):
        head, x = made(name)
        head, x = at(head.eval()), at(x)
        if hasattr(head, "fit") and name != "codes":  # whose leading axes may change their signs
            head.fit(x)
        with torch.no_grad():
            codes = head.code(x)
            found = [head.similarity(head(x), codes), compress_vectors(head, x, rows=5)]
            found += [freeze(head)(x)] if isinstance(head, MPSProjectionHead) else []
        results.append(found)
    same(*results, torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name", HEADS)
def test_a_step_waits_for_nothing(name):
    """So it can be a CUDA graph: after the first, none copies from the CPU or looks at numbers."""
    head, x = made(name)
    head, x = PLACE.move(head), PLACE.move(x).requires_grad_()
    with assume_finite():
        head(x).square().sum().backward()
        with PLACE.without_waiting():
            head(x).square().sum().backward()


@pytest.mark.skipif(PLACE.name == "cuda", reason="There is CUDA, and its profiler.")
def test_the_default_head_launches_what_the_page_says():
    head, x = (PLACE.move(each) for each in made("default"))
    x.requires_grad_()
    counts = []
    with assume_finite():
        head(x)
        for run in (lambda: head(x), lambda: head(x).sum().backward()):
            with PLACE.without_waiting():
                run()
                counts.append(places.pretend.launches())
    forward, backward = counts[0], counts[1] - counts[0]
    assert 100 < forward < 120
    assert 160 < backward < 180


SCORES = {
    "log_fidelity": lambda q, d: log_fidelity(q, d),
    "fidelity of pairs": lambda q, d: fidelity(q, d[:4], pairwise=True),
    "approximate": lambda q, d: approximate_log_fidelity(q, d),
    "cosine": lambda q, d: cosine(q, d),
    "top_k": lambda q, d: top_k(q, d, 3),
    "top_k of cosines": lambda q, d: top_k(q, d, 3, similarity=cosine),
    **{
        f"codes of {bits} bits": lambda q, d, bits=bits: log_fidelity(q, quantize(d, bits))
        for bits in (8, 4, 2, 1)
    },
    **{
        f"trellis of {bits} bits": lambda q, d, bits=bits: cosine(
            q, quantize_trellis(d, bits, centre=d[0], span=0.9)
        )
        for bits in (1, 2, 8)
    },
    "top_k of codes": lambda q, d: top_k(
        q, quantize_trellis(d, 2, centre=d[0], span=0.9), 3, similarity=cosine
    ),
}


@pytest.mark.parametrize("name", SCORES)
def test_scores(name):
    q, d = (numbers(rows, 16, seed=rows).sigmoid() * 3 for rows in (4, 30))
    results = [SCORES[name](at(q), at(d)) for at in (PLACE.move, lambda x: x)]
    same(*results, torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["default", "codes"])
def test_training(name, tmp_path):
    features = made(name)[0].in_features
    pairs = torch.arange(ROWS)[:, None].expand(ROWS, 2)
    data = TrainingData(numbers(ROWS, features), numbers(ROWS, features, seed=1), pairs)
    config = TrainingConfig(epochs=1, batch_size=ROWS)
    results = []
    for at, folder in ((PLACE.move, "there"), (lambda x: x, "here")):
        head = at(made(name)[0])
        train(head, data, config, tmp_path / folder, progress=False)
        results.append([p.detach() for p in head.parameters()])
    same(*results, torch.float32)
