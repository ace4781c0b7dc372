"""Vectors in .npy and .safetensors files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from mpsheads.retrieval import load_vectors, save_vectors


@pytest.mark.parametrize("name", ["x.npy", "x.safetensors"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_single_matrix_comes_back_as_float32(tmp_path: Path, name, dtype, generator) -> None:
    x = torch.randn(3, 5, generator=generator).to(dtype)
    save_vectors(tmp_path / name, documents=x)
    z, ids = load_vectors(tmp_path / name, name="documents")
    assert z.dtype == torch.float32
    assert_close(z, x.float())
    assert ids is None
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_several_matrices_with_their_ids_come_back_by_name(tmp_path: Path, generator) -> None:
    zq, zd = torch.randn(2, 3, generator=generator), torch.randn(4, 3, generator=generator)
    ids = {"documents": ["d1", "a b", "é", "d4"]}
    save_vectors(tmp_path / "x.safetensors", ids=ids, queries=zq, documents=zd)
    queries, query_ids = load_vectors(tmp_path / "x.safetensors", name="queries")
    documents, doc_ids = load_vectors(tmp_path / "x.safetensors", name="documents")
    assert_close(queries, zq)
    assert_close(documents, zd)
    assert query_ids is None
    assert doc_ids == ids["documents"]


def test_a_single_tensor_is_taken_whatever_its_name(tmp_path: Path) -> None:
    save_vectors(tmp_path / "x.safetensors", embeddings=torch.eye(2))
    assert_close(load_vectors(tmp_path / "x.safetensors", name="queries")[0], torch.eye(2))
    assert_close(load_vectors(tmp_path / "x.safetensors")[0], torch.eye(2))


def test_arrays_of_other_layouts_are_read(tmp_path: Path) -> None:
    x = np.arange(6.0).reshape(2, 3)
    for i, array in enumerate((x.astype(">f4"), np.asfortranarray(x), x[::-1][::-1])):
        np.save(tmp_path / f"{i}.npy", array)
        assert_close(load_vectors(tmp_path / f"{i}.npy")[0], torch.from_numpy(x).float())


def test_a_view_that_needs_gradients_is_saved(tmp_path: Path) -> None:
    x = torch.randn(3, 4, requires_grad=True)
    save_vectors(tmp_path / "x.safetensors", queries=x.T)
    assert_close(load_vectors(tmp_path / "x.safetensors")[0], x.detach().T)


def test_matrices_that_share_memory_are_saved(tmp_path: Path) -> None:
    x = torch.arange(12.0).reshape(4, 3)
    save_vectors(tmp_path / "x.safetensors", all=x, first=x[:2], other=torch.eye(2))
    assert_close(load_vectors(tmp_path / "x.safetensors", name="all")[0], x)
    assert_close(load_vectors(tmp_path / "x.safetensors", name="first")[0], x[:2])


@pytest.mark.parametrize("name", ["x.npy", "x.safetensors"])
@pytest.mark.parametrize(
    ("x", "match"),
    [
        (torch.tensor([[1.0, 2.0], [float("nan"), 1.0]]), "must be finite, but row 1 holds NaN"),
        (torch.tensor([[float("inf"), 1.0]]), "must be finite, but row 0 holds"),
        (torch.tensor([[1e300, 1.0]], dtype=torch.float64), "must be finite, but row 0 holds"),
        (torch.zeros(3), r"must hold a matrix \(rows, features\), got shape \(3,\)"),
        (torch.zeros(1, 2, 3), r"got shape \(1, 2, 3\)"),
        (torch.zeros(0, 3), r"got shape \(0, 3\)"),
        (torch.zeros(2, 3, dtype=torch.int64), "must hold floating-point numbers, got torch.int64"),
    ],
)
def test_a_tensor_that_is_no_set_of_vectors_is_named(tmp_path: Path, name, x, match) -> None:
    file = tmp_path / name
    np.save(file, x.numpy()) if name.endswith("npy") else save_file({"queries": x}, file)
    with pytest.raises(ValueError, match=match) as caught:
        load_vectors(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("name", ["x.npy", "x.safetensors"])
@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda raw: b"", "is not a complete"),
        (lambda raw: raw[:-5], "is not a complete"),
        (lambda raw: b"text\n" * 20, "is not a complete"),
    ],
    ids=["empty", "cut", "text"],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, damage, match: str) -> None:
    file = tmp_path / name
    save_vectors(file, queries=torch.eye(4))
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=match) as caught:
        load_vectors(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_objects_in_an_array_are_not_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match=r"x\.npy is not a complete \.npy file of numbers"):
        load_vectors(tmp_path / "x.npy")
    np.save(tmp_path / "y.npy", np.array([["a"]]))
    with pytest.raises(ValueError, match=r"y\.npy is not a complete \.npy file of numbers"):
        load_vectors(tmp_path / "y.npy")


def test_missing_files_names_and_ids_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no file of vectors .*x\.npy"):
        load_vectors(tmp_path / "x.npy")
    (tmp_path / "x.txt").write_text("1 2")
    with pytest.raises(ValueError, match=r"must end in \.npy or \.safetensors"):
        load_vectors(tmp_path / "x.txt")
    file = tmp_path / "x.safetensors"
    save_vectors(file, queries=torch.eye(2), documents=torch.eye(2))
    with pytest.raises(ValueError, match=r"\['documents', 'queries'\]; give one by name"):
        load_vectors(file)
    with pytest.raises(ValueError, match="none is called 'docs'"):
        load_vectors(file, name="docs")
    for ids, match in (
        ("[", "not a list of strings in JSON"),
        ('{"a": 1}', "not a list"),
        ('["a"]', "1 ids for 2"),
    ):
        save_file({"queries": torch.eye(2)}, file, metadata={"queries_ids": ids})
        with pytest.raises(ValueError, match=match):
            load_vectors(file)


@pytest.mark.parametrize(
    ("name", "arguments", "match"),
    [
        ("x.txt", {"queries": torch.eye(2)}, "must end in .safetensors, or in .npy"),
        ("x.npy", {"queries": torch.eye(2), "documents": torch.eye(2)}, "for a single tensor"),
        ("x.npy", {"queries": torch.eye(2), "ids": {"queries": ["a", "b"]}}, "without ids"),
        ("x.safetensors", {}, "must end in"),
        ("x.safetensors", {"queries": torch.ones(2)}, "`queries` must be a matrix"),
        ("x.safetensors", {"queries": torch.eye(2), "ids": {"queries": ["a"]}}, "1 for the 2 rows"),
        (
            "x.safetensors",
            {"queries": torch.eye(2), "ids": {"docs": ["a"]}},
            "the 0 rows of `docs`",
        ),
    ],
)
def test_what_cannot_be_saved_is_named_and_no_file_is_left(
    tmp_path: Path, name: str, arguments: dict, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        save_vectors(tmp_path / name, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_equal_inputs_give_equal_bytes_whatever_the_order_of_ids(tmp_path: Path) -> None:
    ids = {name: [f"{name} “{i}”\x01\x7f" for i in range(2)] for name in "abcdefgh"}
    tensors = {name: torch.eye(2) for name in ids}
    contents = set()
    for _ in range(4):
        save_vectors(tmp_path / "x.safetensors", ids=ids, **tensors)
        contents.add((tmp_path / "x.safetensors").read_bytes())
    assert len(contents) == 1
    for name in ids:
        vectors, read = load_vectors(tmp_path / "x.safetensors", name=name)
        assert read == ids[name]
        assert torch.equal(vectors, torch.eye(2))
