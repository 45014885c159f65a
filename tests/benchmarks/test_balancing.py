"""What gradient methods cost, as ratios within one run: a step, and the aggregation alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from mtl_helpers.balancing.gradients import METHODS
from mtl_helpers.lessons.lesson_04.studies import aggregation_functions, step_functions, time_ratios


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("tasks", [4, 8, 16])
def test_per_task_gradients_are_no_slower_than_torchjd_and_cheap_at_the_features(
    tasks, two_threads
):
    pytest.importorskip("torchjd")
    ratios = time_ratios(step_functions(tasks), "joint", rounds=25)
    print(f"{tasks} tasks, times the joint step:", {k: round(v, 2) for k, v in ratios.items()})
    assert ratios["loop"] <= ratios["torchjd"]
    assert ratios["loop"] <= ratios["K passes"]
    assert ratios["features"] <= 1.1


def test_every_aggregation_takes_at_most_three_products(two_threads):
    ratios = time_ratios(aggregation_functions(), "product", rounds=25)
    print("times one product of K x P by P x K:", {k: round(v, 2) for k, v in ratios.items()})
    assert set(ratios) == {"product", *METHODS}
    slow = {name: round(ratio, 2) for name, ratio in ratios.items() if ratio > 3}
    assert not slow
