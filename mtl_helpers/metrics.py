"""How well, how sure, and how much better than single-task: scores, intervals and delta-m.

Metrics that a well-kept library has come from torchmetrics (:func:`from_torchmetrics`); what is
written out here is what the lessons teach.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import stats
from torch import Tensor

Scores = Mapping[str, "float | Mapping[str, float]"]


@dataclass(frozen=True)
class Interval:
    """A mean with its interval.

    Attributes:
        mean: the mean.
        low: lower end.
        high: upper end.
        method: how it was had, in words.
    """

    mean: float
    low: float
    high: float
    method: str

    def __format__(self, spec: str) -> str:
        """Write it as ``mean [low, high]``; the format applies to each number."""
        return f"{self.mean:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def mean_interval(values: ArrayLike | Tensor, level: float = 0.95) -> Interval:
    """Give the mean of independent runs with Student's t interval.

    Args:
        values: one number a seed, [S], S >= 2.
        level: share of such intervals that hold the true mean.

    Returns:
        mean ± t · s / √S, with S - 1 degrees of freedom.

    Raises:
        ValueError: fewer than two values, a value that is not finite, or a level outside (0, 1).
    """
    numbers = _finite_vector("values", values)
    if len(numbers) < 2:
        raise ValueError(f"an interval needs at least 2 runs; found {len(numbers)}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1; found {level}")
    mean = float(numbers.mean())
    half = float(stats.t.ppf((1 + level) / 2, len(numbers) - 1) * stats.sem(numbers))
    return Interval(mean, mean - half, mean + half, f"{level:.0%} t interval, {len(numbers)} runs")


def paired_interval(
    ours: ArrayLike | Tensor, theirs: ArrayLike | Tensor, level: float = 0.95
) -> Interval:
    """Give the mean of the differences ``ours - theirs``, seed by seed, with its t interval.

    Two arms that share their seeds share luck with the data; the difference cancels that part.

    Raises:
        ValueError: the arms differ in length, or see :func:`mean_interval`.
    """
    a, b = _finite_vector("ours", ours), _finite_vector("theirs", theirs)
    if len(a) != len(b):
        raise ValueError(
            f"paired runs need the same seeds on both sides; found {len(a)} and {len(b)} runs"
        )
    found = mean_interval(a - b, level)
    return Interval(found.mean, found.low, found.high, f"paired {found.method}")


def bootstrap_interval(
    values: ArrayLike | Tensor,
    statistic: Callable[[np.ndarray], float] = np.mean,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Give any statistic of independent runs with its percentile bootstrap interval.

    Args:
        values: one row a run, [S] or [S, ...]; whole rows are drawn again with replacement.
        statistic: from such an array to one number.
        level: share of the resampled statistics that lie inside.
        resamples: how many times S rows are drawn.
        seed: of those draws.

    Raises:
        ValueError: fewer than two runs or values that are not finite.

    Source: Efron 1979, doi:10.1214/aos/1176344552.
    """
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(
            "level must lie between 0 and 1 and resamples be at least 1; "
            f"found {level}, {resamples}"
        )
    rows = np.asarray(values, dtype=float)
    if rows.ndim < 1 or len(rows) < 2 or not np.isfinite(rows).all():
        raise ValueError(f"the bootstrap needs at least 2 finite runs; found shape {rows.shape}")
    draws = np.random.default_rng(seed).integers(len(rows), size=(resamples, len(rows)))
    found = [float(statistic(rows[chosen])) for chosen in draws]
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        float(statistic(rows)),
        float(low),
        float(high),
        f"{level:.0%} percentile bootstrap, {len(rows)} runs",
    )


def delta_m(
    multi: Scores,
    single: Scores,
    higher_is_better: Mapping[str, bool | Mapping[str, bool]],
    *,
    average: str = "task",
) -> float:
    """Give the mean relative gain over the single-task baselines, in percent.

    For each metric: (multi - single) / |single|, its sign turned where lower is better. Positive
    means that multi-task is better. **Nash-MTL and FAMO print the opposite sign** (lower is
    better), so turn theirs before you compare.

    Args:
        multi: scores of the multi-task model by task; a task with several metrics has a
            dictionary of them.
        single: scores of each task's own model, named alike.
        higher_is_better: the direction of each score, named alike.
        average: ``"task"`` averages a task's metrics first, so that every task counts the same;
            ``"metric"`` counts every metric the same, so that a task with five metrics counts five
            times. The two can differ in sign.

    Raises:
        ValueError: tasks or metrics that do not match, a score that is not finite, or a baseline
            of zero.

    Source: Maninis et al. 2019, arXiv:1904.08918, equation 4.
    """
    if average not in ("task", "metric"):
        raise ValueError(f"average must be 'task' or 'metric'; found {average!r}")
    gains = {}
    for task in _same_names("task", multi, single, higher_is_better):
        ours, base, up = (_as_metrics(x[task]) for x in (multi, single, higher_is_better))
        names = _same_names(f"metric of task {task!r}", ours, base, up)
        gains[task] = [_relative_gain(task, ours[n], base[n], up[n]) for n in names]
    if average == "task":
        return float(np.mean([np.mean(values) for values in gains.values()]))
    return float(np.mean([gain for values in gains.values() for gain in values]))


def from_torchmetrics(name: str, **options: Any) -> Callable[[Tensor, Tensor], Tensor]:
    """Give a torchmetrics functional metric as a task's metric.

    Outputs of classification are logits everywhere in this package. torchmetrics would take logits
    for probabilities where all of them happen to lie in 0..1; so it gets probabilities here.

    Args:
        name: a function of ``torchmetrics.functional`` or of its ``classification`` part, for
            example ``"multiclass_f1_score"``.
        options: its keyword arguments, for example ``num_classes=10, average="macro"``. A
            ``threshold`` is one of probabilities.

    Returns:
        A function of outputs [N, ...] and targets [N, ...]. Yes/no targets may be floats, 0.0 and
        1.0, as binary cross-entropy needs them.

    Raises:
        ValueError: torchmetrics has no such function; or, when it is called, targets that are
            neither 0 nor 1 where a yes/no answer is scored.
    """
    import torchmetrics.functional as functional  # late: it imports torchvision, and is slow

    found = getattr(functional.classification, name, None) or getattr(functional, name, None)
    if not callable(found):
        raise ValueError(f"torchmetrics.functional has no {name!r}; see its list of metrics")

    kind = options.get("task") or name.partition("_")[0]

    def metric(outputs: Tensor, targets: Tensor) -> Tensor:
        if kind in ("binary", "multilabel"):
            outputs = outputs.sigmoid()
        elif kind == "multiclass" and outputs.dim() > targets.dim():
            outputs = outputs.softmax(1)
        if kind in ("binary", "multiclass", "multilabel") and targets.is_floating_point():
            if ((targets != 0) & (targets != 1)).any():
                raise ValueError(f"{name} needs targets 0 and 1; found others between them")
            targets = targets.long()
        return found(outputs, targets, **options)

    metric.__name__ = name
    return metric


def _finite_vector(what: str, values: ArrayLike | Tensor) -> np.ndarray:
    numbers = np.asarray(
        values.detach().cpu() if isinstance(values, Tensor) else values, dtype=float
    )
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise ValueError(
            f"{what} must be one finite number a run, shape (S,); found shape {numbers.shape}"
            + ("" if np.isfinite(numbers).all() else " with values that are not finite")
        )
    return numbers


def _same_names(what: str, *groups: Mapping[str, Any]) -> Sequence[str]:
    names = list(groups[0])
    for other in groups[1:]:
        if set(other) != set(names):
            raise ValueError(f"every {what} must be named alike; found {names} and {list(other)}")
    if not names:
        raise ValueError(f"delta_m needs at least one {what}")
    return names


def _as_metrics(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {"score": value}


def _relative_gain(task: str, ours: float, base: float, higher_is_better: bool) -> float:
    if not (np.isfinite(ours) and np.isfinite(base)) or base == 0:
        raise ValueError(
            f"task {task!r}: a relative gain needs finite scores and a baseline other than 0; "
            f"found {ours} against {base}"
        )
    if not isinstance(higher_is_better, bool | np.bool_):
        raise ValueError(
            f"task {task!r}: higher_is_better must be True or False, found {higher_is_better!r}"
        )
    gain = 100 * (ours - base) / abs(base)
    return float(gain if higher_is_better else -gain)


def box_iou(found: Tensor, true: Tensor) -> Tensor:
    """Give the intersection over union of each pair of boxes.

    Args:
        found: boxes (centre x, centre y, width, height), [N, 4], any unit.
        true: as many boxes in the same form and unit, [N, 4].

    Returns:
        Common area over joint area, [N], between 0 and 1; 0 where neither box has an area.

    Raises:
        ValueError: the shapes are not [N, 4] on both sides.
    """
    if found.shape != true.shape or found.dim() != 2 or found.shape[1] != 4:
        raise ValueError(
            f"boxes must be [N, 4] on both sides; found {list(found.shape)}, {list(true.shape)}"
        )
    low = torch.maximum(found[:, :2] - found[:, 2:] / 2, true[:, :2] - true[:, 2:] / 2)
    high = torch.minimum(found[:, :2] + found[:, 2:] / 2, true[:, :2] + true[:, 2:] / 2)
    common = (high - low).clamp(min=0).prod(1)
    joint = found[:, 2:].clamp(min=0).prod(1) + true[:, 2:].clamp(min=0).prod(1) - common
    return torch.where(joint > 0, common / joint.where(joint > 0, torch.ones_like(joint)), 0.0)
