"""Deeper than lesson 01: right answers in other forms, side effects, odd answers."""

import numpy as np
import pytest
import torch
from scipy import stats

from mtl_helpers.lessons.lesson_01 import deeper_exercises as check


def by_lists(first, second):
    a, b = first.tolist(), second.tolist()
    common = 1.0
    for axis in (0, 1):
        low = max(a[axis] - a[axis + 2] / 2, b[axis] - b[axis + 2] / 2)
        high = min(a[axis] + a[axis + 2] / 2, b[axis] + b[axis + 2] / 2)
        common *= max(0.0, high - low)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


def by_backward(loss, trunk):
    trunk.zero_grad()
    loss.backward(retain_graph=True)
    return sum((p.grad**2).sum() for p in trunk.parameters()).item() ** 0.5


def by_numpy(loss, trunk):
    slopes = torch.autograd.grad(loss, [*trunk.parameters()], retain_graph=True)
    return np.linalg.norm(np.concatenate([slope.numpy().ravel() for slope in slopes]))


def by_sorting(alone, together):
    for n in sorted(alone):
        if alone[n] <= together:
            return torch.tensor(n)
    return np.inf


def by_loop(affinity, target):
    others = [j for j in range(len(affinity)) if j != target]
    return max(others, key=lambda j: affinity[target, j])


def by_distance(first, second):
    d = stats.rankdata(first) - stats.rankdata(second)
    n = len(d)
    return 1 - 6 * (d**2).sum() / (n * (n**2 - 1))


PAIRS = {
    "a": ["alone", "relatives"],
    "b": {"ninth", "relatives"},
    "c": ("Stranger", "ninth"),
    "d": "stranger, alone",
}


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (check.iou, by_lists),
        (check.loudness, by_backward),
        (check.loudness, by_numpy),
        (check.examples_needed, by_sorting),
        (check.arms_to_compare, PAIRS),
        (check.best_partner, by_loop),
        (check.best_partner, lambda a, t: (a - 1e9 * torch.eye(len(a)))[t].argmax()),
        (check.rank_correlation, by_distance),
        (check.rank_correlation, lambda a, b: stats.spearmanr(a, b)[0]),
        (check.at_edge, lambda chosen, grid: sorted(grid).index(chosen) in (0, len(grid) - 1)),
        (check.at_edge, lambda chosen, grid: "yes" if chosen in (min(grid), max(grid)) else "no"),
        (check.second_vector, lambda u1, u2, p: (p * u1 - (1 - p * p) ** 0.5 * u2).tolist()),
        (check.second_vector, lambda u1, u2, p: np.asarray(p * u1 + (1 - p * p) ** 0.5 * u2)),
    ],
)
def test_right_answers_in_other_forms(ask, answer):
    verdict = ask(answer)
    assert verdict.status == "right", str(verdict)


def test_callers_keep_what_they_gave():
    def spoils(affinity, target):
        affinity[target, target] = -1e9
        return int(affinity[target].argmax())

    assert "belongs to the caller" in str(check.best_partner(spoils))

    def sorts(first, second):
        result = stats.spearmanr(first, second).statistic
        first.sort()
        return result

    assert "belongs to the caller" in str(check.rank_correlation(sorts))

    def edge(chosen, grid):
        grid.sort()
        return chosen in (grid[0], grid[-1])

    assert "belongs to the caller" in str(check.at_edge(edge))


def test_untouched_and_half_filled():
    assert check.loudness(lambda loss, trunk: ...).status == "not attempted"
    assert check.second_vector(lambda u1, u2, p: ...).status == "not attempted"
    empty = {"a": (..., ...), "b": (..., ...), "c": (..., ...), "d": (..., ...)}
    assert check.arms_to_compare(empty).status == "not attempted"
    half = {**PAIRS, "c": (..., "ninth")}
    assert check.arms_to_compare(half).status == "unfinished"


@pytest.mark.parametrize(
    ("ask", "answer", "told"),
    [
        (check.arms_to_compare, {**PAIRS, "a": 5}, "name two arms"),
        (check.arms_to_compare, {**PAIRS, "a": ("alone", "relatives", "ninth")}, "two different"),
        (check.arms_to_compare, ["alone", "relatives"], "two names"),
        (check.second_vector, lambda u1, u2, p: p, "shape"),
        (check.loudness, 5.0, "the function itself"),
        (check.loudness, lambda loss, trunk: "5", "quotation marks"),
    ],
)
def test_odd_answers_are_told_why(ask, answer, told):
    verdict = ask(answer)
    assert verdict.status == "wrong" and told in str(verdict), str(verdict)
