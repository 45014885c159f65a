"""The checks of lesson 03: right answers that look unusual, and wrong ones that look right."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mtl_helpers.lessons.lesson_03 import exercises as check


def picture_head(*layers):
    return lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), *layers)


def grey_head(*layers):
    return lambda: nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), *layers, nn.Linear(8, 5))


class Two(nn.Module):
    """Two heads; ``kind`` may give probabilities, and both may read a common hidden layer."""

    def __init__(self, hidden=False):
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(16, 8), nn.Tanh()) if hidden else nn.Identity()
        width = 8 if hidden else 16
        self.kind, self.size = nn.Linear(width, 4), nn.Linear(width, 1)

    def forward(self, z):
        z = self.hidden(z)
        return {"kind": self.kind(z).softmax(1), "size": self.size(z)}


class Cut(nn.Module):
    def __init__(self, sides=None, channels=None):
        super().__init__()
        self.sides, self.channels = sides, channels

    def forward(self, x):
        return x[:, : self.channels] if self.sides is None else F.interpolate(x, size=self.sides)


FLAT = (nn.AdaptiveMaxPool2d(1), nn.Flatten())


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (check.flat_head, picture_head(*FLAT, nn.Linear(8, 5))),
        (check.flat_head, picture_head(nn.Conv2d(8, 4, 3), nn.ReLU(), *FLAT, nn.Linear(4, 5))),
        (check.flat_head, picture_head(nn.Conv2d(8, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())),
        (check.two_heads, Two),
        (check.two_heads, lambda: Two(hidden=True)),
        (check.any_size, grey_head(*FLAT)),
        (check.mix, lambda s, e: (s.softmax(1).T[:, :, None] * e).sum(0)),
        (check.column_loss, lambda o, t, k: (o.T[k] - t).pow(2).mean()),
        (check.on_device, lambda m, x, y, d: [v.to(d) for v in (m, x, y)]),
    ],
)
def test_right_answers_are_right(ask, answer):
    assert ask(answer).status == "right"


@pytest.mark.parametrize(
    ("ask", "answer", "told"),
    [
        (check.flat_head, picture_head(Cut(channels=1), *FLAT, nn.Linear(1, 5)), "7 of 8"),
        (check.any_size, lambda: nn.Sequential(Cut(sides=28), grey_head(*FLAT)()), "the pixels"),
        (check.column_loss, lambda o, t, k: F.mse_loss(o[:, k], t).item(), "no gradient"),
        (check.age_loss, lambda o, a: F.mse_loss(o[:, 0], a).item(), "no gradient"),
        (check.on_device, lambda m, x, y, d: (m.to(d), y.to(d), x.to(d)), "mixed up"),
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
