"""NumPy arrays wherever tensors are welcome: the same numbers, as NumPy."""

import numpy as np
import pytest
import torch

from mpsheads import MPSProjectionHead, fidelity, log_fidelity
from mpsheads.heads import DenseHead, PCAHead, ReferenceHead, freeze
from mpsheads.similarity import Codes, cosine, top_k

X = torch.randn(30, 24, generator=torch.Generator().manual_seed(1))
HEADS = {
    "mps": lambda: MPSProjectionHead(24, 9).fit(X),
    "codes": lambda: MPSProjectionHead.for_bytes(24, 8).fit(X).eval(),
    "reference": lambda: ReferenceHead(24, 8),
    "dense": lambda: DenseHead(24, 8),
    "pca": lambda: PCAHead(24, 8).fit(X),
    "frozen": lambda: freeze(MPSProjectionHead(24, 9)),
}


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_takes_arrays_and_gives_arrays(kind):
    head = HEADS[kind]()
    z, array = head(X).detach(), head(X.numpy())
    assert isinstance(array, np.ndarray)
    np.testing.assert_array_equal(array, z.numpy())
    scores = head.similarity(array[:3], array)
    np.testing.assert_array_equal(scores, head.similarity(z[:3], z).detach().numpy())
    np.testing.assert_array_equal(head.similarity(array[:3], z), scores)  # mixed


def test_fitting_to_arrays_is_fitting_to_tensors():
    for make in (
        lambda *x: MPSProjectionHead.for_bytes(24, 8, generator=_seeded()).fit(*x),
        lambda *x: MPSProjectionHead(24, 9, generator=_seeded()).fit(*x),
        lambda *x: PCAHead(24, 8).fit(x[0]),
    ):
        one, other = make(X, X.flip(1)), make(X.numpy(), X.flip(1).numpy())
        assert isinstance(other, torch.nn.Module)
        np.testing.assert_array_equal(one(X.numpy()), other(X.numpy()))


def _seeded():
    return torch.Generator().manual_seed(0)


def test_codes_are_made_of_arrays_and_compared_with_them():
    head = HEADS["codes"]()
    codes = head.code(X.numpy())
    assert isinstance(codes, Codes)
    assert codes.packed.equal(head.code(X).packed)
    assert isinstance(head.similarity(head(X.numpy()), codes), np.ndarray)
    angles = HEADS["mps"]()
    z = angles(X.numpy())
    assert angles.quantize(z, 4).packed.equal(angles.quantize(torch.from_numpy(z), 4).packed)


def test_similarities_take_arrays_read_only_big_endian_and_strided():
    z = (X[:, :9].abs() % 3).numpy()
    frozen = z.copy()
    frozen.flags.writeable = False
    expected = log_fidelity(torch.from_numpy(z), torch.from_numpy(z)).numpy()
    for given in (z, frozen, z.astype(">f4"), np.asfortranarray(z), np.repeat(z, 2, 0)[::2]):
        np.testing.assert_array_equal(log_fidelity(given, given), expected)
    assert fidelity(z, z).dtype == np.float32
    assert cosine(z.astype(float), z.astype(float)).dtype == np.float64
    values, rows = top_k(z, z, 2)
    assert isinstance(values, np.ndarray)
    np.testing.assert_array_equal(rows[:, 0], np.arange(30))


def test_arrays_of_the_wrong_kind_get_the_usual_errors():
    head = HEADS["mps"]()
    with pytest.raises(TypeError):
        head(np.zeros((2, 24), dtype=int))
    with pytest.raises(ValueError, match="must have shape"):
        head(np.zeros((2, 23), dtype=np.float32))
    with pytest.raises(TypeError, match="can't convert"):
        head(np.array([["a"] * 24]))
