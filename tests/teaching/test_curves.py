"""Marks with names, dots with intervals, and curves that are named at their ends."""

import pytest
import torch

from mtl_helpers.metrics import Interval
from mtl_helpers.teaching.curves import curves
from mtl_helpers.teaching.figures import cut_off, name_mark, new_figure, whisker


@pytest.mark.parametrize(
    ("away", "sides"), [((5, 5), ("left", "bottom")), ((-5, -5), ("right", "top"))]
)
def test_a_name_stands_on_the_side_it_is_sent_to(away, sides):
    _, axes = new_figure()
    name_mark(axes, "start", (0.5, 0.5), away, "red")
    (text,) = axes.texts
    assert (text.get_ha(), text.get_va()) == sides
    assert text.xy == (0.5, 0.5) and text.get_text() == "start" and text.get_color() == "red"


@pytest.mark.parametrize("across", [False, True])
def test_a_whisker_reaches_from_end_to_end(across):
    _, axes = new_figure()
    whisker(axes, 4, Interval(1.0, 0.5, 3.0, "by hand"), across=across, color="black")
    dot = axes.lines[0].get_xydata()[0].tolist()
    assert dot == ([1, 4] if across else [4, 1])
    (line,) = axes.collections[0].get_segments()
    values = line[:, 0 if across else 1]
    assert [values.min(), values.max()] == [0.5, 3]


def test_curves_are_named_at_their_ends_and_say_where_they_are_lowest():
    values = torch.tensor([[3.0, 1.0, 2.0], [3.2, 1.2, 2.2]])
    lines = {"task_1": values, "task_2": values + 0.1}
    picture = curves([1, 10, 100], lines, x_label="strength", y_label="error", log=True)
    assert not cut_off(picture.figure)
    assert picture.says == "task_1 lowest at 10 (1.10); task_2 lowest at 10 (1.20)."
    (axes,) = picture.figure.axes
    heights = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert abs(heights["task_1"] - heights["task_2"]) > 0.08  # the names do not overlap
