"""The pictures of lesson 03: what is shared, where it splits, and what it brings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from mtl_helpers.metrics import Interval, mean_interval, paired_interval
from mtl_helpers.models import HardSharing, MultiTaskModel
from mtl_helpers.teaching.diagrams import Diagram, arrow, box, canvas, stack, write
from mtl_helpers.teaching.diagrams.primitives import colours
from mtl_helpers.teaching.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Picture,
    band,
    label,
    new_figure,
)

SIZE = 11  # points of text
SHARED = "0.55"  # the grey of what is shared
Rows = Sequence[Mapping[str, Any]]

# What the explorers ask, next to their pictures.
DIAL: dict[str, Any] = {
    "hours": [25, 50, 100, 200],
    "question": "How many layers should the corners share with few labels, and with many?",
    "describe": "RMSE over the number of shared layers, for the chosen number of labelled hours.",
}
STITCHES: dict[str, Any] = {
    "problem": ["part at 0", "part at 1", "part at 2", "part at 3"],
    "recipe": ["naive", "paper"],
    "question": "Do the stitches tell where the tasks part? Does the recipe matter?",
    "describe": "How much of a task's features comes from the other column, after each stage.",
}


def _large(*several: Axes) -> None:
    """Make all text of some axes large enough for a projector."""
    for axes in several:
        axes.tick_params(labelsize=SIZE)
        for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
            text.set_fontsize(SIZE)


def _name(axes: Axes, x: float, y: float, text: str, colour: Any, **look: Any) -> None:
    """Write the name of a line next to a point of it."""
    look = {"va": "center", "fontweight": "bold", "xytext": (7, 0), **look}
    axes.annotate(text, (x, y), textcoords="offset points", color=colour, fontsize=SIZE,
                  annotation_clip=False, **look)  # fmt: skip


def values_of(rows: Rows, value: str = "rmse", **wanted: Any) -> list[Any]:
    """Give one number per seed of a record: ``value`` of the rows with the wanted settings."""
    return [row[value] for row in rows if all(row[key] == v for key, v in wanted.items())]


# ------------------------------------------------------------------------------ diagrams


def reached(model: nn.Module, x: Tensor, of: Mapping[str, nn.Module]) -> dict[str, list[str]]:
    """Ask autograd which tasks' losses reach some parts of a model.

    Args:
        model: gives {task: output}.
        x: a batch.
        of: the parts, by name.

    Returns:
        For each part the tasks, in the order of the outputs.
    """
    found: dict[str, list[str]] = {name: [] for name in of}
    for task, output in model(x).items():
        for name, part in of.items():
            slopes = torch.autograd.grad(output.square().sum(), list(part.parameters()),
                                         retain_graph=True, allow_unused=True)  # fmt: skip
            if any(slope is not None and bool(slope.any()) for slope in slopes):
                found[name].append(task)
    return found


def gradient_ways(model: HardSharing, x: Tensor) -> Diagram:
    """Draw a trunk with its heads, and the gradient of each loss in its colour.

    Args:
        model: with a trunk of stages and linear heads, for 2 to 4 tasks.
        x: a batch.
    """
    tasks = list(model.task_names)
    parts = {f"layer {i}": stage for i, stage in enumerate(model.trunk, 1)}
    parts |= {name: model.heads[f"task_{name}"] for name in tasks}
    ways, depth = reached(model, x, parts), len(model.trunk)
    high = 46 * depth + 195
    figure, axes = canvas(high)
    lanes = {name: 480 * (k + 0.5) / len(tasks) for k, name in enumerate(tasks)}
    wide = 480 / len(tasks) - 14
    box(axes, (240, 17, 460, 24), ["input"], corner=10, facecolor="white")
    for i in range(depth):
        y = 62 + 46 * i
        numbers = sum(p.numel() for p in model.trunk[i].parameters())
        box(axes, (240, y, 460, 26), [f"layer {i + 1} of the trunk: {numbers:,} parameters"])
    top = 62 + 46 * (depth - 1)
    for name, x_lane in lanes.items():
        numbers = sum(p.numel() for p in model.heads[f"task_{name}"].parameters())
        box(axes, (x_lane, top + 72, wide, 40), ["head", f"{numbers} parameters"], task=name)
        box(axes, (x_lane, top + 132, wide, 26), [f"{name} loss"], task=name, corner=10,
            linewidth=2.4)  # fmt: skip
        colour = colours(name)[1]
        arrow(axes, [(x_lane, top + 119), (x_lane, top + 93)], colour=colour, width=2.4)
        arrow(axes, [(x_lane, top + 52), (x_lane, top + 14)], colour=colour, width=2.4)
        for i in range(1, depth):
            if name in ways[f"layer {i}"]:
                y, at = 62 + 46 * (i - 1), 240 + 26 * (tasks.index(name) - (len(tasks) - 1) / 2)
                arrow(axes, [(at, y + 33), (at, y + 14)], colour=colour, width=2.4)
    write(axes, 240, high - 14, "going back: each loss's gradient in its colour", weight="bold")
    said = "; ".join(f"{part}: {', '.join(names)}" for part, names in ways.items())
    return Diagram(figure, f"The gradients of the losses reach: {said}.")


def split_ladder(models: Sequence[MultiTaskModel], depth: int) -> Diagram:
    """Draw the splits of one network side by side, from nothing shared to the whole trunk.

    Args:
        models: split after 0, 1, ... ``depth`` layers, all with the same tasks.
        depth: layers of a column.
    """
    figure, axes = canvas(40 * (depth + 1) + 72)
    tasks, wide = models[0].task_names, 480 / len(models)
    said = []
    for rung, model in enumerate(models):
        left, lane = wide * rung + 8, (wide - 16) / len(tasks)
        own = [sum(p.numel() for p in model.task_parameters(name)) for name in tasks]
        shared = sum(p.numel() for p in model.shared_parameters())
        for level in range(depth + 1):
            y = 64 + 40 * level
            if level < rung:
                box(axes, (left + (wide - 16) / 2, y, wide - 18, 24), ["shared"])
            for k, name in enumerate(tasks):
                if level >= rung:
                    text = ["head"] if level == depth else []
                    text = text if lane > 34 else ["h"] * len(text)
                    box(axes, (left + lane * (k + 0.5), y, lane - 5, 24), text, task=name)
        total = shared + sum(own)
        write(axes, left + (wide - 16) / 2, 33, f"{rung} shared", weight="bold")
        write(axes, left + (wide - 16) / 2, 15, f"{total:,} parameters", size=10)
        said.append(f"{rung} layers shared: {shared:,} shared and {sum(own):,} own parameters")
    return Diagram(figure, f"{len(models)} networks for {len(tasks)} tasks. {'; '.join(said)}.")


def cgc_and_ple(cgc: nn.Module, ple: nn.Module, x: Tensor) -> Diagram:
    """Draw the experts of CGC beside those of PLE, with the losses that reach each.

    Args:
        cgc: of two tasks, with one own and one shared expert.
        ple: the same with two levels.
        x: a batch.
    """
    figure, axes = canvas(322)
    tasks, said = cgc.task_names, []
    for title, model, left in (("CGC", cgc, 0), ("PLE, two levels", ple, 245)):
        levels = model.levels
        parts = {}
        for i, level in enumerate(levels):
            parts |= {f"{i} {name}": level.own[f"task_{name}"] for name in tasks}
            parts[f"{i} shared"] = level.shared
        ways = reached(model, x, parts)
        write(axes, left + 117, 306, title, weight="bold")
        places = {tasks[0]: left + 39, "shared": left + 117, tasks[1]: left + 195}
        box(axes, (left + 117, 16, 226, 22), ["input"], corner=9, facecolor="white")
        for i in range(len(levels)):
            y = 78 + 104 * i
            for name, at in places.items():
                arrow(axes, [(at, y - 50 if i == 0 else y - 47), (at, y - 21)])
                owner = None if name == "shared" else name
                box(axes, (at, y, 70, 40), ["shared" if owner is None else "own", "expert"],
                    task=owner)  # fmt: skip
                got = ways[f"{i} {name}"]
                said.append(f"{title}, level {i + 1}, expert of {name}: {' and '.join(got)}")
                for k, task in enumerate(got):
                    dot = (at + 14 * (k - (len(got) - 1) / 2), y + 31, 10, 10)
                    inks = {"facecolor": colours(task)[1], "edgecolor": colours(task)[1]}
                    box(axes, dot, corner=4.5, **inks)
                if i + 1 < len(levels):
                    for to in places.values():
                        fed = to == at or name == "shared" or to == places["shared"]
                        if fed:
                            arrow(axes, [(at, y + 40), (to, y + 57)], colour="0.7", heads=0)
        y = 78 + 104 * (len(levels) - 1)
        for k, name in enumerate(tasks):
            at = places[name]
            for source in (at, places["shared"]):
                arrow(axes, [(source, y + 40), (at, y + 62)], colour=colours(name)[1])
            box(axes, (at, y + 76, 74, 26), [f"head {k + 1}"], task=name)
    return Diagram(figure, f"Which losses reach an expert. {'; '.join(said)}.")


def four_heads(features: Tensor, heads: Mapping[str, tuple[nn.Module, str]]) -> Diagram:
    """Draw one feature map with heads on it, and the shape that each gives.

    Args:
        features: [B, C, H, W].
        heads: for each kind of head a module on such features, and what its numbers say.
    """
    figure, axes = canvas(54 * len(heads) + 40)
    middle = (54 * len(heads) + 40) / 2
    name = stack(axes, 54, middle + 6, features.shape[1:])
    write(axes, 54, middle - 58, "feature map", weight="bold")
    said = []
    for k, (kind, (head, what)) in enumerate(heads.items()):
        y = 54 * (len(heads) - k) - 10
        outputs, task = head(features), f"head {k + 1}"
        shape = " × ".join(map(str, outputs.shape[1:]))
        arrow(axes, [(90, middle + 6), (122, y)], colour=colours(task)[1], width=2)
        box(axes, (172, y, 96, 30), [kind], task=task)
        arrow(axes, [(221, y), (238, y)], colour=colours(task)[1], width=2)
        write(axes, 243, y + 8, shape, weight="bold", ha="left")
        write(axes, 243, y - 9, what, size=10, ha="left")
        said.append(f"{kind}: {shape}, {what}")
    return Diagram(figure, f"{name} Four heads on it. {'; '.join(said)}.")


# ------------------------------------------------------------------------- where to split


def label_dial(rows: Rows) -> Callable[..., Picture]:
    """Make the explorer of how much to share: the error by shared layers, for some labels.

    Args:
        rows: of the study ``03_corner_splits``.

    Returns:
        ``picture(hours)``.
    """
    every = sorted({row["hours"] for row in rows})
    splits = range(4)

    def picture(hours: int = 50) -> Picture:
        figure, axes = new_figure(width=6.6, height=3.7)
        means = {
            n: [mean_interval(values_of(rows, hours=n, way=f"split {s}")) for s in splits]
            for n in every
        }
        height = -1.0
        for other in sorted(every, key=lambda n: means[n][-1].mean):
            colour, wide = (GREEN, 2.6) if other == hours else ("0.7", 1.3)
            line = [i.mean for i in means[other]]
            axes.plot(splits, line, color=colour, linewidth=wide, marker="o", linestyle="solid")
            height = max(line[-1], height + 0.036)  # names must not overlap
            _name(axes, 3, height, f"{other} hours", GREEN if other == hours else "0.5")
        chosen = means[hours]
        low, high = ([getattr(i, end) for i in chosen] for end in ("low", "high"))
        axes.fill_between(splits, low, high, color=GREEN, alpha=0.25, linewidth=0)
        best = min(splits, key=lambda s: chosen[s].mean)
        axes.plot(best, chosen[best].mean, "o", ms=15, mfc="none", mec=BLACK, mew=1.8)
        line = mean_interval(values_of(rows, hours=hours, way="linear")).mean
        axes.axhline(line, color=GREY, linestyle="dashed", linewidth=1.2)
        axes.text(3.7, line + 0.008, "linear", fontsize=SIZE, color=GREY, ha="right")
        said = ", ".join(f"{i.mean:.2f}" for i in chosen)
        axes.set_xticks(list(splits))
        axes.set_xlim(-0.15, 3.75)
        axes.set_ylim(0.4, 0.95)
        label(axes, "shared layers of three (0: twenty networks)", "RMSE of log(1 + people)")
        _large(axes)
        says = f"{hours} hours: RMSE {said} with 0 to 3 shared layers; linear {line:.2f}. "
        return Picture(figure, says + f"Lowest at {best}.")

    return picture


def by_truth(rows: Rows) -> Picture:
    """Draw what each split of equal size costs, beyond the best one, by where the tasks part.

    Args:
        rows: of the study ``03_split_teacher``.
    """
    figure, axes = new_figure(width=6.8, height=3.7)
    said, shades = [], (PURPLE, VERMILLION, BLUE, GREEN)
    for depth, colour in enumerate(shades):
        errors = [values_of(rows, depth=depth, split=s) for s in range(4)]
        best = min(range(4), key=lambda s, e=errors: sum(e[s]))
        for s in range(4):
            at = depth + 0.17 * (s - 1.5)
            gap = paired_interval(errors[s], errors[best])
            axes.errorbar(at, gap.mean, yerr=[[gap.mean - gap.low], [gap.high - gap.mean]],
                          fmt="o", color=colour, ms=9 if s == best else 6, capsize=3,
                          mfc=colour if s == best else "white")  # fmt: skip
            axes.annotate(str(s), (at, gap.high), (0, 6), textcoords="offset points",
                          ha="center", fontsize=SIZE, color=colour)  # fmt: skip
        said.append(f"part at {depth}: lowest at split {best}")
    axes.axhline(0, color=GREY, linewidth=1.2, linestyle="dashed")
    axes.set_xticks(range(4), [f"part at {d}" for d in range(4)])
    axes.set_ylim(-0.035, 1.12 * axes.get_ylim()[1])
    label(axes, "where the tasks truly part", "RMSE above the best split",
          "numbers: shared layers; all splits of one size")  # fmt: skip
    _large(axes)
    return Picture(figure, "; ".join(said) + ".")


# ------------------------------------------------------------------------- stitches, mixtures


def stitch_histories(rows: Rows, every: int) -> Callable[..., Picture]:
    """Make the explorer of stitches: the other column's fraction in each stage while they learn.

    Args:
        rows: of the study ``03_stitches_open``.
        every: steps between two points.

    Returns:
        ``picture(problem, recipe)``.
    """
    starts = {"naive": ("random", 1), "paper": ("trained", max(row["rate"] for row in rows))}

    def picture(problem: str = "part at 1", recipe: str = "naive") -> Picture:
        start, rate = starts[recipe]
        found = values_of(rows, "history", problem=problem, start=start, rate=rate)
        history = torch.tensor(found)  # [S, T, stages]
        figure, axes = new_figure(width=6.2, height=3.5)
        steps, said = [every * t for t in range(history.shape[1])], []
        for stage, colour in zip(range(history.shape[2]), (SKY, ORANGE, BLACK), strict=False):
            means = [mean_interval(column) for column in history[:, :, stage].T]
            ends = [[getattr(i, end) for i in means] for end in ("mean", "low", "high")]
            band(axes, steps, *ends, f"stage {stage + 1}", color=colour, marker="",
                 linestyle="solid", linewidth=2.4)  # fmt: skip
            said.append(f"stage {stage + 1} {means[-1].mean:.2f}")
        last = history[:, -1].mean(0)
        order = last.argsort().tolist()
        heights = {stage: float(last[stage]) for stage in order}
        for low, high in pairwise(order):  # names must not overlap
            heights[high] = max(heights[high], heights[low] + 0.05)
        for stage, colour in zip(order, [(SKY, ORANGE, BLACK)[s] for s in order], strict=True):
            _name(axes, steps[-1], heights[stage], f"stage {stage + 1}", colour)
        axes.set_xlim(0, steps[-1] * 1.24)
        axes.set_ylim(0, 0.6)
        label(axes, "steps of training", "fraction from the other task", f"{problem}, {recipe}")
        _large(axes)
        return Picture(figure, f"{problem}, {recipe}: at the end {', '.join(said)}.")

    return picture


def correlation_lines(rows: Rows, arms: Mapping[str, str], linear: Sequence[float]) -> Picture:
    """Draw each arm's error minus that of separate networks, over the correlation of two tasks.

    Args:
        rows: of the study ``03_correlation``.
        arms: for each arm its name in the picture.
        linear: the error of a linear model at each correlation, for the text.
    """
    dials = sorted({row["correlation"] for row in rows})
    figure, axes = new_figure(width=6.6, height=3.6)
    said = []
    for k, ((arm, name), colour) in enumerate(
        zip(arms.items(), (GREEN, ORANGE, BLUE), strict=True)
    ):
        gaps = [
            paired_interval(*(values_of(rows, correlation=p, arm=a) for a in (arm, "single")))
            for p in dials
        ]
        at, means = [p + 0.03 * (k - 1) for p in dials], [i.mean for i in gaps]
        half = [i.high - i.mean for i in gaps]
        axes.errorbar(at, means, yerr=half, color=colour, marker="o", capsize=3, linestyle="solid")
        _name(axes, dials[-1] + 0.03, means[-1] - 0.002 * (k == 1), name, colour)
        said.append(f"{name} {', '.join(f'{i.mean:+.3f}' for i in gaps)}")
    axes.axhline(0, color=PURPLE, linewidth=1.6, linestyle="dashed")
    axes.set_xlim(-0.06, 1.3)
    axes.set_xticks(dials)
    place = axes.get_position()
    axes.set_position((place.x0 + 0.035, place.y0, place.width - 0.035, place.height))
    label(axes, "correlation of the two tasks", "RMSE above separate networks")
    _large(axes)
    rest = ", ".join(f"{v:.2f}" for v in linear)
    return Picture(figure, f"Above separate networks: {'; '.join(said)}. Linear RMSE: {rest}.")


def shares(before: Mapping[str, Tensor], title: str = "") -> Picture:
    """Draw how much each expert counts, for several mixtures.

    Args:
        before: for each mixture the mean weight of its experts, [E].
        title: of the picture.
    """
    figure, axes = new_figure(width=6.6, height=0.62 * len(before) + 1.5)
    place = axes.get_position()
    axes.set_position((0.3, place.y0, 0.67, place.height))
    shade = ("0.25", "0.45", "0.62", "0.78", "0.88")
    said = []
    for row, (name, weights) in enumerate(before.items()):
        foot = 0.0
        for e, weight in enumerate(weights.tolist()):
            axes.barh(row, weight, left=foot, height=0.6, color=shade[e % 5], edgecolor="white")
            if weight > 0.08:
                axes.text(foot + weight / 2, row, str(e + 1), ha="center", va="center",
                          fontsize=SIZE, color="white" if e < 2 else "black")  # fmt: skip
            foot += weight
        said.append(f"{name}: " + ", ".join(f"{w:.2f}" for w in weights.tolist()))
    axes.set_yticks(range(len(before)), list(before))
    axes.set_ylim(len(before) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    label(axes, "mean weight of experts 1, 2, ...", "", title)
    _large(axes)
    return Picture(figure, "; ".join(said) + ".")


# ------------------------------------------------------------------------------ the price list


def gains(rows: Rows, hours: int) -> dict[str, Interval | None]:
    """Give each way's delta-m over separate networks, in percent; None for these themselves.

    Args:
        rows: of the studies of the street corners.
        hours: labelled hours of each counter.
    """
    rows = [row for row in rows if row["hours"] == hours]
    by_way = {row["way"]: torch.tensor(values_of(rows, "by_counter", way=row["way"]))
              for row in rows}  # fmt: skip
    alone = by_way["split 0"]  # [seeds, counters]
    found = {way: mean_interval(100 * (1 - e / alone).mean(1)) for way, e in by_way.items()}
    return {**found, "split 0": None}


def price_list(prices: Rows, gains: Mapping[str, Interval | None], names: Mapping[str, str]
               ) -> Picture:  # fmt: skip
    """Draw what each way of sharing costs, next to what it brings.

    Args:
        prices: of the study ``03_corner_prices``.
        gains: for each way delta-m over separate networks, in percent; None for the reference.
        names: for each way what the picture calls it, from the top.
    """
    figure, (left, right) = new_figure(2, width=8.6, height=0.44 * len(names) + 1.6)
    for axes, (start, end) in ((left, (0.215, 0.60)), (right, (0.66, 0.985))):
        place = axes.get_position()
        axes.set_position((start, place.y0, end - start, place.height))
    by_way, said = {row["way"]: row for row in prices}, []
    base = by_way["split 3"]
    looks = (("parameters", SHARED, -0.27), ("multiply_adds", SKY, 0.0), ("time", BLACK, 0.27))
    for row, (way, name) in enumerate(names.items()):
        price = by_way.get(way)
        for what, colour, up in looks if price else ():
            ratio = price[what] / base[what]
            left.barh(row + up, ratio, height=0.25, color=colour)
        gain = gains[way]
        if gain is None:
            right.plot(0, row, "o", color=GREY, ms=8)
        else:
            error = [[gain.mean - gain.low], [gain.high - gain.mean]]
            right.errorbar(gain.mean, row, xerr=error, fmt="o", color=BLACK, capsize=3, ms=6)
        text = f"{gain.mean:+.0f} %" if gain else "reference"
        if price:
            ratios = [price[what] / base[what] for what, _, _ in looks]
            text += ", price " + ", ".join(f"{r:.1f}" for r in ratios)
        said.append(f"{name}: {text}")
    left.axvline(1, color=GREY, linewidth=1.2, linestyle="dashed")
    right.axvline(0, color=GREY, linewidth=1.2, linestyle="dashed")
    left.set_xscale("log")
    left.set_xlim(0.8, 40)
    left.set_xticks([1, 3, 10, 30], ["1", "3", "10", "30"])
    left.minorticks_off()
    left.set_yticks(range(len(names)), list(names.values()))
    right.set_yticks(range(len(names)), [""] * len(names))
    for axes in (left, right):
        axes.set_ylim(len(names) - 0.4, -0.6)
    colour_names = (("parameters", SHARED), ("multiply-adds", "#2a7fb0"), ("time", BLACK))
    for k, (text, colour) in enumerate(colour_names):
        figure.text(0.215 + 0.135 * k + 0.02 * (k > 1), 0.985, text, color=colour, fontsize=SIZE,
                    fontweight="bold", va="top")  # fmt: skip
    label(left, "times one trunk")
    label(right, "delta-m over separate networks (%)")
    _large(left, right)
    return Picture(figure, "; ".join(said) + ".")
