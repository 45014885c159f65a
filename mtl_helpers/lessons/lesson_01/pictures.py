"""The pictures of lesson 01."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from mtl_helpers.datasets import MultiTaskData
from mtl_helpers.datasets.shapes import SHAPES
from mtl_helpers.metrics import Interval, box_iou, mean_interval
from mtl_helpers.models import HardSharing
from mtl_helpers.teaching.figures import (
    DPI,
    SKY,
    Picture,
    band,
    digits_grid,
    label,
    new_figure,
    task_style,
)

# One panel a setting: boxes (name: column, row, text, kind) and arrows between them.
# Columns and rows count from 0 in the lower left; kind is "data", "model" or "task".
SETTINGS = {
    "single-task": (
        {"d": (0, 1, "data", "data"), "m": (1, 1, "model", "model"), "a": (2, 1, "A", "task")},
        ["dm", "ma"],
    ),
    "multi-label": (
        {"d": (0, 1, "data", "data"), "m": (1, 1, "model", "model"),
         "a": (2, 1, "sea? yes\nsky? yes\nsnow? no", "task")},
        ["dm", "ma"],
    ),
    "multi-task": (
        {"d": (0, 1, "data", "data"), "m": (1, 1, "trunk", "model"), "a": (2, 2, "A", "task"),
         "b": (2, 0, "B", "task")},
        ["dm", "ma", "mb"],
    ),
    "transfer": (
        {"a": (0, 2, "data A", "data"), "m": (1, 2, "model", "model"), "A": (2, 2, "A", "faint"),
         "b": (0, 0, "data B", "data"), "n": (1, 0, "model", "model"), "B": (2, 0, "B", "task")},
        ["am", "mA", "bn", "nB", "mn"],
    ),
    "meta-learning": (
        {"a": (0, 2, "tasks A,\nB, C, …", "data"), "m": (1, 2, "how to\nlearn", "model"),
         "n": (0, 0, "5 examples\nof a new N", "data"), "k": (1, 0, "model", "model"),
         "N": (2, 0, "N", "task")},
        ["am", "mk", "nk", "kN"],
    ),
    "co-training": (
        {"a": (0, 2, "view 1", "data"), "m": (1, 2, "model 1", "model"),
         "b": (0, 0, "view 2", "data"), "n": (1, 0, "model 2", "model"), "A": (2, 1, "A", "task")},
        ["am", "bn", "mn", "nm", "mA", "nA"],
    ),
    "joint training": (
        {"d": (0, 1, "data", "data"), "m": (1, 2, "part 1", "model"),
         "n": (1, 0, "part 2", "model"), "A": (2, 1, "A", "task")},
        ["dm", "mn", "nA"],
    ),
    "federated": (
        {"a": (0, 2, "device 1", "data"), "b": (0, 0, "device 2", "data"),
         "m": (1, 1, "model", "model"), "A": (2, 1, "A", "task")},
        ["am", "bm", "mA"],
    ),
}  # fmt: skip
_LOOK = {
    "data": {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": "0.4"},
    "model": {"boxstyle": "square,pad=0.45", "facecolor": "0.87", "edgecolor": "0.4"},
    "task": {"boxstyle": "round,pad=0.35", "facecolor": "#BFDDF0", "edgecolor": "#0072B2"},
    "faint": {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": "0.75"},
}


def settings() -> Picture:
    """Draw eight ways to learn: what goes in, what is shared, what is wanted."""
    figure = Figure(figsize=(6.4, 9.4), dpi=DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, 2 * 3.6)
    axes.set_ylim(0, 4 * 3.0)
    for i, (name, (boxes, arrows)) in enumerate(SETTINGS.items()):
        left, bottom = (i % 2) * 3.55 + 0.8, (3 - i // 2) * 3.0 + 0.35
        _panel(axes, left, bottom, boxes, arrows)
        axes.text(left - 0.45, bottom + 2.4, name, fontweight="bold", fontsize=12)
    says = "Eight small diagrams: " + ", ".join(SETTINGS) + "."
    return Picture(figure, says)


def _panel(axes: Axes, left: float, bottom: float, boxes: dict, arrows: list[str]) -> None:
    placed = {}
    for key, (column, row, text, kind) in boxes.items():
        x, y = left + (-0.15, 1.12, 2.3)[column], bottom + 0.95 * row
        colour = "0.6" if kind == "faint" else "black"
        placed[key] = axes.text(
            x, y, text, ha="center", va="center", fontsize=11, bbox=_LOOK[kind], color=colour
        )
    for start, end in arrows:
        axes.annotate(
            "",
            placed[end].get_position(),
            placed[start].get_position(),
            zorder=1,  # below the boxes
            arrowprops={
                "arrowstyle": "->",
                "color": "0.3",
                "shrinkA": 22,
                "shrinkB": 25,
                "connectionstyle": "arc3,rad=0.25" if {start, end} == {"m", "n"} else "arc3",
            },
        )


def boxes_and_classes(model: nn.Module, data: MultiTaskData, count: int = 8) -> Picture:
    """Draw images with the class read, the box found (solid) and the true box (dashed).

    Args:
        model: ``forward(images)`` gives logits ``class`` [N, C] and boxes ``box`` [N, 4].
        data: images [N, 1, H, W] of ``datasets.shapes``.
        count: how many images.
    """
    with torch.no_grad():
        outputs = model(data.inputs[:count])
    size = data.inputs.shape[-1]
    overlaps = box_iou(outputs["box"], data.targets["box"][:count])
    read, true = outputs["class"].argmax(1).tolist(), data.targets["class"][:count].tolist()
    captions = [
        f"{SHAPES[r]}{'' if r == t else '*'}\nIoU {o:.2f}"
        for r, t, o in zip(read, true, overlaps.tolist(), strict=True)
    ]
    figure = digits_grid(data.inputs[:count].clamp(0, 1), columns=count)
    figure.set_figheight(figure.get_figheight() + 0.55)
    axes = figure.axes[0]
    axes.set_position((0, 0, 1, 1))
    axes.set_ylim(size * 1.45, -size * 0.08)
    step = size * 1.08
    for i, caption in enumerate(captions):
        for boxes, style in (
            (data.targets["box"], {"edgecolor": SKY, "linestyle": "dashed"}),
            (outputs["box"], {"edgecolor": task_style("box")["color"]}),
        ):
            cx, cy, wide, high = (boxes[i] * size).tolist()
            corner = (i * step + cx - wide / 2, cy - high / 2)
            axes.add_patch(Rectangle(corner, wide, high, fill=False, linewidth=1.8, **style))
        axes.text(i * step + size / 2, size * 1.06, caption, ha="center", va="top", fontsize=8.5)
    wrong = sum(r != t for r, t in zip(read, true, strict=True))
    says = f"{count} test images: wrong classes: {wrong}; mean IoU {overlaps.mean():.2f}."
    return Picture(figure, says)


def cost(shared: int = 1000, head: int = 100, tasks: int = 3) -> Picture:
    """Draw the parameters of one shared network and of separate ones against the number of tasks.

    Args:
        shared: parameters of a trunk, S.
        head: parameters of a head, H.
        tasks: number of tasks, K, where the picture is read.
    """
    figure, axes = new_figure(height=3.2)
    counts = range(1, 13)
    together = [shared + k * head for k in counts]
    apart = [k * (shared + head) for k in counts]
    for name, values in (("multi-task", together), ("single-task", apart)):
        text = "one trunk: S + K·H" if name == "multi-task" else "separate: K·(S + H)"
        axes.plot(counts, values, label=text, markersize=5, **task_style(name))
    axes.axvline(tasks, color="0.3", linewidth=1.2)
    axes.set_ylim(0, None)
    axes.set_xticks([1, 3, 6, 9, 12])
    axes.legend(loc="upper left", framealpha=1, edgecolor="none")
    label(axes, "number of tasks, K", "parameters")
    ours, theirs = together[tasks - 1], apart[tasks - 1]
    says = (
        f"{tasks} tasks: one trunk {ours} parameters, separate networks {theirs}; "
        f"sharing saves {1 - ours / theirs:.0%} and costs {ours / (shared + head):.2f} times one "
        "single-task network."
    )
    return Picture(figure, says)


def gain_dial(
    rows: Sequence[Mapping[str, Any]], live: tuple[int, float, Interval] | None = None
) -> Callable[..., Picture]:
    """Make the explorer's picture of a recorded sweep: gain against examples, by relatedness.

    Args:
        rows: one a setting and seed: ``examples``, ``relatedness``, ``gain`` (in percent).
        live: examples, relatedness and gain of a run made just now, drawn as a cross.

    Returns:
        A function of ``relatedness`` and ``examples``, both recorded values.
    """
    sizes = sorted({row["examples"] for row in rows})
    found = {
        r: [
            mean_interval([x["gain"] for x in rows if x["relatedness"] == r and x["examples"] == n])
            for n in sizes
        ]
        for r in sorted({row["relatedness"] for row in rows})
    }
    places = range(len(sizes))

    def picture(relatedness: float = 1.0, examples: int = 40) -> Picture:
        at = sizes.index(examples)
        chosen = found[relatedness]
        figure, axes = new_figure(height=3.5)
        for intervals in found.values():
            axes.plot(places, [i.mean for i in intervals], color="0.8", linewidth=1.2, ls="solid")
        ends = zip(*((i.mean, i.low, i.high) for i in chosen), strict=True)
        band(axes, places, *ends, "multi-task")
        axes.axhline(0, color="0.3", linewidth=1.2)
        axes.axvline(at, color="0.3", linewidth=1.2, linestyle="dotted")
        if live is not None and live[1] == relatedness:
            where, gain = sizes.index(live[0]), live[2]
            axes.errorbar(
                where, gain.mean, [[gain.mean - gain.low], [gain.high - gain.mean]],
                fmt="x", color="black", markersize=11, markeredgewidth=2.5, capsize=5, zorder=5,
            )  # fmt: skip
        axes.set_xticks(places, sizes)
        label(axes, "training examples", "RMSE saved by sharing (%)")
        here = chosen[at]
        word = "helps" if here.low > 0 else "hurts" if here.high < 0 else "is not settled"
        says = (
            f"Relatedness {relatedness:g}, {examples} examples: sharing saves {here:+.1f} percent "
            f"of the RMSE; it {word}."
        )
        return Picture(figure, says)

    return picture


def growing_feature(snapshots: Sequence[Snapshot], data: MultiTaskData) -> Callable[..., Picture]:
    """Make the explorer's picture: the shared feature and both heads at a moment of training.

    Args:
        snapshots: what was seen at each moment.
        data: inputs [N, 1] and the targets ``few`` and ``many``, nan where missing.

    Returns:
        A function of ``moment``, the number of a snapshot.
    """
    x = data.inputs[:, 0].tolist()
    high = max(float(s.feature.abs().max()) for s in snapshots) * 1.1

    def picture(moment: int = 0) -> Picture:
        seen = snapshots[moment]
        grid = seen.grid.tolist()
        figure, (left, right) = new_figure(2)
        left.plot(grid, seen.feature.tolist(), color="black", linestyle="solid")
        left.set_ylim(-high, high)
        label(left, "input x", "value of the shared feature", f"after {seen.step} steps")
        for name, target in data.targets.items():
            style = task_style(name)
            right.plot(x, target.tolist(), style["marker"], color=style["color"], alpha=0.55)
            line = {"color": style["color"], "linestyle": style["linestyle"]}
            right.plot(grid, seen.outputs[name].tolist(), label=f"head: {name}", **line)
        right.set_ylim(-1.7, 2.1)
        right.legend(loc="upper center", ncols=2, frameon=False, fontsize="small")
        label(right, "input x", "target and prediction")
        said = ", ".join(f"{name} {value:.3f}" for name, value in seen.losses.items())
        return Picture(figure, f"After {seen.step} steps the mean squared errors are: {said}.")

    return picture


class Snapshot(NamedTuple):
    """A network at one moment of training.

    Attributes:
        step: steps taken.
        grid: inputs at which it was looked at, [G].
        feature: the shared feature there, [G].
        outputs: what each head says there, [G] a task.
        losses: training loss of each task.
    """

    step: int
    grid: Tensor
    feature: Tensor
    outputs: Mapping[str, Tensor]
    losses: Mapping[str, float]


def matrix(values: Tensor, names: Sequence[str], x_label: str, y_label: str, says: str) -> Picture:
    """Draw a square table as coloured cells with their numbers, [K, K]; rows are read first."""
    figure = Figure(figsize=(4.4, 3.9), dpi=DPI, facecolor="white")
    axes = figure.add_axes((0.18, 0.16, 0.78, 0.8))
    most = float(values.abs().nan_to_num().max())
    axes.imshow(values.tolist(), cmap="PuOr", vmin=-most, vmax=most)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    for i, row in enumerate(values.tolist()):
        for j, value in enumerate(row):
            if value == value:  # nan cells stay empty
                dark = abs(value) > 0.6 * most
                axes.text(
                    j, i, f"{value:+.1f}", ha="center", va="center", fontsize=9,
                    color="white" if dark else "black",
                )  # fmt: skip
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return Picture(figure, says)


@torch.no_grad()
def snapshot(step: int, model: HardSharing, losses: Tensor, points: int = 81) -> Snapshot:
    """Look at a network with one input and one shared feature, on a grid from -2 to 2.

    Args:
        step: steps taken.
        model: its trunk gives [N, 1] from inputs [N, 1].
        losses: training loss of each task, [K].
        points: points of the grid.
    """
    grid = torch.linspace(-2, 2, points, dtype=losses.dtype)[:, None]
    outputs = {name: output[:, 0] for name, output in model(grid).items()}
    seen = dict(zip(outputs, losses.tolist(), strict=True))
    return Snapshot(step, grid[:, 0], model.features(grid)[:, 0], outputs, seen)
