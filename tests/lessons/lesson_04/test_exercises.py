"""The checks of lesson 04: right answers that look unusual."""

import numpy as np
import pytest
import torch

from mtl_helpers.balancing.gradients import pcgrad
from mtl_helpers.lessons.lesson_04 import exercises as check


@pytest.fixture(autouse=True)
def _float64():
    """What the setup cell of the lesson chooses."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def honest_by_numpy(valid, test):
    return np.array([row[np.argmin(v)] for v, row in zip(valid.numpy(), test.numpy(), strict=True)])


def surgery_by_hand(loss_functions, theta):
    a, b = (torch.autograd.grad(f(theta), theta)[0] for f in loss_functions)
    clash = (a @ b).clamp(max=0)
    return a - clash / (b @ b) * b + b - clash / (a @ a) * a


def surgery_by_backward(loss_functions, theta):
    rows = []
    for f in loss_functions:
        theta.grad = None
        f(theta).backward()
        rows.append(theta.grad)
    return pcgrad(torch.stack(rows)).tolist()


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (check.honest, honest_by_numpy),
        (check.harmless_angle, [[10.0, 0.0, 0.0], [-0.17, 0.0, 0.98]]),
        (check.harmless_angle, np.array([[10.0, 0.0], [-0.17, 0.98]])),
        (check.surgery, surgery_by_hand),
        (check.surgery, surgery_by_backward),
        (check.unit, {"equal": "no", "geometric": "yes", "famo": 1, "uncertainty": 0,
                      "imtl_l": "False", "dwa": False}),
        (check.break_pcgrad, np.array([[1.0, 0.0], [0.8, 0.6], [-1.0, -0.3]])),
    ],
)  # fmt: skip
def test_right_answers_in_other_forms(ask, answer):
    assert ask(answer).status == "right"
