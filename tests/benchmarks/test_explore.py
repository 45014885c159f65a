"""How long a redraw takes: a slider that moves faster than its picture feels broken.

Measured in processor time. On a machine with nothing else to do that is the time on the clock, and
a busy neighbour does not make the test fail.
"""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from mtl_helpers.teaching.explore import Explorer, Picture
from mtl_helpers.teaching.figures import label, new_figure, task_style

LIMIT = 0.100  # seconds a redraw at the median
SHARES = np.linspace(0, 1, 200)


def losses(columns: int, weight: float) -> Picture:
    """Two curves with markers, all labels and a legend on each of one or two axes."""
    figure, axes = new_figure(columns)
    for one in [axes] if columns == 1 else axes:
        for name, curve in (("left", weight * SHARES**2), ("right", (1 - weight) * SHARES)):
            one.plot(SHARES, curve, label=name, markevery=25, **task_style(name))
        label(one, "share of the left task", "loss (nats)", "Two losses")
        one.legend(loc="upper left", frameon=False)
    return Picture(figure, f"At share 1 the left loss is {weight:.2f} nats.")


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("columns", [1, 2])
def test_a_redraw_takes_at_most_a_tenth_of_a_second(benchmark, columns):
    explorer = Explorer(lambda weight: losses(columns, weight), weight=(0, 1, 0.01))
    weights = itertools.cycle([0.13, 0.86, 0.42, 0.97, 0.05])
    benchmark.pedantic(lambda: explorer.redraw(weight=next(weights)), rounds=50, warmup_rounds=5)
    assert benchmark.stats.stats.median <= LIMIT
