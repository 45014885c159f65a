"""The pictures of the notebooks that go deeper than lesson 03."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from mtl_helpers.metrics import Interval, mean_interval
from mtl_helpers.teaching.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILLION,
    Picture,
    band,
    label,
    new_figure,
)


def weights_of_examples(last: int = 1, full: int = 8) -> Picture:
    """Draw how much each example counts in the mean of the means of three batches.

    Args:
        last: examples in the last batch; the other two are full.
        full: examples in a full batch.
    """
    sizes = [full, full, last]
    weights = [1 / (len(sizes) * size) for size in sizes for _ in range(size)]
    colours = [BLUE] * (2 * full) + [VERMILLION] * last
    figure, axes = new_figure(width=6.4, height=3.4)
    axes.bar(range(1, len(weights) + 1), weights, color=colours, edgecolor="white")
    axes.axhline(1 / len(weights), color=BLACK, linewidth=1.4, linestyle="dashed")
    axes.text(0.6, 1 / len(weights) + 0.008, "mean over examples", color=BLACK, fontsize=11)
    axes.text(len(weights) + 0.4, 0.36, "last batch", color=VERMILLION, ha="right", fontsize=12)
    axes.text(full + 0.5, 0.2, "two full batches", color=BLUE, ha="center", fontsize=12)
    for edge in (full + 0.5, 2 * full + 0.5):
        axes.axvline(edge, color=GREY, linewidth=1, ymax=0.42)
    axes.set_xlim(0.3, 3 * full + 0.7)
    axes.set_ylim(0, 0.4)
    label(axes, "example", "its weight in the mean of means", f"last batch: {last} of {full}")
    ratio = weights[-1] / weights[0]
    says = f"An example of the last batch counts {ratio:.2f} times as much as one of a full batch."
    return Picture(figure, says)


# --------------------------------------------------------------------------- gates and stitches


def stitches_explorer(rows: Sequence[Mapping[str, Any]], every: int) -> Callable[..., Picture]:
    """Make the explorer of stitches while they learn, by problem, start and learning rate.

    Args:
        rows: of the study ``03_stitches_open``.
        every: steps between two points of a history.

    Returns:
        A function of ``problem``, ``start`` and ``rate``.
    """
    colours, lines = (BLUE, VERMILLION, GREEN), ("solid", "dashed", "dashdot")

    def picture(problem: str = "", start: str = "random", rate: int = 1) -> Picture:
        wanted = (problem or rows[0]["problem"], start, rate)
        found = [r["history"] for r in rows if (r["problem"], r["start"], r["rate"]) == wanted]
        values = np.array(found)  # [S, T, stages]
        steps, said = every * np.arange(values.shape[1]), []
        figure, axes = new_figure(width=6.6, height=3.6)
        for stage in range(values.shape[2]):
            ends = [mean_interval(v) for v in values[:, :, stage].T]
            look = {"color": colours[stage], "linestyle": lines[stage]}
            three = [[getattr(end, name) for end in ends] for name in ("mean", "low", "high")]
            band(axes, steps, *three, f"stage {stage + 1}", **look)
            said.append(f"stage {stage + 1} {ends[-1].mean:.2f}")
        axes.axhline(0.1, color=GREY, linewidth=1.4, linestyle="dotted")
        axes.set_ylim(0, 0.65)
        axes.legend(loc="upper left", ncols=3, frameon=False)
        title = f"{wanted[0]}, {start} columns, rate × {rate}"
        label(axes, "step", "from the other column", title)
        return Picture(figure, f"{title}: after {steps[-1]} steps {', '.join(said)}.")

    return picture


def gates_meet(curves: Mapping[str, Tensor], every: int) -> Picture:
    """Draw the common part of two gates while they learn: thin lines are runs, thick ones means.

    Args:
        curves: for each problem the common part of every run and point, [S, T].
        every: steps between two points.
    """
    figure, axes = new_figure(width=7.4, height=3.9)
    colours, said = (VERMILLION, GREY, BLUE, GREEN), []
    ends = {name: float(values[:, -1].mean()) for name, values in curves.items()}
    places = dict(zip(sorted(ends, key=ends.get), _apart(sorted(ends.values()), 0.05), strict=True))
    for colour, (name, values) in zip(colours, curves.items(), strict=False):
        steps, mean = every * np.arange(values.shape[1]), values.mean(0)
        axes.plot(steps, values.T.tolist(), color=colour, linestyle="solid", linewidth=0.6)
        axes.plot(steps, mean.tolist(), color=colour, linestyle="solid", linewidth=2.6)
        axes.text(steps[-1] * 1.02, places[name], name, color=colour, va="center", fontsize=11)
        said.append(f"{name} {mean[0]:.2f} to {mean[-1]:.2f}")
    axes.set_xlim(0, steps[-1] * 1.5)
    axes.set_xticks(steps[:: len(steps) // 4].tolist())
    axes.set_ylim(0.4, 1.03)
    label(axes, "step", "common part of the gates")
    return Picture(figure, "; ".join(said) + ".")


def _apart(heights: Sequence[float], gap: float) -> list[float]:
    """Move sorted heights of labels up until no two are nearer than ``gap``."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + gap) if placed else height)
    return placed


# --------------------------------------------------------------------------------------- probes


def probes(errors: Mapping[str, Tensor]) -> Picture:
    """Draw the error of probes by the place where they read, with 95 % bands.

    Args:
        errors: for each network or problem the error of every seed and place, [S, P].
    """
    figure, axes = new_figure(width=7.4, height=3.9)
    colours, said = (VERMILLION, ORANGE, GREEN, BLUE), []
    ends = {name: float(values[:, -1].mean()) for name, values in errors.items()}
    places = dict(zip(sorted(ends, key=ends.get), _apart(sorted(ends.values()), 0.04), strict=True))
    for colour, (name, values) in zip(colours, errors.items(), strict=False):
        found = [mean_interval(column) for column in values.T]
        three = [[getattr(i, end) for i in found] for end in ("mean", "low", "high")]
        last = values.shape[1] - 1
        band(axes, range(last + 1), *three, name, color=colour, linestyle="solid", marker="o")
        axes.text(last + 0.08, places[name], name, color=colour, va="center", fontsize=11)
        said.append(f"{name}: " + ", ".join(f"{i.mean:.2f}" for i in found))
    axes.set_xlim(-0.1, last + 1.1)
    names = ["input", *(f"layer {k}" for k in range(1, last + 1))]
    axes.set_xticks(range(last + 1), names)
    label(axes, "where the probe reads", "RMSE of the probe")
    return Picture(figure, "; ".join(said) + ".")


# --------------------------------------------------------------------------- how strong a pull


def pulls(errors: Mapping[str, Mapping[str, Interval]]) -> Picture:
    """Draw what each strength of a penalty changes, against two separate networks.

    Args:
        errors: for each problem and strength the paired difference in error from strength 0.
    """
    figure, axes = new_figure(width=7.4, height=3.9)
    colours, said = (VERMILLION, GREEN, BLUE), []
    for k, (name, found) in enumerate(errors.items()):
        x = np.arange(len(found)) + 0.12 * (k - 1)
        mean, low, high = (
            np.array([getattr(i, e) for i in found.values()]) for e in ("mean", "low", "high")
        )
        axes.errorbar(
            x, mean, yerr=[mean - low, high - mean], color=colours[k], marker="os^"[k],
            linestyle="solid", linewidth=1.2, capsize=3, label=name,
        )  # fmt: skip
        said.append(f"{name}: " + ", ".join(f"{i.mean:+.3f}" for i in found.values()))
    axes.axhline(0, color=BLACK, linewidth=1.4, linestyle="dashed")
    axes.set_xticks(range(len(found)), list(found))
    axes.yaxis.set_major_formatter("{x:+.2f}")
    axes.set_yticks([-0.04, -0.02, 0, 0.02, 0.04])
    axes.legend(loc="upper left", frameon=False, fontsize=11)
    label(axes, "strength of the pull", "RMSE minus separate networks")
    return Picture(figure, "; ".join(said) + ".")


# -------------------------------------------------------------------------------------- masks


def masks(images: Tensor, found: Mapping[str, Tensor]) -> Picture:
    """Draw some images in the upper row, and below them each task's mask, white where it is open.

    Args:
        images: [N, H, W].
        found: for each task its mask, mean over channels, 0 to 1, [N, H, W].
    """
    rows = {"image": images, **{f"mask of {name}": mask for name, mask in found.items()}}
    figure, _ = new_figure(width=7.0, height=1.7 * len(rows))
    figure.clear()
    panels = figure.subplots(len(rows), len(images), squeeze=False)
    for line, (name, values) in zip(panels, rows.items(), strict=True):
        low, high = (-1.5, 1.5) if name == "image" else (0, 1)
        for axes, value in zip(line, values, strict=True):
            axes.imshow(value.tolist(), cmap="gray", vmin=low, vmax=high)
            axes.set_xticks([])
            axes.set_yticks([])
        line[0].set_ylabel(name, fontsize=12)
    figure.tight_layout()
    said = (f"{name} {float(mask.mean()):.1f}" for name, mask in found.items())
    return Picture(figure, f"{len(images)} images; mean of the masks: {', '.join(said)}.")


# ------------------------------------------------------------------------- trunks from the shelf


def cuts(found: Mapping[str, Mapping[str, Sequence[float]]]) -> Picture:
    """Draw how much of each network's parameters and work lies before each of its cuts.

    Args:
        found: for each network and cut (side of the map, channels, parameters, multiply-adds), in
            order; the last cut is the whole trunk.
    """
    figure, _ = new_figure(width=9.0, height=3.6)
    figure.clear()
    said, panels = [], figure.subplots(1, len(found), sharey=True)
    for axes, (name, stages) in zip(panels, found.items(), strict=True):
        values = np.array([stage[2:4] for stage in stages.values()], dtype=float)
        fractions = values / values[-1]
        places = range(len(stages))
        axes.plot(places, fractions[:, 1], color=BLUE, marker="o", linewidth=2.2)
        axes.plot(places, fractions[:, 0], color=VERMILLION, marker="s", linestyle="dashed")
        axes.set_xticks(places, [str(place + 1) for place in places])
        axes.set_title(name, fontsize=12)
        axes.set_xlabel("cut", fontsize=12)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(True, color="0.9", linewidth=0.8)
        row = ", ".join(f"{p:.2f}/{w:.2f}" for p, w in fractions)
        said.append(f"{name}: {row}")
    panels[0].text(0.1, 0.75, "work", color=BLUE, fontsize=12)
    panels[0].text(2.55, 0.0, "parameters", color=VERMILLION, fontsize=12)
    panels[0].set_ylabel("fraction up to the cut", fontsize=12)
    figure.tight_layout()
    return Picture(figure, "Parameters/work up to each cut. " + "; ".join(said) + ".")
