"""The recorded sweep of lesson 00: what the weight of a task does to both tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mtl_helpers.datasets import overlapping, overlapping_digits
from mtl_helpers.experiments import SeedResults, many_seeds
from mtl_helpers.models import HardSharing, backbones, hard_sharing, mlp
from mtl_helpers.tasks import classification
from mtl_helpers.teaching.studies import Sample, Study

TASKS = [classification("left", 10), classification("right", 10)]


def weight_dial(configuration: Mapping[str, Any], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Train at every weight of the left task; at 0 and 1 only one task is learned.

    The learning rate is tuned for each weight alike: the candidate with the best mean validation
    accuracy over the tuning seeds, counting only tasks that have a weight.

    Returns:
        One row a weight and seed: ``weight``, ``seed``, ``lr``, and the test accuracy of ``left``
        and ``right``.
    """
    rows = []
    for weight in configuration["weights"]:
        rates = configuration["learning_rates"]
        tuned = {
            lr: _validation(
                _train(configuration, weight, lr, configuration["tuning_seeds"]), weight
            )
            for lr in rates
        }
        lr = max(rates, key=lambda rate: tuned[rate])
        scores = _train(configuration, weight, lr, seeds).scores
        for i, seed in enumerate(seeds):
            row = {name: round(float(values[i]), 4) for name, values in scores.items()}
            rows.append({"weight": weight, "seed": seed, "lr": lr, **row})
    return rows


def _train(
    configuration: Mapping[str, Any], weight: float, lr: float, seeds: Sequence[int]
) -> SeedResults:
    steps = configuration["steps"]
    return many_seeds(
        lambda: HardSharing.linear(mlp(10 * 12, [64]), TASKS),
        TASKS,
        lambda seed: overlapping_digits(seed=seed),
        seeds=seeds,
        steps=steps,
        batch_size=configuration["batch_size"],
        lr=lr,
        weights={"left": weight, "right": 1 - weight},
        record_every=steps,
    )


def _validation(results: SeedResults, weight: float) -> float:
    """Mean validation accuracy after training, over the seeds and the tasks that have a weight."""
    counted = [k for k, w in (("left", weight), ("right", 1 - weight)) if w > 0]
    return float(torch.stack([results.curves.scores[k][:, -1] for k in counted]).mean())


STUDIES = [
    Study(
        name="00_weight_dial",
        question="What does the weight of a task do to both tasks?",
        configuration={
            "weights": [0.0, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999, 1.0],
            "learning_rates": [1e-3, 3e-3, 1e-2, 2e-2, 3e-2],
            "tuning_seeds": [100, 101, 102, 103, 104],
            "steps": 800,
            "batch_size": 50,
        },
        run=weight_dial,
        seeds=range(20),
        keys=("weight", "seed"),
        sample=Sample(
            {
                "weights": [0.5],
                "learning_rates": [3e-3],  # the one that the whole study chose at this weight
                "tuning_seeds": [100],
                "steps": 800,
                "batch_size": 50,
            },
            tolerance=0.01,  # ten of a thousand test pictures: processors differ
            seeds=[0, 1],
        ),
        code=[_train, _validation, overlapping, backbones, hard_sharing],
    )
]
