"""The five tasks: a loss for each, chosen for what the target is.

Losses give one number a picture, [B], as everywhere in this package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl_helpers.case_study.model import NAMES
from mtl_helpers.tasks import Task

BOUNDARY_WEIGHT = 3.0  # a boundary pixel counts so much more: only one pixel in ten or so is one


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Give 1 - Dice of each picture: [B, 1, H, W] twice -> [B].

    Dice is 2 |A and B| / (|A| + |B|); one pixel is added above and below, so that an empty picture
    has a value. Each picture by itself, not the batch as one: how a batch is cut does not matter.

    After Milletari et al. 2016, arXiv:1606.04797, whose denominators are squared.
    """
    p, t = logits.float().sigmoid().flatten(1), target.flatten(1)
    return 1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)


def foreground_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Give cross-entropy plus 1 - Dice of each picture: [B, 1, H, W] twice -> [B]."""
    entropy = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    return entropy.flatten(1).mean(1) + dice_loss(logits, target)


def boundary_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Give the cross-entropy with the rare pixels weighted up: [B, 1, H, W] twice -> [B]."""
    weight = torch.tensor(BOUNDARY_WEIGHT, device=logits.device)
    entropy = F.binary_cross_entropy_with_logits(
        logits.float(), target, reduction="none", pos_weight=weight
    )
    return entropy.flatten(1).mean(1)


def distance_loss(output: Tensor, target: Tensor) -> Tensor:
    """Give ten times the smooth L1 loss of each picture: [B, 1, H, W] twice -> [B].

    Distances lie between 0 and 1 and most are 0; ten times brings the loss to the others' size.
    """
    error = F.smooth_l1_loss(output.float(), target, reduction="none", beta=0.1)
    return 10 * error.flatten(1).mean(1)


def count_loss(log_rate: Tensor, target: Tensor) -> Tensor:
    """Give a tenth of the Poisson loss exp(r) - n r, less its smallest value: [B] twice -> [B]."""
    n = target.clamp(min=1e-6)
    return 0.1 * (log_rate.float().exp() - target * log_rate.float() - (n - target * n.log()))


def modality_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Give a tenth of the cross-entropy: [B, 3], [B] -> [B]."""
    return 0.1 * F.cross_entropy(logits.float(), target, reduction="none")


LOSSES = {
    "foreground": foreground_loss,
    "boundary": boundary_loss,
    "distance": distance_loss,
    "count": count_loss,
    "modality": modality_loss,
}


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """Give the mean Dice of the pictures, thresholded at probability 0.5: [N, 1, H, W] twice."""
    p, t = (logits > 0).float().flatten(1), target.flatten(1)
    return ((2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)).mean()


def absolute_error(output: Tensor, target: Tensor) -> Tensor:
    """Give the mean absolute error inside nuclei: [N, 1, H, W] twice."""
    inside = target > 0
    return (output - target).abs()[inside].mean() if inside.any() else target.new_zeros(())


def count_error(log_rate: Tensor, target: Tensor) -> Tensor:
    """Give the mean of |expected - true| / (true + 1): [N] twice."""
    return ((log_rate.exp() - target).abs() / (target + 1)).mean()


def right(logits: Tensor, target: Tensor) -> Tensor:
    """Give the share of right classes: [N, 3], [N]."""
    return (logits.argmax(1) == target).float().mean()


_METRICS = {
    "foreground": (dice, True),
    "boundary": (dice, True),
    "distance": (absolute_error, False),
    "count": (count_error, False),
    "modality": (right, True),
}


def make_tasks(names: Sequence[str] = NAMES) -> tuple[Task, ...]:
    """Make some of the five tasks.

    Raises:
        ValueError: an unknown name.
    """
    if unknown := set(names) - set(NAMES):
        raise ValueError(f"unknown task(s) {sorted(unknown)}; use some of {', '.join(NAMES)}")
    outputs: Mapping[str, int] = {"modality": 3}
    return tuple(
        Task(name, LOSSES[name], _METRICS[name][0], outputs.get(name, 1), _METRICS[name][1])
        for name in names
    )
