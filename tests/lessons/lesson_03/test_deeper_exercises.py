"""The checks deeper than lesson 03: right answers that look unusual, and wrong ones told why."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LinearRegression
from sklearn.metrics import root_mean_squared_error
from torch import nn

from mtl_helpers.lessons.lesson_03 import deeper_exercises as check


def by_sklearn(z, y, z_test, y_test):
    found = LinearRegression().fit(z, y).predict(z_test)
    return root_mean_squared_error(y_test, found)


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


def by_loop(batches):
    found = [
        int(s.argmax()) == int(y) for scores, ys in batches for s, y in zip(scores, ys, strict=True)
    ]
    return np.mean(found)


def foreign_by_loop(stitch):
    rows = [[abs(value) for value in row] for row in stitch.tolist()]
    return [(sum(row) - row[k]) / sum(row) for k, row in enumerate(rows)]


def foreign_by_numpy(stitch):
    weight = np.abs(stitch.numpy())
    return (weight * (1 - np.eye(len(weight)))).sum(1) / weight.sum(1)


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (check.flat_head, picture_head(*FLAT, nn.Linear(8, 5))),
        (check.flat_head, picture_head(nn.Conv2d(8, 4, 3), nn.ReLU(), *FLAT, nn.Linear(4, 5))),
        (check.flat_head, picture_head(nn.Conv2d(8, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())),
        (check.flat_head, picture_head(nn.BatchNorm2d(8), nn.Flatten(), nn.LazyLinear(5))),
        (check.flat_head, picture_head(*FLAT, nn.Linear(8, 5))()),
        (check.two_heads, Two),
        (check.two_heads, lambda: Two(hidden=True)),
        (check.any_size, grey_head(*FLAT)),
        (check.any_size, grey_head(nn.Dropout(0.2), *FLAT)),
        (check.age_loss, lambda o, a: ((o - a[:, None]) ** 2).mean()),
        (check.age_score, lambda o, a: np.abs(o.numpy().ravel() - a.numpy()).mean()),
        (check.accuracy_over, by_loop),
        (check.mean_over, lambda b: np.concatenate([x.numpy() for x in b]).mean()),
        (check.on_device, lambda m, x, y, d: [v.to(d) for v in (m, x, y)]),
        (check.foreign, foreign_by_loop),
        (check.foreign, foreign_by_numpy),
        (check.common_part, lambda a, b: 1 - (a - b).abs().sum(1).mean() / 2),
        (check.probe, by_sklearn),
        (
            check.deepest_cut,
            lambda sides, wanted: max(
                (name for name in sides if sides[name] >= wanted), key=list(sides).index
            ),
        ),
        (check.prepare, lambda model: (model.trunk.requires_grad_(False).eval(), model)[1]),
        (check.reaches, {"a": False, "b": True, "c": 1, "d": 0, "e": "No"}),
    ],
)
def test_right_answers_are_right(ask, answer):
    verdict = ask(answer)
    assert verdict.status == "right", str(verdict)


def no_grad_net():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = grey_head(*FLAT)()

        def forward(self, x):
            with torch.no_grad():
                return self.layers(x)

    return Net()


@pytest.mark.parametrize(
    ("ask", "answer", "told"),
    [
        (check.flat_head, picture_head(Cut(channels=1), *FLAT, nn.Linear(1, 5)), "7 of 8"),
        (check.any_size, lambda: nn.Sequential(Cut(sides=28), grey_head(*FLAT)()), "the pixels"),
        (check.any_size, no_grad_net, "under no_grad"),
        (check.any_size, lambda: 3, "a model was expected"),
        (check.age_loss, lambda o, a: F.mse_loss(o[:, 0], a).item(), "no gradient"),
        (check.on_device, lambda m, x, y, d: (m.to(d), y.to(d), x.to(d)), "mixed up"),
        (check.mean_over, lambda b: [x.mul_(2) for x in b] and torch.cat(b).mean() / 2, "belongs"),
    ],
)
def test_degenerate_answers_are_told_why(ask, answer, told):
    verdict = ask(answer)
    assert verdict.status == "wrong" and told in str(verdict), str(verdict)
