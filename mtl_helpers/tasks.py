"""What a task is: a name, a loss, a metric with its direction, and a number of outputs.

Everything else in this package speaks of tasks. Two conventions hold everywhere:

* a *loss* gives one value per example, so that examples without a label can be left out;
* a missing label is ``nan`` in a floating-point target and ``-100`` in a class index. It adds
  neither loss nor gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl_helpers.values import plain, wide

MISSING_CLASS = -100

LossFunction = Callable[[Tensor, Tensor], Tensor]
MetricFunction = Callable[[Tensor, Tensor], "Tensor | float"]


def _cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Give the cross-entropy of each example: logits [B, C], class indices [B] -> [B]."""
    return F.cross_entropy(output, target, reduction="none")


def _mean_over_rest(values: Tensor) -> Tensor:
    """Average [B, ...] over all but the first axis."""
    return values.flatten(1).mean(1) if values.dim() > 1 else values


def _mse(output: Tensor, target: Tensor) -> Tensor:
    return _mean_over_rest((output - target) ** 2)


def _bce(output: Tensor, target: Tensor) -> Tensor:
    return _mean_over_rest(F.binary_cross_entropy_with_logits(output, target, reduction="none"))


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Give the share of examples whose largest logit is the target: [N, C], [N] -> scalar."""
    return (output.argmax(1) == target).to(torch.float64).mean()


def binary_accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Give the share of logits on the right side of zero: [N, ...], [N, ...] -> scalar."""
    return ((output > 0) == (target > 0.5)).to(torch.float64).mean()


def rmse(output: Tensor, target: Tensor) -> Tensor:
    """Give the root of the mean squared error, in the target's own unit."""
    return (output - target).square().mean().sqrt()


def mae(output: Tensor, target: Tensor) -> Tensor:
    """Give the mean absolute error, in the target's own unit."""
    return (output - target).abs().mean()


def r2(output: Tensor, target: Tensor) -> Tensor:
    """Give 1 - (squared error / variance): 1 is perfect, 0 is as good as the mean."""
    return 1 - (output - target).square().mean() / (target - target.mean(0)).square().mean()


LOSSES: dict[str, LossFunction] = {"cross_entropy": _cross_entropy, "mse": _mse, "bce": _bce}
METRICS: dict[str, MetricFunction] = {
    "accuracy": accuracy,
    "binary_accuracy": binary_accuracy,
    "rmse": rmse,
    "mae": mae,
    "r2": r2,
}


@dataclass(frozen=True)
class Task:
    """One thing to learn.

    Args:
        name: what the task is called, in dictionaries and pictures.
        loss: ``"cross_entropy"``, ``"mse"``, ``"bce"``, or a function of the output [B, ...] and
            the target [B, ...] that returns one loss per example, [B].
        metric: ``"accuracy"``, ``"binary_accuracy"``, ``"rmse"``, ``"mae"``, ``"r2"``, or a
            function of all outputs [N, ...] and targets [N, ...] that returns one number.
        outputs: how many numbers the task's head gives for one example.
        higher_is_better: the direction of the metric.

    Raises:
        ValueError: the name is empty or holds a dot (PyTorch uses dots in parameter names), the
            loss or metric is unknown, or ``outputs`` is below 1.
    """

    name: str
    loss: str | LossFunction
    metric: str | MetricFunction
    outputs: int
    higher_is_better: bool

    def __post_init__(self) -> None:
        for given in ("outputs", "higher_is_better"):  # NumPy's numbers become plain ones
            object.__setattr__(self, given, plain(getattr(self, given)))
        if not isinstance(self.name, str) or not self.name or "." in self.name:
            raise ValueError(f"a task needs a name without dots; found {self.name!r}")
        if not isinstance(self.higher_is_better, bool):
            raise ValueError(
                f"task {self.name!r}: higher_is_better must be True or False, "
                f"found {self.higher_is_better!r}"
            )
        for kind, given, known in (
            ("loss", self.loss, LOSSES),
            ("metric", self.metric, METRICS),
        ):
            if not callable(given) and (not isinstance(given, str) or given not in known):
                raise ValueError(
                    f"task {self.name!r}: unknown {kind} {given!r}; "
                    f"use one of {', '.join(known)} or pass a function"
                )
        if type(self.outputs) is not int or self.outputs < 1:
            raise ValueError(
                f"task {self.name!r}: outputs must be a whole number of at least 1, "
                f"found {self.outputs!r}"
            )

    @property
    def is_classification(self) -> bool:
        """Whether the targets are class indices (the loss is cross-entropy by name)."""
        return self.loss == "cross_entropy"

    @property
    def loss_function(self) -> LossFunction:
        """The loss as a function: output [B, ...], target [B, ...] -> [B]."""
        return self.loss if callable(self.loss) else LOSSES[self.loss]

    @property
    def metric_function(self) -> MetricFunction:
        """The metric as a function: outputs [N, ...], targets [N, ...] -> one number."""
        return self.metric if callable(self.metric) else METRICS[self.metric]

    def is_labelled(self, target: Tensor) -> Tensor:
        """Say which examples have a label: target [B, ...] -> bool [B].

        An example whose target has several numbers counts as unlabelled when any is missing.
        """
        present = ~torch.isnan(target) if target.is_floating_point() else target != MISSING_CLASS
        return present.flatten(1).all(1) if present.dim() > 1 else present

    def example_losses(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Give the loss of each example, 0 where it has no label, and the mask: [B], bool [B].

        The mask is applied with ``torch.where`` before the loss *and* after it. After it alone is
        not enough: the gradient of the branch not taken would be 0 times NaN, which is NaN.
        """
        labelled = self.is_labelled(target)
        output, target = wide(output), wide(target)
        target = torch.where(_like(labelled, target), target, torch.zeros_like(target))
        output = torch.where(_like(labelled, output), output, torch.zeros_like(output))
        losses = self._call("loss", self.loss_function, output, target)
        shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
        if shape != tuple(labelled.shape):
            raise ValueError(
                f"task {self.name!r}: the loss must give one value per example, shape "
                f"{tuple(labelled.shape)}; found {shape}. Average over the other "
                "axes and leave out the mean over the batch (reduction='none')"
            )
        return torch.where(labelled, losses, torch.zeros_like(losses)), labelled

    def mean_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Average the loss over the labelled examples of a batch.

        Args:
            output: what the head says, [B, outputs] (or as the loss wants it).
            target: class indices [B], or floats shaped like the output.

        Returns:
            A scalar; 0, with gradient 0, when no example of the batch has a label. Outputs in half
            precision give a scalar of type float32: sums of many numbers leave its range.

        Raises:
            ValueError: output and target do not fit each other.
        """
        target = self.fit_target(output, target)
        losses, labelled = self.example_losses(output, target)
        return losses.sum() / labelled.sum().clamp(min=1)

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """Give the metric over the labelled examples of a whole data set.

        Never average scores of batches instead: a short last batch would count too much.
        The score is nan when an output of a labelled example is not finite.

        Raises:
            ValueError: no example has a label.
        """
        targets = self.fit_target(outputs, targets)
        labelled = self.is_labelled(targets)
        if not labelled.any():
            raise ValueError(f"task {self.name!r}: no example has a label, so there is no score")
        outputs, targets = wide(outputs[labelled]), wide(targets[labelled])
        if not torch.isfinite(outputs).all():
            return float("nan")  # a diverged model must not look like one that guesses
        found = self._call("metric", self.metric_function, outputs, targets)
        try:
            return float(found)
        except (TypeError, ValueError, RuntimeError):
            shape = f" of shape {tuple(found.shape)}" if isinstance(found, Tensor) else ""
            raise ValueError(
                f"task {self.name!r}: the metric must give one number; found a "
                f"{type(found).__name__}{shape}"
            ) from None

    def _call(self, kind: str, function: MetricFunction, output: Tensor, target: Tensor) -> Any:
        """Call the loss or the metric; where it fails, say which task's it is.

        Raises:
            ValueError: the function raised.
        """
        try:
            return function(output, target)
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, torch.OutOfMemoryError) or torch.compiler.is_compiling():
                raise
            raise ValueError(
                f"task {self.name!r}: its {kind} {name_of(function)!r} cannot take outputs of "
                f"shape {tuple(output.shape)} ({output.dtype}) with targets of shape "
                f"{tuple(target.shape)} ({target.dtype}): {error}"
            ) from error

    def check_targets(self, target: Tensor) -> None:
        """Refuse targets that the loss would misread.

        Args:
            target: all targets of the task, [N] class indices or [N, ...] floats.

        Raises:
            ValueError: class indices of a floating type or outside 0..outputs-1; targets of a
                whole-number type where the loss needs floats; an infinite target; a target
                outside 0..1 for binary cross-entropy; -100, the mark of a missing class, among
                floats that are nowhere near it.
        """
        if self.is_classification:
            self._check_classes(target)
            return
        if not target.is_floating_point():
            if callable(self.loss):  # a loss of one's own may take class indices
                return
            raise ValueError(
                f"task {self.name!r}: the loss needs floating-point targets, found "
                f"{target.dtype}; convert with target.double()"
            )
        self._refuse_missing_class(target)
        if torch.isinf(target).any():
            raise ValueError(
                f"task {self.name!r}: an infinite target at example "
                f"{_first(torch.isinf(target))}; remove it or mark it missing with nan"
            )
        outside = (target < 0) | (target > 1)
        if self.loss == "bce" and outside.any():
            raise ValueError(
                f"task {self.name!r}: binary targets lie between 0 and 1; found "
                f"{float(target[outside][0])} at example {_first(outside)}"
            )

    def _refuse_missing_class(self, target: Tensor) -> None:
        """Refuse -100 where it can only be meant as "no label": far away from all other labels.

        Among floats it would be learned as a value. Data that really reach -100 (degrees, decibels)
        have other values on the way there.
        """
        marked, others = target == MISSING_CLASS, target[torch.isfinite(target)]
        others = others[others != MISSING_CLASS]
        if not marked.any():
            return
        low, high = (others.min(), others.max()) if len(others) else (0.0, 0.0)
        if low - MISSING_CLASS > high - low or high < MISSING_CLASS:
            raise ValueError(
                f"task {self.name!r}: a target of {MISSING_CLASS} at example {_first(marked)}, far "
                "from all others: it would be learned as a value. In floating-point targets a "
                f"missing label is nan: target[target == {MISSING_CLASS}] = float('nan')"
            )

    def _check_classes(self, target: Tensor) -> None:
        if target.dtype != torch.long:
            raise ValueError(
                f"task {self.name!r}: class indices must be whole numbers of type torch.long, "
                f"found {target.dtype}"
            )
        outside = ((target < 0) | (target >= self.outputs)) & (target != MISSING_CLASS)
        if outside.any():
            raise ValueError(
                f"task {self.name!r}: label {int(target[outside][0])} at example "
                f"{_first(outside)} is outside 0..{self.outputs - 1}; a head with "
                f"{self.outputs} outputs knows {self.outputs} classes ({MISSING_CLASS} means "
                "'no label')"
            )

    def fit_target(self, output: Tensor, target: Tensor) -> Tensor:
        """Let a target [B] stand for [B, 1]; refuse every other mismatch instead of broadcasting.

        PyTorch would broadcast (B, 1) against (B,) to (B, B) behind a mere warning.
        """
        if len(output) != len(target):
            raise ValueError(f"task {self.name!r}: {len(output)} outputs but {len(target)} targets")
        if callable(self.loss):
            return target
        if self.is_classification:
            if output.dim() != 2 or output.shape[1] != self.outputs or target.dim() != 1:
                raise ValueError(
                    f"task {self.name!r}: cross-entropy needs logits of shape "
                    f"(B, {self.outputs}) and targets of shape (B,); found "
                    f"{tuple(output.shape)} and {tuple(target.shape)}"
                )
            return target
        if target.dim() == 1 and output.shape == (len(target), 1):
            return target[:, None]
        if output.shape != target.shape:
            raise ValueError(
                f"task {self.name!r}: outputs of shape {tuple(output.shape)} do not fit targets "
                f"of shape {tuple(target.shape)}; give the head {target[0].numel()} output(s) or "
                "reshape the targets"
            )
        return target


def name_of(function: Callable[..., Any]) -> str:
    """Give the name of a function, or of the class of a callable object; never an address."""
    return getattr(function, "__name__", type(function).__name__)


def _like(mask: Tensor, tensor: Tensor) -> Tensor:
    """Give a mask [B] the axes of ``tensor`` [B, ...], so that it can be broadcast."""
    return mask.reshape(mask.shape + (1,) * (tensor.dim() - 1))


def _first(where: Tensor) -> int:
    """Give the index of the first example at which ``where`` [N, ...] holds."""
    return int(where.nonzero()[0, 0])


def classification(name: str, classes: int) -> Task:
    """Make a task that picks one of ``classes`` classes (cross-entropy, accuracy)."""
    return Task(name, "cross_entropy", "accuracy", classes, higher_is_better=True)


def regression(name: str, outputs: int = 1) -> Task:
    """Make a task that gives ``outputs`` numbers (squared error, root mean squared error)."""
    return Task(name, "mse", "rmse", outputs, higher_is_better=False)


def binary(name: str, outputs: int = 1) -> Task:
    """Make a task that answers ``outputs`` yes/no questions (binary cross-entropy, accuracy)."""
    return Task(name, "bce", "binary_accuracy", outputs, higher_is_better=True)


def by_name(tasks: Iterable[Task]) -> dict[str, Task]:
    """Give the tasks as a dictionary by name.

    Raises:
        ValueError: there is no task, or two share a name.
    """
    if isinstance(tasks, Task):
        raise ValueError(f"tasks must be a list: [{tasks.name}], also for one task")
    tasks = tuple(tasks)
    if not tasks:
        raise ValueError("at least one task is needed; found none")
    strangers = [type(task).__name__ for task in tasks if not isinstance(task, Task)]
    if strangers:
        raise ValueError(
            f"tasks must be a list of Task; found {strangers}. Make one with "
            "classification(name, classes), regression(name) or binary(name)"
        )
    names = [task.name for task in tasks]
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise ValueError(f"task names must differ; found {sorted(doubled)} more than once")
    return dict(zip(names, tasks, strict=True))
