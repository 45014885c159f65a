"""Figures: one style, the same bytes for the same figure, labels that fit."""

from __future__ import annotations

import io
import itertools

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot
from matplotlib.colors import to_rgb
from PIL import Image

from mtl_helpers.teaching import figures
from mtl_helpers.teaching.figures import (
    band,
    bars_with_intervals,
    cut_off,
    digits_grid,
    interval_plot,
    label,
    learning_curves,
    new_figure,
    png,
    task_style,
)

FAMILIES = [
    ("left", "right"),
    ("class", "box", "mask", "keypoints"),
    ("intent", "slots", "topic", "sentiment", "entities"),
    ("digit", "speaker", "emotion"),
    ("click", "conversion"),
    ("foreground", "boundary", "distance", "count", "modality"),
    ("multi-task", "single-task", "sum"),
    tuple(f"task {number}" for number in range(7)),
]
INTERVALS = {"left": (1.0, 0.4, 2.0), "right": (-0.8, -1.9, 0.3), "a longer name": (3, 2.5, 3.5)}


def pixels(figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png(figure))))


def holds_colour(figure, colour: str) -> bool:
    wanted = np.round(np.array(to_rgb(colour)) * 255)
    return bool((np.abs(pixels(figure) - wanted) <= 1).all(axis=-1).any())


def example(columns: int = 1):
    figure, axes = new_figure(columns)
    for one in np.atleast_1d(np.array(axes, dtype=object)):
        one.plot([0, 1], [0, 1], label="left", **task_style("left"))
        label(one, "share of the left task", "loss (nats)", "A title")
        one.legend(frameon=False)
    return figure


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family[0])
def test_tasks_that_share_a_picture_differ_in_colour_and_in_marker(family):
    styles = [task_style(name) for name in family]
    assert len({style["color"] for style in styles}) == len(family)
    assert len({style["marker"] for style in styles}) == len(family)
    assert all(a["linestyle"] != b["linestyle"] for a, b in itertools.pairwise(styles))


def test_the_first_two_tasks_keep_the_colours_every_lesson_tells_of():
    assert task_style("left")["color"] == "#0072B2"
    assert task_style("right")["color"] == "#D55E00"


def test_an_unknown_task_has_the_same_style_in_every_process():
    # hash() of a string differs from process to process; this number must not.
    assert task_style("weather") == {"color": "#E69F00", "marker": "X", "linestyle": "dotted"}


@given(st.text())
def test_any_name_has_a_style_that_matplotlib_takes(name):
    style = task_style(name)
    assert style == task_style(name)
    matplotlib.lines.Line2D([0], [0], **style)


def test_every_colour_is_dark_enough_to_be_seen_on_white():
    for colour in figures._COLOURS:
        assert sum(to_rgb(colour)) / 3 < 0.66, colour


def test_the_same_figure_gives_the_same_bytes_without_a_name_of_the_software():
    first, second = png(example()), png(example())
    assert first == second
    picture = Image.open(io.BytesIO(first))
    assert picture.format == "PNG"
    assert "Software" not in picture.info
    assert picture.size == (616, 363)


def test_png_closes_a_figure_of_pyplot_and_only_that():
    with matplotlib.rc_context({"backend": "agg"}):
        kept, shown = pyplot.figure(), pyplot.figure()
        assert png(shown)
        assert pyplot.get_fignums() == [kept.number]
        pyplot.close(kept)


def test_a_new_figure_touches_neither_pyplot_nor_the_settings():
    before = dict(matplotlib.rcParams)
    numbers = pyplot.get_fignums()
    png(example(2))
    assert pyplot.get_fignums() == numbers
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("columns", [1, 2])
def test_labels_and_ticks_fit_into_the_fixed_margins(columns):
    figure = example(columns)
    assert len(figure.axes) == columns
    for axes in figure.axes:
        axes.set_ylim(-100.25, 100.25)
    assert cut_off(figure) == []


def test_the_label_of_the_second_column_does_not_touch_the_first():
    figure = example(2)
    png(figure)
    left, right = (axes.get_tightbbox() for axes in figure.axes)
    assert left.x1 < right.x0


@pytest.mark.parametrize("columns", [0, 3])
def test_more_than_two_columns_are_refused(columns):
    with pytest.raises(ValueError, match=f"columns is {columns}.*two figures"):
        new_figure(columns)


@pytest.mark.parametrize(
    ("place", "side"),
    [((-0.5, 0.5), "left"), ((1.1, 0.5), "right"), ((0.5, 1.3), "top"), ((0.5, -0.5), "bottom")],
)
def test_a_text_outside_the_figure_is_reported(place, side):
    figure, axes = new_figure()
    axes.text(*place, "lost", transform=axes.transAxes)
    assert side in cut_off(figure)


@pytest.mark.parametrize("form", ["tensor", "array", "with a channel"])
def test_digits_grid_draws_each_image_in_its_place(form):
    images = torch.zeros(3, 4, 4, dtype=torch.float64)
    images[1] = 1.0
    images = {"array": images.numpy(), "with a channel": images[:, None]}.get(form, images)
    figure = digits_grid(images, columns=3)
    grey = pixels(figure).mean(axis=-1)
    height, width = grey.shape
    seen = [grey[height // 2, int(width * (i + 0.5) / 3)] for i in range(3)]
    assert seen == [0, 255, 0]


def test_digits_grid_puts_a_caption_under_each_image_and_starts_new_rows():
    figure = digits_grid(torch.rand(5, 8, 8), [f"digit {i}" for i in range(5)], columns=3)
    texts = figure.axes[0].texts
    assert [text.get_text() for text in texts] == [f"digit {i}" for i in range(5)]
    first, fourth = texts[0].get_position(), texts[3].get_position()
    assert first[0] == fourth[0]
    assert first[1] < fourth[1]
    assert cut_off(figure) == []


def test_digits_grid_does_not_stretch_the_greys():
    figure = digits_grid(np.full((1, 4, 4), 0.5))
    grey = pixels(figure)
    assert grey[grey.shape[0] // 2, grey.shape[1] // 2, 0] in (127, 128)


@pytest.mark.parametrize(
    ("images", "captions", "found"),
    [
        (np.zeros((4, 4)), (), r"\[4, 4\]"),
        (np.zeros((2, 3, 4, 4)), (), r"\[2, 3, 4, 4\]"),
        (np.zeros((0, 4, 4)), (), r"\[0, 4, 4\]"),
        (np.zeros((2, 4, 4)), ["one"], "1 captions for 2 images"),
    ],
)
def test_digits_grid_says_what_it_found(images, captions, found):
    with pytest.raises(ValueError, match=found):
        digits_grid(images, captions)


def test_learning_curves_count_epochs_from_one_and_carry_the_style_of_the_task():
    figure = learning_curves({"left": [3.0, 2.0, 1.0], "right": [2.0]}, y="loss (nats)")
    left, right = figure.axes[0].lines
    assert list(left.get_xdata()) == [1, 2, 3]
    assert list(left.get_ydata()) == [3.0, 2.0, 1.0]
    assert (left.get_color(), right.get_color()) == ("#0072B2", "#D55E00")
    assert left.get_linestyle() != right.get_linestyle()
    assert [text.get_text() for text in figure.axes[0].get_legend().texts] == ["left", "right"]
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("epoch", "loss (nats)")


@pytest.mark.parametrize("curves", [{}, {"left": []}])
def test_learning_curves_without_a_value_are_refused(curves):
    with pytest.raises(ValueError, match="at least one curve"):
        learning_curves(curves)


def test_band_shades_from_low_to_high_in_the_colour_of_the_line():
    figure, axes = new_figure()
    band(axes, [0, 1], [1, 2], [0.5, 1.5], [1.5, 2.5], "right", marker="")
    [shade], [line] = axes.collections, axes.lines
    assert shade.get_paths()[0].get_extents().extents.tolist() == [0, 0.5, 1, 2.5]
    assert tuple(shade.get_facecolor()[0][:3]) == to_rgb(line.get_color()) == to_rgb("#D55E00")
    assert line.get_label() == "right"
    assert line.get_marker() == ""
    assert figure is axes.figure


def test_interval_plot_has_a_row_a_name_with_the_first_at_the_top():
    figure = interval_plot(INTERVALS, x="gain (%)", reference=0.0)
    [axes] = figure.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(INTERVALS)
    assert axes.yaxis_inverted()
    ends = [bar.get_segments()[0][:, 0].tolist() for bar in axes.collections]
    assert np.allclose(ends, [(0.4, 2.0), (-1.9, 0.3), (2.5, 3.5)])
    assert axes.lines[0].get_xdata() == [0.0, 0.0]
    assert cut_off(figure) == []


def test_bars_with_intervals_start_at_zero_and_end_at_the_mean():
    figure = bars_with_intervals(INTERVALS, y="gain (%)")
    [axes] = figure.axes
    assert [(bar.get_y(), bar.get_height()) for bar in axes.patches] == [
        (0, 1.0),
        (0, -0.8),
        (0, 3),
    ]
    ends = [segment[:, 1].tolist() for segment in axes.collections[0].get_segments()]
    assert np.allclose(ends, [(0.4, 2.0), (-1.9, 0.3), (2.5, 3.5)])
    assert holds_colour(figure, "#0072B2")
    assert cut_off(figure) == []


@pytest.mark.parametrize("draw", [interval_plot, bars_with_intervals])
def test_an_interval_that_misses_its_mean_is_refused(draw):
    with pytest.raises(ValueError, match="'left' is mean 1, low 2, high 3"):
        draw({"left": (1, 2, 3)})
    with pytest.raises(ValueError, match="at least one"):
        draw({})


@pytest.mark.parametrize(
    "draw",
    [
        lambda axes: digits_grid(np.zeros((1, 4, 4)), axes=axes),
        lambda axes: learning_curves({"left": [1.0]}, axes=axes),
        lambda axes: interval_plot(INTERVALS, axes=axes),
        lambda axes: bars_with_intervals(INTERVALS, axes=axes),
    ],
)
def test_a_figure_function_draws_on_axes_it_is_given(draw):
    figure, (left, right) = new_figure(2)
    assert draw(right) is figure
    assert right.has_data()
    assert not left.has_data()
