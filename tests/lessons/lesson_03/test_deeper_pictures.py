"""The pictures of the notebooks deeper than lesson 03: they show the numbers they say."""

from itertools import pairwise

import pytest
import torch

from mtl_helpers.lessons.lesson_03 import deeper_pictures as pictures
from mtl_helpers.metrics import mean_interval
from mtl_helpers.teaching.figures import cut_off


@pytest.mark.parametrize(("last", "ratio"), [(1, "8.00"), (2, "4.00"), (8, "1.00")])
def test_examples_of_a_short_batch_count_more(last, ratio):
    picture = pictures.weights_of_examples(last)
    assert picture.says.startswith(f"An example of the last batch counts {ratio} times")
    bars = picture.figure.axes[0].patches
    assert sum(bar.get_height() for bar in bars) == pytest.approx(1)
    assert not cut_off(picture.figure)


def test_stitches_show_the_rows_that_were_asked_for():
    rows = [
        {"problem": p, "start": "random", "rate": 1, "history": [[0.1, 0.1], [v + s, v - s]]}
        for p, v in (("near", 0.4), ("far", 0.2))
        for s in (0.0, 0.02, 0.04)
    ]
    draw = pictures.stitches_explorer(rows, every=50)
    assert draw().says.endswith("after 50 steps stage 1 0.42, stage 2 0.38.")
    picture = draw("far", "random", 1)
    assert picture.says.startswith("far, random columns, rate × 1")
    assert not cut_off(picture.figure)


def test_labels_of_gates_do_not_overlap():
    values = torch.linspace(0.7, 0.8, 15).reshape(3, 5)
    picture = pictures.gates_meet({"one": values, "two": values, "three": values + 0.01}, every=20)
    heights = sorted(text.get_position()[1] for text in picture.figure.axes[0].texts)
    assert all(b - a >= 0.0499 for a, b in pairwise(heights))
    assert picture.says.startswith("one 0.74 to 0.76;")
    assert not cut_off(picture.figure)


def test_probes_say_the_means_at_each_place():
    errors = torch.tensor([[0.5, 0.4, 0.2], [0.7, 0.6, 0.4]])
    picture = pictures.probes({"learnt": errors, "random": errors + 0.1})
    assert picture.says == "learnt: 0.60, 0.50, 0.30; random: 0.70, 0.60, 0.40."
    assert not cut_off(picture.figure)


def test_cuts_are_fractions_of_the_last_one():
    stages = {str(k): (16 - 3 * k, 4, 10 * k, 100 * k) for k in range(1, 5)}
    stages["5"] = (1, 8, 100, 400)
    picture = pictures.cuts(dict.fromkeys(("small", "middle", "large"), stages))
    assert "small: 0.10/0.25, 0.20/0.50, 0.30/0.75, 0.40/1.00, 1.00/1.00" in picture.says
    assert not cut_off(picture.figure)


def test_masks_and_pulls_say_their_numbers():
    images = torch.zeros(2, 4, 4)
    picture = pictures.masks(images, {"bright": images + 0.3, "dark": images + 0.6})
    assert picture.says == "2 images; mean of the masks: bright 0.3, dark 0.6."
    assert not cut_off(picture.figure)
    found = {"0.1": mean_interval([-0.03, -0.01]), "1": mean_interval([0.02, 0.04])}
    picture = pictures.pulls({"near": found, "far": found})
    assert picture.says == "near: -0.020, +0.030; far: -0.020, +0.030."
    assert not cut_off(picture.figure)
