"""What each task wants to see: five targets from one label map, at no new annotation.

Boundary and distance are made from the outlines that the foreground needs anyway, the count is
their number. The modality comes from a rule that looks at colours.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from mtl_helpers.case_study.scores import consecutive


def foreground(labels: Tensor) -> Tensor:
    """Say which pixels are in a nucleus: labels [B, H, W] -> 0 or 1, [B, 1, H, W] float32."""
    return (labels > 0).float()[:, None]


def boundary(labels: Tensor) -> Tensor:
    """Mark the borders: [B, H, W] -> 0 or 1, [B, 1, H, W] float32.

    A pixel of a nucleus is on its border when one of its 8 neighbours is background or belongs to
    another nucleus; a background pixel when its neighbours belong to two nuclei. Beyond the
    picture's edge nothing is known, so the edge is no border.

    Raises:
        ValueError: labels of another shape, or with fractions.
    """
    labels = _maps(labels)
    nucleus = labels > 0
    highest = _around(labels, torch.maximum)
    nowhere = torch.iinfo(labels.dtype).max
    lowest = _around(labels.masked_fill(~nucleus, nowhere), torch.minimum)  # of the nuclei
    two_meet = (highest > 0) & (highest != lowest)
    at_background = nucleus & _around(~nucleus, torch.maximum)
    return (two_meet | at_background).float()[:, None]


def _around(values: Tensor, pick: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Give the largest (or smallest) of each pixel and its 8 neighbours: [B, H, W] -> [B, H, W].

    First of three in a column, then of three in a row: what two neighbours give serves both. Whole
    numbers of 16 bits and True or False go through a processor many at a time.
    """
    for axis in (1, 2):
        length = values.shape[axis] - 1
        pairs = pick(values.narrow(axis, 0, length), values.narrow(axis, 1, length))
        values = values.clone()
        values.narrow(axis, 0, length).copy_(pairs)
        later = values.narrow(axis, 1, length)
        later.copy_(pick(later, pairs))
    return values


def _maps(labels: Tensor) -> Tensor:
    """Refuse what are no label maps; make unsigned numbers, which few operations know, signed."""
    if labels.ndim != 3 or labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(
            f"labels must be label maps [B, H, W] of whole numbers; found {labels.dtype} "
            f"{list(labels.shape)} (one map is made a batch by label[None])"
        )
    unsigned = labels.dtype in (torch.uint16, torch.uint32, torch.uint64)
    return labels.to(torch.int64) if unsigned else labels


def distance(label: np.ndarray | Tensor) -> np.ndarray:
    """Give each pixel's distance to the edge of its nucleus, the deepest pixel being 1.

    Computed once a picture, with exact Euclidean distances; augmentation moves it like the picture.
    What is deep is measured to the nearest pixel that is not of the same nucleus; beyond the
    picture's edge the nucleus is taken to go on.

    Args:
        label: a label map [H, W].

    Returns:
        float32 [H, W]: 0 in the background, above 0 up to 1 in every nucleus.

    Raises:
        ValueError: another shape, fractions or negative numbers.
    """
    numbers = consecutive(label)
    found = np.zeros(numbers.shape, np.float32)
    height, width = numbers.shape
    for k, box in enumerate(ndimage.find_objects(numbers), start=1):
        if box is None:
            continue
        top, left = max(box[0].start - 1, 0), max(box[1].start - 1, 0)
        rows = slice(top, min(box[0].stop + 1, height))
        columns = slice(left, min(box[1].stop + 1, width))
        mine = numbers[rows, columns] == k
        deep = ndimage.distance_transform_edt(mine) if not mine.all() else mine.astype(float)
        found[rows, columns][mine] = (deep / deep.max())[mine]
    return found


def count(labels: Tensor) -> Tensor:
    """Count the nuclei of which any pixel is there: [B, H, W] -> [B] float32.

    Raises:
        ValueError: labels of another shape, or with fractions.
    """
    flat = _maps(labels).flatten(1).long()
    high = int(flat.max()) + 1
    if high > flat.numel():  # numbers too large to count by
        sizes = [len(row[row > 0].unique()) for row in flat]
        return torch.tensor(sizes, dtype=torch.float32, device=flat.device)
    places = flat + high * torch.arange(len(flat), device=flat.device)[:, None]
    there = torch.zeros(len(flat) * high, dtype=torch.bool, device=flat.device)
    there[places.flatten()] = True
    return there.view(len(flat), high)[:, 1:].sum(1).float()
