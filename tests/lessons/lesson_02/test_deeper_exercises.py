"""The checks deeper than lesson 02: right answers that look unusual, and wrong ones told why."""

import itertools

import numpy as np
import pytest
import torch

from mtl_helpers.lessons.lesson_02 import deeper_exercises as check


def front_in_numpy(losses):
    rows = losses.numpy()
    return [not any((rival <= row).all() and (rival < row).any() for rival in rows) for row in rows]


def mix_by_grid(g1, g2):
    """A minimum found by ternary search, in plain numbers."""
    low, high = 0.0, 1.0

    def length(a):
        return float((a * g1 + (1 - a) * g2).square().sum())

    for _ in range(200):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, b) if length(a) < length(b) else (a, high)
    return low


def maximum_by_hand(losses, weights, ideal, mu):
    z = weights * (losses - ideal) / mu
    return mu * (z.max() + torch.exp(z - z.max()).sum().log())


def adam_in_place(m, v, g, t):
    m, v = torch.lerp(m, g, 0.1), torch.lerp(v, g * g, 0.001)
    return [m, v, 0.01 * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)]


def adamw_by_library(p, m, v, g, t, lr, decay):
    p, m, v = p.clone().requires_grad_(), m.clone(), v.clone()
    optimizer = torch.optim.AdamW([p], lr=lr, weight_decay=decay)
    optimizer.state[p] = {"step": torch.tensor(float(t - 1)), "exp_avg": m, "exp_avg_sq": v}
    p.grad = g
    optimizer.step()
    return p.detach(), m, v


def average_by_powers(history, beta):
    steps = len(history)
    powers = [beta ** (steps - 1)] + [(1 - beta) * beta ** (steps - 1 - k) for k in range(1, steps)]
    return (np.array(powers)[:, None] * history.numpy()).sum(0)


def tie_by_matrix(theta, related, strength):
    laplacian = torch.diag(related.sum(1)) - related
    return strength * (theta.T @ laplacian @ theta).trace()


def shrink_by_full(theta, amount):
    u, s, v = torch.linalg.svd(theta)
    k = len(s)
    return u[:, :k] @ torch.diag(torch.relu(s - amount)) @ v[:k]


def hot_in_lists(labels, classes):
    return [[float(k in row) for k in range(classes)] for row in labels]


def scaled_in_numpy(train, test):
    train, test = train.numpy(), test.numpy()
    spread = train.std(0)
    spread[spread == 0] = 1
    return [(train - train.mean(0)) / spread, (test - train.mean(0)) / spread]


def round_in_a_loop(means, labelled):
    total = sum(float(m) * int(n) for m, n in zip(means, labelled, strict=True))
    return total / max(1, int(labelled.sum()))


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (check.on_front, front_in_numpy),
        (check.on_front, lambda losses: torch.tensor(front_in_numpy(losses)).long()),
        (check.shortest_mix, mix_by_grid),
        (check.smooth_max, maximum_by_hand),
        (check.adam_step, adam_in_place),
        (check.adamw_step, adamw_by_library),
        (check.moving_average, average_by_powers),
        (check.worst_margin, lambda x, y, w, b, e: (x * y[:, None]) @ w + y * b - e * w.norm(p=1)),
        (check.worst_margin, lambda x, y, w, b, e: y * ((x - y[:, None] * e * w.sign()) @ w + b)),
        (check.tie, tie_by_matrix),
        (check.tie, lambda t, a, s: s * (a * torch.cdist(t, t) ** 2).triu(1).sum()),
        (check.shrink, shrink_by_full),
        (check.multi_hot, hot_in_lists),
        (check.multi_hot, lambda *given: np.array(hot_in_lists(*given))),
        (check.scaled, scaled_in_numpy),
        (check.round_loss, round_in_a_loop),
        (check.paired, lambda short, long: list(zip(itertools.cycle(short), long, strict=False))),
        (check.paired, lambda short, long: zip(itertools.cycle(short), long, strict=False)),
    ],
)
def test_right_answers_are_right(ask, answer):
    verdict = ask(answer)
    assert verdict.status == "right", verdict


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (check.broken, {"slope": torch.zeros(1), "not negative": np.zeros(3),
                        "adds up to one": torch.tensor([0, 0, 1.0]), "any sign": (1e3, -1e3, 0)}),
        (check.honest, {k: v.upper() for k, (v, _) in check.HONEST.items()}),
        (check.which_loss, {k: f" {v.title()} " for k, (v, _) in check.WHICH_LOSS.items()}),
    ],
)  # fmt: skip
def test_right_tables_are_right(ask, answer):
    assert ask(answer).status == "right"


def test_a_penalty_that_cannot_be_trained_through_is_refused():
    verdict = check.tie(lambda t, a, s: tie_by_matrix(t.detach(), a, s))
    assert verdict.status == "wrong" and "detach" in verdict.message


def test_a_failing_case_shows_the_input():
    verdict = check.round_loss(lambda means, labelled: means.max())
    assert "2" in verdict.message and "found" in verdict.message
