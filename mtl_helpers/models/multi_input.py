"""Tasks that each have an input of their own, and share a trunk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mtl_helpers.models.backbones import feature_count
from mtl_helpers.models.base import MultiTaskModel, by_task, linear_heads, run
from mtl_helpers.models.norms import TaskBatchNorm, use_task
from mtl_helpers.tasks import Task


class MultiInput(MultiTaskModel):
    """A shared trunk for tasks with different inputs: task k reads ``inputs[:, k]``.

    Row i of a batch holds one input for each task, in the order of the heads; they need not have
    anything to do with each other (one task's pictures from one scanner, the other's from another).

    Args:
        trunk: from one task's inputs [B, ...] to features [B, F].
        heads: from features to outputs, by task name.
        passes: ``"mixed"`` sends the inputs of all tasks through the trunk at once; a batch
            normalisation in it then takes its statistics over all of them. ``"alternating"`` sends
            one task's after the other's: each is normalised by its own batch's statistics, and all
            move the same running averages, the later tasks' counting more. A trunk of
            :func:`per_task_batch_norm` needs ``"alternating"``, and keeps everything apart.

    Raises:
        ValueError: no head, an unknown way to pass, or ``"mixed"`` with normalisations of the
            tasks' own.
        TypeError: a head is not a module.
    """

    def __init__(
        self, trunk: nn.Module, heads: Mapping[str, nn.Module], *, passes: str = "mixed"
    ) -> None:
        super().__init__(tuple(heads))
        if passes not in ("mixed", "alternating"):
            raise ValueError(f"passes must be 'mixed' or 'alternating'; found {passes!r}")
        self.own_norms = [m for m in trunk.modules() if isinstance(m, TaskBatchNorm)]
        if self.own_norms and passes == "mixed":
            raise ValueError(
                "a batch normalisation with one set of statistics a task cannot take all tasks' "
                "inputs at once; use passes='alternating'"
            )
        for norm in self.own_norms:
            for name in self.task_names:
                norm.of(name)
        self.trunk, self.passes = trunk, passes
        self.heads = by_task(heads)

    @classmethod
    def linear(
        cls,
        trunk: nn.Module,
        tasks: Sequence[Task],
        *,
        passes: str = "mixed",
        features: int | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> MultiInput:
        """Put one linear head a task on a trunk: as ``HardSharing.linear``."""
        wide = feature_count(trunk) if features is None else features
        return cls(trunk, linear_heads(tasks, wide, dtype), passes=passes)

    def own_modules(self, name: str) -> Iterable[nn.Module]:
        """Give the task's head, and its batch normalisations where it has some."""
        return [self.heads[f"task_{name}"], *(norm.of(name) for norm in self.own_norms)]

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Give every task's output for its own input: [B, K, ...] -> {task name: [B, outputs]}.

        Raises:
            ValueError: the second axis is not one input a task.
        """
        if inputs.dim() < 3 or inputs.shape[1] != len(self.task_names):
            raise ValueError(
                f"MultiInput wants one input for each of {list(self.task_names)}, so inputs of "
                f"shape (B, {len(self.task_names)}, ...); found {tuple(inputs.shape)}"
            )
        if self.passes == "mixed":
            features = run(self.trunk, inputs.flatten(0, 1), "the trunk")
            parts = features.unflatten(0, inputs.shape[:2]).unbind(1)
        else:
            each = zip(self.task_names, inputs.unbind(1), strict=True)
            parts = [self._features(name, x) for name, x in each]
        return {
            name: run(self.heads[f"task_{name}"], x, f"the head of task {name!r}")
            for name, x in zip(self.task_names, parts, strict=True)
        }

    def _features(self, name: str, inputs: Tensor) -> Tensor:
        use_task(self.trunk, name)
        try:
            return run(self.trunk, inputs, f"the trunk, for task {name!r},")
        finally:
            use_task(self.trunk, None)
