"""The recorded sweeps of lesson 03: where to split, when one trunk is not enough, what it costs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mtl_helpers.datasets import regression as datasets_regression
from mtl_helpers.datasets.base import MultiTaskData, Splits
from mtl_helpers.datasets.regression import mmoe_synthetic
from mtl_helpers.experiments import many_seeds
from mtl_helpers.lessons.lesson_03 import corners
from mtl_helpers.models import (
    PLE,
    HardSharing,
    MMoE,
    MultiTaskModel,
    backbones,
    experts,
    hard_sharing,
    mlp,
)
from mtl_helpers.tasks import Task, regression
from mtl_helpers.teaching.studies import Sample, Study

Configuration = Mapping[str, Any]
F64 = torch.float64


# ----------------------------------------------------------------------------- how all are tuned


@dataclass(frozen=True)
class Settings:
    """What tuning chose.

    Attributes:
        value: what chose, the mean over tuning seeds and tasks.
        choice: the number of the candidate.
        lr: the learning rate.
        steps: the step to stop at.
    """

    value: float
    choice: int
    lr: float
    steps: int


def tune(
    candidates: Sequence[Callable[[], nn.Module]],
    tasks: Sequence[Task],
    make_data: Callable[[int], Splits],
    configuration: Configuration,
    *,
    method: str,
    by: str = "losses",
) -> Settings:
    """Choose candidate, learning rate and steps by the validation data of the tuning seeds.

    Args:
        candidates: each gives a new model; one, unless there is more to choose than the rate.
        tasks: what to learn.
        make_data: from a seed to its data.
        configuration: ``learning_rates``, ``tuning_seeds``, ``steps``, ``record_every``,
            ``batch_size``.
        method: of ``many_seeds``; ``"vmap"`` stacks the seeds, ``"loop"`` suits convolutions.
        by: ``"losses"``, or ``"scores"`` where a lower score is better.
    """
    tried = []
    for choice, lr in itertools.product(range(len(candidates)), configuration["learning_rates"]):
        curves = many_seeds(
            candidates[choice], tasks, make_data, seeds=configuration["tuning_seeds"], lr=lr,
            steps=configuration["steps"], record_every=configuration["record_every"],
            batch_size=configuration["batch_size"], method=method, optimizer="adamw",
            weight_decay=configuration.get("weight_decay", 0.0),
        ).curves  # fmt: skip
        values = torch.stack(list(getattr(curves, by).values())).mean((0, 1)).nan_to_num(math.inf)
        point = 1 + int(values[1:].argmin())
        tried.append((float(values[point]), choice, lr, int(curves.steps[point])))
    return Settings(*min(tried))


def scores_of(
    make_model: Callable[[], nn.Module],
    tasks: Sequence[Task],
    make_data: Callable[[int], Splits],
    settings: Settings,
    configuration: Configuration,
    seeds: Sequence[int],
    *,
    method: str,
) -> dict[str, Tensor]:
    """Train seeds that chose nothing with the settings; give their test metrics by task, [S]."""
    return many_seeds(
        make_model, tasks, make_data, seeds=seeds, lr=settings.lr, steps=settings.steps,
        batch_size=configuration["batch_size"], method=method, optimizer="adamw",
        weight_decay=configuration.get("weight_decay", 0.0),
    ).scores  # fmt: skip


# ------------------------------------------------------------------- tasks that part at a depth


def stages(inputs: int, width: int, depth: int) -> nn.Sequential:
    """Build ``depth`` stages of linear + tanh, float64."""
    widths = [inputs] + [width] * depth
    pairs = itertools.pairwise(widths)
    return nn.Sequential(*(nn.Sequential(nn.Linear(a, b, dtype=F64), nn.Tanh()) for a, b in pairs))


def parting_tasks(
    depth: int,
    *,
    tasks: int = 4,
    layers: int = 3,
    inputs: int = 8,
    width: int = 6,
    examples: int = 100,
    noise: float = 0.1,
    seed: int = 0,
) -> Splits:
    """Make regression tasks by networks whose first layers are the same, and the others not.

    Each task's target is a random network of ``layers`` tanh layers on standard normal inputs. The
    first ``depth`` layers are one draw for all tasks; every task draws the rest for itself. Targets
    have variance 1 before noise.

    Args:
        depth: how many layers the tasks share, 0 to ``layers``.
        tasks: how many tasks.
        layers: tanh layers of each network.
        inputs: numbers in one example.
        width: units in each layer.
        examples: training examples.
        noise: standard deviation of the noise on targets.
        seed: of everything.

    Returns:
        Inputs [N, inputs] and targets [N] of ``task_1`` ...; 300 examples for validation and test.

    Raises:
        ValueError: the depth lies outside the network.
    """
    if not 0 <= depth <= layers:
        raise ValueError(f"tasks of {layers} layers part at 0 to {layers}; found {depth}")
    rng = torch.Generator().manual_seed(1_000_000_000 + seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=F64)

    widths = [inputs] + [width] * layers

    def network() -> list[tuple[Tensor, Tensor]]:
        return [(1.5 * draw(a, b) / a**0.5, 0.3 * draw(b)) for a, b in itertools.pairwise(widths)]

    common, own = network(), [network() for _ in range(tasks)]
    last = [draw(width) for _ in range(tasks)]
    sizes = (examples, 300, 300)
    x = draw(sum(sizes), inputs)
    targets = {}
    for k in range(tasks):
        h = x
        for weight, bias in [*common[:depth], *own[k][depth:]]:
            h = torch.tanh(h @ weight + bias)
        y = h @ last[k]
        targets[f"task_{k + 1}"] = (y - y.mean()) / y.std() + noise * draw(len(y))
    parts = torch.arange(sum(sizes)).split(sizes)
    whole = MultiTaskData(x, targets)
    return Splits(*(whole.subset(part) for part in parts))


def equal_width(tasks: int, inputs: int, layers: int, split: int, parameters: int) -> int:
    """Give the width at which a network split there holds about so many parameters."""

    def held(width: int) -> int:
        sizes = [(a + 1) * b for a, b in itertools.pairwise([inputs] + [width] * layers)]
        return sum(sizes[:split]) + tasks * (sum(sizes[split:]) + width + 1)

    return min(range(3, 60), key=lambda width: abs(held(width) - parameters))


def split_teacher(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Split networks of one size at every depth, for tasks that part at every depth.

    Returns:
        One row a depth of parting, split and seed: mean ``rmse`` over tasks, ``linear``, that of
        linear regression on the raw inputs, and the settings tuned for this depth and split.
    """
    shape = {name: configuration[name] for name in ("tasks", "layers", "inputs", "width")}
    tasks = [regression(f"task_{k + 1}") for k in range(shape["tasks"])]
    rows = []
    for depth, split in itertools.product(configuration["depths"], configuration["splits"]):
        sides = (shape["tasks"], shape["inputs"], shape["layers"])
        wide = equal_width(*sides, split, configuration["parameters"])
        trunk = partial(stages, shape["inputs"], wide, shape["layers"])
        make = partial(HardSharing.split, trunk, tasks, split, features=wide)
        data = partial(_parting, depth, {**shape, "examples": configuration["examples"]})
        found = tune([make], tasks, data, configuration, method="vmap")
        scores = scores_of(make, tasks, data, found, configuration, seeds, method="vmap")
        rmse = torch.stack(list(scores.values())).mean(0)
        rows += [
            {
                "depth": depth,
                "split": split,
                "seed": seed,
                "rmse": round(float(rmse[i]), 4),
                "linear": round(linear_rmse(data(seed)), 3),
                "parameters": parameters_of(make()),
                "lr": found.lr,
                "steps": found.steps,
            }
            for i, seed in enumerate(seeds)
        ]
    return rows


def linear_rmse(data: Splits) -> float:
    """Fit a straight line to each task's training data; give its mean test RMSE."""
    with_one = lambda x: torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)  # noqa: E731
    train, test = (torch.stack(list(p.targets.values()), 1) for p in (data.train, data.test))
    line = torch.linalg.lstsq(with_one(data.train.inputs), train).solution
    return float((with_one(data.test.inputs) @ line - test).square().mean(0).sqrt().mean())


def _parting(depth: int, shape: Mapping[str, int], seed: int) -> Splits:
    return parting_tasks(depth, seed=seed, **shape)


# ----------------------------------------------------------------- one trunk against mixtures

PAIR = (regression("task_1"), regression("task_2"))
TOWER = 8
ONE_LAYER = ("single", "hard", "mmoe", "cgc")  # hidden layers before the tower
TWO_LAYERS = ("single_deep", "hard_deep", "mmoe_deep", "ple")
ARMS = ONE_LAYER + TWO_LAYERS


def parameters_of(model: nn.Module) -> int:
    """Count the numbers a model learns."""
    return sum(p.numel() for p in model.parameters())


def mixture(name: str, inputs: int, width: int) -> MultiTaskModel:
    """Build one arm of the comparison: every task ends in a tower of 8 units.

    Args:
        name: ``"hard"``, ``"single"``, ``"mmoe"`` (4 experts) or ``"cgc"`` (one shared expert and
            one a task), with one hidden layer before the towers; or with two ``"hard_deep"``,
            ``"single_deep"``, ``"mmoe_deep"`` and ``"ple"`` (two levels of such experts).
        inputs: numbers in one example.
        width: units of each hidden layer of the trunk, of each network, or of each expert.
    """
    kind = name.removesuffix("_deep")
    if name in ("cgc", "ple"):
        levels = 1 if name == "cgc" else 2
        return PLE(inputs, PAIR, levels=levels, own=1, shared=1, hidden=(width,), tower=(TOWER,))
    hidden = (width,) if kind == name else (width, width)
    if kind == "mmoe":
        return MMoE(inputs, PAIR, experts=4, hidden=hidden, tower=(TOWER,))
    towers = {t.name: nn.Sequential(*mlp(width, (TOWER,)), _last(1)) for t in PAIR}
    if kind == "hard":
        return HardSharing(mlp(inputs, hidden), towers)
    alone = {n: nn.Sequential(mlp(inputs, hidden), tower) for n, tower in towers.items()}
    return HardSharing(nn.Identity(), alone)


def _last(outputs: int) -> nn.Linear:
    return nn.Linear(TOWER, outputs, dtype=F64)


def equal_widths(inputs: int, experts_width: int = 12) -> dict[str, int]:
    """Give each arm the width that brings its parameters nearest to those of MMoE."""
    wanted = parameters_of(mixture("mmoe", inputs, experts_width))
    return {
        name: min(
            range(4, 100), key=lambda w, n=name: abs(parameters_of(mixture(n, inputs, w)) - wanted)
        )
        for name in ARMS
    }


def correlation(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Compare one trunk, mixtures and separate networks by the correlation of two tasks.

    Learning rate and steps are chosen once for each arm, on tuning seeds spread evenly over the
    ``tuning_correlations``, by the RMSE that is reported: in a mean of squared errors one unlucky
    start outweighs all others.

    Returns:
        One row a correlation, arm and seed: mean ``rmse`` over both tasks, ``parameters``, and the
        tuned settings.
    """
    inputs, places = configuration["inputs"], configuration["tuning_correlations"]
    settings, rows = {k: configuration[k] for k in DATA_KEYS}, []
    widths = equal_widths(inputs, configuration["expert_width"])
    for arm in configuration["arms"]:
        make = partial(mixture, arm, inputs, widths[arm])
        everywhere = partial(_everywhere, places, settings)
        found = tune([make], PAIR, everywhere, configuration, method="vmap", by="scores")
        for p in configuration["correlations"]:
            data = partial(_correlated, p, settings)
            scores = scores_of(make, PAIR, data, found, configuration, seeds, method="vmap")
            rmse = torch.stack(list(scores.values())).mean(0)
            rows += [
                {
                    "correlation": p,
                    "arm": arm,
                    "seed": seed,
                    "rmse": round(float(rmse[i]), 4),
                    "parameters": parameters_of(make()),
                    "lr": found.lr,
                    "steps": found.steps,
                }
                for i, seed in enumerate(seeds)
            ]
    return rows


DATA_KEYS = ("inputs", "examples", "alphas", "betas")


def correlated(correlation: float, seed: int) -> Splits:
    """Draw the data of the study ``03_correlation`` at one place of the dial."""
    return _correlated(correlation, {k: CORRELATION[k] for k in DATA_KEYS}, seed)


def _everywhere(places: Sequence[float], settings: Mapping[str, Any], seed: int) -> Splits:
    return _correlated(places[seed % len(places)], settings, seed)


def _correlated(p: float, settings: Mapping[str, Any], seed: int) -> Splits:
    return mmoe_synthetic(p, valid=300, test=300, seed=seed, **settings)


# ------------------------------------------------------------------------------------- studies

TEACHER = {
    "depths": [0, 1, 2, 3],
    "splits": [0, 1, 2, 3],
    "tasks": 4,
    "layers": 3,
    "inputs": 8,
    "width": 6,
    "parameters": 680,
    "examples": 100,
    "learning_rates": [0.001, 0.003, 0.01, 0.03, 0.1, 0.3],
    "weight_decay": 0.1,
    "tuning_seeds": list(range(100_000, 100_010)),
    "steps": 800,
    "record_every": 50,
    "batch_size": None,
}
CORRELATION = {
    "correlations": [0.0, 0.25, 0.5, 0.75, 1.0],
    "arms": list(ARMS),
    "inputs": 10,
    "expert_width": 12,
    "examples": 500,
    "alphas": [1.0, 2.0],
    "betas": [1.0, 2.0],
    "learning_rates": [0.01, 0.03, 0.1],
    "tuning_seeds": list(range(100_000, 100_040)),
    "tuning_correlations": [0.0, 0.25, 0.5, 0.75, 1.0],
    "steps": 600,
    "record_every": 50,
    "batch_size": 64,
}
SHARING = [hard_sharing, backbones, tune, scores_of]
LADDER = ["linear", "split 0", "split 1", "split 2", "split 3"]
LONGER = [*LADDER, "head too", "wide trunk"]
TUNING = {
    "learning_rates": [0.0005, 0.002, 0.008, 0.03, 0.12, 0.5],
    "first_decay": 1.0,
    "weight_decays": [0.03, 0.1, 0.3, 1.0, 3.0, 10.0],
    "strengths": [0.3, 1.0, 3.0, 10.0, 30.0, 100.0],
    "tuning_seeds": [100_000, 100_001, 100_002],
    "steps": 500,
    "record_every": 20,
}
CORNERS = {
    "places": [
        {"hours": 25, "ways": LADDER},
        {"hours": 50, "ways": LONGER},
        {"hours": 100, "ways": LADDER},
        {"hours": 200, "ways": LONGER},
    ],
    **TUNING,
}
WAYS_TO_SHARE = ["FiLM", "MMoE", "CGC", "cross-stitch", "stitched columns"]
CORNER_WAYS = {
    "places": [{"hours": 50, "ways": WAYS_TO_SHARE}],
    "stitch_rates": [1.0, 10.0, 100.0, 300.0],
    **TUNING,
}
CORNER_PRICES = {
    "ways": ["split 0", "split 1", "split 2", "split 3", "wide trunk", *WAYS_TO_SHARE],
    "examples": 256,
    "rounds": 30,
}
CORNER_SAMPLE = Sample({**CORNERS, "places": [{"hours": 25, "ways": ["linear"]}]}, 0.02)
STUDIES = [
    Study(
        name="03_corner_splits",
        question="How many layers should twenty street corners share, with few labels and many?",
        configuration=CORNERS,
        run=corners.street_corners,
        seeds=range(8),
        keys=("hours", "way", "seed"),
        sample=CORNER_SAMPLE,
        code=[corners],
    ),
    Study(
        name="03_corner_ways",
        question="Do adapters, mixtures or stitches beat a plain split on the street corners?",
        configuration=CORNER_WAYS,
        run=corners.street_corners,
        seeds=range(8),
        keys=("hours", "way", "seed"),
        sample=Sample(
            {
                **CORNER_WAYS,
                **{"learning_rates": [0.002], "weight_decays": [1.0]},
                "places": [{"hours": 50, "ways": ["FiLM"]}],
            },
            0.02,
        ),
        code=[corners],
    ),
    Study(
        name="03_corner_prices",
        question="What does each way of sharing cost for twenty street corners?",
        configuration=CORNER_PRICES,
        run=corners.prices,
        seeds=[],
        keys=("way",),
        sample=Sample({**CORNER_PRICES, "rounds": 2}, 0.0, ignore=("time",)),
        code=[corners],
    ),
    Study(
        name="03_split_teacher",
        question="Is the best place to split the depth at which the tasks part?",
        configuration=TEACHER,
        run=split_teacher,
        seeds=range(30),
        keys=("depth", "split", "seed"),
        sample=Sample({**TEACHER, "depths": [0], "splits": [3], "learning_rates": [0.003]}, 0.05),
        code=[*SHARING, stages, parting_tasks, equal_width, linear_rmse],
    ),
    Study(
        name="03_correlation",
        question="When is one trunk not enough for two tasks of the MMoE paper?",
        configuration=CORRELATION,
        run=correlation,
        seeds=range(30),
        keys=("correlation", "arm", "seed"),
        sample=Sample(
            {**CORRELATION, "correlations": [0.0], "arms": ["hard"], "learning_rates": [0.03]}, 0.05
        ),
        code=[*SHARING, experts, datasets_regression, mixture, equal_widths],
    ),
]
