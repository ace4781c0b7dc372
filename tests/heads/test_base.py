import json
import shutil
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from mpsheads import (
    DenseHead,
    MPSProjectionHead,
    PCAHead,
    ProjectionHead,
    ReferenceHead,
    TruncationHead,
    load_head,
)

KINDS = [MPSProjectionHead, ReferenceHead, DenseHead, PCAHead, TruncationHead]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def head(request, generator):
    head = request.param(12, 4)
    if isinstance(head, PCAHead):
        head.fit(torch.randn(30, 12, generator=generator))
    return head


def test_every_head_has_the_interface(head, generator):
    x = torch.randn(5, 12, generator=generator)
    z = head(x)
    assert z.shape == (5, 4)
    assert z.dtype == torch.float32
    scores = head.similarity(z[:2], z)
    assert scores.shape == (2, 5)
    assert scores.argmax(1).tolist() == [0, 1]  # nothing is closer than the vector itself
    assert (head.in_features, head.out_features, head.bytes_per_vector) == (12, 4, 16)
    real = [t for t in head.state_dict().values() if t.is_floating_point()]
    assert head.num_parameters == sum(t.numel() for t in real)
    assert "in_features=12, out_features=4" in repr(head)


def test_a_batch_equals_its_members_and_an_empty_one_is_taken(head, generator):
    x = torch.randn(5, 12, generator=generator)
    for i in range(5):
        assert_close(head(x[i : i + 1]), head(x)[i : i + 1])
    assert head(x[:0]).shape == (0, 4)


def test_a_head_works_in_double_precision(head, generator):
    x = torch.randn(5, 12, dtype=torch.float64, generator=generator)
    assert_close(head.double()(x).float(), head.float()(x.float()), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saved_head_comes_back_the_same(head, dtype, tmp_path, generator):
    head = head.to(dtype)
    head.save_pretrained(tmp_path / "a" / "head")
    x = torch.randn(3, 12, dtype=dtype, generator=generator)
    for loaded in (
        type(head).from_pretrained(tmp_path / "a" / "head"),
        load_head(str(tmp_path / "a" / "head")),
        ProjectionHead.from_pretrained(tmp_path / "a" / "head"),
    ):
        assert type(loaded) is type(head)
        assert loaded.config == head.config
        assert_close(loaded(x), head(x), atol=0, rtol=0)
    names = sorted(path.name for path in (tmp_path / "a" / "head").iterdir())
    assert names == ["config.json", "model.safetensors"]


def test_the_files_have_the_users_usual_permissions(tmp_path):
    DenseHead(6, 2).save_pretrained(tmp_path / "head")
    (tmp_path / "usual").touch()
    modes = {path.stat().st_mode for path in [tmp_path / "usual", *(tmp_path / "head").iterdir()]}
    assert len(modes) == 1


def test_saving_over_a_head_replaces_it(tmp_path):
    DenseHead(6, 2).save_pretrained(tmp_path)
    MPSProjectionHead(12, 4).save_pretrained(tmp_path)
    assert isinstance(load_head(tmp_path), MPSProjectionHead)


def test_a_failed_save_leaves_the_old_head(tmp_path, monkeypatch):
    DenseHead(6, 2).save_pretrained(tmp_path)

    def full_disk(path, text):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="No space"):
        DenseHead(8, 2).save_pretrained(tmp_path)
    assert load_head(tmp_path).in_features == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


@pytest.fixture
def saved(tmp_path):
    DenseHead(6, 2).save_pretrained(tmp_path)
    return tmp_path


def edit(folder, **changes):
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))


def test_a_folder_that_is_not_a_head_is_named(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.* is not a folder"):
        load_head(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds a DenseHead, not a MPSProjectionHead"):
        MPSProjectionHead.from_pretrained(saved)
    (saved / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config.json is missing"):
        load_head(saved)


def test_an_unknown_hub_name_is_an_error_of_one_line(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match="neither a folder here nor to be had from the hub"):
        load_head("nobody/nothing")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 99}, "format_version 99; this mpsheads reads 1"),
        ({"head": "oracle"}, "names the head 'oracle'; known are .*dense.*mps"),
        ({"colour": "red"}, "does not fit DenseHead.*colour"),
        ({"in_features": 7}, "does not fit its config.json"),
    ],
)
def test_a_configuration_that_does_not_fit_is_named(saved, changes, message):
    edit(saved, **changes)
    with pytest.raises(ValueError, match=message):
        load_head(saved)


def test_broken_files_are_named(saved, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(saved, other, ignore=shutil.ignore_patterns("other"))
    (saved / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not the configuration of a saved head"):
        load_head(saved)
    (other / "model.safetensors").write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"model.safetensors does not fit"):
        load_head(other)
    (other / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model.safetensors is missing"):
        load_head(other)


def test_bad_inputs_are_named(head):
    with pytest.raises(ValueError, match=r"`x` must have shape \(batch, 12\), got \(3, 11\)"):
        head(torch.zeros(3, 11))
    with pytest.raises(ValueError, match=r"`zd` must have shape \(batch, 4\), got \(3, 5\)"):
        head.similarity(torch.zeros(3, 4), torch.zeros(3, 5))
    with pytest.raises(TypeError, match="`in_features` must be an integer, got True"):
        type(head)(True, 4)


def test_an_input_of_another_dtype_is_named_with_the_way_out(head):
    if not head.num_parameters:
        return  # truncation has no dtype of its own
    message = r"float32 or a less precise one, got torch.float64.*`x.to\(torch.float32\)`"
    with pytest.raises(TypeError, match=message):
        head(torch.zeros(3, 12, dtype=torch.float64))
