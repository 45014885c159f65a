"""What every way of sharing has in common: outputs by task, and whose parameter is whose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mtl_helpers.tasks import Task, by_name


class MultiTaskModel(nn.Module):
    """A model with one output a task: ``forward(x)`` gives ``{task name: output}``.

    Every parameter is either shared (the losses of several tasks may reach it) or one task's own
    (no other task's loss ever reaches it). Subclasses say which are whose in ``own_modules``. A
    layer that stands in a task's own modules and somewhere else as well is shared.

    Args:
        task_names: the tasks, in the order of the outputs.

    Raises:
        ValueError: no task, a doubled name, or a name with a dot.
    """

    def __init__(self, task_names: Sequence[str]) -> None:
        super().__init__()
        self.task_names = tuple(task_names)
        if not self.task_names or len(set(self.task_names)) < len(self.task_names):
            raise ValueError(f"a model needs tasks with different names; found {self.task_names}")
        for name in self.task_names:
            if not isinstance(name, str) or not name or "." in name:
                raise ValueError(f"a task needs a name without dots; found {name!r}")

    def own_modules(self, name: str) -> Iterable[nn.Module]:
        """Give the modules (or lists of them) that belong to one task alone."""
        raise NotImplementedError

    def task_parameters(self, name: str) -> list[nn.Parameter]:
        """Give the parameters that belong to one task alone.

        Raises:
            KeyError: there is no task of that name.
        """
        if name not in self.task_names:
            raise KeyError(
                f"no head for task {name!r}; this model has {', '.join(self.task_names)}"
            )
        inside = self._places(self.own_modules(name))
        everywhere = self._places([self])
        return [p for key, (p, count) in inside.items() if count == everywhere[key][1]]

    @staticmethod
    def _places(modules: Iterable[nn.Module]) -> dict[int, tuple[nn.Parameter, int]]:
        """Give every parameter below some modules by its id, with the number of its places."""
        found: dict[int, tuple[nn.Parameter, int]] = {}
        for module in modules:
            for _, parameter in module.named_parameters(remove_duplicate=False):
                count = found.get(id(parameter), (parameter, 0))[1]
                found[id(parameter)] = (parameter, count + 1)
        return found

    def tied_parameters(self) -> list[nn.Parameter]:
        """Give the shared parameters that some task's own modules hold as well."""
        shared = {id(p) for p in self.shared_parameters()}
        own = self._places(m for name in self.task_names for m in self.own_modules(name))
        return [p for key, (p, _) in own.items() if key in shared]

    def shared_parameters(self) -> list[nn.Parameter]:
        """Give the parameters that belong to no task alone."""
        own = {id(p) for name in self.task_names for p in self.task_parameters(name)}
        return [p for p in self.parameters() if id(p) not in own]


def by_task(modules: Mapping[str, nn.Module]) -> nn.ModuleDict:
    """Register one module a task.

    A plain dict or list would neither be trained nor saved. The prefix keeps a task called "keys"
    or "type" from clashing with a method of ModuleDict.

    Raises:
        TypeError: something is not a module.
    """
    for name, module in modules.items():
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"the head of task {name!r} must be an nn.Module; found {type(module).__name__}"
            )
    return nn.ModuleDict({f"task_{name}": module for name, module in modules.items()})


def linear_heads(tasks: Sequence[Task], features: int, dtype: torch.dtype) -> dict[str, nn.Module]:
    """Make one linear layer a task: [B, features] -> [B, task.outputs]."""
    named = by_name(tasks)
    return {name: nn.Linear(features, task.outputs, dtype=dtype) for name, task in named.items()}


def run(stage: nn.Module, features: Tensor, place: str) -> Tensor:
    """Run a stage of a network; say which one when its input does not fit.

    Raises:
        ValueError: the stage refuses a tensor of this shape.
    """
    try:
        return stage(features)
    except RuntimeError as error:
        if torch.compiler.is_compiling():
            raise
        raise ValueError(
            f"{place} cannot take features of shape {tuple(features.shape)}: {error}. Give it "
            "layers that fit what comes before, or larger images"
        ) from error
