"""The pictures of lesson 03 say what they show."""

import pytest
import torch
from torch import nn

from mtl_helpers.lessons.lesson_03 import corners, pictures
from mtl_helpers.metrics import Interval
from mtl_helpers.models import CGC, PLE, HardSharing
from mtl_helpers.tasks import regression
from mtl_helpers.teaching.figures import cut_off

TWO = [regression("45 Queen Street"), regression("183 K Road")]
X = torch.randn(6, 11, dtype=torch.float64)


def test_every_loss_reaches_the_trunk_and_its_own_head():
    model = HardSharing.linear(corners.stages(), TWO, features=16)
    drawn = pictures.gradient_ways(model, X)
    assert "layer 1: 45 Queen Street, 183 K Road" in drawn.says
    assert "; 183 K Road: 183 K Road" in drawn.says
    assert not cut_off(drawn.figure)


def test_the_ladder_counts_parameters():
    rungs = [HardSharing.split(corners.stages, TWO, s, features=16) for s in range(4)]
    says = pictures.split_ladder(rungs, depth=3).says
    assert "0 layers shared: 0 shared and 1,506 own" in says
    assert "3 layers shared: 736 shared and 34 own" in says


def test_below_the_last_level_of_ple_every_loss_reaches_own_experts():
    options = {"own": 1, "shared": 1, "hidden": (6,), "tower": ()}
    says = pictures.cgc_and_ple(CGC(11, TWO, **options), PLE(11, TWO, levels=2, **options), X).says
    both = "45 Queen Street and 183 K Road"
    assert "CGC, level 1, expert of 45 Queen Street: 45 Queen Street;" in says
    assert f"level 1, expert of 183 K Road: {both}" in says
    assert "level 2, expert of 183 K Road: 183 K Road" in says


def test_four_heads_say_their_shapes():
    heads = {"classification": (nn.Flatten(), "all"), "detection": (nn.Identity(), "places")}
    drawn = pictures.four_heads(torch.zeros(2, 4, 3, 3), heads)
    assert "classification: 36, all; detection: 4 × 3 × 3, places" in drawn.says


@pytest.fixture
def rows():
    rng = torch.Generator().manual_seed(0)
    found = []
    for hours in (25, 50, 100, 200):
        for s, way in enumerate(["split 0", "split 1", "split 2", "split 3", "linear", "FiLM"]):
            for seed in range(5):
                error = 0.8 - 0.1 * min(s, 3) + 0.01 * float(torch.rand((), generator=rng))
                found.append({"hours": hours, "way": way, "seed": seed, "rmse": error,
                              "by_counter": [error, error]})  # fmt: skip
    return found


def test_the_dial_names_the_lowest(rows):
    picture = pictures.label_dial(rows)
    for hours in (25, 200):
        drawn = picture(hours)
        assert drawn.says.startswith(f"{hours} hours: RMSE 0.8") or "0.80" in drawn.says
        assert drawn.says.endswith("Lowest at 3.")
        assert not cut_off(drawn.figure)


def test_gains_are_relative_to_separate_networks(rows):
    found = pictures.gains(rows, 50)
    assert found["split 0"] is None
    assert 30 < found["split 3"].mean < 45


def test_the_price_list_takes_rows_without_a_price(rows):
    prices = [{"way": w, "parameters": p, "multiply_adds": p, "time": 1.0}
              for w, p in (("split 3", 10), ("FiLM", 20))]  # fmt: skip
    gains = {"split 3": None, "linear": Interval(1.0, 0.0, 2.0, "t")}
    gains["FiLM"] = Interval(5.0, 4.0, 6.0, "t")
    names = {"linear": "linear", "split 3": "one trunk", "FiLM": "FiLM"}
    says = pictures.price_list(prices, gains, names).says
    assert says == (
        "linear: +1 %; one trunk: reference, price 1.0, 1.0, 1.0; FiLM: +5 %, price 2.0, 2.0, 1.0."
    )


def test_truth_names_the_best_split():
    rows = [{"depth": d, "split": s, "seed": i, "rmse": abs(d - s) + 0.1 * i + 0.01 * i * s}
            for d in range(4) for s in range(4) for i in range(5)]  # fmt: skip
    says = pictures.by_truth(rows).says
    assert says == "; ".join(f"part at {d}: lowest at split {d}" for d in range(4)) + "."


def test_stitches_start_where_they_start():
    rows = [{"problem": "part at 1", "start": s, "rate": r, "seed": i,
             "history": [[0.1, 0.1, 0.1], [0.1, 0.2, 0.3 + 0.01 * i]]}
            for s, r in (("random", 1), ("trained", 30)) for i in range(4)]  # fmt: skip
    for recipe in ("naive", "paper"):
        drawn = pictures.stitch_histories(rows, 50)("part at 1", recipe)
        assert "stage 1 0.10, stage 2 0.20, stage 3 0.3" in drawn.says
        assert not cut_off(drawn.figure)


def test_shares_are_said():
    says = pictures.shares({"equal": torch.tensor([0.5, 0.5])}).says
    assert says == "equal: 0.50, 0.50."
