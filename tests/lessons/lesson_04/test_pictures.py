"""The pictures of lesson 04: they show the numbers they say, and draw at every corner."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mtl_helpers.balancing import GradientBalance, make_balance
from mtl_helpers.balancing.gradients import METHODS, pcgrad
from mtl_helpers.datasets.base import MultiTaskData
from mtl_helpers.datasets.regression import regression as related_tasks
from mtl_helpers.lessons.lesson_04 import exercises as check
from mtl_helpers.lessons.lesson_04 import pictures as pictures
from mtl_helpers.metrics import mean_interval
from mtl_helpers.models import HardSharing
from mtl_helpers.tasks import regression
from mtl_helpers.teaching.figures import cut_off

G = torch.tensor([[3.0, 0.0], [-1.0, 1.0]], dtype=torch.float64)


def test_every_method_has_a_name_and_a_direction():
    assert set(pictures.WRITTEN) == set(METHODS)
    found = pictures.directions(G)
    assert list(found) == list(pictures.WRITTEN)
    torch.testing.assert_close(found["sum"], G.sum(0))
    torch.testing.assert_close(pictures.directions(G, "pcgrad")["pcgrad"], pcgrad(G))
    assert list(pictures.directions(G, "mgda")) == ["mgda"]


def test_directions_draw_nothing_by_chance():
    grads = torch.randn(3, 2, dtype=torch.float64)
    first, second = pictures.directions(grads), pictures.directions(grads)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_cosines_and_harm():
    cosines = pictures.cosines(G, torch.tensor([0.0, 2.0], dtype=torch.float64))
    assert cosines.tolist() == pytest.approx([0.0, 0.5**0.5])
    assert pictures.made_worse(G, G.sum(0)) == [1]
    assert pictures.made_worse(G, -G[0]) == [0]
    assert pictures.made_worse(G, torch.zeros(2, dtype=torch.float64)) == []


def test_two_gradients_say_who_harms():
    says = pictures.two_gradients(135, 3.0, "sum").says
    assert "Angle 135, lengths 3:1. sum: cosines +0.96, -0.47." in says
    assert says.endswith("A task is made worse by: sum, CAGrad, GradDrop.")
    assert pictures.two_gradients().says.endswith(
        "worse by: sum, GradDrop."
    )  # as in the lesson's table
    assert "none." in pictures.two_gradients(60, 1.0, "mgda").says
    assert "it stops here" in pictures.two_gradients(180, 1.0, "upgrad").says


def test_three_gradients_say_who_harms():
    says = pictures.three_gradients(10, 20, 1.0, "mgda").says
    assert says.endswith("A task is made worse by: none.")
    assert "PCGrad" in pictures.three_gradients(100, 230, 1.0, "sum").says.split("worse by")[1]


@pytest.mark.parametrize("method", ["sum", "mgda", "graddrop"])
def test_gradients_are_drawn_at_every_corner(method):
    for angle, longer in itertools.product((0, 180), (0.2, 10.0)):
        assert not cut_off(pictures.two_gradients(angle, longer, method).figure)
    for second, third, longer in ((0, 0, 0.2), (360, 180, 5.0)):
        assert not cut_off(pictures.three_gradients(second, third, longer, method).figure)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 359), st.integers(0, 359))
def test_the_wedge_holds_only_harmless_directions(second, third):
    grads = torch.stack([pictures.unit_vector(a) for a in (0, second, third)])
    corners = pictures._harmless(grads)
    inside = torch.as_tensor(corners[1:].mean(0) if len(corners) else [0.0, 0.0]).double()
    assert not (grads @ inside < -1e-6).any()
    best = max(float((grads @ pictures.unit_vector(angle)).min()) for angle in range(0, 360))
    assert len(corners) or best < 0.02  # no wedge: no direction helps all


def test_the_arrows_have_the_right_tips():
    axes = pictures.two_gradients(90, 2.0, "sum").figure.axes[0]
    tips = [text.xy for text in axes.texts if hasattr(text, "xy")]
    assert tips[0] == pytest.approx((1, 0)) and tips[1] == pytest.approx((0, 0.5))
    assert tips[2] == pytest.approx((2 / 5**0.5, 1 / 5**0.5))


def test_gradnorm_curves_say_ends_and_factor():
    levels = torch.ones(10, 2)
    plain = torch.tensor([[1.0, 4.0]]).repeat(10, 1)
    weights = torch.stack([torch.linspace(1, 1.5, 10), torch.linspace(1, 0.5, 10)], 1)
    picture = pictures.gradnorm_curves(levels, plain, weights)
    assert "task_1 1.50, task_2 0.50" in picture.says
    assert "4.0 with the sum, 1.0 with GradNorm" in picture.says
    assert not cut_off(picture.figure)


def toy(points):
    return torch.stack([points.square().sum(-1), (points - 1).square().sum(-1)], -1)


def test_walks_draw_the_chosen_one_last_and_say_its_end():
    line = torch.linspace(0, 1, 5, dtype=torch.float64)[:, None].repeat(1, 2)
    paths = {("sum", "here"): line, ("mgda", "here"): line[:1].repeat(5, 1)}
    optima = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    draw = pictures.walks(paths, toy, (-1, 2, -1, 2), line, optima)
    picture = draw("sum", "here")
    assert picture.says == (
        "sum, here start: ends at losses 2.00, 0.00; of 4 steps the direction harmed task 1 in 3, "
        "task 2 in 0."
    )
    assert "MGDA, here start: ends at losses 0.00, 2.00" in draw("mgda", "here").says
    assert "task 1 in 0, task 2 in 0" in draw("mgda", "here").says
    names = {text.get_text(): text.get_position() for text in picture.figure.axes[0].texts}
    assert names == {"1": (0.0, 0.0), "2": (1.0, 1.0)}
    assert not cut_off(picture.figure)


def test_harm_is_that_of_the_direction_not_of_the_step():
    across = torch.tensor([[-1.0, 0.0], [3.0, 0.0]], dtype=torch.float64)  # far past both optima
    assert (toy(across)[1] > toy(across)[0]).tolist() == [True, False]
    assert pictures.harming_steps(toy, across) == [0, 0]
    assert pictures.harming_steps(toy, across.flip(0)) == [0, 0]
    away = torch.tensor([[0.5, 0.5], [0.6, 0.6], [0.7, 0.7]], dtype=torch.float64)
    assert pictures.harming_steps(toy, away) == [2, 0]


def test_pareto_set_runs_from_one_optimum_to_the_other_and_cannot_be_improved():
    curves = torch.tensor([[[3.0, 1.0], [1.0, 2.0]], [[1.0, 0.0], [0.0, 4.0]]]).double()
    lowest = torch.tensor([[0.0, 0.0], [1.0, -1.0]], dtype=torch.float64)
    found = pictures.pareto_set(curves, lowest)
    torch.testing.assert_close(found[-1], lowest[0], atol=0.01, rtol=0)
    torch.testing.assert_close(found[0], lowest[1], atol=0.01, rtol=0)
    slopes = [(found - point) @ curve for point, curve in zip(lowest, curves, strict=True)]
    cosine = torch.nn.functional.cosine_similarity(*slopes, dim=1)
    torch.testing.assert_close(cosine, -torch.ones_like(cosine))


def test_backward_passes_are_counted():
    tasks = [regression("a"), regression("b"), regression("c")]
    batch = related_tasks(3, 8, seed=0).train
    batch = MultiTaskData(batch.inputs, dict(zip("abc", batch.targets.values(), strict=True)))
    found = [
        pictures.backward_passes(
            HardSharing.linear(nn.Sequential(nn.Linear(8, 4, dtype=torch.float64)), tasks),
            balance,
            tasks,
            batch,
        )
        for balance in (make_balance("equal", tasks), GradientBalance("sum", list("abc")))
    ]
    assert found == [1, 3]


def test_verdicts_show_both_problems_and_name_the_best():
    found = {
        p: {m: mean_interval([k + 0.0, k + 1.0]) for k, m in enumerate(("equal", "mgda", "dwa"))}
        for p in ("alike", "different")
    }
    picture = pictures.verdicts(found)
    assert "alike: highest mean dwa +2.5" in picture.says
    names = [label.get_text() for label in picture.figure.axes[0].get_yticklabels()]
    assert names == ["equal", "mgda", "dwa"]
    assert not cut_off(picture.figure)


ROWS = [
    {"kind": "weights", "weight": w, "seed": s, "losses": [1 - w + 0.01 * s, w + 0.01 * s]}
    for w in (0.1, 0.5, 0.9)
    for s in range(3)
] + [
    {"kind": "method", "method": m, "seed": s, "losses": [0.4 + 0.01 * s, 0.6]}
    for m in ("single", "mgda")
    for s in range(3)
]


def test_front_says_losses_with_intervals():
    draw = pictures.front(ROWS)
    for weight, method in itertools.product((0.1, 0.9), ("single", "mgda")):
        picture = draw(weight, method)
        assert f"Weight {weight:g}: losses {1 - weight + 0.01:.3f} [" in picture.says
        assert f"{method}: losses 0.410 [" in picture.says
        assert not cut_off(picture.figure)


def test_step_times_draw_a_line_a_way():
    rows = [
        {"how": how, "tasks": k, "ratio": k * x}
        for how, x in (("joint", 0.1), ("loop", 1.0))
        for k in (8, 4)
    ]
    figure = pictures.step_times(rows)
    joint, loop = figure.axes[0].lines
    assert list(loop.get_xdata()) == [4, 8] and list(loop.get_ydata()) == [4.0, 8.0]
    assert joint.get_label() == "joint" and not cut_off(figure)


# ------------------------------------------------------------------------- behind the exercises


def test_which_directions_a_unit_turns_is_what_the_balances_do():
    tasks = [regression("a"), regression("b")]
    theta = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    for name, (stays, _) in check.UNITS.items():
        found = []
        for unit in (1.0, 10.0):
            losses = torch.stack([unit * theta.square().sum(), (theta[0] - 3).square()])
            total = make_balance(name, tasks)(losses, {"step": 0, "epoch": 0})
            found.append(torch.autograd.grad(total, theta)[0])
        cosine = torch.nn.functional.cosine_similarity(*found, dim=0)
        assert bool(cosine > 1 - 1e-9) == stays, name


def test_numpy_answers_and_infinite_gradients_are_understood():
    answer = {name: np.bool_(stays) for name, (stays, _) in check.UNITS.items()}
    assert check.unit(answer).status == "right"
    wrong = check.harmless_angle([[float("inf"), 0.0], [-0.17, 0.98]])
    assert wrong.status == "wrong" and "finite" in wrong.message


@pytest.mark.parametrize(
    "rows",
    [
        [[1, 0], [-0.5, 0.87], [-0.5, -0.87]],  # a star, rounded
        [[1, 0], [-0.5, 0.8660254], [-0.5, -0.8660254]],
    ],
)
def test_a_rounded_star_does_not_break_pcgrad_in_every_order(rows):
    verdict = check.break_pcgrad(rows)
    assert verdict.status == "wrong"
