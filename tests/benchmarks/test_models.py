"""What each way of sharing costs, over hard sharing with the same trunk. Ratios, never times."""

from __future__ import annotations

import pytest
import torch

from mtl_helpers.lessons.lesson_03.studies import IMAGE, WAYS, baseline, time_ratios
from mtl_helpers.models import CGC, PLE, HardSharing, MMoE, mlp, size_report
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


@pytest.mark.parametrize("way", ["cross-stitch", "MTAN", "FiLM", "soft sharing", "single-task"])
def test_the_others_are_stated(way):
    """No bound is promised for these but that nothing is lost by the order of magnitude."""
    x = torch.zeros(2, *IMAGE, dtype=F64)
    ratio = time_ratios([way], rounds=15)[way]
    base = WAYS[baseline(way, "hard sharing")]
    work = (
        size_report(WAYS[way](), x).total_multiply_adds / size_report(base(), x).total_multiply_adds
    )
    print(f"{way}: {ratio:.2f} x the time of hard sharing, {work:.2f} x its multiply-adds")
    assert 0.8 < ratio < 5 * work
