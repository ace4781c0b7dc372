"""Training with SentenceTransformerTrainer, alone and in two processes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from mpsheads import MPSProjectionHead
from tests.integrations.tiny import FEATURES
from tests.later import Later

pytestmark = pytest.mark.slow

datasets = Later("datasets")
st = Later("sentence_transformers")
losses = Later("sentence_transformers.sentence_transformer.losses")
ours = Later("mpsheads.sentence_transformers")

ROOT = Path(__file__).resolve().parents[2]
PAIRS = [
    ("why do cats purr", "Cats purr when they are content."),
    ("what is rain", "Rain is water that falls from clouds."),
    ("how is bread made", "Bread is baked from dough in an oven."),
    ("what do bees make", "Bees collect nectar and turn it into honey."),
    ("why is the sky blue", "Air scatters blue light more than red light."),
    ("how do planes fly", "Wings push air down, which lifts the plane."),
    ("what is a qubit", "A qubit is a quantum system with two levels."),
    ("who wrote hamlet", "Shakespeare wrote the tragedy around 1600."),
]


def test_training_of_the_head_alone_lowers_the_loss(base, tmp_path):
    torch.manual_seed(0)
    base[0].requires_grad_(False)
    model = ours.add_head(base, MPSProjectionHead(FEATURES, 24))
    loss = losses.MultipleNegativesRankingLoss(model, similarity_fct=ours.head_similarity(model))
    arguments = st.SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=8,
        num_train_epochs=20,
        logging_steps=1,
        save_strategy="no",
        learning_rate=3e-2,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    queries, documents = zip(*PAIRS, strict=True)
    pairs = datasets.Dataset.from_dict({"query": queries, "document": documents})
    before = {name: p.clone() for name, p in model.named_parameters()}
    trainer = st.SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=pairs, loss=loss
    )
    trainer.train()
    history = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert history[-1] < 0.95 * history[0]
    moved = [n for n, p in model.named_parameters() if not torch.equal(p, before[n])]
    assert moved
    assert all("head" in name for name in moved)
    assert set(map(id, ours.find_head(model).parameters())) == {
        id(p) for p in model.parameters() if p.requires_grad
    }


def test_two_processes_have_the_same_weights_also_when_resumed(encoder_folder, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    ran = subprocess.run(
        [*command, "-m", "tests.integrations.worker", str(encoder_folder), str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    first, second = (torch.load(tmp_path / f"rank-{rank}.pt") for rank in (0, 1))
    expected = first["whole"]
    for other in (first["resumed"], second["whole"], second["resumed"]):
        for name, weights in expected.items():
            assert_close(other[name], weights, msg=name)
    assert first["compared"] == second["compared"] == [(4, 8)]  # documents of both processes
    untrained = st.SentenceTransformer(str(encoder_folder), device="cpu").state_dict()
    name = next(name for name in untrained if name.endswith("layer.2.output.dense.weight"))
    assert not torch.equal(expected[name], untrained[name])
    checkpoint = st.SentenceTransformer(
        str(tmp_path / "whole" / "checkpoint-2"), device="cpu", trust_remote_code=True
    ).state_dict()
    assert any(not torch.equal(checkpoint[name], weights) for name, weights in expected.items())
