"""The recorded study of lesson 02: twenty street corners, and whose mistakes the sum hears."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

import mtl_helpers.datasets.footsteps as datasets_footsteps
from mtl_helpers.datasets.base import MultiTaskData, Splits
from mtl_helpers.datasets.footsteps import footsteps
from mtl_helpers.teaching.studies import Sample, Study

Configuration = Mapping[str, Any]


class Arm(NamedTuple):
    """One way to learn the counters.

    Attributes:
        target: "count" or "log".
        own_scale: whether each counter is divided by its own standard deviation, or all of them by
            one number. Its own training mean is always subtracted, in every arm.
        learn_noise: whether the weights are learned as noise.
        alone: whether each counter has a network of its own.
        optimizer: "AdamW" or "SGD".
        poisson: whether the output is the log of the expected count, and the loss that of Poisson.
    """

    target: str = "count"
    own_scale: bool = False
    learn_noise: bool = False
    alone: bool = False
    optimizer: str = "AdamW"
    poisson: bool = False


ARMS = {
    "raw sum": Arm(),
    "standardised": Arm(own_scale=True),
    "learned noise": Arm(learn_noise=True),
    "raw sum, SGD": Arm(optimizer="SGD"),
    "standardised, SGD": Arm(own_scale=True, optimizer="SGD"),
    "alone": Arm(own_scale=True, alone=True),
    "logged sum": Arm("log"),
    "logged, standardised": Arm("log", own_scale=True),
    "logged, alone": Arm("log", own_scale=True, alone=True),
    "Poisson": Arm(poisson=True),
}
LINEAR = {"linear": "count", "logged, linear": "log"}  # ridge regression for each counter alone


class Scale(NamedTuple):
    """What was subtracted from the targets and what they were divided by, both [S, 1, K]."""

    shift: Tensor
    factor: Tensor

    @classmethod
    def of(cls, targets: Tensor, own: bool) -> Scale:
        """Measure training targets [S, N, K], ``nan`` where there is no label."""
        shift = targets.nanmean(1, keepdim=True)
        axes = 1 if own else (1, 2)
        spread = (targets - shift).square().nanmean(axes, keepdim=True).sqrt()
        return cls(shift, spread.expand_as(shift))

    def apply(self, targets: Tensor) -> Tensor:
        """Go from the target's own unit to the scaled one."""
        return (targets - self.shift) / self.factor

    def undo(self, outputs: Tensor) -> Tensor:
        """Go back to the target's own unit."""
        return outputs * self.factor + self.shift


def columns(part: MultiTaskData) -> Tensor:
    """Give the targets of all counters side by side, [N, K]."""
    return torch.stack(list(part.targets.values()), 1)


def first_parameters(seed: int, inputs: int, units: int, tasks: int) -> list[Tensor]:
    """Draw the parameters of a tanh layer and of linear heads, as ``nn.Linear`` does."""
    rng = torch.Generator().manual_seed(seed)
    sizes = [((inputs, units), inputs), ((1, units), inputs), ((units, tasks), units)]
    sizes.append(((1, tasks), units))
    kind = {"generator": rng, "dtype": torch.float64}
    return [(2 * torch.rand(size, **kind) - 1) / math.sqrt(fan) for size, fan in sizes]


def outputs_of(parameters: Sequence[Tensor], inputs: Tensor) -> Tensor:
    """Run S networks side by side: inputs [S, N, D] -> outputs [S, N, K]."""
    weight, bias, heads, head_bias = parameters
    return torch.tanh(inputs @ weight + bias) @ heads + head_bias


def fit(
    inputs: Tensor,
    targets: Tensor,
    start: Sequence[Tensor],
    *,
    lr: float,
    decay: float,
    steps: int,
    learn_noise: bool = False,
    optimizer: str = "AdamW",
    poisson: Tensor | None = None,
) -> tuple[list[Tensor], Tensor]:
    """Train S networks side by side, each on all of its rows at once.

    The optimiser treats each number alone, so that each network learns as if it were the only one.

    Args:
        inputs: [S, N, D].
        targets: [S, N, K], ``nan`` where there is no label.
        start: first parameters, S of each.
        lr: learning rate of the first step.
        decay: weight decay, of weights and not of biases.
        steps: how many; the learning rate falls to 0 along a straight line.
        learn_noise: minimise sum_k L_k / (2 sigma_k²) + log sigma_k, not sum_k L_k.
        optimizer: "AdamW" or "SGD".
        poisson: weights [S, K] of the Poisson losses exp(f) - y f of outputs f, instead of the
            squared errors.

    Returns:
        The parameters and sigma [S, K].
    """
    parameters = [p.clone().requires_grad_() for p in start]
    log_sigma = torch.zeros(len(inputs), targets.shape[2], dtype=inputs.dtype, requires_grad=True)
    plain = {"params": [parameters[1], parameters[3], log_sigma], "weight_decay": 0.0}
    decayed = {"params": [parameters[0], parameters[2]], "weight_decay": decay}
    stepper = getattr(torch.optim, optimizer)([decayed, plain], lr=lr)
    there = ~targets.isnan()
    safe, count = torch.where(there, targets, 0.0), there.sum(1)
    for step in range(steps):
        for group in stepper.param_groups:
            group["lr"] = lr * (1 - step / steps)
        said = outputs_of(parameters, inputs)
        each = (said - safe).square() if poisson is None else said.exp() - safe * said
        losses = torch.where(there, each, 0.0).sum(1) / count  # [S, K]
        losses = losses if poisson is None else losses * poisson
        if learn_noise:
            losses = losses / (2 * torch.exp(2 * log_sigma)) + log_sigma
        stepper.zero_grad()
        losses.sum().backward()
        stepper.step()
    return [p.detach() for p in parameters], log_sigma.detach().exp()


def ridge(inputs: Tensor, targets: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Fit a linear model with a penalty, for each of S tasks: [S, N, D], [S, N] -> [S, D], [S]."""
    x_mean, y_mean = inputs.mean(1, keepdim=True), targets.mean(1, keepdim=True)
    x, y = inputs - x_mean, targets - y_mean
    gram = x.mT @ x + strength * torch.eye(x.shape[2], dtype=x.dtype)
    slopes = torch.linalg.solve(gram, (x.mT @ y[..., None]))[..., 0]
    return slopes, y_mean[:, 0] - (x_mean[:, 0] * slopes).sum(1)


def rmse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Give each counter's error over its labelled rows: [N, K] both -> [K]."""
    return (outputs - targets).square().nanmean(0).sqrt()


def spread(targets: Tensor) -> Tensor:
    """Give each counter's standard deviation: the RMSE of the best constant, [N, K] -> [K]."""
    return rmse(targets.nanmean(0).expand_as(targets), targets)


class Trained(NamedTuple):
    """Networks of all seeds, and what belongs to them.

    Attributes:
        parameters: of the networks.
        sigma: learned noise [S, K], in the scaled unit.
        scale: of the targets.
        arm: how they were trained.
    """

    parameters: list[Tensor]
    sigma: Tensor
    scale: Scale
    arm: Arm

    def predict(self, place: int, inputs: Tensor) -> Tensor:
        """What the networks of seed number ``place`` say: [N, D] -> [N, K], in the old unit."""
        scale = Scale(*(part[place] for part in self.scale))
        tasks = scale.shift.shape[-1]
        if self.arm.alone:
            own = [p[place * tasks : (place + 1) * tasks] for p in self.parameters]
            return scale.undo(outputs_of(own, inputs.expand(tasks, -1, -1))[..., 0].T)
        outputs = outputs_of([p[place] for p in self.parameters], inputs)
        return scale.undo(outputs.exp() if self.arm.poisson else outputs)


def train(
    arm: Arm, data: Sequence[Splits], seeds: Sequence[int], units: int, **how: Any
) -> Trained:
    """Train an arm on the data of each seed; ``how`` goes to :func:`fit`."""
    inputs = torch.stack([part.train.inputs for part in data])
    targets = torch.stack([columns(part.train) for part in data])
    scale = Scale.of(targets, arm.own_scale)
    if arm.poisson:  # an output of 0 is then each counter's mean
        scale = Scale(torch.zeros_like(scale.shift), scale.shift)
    scaled, tasks = scale.apply(targets), targets.shape[2]
    heads, numbers = tasks, list(seeds)
    if arm.alone:  # rows come counter by counter
        inputs = inputs.reshape(len(seeds) * tasks, -1, inputs.shape[2])
        scaled = torch.cat([_own_rows(part) for part in scaled])
        heads, numbers = 1, [1000 + seed * tasks + k for seed in seeds for k in range(tasks)]
    drawn = [first_parameters(n, inputs.shape[2], units, heads) for n in numbers]
    start = [torch.stack(parts) for parts in zip(*drawn, strict=True)]
    own = {"learn_noise": arm.learn_noise, "optimizer": arm.optimizer}
    means = scale.factor[:, 0]  # y / mean instead of y: the loss is then the mean times smaller
    own["poisson"] = means / means.mean(1, keepdim=True) if arm.poisson else None
    return Trained(*fit(inputs, scaled, start, **own, **how), scale, arm)


def _own_rows(targets: Tensor) -> Tensor:
    """Give each counter's own labels: [K n, K] -> [K, n, 1]."""
    tasks = targets.shape[1]
    own = targets.reshape(tasks, -1, tasks)
    return torch.stack([own[k, :, k] for k in range(tasks)])[..., None]


def relative_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Give RMSE / standard deviation: 1 is as good as the best constant, [N, K] -> [K]."""
    return rmse(outputs, targets) / spread(targets)


def validated(nets: Trained, data: Sequence[Splits]) -> float:
    """Give the relative error on validation hours, averaged over counters and seeds."""
    errors = [
        relative_error(nets.predict(i, part.valid.inputs), columns(part.valid)).mean()
        for i, part in enumerate(data)
    ]
    mean = float(torch.stack(errors).mean())
    return math.inf if math.isnan(mean) else mean


def who_is_heard(configuration: Configuration, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Compare ways to add up the losses of 20 street corners.

    Every arm is tuned on the validation hours of other seeds, by the mean relative error.

    Returns:
        One row per arm and seed, with a number per counter: the relative test error in ``people``
        and in ``logs`` (a guess below zero people counts as zero there); the latter again where no
        guess goes below the counter's smallest training label, ``floored``; the part of the squared
        error in logs that guesses ``below`` zero make; the ``spread`` of the training labels, the
        noise ``sigma`` that was learned (in people), and the RMSE ``trained`` and ``tested`` in the
        target's own unit; besides, what was tuned.
    """
    rows = []
    for name in configuration["arms"]:
        target = LINEAR[name] if name in LINEAR else ARMS[name].target
        drawn = {
            key: [footsteps(configuration["hours"], target=target, seed=s) for s in numbers]
            for key, numbers in (("tune", configuration["tuning_seeds"]), ("test", seeds))
        }
        rows += (_linear if name in LINEAR else _network)(name, configuration, drawn, seeds)
    return rows


def _row(name: str, seed: int, data: Splits, said: Sequence[Tensor], **more: Any) -> dict[str, Any]:
    (trained, tested), test = said, columns(data.test)
    logged = name.startswith("logged")
    smallest = columns(data.train).nan_to_num(math.inf).amin(0)
    people = map(torch.expm1, (tested, test)) if logged else (tested, test)
    logs = [tested, test, tested.maximum(smallest)]
    logs = logs if logged else [torch.log1p(v.clamp(min=0)) for v in logs]
    squares = (logs[0] - logs[1]).square()
    below = torch.where(tested < 0, squares, 0.0).nansum(0) / squares.nansum(0)
    return {
        "arm": name,
        "seed": seed,
        "people": _rounded(relative_error(*people)),
        "logs": _rounded(relative_error(logs[0], logs[1])),
        "floored": _rounded(relative_error(logs[2], logs[1])),
        "below": _rounded(below),
        "spread": _rounded(spread(columns(data.train))),
        "trained": _rounded(rmse(trained, columns(data.train))),
        "tested": _rounded(rmse(tested, test)),
        **more,
    }


def _rounded(values: Tensor) -> list[float]:
    return [float(f"{v:.5g}") for v in values.tolist()]


def _network(
    name: str, configuration: Configuration, drawn: Mapping[str, list[Splits]], seeds: Sequence[int]
) -> list[dict[str, Any]]:
    arm, units, tune = ARMS[name], configuration["units"], configuration["tuning_seeds"]
    steps, tried = configuration["steps"], []
    for lr in configuration["rates"]:
        for decay in configuration["decays"]:
            nets = train(arm, drawn["tune"], tune, units, lr=lr, decay=decay, steps=steps)
            tried.append((validated(nets, drawn["tune"]), lr, decay))
    _, lr, decay = min(tried)
    nets = train(arm, drawn["test"], seeds, units, lr=lr, decay=decay, steps=steps)
    rows = []
    for i, (seed, part) in enumerate(zip(seeds, drawn["test"], strict=True)):
        sigma = (nets.sigma * nets.scale.factor[:, 0])[i] if arm.learn_noise else torch.zeros(0)
        said = [nets.predict(i, piece.inputs) for piece in (part.train, part.test)]
        chosen = {"sigma": _rounded(sigma), "lr": lr, "decay": decay}
        rows.append(_row(name, seed, part, said, **chosen))
    return rows


def _linear(
    name: str, configuration: Configuration, drawn: Mapping[str, list[Splits]], seeds: Sequence[int]
) -> list[dict[str, Any]]:
    def models(part: Splits, strength: float) -> tuple[Tensor, Tensor]:
        targets = columns(part.train)
        own = part.train.inputs.reshape(targets.shape[1], -1, part.train.inputs.shape[1])
        return ridge(own, _own_rows(targets)[..., 0], strength)

    def says(part: Splits, strength: float, inputs: Tensor) -> Tensor:
        slopes, rest = models(part, strength)
        return inputs @ slopes.T + rest

    tried = []
    for strength in configuration["strengths"]:
        errors = [
            relative_error(says(part, strength, part.valid.inputs), columns(part.valid)).mean()
            for part in drawn["tune"]
        ]
        tried.append((float(torch.stack(errors).mean()), strength))
    _, strength = min(tried)
    rows = []
    for seed, part in zip(seeds, drawn["test"], strict=True):
        said = [says(part, strength, piece.inputs) for piece in (part.train, part.test)]
        rows.append(_row(name, seed, part, said, sigma=[], strength=strength))
    return rows


HEARD = {
    "arms": [*ARMS, *LINEAR],
    "hours": 50,
    "units": 64,
    "rates": [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0],
    "decays": [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0],
    "steps": 300,
    "strengths": [0.1, 0.3, 1.0, 3.0, 10.0, 30.0],
    "tuning_seeds": [100, 101, 102],
}
STUDIES = [
    Study(
        name="02_who_is_heard",
        question="Which street corners does a plain sum over raw counts drown?",
        configuration=HEARD,
        run=who_is_heard,
        seeds=range(10),
        keys=("arm", "seed"),
        sample=Sample(
            configuration={**HEARD, "arms": ["linear", "logged, linear"]},
            tolerance=1e-4,
            seeds=[0, 1],
        ),
        code=[train, fit, ridge, Scale, Trained, datasets_footsteps],
    ),
]
