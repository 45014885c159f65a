"""The pictures of lesson 00: they show the numbers they say."""

import itertools

import pytest
import torch

from mtl_helpers.datasets import overlapping_digits
from mtl_helpers.lessons.lesson_00.pictures import readings, two_digits, weight_dial
from mtl_helpers.models import HardSharing, mlp
from mtl_helpers.tasks import classification
from mtl_helpers.teaching.figures import cut_off

TASKS = [classification("left", 10), classification("right", 10)]


class Oracle(torch.nn.Module):
    """Says the first digit on the left and the second on the right, whatever it sees."""

    def __init__(self, left, right):
        super().__init__()
        self.says = {"left": left, "right": right}

    def forward(self, images):
        rows = torch.eye(10, dtype=torch.float64) * 9
        return {name: rows[digit].expand(len(images), 10) for name, digit in self.says.items()}


def make_two(model):
    images = torch.linspace(0, 1, 10, dtype=torch.float64)[:, None, None].expand(10, 8, 8)
    return two_digits(model, images, torch.arange(10))


def test_readings_count_and_mark_mistakes():
    data = overlapping_digits(train=0, valid=0, test=8).test
    truth = data.targets["left"][:8]
    picture = readings(Oracle(int(truth[0]), 0), data, count=8)
    wrong = int((truth != truth[0]).sum() + (data.targets["right"][:8] != 0).sum())
    assert picture.says == f"8 test pictures, 16 digits to read, {wrong} read wrongly."
    captions = [t.get_text() for t in picture.figure.axes[0].texts]
    assert sum(c.count("*") for c in captions) == wrong
    assert not cut_off(picture.figure)


def test_two_digits_says_what_the_heads_read():
    says = make_two(Oracle(3, 5))(left=3, right=8).says
    assert says == (
        "The left head reads 3 at 100% (correct). The right head reads 5 at 100% (wrong: it is 8)."
    )


def test_two_digits_fades_the_left_one_only_and_moves_the_right_one():
    def shown(**values):
        return make_two(Oracle(0, 0))(**values).figure.axes[0].images[0].get_array()

    full = shown(left=9, right=3)
    assert full.shape == (10, 12)
    assert full[0, 0] == 1 and full[9, 11] == pytest.approx(3 / 9)
    faded = shown(left=9, right=3, left_ink=0.0)
    assert faded[0, 0] == 0 and faded[9, 11] == pytest.approx(3 / 9)
    together = shown(left=9, right=3, left_ink=0.0, columns_apart=0)
    assert together[9, 0] == pytest.approx(3 / 9) and together[9, 11] == 0


def test_two_digits_draws_at_every_corner():
    model = HardSharing.linear(mlp(120, [8]), TASKS)
    for corner in itertools.product((0, 9), (0, 9), (0.0, 1.0), (0, 4)):
        assert not cut_off(make_two(model)(*corner).figure)


ROWS = [
    {"weight": w, "seed": seed, "left": 0.9 * w + d, "right": 0.9 - 0.9 * w + d}
    for w in (0.0, 0.5, 1.0)
    for seed, d in enumerate((0.0, 0.01, 0.02))
]


def test_weight_dial_says_the_recorded_numbers_and_draws_the_live_ones():
    for weight in (0.0, 0.5, 1.0):
        picture = weight_dial(ROWS, live={"left": 0.5, "right": 0.4})(weight)
        assert not cut_off(picture.figure)
    half = 4.3027 * 0.01 / 3**0.5  # Student's t for two degrees of freedom
    low, high = f"{0.46 - half:.1%}", f"{0.46 + half:.1%}"
    said = weight_dial(ROWS)(0.5).says
    assert said == (
        f"Left weight 0.5: left digit 46.0% [{low}, {high}], right digit 46.0% [{low}, {high}]."
    )
    crosses = [line for line in picture.figure.axes[0].lines if line.get_marker() == "x"]
    assert [(x.get_xdata()[0], x.get_ydata()[0]) for x in crosses] == [(1, 0.5), (1, 0.4)]
    alone = weight_dial(ROWS)().figure.axes[0].lines
    assert not [line for line in alone if line.get_marker() == "x"]


def test_two_digits_knows_when_there_is_no_left_digit():
    says = make_two(Oracle(3, 5))(left=3, right=5, left_ink=0.0).says
    assert says.startswith("The left head reads 3 at 100% (there is none). The right")
