"""The pictures of lesson 05, first half: they show the numbers they say, and at every corner."""

import itertools

import pytest
import torch
from torch import nn

from mtl_helpers.lessons.lesson_05 import exercises as check
from mtl_helpers.lessons.lesson_05 import pictures as pictures
from mtl_helpers.teaching.figures import cut_off


def test_ink_is_standardised_so_that_running_statistics_of_0_and_1_describe_it():
    ink = pictures.ink()
    assert ink.shape == (1797,) and ink.dtype == torch.float64
    assert float(ink.mean()) == pytest.approx(0, abs=1e-12)
    assert float(ink.var(correction=0)) == pytest.approx(1)


def test_one_digit_in_company_is_what_batch_norm_gives():
    found = pictures.in_company(1.0, 3, shift=2.0, draws=4)
    generator = torch.Generator().manual_seed(0)
    drawn = pictures.ink()[torch.randint(1797, (4, 3), generator=generator)]
    for value, others in zip(found, drawn, strict=True):
        batch = torch.cat([torch.tensor([1.0], dtype=torch.float64), others])[:, None] + 2
        torch.testing.assert_close(nn.BatchNorm1d(1).double()(batch)[0, 0].detach(), value)


def test_train_mode_is_blind_to_a_shift_and_eval_mode_is_not():
    plain, moved = (pictures.train_and_eval(8, shift).says for shift in (0.0, 3.0))
    assert (
        plain.split("comes out as")[1].split(",")[0]
        == (moved.split("comes out as")[1].split(",")[0])
    )
    assert plain.endswith("as 1.00 in eval mode.") and moved.endswith("as 4.00 in eval mode.")
    assert "mean 0.00 in train mode" in moved
    assert "mean 0.00" not in pictures.train_and_eval(8, 3.0, "eval").says


def test_a_batch_of_one_comes_out_as_zero_and_of_two_as_a_sign():
    assert "0.00 ± 0.00 (mean" in pictures.train_and_eval(1).says
    assert pictures.in_company(1.0, 1, 0.0).abs().round(decimals=2).unique().max() == 1


def test_train_and_eval_is_drawn_at_every_corner():
    for batch, shift, mode in itertools.product((1, 64), (-3.0, 3.0), ("train", "eval")):
        figure = pictures.train_and_eval(batch, shift, mode).figure
        assert not cut_off(figure)
        inside, seen = figure.axes[0], pictures.SEEN
        for line in (drawn for drawn in inside.lines[1:] if len(drawn.get_xdata())):
            points = torch.tensor(line.get_xydata())
            assert seen[0] <= points.min() and points.max() <= seen[1]


def test_the_chosen_mode_is_bold():
    left = pictures.train_and_eval(8, 0.0, "eval").figure.axes[0]
    evaluated, _, train, _ = left.lines[1:]
    assert (evaluated.get_label(), train.get_label()) == ("eval", "train")
    assert evaluated.get_alpha() > train.get_alpha()


def test_points_of_both_modes_stay_visible_where_they_coincide():
    left = pictures.train_and_eval(8).figure.axes[0]
    evaluated, own, train, _ = left.lines[1:]
    assert evaluated.get_markerfacecolor() == own.get_markerfacecolor() == "none"
    assert evaluated.get_markersize() > train.get_markersize()


def test_no_two_arms_share_a_colour():
    assert len({colour for _, colour, _, _ in pictures.WHY.values()}) == len(pictures.WHY)


def why_rows():
    return [
        {"arm": arm, "seed": seed, "steps": [0, 10], "train_loss": [4.0, 4.0 * factor],
         "range": [1.0, factor * (1 + 0.1 * seed)]}
        for arm, factor in zip(pictures.WHY, (0.5, 0.4, 0.1, 0.2), strict=True)
        for seed in range(3)
    ]  # fmt: skip


def test_by_arm_collects_columns():
    found = pictures.by_arm(why_rows(), "train_loss")
    assert list(found) == list(pictures.WHY) and found["bn"].shape == (3, 2)
    assert found["bn"][:, 1].tolist() == pytest.approx([0.4] * 3)


def test_why_curves_say_the_last_step():
    picture = pictures.why_curves(why_rows())
    assert picture.says.startswith("At step 10,") and "batch norm: loss 0.4, range 0.11" in (
        picture.says
    )
    assert not cut_off(picture.figure)
    assert all(axes.get_yscale() == "log" for axes in picture.figure.axes)


def test_why_curves_stop_where_a_seed_is_lost():
    rows = why_rows()
    gone = next(row for row in rows if row["arm"] == "plain_same_lr")
    gone["train_loss"], gone["range"] = [4.0, None], [1.0, None]
    picture = pictures.why_curves(rows)
    assert "rate of batch norm: not finite in 1 seeds; batch norm: loss" in picture.says
    lines = {line.get_label(): len(line.get_xdata()) for line in picture.figure.axes[0].lines}
    assert lines["no normalisation, rate of batch norm"] == 1 and lines["batch norm"] == 2


def shifted_rows():
    return [
        {"shift": shift, "arm": arm, "seed": seed, "plain": 90.0 + seed, "shifted": 50.0 + shift,
         "plain_batch": None if arm in ("none", "group", "layer") else 95.0,
         "shifted_batch": None if arm in ("none", "group", "layer") else 94.0}
        for shift in (0.0, 2.0) for arm in pictures.NORMS for seed in range(3)
    ]  # fmt: skip


def test_shifted_arms_say_the_chosen_statistics():
    draw = pictures.shifted_arms(shifted_rows())
    running, own = draw(2.0, "running"), draw(2.0, "own batch")
    assert "plain: own networks 9.0, no norm 9.0" in running.says
    assert "shifted: own networks 48.0" in running.says
    assert "shifted: own networks 6.0, no norm 48.0" in own.says
    for shift, statistics in itertools.product((0.0, 2.0), ("running", "own batch")):
        assert not cut_off(draw(shift, statistics).figure)


def test_shifted_arms_draw_the_means_they_say():
    axes = pictures.shifted_arms(shifted_rows())(0.0).figure.axes[0]
    assert axes.lines[0].get_xdata()[0] == pytest.approx(9.0)
    assert [t.get_text() for t in axes.get_yticklabels()] == list(pictures.NORMS.values())


def test_tasks_differ_in_colour_and_marker():
    plain, shifted = pictures.TASK_STYLE["plain"], pictures.TASK_STYLE["shifted"]
    assert plain["color"] != shifted["color"] and plain["marker"] != shifted["marker"]


def test_shifted_digits_share_one_scale_of_grey():
    images = {"plain": torch.full((6, 1, 8, 8), 0.25), "lighter": torch.ones(6, 1, 8, 8)}
    picture = pictures.shifted_digits(images)
    assert picture.says == "Mean grey values. plain: 0.25, lighter: 1.00; white is 1.00."
    assert {image.get_clim() for image in picture.figure.axes[0].images} == {(0, 1)}
    assert len(picture.figure.axes[0].images) == 12 and not cut_off(picture.figure)


def test_checks_accept_another_right_way():
    class Own(nn.Module):
        def __init__(self, features):
            super().__init__()
            self.b, self.a = (nn.Parameter(v * torch.ones(1, features)) for v in (0.0, 1.0))

        def forward(self, x):
            away = x - x.mean(0, keepdim=True)
            return self.a * away * torch.rsqrt(away.square().mean(0, keepdim=True) + 1e-5) + self.b

    assert check.normalisation(Own).status == "right"

    class FromZero(Own):
        def forward(self, x):
            return super().forward(x) + (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()

        def __init__(self, features):
            super().__init__(features)
            nn.init.zeros_(self.a)  # gamma is 1 + a

    assert check.normalisation(FromZero).status == "right"

    def moved(mean, var, x, momentum):
        return torch.lerp(mean, x.mean(0), momentum), torch.lerp(var, x.var(0), momentum)

    assert check.moved_averages(moved).status == "right"
    assert check.breaks_outside([0, 0, 0, 0]).status == "right"

    def present_only(x, present):
        out = torch.zeros_like(x)
        out[present] = nn.BatchNorm1d(x.shape[1]).double()(x[present])
        return out

    assert check.present_only(present_only).status == "right"

    def by_position(trunk, heads, inputs):
        sizes = [len(x) for x in inputs.values()]
        parts = trunk(torch.cat(list(inputs.values()))).split(sizes)
        return {name: heads[name](parts[i]) for i, name in enumerate(inputs)}

    assert check.one_pass(by_position).status == "right"
