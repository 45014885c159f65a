"""The pictures of the notebooks deeper than lesson 03: they show the numbers they say."""

import pytest

from mtl_helpers.lessons.lesson_03 import deeper_pictures as pictures
from mtl_helpers.teaching.figures import cut_off


@pytest.mark.parametrize(("last", "ratio"), [(1, "8.00"), (2, "4.00"), (8, "1.00")])
def test_examples_of_a_short_batch_count_more(last, ratio):
    picture = pictures.weights_of_examples(last)
    assert picture.says.startswith(f"An example of the last batch counts {ratio} times")
    bars = picture.figure.axes[0].patches
    assert sum(bar.get_height() for bar in bars) == pytest.approx(1)
    assert not cut_off(picture.figure)
