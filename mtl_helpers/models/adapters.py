"""Two ways between one trunk and a network for each task: scale and shift, and a penalty."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from mtl_helpers.models.backbones import feature_count
from mtl_helpers.models.base import MultiTaskModel, by_task, linear_heads, run
from mtl_helpers.tasks import Task


class FiLM(MultiTaskModel):
    """A shared trunk whose features each task scales and shifts after every stage.

    After stage s task k goes on with gamma_sk * x + beta_sk, one number per channel. They start at
    1 and 0, where every task sees the plain trunk. The first stage sees the same input for every
    task, so it runs once; behind the first adapter the tasks' features differ, and every later
    stage runs once for each task. What the last adapter does, a linear head could do as well.

    Args:
        stages: the trunk, a sequence of stages, the last ending in features [B, F].
        channels: size of the second axis after each stage, the last being F.
        tasks: the tasks.
        dtype: floating type of the adapters and the heads.

    Raises:
        ValueError: stages and channels do not fit each other.

    Source: Perez et al. 2018, arXiv:1709.07871, equation 2. There gamma and beta are computed from
    a second input, and act before the ReLU; here each task learns its own, and they act on what a
    stage gives, behind its ReLU.
    """

    def __init__(
        self,
        stages: Sequence[nn.Module],
        channels: Sequence[int],
        tasks: Sequence[Task],
        *,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__([task.name for task in tasks])
        if not stages or len(stages) != len(channels):
            raise ValueError(
                f"FiLM needs the number of channels after each stage; found {len(stages)} stages "
                f"and channels {list(channels)}"
            )
        self.stages = nn.ModuleList(stages)
        self.adapters = by_task(
            {name: nn.ModuleList(_Film(c, dtype) for c in channels) for name in self.task_names}
        )
        self.heads = by_task(linear_heads(tasks, channels[-1], dtype))

    def own_modules(self, name: str) -> Iterable[nn.Module]:
        """Give the task's adapters and its head."""
        return [self.adapters[f"task_{name}"], self.heads[f"task_{name}"]]

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Give every task's output: [B, ...] -> {task name: [B, outputs]}."""
        first = run(self.stages[0], inputs, "stage 0")  # no adapter yet: the same for every task
        outputs = {}
        for name in self.task_names:
            adapters = self.adapters[f"task_{name}"]
            x = run(adapters[0], first, "the adapter behind stage 0")
            for number in range(1, len(self.stages)):
                x = run(self.stages[number], x, f"stage {number}")
                x = run(adapters[number], x, f"the adapter behind stage {number}")
            outputs[name] = self.heads[f"task_{name}"](x)
        return outputs


class _Film(nn.Module):
    """Scale and shift each channel: [B, C, ...] -> [B, C, ...]."""

    def __init__(self, channels: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, dtype=dtype))
        self.beta = nn.Parameter(torch.zeros(channels, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        shape = (1, -1) + (1,) * (x.dim() - 2)
        return self.gamma.view(shape) * x + self.beta.view(shape)


class SoftSharing(MultiTaskModel):
    """One network a task, and a penalty on the distance between their trunks.

    ``fit`` adds the gradient of ``penalty()`` at every step. No parameter is shared, so there is
    nothing for gradient methods to balance.

    Args:
        make_trunk: gives a new trunk, ending in features [B, F].
        tasks: the tasks.
        strength: of the penalty: strength * mean over pairs of |theta_i - theta_j|². 0 leaves
            separate networks.
        features: F; read off the trunk's last linear layer when left out.
        dtype: floating type of the heads.

    Raises:
        ValueError: a negative strength.

    Source: Duong et al. 2015, doi:10.3115/v1/P15-2139; Evgeniou & Pontil 2004,
    doi:10.1145/1014052.1014067.
    """

    def __init__(
        self,
        make_trunk: Callable[[], nn.Module],
        tasks: Sequence[Task],
        *,
        strength: float = 0.01,
        features: int | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__([task.name for task in tasks])
        if not 0 <= strength < float("inf"):
            raise ValueError(f"strength must be a number of at least 0; found {strength}")
        trunks = {name: make_trunk() for name in self.task_names}
        first = trunks[self.task_names[0]]
        wide = feature_count(first) if features is None else features
        self.trunks, self.strength = by_task(trunks), strength
        self.heads = by_task(linear_heads(tasks, wide, dtype))

    def own_modules(self, name: str) -> Iterable[nn.Module]:
        """Give the task's trunk and head."""
        return [self.trunks[f"task_{name}"], self.heads[f"task_{name}"]]

    def penalty(self) -> Tensor:
        """Give the strength times the mean squared distance between two trunks, a scalar."""
        trunks = [list(trunk.parameters()) for trunk in self.trunks.values()]
        apart = [
            sum((a - b).square().sum() for a, b in zip(one, other, strict=True))
            for one, other in combinations(trunks, 2)
        ]
        none = trunks[0][0].new_zeros(())
        return self.strength * sum(apart, none) / max(len(apart), 1)

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Give every task's output: [B, ...] -> {task name: [B, outputs]}."""
        return {
            name: self.heads[f"task_{name}"](
                run(self.trunks[f"task_{name}"], inputs, f"the trunk of task {name!r}")
            )
            for name in self.task_names
        }
