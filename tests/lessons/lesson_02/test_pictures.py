"""The pictures of lesson 02: they show the numbers they say, and draw at every corner."""

import itertools
import re

import numpy as np
import pytest
import torch

from mtl_helpers.datasets.footsteps import read_footsteps
from mtl_helpers.lessons.lesson_02 import pictures as pictures
from mtl_helpers.teaching.figures import cut_off


@pytest.fixture
def tasks():
    rng = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, 30, 2, generator=rng, dtype=torch.float64)
    wanted = torch.tensor([[1.0, -0.3], [-0.2, 1.0]], dtype=torch.float64)
    targets = (inputs @ wanted[:, :, None])[..., 0]
    targets += 0.3 * torch.randn(2, 30, generator=rng, dtype=torch.float64)
    return {f"task_{k + 1}": (inputs[k], targets[k]) for k in range(2)}


@pytest.fixture
def bowls(tasks):
    return [pictures.Bowl.of(*task) for task in tasks.values()]


def numbers(text):
    return [float(n) for n in re.findall(r"-?\d+\.\d+", text)]


def test_a_bowl_is_the_mean_squared_error(tasks, bowls):
    point = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)
    for (inputs, target), bowl in zip(tasks.values(), bowls, strict=True):
        loss = ((inputs @ point - target) ** 2).mean()
        (slope,) = torch.autograd.grad(loss, point)
        here = point.detach().numpy()
        assert bowl.loss(here) == pytest.approx(loss.item(), rel=1e-12)
        assert bowl.gradient(here) == pytest.approx(slope.numpy(), rel=1e-12)
        assert bowl.loss(bowl.ring(0.4)) == pytest.approx(bowl.rest + 0.4)


def test_a_mixture_of_bowls_is_their_weighted_sum(bowls):
    total = pictures.mixed(bowls, (0.3, 0.7))
    for point in (np.zeros(2), np.array([1.0, -2.0])):
        added = 0.3 * bowls[0].loss(point) + 0.7 * bowls[1].loss(point)
        assert total.loss(point) == pytest.approx(added)
    assert total.gradient(total.centre) == pytest.approx(np.zeros(2), abs=1e-12)


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_two_bowls_come_to_rest_where_the_pulls_cancel(tasks, weight):
    draw = pictures.two_bowls(tasks)
    start, rest = draw(weight, 0), draw(weight, 60)
    assert not cut_off(start.figure) and not cut_off(rest.figure)
    *_, one, two, both, best_1, best_2 = numbers(rest.says.rstrip("."))
    assert one == pytest.approx(two, abs=0.02) and both < 0.005
    assert numbers(rest.says)[1:3] == pytest.approx([best_1, best_2], abs=0.05)
    assert numbers(start.says)[5] > 0.5  # at the start the pulls do not cancel
    if weight in (0.0, 1.0):
        assert min(one, two) == 0


def test_two_bowls_draw_an_arrow_for_each_pull_and_one_for_their_sum(tasks):
    draw = pictures.two_bowls(tasks)

    def arrows(weight, steps):
        texts = draw(weight, steps).figure.axes[0].texts
        return sum(text.arrow_patch is not None for text in texts)

    assert [arrows(weight, 0) for weight in (0.0, 0.5, 1.0)] == [2, 3, 2]
    assert arrows(0.5, 60) == 2  # at rest there is no sum left


def test_the_marks_of_two_bowls_are_named(tasks):
    draw = pictures.two_bowls(tasks)

    def names(steps):
        return {t.get_text() for axes in draw(0.5, steps).figure.axes for t in axes.texts} - {""}

    always = {"task_1", "task_2", "lowest sum", "all that weights can reach"}
    assert names(0) == {*always, "now", "sum"}
    assert names(60) == {*always, "start"}


def test_the_front_of_two_bowls_runs_from_one_favourite_to_the_other(tasks, bowls):
    front = pictures.two_bowls(tasks)(0.5, 0).figure.axes[1].lines[0].get_xydata()
    assert front[-1][0] == pytest.approx(bowls[0].rest)
    assert front[0][1] == pytest.approx(bowls[1].rest)
    assert (np.diff(front[:, 0]) < 0).all() and (np.diff(front[:, 1]) > 0).all()


def test_the_noise_valley_ends_at_the_best_sigmas():
    for errors in itertools.product((0.01, 9.0), repeat=2):
        picture = pictures.noise_valley(*errors)
        ends, best = numbers(picture.says)[-6:-4], numbers(picture.says)[-4:-2]
        assert ends == pytest.approx(best, abs=0.02)
        assert best == pytest.approx(np.sqrt(errors).tolist(), abs=0.01)
        assert not cut_off(picture.figure)


@pytest.mark.parametrize(("errors", "arrives"), [((0.01, 9.0), False), ((1.0, 9.0), True)])
def test_a_clipped_total_stops_at_zero_unless_the_lowest_is_above(errors, arrives):
    picture = pictures.noise_valley(*errors, clip=True)
    *_, end, lowest = numbers(picture.says)
    assert (lowest > 0) == arrives
    assert end == pytest.approx(max(lowest, 0), abs=0.01)
    assert not cut_off(picture.figure)


def test_the_total_of_the_valley_is_that_of_the_formula():
    errors, log_sigma = np.array([0.2, 1.1]), np.array([0.3, -0.1])
    by_hand = 0.2 / (2 * np.exp(0.6)) + 0.3 + 1.1 / (2 * np.exp(-0.2)) - 0.1
    assert pictures._total(errors, log_sigma) == pytest.approx(by_hand)


def test_the_shade_is_named_only_where_there_is_some():
    titles = [
        pictures.noise_valley(error, error).figure.axes[0].get_title(loc="left")
        for error in (0.01, 9.0)
    ]
    assert titles == ["shaded: total below zero", "total, never below zero"]


def test_the_linear_tasks_are_the_same_at_every_call_and_in_64_bits():
    first, second = pictures.two_linear_tasks(), pictures.two_linear_tasks()
    for name in ("task_1", "task_2"):
        assert torch.equal(first[name][1], second[name][1])
        assert [part.dtype for part in first[name]] == [torch.float64] * 2


def test_a_path_repeats_itself_and_leaves_the_random_numbers_alone():
    state = torch.get_rng_state()
    make = lambda p: torch.optim.SGD(p, lr=1e-3)  # noqa: E731
    one, two = pictures.path_of(make, 1.0), pictures.path_of(make, 1.0)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[part], two[part]) for part in ("trunk", "head 1", "head 2"))
    twice = pictures.path_of(make, 2.0, steps=1)
    assert torch.allclose(twice["head 2"], 2 * pictures.path_of(make, 1.0, steps=1)["head 2"])
    only_first = pictures.path_of(make, 1.0, combine=lambda pair: pair[0])
    assert only_first["head 2"].abs().max() == 0 < only_first["trunk"].abs().max()


def test_longer_and_turned():
    way, other = torch.tensor([0.0, 6.0]), torch.tensor([2.0, 0.0])
    assert pictures.longer_and_turned(way, other) == pytest.approx((3.0, 90.0))


def test_the_street_corners_are_drawn_whole():
    table = read_footsteps()
    for draw in (pictures.one_week, pictures.bells, pictures.gaps):
        picture = draw(table)
        assert not cut_off(picture.figure) and picture.says
    assert "188 Quay Street Lower Albert (EW) 33%" in pictures.gaps(table).says


def test_a_tiny_network_shows_each_slope_once():
    slopes = torch.tensor([[0.52, -0.3, 0.7, 0.0], [1.2, 0.8, 0.0, -0.4]])
    picture = pictures.tiny_network(slopes)
    written = [text.get_text() for text in picture.figure.axes[0].texts]
    assert [t for t in written if t[0] in "+-"] == [
        "+0.52", "+1.20", "-0.30", "+0.80", "+0.70", "-0.40"
    ]  # fmt: skip
    assert "Theta feels the sums +1.72 and +0.50" in picture.says


def test_pulls_are_gradients_of_means():
    torch.manual_seed(0)
    trunk, head = torch.nn.Linear(3, 4).double(), torch.nn.Linear(4, 2).double()
    inputs, targets = torch.randn(2, 6, 3, dtype=torch.float64)
    targets = targets[:, :2].clone()
    targets[:3, 1] = float("nan")
    outputs = head(trunk(inputs))
    pulls = pictures.trunk_pulls(trunk, outputs, targets, lambda o, t: (o - t) ** 2)
    loss = (outputs[3:, 1] - targets[3:, 1]).square().mean()
    slopes = torch.autograd.grad(loss, list(trunk.parameters()))
    assert pulls[1] == pytest.approx(float(torch.cat([s.flatten() for s in slopes]).norm()))
    drawn = pictures.heard({"raw": pulls, "again": pulls}, 0, 1)
    assert not cut_off(drawn.figure) and f"raw {float(pulls.max() / pulls.min()):.0f}" in drawn.says


def test_who_pays_and_noise_found():
    rng = torch.Generator().manual_seed(0)
    theirs = torch.rand(10, 20, generator=rng, dtype=torch.float64) + 1
    ours = theirs * torch.linspace(0.9, 1.2, 20, dtype=torch.float64)
    ours = ours + 0.001 * torch.rand(10, 20, generator=rng, dtype=torch.float64)
    picture = pictures.who_pays(ours, theirs, torch.arange(20), ("a", "b"), ("quiet", "busy"))
    assert not cut_off(picture.figure) and "clearly smaller for 7" in picture.says
    found = pictures.noise_found(50 * theirs, 50 * theirs, 100 * theirs)
    assert not cut_off(found.figure) and "1.00 on the training labels, 0.50" in found.says


def test_the_arms_are_compared_with_one_of_them():
    rng = torch.Generator().manual_seed(0)
    base = torch.rand(10, 20, generator=rng, dtype=torch.float64) + 1
    rows = [
        {"arm": arm, "people": (base[seed] * (1 + 0.01 * k)).tolist()}
        for k, arm in enumerate(
            ["standardised", *[a for a in pictures.ARMS if a != "standardised"]]
        )
        for seed in range(10)
    ]
    people = pictures.measured(rows, "people")
    assert list(people) == list(pictures.ARMS) and people["alone"].shape == (10, 20)
    assert pictures.gap(people["raw sum"], people["standardised"]).mean == pytest.approx(1)
    picture = pictures.compared({"people": people, "logs": people}, "standardised")
    assert not cut_off(picture.figure)
    assert "counts, raw sum +1; counts, raw sum, SGD +2" in picture.says
    for axes in picture.figure.axes:
        diamond = next(line for line in axes.lines if line.get_marker() == "D")
        assert diamond.get_xydata().tolist() == [[0, 1]]  # the second row, on the line
