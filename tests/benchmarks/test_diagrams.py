"""How long a network takes to be described, drawn and packed as PNG.

Measured in processor time. On a machine with nothing else to do that is the time on the clock, and
a busy neighbour does not make the test fail.
"""

from __future__ import annotations

import time

import pytest
import torch

from mtl_helpers.case_study.model import NAMES, NucleiNet
from mtl_helpers.models import MTAN, PLE, HardSharing, small_cnn
from mtl_helpers.tasks import classification, regression
from mtl_helpers.teaching.diagrams import network

LIMIT = 0.300  # seconds a picture at the median
SIDES = [classification("left", 10), classification("right", 10)]
THREE = [regression(f"task {number}") for number in range(3)]
MODELS = {
    "hard sharing": (lambda: HardSharing.linear(small_cnn((1, 10, 12)), SIDES), (8, 1, 10, 12)),
    "PLE": (lambda: PLE(16, THREE), (8, 16)),
    "MTAN": (lambda: MTAN((1, 10, 12), SIDES), (8, 1, 10, 12)),
    "U-Net": (lambda: NucleiNet(NAMES), (2, 3, 64, 64)),
}


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("kind", MODELS)
def test_a_network_is_drawn_in_at_most_three_tenths_of_a_second(benchmark, kind):
    make, shape = MODELS[kind]
    model = make()
    x = torch.randn(shape, dtype=next(model.parameters()).dtype)
    task = model.task_names[0]
    benchmark.pedantic(lambda: network(model, x, gradients=task).png, rounds=9, warmup_rounds=2)
    print(f"{kind}: {benchmark.stats.stats.median:.3f} s")
    assert benchmark.stats.stats.median <= LIMIT
