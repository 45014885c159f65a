"""Two tasks over one input number, one with few labels: the film of "relatives and strangers"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from mtl_helpers.datasets.base import MultiTaskData, Splits
from mtl_helpers.experiments import SeedResults, many_seeds
from mtl_helpers.models import HardSharing
from mtl_helpers.tasks import regression
from mtl_helpers.teaching.studies import Sample, Study

FEW, MANY = regression("few"), regression("many")


def one_input(examples: int, labelled: int, seed: int, related: bool = True) -> MultiTaskData:
    """Draw x in -2..2 and the targets of both tasks; only the first examples are labelled for few.

    Args:
        examples: N.
        labelled: how many of them have a label for ``few``; the others hold nan.
        seed: of inputs and noise.
        related: whether ``many`` bends where ``few`` bends, upside down; else it bends elsewhere.

    Returns:
        Inputs [N, 1] and the targets ``few`` and ``many`` [N], with noise of 0.1.
    """
    rng = torch.Generator().manual_seed(seed)
    x = 4 * torch.rand(examples, 1, generator=rng, dtype=torch.float64) - 2
    noise = 0.1 * torch.randn(examples, 2, generator=rng, dtype=torch.float64)
    wave = torch.sin(2 * x[:, 0])
    other = 0.3 - 0.8 * wave if related else torch.cos(3 * x[:, 0] + 1)
    few, many = wave + noise[:, 0], other + noise[:, 1]
    few[labelled:] = float("nan")
    return MultiTaskData(x, {"few": few, "many": many})


def network(names: Sequence[str], width: int) -> HardSharing:
    """Make a trunk from one number to ``width`` shared features, and a linear head per task."""
    trunk = nn.Sequential(
        nn.Linear(1, 16, dtype=torch.float64), nn.Tanh(), nn.Linear(16, width, dtype=torch.float64)
    )
    tasks = [task for task in (FEW, MANY) if task.name in names]
    return HardSharing.linear(trunk, tasks, features=width)


def _draw(related: bool, seed: int) -> Splits:
    first = 10**9 + 3 * seed  # far from the seeds of the networks
    sizes = ((40, 8), (40, 40), (500, 500))
    return Splits(*(one_input(*size, first + i, related) for i, size in enumerate(sizes)))


def by_width(configuration: Mapping[str, Any], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Learn few alone, with its relative and with a stranger, for several widths of the trunk.

    The learning rate of each arm is tuned on the validation loss of ``few``.

    Returns:
        One row per arm, width and seed: ``arm``, ``width``, ``seed``, ``lr`` and the test ``rmse``.
    """
    rows = []
    for arm, (names, related) in configuration["arms"].items():
        for width in configuration["widths"]:
            train = partial(_train, names, related, width, configuration["steps"])
            trial = {
                lr: float(
                    train(lr, configuration["tuning_seeds"]).curves.losses["few"][:, -1].mean()
                )
                for lr in configuration["learning_rates"]
            }
            lr = min(trial, key=lambda rate: trial[rate])
            scores = train(lr, seeds).scores["few"].tolist()
            setting = {"arm": arm, "width": width, "lr": lr}
            rows += [
                {**setting, "seed": seed, "rmse": round(score, 4)}
                for seed, score in zip(seeds, scores, strict=True)
            ]
    return rows


def _train(
    names: Sequence[str], related: bool, width: int, steps: int, lr: float, seeds: Sequence[int]
) -> SeedResults:
    return many_seeds(
        lambda: network(names, width),
        [task for task in (FEW, MANY) if task.name in names],
        partial(_draw, related),
        seeds=seeds,
        steps=steps,
        batch_size=None,
        lr=lr,
        record_every=steps,
    )


WIDTHS = {
    "arms": {
        "alone": [["few"], True],
        "with the relative": [["few", "many"], True],
        "with the stranger": [["few", "many"], False],
    },
    "widths": [1, 2, 4, 8],
    "learning_rates": [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5],
    "steps": 300,
    "tuning_seeds": list(range(100_000, 100_008)),
}
STUDIES = [
    Study(
        name="01_stranger_width",
        question="What does a related task give, and a stranger cost, by the width of the trunk?",
        configuration=WIDTHS,
        run=by_width,
        seeds=range(30),
        keys=("arm", "width", "seed"),
        sample=Sample(
            {
                **WIDTHS,
                "arms": {"with the relative": [["few", "many"], True]},
                "widths": [1],
                "learning_rates": [0.05],
                "tuning_seeds": [100_000],
            },
            0.02,
        ),
        code=[one_input, network],
    )
]
