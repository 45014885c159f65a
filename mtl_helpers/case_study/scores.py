"""Score separated nuclei against the truth: which were found, at which overlap.

The overlap of two nuclei is their intersection over union (IoU). A found nucleus is a true positive
(TP) at a threshold when its IoU with a true one is larger; what is left of the found ones are
false positives (FP), of the true ones false negatives (FN).

The challenge's score is TP / (TP + FP + FN), averaged over thresholds and pictures. The field calls
it "average precision" (AP). It is not the AP of COCO, the area under a precision-recall curve over
detections sorted by confidence: here nothing has a confidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from torch import Tensor

THRESHOLDS = tuple(np.arange(10, 20) / 20)  # 0.5, 0.55 ... 0.95, as the challenge has them


@dataclass(frozen=True)
class Matches:
    """How many nuclei were found, at each threshold; add them up over pictures.

    Attributes:
        thresholds: of the IoU, [T].
        tp: found ones that match a true one, [T].
        fp: found ones that match none, [T].
        fn: true ones that nobody found, [T].
    """

    thresholds: tuple[float, ...]
    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray

    @property
    def ap(self) -> np.ndarray:
        """TP / (TP + FP + FN) at each threshold, [T]; 1 where nothing is there nor found."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def f1(self) -> np.ndarray:
        """2 TP / (2 TP + FP + FN) at each threshold, [T]: Caicedo et al. 2019."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)


def iou_table(found: ArrayLike | Tensor, true: ArrayLike | Tensor) -> np.ndarray:
    """Give the IoU of every found nucleus with every true one.

    Args:
        found: label map [H, W] of whole numbers: 0 is background, each other number a nucleus.
        true: the same.

    Returns:
        [F, T], in the order of the labels.

    Raises:
        ValueError: shapes that differ, or maps that are not of whole numbers of 0 or more.
    """
    first, second = _label_map("found", found), _label_map("true", true)
    if first.shape != second.shape:
        raise ValueError(
            f"found and true must be label maps of one picture; they have shapes "
            f"{first.shape} and {second.shape}"
        )
    (rows, a), (columns, b) = _numbered(first), _numbered(second)
    shared = np.bincount(a * len(columns) + b, minlength=len(rows) * len(columns))
    shared = shared.reshape(len(rows), len(columns))
    union = shared.sum(1, keepdims=True) + shared.sum(0, keepdims=True) - shared
    return (shared / np.maximum(union, 1))[rows > 0][:, columns > 0]


def match(
    found: ArrayLike | Tensor,
    true: ArrayLike | Tensor,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Matches:
    """Count the nuclei found in one picture.

    From a threshold of 0.5 up no nucleus can match two, so that counting is enough; below it the
    largest set of pairs is sought.

    Args:
        found: label map [H, W]; 0 is background.
        true: the same.
        thresholds: of the IoU, each from 0 up to, but not including, 1.

    Raises:
        ValueError: thresholds outside that range, or maps that do not fit: see :func:`iou_table`.
    """
    levels = tuple(float(t) for t in thresholds)
    if not levels or not all(0 <= t < 1 for t in levels):
        raise ValueError(f"thresholds of the IoU lie in 0 <= t < 1; found {levels}")
    table = iou_table(found, true)
    tp = np.array([_pairs(table > t) for t in levels])
    return Matches(levels, tp, table.shape[0] - tp, table.shape[1] - tp)


def total(matches: Iterable[Matches]) -> Matches:
    """Add up the counts of several pictures.

    Raises:
        ValueError: there is none, or their thresholds differ.
    """
    every = list(matches)
    if len({m.thresholds for m in every}) != 1:
        raise ValueError(
            f"total wants matches with one set of thresholds; found {len(every)} with "
            f"{len({m.thresholds for m in every})} sets"
        )
    sums = (np.sum([getattr(m, name) for m in every], axis=0) for name in ("tp", "fp", "fn"))
    return Matches(every[0].thresholds, *sums)


def mean_ap(matches: Sequence[Matches]) -> np.ndarray:
    """Average the score over pictures, at each threshold, [T]: the challenge's way.

    Every picture counts the same, whatever number of nuclei it holds.
    """
    return np.mean([m.ap for m in matches], axis=0)


def boundary_f1(found: ArrayLike, true: ArrayLike, tolerance: float = 2.0) -> float:
    """Compare two sets of boundary pixels that may lie ``tolerance`` pixels apart.

    Args:
        found: bool [H, W].
        true: bool [H, W].
        tolerance: largest distance in pixels that counts as a hit.

    Returns:
        The harmonic mean of precision and recall; 1 when both are empty.

    Source: Csurka et al. 2013, doi:10.5244/C.27.32.
    """
    from scipy.ndimage import distance_transform_edt

    first, second = np.asarray(found, bool), np.asarray(true, bool)
    if not first.any() and not second.any():
        return 1.0
    if not first.any() or not second.any():
        return 0.0
    precision = (distance_transform_edt(~second)[first] <= tolerance).mean()
    recall = (distance_transform_edt(~first)[second] <= tolerance).mean()
    return float(2 * precision * recall / max(precision + recall, 1e-12))


def _pairs(hit: np.ndarray) -> int:
    """Give the largest number of pairs: bool [F, T]."""
    if hit.any(1).sum() == hit.sum() == hit.any(0).sum():  # no nucleus in two pairs
        return int(hit.sum())
    return int(hit[linear_sum_assignment(hit, maximize=True)].sum())


def consecutive(labels: ArrayLike | Tensor, what: str = "the label map") -> np.ndarray:
    """Close the gaps in the numbers of a label map.

    Args:
        labels: [H, W] of whole numbers of any size: 0 is background, each other one a nucleus.
        what: a name for messages.

    Returns:
        int32 [H, W]: 0 where it was, and 1 to n in the order of the numbers.

    Raises:
        ValueError: fractions, negative numbers, or another shape.
    """
    values = _label_map(what, labels)
    there, places = _numbered(values)
    numbers = np.where(there > 0, np.cumsum(there > 0), 0).astype(np.int32)
    return numbers[places].reshape(values.shape)


def _numbered(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the labels that come, in order, and each pixel's place among them."""
    flat = labels.ravel()
    if not flat.size or flat.max() > 4 * flat.size:  # numbers too large to count by
        return np.unique(flat, return_inverse=True)
    flat = flat.astype(np.int64)
    there = np.bincount(flat) > 0
    return np.flatnonzero(there), (np.cumsum(there) - 1)[flat]


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.where(below > 0, above / np.maximum(below, 1), 1.0)


def _label_map(what: str, labels: ArrayLike | Tensor) -> np.ndarray:
    if isinstance(labels, Tensor):
        labels = labels.detach().cpu()
        labels = (labels.double() if labels.is_floating_point() else labels).numpy()
    values = np.asarray(labels)
    if values.ndim != 2 or values.dtype.kind not in "iu" or (values.size and values.min() < 0):
        raise ValueError(
            f"{what} must be a label map [H, W] of whole numbers from 0 up; found shape "
            f"{values.shape}, type {values.dtype}"
            + (f", smallest {values.min()}" if values.dtype.kind in "iuf" and values.size else "")
        )
    return values
