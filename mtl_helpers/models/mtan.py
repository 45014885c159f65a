"""MTAN: one convolutional trunk, and for each task attention masks that pick from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from mtl_helpers.models.base import MultiTaskModel, by_task, linear_heads
from mtl_helpers.tasks import Task


class MTAN(MultiTaskModel):
    """A shared stack of convolutions, looked at through a mask of each task at each stage.

    Stage j of the trunk: u = ReLU(conv(x)), p = ReLU(conv(u)), then 2x2 pooling. Task k keeps its
    own stream s: mask = sigmoid(h(ReLU(g([u, s])))), s' = pool(f(mask * p)), with g and h 1x1
    convolutions of the task's own and f a 3x3 one that all tasks share, each with batch norm. The
    trunk runs once for all tasks, f once for each.

    Args:
        image: shape of one input, (channels, height, width), in pixels.
        tasks: the tasks.
        channels: channels of the trunk's stages.
        dtype: floating type of the parameters.

    Raises:
        ValueError: ``image`` is not (channels, height, width), or too small for the pooling.

    Source: Liu, Johns & Davison 2019, arXiv:1803.10704, section 3, for an encoder.
    """

    def __init__(
        self,
        image: Sequence[int],
        tasks: Sequence[Task],
        channels: Sequence[int] = (8, 16),
        *,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__([task.name for task in tasks])
        smallest = 2 ** len(channels)
        if len(image) != 3 or min(image[1:]) < smallest:
            raise ValueError(
                f"image must be (channels, height, width) of at least {smallest}x{smallest} pixels "
                f"for {len(channels)} poolings; found {tuple(image)}"
            )
        widths = list(pairwise([image[0], *channels]))
        self.first = nn.ModuleList([_convolution(a, b, 3, nn.ReLU(), dtype) for a, b in widths])
        self.second = nn.ModuleList([_convolution(b, b, 3, nn.ReLU(), dtype) for _, b in widths])
        self.pool = nn.MaxPool2d(2)
        before = [0, *channels]
        self.masks = by_task({n: self._masks(widths, before, dtype) for n in self.task_names})
        self.picked = nn.ModuleList([_convolution(b, b, 3, nn.ReLU(), dtype) for _, b in widths])
        self.heads = by_task(linear_heads(tasks, channels[-1], dtype))
        self.attention: dict[str, list[Tensor]] = {}

    @staticmethod
    def _masks(
        widths: Sequence[tuple[int, int]], before: Sequence[int], dtype: torch.dtype
    ) -> nn.ModuleList:
        return nn.ModuleList(
            nn.Sequential(
                _convolution(wide + own, wide, 1, nn.ReLU(), dtype),
                _convolution(wide, wide, 1, nn.Sigmoid(), dtype),
            )
            for (_, wide), own in zip(widths, before, strict=False)
        )

    def own_modules(self, name: str) -> Iterable[nn.Module]:
        """Give the task's masks and its head."""
        return [part[f"task_{name}"] for part in (self.masks, self.heads)]

    def trunk(self, inputs: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Run the shared stages: [B, C, H, W] -> (u, p) of each."""
        found, x = [], inputs
        for first, second in zip(self.first, self.second, strict=True):
            u = first(x)
            p = second(u)
            found.append((u, p))
            x = self.pool(p)
        return found

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Give every task's output: [B, C, H, W] -> {task name: [B, outputs]}.

        The masks of the last batch stay in ``attention``: {task: [B, channels, H, W] by stage}.
        """
        stages, outputs, seen = self.trunk(inputs), {}, {}
        for name in self.task_names:
            own, seen[name] = None, []
            for (u, p), mask, picked in zip(
                stages, self.masks[f"task_{name}"], self.picked, strict=True
            ):
                weights = mask(u if own is None else torch.cat([u, own], dim=1))
                own = self.pool(picked(weights * p))
                seen[name].append(weights.detach())
            outputs[name] = self.heads[f"task_{name}"](own.mean((2, 3)))
        if not torch.compiler.is_compiling():
            self.attention = seen
        return outputs


def _convolution(
    inputs: int, outputs: int, size: int, last: nn.Module, dtype: torch.dtype
) -> nn.Sequential:
    """Make convolution, batch norm and a nonlinearity that keep height and width."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, dtype=dtype),
        nn.BatchNorm2d(outputs, dtype=dtype),
        last,
    )
