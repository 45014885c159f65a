"""The checks of lesson 10, second half: what pays, markers, a loss that can be cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from mtl_helpers.teaching.exercises.answers import compare, draws
from mtl_helpers.teaching.exercises.core import exercise

# --------------------------------------------------------------------------- 10.6: trained or used


def _shares(scores: Mapping[tuple[str, str], float]) -> tuple[float, float]:
    learned = scores["five", "mask"] - scores["one", "mask"]
    used = scores["five", "distance"] - scores["five", "mask"]
    return learned, used


def _cell(g: torch.Generator) -> tuple[dict[tuple[str, str], float]]:
    names = [("one", "components"), ("one", "mask"), ("five", "components"), ("five", "mask"),
             ("five", "distance")]  # fmt: skip
    return (
        dict(zip(names, torch.rand(5, generator=g, dtype=torch.float64).tolist(), strict=True)),
    )


@exercise(
    "10.6",
    "Trained, or used?",
    kind="tell apart",
    difficulty=2,
    minutes=5,
    right="change one thing at a time: the same steps after two networks, then two kinds of steps "
    "after one network. The two parts add up to the whole difference.",
)
def shares(answer: Callable[..., Any]) -> str | None:
    """Check ``shares(scores)``: what the trunk learned, and what using the head brought."""
    names = [("one", "components"), ("one", "mask"), ("five", "components"), ("five", "mask"),
             ("five", "distance")]  # fmt: skip
    small = dict(zip(names, (0.3, 0.5, 0.35, 0.53, 0.6), strict=True))
    keys = {k: (lambda s, k=k: s[k]) for k in names}
    one_c, one_m = keys["one", "components"], keys["one", "mask"]
    five_c, five_m, five_d = (keys["five", n] for n in ("components", "mask", "distance"))
    return compare(
        answer,
        right=_shares,
        cases=[(small,), *draws(_cell)],
        slips={
            "your first number is the whole difference: the network *and* the steps after it "
            "changed. Hold the steps at \"mask\".": (
                lambda s: (five_d(s) - one_m(s), five_d(s) - five_m(s))
            ),
            "your first number compares other steps on both sides: from \"components\" to "
            "\"mask\" nothing was learned.": (
                lambda s: (five_m(s) - one_c(s), five_d(s) - five_m(s))
            ),
            "your second number changes the network too; take the one that was trained on five "
            "tasks on both sides.": lambda s: (five_m(s) - one_m(s), five_d(s) - one_m(s)),
            "your first number holds the steps at \"components\"; the best that need no head are "
            "\"mask\".": lambda s: (five_c(s) - one_c(s), five_d(s) - five_m(s)),
            "your second number starts from \"components\"; the best steps that need no head are "
            "\"mask\".": lambda s: (five_m(s) - one_m(s), five_d(s) - five_c(s)),
            "turn the signs round: a gain is after minus before.": (
                lambda s: (one_m(s) - five_m(s), five_m(s) - five_d(s))
            ),
            "the two are the wrong way round.": (
                lambda s: (five_d(s) - five_m(s), five_m(s) - one_m(s))
            ),
            "your numbers start from \"components\"; the rival without the head may have markers "
            "from its mask: \"mask\".": (
                lambda s: (five_c(s) - one_c(s), five_d(s) - five_c(s))
            ),
        },
    )  # fmt: skip


# ------------------------------------------------------------------------------- 10.7: the markers


def _markers(mask: Tensor, distance: Tensor) -> np.ndarray:
    return ndimage.label(np.asarray(mask) & (np.asarray(distance) > 0.5))[0]


def _hills(g: torch.Generator) -> tuple[Tensor, Tensor]:
    rough = torch.rand(1, 1, 12, 14, generator=g)
    distance = F.avg_pool2d(rough, 3, 1, 1)[0, 0] * 1.2
    return torch.rand(12, 14, generator=g) > 0.2, distance


@exercise(
    "10.7",
    "Where a flood begins",
    kind="fill one step",
    difficulty=1,
    minutes=4,
    right="a marker, a nucleus: two in one piece of the mask cut it in two. (Beside them, a piece "
    "without a marker counts as one, and crumbs are dropped.)",
)
def markers(answer: Callable[..., Any]) -> str | None:
    """Check ``markers(mask, distance)``: the numbered pieces of the mask above 0.5."""
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1, 0]], dtype=torch.bool)
    distance = torch.tensor(
        [[0.2, 0.9, 0.4, 0.8, 0.9, 0.1, 0.9], [0.2, 0.7, 0.3, 0.9, 0.9, 0.3, 0]]
    )
    return compare(
        answer,
        right=_markers,
        cases=[(mask, distance), *draws(_hills)],
        slips={
            "you number the pieces of the mask; nuclei that touch then share one marker.": (
                lambda m, d: ndimage.label(np.asarray(m))[0]
            ),
            "some markers lie outside the mask: a marker needs both, mask and distance.": (
                lambda m, d: ndimage.label(np.asarray(d) > 0.5)[0]
            ),
            "that says where markers are; number the connected pieces with ndimage.label.": (
                lambda m, d: np.asarray(m) & (np.asarray(d) > 0.5)
            ),
            "ndimage.label gives two things, the map and the number of pieces; take the first.": (
                lambda m, d: ndimage.label(np.asarray(m) & (np.asarray(d) > 0.5))
            ),
            "the middle of a nucleus has a *large* distance.": (
                lambda m, d: ndimage.label(np.asarray(m) & (np.asarray(d) < 0.5))[0]
            ),
        },
    )  # fmt: skip


# ---------------------------------------------------------------------------- 10.8: Dice in pieces


def _dice(p: Tensor, t: Tensor) -> Tensor:
    p, t = p.flatten(1), t.flatten(1)
    return (1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)).mean()


def _as_one(p: Tensor, t: Tensor) -> Tensor:
    return 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)


def _pair(g: torch.Generator) -> tuple[Tensor, Tensor]:
    shape = (4, 1, 5, 6)
    size = torch.rand(4, 1, 1, 1, generator=g, dtype=torch.float64)
    there = torch.rand(shape, generator=g, dtype=torch.float64) < size
    return torch.rand(shape, generator=g, dtype=torch.float64), there.double()


@exercise(
    "10.8",
    "A loss that knows its neighbours",
    kind="bug hunt",
    difficulty=2,
    minutes=5,
    right="a mean over pictures can be cut anywhere; a ratio of sums over the batch cannot. Two "
    "processes would have trained on another loss than one.",
)
def dice(answer: Callable[[Tensor, Tensor], Tensor]) -> str | None:
    """Check ``loss_of_pictures(p, t)``: the mean of 1 - Dice, with 1 above and below."""
    p = torch.tensor([[[[0.8, 0.1]]], [[[0.5, 0.0]]]], dtype=torch.float64)
    t = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 0.0]]]], dtype=torch.float64)
    return compare(
        answer,
        right=_dice,
        cases=[(p, t), *draws(_pair)],
        slips={
            "the batch is still one large picture: with the same pictures cut into two halves, the "
            "mean of the two losses is another number. Sum over the pixels of each picture.": (
                _as_one
            ),
            "that is Dice; the loss is 1 minus it.": lambda p, t: 1 - _dice(p, t),
            "give one number, the mean over the pictures.": lambda p, t: torch.stack(
                [_as_one(a, b) for a, b in zip(p, t, strict=True)]
            ),
            "you added up over the pictures; a sum grows with the batch. Take the mean.": (
                lambda p, t: len(p) * _dice(p, t)
            ),
            "the 1 above and below is gone: a picture without nuclei then gives 0/0.": (
                lambda p, t: (1 - 2 * (p * t).flatten(1).sum(1) / (p + t).flatten(1).sum(1)).mean()
            ),
        },
    )
