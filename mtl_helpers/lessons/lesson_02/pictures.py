"""The pictures of lesson 02, and the runs that it measures but does not teach."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from mtl_helpers.datasets import Splits
from mtl_helpers.datasets.regression import regression as related_tasks
from mtl_helpers.experiments import many_seeds
from mtl_helpers.metrics import Interval, mean_interval
from mtl_helpers.models import HardSharing
from mtl_helpers.tasks import Task
from mtl_helpers.teaching.figures import GREY, SKY, Picture, band, label, new_figure, task_style

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


# --- A front that bends the other way ---------------------------------------------------------

APART = 0.7  # the two tasks want the parameters (0.7, 0.7) and (-0.7, -0.7)
RULES = {
    "weighted sum": None,
    "smooth, mu 0.3": 0.3,
    "smooth, mu 0.1": 0.1,
    "smooth, mu 0.03": 0.03,
}


MIDDLE = 0.1  # a compromise is a place where both losses are above this


def bent_losses(parameters: Tensor) -> Tensor:
    """Give two losses whose front bends outwards between its ends: [..., 2] -> losses [..., 2].

    Source: after Fonseca & Fleming 1995, doi:10.1162/evco.1995.3.1.1, in two dimensions, with
    c = (0.7, 0.7); test libraries that cite them have the centres (1, -1) and (-1, 1).
    """
    far = [(parameters - c).square().sum(-1) for c in (APART, -APART)]
    return 1 - torch.exp(-torch.stack(far, -1))


def combined(losses: Tensor, weights: Tensor, mu: float | None) -> Tensor:
    """Give the weighted sum (mu None) or the smooth Tchebycheff value: [..., K] -> [...]."""
    if mu is None:
        return (weights * losses).sum(-1)
    return mu * torch.logsumexp(weights * losses / mu, -1)


def two_fronts(tasks: Mapping[str, tuple[Tensor, Tensor]]) -> Picture:
    """Draw the fronts of two linear tasks and of the bent losses side by side.

    Args:
        tasks: for each of two linear tasks its inputs [N, 2] and targets [N].
    """
    bowls = [Bowl.of(*task) for task in tasks.values()]
    centres = np.array([mixed(bowls, (w, 1 - w)).centre for w in np.linspace(0, 1, 41)])
    inwards = np.stack([bowl.loss(centres) for bowl in bowls], 1)
    place = torch.linspace(-APART, APART, 281, dtype=torch.float64)
    outwards = bent_losses(place[:, None].expand(-1, 2)).numpy()
    figure, both = new_figure(2, height=3.7)
    titles = ("the two linear tasks", "made for trouble")
    for axes, front, title in zip(both, (inwards, outwards), titles, strict=True):
        axes.plot(*front.T, color="0.25", linewidth=2, linestyle="solid")
        axes.plot(*front[[0, -1]].T, color=GREY, linewidth=1.2, linestyle="dashed")
        axes.set_xlim(0, 1.12 * front[:, 0].max())
        axes.set_ylim(0, 1.12 * front[:, 1].max())
        label(axes, f"loss of {ONE}", f"loss of {TWO}", title)
    _corner(both[1])
    straight = [_half_way(front) for front in (inwards, outwards)]
    says = (
        f"Half-way along the straight line between its ends, the left front lies "
        f"{straight[0]:.2f} nearer to the corner (0, 0) than the line; the right front lies "
        f"{-straight[1]:.2f} farther away."
    )
    return Picture(figure, says)


def _half_way(front: np.ndarray) -> float:
    """How far the line between the ends lies outside the front, along the way to its middle."""
    middle = (front[0] + front[-1]) / 2
    angles = np.arctan2(front[:, 1], front[:, 0])
    here = int(np.abs(angles - np.arctan2(middle[1], middle[0])).argmin())
    return float(np.linalg.norm(middle) - np.linalg.norm(front[here]))


def _corner(axes: Axes) -> None:
    """Mark the places where both losses are above :data:`MIDDLE`."""
    for draw in (axes.axhline, axes.axvline):
        draw(MIDDLE, color="0.6", linewidth=1, linestyle="dotted")


def bent_front(weight: float = 0.5, rule: str = "weighted sum") -> Picture:
    """Draw the bent front, and what the rule makes of it along the front.

    On the front both parameters are equal, and descent that starts there stays there; it comes to
    rest in a valley of the right-hand curve.

    Args:
        weight: of the first task; the second has 1 - weight.
        rule: one of :data:`RULES`.
    """
    mu = RULES[rule]
    place = torch.linspace(-APART, APART, 281, dtype=torch.float64)
    losses = bent_losses(place[:, None].expand(-1, 2))
    weights = torch.tensor([weight, 1 - weight], dtype=torch.float64)
    values = combined(losses, weights, mu)
    padded = torch.nn.functional.pad(values, (1, 1), value=math.inf)
    rests = ((padded[1:-1] < padded[:-2]) & (padded[1:-1] <= padded[2:])).nonzero()[:, 0]
    figure, (left, right) = new_figure(2, height=3.7)
    left.plot(*losses.T.tolist(), color="0.25", linewidth=2, linestyle="solid")
    for axes, x, y in ((left, losses[rests, 0], losses[rests, 1]), (right, place[rests], None)):
        y = values[rests] if y is None else y
        axes.plot(x.tolist(), y.tolist(), "*", color="black", markersize=14, clip_on=False)
    _corner(left)
    if len(rests):
        _level(left, float(values[rests].min()), weights, mu)
    left.set_xlim(0, 1.1)
    left.set_ylim(0, 1.1)
    label(left, f"loss of {ONE}", f"loss of {TWO}", "losses over each other")
    right.plot(place.tolist(), values.tolist(), color="0.25", linewidth=2, linestyle="solid")
    right.set_ylim(0, 1.05 * float(values.max()))
    for name, x in ((TWO, -APART), (ONE, APART)):
        style = task_style(name)
        right.plot(x, 0, style["marker"], color=style["color"], markersize=9, clip_on=False)
    label(right, "place on the front (parameter)", "what is minimised", rule)
    found = ", ".join(f"({a:.2f}, {b:.2f})" for a, b in losses[rests].tolist())
    middle = int((losses[rests].min(1).values > MIDDLE).sum())
    says = (
        f"{rule[0].upper()}{rule[1:]}, weight of {ONE} {weight:.2f}: descent along the front can "
        f"rest at losses {found}; places where both losses are above 0.1: {middle}."
    )
    return Picture(figure, says)


def _level(axes: Axes, value: float, weights: Tensor, mu: float | None) -> None:
    """Draw the line of losses that the rule finds as good as ``value``."""
    first = np.linspace(0, 1.1, 200)
    w = weights.tolist()
    if mu is None:
        second = (value - w[0] * first) / w[1]
    else:
        left = np.exp(value / mu) - np.exp(w[0] * first / mu)
        second = np.full_like(first, np.nan)
        second[left > 1e-12] = mu * np.log(left[left > 1e-12]) / w[1]
    axes.plot(first, second, color=SKY, linewidth=1.6, linestyle="dashed")


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


# --- Curves with bands ------------------------------------------------------------------------


def curves(
    x: Sequence[float],
    lines: Mapping[str, Tensor],
    *,
    x_label: str,
    y_label: str,
    styles: Mapping[str, str] | None = None,
    log: bool = False,
    marks: Mapping[str, Sequence[float]] | None = None,
    top: float | None = None,
    ticks: Sequence[str] | None = None,
) -> Picture:
    """Draw means over seeds with their 95 % bands.

    Args:
        x: P places.
        lines: for each name one value a seed and place, [S, P].
        x_label: what x is, with its unit.
        y_label: what the values are, with their unit.
        styles: for a name the task whose colour, marker and line it takes; itself when left out.
        log: whether x is drawn logarithmically.
        marks: for a name places on the x axis where a line is drawn in its colour.
        top: upper end of the y axis.
        ticks: what is written below each place when ``log``; the places themselves when left out.
    """
    figure, axes = new_figure(width=6.2, height=3.6)
    said = []
    for name, values in lines.items():
        found = [mean_interval(column) for column in values.T]
        style = {**task_style((styles or {}).get(name, name)), "markevery": max(1, len(x) // 8)}
        band(axes, x, *_ends(found), name, **{k: style[k] for k in ("color", "marker")},
             linestyle=style["linestyle"])  # fmt: skip
        lowest = min(range(len(x)), key=lambda i: found[i].mean)
        said.append(f"{name} lowest at {x[lowest]:.3g} ({found[lowest].mean:.2f})")
        for place in (marks or {}).get(name, ()):
            axes.axvline(place, color=style["color"], linewidth=1.4, linestyle="dotted")
    if log:
        axes.set_xscale("log")
        axes.set_xticks(list(x), ticks or [f"{place:g}" for place in x])
        axes.minorticks_off()
    axes.set_ylim(0, top)
    close = {"columnspacing": 1.2, "handlelength": 1.6} if len(lines) > 3 else {}
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.47, 0.99), ncols=max(3, len(lines)), frameon=False,
        fontsize="small", **close,
    )  # fmt: skip
    label(axes, x_label, y_label)
    return Picture(figure, "; ".join(said) + ".")


def _ends(found: Sequence[Interval]) -> tuple[list[float], list[float], list[float]]:
    return [i.mean for i in found], [i.low for i in found], [i.high for i in found]


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


def laplacian(related: Tensor) -> Tensor:
    """Give M [K, K] with sum_kl M_kl theta_k . theta_l = sum_{i<j} A_ij |theta_i - theta_j|^2."""
    return torch.diag(related.sum(1)) - related


def tied_tasks(
    seeds: Sequence[int], tasks: int = 8, examples: int = 8, inputs: int = 5
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw linear tasks in two groups; inside a group the true parameters are close.

    Args:
        seeds: one draw each, S in all.
        tasks: K, half of them in each group.
        examples: n, of training and of validation alike.
        inputs: D.

    Returns:
        Inputs [S, 2, K, n, D] (training and validation), targets [S, 2, K, n] and the true
        parameters [S, K, D].
    """
    drawn = []
    for seed in seeds:
        rng = torch.Generator().manual_seed(seed)
        normal = {"generator": rng, "dtype": torch.float64}
        centres = torch.randn(2, inputs, **normal).repeat_interleave(tasks // 2, 0)
        true = centres + 0.4 * torch.randn(tasks, inputs, **normal)
        x = torch.randn(2, tasks, examples, inputs, **normal)
        y = (x @ true[:, :, None])[..., 0] + 0.5 * torch.randn(2, tasks, examples, **normal)
        drawn.append((x, y, true))
    x, y, true = (torch.stack(part) for part in zip(*drawn, strict=True))
    return x, y, true


def solve_tied(inputs: Tensor, targets: Tensor, coupling: Tensor) -> Tensor:
    """Minimise all squared errors plus sum_kl M_kl theta_k . theta_l, as one linear system.

    Args:
        inputs: of each draw and task, [S, K, n, D].
        targets: [S, K, n].
        coupling: M, [K, K].

    Returns:
        The parameters of each task, [S, K, D].
    """
    draws, tasks, _, size = inputs.shape
    system = torch.kron(coupling, torch.eye(size, dtype=inputs.dtype)).repeat(draws, 1, 1)
    for k in range(tasks):
        own = slice(k * size, (k + 1) * size)
        system[:, own, own] += inputs[:, k].mT @ inputs[:, k]
    right = (inputs.mT @ targets[..., None]).reshape(draws, -1)
    return torch.linalg.solve(system, right).view(draws, tasks, size)


def stopping_runs(tasks: Sequence[Task], seeds: Sequence[int] = range(30)) -> dict[str, Tensor]:
    """Train a small network for 200 rounds on 40 examples, and look at it every ten rounds.

    The runs are made twice, with the same numbers: once the validation data and once the test data
    stand where ``many_seeds`` records a curve. The training never sees either.

    Args:
        tasks: one or both of "task_1" (noise 0.1) and "task_2" (noise 1).
        seeds: one run each, S in all.

    Returns:
        For "valid" and "test" the squared errors, [S, 21, tasks].
    """

    def make() -> HardSharing:
        kind = {"dtype": torch.float64}
        layers = [nn.Linear(8, 16, **kind), nn.Tanh(), nn.Linear(16, 8, **kind), nn.Tanh()]
        return HardSharing.linear(nn.Sequential(*layers), tasks)

    found = {}
    for part in ("valid", "test"):

        def data(seed: int, part: str = part) -> Splits:
            drawn = related_tasks(tasks=2, examples=40, noise=[0.1, 1.0], valid=40, seed=seed)
            return Splits(drawn.train, getattr(drawn, part), drawn.test)

        runs = many_seeds(
            make, tasks, data, seeds=seeds, steps=200, batch_size=None, lr=0.02, record_every=10
        )
        found[part] = torch.stack([runs.curves.losses[task.name] for task in tasks], 2)
    return found
