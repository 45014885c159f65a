"""The estimate of a notebook's minutes, term by term."""

from __future__ import annotations

import estimate
import mini
import pytest


def exercise(minutes):
    return f"### Exercise 99.1 · Two ●○○ · {minutes} min · fill one line"


@pytest.mark.parametrize(
    ("cell", "minutes"),
    [
        (mini.markdown("word " * 90), 1),
        (mini.markdown("$$ $$ word " * 2), 4 + 6 / 90),
        (mini.markdown("**Predict.** Up?"), 1 + 2 / 90),
        (mini.markdown(exercise(7)), 7 + 13 / 90),
        (mini.markdown("word " * 90, "hint"), 0),
        (mini.markdown("word " * 90, "solution"), 0),
        (mini.markdown("word " * 90, "teacher"), 0),
        (mini.markdown("## References\n\n" + "word " * 90), 0),
        (mini.code("# why\n\n" + "x = 1\n" * 7), 1),
        (mini.code("x = 1\n" * 8, "stub"), 0),
        (mini.code("x = 1\n" * 8, "check"), 0),
        (mini.fold(mini.code("x = 1\n" * 8, "setup")), 0),
        (mini.code("draw()", says="a dot", picture=True), 1 / 8 + 1 / 2),
        ({"cell_type": "markdown", "metadata": {}, "source": ["word "] * 90}, 1),
    ],
)
def test_each_thing_takes_its_time(cell, minutes):
    assert estimate.of_cell(cell).minutes == pytest.approx(minutes)
    assert estimate.of([cell, cell]).minutes == pytest.approx(2 * minutes)


def test_folded_code_is_counted_apart():
    found = estimate.of([mini.fold(mini.code("x = 1\n\ny = 2", "setup")), mini.code("z = 3")])
    assert (found.folded, found.lines) == (2, 1)
