"""The recorded studies of lesson 05: why batch normalisation helps, and whose statistics."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from mtl_helpers.datasets import overlapping, overlapping_digits
from mtl_helpers.datasets.base import MultiTaskData, Splits
from mtl_helpers.experiments import SeedResults, many_seeds
from mtl_helpers.lessons.lesson_05 import regularisers
from mtl_helpers.models import HardSharing, hard_sharing, multi_input, norms
from mtl_helpers.models.multi_input import MultiInput
from mtl_helpers.models.norms import per_task_batch_norm
from mtl_helpers.tasks import Task, classification
from mtl_helpers.teaching.studies import Sample, Study
from mtl_helpers.training import batches, evaluate, seeded, task_losses

Configuration = Mapping[str, Any]


def best_rate(accuracy: Callable[[float], float], configuration: Configuration) -> float:
    """Give the learning rate with the best accuracy; go on where the last one of the grid wins.

    Args:
        accuracy: from a learning rate to what it reaches.
        configuration: ``learning_rates`` is the grid that all arms try; ``further_rates`` are tried
            one by one, the next one below or above, as long as the best so far is at an edge. A
            single rate is taken as it is. A rate at which a run diverged (nan) is not chosen.
    """

    def reached(rate: float) -> float:
        value = accuracy(rate)
        return -math.inf if math.isnan(value) else value

    rates = configuration["learning_rates"]
    if len(rates) == 1:
        return rates[0]
    found = {rate: reached(rate) for rate in rates}
    while True:
        best = max(found, key=lambda rate: found[rate])
        below = [rate for rate in configuration["further_rates"] if rate < min(found)]
        above = [rate for rate in configuration["further_rates"] if rate > max(found)]
        if best == min(found) and below:
            found[max(below)] = reached(max(below))
        elif best == max(found) and above:
            found[min(above)] = reached(min(above))
        else:
            return best


# -------------------------------------------------------------------- tasks whose inputs differ

SHIFTED_TASKS = (classification("plain", 10), classification("shifted", 10))
BATCH_NORM_ARMS = ("single", "mixed", "alternating", "per_task")


def shift_pictures(pictures: Tensor, strength: float) -> Tensor:
    """Take away contrast and add light from the right: x / (1 + s) + s * ramp.

    Nothing is lost: subtract the ramp and multiply by 1 + s, and the picture is back.

    Args:
        pictures: grey values in 0..1, [..., H, W].
        strength: s, at least 0; 0 leaves the pictures as they are.

    Returns:
        The same shape; the ramp grows from 0 in the leftmost column to 1 in the rightmost.
    """
    ramp = torch.linspace(0, 1, pictures.shape[-1], dtype=pictures.dtype)
    return pictures / (1 + strength) + strength * ramp


def two_pictures(strength: float, sizes: Mapping[str, int], seed: int) -> Splits:
    """Draw two real digits for each example, one for each task; the second one is shifted.

    Args:
        strength: of the shift, in training, validation and test data alike.
        sizes: pairs in ``train``, ``valid`` and ``test``.
        seed: redraws the split and the pairs.

    Returns:
        Inputs [N, 2, 1, 8, 8], targets ``{"plain": long [N], "shifted": long [N]}``.
    """
    side_by_side = overlapping_digits("digits", **sizes, seed=seed, offset=(0, 8))
    parts = []
    for part in side_by_side:
        plain, other = part.inputs.split(8, dim=-1)
        inputs = torch.stack([plain, shift_pictures(other, strength)], dim=1)
        targets = {"plain": part.targets["left"], "shifted": part.targets["right"]}
        parts.append(MultiTaskData(inputs, targets))
    return Splits(*parts)


def normed_mlp(inputs: int, widths: Sequence[int], norm: str | None) -> nn.Sequential:
    """Build a trunk of linear layers, each followed by a normalisation layer and a ReLU.

    Args:
        inputs: numbers in one example.
        widths: of the hidden layers.
        norm: "batch", "group" (eight groups), "layer", or None.
    """
    make = {
        "batch": nn.BatchNorm1d,
        "group": partial(nn.GroupNorm, 8),
        "layer": nn.LayerNorm,
    }
    layers: list[nn.Module] = [nn.Flatten()]
    for wide in widths:
        layers.append(nn.Linear(inputs, wide, dtype=torch.float64))
        if norm is not None:
            layers.append(make[norm](wide, dtype=torch.float64))
        layers.append(nn.ReLU())
        inputs = wide
    return nn.Sequential(*layers)


def shifted_network(arm: str, tasks: Sequence[Task], widths: Sequence[int]) -> nn.Module:
    """Build the network of an arm; "single" has one head and takes one picture."""
    norm = {"none": None, "group": "group", "layer": "layer"}.get(arm, "batch")
    trunk = normed_mlp(64, widths, norm)
    if arm == "single":
        return HardSharing.linear(trunk, tasks, features=widths[-1])
    if arm == "per_task":
        trunk = per_task_batch_norm(trunk, [task.name for task in tasks])
    passes = "alternating" if arm in ("alternating", "per_task") else "mixed"
    return MultiInput.linear(trunk, tasks, passes=passes, features=widths[-1])


def shifted_tasks(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Train every arm at every strength of the shift, at the learning rate tuned for it.

    Returns:
        A row a strength, arm and seed: accuracy of both tasks in percent, with the running
        statistics and (``_batch``) with those of the task's own test pictures.
        ``alternating_same_lr`` is the alternating network at the learning rate of ``per_task``.
    """
    rows = []
    for strength in configuration["shifts"]:
        tuned: dict[str, list[float]] = {}
        for arm in configuration["arms"]:
            network = "alternating" if arm == "alternating_same_lr" else arm
            tuned_as = "per_task" if arm == "alternating_same_lr" else arm
            groups = [(t,) for t in SHIFTED_TASKS] if arm == "single" else [SHIFTED_TASKS]
            if tuned_as not in tuned:
                tuned[tuned_as] = [
                    _tune_shifted(configuration, strength, tuned_as, tasks) for tasks in groups
                ]
            rates, found = tuned[tuned_as], {}
            for tasks, rate in zip(groups, rates, strict=True):
                results = _train_shifted(configuration, strength, network, tasks, rate, seeds)
                found |= results.scores
                found |= _with_batch_statistics(configuration, strength, network, tasks, results)
            columns = ("plain", "shifted", "plain_batch", "shifted_batch")
            rows += [
                {
                    "shift": strength,
                    "arm": arm,
                    "seed": seed,
                    **{c: _percent(found[c][i]) if c in found else None for c in columns},
                    "lr": rates if arm == "single" else rates[0],
                }
                for i, seed in enumerate(seeds)
            ]
    return rows


def _percent(share: Tensor) -> float:
    return round(100 * float(share), 2)


def _tune_shifted(
    configuration: Configuration, strength: float, arm: str, tasks: Sequence[Task]
) -> float:
    """Give the learning rate with the best mean accuracy on the tuning seeds' validation data."""

    def accuracy(rate: float) -> float:
        seeds = configuration["tuning_seeds"]
        curves = _train_shifted(configuration, strength, arm, tasks, rate, seeds).curves
        return float(torch.stack([scores[:, -1] for scores in curves.scores.values()]).mean())

    return best_rate(accuracy, configuration)


def _train_shifted(
    configuration: Configuration,
    strength: float,
    arm: str,
    tasks: Sequence[Task],
    rate: float,
    seeds: Sequence[int],
) -> SeedResults:
    return many_seeds(
        partial(shifted_network, arm, tasks, configuration["widths"]),
        tasks,
        partial(_shifted_data, configuration, strength, arm, tasks),
        seeds=seeds,
        steps=configuration["steps"],
        batch_size=configuration["batch_size"],
        lr=rate,
        record_every=configuration["steps"],
    )


def _shifted_data(
    configuration: Configuration, strength: float, arm: str, tasks: Sequence[Task], seed: int
) -> Splits:
    """Draw the data; the network of one task sees the pictures of that task only."""
    parts = two_pictures(strength, configuration["sizes"], seed)
    if arm != "single":
        return parts
    name = tasks[0].name
    picture = [task.name for task in SHIFTED_TASKS].index(name)
    return Splits(*(MultiTaskData(p.inputs[:, picture], {name: p.targets[name]}) for p in parts))


@torch.no_grad()
def _with_batch_statistics(
    configuration: Configuration,
    strength: float,
    arm: str,
    tasks: Sequence[Task],
    results: SeedResults,
) -> dict[str, Tensor]:
    """Measure trained networks with the statistics of each task's own test pictures."""
    if arm not in BATCH_NORM_ARMS:
        return {}
    shares: dict[str, list[Tensor]] = {f"{task.name}_batch": [] for task in tasks}
    for seed in results.seeds:
        test = _shifted_data(configuration, strength, arm, tasks, seed).test
        model = shifted_network(arm, tasks, configuration["widths"])
        model.load_state_dict(results.state(seed))
        model.passes = "alternating"  # one pass, and so one set of statistics, for each task
        outputs = model.train()(test.inputs)
        for task in tasks:
            right = outputs[task.name].argmax(1) == test.targets[task.name]
            shares[f"{task.name}_batch"].append(right.double().mean())
    return {name: torch.stack(values) for name, values in shares.items()}


# ------------------------------------------------------------------------------ why does it help?

DEEP_TASKS = (classification("left", 10), classification("right", 10))


class MovingNoise(nn.Module):
    """Move and stretch each unit's activations, in training, by amounts drawn at every step.

    Each unit draws a mean in -m..m and a factor in 1..s; each example's own mean and factor lie
    within 0.1 of these. The distribution of what the next layer sees so jumps at every step, which
    undoes the stability that batch normalisation gives it.

    Args:
        mean: m, in standard deviations of a normalised activation.
        factor: s, at least 1.

    Source: the experiment follows Santurkar et al. 2018, arXiv:1805.11604, section 2.2; the form
    of the noise and its numbers are chosen here.
    """

    def __init__(self, mean: float, factor: float) -> None:
        super().__init__()
        self.mean, self.factor = mean, factor

    def forward(self, x: Tensor) -> Tensor:
        """Disturb activations [B, F] in training; leave them alone in evaluation."""
        if not self.training:
            return x
        units = torch.rand(2, x.shape[1], dtype=x.dtype)
        own = 0.1 * (2 * torch.rand(2, *x.shape, dtype=x.dtype) - 1)
        means = self.mean * (2 * units[0] - 1) + own[0]
        factors = 1 + (self.factor - 1) * units[1] + own[1]
        return factors * x + means


def deep_network(arm: str, configuration: Configuration) -> HardSharing:
    """Build the deep network of an arm, with the initial weights of He et al. 2015 in all arms."""
    layers: list[nn.Module] = [nn.Flatten()]
    inputs, wide = configuration["inputs"], configuration["width"]
    for _ in range(configuration["depth"]):
        linear = nn.Linear(inputs, wide, dtype=torch.float64)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
        layers.append(linear)
        if arm in ("bn", "bn_shifted"):
            layers.append(nn.BatchNorm1d(wide, dtype=torch.float64))
        if arm == "bn_shifted":
            layers.append(MovingNoise(configuration["noise_mean"], configuration["noise_factor"]))
        layers.append(nn.ReLU())
        inputs = wide
    return HardSharing.linear(nn.Sequential(*layers), DEEP_TASKS, features=wide)


def why_bn(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Train every arm for every seed, and measure loss, landscape and shift on the way.

    Returns:
        A row an arm and seed. A number that is not finite is None. ``plain_same_lr`` is the plain
        network at the learning rate that was tuned for batch normalisation.
    """
    rates: dict[str, float] = {}
    rows = []
    for arm in configuration["arms"]:
        tuned = "bn" if arm == "plain_same_lr" else arm
        if tuned not in rates:
            rates[tuned] = _tune_deep(configuration, tuned)
        network = "plain" if arm == "plain_same_lr" else arm
        for seed in seeds:
            found = train_deep(configuration, network, rates[tuned], seed, measure=True)
            accuracy = _finite(round(100 * found.pop("accuracy")["test"], 2))
            row = {"arm": arm, "seed": seed, "lr": rates[tuned], "accuracy": accuracy}
            rows.append({**row, **found})
    return rows


def _tune_deep(configuration: Configuration, arm: str) -> float:
    """Give the learning rate with the best mean accuracy on the tuning seeds' validation data."""

    def accuracy(rate: float) -> float:
        seeds = configuration["tuning_seeds"]
        runs = [train_deep(configuration, arm, rate, seed) for seed in seeds]
        return sum(run["accuracy"]["valid"] for run in runs) / len(runs)

    return best_rate(accuracy, configuration)


def train_deep(
    configuration: Configuration, arm: str, rate: float, seed: int, measure: bool = False
) -> dict[str, Any]:
    """Train one deep network by plain gradient descent on batches.

    Returns:
        ``accuracy`` by part, the mean of both tasks. If measured, one list each, by step: the
        steps, ``train_loss``, ``range``, ``gradient_change``, ``gradient_norm`` and ``shift``.
    """
    train, valid, test = overlapping_digits("digits", **configuration["sizes"], seed=seed)
    with seeded(seed, torch.device("cpu")):
        model = deep_network(arm, configuration)
    stepper = torch.optim.SGD(model.parameters(), lr=rate)
    order = torch.Generator().manual_seed(seed)
    epochs = (batches(len(train), configuration["batch_size"], order) for _ in itertools.count())
    taken = itertools.islice(itertools.chain.from_iterable(epochs), configuration["steps"])
    found: dict[str, list[Any]] = {}
    with seeded(seed, torch.device("cpu")):  # for the noise
        for step, chosen in enumerate(taken):
            batch = train.subset(chosen)
            before = copy.deepcopy(model) if measure and _is_measured(step, configuration) else None
            stepper.zero_grad()
            _total_loss(model, batch).backward()
            stepper.step()
            if before is not None:
                about = {"steps": step, "train_loss": _clean_loss(before, train)}
                about |= along_the_gradient(before, batch, configuration["step_sizes"], step)
                about["shift"] = moved(before, model, batch, step)
                for name, value in about.items():
                    found.setdefault(name, []).append(_finite(value))
    settle(model, train)
    parts = {"valid": valid, "test": test}
    return {
        "accuracy": {name: _mean_accuracy(model, part) for name, part in parts.items()},
        **found,
    }


@torch.no_grad()
def settle(model: nn.Module, part: MultiTaskData) -> None:
    """Set the running statistics to those of these data, without noise.

    The running averages of training have seen the noise, which evaluation does not have; without
    this the noisy arm would be judged by that mismatch. All arms with the layer are treated alike.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    momenta = [layer.momentum for layer in layers]
    model.train()
    for module in model.modules():
        if isinstance(module, MovingNoise):
            module.eval()
    for layer in layers:
        layer.momentum = 1.0
    model(part.inputs)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.train()


def _is_measured(step: int, configuration: Configuration) -> bool:
    return step % configuration["measure_every"] == 0


def _finite(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _mean_accuracy(model: nn.Module, part: MultiTaskData) -> float:
    scores = evaluate(model, DEEP_TASKS, part)
    return sum(score["score"] for score in scores.values()) / len(scores)


def _total_loss(model: nn.Module, part: MultiTaskData) -> Tensor:
    return task_losses(model(part.inputs), part.targets, DEEP_TASKS).sum()


@torch.no_grad()
def _clean_loss(model: nn.Module, part: MultiTaskData) -> float:
    """Give the loss on all of the data, with their own batch statistics and without noise."""
    model = copy.deepcopy(model).train()
    for module in model.modules():
        if isinstance(module, MovingNoise):
            module.eval()
    return float(_total_loss(model, part))


def along_the_gradient(
    model: nn.Module, batch: MultiTaskData, sizes: Sequence[float], seed: int
) -> dict[str, float]:
    """Measure how loss and gradient of one batch change on the way down the gradient.

    The batch, and the noise where there is some, are the same at every point.

    Args:
        model: is left as it is.
        batch: what the loss is taken on.
        sizes: learning rates of the steps to look at.
        seed: of the noise.

    Returns:
        ``range`` of the loss over all points (the start is one of them), ``gradient_change``: the
        largest distance of a gradient on the way from that at the start, and ``gradient_norm``.

    Source: figure 4, a and b, of Santurkar et al. 2018, arXiv:1805.11604.
    """
    model = copy.deepcopy(model).train()
    parameters = list(model.parameters())
    start = parameters_to_vector(parameters).detach()

    def look(point: Tensor) -> tuple[float, Tensor]:
        vector_to_parameters(point, parameters)
        with seeded(seed, torch.device("cpu")):
            loss = _total_loss(model, batch)
        gradient = torch.autograd.grad(loss, parameters)
        return float(loss.detach()), parameters_to_vector(gradient)

    loss, gradient = look(start)
    looks = [look(start - size * gradient) for size in sizes]
    losses = [loss, *(other for other, _ in looks)]
    changes = [float((other - gradient).norm()) for _, other in looks]
    return {
        "range": float(torch.tensor(losses).max() - torch.tensor(losses).min()),
        "gradient_change": float(torch.tensor(changes).max()),
        "gradient_norm": float(gradient.norm()),
    }


def moved(before: nn.Module, after: nn.Module, batch: MultiTaskData, seed: int) -> float:
    """Give how far one step moved what the layers see, on one batch.

    For the input of every linear layer but the first: the change of each unit's mean plus that of
    its standard deviation, averaged over the units and divided by the layer's mean standard
    deviation before the step. The noise, where there is some, is drawn anew after the step.
    """
    old, new = (_layer_inputs(m, batch, seed + k) for k, m in enumerate((before, after)))
    shifts = [
        ((mean - old_mean).abs() + (std - old_std).abs()).mean() / old_std.mean()
        for (old_mean, old_std), (mean, std) in zip(old, new, strict=True)
    ]
    return float(torch.stack(shifts).mean())


@torch.no_grad()
def _layer_inputs(model: nn.Module, batch: MultiTaskData, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Give mean and standard deviation of every unit after every ReLU, in training mode."""
    trunk = copy.deepcopy(model).trunk.train()
    found, x = [], batch.inputs
    with seeded(seed, torch.device("cpu")):
        for layer in trunk:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                found.append((x.mean(0), x.std(0)))
    return found


SHIFTED = {
    "shift": "x2 = x / (1 + s) + s * ramp, the ramp from 0 (left column) to 1 (right column)",
    "shifts": [0.0, 0.5, 1.0, 2.0],
    "arms": [
        "single",
        "none",
        "mixed",
        "alternating",
        "per_task",
        "group",
        "layer",
        "alternating_same_lr",
    ],
    "sizes": {"train": 200, "valid": 300, "test": 300},
    "widths": [64, 64],
    "steps": 400,
    "batch_size": 25,
    "learning_rates": [0.0003, 0.001, 0.003, 0.01, 0.03],
    "further_rates": [0.00003, 0.0001, 0.1, 0.3],
    "tuning_seeds": list(range(100_000, 100_006)),
}

WHY_BN = {
    "arms": ["plain", "bn", "bn_shifted", "plain_same_lr"],
    "sizes": {"train": 600, "valid": 300, "test": 300},
    "inputs": 120,
    "depth": 8,
    "width": 40,
    "noise_mean": 1.0,
    "noise_factor": 1.5,
    "optimizer": "sgd without momentum",
    "evaluated_with": "statistics of the training data, noise off",
    "steps": 600,
    "batch_size": 50,
    "measure_every": 30,
    "step_sizes": [0.05, 0.1, 0.2, 0.4],
    "learning_rates": [0.02, 0.05, 0.1, 0.2, 0.5, 1.0],
    "further_rates": [0.002, 0.005, 0.01, 2.0, 5.0],
    "tuning_seeds": list(range(100_000, 100_004)),
}

STUDIES = [
    Study(
        name="05_why_bn",
        question="Does batch normalisation help by keeping what a layer sees from shifting?",
        configuration=WHY_BN,
        run=why_bn,
        seeds=range(12),
        keys=("arm", "seed"),
        sample=Sample({**WHY_BN, "arms": ["bn"], "learning_rates": [0.5]}, 0.02, seeds=[0]),
        code=[
            best_rate, MovingNoise, deep_network, _tune_deep, train_deep, settle, _is_measured,
            _finite, _mean_accuracy, _total_loss, _clean_loss, along_the_gradient, moved,
            _layer_inputs, overlapping, hard_sharing,
        ],
    ),
    Study(
        name="05_shifted_tasks",
        question="Two tasks whose inputs differ share a network: whose batch statistics?",
        configuration=SHIFTED,
        run=shifted_tasks,
        seeds=range(24),
        keys=("shift", "arm", "seed"),
        sample=Sample(
            {**SHIFTED, "shifts": [1.0], "arms": ["mixed"], "learning_rates": [0.001]},
            0.02,
            seeds=[0, 1],
        ),
        code=[
            best_rate, shift_pictures, two_pictures, normed_mlp, shifted_network, _percent,
            _tune_shifted, _train_shifted, _shifted_data, _with_batch_statistics, overlapping,
            hard_sharing, multi_input, norms,
        ],
    ),
    *regularisers.STUDIES,
]  # fmt: skip
