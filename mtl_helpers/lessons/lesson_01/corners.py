"""The street corners of lesson 01: each of a city's pedestrian counters is a task.

Every network here has one trunk of a few layers and a linear head per counter. It learns the
logarithm of the counts, standardised per counter by its training labels; errors are given back in
the logarithm's own unit.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import rbf_kernel
from torch import Tensor

import mtl_helpers.datasets.footsteps as datasets_footsteps
from mtl_helpers.datasets.base import MultiTaskData, Splits
from mtl_helpers.datasets.footsteps import FEW_HOURS, footsteps, read_footsteps
from mtl_helpers.experiments import SeedResults, many_seeds
from mtl_helpers.models import HardSharing, mlp
from mtl_helpers.tasks import regression
from mtl_helpers.teaching.studies import Sample, Study

Configuration = Mapping[str, Any]
Moments = Mapping[str, tuple[float, float]]  # mean and standard deviation by task
COUNTERS = tuple(name for name in read_footsteps().counters if name != FEW_HOURS)
OWN = "own"  # the task that a group of counters is measured on
OWN_PART = 0.3  # scale of a counter's own features; on validation labels 0.5 did as well, 0.1 worse
OWN_KERNEL = 0.3  # how much more alike two hours of the same counter are


def standardised(data: Splits) -> tuple[Splits, Moments]:
    """Subtract each target's mean and divide by its standard deviation, both of training labels.

    Returns:
        The data, and (mean, standard deviation) by task: prediction * sd + mean is in the old unit.
    """
    moments = {}
    for name, target in data.train.targets.items():
        known = target[~target.isnan()]
        moments[name] = (float(known.mean()), float(known.std()))
    parts = (
        MultiTaskData(
            part.inputs,
            {k: (t - moments[k][0]) / moments[k][1] for k, t in part.targets.items()},
        )
        for part in data
    )
    return Splits(*parts), moments


@lru_cache(maxsize=64)
def city(seed: int, hours: int, inputs: str, test_year: int | None = None) -> Splits:
    """Draw the labelled hours of all 20 counters, in people's logarithm (not standardised)."""
    return footsteps(hours, inputs=inputs, test_year=test_year, seed=seed)


def group(data: Splits, names: Sequence[str], shuffled: int | None = None) -> Splits:
    """Keep some counters: the first is called ``own``, the others ``partner_1``, ...

    Args:
        data: what :func:`city` gives.
        names: the counters.
        shuffled: a seed: the training and validation labels of all but the first change places
            among the hours, so that nothing can be learned from them; None leaves them.
    """
    tasks = [OWN, *(f"partner_{k}" for k in range(1, len(names)))]
    rng = torch.Generator().manual_seed(shuffled or 0)

    def part(examples: MultiTaskData, mixed: bool) -> MultiTaskData:
        targets = torch.stack([examples.targets[name] for name in names], 1)
        rows = ~targets.isnan().all(1) | (examples is data.test)  # so that tests are of one size
        inputs, targets = examples.inputs[rows], targets[rows]
        for k in range(1, len(names) if mixed else 0):
            known = (~targets[:, k].isnan()).nonzero()[:, 0]
            order = torch.randperm(len(known), generator=rng)
            targets[known, k] = targets[known[order], k]
        return MultiTaskData(inputs, dict(zip(tasks, targets.unbind(1), strict=True)))

    mix = shuffled is not None
    return Splits(part(data.train, mix), part(data.valid, mix), part(data.test, False))


@dataclass(frozen=True, eq=False)
class Networks:
    """Trained networks, and how to read them.

    Attributes:
        results: of ``many_seeds``, in standardised units; "seed" i is network i.
        moments: for each network its tasks' means and standard deviations, as
            :func:`standardised` gives them.
        model: an untrained network of the same kind.
    """

    results: SeedResults
    moments: Sequence[Moments]
    model: HardSharing

    def predict(self, number: int, inputs: Tensor) -> Tensor:
        """What network ``number`` says, in people's logarithm: inputs [N, D] -> [N, K]."""
        self.model.load_state_dict(self.results.state(number))
        with torch.no_grad():
            outputs = self.model(inputs)
        return in_old_unit(torch.cat(list(outputs.values()), 1), self.moments[number])

    def errors(self, task: str) -> Tensor:
        """The test RMSE of one task in the logarithm's unit, [networks]."""
        return self.results.scores[task] * torch.tensor(
            [m[task][1] for m in self.moments], dtype=torch.float64
        )


def in_old_unit(outputs: Tensor, moments: Moments) -> Tensor:
    """Undo :func:`standardised`: outputs [N, K] in the order of ``moments``."""
    mean, sd = torch.tensor(list(moments.values()), dtype=outputs.dtype).T
    return outputs * sd + mean


def train_networks(
    draw: Callable[[int], Splits],
    names: Sequence[str],
    networks: int,
    widths: Sequence[int],
    trunks: Sequence[Mapping[str, Tensor]] | None = None,
    **settings: Any,
) -> Networks:
    """Train networks 0, 1, ... that differ in data and initial parameters, all stacked.

    Args:
        draw: from the number of a network to its data, in people's logarithm.
        names: the tasks.
        networks: how many.
        widths: of the trunk's layers.
        trunks: parameters of a trunk to begin with, for each network; drawn when left out.
        settings: for ``many_seeds``.
    """
    drawn = [standardised(draw(number)) for number in range(networks)]
    tasks = [regression(name) for name in names]
    features = drawn[0][0].train.inputs.shape[1]

    def make() -> HardSharing:
        model = HardSharing.linear(mlp(features, widths), tasks)
        if trunks is not None:
            model.trunk.load_state_dict(trunks[torch.initial_seed()])  # that is its number
        return model

    results = many_seeds(
        make,
        tasks,
        lambda number: drawn[number][0],
        seeds=range(networks),
        batch_size=None,
        optimizer="adamw",
        method="vmap",
        **settings,
    )
    empty = HardSharing.linear(mlp(features, widths), tasks)
    return Networks(results, [moments for _, moments in drawn], empty)


def tuned(
    train: Callable[..., Networks], configuration: Configuration, measured: str = ""
) -> dict[str, Any]:
    """Choose learning rate, weight decay and number of steps by mean validation loss.

    Args:
        train: takes ``lr``, ``weight_decay``, ``steps`` and ``record_every``.
        configuration: the grids ``learning_rates`` and ``weight_decays``, ``steps`` at most.
        measured: the task whose loss counts; all when left out.
    """
    found = []
    for lr, decay in itertools.product(
        configuration["learning_rates"], configuration["weight_decays"]
    ):
        steps, every = configuration["steps"], configuration["record_every"]
        trial = train(lr=lr, weight_decay=decay, steps=steps, record_every=every)
        curves = trial.results.curves
        losses = [curves.losses[measured]] if measured else list(curves.losses.values())
        mean = torch.stack(losses).mean((0, 1))[1:].nan_to_num(torch.inf)
        best = int(mean.argmin())
        found.append((float(mean[best]), lr, decay, int(curves.steps[best + 1])))
    _, lr, decay, steps = min(found)
    return {"lr": lr, "weight_decay": decay, "steps": steps}


# --- Twenty counters: one network, twenty networks, and their rivals ------------------------------


def separate(
    widths: Sequence[int], hours: int, inputs: str, seeds: Sequence[int], **how: Any
) -> Networks:
    """Train a network per seed and counter: network ``i * 20 + k`` learns counter k of seed i."""

    def draw(number: int) -> Splits:
        i, k = divmod(number, len(COUNTERS))
        return group(city(seeds[i], hours, inputs), [COUNTERS[k]])

    return train_networks(draw, [OWN], len(seeds) * len(COUNTERS), widths, **how)


def together(
    widths: Sequence[int], hours: int, inputs: str, seeds: Sequence[int], **how: Any
) -> Networks:
    """Train a network for all counters per seed."""
    draw = lambda number: city(seeds[number], hours, inputs)  # noqa: E731
    return train_networks(draw, COUNTERS, len(seeds), widths, **how)


def one_head(
    widths: Sequence[int], hours: int, inputs: str, seeds: Sequence[int], **how: Any
) -> Networks:
    """Train a network per seed with one head for all counters: it cannot tell them apart."""

    def pooled(part: MultiTaskData) -> MultiTaskData:
        targets = torch.stack(list(part.targets.values()), 1)
        return MultiTaskData(part.inputs, {OWN: targets.nanmean(1)})

    def draw(number: int) -> Splits:
        return Splits(*map(pooled, standardised(city(seeds[number], hours, inputs))[0]))

    return train_networks(draw, [OWN], len(seeds), widths, **how)


def trunks_of_others(
    configuration: Configuration, inputs: str, settings: Mapping[str, Any]
) -> Callable[[tuple[int, ...]], list[dict[str, Tensor]]]:
    """Learn the other 19 counters together, for each counter and seed.

    Args:
        configuration: as for :func:`street_corners`.
        inputs: "plain" or "good".
        settings: how the 19 are learned, as was tuned for all 20.

    Returns:
        A function from seeds to the parameters of a trunk for each seed and counter.
    """
    widths, count = configuration["widths"], len(COUNTERS)
    names = [OWN, *(f"partner_{k}" for k in range(1, count - 1))]

    def draw(seed: int, k: int) -> Splits:
        return group(city(seed, 50, inputs), [c for c in COUNTERS if c != COUNTERS[k]])

    @lru_cache(maxsize=4)
    def trunks(seeds: tuple[int, ...]) -> list[dict[str, Tensor]]:
        found: list[dict[str, Tensor]] = []
        for seed in seeds:  # one seed at a time: twenty networks for nineteen counters are many
            learned = train_networks(partial(draw, seed), names, count, widths, **settings)
            for number in range(count):
                learned.model.load_state_dict(learned.results.state(number))
                state = learned.model.trunk.state_dict().items()
                found.append({name: value.clone() for name, value in state})
        return found

    return trunks


def fine_tuned(
    configuration: Configuration, inputs: str, trunks: Callable[..., list[dict[str, Tensor]]]
) -> tuple[Callable[..., Networks], dict[str, Any]]:
    """Go on from the trunk of the other 19 counters with the labels of the 20th alone.

    Args:
        configuration: as for :func:`street_corners`.
        inputs: "plain" or "good".
        trunks: what :func:`trunks_of_others` gives.

    Returns:
        A function that trains a network per seed and counter, as :func:`separate` does, and what
        was tuned for it.
    """

    def train(seeds: Sequence[int], **how: Any) -> Networks:
        start = trunks(tuple(seeds))
        return separate(configuration["widths"], 50, inputs, seeds, trunks=start, **how)

    grid = {**configuration, **configuration["fine_tuning"]}
    chosen = tuned(partial(train, seeds=configuration["tuning_seeds"]), grid)
    return train, chosen


def new_heads(
    configuration: Configuration, inputs: str, trunks: Callable[..., list[dict[str, Tensor]]]
) -> Callable[..., Any]:
    """Keep the trunk of the other 19 counters, and fit only a head to the 20th: a ridge regression.

    Returns:
        A function from a seed, standardised data and a penalty to one from inputs [N, D] to
        predictions [N, K].
    """

    def train(seed: int, data: Splits, penalty: float) -> Callable[[np.ndarray], np.ndarray]:
        x, counter, y = labels(data.train)
        networks, heads = [], []
        for k, state in enumerate(trunks((seed,))):
            trunk = mlp(x.shape[1], configuration["widths"])
            trunk.load_state_dict(state)
            networks.append(partial(_features, trunk))
            rows = counter == k
            heads.append(Ridge(penalty).fit(networks[k](x[rows]), y[rows]))

        def predict(asked: np.ndarray) -> np.ndarray:
            pairs = zip(networks, heads, strict=True)
            return np.stack([head.predict(network(asked)) for network, head in pairs], 1)

        return predict

    return train


@torch.no_grad()
def _features(trunk: torch.nn.Module, inputs: np.ndarray) -> np.ndarray:
    return trunk(torch.from_numpy(inputs)).numpy()


def linear_rival(data: Splits, strength: float) -> Callable[[np.ndarray], np.ndarray]:
    """Ridge regression per counter on the raw inputs; strength is its penalty."""
    x, counter, y = labels(data.train)
    models = [Ridge(strength).fit(x[counter == k], y[counter == k]) for k in range(len(COUNTERS))]
    return lambda inputs: np.stack([model.predict(inputs) for model in models], 1)


def pooled_linear_rival(data: Splits, strength: float) -> Callable[[np.ndarray], np.ndarray]:
    """One ridge regression for all counters, which have the same standardised prediction."""
    x, _, y = labels(data.train)
    model = Ridge(strength).fit(x, y)
    return lambda inputs: np.repeat(model.predict(inputs)[:, None], len(COUNTERS), 1)


def by_weekday(inputs: np.ndarray) -> np.ndarray:
    """Make features by hand from the plain inputs: three waves over the day for each weekday.

    Args:
        inputs: plain, [N, 11].

    Returns:
        A constant and the waves, for each weekday and for all; the season's two numbers, [N, 58].
    """
    angle = np.arctan2(inputs[:, :1], inputs[:, 1:2]) * np.arange(1, 4)
    waves = np.hstack([np.ones((len(inputs), 1)), np.sin(angle), np.cos(angle)])
    each = (waves[:, :, None] * inputs[:, None, 2:9]).reshape(len(inputs), -1)
    return np.hstack([each, waves, inputs[:, 9:]])


def hand_made_rival(data: Splits, strength: float) -> Callable[[np.ndarray], np.ndarray]:
    """Ridge regression per counter on features made by hand (see :func:`by_weekday`)."""
    x, counter, y = labels(data.train)
    z = by_weekday(x)
    models = [Ridge(strength).fit(z[counter == k], y[counter == k]) for k in range(len(COUNTERS))]
    return lambda inputs: np.stack([model.predict(by_weekday(inputs)) for model in models], 1)


def hand_made_shared_rival(data: Splits, strength: float) -> Callable[[np.ndarray], np.ndarray]:
    """The same, soft sharing: weights for all counters plus a counter's own, which cost more.

    The own features are scaled by :data:`OWN_PART`, so their weights are penalised more.

    Source: Evgeniou & Pontil 2004, doi:10.1145/1014052.1014067.
    """
    x, counter, y = labels(data.train)
    z = by_weekday(x)
    own = (np.eye(len(COUNTERS))[counter][:, :, None] * z[:, None, :]).reshape(len(z), -1)
    model = Ridge(strength).fit(np.hstack([z, OWN_PART * own]), y)
    common, special = model.coef_[: z.shape[1]], model.coef_[z.shape[1] :]
    weights = common[:, None] + OWN_PART * special.reshape(len(COUNTERS), -1).T
    return lambda inputs: by_weekday(inputs) @ weights + model.intercept_


def kernel_rival(data: Splits, strength: Sequence[float]) -> Callable[[np.ndarray], np.ndarray]:
    """Kernel ridge regression per counter on the raw inputs.

    Args:
        data: standardised, plain inputs.
        strength: the penalty, and the length scales of hour, weekday and season in the RBF kernel.
    """
    x, counter, y = labels(data.train)
    penalty, *scales = strength
    z = _scaled(x, scales)
    models = [
        KernelRidge(alpha=penalty, kernel="rbf", gamma=0.5).fit(z[counter == k], y[counter == k])
        for k in range(len(COUNTERS))
    ]
    return lambda inputs: np.stack([m.predict(_scaled(inputs, scales)) for m in models], 1)


def kernel_shared_rival(
    data: Splits, strength: Sequence[float]
) -> Callable[[np.ndarray], np.ndarray]:
    """One kernel ridge regression on all labels; two hours of one counter are more alike.

    Source: Alvarez, Rosasco & Lawrence 2012, arXiv:1106.6251 (kernels for several tasks).
    """
    x, counter, y = labels(data.train)
    penalty, *scales = strength
    z, each = _scaled(x, scales), np.arange(len(COUNTERS))
    kernel = rbf_kernel(z, gamma=0.5) * (1 + OWN_KERNEL * (counter[:, None] == counter))
    weights = np.linalg.solve(kernel + penalty * np.eye(len(x)), y)
    by_counter = weights[:, None] * (1 + OWN_KERNEL * (counter[:, None] == each))
    return lambda inputs: rbf_kernel(_scaled(inputs, scales), z, gamma=0.5) @ by_counter


def _scaled(inputs: np.ndarray, scales: Sequence[float]) -> np.ndarray:
    """Divide plain inputs [N, 11] by the length scales of hour, weekday and season."""
    return inputs / np.repeat(scales, (2, 7, 2))


def trees_rival(data: Splits, strength: float) -> Callable[[np.ndarray], np.ndarray]:
    """Extra trees per counter; strength: leaf size."""
    x, counter, y = labels(data.train)
    forests = [_trees(strength).fit(x[counter == k], y[counter == k]) for k in range(len(COUNTERS))]
    return lambda inputs: np.stack([forest.predict(inputs) for forest in forests], 1)


def pooled_trees_rival(data: Splits, strength: float) -> Callable[[np.ndarray], np.ndarray]:
    """Extra trees on all labels, with the counter as 20 further inputs; strength: leaf size."""
    x, counter, y = labels(data.train)
    which = np.eye(len(COUNTERS))
    trees = _trees(strength).fit(np.hstack([x, which[counter]]), y)
    ask = lambda x, row: trees.predict(np.hstack([x, np.tile(row, (len(x), 1))]))  # noqa: E731
    return lambda inputs: np.stack([ask(inputs, row) for row in which], 1)


def _trees(leaf: float) -> ExtraTreesRegressor:
    return ExtraTreesRegressor(200, min_samples_leaf=int(leaf), random_state=0, n_jobs=1)


def labels(part: MultiTaskData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs [N, D], number of the counter [N] and target [N] of each label."""
    targets = torch.stack(list(part.targets.values()), 1)
    row, counter = (~targets.isnan()).nonzero(as_tuple=True)
    return part.inputs[row].numpy(), counter.numpy(), targets[row, counter].numpy()


#: Name: (from standardised data and a strength to a function that predicts [N, K]; strengths).
KERNELS = [
    [penalty, hour, weekday, season]
    for penalty in (0.01, 0.03, 0.1, 0.3, 1)
    for hour in (0.25, 0.5, 1, 2)
    for weekday in (1, 2, 4)
    for season in (4, 8, 16, 32)
]
RIVALS: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "linear, separate": (linear_rival, [1.0, 3.0, 10.0, 30.0, 100.0]),
    "linear, pooled": (pooled_linear_rival, [1.0, 3.0, 10.0, 30.0, 100.0]),
    "hand-made, separate": (hand_made_rival, [0.3, 1.0, 3.0, 10.0]),
    "hand-made, shared": (hand_made_shared_rival, [0.3, 1.0, 3.0, 10.0]),
    "kernel, separate": (kernel_rival, KERNELS),
    "kernel, shared": (kernel_shared_rival, KERNELS),
    "trees, separate": (trees_rival, [1, 2, 3, 5]),
    "trees, pooled": (pooled_trees_rival, [1, 2, 3, 5, 10]),
}


def rival(
    train: Callable[..., Any],
    strengths: Sequence[Any],
    configuration: Configuration,
    inputs: str,
) -> tuple[Callable[[int, Tensor], Tensor], dict[str, Any]]:
    """Tune the strength of a rival on validation data.

    Args:
        train: from a seed, standardised data and a strength to a function that predicts [N, K].
        strengths: to choose from.
        configuration: as for :func:`street_corners`.
        inputs: "plain" or "good".

    Returns:
        A function from a seed and inputs to predictions [N, K] in people's logarithm, and what was
        tuned.
    """

    def predict(strength: Any, seed: int, asked: Tensor) -> Tensor:
        data, moments = standardised(city(seed, 50, inputs))
        outputs = train(seed, data, strength)(asked.numpy())
        return in_old_unit(torch.from_numpy(outputs), moments)

    def loss(strength: Any) -> float:
        parts = {seed: city(seed, 50, inputs).valid for seed in configuration["tuning_seeds"]}
        return sum(
            float(rmse(predict(strength, seed, part.inputs), part).mean())
            for seed, part in parts.items()
        )

    best = min(strengths, key=loss)
    return partial(predict, best), {"strength": best}


def rmse(predictions: Tensor, part: MultiTaskData) -> Tensor:
    """Give each counter's RMSE where it counted, [K]: predictions [N, K]."""
    targets = torch.stack(list(part.targets.values()), 1)
    return (predictions - targets).square().nanmean(0).sqrt()


def street_corners(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Compare one network for all counters with its rivals, on 2023 and on the next year.

    Returns:
        One row per inputs, arm and seed: ``rmse`` and ``rmse_next_year`` (means over counters),
        the same ``by_counter`` and ``by_counter_next_year``, and ``tuned``, what was chosen.
    """
    rows = []
    for inputs in configuration["arms"]:
        for arm, (predict, chosen) in _arms(configuration, seeds, inputs).items():
            for seed in seeds:
                row: dict[str, Any] = {"inputs": inputs, "arm": arm, "seed": seed}
                for year, end in ((None, ""), (2024, "_next_year")):
                    test = city(seed, 50, inputs, year).test
                    errors = rmse(predict(seed, test.inputs), test)
                    row[f"rmse{end}"] = round(float(errors.mean()), 4)
                    row[f"by_counter{end}"] = [round(float(e), 3) for e in errors]
                rows.append({**row, "tuned": chosen})
    return rows


def _arms(
    configuration: Configuration, seeds: Sequence[int], inputs: str
) -> dict[str, tuple[Callable[[int, Tensor], Tensor], dict[str, Any]]]:
    """By arm: a function from a seed and inputs to predictions [N, K], and what was tuned."""
    widths, found = configuration["widths"], {}

    @lru_cache(maxsize=1)
    def trunks() -> Callable[[tuple[int, ...]], list[dict[str, Tensor]]]:
        return trunks_of_others(configuration, inputs, found["together"][1])

    for arm in configuration["arms"][inputs]:
        if arm in RIVALS:
            fit, strengths = RIVALS[arm]
            train = partial(_any_seed, fit)
            found[arm] = rival(train, strengths, configuration, inputs)
            continue
        if arm == "new head":
            train = new_heads(configuration, inputs, trunks())
            found[arm] = rival(train, configuration["penalties"], configuration, inputs)
            continue
        if arm == "fine-tuned":
            train, chosen = fine_tuned(configuration, inputs, trunks())
        else:
            ways = {"separate": separate, "together": together, "one head": one_head}
            train = partial(ways[arm], widths, 50, inputs)
            chosen = tuned(partial(train, seeds=configuration["tuning_seeds"]), configuration)
        networks = train(seeds=list(seeds), **chosen)
        found[arm] = (partial(_of_seed, networks, list(seeds)), chosen)
    if "one head" in found:  # its answers are standardised: each counter has a scale of its own
        ask, chosen = found["one head"]
        found["one head"] = (
            lambda seed, asked: in_old_unit(
                ask(seed, asked), standardised(city(seed, 50, inputs))[1]
            ),
            chosen,
        )
    return found


def _any_seed(fit: Callable[..., Any], seed: int, data: Splits, strength: Any) -> Any:
    return fit(data, strength)


def _of_seed(networks: Networks, seeds: Sequence[int], seed: int, inputs: Tensor) -> Tensor:
    """What the networks of a seed predict for all counters, [N, K]."""
    each = len(networks.moments) // len(seeds)  # networks per seed: 1 or 20
    first = seeds.index(seed) * each
    return torch.cat([networks.predict(first + k, inputs) for k in range(each)], 1)


# --- More labels, more counters, other partners ---------------------------------------------------


def both_ways(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Learn all counters separately and together, by labelled hours and by width of the trunk.

    Returns:
        One row per number of hours, width, arm and seed: ``rmse``, the mean over counters, and
        ``tuned``.
    """
    rows = []
    for hours, width, arm in itertools.product(
        configuration["hours"], configuration["layer_widths"], configuration["arms"]
    ):
        train = {"separate": separate, "together": together}[arm]
        run = partial(train, [width, width], hours, configuration["inputs"])
        chosen = tuned(partial(run, seeds=configuration["tuning_seeds"]), configuration)
        networks = run(seeds=list(seeds), **chosen)
        errors = torch.stack([networks.errors(k) for k in networks.results.scores], 1)
        for seed, error in zip(seeds, errors.reshape(len(seeds), -1).mean(1), strict=True):
            row = {"hours": hours, "width": width, "arm": arm, "seed": seed}
            rows.append({**row, "rmse": round(float(error), 4), "tuned": chosen})
    return rows


def in_groups(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Deal the counters into groups of equal size, anew for each seed; each group has a network.

    Returns:
        One row per size of the groups and seed: ``rmse``, the mean over counters, and ``tuned``.
    """
    rows = []
    for size in configuration["sizes"]:
        names = [OWN, *(f"partner_{k}" for k in range(1, size))]
        each = len(COUNTERS) // size  # groups per seed

        def run(seeds: Sequence[int], size=size, names=names, each=each, **how: Any) -> Networks:
            def draw(number: int) -> Splits:
                i, k = divmod(number, each)
                rng = torch.Generator().manual_seed(seeds[i])
                order = torch.randperm(len(COUNTERS), generator=rng)[k * size : (k + 1) * size]
                data = city(seeds[i], 50, configuration["inputs"])
                return group(data, [COUNTERS[n] for n in order.tolist()])

            return train_networks(draw, names, each * len(seeds), configuration["widths"], **how)

        chosen = tuned(partial(run, seeds=configuration["tuning_seeds"]), configuration)
        networks = run(seeds=list(seeds), **chosen)
        errors = torch.stack([networks.errors(k) for k in names], 1).reshape(len(seeds), -1)
        rows += [
            {"size": size, "seed": seed, "rmse": round(float(error), 4), "tuned": chosen}
            for seed, error in zip(seeds, errors.mean(1), strict=True)
        ]
    return rows


def partners(own: str, kind: str, count: int, seed: int) -> list[str]:
    """Choose the other counters that a counter learns with.

    Args:
        own: the counter.
        kind: ``"nearest"`` or ``"farthest"`` in the city; ``"alike"`` or ``"unlike"``: by the
            correlation of the logged counts over all of 2022, which nobody with 50 labels knows;
            ``"random"``, drawn anew for each seed.
        count: how many.
        seed: for ``"random"``.
    """
    table = read_footsteps()
    columns = [table.counters.index(name) for name in COUNTERS]
    if kind == "random":
        rng = torch.Generator().manual_seed(1000 * seed + COUNTERS.index(own))
        order = torch.randperm(len(COUNTERS), generator=rng).tolist()
    else:
        if kind in ("nearest", "farthest"):
            far = table.distances()[columns][:, columns]
        else:
            far = -likeness()
        row = far[COUNTERS.index(own)]
        order = row.argsort(descending=kind in ("farthest", "unlike")).tolist()
    others = [COUNTERS[k] for k in order if COUNTERS[k] != own]
    return others[:count]


@lru_cache(maxsize=1)
def likeness() -> Tensor:
    """Correlate the logged counts of every two counters over 2022, where both counted, [K, K]."""
    table = read_footsteps()
    columns = [table.counters.index(name) for name in COUNTERS]
    year = torch.from_numpy(table.day.astype("datetime64[Y]").astype(int)) + 1970
    values = table.counts[year == 2022][:, columns].log1p()
    found = torch.eye(len(COUNTERS), dtype=torch.float64)
    for i, j in itertools.combinations(range(len(COUNTERS)), 2):
        both = values[:, [i, j]]
        both = both[~both.isnan().any(1)]
        found[i, j] = found[j, i] = torch.corrcoef(both.T)[0, 1]
    return found


def with_partners(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Measure what each counter's error becomes with other counters beside it.

    A setting has a ``name``, the number of ``partners``, and what differs from random partners with
    labels of their own and equal weights: ``kind``, ``shuffled``, ``own_weight``.

    Returns:
        One row per setting, counter and seed: ``rmse`` of the counter.
    """
    rows = []
    for setting in configuration["settings"]:
        count = setting["partners"]
        names = [OWN, *(f"partner_{k}" for k in range(1, count + 1))]
        weights = {**dict.fromkeys(names, 1.0), OWN: setting.get("own_weight", 1.0)}

        def run(seeds: Sequence[int], setting=setting, names=names, **how: Any) -> Networks:
            def draw(number: int) -> Splits:
                i, k = divmod(number, len(COUNTERS))
                own, seed = COUNTERS[k], seeds[i]
                chosen = partners(own, setting.get("kind", "random"), len(names) - 1, seed)
                mixed = 10_000 * seed + k + 1 if setting.get("shuffled") else None
                return group(city(seed, 50, configuration["inputs"]), [own, *chosen], mixed)

            number = len(seeds) * len(COUNTERS)
            return train_networks(draw, names, number, configuration["widths"], **how)

        train = partial(run, weights=weights)
        chosen = tuned(partial(train, seeds=configuration["tuning_seeds"]), configuration, OWN)
        errors = train(seeds=list(seeds), **chosen).errors(OWN).reshape(len(seeds), -1)
        rows += [
            {
                "setting": setting["name"],
                "seed": seed,
                "rmse": round(float(errors[i].mean()), 4),
                "by_counter": [round(float(e), 3) for e in errors[i]],
                "tuned": chosen,
            }
            for i, seed in enumerate(seeds)
        ]
    return rows


# --- What the notebook uses ---------------------------------------------------------------------


def one_counter(part: MultiTaskData, name: str) -> MultiTaskData:
    """Keep one counter and the rows that label it."""
    target = part.targets[name]
    rows = ~target.isnan()
    return MultiTaskData(part.inputs[rows], {name: target[rows]})


def in_logs(
    said: Mapping[str, Mapping[str, Tensor]], moments: Moments
) -> dict[str, dict[str, Tensor]]:
    """Undo the standardisation of each arm's outputs, by counter, [N] each."""
    return {
        arm: {name: out * moments[name][1] + moments[name][0] for name, out in outputs.items()}
        for arm, outputs in said.items()
    }


def errors_of(part: MultiTaskData, predictions: Mapping[str, Tensor]) -> Tensor:
    """RMSE of the logarithm where each counter counted, [K]: predictions by counter, [N] each."""
    return rmse(torch.stack([predictions[name] for name in part.targets], 1), part)


# --- What is recorded -----------------------------------------------------------------------------

GRID = {
    "inputs": "plain",
    "widths": [32, 32],
    "learning_rates": [0.003, 0.01, 0.03, 0.1, 0.3],
    "weight_decays": [0.3, 1.0, 3.0, 10.0],
    "steps": 400,
    "record_every": 20,
    "tuning_seeds": [100, 101],
}
CORNERS = {
    **GRID,
    "weight_decays": [1.0, 3.0, 10.0],
    "arms": {
        "plain": ["separate", "together", "fine-tuned", "new head", "one head", *RIVALS],
        "good": ["separate", "together", *(arm for arm in RIVALS if arm[0] in "lt")],
    },
    "fine_tuning": {"learning_rates": [0.0003, 0.001, 0.003], "weight_decays": [0.03, 0.3, 3.0],
                    "steps": 200, "record_every": 10},
    "penalties": [0.3, 1.0, 3.0, 10.0, 30.0],
}  # fmt: skip
BOTH = {**GRID, "arms": ["separate", "together"]}
HOURS = {**BOTH, "hours": [10, 25, 50, 100, 200], "layer_widths": [32]}
WIDTHS = {**BOTH, "hours": [50], "layer_widths": [2, 4, 8, 16, 32]}
GROUPS = {**GRID, "sizes": [1, 2, 4, 5, 10, 20]}
PARTNERS = {
    **GRID,
    "learning_rates": [0.01, 0.03, 0.1, 0.3],
    "weight_decays": [1.0, 3.0, 10.0],
    "tuning_seeds": [100, 101],
    "settings": [
        {"name": "alone", "partners": 0},
        *(
            {"name": kind, "partners": 3, "kind": kind}
            for kind in ("random", "nearest", "farthest", "alike", "unlike")
        ),
        {"name": "shuffled", "partners": 3, "shuffled": True},
        {"name": "drowned", "partners": 3, "own_weight": 0.001},
        {"name": "drowned, shuffled", "partners": 3, "shuffled": True, "own_weight": 0.001},
    ],
}


def _only(lr: float, decay: float, steps: int) -> dict[str, Any]:
    """What was chosen in one setting, for samples that need not tune again."""
    return {"learning_rates": [lr], "weight_decays": [decay], "steps": steps}


PARTS = [
    datasets_footsteps, standardised, city, group, in_old_unit, Networks, train_networks, tuned,
    separate, together,
]  # fmt: skip
CONTEST = [
    _arms, _of_seed, trunks_of_others, fine_tuned, new_heads, one_head, rival, rmse, labels,
    linear_rival, pooled_linear_rival, by_weekday, hand_made_rival, hand_made_shared_rival,
    kernel_rival, kernel_shared_rival, trees_rival, pooled_trees_rival,
]  # fmt: skip

STUDIES = [
    Study(
        name="01_street_corners",
        question="What does one network for twenty street corners save, against which rivals?",
        configuration=CORNERS,
        run=street_corners,
        seeds=range(10),
        keys=("inputs", "arm", "seed"),
        sample=Sample(
            {
                **CORNERS,
                "arms": {"plain": ["linear, separate", "hand-made, shared", "kernel, shared"]},
            },
            0.02,
            seeds=[0],
        ),
        code=[*PARTS, *CONTEST],
    ),
    Study(
        name="01_labelled_hours",
        question="How does the gain from learning together change with the labels of each task?",
        configuration=HOURS,
        run=both_ways,
        seeds=range(10),
        keys=("hours", "width", "arm", "seed"),
        sample=Sample({**HOURS, **_only(0.01, 3.0, 40), "hours": [10], "arms": ["separate"]}, 0.05),
        code=PARTS,
    ),
    Study(
        name="01_corner_widths",
        question="How does the gain from learning together change with the width of the trunk?",
        configuration=WIDTHS,
        run=both_ways,
        seeds=range(10),
        keys=("hours", "width", "arm", "seed"),
        sample=Sample(
            {**WIDTHS, **_only(0.03, 1.0, 40), "layer_widths": [8], "arms": ["separate"]}, 0.05
        ),
        code=PARTS,
    ),
    Study(
        name="01_groups",
        question="How does the error fall with the number of counters that share a network?",
        configuration=GROUPS,
        run=in_groups,
        seeds=range(10),
        keys=("size", "seed"),
        sample=Sample({**GROUPS, **_only(0.01, 3.0, 140), "sizes": [20]}, 0.05),
        code=PARTS,
    ),
    Study(
        name="01_partners",
        question="Which partners help a street corner, and which harm it?",
        configuration=PARTNERS,
        run=with_partners,
        seeds=range(8),
        keys=("setting", "seed"),
        sample=Sample(
            {
                **PARTNERS,
                **_only(0.03, 3.0, 180),
                "settings": [{"name": "unlike", "partners": 3, "kind": "unlike"}],
            },
            0.05,
        ),
        code=[*PARTS, partners, likeness],
    ),
]
