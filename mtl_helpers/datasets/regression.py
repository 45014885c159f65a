"""Regression tasks made here, with known truth: how related they are is a dial.

Two sources: tasks that share a low-dimensional nonlinear feature (:func:`regression`), and the two
correlated tasks of Ma et al. 2018 (:func:`mmoe_synthetic`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mtl_helpers.datasets.base import MultiTaskData, Splits
from mtl_helpers.values import generator as make_generator
from mtl_helpers.values import whole_number

TRAIN, VALID, TEST, TRUTH = range(4)  # each part has its own random numbers


@dataclass(frozen=True, eq=False)
class RegressionTruth:
    """What :func:`regression` draws its data from.

    Inputs x are standard normal, [D]. Feature f of x is sin(ω u_f·x), divided by its standard
    deviation √((1 - exp(-2ω²)) / 2). Task k's signal is the sum of its features times its loadings;
    its target is (signal + noise_k · ε) / √(1 + noise_k²), so every target has mean 0 and
    variance 1 in the population, and an RMSE of 1 is that of always answering 0.

    Attributes:
        directions: u, [F, D]: the shared features first, then each task's private ones.
        loadings: [K, F]; each row has length 1.
        noise: standard deviation of each task's noise where its signal has 1, [K].
        frequency: ω; larger is less linear. The share of a feature's variance that a straight line
            explains is ω² / sinh(ω²): 0.69 for the default of 1.2.
        shared: how many of the features are shared ones.
        names: of the tasks, [K].
    """

    directions: Tensor
    loadings: Tensor
    noise: Tensor
    frequency: float
    shared: int
    names: tuple[str, ...]

    def features(self, inputs: Tensor) -> Tensor:
        """Give every feature, shared ones first: [N, D] -> [N, F], each of variance 1."""
        spread = math.sqrt((1 - math.exp(-2 * self.frequency**2)) / 2)
        return torch.sin(self.frequency * inputs @ self.directions.T) / spread

    def signal(self, inputs: Tensor) -> dict[str, Tensor]:
        """Give the best prediction anyone could make: [N, D] -> {task: [N]}, without noise."""
        signals = self.features(inputs) @ self.loadings.T / (1 + self.noise**2).sqrt()
        return dict(zip(self.names, signals.unbind(1), strict=True))

    @property
    def best_rmse(self) -> dict[str, float]:
        """The RMSE of the best prediction: noise / √(1 + noise²)."""
        floor = self.noise / (1 + self.noise**2).sqrt()
        return dict(zip(self.names, floor.tolist(), strict=True))

    @property
    def relatedness(self) -> Tensor:
        """Share of variance that two tasks have in common features, [K, K]: √(ρ_i ρ_j) or 0."""
        width = self.directions.shape[0] - self.shared
        features = width // len(self.names)  # private features a task has = size of a shared pool
        pools = self.loadings[:, : self.shared].square().unflatten(1, (-1, features)).sum(2).sqrt()
        return (pools @ pools.T).fill_diagonal_(1.0)

    def sample(self, examples: int, generator: torch.Generator) -> MultiTaskData:
        """Draw data: inputs [N, D] and a target [N] for every task."""
        inputs = torch.randn(
            examples, self.directions.shape[1], generator=generator, dtype=torch.float64
        )
        targets = {}
        for (name, signal), noise in zip(self.signal(inputs).items(), self.noise, strict=True):
            error = torch.randn(examples, generator=generator, dtype=torch.float64)
            targets[name] = signal + noise / (1 + noise**2).sqrt() * error
        return MultiTaskData(inputs, targets)


def regression_truth(
    tasks: int = 8,
    relatedness: float | Sequence[float] = 1.0,
    unrelated: int = 0,
    *,
    groups: Sequence[int] | None = None,
    noise: float | Sequence[float] = 0.3,
    inputs: int = 8,
    features: int = 2,
    frequency: float = 1.2,
    seed: int = 0,
) -> RegressionTruth:
    """Draw the truth behind :func:`regression`; the same arguments give the same truth.

    Raises:
        ValueError: see :func:`regression`.
    """
    groups = [0] * tasks if groups is None else list(groups)
    rho = _one_each("relatedness", relatedness, tasks) + [0.0] * unrelated
    sigma = _one_each("noise", noise, tasks + unrelated)
    _check(tasks, unrelated, groups, rho, sigma, inputs, features)
    rng = _generator(seed, TRUTH)
    pools, total = max(groups) + 1, tasks + unrelated

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    shared = torch.linalg.qr(normal(inputs, pools * features))[0].T
    private = normal(total, inputs, features)
    private = torch.linalg.qr(private - shared.T @ (shared @ private))[0]  # at right angles to it
    on_shared, on_private = (F.normalize(normal(total, features), dim=1) for _ in range(2))
    loadings = torch.zeros(total, pools + total, features, dtype=torch.float64)
    for k, share in enumerate(rho):
        loadings[k, groups[k] if k < tasks else 0] = math.sqrt(share) * on_shared[k]
        loadings[k, pools + k] = math.sqrt(1 - share) * on_private[k]
    return RegressionTruth(
        directions=torch.cat([shared, private.transpose(1, 2).flatten(0, 1)]),
        loadings=loadings.flatten(1),
        noise=torch.tensor(sigma, dtype=torch.float64),
        frequency=frequency,
        shared=pools * features,
        names=tuple(f"task_{k + 1}" for k in range(tasks))
        + tuple(f"unrelated_{k + 1}" for k in range(unrelated)),
    )


def regression(
    tasks: int = 8,
    examples: int = 40,
    relatedness: float | Sequence[float] = 1.0,
    unrelated: int = 0,
    *,
    groups: Sequence[int] | None = None,
    noise: float | Sequence[float] = 0.3,
    inputs: int = 8,
    features: int = 2,
    frequency: float = 1.2,
    valid: int = 200,
    test: int = 1000,
    seed: int = 0,
) -> Splits:
    """Make regression tasks over a shared nonlinear feature of the same inputs.

    Args:
        tasks: K, tasks called ``task_1`` ... that use the shared feature.
        examples: training examples, each with a target for every task.
        relatedness: 0 to 1, one for all tasks or one each: the share of a task's signal variance
            that comes from the shared feature. The rest comes from a private feature of the same
            kind, at right angles to every shared one.
        unrelated: control tasks called ``unrelated_1`` ..., whose relatedness is 0.
        groups: the shared feature (0, 1, ...) of each task; None: one for all.
        noise: standard deviation of the noise where the signal has 1; one for all, or one each.
        inputs: D, numbers in one example.
        features: dimensions of each shared feature, and of each private one.
        frequency: how nonlinear: see :class:`RegressionTruth`.
        valid: validation examples.
        test: test examples; the same ones whatever ``examples`` is.
        seed: of everything. The truth is that of :func:`regression_truth` with these arguments.

    Returns:
        Inputs [N, D] and targets [N], float64, of population mean 0 and variance 1.

    Raises:
        ValueError: a relatedness outside 0..1, a wrong number of values, or too few inputs.
    """
    truth = regression_truth(
        tasks, relatedness, unrelated, groups=groups, noise=noise, inputs=inputs,
        features=features, frequency=frequency, seed=seed,
    )  # fmt: skip
    sizes = {TRAIN: examples, VALID: valid, TEST: test}
    return Splits(*(truth.sample(n, _generator(seed, part)) for part, n in sizes.items()))


def mmoe_weights(
    correlation: float, *, inputs: int = 100, scale: float = 1.0, seed: int = 0
) -> Tensor:
    """Draw the two weight vectors behind :func:`mmoe_synthetic`, [2, D].

    w_1 = c u_1 and w_2 = c (p u_1 + √(1 - p²) u_2), with orthogonal unit vectors u_1, u_2, so that
    their cosine is the correlation p and both have length ``scale`` (c).

    Raises:
        ValueError: the correlation is outside -1..1, or there are fewer than 2 inputs.
    """
    if not -1 <= correlation <= 1 or inputs < 2:
        raise ValueError(
            "correlation must lie in -1..1 and inputs must be at least 2; found "
            f"{correlation} and {inputs}"
        )
    random = torch.randn(inputs, 2, generator=_generator(seed, TRUTH), dtype=torch.float64)
    u1, u2 = torch.linalg.qr(random)[0].T
    return scale * torch.stack([u1, correlation * u1 + math.sqrt(1 - correlation**2) * u2])


def mmoe_synthetic(
    correlation: float,
    *,
    examples: int = 1000,
    inputs: int = 100,
    scale: float = 1.0,
    alphas: Sequence[float] = (1.0, 2.0, 3.0, 4.0),
    betas: Sequence[float] = (1.0, 2.0, 3.0, 4.0),
    noise: float = 0.1,
    valid: int = 500,
    test: int = 2000,
    seed: int = 0,
) -> Splits:
    """Make the two tasks of Ma et al. 2018, whose correlation is a dial.

    y_k = w_k·x + Σ_i sin(α_i w_k·x + β_i) + ε_k with standard normal x. The correlation p is the
    cosine of w_1 and w_2; the correlation of the *targets* grows with it but is another number.

    Args:
        correlation: p, -1 to 1: 1 makes the tasks the same but for their noise.
        examples: training examples.
        inputs: D, numbers in one example (100 in the paper).
        scale: c, the length of both weight vectors.
        alphas: α, the frequencies of the sines; the paper leaves them open.
        betas: β, their phases, as many.
        noise: standard deviation of ε (0.1: the paper's N(0, 0.01), its 0.01
            read as a variance).
        valid: validation examples.
        test: test examples; the same ones whatever ``examples`` is.
        seed: of everything; the weights are those of :func:`mmoe_weights`.

    Returns:
        Inputs [N, D]; targets [N] of ``task_1`` and ``task_2`` in the paper's own unit; float64.

    Raises:
        ValueError: as many alphas as betas are needed; see also :func:`mmoe_weights`.

    Source: Ma et al. 2018, KDD, doi:10.1145/3219819.3220007.
    """
    if len(alphas) != len(betas):
        raise ValueError(f"alphas and betas go together; found {len(alphas)} and {len(betas)}")
    weights = mmoe_weights(correlation, inputs=inputs, scale=scale, seed=seed)

    def draw(count: int, part: int) -> MultiTaskData:
        rng = _generator(seed, part)
        x = torch.randn(count, inputs, generator=rng, dtype=torch.float64)
        z = x @ weights.T
        sines = sum(torch.sin(a * z + b) for a, b in zip(alphas, betas, strict=True))
        y = z + sines + noise * torch.randn(count, 2, generator=rng, dtype=torch.float64)
        return MultiTaskData(x, {"task_1": y[:, 0], "task_2": y[:, 1]})

    return Splits(draw(examples, TRAIN), draw(valid, VALID), draw(test, TEST))


def _generator(seed: int, part: int) -> torch.Generator:
    """Give each part of each seed random numbers of its own, and far from a model's seed."""
    return make_generator(1_000_000_000 + 4 * whole_number("seed", seed) + part)


def _one_each(what: str, value: float | Sequence[float], count: int) -> list[float]:
    values = list(value) if isinstance(value, Sequence) else [value] * count
    if len(values) != count:
        raise ValueError(f"{what} needs one number, or one for each of the {count} tasks; "
                         f"found {len(values)}")  # fmt: skip
    return [float(v) for v in values]


def _check(
    tasks: int, unrelated: int, groups: list[int], rho: list[float], noise: list[float],
    inputs: int, features: int,
) -> None:  # fmt: skip
    if tasks < 1 or unrelated < 0:
        raise ValueError(f"tasks must be at least 1, unrelated at least 0: {tasks}, {unrelated}")
    if len(groups) != tasks or min(groups) < 0:
        raise ValueError(f"groups needs a number (0, 1, ...) for each of the {tasks} tasks; "
                         f"found {groups}")  # fmt: skip
    if not all(0 <= r <= 1 for r in rho):
        raise ValueError(f"relatedness must lie in 0..1; found {rho}")
    if min(noise) < 0:
        raise ValueError(f"noise is a standard deviation, at least 0; found {noise}")
    needed = (max(groups) + 2) * features
    if features < 1 or inputs < needed:
        raise ValueError(
            f"{features}-dimensional features need {needed} inputs (each shared feature and a "
            f"private one at right angles to them); found {inputs}. Raise inputs"
        )
