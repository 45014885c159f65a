"""Measure each task's gradient, layer by layer, while a model trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl_helpers.balancing.losses import Balance
from mtl_helpers.balancing.make import make_balance
from mtl_helpers.tasks import Task


def layer_gradients(model: nn.Module, losses: Tensor) -> dict[str, Tensor]:
    """Give the gradient of every task's loss at every shared parameter.

    Args:
        model: has ``shared_parameters()``, as ``HardSharing`` has.
        losses: one loss a task, with its graph, [K]. The graph is kept; ``.grad`` is not touched.

    Returns:
        By parameter name, in the model's order: [K, P] with one row a task (zeros where a loss
        does not reach), P numbers in the parameter.

    Raises:
        ValueError: the model does not say what is shared, or shares nothing that is trained.
    """
    if not hasattr(model, "shared_parameters"):
        raise ValueError(
            f"layer_gradients needs a model with shared_parameters(), such as HardSharing; "
            f"{type(model).__name__} has not"
        )
    shared = {id(p) for p in model.shared_parameters() if p.requires_grad}
    named = {name: p for name, p in model.named_parameters() if id(p) in shared}
    if not named:
        raise ValueError(f"{type(model).__name__} shares no parameter that is trained")
    rows = [
        torch.autograd.grad(
            loss, list(named.values()), retain_graph=True, allow_unused=True, materialize_grads=True
        )
        for loss in losses
    ]
    return {
        name: torch.stack([grad.flatten() for grad in grads])
        for name, grads in zip(named, zip(*rows, strict=True), strict=True)
    }


def cosines(gradients: Tensor) -> Tensor:
    """Give the cosine of every two tasks' gradients: [K, P] -> [K, K]; 0 beside a zero gradient."""
    largest = gradients.abs().amax(dim=1, keepdim=True)  # the square of a tiny number would be 0
    directions = F.normalize(gradients / largest.where(largest > 0, 1), dim=1)
    return directions @ directions.T


class GradientProbe(Balance):
    """Let another balance work, and note the tasks' gradients before each of its steps.

    It costs one more backward pass a task on the steps it measures, and changes nothing else.

    Args:
        balance: what ``fit`` takes: a name, ``{task: weight}`` or a ``Balance`` (one that works at
            the features is refused: its graph is cut at the trunk's end).
        tasks: the tasks, or their names, in the order of the losses (uncertainty weighting wants
            to see the tasks: see ``make_balance``).
        every: measure the first step and every so many after it.

    Attributes:
        records: one dictionary a measured step: ``"step"``; ``"norms"`` {parameter name: [K]}, the
            length of each task's gradient; ``"cosines"`` {parameter name: [K, K]}; and under the
            name ``"all"`` both over all shared parameters together. Not part of a checkpoint.

    Raises:
        ValueError: ``every`` is below 1, or the balance does not fit.
    """

    def __init__(
        self,
        balance: str | Mapping[str, float] | Balance,
        tasks: Sequence[Task | str],
        *,
        every: int = 1,
    ) -> None:
        super().__init__([task.name if isinstance(task, Task) else task for task in tasks])
        self.inner = make_balance(balance, tasks)
        if every < 1 or self.inner.at_features:
            raise ValueError(
                "GradientProbe needs every >= 1 and a balance that works at the parameters; found "
                f"every={every} and {type(self.inner).__name__}"
            )
        self.lr, self.needs_losses_after_step = self.inner.lr, self.inner.needs_losses_after_step
        self.every, self.calls = every, 0
        self.records: list[dict[str, Any]] = []

    def forward(self, losses: Tensor, context: Mapping[str, Any] | None = None) -> Tensor:
        """Give the inner balance's total loss: [K] -> scalar."""
        return self.inner(losses, context)

    def backward(self, losses: Tensor, context: Mapping[str, Any] | None = None) -> None:
        """Measure when it is due, then let the inner balance fill ``.grad``.

        Raises:
            ValueError: the context holds no model (``fit`` and ``take_step`` give it).
        """
        if "model" not in (context or {}):
            raise ValueError("GradientProbe needs the model in the context; train with fit")
        step = context.get("step", self.calls)
        self.calls += 1
        if step % self.every == 0:
            found = layer_gradients(context["model"], losses)
            found["all"] = torch.cat(list(found.values()), dim=1)
            self.records.append(
                {
                    "step": step,
                    "norms": {name: g.norm(dim=1).tolist() for name, g in found.items()},
                    "cosines": {name: cosines(g).tolist() for name, g in found.items()},
                }
            )
        self.inner.backward(losses, context)

    def after_step(
        self, losses: Tensor | None = None, context: Mapping[str, Any] | None = None
    ) -> None:
        """Pass on what the inner balance wants to know."""
        self.inner.after_step(losses, context)

    def extra_repr(self) -> str:
        """Give the settings."""
        return f"every={self.every}"
