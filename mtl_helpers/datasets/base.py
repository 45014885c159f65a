"""Multi-task data: one set of inputs, and a target for each task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mtl_helpers.tasks import MISSING_CLASS
from mtl_helpers.values import generator as make_generator


@dataclass(frozen=True, eq=False)
class MultiTaskData:
    """Inputs and, for each task, a target: example ``i`` is row ``i`` of all of them.

    Args:
        inputs: [N, ...], finite.
        targets: task name -> [N, ...]. A missing label is ``nan`` in floating-point targets and
            ``-100`` in class indices.

    Raises:
        TypeError: something is not a tensor.
        ValueError: no task, targets of another length than the inputs, an infinite value, or NaN
            in the inputs.
    """

    inputs: Tensor
    targets: dict[str, Tensor]

    def __post_init__(self) -> None:
        if not self.targets:
            raise ValueError("targets is empty; give one tensor a task: {'left': ..., ...}")
        for name, tensor in {"the inputs": self.inputs, **self.targets}.items():
            if not isinstance(tensor, Tensor) or tensor.dim() == 0:
                raise TypeError(
                    f"{name}: expected a tensor with one row per example, found "
                    f"{type(tensor).__name__}; convert with torch.as_tensor"
                )
        _refuse("the inputs", "NaN or infinite", ~torch.isfinite(self.inputs))
        for name, target in self.targets.items():
            if len(target) != len(self.inputs):
                raise ValueError(
                    f"task {name!r}: {len(target)} targets, but there are {len(self.inputs)} "
                    "inputs; each example needs a row (mark missing labels with nan or -100)"
                )
            _refuse(f"the targets of task {name!r}", "infinite", torch.isinf(target))

    def __len__(self) -> int:
        """Give the number of examples, N."""
        return len(self.inputs)

    def __repr__(self) -> str:
        """Give sizes and types instead of pages of numbers."""
        parts = {"inputs": self.inputs, **self.targets}
        described = (f"{name} {list(t.shape)} {t.dtype}" for name, t in parts.items())
        return f"MultiTaskData({', '.join(described)})".replace("torch.", "")

    def subset(self, indices: Tensor | Sequence[int]) -> MultiTaskData:
        """Give some of the examples.

        Args:
            indices: row numbers in the order wanted (a list or a tensor), or a mask bool [N].
        """
        rows = torch.as_tensor(indices, device=self.inputs.device)
        if rows.dtype != torch.bool:
            rows = rows.long()
        targets = {name: target[rows] for name, target in self.targets.items()}
        return MultiTaskData(self.inputs[rows], targets)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> MultiTaskData:
        """Give the data on another device or in another floating-point type.

        Args:
            device: where to put all tensors; None leaves them where they are.
            dtype: the type for floating-point tensors; whole numbers (class indices) keep theirs.

        Raises:
            TypeError: ``dtype`` is not a floating-point type.
        """
        check_floating(dtype or torch.float64)

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, dtype if tensor.is_floating_point() else None)

        targets = {name: move(target) for name, target in self.targets.items()}
        return MultiTaskData(move(self.inputs), targets)


class Splits(NamedTuple):
    """Training, validation and test data; choose on ``valid``, report on ``test``, once."""

    train: MultiTaskData
    valid: MultiTaskData
    test: MultiTaskData

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Splits:
        """Give all three on another device or type: see :meth:`MultiTaskData.to`."""
        return Splits(*(data.to(device, dtype) for data in self))


def with_missing(
    data: MultiTaskData, task_name: str, fraction: float, *, seed: int
) -> MultiTaskData:
    """Take the labels of one task away from some examples, drawn at random.

    Args:
        data: the data; it is left as it is.
        task_name: the task that loses labels; the others keep theirs.
        fraction: share of all N examples, 0 to 1; exactly ``round(fraction * N)`` are drawn.
        seed: for the draw. A larger fraction takes the labels of a smaller one, and more.

    Returns:
        New data; missing labels are ``nan`` in floating-point targets, ``-100`` in class indices.

    Raises:
        KeyError: there is no such task.
        ValueError: the fraction is not between 0 and 1.
        TypeError: the targets are of a type that cannot mark a missing label.
    """
    if task_name not in data.targets:
        raise KeyError(f"no task {task_name!r} here; the tasks are {', '.join(data.targets)}")
    if not 0 <= fraction <= 1:
        raise ValueError(f"task {task_name!r}: fraction must lie in 0..1, found {fraction}")
    target = data.targets[task_name].clone()
    if not target.dtype.is_signed:
        raise TypeError(
            f"task {task_name!r}: {target.dtype} targets cannot mark a missing label; "
            "use torch.long for classes and floats for yes/no"
        )
    order = torch.randperm(len(data), generator=make_generator(seed))
    missing = order[: round(fraction * len(data))].to(target.device)
    target[missing] = float("nan") if target.is_floating_point() else MISSING_CLASS
    return MultiTaskData(data.inputs, {**data.targets, task_name: target})


def check_floating(dtype: torch.dtype) -> None:
    """Raise a TypeError that names what was found unless ``dtype`` is a floating-point type."""
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise TypeError(f"dtype must be a floating-point type such as torch.float64, found {dtype}")


def _refuse(what: str, kind: str, bad: Tensor) -> None:
    """Raise a ValueError when ``bad`` [N, ...] holds anywhere, naming the first example."""
    if bad.any():
        row = int(bad.nonzero()[0, 0])
        raise ValueError(
            f"{what} hold {int(bad.sum())} {kind} value(s), the first in example {row}; "
            "repair or leave out those examples"
        )
