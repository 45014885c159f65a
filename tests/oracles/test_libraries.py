"""Losses, scores, boxes and intervals against well-kept libraries, over random draws."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchmetrics.functional as reference
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mtl_helpers.metrics import box_iou, mean_interval
from mtl_helpers.tasks import Task, binary, classification, regression

F64 = torch.float64
numbers = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30).filter(lambda v: np.ptp(v) > 1e-6)


def draw(seed, *shape):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


@given(seed=st.integers(0, 2**31), n=st.integers(1, 9))
def test_losses_agree_with_torch_when_every_label_is_there(seed, n):
    logits, classes = draw(seed, n, 4), torch.arange(n) % 4
    torch.testing.assert_close(
        classification("c", 4).mean_loss(logits, classes), F.cross_entropy(logits, classes)
    )
    output, target = draw(seed, n, 3), draw(seed + 1, n, 3)
    torch.testing.assert_close(
        regression("r", 3).mean_loss(output, target), F.mse_loss(output, target)
    )
    yes = (target > 0).to(F64)
    torch.testing.assert_close(
        binary("b", 3).mean_loss(output, yes), F.binary_cross_entropy_with_logits(output, yes)
    )


@given(seed=st.integers(0, 2**31), n=st.integers(8, 30))  # r2 of very few is ill-conditioned
def test_scores_agree_with_torchmetrics(seed, n):
    logits, classes = draw(seed, n, 4), torch.arange(n) % 4
    wanted = reference.classification.multiclass_accuracy(
        logits, classes, num_classes=4, average="micro"
    )
    assert classification("c", 4).score(logits, classes) == pytest.approx(wanted.item(), abs=1e-6)
    output, target = draw(seed, n, 1), draw(seed + 1, n, 1)
    for metric, wanted in {
        "rmse": reference.mean_squared_error(output, target, squared=False),
        "mae": reference.mean_absolute_error(output, target),
        "r2": reference.r2_score(output, target),
    }.items():
        task = Task("r", "mse", metric, 1, higher_is_better=metric == "r2")
        assert task.score(output, target) == pytest.approx(wanted.item(), rel=1e-9)
    yes = target > 0
    wanted = reference.classification.binary_accuracy(torch.sigmoid(output), yes)
    assert binary("b").score(output, yes.to(F64)) == pytest.approx(wanted.item(), abs=1e-6)


@given(st.integers(0, 2**31))
def test_box_iou_is_torchvisions(seed):
    from torchvision.ops import box_convert
    from torchvision.ops import box_iou as every_pair

    a, b = torch.rand(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    corners = (box_convert(boxes, "cxcywh", "xyxy") for boxes in (a, b))
    torch.testing.assert_close(box_iou(a, b), every_pair(*corners).diagonal())


@given(values=numbers, level=st.floats(0.5, 0.99))
def test_mean_interval_is_scipys(values, level):
    found = mean_interval(values, level)
    low, high = stats.t.interval(level, len(values) - 1, np.mean(values), stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(values), low, high))
    assert f"{len(values)} runs" in found.method
