"""The recorded studies of lesson 05: normalisation, whose statistics, regularisers, gradients."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from mtl_helpers.datasets import overlapping, overlapping_digits
from mtl_helpers.datasets import regression as datasets_regression
from mtl_helpers.datasets.base import MultiTaskData, Splits
from mtl_helpers.datasets.regression import regression as regression_data
from mtl_helpers.experiments import SeedResults, many_seeds
from mtl_helpers.models import HardSharing, backbones, hard_sharing, multi_input, norms
from mtl_helpers.models.backbones import tanh_trunk
from mtl_helpers.models.multi_input import MultiInput
from mtl_helpers.models.norms import per_task_batch_norm
from mtl_helpers.tasks import LossFunction, Task, classification, regression
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


MakeData = Callable[[int], Splits]


# ------------------------------------------------------------------- sharing and the gap


def relatives(
    tasks: int, relatedness: float, examples: int, sizes: Mapping[str, int], seed: int
) -> Splits:
    """Draw eight relatives and keep the first few: task 1 has the same data whatever ``tasks``."""
    splits = regression_data(8, examples, relatedness, seed=seed, **sizes)
    names = [f"task_{k + 1}" for k in range(tasks)]
    return Splits(*(MultiTaskData(p.inputs, {n: p.targets[n] for n in names}) for p in splits))


def gap(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Measure what task 1 loses between training and test data, by the number of tasks learnt.

    Each setting is trained twice. Once for ``steps`` steps at one learning rate, the same for all
    settings, with no other regulariser: ``train`` and ``test``. And once with the learning rate
    and the step to stop at that task 1's validation loss chose on the tuning seeds:
    ``train_stopped`` and ``test_stopped``.

    Returns:
        One row a setting and seed: ``widths`` of the trunk, ``tasks``, ``relatedness``,
        ``examples``, ``seed``, the four losses (mean squared error of task 1; a constant answer
        has 1, the best possible one 0.083), and ``stopped`` with the chosen ``lr`` and ``steps``.
    """
    rows = []
    for problem in configuration["problems"]:
        for tasks, relatedness, examples in itertools.product(
            problem["tasks"], problem["relatedness"], problem["examples"]
        ):
            make_data = partial(relatives, tasks, relatedness, examples, configuration["sizes"])
            train = partial(_train_relatives, make_data, tasks, problem["widths"])
            chosen = _stop(train, configuration)
            to_the_end = {"lr": configuration["lr"], "steps": configuration["steps"]}
            found = [
                _losses_of_first(train(seeds=seeds, **settings), make_data, problem["widths"])
                for settings in (to_the_end, chosen)
            ]
            for i, seed in enumerate(seeds):
                (learnt, test), (stopped_learnt, stopped_test) = (
                    (round(float(a[i]), 5), round(float(b[i]), 5)) for a, b in found
                )
                rows.append(
                    {
                        "widths": list(problem["widths"]),
                        "tasks": tasks,
                        "relatedness": relatedness,
                        "examples": examples,
                        "seed": seed,
                        "train": learnt,
                        "test": test,
                        "train_stopped": stopped_learnt,
                        "test_stopped": stopped_test,
                        "stopped": chosen,
                    }
                )
    return rows


def _train_relatives(
    make_data: MakeData, tasks: int, widths: Sequence[int], **settings: Any
) -> SeedResults:
    named = [regression(f"task_{k + 1}") for k in range(tasks)]
    return many_seeds(
        lambda: HardSharing.linear(tanh_trunk(widths), named),
        named,
        make_data,
        batch_size=None,
        **settings,
    )


def _stop(train: Callable[..., SeedResults], configuration: Configuration) -> dict[str, Any]:
    """Choose learning rate and stopping step by task 1's validation loss on the tuning seeds."""
    every, found = configuration["record_every"], []
    for lr in configuration["learning_rates"]:
        curves = train(
            seeds=configuration["tuning_seeds"],
            lr=lr,
            steps=configuration["most_steps"],
            record_every=every,
        ).curves
        losses = curves.losses["task_1"].mean(0)[1:].nan_to_num(torch.inf)  # not step 0
        best = int(losses.argmin())
        found.append((float(losses[best]), lr, int(curves.steps[best + 1])))
    _, lr, steps = min(found)
    return {"lr": lr, "steps": steps}


def _losses_of_first(
    results: SeedResults, make_data: MakeData, widths: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Give task 1's loss on the training data and on the test data, each [S]."""
    tasks = [regression(name) for name in results.losses]
    model, learnt = HardSharing.linear(tanh_trunk(widths), tasks), []
    for seed in results.seeds:
        model.load_state_dict(results.state(seed))
        train = make_data(seed).train
        with torch.no_grad():
            output = model(train.inputs)["task_1"]
        learnt.append(tasks[0].mean_loss(output, train.targets["task_1"]))
    return torch.stack(learnt), results.losses["task_1"]


# --------------------------------------------------------------------------- dropout, by its rate


def dropout_trunk(inputs: int, widths: Sequence[int], rate: float) -> nn.Sequential:
    """Build linear + ReLU + dropout for each width, float64."""
    layers: list[nn.Module] = [nn.Flatten()]
    for wide, next_wide in itertools.pairwise([inputs, *widths]):
        layers += [nn.Linear(wide, next_wide, dtype=torch.float64), nn.ReLU(), nn.Dropout(rate)]
    return nn.Sequential(*layers)


def dropout_rates(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Train two tasks from one trunk with dropout: losses in eval mode as training goes on.

    All rates have one learning rate and the same steps. The masks of a seed depend on the other
    seeds, because all networks are trained in one stack.

    Returns:
        One row a rate and seed: ``rate``, ``seed``, ``steps`` [P], and ``train`` and ``valid``:
        {task: losses [P]}, measured without dropout on the training and the validation data.
    """
    rows = []
    for rate in configuration["rates"]:
        curves = {
            part: _train_with_dropout(configuration, rate, seeds, part).curves
            for part in ("train", "valid")
        }
        steps = curves["valid"].steps.tolist()
        for i, seed in enumerate(seeds):
            losses = {
                part: {
                    name: [round(v, 4) for v in values[i].tolist()]
                    for name, values in found.losses.items()
                }
                for part, found in curves.items()
            }
            rows.append({"rate": rate, "seed": seed, "steps": steps, **losses})
    return rows


def _train_with_dropout(
    configuration: Configuration, rate: float, seeds: Sequence[int], measured: str
) -> SeedResults:
    """Train a network for each seed; the curves are those of the part of the data named."""
    tasks = [classification(name, 10) for name in ("left", "right")]

    def make_data(seed: int) -> Splits:
        splits = overlapping_digits(**configuration["data"], seed=seed)
        return splits._replace(valid=getattr(splits, measured))

    return many_seeds(
        lambda: HardSharing.linear(dropout_trunk(120, configuration["widths"], rate), tasks),
        tasks,
        make_data,
        seeds=seeds,
        lr=configuration["lr"],
        steps=configuration["steps"],
        batch_size=configuration["batch_size"],
        record_every=configuration["record_every"],
        method="vmap",
    )


# ------------------------------------------------------- sharing beside the other regularisers

QUESTIONS = {
    "even": (0, 2, 4, 6, 8),
    "large": (5, 6, 7, 8, 9),
    "prime": (2, 3, 5, 7),
    "ring": (0, 6, 8, 9),
}


def questions_about_digits(sizes: Sequence[int], seed: int) -> Splits:
    """Draw 8x8 digits of scikit-learn and ask four yes/no questions about each.

    Args:
        sizes: training, validation and test pictures; no picture is on two sides.
        seed: draws which picture goes where.
    """
    images, classes = overlapping._sklearn_digits()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(5 * 10**9 + seed))
    parts = []
    for rows in order[: sum(sizes)].split(list(sizes)):
        targets = {
            name: torch.isin(classes[rows], torch.tensor(yes)).double()
            for name, yes in QUESTIONS.items()
        }
        parts.append(MultiTaskData(images[rows][:, None].double() / 16, targets))
    return Splits(*parts)


class Shift(nn.Module):
    """Move each picture by up to one pixel in either direction, in training only.

    Args:
        probability: of an example to be moved; the nine places are equally likely then.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, pictures: Tensor) -> Tensor:
        """Give pictures of the same shape, [B, 1, H, W]; what is moved in is black."""
        if not self.training or self.probability == 0:
            return pictures
        count, _, height, width = pictures.shape
        padded = F.pad(pictures, (1, 1, 1, 1)).flatten(1)
        moves = torch.randint(0, 9, (count, 1))
        moves = torch.where(torch.rand(count, 1) < self.probability, moves, 4)  # 4: stay
        rows, columns = torch.arange(height)[:, None], torch.arange(width)
        here = (rows * (width + 2) + columns).flatten()
        places = here + moves // 3 * (width + 2) + moves % 3
        return padded.gather(1, places).view(count, 1, height, width)


def smoothed(amount: float) -> LossFunction:
    """Give a binary cross-entropy whose targets are moved towards one half.

    Source: Szegedy et al. 2016, arXiv:1512.00567, section 7, for two classes.
    """

    def loss(output: Tensor, target: Tensor) -> Tensor:
        target = (1 - amount) * target.view_as(output) + amount / 2
        return (
            F.binary_cross_entropy_with_logits(output, target, reduction="none").flatten(1).mean(1)
        )

    return loss


RANGES = {  # of each part's setting: least, most, and whether its logarithm is drawn
    "lr": (0.0005, 0.03, True),
    "sharing": (0.1, 3.0, True),
    "weight_decay": (0.03, 3.0, True),
    "dropout": (0.05, 0.8, False),
    "label_smoothing": (0.02, 0.5, False),
    "augmentation": (0.1, 1.0, False),
}
RIVALS = ("weight_decay", "early_stopping", "dropout", "label_smoothing", "augmentation")
ARMS = {
    "none": (),
    "sharing": ("sharing",),
    "sharing_same_pictures": ("sharing", "same_pictures"),
    **{name: (name,) for name in RIVALS},
    **{f"sharing+{name}": ("sharing", name) for name in RIVALS},
    "all": ("sharing", *RIVALS),
}


def candidates(parts: Sequence[str], tries: int) -> list[dict[str, float]]:
    """Draw the settings an arm tries; a setting that two arms have is drawn alike in both."""
    drawn = {}
    for place, (name, (least, most, logarithmic)) in enumerate(RANGES.items()):
        if name not in ("lr", *parts):
            continue
        rng = torch.Generator().manual_seed(7_000 + place)
        # one draw in each of `tries` equal pieces of the range, in a drawn order
        u = (torch.arange(tries) + torch.rand(tries, generator=rng, dtype=torch.float64)) / tries
        u = u[torch.randperm(tries, generator=rng)]
        values = least * (most / least) ** u if logarithmic else least + (most - least) * u
        drawn[name] = [float(f"{v:.3g}") for v in values.tolist()]
    return [dict(zip(drawn, values, strict=True)) for values in zip(*drawn.values(), strict=True)]


def ablation(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Compare regularisers of one target task, alone and together with sharing.

    The target has few labels. Sharing adds three other questions, which have labels for those
    pictures and for more; ``sharing_same_pictures`` adds them for those pictures alone.

    Every arm tries equally many settings, drawn at random from the same ranges, and takes the one
    with the best validation accuracy of the target on the tuning seeds. Early stopping takes the
    best step of each try's validation curve; the other arms train for ``steps`` steps.
    ``configuration["tuned"]`` may hold settings that were found before.

    Returns:
        One row an arm and seed: ``arm``, ``seed``, ``accuracy`` and ``train_accuracy`` of the
        target in percent, ``gap`` (their difference), ``setting`` and ``tries``.
    """
    rows, target = [], configuration["target"]
    for arm in configuration["arms"]:
        setting = configuration.get("tuned", {}).get(arm) or _tune(configuration, arm)
        results = _train_arm(configuration, setting, seeds)
        learnt = _training_accuracy(configuration, setting, results)
        for i, seed in enumerate(seeds):
            test, train = (round(100 * float(a[i]), 2) for a in (results.scores[target], learnt))
            rows.append(
                {
                    "arm": arm,
                    "seed": seed,
                    "accuracy": test,
                    "train_accuracy": train,
                    "gap": round(train - test, 2),
                    "setting": setting,
                    "tries": configuration["tries"],
                }
            )
    return rows


def _tune(configuration: Configuration, arm: str) -> dict[str, float]:
    found, stops = [], "early_stopping" in ARMS[arm]
    for setting in candidates(ARMS[arm], configuration["tries"]):
        if "same_pictures" in ARMS[arm]:
            setting["same_pictures"] = True
        every = configuration["record_every"] if stops else configuration["steps"]
        curves = _train_arm(configuration, setting, configuration["tuning_seeds"], every).curves
        scores = curves.scores[configuration["target"]].mean(0)[1:]
        best = int(scores.argmax())
        steps = {"steps": int(curves.steps[best + 1])} if stops else {}
        found.append((float(scores[best]), {**setting, **steps}))
    return max(found, key=lambda one: one[0])[1]


def _arm_network(
    configuration: Configuration, setting: Mapping[str, float]
) -> tuple[list[Task], HardSharing]:
    """Give the tasks of an arm, the target first, and its network."""
    target = configuration["target"]
    others = [name for name in QUESTIONS if name != target] if "sharing" in setting else []
    loss = smoothed(setting.get("label_smoothing", 0.0))
    tasks = [Task(name, loss, "binary_accuracy", 1, True) for name in (target, *others)]
    trunk = dropout_trunk(64, configuration["widths"], setting.get("dropout", 0.0))
    whole = nn.Sequential(Shift(setting.get("augmentation", 0.0)), *trunk)
    return tasks, HardSharing.linear(whole, tasks)


def _train_arm(
    configuration: Configuration,
    setting: Mapping[str, float],
    seeds: Sequence[int],
    record_every: int | None = None,
) -> SeedResults:
    tasks, _ = _arm_network(configuration, setting)
    weights = {task.name: setting.get("sharing", 1.0) for task in tasks}
    return many_seeds(
        lambda: _arm_network(configuration, setting)[1],
        tasks,
        partial(few_labels, configuration, setting),
        seeds=seeds,
        weights={**weights, configuration["target"]: 1.0},
        optimizer="adamw",
        lr=setting["lr"],
        weight_decay=setting.get("weight_decay", 0.0),
        steps=setting.get("steps", configuration["steps"]),
        batch_size=None,
        record_every=record_every,
        method="vmap",
    )


def few_labels(configuration: Configuration, setting: Mapping[str, float], seed: int) -> Splits:
    """Draw the data of an arm; a target is a column, [N, 1], as a head's output is.

    The target task has labels for the first ``labelled`` training pictures only. Without sharing
    (or with the part ``same_pictures``) there are no other training pictures.
    """
    target, labelled = configuration["target"], configuration["labelled"]
    parts = []
    for part in questions_about_digits(configuration["sizes"], seed):
        columns = {name: answers[:, None] for name, answers in part.targets.items()}
        parts.append(MultiTaskData(part.inputs, columns))
    train, valid, test = parts
    if "sharing" not in setting or "same_pictures" in setting:
        return Splits(train.subset(range(labelled)), valid, test)
    train.targets[target][labelled:] = torch.nan
    return Splits(train, valid, test)


def _training_accuracy(
    configuration: Configuration, setting: Mapping[str, float], results: SeedResults
) -> Tensor:
    tasks, model = _arm_network(configuration, setting)
    model.eval()
    found = []
    for seed in results.seeds:
        model.load_state_dict(results.state(seed))
        train = few_labels(configuration, setting, seed).train
        with torch.no_grad():
            output = model(train.inputs)[tasks[0].name]
        found.append(tasks[0].score(output, train.targets[tasks[0].name]))
    return torch.tensor(found)


# -------------------------------------------- vanishing, exploding and conflicting gradients


class Residual(nn.Module):
    """Add to the input what some layers make of it."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Give x + layers(x), of the same shape."""
        return x + self.layers(x)


def deep_trunk(arm: str, inputs: int, width: int, depth: int) -> nn.Sequential:
    """Build ``depth`` layers of one width, as one of the arms has them, float64.

    ``sigmoid``, ``relu_default`` and ``residual`` keep PyTorch's initial weights. The others are
    drawn by He's rule (normal, variance 2 / inputs, zero biases); those of ``relu_large`` and
    ``relu_large_clipped`` are twice that.

    Source: He et al. 2015, arXiv:1502.01852 (weights); He et al. 2016, arXiv:1512.03385 (residual;
    here one layer a block, without normalisation).
    """
    if arm not in GRADIENT_ARMS:
        raise ValueError(f"unknown arm {arm!r}; use one of {', '.join(GRADIENT_ARMS)}")
    blocks: list[nn.Module] = [nn.Flatten()]
    for layer in range(depth):
        linear = nn.Linear(width if layer else inputs, width, dtype=torch.float64)
        if arm not in ("sigmoid", "relu_default", "residual"):
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            nn.init.zeros_(linear.bias)
        if arm.startswith("relu_large"):
            with torch.no_grad():
                linear.weight.mul_(2)
        parts: list[nn.Module] = [linear]
        if arm == "batch_norm":
            parts.append(nn.BatchNorm1d(width, dtype=torch.float64))
        if arm == "layer_norm":
            parts.append(nn.LayerNorm(width, dtype=torch.float64))
        parts.append(nn.Sigmoid() if arm == "sigmoid" else nn.ReLU())
        blocks.append(Residual(*parts) if arm == "residual" and layer else nn.Sequential(*parts))
    return nn.Sequential(*blocks)


GRADIENT_ARMS = (
    "relu_he", "relu_default", "sigmoid", "relu_large", "relu_large_clipped", "residual",
    "batch_norm", "layer_norm",
)  # fmt: skip
SIDES = tuple(classification(name, 10) for name in ("left", "right"))


def deep_gradients(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Train deep networks on two tasks; measure gradients by layer and between the tasks.

    Gradient descent with momentum, on batches. Each arm's learning rate is the one of the grid
    with the best validation accuracy on the tuning seeds; ``configuration["tuned"]`` may hold it.

    Returns:
        One row an arm and seed: ``arm``, ``seed``, ``lr``; ``norms_start`` and ``norms_later``:
        norm of the gradient of the sum of losses by the weights of each layer, [depth];
        ``conflict_start`` and ``conflict_later``: cosine of the two tasks' gradients by the shared
        parameters; these on all training data, before and after training. ``negative``: share of
        steps whose batch had a negative cosine; ``conflict_steps``: mean cosine of the batches;
        ``conflict_matched``: the same over the steps with a sum of losses in ``window``, None
        where there are fewer than five; ``loss``: sum of the losses on all training data after
        training; ``accuracy``: test accuracy in percent, mean of the tasks.
    """
    rows = []
    for arm in configuration["arms"]:
        lr = configuration.get("tuned", {}).get(arm) or _tune_gradients(configuration, arm)
        rows += [_deep_run(configuration, arm, lr, seed) for seed in seeds]
    return rows


def _tune_gradients(configuration: Configuration, arm: str) -> float:
    def score(lr: float) -> float:
        found = []
        for seed in configuration["tuning_seeds"]:
            data = overlapping_digits(**configuration["data"], seed=seed)
            model = _deep_network(configuration, arm, seed)
            steps = _descend(configuration, arm, model, data.train, lr, seed)
            diverged = any(not torch.isfinite(losses).all() for losses, _ in steps)
            found.append(0.0 if diverged else _mean_percent(model, data.valid))
        return sum(found)

    return max(configuration["learning_rates"], key=score)


def _deep_network(configuration: Configuration, arm: str, seed: int) -> HardSharing:
    with seeded(seed, torch.device("cpu")):
        trunk = deep_trunk(arm, 120, configuration["width"], configuration["depth"])
        return HardSharing.linear(trunk, SIDES)


def _descend(
    configuration: Configuration,
    arm: str,
    model: HardSharing,
    train: MultiTaskData,
    lr: float,
    seed: int,
    measure: bool = False,
) -> Iterator[tuple[Tensor, float]]:
    """Train in place; give the losses [2] before each step, and the cosine where asked for.

    It ends at the first loss that is no finite number.
    """
    stepper = torch.optim.SGD(model.parameters(), lr=lr, momentum=configuration["momentum"])
    order = torch.Generator().manual_seed(seed)
    epochs = (batches(len(train), configuration["batch_size"], order) for _ in itertools.count())
    chosen = itertools.islice(itertools.chain.from_iterable(epochs), configuration["steps"])
    for rows in chosen:
        batch = train.subset(rows)
        losses = task_losses(model(batch.inputs), batch.targets, SIDES)
        value = _cosine(model, losses) if measure else 0.0
        stepper.zero_grad()
        losses.sum().backward()
        if arm.endswith("clipped"):
            nn.utils.clip_grad_norm_(model.parameters(), configuration["max_norm"])
        stepper.step()
        yield losses.detach(), value
        if not torch.isfinite(losses).all():
            return


def _cosine(model: HardSharing, losses: Tensor) -> float:
    """Give the cosine of the two tasks' gradients by the shared parameters; 0 where one is 0."""
    shared = list(model.shared_parameters())
    first, second = (
        torch.cat([g.flatten() for g in torch.autograd.grad(loss, shared, retain_graph=True)])
        for loss in losses
    )
    return float(F.normalize(first, dim=0) @ F.normalize(second, dim=0))


def _on_all(model: HardSharing, train: MultiTaskData) -> tuple[list[float], float, float]:
    """Give gradient norms by layer, the cosine and the sum of losses on all training data."""
    model = copy.deepcopy(model)  # the running averages of the model itself stay as they are
    losses = task_losses(model(train.inputs), train.targets, SIDES)
    cosine, loss = round(_cosine(model, losses), 4), round(float(losses.detach().sum()), 4)
    weights = [layer.weight for layer in model.trunk.modules() if isinstance(layer, nn.Linear)]
    norms = [float(g.norm()) for g in torch.autograd.grad(losses.sum(), weights)]
    return [float(f"{norm:.4g}") for norm in norms], cosine, loss


def _mean_percent(model: HardSharing, data: MultiTaskData) -> float:
    scores = evaluate(model, SIDES, data)
    return 100 * sum(found["score"] for found in scores.values()) / len(scores)


def _deep_run(configuration: Configuration, arm: str, lr: float, seed: int) -> dict[str, Any]:
    data = overlapping_digits(**configuration["data"], seed=seed)
    model = _deep_network(configuration, arm, seed)
    norms_start, conflict_start, _ = _on_all(model, data.train)
    steps = list(_descend(configuration, arm, model, data.train, lr, seed, measure=True))
    norms_later, conflict_later, loss = _on_all(model, data.train)
    low, high = configuration["window"]
    cosines = [cosine for _, cosine in steps]
    matched = [cosine for losses, cosine in steps if low <= float(losses.sum()) <= high]
    row = {
        "arm": arm,
        "seed": seed,
        "lr": lr,
        "norms_start": norms_start,
        "norms_later": norms_later,
        "conflict_start": conflict_start,
        "conflict_later": conflict_later,
        "conflict_steps": round(sum(cosines) / len(cosines), 4),
        "conflict_matched": round(sum(matched) / len(matched), 4) if len(matched) >= 5 else None,
        "negative": round(sum(cosine < 0 for cosine in cosines) / len(cosines), 4),
        "loss": loss,
        "accuracy": round(_mean_percent(model, data.test), 2),
    }
    return {name: _or_none(value) for name, value in row.items()}


def _or_none(value: Any) -> Any:
    """Put None in the place of numbers that are not finite: the run diverged."""
    if isinstance(value, list):
        return [_or_none(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


GAP = {
    "problems": [
        {
            "widths": [16, 8],
            "tasks": [1, 2, 4, 8],
            "relatedness": [0.0, 0.5, 0.9, 1.0],
            "examples": [20, 40, 160],
        },
        {
            "widths": [64, 32],
            "tasks": [1, 8],
            "relatedness": [0.0, 1.0],
            "examples": [40, 160],
        },
    ],
    "sizes": {"valid": 200, "test": 500},
    "lr": 0.01,
    "steps": 400,
    "most_steps": 300,
    "learning_rates": [0.003, 0.01, 0.03],
    "record_every": 20,
    "tuning_seeds": list(range(100_000, 100_006)),
    "tries": 3,
    "note": "lr and steps of train/test are the same for all settings, not tuned. For the stopped "
    "ones an outer rate of the grid won in 31 of 56 settings and one of the last two steps in 7: "
    "rate and stopping step do the same work here, so the best value of either is flat",
}
RATES = {
    "rates": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8],
    "data": {"train": 200, "valid": 400, "test": 1},
    "widths": [128, 64],
    "lr": 0.003,
    "steps": 600,
    "batch_size": 50,
    "record_every": 20,
    "tries": 1,
    "note": "one learning rate for all rates, not tuned",
}
ABLATION = {
    "target": "ring",
    "labelled": 40,
    "arms": list(ARMS),
    "ranges": {name: list(limits) for name, limits in RANGES.items()},
    "sizes": [200, 300, 1000],
    "widths": [64, 32],
    "steps": 300,
    "record_every": 20,
    "tries": 10,
    "tuning_seeds": list(range(100_000, 100_006)),
    "note": "none and early_stopping took the lowest rate drawn, 0.00053; on the tuning seeds none "
    "has 84.3 percent at 0.00035, 84.5 at 0.00053, 84.2 at 0.001: flat. sharing+augmentation took "
    "the highest rate, sharing_same_pictures the lowest weight. Target and labels were chosen on "
    "seeds of their own, as those where sharing gained most",
}
GRADIENTS = {
    "arms": list(GRADIENT_ARMS),
    "data": {"train": 1000, "valid": 300, "test": 500},
    "depth": 12,
    "width": 32,
    "steps": 600,
    "batch_size": 64,
    "momentum": 0.9,
    "max_norm": 1.0,
    "window": [2.0, 3.5],
    "learning_rates": [1e-5, 1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0],
    "tries": 9,
    "tuning_seeds": [100_000, 100_001],
    "note": "relu_large took the lowest rate of the grid; sigmoid and relu_default learn at none",
}

STUDIES = [
    Study(
        name="05_why_bn",
        question="Does batch normalisation help by keeping what a layer sees from shifting?",
        configuration=WHY_BN,
        run=why_bn,
        seeds=range(12),
        keys=("arm", "seed"),
        # Plain runs, and those of "bn", are chaotic: after some hundred steps another processor's
        # rounding has grown into another path. With the noise the same path comes again.
        sample=Sample({**WHY_BN, "arms": ["bn_shifted"], "learning_rates": [0.5]}, 0.02, seeds=[0]),
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
    Study(
        name="05_gap",
        question="Does learning more tasks narrow the gap between training and test loss?",
        configuration=GAP,
        run=gap,
        seeds=range(30),
        keys=("widths", "tasks", "relatedness", "examples", "seed"),
        sample=Sample(
            {
                **GAP,
                "problems": [
                    {"widths": [16, 8], "tasks": [2], "relatedness": [1.0], "examples": [40]}
                ],
            },
            0.02,
            seeds=[0, 1],
        ),
        code=[
            relatives, _train_relatives, _stop, _losses_of_first, tanh_trunk,
            datasets_regression, backbones, hard_sharing,
        ],
    ),
    Study(
        name="05_dropout_rate",
        question="How do training and validation losses of two tasks change with the dropout rate?",
        configuration=RATES,
        run=dropout_rates,
        seeds=range(12),
        keys=("rate", "seed"),
        sample=Sample({**RATES, "rates": [0.0]}, 0.02, seeds=[0, 1]),
        code=[dropout_trunk, _train_with_dropout, overlapping, hard_sharing],
    ),
    Study(
        name="05_ablation",
        question="What do sharing and five other regularisers do for one task with few examples?",
        configuration=ABLATION,
        run=ablation,
        seeds=range(30),
        keys=("arm", "seed"),
        sample=Sample(
            {
                **ABLATION,
                "arms": ["sharing+dropout"],
                "tuned": {"sharing+dropout": {"lr": 0.00933, "sharing": 0.998, "dropout": 0.31}},
            },
            0.02,
        ),
        code=[
            questions_about_digits, Shift, smoothed, candidates, dropout_trunk, _tune,
            _arm_network, _train_arm, few_labels, _training_accuracy, hard_sharing,
        ],
    ),
    Study(
        name="05_gradients",
        question="Do remedies against vanishing or exploding gradients change gradient conflict?",
        configuration=GRADIENTS,
        run=deep_gradients,
        seeds=range(12),
        keys=("arm", "seed"),
        sample=Sample({**GRADIENTS, "arms": ["relu_he"], "tuned": {"relu_he": 0.003}}, 0.02, [0]),
        code=[
            Residual, deep_trunk, _tune_gradients, _deep_network, _descend, _cosine, _on_all,
            _mean_percent, _deep_run, _or_none, overlapping, hard_sharing,
        ],
    ),
]  # fmt: skip
