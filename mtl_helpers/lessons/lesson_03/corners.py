"""The street corners of lesson 03: how much of one network should twenty counters share?

Each task is a pedestrian counter with a few labelled hours of its own. Networks of one kind are
trained side by side, one for each seed, and each counter's rows run only through what is its own
or shared: that is what makes the sweeps quick. The models of the package do the same (a test).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import pairwise, product
from typing import Any

import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from mtl_helpers.datasets.footsteps import FEW_HOURS, footsteps, read_footsteps
from mtl_helpers.models import (
    CGC,
    CrossStitch,
    FiLM,
    HardSharing,
    MMoE,
    MultiTaskModel,
    mlp,
    size_report,
)
from mtl_helpers.tasks import regression

Configuration = Mapping[str, Any]
Layer = tuple[Tensor, Tensor]  # weights [S, 1 or K, a, b] and biases [S, 1 or K, 1, b]
COUNTERS = tuple(name for name in read_footsteps().counters if name != FEW_HOURS)
F64 = torch.float64
INPUTS, DEPTH, WIDTH = 11, 3, 16  # numbers in one example; layers of a trunk, and their units
WIDE = 48  # units of one trunk that has as many parameters as a split after two layers
EXPERTS = 4
VALID = 50  # labelled hours of each counter that settings are chosen by


# ------------------------------------------------------------------------------ the data


@dataclass(frozen=True)
class Labels:
    """The labelled hours of S draws, counter by counter, in standard units.

    Attributes:
        inputs: [S, K, N, D].
        targets: [S, K, N].
    """

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class City:
    """S draws of labelled hours, and the rest of the year.

    Attributes:
        train: what networks learn from.
        valid: what settings are chosen by.
        hours: the inputs of all hours of the year, [T, D].
        truth: log(1 + people) in standard units, [S, K, T]; nan where it is not to be predicted.
        spread: the standard deviation of each counter's training labels, [S, K].
    """

    train: Labels
    valid: Labels
    hours: Tensor
    truth: Tensor
    spread: Tensor


@lru_cache(maxsize=8)
def city(seeds: tuple[int, ...], hours: int) -> City:
    """Draw labelled hours for every seed; targets are standardised by the training labels."""
    parts: list[list[Tensor]] = [[], [], [], [], [], []]
    for seed in seeds:
        data = footsteps(hours, valid_hours=VALID, seed=seed)
        (x, y), (x_valid, y_valid) = _by_counter(data.train), _by_counter(data.valid)
        mean, spread = y.mean(1, keepdim=True), y.std(1, keepdim=True)
        truth = torch.stack([data.test.targets[name] for name in COUNTERS])
        every = [y, y_valid, truth]
        every = [x, x_valid, *((v - mean) / spread for v in every), spread[:, 0]]
        for kept, value in zip(parts, every, strict=True):
            kept.append(value)
    x, x_valid, y, y_valid, truth, spread = map(torch.stack, parts)
    return City(Labels(x, y), Labels(x_valid, y_valid), data.test.inputs, truth, spread)


def _by_counter(part: Any) -> tuple[Tensor, Tensor]:
    """Give each counter's rows: inputs [K, N, D] and targets [K, N]."""
    targets = torch.stack([part.targets[name] for name in COUNTERS])  # [K, K * N]
    rows = len(part.inputs) // len(COUNTERS)
    own = [targets[k, k * rows : (k + 1) * rows] for k in range(len(COUNTERS))]
    return part.inputs.reshape(len(COUNTERS), rows, -1), torch.stack(own)


# --------------------------------------------------------------------------- the networks


def layer(seeds: int, copies: int, a: int, b: int, rng: torch.Generator) -> Layer:
    """Draw a linear layer as ``nn.Linear`` does, for S seeds and 1 or K copies."""
    shapes, bound = ((seeds, copies, a, b), (seeds, copies, 1, b)), 1 / math.sqrt(a)
    weight, bias = (2 * torch.rand(s, generator=rng, dtype=F64) - 1 for s in shapes)
    return (bound * weight).requires_grad_(), (bound * bias).requires_grad_()


class Networks:
    """S networks of one kind for K tasks, side by side.

    Args:
        way: ``"split s"`` shares the first s of three layers; ``"head too"`` everything;
            ``"wide trunk"``, ``"FiLM"``, ``"MMoE"``, ``"CGC"``, and ``"cross-stitch"``.
        seeds: S.
        tasks: K.
    """

    def __init__(self, way: str, seeds: int, tasks: int = len(COUNTERS)) -> None:
        rng = torch.Generator().manual_seed(0)
        self.way, self.tasks = way, tasks
        width = WIDE if way == "wide trunk" else WIDTH
        widths = list(pairwise([INPUTS] + [width] * DEPTH))
        shared = int(way[-1]) if way.startswith("split") else DEPTH
        copies = [1 if i < shared else tasks for i in range(DEPTH)]
        if way == "cross-stitch":
            copies = [tasks] * DEPTH
        if way in ("MMoE", "CGC"):
            copies = [EXPERTS if way == "MMoE" else 1] * DEPTH
        self.layers = [layer(seeds, n, *ab, rng) for n, ab in zip(copies, widths, strict=True)]
        self.own = [layer(seeds, tasks, *ab, rng) for ab in widths] if way == "CGC" else []
        self.head = layer(seeds, 1 if way == "head too" else tasks, width, 1, rng)
        self.gate, self.films, self.stitches = [], [], []
        if way in ("MMoE", "CGC"):
            experts = EXPERTS if way == "MMoE" else 2
            self.gate = [layer(seeds, tasks, INPUTS, experts, rng)[0]]
        if way == "FiLM":
            scale, shift = torch.ones(seeds, tasks, 1, width), torch.zeros(seeds, tasks, 1, width)
            pairs = [[scale.to(F64), shift.to(F64)] for _ in range(DEPTH)]
            self.films = [[v.clone().requires_grad_() for v in pair] for pair in pairs]
        if way == "cross-stitch":
            self.start_stitches(seeds)

    def start_stitches(self, seeds: int) -> None:
        """Let every column begin with nine tenths of itself, and a tenth of the others."""
        start = torch.full((self.tasks, self.tasks), 0.1 / (self.tasks - 1), dtype=F64)
        start.fill_diagonal_(0.9)
        self.stitches = [start.repeat(seeds, 1, 1).requires_grad_() for _ in range(DEPTH)]

    @property
    def weights(self) -> list[Tensor]:
        """All parameters but the stitches."""
        parts = [*self.layers, *self.own, *self.films, self.head]
        return [value for part in parts for value in part] + self.gate

    @property
    def size(self) -> int:
        """The numbers that one network learns."""
        every = [*self.weights, *self.stitches]
        return sum(value.numel() for value in every) // len(self.head[0])

    def __call__(self, x: Tensor) -> Tensor:
        """Give each task's outputs for its own rows: [S, K, N, D] -> [S, K, N]."""
        if self.way in ("MMoE", "CGC"):
            x = self._mixed(x)
        elif self.stitches:
            x = self._stitched(x)
        else:
            for i, (weight, bias) in enumerate(self.layers):
                x = torch.relu(x @ weight + bias)
                if i < len(self.films):
                    x = self.films[i][0] * x + self.films[i][1]
        return (x @ self.head[0] + self.head[1])[..., 0]

    def _mixed(self, x: Tensor) -> Tensor:
        """Mix the experts' features by the gate: [S, K, N, D] -> [S, K, N, F]."""
        gate = (x @ self.gate[0]).softmax(-1)  # [S, K, N, E]
        found, own = x.flatten(1, 2)[:, None], x  # all rows through each shared expert
        for weight, bias in self.layers:
            found = torch.relu(found @ weight + bias)
        found = found.unflatten(2, x.shape[1:3])  # [S, E, K, N, F]
        mixed = torch.einsum("skne,seknf->sknf", gate[..., : found.shape[1]], found)
        for weight, bias in self.own:
            own = torch.relu(own @ weight + bias)
        return mixed + gate[..., -1:] * own if self.own else mixed

    def _stitched(self, x: Tensor) -> Tensor:
        """Run all columns on all rows, and keep each task's own: [S, K, N, D] -> [S, K, N, F]."""
        found = x.flatten(1, 2)[:, None]
        for (weight, bias), stitch in zip(self.layers, self.stitches, strict=True):
            found = torch.relu(found @ weight + bias)
            found = torch.einsum("skj,sjnf->sknf", stitch, found)
        places = torch.arange(self.tasks)
        return found.unflatten(2, x.shape[1:3])[:, places, places]


def learn(
    networks: Networks,
    data: City,
    lr: float,
    decay: float,
    steps: int,
    *,
    every: int = 0,
    stitch_rate: float = 1.0,
) -> list[float]:
    """Train on the sum of all tasks' losses by AdamW; stitches do not decay.

    Args:
        networks: changed in place.
        data: as many draws as networks.
        lr: the learning rate.
        decay: the weight decay.
        steps: how many, each with all labels.
        every: steps between two measurements; 0 for none.
        stitch_rate: how many times ``lr`` the stitches get.

    Returns:
        The mean squared error on the validation labels after every ``every`` steps.
    """
    groups = [{"params": networks.weights, "weight_decay": decay}]
    if networks.stitches:
        rate = stitch_rate * lr
        groups.append({"params": networks.stitches, "lr": rate, "weight_decay": 0.0})
    optimizer, seen = torch.optim.AdamW(groups, lr=lr), []
    for step in range(1, steps + 1):
        loss = (networks(data.train.inputs) - data.train.targets).square().mean(-1).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if every and step % every == 0:
            with torch.no_grad():
                error = (networks(data.valid.inputs) - data.valid.targets).square().mean()
            seen.append(float(error.nan_to_num(math.inf)))
    return seen


def errors(networks: Networks, data: City) -> Tensor:
    """The RMSE of each seed and counter over the unseen hours, in the logarithm's unit, [S, K]."""
    found = []
    with torch.no_grad():
        for rows in data.hours.split(1000):
            x = rows.expand(len(data.truth), networks.tasks, *rows.shape)
            found.append(networks(x))
    off = torch.cat(found, 2) - data.truth
    return off.square().nanmean(2).sqrt() * data.spread


# ------------------------------------------------------------------------------ the sweeps


@dataclass(frozen=True, order=True)
class Settings:
    """What was chosen on validation labels: learning rate, weight decay, steps (and stitches)."""

    lr: float
    decay: float
    steps: int
    stitch_rate: float = 1.0


def trained(way: str, data: City, settings: Settings, start: Networks | None) -> Networks:
    """Train the networks of a way, from new ones or from separate networks that are trained."""
    networks = _begin(way, len(data.truth), start)
    learn(networks, data, settings.lr, settings.decay, settings.steps,
          stitch_rate=settings.stitch_rate)  # fmt: skip
    return networks


def _begin(way: str, seeds: int, start: Networks | None) -> Networks:
    """Make new networks, or put stitches between trained columns."""
    networks = Networks("cross-stitch" if start else way, seeds)
    for new, old in zip(networks.weights, start.weights if start else [], strict=start is not None):
        new.data.copy_(old.data)
    return networks


def tuned(way: str, data: City, configuration: Configuration) -> Settings:
    """Choose the learning rate, then the weight decay; the steps each time."""
    rates, decays = configuration["learning_rates"], configuration["weight_decays"]
    first = configuration["first_decay"]
    options = [_tried(way, data, configuration, Settings(lr, first, 0)) for lr in rates]
    lr = min(options)[1].lr
    options += [
        _tried(way, data, configuration, Settings(lr, decay, 0))
        for decay in decays
        if decay != first
    ]
    return min(options)[1]


def _tried(
    way: str,
    data: City,
    configuration: Configuration,
    settings: Settings,
    start: Networks | None = None,
) -> tuple[float, Settings]:
    """Train with settings: the lowest validation error, and its number of steps."""
    every, networks = configuration["record_every"], _begin(way, len(data.truth), start)
    seen = learn(networks, data, settings.lr, settings.decay, configuration["steps"], every=every,
                 stitch_rate=settings.stitch_rate)  # fmt: skip
    best = min(range(len(seen)), key=seen.__getitem__)
    return seen[best], replace(settings, steps=every * (best + 1))


def linear_errors(data: City, strength: float, valid: bool = False) -> Tensor:
    """The errors of ridge regression on the raw inputs, one per counter: as :func:`errors`.

    Args:
        data: the draws.
        strength: the penalty.
        valid: whether to measure on the validation labels instead of the unseen hours.
    """
    found = torch.empty(len(data.truth), len(COUNTERS), dtype=F64)
    for s, k in product(range(len(data.truth)), range(len(COUNTERS))):
        model = Ridge(strength).fit(data.train.inputs[s, k], data.train.targets[s, k])
        asked = data.valid.inputs[s, k] if valid else data.hours
        truth = data.valid.targets[s, k] if valid else data.truth[s, k]
        off = torch.from_numpy(model.predict(asked.numpy())) - truth
        found[s, k] = off.square().nanmean().sqrt()
    return found * data.spread


def street_corners(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Measure every way of sharing for every number of labelled hours.

    Returns:
        One row per hours, way and seed: ``rmse``, the mean over counters; ``by_counter``;
        ``parameters``, and ``tuned``, what was chosen.
    """
    rows = []
    for place in configuration["places"]:
        hours = place["hours"]
        for way in place["ways"]:
            tuning = city(tuple(configuration["tuning_seeds"]), hours)
            found, chosen, size = _measured(way, tuning, city(tuple(seeds), hours), configuration)
            rows += [
                {
                    "hours": hours,
                    "way": way,
                    "seed": seed,
                    "rmse": round(float(error.mean()), 4),
                    "by_counter": [round(float(e), 3) for e in error],
                    "parameters": size,
                    "tuned": chosen,
                }
                for seed, error in zip(seeds, found, strict=True)
            ]
    return rows


def _measured(
    way: str, tuning: City, data: City, configuration: Configuration
) -> tuple[Tensor, dict[str, float], int]:
    """Tune a way on some draws and measure it on others: errors [S, K], settings, parameters."""
    if way == "linear":
        options = configuration["strengths"]
        strength = min(options, key=lambda s: float(linear_errors(tuning, s, valid=True).mean()))
        return linear_errors(data, strength), {"strength": strength}, len(COUNTERS) * (INPUTS + 1)
    if way != "stitched columns":
        chosen = tuned(way, tuning, configuration)
        networks = trained(way, data, chosen, None)
        return errors(networks, data), asdict(chosen), networks.size
    # The paper's recipe: separate networks are trained, then stitches between them, which get a
    # larger rate; the columns go on with the rate they had.
    alone = tuned("split 0", tuning, configuration)
    start = trained("split 0", tuning, alone, None)
    options = [replace(alone, stitch_rate=rate) for rate in configuration["stitch_rates"]]
    chosen = min(_tried(way, tuning, configuration, option, start) for option in options)[1]
    networks = trained(way, data, chosen, trained("split 0", data, alone, None))
    return errors(networks, data), asdict(chosen), networks.size


# ------------------------------------------------------------------------------ the prices


def model_of(way: str, names: Sequence[str] = COUNTERS) -> MultiTaskModel:
    """Build the package's model of a way of sharing, for some tasks of the city."""
    tasks = [regression(name) for name in names]
    trunk: Callable[..., Any] = lambda w=WIDTH: stages(w)  # noqa: E731
    if way.startswith("split"):
        return HardSharing.split(trunk, tasks, int(way[-1]), features=WIDTH)
    if way == "wide trunk":
        return HardSharing.linear(trunk(WIDE), tasks, features=WIDE)
    if way == "FiLM":
        return FiLM(trunk(), [WIDTH] * DEPTH, tasks)
    if way == "MMoE":
        return MMoE(INPUTS, tasks, experts=EXPERTS, hidden=[WIDTH] * DEPTH, tower=())
    if way == "CGC":
        return CGC(INPUTS, tasks, own=1, shared=1, hidden=[WIDTH] * DEPTH, tower=())
    return CrossStitch(trunk, tasks, features=WIDTH)


def stages(width: int = WIDTH, inputs: int = INPUTS, depth: int = DEPTH) -> torch.nn.Sequential:
    """Build a trunk in stages, each a linear layer and a ReLU."""
    layers = mlp(inputs, [width] * depth)
    return torch.nn.Sequential(*(layers[1 + 2 * i : 3 + 2 * i] for i in range(depth)))


def prices(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Count and time what each way costs when all counters are asked about the same hours.

    Returns:
        One row per way: ``parameters``, ``multiply_adds`` of one hour, and ``time``: seconds of a
        forward and a backward pass over those of one trunk, the least of several rounds.
    """
    hours = torch.randn(configuration["examples"], INPUTS, dtype=F64)
    models = {way: model_of(way) for way in configuration["ways"]}
    least = dict.fromkeys(models, math.inf)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(configuration["rounds"]):
        for way, model in models.items():
            began = time.perf_counter()
            sum(output.sum() for output in model(hours).values()).backward()
            least[way] = min(least[way], time.perf_counter() - began)
    torch.set_num_threads(threads)
    rows = []
    for way, model in models.items():
        size = size_report(model, hours)
        rows.append(
            {
                "way": way,
                "parameters": size.total_parameters,
                "multiply_adds": round(size.total_multiply_adds),
                "time": round(least[way] / least["split 3"], 1),
            }
        )
    return rows
