"""The pictures of the notebooks deeper than lesson 01: they show the numbers they say."""

import pytest
import torch

from mtl_helpers.datasets import MultiTaskData
from mtl_helpers.datasets.shapes import shapes
from mtl_helpers.lessons.lesson_01 import deeper_pictures as pictures
from mtl_helpers.metrics import box_iou, mean_interval, paired_interval
from mtl_helpers.teaching.explore import Explorer
from mtl_helpers.teaching.figures import cut_off


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.2, 0.4, 0.5])
def test_a_shifted_box_has_the_iou_and_the_loss_it_says(shift):
    true = torch.tensor([[0.4, 0.5, 0.4, 0.4]], dtype=torch.float64)
    found = true + torch.tensor([shift, 0, 0, 0])
    iou = float(box_iou(found, true))
    loss = float(torch.nn.functional.smooth_l1_loss(found, true, beta=0.1))
    picture = pictures.shifted_box(shift)
    assert picture.says == f"Moved by {shift:.2f}: IoU {iou:.2f}, smooth L1 loss {loss:.3f}."
    assert not cut_off(picture.figure)


def test_weight_dial_shows_paired_differences():
    rows = [
        {"arm": f"together, box x {w}", "class": 0.9 - w / 100 + s, "box": 0.5 + w / 100 + s}
        for w in (1, 10)
        for s in (0.0, 0.1, 0.3)
    ]
    rows.append({"arm": "box alone", "box": 0.9})
    alone = {"class": [0.9, 1.0, 1.2], "box": [0.7, 0.8, 1.0]}
    picture = pictures.weight_dial(rows, alone)
    assert picture.says == "For × 1, × 10: class: accuracy -0.01, -0.10; box: IoU -0.19, -0.10."
    assert not cut_off(picture.figure)


def test_dial_draws_each_interval():
    curves = {"few": [mean_interval([1.0, 3.0])], "many": [paired_interval([1.0, 2.0], [2.0, 4.0])]}
    picture = pictures.dial(curves, [7], "dial", "value")
    assert picture.says == "For 7: few +2.00; many -1.50."
    bars = picture.figure.axes[0].containers[0].lines[2][0].get_segments()[0]
    assert bars[:, 1].tolist() == pytest.approx([curves["few"][0].low, curves["few"][0].high])


def test_loudness_counts_the_runs_in_which_the_box_is_louder():
    picture = pictures.loudness(torch.tensor([[2.0, 0.5], [1.5, 1.2], [0.9, 0.2]]))
    assert picture.says.endswith("by epoch: [2, 1].")
    assert not cut_off(picture.figure)


def test_the_diagram_of_the_family_fits():
    diagram = pictures.family_tree()
    drawn = {text.get_text() for text in diagram.figure.axes[0].texts}
    assert {"8 relatives", "1 stranger", "the shared feature", "another feature"} <= drawn
    assert not cut_off(diagram.figure)


def test_the_explorers_draw_at_their_ends():
    for explorer, values in (
        (pictures.shifted_box_explorer(), {"shift": 0.5}),
        (pictures.gain_explorer(), {"relatedness": 0.0, "examples": 640}),
    ):
        assert isinstance(explorer, Explorer)
        assert not cut_off(explorer.redraw(**values).figure)


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
