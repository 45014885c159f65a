"""The pictures of the notebooks deeper than lesson 02: they show the numbers they say."""

import itertools
import re

import numpy as np
import pytest
import torch

from mtl_helpers.balancing import SmoothTchebycheff
from mtl_helpers.lessons.lesson_02 import deeper_pictures as pictures
from mtl_helpers.lessons.lesson_02.pictures import two_linear_tasks
from mtl_helpers.metrics import mean_interval
from mtl_helpers.teaching.figures import cut_off


def numbers(text):
    return [float(n) for n in re.findall(r"-?\d+\.\d+", text)]


def test_the_rules_of_the_bent_front_are_those_of_the_package():
    losses = torch.tensor([[0.4, 0.6], [0.9, 0.1]], dtype=torch.float64)
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
    balance = SmoothTchebycheff(["a", "b"], mu=0.1, weights={"a": 0.3, "b": 0.7})
    ours = pictures.combined(losses, weights, 0.1)
    assert ours.tolist() == pytest.approx([balance(row).item() for row in losses])
    assert pictures.combined(losses, weights, None).tolist() == pytest.approx([0.54, 0.34])


@pytest.mark.parametrize("weight", [0.1, 0.3, 0.5, 0.9])
def test_a_weighted_sum_never_rests_in_the_middle_of_the_bent_front(weight):
    picture = pictures.bent_front(weight, "weighted sum")
    assert picture.says.endswith("both losses are above 0.1: 0.")
    assert not cut_off(picture.figure)


def test_the_smooth_rule_rests_in_the_middle_when_mu_is_small_enough():
    middle = {rule: pictures.bent_front(0.3, rule).says[-2] for rule in pictures.RULES}
    assert middle["weighted sum"] == middle["smooth, mu 0.3"] == "0"
    assert middle["smooth, mu 0.1"] == middle["smooth, mu 0.03"] == "1"


def test_the_bent_front_rests_in_valleys_of_the_right_hand_curve():
    for rule, weight in itertools.product(pictures.RULES, (0.1, 0.9)):
        picture = pictures.bent_front(weight, rule)
        _, right = picture.figure.axes
        curve = next(line for line in right.lines if len(line.get_xdata()) > 100).get_ydata()
        stars = next(line for line in right.lines if line.get_marker() == "*").get_ydata()
        assert min(curve) == pytest.approx(min(stars))
        assert not cut_off(picture.figure)


def test_the_two_fronts_bend_in_opposite_ways():
    picture = pictures.two_fronts(two_linear_tasks())
    nearer, farther = numbers(picture.says)
    assert nearer > 0.1 and farther > 0.1
    assert not cut_off(picture.figure)
    left, right = (axes.lines[0].get_xydata() for axes in picture.figure.axes)
    for front in (left, right):
        order = front[:, 0].argsort()
        assert (np.diff(front[order, 1]) < 0).all()  # one loss falls where the other grows


def test_tied_tasks_are_solved_where_the_slope_is_zero():
    x, y, _ = pictures.tied_tasks([0, 1], tasks=4, examples=6, inputs=3)
    related = torch.rand(4, 4, dtype=torch.float64)
    related = (related + related.T) * (1 - torch.eye(4))
    found = pictures.solve_tied(x[:, 0], y[:, 0], pictures.laplacian(related)).requires_grad_()
    total = ((x[:, 0] @ found[..., None])[..., 0] - y[:, 0]).square().sum()
    for i in range(4):
        for j in range(i):
            total = total + related[i, j] * (found[:, i] - found[:, j]).square().sum()
    (slope,) = torch.autograd.grad(total, found)
    assert slope.abs().max() < 1e-10


def test_tied_tasks_have_two_groups():
    *_, true = pictures.tied_tasks(range(20))
    inside = (true[:, 0] - true[:, 1]).norm(dim=1).mean()
    assert inside < 0.7 * (true[:, 0] - true[:, 7]).norm(dim=1).mean()


def test_stopping_runs_record_valid_and_test_apart():
    from mtl_helpers.tasks import regression

    tasks = [regression("task_1"), regression("task_2")]
    found = pictures.stopping_runs(tasks, seeds=range(2))
    assert {part: tuple(v.shape) for part, v in found.items()} == {
        "valid": (2, 21, 2), "test": (2, 21, 2)}  # fmt: skip
    assert not torch.allclose(found["valid"], found["test"])
    assert (found["test"][:, 5, 0] < found["test"][:, 0, 0]).all()  # it learns


def test_curves_say_where_each_mean_is_lowest():
    lines = {
        "task_1": torch.tensor([[3.0, 1.0, 2.0], [3.0, 2.0, 2.0]]),
        "task_2": torch.tensor([[1.0, 2.0, 3.0], [1.2, 2.0, 3.0]]),
    }
    picture = pictures.curves(
        [1, 10, 100], lines, x_label="x", y_label="y", log=True, marks={"task_1": [10]}
    )
    assert picture.says == "task_1 lowest at 10 (1.50); task_2 lowest at 1 (1.10)."
    axes = picture.figure.axes[0]
    assert axes.lines[0].get_ydata() == pytest.approx([3.0, 1.5, 2.0])
    low = mean_interval([1.0, 2.0]).low
    assert axes.collections[0].get_datalim(axes.transData).y0 == pytest.approx(low)
    assert not cut_off(picture.figure)


@pytest.mark.parametrize(
    "names",
    [
        ("last parameters", "their average (EMA)", "falling rate"),
        ("ridge", "tied, all", "tied, groups", "alone"),
    ],
)
def test_curves_have_room_for_their_names(names):
    lines = {name: torch.rand(3, 4) for name in names}
    picture = pictures.curves(range(4), lines, x_label="step", y_label="distance", top=2)
    assert not cut_off(picture.figure)
    assert picture.figure.axes[0].get_ylim() == (0, 2)
