"""Small drawn tasks: the same at every call, in 64 bits, and related as they say."""

import pytest
import torch

from mtl_helpers.datasets.linear import (
    low_rank_tasks,
    three_at_odds,
    tied_tasks,
    two_linear_tasks,
)
from mtl_helpers.datasets.two_digits import three_or_eight


def test_two_tasks_want_two_different_places():
    first, again = two_linear_tasks(200), two_linear_tasks(200)
    best = {}
    for name, (inputs, target) in first.items():
        assert torch.equal(target, again[name][1]) and inputs.dtype == torch.float64
        best[name] = torch.linalg.lstsq(inputs, target[:, None]).solution[:, 0]
    assert (best["task_1"] - torch.tensor([1.0, -0.3])).abs().max() < 0.2
    assert (best["task_2"] - torch.tensor([-0.2, 1.0])).abs().max() < 0.2


def test_three_tasks_are_a_little_opposed():
    inputs, targets = three_at_odds()
    torch.testing.assert_close(inputs.T @ inputs / 200, torch.eye(3, dtype=torch.float64))
    assert (targets.T @ targets / 200)[0, 1].item() == pytest.approx(-0.1)


@pytest.mark.parametrize(("draw", "noise"), [(tied_tasks, 0.5), (low_rank_tasks, 0.5)])
def test_targets_are_the_true_parameters_and_noise(draw, noise):
    x, y, true = draw(range(50))
    left = y - (x @ true[:, None, :, :, None])[..., 0]
    assert left.std().item() == pytest.approx(noise, rel=0.05)
    one = draw([7])
    assert all(
        torch.equal(part[0], whole[7]) for part, whole in zip(one, (x, y, true), strict=True)
    )


def test_tied_tasks_lie_in_two_groups_and_low_rank_ones_in_two_directions():
    *_, true = tied_tasks(range(20))
    inside = (true[:, 0] - true[:, 1]).norm(dim=1).mean()
    assert inside < 0.7 * (true[:, 0] - true[:, -1]).norm(dim=1).mean()
    *_, true = low_rank_tasks([0])
    assert torch.linalg.svdvals(true[0])[2] < 1e-12


def test_threes_and_eights_are_split_without_overlap():
    digits = three_or_eight()
    assert digits.pixels.shape == (357, 64) and 0 <= digits.pixels.min() < digits.pixels.max() <= 1
    rows = torch.cat(list(digits.parts.values()), 1)
    assert rows.shape == (10, 357) and all(len(set(row.tolist())) == 357 for row in rows)
