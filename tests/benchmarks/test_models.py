"""What each way of sharing costs, over hard sharing with the same trunk. Ratios, never times."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from mtl_helpers.models import (
    CGC,
    MTAN,
    PLE,
    CrossStitch,
    FiLM,
    HardSharing,
    MMoE,
    SoftSharing,
    mlp,
    size_report,
)
from mtl_helpers.tasks import regression

F64 = torch.float64
TASKS = [regression("task_1"), regression("task_2")]
WIDE = {"inputs": 128, "tasks": TASKS, "hidden": (256, 256), "tower": (32,)}


def towers():
    return {t.name: torch.nn.Sequential(*mlp(256, (32,)), head()) for t in TASKS}


def head():
    return torch.nn.Linear(32, 1, dtype=F64)


MIXTURES = {
    "MMoE": lambda: MMoE(experts=4, **WIDE),
    "CGC": lambda: CGC(own=2, shared=2, **WIDE),
    "PLE": lambda: PLE(own=1, shared=2, **WIDE),
}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", MIXTURES)
def test_mixtures_take_at_most_half_more_than_their_multiply_adds_predict(kind):
    """Of a size where arithmetic counts: small ones mostly pay for starting each operation."""
    x = torch.randn(256, 128, dtype=F64)
    hard, model = HardSharing(mlp(128, (256, 256)), towers()), MIXTURES[kind]()
    ratios = []
    for _ in range(3):  # both in turn, so that a busy moment hits both
        base, ours = (size_report(m, x, repeats=10) for m in (hard, model))
        ratios.append(ours.seconds / base.seconds)
    work = ours.total_multiply_adds / base.total_multiply_adds
    print(f"{kind}: {min(ratios):.2f} x the time of hard sharing, {work:.2f} x its multiply-adds")
    assert min(ratios) <= 1.5 * work


def stages():
    widths = pairwise([120, 48, 32])
    return nn.Sequential(*(nn.Sequential(nn.Linear(a, b, dtype=F64), nn.ReLU()) for a, b in widths))


def convolutions():
    layers = []
    for a, b in ((1, 6), (6, 6), (6, 12), (12, 12)):
        layers += [nn.Conv2d(a, b, 3, padding=1, dtype=F64), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if a == b else []
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


FLAT, IMAGE = (64, 120), (64, 1, 10, 12)
OTHERS = {  # a way of sharing, one trunk for all, and the shape of a batch
    "cross-stitch": (lambda: CrossStitch(stages, TASKS), FLAT),
    "FiLM": (lambda: FiLM(stages(), (48, 32), TASKS), FLAT),
    "soft sharing": (lambda: SoftSharing(stages, TASKS, strength=0.01), FLAT),
    "separate": (lambda: HardSharing.split(stages, TASKS, 0), FLAT),
    "MTAN": (lambda: MTAN(IMAGE[1:], TASKS, (6, 12)), IMAGE),
}


@pytest.mark.parametrize("way", OTHERS)
def test_the_others_are_stated(way):
    """No bound is promised for these but that nothing is lost by the order of magnitude."""
    make, shape = OTHERS[way]
    x = torch.randn(shape, dtype=F64)
    trunk, features = (stages(), 32) if shape == FLAT else (convolutions(), 12)
    hard, ratios = HardSharing.linear(trunk, TASKS, features=features), []
    for _ in range(3):  # both in turn, so that a busy moment hits both
        base, ours = (size_report(m, x, repeats=10) for m in (hard, make()))
        ratios.append(ours.seconds / base.seconds)
    work = ours.total_multiply_adds / base.total_multiply_adds
    print(f"{way}: {min(ratios):.2f} x the time of hard sharing, {work:.2f} x its multiply-adds")
    assert 0.8 < min(ratios) < 6 * work
