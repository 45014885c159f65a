"""Measure trained networks on whole pictures, each by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mtl_helpers.case_study import targets
from mtl_helpers.case_study.instances import GRID, LEVELS, WAYS, separate
from mtl_helpers.case_study.model import predict
from mtl_helpers.case_study.nuclei import MODALITIES, Nuclei
from mtl_helpers.case_study.scores import THRESHOLDS, boundary_f1, consecutive, match

Models = nn.Module | Sequence[nn.Module] | Callable[[Tensor], Mapping[str, Tensor]]

_NEEDS = {
    "components": {"foreground"},
    "mask": {"foreground"},
    "boundary": {"foreground", "boundary"},
    "distance": {"foreground", "distance"},
    "both": {"foreground", "boundary", "distance"},
}


def possible_ways(names: Iterable[str]) -> list[str]:
    """Give the ways of ``instances.separate`` that the maps of these tasks allow."""
    there = set(names)
    return [way for way in WAYS if _NEEDS[way] <= there]


def evaluate(
    models: Models,
    data: Nuclei,
    ways: Sequence[str] | None = None,
    levels: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Measure every picture.

    Args:
        models: a network; several that each know other tasks: single-task networks together; or
            any function that gives the maps of a picture uint8 [3, H, W].
        data: pictures with their true labels.
        ways: ways to separate nuclei; all that the tasks allow when left out.
        levels: of the markers; ``instances.LEVELS`` when left out.

    Returns:
        One dictionary a picture: ``"name"``, ``"modality"``, ``"nuclei"`` (true ones); ``"ap"`` and
        ``"f1"``, by way one number for each of ``scores.THRESHOLDS``; and of what the networks know
        ``"foreground"`` (Dice), ``"boundary"`` (F1 within 2 pixels), ``"distance"`` (mean absolute
        error in nuclei), ``"count"`` (|expected - true| / (true + 1)), ``"modality_right"``.
    """
    rows = []
    for i, picture in enumerate(data.images):
        maps = _maps(models, picture)
        rows.append(measure(maps, data.labels[i], data.modalities[i], ways, levels))
        rows[-1] = {"name": data.names[i], **rows[-1]}
    return rows


def _maps(models: Models, picture: Tensor) -> Mapping[str, Tensor]:
    """Put together what several networks say of one picture."""
    if not isinstance(models, (nn.Module, Sequence)):
        return models(picture)
    found: dict[str, Tensor] = {}
    for model in [models] if isinstance(models, nn.Module) else models:
        found.update(predict(model, picture))
    return found


def choose_levels(models: Models, data: Nuclei, at: int = 0) -> dict[str, float]:
    """Choose the level of each kind of marker: the one with the highest score on these pictures.

    Every network, with whatever heads, is given the same grid (``instances.GRID``) and the same
    pictures, which must not be those that it is measured on. Of equal scores, the one nearest to
    ``instances.LEVELS`` is taken.

    Args:
        models: as of :func:`evaluate`.
        data: validation pictures.
        at: number of the IoU threshold in ``scores.THRESHOLDS``; the first is 0.5.

    Returns:
        A level for each way of one kind of marker that the tasks allow, for ``separate``.

    Raises:
        ValueError: there are no pictures.
    """
    if not len(data):
        raise ValueError("choose_levels needs at least one validation picture; found none")
    maps = [_maps(models, picture) for picture in data.images]
    chosen = {}
    for way in (way for way in possible_ways(maps[0]) if way in GRID):

        def score(level: float, way: str = way) -> float:
            found = (separate(m, way, levels={way: level}) for m in maps)
            return sum(float(match(f, t).ap[at]) for f, t in zip(found, data.labels, strict=True))

        grid = sorted(GRID[way], key=lambda level: abs(level - LEVELS[way]))
        chosen[way] = max(grid, key=score)  # the first of equal ones
    return chosen


def measure(
    maps: Mapping[str, Tensor],
    label: Tensor,
    modality: str,
    ways: Sequence[str] | None = None,
    levels: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Measure what was predicted for one picture: see :func:`evaluate`."""
    label = torch.from_numpy(consecutive(label))
    row: dict[str, Any] = {"modality": modality, "nuclei": int(label.max()), "ap": {}, "f1": {}}
    for way in possible_ways(maps) if ways is None else ways:
        found = match(separate(maps, way, levels=levels), label)
        row["ap"][way], row["f1"][way] = found.ap.tolist(), found.f1.tolist()
    if "foreground" in maps:
        found, true = maps["foreground"] > 0.5, label > 0
        row["foreground"] = float((2 * (found & true).sum() + 1) / (found.sum() + true.sum() + 1))
    if "boundary" in maps:
        true_boundary = targets.boundary(label[None])[0, 0] > 0
        row["boundary"] = boundary_f1((maps["boundary"] > 0.5).numpy(), true_boundary.numpy())
    if "distance" in maps and int(label.max()):
        inside = (label > 0).numpy()
        error = np.abs(maps["distance"].numpy() - targets.distance(label))
        row["distance"] = float(error[inside].mean())
    if "count" in maps:
        true_count = int(label.max())
        row["count"] = abs(float(maps["count"]) - true_count) / (true_count + 1)
    if "modality" in maps:
        row["modality_right"] = int(maps["modality"].argmax()) == MODALITIES.index(modality)
    return row


def summarise(rows: Sequence[Mapping[str, Any]], modality: str | None = None) -> dict[str, Any]:
    """Average over pictures, each counting the same.

    Args:
        rows: what :func:`evaluate` gave.
        modality: only pictures of this one.

    Returns:
        ``"pictures"``, ``"ap"`` {way: score by threshold}, ``"f1"`` likewise, and the means of the
        tasks' measures that are there.

    Raises:
        ValueError: there is no such picture.
    """
    some = [row for row in rows if modality in (None, row["modality"])]
    if not some:
        raise ValueError(f"there is no picture of modality {modality!r} to average over")
    found: dict[str, Any] = {"pictures": len(some), "thresholds": list(THRESHOLDS)}
    for key in ("ap", "f1"):
        found[key] = {
            way: np.mean([row[key][way] for row in some], axis=0).tolist() for way in some[0][key]
        }
    for key in ("foreground", "boundary", "distance", "count", "modality_right"):
        values = [row[key] for row in some if key in row]
        if values:
            found[key] = float(np.mean(values))
    return found


@torch.no_grad()
def calibration(probabilities: Tensor, truth: Tensor, bins: int = 10) -> dict[str, Any]:
    """Compare how sure a network is with how often it is right.

    Args:
        probabilities: of being inside, any shape.
        truth: bool, the same shape.
        bins: number of equal bins between 0 and 1.

    Returns:
        ``"said"`` and ``"true"``, mean probability and share of true pixels by bin (None where a
        bin is empty), ``"pixels"``, and ``"error"``, the expected calibration error.

    Source: Naeini et al. 2015, doi:10.1609/aaai.v29i1.9602; Guo et al. 2017, arXiv:1706.04599.
    """
    p, t = probabilities.flatten().double(), truth.flatten().double()
    place = (p * bins).long().clamp(max=bins - 1)
    pixels = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, torch.ones_like(p))
    said = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, p)
    true = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, t)
    error = float((said - true).abs().sum() / len(p))
    share = [
        (float(s / n), float(r / n)) if n else (None, None)
        for s, r, n in zip(said, true, pixels, strict=True)
    ]
    return {
        "said": [s for s, _ in share],
        "true": [r for _, r in share],
        "pixels": [int(n) for n in pixels],
        "error": error,
    }
