"""The pictures and explorers of the notebooks that go deeper than lesson 01."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from ipywidgets import IntSlider, SelectionSlider
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from mtl_helpers.datasets import MultiTaskData
from mtl_helpers.datasets.shapes import SHAPES
from mtl_helpers.metrics import Interval, box_iou, mean_interval, paired_interval
from mtl_helpers.models import HardSharing
from mtl_helpers.teaching import diagrams
from mtl_helpers.teaching.explore import Explorer
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
from mtl_helpers.teaching.recorded import load

Rows = Sequence[Mapping[str, Any]]


def shifted_box(shift: float = 0.2) -> Picture:
    """Draw a true box and a found one of the same size, moved to the right.

    Args:
        shift: how far, as a fraction of the image's width. Both boxes are 0.4 wide and 0.4 high.
    """
    figure, axes = diagrams.canvas(190)
    side, left, low = 150.0, 90.0, 22.0
    true = (left, low, left + side, low + side)
    found = (left + shift * side / 0.4, low, left + side + shift * side / 0.4, low + side)
    diagrams.overlap(axes, found, true)
    common = max(0.0, 0.4 - shift) * 0.4
    iou = common / (0.32 - common)
    error = shift**2 / 0.2 if shift < 0.1 else shift - 0.05
    return Picture(figure, f"Moved by {shift:.2f}: IoU {iou:.2f}, smooth L1 loss {error / 4:.3f}.")


def shifted_box_explorer() -> Explorer:
    """Make the explorer of section 2: how quickly IoU falls when a box slides away."""
    return Explorer(
        shifted_box,
        shift=(0.0, 0.5, 0.01),
        question="The boxes are 0.4 wide. How far may the found box slide before the IoU is 0.5? "
        "And before it is 0, while the loss still says how far away the box is?",
        describe="A true box, dashed, and a found box of the same size, with the common part "
        "hatched.",
    )


def weight_dial(rows: Rows, alone: Mapping[str, Sequence[float]]) -> Picture:
    """Draw what sharing costs the class and the box, against the weight of the box loss.

    Args:
        rows: one per arm "together, box x W" and seed, with the scores ``class`` and ``box``.
        alone: for each task its scores alone, in the order of the seeds.
    """
    weights = sorted({int(r["arm"].split()[-1]) for r in rows if r["arm"].startswith("together")})
    gaps = {
        {"class": "class: accuracy", "box": "box: IoU"}[name]: [
            paired_interval([r[name] for r in rows if r["arm"] == f"together, box x {w}"], own)
            for w in weights
        ]
        for name, own in alone.items()
    }
    ticks, axis = [f"× {w}" for w in weights], "weight of the box loss"
    return dial(gaps, ticks, axis, "together minus alone")


def dial(curves: Mapping[str, Sequence[Interval]], ticks: Sequence[Any], x: str, y: str) -> Picture:
    """Draw means with their intervals over the settings of a dial, and a line at zero.

    Args:
        curves: for each name, such as "box: IoU", an interval per setting. The first word of the
            name gives the colour.
        ticks: names of the settings.
        x: name of the dial.
        y: name of what is measured.
    """
    figure, axes = new_figure(height=3.4)
    said = []
    for i, (name, intervals) in enumerate(curves.items()):
        places = [k + 0.12 * i for k in range(len(ticks))]
        means, style = [g.mean for g in intervals], task_style(name.split(":")[0])
        reach = [[g.mean - g.low for g in intervals], [g.high - g.mean for g in intervals]]
        axes.errorbar(places, means, reach, capsize=4, markersize=7, **style)
        axes.text(
            places[-1] + 0.15, means[-1], name, color=style["color"], va="center", fontsize=11
        )
        said.append(f"{name} " + ", ".join(f"{m:+.2f}" for m in means))
    axes.axhline(0, color="0.3", linewidth=1.2)
    axes.set_xlim(-0.3, len(ticks) * 1.1)
    axes.set_xticks(range(len(ticks)), ticks)
    label(axes, x, y)
    return Picture(figure, f"For {', '.join(map(str, ticks))}: {'; '.join(said)}.")


def loudness(ratios: Tensor) -> Picture:
    """Draw for each run how loud the box is at the trunk, compared with the class.

    Args:
        ratios: norm of the box gradient over that of the class gradient, [runs, epochs].
    """
    figure, axes = new_figure(height=3.4)
    epochs = list(range(1, ratios.shape[1] + 1))
    for row in ratios.tolist():
        axes.plot(epochs, row, color="0.6", linewidth=1.3, linestyle="solid", marker="o")
    axes.axhline(1, color="black", linewidth=1.4, linestyle="dashed")
    axes.set_yscale("log")
    axes.set_yticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"])
    axes.minorticks_off()
    axes.set_xticks(epochs)
    axes.set_ylim(0.1, 6)
    for y, name, word in (
        (3.9, "box", "the box is louder"),
        (0.13, "class", "the class is louder"),
    ):
        axes.text(
            (1 + epochs[-1]) / 2 + 0.4, y, word, color=task_style(name)["color"], fontsize=12,
            ha="center",
        )  # fmt: skip
    label(axes, "epoch", "gradient norms: box / class")
    louder = [int((ratios[:, k] > 1).sum()) for k in range(len(epochs))]
    return Picture(figure, f"Runs of {len(ratios)} in which the box is louder, by epoch: {louder}.")


def family_tree() -> diagrams.Diagram:
    """Draw where the targets come from: the relatives' shared feature, the stranger's other one."""
    figure, axes = diagrams.canvas(190)
    diagrams.box(axes, (65, 95, 96, 56), ["8 input", "numbers"])
    hidden = {"the shared feature": (215, 128, 3), "another feature": (215, 38, 1)}
    answers = {"8 relatives": (392, 128, 4), "1 stranger": (392, 38, 1)}
    for (name, (x, y, _)), (task, (right, up, cards)) in zip(
        hidden.items(), answers.items(), strict=True
    ):
        related = cards > 1
        diagrams.box(axes, (x, y, 136, 44), [name], task=None if related else "many")
        diagrams.box(
            axes, (right, up, 104, 44), [task], task="few" if related else "many", cards=cards
        )
        diagrams.arrow(axes, [(113, 95 + (14 if related else -14)), (x - 70, y)])
        diagrams.arrow(axes, [(x + 68, y), (right - 54, up)])
    text = "Eight inputs give a shared feature, from which eight relatives come, and another "
    return diagrams.Diagram(figure, text + "feature, from which one stranger comes.")


def boxes_and_classes(model: nn.Module, data: MultiTaskData, count: int = 6) -> Picture:
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
    figure.set_size_inches(7.6, 7.6 / count * 1.5)
    axes = figure.axes[0]
    axes.set_position((0, 0, 1, 1))
    axes.set_ylim(size * 1.5, -size * 0.05)
    step = size * 1.08
    for i, caption in enumerate(captions):
        for boxes, style in (
            (data.targets["box"], {"edgecolor": SKY, "linestyle": "dashed"}),
            (outputs["box"], {"edgecolor": task_style("box")["color"]}),
        ):
            cx, cy, wide, high = (boxes[i] * size).tolist()
            corner = (i * step + cx - wide / 2, cy - high / 2)
            axes.add_patch(Rectangle(corner, wide, high, fill=False, linewidth=1.8, **style))
        axes.text(i * step + size / 2, size * 1.06, caption, ha="center", va="top", fontsize=11)
    wrong = sum(r != t for r, t in zip(read, true, strict=True))
    says = f"{count} test images: wrong classes: {wrong}; mean IoU {overlaps.mean():.2f}."
    return Picture(figure, says)


def gain_dial(rows: Rows) -> Callable[..., Picture]:
    """Make the explorer's picture of a recorded sweep: gain against examples, by relatedness.

    Args:
        rows: one a setting and seed: ``examples``, ``relatedness``, ``gain`` (in percent).

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


def gain_explorer() -> Explorer:
    """Make the explorer of the recorded sweep of examples and relatedness."""
    rows = load("01_examples_and_relatedness").rows
    sizes, related = (sorted({row[name] for row in rows}) for name in ("examples", "relatedness"))
    return Explorer(
        gain_dial(rows),
        relatedness=SelectionSlider(options=related, value=1.0),
        examples=SelectionSlider(options=sizes, value=40),
        question="How related must tasks be before sharing helps at 40 examples? And at 160?",
        describe="How much of the RMSE is saved by training eight tasks together, against the "
        "number of examples, for one relatedness.",
    )


def film_explorer(film: Sequence[Snapshot], data: MultiTaskData) -> Explorer:
    """Make the explorer that scrubs through the training of one shared feature."""
    return Explorer(
        growing_feature(film, data),
        moment=IntSlider(min=0, max=len(film) - 1, value=11),
        question="Look to the right of x = 1.2, where 'few' has no label. What does its line do "
        "there as training goes on, and whose points are the cause?",
        describe="Left: the one shared feature. Right: targets as points, heads as lines.",
    )


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
        right.legend(loc="upper center", ncols=2, frameon=False, fontsize=11)
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
                    j, i, f"{value:+.1f}", ha="center", va="center", fontsize=11,
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
