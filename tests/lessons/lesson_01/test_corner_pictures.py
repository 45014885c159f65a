"""The pictures of the street corners: what they draw, what they say, nothing cut off."""

import math

import numpy as np
import pytest
import torch

from mtl_helpers.datasets.footsteps import read_footsteps
from mtl_helpers.lessons.lesson_01 import corner_pictures as pictures
from mtl_helpers.lessons.lesson_01 import corners
from mtl_helpers.models import mlp
from mtl_helpers.teaching.figures import cut_off

CORNER = "45 Queen Street"


@pytest.fixture(scope="module")
def raw():
    return corners.city(0, 50, "plain")


def rows_of(**changes):
    """Two arms, three seeds; *together* is a quarter below *separate*, 0.8 below in seed 2."""
    base = {"separate": [1.0, 1.2, 1.1], "together": [0.75, 0.9, 0.825]}
    return [
        {"arm": arm, "seed": seed, "rmse": value, "rmse_next_year": value + 0.5, **changes}
        for arm, values in base.items()
        for seed, value in enumerate(values)
    ]


def test_the_map_shows_every_counter():
    picture = pictures.city_map(read_footsteps(), [CORNER])
    (axes,) = picture.figure.axes
    assert len(axes.collections[0].get_offsets()) == 21
    assert any(CORNER in text.get_text() for text in axes.texts)
    assert picture.says.startswith("21 counters; 47 to 696") and not cut_off(picture.figure)


def test_the_labels_of_a_corner_stand_at_their_hours(raw):
    picture = pictures.labelled_hours(raw.train, CORNER)
    (line,) = picture.figure.axes[0].lines
    assert picture.says == f"50 labelled hours of {CORNER}." and len(line.get_xdata()) == 50
    hours, weekdays = pictures.hour_and_weekday(raw.test.inputs)
    table = read_footsteps()
    first = int(np.flatnonzero(table.hours == np.datetime64("2023-01-01T06"))[0])
    rows = slice(first, first + 300)
    assert (hours[:300] == table.hours[rows].astype(int) % 24).all()
    assert (weekdays[:300] == (table.day[rows].astype(int) + 3) % 7).all()
    assert not cut_off(picture.figure)


def test_a_typical_day_compares_both_arms_with_the_truth(raw):
    truth = {k: v.clone() for k, v in raw.test.targets.items()}
    said = {"separate": {k: v + 1.0 for k, v in truth.items()}, "shared": truth}
    picture = pictures.typical_day(raw.test, said)(CORNER, "Friday")
    assert "separate network is off by 1.0, that of the shared one by 0.0" in picture.says
    lines = picture.figure.axes[0].lines
    hours, weekdays = pictures.hour_and_weekday(raw.test.inputs)
    noon = torch.from_numpy((weekdays == 4) & (hours == 12))
    mean = float(raw.test.targets[CORNER][noon].nanmean())
    assert lines[0].get_ydata()[6] == pytest.approx(mean)  # six hours after 6:00
    assert not cut_off(picture.figure)


def test_names_at_the_ends_of_lines_stay_apart():
    moved = pictures._spread([1.0, 1.1, 0.9], 0.5)
    assert moved == pytest.approx([1.4, 1.9, 0.9])


def test_rhythms_are_the_strongest_patterns(raw):
    torch.manual_seed(0)
    trunk = mlp(11, [6])
    picture = pictures.rhythms(trunk, raw.test.inputs)
    with torch.no_grad():
        values = torch.linalg.eigvalsh(torch.cov(trunk(raw.test.inputs).T))
    assert f"{float(values[-2:].sum() / values.sum()):.0%}" in picture.says
    for axes in picture.figure.axes:
        assert len(axes.lines) == 2
        assert axes.lines[0].get_ydata()[7] > 0  # at 13:00 on working days: the sign is fixed
    assert not cut_off(picture.figure)


def test_columns_are_read_by_seed():
    rows = rows_of()[::-1]
    assert pictures.values_of(rows, arm="separate") == [1.0, 1.2, 1.1]
    assert pictures.interval_of(rows, "rmse_next_year", arm="together").mean == pytest.approx(1.325)
    saved = pictures.saved(rows)
    assert saved.mean == pytest.approx(25) and saved.high - saved.low < 1e-9


def test_the_contest_draws_each_kind_separate_and_shared():
    rows = rows_of(inputs="plain")
    kinds = {"networks": ["separate", "together"], "fine-tuned": ["together"]}
    picture = pictures.contest(rows, "plain", kinds)
    assert picture.says == ("RMSE, separate to shared: networks 1.10 to 0.82; fine-tuned 0.82.")
    (axes,) = picture.figure.axes
    dots = [group.lines[0] for group in axes.containers]
    assert [dot.get_color() for dot in dots] == [
        pictures.SEPARATE, pictures.SHARED, pictures.SHARED,
    ]  # fmt: skip
    assert [t.get_text() for t in axes.get_yticklabels()] == list(kinds)
    assert not cut_off(picture.figure)


def test_the_hours_dial_says_what_sharing_is_worth():
    rows = [
        {"hours": n, "arm": arm, "seed": seed, "rmse": value + 0.001 * seed}
        for n, apart, joint in ((10, 1.0, 0.81), (20, 0.9, 0.7), (40, 0.8, 0.6))
        for arm, value in (("separate", apart), ("together", joint))
        for seed in range(3)
    ]
    picture = pictures.hours_dial(rows)
    assert picture(10).says.endswith("Separate networks need about 37 hours for that.")
    assert picture(40).says.endswith("Separate networks need more than 40 hours for that.")
    assert not cut_off(picture(10).figure)


@pytest.mark.parametrize(
    ("wanted", "hours"), [(1.0, 10), (0.9, 20), (0.85, math.sqrt(20 * 40)), (0.7, math.inf)]
)
def test_equal_hours(wanted, hours):
    found = pictures.equal_hours(np.log([10.0, 20.0, 40.0]), [1.0, 0.9, 0.8], wanted)
    assert found == pytest.approx(hours)


def test_groups_and_widths():
    groups = [{"size": n, "seed": s, "rmse": 1 / n + 0.01 * s} for n in (1, 2, 20) for s in (0, 1)]
    picture = pictures.group_curve(groups)
    assert picture.says == "RMSE by counters per network: 1: 1.00, 2: 0.51, 20: 0.06."
    widths = [
        {"width": n, "arm": arm, "seed": s, "rmse": value + 0.01 * s}
        for n, value in ((2, 0.9), (64, 0.5))
        for arm in ("separate", "together")
        for s in (0, 1)
    ]
    other = pictures.width_curve(widths)
    assert other.says == "RMSE from 2 to 64 units: separate 0.91 to 0.51, shared 0.91 to 0.51."
    assert not cut_off(picture.figure) and not cut_off(other.figure)


def test_partners_are_compared_with_learning_alone():
    rows = [
        {"setting": name, "seed": s, "rmse": factor * (1 + 0.1 * s)}
        for name, factor in (("alone", 1.0), ("good", 0.9), ("bad", 1.2))
        for s in range(3)
    ]
    assert pictures.change(rows, "bad", "alone").mean == pytest.approx(20)
    picture = pictures.partner_plot(rows, {"good": "good ones", "bad": "bad ones"})
    assert picture.says == "good ones -10 %; bad ones +20 %."
    assert not cut_off(picture.figure)


def test_blocks_add_up():
    diagram = pictures.blocks(shared=100, head=10, tasks=20)
    assert "has 300 parameters; 20 networks have 2200" in diagram.says
    written = [text.get_text() for text in diagram.figure.axes[0].texts]
    assert "300 parameters" in written and "2,200 parameters" in written
    assert not cut_off(diagram.figure)
