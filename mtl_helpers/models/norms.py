"""Batch normalisation for several tasks: own statistics for each, or statistics that stand still.

Batch normalisation learns gamma and beta. Its mean and variance are not learned: in training they
come from the batch, in evaluation from running averages. Where the inputs of two tasks differ, one
set of averages fits neither.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mtl_helpers.models.base import by_task


class TaskBatchNorm(nn.Module):
    """One batch normalisation a task: statistics, gamma and beta of its own.

    Which one works is said beforehand by :func:`use_task`; models made for it do so themselves.

    Args:
        norm: the layer that every task gets a copy of (``nn.BatchNorm1d``, ``2d`` or ``3d``).
        task_names: the tasks.

    Raises:
        TypeError: ``norm`` is another kind of layer.
        ValueError: no task, or a name that comes twice.

    Source: domain-specific batch normalisation, Chang et al. 2019, arXiv:1906.03950.
    """

    def __init__(self, norm: nn.Module, task_names: Sequence[str]) -> None:
        super().__init__()
        if not isinstance(norm, _BatchNorm):
            raise TypeError(
                f"TaskBatchNorm copies a batch normalisation; found {type(norm).__name__}. "
                "GroupNorm and LayerNorm keep no statistics, so they need no copies"
            )
        if not task_names or len(set(task_names)) < len(task_names):
            raise ValueError(f"tasks of different names are needed; found {list(task_names)}")
        self.norms = by_task({name: copy.deepcopy(norm) for name in task_names})
        self.active: str | None = None

    def of(self, name: str) -> nn.Module:
        """Give the layer of one task.

        Raises:
            KeyError: there is no such task.
        """
        if f"task_{name}" not in self.norms:
            known = [key.removeprefix("task_") for key in self.norms]
            raise KeyError(f"no batch normalisation for task {name!r}; there are {known}")
        return self.norms[f"task_{name}"]

    def forward(self, x: Tensor) -> Tensor:
        """Normalise with the active task's layer: [B, C, ...] -> [B, C, ...].

        Raises:
            RuntimeError: nobody has said which task the features belong to.
        """
        if self.active is None:
            raise RuntimeError(
                "this batch normalisation has one set of statistics a task and does not know whose "
                "features these are; call use_task(trunk, name) first, or use MultiInput"
            )
        return self.of(self.active)(x)


def per_task_batch_norm(trunk: nn.Module, task_names: Sequence[str]) -> nn.Module:
    """Copy a trunk and give every batch normalisation in it one layer a task.

    All tasks begin with the state that the layer has now. The other layers stay shared.

    Args:
        trunk: any module; it is left as it is.
        task_names: the tasks.

    Raises:
        ValueError: there is no batch normalisation in it, or the tasks' names are not different.
    """
    done = _replace(
        copy.deepcopy(trunk), _BatchNorm, lambda norm: TaskBatchNorm(norm, task_names), {}
    )
    if not any(isinstance(module, TaskBatchNorm) for module in done.modules()):
        raise ValueError(
            f"this {type(trunk).__name__} holds no batch normalisation, so there are no statistics "
            "to keep apart; add nn.BatchNorm1d or nn.BatchNorm2d layers to it"
        )
    return done


def _replace(
    module: nn.Module,
    kind: type[nn.Module],
    change: Callable[[nn.Module], nn.Module],
    seen: dict[int, nn.Module],
) -> nn.Module:
    """Replace every module of a kind, down to the smallest; one used twice stays one."""
    if id(module) not in seen:
        if isinstance(module, TaskBatchNorm):
            seen[id(module)] = module
        elif isinstance(module, kind):
            seen[id(module)] = change(module)
        else:
            seen[id(module)] = module
            for name, child in list(module.named_children()):
                setattr(module, name, _replace(child, kind, change, seen))
    return seen[id(module)]


def use_task(module: nn.Module, name: str | None) -> None:
    """Say whose features come next: make one task active in every :class:`TaskBatchNorm` inside.

    Args:
        module: a trunk or a whole model; without such layers nothing happens.
        name: the task; None for no one.

    Raises:
        KeyError: a layer inside has no such task.
    """
    for layer in module.modules():
        if isinstance(layer, TaskBatchNorm):
            if name is not None:
                layer.of(name)
            layer.active = name


def freeze_statistics(module: nn.Module, frozen: bool = True) -> None:
    """Let the batch normalisations inside use their running averages in training too.

    The averages then stand still, and a batch of one can be trained on; gamma and beta still learn.
    It is a switch: ``model.train()``, which ``fit`` calls, does not undo it.

    Args:
        module: a trunk or a whole model.
        frozen: False gives the usual behaviour back.

    Raises:
        ValueError: a layer inside keeps no running averages (``track_running_stats=False``).
    """
    for name, layer in module.named_modules():
        if isinstance(layer, _BatchNorm):
            if layer.running_mean is None:
                raise ValueError(
                    f"the batch normalisation {name!r} keeps no running averages, so there is "
                    "nothing to freeze; make it with track_running_stats=True"
                )
            handle = layer.__dict__.pop("frozen_by", None)
            if handle is not None:
                handle.remove()
            if frozen:
                layer.frozen_by = layer.register_forward_pre_hook(_into_eval)
            layer.train(module.training and not frozen)


def _into_eval(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Run before the layer: whatever switched it to training, it evaluates."""
    layer.eval()
