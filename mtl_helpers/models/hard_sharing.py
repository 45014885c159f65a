"""Hard parameter sharing: one trunk for all tasks, one head for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mtl_helpers.models.backbones import feature_count
from mtl_helpers.tasks import Task, by_name


class HardSharing(nn.Module):
    """A shared trunk with one head a task (Caruana 1997, doi:10.1023/A:1007379606734).

    The trunk runs once for a batch, whatever the number of tasks. A single-task network is the
    same class with one head.

    Args:
        trunk: from inputs [B, ...] to features [B, F].
        heads: from features to outputs, by task name.

    Raises:
        ValueError: there is no head, or a name holds a dot.
        TypeError: a head is not a module.
    """

    def __init__(self, trunk: nn.Module, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        if not heads:
            raise ValueError("HardSharing needs at least one head; found none")
        for name, head in heads.items():
            if not isinstance(head, nn.Module):
                raise TypeError(
                    f"the head of task {name!r} must be an nn.Module; found {type(head).__name__}"
                )
            if not name or "." in name:
                raise ValueError(f"a task needs a name without dots; found {name!r}")
        self.trunk = trunk
        # ModuleDict, not a plain dict: modules in a plain dict would never be trained or saved.
        # The prefix keeps a task called "keys" or "type" from clashing with a method of ModuleDict.
        self.heads = nn.ModuleDict({f"task_{name}": head for name, head in heads.items()})
        self.task_names = tuple(heads)

    @classmethod
    def linear(
        cls,
        trunk: nn.Module,
        tasks: Sequence[Task],
        *,
        features: int | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> HardSharing:
        """Put one linear head a task on a trunk.

        Args:
            trunk: from inputs [B, ...] to features [B, F].
            tasks: the tasks; each head gets ``task.outputs`` outputs.
            features: F; read off the trunk's last linear layer when left out.
            dtype: floating type of the heads' parameters.

        Raises:
            ValueError: no task, a doubled name, or F cannot be read off the trunk.
        """
        wide = feature_count(trunk) if features is None else features
        named = by_name(tasks)
        return cls(trunk, {n: nn.Linear(wide, t.outputs, dtype=dtype) for n, t in named.items()})

    def features(self, inputs: Tensor) -> Tensor:
        """Run the shared trunk: [B, ...] -> [B, F]."""
        return self.trunk(inputs)

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Give every task's output: [B, ...] -> {task name: [B, outputs]}."""
        features = self.features(inputs)
        return {name: self.heads[f"task_{name}"](features) for name in self.task_names}

    def shared_parameters(self) -> list[nn.Parameter]:
        """Give the parameters that every task's loss reaches."""
        return list(self.trunk.parameters())

    def task_parameters(self, name: str) -> list[nn.Parameter]:
        """Give the parameters that belong to one task alone.

        Raises:
            KeyError: there is no head of that name.
        """
        if name not in self.task_names:
            raise KeyError(
                f"no head for task {name!r}; this model has {', '.join(self.task_names)}"
            )
        return list(self.heads[f"task_{name}"].parameters())
