"""The pictures of lesson 01: they show the numbers they say, and draw at every corner."""

import pytest
import torch

from mtl_helpers.datasets import MultiTaskData
from mtl_helpers.datasets.shapes import shapes
from mtl_helpers.lessons.lesson_01 import pictures as pictures
from mtl_helpers.metrics import mean_interval
from mtl_helpers.teaching.figures import cut_off


def test_settings_show_every_setting():
    picture = pictures.settings()
    drawn = {text.get_text() for text in picture.figure.axes[0].texts}
    assert set(pictures.SETTINGS) <= drawn
    assert not cut_off(picture.figure)


class Found(torch.nn.Module):
    """Gives the boxes and classes it was told."""

    def __init__(self, boxes, classes):
        super().__init__()
        self.boxes, self.classes = boxes, torch.eye(3)[classes]

    def forward(self, images):
        return {"box": self.boxes[: len(images)], "class": self.classes[: len(images)]}


def test_boxes_are_drawn_where_they_are():
    data = shapes(train=0, valid=0, test=4).test
    wrong = (data.targets["class"] + torch.tensor([0, 1, 0, 0])) % 3
    moved = data.targets["box"] * torch.tensor([1.0, 1.0, 0.5, 1.0])
    picture = pictures.boxes_and_classes(Found(moved, wrong), data, count=4)
    assert picture.says == "4 test images: wrong classes: 1; mean IoU 0.50."
    frames = [p.get_bbox() for p in picture.figure.axes[0].patches]
    assert len(frames) == 8
    cx, cy, wide, high = (24 * data.targets["box"][0]).tolist()
    assert frames[0].bounds == pytest.approx((cx - wide / 2, cy - high / 2, wide, high))
    assert frames[1].width == pytest.approx(wide / 2)
    assert sum("*" in text.get_text() for text in picture.figure.axes[0].texts) == 1
    assert not cut_off(picture.figure)


ROWS = [
    {"examples": n, "relatedness": r, "gain": 10 * r - 5 + d}
    for n in (10, 20)
    for r in (0.0, 0.5, 1.0)
    for d in (-0.1, 0.0, 0.1)
]


@pytest.mark.parametrize(
    ("relatedness", "verdict"), [(0.0, "hurts"), (0.5, "is not settled"), (1.0, "helps")]
)
def test_gain_dial_says_what_the_interval_allows(relatedness, verdict):
    picture = pictures.gain_dial(ROWS)(relatedness, 20)
    mean = 10 * relatedness - 5
    assert f"saves {mean:+.1f} [" in picture.says
    assert picture.says.endswith(f"it {verdict}.")
    assert not cut_off(picture.figure)


def test_gain_dial_draws_the_live_point_on_its_own_curve_only():
    live = (20, 1.0, mean_interval([4.0, 5.0, 6.0]))
    drawn = [len(pictures.gain_dial(ROWS, live)(r, 10).figure.axes[0].containers) for r in (0, 1)]
    assert drawn == [0, 1]


def test_growing_feature_shows_each_moment():
    grid = torch.linspace(-2, 2, 5)
    film = [
        pictures.Snapshot(
            step, grid, step * grid, {"few": grid, "many": -grid}, {"few": 1.5, "many": step}
        )
        for step in (0, 7)
    ]
    data = MultiTaskData(grid[:, None], {"few": grid, "many": -grid})
    draw = pictures.growing_feature(film, data)
    assert draw(1).says == "After 7 steps the mean squared errors are: few 1.500, many 7.000."
    assert draw(1).figure.axes[0].lines[0].get_ydata() == pytest.approx((7 * grid).tolist())
    assert not cut_off(draw(0).figure)


def test_matrix_writes_its_numbers_and_leaves_missing_ones_out():
    values = torch.tensor([[float("nan"), 1.25], [-2.0, float("nan")]])
    figure = pictures.matrix(values, ["1", "2"], "partner", "target", "said").figure
    assert sorted(t.get_text() for t in figure.axes[0].texts) == ["+1.2", "-2.0"]
    assert not cut_off(figure)
