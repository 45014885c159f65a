"""What a model costs: parameters, multiply-adds and time, shared and for each task."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mtl_helpers.models.base import MultiTaskModel


@dataclass(frozen=True)
class Size:
    """The price of a model.

    Attributes:
        parameters: numbers it learns, by ``"shared"`` and by task name.
        multiply_adds: multiplications (each with its addition) of one example's forward pass, by
            ``"shared"`` and by task name. As PyTorch's counter does, only matrix products and
            convolutions count; where a shared layer runs once for each task, each run counts as
            shared.
        seconds: of one forward and backward pass over the batch given, the least of several; None
            where it was not asked for.
    """

    parameters: dict[str, int]
    multiply_adds: dict[str, float]
    seconds: float | None

    @property
    def total_parameters(self) -> int:
        """All parameters."""
        return sum(self.parameters.values())

    @property
    def total_multiply_adds(self) -> float:
        """All multiply-adds of one example's forward pass."""
        return sum(self.multiply_adds.values())


def size_report(model: MultiTaskModel, inputs: Tensor, *, repeats: int = 0) -> Size:
    """Count parameters and multiply-adds, and measure time.

    Args:
        model: any model of this package; its mode and its gradients are left as they are.
        inputs: a batch [B, ...].
        repeats: how often to time a forward and backward pass; 0 for no timing.
    """
    owner = {id(p): n for n in model.task_names for p in model.task_parameters(n)}
    parameters = dict.fromkeys(("shared", *model.task_names), 0)
    for parameter in model.parameters():
        parameters[owner.get(id(parameter), "shared")] += parameter.numel()
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(inputs)
    finally:
        model.train(was_training)
    counts = counter.get_flop_counts()
    whole, root = sum(counts["Global"].values()), type(model).__name__
    multiply_adds = {"shared": 0.0} | {
        task: sum(sum(counts.get(f"{root}.{name}", {}).values()) for name in _own(model, task))
        for task in model.task_names
    }
    multiply_adds["shared"] = whole - sum(multiply_adds.values())
    per_example = {name: count / 2 / len(inputs) for name, count in multiply_adds.items()}
    return Size(parameters, per_example, _seconds(model, inputs, repeats))


def _own(model: MultiTaskModel, task: str) -> list[str]:
    """Give the names of a task's own modules in the model."""
    own = {id(module) for module in model.own_modules(task)}
    names = [name for name, module in model.named_modules() if id(module) in own]
    containers = {n for n, m in model.named_modules() if isinstance(m, torch.nn.ModuleList)}
    found = []
    for name in names:  # a list of modules is never run itself: its parts are
        parts = [n for n, _ in model.named_modules() if n.rpartition(".")[0] == name]
        found += parts if name in containers else [name]
    return found


def _seconds(model: MultiTaskModel, inputs: Tensor, repeats: int) -> float | None:
    """Time one forward and backward pass: the least of several, after one to warm up."""
    if repeats < 1:
        return None
    kept = [parameter.grad for parameter in model.parameters()]
    times = []
    for _ in range(repeats + 1):
        for parameter in model.parameters():
            parameter.grad = None
        start = time.perf_counter()
        sum(output.sum() for output in model(inputs).values()).backward()
        if inputs.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    for parameter, grad in zip(model.parameters(), kept, strict=True):
        parameter.grad = grad
    return min(times[1:])
