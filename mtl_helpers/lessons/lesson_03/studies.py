"""The recorded sweeps of lesson 03: where to split, when one trunk is not enough, what it costs."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mtl_helpers.datasets import overlapping, overlapping_digits
from mtl_helpers.datasets import regression as datasets_regression
from mtl_helpers.datasets.base import MultiTaskData, Splits
from mtl_helpers.datasets.regression import mmoe_synthetic
from mtl_helpers.experiments import many_seeds
from mtl_helpers.lessons.lesson_03 import corners
from mtl_helpers.metrics import delta_m
from mtl_helpers.models import (
    CGC,
    MTAN,
    PLE,
    CrossStitch,
    FiLM,
    HardSharing,
    MMoE,
    MultiTaskModel,
    SoftSharing,
    adapters,
    backbones,
    cross_stitch,
    experts,
    hard_sharing,
    mlp,
    mtan,
    size_report,
    small_cnn,
)
from mtl_helpers.tasks import Task, classification, regression
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


# -------------------------------------------------------------------------------- real digits

SIDES = (classification("left", 10), classification("right", 10))
IMAGE = (1, 10, 12)


def digits_trunk() -> nn.Sequential:
    """Build the LeNet-like trunk of this lesson in three stages: two convolutions and a layer."""
    layers = small_cnn(IMAGE, (6, 12), 32)
    return nn.Sequential(layers[:3], layers[3:6], layers[6:])


def digits(train: int, seed: int) -> Splits:
    """Draw overlapped digits with as many test as validation pairs."""
    return overlapping_digits(train=train, valid=400, test=400, seed=seed)


def split_digits(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Split a small convolutional network for two overlapped digits at every stage.

    Returns:
        One row a split and seed: accuracy ``left`` and ``right`` in percent, ``parameters`` and
        ``multiply_adds`` of the model, and the tuned settings.
    """
    rows = []
    for split in configuration["splits"]:
        make = partial(HardSharing.split, digits_trunk, SIDES, split)
        data = partial(digits, configuration["examples"])
        found = tune([make], SIDES, data, configuration, method="loop")
        scores = scores_of(make, SIDES, data, found, configuration, seeds, method="loop")
        size = size_report(make(), torch.zeros(4, *IMAGE, dtype=F64))
        rows += [
            {
                "split": split,
                "seed": seed,
                **{name: round(100 * float(v[i]), 2) for name, v in scores.items()},
                "parameters": size.total_parameters,
                "multiply_adds": round(size.total_multiply_adds),
                "lr": found.lr,
                "steps": found.steps,
            }
            for i, seed in enumerate(seeds)
        ]
    return rows


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


# ---------------------------------------------------------------------------------- price list

PIXELS = 120


def dense_stages() -> nn.Sequential:
    """Build the trunk of the price list in two stages: 120 pixels to 48 to 32 features."""
    layers = mlp(PIXELS, (48, 32))
    return nn.Sequential(layers[:3], layers[3:])


class _Flat(MultiTaskModel):
    """A mixture of experts for images: it flattens them first."""

    def __init__(self, body: MultiTaskModel) -> None:
        super().__init__(body.task_names)
        self.body = body

    def own_modules(self, name: str) -> Any:
        return self.body.own_modules(name)

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        return self.body(inputs.flatten(1))


class _Averaged(nn.Module):
    """The average over pixels: [B, C, H, W] -> [B, C]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def mtan_trunk(channels: Sequence[int] = (6, 12)) -> nn.Sequential:
    """Build MTAN's shared stack as a plain trunk: the same layers, without any task's masks."""
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise([1, *channels]):
        for inputs in (a, b):
            layers += [
                nn.Conv2d(inputs, b, 3, padding=1, dtype=F64),
                nn.BatchNorm2d(b, dtype=F64),
                nn.ReLU(),
            ]
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, _Averaged())


def soft(strength: float) -> SoftSharing:
    """Build one network a side, tied together by a penalty of this strength."""
    return SoftSharing(dense_stages, SIDES, strength=strength)


WAYS: dict[str, Callable[[], MultiTaskModel]] = {
    "single-task": lambda: HardSharing.split(dense_stages, SIDES, 0),
    "hard sharing": lambda: HardSharing.linear(dense_stages(), SIDES),
    "split in the middle": lambda: HardSharing.split(dense_stages, SIDES, 1),
    "cross-stitch": lambda: CrossStitch(dense_stages, SIDES),
    "soft sharing": lambda: soft(0.01),
    "FiLM": lambda: FiLM(dense_stages(), (48, 32), SIDES),
    "MMoE": lambda: _Flat(MMoE(PIXELS, SIDES, experts=3, hidden=(48, 32), tower=())),
    "CGC": lambda: _Flat(CGC(PIXELS, SIDES, own=1, shared=1, hidden=(48, 32), tower=())),
    "PLE": lambda: _Flat(PLE(PIXELS, SIDES, own=1, shared=1, hidden=(40,), tower=())),
    "single-task, convolutions": lambda: HardSharing.split(mtan_trunk, SIDES, 0, features=12),
    "hard sharing, convolutions": lambda: HardSharing.linear(mtan_trunk(), SIDES, features=12),
    "MTAN": lambda: MTAN(IMAGE, SIDES, (6, 12)),
}
CONVOLUTIONS = ("single-task, convolutions", "hard sharing, convolutions", "MTAN")


def baseline(way: str, kind: str) -> str:
    """Name the ``"single-task"`` or ``"hard sharing"`` model with the trunk of this way."""
    return f"{kind}, convolutions" if way in CONVOLUTIONS else kind


def time_ratios(ways: Sequence[str], examples: int = 64, rounds: int = 30) -> dict[str, float]:
    """Time forward and backward of each way over hard sharing with the same trunk, one thread.

    The rounds alternate between the ways, and the least time of each counts.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        x = torch.randn(examples, *IMAGE, dtype=F64)
        needed = dict.fromkeys([*ways, *(baseline(way, "hard sharing") for way in ways)])
        models = {way: WAYS[way]().train() for way in needed}
        least = dict.fromkeys(models, math.inf)
        for _ in range(rounds):
            for way, model in models.items():
                model.zero_grad()
                began = time.perf_counter()
                total = sum(output.sum() for output in model(x).values())
                if isinstance(model, SoftSharing):
                    total = total + model.penalty()
                total.backward()
                least[way] = min(least[way], time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)
    return {way: least[way] / least[baseline(way, "hard sharing")] for way in ways}


def price_list(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Measure what every way of sharing costs on the overlapped digits, and what it brings.

    Returns:
        One row a way and seed: accuracy ``left`` and ``right`` in percent; ``delta_m`` against the
        single-task networks with the same trunk and seed, in percent (of the accuracy);
        ``parameters``, ``multiply_adds``; ``time_ratio`` and ``work_ratio``, time and multiply-adds
        over those of hard sharing with the same trunk; and the tuned settings, for soft sharing
        with its ``strength``.
    """
    ways = list(configuration["ways"])
    data = partial(digits, configuration["examples"])
    found, results, strength = {}, {}, {}
    for way in dict.fromkeys([*(baseline(way, "single-task") for way in ways), *ways]):
        kind = "convolution_rates" if way in CONVOLUTIONS else "learning_rates"
        grid = {**configuration, "learning_rates": configuration[kind]}
        strengths = configuration["strengths"] if way == "soft sharing" else [None]
        makers = [WAYS[way] if c is None else partial(soft, c) for c in strengths]
        found[way] = tune(makers, SIDES, data, grid, method="loop")
        make, strength[way] = makers[found[way].choice], strengths[found[way].choice]
        results[way] = scores_of(make, SIDES, data, found[way], grid, seeds, method="loop")
    ratios = time_ratios(ways)
    x = torch.zeros(4, *IMAGE, dtype=F64)
    rows = []
    for way in ways:
        size, hard = (size_report(WAYS[w](), x) for w in (way, baseline(way, "hard sharing")))
        alone = results[baseline(way, "single-task")]
        for i, seed in enumerate(seeds):
            scores = {name: 100 * float(v[i]) for name, v in results[way].items()}
            base = {name: 100 * float(v[i]) for name, v in alone.items()}
            rows.append(
                {
                    "way": way,
                    "seed": seed,
                    **{name: round(value, 2) for name, value in scores.items()},
                    "delta_m": round(delta_m(scores, base, dict.fromkeys(scores, True)), 3),
                    "parameters": size.total_parameters,
                    "multiply_adds": round(size.total_multiply_adds),
                    "work_ratio": round(size.total_multiply_adds / hard.total_multiply_adds, 3),
                    "time_ratio": round(ratios[way], 2),
                    "lr": found[way].lr,
                    "steps": found[way].steps,
                    "strength": strength[way],
                }
            )
    return rows


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
    "learning_rates": [0.001, 0.003, 0.01, 0.03, 0.1],
    "weight_decay": 0.1,
    "tuning_seeds": list(range(100_000, 100_010)),
    "steps": 800,
    "record_every": 50,
    "batch_size": None,
}
DIGITS = {
    "splits": [0, 1, 2, 3],
    "examples": 1000,
    "learning_rates": [0.001, 0.003, 0.01, 0.03],
    "tuning_seeds": [100_000, 100_001, 100_002, 100_003],
    "steps": 600,
    "record_every": 50,
    "batch_size": 32,
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
PRICES = {
    "ways": list(WAYS),
    "examples": 1000,
    "strengths": [0.0001, 0.001, 0.01, 0.1],
    "learning_rates": [0.001, 0.003, 0.01, 0.03],
    "convolution_rates": [0.003, 0.01, 0.03, 0.1, 0.3],
    "tuning_seeds": [100_000, 100_001, 100_002],
    "steps": 400,
    "record_every": 50,
    "batch_size": 32,
}
SHARING = [hard_sharing, backbones, tune, scores_of]
LADDER = ["linear", "split 0", "split 1", "split 2", "split 3"]
LONGER = [*LADDER, "head too", "wide trunk"]
TUNING = {
    "learning_rates": [0.0005, 0.002, 0.008, 0.03, 0.12],
    "first_decay": 1.0,
    "weight_decays": [0.1, 0.3, 1.0, 3.0, 10.0],
    "strengths": [0.3, 1.0, 3.0, 10.0, 30.0, 100.0],
    "tuning_seeds": [100_000, 100_001],
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
    "ways": ["split 0", "split 1", "split 2", "split 3", "wide trunk", *WAYS_TO_SHARE[:4]],
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
                **{"learning_rates": [0.004], "weight_decays": [3.0], "steps": 40},
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
        name="03_split_digits",
        question="Where should a network for two overlapped digits split?",
        configuration=DIGITS,
        run=split_digits,
        seeds=range(12),
        keys=("split", "seed"),
        sample=Sample({**DIGITS, "splits": [3], "learning_rates": [0.003]}, 0.1, seeds=[0]),
        code=[*SHARING, overlapping, digits, digits_trunk],
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
    Study(
        name="03_price_list",
        question="What does each way of sharing cost, and what does it bring?",
        configuration=PRICES,
        run=price_list,
        seeds=range(12),
        keys=("way", "seed"),
        sample=Sample(
            {**PRICES, "ways": ["hard sharing"], "learning_rates": [0.01]},
            0.1,
            seeds=[0],
            ignore=("time_ratio", "delta_m"),
        ),
        code=[
            *SHARING,
            experts,
            adapters,
            cross_stitch,
            mtan,
            overlapping,
            digits,
            mtan_trunk,
            soft,
        ],
    ),
]
