"""The pictures of lesson 02, and the runs that it measures but does not teach."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from mtl_helpers.teaching.figures import GREY, SKY, Picture, label, new_figure, task_style

ONE, TWO = "task_1", "task_2"
TURN = np.linspace(0, 2 * math.pi, 73)


class Bowl(NamedTuple):
    """The loss (t - c)' H (t - c) + rest of a linear model with two parameters t.

    Attributes:
        centre: c, where it is lowest, [2].
        curve: H, [2, 2].
        rest: the loss there.
    """

    centre: np.ndarray
    curve: np.ndarray
    rest: float

    @classmethod
    def of(cls, inputs: Tensor, target: Tensor) -> Bowl:
        """Take the mean squared error of inputs [N, 2] @ t against targets [N]."""
        x, y = inputs.double().numpy(), target.double().numpy()
        centre = np.linalg.lstsq(x, y, rcond=None)[0]
        return cls(centre, x.T @ x / len(x), float(np.mean((x @ centre - y) ** 2)))

    def loss(self, points: np.ndarray) -> np.ndarray:
        """Give the loss at points [..., 2]."""
        d = points - self.centre
        return np.einsum("...i,ij,...j->...", d, self.curve, d) + self.rest

    def gradient(self, point: np.ndarray) -> np.ndarray:
        """Give the gradient at a point [2]."""
        return 2 * self.curve @ (point - self.centre)

    def ring(self, above: float) -> np.ndarray:
        """Give the closed line on which the loss is ``above`` its lowest value, [P, 2]."""
        values, vectors = np.linalg.eigh(self.curve)
        circle = np.stack([np.cos(TURN), np.sin(TURN)], 1) * math.sqrt(above)
        return self.centre + circle / np.sqrt(values) @ vectors.T


def two_linear_tasks(examples: int = 40) -> dict[str, tuple[Tensor, Tensor]]:
    """Draw two linear tasks that want different values of the same two parameters.

    Returns:
        For "task_1" and "task_2" the inputs [N, 2] and the targets [N] (noise 0.3).
    """
    rng = torch.Generator().manual_seed(1)
    normal = {"generator": rng, "dtype": torch.float64}
    drawn = {}
    for name, wanted, mix in (
        (ONE, [1.0, -0.3], [[1.0, 0.4], [0.0, 0.5]]),
        (TWO, [-0.2, 1.0], [[0.5, 0.0], [-0.3, 1.0]]),
    ):
        inputs = torch.randn(examples, 2, **normal) @ torch.tensor(mix, dtype=torch.float64)
        target = inputs @ torch.tensor(wanted, dtype=torch.float64)
        drawn[name] = (inputs, target + 0.3 * torch.randn(examples, **normal))
    return drawn


def mixed(bowls: Sequence[Bowl], weights: Sequence[float]) -> Bowl:
    """Give the weighted sum of bowls, which is a bowl again."""
    curve = sum(w * b.curve for w, b in zip(weights, bowls, strict=True))
    pull = sum(w * b.curve @ b.centre for w, b in zip(weights, bowls, strict=True))
    centre = np.linalg.solve(curve, pull)
    rest = sum(w * float(b.loss(centre)) for w, b in zip(weights, bowls, strict=True))
    return Bowl(centre, curve, rest)


def two_bowls(
    tasks: Mapping[str, tuple[Tensor, Tensor]],
    start: tuple[float, float] = (-1.2, -1.0),
    rate: float = 0.2,
) -> Callable[..., Picture]:
    """Make the explorer's picture: two losses over two shared parameters, and over each other.

    Args:
        tasks: for each of two tasks its inputs [N, 2] and targets [N].
        start: parameters where gradient descent begins.
        rate: its learning rate.

    Returns:
        A function of ``weight``, that of the first task (the second has 1 - weight), and ``steps``,
        how many steps gradient descent on the weighted sum has taken.
    """
    names = list(tasks)
    bowls = [Bowl.of(*tasks[name]) for name in names]
    path_of_minima = [mixed(bowls, (w, 1 - w)).centre for w in np.linspace(0, 1, 41)]
    front = np.array(path_of_minima)
    front_losses = np.stack([b.loss(front) for b in bowls], 1)
    corner = np.concatenate([front, [start]])
    low, high = corner.min(0) - 0.55, corner.max(0) + 0.55

    def picture(weight: float = 0.5, steps: int = 0) -> Picture:
        weights = (weight, 1 - weight)
        total = mixed(bowls, weights)
        walk = [np.array(start, dtype=float)]
        for _ in range(steps):
            walk.append(walk[-1] - rate * total.gradient(walk[-1]))
        path, here = np.array(walk), walk[-1]
        pulls = [-w * b.gradient(here) for w, b in zip(weights, bowls, strict=True)]
        figure, (left, right) = new_figure(2, height=3.7)
        _rings(left, names, bowls, total)
        left.plot(*front.T, color="0.25", linewidth=1.2, linestyle="solid")
        left.plot(*path.T, color=GREY, linewidth=1.2, linestyle="solid")
        left.plot(*total.centre, "*", color="black", markerfacecolor="white", markersize=17)
        _arrows(left, here, names, pulls)
        left.plot(*here, "o", color="black", markersize=5)
        left.set_xlim(low[0], high[0])
        left.set_ylim(low[1], high[1])
        label(left, "shared parameter 1", "shared parameter 2", "losses over the parameters")
        losses = np.stack([b.loss(path) for b in bowls], 1)
        best = np.array([b.loss(total.centre) for b in bowls])
        _loss_plane(right, front_losses, losses, best, weights, names)
        lengths = [float(np.linalg.norm(p)) for p in pulls]
        both = float(np.linalg.norm(pulls[0] + pulls[1]))
        says = (
            f"Weight of {names[0]} {weight:.2f}, {steps} steps: losses {losses[-1, 0]:.2f} and "
            f"{losses[-1, 1]:.2f}; the weighted pulls have lengths {lengths[0]:.2f} and "
            f"{lengths[1]:.2f}, their sum {both:.2f}. Lowest sum at losses {best[0]:.2f} and "
            f"{best[1]:.2f}."
        )
        return Picture(figure, says)

    return picture


def _rings(axes: Axes, names: Sequence[str], bowls: Sequence[Bowl], total: Bowl) -> None:
    for above in (0.1, 0.4, 0.9):
        axes.plot(*total.ring(above).T, color="0.8", linewidth=1.6, linestyle="solid")
    for name, bowl in zip(names, bowls, strict=True):
        style = task_style(name)
        line = {"color": style["color"], "linestyle": style["linestyle"], "linewidth": 1.2}
        for above in (0.1, 0.4, 0.9):
            axes.plot(*bowl.ring(above).T, **line)
        axes.plot(*bowl.centre, style["marker"], color=style["color"], markersize=7)


def _arrows(axes: Axes, here: np.ndarray, names: Sequence[str], pulls: list[np.ndarray]) -> None:
    colours = [task_style(name)["color"] for name in names]
    both = pulls[0] + pulls[1]
    longest = max(float(np.linalg.norm(pull)) for pull in (*pulls, both))
    scale = min(1.6, 1 / max(longest, 1e-9))  # long ones are all shortened alike
    for pull, colour in zip([both, *pulls], ["black", *colours], strict=True):
        if np.linalg.norm(pull) * scale > 0.06:
            look = {"arrowstyle": "-|>", "color": colour, "lw": 2.4, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", here + scale * pull, here, arrowprops=look, annotation_clip=True)


def _loss_plane(
    axes: Axes,
    front: np.ndarray,
    walk: np.ndarray,
    best: np.ndarray,
    weights: tuple[float, float],
    names: Sequence[str],
) -> None:
    top = 1.35 * front.max(0)
    axes.plot(*front.T, color="0.25", linewidth=2, linestyle="solid")
    axes.plot(*walk.T, color=GREY, linewidth=1.2, linestyle="solid")
    along = np.array([-weights[1], weights[0]]) * 10  # points whose weighted sum is the same
    axes.plot(*np.stack([best - along, best + along], 1), color=SKY, linewidth=1.6, ls="dashed")
    axes.plot(*best, "*", color="black", markerfacecolor="white", markersize=17)
    axes.plot(*walk[-1], "o", color="black", markersize=5)
    axes.set_xlim(0, top[0])
    axes.set_ylim(0, top[1])
    label(axes, f"loss of {names[0]}", f"loss of {names[1]}", "losses over each other")


# --- Uncertainty weighting --------------------------------------------------------------------


def noise_valley(error_1: float = 0.01, error_2: float = 9.0, clip: bool = False) -> Picture:
    """Draw the total of uncertainty weighting over both sigmas, and gradient descent on it.

    Args:
        error_1: mean squared error of the first task, held fixed.
        error_2: that of the second.
        clip: whether a total below zero is replaced by zero.

    Each step goes 0.1 times the slope in log sigma; slopes beyond 3 are cut to 3, so that a large
    error does not throw the walk out of the picture.
    """
    errors = np.array([error_1, error_2])
    log_sigma = np.zeros(2)
    path, totals = [log_sigma], [_total(errors, log_sigma)]
    for _ in range(80):
        slope = 1 - errors * np.exp(-2 * log_sigma)
        slope = np.zeros(2) if clip and totals[-1] < 0 else slope
        log_sigma = log_sigma - 0.1 * np.clip(slope, -3, 3)
        path.append(log_sigma)
        totals.append(_total(errors, log_sigma))
    shown = np.maximum(totals, 0) if clip else np.array(totals)
    best = np.log(errors) / 2
    figure, (left, right) = new_figure(2, height=3.7)
    _valley(left, errors)
    left.plot(*np.array(path).T, color="black", linewidth=1.8, linestyle="solid")
    left.plot(*best, "*", color="black", markersize=14)
    left.plot(*path[-1], "o", color="black", markerfacecolor="white", markersize=7)
    ticks = np.log([0.05, 0.2, 1, 4])
    left.set_xticks(ticks, ["0.05", "0.2", "1", "4"])
    left.set_yticks(ticks, ["0.05", "0.2", "1", "4"])
    shade = "shaded: total below zero" if _total(errors, best) < 0 else "total, never below zero"
    label(left, f"sigma of {ONE} (log scale)", f"sigma of {TWO} (log scale)", shade)
    right.plot(shown, color="black", linestyle="solid")
    right.axhline(0, color=SKY, linewidth=2, linestyle="dashed")
    title = "total, clipped at zero" if clip else "total during training"
    label(right, "training step", "total loss", title)
    end = np.exp(path[-1])
    says = (
        f"Mean squared errors {error_1:g} and {error_2:g}{', clipped at zero' if clip else ''}: "
        f"sigma ends at {end[0]:.2f} and {end[1]:.2f}; the best are {math.sqrt(error_1):.2f} and "
        f"{math.sqrt(error_2):.2f}. The total ends at {shown[-1] + 0.0:.2f}; the lowest is "
        f"{_total(errors, best):.2f}."
    )
    return Picture(figure, says)


def _total(errors: np.ndarray, log_sigma: np.ndarray) -> float:
    return float((errors * np.exp(-2 * log_sigma) / 2 + log_sigma).sum())


def _valley(axes: Axes, errors: np.ndarray) -> None:
    low, high = math.log(0.04), math.log(6)
    grid = np.linspace(low, high, 61)
    one, two = (e * np.exp(-2 * grid) / 2 + grid for e in errors)
    surface = one[None, :] + two[:, None]
    axes.contourf(grid, grid, surface, levels=[-1e9, 0], colors=["#CFE8F7"])
    axes.contour(
        grid, grid, surface, levels=[-2, -1, 0, 1, 2, 4, 8], colors="0.6",
        linewidths=[1, 1, 2.2, 1, 1, 1, 1], linestyles="solid",
    )  # fmt: skip
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)


# --- Runs that the lesson measures ------------------------------------------------------------


def path_of(
    make_optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    factor: float,
    combine: Callable[[Tensor], Tensor] = torch.sum,
    steps: int = 20,
) -> dict[str, Tensor]:
    """Train a small trunk with two heads, and give how far each weight matrix has moved.

    Every call starts at the same parameters and sees the same batches of 16 (20 of them, in turns).

    Args:
        make_optimizer: makes an optimiser for a list of parameters.
        factor: what the loss of the second head is multiplied by.
        combine: both losses [2] -> what is minimised.
        steps: how many steps are taken.

    Returns:
        For "trunk", "head 1" and "head 2" the end minus the start of its weights, flattened.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        inputs = torch.randn(20, 16, 4, dtype=torch.float64)
        answers = torch.randn(20, 16, 2, dtype=torch.float64)
        torch.manual_seed(0)
        shapes = {"trunk": (4, 3), "head 1": (3, 1), "head 2": (3, 1)}
        parts = {n: nn.Linear(*shape, dtype=torch.float64) for n, shape in shapes.items()}
    start = {name: part.weight.detach().clone() for name, part in parts.items()}
    optimizer = make_optimizer([p for part in parts.values() for p in part.parameters()])
    scale = torch.tensor([1.0, factor], dtype=torch.float64)
    for step in range(steps):
        features = torch.tanh(parts["trunk"](inputs[step % 20]))
        outputs = torch.cat([parts["head 1"](features), parts["head 2"](features)], 1)
        losses = (outputs - answers[step % 20]).square().mean(0)
        optimizer.zero_grad()
        combine(scale * losses).backward()
        optimizer.step()
    return {name: (part.weight.detach() - start[name]).flatten() for name, part in parts.items()}


def longer_and_turned(way: Tensor, other: Tensor) -> tuple[float, float]:
    """Say how many times longer a way [P] is than another, and by how many degrees it is turned."""
    cosine = torch.nn.functional.cosine_similarity(way, other, 0).clamp(-1, 1)
    return float(way.norm() / other.norm()), math.degrees(cosine.acos())
