"""A task's losses, masks and scores."""

import math

import pytest
import torch
import torch.nn.functional as F

from mtl_helpers.tasks import Task, binary, by_name, classification, regression

F64 = torch.float64


def draw(seed, *shape):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("task", "target", "missing"),
    [
        (classification("c", 3), torch.tensor([0, -100, 2, -100]), [1, 3]),
        (regression("r", 3), torch.full((4, 3), 0.5, dtype=F64), [0]),
        (binary("b", 3), torch.ones(4, 3, dtype=F64), [2]),
    ],
)
def test_missing_label_adds_neither_loss_nor_gradient(task, target, missing):
    target = target.clone()
    if target.is_floating_point():
        target[missing] = math.nan
    output = draw(0, 4, 3)
    output[missing[0]] = math.inf  # not even a broken output of an unlabelled example may leak
    output.requires_grad_()
    loss = task.mean_loss(output, target)
    loss.backward()
    kept = [i for i in range(4) if i not in missing]
    torch.testing.assert_close(loss, task.mean_loss(output.detach()[kept], target[kept]))
    assert torch.equal(output.grad[missing], torch.zeros(len(missing), 3, dtype=F64))
    assert output.grad[kept].abs().sum() > 0


def test_one_missing_number_makes_the_whole_example_unlabelled():
    target = torch.tensor([[1.0, math.nan], [1.0, 2.0]], dtype=F64)
    assert regression("r", 2).is_labelled(target).tolist() == [False, True]


def test_batch_without_any_label_gives_zero_loss_and_zero_gradient():
    output = draw(0, 3, 2).requires_grad_()
    loss = classification("c", 2).mean_loss(output, torch.full((3,), -100))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(output.grad, torch.zeros(3, 2, dtype=F64))


def test_mean_loss_works_under_vmap():
    task = classification("c", 3)
    outputs, targets = draw(0, 5, 4, 3), torch.tensor([[0, 1, 2, -100]]).expand(5, 4)
    together = torch.func.vmap(task.mean_loss)(outputs, targets)
    one_by_one = torch.stack([task.mean_loss(o, t) for o, t in zip(outputs, targets, strict=True)])
    torch.testing.assert_close(together, one_by_one)


def test_score_leaves_unlabelled_examples_out():
    output = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0]], dtype=F64)
    task = classification("c", 2)
    assert task.score(output, torch.tensor([0, -100, 0])) == 0.5
    with pytest.raises(ValueError, match="'c': no example has a label"):
        task.score(output, torch.full((3,), -100))


def test_own_loss_and_metric_are_used():
    task = Task("mine", lambda o, t: (o - t).abs().sum(1), lambda o, t: 7, 2, True)
    output, target = torch.zeros(3, 2, dtype=F64), torch.ones(3, 2, dtype=F64)
    assert task.mean_loss(output, target).item() == 2
    assert task.score(output, target) == 7
    assert not task.is_classification


def test_target_of_one_number_may_be_flat():
    task = regression("r")
    output, target = draw(0, 5, 1), draw(1, 5)
    expected = F.mse_loss(output[:, 0], target)
    torch.testing.assert_close(task.mean_loss(output, target), expected)
    assert task.score(output, target) == pytest.approx(expected.sqrt().item())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Task("", "mse", "rmse", 1, False), "name without dots; found ''"),
        (lambda: Task("a.b", "mse", "rmse", 1, False), "found 'a.b'"),
        (lambda: Task("a", "l2", "rmse", 1, False), "'a': unknown loss 'l2'; use one of cross_"),
        (lambda: Task("a", "mse", "auc", 1, False), "'a': unknown metric 'auc'"),
        (lambda: regression("a", 0), "'a': outputs must be a whole number of at least 1, found 0"),
        (lambda: regression("a", 2.5), "'a': outputs must be a whole number .*, found 2.5"),
        (lambda: regression(3), "name without dots; found 3"),
        (lambda: Task("a", "mse", "rmse", 1, None), "must be True or False, found None"),
        (lambda: Task("a", ["mse"], "rmse", 1, False), "unknown loss"),
        (lambda: by_name([]), "at least one task"),
        (lambda: by_name([regression("a"), regression("a")]), r"\['a'\] more than once"),
        (lambda: regression("a").mean_loss(torch.zeros(4, 2), torch.zeros(4)), r"\(4, 2\).*\(4,\)"),
        (lambda: regression("a").mean_loss(torch.zeros(4), torch.zeros(4, 1)), r"\(4,\).*\(4, 1\)"),
        (lambda: regression("a").mean_loss(torch.zeros(4, 1), torch.zeros(5)), "4 outputs but 5"),
        (lambda: classification("a", 3).mean_loss(torch.zeros(4, 2), torch.zeros(4)), r"\(B, 3\)"),
        (
            lambda: classification("a", 3).mean_loss(torch.zeros(4, 3), torch.zeros(4, 1)),
            r"targets of shape \(B,\); found \(4, 3\) and \(4, 1\)",
        ),
        (
            lambda: Task("a", F.mse_loss, "rmse", 1, False).mean_loss(
                torch.zeros(4, 1), torch.zeros(4, 1)
            ),
            r"one value per example, shape \(4,\); found \(\)",
        ),
    ],
)
def test_wrong_use_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("task", "target", "message"),
    [
        (classification("a", 3), torch.tensor([0, 3]), "label 3 at example 1 is outside 0..2"),
        (classification("a", 3), torch.tensor([-1, 0]), "label -1 at example 0"),
        (classification("a", 3), torch.tensor([0.0]), "torch.long, found torch.float32"),
        (regression("a"), torch.tensor([1, 2]), "floating-point targets, found torch.int64"),
        (regression("a"), torch.tensor([0, math.inf]), "infinite target at example 1"),
        (binary("a"), torch.tensor([0.0, 2.0]), "found 2.0 at example 1"),
        (binary("a"), torch.tensor([-1.0, 2.0]), "found -1.0 at example 0"),
    ],
)
def test_targets_that_the_loss_would_misread_are_refused(task, target, message):
    with pytest.raises(ValueError, match=message):
        task.check_targets(target)


def test_good_and_missing_targets_are_let_through():
    classification("a", 3).check_targets(torch.tensor([0, 2, -100]))
    regression("a").check_targets(torch.tensor([0.0, math.nan]))
    binary("a").check_targets(torch.tensor([0.0, 1.0, 0.3, math.nan]))


def test_a_diverged_model_has_no_score():
    output = torch.zeros(3, 2, dtype=F64)
    output[1] = math.nan
    assert math.isnan(classification("c", 2).score(output, torch.tensor([0, 0, 0])))
    assert classification("c", 2).score(output, torch.tensor([0, -100, 0])) == 1


def test_tasks_by_name_take_any_iterable():
    assert list(by_name(regression(name) for name in "ab")) == ["a", "b"]


def test_binary_targets_count_as_yes_above_a_half():
    output = torch.tensor([[1.0], [1.0], [-1.0]], dtype=F64)
    assert binary("b").score(output, torch.tensor([0.4, 0.6, 0.4], dtype=F64)) == pytest.approx(
        2 / 3
    )


def test_r2_measures_each_output_against_its_own_mean():
    target = torch.tensor([[0.0, 10.0], [2.0, 12.0]], dtype=F64)
    task = Task("r", "mse", "r2", 2, True)
    assert task.score(target.mean(0).expand(2, 2), target) == pytest.approx(0)


def test_a_missing_class_is_safe_for_a_loss_that_counts_classes():
    def one_hot(output, target):
        return (output - F.one_hot(target, 3)).square().sum(1)  # refuses -100

    task = Task("c", one_hot, "accuracy", 3, True)
    assert task.mean_loss(torch.zeros(2, 3), torch.tensor([-100, 1])).item() == 1
