"""The pictures of the notebooks that go deeper than lesson 02, and runs that they do not teach."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from ipywidgets import FloatSlider, SelectionSlider
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from mtl_helpers.datasets import Splits
from mtl_helpers.datasets.linear import Draws
from mtl_helpers.datasets.linear import low_rank_tasks as low_rank_tasks
from mtl_helpers.datasets.linear import three_at_odds as three_at_odds
from mtl_helpers.datasets.linear import tied_tasks as tied_tasks
from mtl_helpers.datasets.regression import regression as related_tasks
from mtl_helpers.datasets.two_digits import TwoDigits
from mtl_helpers.datasets.two_digits import three_or_eight as three_or_eight
from mtl_helpers.experiments import many_seeds
from mtl_helpers.lessons.lesson_02.pictures import ONE, TWO, Bowl, bowls_explorer, mixed
from mtl_helpers.models import HardSharing
from mtl_helpers.tasks import Task
from mtl_helpers.teaching.curves import curves as curves
from mtl_helpers.teaching.explore import Explorer
from mtl_helpers.teaching.figures import (
    BLUE,
    GREY,
    SKY,
    VERMILLION,
    Picture,
    digits_grid,
    label,
    new_figure,
    task_style,
)

# --- What a weighted sum cannot reach ----------------------------------------------------------


def cloud(losses: Tensor, front: Tensor) -> Picture:
    """Draw models as points in the plane of their two losses.

    Args:
        losses: of N models, [N, 2].
        front: which of them no other dominates, bool [N].
    """
    figure, axes = new_figure(height=3.9)
    axes.plot(*losses[~front].T.tolist(), "o", color="0.72", markersize=4, linestyle="none")
    best = losses[front][losses[front][:, 0].argsort()]
    axes.step(*best.T.tolist(), where="post", color="black", linewidth=1, linestyle="dotted")
    axes.plot(*best.T.tolist(), "o", color="black", markersize=7, linestyle="none")
    axes.text(0.97, 0.93, "grey: dominated", color="0.4", ha="right", transform=axes.transAxes)
    axes.text(0.97, 0.84, "black: the front", ha="right", transform=axes.transAxes)
    axes.set_xlim(0, 1.05 * float(losses[:, 0].max()))
    axes.set_ylim(0, 1.25 * float(losses[:, 1].max()))
    label(axes, f"loss of {ONE}", f"loss of {TWO}")
    return Picture(figure, f"{len(losses)} models, {int(front.sum())} of them on the front.")


def weights_explorer(tasks: Mapping[str, tuple[Tensor, Tensor]]) -> Explorer:
    """Make the explorer of the weighted sum of two linear tasks: weight and number of steps."""
    describe = "Left: both losses over the two shared parameters. Right: over each other."
    return bowls_explorer(tasks, describe=describe)


def bent_explorer() -> Explorer:
    """Make the explorer of the bent front: weight and rule."""
    return Explorer(
        bent_front,
        weight=FloatSlider(0.5, min=0.1, max=0.9, step=0.05),
        rule=list(RULES),
        describe="Left: the bent front. Right: what is minimised, along the front.",
    )


def one_number_losses(inputs: Tensor, targets: Tensor, trunks: Tensor) -> Tensor:
    """Give the losses of linear networks with one shared number and the best heads for it.

    Args:
        inputs: [N, D].
        targets: [N, K].
        trunks: B weight vectors of the trunk, [B, D].

    Returns:
        Mean squared errors [B, K].
    """
    shared = inputs @ trunks.T
    heads = shared.T @ targets / shared.square().sum(0)[:, None]  # least squares, [B, K]
    return (targets[None] - shared.T[:, :, None] * heads[:, None]).square().mean(1)


def lowest_sum_trunks(inputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Give the trunks of the lowest weighted sums, when the inputs are uncorrelated.

    The weighted sum falls by u' M u with M = sum_k w_k c_k c_k', where u is the direction of the
    trunk and c_k the correlation of task k with the inputs; so the best u is M's first direction.

    Args:
        inputs: [N, D], as :func:`three_at_odds` gives them.
        targets: [N, K].
        weights: [B, K].
    """
    c = inputs.T @ targets / len(inputs)
    return torch.linalg.eigh(torch.einsum("bk,ik,jk->bij", weights, c, c)).eigenvectors[..., -1]


def train_one_number(
    inputs: Tensor,
    targets: Tensor,
    rule: Callable[[Tensor], Tensor],
    networks: int,
    steps: int = 800,
) -> Tensor:
    """Train linear networks with one shared number side by side, each from its own start.

    Args:
        inputs: [N, D].
        targets: [N, K].
        rule: losses [B, K] -> what each network minimises, [B].
        networks: B.
        steps: steps of Adam with rate 0.05, on all examples.

    Returns:
        The losses at the end, [B, K].
    """
    rng = torch.Generator().manual_seed(1)
    start = {"generator": rng, "dtype": torch.float64}
    trunk = torch.randn(networks, inputs.shape[1], **start).requires_grad_()
    heads = torch.randn(networks, targets.shape[1], **start).requires_grad_()
    optimizer = torch.optim.Adam([trunk, heads], lr=0.05)
    for _ in range(steps):
        outputs = (trunk @ inputs.T)[:, :, None] * heads[:, None]
        losses = (outputs - targets).square().mean(1)
        optimizer.zero_grad()
        rule(losses).sum().backward()
        optimizer.step()
    return losses.detach()


def worst_and_mean(models: Tensor, sums: Tensor, smooth: Tensor) -> Picture:
    """Draw for many models the worst of their losses against the mean of their losses.

    Args:
        models: losses of models taken at random, [N, K].
        sums: those of the lowest weighted sums, [B, K].
        smooth: those of one model, [K].
    """
    figure, axes = new_figure(height=3.9)
    for losses, look in (
        (models, {"marker": ".", "color": "0.8", "markersize": 3}),
        (sums, {"marker": "o", "color": "black", "markersize": 4}),
    ):
        places = losses.mean(1).tolist(), losses.max(1).values.tolist()
        axes.plot(*places, linestyle="none", **look)
    star = float(smooth.mean()), float(smooth.max())
    axes.plot(*star, "*", color=VERMILLION, markersize=16)
    axes.text(star[0] + 0.005, star[1] - 0.008, "smooth Tchebycheff", color=VERMILLION)
    axes.text(0.672, 0.72, "grey: any shared number", color="0.35")
    axes.text(0.655, 1.02, "black: lowest weighted sums")
    axes.set_ylim(0.6, 1.06)
    label(axes, "mean of the three losses", "worst of the three losses")
    says = (
        f"The worst loss of the weighted sums is at least {sums.max(1).values.min():.2f}; that of "
        f"the star is {star[1]:.2f}."
    )
    return Picture(figure, says)


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
    c = (0.7, 0.7). Some test libraries that cite them have the centres (1, -1) and (-1, 1), others
    +-1/sqrt(n) in each of n coordinates.
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
    titles = ("two linear tasks", "two losses made for trouble")
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


def laplacian(related: Tensor) -> Tensor:
    """Give M [K, K] with sum_kl M_kl theta_k . theta_l = sum_{i<j} A_ij |theta_i - theta_j|^2."""
    return torch.diag(related.sum(1)) - related


def solve_tied(inputs: Tensor, targets: Tensor, coupling: Tensor) -> Tensor:
    """Minimise all squared errors plus sum_kl M_kl theta_k . theta_l, as one linear system.

    Args:
        inputs: of each draw and task, [S, K, n, D].
        targets: [S, K, n].
        coupling: M, [K, K] or one for each draw, [S, K, K].

    Returns:
        The parameters of each task, [S, K, D].
    """
    draws, tasks, _, size = inputs.shape
    coupling = coupling.expand(draws, tasks, tasks)
    system = torch.einsum("skl,pq->skplq", coupling, torch.eye(size, dtype=inputs.dtype))
    system = system.reshape(draws, tasks * size, tasks * size).clone()
    for k in range(tasks):
        own = slice(k * size, (k + 1) * size)
        system[:, own, own] += inputs[:, k].mT @ inputs[:, k]
    right = (inputs.mT @ targets[..., None]).reshape(draws, -1)
    return torch.linalg.solve(system, right).view(draws, tasks, size)


class Chosen(NamedTuple):
    """What one way of tying reaches when its strength is chosen on validation data.

    Attributes:
        errors: root mean squared distance from the true parameters, [S].
        each: the same for each strength that was tried, [S, C].
        picked: which strength was chosen, [S].
        theta: the chosen parameters, [S, K, D].
    """

    errors: Tensor
    each: Tensor
    picked: Tensor
    theta: Tensor


def choose(draws: Draws, tried: Sequence[Tensor]) -> Chosen:
    """Choose among parameters [S, K, D] for each draw by the squared error on validation data."""
    x, y, true = draws
    on_valid = [
        ((x[:, 1] @ theta[..., None])[..., 0] - y[:, 1]).square().mean((1, 2)) for theta in tried
    ]
    picked = torch.stack(on_valid).argmin(0)
    off = torch.stack([(theta - true).square().sum(2).mean(1).sqrt() for theta in tried], 1)
    rows = torch.arange(len(picked))
    return Chosen(off[rows, picked], off, picked, torch.stack(tried, 1)[rows, picked])


def choose_tie(draws: Draws, couplings: Sequence[Tensor]) -> Chosen:
    """Solve with each coupling ([K, K] or [S, K, K]) and choose by the validation data."""
    x, y, _ = draws
    return choose(draws, [solve_tied(x[:, 0], y[:, 0], coupling) for coupling in couplings])


def learned_relations(draws: Draws, strengths: Sequence[float], rounds: int = 3) -> Chosen:
    """Learn the relations: in turns, solve for theta and set Omega to the root of theta theta'.

    The penalty is strength * tr(theta' Omega^-1 theta) / K, with tr(Omega) = 1 (and 0.001 on its
    diagonal, so that it can be inverted).

    Source: the alternation of Zhang and Yeung 2010, arXiv:1203.3536, with one strength.
    """
    tasks = draws[0].shape[2]
    eye = torch.eye(tasks, dtype=draws[0].dtype)
    found = choose_tie(draws, [strength * eye for strength in strengths])
    for _ in range(rounds):
        values, vectors = torch.linalg.eigh(found.theta @ found.theta.mT)
        root = (vectors * values.clamp(min=0).sqrt()[:, None]) @ vectors.mT
        omega = root / root.diagonal(dim1=1, dim2=2).sum(1)[:, None, None] + 1e-3 * eye
        inverse = torch.linalg.inv(omega) / tasks
        found = choose_tie(draws, [strength * inverse for strength in strengths])
    return found


def trace_norm(
    draws: Draws, strength: float, shrink: Callable[[Tensor, Tensor], Tensor], steps: int = 150
) -> Tensor:
    """Minimise half the squared errors plus strength times the sum of theta's singular values.

    Args:
        draws: as :func:`tied_tasks` gives them.
        strength: of the penalty.
        shrink: theta [S, K, D] and amounts [S, 1] -> theta with its singular values reduced.
        steps: of the accelerated proximal gradient method (Beck and Teboulle's FISTA).

    Returns:
        The parameters, [S, K, D].
    """
    x, y = draws[0][:, 0], draws[1][:, 0]
    square, right = x.mT @ x, (x.mT @ y[..., None])[..., 0]
    steepest = torch.linalg.matrix_norm(square, 2).amax(1)[:, None, None]
    theta = ahead = torch.zeros_like(right)
    now = 1.0
    for _ in range(steps):
        slope = (square @ ahead[..., None])[..., 0] - right
        new = shrink(ahead - slope / steepest, strength / steepest[:, :, 0])
        then = (1 + math.sqrt(1 + 4 * now * now)) / 2
        ahead, theta, now = new + (now - 1) / then * (new - theta), new, then
    return theta


def springs(theta: Tensor, related: Tensor) -> Picture:
    """Draw tasks with two parameters as dots, and springs between related ones.

    Args:
        theta: parameters of three tasks, [3, 2].
        related: A, [3, 3]; a spring is as thick as its entry.
    """
    pulls = 2 * (related[:, :, None] * (theta[None] - theta[:, None])).sum(1)
    figure, axes = new_figure(height=3.6)
    for i in range(len(theta)):
        for j in range(i):
            if related[i, j] > 0:
                ends = torch.stack([theta[i], theta[j]]).T.tolist()
                axes.plot(*ends, color="0.7", linewidth=4 * float(related[i, j]), linestyle="solid")
    for k, (place, pull) in enumerate(zip(theta.tolist(), pulls.tolist(), strict=True), 1):
        style = task_style(f"task_{k}")
        axes.plot(*place, style["marker"], color=style["color"], markersize=11)
        axes.text(place[0] + 0.08, place[1] + 0.16, f"task_{k}", color=style["color"])
        if any(pull):
            to = [p + 0.15 * q for p, q in zip(place, pull, strict=True)]
            look = {"arrowstyle": "-|>", "color": style["color"], "lw": 2.4}
            axes.annotate("", to, place, arrowprops=look)
    axes.set_xlim(0.5, 3.7)
    axes.set_ylim(-0.6, 3.6)
    label(axes, "parameter 1", "parameter 2")
    said = "; ".join(f"task_{k}: {p[0]:g}, {p[1]:g}" for k, p in enumerate(pulls.tolist(), 1))
    return Picture(figure, f"Pulls of the springs (minus the slope) on {said}.")


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


# --- Optimisers ----------------------------------------------------------------------------------

WALKERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "AdaGrad": torch.optim.Adagrad,
    "RMSProp": torch.optim.RMSprop,
    "Adam": torch.optim.Adam,
}
STEEP = 25.0  # how many times task_2's valley is steeper than task_1's


def walk(optimiser: str, rate: float, factor: float, steps: int = 60) -> Tensor:
    """Walk down x^2 / 2 + factor * 25 y^2 / 2 from (-4, 1): x is task_1's, y task_2's parameter.

    Returns:
        The places, [steps + 1, 2].
    """
    place = torch.tensor([-4.0, 1.0], dtype=torch.float64, requires_grad=True)
    stepper = WALKERS[optimiser]([place], lr=rate)
    slopes = torch.tensor([1.0, factor * STEEP], dtype=torch.float64)
    places = [place.detach().clone()]
    for _ in range(steps):
        place.grad = slopes * place.detach()
        stepper.step()
        places.append(place.detach().clone().clamp(-1e6, 1e6))
    return torch.stack(places)


def valley(optimiser: str = "SGD", rate: float = 0.05, louder: int = 1) -> Picture:
    """Draw the walk of an optimiser on the sum of two losses, and each loss by step.

    Args:
        optimiser: one of :data:`WALKERS`.
        rate: its learning rate.
        louder: what the loss of task_2 is multiplied by.
    """
    places = walk(optimiser, rate, louder)
    figure, (left, right) = new_figure(2, height=3.7)
    turn = np.linspace(0, 2 * math.pi, 100)
    for level in (0.5, 2, 5, 9, 14):
        x, y = math.sqrt(2 * level) * np.cos(turn), math.sqrt(2 * level / STEEP / louder)
        left.plot(x, y * np.sin(turn), color="0.8", linewidth=1, linestyle="solid")
    left.plot(*places.T.tolist(), color="black", marker=".", linewidth=1, linestyle="solid")
    left.plot(0, 0, "*", color="black", markerfacecolor="white", markersize=14)
    left.set_xlim(-4.6, 2.5)
    left.set_ylim(-1.4, 1.4)
    label(left, f"parameter of {ONE}", f"parameter of {TWO}", optimiser)
    for k, name in enumerate((ONE, TWO)):
        style = {**task_style(name), "marker": ""}
        right.plot(places[:, k].abs().clamp(1e-4, 1e2).tolist(), **style)
        right.text(1.5, (9, 30)[k], name, color=style["color"])
    right.set_yscale("log")
    right.set_ylim(1e-4, 1e2)
    label(right, "step", "distance from the best value")
    end = places[-1].abs()
    said = [f"{v:.2g}" if v < 100 else "more than 100" for v in end.clamp(min=1e-4).tolist()]
    says = (
        f"{optimiser}, rate {rate:g}, {TWO} times {louder}: after 60 steps {ONE} is {said[0]} "
        f"and {TWO} {said[1]} away."
    )
    return Picture(figure, says)


def valley_explorer() -> Explorer:
    """Make the explorer of the optimisers: which one, its rate, and how loud task_2 is."""
    return Explorer(
        valley,
        optimiser=list(WALKERS),
        rate=SelectionSlider(options=[0.01, 0.02, 0.05, 0.1, 0.2], value=0.05),
        louder=SelectionSlider(options=[1, 10, 100], value=1),
        describe="Left: the walk over the sum of two losses. Right: both distances by step.",
    )


# --- Averages of the parameters ------------------------------------------------------------------


def noisy_runs(betas: Sequence[float], seeds: int = 20, steps: int = 600) -> dict[str, Tensor]:
    """Train 20 linear parameters by SGD on batches of four, and keep averages on the side.

    Args:
        betas: of the exponential moving averages, which begin at the first parameters, zero.
        seeds: S, each with its own truth, batches and noise (of size 1).
        steps: T.

    Returns:
        The distance from the true parameters, [S, T + 1], of: "last parameters" (rate 0.02),
        "falling rate" (from 0.02 to 0), "small rate" (0.005), "mean of the last half" and, for
        each beta, "EMA beta" of the last parameters.
    """
    rng = torch.Generator().manual_seed(8)
    normal = {"generator": rng, "dtype": torch.float64}
    truth = torch.randn(seeds, 20, **normal)
    trained = ("last parameters", "falling rate", "small rate")
    names = (*trained, "mean of the last half", *(f"EMA {beta}" for beta in betas))
    at = {name: torch.zeros_like(truth) for name in names}
    history: dict[str, list[Tensor]] = {name: [] for name in names}
    for step in range(steps + 1):
        for name, now in at.items():
            history[name].append((now - truth).norm(dim=1))
        x, noise = torch.randn(seeds, 4, 20, **normal), torch.randn(seeds, 4, **normal)
        y = (x @ truth[:, :, None])[..., 0] + noise
        for name, rate in zip(trained, (0.02, 0.02 * (1 - step / steps), 0.005), strict=True):
            error = (x @ at[name][:, :, None])[..., 0] - y
            at[name] = at[name] - rate * 2 * (error[..., None] * x).mean(1)
        last = at["last parameters"]
        for beta in betas:
            at[f"EMA {beta}"] = beta * at[f"EMA {beta}"] + (1 - beta) * last
        if step >= steps // 2:
            half = at["mean of the last half"]
            at["mean of the last half"] = half + last / (steps - steps // 2)
    return {name: torch.stack(values, 1) for name, values in history.items()}


# --- Many labels ---------------------------------------------------------------------------------

WORDS = ("cat", "dog", "grass", "sky")


def competing(dog: float = 0.0) -> Picture:
    """Draw the probabilities of four words when the score of "dog" changes; the others stay.

    Args:
        dog: the score of the second word. The others have scores 2, 1 and -1.
    """
    scores = torch.tensor([2.0, dog, 1.0, -1.0], dtype=torch.float64)
    figure, both = new_figure(2, height=3.4)
    titles = ("one softmax: they add up to 1", "four yes/no questions")
    said = []
    for axes, found, title in zip(both, (scores.softmax(0), scores.sigmoid()), titles, strict=True):
        colours = [SKY if word != "dog" else VERMILLION for word in WORDS]
        axes.bar(WORDS, found.tolist(), color=colours, width=0.6)
        for k, value in enumerate(found.tolist()):
            axes.text(k, value + 0.02, f"{value:.2f}", ha="center")
        axes.set_ylim(0, 1.1)
        label(axes, "", "probability", title)
        said.append(", ".join(f"{w} {v:.2f}" for w, v in zip(WORDS, found.tolist(), strict=True)))
    return Picture(figure, f"Score of dog {dog:g}. Softmax: {said[0]}. Yes/no: {said[1]}.")


def competing_explorer() -> Explorer:
    """Make the explorer of competing and of separate answers."""
    return Explorer(
        competing,
        dog=FloatSlider(0.0, min=-4, max=6, step=0.5),
        describe="Probabilities of four words; left in one softmax, right as yes/no questions.",
    )


# --- Data preparation ----------------------------------------------------------------------------


def coin_flips(seed: int, scale_on: str = "train", select_on: str = "train") -> float:
    """Give the test accuracy (%) of a ridge classifier whose labels are coin flips.

    There are 50 training and 50 test rows with 1000 random inputs. The inputs are scaled, then the
    ten that go best with the labels are selected; each on the "train" rows or on "all" rows.
    """
    rng = torch.Generator().manual_seed(seed)
    normal = {"generator": rng, "dtype": torch.float64}
    x, y = torch.randn(100, 1000, **normal), torch.randn(100, **normal).sign()
    rows = {"train": slice(0, 50), "all": slice(0, 100)}
    known = x[rows[scale_on]]
    x = (x - known.mean(0)) / known.std(0)
    seen = rows[select_on]
    best = (x[seen] * y[seen, None]).mean(0).abs().topk(10).indices
    a = x[:50, best]
    theta = torch.linalg.solve(a.T @ a + 5 * torch.eye(10, dtype=x.dtype), a.T @ y[:50])
    return 100 * float(((x[50:, best] @ theta).sign() == y[50:]).double().mean())


def split_tables(rows: int = 8) -> Picture:
    """Draw which labels of two tasks are in training and in the test, split by row and by task."""
    figure, both = new_figure(2, height=3.6)
    half = rows // 2
    for axes, kind in zip(both, ("split by row", "split by task"), strict=True):
        for row in range(rows):
            for task in (0, 1):
                train = row < half if task == 0 or kind == "split by row" else row >= half
                look = {"facecolor": BLUE if train else VERMILLION, "edgecolor": "white"}
                axes.add_patch(Rectangle((task, rows - 1 - row), 1, 1, linewidth=3, **look))
                word = {"ha": "center", "va": "center", "color": "white", "fontsize": 11}
                word |= {"fontweight": "bold"}
                axes.text(task + 0.5, rows - row - 0.5, "train" if train else "test", **word)
        axes.set_xlim(-0.05, 2.05)
        axes.set_ylim(-0.05, rows + 0.05)
        axes.set_xticks([0.5, 1.5], [ONE, TWO])
        axes.set_yticks([])
        axes.grid(False)
        label(axes, "", "examples", kind)
    says = (
        f"{rows} examples with two labels each. By row: both labels of an example are on the same "
        f"side. By task: the test examples of {ONE} are training examples of {TWO}."
    )
    return Picture(figure, says)


def split_two_ways(seeds: Sequence[int], steps: int = 200) -> dict[str, tuple[Tensor, Tensor]]:
    """Train a linear network with four shared numbers on two nearly equal noisy tasks.

    Both tasks are the same linear function of 60 inputs; their noises (of size 1) have correlation
    0.9. Each task has 40 labelled training rows. All runs are made side by side.

    Returns:
        For "by row" and "by task" the RMSE of the first task on its test rows and on 200 fresh
        rows that nobody has seen, [S] each.
    """
    drawn, n = [], 40
    for seed in seeds:
        rng = torch.Generator().manual_seed(seed)
        normal = {"generator": rng, "dtype": torch.float64}
        x, w = torch.randn(2 * n + 200, 60, **normal), torch.randn(60, **normal) / math.sqrt(60)
        noise = torch.randn(2 * n + 200, 2, **normal)
        noise[:, 1] = 0.9 * noise[:, 0] + math.sqrt(1 - 0.9**2) * noise[:, 1]
        drawn.append((x, (x @ w)[:, None] + noise))
    x, y = (torch.stack(part) for part in zip(*drawn, strict=True))
    found = {}
    for how, own in (("by row", slice(0, n)), ("by task", slice(n, 2 * n))):
        rng = torch.Generator().manual_seed(0)
        trunk = torch.randn(len(x), 60, 4, generator=rng, dtype=x.dtype) / math.sqrt(60)
        heads = torch.ones(len(x), 4, 2, dtype=x.dtype)
        optimizer = torch.optim.Adam([trunk.requires_grad_(), heads.requires_grad_()], lr=0.01)
        for _ in range(steps):
            error = x[:, : 2 * n] @ trunk @ heads - y[:, : 2 * n]
            first, second = error[:, :n, 0], error[:, own, 1]
            optimizer.zero_grad()
            (first.square().mean(1) + second.square().mean(1)).sum().backward()
            optimizer.step()
        error = (x @ trunk @ heads - y).detach()[..., 0].square()
        found[how] = error[:, n : 2 * n].mean(1).sqrt(), error[:, 2 * n :].mean(1).sqrt()
    return found


# --- Noise and the worst case --------------------------------------------------------------------

LIMIT = 0.1  # how far each pixel may move; pixels lie between 0 and 1
KINDS = ("clean", "noise", "worst case")


def margins_of(
    data: TwoDigits, w: Tensor, b: Tensor, part: str, kind: str, rng: torch.Generator
) -> Tensor:
    """Give y (w x + b), with x clean, with random signs of size LIMIT added, or attacked.

    Args:
        data: the digits.
        w: weights of C classifiers for each split, [C, 10, 64].
        b: [C, 10, 1].
        part: one of the parts of the splits.
        kind: one of KINDS.
        rng: draws the noise.
    """
    rows = data.parts[part]
    x = data.pixels[rows]
    if kind == "noise":
        x = x + LIMIT * torch.randn(x.shape, generator=rng, dtype=x.dtype).sign()
    margin = data.sign[rows] * ((x @ w[..., None])[..., 0] + b)
    return margin - LIMIT * w.abs().sum(-1, keepdim=True) if kind == "worst case" else margin


class Robust(NamedTuple):
    """Classifiers trained in one way.

    Attributes:
        plain: for each kind of test the accuracy (%) without a penalty, [10].
        chosen: the same with the penalty that is best in the worst case on the "choose" rows.
        strengths: the penalties chosen, [10].
    """

    plain: dict[str, Tensor]
    chosen: dict[str, Tensor]
    strengths: Tensor


DECAYS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)


def train_robust(
    data: TwoDigits, kind: str, penalty: Callable[[Tensor], Tensor] = torch.square
) -> Robust:
    """Train linear classifiers on one kind of images, with seven strengths of a penalty.

    Args:
        data: the digits.
        kind: one of KINDS: what they are trained on.
        penalty: what is added up over the weights, times each of DECAYS.
    """
    rng = torch.Generator().manual_seed(0)
    decays = torch.tensor(DECAYS, dtype=torch.float64)
    w = torch.zeros(len(DECAYS), 10, 64, dtype=torch.float64, requires_grad=True)
    b = torch.zeros(len(DECAYS), 10, 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([w, b], lr=0.1)
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 300)
        optimizer.zero_grad()
        each = nn.functional.softplus(-margins_of(data, w, b, "learn", kind, rng)).mean(-1)
        (each + decays[:, None] * penalty(w).sum(-1)).sum().backward()
        optimizer.step()

    def right(part: str, tested: str) -> Tensor:
        found = margins_of(data, w, b, part, tested, rng).detach() > 0
        return 100 * found.double().mean(-1)

    best = right("choose", "worst case").argmax(0)
    tests = {tested: right("judge", tested) for tested in KINDS}
    rows = torch.arange(10)
    chosen = {tested: values[best, rows] for tested, values in tests.items()}
    return Robust({t: v[0] for t, v in tests.items()}, chosen, decays[best])


def attacked(data: TwoDigits, w: Tensor, b: float, row: int = 2) -> Picture:
    """Draw an image, the same with noise, and the same attacked, with their margins.

    Args:
        data: the digits.
        w: weights of one classifier, [64].
        b: its offset.
        row: which image.
    """
    x, y = data.pixels[row], float(data.sign[row])
    rng = torch.Generator().manual_seed(0)
    noise = LIMIT * torch.randn(64, generator=rng, dtype=x.dtype).sign()
    images = [x, x + noise, x - y * LIMIT * w.sign()]
    margins = [y * float(image @ w + b) for image in images]
    captions = [f"{kind}: {m:+.1f}" for kind, m in zip(KINDS, margins, strict=True)]
    figure = Figure(figsize=(6.4, 2.6), dpi=110, facecolor="white")
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.96))
    grid = torch.stack(images).view(3, 8, 8).clamp(0, 1)
    digits_grid(grid, captions, columns=3, axes=axes)
    for text in axes.texts:
        text.set_fontsize(12)
    says = f"Margins: {', '.join(captions)}; below zero the answer is wrong."
    return Picture(figure, says)
