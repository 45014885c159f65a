"""Balances: they turn the losses of K tasks into the one number that is minimised.

All follow one small protocol (:class:`Balance`). Lessons 02 and 04 explain them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Balance(nn.Module):
    """What ``fit`` asks of a balance.

    Parameters of the module, if it has any, are given to the optimiser by ``fit``; its state is
    saved in checkpoints.

    Args:
        task_names: the tasks, in the order of the losses.
    """

    def __init__(self, task_names: Sequence[str]) -> None:
        super().__init__()
        self.task_names = tuple(task_names)

    def forward(self, losses: Tensor, context: Mapping[str, Any] | None = None) -> Tensor:
        """Give the total loss: task losses [K] -> scalar.

        Args:
            losses: one loss a task, in the order of ``task_names``.
            context: what else a method may need (the step, the shared parameters).
        """
        raise NotImplementedError


class FixedWeights(Balance):
    """The weighted sum L = sum_k w_k L_k.

    Args:
        weights: the weight of each task.
        task_names: the tasks; taken from ``weights`` when left out.

    Raises:
        ValueError: a task without a weight, a weight without a task, a weight that is negative or
            not a number, or weights that are all zero.
    """

    def __init__(self, weights: Mapping[str, float], task_names: Sequence[str] | None = None):
        names = tuple(weights) if task_names is None else tuple(task_names)
        super().__init__(names)
        check_weights(weights, names)
        values = torch.tensor([float(weights[name]) for name in names], dtype=torch.float64)
        self.register_buffer("weights", values)

    def forward(self, losses: Tensor, context: Mapping[str, Any] | None = None) -> Tensor:
        """Give the weighted sum: [K] -> scalar."""
        return (self.weights.to(losses) * losses).sum()


class EqualWeights(FixedWeights):
    """The simple sum L = sum_k L_k: every weight is 1 (the *unitary* sum).

    Source: the baseline of Kurin et al. 2022, arXiv:2201.04122.
    """

    def __init__(self, task_names: Sequence[str]) -> None:
        super().__init__(dict.fromkeys(task_names, 1.0))


def check_weights(weights: Mapping[str, float], task_names: Sequence[str]) -> None:
    """Refuse task weights that do not fit the tasks or cannot be minimised.

    Raises:
        ValueError: see :class:`FixedWeights`.
    """
    missing = [name for name in task_names if name not in weights]
    unknown = [name for name in weights if name not in task_names]
    if missing or unknown:
        raise ValueError(
            f"weights must name every task once; tasks are {list(task_names)}, "
            f"without a weight: {missing}, not a task: {unknown}"
        )
    for name, weight in weights.items():
        if not math.isfinite(weight) or weight < 0:
            raise ValueError(
                f"task {name!r}: a weight must be a number of at least 0, found {weight}; "
                "a negative weight would make the task worse on purpose"
            )
    if not any(weights.values()):
        raise ValueError("all task weights are zero, so there is nothing to learn; raise one")


def make_balance(
    balance: str | Mapping[str, float] | Balance, task_names: Sequence[str]
) -> Balance:
    """Give the balance that ``fit(..., balance=...)`` asks for.

    Args:
        balance: ``"equal"``, a dictionary of fixed weights, or a :class:`Balance`.
        task_names: the tasks, in the order of the losses.

    Raises:
        ValueError: an unknown name, weights that do not fit, or a balance for other tasks.
    """
    if isinstance(balance, Balance):
        if balance.task_names != tuple(task_names):
            raise ValueError(
                f"this balance was made for tasks {list(balance.task_names)}; "
                f"the tasks here are {list(task_names)}, and their order counts"
            )
        return balance
    if isinstance(balance, Mapping):
        return FixedWeights(balance, task_names)
    if balance == "equal":
        return EqualWeights(task_names)
    raise ValueError(
        f"unknown balance {balance!r}; use 'equal', a dictionary of weights, or a Balance"
    )
