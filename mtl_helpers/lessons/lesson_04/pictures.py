"""The pictures of lesson 04."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from mtl_helpers.balancing import Balance
from mtl_helpers.balancing.gradients import METHODS
from mtl_helpers.datasets.base import MultiTaskData
from mtl_helpers.metrics import Interval, mean_interval
from mtl_helpers.models import HardSharing
from mtl_helpers.tasks import Task
from mtl_helpers.teaching.figures import (
    BLACK,
    GREY,
    SKY,
    Picture,
    label,
    new_figure,
    task_style,
)
from mtl_helpers.training import take_step

TASKS = ("task_1", "task_2", "task_3")  # each keeps its colour through the series
WRITTEN = {
    "sum": "sum", "mgda": "MGDA", "upgrad": "UPGrad", "pcgrad": "PCGrad", "cagrad": "CAGrad",
    "nash_mtl": "Nash-MTL", "fairgrad": "FairGrad", "imtl_g": "IMTL-G",
    "aligned_mtl": "Aligned-MTL", "gradvac": "GradVac", "graddrop": "GradDrop",
}  # fmt: skip


def directions(grads: Tensor, only: str | None = None) -> dict[str, Tensor]:
    """Give the direction of every gradient method, or of one: [K, P] -> {method: [P]}.

    Chance is left out: tasks meet each other in their own order (PCGrad, GradVac), and GradDrop's
    draw is one half for every parameter. GradVac is at its first step, where its targets are 0.
    """
    orders = [range(len(grads))] * len(grads)
    options: dict[str, dict[str, Any]] = {
        "pcgrad": {"orders": orders},
        "gradvac": {"orders": orders},
        "graddrop": {"draws": torch.full_like(grads[0], 0.5)},
    }
    names = WRITTEN if only is None else [only]
    return {name: METHODS[name](grads, **options.get(name, {})) for name in names}


def cosines(grads: Tensor, direction: Tensor) -> Tensor:
    """Give the cosine of each gradient with a direction, [K]; 0 where one of them is 0."""
    products = grads @ direction
    lengths = grads.norm(dim=1) * direction.norm()
    return torch.where(lengths > 1e-12, products / lengths.clamp(min=1e-300), 0.0)


def made_worse(grads: Tensor, direction: Tensor) -> list[int]:
    """Give the numbers (from 0) of the tasks that a small step against this direction harms."""
    return (cosines(grads, direction) < -1e-9).nonzero()[:, 0].tolist()


def two_gradients(angle: int = 135, longer: float = 2.0, method: str = "sum") -> Picture:
    """Draw two task gradients, a method's direction, and all methods' cosines with both tasks.

    Args:
        angle: between the gradients, in degrees.
        longer: length of task 1's gradient over that of task 2.
        method: a name from ``WRITTEN``, drawn as the black arrow.
    """
    first = torch.tensor([longer, 0.0], dtype=torch.float64)
    return _dial(
        torch.stack([first, unit_vector(angle)]), method, f"Angle {angle}, lengths {longer:g}:1"
    )


def three_gradients(
    second: int = 120, third: int = 160, longer: float = 1.0, method: str = "pcgrad"
) -> Picture:
    """Draw three task gradients in a plane; the first has length 1 and points to the right.

    Args:
        second: where task 2's gradient points, in degrees from task 1's.
        third: where task 3's gradient points.
        longer: length of task 3's gradient.
        method: a name from ``WRITTEN``, drawn as the black arrow.
    """
    grads = torch.stack([unit_vector(0), unit_vector(second), longer * unit_vector(third)])
    return _dial(grads, method, f"Angles 0, {second}, {third}, third length {longer:g}")


def unit_vector(degrees: float) -> Tensor:
    """Give the vector of length 1 at an angle, [2]."""
    turned = np.deg2rad(degrees)
    return torch.tensor([np.cos(turned), np.sin(turned)], dtype=torch.float64)


def _dial(grads: Tensor, method: str, where: str) -> Picture:
    found = directions(grads)
    figure, (left, right) = new_figure(2, width=8.6, height=4.1)
    left.set_position((0.02, 0.06, 0.44, 0.86))
    right.set_position((0.60, 0.14, 0.38, 0.78))
    _draw_arrows(left, grads, found, method)
    by_task = {name: cosines(grads, direction).tolist() for name, direction in found.items()}
    _draw_cosines(right, by_task, method)
    values = ", ".join(f"{value:+.2f}" for value in by_task[method])
    harmed = {WRITTEN[m]: made_worse(grads, d) for m, d in found.items()}
    harming = [name for name, tasks in harmed.items() if tasks]
    stopped = "" if found[method].norm() > 1e-9 else " (no direction: it stops here)"
    says = (
        f"{where}. {WRITTEN[method]}: cosines {values}{stopped}. "
        f"A task is made worse by: {', '.join(harming) or 'none'}."
    )
    return Picture(figure, says)


def _draw_arrows(axes: Axes, grads: Tensor, found: Mapping[str, Tensor], method: str) -> None:
    """Draw gradients (longest 1), all directions as grey ticks, one of them as a black arrow."""
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-1.3, 1.3)
    axes.set_ylim(-1.3, 1.3)
    corners = _harmless(grads)
    if len(corners):
        axes.fill(*corners.T, color="#E3EEF7", linewidth=0)
    longest = grads.norm(dim=1).max()
    for direction in found.values():
        if direction.norm() > 1e-9:
            x, y = (1.12 * direction / direction.norm()).tolist()
            axes.plot([0.92 * x, x], [0.92 * y, y], color="0.6", linestyle="solid", linewidth=2)
    for name, row in zip(TASKS, grads / longest, strict=False):
        style = task_style(name)
        _arrow(axes, row, style["color"], style["linestyle"])
        x, y = (row + 0.13 * row / row.norm()).tolist()
        axes.text(x, y, name[-1], color=style["color"], ha="center", va="center", fontsize=13)
    chosen = found[method]
    if chosen.norm() > 1e-9:
        _arrow(axes, chosen / chosen.norm(), BLACK, "solid", wide=3)
    axes.set_title(f"black: {WRITTEN[method]}", loc="left", fontsize="medium", fontweight="bold")


def _arrow(axes: Axes, tip: Tensor, colour: str, line: str, wide: float = 2.4) -> None:
    style = {"arrowstyle": "->", "color": colour, "linewidth": wide, "linestyle": line}
    style |= {"shrinkA": 0, "shrinkB": 0, "mutation_scale": 18}
    axes.annotate("", tuple(tip.tolist()), (0, 0), arrowprops=style)


def _harmless(grads: Tensor) -> np.ndarray:
    """Give the corners [N, 2] of the wedge of directions that make no task worse; maybe none."""
    turned = np.deg2rad(np.arange(0, 360, 1.0))
    circle = 1.25 * np.stack([np.cos(turned), np.sin(turned)], 1)
    good = circle[(circle @ grads.numpy().T >= -1e-9).all(1)]
    if len(good) < 2:
        return np.zeros((0, 2))
    middle = good.mean(0)
    side = good @ np.array([-middle[1], middle[0]])
    return np.vstack([np.zeros((1, 2)), good[np.argsort(side)]])


def _draw_cosines(axes: Axes, by_task: Mapping[str, Sequence[float]], method: str) -> None:
    axes.axvspan(-1.1, 0, color="#F6E3DA", linewidth=0)
    row = list(by_task).index(method)
    axes.axhspan(row - 0.5, row + 0.5, facecolor="none", edgecolor=BLACK, linewidth=1.5)
    for k, name in enumerate(TASKS[: len(by_task[method])]):
        style = {**task_style(name), "linestyle": "none"}
        values = [row[k] for row in by_task.values()]
        places = [row + 0.14 * (k - 0.5) for row in range(len(values))]
        axes.plot(values, places, label=name, markersize=6, **style)
    axes.set_xlim(-1.1, 1.1)
    axes.set_ylim(len(by_task) - 0.4, -2.4)
    axes.set_yticks(range(len(by_task)), [WRITTEN[name] for name in by_task], fontsize=9)
    axes.set_xlabel("cosine of the direction with each task's gradient")
    axes.xaxis.set_label_coords(0.5, -0.1)
    axes.legend(loc="upper left", ncols=3, frameon=False, fontsize="small", borderaxespad=0)
    axes.text(-0.98, -0.75, "made worse", va="center", fontsize=9, color="0.35")


# ------------------------------------------------------------------------------------- training


def gradnorm_curves(levels: Tensor, plain: Tensor, weights: Tensor) -> Picture:
    """Draw how GradNorm brings gradient norms to one level.

    Args:
        levels: norm of each task's weighted gradient at every step with GradNorm, [T, K].
        plain: the same for the plain sum, [T, K].
        weights: GradNorm's weights, [T, K].
    """
    figure, (left, right) = new_figure(2, width=8.2)
    for k, name in enumerate(TASKS[: levels.shape[1]]):
        style = task_style(name)
        colour = style["color"]
        left.plot(plain[:, k].tolist(), color=colour, linestyle="solid", linewidth=1, alpha=0.5)
        left.plot(levels[:, k].tolist(), color=colour, linestyle=style["linestyle"], linewidth=2.4)
        right.plot(weights[:, k].tolist(), label=name, color=colour, linestyle=style["linestyle"])
        place = (len(plain) // 8, float(plain[len(plain) // 8, k]))
        apart = {"xytext": (0, 9 if k else -9), "textcoords": "offset points"}
        left.annotate(name[-1], place, **apart, color=colour, ha="center", va="center")
    left.set_yscale("log")
    left.minorticks_off()
    label(left, "step", "gradient norm", "thin: sum, thick: GradNorm")
    label(right, "step", "weight", "GradNorm's weights")
    right.legend(loc="center right", frameon=False)
    ends = [f"{name} {value:.2f}" for name, value in zip(TASKS, weights[-1].tolist(), strict=False)]
    half = len(levels) // 2
    apart = [float((x[:half, 1] / x[:half, 0]).log().abs().mean().exp()) for x in (plain, levels)]
    says = (
        f"Weights at the end: {', '.join(ends)}. Mean factor between the norms in the first half: "
        f"{apart[0]:.1f} with the sum, {apart[1]:.1f} with GradNorm."
    )
    return Picture(figure, says)


def walks(
    paths: Mapping[tuple[str, str], Tensor],
    losses: Callable[[Tensor], Tensor],
    box: tuple[float, float, float, float],
    pareto: Tensor,
    optima: Tensor,
) -> Callable[..., Picture]:
    """Make the explorer's picture of walks over two parameters.

    Args:
        paths: (method, start) -> points [T, 2], all of a start from the same point.
        losses: points [N, 2] -> both losses [N, 2].
        box: lowest and highest first parameter, lowest and highest second one.
        pareto: points of the Pareto set, [N, 2].
        optima: the lowest point of each loss, [2, 2].

    Returns:
        A function of ``method`` and ``start``.
    """
    x, y = np.linspace(*box[:2], 70), np.linspace(*box[2:], 70)
    grid = torch.tensor(np.stack(np.meshgrid(x, y), -1).reshape(-1, 2))
    heights = losses(grid).numpy().reshape(70, 70, 2)
    front = losses(pareto)
    seen = {key: losses(path) for key, path in paths.items()}

    first = next(iter(paths))[1]

    def picture(method: str = "sum", start: str = first) -> Picture:
        figure, (left, right) = new_figure(2, width=8.6, height=3.9)
        for k, name in enumerate(TASKS[:2]):
            levels = np.quantile(heights[..., k], [0.02, 0.08, 0.2, 0.4, 0.65, 0.9])
            colour = task_style(name)["color"]
            left.contour(x, y, heights[..., k], levels, colors=colour, alpha=0.45, linewidths=1)
            style = {"color": colour, "fontsize": 14, "fontweight": "bold", "zorder": 7}
            left.text(*optima[k].tolist(), name[-1], ha="center", va="center", **style)
        left.plot(*pareto.T.tolist(), color=SKY, linestyle="solid", linewidth=4, alpha=0.6)
        right.plot(*front.T.tolist(), color=SKY, linestyle="solid", linewidth=4, alpha=0.6)
        for (name, begin), path in paths.items():
            if begin != start:
                continue
            chosen = name == method
            style = {"color": BLACK if chosen else "0.72", "linestyle": "solid"}
            style |= {"linewidth": 2.4 if chosen else 1.2, "zorder": 5 if chosen else 2}
            for axes, points in ((left, path), (right, seen[name, begin])):
                axes.plot(*points.T.tolist(), **style)
                if chosen:
                    ring = {"marker": "o", "color": BLACK, "markerfacecolor": "white"}
                    axes.plot(*points[0].tolist(), **ring, markersize=8, zorder=6)
                    axes.plot(*points[-1].tolist(), marker="X", color=BLACK, ms=10, zorder=6)
        left.set_xlim(*box[:2])
        left.set_ylim(*box[2:])
        both = torch.cat([seen[name, start] for name in WRITTEN if (name, start) in seen] + [front])
        high, low = both.max(0).values, both.min(0).values
        for setter, a, b in zip(
            (right.set_xlim, right.set_ylim), low.tolist(), high.tolist(), strict=True
        ):
            setter(a - 0.06 * (b - a), b + 0.06 * (b - a))
        label(left, "first parameter", "second parameter", f"black: {WRITTEN[method]}")
        label(right, "loss of task 1", "loss of task 2")
        ends = ", ".join(f"{value:.2f}" for value in seen[method, start][-1].tolist())
        harmed = harming_steps(losses, paths[method, start])
        says = (
            f"{WRITTEN[method]}, {start} start: ends at losses {ends}; of "
            f"{len(seen[method, start]) - 1} steps the direction "
            f"harmed task 1 in {harmed[0]}, task 2 in {harmed[1]}."
        )
        return Picture(figure, says)

    return picture


def harming_steps(losses: Callable[[Tensor], Tensor], path: Tensor) -> list[int]:
    """Count for each task the steps of a walk whose direction makes it worse: g·d < 0.

    That speaks of small steps. A long step may raise a loss although its direction does not.

    Args:
        losses: points [T, 2] -> losses [T, K].
        path: points [T + 1, 2].
    """
    points, steps = path[:-1].detach().clone().requires_grad_(), path[:-1] - path[1:]
    counts = []
    for column in losses(points).unbind(-1):
        (slope,) = torch.autograd.grad(column.sum(), points, retain_graph=True)
        sizes = slope.norm(dim=1) * steps.norm(dim=1)
        counts.append(int(((slope * steps).sum(1) < -1e-6 * sizes).sum()))
    return counts


def pareto_set(curves: Tensor, lowest: Tensor, points: int = 60) -> Tensor:
    """Give the Pareto set of two quadratic losses: lowest points of w * first + second, [N, 2].

    Args:
        curves: second derivatives of both losses, [2, 2, 2].
        lowest: the lowest point of each, [2, 2].
        points: how many weights w, from 0.001 to 1000.
    """
    w = torch.logspace(-3, 3, points, dtype=curves.dtype)[:, None]
    wanted = w * (curves[0] @ lowest[0]) + curves[1] @ lowest[1]
    return torch.linalg.solve(w[..., None] * curves[0] + curves[1], wanted)


def backward_passes(
    model: HardSharing, balance: Balance, tasks: Sequence[Task], batch: MultiTaskData
) -> int:
    """Take one training step, and count the backward passes through the trunk's first layer."""
    seen: list[Tensor] = []

    def watch(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        output.register_hook(seen.append)

    first = next(layer for layer in model.trunk.modules() if isinstance(layer, nn.Linear))
    handle = first.register_forward_hook(watch)
    stepper = torch.optim.SGD(model.parameters(), lr=0.1)
    take_step(model, balance, stepper, tasks, batch.inputs, batch.targets)
    handle.remove()
    return len(seen)


# ------------------------------------------------------------------------------ recorded studies


def verdicts(found: Mapping[str, Mapping[str, Interval]]) -> Picture:
    """Draw two columns of intervals, one row a method, in the order of the first column.

    Args:
        found: problem -> method -> delta-m in percent.
    """
    names = list(next(iter(found.values())))
    figure, both = new_figure(2, width=8.6, height=1.0 + 0.27 * len(names))
    up = figure.get_figheight()
    for column, (axes, (problem, rows)) in enumerate(zip(both, found.items(), strict=True)):
        axes.set_position((0.155 + 0.44 * column, 0.55 / up, 0.39, 1 - 0.95 / up))
        axes.axvline(0, color=GREY, linewidth=1.2, linestyle="dashed")
        for row, name in enumerate(names):  # one colour: these are methods, not tasks
            found_here = rows[name]
            across = [[found_here.mean - found_here.low], [found_here.high - found_here.mean]]
            style = {"color": BLACK, "markersize": 5, "capsize": 3}
            axes.errorbar(found_here.mean, row, xerr=across, fmt="o", **style)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_yticks(range(len(names)), [""] * len(names) if column else names, fontsize=9)
        label(axes, "delta-m (%)", "", problem)
    best = {p: max(rows, key=lambda name: rows[name].mean) for p, rows in found.items()}
    says = "; ".join(f"{p}: highest mean {best[p]} {found[p][best[p]]:+.1f}" for p in found)
    return Picture(figure, says + ".")


def front(rows: Sequence[Mapping[str, Any]]) -> Callable[..., Picture]:
    """Make the explorer's picture of a two-task front: all weights, all methods.

    Args:
        rows: of the study 04_front: ``kind`` "weights" (with ``weight``) or "method" (with
            ``method``), and the two test losses ``losses``, one row a seed.

    Returns:
        A function of ``weight`` (one that was recorded) and ``method``.
    """
    weights = sorted({row["weight"] for row in rows if row["kind"] == "weights"})
    methods = list(dict.fromkeys(row["method"] for row in rows if row["kind"] == "method"))
    at = {
        key: [
            mean_interval([row["losses"][k] for row in rows if row.get(kind) == key])
            for k in range(2)
        ]
        for kind, keys in (("weight", weights), ("method", methods))
        for key in keys
    }
    clouds = np.array([row["losses"] for row in rows if row["kind"] == "weights"])

    first = "uncertainty" if "uncertainty" in methods else methods[-1]

    def picture(weight: float = weights[len(weights) // 2], method: str = first) -> Picture:
        figure, axes = new_figure(height=4.1)
        axes.plot(*clouds.T, ".", color="0.82", markersize=3)
        line = [[i.mean for i in at[w]] for w in weights]
        axes.plot(*np.array(line).T, color=SKY, linestyle="solid", linewidth=2)
        for name in methods:
            if name not in ("single", method):
                axes.plot(*[i.mean for i in at[name]], "+", color="0.4", markersize=8)
        if "single" in at:
            for value, line in zip(at["single"], (axes.axvline, axes.axhline), strict=True):
                line(value.mean, color=GREY, linestyle="dashed", linewidth=1.2)
        for key, marker, colour in ((weight, "o", SKY), (method, "X", BLACK)):
            _cross(axes, at[key], marker, colour)
        inner = [w for w in weights if 0 < w < 1]  # at 0 and 1 one task learns nothing
        means = np.array([[i.mean for i in at[key]] for key in (*inner, *methods)])
        low, high = means.min(0), means.max(0)
        axes.set_xlim(low[0] - 0.12 * np.ptp(means[:, 0]), high[0] + 0.12 * np.ptp(means[:, 0]))
        axes.set_ylim(low[1] - 0.12 * np.ptp(means[:, 1]), high[1] + 0.12 * np.ptp(means[:, 1]))
        label(axes, "test loss of task 1", "test loss of task 2", f"weight {weight:g} and {method}")
        said = [
            f"{name}: losses {', '.join(f'{i:.3f}' for i in at[key])}"
            for name, key in ((f"Weight {weight:g}", weight), (method, method))
        ]
        return Picture(figure, "; ".join(said) + ".")

    return picture


def _cross(axes: Axes, ends: Sequence[Interval], marker: str, colour: str) -> None:
    x, y = ends
    across, up = ([[i.mean - i.low], [i.high - i.mean]] for i in (x, y))
    style = {"fmt": marker, "color": colour, "markersize": 9, "capsize": 4, "zorder": 5}
    axes.errorbar(x.mean, y.mean, yerr=up, xerr=across, **style)


def step_times(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the time of one step over that of the joint step, against the number of tasks.

    Args:
        rows: of the study 04_step_time with ``what`` "step": ``how``, ``tasks`` and ``ratio``.
    """
    figure, axes = new_figure(height=3.4)
    lines = ("solid", "dashed", "dashdot", "dotted", "solid")
    ways = list(dict.fromkeys(row["how"] for row in rows))
    for how, line, marker in zip(ways, lines, "os^DX", strict=False):
        points = sorted((row["tasks"], row["ratio"]) for row in rows if row["how"] == how)
        axes.plot(*zip(*points, strict=True), color=BLACK, linestyle=line, marker=marker, label=how)
    axes.set_ylim(0, None)
    axes.set_xticks(sorted({row["tasks"] for row in rows}))
    label(axes, "number of tasks", "time over the joint step")
    axes.legend(loc="upper left", frameon=False)
    return figure
