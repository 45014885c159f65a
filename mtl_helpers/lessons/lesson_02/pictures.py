"""The pictures of lesson 02, and the runs that it measures but does not teach."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from ipywidgets import FloatLogSlider, FloatSlider, IntSlider
from matplotlib.axes import Axes
from torch import Tensor, nn

from mtl_helpers.datasets.footsteps import FEW_HOURS, Footsteps
from mtl_helpers.datasets.linear import two_linear_tasks as two_linear_tasks
from mtl_helpers.metrics import Interval, paired_interval
from mtl_helpers.teaching.diagrams import Diagram, arrow, box, canvas, write
from mtl_helpers.teaching.explore import Explorer
from mtl_helpers.teaching.figures import (
    BLUE,
    GREY,
    SKY,
    VERMILLION,
    Picture,
    label,
    name_mark,
    new_figure,
    task_style,
    whisker,
)

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
    low, high = corner.min(0) - 0.55, corner.max(0) + np.array([1.3, 0.55])  # room for names

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
        name_mark(left, "lowest sum", total.centre, (10, 8))
        if np.linalg.norm(here - total.centre) > 0.12:  # else the dot lies in the star
            name_mark(left, "now", here, (-8, -8))
        if steps:
            name_mark(left, "start", walk[0], (6, -3))
        left.set_xlim(low[0], high[0])
        left.set_ylim(low[1], high[1])
        label(left, "shared parameter 1", "shared parameter 2", "arrows: each task's pull")
        losses = np.stack([b.loss(path) for b in bowls], 1)
        best = np.array([b.loss(total.centre) for b in bowls])
        _loss_plane(right, front_losses, losses, best, names)
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


def bowls_explorer(tasks: Mapping[str, tuple[Tensor, Tensor]], **words: str) -> Explorer:
    """Make the explorer of :func:`two_bowls`, at rest; words: its question."""
    weight = FloatSlider(0.5, min=0, max=1, step=0.05)
    steps = IntSlider(60, min=0, max=60)
    return Explorer(two_bowls(tasks), weight=weight, steps=steps, **words)


def _rings(axes: Axes, names: Sequence[str], bowls: Sequence[Bowl], total: Bowl) -> None:
    for above in (0.1, 0.4, 0.9):
        axes.plot(*total.ring(above).T, color="0.8", linewidth=1.6, linestyle="solid")
    for name, bowl in zip(names, bowls, strict=True):
        style = task_style(name)
        line = {"color": style["color"], "linestyle": style["linestyle"], "linewidth": 1.2}
        for above in (0.1, 0.4, 0.9):
            axes.plot(*bowl.ring(above).T, **line)
        axes.plot(*bowl.centre, style["marker"], color=style["color"], markersize=7)
    for name, bowl, at in zip(names, bowls, [(8, -12), (-8, 8)], strict=True):
        name_mark(axes, name, bowl.centre, at, task_style(name)["color"])


def _arrows(axes: Axes, here: np.ndarray, names: Sequence[str], pulls: list[np.ndarray]) -> None:
    colours = [task_style(name)["color"] for name in names]
    both = pulls[0] + pulls[1]
    longest = max(float(np.linalg.norm(pull)) for pull in (*pulls, both))
    scale = min(1.6, 1 / max(longest, 1e-9))  # long ones are all shortened alike
    for pull, colour in zip([both, *pulls], ["black", *colours], strict=True):
        if np.linalg.norm(pull) * scale > 0.06:
            look = {"arrowstyle": "-|>", "color": colour, "lw": 2.4, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", here + scale * pull, here, arrowprops=look, annotation_clip=True)
            if colour == "black" and scale == 1 / longest:
                name_mark(axes, "sum", here + scale * pull, (8, -4))


def _loss_plane(
    axes: Axes,
    front: np.ndarray,
    walk: np.ndarray,
    best: np.ndarray,
    names: Sequence[str],
) -> None:
    top = 1.35 * front.max(0)
    axes.plot(*front.T, color="0.25", linewidth=2, linestyle="solid")
    axes.plot(*walk.T, color=GREY, linewidth=1.2, linestyle="solid")
    axes.plot(*best, "*", color="black", markerfacecolor="white", markersize=17)
    axes.plot(*walk[-1], "o", color="black", markersize=5)
    axes.set_xlim(0, top[0])
    axes.set_ylim(0, top[1])
    name_mark(axes, "all that weights can reach", front[-4], (10, 1))
    name_mark(axes, "lowest sum", best, (8, 8) if best[0] < top[0] / 2 else (-4, 12))
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
    name_mark(left, "start", path[0], (5, 4))
    name_mark(left, "best", best, (8, -6))
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


def noise_explorer(question: str) -> Explorer:
    """Make the explorer of :func:`noise_valley`."""
    errors = {
        name: FloatLogSlider(start, base=10, min=-2, max=1, step=0.25)
        for name, start in (("error_1", 0.01), ("error_2", 0.1))
    }
    return Explorer(noise_valley, **errors, clip=False, question=question)


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


# --- The street corners -----------------------------------------------------------------------

QUIET, BUSY = "1 Courthouse Lane", "30 Queen Street"


def one_week(table: Footsteps) -> Picture:
    """Draw a week of March 2023 at a quiet and at a busy corner: as counts, and as logarithms."""
    start = int((table.hours == np.datetime64("2023-03-06T00", "h")).argmax())
    rows = slice(start, start + 168)
    figure, both = new_figure(2, height=3.3)
    ratios = []
    for axes, logged in zip(both, (False, True), strict=True):
        for name, colour in ((BUSY, VERMILLION), (QUIET, BLUE)):
            counts = table.counts[rows, table.counters.index(name)].numpy()
            shown = np.log1p(counts) if logged else counts
            axes.plot(np.arange(168) / 24, shown, color=colour, linewidth=1.4, linestyle="solid")
            ratios.append(float(shown.std()))
        axes.set_xticks(range(0, 8), ["M", "T", "W", "T", "F", "S", "S", ""])
        axes.set_xlim(0, 7)
    label(both[0], "day", "people per hour", "as counted")
    label(both[1], "day", "log(1 + people)", "the logarithm")
    both[1].set_ylim(0, 9.6)
    both[1].text(0.1, 8.7, BUSY, color=VERMILLION, fontsize=11)
    both[1].text(0.1, 0.15, QUIET, color=BLUE, fontsize=11)
    says = (
        f"A week at two corners. As counted, {BUSY} varies {ratios[0] / ratios[1]:.0f} times as "
        f"much as {QUIET}; as logarithms, {ratios[2] / ratios[3]:.1f} times."
    )
    return Picture(figure, says)


def bells(table: Footsteps) -> Picture:
    """Draw Gaussian densities, and how much counts vary at a fixed hour, against Poisson."""
    figure, (left, right) = new_figure(2, height=3.5)
    y = np.linspace(-2.6, 2.6, 301)
    for sigma, colour in ((0.2, VERMILLION), (1.0, BLUE)):
        density = np.exp(-((y / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi))
        left.plot(y, density, color=colour, linestyle="solid", linewidth=1.8)
        left.text(0.25 + 0.6 * sigma, density.max() * 0.82, f"σ = {sigma:g}", color=colour)
    left.axhline(1, color=GREY, linestyle="dashed", linewidth=1.2)
    label(left, "error of the guess", "density", "two Gaussians")
    hour = np.array([str(h) for h in table.hours])
    day = (table.hours.astype("datetime64[D]").astype(int) + 3) % 7  # Monday is 0
    noon = (day == 1) & np.char.endswith(hour, "T12") & np.char.startswith(hour, "2023")
    names = [k for k, name in enumerate(table.counters) if name != FEW_HOURS]
    counts = table.counts[torch.from_numpy(noon)][:, names]
    mean = counts.nanmean(0)
    variance = (counts - mean).square().nanmean(0)
    right.loglog(mean.numpy(), variance.numpy(), "o", color="0.25", markersize=6)
    line = np.array([20, 2500])
    right.loglog(line, line, color=VERMILLION, linestyle="solid", linewidth=1.8)
    right.text(190, 32, "Poisson:\nvariance = mean", color=VERMILLION, fontsize=11)
    right.set_xticks([30, 100, 300, 1000], ["30", "100", "300", "1000"])
    right.minorticks_off()
    label(right, "mean count", "variance", "Tuesdays at noon")
    more = (variance / mean).sort().values
    says = (
        f"Left: the density reaches {1 / (0.2 * math.sqrt(2 * math.pi)):.1f} for sigma 0.2 and "
        f"{1 / math.sqrt(2 * math.pi):.1f} for sigma 1. Right: on Tuesdays at noon the variance of "
        f"a counter is {more[0]:.0f} to {more[-1]:.0f} times its mean, in the middle "
        f"{more[len(more) // 2]:.0f} times."
    )
    return Picture(figure, says)


def tiny_network(slopes: Tensor) -> Diagram:
    """Draw two inputs, one shared number and two heads; each edge says what each loss sends back.

    Args:
        slopes: the weighted gradient of each loss in each parameter, [2 losses, 4]; the parameters
            are theta_1, theta_2, a_1, a_2.
    """
    figure, axes = canvas(300)
    places = {"x₁": (45, 235), "x₂": (45, 65), "z": (200, 150)}
    outputs = {"L₁": (415, 235), "L₂": (415, 65)}
    edges = [
        ("θ₁", places["x₁"], places["z"], 0),
        ("θ₂", places["x₂"], places["z"], 1),
        ("a₁", places["z"], outputs["L₁"], 2),
        ("a₂", places["z"], outputs["L₂"], 3),
    ]
    for name, start, end, column in edges:
        arrow(axes, [start, end], colour="0.6", width=1.6)
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        texts = [(name, "0.1")]
        for k, colour in enumerate((BLUE, VERMILLION)):
            value = float(slopes[k, column])
            if abs(value) > 1e-12:
                texts.append((f"{value:+.2f}", colour))
        height = 15 * len(texts)
        box(axes, (*middle, 58, height + 6), facecolor="white", edgecolor="0.75", linewidth=1)
        for i, (text, colour) in enumerate(texts):
            y = middle[1] + 15 * ((len(texts) - 1) / 2 - i)
            write(axes, middle[0], y, text, size=12, color=colour, zorder=7)
    for name, place in places.items():
        box(axes, (*place, 44, 34), [name])
    for (name, place), colour in zip(outputs.items(), (BLUE, VERMILLION), strict=True):
        text = f"w{name[1]} · {name}"
        box(axes, (*place, 74, 34), [text], facecolor="white", edgecolor=colour)
    write(axes, 122, 285, "shared: both losses", size=11, color="0.35")
    write(axes, 307, 285, "heads: one loss each", size=11, color="0.35")
    both = slopes.sum(0)
    says = (
        "A network: inputs x1 and x2, one shared number z, two heads a1 and a2, two losses. Slopes "
        f"from the first loss: theta {slopes[0, 0]:+.2f} and {slopes[0, 1]:+.2f}, a1 "
        f"{slopes[0, 2]:+.2f}; from the second: theta {slopes[1, 0]:+.2f} and {slopes[1, 1]:+.2f}, "
        f"a2 {slopes[1, 3]:+.2f}. Theta feels the sums {both[0]:+.2f} and {both[1]:+.2f}."
    )
    return Diagram(figure, says)


def trunk_pulls(
    trunk: nn.Module, outputs: Tensor, targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Give the length of the gradient that each task sends to the trunk, [K].

    Args:
        trunk: the shared layers that ``outputs`` were computed with.
        outputs: [N, K].
        targets: [N, K], ``nan`` where there is no label.
        loss: outputs [n] and targets [n] of the labelled rows of a task -> their losses [n].
    """
    found = []
    for output, target in zip(outputs.T, targets.T, strict=True):
        there = ~target.isnan()
        mean = loss(output[there], target[there]).mean()
        slopes = torch.autograd.grad(mean, list(trunk.parameters()), retain_graph=True)
        found.append(torch.cat([slope.flatten() for slope in slopes]).norm())
    return torch.stack(found)


def heard(pulls: Mapping[str, Tensor], quiet: int, busy: int) -> Picture:
    """Draw how hard each task pulls at the trunk, one row for each way to write the targets.

    Args:
        pulls: name -> length of each task's gradient on the trunk, [K].
        quiet: the number of the quiet counter, drawn in its colour.
        busy: that of the busy one.
    """
    figure, axes = new_figure(height=0.95 + 0.55 * len(pulls))
    position = axes.get_position()
    axes.set_position((0.24, position.y0, 0.72, position.height))
    parts = []
    for row, (name, lengths) in enumerate(pulls.items()):
        relative = (lengths / lengths.median()).numpy()
        axes.semilogx(relative, [row] * len(relative), "o", color="0.6", markersize=7, alpha=0.7)
        for k, colour in ((quiet, BLUE), (busy, VERMILLION)):
            axes.semilogx(float(relative[k]), row, "o", color=colour, markersize=9)
        parts.append(f"{name} {float(lengths.max() / lengths.min()):.0f}")
    axes.set_yticks(range(len(pulls)), list(pulls))
    axes.set_ylim(len(pulls) - 0.5, -0.5)
    axes.set_xticks([0.1, 0.3, 1, 3, 10], ["1/10", "1/3", "1", "3", "10"])
    axes.minorticks_off()
    axes.set_xlim(0.08, 10)
    label(axes, "pull at the trunk (the middle counter = 1)", "", "who is heard at the first step")
    says = f"Longest pull over shortest pull: {', '.join(parts)}."
    return Picture(figure, says)


def gaps(table: Footsteps) -> Picture:
    """Draw in which weeks of 2022 each counter counted."""
    inside = np.array([str(h)[:4] == "2022" for h in table.hours])
    counted = (~table.counts[torch.from_numpy(inside)].isnan()).double()
    weeks = counted[: 52 * 168].reshape(52, 168, -1).mean(1).T
    order = weeks.mean(1).argsort(stable=True)
    order = order[[table.counters[int(k)] != FEW_HOURS for k in order]]
    late, rest = order[:3], weeks[order[3:]].mean(0, keepdim=True)
    figure, axes = new_figure(width=7.6, height=2.6)
    position = axes.get_position()
    axes.set_position((0.36, position.y0, 0.61, position.height))
    axes.grid(False)
    shown = (1 - 0.62 * torch.cat([weeks[late], rest])).numpy()
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    names = [table.counters[int(k)] for k in late]
    axes.set_yticks(range(4), [*names, f"the other {len(order) - 3}"])
    months = np.arange("2022-01", "2023-02", dtype="datetime64[M]").astype("datetime64[D]")
    starts = (months - months[0]).astype(float) / 7 - 0.5  # the first week lies around 0
    middles = (starts[:-1] + starts[1:]) / 2
    short = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    axes.set_xticks(middles, short)
    axes.tick_params(axis="x", length=0)
    for row in (0.5, 1.5, 2.5):
        axes.axhline(row, color="white", linewidth=3, linestyle="solid")
    label(axes, "2022", "", "dark where they counted")
    parts = [f"{table.counters[int(k)]} {float(weeks[int(k)].mean()):.0%}" for k in late]
    says = f"Hours counted in 2022: {'; '.join(parts)}; the others {float(rest.mean()):.0%}."
    return Picture(figure, says)


ARMS = {  # arm of the study -> its name in the picture: what was learned, and how
    "raw sum": "counts, raw sum",
    "standardised": "counts, standardised sum",
    "raw sum, SGD": "counts, raw sum, SGD",
    "standardised, SGD": "counts, standardised, SGD",
    "learned noise": "counts, learned noise",
    "Poisson": "counts, Poisson loss",
    "alone": "counts, a network each",
    "linear": "counts, linear models",
    "logged sum": "logs, sum",
    "logged, standardised": "logs, standardised sum",
    "logged, alone": "logs, a network each",
    "logged, linear": "logs, linear models",
}


def measured(rows: Sequence[Mapping[str, Any]], what: str) -> dict[str, Tensor]:
    """Give what the study measured of each arm, in the order of the picture: [draws, counters]."""
    return {arm: torch.tensor([r[what] for r in rows if r["arm"] == arm]) for arm in ARMS}


def gap(ours: Tensor, theirs: Tensor) -> Interval:
    """Give by how many percent errors [draws, counters] are larger, and the interval over draws."""
    percent = 100 * (ours / theirs - 1).mean(1)
    return paired_interval(percent, torch.zeros_like(percent))


def compared(errors: Mapping[str, Mapping[str, Tensor]], reference: str) -> Picture:
    """Draw by how many percent each arm's error is above that of one of them.

    Args:
        errors: unit -> arm -> errors [draws, counters].
        reference: the arm at the dashed line.
    """
    figure, panels = new_figure(2, height=4.6)
    says = []
    for left, axes, (unit, arms) in zip((0.29, 0.67), panels, errors.items(), strict=True):
        bottom, height = axes.get_position().y0, axes.get_position().height
        axes.set_position((left, bottom, 0.31, height))
        axes.set_yticks(range(len(ARMS)), list(ARMS.values()) if axes is panels[0] else [])
        axes.set_ylim(len(ARMS) - 0.5, -0.5)
        axes.axvline(0, color=GREY, linewidth=1.6, linestyle="dashed")
        said = []
        for row, (arm, values) in enumerate(arms.items()):
            if arm == reference:
                axes.plot(0, row, "D", color="black", markersize=8)
                continue
            found = gap(values, arms[reference])
            inside = "white" if ARMS[arm].startswith("logs") else "black"
            whisker(axes, row, found, across=True, color="black", mfc=inside)
            said.append(f"{ARMS[arm]} {found.mean:+.0f}")
        label(axes, "error above reference (%)", "", f"judged in {unit}")
        says.append(f"Judged in {unit}, in percent: {'; '.join(said)}.")
    return Picture(figure, f"Errors against {ARMS[reference]}. {' '.join(says)}")


def who_pays(
    ours: Tensor, theirs: Tensor, sizes: Tensor, names: tuple[str, str], ends: tuple[str, str]
) -> Picture:
    """Draw for each counter by how many percent one way's error is above another's.

    Args:
        ours: errors [S, K]; counters need not be in order.
        theirs: errors [S, K] of the same seeds.
        sizes: how busy each counter is, [K].
        names: what ``ours`` and ``theirs`` are called.
        ends: the quietest and the busiest counter.
    """
    order = sizes.argsort()
    percent = 100 * (ours / theirs - 1)[:, order]
    figure, axes = new_figure(width=7.0, height=3.5)
    axes.axhline(0, color=GREY, linewidth=1.4, linestyle="dashed")
    worse = better = 0
    for place, values in enumerate(percent.T):
        interval = paired_interval(values, torch.zeros_like(values))
        clear = interval.low > 0 or interval.high < 0
        worse, better = worse + (interval.low > 0), better + (interval.high < 0)
        colour = VERMILLION if interval.low > 0 else BLUE if clear else "0.55"
        whisker(axes, place, interval, color=colour)
    axes.set_xticks([0, len(order) - 1], [f"quietest\n{ends[0]}", f"busiest\n{ends[1]}"])
    axes.get_xticklabels()[0].set_ha("left")
    axes.get_xticklabels()[1].set_ha("right")
    axes.set_xlim(-0.8, len(order) - 0.2)
    label(axes, "", "difference of the error (%)", f"{names[0]}, against {names[1]}")
    mean = paired_interval(percent.mean(1), torch.zeros(len(percent), dtype=percent.dtype))
    says = (
        f"{names[0]} against {names[1]}: error {mean.mean:+.1f} % [{mean.low:+.1f}, "
        f"{mean.high:+.1f}] on average; clearly larger for {worse} of {len(order)} counters, "
        f"clearly smaller for {better}."
    )
    return Picture(figure, says)


def noise_found(sigma: Tensor, trained: Tensor, tested: Tensor) -> Picture:
    """Draw the learned noise of each counter against the errors that were reached.

    Args:
        sigma: learned noise [S, K], in people.
        trained: RMSE on the training hours, [S, K].
        tested: RMSE on the other hours, [S, K].
    """
    figure, axes = new_figure(width=5.6, height=3.8)
    learned, seen, new = (v.mean(0).numpy() for v in (sigma, trained, tested))
    ends = [float(seen.min()) * 0.8, float(new.max()) * 1.3]
    axes.loglog(ends, ends, color=GREY, linestyle="dashed", linewidth=1.4)
    axes.loglog(learned, new, "s", color=VERMILLION, markersize=6)
    axes.loglog(learned, seen, "o", color=BLUE, markersize=6)
    axes.text(ends[0] * 1.05, ends[1] * 0.55, "on new hours", color=VERMILLION, fontsize=11)
    axes.text(ends[1] * 0.25, ends[0] * 1.3, "on its own labels", color=BLUE, fontsize=11)
    axes.set_xticks([20, 50, 100, 200, 400], ["20", "50", "100", "200", "400"])
    axes.set_yticks([20, 50, 100, 200, 400], ["20", "50", "100", "200", "400"])
    axes.minorticks_off()
    label(axes, "learned σ (people)", "RMSE reached (people)", "20 counters, mean of 10 seeds")
    ratio = [float((learned / v).mean()) for v in (seen, new)]
    says = (
        f"Learned sigma over the RMSE reached, mean of the counters: {ratio[0]:.2f} on the "
        f"training labels, {ratio[1]:.2f} on new hours."
    )
    return Picture(figure, says)
