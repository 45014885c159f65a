"""The pictures of lesson 00: they show the numbers they say."""

import itertools

import numpy as np
import pytest
import torch
from matplotlib.patches import FancyBboxPatch

from mtl_helpers.datasets import overlapping_digits
from mtl_helpers.lessons.lesson_00 import pictures
from mtl_helpers.lessons.lesson_00.pictures import readings, two_digits, weight_dial
from mtl_helpers.lessons.lesson_00.streets import few_hours
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
    red = [t.get_text() for t in picture.figure.axes[0].texts if t.get_color() == pictures.RED]
    assert len(red) == sum("(" in text for text in red) == wrong
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
    assert [(x.get_xdata()[0], x.get_ydata()[0]) for x in crosses] == [(0.8, 50), (1.2, 40)]
    alone = weight_dial(ROWS)().figure.axes[0].lines
    assert not [line for line in alone if line.get_marker() == "x"]


def test_two_digits_knows_when_there_is_no_left_digit():
    says = make_two(Oracle(3, 5))(left=3, right=5, left_ink=0.0).says
    assert says.startswith("The left head reads 3 at 100% (there is none). The right")


def test_pairs_show_both_answers():
    data = overlapping_digits(train=16, valid=0, test=0).train
    picture = pictures.pairs(data.inputs, data.targets["left"], data.targets["right"], count=8)
    first = f"{data.targets['left'][0]} {data.targets['right'][0]}"
    assert picture.says.startswith(f"Digits 3 and 8 make a picture. The first 8 pairs: {first}, ")
    assert picture.figure.axes[-1].texts[0].get_text().split() == first.split()
    assert not cut_off(picture.figure)


def test_misread_counts_what_the_pictures_show():
    images = torch.linspace(0, 1, 10, dtype=torch.float64)[:, None, None].expand(10, 8, 8)
    counts = pictures.misread(Oracle(3, 5), images, torch.arange(10), 4)
    assert counts == {"left": 90, "right": 90}
    model = HardSharing.linear(mlp(120, [8]), TASKS).double()
    explorer = two_digits(model, images, torch.arange(10))
    says = [explorer(*divmod(pair, 10), columns_apart=2).says for pair in range(100)]
    lefts = sum("wrong" in text.split("The right head")[0] for text in says)
    assert pictures.misread(model, images, torch.arange(10), 2)["left"] == lefts


def test_by_seed_says_the_paired_difference():
    shared, separate = [0.5, 0.7, 0.6], [1.0, 1.0, 1.0]
    picture = pictures.by_seed(shared, separate, "error", "difference")
    half = 4.3027 * 0.1 / 3**0.5
    low, high = f"{-0.4 - half:+.1f}", f"{-0.4 + half:+.1f}"
    assert picture.says == f"3 seeds. Mean difference -0.4, from {low} to {high}."
    assert not cut_off(picture.figure)
    per_cent = pictures.by_seed([1.0, 1.4], [2.0, 2.0], "error", "change", relative=True)
    assert "Mean difference -40.0 %" in per_cent.says
    joined = [line for line in picture.figure.axes[0].lines if len(line.get_xdata()) == 2]
    assert [tuple(line.get_ydata()) for line in joined] == [(1.0, 0.5), (1.0, 0.7), (1.0, 0.6)]


@pytest.mark.parametrize("name", ["ways_back", "two_orders", "three_sets", "city_network"])
def test_ideas_are_drawn_within_their_frame(name):
    diagram = getattr(pictures, name)()
    assert not cut_off(diagram.figure)
    assert len(diagram.says.split()) > 15
    sizes = [text.get_fontsize() for text in diagram.figure.axes[0].texts]
    assert min(sizes) >= 11


def test_two_heads_counts_the_parameters_of_the_model():
    heads = torch.nn.ModuleDict({name: torch.nn.Linear(5, 10) for name in ("left", "right")})
    model = torch.nn.Module()
    model.trunk, model.heads = torch.nn.Linear(3000, 5), heads
    diagram = pictures.two_heads(model)
    assert "15,005 parameters" in diagram.says and "60 each" in diagram.says
    assert not cut_off(diagram.figure)


def test_gains_by_corner_are_means_over_seeds():
    gains = pictures.gains_by_corner()
    assert gains.shape == (20,)
    assert 0 < gains.min() < gains.max() < 1


def test_shared_better_stands_on_the_side_where_shared_is_better():
    for lower in (True, False):
        axes = pictures.by_seed([1.0, 1.4], [2.0, 2.1], "x", "y", lower=lower).figure.axes[1]
        place = next(t for t in axes.texts if t.get_text() == "shared better")
        assert (place.get_position()[0] < 0.5) == lower


def test_a_cut_branch_is_drawn_broken():
    boxes = pictures.ways_back().figure.findobj(FancyBboxPatch)
    broken = [p for p in boxes if p.get_linestyle() not in ("solid", "-")]
    assert (len(boxes), len(broken)) == (14, 2)  # the right loss and the right head, once


def test_descent_draws_the_bowl_through_the_steps():
    weights = [-1.0, 0.5, 1.5]
    picture = pictures.descent([(w - 2) ** 2 + 1 for w in weights], weights, 0.25)
    assert (
        picture.says == "Learning rate 0.25: w goes from -1.0 to 1.50, the loss from 10.0 to 1.25."
    )
    x, y = picture.figure.axes[0].lines[0].get_data()
    assert np.allclose(y, (x - 2) ** 2 + 1)
    assert not cut_off(picture.figure)


def test_the_slider_stops_at_the_recorded_weights():
    slider = pictures.weight_slider(ROWS)
    assert list(slider.options) == [0.0, 0.5, 1.0] and slider.value == 0.5


def test_single_digits_are_scikit_learns():
    images, classes = pictures.single_digits()
    assert images.shape == (1797, 8, 8) and float(images.max()) == 1
    assert classes[:10].tolist() == list(range(10))


def test_few_hours_are_standardised_labels_and_the_other_hours():
    city = few_hours(seed=3, hours=12)
    assert len(city.counters) == city.people.shape[1] == 20
    labels = [city.only(k)[1] for k in range(20)]
    assert all(tuple(label.shape) == (12, 1) for label in labels)
    assert all(abs(float(label.mean())) < 1e-9 for label in labels)
    assert all(float(label.std()) == pytest.approx(1) for label in labels)
    assert len(city.when) == len(city.test_hours) == len(city.test_people)
    assert (np.diff(city.when) > np.timedelta64(0, "h")).all()
    hour = city.when.astype(int) % 24
    angle = torch.atan2(city.test_hours[:, 0], city.test_hours[:, 1])
    assert torch.equal(((angle * 12 / torch.pi).round() % 24).int(), torch.from_numpy(hour).int())


def test_errors_are_those_of_the_logarithm():
    city = few_hours(seed=0)
    truth = (city.test_people - city.mean) / city.sd
    assert torch.allclose(city.errors(truth.nan_to_num(0)), torch.zeros(20, dtype=truth.dtype))
    off = city.errors((truth + 1 / city.sd).nan_to_num(0))
    assert torch.allclose(off, torch.ones(20, dtype=truth.dtype))


def test_a_week_says_how_far_each_network_is_off():
    city = few_hours(seed=0)
    truth = ((city.test_people - city.mean) / city.sd).nan_to_num(0)
    picture = pictures.week(city, truth, truth + 2 / city.sd, "30 Queen Street", "2023-05-08")
    assert "its own network is off by 2.0, the one with the shared trunk by 0.0" in picture.says
    assert not cut_off(picture.figure)
