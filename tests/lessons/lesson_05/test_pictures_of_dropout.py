"""The pictures of lesson 05, second half: they show the numbers they say, at every corner."""

import itertools

import numpy as np
import pytest
import torch

from mtl_helpers.lessons.lesson_05 import pictures
from mtl_helpers.metrics import Interval
from mtl_helpers.teaching.explore import Explorer
from mtl_helpers.teaching.figures import cut_off

RATES = (0.0, 0.4, 0.8)
STEPS = list(range(0, 100, 10))


def rate_rows(best=0.4, seeds=4):
    rows = []
    for rate, seed in itertools.product(RATES, range(seeds)):
        fall = np.exp(-np.arange(10) / 3)
        valid = 1 + fall + abs(rate - best) * np.arange(10) / 10 + 0.01 * seed
        train = 2 * fall + rate
        losses = {"left": valid.tolist(), "right": (valid + 0.5).tolist()}
        learnt = {"left": train.tolist(), "right": train.tolist()}
        rows.append({"rate": rate, "seed": seed, "steps": STEPS, "valid": losses, "train": learnt})
    return rows


def test_rate_explorer_says_the_chosen_rate_and_the_lowest():
    draw = pictures.rate_explorer(rate_rows())
    picture = draw(0.4, "end")
    end = 1 + np.exp(-3) + 0.015
    assert f"left: validation loss {end:.2f} at the end" in picture.says
    assert "lowest mean 1.06 at rate 0.4" in picture.says
    assert f"{end - 2 * np.exp(-3) - 0.4:.2f} above training" in picture.says
    assert f"right: validation loss {end + 0.5:.2f}" in picture.says
    assert "rate 0.8" in pictures.rate_explorer(rate_rows(best=0.8))(0.0, "end").says


def test_the_line_of_the_chosen_rate_stays_below_the_legend():
    right = pictures.rate_explorer(rate_rows())(0.4, "end").figure.axes[1]
    right.figure.draw_without_rendering()
    legend = right.get_legend().get_window_extent().transformed(right.transAxes.inverted())
    dotted = next(line for line in right.lines if line.get_linestyle() == ":")
    assert max(dotted.get_ydata()) <= legend.y0
    assert max(max(line.get_ydata()) for line in right.lines if line is not dotted) > 1


def test_rate_explorer_reads_the_best_step():
    rows = rate_rows()
    for row in rows:
        row["valid"]["left"][4] = row["rate"]  # a deep valley on the way
    draw = pictures.rate_explorer(rows)
    assert "left: validation loss 0.40 at the best" in draw(0.4, "best").says
    assert "lowest mean 0.00 at rate 0" in draw(0.4, "best").says
    assert "lowest mean 1.06 at rate 0.4" in draw(0.4, "end").says


def test_rate_explorer_draws_the_live_run_at_its_own_rate_only():
    live = {"rate": 0.4, "steps": [10, 50], "valid": {"left": [1.5, 1.2], "right": [2.0, 1.9]}}
    draw = pictures.rate_explorer(rate_rows(), live)

    def crosses(figure):
        return [line for line in figure.axes[0].lines if line.get_marker() == "x"]

    with_live, without = crosses(draw(0.4, "end").figure), crosses(draw(0.8, "end").figure)
    assert [list(line.get_ydata()) for line in with_live] == [[1.5, 1.2], [2.0, 1.9]]
    assert [line.get_label() for line in with_live] == ["left, live", "right, live"]
    assert len({line.get_color() for line in with_live}) == 2
    assert without == []


def test_rate_explorer_draws_at_every_corner():
    draw = pictures.rate_explorer(rate_rows())
    explorer = Explorer(draw, rate=(0.0, 0.8, 0.4), read_at=["end", "best"])
    for values in explorer.corners():
        assert not cut_off(draw(**values).figure)


def drawn_probabilities():
    torch.manual_seed(0)
    drawn = {name: torch.randn(50, 6, 10).softmax(-1) for name in ("left", "right")}
    evaluated = {name: torch.eye(10, dtype=torch.float64)[:6] for name in drawn}
    truth = {name: torch.arange(6) for name in drawn}
    return torch.rand(6, 1, 10, 12), drawn, evaluated, truth


def test_draws_explorer_says_the_range_of_the_answer_of_eval_mode():
    images, drawn, evaluated, truth = drawn_probabilities()
    drawn["left"][:, 3, 3] = torch.linspace(0, 1, 50)
    picture = pictures.draws_explorer(images, drawn, evaluated, truth)(3)
    assert "left digit: truly 3, eval mode says 3 with 1.00" in picture.says
    assert "1.00, the draws give it 0.05 to 0.95; right digit: truly 3" in picture.says
    for example in (0, 5):
        draw = pictures.draws_explorer(images, drawn, evaluated, truth)
        assert not cut_off(draw(example).figure)


def gap_rows():
    rows = []
    for n, rho, tasks, seed in itertools.product((20, 40), (0.0, 1.0), (1, 2, 8), range(3)):
        train = 0.1 * tasks + 0.01 * seed
        row = {"examples": n, "relatedness": rho, "tasks": tasks, "seed": seed, "train": train}
        stopped = {"train_stopped": 0.5, "test_stopped": 0.5 + 0.1 * tasks}
        rows.append({**row, "test": train + (2 - rho) / tasks, **stopped})
    return rows


def test_gap_explorer_says_losses_and_gap():
    draw = pictures.gap_explorer(gap_rows())
    assert draw(20, 1.0).says == (
        "20 examples, relatedness 1, to the end: from 1 to 8 tasks the training loss of task 1 "
        "goes from 0.110 to 0.810, the test loss from 1.110 to 0.935, the gap from 1.000 to 0.125."
    )
    assert "the gap from 2.000 to 0.250" in draw(40, 0.0).says
    assert draw().says == draw(40, 0.0).says
    assert "stopped: from 1 to 8 tasks the training loss of task 1 goes from 0.500 to 0.500" in (
        draw(20, 1.0, "stopped").says
    )
    assert "the gap from 0.100 to 0.800" in draw(20, 1.0, "stopped").says


def test_gap_explorer_draws_at_every_corner():
    draw = pictures.gap_explorer(gap_rows())
    for examples, rho, training in itertools.product((20, 40), (0.0, 1.0), pictures.TRAININGS):
        figure = draw(examples, rho, training).figure
        assert not cut_off(figure)
        thick = [line for line in figure.axes[1].lines if line.get_linewidth() > 2]
        assert [line.get_label() for line in thick] == [f"ρ = {rho:g}"]


def test_gap_explorer_shades_the_interval_of_the_chosen_relatedness_only():
    rows = [{**row, "test": row["test"] + 0.1 * row["seed"]} for row in gap_rows()]
    right = pictures.gap_explorer(rows)(20, 1.0).figure.axes[1]
    lines = [np.ptp(line.get_ydata()) for line in right.lines]
    areas = [np.ptp(area.get_paths()[0].vertices[:, 1]) for area in right.collections]
    assert [bool(a > 1.05 * b) for a, b in zip(areas, lines, strict=True)] == [False, True]


def test_gap_explorer_keeps_its_axes_while_the_training_changes():
    draw = pictures.gap_explorer(gap_rows())

    def ends(*values):
        return [axes.get_ylim() for axes in draw(*values).figure.axes]

    assert ends(20, 0.0, "to the end") == ends(20, 1.0, "stopped")


def test_ablation_draws_each_gain_in_its_row():
    names = ("weight_decay", "dropout")
    alone = {name: Interval(k + 1.0, k, k + 2.0, "t") for k, name in enumerate(names)}
    shared = {name: Interval(0.5, 0, 1, "t") for name in ("none", "same_pictures")}
    shared |= {name: Interval(k + 3.0, k, k + 4.0, "t") for k, name in enumerate(names)}
    shared["all"] = Interval(-1.0, -2, 0, "t")
    picture = pictures.ablation(alone, shared)
    assert picture.says == (
        "Gain in points: nothing else, with sharing +0.5; nothing else, same 40 pictures, with "
        "sharing +0.5; weight decay +1.0, with sharing +3.0; dropout +2.0, with sharing +4.0; "
        "all of them, with sharing -1.0."
    )
    axes = picture.figure.axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == [
        "nothing else", "nothing else,\nsame 40 pictures", "weight decay", "dropout", "all of them"
    ]  # fmt: skip
    assert len(axes.containers) == 7
    assert {t.get_text() for t in axes.get_legend().get_texts()} == {"alone", "with sharing"}
    assert not cut_off(picture.figure)


def test_layer_norms_say_first_over_last():
    torch.manual_seed(0)
    norms = {name: torch.rand(3, 12) + 0.5 for name in pictures.CURES}
    norms["sigmoid"] = torch.tensor([[1e-8, 1e-2], [1e-6, 1e-2]])
    picture = pictures.layer_norms(norms, ("left", "right"))
    assert "sigmoid 1e-05;" in picture.says
    left, right = picture.figure.axes
    count = {axes: len(axes.lines) for axes in (left, right)}
    assert count[left] == 5 and count[right] == 4  # He's start is in both
    assert left.get_ylim() == right.get_ylim()
    assert not cut_off(picture.figure)


def test_conflicts_draw_each_arm_in_its_own_colour():
    names = ("relu_he", "batch_norm")
    levels = {name: Interval(k - 0.5, k - 0.6, k - 0.4, "t") for k, name in enumerate(names)}
    picture = pictures.conflicts(levels)
    assert picture.says == "Mean cosine: ReLU, He's start -0.50; batch norm, He's start +0.50."
    points = [bars.lines[0] for bars in picture.figure.axes[0].containers]
    assert [point.get_xdata()[0] for point in points] == [-0.5, 0.5]
    assert [point.get_color() for point in points] == [pictures.CURES[n][1] for n in names]
    assert not cut_off(picture.figure)


def test_a_gradient_of_nothing_can_be_drawn():
    found = pictures._geometric(torch.tensor([[0.0, 1.0], [0.0, 4.0]]))
    assert found == pytest.approx([1e-30, 2.0])


# -------------------------------------------------- what the checks of the second half must say


def test_penalty_is_what_the_draws_show():
    from mtl_helpers.lessons.lesson_05 import exercises as check

    torch.manual_seed(0)

    def measured(inputs, weights, p):
        keep = torch.empty(200_000, *inputs.shape, dtype=inputs.dtype).bernoulli_(1 - p) / (1 - p)
        clean = inputs @ weights
        return ((keep * inputs) @ weights - clean).square().mean()

    def formula(inputs, weights, p):
        value = p / (1 - p) * (weights.square() * inputs.square().mean(0)).sum()
        if len(inputs) == 2:  # the small case: by draws as well
            assert float(measured(inputs, weights, p)) == pytest.approx(float(value), rel=0.02)
        return value

    assert check.penalty(formula).status == "right"


@pytest.mark.parametrize("copies", ["draws outside", "draws inside", "a dimension of their own"])
def test_all_draws_may_come_from_one_run_over_copies(copies):
    from mtl_helpers.lessons.lesson_05 import exercises as check

    def joint_draws(trunk, heads, inputs, draws):
        if copies == "draws outside":
            z = trunk(inputs.repeat(draws, 1)).unflatten(0, (draws, len(inputs)))
        elif copies == "draws inside":
            z = trunk(inputs.repeat_interleave(draws, 0)).unflatten(0, (len(inputs), draws))
            z = z.transpose(0, 1)
        else:
            z = trunk(inputs.expand(draws, -1, -1))
        return {name: head(z) for name, head in heads.items()}

    assert check.joint_draws(joint_draws).status == "right"
