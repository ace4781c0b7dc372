import pytest
import torch
from torch.testing import assert_close

from mpsheads import DenseHead, PCAHead, TruncationHead


def test_the_dense_head_is_a_linear_layer_with_tanh(generator):
    head = DenseHead(6, 2, generator=generator)
    x = torch.randn(3, 6, generator=generator)
    expected = torch.tanh(x @ head.linear.weight.T + head.linear.bias)
    assert_close(head(x), expected)
    assert head.num_parameters == 14


def test_pca_keeps_the_directions_of_largest_variance(generator):
    x = torch.randn(200, 5, dtype=torch.float64, generator=generator)
    x = x * torch.tensor([5.0, 0.1, 3.0, 0.1, 1.0]) + 10
    head = PCAHead(5, 3).double().fit(x)
    z = head(x)
    _, s, _ = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    assert_close(z.norm(dim=0), s[:3])
    assert_close(z.mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)
    assert_close(head.components @ head.components.T, torch.eye(3, dtype=torch.float64))


def test_pca_of_all_directions_keeps_all_distances(generator):
    x = torch.randn(20, 4, dtype=torch.float64, generator=generator)
    z = PCAHead(4, 4).double().fit(x)(x)
    assert_close(torch.cdist(z, z), torch.cdist(x, x))


def test_pca_before_fitting_and_on_bad_samples_is_refused(generator):
    head = PCAHead(4, 2)
    x = torch.randn(9, 4, generator=generator)
    with pytest.raises(RuntimeError, match="not fitted"):
        head(x)
    with pytest.raises(ValueError, match="more than `out_features` 2 rows, got 2"):
        head.fit(x[:2])
    x[3, 1] = float("nan")
    with pytest.raises(ValueError, match="row 3 holds NaN"):
        head.fit(x)
    with pytest.raises(ValueError, match="must not exceed `in_features` 4, got 5"):
        PCAHead(4, 5)


def test_truncation_keeps_the_first_features_and_learns_nothing(generator):
    x = torch.randn(3, 6, generator=generator)
    head = TruncationHead(6, 2)
    assert_close(head(x), x[:, :2])
    assert head.num_parameters == 0
    with pytest.raises(ValueError, match="must not exceed"):
        TruncationHead(6, 7)
