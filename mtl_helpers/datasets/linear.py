"""Small linear tasks, drawn: few examples, known parameters, one way of being related each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Draws = tuple[Tensor, Tensor, Tensor]  # as tied_tasks gives them


def two_linear_tasks(examples: int = 40) -> dict[str, tuple[Tensor, Tensor]]:
    """Draw two linear tasks that want different values of the same two parameters.

    Returns:
        For "task_1" and "task_2" the inputs [N, 2] and the targets [N] (noise 0.3).
    """
    rng = torch.Generator().manual_seed(1)
    normal = {"generator": rng, "dtype": torch.float64}
    drawn = {}
    for name, wanted, mix in (
        ("task_1", [1.0, -0.3], [[1.0, 0.4], [0.0, 0.5]]),
        ("task_2", [-0.2, 1.0], [[0.5, 0.0], [-0.3, 1.0]]),
    ):
        inputs = torch.randn(examples, 2, **normal) @ torch.tensor(mix, dtype=torch.float64)
        target = inputs @ torch.tensor(wanted, dtype=torch.float64)
        drawn[name] = (inputs, target + 0.3 * torch.randn(examples, **normal))
    return drawn


def three_at_odds(examples: int = 200) -> tuple[Tensor, Tensor]:
    """Draw three linear tasks of which each two are a little opposed (correlation -0.1).

    Returns:
        Inputs [N, 3] of unit spread that are uncorrelated in this very sample, targets [N, 3].
    """
    rng = torch.Generator().manual_seed(0)
    inputs = torch.linalg.qr(torch.randn(examples, 3, generator=rng, dtype=torch.float64)).Q
    inputs = inputs * math.sqrt(examples)
    alike = torch.full((3, 3), -0.1, dtype=torch.float64).fill_diagonal_(1.0)
    return inputs, inputs @ torch.linalg.cholesky(alike).T


def tied_tasks(seeds: Sequence[int], tasks: int = 8, examples: int = 8, inputs: int = 5) -> Draws:
    """Draw linear tasks in two groups; inside a group the true parameters are close.

    Args:
        seeds: one draw each, S in all.
        tasks: K, half of them in each group.
        examples: n, of training and of validation alike.
        inputs: D.

    Returns:
        Inputs [S, 2, K, n, D] (training and validation), targets [S, 2, K, n] and the true
        parameters [S, K, D].
    """

    def true(**normal: Any) -> Tensor:
        centres = torch.randn(2, inputs, **normal).repeat_interleave(tasks // 2, 0)
        return centres + 0.4 * torch.randn(tasks, inputs, **normal)

    return _drawn(true, seeds, examples)


def low_rank_tasks(seeds: Sequence[int], tasks: int = 12, examples: int = 8) -> Draws:
    """Draw linear tasks whose true parameters are mixtures of the same two directions of ten.

    Returns:
        As :func:`tied_tasks`: inputs [S, 2, K, n, 10], targets [S, 2, K, n], parameters [S, K, 10].
    """

    def true(**normal: Any) -> Tensor:
        return torch.randn(tasks, 2, **normal) @ torch.randn(2, 10, **normal) / math.sqrt(2)

    return _drawn(true, seeds, examples)


def _drawn(true: Callable[..., Tensor], seeds: Sequence[int], examples: int) -> Draws:
    """Draw examples with noise 0.5 for true parameters [K, D], which are drawn first."""
    drawn = []
    for seed in seeds:
        normal = {"generator": torch.Generator().manual_seed(seed), "dtype": torch.float64}
        theta = true(**normal)
        x = torch.randn(2, len(theta), examples, theta.shape[1], **normal)
        noise = torch.randn(2, len(theta), examples, **normal)
        drawn.append((x, (x @ theta[:, :, None])[..., 0] + 0.5 * noise, theta))
    x, y, parameters = (torch.stack(part) for part in zip(*drawn, strict=True))
    return x, y, parameters
