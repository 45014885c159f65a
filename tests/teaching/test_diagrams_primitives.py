"""Boxes, arrows and ideas: what they say is computed from what they draw."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
import pytest
from matplotlib.patches import FancyBboxPatch, Polygon, Rectangle, Wedge

from mtl_helpers.teaching.diagrams import (
    Diagram,
    arrow,
    box,
    canvas,
    overlap,
    split,
    stack,
    wedge,
    write,
)
from mtl_helpers.teaching.diagrams.primitives import text_width, wrap
from mtl_helpers.teaching.figures import cut_off, task_style


def patches(axes, kind):
    return [patch for patch in axes.patches if isinstance(patch, kind)]


def test_a_canvas_counts_in_points_of_a_picture_640_pixels_wide():
    figure, axes = canvas(120)
    assert figure.get_size_inches() * 96 == pytest.approx([640, 160])
    assert axes.get_xlim() == (0, 480) and axes.get_ylim() == (0, 120)


@pytest.mark.parametrize("size", [9.5, 11.0])
def test_text_is_as_wide_as_measured(size):
    figure, axes = canvas(60)
    write(axes, 200, 30, "Conv 3×3, 16 + ReLU", size=size)
    extent = axes.texts[0].get_window_extent(figure.canvas.get_renderer())
    assert extent.width * 72 / figure.dpi == pytest.approx(
        text_width("Conv 3×3, 16 + ReLU", size), rel=0.02
    )


def test_lines_break_after_a_colon_before_a_plus_and_in_long_words_last():
    assert wrap("one line", 200) == ["one line"]
    assert wrap("2 experts: Linear 16 + ReLU", 110) == ["2 experts:", "Linear 16 + ReLU"]
    assert wrap("2 experts: Linear 16 + ReLU", 70) == ["2 experts:", "Linear 16", "+ ReLU"]
    for text in ("unbelievablylongname loss", "a b c d e f g h"):
        lines = wrap(text, 60)
        assert all(text_width(line) <= 60 for line in lines)
        assert "".join(lines).replace("-", "").replace(" ", "") == text.replace(" ", "")


def test_a_box_has_its_task_s_colours_and_as_many_cards_as_can_be_seen():
    figure, axes = canvas(100)
    box(axes, (100, 50, 80, 40), ["head", "10"], task="left")
    box(axes, (300, 50, 80, 40), cards=9)
    first, *cards = patches(axes, FancyBboxPatch)
    assert first.get_edgecolor()[:3] == matplotlib.colors.to_rgb(task_style("left")["color"])
    extent = first.get_window_extent().extents * 72 / figure.dpi
    assert extent == pytest.approx([60, 30, 140, 70], abs=0.1)
    assert len(cards) == 4
    fill = cards[-1].get_facecolor()
    assert fill[0] == fill[1] == fill[2]
    assert [text.get_text() for text in axes.texts] == ["head", "10"]


@pytest.mark.parametrize("heads", [0, 1, 2])
@pytest.mark.parametrize("broken", [False, True])
def test_an_arrow_s_tip_is_where_it_was_sent(heads, broken):
    _, axes = canvas(100)
    arrow(axes, [(10, 10), (10, 50), (90, 50)], heads=heads, broken=broken)
    tips = [tuple(patch.get_xy()[0]) for patch in patches(axes, Polygon)]
    assert tips == [(90, 50), (10, 10)][:heads]
    (line,) = axes.lines
    assert line.is_dashed() == broken


def test_a_stack_says_its_shape():
    _, axes = canvas(150)
    assert stack(axes, 100, 80, (1, 10, 20)) == "A tensor of 1 channel of 10 × 20."
    front = patches(axes, FancyBboxPatch)[-1].get_window_extent()
    assert front.width == pytest.approx(2 * front.height, rel=0.01)
    assert "3 channels" in stack(axes, 300, 80, (3, 8, 8))
    assert len(patches(axes, FancyBboxPatch)) == 1 + 3
    assert [text.get_text() for text in axes.texts] == ["1 × 10 × 20", "3 × 8 × 8"]


@pytest.mark.parametrize(
    "second, iou",
    [
        ((0, 0, 10, 10), 1.0),
        ((5, 0, 15, 10), 1 / 3),
        ((5, 5, 15, 15), 25 / 175),
        ((20, 20, 30, 30), 0),
    ],
)
def test_the_overlap_is_measured(second, iou):
    _, axes = canvas(200)
    scaled = [10 * side + 20 for side in second]
    said = overlap(axes, (20, 20, 120, 120), scaled)
    assert said.endswith(f"IoU {iou:.2f}.")
    shaded = [patch for patch in patches(axes, Rectangle) if patch.get_hatch()]
    assert len(shaded) == (iou > 0)
    if iou:
        areas = [p.get_width() * p.get_height() for p in patches(axes, Rectangle)]
        assert areas[2] / (areas[0] + areas[1] - areas[2]) == pytest.approx(iou)
        assert f"IoU {iou:.2f}" in [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("seed", range(20))
def test_in_the_wedge_no_loss_rises_and_beyond_it_one_does(seed):
    grads = np.random.default_rng(seed).normal(size=(1 + seed % 4, 2))
    _, axes = canvas(250)
    said = wedge(axes, 240, 120, {f"task {i}": grad for i, grad in enumerate(grads)})
    ways = [np.array([math.cos(a), math.sin(a)]) for a in np.radians(np.arange(0.25, 360, 0.5))]
    fine = [bool((grads @ way <= 0).all()) for way in ways]
    found = patches(axes, Wedge)
    assert bool(found) == any(fine) or sum(fine) <= 1
    for patch in found:
        opening = patch.theta2 - patch.theta1
        assert sum(fine) / 2 == pytest.approx(opening, abs=0.51)
        assert f"{opening:.0f} degrees" in said
        for angle, ok in ((0.5, True), (-0.02, False), (1.02, False)):
            at = math.radians(patch.theta1 + angle * opening)
            rises = (grads @ [math.cos(at), math.sin(at)] > 1e-9).any()
            assert rises != ok or opening < 1


def test_steps_that_fight_leave_no_wedge():
    _, axes = canvas(250)
    said = wedge(axes, 240, 120, {"left": (1, 0), "right": (-1, 0)})
    assert not patches(axes, Wedge) and "0 degrees" in said


def test_a_split_keeps_groups_whole_and_counts_them():
    figure, axes = canvas(120)
    groups = {"slide A": 6, "slide B": 9, "slide C": 4}
    parts = {"slide A": "train", "slide B": "train", "slide C": "test"}
    said = split(axes, 10, 110, groups, parts)
    assert said == (
        "Whole groups go into one part: 15 examples of 2 groups in train, "
        "4 examples of 1 group in test."
    )
    fills = [patch.get_facecolor() for patch in patches(axes, FancyBboxPatch)]
    assert [fills.count(fill) for fill in dict.fromkeys(fills)] == [15, 4]
    assert cut_off(figure) == []


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda axes: overlap(axes, (0, 0, 5, 5), (9, 0, 3, 5)), "left < right"),
        (lambda axes: wedge(axes, 0, 0, {}), "for each task"),
        (lambda axes: wedge(axes, 0, 0, {"left": (0, 0)}), "not both 0"),
        (lambda axes: wedge(axes, 0, 0, {"left": (1, 0, 0)}), "two numbers"),
        (lambda axes: split(axes, 0, 0, {"a": 1}, {}), r"no part is given for \['a'\]"),
    ],
)
def test_what_cannot_be_drawn_says_what_was_expected(call, said):
    with pytest.raises(ValueError, match=said):
        call(canvas(100)[1])


def test_an_idea_becomes_a_diagram_that_is_the_same_to_the_byte():
    def idea():
        figure, axes = canvas(200)
        return Diagram(figure, overlap(axes, (20, 20, 120, 120), (60, 60, 180, 160)))

    assert idea().png == idea().png
    assert idea().text.startswith("The boxes found and true share")
    data, _ = idea()._repr_mimebundle_()
    assert data["text/plain"] == idea().text and data["image/png"]
