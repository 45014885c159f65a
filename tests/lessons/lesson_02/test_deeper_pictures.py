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


def test_one_number_losses_are_the_best_that_heads_can_do():
    x, y = pictures.three_at_odds()
    torch.testing.assert_close(x.T @ x / len(x), torch.eye(3, dtype=x.dtype))
    trunk = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
    found = pictures.one_number_losses(x, y, trunk)[0]
    shared = (x @ trunk.T).numpy()
    for k in range(3):
        head = np.linalg.lstsq(shared, y[:, k].numpy(), rcond=None)[0]
        assert found[k].item() == pytest.approx(np.mean((shared @ head - y[:, k].numpy()) ** 2))


def test_no_trunk_has_a_lower_weighted_sum():
    x, y = pictures.three_at_odds()
    weights = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64)
    best = pictures.one_number_losses(x, y, pictures.lowest_sum_trunks(x, y, weights))
    others = pictures.one_number_losses(x, y, torch.randn(500, 3, dtype=torch.float64))
    assert ((weights * others).sum(1) >= (weights * best).sum() - 1e-9).all()


def test_training_one_number_lowers_the_losses():
    x, y = pictures.three_at_odds()
    start, end = (
        pictures.train_one_number(x, y, lambda losses: losses.sum(1), 4, steps)
        for steps in (1, 200)
    )
    assert (end.sum(1) < start.sum(1)).all()


def test_the_cloud_and_the_plane_of_worst_and_mean_are_not_cut_off():
    losses = torch.tensor([[1.0, 0.2], [0.3, 0.9], [1.0, 1.0]])
    picture = pictures.cloud(losses, torch.tensor([True, True, False]))
    assert picture.says == "3 models, 2 of them on the front."
    assert not cut_off(picture.figure)
    three = torch.tensor([[0.6, 0.7, 0.6], [0.9, 0.5, 0.6], [0.75, 0.75, 0.75]])
    picture = pictures.worst_and_mean(three, three[1:2], three[0])
    assert picture.says.endswith("is at least 0.90; that of the star is 0.70.")
    assert not cut_off(picture.figure)


@pytest.mark.parametrize("name", pictures.WALKERS)
def test_walks_begin_at_the_same_place_and_are_drawn(name):
    places = pictures.walk(name, 0.05, 1, steps=3)
    assert places.shape == (4, 2) and places[0].tolist() == [-4, 1]
    assert not cut_off(pictures.valley(name, 0.2, 100).figure)


@pytest.mark.parametrize(
    "make",
    [
        lambda: pictures.weights_explorer(two_linear_tasks()),
        pictures.bent_explorer,
        pictures.valley_explorer,
        pictures.competing_explorer,
    ],
)
def test_explorers_draw_at_every_corner(make):
    explorer = make()
    for corner in explorer.corners():
        assert not cut_off(explorer.redraw(**corner).figure)


def test_averages_begin_at_zero_and_follow_the_last_parameters():
    history = pictures.noisy_runs([0.5], seeds=3, steps=10)
    assert set(history) >= {"last parameters", "EMA 0.5", "falling rate", "small rate"}
    first = history["last parameters"][:, 0]
    assert all(values.shape == (3, 11) for values in history.values())
    assert all((values[:, 0] == first).all() for values in history.values())
    slow, quick = history["EMA 0.5"][:, 1], history["last parameters"][:, 1]
    assert ((slow < first) == (quick < first)).all()


def test_a_coupling_for_each_draw_is_the_same_as_one_for_all():
    x, y, true = pictures.tied_tasks([0, 1], tasks=4, examples=6, inputs=3)
    coupling = pictures.laplacian(torch.ones(4, 4, dtype=torch.float64))
    one = pictures.solve_tied(x[:, 0], y[:, 0], coupling)
    each = pictures.solve_tied(x[:, 0], y[:, 0], coupling.repeat(2, 1, 1))
    torch.testing.assert_close(one, each)
    chosen = pictures.choose((x, y, true), [one + 5, one])
    assert chosen.picked.tolist() == [1, 1]
    torch.testing.assert_close(chosen.errors, chosen.each[:, 1])


def test_the_trace_norm_rests_where_a_step_changes_nothing():
    draws = pictures.low_rank_tasks([0], tasks=4, examples=12)

    def shrink(theta, amounts):
        u, s, v = torch.linalg.svd(theta, full_matrices=False)
        return (u * (s - amounts).clamp(min=0)[:, None]) @ v

    found = pictures.trace_norm(draws, 2.0, shrink, steps=2000)
    x, y = draws[0][:, 0], draws[1][:, 0]
    slope = (x.mT @ ((x @ found[..., None]) - y[..., None]))[..., 0]
    again = shrink(found - 0.01 * slope, torch.full((1, 1), 0.02, dtype=found.dtype))
    torch.testing.assert_close(again, found, atol=1e-6, rtol=0)
    assert torch.linalg.matrix_rank(draws[2])[0] == 2


def test_the_springs_pull_along_minus_the_slope():
    theta = torch.tensor([[1.0, 0.0], [3.0, 0.0], [2.0, 3.0]], dtype=torch.float64)
    related = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.5], [0.0, 0.5, 0.0]]).double()
    picture = pictures.springs(theta, related)
    assert picture.says.endswith("task_1: 4, 0; task_2: -5, 3; task_3: 1, -3.")
    assert not cut_off(picture.figure)
    leaf = theta.clone().requires_grad_()
    (leaf.T @ pictures.laplacian(related) @ leaf).trace().backward()
    assert (-leaf.grad).tolist() == [[4, 0], [-5, 3], [1, -3]]


def test_competing_answers_add_up_on_the_left_only():
    left, right = pictures.competing(2.0).figure.axes
    heights = [sum(bar.get_height() for bar in axes.patches) for axes in (left, right)]
    assert heights[0] == pytest.approx(1) and heights[1] > 1.5


def test_tables_of_the_split_are_not_cut_off():
    assert not cut_off(pictures.split_tables().figure)


def test_coin_flips_repeat_themselves():
    assert pictures.coin_flips(3) == pictures.coin_flips(3)
    assert 0 <= pictures.coin_flips(3, "all", "all") <= 100


def test_the_worst_margin_is_below_the_noisy_and_the_clean_one():
    digits = pictures.three_or_eight()
    assert len(digits.sign) == 357 and set(digits.sign.tolist()) == {-1, 1}
    rows = torch.cat([part[0] for part in digits.parts.values()])
    assert sorted(rows.tolist()) == list(range(357))  # nothing is in two parts
    w, b = torch.randn(1, 10, 64, dtype=torch.float64), torch.zeros(1, 10, 1, dtype=torch.float64)
    rng = torch.Generator().manual_seed(0)
    clean, noise, worst = (
        pictures.margins_of(digits, w, b, "judge", kind, rng) for kind in pictures.KINDS
    )
    assert (worst < noise).all() and (worst < clean).all()
    assert not cut_off(pictures.attacked(digits, w[0, 0], 0.0).figure)
