"""From what the heads say to separate nuclei.

The same steps for every arm of the study: a mask, markers inside it, and each pixel of the mask to
the marker that a flood reaches it from, over the relief of the mask's own distance transform. Only
where the markers come from differs, and that is named by the heads *used*: so what a head teaches
the trunk and what it does after training can be told apart. Each kind of marker has one number, its
level, which ``evaluate.choose_levels`` chooses on validation pictures by the same rule for all.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed
from torch import Tensor

WAYS = ("components", "mask", "boundary", "distance", "both")
SMALLEST = 12  # pixels; smaller pieces are dropped

#: What is a marker, where nothing was chosen: least pixels between two peaks of the mask's distance
#: transform; a pixel whose boundary is below, or whose distance is above, is in a nucleus's core.
LEVELS: Mapping[str, float] = {"mask": 6, "boundary": 0.5, "distance": 0.5}
#: What ``evaluate.choose_levels`` tries.
GRID: Mapping[str, tuple[float, ...]] = {
    "mask": (2, 3, 4, 6, 9, 13),
    "boundary": (0.2, 0.35, 0.5, 0.65, 0.8),
    "distance": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
}


def separate(
    maps: Mapping[str, np.ndarray | Tensor],
    way: str = "distance",
    *,
    levels: Mapping[str, float] | None = None,
    threshold: float = 0.5,
    smallest: int = SMALLEST,
) -> np.ndarray:
    """Find the nuclei of one picture.

    Args:
        maps: by task, [H, W] each: ``"foreground"`` and ``"boundary"`` as probabilities,
            ``"distance"`` from 0 at a nucleus's edge to 1 at its middle. Only those that ``way``
            names are looked at.
        way: where the markers come from. ``"components"``: each connected piece of the mask is a
            nucleus. ``"mask"``: peaks of the mask's own distance transform. ``"boundary"``: pieces
            of the mask without the predicted boundary. ``"distance"``: pieces of the mask whose
            predicted distance, smoothed by a pixel, is high. ``"both"``: what is in both.
        levels: by kind of marker, instead of those of ``LEVELS``.
        threshold: probability from which a pixel is inside a nucleus.
        smallest: nuclei of fewer pixels are dropped.

    Returns:
        A label map, int32 [H, W]; 0 is background.

    Raises:
        KeyError: a map that ``way`` needs is missing.
        ValueError: an unknown way or level, or maps of different shapes.
    """
    if way not in WAYS:
        raise ValueError(f"unknown way to separate nuclei: {way!r}; use one of {', '.join(WAYS)}")
    if unknown := set(levels or {}) - set(LEVELS):
        raise ValueError(f"unknown level(s) {sorted(unknown)}; use some of {', '.join(LEVELS)}")
    at = {**LEVELS, **(levels or {})}
    needed = {"boundary": ["boundary"], "distance": ["distance"], "both": ["boundary", "distance"]}
    names = ["foreground", *needed.get(way, [])]
    if missing := [name for name in names if name not in maps]:
        raise KeyError(f"way {way!r} needs the maps {names}; missing {missing}")
    arrays = {name: _array(maps[name]) for name in names}
    shape = arrays["foreground"].shape
    if any(a.shape != shape or a.ndim != 2 for a in arrays.values()):
        found = {name: a.shape for name, a in arrays.items()}
        raise ValueError(f"the maps of one picture must have one shape [H, W]; found {found}")
    mask = arrays["foreground"] > threshold
    if way == "components":
        return _without_crumbs(ndimage.label(mask)[0], smallest)
    height = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask), 1.0)
    if way == "mask":
        markers = _peaks(height, mask, int(at["mask"]))
    else:
        core = mask.copy()
        if "boundary" in arrays:
            core &= arrays["boundary"] < at["boundary"]
        if "distance" in arrays:
            core &= ndimage.gaussian_filter(arrays["distance"], 1.0) > at["distance"]
        markers = ndimage.label(core)[0]
    return _without_crumbs(_flood(height, markers, mask), smallest)


def _peaks(height: np.ndarray, inside: np.ndarray, apart: int) -> np.ndarray:
    """Number the places that are the highest within so many pixels: int32 [H, W]."""
    places = peak_local_max(height, min_distance=apart, labels=inside, exclude_border=False)
    markers = np.zeros(height.shape, np.int32)
    markers[tuple(places.T)] = np.arange(1, len(places) + 1)
    return markers


def _flood(height: np.ndarray, markers: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Let each marker grow over its piece of the mask; a piece without one is one nucleus."""
    pieces, total = ndimage.label(mask)
    reached = np.bincount(pieces[markers > 0], minlength=total + 1) > 0
    alone = mask & ~reached[pieces]
    markers = np.where(alone, markers.max() + pieces, markers)
    return watershed(-height, markers, mask=mask)


def _without_crumbs(labels: np.ndarray, smallest: int) -> np.ndarray:
    """Drop small nuclei and number the others from 1."""
    sizes = np.bincount(labels.ravel())
    kept = sizes >= smallest
    kept[0] = False
    numbers = np.where(kept, np.cumsum(kept), 0)
    return numbers[labels].astype(np.int32)


def _array(values: np.ndarray | Tensor) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().float().cpu().numpy()
    return np.asarray(values, dtype=np.float32)


def classical(
    image: np.ndarray | Tensor,
    *,
    levels: Mapping[str, float] | None = None,
    smallest: int = SMALLEST,
) -> np.ndarray:
    """Separate nuclei without learning: Otsu's threshold, then ``way="mask"``.

    Where less than half of the picture is bright, the nuclei are taken to be what is bright, else
    what is dark.

    Args:
        image: uint8 [3, H, W].
        levels: as of :func:`separate`.
        smallest: nuclei of fewer pixels are dropped.

    Returns:
        A label map, int32 [H, W]; 0 is background.

    Source: Otsu 1979, doi:10.1109/TSMC.1979.4310076.
    """
    return separate({"foreground": otsu_mask(image)}, "mask", levels=levels, smallest=smallest)


def otsu_mask(image: np.ndarray | Tensor) -> np.ndarray:
    """Give the mask of :func:`classical`: uint8 [3, H, W] -> bool [H, W]."""
    grey = np.asarray(image).astype(np.float32).mean(axis=0)
    smooth = ndimage.gaussian_filter(grey, 1.0)
    bright = smooth > threshold_otsu(smooth)
    if bright.mean() > 0.5:
        bright = ~bright
    return bright
