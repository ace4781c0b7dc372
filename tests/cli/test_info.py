import re

import pytest
import torch

import mpsheads
from mpsheads.ansatz import ladder
from mpsheads.cli import learned
from mpsheads.heads import DenseHead, MPSProjectionHead, PCAHead, ReferenceHead, TruncationHead
from mpsheads.mps import entanglement_entropy
from mpsheads.plotting import EntropyProfile
from mpsheads.retrieval import load_vectors
from tests.cli.conftest import FEATURES


def seeded():
    return torch.Generator().manual_seed(3)


@pytest.fixture
def saved() -> MPSProjectionHead:
    head = MPSProjectionHead(FEATURES, 16, generator=seeded())
    with torch.no_grad():
        for parameter in head.parameters():
            if parameter.ndim:
                parameter.uniform_(-1, 1, generator=seeded())
    head.save_pretrained("my-head")
    return head.eval()


def test_without_a_path_it_tells_versions_device_and_cache(command, tmp_path):
    (tmp_path / "cache" / "embeddings").mkdir(parents=True)
    (tmp_path / "cache" / "embeddings" / "shard").write_bytes(bytes(1000))
    report = command("info", "--json").json
    assert report["mpsheads"] == mpsheads.__version__
    assert report["torch"] == torch.__version__
    assert report["cache"] == str(tmp_path / "cache")
    assert report["cache_bytes"] == 1000
    assert isinstance(report["bfloat16"], bool)
    assert "head" not in report
    assert "transformers" in command("info").out


def test_a_saved_head_is_described(command, saved):
    report = command("info", "my-head", "--json").json["head"]
    assert (report["kind"], report["in_features"], report["out_features"]) == ("mps", FEATURES, 16)
    assert report["parameters"] == saved.num_parameters
    assert report["bytes_by_bits"] == {"32": 64, "8": 16, "4": 8, "2": 4, "1": 2}
    assert (report["config"]["depth"], report["config"]["mixing"]) == (1, 2)
    assert report["description"]
    assert "sample" not in report
    out = command("info", "my-head").out
    for part in ("48 -> 16", "16 at 8, 8 at 4", "staircase", "rad from the identity", "float32"):
        assert part in out
    assert "transformers" not in out


def test_a_head_is_quoted_as_it_describes_itself(command, saved):
    assert command("info", "my-head", "--json").json["head"]["description"] == saved.describe()
    assert saved.describe() in command("info", "my-head").out


def test_a_circuit_of_ones_own_has_no_distance_from_the_identity(command):
    head = MPSProjectionHead(FEATURES, 16, ansatz=ladder(3), bond_dim=8, generator=seeded())
    head.save_pretrained("own")
    assert command("info", "own", "--json").json["head"]["from_identity"] == []
    assert "identity" not in command("info", "own").out


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (DenseHead(FEATURES, 6, generator=seeded()), "root mean square"),
        (PCAHead(FEATURES, 6), "principal components"),
        (TruncationHead(FEATURES, 6), "nothing is learned"),
        (ReferenceHead(FEATURES, 12, generator=seeded()), "from the identity"),
    ],
)
def test_every_kind_is_described(command, head, words):
    head.save_pretrained("other")
    out = " ".join(command("info", "other").out.split())
    assert words in out
    assert f"parameters {head.num_parameters:,}" in out
    assert f"{4 * head.out_features} in float32; {head.out_features} at 8" in out


def test_sizes_of_parameters_are_root_mean_squares():
    head = DenseHead(4, 2, generator=seeded())
    found = learned.trained(head)["linear.weight"]
    weight = head.linear.weight.detach()
    assert found["shape"] == [2, 4]
    assert found["rms"] == pytest.approx(float(weight.square().mean().sqrt()))
    assert found["largest"] == pytest.approx(float(weight.abs().max()))


def test_the_reference_head_is_as_far_from_the_identity_as_its_angles():
    head = ReferenceHead(8, 4)
    with torch.no_grad():
        head.angles_raw.fill_(0.1)
    expected = float(2 * torch.pi * torch.tensor(0.1).tanh())
    assert learned.trained(head)["angles_raw"]["rms"] == pytest.approx(expected)


def test_a_compact_reference_head_is_as_far_as_its_polar_angles():
    head = ReferenceHead(8, 4, compact=True)
    with torch.no_grad():
        head.directions[..., 0] = 0.3
        head.directions[..., 1] = 2.0
    assert learned.trained(head)["directions"]["rms"] == pytest.approx(0.3)


def test_truncation_is_told(command, vectors):
    head = MPSProjectionHead(FEATURES, 12, bond_dim=2, depth=3, generator=seeded())
    with torch.no_grad():
        head.angles.uniform_(-2, 2, generator=seeded())
    head.save_pretrained("cut")
    x, _ = load_vectors(vectors["documents"])
    alone = ["--document-vectors", vectors["documents"]]
    found = command("info", "cut", *alone, "--json").json["head"]["sample"]["entanglement"]
    with torch.no_grad():
        expected = head.project(x).discarded_weight.mean()
    assert found["discarded_weight"] == pytest.approx(float(expected), rel=1e-3)
    assert expected > 1e-4
    assert " truncated" in command("info", "cut", *alone).out


def test_a_sample_of_texts_shows_entanglement_and_outputs(command, saved, data, vectors):
    options = [*data, "--split", "test", "--texts", "20"]
    sample = command("info", "my-head", *options, "--json").json["head"]["sample"]
    assert sample["of"] == "tiny/test"
    assert sample["outputs"]["texts"] == sample["entanglement"]["texts"] == 20
    low, high = sample["outputs"]["range"]  # the part of [0, pi] that codes of directions fill
    assert 0 < low < 0.1
    assert low + high == pytest.approx(torch.pi)
    out = command("info", "my-head", *options).out
    for part in ("20 documents of tiny/test", "bits a bond", "of what is possible", "of 4"):
        assert part in out
    alone = ["--document-vectors", vectors["documents"]]
    report = command("info", "my-head", *alone, "--json").json["head"]["sample"]
    assert report["outputs"]["texts"] == 60


def test_the_sample_is_what_the_states_say(command, saved, vectors):
    x, _ = load_vectors(vectors["documents"])
    alone = ["--document-vectors", vectors["documents"]]
    found = command("info", "my-head", *alone, "--json").json["head"]["sample"]["entanglement"]
    with torch.no_grad():
        entropies = entanglement_entropy(saved.state(x), base=2)
    inside = [bond for bond in range(FEATURES - 1) if bond % 3 != 2]
    assert found["mean_bits"] == pytest.approx(float(entropies[:, inside].mean()), rel=1e-4)
    assert found["largest_bits"] == pytest.approx(float(entropies.max()), rel=1e-4)
    near = entropies[:, 1::3].mean()
    assert found["by_distance_from_kept"]["1"] == pytest.approx(float(near), rel=1e-4)


def test_a_head_without_states_says_so(command, vectors):
    TruncationHead(FEATURES, 6).save_pretrained("other")
    alone = ["--document-vectors", vectors["documents"]]
    out = command("info", "other", *alone).out
    assert re.search(r"entanglement +none: the head has no quantum states", out)
    assert "bits in use" not in out


def test_products_have_no_bond_that_can_carry_any():
    profile = EntropyProfile(torch.zeros(3, 2), torch.zeros(2))
    found = learned.describe_entanglement(profile)
    assert found == {"texts": 3, "mean_bits": 0.0, "discarded_weight": 0.0}


def test_mistakes_are_one_line(fails, saved, data, vectors):
    assert "`PATH` './nosuch' is not a folder" in fails("info", "./nosuch")
    assert "Give `PATH`" in fails("info", *data)
    assert "`--texts` must be at least 1" in fails("info", "my-head", "--texts", "0")
    DenseHead(32, 4).save_pretrained("narrow")
    words = "`PATH` 'narrow' holds a head for embeddings of 32 numbers, but these have 48"
    assert words in fails("info", "narrow", *data, "--split", "test")
    assert words in fails("info", "narrow", "--document-vectors", vectors["documents"])
