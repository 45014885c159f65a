"""What the notebooks deeper than lesson 03 train: many networks side by side, and watched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from mtl_helpers.datasets.base import MultiTaskData
from mtl_helpers.lessons.lesson_03.studies import parting_tasks, stages
from mtl_helpers.models import CrossStitch, HardSharing, SoftSharing, adapters, cross_stitch
from mtl_helpers.tasks import Task, regression
from mtl_helpers.teaching.studies import Sample, Study
from mtl_helpers.training import task_losses

Parameters = dict[str, Tensor]
F64 = torch.float64
PAIR = (regression("task_1"), regression("task_2"))


def stacked(parts: Sequence[MultiTaskData]) -> MultiTaskData:
    """Put the data of several runs side by side: inputs [S, N, ...], targets [S, N, ...]."""
    targets = {n: torch.stack([p.targets[n] for p in parts]) for n in parts[0].targets}
    return MultiTaskData(torch.stack([part.inputs for part in parts]), targets)


def outputs_of(model: nn.Module, parameters: Parameters, inputs: Tensor) -> dict[str, Tensor]:
    """Run S networks of one make, each on inputs of its own: [S, B, ...] -> {task: [S, B, ...]}."""
    return vmap(lambda p, x: functional_call(model, p, (x,)))(parameters, inputs)


def train_side_by_side(
    models: Sequence[nn.Module],
    data: MultiTaskData,
    tasks: Sequence[Task],
    *,
    steps: int,
    lr: float,
    rates: Mapping[str, float] | None = None,
    watch: Callable[[Parameters], Any] | None = None,
    every: int = 20,
    penalty: Callable[[Parameters], Tensor] | None = None,
    batch: int | None = None,
) -> tuple[Parameters, list[Any]]:
    """Train S networks of one make with Adam, each on data of its own, in one loop.

    Args:
        models: the networks, where they start.
        data: what :func:`stacked` gave.
        tasks: what they learn; the loss of each run is the sum of its task losses.
        steps: of the optimiser.
        lr: the learning rate.
        rates: for the beginning of a parameter's name, how many times ``lr`` it gets; 0 keeps it.
        watch: what to note of the stacked parameters before every ``every`` steps and at the end.
        every: steps between two notes.
        penalty: of the parameters of one run, added to its loss.
        batch: examples per step, the same rows in every run; all when left out.

    Returns:
        The trained parameters, each with a first axis of length S; and what was noted.
    """
    parameters, _ = stack_module_state(list(models))
    extra = rates or {}
    groups = [
        {"params": [p], "lr": lr * next((r for key, r in extra.items() if n.startswith(key)), 1)}
        for n, p in parameters.items()
    ]
    optimizer, rng, seen = torch.optim.Adam(groups), torch.Generator().manual_seed(0), []

    def loss(own: Parameters, x: Tensor, y: dict[str, Tensor]) -> Tensor:
        total = task_losses(functional_call(models[0], own, (x,)), y, tasks).sum()
        return total if penalty is None else total + penalty(own)

    for step in range(steps + 1):
        if watch is not None and step % every == 0:
            with torch.no_grad():
                seen.append(watch(parameters))
        if step == steps:
            break
        x, y = data.inputs, data.targets
        if batch is not None:
            rows = torch.randint(x.shape[1], (batch,), generator=rng)
            x, y = x[:, rows], {name: target[:, rows] for name, target in y.items()}
        optimizer.zero_grad()
        vmap(loss)(parameters, x, y).sum().backward()
        optimizer.step()
    return {name: p.detach() for name, p in parameters.items()}, seen


def rmse(outputs: Mapping[str, Tensor], data: MultiTaskData) -> Tensor:
    """Give the root mean squared error of each run, mean over tasks: [S]."""
    errors = [(outputs[n][..., 0] - data.targets[n]).square().mean(1).sqrt() for n in outputs]
    return torch.stack(errors).mean(0)


def linear_rmse(train: MultiTaskData, test: MultiTaskData) -> Tensor:
    """Give the error of linear regression on the raw inputs, for each run: [S]."""

    def with_one(x: Tensor) -> Tensor:
        return torch.cat([x, torch.ones_like(x[..., :1])], -1)

    y = torch.stack(list(train.targets.values()), -1)
    found = with_one(test.inputs) @ torch.linalg.lstsq(with_one(train.inputs), y).solution
    return rmse({n: found[..., [k]] for k, n in enumerate(train.targets)}, test)


# ------------------------------------------------------------------------- what opens a stitch

PROBLEMS = ("part at 0", "part at 1", "part at 2", "part at 3", "same labels", "task 2 is noise")


def stitch_problem(problem: str, seed: int) -> tuple[MultiTaskData, MultiTaskData]:
    """Make training and test data of two tasks that share their first layers, or of a control."""
    depth = int(problem[-1]) if problem.startswith("part at") else 0
    parts = parting_tasks(depth, tasks=2, seed=seed, examples=300)
    rng, changed = torch.Generator().manual_seed(seed), []
    for part in (parts.train, parts.test):
        first, second = part.targets.values()
        if problem == "same labels":
            second = first
        if problem == "task 2 is noise":
            second = second[torch.randperm(len(second), generator=rng)]
        changed.append(MultiTaskData(part.inputs, {"task_1": first, "task_2": second}))
    return changed[0], changed[1]


def foreign(stitches: Tensor) -> Tensor:
    """Give the fraction of the other tasks in each row: stitches [..., K, K] -> [..., K]."""
    weight = stitches.abs()
    return 1 - weight.diagonal(dim1=-2, dim2=-1) / weight.sum(-1)


def stitched(width: int, seed: int) -> CrossStitch:
    """Start one cross-stitch network of three stages, with a tenth from the other column."""
    torch.manual_seed(seed)
    return CrossStitch(lambda: stages(8, width, 3), PAIR, features=width)


def stitches_open(configuration: Mapping[str, Any], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Train stitches from random and from trained columns, at the columns' rate and a larger one.

    Returns:
        One row a problem, start, rate and seed: ``history``, the other column's fraction in each of
        the three stages on the way (mean over both rows); ``last``, its end for each row; the test
        ``rmse`` of the network, and ``linear``, that of linear regression on the raw inputs.
    """
    options = {"steps": configuration["steps"], "lr": configuration["lr"]}
    tenth, rows = torch.tensor([[0.9, 0.1], [0.1, 0.9]], dtype=F64), []
    for problem in configuration["problems"]:
        train, test = map(stacked, zip(*(stitch_problem(problem, s) for s in seeds), strict=True))
        linear = linear_rmse(train, test)
        for start in configuration["starts"]:
            models = [stitched(configuration["width"], seed) for seed in seeds]
            if start == "trained":
                for model in models:
                    model.stitches.data.copy_(torch.eye(2, dtype=F64))
                alone, _ = train_side_by_side(models, train, PAIR, rates={"stitches": 0}, **options)
                for i, model in enumerate(models):
                    model.load_state_dict({name: p[i] for name, p in alone.items()})
                    model.stitches.data.copy_(tenth)
            for rate in configuration["rates"]:
                found, seen = train_side_by_side(
                    models, train, PAIR, rates={"stitches": rate}, every=configuration["every"],
                    watch=lambda p: foreign(p["stitches"]), **options,
                )  # fmt: skip
                error = rmse(outputs_of(models[0], found, test.inputs), test)
                on_the_way = torch.stack(seen, 1).mean(-1)  # [S, T, stages]
                rows += [
                    {
                        "problem": problem, "start": start, "rate": rate, "seed": seed,
                        "history": [[round(v, 3) for v in t] for t in on_the_way[i].tolist()],
                        "last": [[round(v, 3) for v in t] for t in seen[-1][i].tolist()],
                        "rmse": round(float(error[i]), 3), "linear": round(float(linear[i]), 3),
                    }
                    for i, seed in enumerate(seeds)
                ]  # fmt: skip
    return rows


# ---------------------------------------------------------------------------- how strong a pull


def trunks_apart(parameters: Parameters) -> Tensor:
    """Give the squared distance between the trunks of the two tasks, in one run."""
    mine = {n: p for n, p in parameters.items() if n.startswith("trunks.task_task_1")}
    others = [parameters[name.replace("task_task_1", "task_task_2")] for name in mine]
    return sum((a - b).square().sum() for a, b in zip(mine.values(), others, strict=True))


def one_or_two(strength: float | None, width: int, seed: int) -> nn.Module:
    """Start two networks that a penalty ties together; or, for ``None``, one shared trunk."""
    torch.manual_seed(seed)
    if strength is None:
        return HardSharing.linear(stages(8, width, 3), PAIR, features=width)
    return SoftSharing(lambda: stages(8, width, 3), PAIR, strength=strength, features=width)


def soft_sharing(configuration: Mapping[str, Any], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Tie two networks together by penalties of several strengths, for close and strange tasks.

    Learning rate and steps are chosen for each depth and strength by the validation data of the
    tuning seeds, which are trained in the same loop and reported nowhere.

    Returns:
        One row a depth of parting, strength (``None``: one trunk) and seed: the test ``rmse``, the
        ``distance`` between the trunks, ``linear``, the error of linear regression on the raw
        inputs, and the settings chosen.
    """
    tuning, rows = list(configuration["tuning_seeds"]), []
    everyone, every = [*tuning, *seeds], configuration["every"]
    for depth in configuration["depths"]:
        parts = [
            parting_tasks(depth, tasks=2, seed=seed, examples=configuration["examples"])
            for seed in everyone
        ]
        train, valid, test = (stacked(part) for part in zip(*parts, strict=True))
        linear = linear_rmse(train, test)
        for strength in configuration["strengths"]:
            tried = []
            for lr in configuration["learning_rates"]:
                models = [one_or_two(strength, configuration["width"], seed) for seed in everyone]

                def watch(
                    p: Parameters, model: nn.Module = models[0], data: Any = (valid, test)
                ) -> list[Tensor]:
                    apart = [] if isinstance(model, HardSharing) else [vmap(trunks_apart)(p).sqrt()]
                    return [rmse(outputs_of(model, p, d.inputs), d) for d in data] + apart

                def pull(p: Parameters, c: float | None = strength) -> Tensor:
                    return c * trunks_apart(p)

                _, seen = train_side_by_side(
                    models, train, PAIR, steps=configuration["steps"], lr=lr, watch=watch,
                    every=every, penalty=pull if strength else None,
                )  # fmt: skip
                tried += [
                    (float(note[0][: len(tuning)].mean()), lr, every * k, note)
                    for k, note in enumerate(seen)
                ]
            _, lr, steps, (_, error, *apart) = min(tried, key=lambda one: one[0])
            rows += [
                {
                    "depth": depth, "strength": strength, "seed": seed, "lr": lr, "steps": steps,
                    "rmse": round(float(error[i]), 4), "linear": round(float(linear[i]), 4),
                    "distance": round(float(apart[0][i]), 3) if apart else 0.0,
                }
                for i, seed in enumerate(everyone) if i >= len(tuning)
            ]  # fmt: skip
    return rows


STITCHES = {
    "problems": list(PROBLEMS),
    "starts": ["random", "trained"],
    "rates": [1, 30],
    "width": 12,
    "steps": 300,
    "every": 50,
    "lr": 0.01,
}
SOFT = {
    "depths": [0, 2, 3],
    "strengths": [0.0, 0.0001, 0.001, 0.01, 0.1, 1.0, None],
    "learning_rates": [0.003, 0.01, 0.03],
    "tuning_seeds": list(range(100_000, 100_012)),
    "examples": 60,
    "width": 12,
    "steps": 400,
    "every": 20,
}
FOR_ALL = [stages, parting_tasks, stacked, train_side_by_side]
STUDIES = [
    Study(
        name="03_stitches_open",
        question="What opens a stitch: the tasks, the start, or the stitches' learning rate?",
        configuration=STITCHES,
        run=stitches_open,
        seeds=range(24),
        keys=("problem", "start", "rate", "seed"),
        sample=Sample(
            {
                **STITCHES,
                "problems": ["part at 3"],
                "starts": ["random"],
                "rates": [1],
            },
            0.05,
            seeds=[0],
        ),
        code=[*FOR_ALL, cross_stitch, stitch_problem, foreign, stitched],
    ),
    Study(
        name="03_soft_sharing",
        question="How strongly should a penalty pull two networks together?",
        configuration=SOFT,
        run=soft_sharing,
        seeds=range(36),
        keys=("depth", "strength", "seed"),
        sample=Sample(
            {**SOFT, "depths": [3], "strengths": [None], "learning_rates": [0.003]},
            0.05,
            seeds=[0, 1],
        ),
        code=[*FOR_ALL, trunks_apart, one_or_two, rmse, adapters],
    ),
]
