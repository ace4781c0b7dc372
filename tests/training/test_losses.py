"""Losses against plain formulas."""

import math

import pytest
import torch
from torch.testing import assert_close

from mpsheads.training import contrastive_loss, distillation_loss


@pytest.fixture
def scores(generator):
    return torch.randn(4, 7, dtype=torch.float64, generator=generator)


def test_contrastive_loss_is_the_mean_of_logsumexp_minus_the_target(scores):
    target = torch.tensor([0, 3, 3, 6])
    plain = sum(
        math.log(sum(math.exp(s) for s in row)) - row[t]
        for row, t in zip(scores.tolist(), target.tolist(), strict=True)
    )
    assert_close(contrastive_loss(scores, target), torch.tensor(plain / 4, dtype=torch.float64))


def test_contrastive_loss_leaves_ignored_documents_out(scores):
    ignored = torch.zeros(4, 7, dtype=torch.bool)
    ignored[0, 2] = ignored[0, 5] = ignored[2, 0] = True
    target = torch.tensor([0, 1, 2, 3])
    plain = 0.0
    for i in range(4):
        counted = [scores[i, j].item() for j in range(7) if not ignored[i, j]]
        plain += math.log(sum(math.exp(s) for s in counted)) - scores[i, target[i]].item()
    expected = torch.tensor(plain / 4, dtype=torch.float64)
    assert_close(contrastive_loss(scores, target, ignored), expected)


def test_contrastive_loss_sends_no_gradient_to_ignored_documents(scores):
    scores.requires_grad_()
    ignored = torch.zeros(4, 7, dtype=torch.bool)
    ignored[:, 4] = True
    contrastive_loss(scores, torch.tensor([0, 1, 2, 3]), ignored).backward()
    assert scores.grad is not None
    assert (scores.grad[:, 4] == 0).all()
    assert (scores.grad[:, :4] != 0).all()


def test_distillation_loss_is_the_mean_divergence_from_the_teacher(scores, generator):
    teacher = torch.randn(4, 7, dtype=torch.float64, generator=generator)
    p, q = teacher.softmax(1), scores.softmax(1)
    assert_close(distillation_loss(scores, teacher), (p * (p / q).log()).sum() / 4)


def test_distillation_loss_vanishes_for_equal_rankings_and_their_shifts(scores):
    shifted = scores + torch.tensor([[1.0], [-2.0], [0.0], [30.0]], dtype=torch.float64)
    assert_close(distillation_loss(shifted, scores), torch.zeros((), dtype=torch.float64))


def test_losses_pass_gradcheck(scores):
    ignored = torch.zeros(4, 7, dtype=torch.bool)
    ignored[1, 2] = True
    target = torch.tensor([0, 3, 3, 6])
    teacher = scores.detach().flip(0)
    scores.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: contrastive_loss(s, target, ignored), scores)
    assert torch.autograd.gradcheck(lambda s: distillation_loss(s, teacher), scores)


def test_no_gradient_flows_to_the_teacher(scores):
    teacher = scores.clone().requires_grad_()
    scores.requires_grad_()
    distillation_loss(scores * 2, teacher).backward()
    assert teacher.grad is None
    assert scores.grad is not None


@pytest.mark.parametrize(
    ("loss", "second", "ignored"),
    [
        (contrastive_loss, torch.zeros(3, dtype=torch.int64), None),
        (contrastive_loss, torch.zeros(4, dtype=torch.int64), torch.zeros(4, 6) > 0),
        (distillation_loss, torch.zeros(4, 6), None),
    ],
)
def test_losses_refuse_shapes_that_do_not_fit(scores, loss, second, ignored):
    with pytest.raises(ValueError, match="must agree: `scores` has"):
        loss(scores, second) if ignored is None else loss(scores, second, ignored)


@pytest.mark.parametrize("name", ["scores", "teacher_scores"])
@pytest.mark.parametrize(
    ("wrong", "error", "rule"),
    [
        (
            torch.zeros(4, 7, dtype=torch.int64),
            TypeError,
            "must hold real numbers, got torch.int64",
        ),
        (torch.zeros(4), ValueError, r"must have the axes .*, got shape \(4,\)"),
        ([[0.5]], TypeError, "must be Tensor, got"),
    ],
)
def test_losses_name_what_is_no_matrix_of_scores(name, wrong, error, rule):
    arguments = {"scores": torch.zeros(4, 7), "teacher_scores": torch.zeros(4, 7), name: wrong}
    with pytest.raises(error, match=f"`{name}` {rule}"):
        distillation_loss(**arguments)
    with pytest.raises(ValueError, match=r"`scores` must hold some, got shape \(4, 0\)"):
        distillation_loss(torch.zeros(4, 0), torch.zeros(4, 0))
