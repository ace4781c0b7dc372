"""Wrong arguments: what comes is an error of the right kind that names the argument."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import mpsheads
from mpsheads import MPSProjectionHead
from mpsheads.experiments.running import Runner
from mpsheads.heads import load_head, make_head
from mpsheads.retrieval import EmbeddedCollection, Encoder, save_vectors
from mpsheads.similarity import load_codes
from mpsheads.training import (
    TrainingConfig,
    TrainingData,
    contrastive_loss,
    distillation_loss,
    hold_out,
    mine_hard_negatives,
    mine_triples,
    ranking_validation,
    read_checkpoint,
    train,
    training_data,
)
from tests.integrations.tiny import FEATURES, write_bert
from tests.later import Later

pytestmark = pytest.mark.slow

st = Later("sentence_transformers")
modules = Later("sentence_transformers.sentence_transformer.modules")
ours = Later("mpsheads.sentence_transformers")
hf = Later("mpsheads.transformers")
X = torch.randn(6, 12, generator=torch.Generator().manual_seed(0))
PAIRS = torch.arange(6)[:, None].expand(6, 2)
PLAIN = {"dtype": "float32", "device": "cpu"}


def data(queries=X, documents=X, pairs=PAIRS, hard=None):
    return TrainingData(queries, documents, pairs, hard)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> SimpleNamespace:
    """A tiny encoder, with a head in each kind of model; a folder of a head and its codes."""
    folder = write_bert(tmp_path_factory.mktemp("bert"), layers=1)
    head = MPSProjectionHead(12, 4)
    head.save_pretrained(folder / "head")
    head.quantize(head(X), 8).save(folder / "codes")
    transformer = modules.Transformer(str(folder))
    parts = [transformer, modules.Pooling(FEATURES, "mean")]
    base = st.SentenceTransformer(modules=parts, device="cpu")
    wide = MPSProjectionHead(FEATURES, 16)
    return SimpleNamespace(
        folder=folder,
        encoder=Encoder(folder, **PLAIN),
        transformer=transformer,
        base=base,
        head=wide,
        pipeline=ours.add_head(base, wide),
        model=hf.MPSHeadModel.from_encoder(folder, wide, trainable_layers=0),
    )


def run(folder: Path, model="head", over=None, config=None, **options):
    model = MPSProjectionHead(12, 4) if model == "head" else model
    over = data() if over is None else over
    config = TrainingConfig(epochs=1, batch_size=3) if config is None else config
    return train(model, over, config, folder / "run", progress=False, **options)


TABLE = {
    # training data
    "lists": (TypeError, "`queries`", lambda m: data([[1.0]], [[1.0]])),
    "texts and vectors": (TypeError, "`queries`", lambda m: data(documents=["a"] * 6)),
    "one axis": (ValueError, "`documents`", lambda m: data(X[0], X[0])),
    "no axis": (ValueError, "`documents`", lambda m: data(X[0, 0], X[0, 0])),
    "no width": (ValueError, "`documents`", lambda m: data(X[:, :0], X[:, :0])),
    "integers": (TypeError, "`documents`", lambda m: data(X.long(), X.long())),
    "pairs: a list": (TypeError, "`pairs`", lambda m: data(pairs=[[0, 0]])),
    "pairs: none": (ValueError, "`pairs`", lambda m: data(pairs=PAIRS[:0])),
    "pairs: float": (TypeError, "`pairs", lambda m: data(pairs=PAIRS.float())),
    "pairs: no such row": (ValueError, "`pairs", lambda m: data(pairs=PAIRS + 1)),
    "negatives: a list": (TypeError, "`hard_negatives`", lambda m: data(hard=[[1]] * 6)),
    "negatives: one axis": (ValueError, "`hard_negatives`", lambda m: data(hard=PAIRS[:, 0])),
    "negatives: wanted": (TypeError, "`hard_neg", lambda m: data().batch(torch.tensor([1]), 2)),
    "paired texts": (
        TypeError,
        "`queries`",
        lambda m: data(["a"] * 6, ["b"] * 6).paired(),
    ),
    "no collection": (TypeError, "`embedded`", lambda m: training_data(X)),
    "no collection to hold out": (TypeError, "`embedded`", lambda m: hold_out(X)),
    "no collection to rank": (TypeError, "`embedded`", lambda m: ranking_validation(X)),
    "no collection to mine": (TypeError, "`source`", lambda m: mine_triples(data())),
    "margin": (TypeError, "`margin`", lambda m: mine_hard_negatives(data(), margin="a")),
    # training
    "rate: text": (TypeError, "`learning_rate`", lambda m: TrainingConfig(learning_rate="1")),
    "rate: true": (TypeError, "`learning_rate`", lambda m: TrainingConfig(learning_rate=True)),
    "seed: negative": (ValueError, "`seed`", lambda m: TrainingConfig(seed=-1)),
    "seed: large": (ValueError, "`seed`", lambda m: TrainingConfig(seed=1 << 62)),
    "epochs": (TypeError, "`epochs`", lambda m: TrainingConfig(epochs=1.5)),
    "loss": (ValueError, "`loss`", lambda m: TrainingConfig(loss=["both"])),
    "model: a name": (TypeError, "`model`", lambda m: run(m.folder, "mps")),
    "model: float16": (
        TypeError,
        "`model`.*float16",
        lambda m: run(m.folder, MPSProjectionHead(12, 4).half()),
    ),
    "data: a tensor": (TypeError, "`data`", lambda m: run(m.folder, over=X)),
    "data: one pair": (ValueError, "`data`", lambda m: run(m.folder, over=data(pairs=PAIRS[:1]))),
    "config: a dict": (TypeError, "`config`", lambda m: run(m.folder, config={"epochs": 1})),
    "validation: a number": (TypeError, "`validation`", lambda m: run(m.folder, validation=3)),
    "validation: nothing": (
        ValueError,
        "`validation`",
        lambda m: run(m.folder, validation=lambda _: None),
    ),
    "validation: text": (
        ValueError,
        "`validation`",
        lambda m: run(m.folder, validation=lambda _: "0.5"),
    ),
    "no run": (FileNotFoundError, "checkpoint", lambda m: read_checkpoint(m.folder)),
    "scores: a list": (TypeError, "`scores`", lambda m: contrastive_loss([[1.0]], PAIRS[:1, 0])),
    "scores: none": (ValueError, "`scores`", lambda m: contrastive_loss(X[:0], PAIRS[:0, 0])),
    "target: float": (TypeError, "`target`", lambda m: contrastive_loss(X, X[:, 0])),
    "ignored: float": (TypeError, "`ignored`", lambda m: contrastive_loss(X, PAIRS[:, 0], X)),
    "teacher: one axis": (ValueError, "`teacher_scores`", lambda m: distillation_loss(X, X[0])),
    # the encoder and vectors
    "encoder: none": (TypeError, "`model`", lambda m: Encoder(None)),
    "prefix": (TypeError, "`query_prefix`", lambda m: Encoder(m.folder, query_prefix=3)),
    "dtype": (ValueError, "`dtype`", lambda m: Encoder(m.folder, dtype=torch.float32)),
    "vectors: a list": (TypeError, "`z`", lambda m: save_vectors(m.folder / "x.npy", z=[[1.0]])),
    "ids: numbers": (
        TypeError,
        "`ids",
        lambda m: save_vectors(m.folder / "x.safetensors", ids={"z": range(6)}, z=X),
    ),
    # a model of transformers
    "head: a name": (TypeError, "`head`", lambda m: hf.MPSHeadModel.from_encoder(m.folder, "mps")),
    "encoder: a pipeline": (TypeError, "`encoder`", lambda m: hf.MPSHeadModel.from_encoder(m.base)),
    "layers: text": (
        TypeError,
        "`trainable_layers`",
        lambda m: hf.MPSHeadModel.from_encoder(m.folder, m.head, trainable_layers="all"),
    ),
    "config: head": (TypeError, "`head`", lambda m: hf.MPSHeadConfig(head="mps")),
    "config: encoder": (TypeError, "`encoder`", lambda m: hf.MPSHeadConfig(encoder={})),
    "config: no head": (
        ValueError,
        "head",
        lambda m: hf.MPSHeadModel(hf.MPSHeadConfig(head={"x": 1})),
    ),
    # a model of sentence-transformers
    "projection": (TypeError, "`head`", lambda m: ours.Projection(MPSProjectionHead)),
    "add_head: none": (TypeError, "`model`", lambda m: ours.add_head(None, m.head)),
    "find_head: none": (TypeError, "`model`", lambda m: ours.find_head(None)),
    "load_model: none": (TypeError, "`folder`", lambda m: ours.load_model(None)),
    "load: a number": (TypeError, "`path`", lambda m: mpsheads.load(3)),
    "no pooling": (
        ValueError,
        "Pooling",
        lambda m: st.SentenceTransformer(
            modules=[m.transformer, ours.Projection(m.head)], device="cpu"
        ).encode(["a"]),
    ),
    "similarity: texts": (TypeError, "numbers", lambda m: m.pipeline.similarity(["a"], ["b"])),
    "similarity: nothing": (TypeError, "numbers", lambda m: m.pipeline.similarity(None, None)),
    "similarity: no axis": (
        ValueError,
        "matrix",
        lambda m: m.pipeline.similarity(np.float32(1), np.float32(1)),
    ),
    "similarity: three axes": (
        ValueError,
        "matrix",
        lambda m: m.pipeline.similarity(X[None], X[None]),
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_error_names_the_argument(made, case):
    error, match, call = TABLE[case]
    with pytest.raises(error, match=match) as caught:
        call(made)
    assert type(caught.value) is error


UNREAD = object.__new__(EmbeddedCollection)
TAKE_A_DEVICE = {
    "load": lambda m, device: mpsheads.load(m.folder / "head", device=device),
    "load_head": lambda m, device: load_head(m.folder / "head", device=device),
    "make_head": lambda m, device: make_head("mps", 12, 4, device=device),
    "load_codes": lambda m, device: load_codes(m.folder / "codes", device=device),
    "Encoder": lambda m, device: Encoder(m.folder, device=device),
    "Runner": lambda m, device: Runner(m.encoder, "x", m.folder / "x", device=device),
    "train": lambda m, device: run(m.folder, device=device),
    "mine_triples": lambda m, device: mine_triples(UNREAD, device=device),
}


@pytest.mark.skipif(torch.cuda.is_available(), reason="There is CUDA here.")
@pytest.mark.parametrize("call", TAKE_A_DEVICE)
def test_a_device_that_is_not_here_is_named(made, call):
    for device in ("cuda", "tpu9", "cuda:x"):
        with pytest.raises(ValueError, match=f"`device` '{device}' is not to be had here"):
            TAKE_A_DEVICE[call](made, device)
    with pytest.raises(TypeError, match="device"):
        TAKE_A_DEVICE[call](made, 3.5)
