"""The checks of lesson 00: right answers that look unusual."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mtl_helpers.lessons.lesson_00 import exercises as check


@pytest.fixture(autouse=True)
def _float64():
    """What the setup cell of the lesson chooses."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


class Dial:
    def __call__(self, left, right, weight):
        return right + weight * (left - right)


def by_autograd(x, y, w, lr):
    w = w.detach().clone().requires_grad_()
    ((x @ w - y) ** 2).mean().backward()
    return (w - lr * w.grad).detach()


def by_optimiser(x, y, w, lr):
    parameter = torch.nn.Parameter(w.detach().clone())
    optimizer = torch.optim.SGD([parameter], lr=lr)
    F.mse_loss(x @ parameter, y).backward()
    optimizer.step()
    return parameter


def by_numpy(x, y, w, lr):
    x, y, w = (part.detach().numpy() for part in (x, y, w))
    return list(w - lr * 2 * np.mean((x @ w - y)[:, None] * x, axis=0))


def count_hits(logits, labels, batch_size):
    hits = sum(int(a.argmax() == b) for a, b in zip(logits, labels, strict=True))
    return hits / len(labels)


def weighted_means(logits, labels, batch_size):
    parts = zip(logits.split(batch_size), labels.split(batch_size), strict=True)
    total = sum(len(b) * (a.argmax(1) == b).float().mean() for a, b in parts)
    return total / len(labels)


def pair_in_a_loop(shared, separate):
    found = {}
    for seed in sorted(set(shared) & set(separate)):
        found[seed] = np.float64(shared[seed]) - separate[seed]
    return found


def two_backwards(model, optimizer, images, left, right):
    optimizer.zero_grad()
    scores = model(images)
    losses = [F.cross_entropy(scores["left"], left), F.cross_entropy(scores["right"], right)]
    losses[0].backward(retain_graph=True)
    losses[1].backward()
    optimizer.step()
    return (losses[0] + losses[1]).item()


def with_none(model, optimizer, images, left, right):
    scores = model(images)
    loss = sum(
        F.nll_loss(scores[k].log_softmax(1), y) for k, y in (("left", left), ("right", right))
    )
    for parameter in model.parameters():
        parameter.grad = None
    loss.backward()
    optimizer.step()
    return loss.detach().numpy()


RIGHT = [
    (check.joint_loss, Dial()),
    (check.joint_loss, lambda left, right, weight: torch.lerp(*_tensors(right, left, weight))),
    (check.joint_loss, lambda left, right, weight: sum((weight * left, (1 - weight) * right))),
    (check.accuracy, count_hits),
    (check.accuracy, weighted_means),
    (check.by_seed, pair_in_a_loop),
    (check.by_seed, lambda a, b: {s: torch.tensor(a[s] - b[s]) for s in b if s in a}),
    (check.one_step, by_autograd),
    (check.one_step, lambda x, y, w, lr: w - lr * 2 / len(y) * x.T @ (x @ w - y)),
    (check.one_step, by_optimiser),
    (check.one_step, by_numpy),
    (check.starving_weights, {"right": 1, "left": torch.tensor(1e-5)}),
    (check.starving_weights, {"right": np.float32(1), "left": [1e-5]}),
    (check.both_right, lambda left, right: np.multiply(left, right)),
    (check.both_right, lambda left, right: left - left * (1 - right)),
    (check.parameters_shared, lambda trunk, head, tasks: sum([trunk] + [head] * tasks)),
    (check.parameters_shared, lambda trunk, head, tasks: np.float32(trunk + head * tasks)),
    (check.training_step, two_backwards),
    (check.training_step, with_none),
]


def _tensors(*values):
    return [torch.as_tensor(value, dtype=torch.float64) for value in values]


@pytest.mark.parametrize(("exercise", "answer"), RIGHT)
def test_unusual_right_answers_are_accepted(exercise, answer):
    verdict = exercise(answer)
    assert verdict.status == "right", verdict


@pytest.mark.parametrize("left", [float("nan"), float("inf"), 1e-5 + 1j, [1e-5, 1e-4], -1, "no"])
def test_a_weight_is_one_finite_number_above_zero(left):
    message = check.starving_weights({"left": left, "right": 1.0}).message
    assert "finite number above 0" in message or (left == "no" and "quotation marks" in message)


def clipped(model, optimizer):
    torch.nn.utils.clip_grad_value_(model.parameters(), 0.3)
    optimizer.step()


@pytest.mark.parametrize(
    "move", [clipped, lambda model, optimizer: torch.optim.Adam(model.parameters()).step()]
)
def test_a_step_of_another_kind_is_seen(move):
    def step(model, optimizer, images, left, right):
        scores = model(images)
        loss = F.cross_entropy(scores["left"], left) + F.cross_entropy(scores["right"], right)
        optimizer.zero_grad()
        loss.backward()
        move(model, optimizer)
        return loss

    assert "Does the optimiser that was given take the step" in check.training_step(step).message
