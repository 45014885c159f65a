"""The checks of lesson 05: right answers that look unusual."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from mtl_helpers.lessons.lesson_05 import exercises as check


@pytest.fixture(autouse=True)
def _float64():
    """What the setup cell of the lesson chooses."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


class WithRunningAverages(nn.Module):
    """Keeps running averages as well, and does not use them in training mode."""

    def __init__(self, features):
        super().__init__()
        self.gain, self.shift = (nn.Parameter(torch.zeros(features)) for _ in range(2))
        self.register_buffer("mean", torch.zeros(features))

    def forward(self, x):
        away = x - x.mean(0)
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0).detach()
        return (1 + self.gain) * away * (away.square().mean(0) + 1e-5).rsqrt() + self.shift


def averages_by_numpy(mean, var, x, momentum):
    mean, var, x = map(np.asarray, (mean, var, x))
    new = x.mean(0), x.var(0, ddof=1)
    return [(1 - momentum) * mean + momentum * new[0], (1 - momentum) * var + momentum * new[1]]


def averages_as_lists(mean, var, x, momentum):
    return [part.tolist() for part in averages_by_numpy(mean, var, x, momentum)]


def parts_saved(model):
    both = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: value.detach().clone() for name, value in both.items()}


def one_pass_by_places(trunk, heads, inputs):
    features, found, start = trunk(torch.cat([*inputs.values()])), {}, 0
    for name, rows in inputs.items():
        found[name] = heads[name](features[start : start + len(rows)])
        start += len(rows)
    return found


def present_by_places(x, present):
    there, out = x[present], torch.zeros_like(x)
    normal = (there - there.mean(0)) / (there.var(0, correction=0) + 1e-5).sqrt()
    return out.index_put((present.nonzero()[:, 0],), normal)


def dropped_by_choice(x, mask, p, training):
    return torch.where(mask.bool(), x / (1 - p), 0.0) if training else x


def steady_by_module(self, inputs):
    drop = nn.Dropout(self.p).train(self.training)
    return self.head(torch.relu(drop(self.first(inputs))))


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (check.normalisation, WithRunningAverages),
        (check.moved_averages, averages_by_numpy),
        (check.moved_averages, averages_as_lists),
        (check.saved, parts_saved),
        (check.saved, lambda model: copy.deepcopy(model.state_dict())),
        (check.one_pass, one_pass_by_places),
        (check.present_only, present_by_places),
        (check.dropped, dropped_by_choice),
        (check.steady, steady_by_module),
    ],
)
def test_right_answers_in_other_forms(ask, answer):
    torch.manual_seed(0)
    assert ask(answer).status == "right"
