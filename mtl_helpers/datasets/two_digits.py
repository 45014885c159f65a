"""The handwritten 3s and 8s that come with scikit-learn, split ten times."""

from __future__ import annotations

from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from torch import Tensor


class TwoDigits(NamedTuple):
    """The handwritten 3s and 8s of scikit-learn, split ten times.

    Attributes:
        pixels: [357, 64], from 0 to 1.
        sign: +1 for an 8, -1 for a 3, [357].
        parts: for "learn", "choose" and "judge" the rows of each split, [10, n].
    """

    pixels: Tensor
    sign: Tensor
    parts: dict[str, Tensor]


def three_or_eight() -> TwoDigits:
    """Load the 3s and 8s; 150 rows to learn from, 100 to choose by, 107 to judge by."""
    pixels, digit = (torch.as_tensor(v) for v in load_digits(return_X_y=True))
    chosen = (digit == 3) | (digit == 8)
    sign = torch.where(digit[chosen] == 8, 1.0, -1.0).double()
    rngs = [torch.Generator().manual_seed(seed) for seed in range(10)]
    rows = torch.stack([torch.randperm(len(sign), generator=rng) for rng in rngs])
    parts = {"learn": rows[:, :150], "choose": rows[:, 150:250], "judge": rows[:, 250:]}
    return TwoDigits(pixels[chosen].double() / 16, sign, parts)
