"""The recorded sweeps of lesson 01: when learning tasks together helps, and whom to learn with."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, jacrev

from mtl_helpers.datasets import regression as datasets_regression
from mtl_helpers.datasets import shapes as datasets_shapes
from mtl_helpers.datasets.base import MultiTaskData, Splits
from mtl_helpers.datasets.regression import regression as regression_data
from mtl_helpers.datasets.regression import regression_truth
from mtl_helpers.datasets.shapes import SHAPES, shapes
from mtl_helpers.experiments import SeedResults, many_seeds
from mtl_helpers.lessons.lesson_01 import corners, few_and_many
from mtl_helpers.metrics import box_iou
from mtl_helpers.models import HardSharing, backbones, small_cnn, tanh_trunk
from mtl_helpers.tasks import Task, classification, regression
from mtl_helpers.teaching.studies import Sample, Study
from mtl_helpers.training import task_losses

Configuration = Mapping[str, Any]
ALONE = [regression("alone")]
OTHER_START = 1_000_000_000  # added to a network's seed: other initial parameters, the same data


def one_task(splits: Splits, name: str) -> Splits:
    """Keep one task of the data and call it ``alone``."""
    return Splits(*(MultiTaskData(part.inputs, {"alone": part.targets[name]}) for part in splits))


def train_together(
    make_data: Callable[[int], Splits],
    tasks: Sequence[Task],
    widths: Sequence[int],
    seeds: Sequence[int],
    **settings: Any,
) -> SeedResults:
    """Train one network with a head a task for every seed; settings go to ``many_seeds``."""
    return many_seeds(
        lambda: HardSharing.linear(tanh_trunk(widths), tasks),
        tasks,
        make_data,
        seeds=seeds,
        **settings,
    )


def train_alone(
    make_data: Callable[[int], Splits],
    tasks: Sequence[Task],
    widths: Sequence[int],
    seeds: Sequence[int],
    start: int = 0,
    **settings: Any,
) -> SeedResults:
    """Train one network of the same trunk for every pair of a seed and a task.

    All of them are stacked: network ``seed * K + k`` learns task k on the data of its seed. Another
    ``start`` (0, 1, ...) gives other initial networks on the same data.
    """
    names = [task.name for task in tasks]
    drawn: dict[int, Splits] = {}

    def data_of(network: int) -> Splits:
        seed, k = divmod(network % OTHER_START, len(names))
        if seed not in drawn:
            drawn[seed] = make_data(seed)
        return one_task(drawn[seed], names[k])

    first = start * OTHER_START
    networks = [first + seed * len(names) + k for seed in seeds for k in range(len(names))]
    return train_together(data_of, ALONE, widths, networks, **settings)


def tuned(train: Callable[..., SeedResults], configuration: Configuration) -> dict[str, Any]:
    """Choose learning rate and steps by mean validation loss; the same grid for every arm."""
    found = []
    for lr in configuration["learning_rates"]:
        curves = train(
            seeds=configuration["tuning_seeds"],
            lr=lr,
            steps=configuration["steps"],
            batch_size=configuration["batch_size"],
            record_every=configuration["record_every"],
        ).curves
        losses = torch.stack(list(curves.losses.values())).mean((0, 1))[1:]
        best = int(losses.nan_to_num(torch.inf).argmin())
        found.append((float(losses[best]), lr, int(curves.steps[best + 1])))
    _, lr, steps = min(found)
    return {"lr": lr, "steps": steps, "batch_size": configuration["batch_size"]}


def gains_by_setting(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Measure what training together gains, by examples, relatedness and width of the trunk.

    The networks that learn alone are trained for the first ``measured_tasks`` tasks: all are drawn
    alike. For each setting and arm, the learning rate and the step to stop at are tuned; both
    arms may take ``steps`` steps, or ``steps_per_example`` times the examples if that is more.

    Returns:
        One row a setting and seed: ``examples``, ``relatedness``, ``widths``, ``seed``, the mean
        RMSE ``alone`` and ``together``, and ``gain``: by how many percent the RMSE fell, averaged
        over tasks; ``lr`` and ``steps`` hold what was tuned: alone, together.
    """
    tasks = [regression(f"task_{k + 1}") for k in range(configuration["tasks"])]
    measured = tasks[: configuration["measured_tasks"]]
    rows = []
    for examples, relatedness, widths in itertools.product(
        configuration["examples"], configuration["relatedness"], configuration["widths"]
    ):
        data = partial(_data, len(tasks), examples, relatedness)
        budget = max(configuration["steps"], configuration["steps_per_example"] * examples)
        rmse, chosen = [], []
        for train, learnt in ((train_alone, measured), (train_together, tasks)):
            arm = partial(train, data, learnt, widths)
            chosen.append(tuned(arm, {**configuration, "steps": budget}))
            rmse.append(_by_seed(arm(seeds=seeds, **chosen[-1]), measured, len(seeds)))
        alone, together = rmse
        gain = 100 * (1 - together / alone).mean(1)
        rows += [
            {
                "examples": examples,
                "relatedness": relatedness,
                "widths": list(widths),
                "seed": seed,
                "alone": round(float(alone[i].mean()), 4),
                "together": round(float(together[i].mean()), 4),
                "gain": round(float(gain[i]), 3),
                "lr": [settings["lr"] for settings in chosen],
                "steps": [settings["steps"] for settings in chosen],
            }
            for i, seed in enumerate(seeds)
        ]
    return rows


def _data(tasks: int, examples: int, relatedness: float, seed: int) -> Splits:
    return regression_data(tasks, examples, relatedness, seed=seed)


def _by_seed(results: SeedResults, tasks: Sequence[Task], seeds: int) -> Tensor:
    """Give the test RMSE of every seed and task, [S, K], of either arm."""
    if "alone" in results.scores:
        return results.scores["alone"].reshape(seeds, len(tasks))
    return torch.stack([results.scores[task.name] for task in tasks], 1)


def guests(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Let eight relatives learn alone, together, with a ninth relative, and with a stranger.

    Returns:
        One row per arm and seed: ``arm``, ``seed``, ``lr`` and ``steps`` as tuned for the arm, and
        ``rmse``: of the eight relatives, then of the ninth task where the arm has one.
    """
    kin = [regression(f"task_{k + 1}") for k in range(8)]
    of_stranger = partial(_data_with_guests, configuration["examples"], 8, 1)
    of_ninth = partial(_data_with_guests, configuration["examples"], 9, 0)
    nine = [*kin, regression("unrelated_1")]
    arms = {
        "alone": (partial(train_alone, of_stranger, nine), nine),
        "relatives": (partial(train_together, of_stranger, kin), kin),
        "ninth": (partial(train_together, of_ninth, [*kin, regression("task_9")]), kin),
        "stranger": (partial(train_together, of_stranger, nine), nine),
    }
    rows = []
    for arm, (train, measured) in arms.items():
        run = partial(train, configuration["widths"])
        best = tuned(run, configuration)
        rmse = _by_seed(run(seeds=seeds, **best), measured, len(seeds)).tolist()
        setting = {"arm": arm, "lr": best["lr"], "steps": best["steps"]}
        rows += [
            {**setting, "seed": seed, "rmse": [round(e, 4) for e in errors]}
            for seed, errors in zip(seeds, rmse, strict=True)
        ]
    return rows


def _data_with_guests(examples: int, tasks: int, unrelated: int, seed: int) -> Splits:
    return regression_data(tasks, examples, 1.0, unrelated, seed=seed)


def family(seed: int, draw: int, configuration: Configuration) -> tuple[Splits, Tensor]:
    """Draw a family of tasks at random, and one of its data sets.

    Each task gets one of two shared features, a relatedness in 0..1 and a noise, all by chance.
    Draws of one family have the same truth and fresh data.

    Returns:
        The data, and the true relatedness of every two tasks, [K, K].
    """
    tasks = configuration["tasks"]
    rng = torch.Generator().manual_seed(2_000_000_000 + seed)
    low, high = configuration["noise"]
    groups = torch.randint(2, (tasks,), generator=rng).tolist()
    relatedness = torch.rand(tasks, generator=rng).tolist()
    noise = (low + (high - low) * torch.rand(tasks, generator=rng)).tolist()
    truth = regression_truth(tasks, relatedness, groups=groups, noise=noise, features=1, seed=seed)
    sizes = (configuration["examples"], 200, 1000)
    first = 3_000_000_000 + 300 * seed + 3 * draw
    parts = (
        truth.sample(size, torch.Generator().manual_seed(first + part))
        for part, size in enumerate(sizes)
    )
    return Splits(*parts), truth.relatedness


def two_tasks(splits: Splits, names: Sequence[str]) -> Splits:
    """Keep two tasks of the data and call them ``first`` and ``second``."""
    return Splits(
        *(
            MultiTaskData(
                part.inputs, {"first": part.targets[names[0]], "second": part.targets[names[1]]}
            )
            for part in splits
        )
    )


def train_pairs(
    make_data: Callable[[int], Splits],
    tasks: Sequence[Task],
    widths: Sequence[int],
    seeds: Sequence[int],
    start: int = 0,
    **settings: Any,
) -> SeedResults:
    """Train one network with two heads for every seed and every two tasks, all stacked."""
    pairs = list(itertools.combinations([task.name for task in tasks], 2))

    def data_of(network: int) -> Splits:
        seed, pair = divmod(network % OTHER_START, len(pairs))
        return two_tasks(make_data(seed), pairs[pair])

    first = start * OTHER_START
    networks = [first + seed * len(pairs) + pair for seed in seeds for pair in range(len(pairs))]
    return train_together(
        data_of, [regression("first"), regression("second")], widths, networks, **settings
    )


def affinity(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Measure affinities of tasks, and what training two tasks together really gains.

    A seed is a family of tasks. Every list has one number for each of its draws.

    Returns:
        One row a family, target and partner: the true ``relatedness``; ``other_start``, the gain
        of the same pair on the same data from other initial parameters; ``restarts``, what the
        best of as many starts alone gains as there are partners; ``gain`` and
        ``valid_gain``: by how many percent the target's RMSE on test (validation) data falls when
        the partner is learnt with it; ``partner_score``: 1 - the partner's validation error when
        alone; and four affinities: ``label_correlation`` (absolute, training targets),
        ``feature_similarity`` (linear CKA of the trunks that learnt alone), ``gradient_cosine``
        and ``lookahead``, both in one network that learns all tasks.
    """
    tasks = [regression(f"task_{k + 1}") for k in range(configuration["tasks"])]
    draws, widths = configuration["draws"], configuration["widths"]

    def data_of(draw: int) -> Splits:
        return family(*divmod(draw, draws), configuration)[0]

    trainers = {"alone": train_alone, "pairs": train_pairs, "all": train_together}
    arms = {name: partial(train, data_of, tasks, widths) for name, train in trainers.items()}
    best = {
        name: tuned(arm, {**configuration, "learning_rates": configuration["learning_rates"][name]})
        for name, arm in arms.items()
    }
    rows = []
    for seed in seeds:
        numbers = range(seed * draws, (seed + 1) * draws)
        data = [data_of(number) for number in numbers]
        alone, pairs = (
            arms[name](seeds=numbers, record_every=best[name]["steps"], **best[name])
            for name in ("alone", "pairs")
        )
        other = [
            arms[name](seeds=numbers, start=1, record_every=best[name]["steps"], **best[name])
            for name in ("alone", "pairs")
        ]
        restarts = [alone, other[0]] + [
            arms["alone"](
                seeds=numbers, start=k, record_every=best["alone"]["steps"], **best["alone"]
            )
            for k in range(2, len(tasks) - 1)
        ]
        partial_runs = [
            arms["all"](seeds=numbers, **{**best["all"], "steps": steps})
            for steps in configuration["marks"]
        ]
        measured = {
            "gain": pair_gains(alone.scores, pairs.scores, draws, len(tasks)),
            "valid_gain": pair_gains(_last(alone), _last(pairs), draws, len(tasks)),
            "other_start": pair_gains(other[0].scores, other[1].scores, draws, len(tasks)),
            "restarts": restart_gains(restarts, draws, len(tasks)),
            "partner_score": (1 - _last(alone)["alone"].square())
            .reshape(draws, 1, len(tasks))
            .expand(-1, len(tasks), -1),
            "label_correlation": torch.stack([label_correlation(d.train) for d in data]),
            "feature_similarity": feature_similarity(alone, data, widths),
            **gradient_affinities(partial_runs, data, tasks, widths, configuration["lookahead"]),
        }
        relatedness = family(seed, 0, configuration)[1]
        for target, partner in itertools.permutations(range(len(tasks)), 2):
            row = {"family": seed, "target": target + 1, "partner": partner + 1}
            row["relatedness"] = round(float(relatedness[target, partner]), 4)
            for name, values in measured.items():
                row[name] = [round(v, 3) for v in values[:, target, partner].tolist()]
            rows.append(row)
    return rows


def restart_gains(restarts: Sequence[SeedResults], draws: int, tasks: int) -> Tensor:
    """Give the gain of the best of several starts alone, chosen on validation data.

    Returns:
        Percent of the first start's RMSE, [draws, target, partner]; it knows no partner.
    """
    valid = torch.stack([_last(run)["alone"] for run in restarts])
    test = torch.stack([run.scores["alone"] for run in restarts])
    best = test.gather(0, valid.argmin(0, keepdim=True))[0]
    return (100 * (1 - best / test[0])).reshape(draws, tasks, 1).expand(-1, -1, tasks)


def _last(results: SeedResults) -> dict[str, Tensor]:
    """Give the validation scores after the last step, [S] a task."""
    return {name: scores[:, -1] for name, scores in results.curves.scores.items()}


def pair_gains(
    alone: Mapping[str, Tensor], pairs: Mapping[str, Tensor], draws: int, tasks: int
) -> Tensor:
    """Turn RMSEs into gains in percent, [draws, target, partner]; positive: the partner helps."""
    single = alone["alone"].reshape(draws, tasks)
    first, second = (pairs[name].reshape(draws, -1) for name in ("first", "second"))
    gains = torch.zeros(draws, tasks, tasks, dtype=single.dtype)
    for column, (i, j) in enumerate(itertools.combinations(range(tasks), 2)):
        gains[:, i, j] = 100 * (1 - first[:, column] / single[:, i])
        gains[:, j, i] = 100 * (1 - second[:, column] / single[:, j])
    return gains


def label_correlation(data: MultiTaskData) -> Tensor:
    """Give the absolute correlation of the targets of every two tasks, [K, K]."""
    return torch.corrcoef(torch.stack(list(data.targets.values()))).abs()


def feature_similarity(alone: SeedResults, data: Sequence[Splits], widths: Sequence[int]) -> Tensor:
    """Give the linear CKA of the features that tasks learnt alone, [draws, K, K].

    |A'B|² / (|A'A| |B'B|) for centred features A, B [N, F] of the validation inputs.

    Source: Kornblith et al. 2019, arXiv:1905.00414.
    """
    model = HardSharing.linear(tanh_trunk(widths), ALONE)
    per_draw = len(alone.seeds) // len(data)
    found = []
    for row, network in enumerate(alone.seeds):
        model.load_state_dict(alone.state(network))
        with torch.no_grad():
            features = model.features(data[row // per_draw].valid.inputs)
        found.append(features - features.mean(0))
    A = torch.stack(found).unflatten(0, (len(data), per_draw))
    products = torch.einsum("dknf,dlng->dklfg", A, A).square().sum((3, 4))
    norms = products.diagonal(dim1=1, dim2=2).sqrt()
    return products / (norms[:, :, None] * norms[:, None, :])


def gradient_affinities(
    runs: Sequence[SeedResults],
    data: Sequence[Splits],
    tasks: Sequence[Task],
    widths: Sequence[int],
    step: float,
) -> dict[str, Tensor]:
    """Compare the gradients of the tasks at the shared trunk, averaged over the runs.

    ``gradient_cosine`` is their cosine. ``lookahead`` is Z of partner i on target j,
    1 - L_j(trunk after one gradient step of i) / L_j(trunk), on the training data.

    Args:
        runs: one network for all tasks, stopped at several steps.
        data: the data of each draw.
        tasks: K tasks.
        widths: of the trunk.
        step: length of the lookahead step, in gradients.

    Returns:
        Both as [draws, target, partner].

    Source: Fifty et al. 2021, arXiv:2109.04617 (lookahead; their code computes
    it at every tenth step and averages over these).
    """
    model = HardSharing.linear(tanh_trunk(widths), tasks)
    cosine = torch.zeros(len(data), len(tasks), len(tasks), dtype=torch.float64)
    lookahead = cosine.clone()
    for run, (draw, number) in itertools.product(runs, enumerate(runs[0].seeds)):
        state, train = run.state(number), data[draw].train
        shared = {name: value for name, value in state.items() if name.startswith("trunk.")}

        def losses(trunk: dict[str, Tensor], state=state, train=train) -> Tensor:
            outputs = functional_call(model, {**state, **trunk}, (train.inputs,))
            return task_losses(outputs, train.targets, tasks)

        gradients = jacrev(losses)(shared)
        rows = F.normalize(torch.cat([g.flatten(1) for g in gradients.values()], 1), dim=1)
        cosine[draw] += rows @ rows.T / len(runs)
        now = losses(shared)
        for i in range(len(tasks)):
            moved = {name: shared[name] - step * gradients[name][i] for name in shared}
            lookahead[draw, :, i] += (1 - losses(moved) / now) / len(runs)
    return {"gradient_cosine": cosine, "lookahead": lookahead}


def mean_iou(output: Tensor, target: Tensor) -> Tensor:
    """Give the mean intersection over union of boxes as ``box_iou`` wants them, [N, 4]."""
    return box_iou(output, target).mean()


def box_loss(output: Tensor, target: Tensor) -> Tensor:
    """Give the smooth L1 loss of each box, [B, 4] -> [B]: squared below an error of 0.1.

    Source: Girshick 2015 (Fast R-CNN), arXiv:1504.08083.
    """
    return F.smooth_l1_loss(output, target, reduction="none", beta=0.1).mean(1)


SHAPE_TASKS = {
    "class": classification("class", len(SHAPES)),
    "box": Task("box", box_loss, mean_iou, 4, higher_is_better=True),
}


def one_shape(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Learn the class and the box of one shape, alone and from one trunk.

    The learning rate of every arm is tuned on the mean validation score of its tasks.

    Returns:
        One row an arm and seed: ``arm``, ``seed``, ``lr``, and the test scores ``class``
        (accuracy) and ``box`` (mean IoU) of the tasks the arm learns.
    """
    rows = []
    for arm, weights in configuration["arms"].items():
        train = partial(_train_shapes, configuration, weights)
        rates = configuration["learning_rates"]
        tuning = configuration["tuning_seeds"]
        validation = {lr: _mean_score(train(lr, tuning), weights) for lr in rates}
        lr = max(rates, key=lambda rate: validation[rate])
        scores = train(lr, seeds).scores
        for i, seed in enumerate(seeds):
            found = {name: round(float(values[i]), 4) for name, values in scores.items()}
            rows.append({"arm": arm, "seed": seed, "lr": lr, **found})
    return rows


def _train_shapes(
    configuration: Configuration, weights: Mapping[str, float], lr: float, seeds: Sequence[int]
) -> SeedResults:
    tasks = [SHAPE_TASKS[name] for name in weights]
    return many_seeds(
        lambda: HardSharing.linear(small_cnn((1, 24, 24), (8, 16), 32), tasks),
        tasks,
        lambda seed: shapes(
            train=configuration["examples"], noise=configuration["noise"], seed=seed
        ),
        seeds=seeds,
        steps=configuration["steps"],
        batch_size=configuration["batch_size"],
        lr=lr,
        weights=weights,
        record_every=configuration["steps"],
    )


def _mean_score(results: SeedResults, names: Mapping[str, float]) -> float:
    return sum(float(results.curves.scores[name][:, -1].mean()) for name in names)


GRID = {
    "tasks": 8,
    "measured_tasks": 4,
    "examples": [10, 20, 40, 80, 160, 320, 640],
    "relatedness": [0.0, 0.25, 0.5, 0.75, 1.0],
    "widths": [[16, 8]],
    "learning_rates": [0.002, 0.005, 0.01, 0.02, 0.05],
    "steps": 400,
    "steps_per_example": 3,
    "record_every": 25,
    "batch_size": 40,
    "tuning_seeds": list(range(100_000, 100_006)),
}
WIDTHS = {
    **GRID,
    "examples": [40],
    "relatedness": [1.0],
    "widths": [[4], [8], [16], [32], [64], [16, 2], [16, 4], [16, 8], [16, 16], [32, 32]],
}
WIDER = {
    **GRID,
    "examples": [40, 160],
    "relatedness": [0.5, 0.75],
    "widths": [[16, 8], [64, 32]],
    "learning_rates": [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05],
    "record_every": 10,
}
GUESTS = {
    "examples": 40,
    "widths": [16, 8],
    "learning_rates": [0.002, 0.005, 0.01, 0.02, 0.05],
    "steps": 200,
    "record_every": 20,
    "batch_size": None,
    "tuning_seeds": list(range(100_000, 100_032)),
}
FAMILIES = {
    "tasks": 6,
    "examples": 40,
    "noise": [0.2, 0.6],
    "draws": 6,
    "widths": [16, 8],
    "learning_rates": {name: [0.001, 0.002, 0.005, 0.01] for name in ("alone", "pairs", "all")},
    "steps": 200,
    "record_every": 200,
    "batch_size": None,
    "tuning_seeds": list(range(600_000, 600_048, 6)),
    "marks": list(range(20, 201, 20)),
    "lookahead": 0.1,
}
ONE_SHAPE = {
    "arms": {
        "class alone": {"class": 1.0},
        "box alone": {"box": 1.0},
        "together": {"class": 1.0, "box": 1.0},
        "together, box x 10": {"class": 1.0, "box": 10.0},
    },
    "examples": 1000,
    "noise": 0.1,
    "learning_rates": [0.001, 0.003, 0.01, 0.02],
    "steps": 480,
    "batch_size": 32,
    "tuning_seeds": list(range(100_000, 100_003)),
}
BOX_WEIGHTS = {
    **ONE_SHAPE,
    "arms": {
        "box alone": {"box": 1.0},
        **{f"together, box x {w}": {"class": 1.0, "box": float(w)} for w in (1, 3, 10, 30)},
    },
    "learning_rates": [0.003],
    "tuning_seeds": [100_000],
}
PARTS = [tanh_trunk, one_task, train_together, train_alone, tuned, datasets_regression]

STUDIES = [
    *corners.STUDIES,
    *few_and_many.STUDIES,
    Study(
        name="01_one_shape",
        question="What do the class and the box of one shape cost each other in one trunk?",
        configuration=ONE_SHAPE,
        run=one_shape,
        seeds=range(10),
        keys=("arm", "seed"),
        sample=Sample(
            {
                **ONE_SHAPE,
                "arms": {"class alone": {"class": 1.0}},
                "learning_rates": [0.003],
                "tuning_seeds": [100_000],
            },
            0.05,
            seeds=[0],
        ),
        code=[datasets_shapes, backbones, mean_iou, box_loss],
    ),
    Study(
        name="01_box_weight",
        question="What does a weight on the box loss do to the class and the box, at one rate?",
        configuration=BOX_WEIGHTS,
        run=one_shape,
        seeds=range(10),
        keys=("arm", "seed"),
        sample=Sample({**BOX_WEIGHTS, "arms": {"box alone": {"box": 1.0}}}, 0.05, seeds=[0]),
        code=[datasets_shapes, backbones, mean_iou, box_loss],
    ),
    Study(
        name="01_examples_and_relatedness",
        question="What does learning eight tasks together gain, by examples and relatedness?",
        configuration=GRID,
        run=gains_by_setting,
        seeds=range(24),
        keys=("examples", "relatedness", "widths", "seed"),
        sample=Sample({**GRID, "examples": [10], "relatedness": [1.0]}, 0.02),
        code=PARTS,
    ),
    Study(
        name="01_trunk_width",
        question="How does the gain depend on the size of the trunk?",
        configuration=WIDTHS,
        run=gains_by_setting,
        seeds=range(24),
        keys=("examples", "relatedness", "widths", "seed"),
        sample=Sample({**WIDTHS, "widths": [[4]]}, 0.02),
        code=PARTS,
    ),
    Study(
        name="01_wider_trunk",
        question="Where does sharing begin to pay in a wider trunk, tuned on a finer grid?",
        configuration=WIDER,
        run=gains_by_setting,
        seeds=range(24),
        keys=("examples", "relatedness", "widths", "seed"),
        sample=Sample(
            {
                **WIDER,
                "examples": [40],
                "relatedness": [0.5],
                "widths": [[64, 32]],
                "learning_rates": [0.001, 0.005],
            },
            0.02,
        ),
        code=PARTS,
    ),
    Study(
        name="01_guests",
        question="What do a ninth relative and a stranger do to eight relatives?",
        configuration=GUESTS,
        run=guests,
        seeds=range(48),
        keys=("arm", "seed"),
        sample=Sample({**GUESTS, "learning_rates": [0.01]}, 0.02),
        code=PARTS,
    ),
    Study(
        name="01_affinity",
        question="How well do cheap affinities predict what two tasks gain from each other?",
        configuration=FAMILIES,
        run=affinity,
        seeds=range(20),
        keys=("family", "target", "partner"),
        sample=Sample(
            {**FAMILIES, "learning_rates": {name: [0.002] for name in ("alone", "pairs", "all")}},
            0.02,
            seeds=[0],
        ),
        code=[
            *PARTS, family, two_tasks, train_pairs, pair_gains, label_correlation,
            feature_similarity, gradient_affinities, restart_gains,
        ],
    ),
]  # fmt: skip
