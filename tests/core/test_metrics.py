"""Intervals and relative gains."""

import math

import numpy as np
import pytest
import torch
import torchmetrics.functional as reference
from hypothesis import given
from hypothesis import strategies as st

from mtl_helpers.metrics import (
    bootstrap_interval,
    box_iou,
    delta_m,
    from_torchmetrics,
    mean_interval,
    paired_interval,
)

numbers = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30).filter(lambda v: np.ptp(v) > 1e-6)

# Table 2 of Navon et al. 2022 (Nash-MTL, arXiv:2202.01017): NYUv2, single-task and plain sum.
NAMES = {
    "seg": ("miou", "pixacc"),
    "depth": ("abs", "rel"),
    "normal": ("mean", "median", "within_11", "within_22", "within_30"),
}
UP = {
    "seg": {"miou": True, "pixacc": True},
    "depth": {"abs": False, "rel": False},
    "normal": {
        "mean": False,
        "median": False,
        "within_11": True,
        "within_22": True,
        "within_30": True,
    },
}


def row(*values):
    values = iter(values)
    return {task: {metric: next(values) for metric in metrics} for task, metrics in NAMES.items()}


SINGLE = row(38.30, 63.76, 0.6754, 0.2780, 25.01, 19.21, 30.14, 57.20, 69.15)
PLAIN_SUM = row(39.29, 65.33, 0.5493, 0.2263, 28.15, 23.96, 22.09, 47.50, 61.08)


# The same table; FAMO: Liu et al. 2023 (arXiv:2306.03792, table 2). The numbers behind the rows are
# what those papers print: averaged per metric, and lower is better.
PRINTED = {
    "sum": (PLAIN_SUM, 5.59),
    "mgda": (row(30.47, 59.90, 0.6070, 0.2555, 24.88, 19.45, 29.18, 56.88, 69.36), 1.38),
    "nash_mtl": (row(40.13, 65.93, 0.5261, 0.2171, 25.26, 20.08, 28.40, 55.47, 68.15), -4.04),
    "famo": (row(38.88, 64.90, 0.5474, 0.2194, 25.06, 19.57, 29.21, 56.61, 68.98), -4.10),
}
# Liu et al. 2022 (Auto-Lambda, arXiv:2202.03091), NYUv2: mIoU, depth error, normal error; here the
# printed number is higher for better.
ALONE = (43.37, 52.24, 22.40)
AUTO_LAMBDA = {
    (44.64, 43.32, 24.48): 3.57,
    (45.98, 41.26, 24.09): 6.50,
    (48.26, 39.82, 22.81): 11.07,
}


def test_interval_is_written_and_read():
    found = mean_interval([1.0, 2.0, 3.0])
    assert f"{found:.1f}" == "2.0 [-0.5, 4.5]"
    assert not found.excludes_zero
    assert mean_interval([1.0, 1.1, 0.9]).excludes_zero
    assert mean_interval([-1.0, -1.1, -0.9]).excludes_zero
    assert not mean_interval([0.0, 0.0]).excludes_zero


def test_interval_holds_the_truth_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(3, 2, size=(2000, 8))
    held = [i.low < 3 < i.high for i in map(mean_interval, draws)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


@given(values=numbers)
def test_pairing_cancels_what_both_arms_share(values):
    ours = np.asarray(values)
    luck = 100 * np.sin(np.arange(len(ours)))
    paired = paired_interval(torch.tensor(ours + luck), luck)
    alone = mean_interval(ours)
    assert (paired.mean, paired.low) == pytest.approx((alone.mean, alone.low), abs=1e-6)
    assert paired.method.startswith("paired")


def test_bootstrap_interval_of_a_mean_is_close_to_the_t_interval():
    values = np.random.default_rng(1).normal(size=200)
    boot, t = bootstrap_interval(values), mean_interval(values)
    assert boot.mean == pytest.approx(t.mean)
    assert (boot.low, boot.high) == pytest.approx((t.low, t.high), abs=0.02)
    assert boot == bootstrap_interval(values)
    assert boot != bootstrap_interval(values, seed=1)
    narrow = bootstrap_interval(values, level=0.5)
    assert boot.low < narrow.low < narrow.high < boot.high


def test_bootstrap_draws_whole_rows():
    rows = np.stack([np.arange(20.0), np.arange(20.0)], 1)
    found = bootstrap_interval(rows, lambda r: float(np.abs(r[:, 0] - r[:, 1]).max()))
    assert (found.mean, found.low, found.high) == (0, 0, 0)


def test_delta_m_by_hand():
    gain = delta_m({"a": 0.9, "b": 2.0}, {"a": 0.8, "b": 1.0}, {"a": True, "b": False})
    assert gain == pytest.approx((12.5 - 100) / 2)


@pytest.mark.parametrize("method", PRINTED)
def test_delta_m_gives_the_published_numbers_with_their_sign_turned(method):
    scores, printed = PRINTED[method]
    assert -delta_m(scores, SINGLE, UP, average="metric") == pytest.approx(printed, abs=0.015)


@pytest.mark.parametrize("scores", AUTO_LAMBDA)
def test_delta_m_gives_the_published_numbers_of_the_other_sign(scores):
    up = {"seg": True, "depth": False, "normal": False}
    multi, single = (dict(zip(up, values, strict=True)) for values in (scores, ALONE))
    assert delta_m(multi, single, up) == pytest.approx(AUTO_LAMBDA[scores], abs=0.01)


def test_delta_m_of_the_published_row_depends_on_what_is_averaged():
    assert delta_m(PLAIN_SUM, SINGLE, UP, average="metric") == pytest.approx(-5.59, abs=0.01)
    assert delta_m(PLAIN_SUM, SINGLE, UP) == pytest.approx(0.88, abs=0.01)


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0.1, 100))
def test_delta_m_has_no_unit_and_no_direction(ours, base, scale):
    one = delta_m({"a": ours}, {"a": base}, {"a": True})
    assert delta_m({"a": scale * ours}, {"a": scale * base}, {"a": True}) == pytest.approx(one)
    assert delta_m({"a": ours}, {"a": base}, {"a": False}) == pytest.approx(-one)
    assert delta_m({"a": base}, {"a": base}, {"a": True}) == 0


def test_delta_m_of_negative_scores_keeps_its_direction():
    assert delta_m({"a": -1.0}, {"a": -2.0}, {"a": True}) == pytest.approx(50)


def test_torchmetrics_come_by_name():
    outputs, targets = torch.randn(30, 3), torch.arange(30) % 3
    found = from_torchmetrics("multiclass_f1_score", num_classes=3)(outputs, targets)
    wanted = reference.classification.multiclass_f1_score(outputs, targets, num_classes=3)
    assert torch.equal(found, wanted)
    assert from_torchmetrics("mean_absolute_error")(outputs, outputs + 1).item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([1.0]), "at least 2 runs; found 1"),
        (lambda: mean_interval([1.0, math.nan]), "not finite"),
        (lambda: mean_interval([[1.0, 2.0]]), r"shape \(1, 2\)"),
        (lambda: mean_interval([1.0, 2.0], 95), "between 0 and 1; found 95"),
        (lambda: paired_interval([1.0, 2.0], [1.0]), "2 and 1 runs"),
        (lambda: bootstrap_interval([1.0]), "at least 2 finite runs"),
        (lambda: bootstrap_interval([1.0, 2.0], level=2), "found 2, 2000"),
        (lambda: bootstrap_interval([1.0, 2.0], resamples=0), "found 0.95, 0"),
        (lambda: delta_m({"a": 1.0}, {"a": 1.0}, {"a": "lower"}), "found 'lower'"),
        (lambda: bootstrap_interval([1.0, math.inf]), "at least 2 finite runs"),
        (lambda: delta_m({"a": 1.0}, {"b": 1.0}, {"a": True}), r"\['a'\] and \['b'\]"),
        (lambda: delta_m({}, {}, {}), "at least one task"),
        (lambda: delta_m({"a": 1.0}, {"a": 0.0}, {"a": True}), "'a'.*baseline other than 0"),
        (lambda: delta_m({"a": math.nan}, {"a": 1.0}, {"a": True}), "'a'.*finite"),
        (lambda: delta_m({"a": 1.0}, {"a": math.inf}, {"a": True}), "'a'.*finite"),
        (lambda: delta_m({"a": 1.0}, {"a": 1.0}, {"a": True}, average="all"), "found 'all'"),
        (
            lambda: delta_m({"a": {"x": 1.0}}, {"a": {"y": 1.0}}, {"a": {"x": True}}),
            "metric of task 'a'",
        ),
        (lambda: from_torchmetrics("no_such"), "has no 'no_such'"),
    ],
)
def test_wrong_use_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_box_iou_by_hand():
    boxes = torch.tensor([[1.0, 1, 2, 2], [2.0, 1, 2, 2], [9.0, 9, 2, 2], [1.0, 1, 0, 0]])
    found = box_iou(boxes, boxes[:1].expand(4, 4))
    torch.testing.assert_close(found, torch.tensor([1, 1 / 3, 0, 0]))
    assert box_iou(boxes[3:], boxes[3:]).item() == 0
    with pytest.raises(ValueError, match=r"\[4, 4\], \[1, 4\]"):
        box_iou(boxes, boxes[:1])
