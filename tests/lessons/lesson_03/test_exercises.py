"""The checks of lesson 03: right answers that look unusual, and wrong ones that look right."""

import itertools

import pytest
import torch
from torch import nn

from mtl_helpers.lessons.lesson_03 import exercises as check
from mtl_helpers.metrics import paired_interval
from mtl_helpers.models import HardSharing
from mtl_helpers.tasks import regression


@pytest.fixture(autouse=True)
def _float64():
    """What the setup cell of the lesson chooses."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def layers(widths):
    pairs = itertools.pairwise(widths)
    return nn.Sequential(*(nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairs))


def by_package(widths, names, shared):
    tasks = [regression(name) for name in names]
    return HardSharing.split(lambda: layers(widths), tasks, shared, features=widths[-1])


def in_float32(widths, names, shared):
    return by_package(widths, names, shared).float()


class Lists(nn.Module):
    """Own layers in a list, applied with functions."""

    def __init__(self, widths, names, shared):
        super().__init__()
        pairs = list(itertools.pairwise(widths))
        self.names = names
        self.first = nn.ModuleList(nn.Linear(a, b) for a, b in pairs[:shared])
        own = [[nn.Linear(a, b) for a, b in pairs[shared:]] for _ in names]
        self.own = nn.ModuleList(nn.ModuleList(ls) for ls in own)
        self.heads = nn.ModuleList(nn.Linear(widths[-1], 1) for _ in names)

    def forward(self, x):
        for layer in self.first:
            x = layer(x).relu()
        found = {}
        for name, own, head in zip(self.names, self.own, self.heads, strict=True):
            z = x
            for layer in own:
                z = torch.relu(layer(z))
            found[name] = head(z)
        return found


def mix_by_hand(x, experts, gates):
    made = [expert(x) for expert in experts]
    weights = {name: torch.exp(gate(x)) for name, gate in gates.items()}
    return {
        name: sum(w[:, e, None] / w.sum(1, keepdim=True) * z for e, z in enumerate(made))
        for name, w in weights.items()
    }


def adapt_at_the_end(x, stages, adapters):
    shared, *later = stages
    first = shared(x)
    found = {}
    for name, pairs in adapters.items():
        z = torch.addcmul(pairs[0][1], pairs[0][0], first)
        for stage, (gamma, beta) in zip(later, pairs[1:], strict=True):
            z = beta + stage(z) * gamma
        found[name] = z
    return found


def pooled(*layers):
    return lambda: nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), *layers)


def verdict_in_numpy(trunk, rival, margin):
    interval = paired_interval(trunk.numpy(), rival.numpy())
    return {(1, 1): "Not enough ", (0, 0): "enough"}.get(
        (int(interval.low > margin), int(interval.high >= margin)), "open"
    )


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (check.split_network, by_package),
        (check.split_network, in_float32),
        (check.split_network, Lists),
        (check.cross_stitch, lambda x, a: torch.tensordot(a, x, dims=1)),
        (check.cross_stitch, lambda x, a: (a[:, :, None, None] * x).sum(1)),
        (check.cross_stitch, lambda x, a: [sum(w * z for w, z in zip(r, x)) for r in a]),  # noqa: B905
        (check.mixture, mix_by_hand),
        (check.verdict, verdict_in_numpy),
        (check.adapted, adapt_at_the_end),
        (check.pooled_net, pooled(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(32 * 64, 10))),
        (check.pooled_net, pooled(nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(10))),
        (check.pooled_net, pooled(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(512, 10))()),
        (check.column_loss, lambda o, t, k: (o.T[k] - t).pow(2).mean()),
        (check.which_head, dict(zip("abcdef", ["Classification", "segmentation", "detection",
                                               "keypoints", "classification", "DETECTION"],
                                    strict=True))),
    ],
)  # fmt: skip
def test_right_answers_are_right(ask, answer):
    result = ask(answer)
    assert result.status == "right", result.message


@pytest.mark.parametrize(
    ("ask", "answer", "told"),
    [
        (check.column_loss, lambda o, t, k: nn.functional.mse_loss(o[:, k], t).item(), "gradient"),
        (check.cross_stitch, lambda x, a: torch.tensor(a.numpy() @ x.flatten(1).numpy())
         .reshape(x.shape), "NumPy"),
        (check.mixture, lambda x, e, g: {n: mix_by_hand(x, e, g)[n][:1] for n in g}, "off"),
        (check.verdict, lambda a, b, m: "perhaps", "your answer is off"),
    ],
)  # fmt: skip
def test_degenerate_answers_are_told_why(ask, answer, told):
    result = ask(answer)
    assert result.status == "wrong"
    assert told in result.message
