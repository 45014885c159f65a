"""The checks of lesson 03: right answers that look unusual, and wrong ones that look right."""

import pytest
import torch
import torch.nn.functional as F

from mtl_helpers.lessons.lesson_03 import exercises as check


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (check.mix, lambda s, e: (s.softmax(1).T[:, :, None] * e).sum(0)),
        (check.column_loss, lambda o, t, k: (o.T[k] - t).pow(2).mean()),
    ],
)
def test_right_answers_are_right(ask, answer):
    assert ask(answer).status == "right"


@pytest.mark.parametrize(
    ("ask", "answer", "told"),
    [
        (check.column_loss, lambda o, t, k: F.mse_loss(o[:, k], t).item(), "no gradient"),
    ],
)
def test_degenerate_answers_are_told_why(ask, answer, told):
    verdict = ask(answer)
    assert verdict.status == "wrong"
    assert told in verdict.message


@pytest.mark.parametrize("words", [("yes", "no"), (True, False)])
def test_read_split_takes_words_and_truth_values(words):
    noise = 0.01 * torch.randn(4, 30, generator=torch.Generator().manual_seed(0))
    table = {(d, s): noise[s] + abs(s - d) for d in range(4) for s in range(4)}
    answers = {d: (d, words[d == 3]) for d in range(4)}
    assert check.read_split(answers, table).status == "right"
    answers[0] = (0, words[1])
    assert check.read_split(answers, table).status == "wrong"
