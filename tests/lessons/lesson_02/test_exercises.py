"""The checks of lesson 02: right answers that look unusual."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal

from mtl_helpers.lessons.lesson_02 import exercises as check


@pytest.fixture(autouse=True)
def _float64():
    """What the setup cell of the lesson chooses."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def by_gaussian_loss(y, guess, sigma):
    variance = (sigma**2).expand_as(y)
    return F.gaussian_nll_loss(guess, y, variance, full=True, reduction="sum")


def by_autograd(x, y, theta, a, w):
    theta, a = theta.clone().requires_grad_(), a.clone().requires_grad_()
    losses = ((a * (x @ theta)[:, None] - y) ** 2).mean(0)
    return torch.autograd.grad((w * losses).sum(), [theta, a])


def by_lists(x, y, theta, a, w):
    return [part.tolist() for part in by_autograd(x, y, theta, a, w)]


def by_rows(output, target):
    rows = ~target.isnan()
    if not rows.any():
        return 0.0 * output.sum()
    return F.mse_loss(output[rows], target[rows])


def by_loop(losses, log_sigma):
    return sum(L * torch.exp(-2 * s) / 2 + s for L, s in zip(losses, log_sigma, strict=True))


def by_sgd(errors, steps, lr):
    s = torch.zeros_like(errors, requires_grad=True)
    optimizer = torch.optim.SGD([s], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        (errors * torch.exp(-2 * s) / 2 + s).sum().backward()
        optimizer.step()
    return s.detach().exp()


def by_hand(errors, steps, lr):
    s = [0.0] * len(errors)
    for _ in range(steps):
        s = [v - lr * (1 - e * math.exp(-2 * v)) for v, e in zip(s, errors.tolist(), strict=True)]
    return [math.exp(v) for v in s]


RATES = {"SGD": 1 / 1000, "SGD with momentum": 0.001, "Adam": 0.1, "AdamW": torch.tensor(0.1),
         "SGD on the sum of logs": 0.1}  # fmt: skip


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (check.joint_nll, lambda y, guess, sigma: -Normal(guess, sigma).log_prob(y).sum()),
        (check.joint_nll, by_gaussian_loss),
        (check.weighted_gradients, by_autograd),
        (check.weighted_gradients, by_lists),
        (check.masked_mse, by_rows),
        (check.masked_mse, lambda o, t: (o - t.where(~t.isnan(), o.detach())).square().sum()
         / (~t.isnan()).sum().clamp(min=1)),
        (check.same_run, RATES),
        (check.noise_weighted, by_loop),
        (check.noise_weighted, lambda L, s: 0.5 * (L * (-2 * s).exp()).sum() + s.sum()),
        (check.learn_noise, by_sgd),
        (check.learn_noise, by_hand),
        (check.refresher, {"log of 12": math.log(12), "sum of squares": 14.0, "product": 24,
                           "slope": torch.tensor(12.0), "gradient": (8, 3), "norm": 5,
                           "density": 4}),
    ],
)  # fmt: skip
def test_right_answers_are_right(ask, answer):
    verdict = ask(answer)
    assert verdict.status == "right", str(verdict)


def test_a_batch_without_labels_needs_a_gradient():
    def plain_zero(output, target):
        return by_rows(output, target) if (~target.isnan()).any() else 0.0

    assert "no gradient at all" in str(check.masked_mse(plain_zero))


def test_learned_noise_written_down_is_seen():
    assert "Keep the loop" in str(check.learn_noise(lambda errors, steps, lr: errors.sqrt()))
