"""The pictures of lesson 03."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from mtl_helpers.metrics import Interval, mean_interval
from mtl_helpers.models import Size
from mtl_helpers.teaching.figures import (
    BLACK,
    GREY,
    SKY,
    Picture,
    band,
    label,
    new_figure,
    task_style,
)

SHARED = "0.55"  # the grey of what is shared

# ------------------------------------------------------------------------------ where to split


def split_explorer(
    scores: Mapping[str, Tensor],
    names: Mapping[str, Sequence[str]],
    sizes: Mapping[str, Sequence[Size]],
    units: Mapping[str, str],
) -> Callable[..., Picture]:
    """Make the explorer of where to split: quality by split, and the price of the chosen one.

    Args:
        scores: for each problem the error of each split, seed and task, [P, S, K].
        names: for each problem its K tasks.
        sizes: for each problem the size of the model at each split, P of them.
        units: for each problem what its errors are.

    Returns:
        A function of ``problem``, one of the names, and ``shared``, how many stages are shared.
    """

    def picture(problem: str = "", shared: int = 0) -> Picture:
        problem = problem or next(iter(scores))
        errors, tasks = scores[problem], names[problem]
        figure, (left, right) = new_figure(2, height=3.6)
        means = _quality(left, errors, tasks, shared)
        by_task = errors.mean(1)
        low = min(float(by_task.min()), *(i.low for i in means))
        high = max(float(by_task.max()), *(i.high for i in means))
        left.set_ylim(max(0.0, low - 0.1 * (high - low)), high + 0.3 * (high - low))
        label(left, "stages shared (0: nothing)", units[problem], problem)
        here, full = sizes[problem][shared], sizes[problem][-1]
        _price(right, here, full, tasks)
        best = min(range(len(means)), key=lambda i: means[i].mean)
        says = (
            f"{problem}, {shared} of {len(means) - 1} stages shared: {units[problem]} "
            f"{means[shared]:.3f}; {here.total_parameters} parameters and "
            f"{here.total_multiply_adds:.0f} multiply-adds, "
            f"{here.total_parameters / full.total_parameters:.2f} and "
            f"{here.total_multiply_adds / full.total_multiply_adds:.2f} times those of full "
            f"sharing. Lowest mean at {best} shared: {means[best]:.3f}."
        )
        return Picture(figure, says)

    return picture


def _quality(axes: Axes, errors: Tensor, tasks: Sequence[str], shared: int) -> list[Interval]:
    """Draw each task's mean error and, in black, the mean over tasks with its interval."""
    splits = range(len(errors))
    for k, task in enumerate(tasks):
        style = {**task_style(task), "linewidth": 1.0, "markersize": 4}
        axes.plot(splits, errors[:, :, k].mean(1).tolist(), label=task, **style)
    means = [mean_interval(values.mean(1)) for values in errors]
    ends = [[getattr(i, end) for i in means] for end in ("mean", "low", "high")]
    style = {"color": BLACK, "marker": "o", "linestyle": "solid"}
    band(axes, splits, *ends, "mean", **style)
    axes.plot(shared, means[shared].mean, "o", ms=13, mfc="none", mec=BLACK, mew=1.8)
    axes.set_xticks(list(splits))
    axes.legend(
        loc="upper center", ncols=2 if len(tasks) < 4 else 3, frameon=False, fontsize="x-small",
        columnspacing=1.0, handlelength=1.8,
    )  # fmt: skip
    return means


def _price(axes: Axes, here: Size, full: Size, tasks: Sequence[str]) -> None:
    """Draw two stacked bars, parameters and multiply-adds, in multiples of full sharing."""
    both = (
        (here.parameters, full.total_parameters),
        (
            here.multiply_adds,
            full.total_multiply_adds,
        ),
    )
    for place, (parts, whole) in enumerate(both):
        foot = 0.0
        for name in ("shared", *tasks):
            up = parts[name] / whole
            colour = SHARED if name == "shared" else task_style(name)["color"]
            axes.bar(place, up, bottom=foot, width=0.55, color=colour, edgecolor="white")
            foot += up
    axes.axhline(1, color=GREY, linewidth=1.2, linestyle="dashed")
    axes.set_xticks([0, 1], ["parameters", "multiply-adds"])
    axes.set_xlim(-0.6, 1.6)
    axes.set_ylim(0, len(tasks) + 0.3)
    label(axes, "grey: shared, colours: own", "times full sharing", "price of the split")


# ------------------------------------------------------------------------------ gates, stitches


def gates_explorer(
    histories: Mapping[float, Mapping[str, Tensor]], every: int, tasks: Sequence[str]
) -> Callable[..., Picture]:
    """Make the explorer of gates while they learn.

    Args:
        histories: for each correlation of the two tasks: ``gates``, the mean weight of each expert,
            [T, K, E]; ``overlap``, how much of the two gates is common, [T], 1 where they are the
            same; ``loss``, the sum of both test losses, [T].
        every: steps between two of the T points.
        tasks: the K = 2 tasks.

    Returns:
        A function of ``correlation`` and ``step``.
    """
    places = np.arange(next(iter(histories.values()))["gates"].shape[-1])

    def picture(correlation: float = 0.0, step: int = 0) -> Picture:
        now, history = round(step / every), histories[correlation]
        gates = history["gates"][now]
        figure, (left, right) = new_figure(2, height=3.5)
        for k, task in enumerate(tasks):
            style, side = task_style(task), (-0.19, 0.19)[k]
            hatch = ("", "///")[k]
            left.bar(
                places + side, gates[k].tolist(), width=0.36, color=style["color"], hatch=hatch,
                edgecolor="white", label=task,
            )  # fmt: skip
        left.set_xticks(places, [str(e + 1) for e in places])
        left.set_ylim(0, 1)
        left.legend(loc="upper right", frameon=False, fontsize="small")
        label(left, "expert", "mean weight", f"gates after {step} steps")
        for number, (p, other) in enumerate(histories.items()):
            steps = every * np.arange(len(other["overlap"]))
            line = ("solid", "dashed", "dotted")[number % 3]
            wide = 2.6 if p == correlation else 1.2
            right.plot(
                steps, other["overlap"].tolist(), color=BLACK if p == correlation else GREY,
                linestyle=line, linewidth=wide, label=f"correlation {p:g}",
            )  # fmt: skip
        right.plot(step, float(history["overlap"][now]), "o", ms=9, color=SKY, mec=BLACK)
        right.set_ylim(0, 1.05)
        right.legend(loc="lower left", frameon=False, fontsize="small")
        label(right, "step", "common part of the gates", "do both tasks ask the same experts?")
        says = (
            f"Correlation {correlation:g}, step {step}: {tasks[0]} weighs the experts "
            f"{_numbers(gates[0])}, {tasks[1]} {_numbers(gates[1])}; common part of the gates "
            f"{float(history['overlap'][now]):.2f}, sum of the test losses "
            f"{float(history['loss'][now]):.2f}."
        )
        return Picture(figure, says)

    return picture


def _numbers(values: Tensor) -> str:
    return ", ".join(f"{value:.2f}" for value in values.tolist())


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """Give the common part of two gates: [..., B, E] twice -> [...], 1 where they are the same."""
    return torch.minimum(first, second).sum(-1).mean(-1)


def stitches_explorer(history: Tensor, every: int, tasks: Sequence[str]) -> Callable[..., Picture]:
    """Make the explorer of stitches while they learn.

    Args:
        history: a stitch for each run, point and stage, [R, T, stages, K, K], with K = 2.
        every: steps between two points.
        tasks: the two tasks.

    Returns:
        A function of ``run`` (from 1), ``stage`` (from 1) and ``step``.
    """
    other = 1 - torch.eye(2, dtype=history.dtype)
    foreign = (history.abs() * other).sum(-1) / history.abs().sum(-1)  # [R, T, stages, K]

    def picture(run: int = 1, stage: int = 1, step: int = 0) -> Picture:
        now = round(step / every)
        stitch = history[run - 1, now, stage - 1]
        figure, (left, right) = new_figure(2, height=3.5)
        _matrix(left, stitch, tasks)
        label(left, "features of", "goes on with", f"stitch {stage} after {step} steps")
        steps = every * np.arange(history.shape[1])
        for k, task in enumerate(tasks):
            style = {**task_style(task), "markevery": 3, "markersize": 5}
            for r, values in enumerate(foreign[:, :, stage - 1, k]):
                chosen = r == run - 1
                look = {**style, "linewidth": 2.2 if chosen else 0.8}
                if not chosen:
                    look |= {"marker": "", "alpha": 0.5}
                right.plot(steps, values.tolist(), label=task if chosen else None, **look)
        right.axvline(step, color=GREY, linewidth=1.2, linestyle="dotted")
        right.set_ylim(0, 0.6)
        right.legend(loc="upper left", frameon=False, fontsize="small")
        label(right, "step", "share of the other task", f"all {len(history)} runs")
        rows = "; ".join(_numbers(row) for row in stitch)
        shares = foreign[run - 1, now, stage - 1]
        says = (
            f"Run {run}, stitch {stage}, step {step}: rows {rows}. Share of the other task: "
            f"{tasks[0]} {float(shares[0]):.2f}, {tasks[1]} {float(shares[1]):.2f}."
        )
        return Picture(figure, says)

    return picture


def _matrix(axes: Axes, values: Tensor, tasks: Sequence[str]) -> None:
    axes.grid(False)
    axes.imshow(values.tolist(), cmap="Greys", vmin=0, vmax=1.5, aspect="auto")
    for i, row in enumerate(values.tolist()):
        for j, value in enumerate(row):
            colour = "white" if value > 0.75 else "black"
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=13)
    axes.set_xticks(range(len(tasks)), tasks)
    axes.set_yticks(range(len(tasks)), tasks, rotation=90, va="center")


# ------------------------------------------------------------------------------------- prices


def price_list(rows: Sequence[Mapping[str, Any]], trunks: Mapping[str, str]) -> Picture:
    """Draw what each way costs and what it brings, one row a way.

    Args:
        rows: as ``price_list`` of the studies of this lesson gives them.
        trunks: for each way to be drawn, in order from the top, the way whose parameters count 1.
    """
    by_way = {way: [row for row in rows if row["way"] == way] for way in trunks}
    heavy = {way: found[0]["parameters"] for way, found in by_way.items()}
    figure, (left, right) = new_figure(2, width=9.4, height=0.36 * len(trunks) + 1.2)
    for axes, (start, end) in ((left, (0.24, 0.60)), (right, (0.66, 0.985))):
        box = axes.get_position()
        axes.set_position((start, box.y0, end - start, box.height))
        axes.xaxis.set_label_coords(0.5, -0.36 / (0.36 * len(trunks) + 0.3))
    said = []
    looks = (
        ("parameters", SHARED, -0.26, ""),
        ("multiply-adds", SKY, 0.0, "///"),
        ("time", BLACK, 0.26, ""),
    )
    for row, (way, found) in enumerate(by_way.items()):
        first = found[0]
        ratios = (heavy[way] / heavy[trunks[way]], first["work_ratio"], first["time_ratio"])
        for ratio, (name, colour, up, hatch) in zip(ratios, looks, strict=True):
            left.barh(
                row + up, ratio, height=0.24, color=colour, hatch=hatch, edgecolor="white",
                label=name if row == 0 else None,
            )  # fmt: skip
        gain = mean_interval([r["delta_m"] for r in found])
        if way.startswith("single-task"):
            right.plot(0, row, "o", color=GREY, markersize=7)
        else:
            error = [[gain.mean - gain.low], [gain.high - gain.mean]]
            right.errorbar(gain.mean, row, xerr=error, fmt="o", color=BLACK, capsize=3, ms=6)
        said.append(
            f"{way}: {ratios[0]:.2f} parameters, {ratios[1]:.2f} multiply-adds, "
            f"{ratios[2]:.2f} time, delta-m {gain:.1f}"
        )
    left.axvline(1, color=GREY, linewidth=1.2, linestyle="dashed")
    right.axvline(0, color=GREY, linewidth=1.2, linestyle="dashed")
    left.set_yticks(range(len(by_way)), list(by_way))
    right.set_yticks(range(len(by_way)), [""] * len(by_way))
    for axes in (left, right):
        axes.set_ylim(len(by_way) - 0.4, -0.6)
    figure.legend(
        *left.get_legend_handles_labels(), loc="upper left", ncols=3, frameon=False,
        bbox_to_anchor=(0.22, 1.0), fontsize="small",
    )  # fmt: skip
    label(left, "times hard sharing", "")
    label(right, "delta-m against single-task (%)", "", "what it brings")
    return Picture(figure, "; ".join(said) + ".")


# ------------------------------------------------------------------------------------- lines


def lines(
    x: Sequence[float],
    values: Mapping[str, Tensor],
    *,
    x_label: str,
    y_label: str,
    styles: Mapping[str, str] | None = None,
    ticks: Sequence[str] | None = None,
    columns: int = 3,
) -> Picture:
    """Draw means over seeds with their 95 % bands.

    Args:
        x: P places.
        values: for each name one value a seed and place, [S, P].
        x_label: what x is.
        y_label: what the values are, with their unit.
        styles: for a name the task whose colour, marker and line it takes; itself when left out.
        ticks: what stands at the places; the numbers when left out.
        columns: of the legend.
    """
    figure, axes = new_figure(width=6.4, height=3.8)
    said = _curves(axes, x, values, styles or {})
    axes.set_xticks(list(x), list(ticks) if ticks else [f"{place:g}" for place in x])
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.47, 0.99), ncols=columns, frameon=False,
        fontsize="small",
    )  # fmt: skip
    label(axes, x_label, y_label)
    return Picture(figure, said)


def lines_beside(
    x: Sequence[float],
    panels: Mapping[str, Mapping[str, Tensor]],
    *,
    x_label: str,
    y_label: str,
    styles: Mapping[str, str],
) -> Picture:
    """Draw means over seeds with their 95 % bands in two panels with one vertical axis.

    Args:
        x: P places.
        panels: for each of two titles what :func:`lines` takes.
        x_label: what x is.
        y_label: what the values are, with their unit.
        styles: for a name the task whose colour, marker and line it takes.
    """
    figure, both = new_figure(2, width=9.0, height=3.9)
    said = []
    for axes, (title, values) in zip(both, panels.items(), strict=True):
        said.append(f"{title}: {_curves(axes, x, values, styles)}")
        axes.set_xticks(list(x), [f"{place:g}" for place in x])
        axes.legend(loc="upper center", ncols=2, frameon=False, fontsize="small")
        label(axes, x_label, y_label, title)
    ends = [end for axes in both for end in axes.get_ylim()]
    low, high = min(ends), max(ends)
    for axes in both:
        axes.set_ylim(low, high + 0.25 * (high - low))
    return Picture(figure, " ".join(said))


def _curves(
    axes: Axes, x: Sequence[float], values: Mapping[str, Tensor], styles: Mapping[str, str]
) -> str:
    """Draw one curve with its band for each name; say the means."""
    said = []
    for name, rows in values.items():
        found = [mean_interval(column) for column in rows.T]
        ends = [[getattr(i, end) for i in found] for end in ("mean", "low", "high")]
        band(axes, x, *ends, name, **task_style(styles.get(name, name)))
        said.append(f"{name}: " + ", ".join(f"{i.mean:.3f}" for i in found))
    return "; ".join(said) + "."
