"""The recorded studies of lesson 04: whether balancing helps, what it trades, what it costs."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mtl_helpers.balancing import GradientBalance, gradients, losses, make, per_task
from mtl_helpers.datasets import overlapping, overlapping_digits
from mtl_helpers.datasets import regression as datasets_regression
from mtl_helpers.datasets.base import MultiTaskData, Splits
from mtl_helpers.datasets.regression import regression as regression_data
from mtl_helpers.datasets.regression import regression_truth
from mtl_helpers.experiments import SeedResults, many_seeds
from mtl_helpers.metrics import delta_m
from mtl_helpers.models import HardSharing, backbones, hard_sharing, small_cnn
from mtl_helpers.models.backbones import tanh_trunk
from mtl_helpers.tasks import Task, binary, by_name, classification, regression
from mtl_helpers.teaching.studies import Sample, Study
from mtl_helpers.training import split_features, task_losses

Configuration = Mapping[str, Any]
LOSS_METHODS = (
    "equal", "uncertainty", "dwa", "random", "gradnorm", "geometric", "imtl_l", "famo",
    "tchebycheff",
)  # fmt: skip
GRADIENT_METHODS = tuple(name for name in gradients.METHODS if name != "sum")


# ------------------------------------------------------------------------------ does it help?


@dataclass(frozen=True)
class Problem:
    """Tasks and their data: one draw a seed."""

    tasks: tuple[Task, ...]
    make_data: Callable[[int], Splits]

    def only(self, name: str) -> Problem:
        """Keep one task."""
        return Problem((by_name(self.tasks)[name],), partial(_keep, self.make_data, name))


def _keep(make_data: Callable[[int], Splits], name: str, seed: int) -> Splits:
    parts = make_data(seed)
    return Splits(*(MultiTaskData(part.inputs, {name: part.targets[name]}) for part in parts))


def alike(examples: int) -> Problem:
    """Four regressions of one kind, over one shared feature, with the same noise."""
    tasks = tuple(regression(f"task_{k + 1}") for k in range(4))
    return Problem(tasks, partial(_alike_data, examples))


def _alike_data(examples: int, seed: int) -> Splits:
    return regression_data(4, examples, 1.0, seed=seed)


def different(examples: int) -> Problem:
    """Four tasks that differ in unit, kind, noise and relatedness.

    ``plain`` is a regression of variance 1; ``times_ten`` one measured in a unit ten times smaller,
    so that its squared errors are a hundred times larger; ``yes_no`` asks whether a number is above
    0 (cross-entropy); ``noisy`` has as much noise as signal, half of which is its own affair.
    """
    tasks = (regression("plain"), regression("times_ten"), binary("yes_no"), regression("noisy"))
    return Problem(tasks, partial(_different_data, examples))


def _different_data(examples: int, seed: int) -> Splits:
    parts = regression_data(
        4, examples, [1.0, 1.0, 1.0, 0.5], noise=[0.3, 0.3, 0.3, 1.0], seed=seed
    )
    return Splits(*map(_in_other_units, parts))


def _in_other_units(part: MultiTaskData) -> MultiTaskData:
    plain, ten, above, noisy = part.targets.values()
    targets = {"plain": plain, "times_ten": 10 * ten, "yes_no": (above > 0).to(above)}
    return MultiTaskData(part.inputs, {**targets, "noisy": noisy})


PROBLEMS = {"alike": alike, "different": different}


class Settings(NamedTuple):
    """What was tuned: learning rate and the step to stop at, and fixed weights where asked for."""

    lr: float
    steps: int
    weights: Mapping[str, float] | None = None


def train(
    problem: Problem,
    configuration: Configuration,
    balance: str | Mapping[str, float],
    seeds: Sequence[int],
    settings: Settings,
    record_every: int | None = None,
) -> SeedResults:
    """Train one network with a head a task for each seed."""
    return many_seeds(
        partial(_network, problem.tasks, tuple(configuration["widths"])),
        problem.tasks,
        problem.make_data,
        seeds=seeds,
        balance=balance,
        lr=settings.lr,
        steps=settings.steps,
        batch_size=configuration["batch_size"],
        record_every=record_every,
    )


def _network(tasks: Sequence[Task], widths: Sequence[int]) -> HardSharing:
    return HardSharing.linear(tanh_trunk(widths), tasks)


def relative_gains(
    tasks: Sequence[Task], ours: Mapping[str, Tensor], single: Mapping[str, Tensor]
) -> Tensor:
    """Give delta-m in percent for many scores at once: nan where a run diverged.

    Args:
        tasks: for the direction of each score.
        ours: by task, [...].
        single: by task, of a shape that broadcasts against it.
    """
    gains = []
    for task in tasks:
        base = single[task.name]
        gain = 100 * (ours[task.name] - base) / base.abs()
        gains.append(gain if task.higher_is_better else -gain)
    return torch.stack(gains).mean(0)


def search(
    train_with: Callable[[Settings, int], SeedResults],
    configuration: Configuration,
    steps: int,
    value: Callable[[Mapping[str, Tensor]], Tensor],
) -> tuple[float, Settings, dict[str, Tensor]]:
    """Choose learning rate and stopping step on the validation data of the tuning seeds.

    Args:
        train_with: from settings and the interval of measuring to results on the tuning seeds.
        configuration: holds ``learning_rates`` and ``record_every``.
        steps: the most that may be taken.
        value: from validation scores by task, [S, P], to what is to be large, [P].

    Returns:
        The best value, its settings, and its validation scores by task, [S].
    """
    found = []
    for lr in configuration["learning_rates"]:
        curves = train_with(Settings(lr, steps), configuration["record_every"]).curves
        scores = {name: values[:, 1:] for name, values in curves.scores.items()}  # not step 0
        values = value(scores).nan_to_num(-torch.inf)
        best = int(values.argmax())
        at_best = {name: score[:, best] for name, score in scores.items()}
        found.append((float(values[best]), Settings(lr, int(curves.steps[best + 1])), at_best))
    return max(found, key=lambda one: one[0])


def tune_single(
    problem: Problem, configuration: Configuration, steps: int
) -> tuple[dict[str, Settings], dict[str, Tensor]]:
    """Tune the network of each task for itself, by its own validation score.

    Returns:
        Settings by task, and validation scores by task, [S], of the tuning seeds.
    """
    chosen, scores = {}, {}
    for task in problem.tasks:
        alone = problem.only(task.name)
        sign = 1 if task.higher_is_better else -1
        _, chosen[task.name], at_best = search(
            lambda settings, every, alone=alone: train(
                alone, configuration, "equal", configuration["tuning_seeds"], settings, every
            ),
            configuration,
            steps,
            lambda valid, name=task.name, sign=sign: sign * valid[name].mean(0),
        )
        scores |= at_best
    return chosen, scores


def tune_joint(
    problem: Problem,
    configuration: Configuration,
    steps: int,
    balance: str | Mapping[str, float],
    single: Mapping[str, Tensor],
) -> tuple[float, Settings]:
    """Tune a method by its mean delta-m on validation data, which no unit of a loss changes.

    Args:
        problem: the tasks and their data.
        configuration: of the study.
        steps: the most that may be taken.
        balance: the method, or weights.
        single: validation scores of the single-task networks, by task, [S].
    """
    base = {name: values[:, None] for name, values in single.items()}
    value, settings, _ = search(
        lambda settings, every: train(
            problem, configuration, balance, configuration["tuning_seeds"], settings, every
        ),
        configuration,
        steps,
        lambda valid: relative_gains(problem.tasks, valid, base).mean(0),
    )
    return value, settings


def candidate_weights(tasks: Sequence[Task], count: int) -> list[dict[str, float]]:
    """Draw weights to try: the equal ones first, then log-uniform in 0.01..1."""
    rng = torch.Generator().manual_seed(0)
    drawn = 10 ** (-2 * torch.rand(count - 1, len(tasks), generator=rng, dtype=torch.float64))
    rows = [[1.0] * len(tasks), *drawn.tolist()]
    names = [task.name for task in tasks]
    return [{n: round(w, 3) for n, w in zip(names, row, strict=True)} for row in rows]


def tune_weights(
    problem: Problem, configuration: Configuration, steps: int, single: Mapping[str, Tensor]
) -> Settings:
    """Search for fixed weights, each with learning rate and step of its own."""
    found = []
    for weights in candidate_weights(problem.tasks, configuration["candidates"]):
        value, settings = tune_joint(problem, configuration, steps, weights, single)
        found.append((value, settings._replace(weights=weights)))
    return max(found, key=lambda one: one[0])[1]


def does_it_help(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Compare single-task networks, the sum and every method on problems of two kinds.

    Learning rate and stopping step of each arm are tuned on validation data, over one grid and the
    same tuning seeds. A single-task network is tuned for itself; the others by delta-m against
    them. ``configuration["tuned"]`` may hold settings that were found before.

    Returns:
        One row a problem, method and seed, with the test ``scores`` by task, ``delta_m`` in percent
        against the single-task networks of the same seed, and the ``lr`` and ``steps`` tuned
        (lists, one a task, for the single-task networks). ``tries`` counts the training runs
        that each tuning seed cost (for "single": each network).
    """
    rows = []
    for name, options in configuration["problems"].items():
        problem = PROBLEMS[name](options["examples"])
        known = configuration.get("tuned", {}).get(name)
        settings = known or tune_all(problem, configuration, options["steps"])
        single: dict[int, dict[str, float]] = {}
        for method in configuration["methods"]:
            chosen = settings[method]
            scores = _test_scores(problem, configuration, method, chosen, seeds)
            if method == "single":
                single = scores
            tries = len(configuration["learning_rates"])
            if method == "tuned_weights":
                tries *= configuration["candidates"]
            up = {task.name: task.higher_is_better for task in problem.tasks}
            for seed in seeds:
                rows.append(
                    {
                        "problem": name,
                        "method": method,
                        "seed": seed,
                        "scores": {task: round(v, 4) for task, v in scores[seed].items()},
                        "delta_m": round(delta_m(scores[seed], single[seed], up), 3),
                        **_described(chosen),
                        "tries": tries,
                    }
                )
    return rows


def tune_all(
    problem: Problem, configuration: Configuration, steps: int
) -> dict[str, Settings | dict[str, Settings]]:
    """Tune every arm of a problem: settings by method."""
    alone, single = tune_single(problem, configuration, steps)
    settings: dict[str, Settings | dict[str, Settings]] = {"single": alone}
    for method in configuration["methods"]:
        if method == "tuned_weights":
            settings[method] = tune_weights(problem, configuration, steps, single)
        elif method != "single":
            settings[method] = tune_joint(problem, configuration, steps, method, single)[1]
    return settings


def _test_scores(
    problem: Problem,
    configuration: Configuration,
    method: str,
    chosen: Any,
    seeds: Sequence[int],
) -> dict[int, dict[str, float]]:
    """Train an arm with what was tuned, and give its test scores: {seed: {task: score}}."""
    if method == "single":
        columns = {}
        for task in problem.tasks:
            alone, own = problem.only(task.name), Settings(*chosen[task.name])
            columns |= train(alone, configuration, "equal", seeds, own).scores
    else:
        own = Settings(*chosen)
        balance = method if own.weights is None else own.weights
        columns = train(problem, configuration, balance, seeds, own).scores
    return {
        seed: {name: float(values[i]) for name, values in columns.items()}
        for i, seed in enumerate(seeds)
    }


def _described(chosen: Any) -> dict[str, Any]:
    """Write settings into a row: numbers, or lists with one number a task."""
    if isinstance(chosen, Mapping):
        own = [Settings(*one) for one in chosen.values()]
        return {"lr": [one.lr for one in own], "steps": [one.steps for one in own]}
    own = Settings(*chosen)
    weights = {} if own.weights is None else {"weights": own.weights}
    return {"lr": own.lr, "steps": own.steps, **weights}


# ---------------------------------------------------------------------------------- the front


def front_problem(configuration: Configuration) -> Problem:
    """Two partly related regressions of one truth, one noisier; a seed draws fresh data.

    With a trunk that ends in one number, no network can be best at both.
    """
    truth = regression_truth(
        2,
        configuration["relatedness"],
        noise=configuration["noise"],
        features=1,
        seed=configuration["truth_seed"],
    )
    tasks = tuple(regression(name) for name in truth.names)
    return Problem(tasks, partial(_front_data, truth, configuration["examples"]))


def _front_data(truth: datasets_regression.RegressionTruth, examples: int, seed: int) -> Splits:
    first = 4_000_000_000 + 3 * seed
    return Splits(
        *(
            truth.sample(size, torch.Generator().manual_seed(first + part))
            for part, size in enumerate((examples, 500, 2000))
        )
    )


def front(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Train two tasks at many fixed weights, and with every method, for the same steps.

    All arms use one learning rate: the one at which the plain sum has the lowest mean validation
    loss after the last step.

    Returns:
        Rows of kind ``"weights"`` (``weight`` of the first task; the second has the rest) and of
        kind ``"method"`` (``"single"``: two networks), with the test ``losses`` and ``scores`` of
        both tasks.
    """
    problem, steps = front_problem(configuration), configuration["steps"]

    def validation_loss(lr: float) -> float:
        settings = Settings(lr, steps)
        tuning = configuration["tuning_seeds"]
        found = train(problem, configuration, "equal", tuning, settings, record_every=steps)
        return float(torch.stack([loss[:, -1] for loss in found.curves.losses.values()]).mean())

    settings = Settings(min(configuration["learning_rates"], key=validation_loss), steps)
    rows = []
    first, second = (task.name for task in problem.tasks)
    for weight in configuration["weights"]:
        weights = {first: weight, second: round(1 - weight, 4)}
        found = _front_run(problem, configuration, weights, seeds, settings)
        rows += _front_rows({"kind": "weights", "weight": weight}, seeds, *found)
    for method in configuration["methods"]:
        found = _front_run(problem, configuration, method, seeds, settings)
        rows += _front_rows({"kind": "method", "method": method}, seeds, *found)
    return [{**row, "lr": settings.lr} for row in rows]


def _front_run(
    problem: Problem,
    configuration: Configuration,
    balance: str | Mapping[str, float],
    seeds: Sequence[int],
    settings: Settings,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Give test losses and test scores by task, [S], of one network or of the single ones."""
    parts, balances = [problem], balance
    if balance == "single":
        parts, balances = [problem.only(task.name) for task in problem.tasks], "equal"
    losses, scores = {}, {}
    for part in parts:
        found = train(part, configuration, balances, seeds, settings)
        losses |= found.losses
        scores |= found.scores
    return losses, scores


def _front_rows(
    about: Mapping[str, Any],
    seeds: Sequence[int],
    losses: Mapping[str, Tensor],
    scores: Mapping[str, Tensor],
) -> list[dict[str, Any]]:
    pairs = [torch.stack(list(columns.values()), 1) for columns in (losses, scores)]
    return [
        {
            "kind": about["kind"],
            "weight": about.get("weight"),
            "method": about.get("method"),
            "seed": seed,
            "losses": [round(v, 5) for v in pairs[0][i].tolist()],
            "scores": [round(v, 5) for v in pairs[1][i].tolist()],
        }
        for i, seed in enumerate(seeds)
    ]


# ------------------------------------------------------------ what single-task networks may do


def single_freedom(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Train single-task networks that may choose no more than a joint arm, and the reverse.

    On the problems of ``does_it_help`` one learning rate and one stopping step serve all
    single-task networks (arm ``"common"``), or they share only the rate (``"one_rate"``) or only
    the step (``"one_stop"``). All are tuned as the joint arms are: by delta-m on validation data
    against the single-task networks that are tuned freely. On the problem of ``front`` the
    single-task networks (``"single"``) and one pair of weights (``"weight"``) choose rate and stop,
    which there were set for the sum; the pair by the validation loss of the second task alone.

    Returns:
        One row a ``problem`` ("front" among them), ``arm`` and ``seed`` with the test ``scores``
        and ``losses`` by task, and the ``lr`` and ``steps`` chosen (lists: one a task).
    """
    rows = []
    for name, options in configuration["problems"].items():
        problem = PROBLEMS[name](options["examples"])
        known = configuration.get("tuned", {}).get(name)
        bound = known or tune_bound(problem, configuration, options["steps"])
        for arm, chosen in bound.items():
            own = {task: Settings(*one) for task, one in chosen.items()}
            rows += _freedom_rows(problem, configuration, name, arm, own, seeds)
    if options := configuration.get("front"):
        problem, own = front_problem(options), {}
        first, second = (task.name for task in problem.tasks)
        for name in (first, second):
            own[name] = tune_loss(problem.only(name), options, "equal", name)
        few = seeds[: options["seeds"]]
        rows += _freedom_rows(problem, options, "front", "single", own, few)
        weights = {first: options["weight"], second: round(1 - options["weight"], 4)}
        both = tune_loss(problem, options, weights, second)
        rows += _freedom_rows(problem, options, "front", "weight", both, few)
    return rows


def tune_bound(
    problem: Problem, configuration: Configuration, steps: int
) -> dict[str, dict[str, Settings]]:
    """Tune the single-task networks together: one rate and stop, one rate, or one stop for all.

    Returns:
        Settings by arm ("common", "one_rate", "one_stop") and task.
    """
    rates = configuration["learning_rates"]
    _, free = tune_single(problem, configuration, steps)
    gains = []  # [K, rates, P]: how much each is better than when it is tuned freely
    for task in problem.tasks:
        base, rows = {task.name: free[task.name][:, None]}, []
        for lr in rates:
            tuning, settings = configuration["tuning_seeds"], Settings(lr, steps)
            alone, every = problem.only(task.name), configuration["record_every"]
            curves = train(alone, configuration, "equal", tuning, settings, every).curves
            scores = {task.name: curves.scores[task.name][:, 1:]}  # not step 0
            rows.append(relative_gains([task], scores, base).mean(0))
        gains.append(torch.stack(rows))
    table = torch.stack(gains).nan_to_num(-torch.inf)
    stops = [int(step) for step in curves.steps[1:]]
    kinds = {"common": table.mean(0, keepdim=True).expand_as(table)}  # all choose the same
    kinds["one_rate"] = torch.full_like(table, -torch.inf)
    kinds["one_stop"] = kinds["one_rate"].clone()
    rate, stop = int(table.amax(2).mean(0).argmax()), int(table.amax(1).mean(0).argmax())
    kinds["one_rate"][:, rate] = table[:, rate]
    kinds["one_stop"][:, :, stop] = table[:, :, stop]
    chosen: dict[str, dict[str, Settings]] = {arm: {} for arm in kinds}
    for arm, found in kinds.items():
        for task, values in zip(problem.tasks, found, strict=True):
            best, at = divmod(int(values.argmax()), len(stops))
            chosen[arm][task.name] = Settings(rates[best], stops[at])
    return chosen


def tune_loss(
    problem: Problem,
    configuration: Configuration,
    balance: str | Mapping[str, float],
    name: str,
) -> Settings:
    """Choose rate and stop by the mean validation loss of one task."""
    found = []
    for lr in configuration["learning_rates"]:
        settings, tuning = Settings(lr, configuration["steps"]), configuration["tuning_seeds"]
        every = configuration["record_every"]
        curves = train(problem, configuration, balance, tuning, settings, every).curves
        loss = curves.losses[name][:, 1:].mean(0).nan_to_num(torch.inf)
        best = int(loss.argmin())
        found.append((float(loss[best]), Settings(lr, int(curves.steps[best + 1]), balance)))
    best = min(found, key=lambda one: one[0])[1]
    return best if isinstance(balance, Mapping) else best._replace(weights=None)


def _freedom_rows(
    problem: Problem,
    configuration: Configuration,
    name: str,
    arm: str,
    chosen: Settings | Mapping[str, Settings],
    seeds: Sequence[int],
) -> list[dict[str, Any]]:
    """Train with what was chosen: one network, or one a task; a row a seed."""
    parts: list[tuple[Problem, Any, Settings]] = []
    if isinstance(chosen, Settings):
        parts = [(problem, chosen.weights, chosen)]
    else:
        parts = [(problem.only(task), "equal", own) for task, own in chosen.items()]
    scores: dict[str, Tensor] = {}
    losses: dict[str, Tensor] = {}
    for part, balance, own in parts:
        found = train(part, configuration, balance, seeds, own)
        scores |= found.scores
        losses |= found.losses
    return [
        {
            "problem": name,
            "arm": arm,
            "seed": seed,
            "scores": {task: round(float(v[i]), 4) for task, v in scores.items()},
            "losses": {task: round(float(v[i]), 5) for task, v in losses.items()},
            **_described(chosen),
        }
        for i, seed in enumerate(seeds)
    ]


# --------------------------------------------------------------------- two overlapping pictures

PICTURE_TASKS = (classification("left", 10), classification("right", 10))


def multi_mnist(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Read both of two overlapping digits, after Sener & Koltun 2018 (arXiv:1810.04650).

    The learning rate of every arm is tuned on the mean validation accuracy after the last step; of
    a single-task network on its own. Fixed weights are searched for with the learning rate.

    Returns:
        One row a ``source``, ``method`` and ``seed``: test accuracy of ``left`` and ``right`` in
        percent, the ``lr`` tuned (for "single": left, right), and the ``tries`` it took.
    """
    rows = []
    for source, options in configuration["sources"].items():
        for method in options.get("methods", configuration["methods"]):
            found, about = _read_pictures({**options, "source": source}, method, seeds)
            rows += [
                {
                    "source": source,
                    "method": method,
                    "seed": seed,
                    **{name: round(100 * float(found[name][i]), 3) for name in ("left", "right")},
                    **about,
                }
                for i, seed in enumerate(seeds)
            ]
    return rows


def _read_pictures(
    options: Configuration, method: str, seeds: Sequence[int]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tune and train one arm: test accuracy by task, [S], and what was tuned."""
    rates = options["learning_rates"]
    if method == "single":
        found, chosen = {}, []
        for task in PICTURE_TASKS:
            lr, _ = _tune_pictures(options, (task,), ["equal"])
            found |= _train_pictures(options, (task,), "equal", lr, seeds).scores
            chosen.append(lr)
        return found, {"lr": chosen, "tries": len(rates)}
    balances: list[Any] = [method]
    if method == "tuned_weights":
        balances = [{"left": w, "right": round(1 - w, 4)} for w in options["weights"]]
    lr, balance = _tune_pictures(options, PICTURE_TASKS, balances)
    found = _train_pictures(options, PICTURE_TASKS, balance, lr, seeds).scores
    weights = {"weights": balance} if method == "tuned_weights" else {}
    return found, {"lr": lr, "tries": len(rates) * len(balances), **weights}


def _tune_pictures(
    options: Configuration, tasks: Sequence[Task], balances: Sequence[Any]
) -> tuple[float, Any]:
    """Give the learning rate and the balance of the best mean validation accuracy."""
    pairs = [(lr, balance) for balance in balances for lr in options["learning_rates"]]

    def accuracy(pair: tuple[float, Any]) -> float:
        found = _train_pictures(options, tasks, pair[1], pair[0], options["tuning_seeds"])
        return float(torch.stack([s[:, -1] for s in found.curves.scores.values()]).mean())

    return pairs[0] if len(pairs) == 1 else max(pairs, key=accuracy)


def _train_pictures(
    options: Configuration, tasks: Sequence[Task], balance: Any, lr: float, seeds: Sequence[int]
) -> SeedResults:
    if balance == "mgda_features":
        names = [task.name for task in tasks]
        balance = GradientBalance("mgda", names, at="features")
    return many_seeds(
        partial(_picture_network, tasks, options),
        tasks,
        partial(_pictures, options),
        seeds=seeds,
        steps=options["steps"],
        batch_size=options["batch_size"],
        lr=lr,
        balance=balance,
        record_every=options["steps"],
    )


def _pictures(options: Configuration, seed: int) -> Splits:
    sizes = {part: options[part] for part in ("train", "valid", "test")}
    dtype = getattr(torch, options["dtype"])
    return overlapping_digits(options["source"], **sizes, seed=seed, dtype=dtype)


def _picture_network(tasks: Sequence[Task], options: Configuration) -> HardSharing:
    dtype = getattr(torch, options["dtype"])
    trunk = small_cnn(options["image"], options["channels"], options["features"], dtype=dtype)
    return HardSharing.linear(trunk, tasks, dtype=dtype)


# -------------------------------------------------------------------------------- what it costs


def step_functions(tasks: int, batch: int = 64, seed: int = 0) -> dict[str, Callable[[], None]]:
    """Give functions that each fill every ``.grad`` of one small CNN, in different ways.

    ``joint`` backpropagates the sum; ``K passes`` runs forward and backward once a task; ``loop``
    has one gradient a task at all shared parameters from one forward, ``torchjd`` too (left out
    where it is not installed); ``features`` has them at the features only. All add up what they
    have, which takes next to no time: what is compared is how per-task gradients are had.

    Args:
        tasks: K, each of ten classes.
        batch: examples, 28x28 pixels, float32.
        seed: of network and data.
    """
    learnt = [classification(f"task_{k}", 10) for k in range(tasks)]
    names = [task.name for task in learnt]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trunk = small_cnn((1, 28, 28), (16, 32), 64, dtype=torch.float32)
        model = HardSharing.linear(trunk, learnt, dtype=torch.float32)
        inputs = torch.randn(batch, 1, 28, 28)
        targets = {name: torch.randint(10, (batch,)) for name in names}

    def every_loss() -> Tensor:
        return task_losses(model(inputs), targets, learnt)

    def joint() -> None:
        model.zero_grad()
        every_loss().sum().backward()

    def passes() -> None:
        model.zero_grad()
        for task in learnt:
            head = model.heads[f"task_{task.name}"]
            task.mean_loss(head(model.features(inputs)), targets[task.name]).backward()

    at_shared = GradientBalance("sum", names)
    at_features = GradientBalance("sum", names, at="features")

    def loop() -> None:
        model.zero_grad()
        at_shared.backward(every_loss(), {"model": model})

    def features() -> None:
        model.zero_grad()
        split = split_features(model, inputs, names)
        found = task_losses(model.from_features(split["task_features"]), targets, learnt)
        at_features.backward(found, {"model": model, **split})

    ways = {"joint": joint, "K passes": passes, "loop": loop, "features": features}
    try:
        from torchjd.aggregation import Sum
        from torchjd.autojac import jac_to_grad, mtl_backward
    except ImportError:
        return ways

    def torchjd() -> None:
        model.zero_grad()
        z = model.features(inputs)
        outputs = model.from_features(z)
        found = [task.mean_loss(outputs[task.name], targets[task.name]) for task in learnt]
        mtl_backward(
            found,
            features=z,
            tasks_params=[model.task_parameters(name) for name in names],
            shared_params=model.shared_parameters(),
        )
        jac_to_grad(model.shared_parameters(), Sum())

    return {**ways, "torchjd": torchjd}


def aggregation_functions(
    tasks: int = 8, parameters: int = 1_000_000, seed: int = 0
) -> dict[str, Callable[[], Any]]:
    """Give each gradient method on one K x P matrix in float32, and ``"product"``: J @ J.T."""
    rng = torch.Generator().manual_seed(seed)
    rows = torch.randn(tasks, parameters, generator=rng)
    ways: dict[str, Callable[[], Any]] = {"product": lambda: rows @ rows.T}
    return ways | {name: partial(method, rows) for name, method in gradients.METHODS.items()}


def time_ratios(ways: Mapping[str, Callable[[], Any]], base: str, rounds: int) -> dict[str, float]:
    """Give the shortest time of each function over that of one; rounds alternate between them."""
    best = dict.fromkeys(ways, float("inf"))
    for way in ways.values():
        way()  # allocates, imports
    gc.collect()
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - began)
    return {name: value / best[base] for name, value in best.items()}


def step_time(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Measure the time of a training step and of the aggregation, as ratios within one run.

    Returns:
        Rows ``what`` = "step" (``how``, ``tasks``, ``ratio`` to the joint step) and "aggregation"
        (``method``, ``ratio`` to one product of the K x P matrix with its transpose).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(configuration["threads"])
    rows: list[dict[str, Any]] = []
    try:
        for tasks in configuration["tasks"]:
            ways = step_functions(tasks, configuration["batch"], seeds[0])
            for how, ratio in time_ratios(ways, "joint", configuration["rounds"]).items():
                rows.append(_ratio_row("step", ratio, how=how, tasks=tasks))
        sizes = (configuration["aggregated_tasks"], configuration["parameters"])
        aggregations = aggregation_functions(*sizes, seeds[0])
        ratios = time_ratios(aggregations, "product", configuration["rounds"])
        for method, ratio in ratios.items():
            rows.append(_ratio_row("aggregation", ratio, method=method))
    finally:
        torch.set_num_threads(threads)
    return rows


def _ratio_row(what: str, ratio: float, **about: Any) -> dict[str, Any]:
    row = {"what": what, "how": None, "tasks": None, "method": None, **about}
    return {**row, "ratio": round(ratio, 2)}


HELP = {
    "problems": {
        "alike": {"examples": 40, "steps": 400},
        "different": {"examples": 40, "steps": 500},
    },
    "methods": [
        "single", "equal", "tuned_weights", *LOSS_METHODS[1:], *GRADIENT_METHODS,
    ],
    "widths": [16, 8],
    "batch_size": 20,
    "learning_rates": [0.001, 0.002, 0.005, 0.01, 0.02, 0.05],
    "tuning_seeds": list(range(100_000, 100_006)),
    "record_every": 20,
    "candidates": 30,
}  # fmt: skip

CHOSEN = {  # what the whole study chose for the tasks that are alike; the sample does not search
    "single": {
        "task_1": (0.02, 80),
        "task_2": (0.02, 40),
        "task_3": (0.005, 120),
        "task_4": (0.01, 100),
    },
    "equal": (0.01, 80),
    "mgda": (0.01, 100),
}
FRONT = {
    "relatedness": 0.5,
    "noise": [0.3, 0.8],
    "truth_seed": 0,
    "examples": 400,
    "widths": [16, 1],
    "weights": [round(0.05 * i, 2) for i in range(21)],
    "methods": ["single", *LOSS_METHODS, *GRADIENT_METHODS],
    "learning_rates": [0.001, 0.002, 0.005, 0.01, 0.02, 0.05],
    "tuning_seeds": list(range(100_000, 100_006)),
    "steps": 400,
    "batch_size": 50,
}
FREEDOM = {
    **{
        name: HELP[name]
        for name in (
            "problems", "widths", "batch_size", "learning_rates", "tuning_seeds", "record_every",
        )
    },
    "front": {
        **{name: value for name, value in FRONT.items() if name not in ("weights", "methods")},
        "weight": 0.3,
        "record_every": 20,
        "seeds": 20,
    },
}  # fmt: skip
BOUND = {  # what the whole study chose; the sample does not search
    "common": dict.fromkeys(("plain", "times_ten", "yes_no", "noisy"), (0.02, 60)),
}
MULTI_MNIST = {
    "reduced": (
        "On a CPU. MNIST: 10,000 training pairs and 5 epochs (the authors' code: all 60,000, 100 "
        "epochs); 3x3 convolutions (5x5), linear heads (one hidden layer each), no dropout, "
        "Adam; MGDA without normalised gradients; 2 tuning seeds, 5 test seeds."
    ),
    "methods": ["single", "equal", "tuned_weights", "uncertainty", "mgda_features", "pcgrad"],
    "sources": {
        "digits": {
            "train": 2000, "valid": 500, "test": 1000, "image": [1, 10, 12], "dtype": "float64",
            "channels": [8, 16], "features": 50, "steps": 400, "batch_size": 64,
            "learning_rates": [0.001, 0.003, 0.01, 0.03], "weights": [0.3, 0.5, 0.7],
            "tuning_seeds": [100, 101],
        },
        "mnist": {
            "train": 10_000, "valid": 5_000, "test": 10_000, "image": [1, 28, 28],
            "dtype": "float32", "channels": [10, 20], "features": 50, "steps": 395,
            "batch_size": 128, "learning_rates": [0.001, 0.003, 0.01],
            "weights": [0.3, 0.5, 0.7], "tuning_seeds": [100, 101],
        },
    },
}  # fmt: skip
STEP_TIME = {
    "tasks": [4, 8, 16],
    "batch": 64,
    "aggregated_tasks": 8,
    "parameters": 1_000_000,
    "threads": 2,
    "rounds": 25,
}

STUDIES = [
    Study(
        name="04_does_it_help",
        question="Does balancing tasks help, against the sum and against single-task networks?",
        configuration=HELP,
        run=does_it_help,
        seeds=range(40),
        keys=("problem", "method", "seed"),
        sample=Sample(
            {
                **HELP,
                "problems": {"alike": HELP["problems"]["alike"]},
                "methods": ["single", "equal", "mgda"],
                "tuned": {"alike": CHOSEN},
            },
            0.02,
            seeds=[0, 1],
        ),
        code=[
            Problem, _keep, alike, _alike_data, different, _different_data, _in_other_units,
            Settings, train, _network, relative_gains, search, tune_single, tune_joint,
            candidate_weights, tune_weights, tune_all, _test_scores, tanh_trunk,
            datasets_regression, backbones, hard_sharing, losses, gradients, per_task, make,
        ],
    ),
    Study(
        name="04_front",
        question="Where on the trade-off of two tasks do fixed weights and methods end?",
        configuration=FRONT,
        run=front,
        seeds=range(20),
        keys=("kind", "weight", "method", "seed"),
        sample=Sample(
            {
                **FRONT,
                "weights": [0.3],
                "methods": ["single", "pcgrad"],
                "learning_rates": [0.01],
                "tuning_seeds": [100_000],
            },
            0.02,
            seeds=[0, 1],
        ),
        code=[
            front_problem, _front_data, _front_run, _front_rows, Problem, _keep, Settings, train,
            _network, tanh_trunk, datasets_regression, backbones, hard_sharing, losses, gradients,
            per_task, make,
        ],
    ),
    Study(
        name="04_single_freedom",
        question="Do single-task networks still win when they may choose no more than a joint arm?",
        configuration=FREEDOM,
        run=single_freedom,
        seeds=range(40),
        keys=("problem", "arm", "seed"),
        sample=Sample(
            {
                **FREEDOM,
                "problems": {"different": HELP["problems"]["different"]},
                "tuned": {"different": BOUND},
                "front": {**FREEDOM["front"], "learning_rates": [0.01, 0.02], "seeds": 2},
            },
            0.02,
            seeds=[0, 1],
        ),
        code=[
            tune_bound, tune_loss, _freedom_rows, front_problem, _front_data, Problem, _keep,
            alike, _alike_data, different, _different_data, _in_other_units, Settings, train,
            _network, relative_gains, search, tune_single, tanh_trunk, datasets_regression,
            backbones, hard_sharing, losses, make,
        ],
    ),
    Study(
        name="04_multi_mnist",
        question="Two overlapping digits: do methods beat the sum and two networks?",
        configuration=MULTI_MNIST,
        run=multi_mnist,
        seeds=range(5),
        keys=("source", "method", "seed"),
        sample=Sample(  # the digits that need no download, at the learning rate that was chosen
            {
                "methods": ["equal"],
                "sources": {
                    "digits": {**MULTI_MNIST["sources"]["digits"], "learning_rates": [0.01]}
                },
            },
            0.02,
            seeds=[0],
            ignore=("tries",),
        ),
        code=[
            _read_pictures, _tune_pictures, _train_pictures, _pictures, _picture_network,
            overlapping, backbones, hard_sharing, losses, gradients, per_task, make,
        ],
    ),
    Study(
        name="04_step_time",
        question="How long does a step take with one gradient a task, and the aggregation alone?",
        configuration=STEP_TIME,
        run=step_time,
        seeds=[0],
        keys=("what", "how", "tasks", "method"),
        sample=Sample(
            {**STEP_TIME, "tasks": [4], "rounds": 1}, 0.02, ignore=("ratio",)
        ),
        code=[
            step_functions, aggregation_functions, time_ratios, backbones, hard_sharing,
            gradients, per_task,
        ],
    ),
]  # fmt: skip
