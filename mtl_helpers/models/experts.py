"""Mixtures of experts: each task weighs the outputs of several small networks by a gate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mtl_helpers.models.backbones import mlp
from mtl_helpers.models.base import MultiTaskModel, by_task
from mtl_helpers.tasks import Task, by_name


class Experts(nn.Module):
    """E perceptrons of one shape, run side by side: linear + ReLU for each width.

    Args:
        count: E, how many.
        inputs: numbers in one example.
        hidden: width of each layer; the last is the number of features F.
        dtype: floating type of the parameters.

    Raises:
        ValueError: a number below 1, or no layer.
    """

    def __init__(
        self,
        count: int,
        inputs: int,
        hidden: Sequence[int],
        *,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        if not hidden or min(count, inputs, *hidden) < 1:
            raise ValueError(
                f"experts need positive numbers and a layer; found {count} experts of widths "
                f"{[inputs, *hidden]}"
            )
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for wide, next_wide in pairwise([inputs, *hidden]):
            bound = 1 / math.sqrt(wide)  # as in nn.Linear
            shape = (count, wide, next_wide)
            self.weights.append(torch.empty(shape, dtype=dtype).uniform_(-bound, bound))
            bias = torch.empty(count, 1, next_wide, dtype=dtype)
            self.biases.append(bias.uniform_(-bound, bound))
        self.count = count

    def forward(self, inputs: Tensor) -> Tensor:
        """Run all experts: [B, inputs], or [E, B, inputs] with an input for each -> [E, B, F]."""
        x = inputs if inputs.dim() == 3 else inputs.expand(self.count, *inputs.shape)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            x = torch.baddbmm(bias, x, weight).relu()
        return x


class _Towers(MultiTaskModel):
    """What mixtures share: a tower (perceptron and linear layer) a task, and gates to look at."""

    def __init__(
        self, tasks: Sequence[Task], features: int, tower: Sequence[int], dtype: torch.dtype
    ) -> None:
        super().__init__(tuple(by_name(tasks)))
        self.towers = by_task({t.name: _tower(features, tower, t.outputs, dtype) for t in tasks})
        self.gates: dict[str, Tensor] = {}

    def _outputs(self, features: dict[str, Tensor], gates: dict[str, Tensor]) -> dict[str, Tensor]:
        if not torch.compiler.is_compiling():
            self.gates = {name: gate.detach() for name, gate in gates.items()}
        return {name: self.towers[f"task_{name}"](x) for name, x in features.items()}


class MMoE(_Towers):
    """Multi-gate mixture of experts: all experts are shared, each task has a gate and a tower.

    Task k's features are sum_e softmax(W_k x)_e f_e(x). One expert is hard sharing. The gates of
    the last batch stay in ``gates``: {task: [B, E]}.

    Args:
        inputs: numbers in one example.
        tasks: the tasks.
        experts: E.
        hidden: widths of an expert.
        tower: widths of a task's hidden layers, before its last linear one; may be empty.
        dtype: floating type of the parameters.

    Source: Ma et al. 2018, doi:10.1145/3219819.3220007, equations 5 to 7.
    """

    def __init__(
        self,
        inputs: int,
        tasks: Sequence[Task],
        *,
        experts: int = 8,
        hidden: Sequence[int] = (16,),
        tower: Sequence[int] = (8,),
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__(tasks, hidden[-1], tower, dtype)
        self.experts = Experts(experts, inputs, hidden, dtype=dtype)
        self.gating = by_task(_gates(self.task_names, inputs, experts, dtype))

    def own_modules(self, name: str) -> Iterable[nn.Module]:
        """Give the task's gate and tower."""
        return [self.gating[f"task_{name}"], self.towers[f"task_{name}"]]

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Give every task's output: [B, inputs] -> {task name: [B, outputs]}."""
        found = self.experts(inputs)
        gates = {n: self.gating[f"task_{n}"](inputs).softmax(1) for n in self.task_names}
        return self._outputs({n: _mix(gate, found) for n, gate in gates.items()}, gates)


class PLE(_Towers):
    """Progressive layered extraction: experts of the tasks' own beside shared ones, in levels.

    At each level task k mixes its own experts and the shared ones by a gate; below the last level
    a shared stream mixes all experts, and the next level's shared experts read it. One level is CGC
    (customized gate control). Below the last level a task's experts feed the shared stream, so
    every task's loss reaches them: only those of the last level count as a task's own.

    The gates of the last batch at the last level stay in ``gates``: {task: [B, own + shared]}.

    Args:
        inputs: numbers in one example.
        tasks: the tasks.
        levels: how many.
        own: experts of each task at each level.
        shared: shared experts at each level.
        hidden: widths of an expert.
        tower: widths of a task's hidden layers, before its last linear one; may be empty.
        dtype: floating type of the parameters.

    Raises:
        ValueError: fewer than one level.

    Source: Tang et al. 2020, doi:10.1145/3383313.3412236, sections 4.1 and 4.2.
    """

    def __init__(
        self,
        inputs: int,
        tasks: Sequence[Task],
        *,
        levels: int = 2,
        own: int = 2,
        shared: int = 2,
        hidden: Sequence[int] = (16,),
        tower: Sequence[int] = (8,),
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__(tasks, hidden[-1], tower, dtype)
        if levels < 1:
            raise ValueError(f"PLE needs at least one level; found {levels}")
        widths = [inputs] + [hidden[-1]] * (levels - 1)
        self.levels = nn.ModuleList(
            _Level(self.task_names, wide, own, shared, hidden, last=i == levels - 1, dtype=dtype)
            for i, wide in enumerate(widths)
        )

    def own_modules(self, name: str) -> Iterable[nn.Module]:
        """Give the task's tower, its gates at all levels, and its experts of the last one."""
        gates = [level.gating[f"task_{name}"] for level in self.levels]
        return [self.towers[f"task_{name}"], *gates, self.levels[-1].own[f"task_{name}"]]

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Give every task's output: [B, inputs] -> {task name: [B, outputs]}."""
        streams, shared, gates = dict.fromkeys(self.task_names, inputs), inputs, {}
        for level in self.levels:
            streams, shared, gates = level(streams, shared)
        return self._outputs(streams, gates)


class CGC(PLE):
    """Customized gate control: PLE of one level (Tang et al. 2020, section 4.1).

    Args:
        inputs: numbers in one example.
        tasks: the tasks.
        options: as for :class:`PLE`, without ``levels``.
    """

    def __init__(self, inputs: int, tasks: Sequence[Task], **options: Any) -> None:
        super().__init__(inputs, tasks, levels=1, **options)


class _Level(nn.Module):
    """One level of PLE: experts, a gate for each task, and below the last one a shared gate."""

    def __init__(
        self,
        names: Sequence[str],
        inputs: int,
        own: int,
        shared: int,
        hidden: Sequence[int],
        *,
        last: bool,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.names = tuple(names)
        self.own = by_task({name: Experts(own, inputs, hidden, dtype=dtype) for name in names})
        self.shared = Experts(shared, inputs, hidden, dtype=dtype)
        self.gating = by_task(_gates(names, inputs, own + shared, dtype))
        every = len(names) * own + shared
        self.shared_gate = None if last else nn.Linear(inputs, every, bias=False, dtype=dtype)

    def forward(
        self, streams: dict[str, Tensor], shared: Tensor
    ) -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]:
        common = self.shared(shared)
        own = {name: self.own[f"task_{name}"](x) for name, x in streams.items()}
        gates = {name: self.gating[f"task_{name}"](x).softmax(1) for name, x in streams.items()}
        mixed = {name: _mix(gates[name], torch.cat([own[name], common])) for name in self.names}
        if self.shared_gate is not None:
            gate = self.shared_gate(shared).softmax(1)
            shared = _mix(gate, torch.cat([*own.values(), common]))
        return mixed, shared, gates


def _gates(
    names: Sequence[str], inputs: int, experts: int, dtype: torch.dtype
) -> dict[str, nn.Module]:
    return {name: nn.Linear(inputs, experts, bias=False, dtype=dtype) for name in names}


def _tower(features: int, tower: Sequence[int], outputs: int, dtype: torch.dtype) -> nn.Sequential:
    wide = [features, *tower][-1]
    hidden = list(mlp(features, tower, dtype=dtype)[1:]) if tower else []
    return nn.Sequential(*hidden, nn.Linear(wide, outputs, dtype=dtype))


def _mix(gate: Tensor, experts: Tensor) -> Tensor:
    """Weigh experts' outputs: [B, E], [E, B, F] -> [B, F]."""
    return torch.einsum("be,ebf->bf", gate, experts)
