"""The pictures of lesson 05, first half: batch normalisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from matplotlib.axes import Axes
from sklearn.datasets import load_digits
from torch import Tensor

from mtl_helpers.metrics import mean_interval
from mtl_helpers.teaching.figures import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    VERMILLION,
    Picture,
    band,
    label,
    new_figure,
    task_style,
)

EPS = 1e-5
MODES = {"train": BLUE, "eval": ORANGE}  # the two faces of one layer
SEEN = (-6.8, 7.2)  # standard deviations of ink on the axes


@lru_cache(maxsize=1)
def ink() -> Tensor:
    """Give the ink of scikit-learn's 1797 digits, [N]: the mean grey value of each, standardised.

    Mean 0 and standard deviation 1 over all of them, so running averages of 0 and 1 describe them.
    """
    grey = torch.as_tensor(load_digits().images).mean((1, 2)) / 16
    return (grey - grey.mean()) / grey.std(correction=0)


def in_company(own: float, others: int, shift: float, draws: int = 300, seed: int = 0) -> Tensor:
    """Normalise one digit's ink in many batches, as in training: [draws].

    Args:
        own: the ink of the digit that is in every batch, before the shift.
        others: how many other digits are drawn into each batch.
        shift: is added to the ink of all of them.
        draws: how many batches.
        seed: of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = ink()[torch.randint(len(ink()), (draws, others), generator=generator)]
    batch = torch.cat([torch.full((draws, 1), own, dtype=ink().dtype), drawn], 1) + shift
    spread = (batch.var(1, correction=0) + EPS).sqrt()
    return (batch[:, 0] - batch.mean(1)) / spread


def train_and_eval(batch: int = 8, shift: float = 0.0, mode: str = "train") -> Picture:
    """Draw what a batch normalisation makes of one batch, and of one digit in many batches.

    The layer was trained on all digits' ink: running mean 0, running variance 1, gamma 1, beta 0.

    Args:
        batch: digits in a batch.
        shift: is added to the ink of all digits in it.
        mode: which of the two faces is drawn boldly; both are always drawn.
    """
    own = 1.0  # a digit with one standard deviation more ink than the mean
    generator = torch.Generator().manual_seed(3)
    company = ink()[torch.randint(len(ink()), (batch - 1,), generator=generator)]
    x = torch.cat([torch.full((1,), own, dtype=ink().dtype), company]) + shift
    many = in_company(own, batch - 1, shift)
    mean, spread = x.mean(), (x.var(correction=0) + EPS).sqrt()
    outputs = {"train": (x - mean) / spread, "eval": x / (1 + EPS) ** 0.5}
    figure, (left, right) = new_figure(2, width=8.2)
    _scatter(left, x, outputs, mode)
    unit = "(standard deviations)"
    label(left, f"ink that goes in {unit}", f"what comes out {unit}", "one batch, both modes")
    look = {"color": MODES["train"], "alpha": _weight(mode, "train"), "histtype": "stepfilled"}
    right.hist(many.tolist(), bins=torch.linspace(*SEEN, 97).tolist(), **look)
    right.axvline(
        float(own + shift), color=MODES["eval"], linewidth=3, linestyle="dashed",
        alpha=_weight(mode, "eval"),
    )  # fmt: skip
    right.set_xlim(*SEEN)
    label(right, f"output of the marked digit {unit}", "batches", "one digit, 300 batches")
    says = (
        f"Batches of {batch}, shift {shift:+g}. This batch comes out with mean "
        f"{_plain(outputs[mode].mean())} in {mode} mode. The marked digit comes out as "
        f"{_plain(many.mean())} ± {_plain(many.std(correction=0))} (mean ± standard deviation) in "
        f"train mode over 300 batches, as {_plain(own + shift)} in eval mode."
    )
    return Picture(figure, says)


def _scatter(axes: Axes, x: Tensor, outputs: dict[str, Tensor], mode: str) -> None:
    axes.axhline(0, color=GREY, linewidth=1)
    looks = {
        "eval": {"marker": "s", "markersize": 11, "markerfacecolor": "none", "mew": 1.8},
        "train": {"marker": "o", "markersize": 6},
    }
    for (
        name,
        marker,
    ) in looks.items():  # the hollow squares first: points that coincide stay visible
        look = {"color": MODES[name], "alpha": _weight(mode, name), "linestyle": "none", **marker}
        axes.plot(x[1:], outputs[name][1:], label=name, **look)
        rim = {"markersize": marker["markersize"] + 4, "markeredgecolor": BLACK}
        axes.plot(x[:1], outputs[name][:1], **{**look, **rim})
    axes.set_xlim(*SEEN)
    axes.set_ylim(*SEEN)
    axes.legend(loc="upper left", frameon=False)


def _weight(mode: str, name: str) -> float:
    return 1.0 if mode == name else 0.35


def _plain(value: Tensor | float) -> str:
    return f"{float(value) + 0.0:.2f}".replace("-0.00", "0.00")


# What each arm of 05_why_bn is called and how it is drawn. An arm keeps its colour in the lesson.
WHY = {
    "plain": ("no normalisation", BLACK, "dotted", "v"),
    "plain_same_lr": ("no normalisation, rate of batch norm", GREY, "dashed", "s"),
    "bn": ("batch norm", BLUE, "solid", "o"),
    "bn_shifted": ("batch norm, then injected shift", VERMILLION, "dashdot", "^"),
}


def by_arm(rows: Sequence[Mapping[str, Any]], column: str) -> dict[str, Tensor]:
    """Collect a column: {arm: [seeds]} of numbers, or {arm: [seeds, steps]} of lists.

    A number that was not finite is recorded as None; here it is nan.
    """

    def number(value: Any) -> Any:
        if isinstance(value, list):
            return [number(one) for one in value]
        return float("nan") if value is None else float(value)

    arms = dict.fromkeys(row["arm"] for row in rows)
    return {
        arm: torch.tensor(
            [number(row[column]) for row in rows if row["arm"] == arm], dtype=torch.float64
        )
        for arm in arms
    }


def why_curves(
    rows: Sequence[Mapping[str, Any]], right: str = "range", title: str = "along the gradient"
) -> Picture:
    """Draw training loss, and another column, of every arm: geometric means with intervals.

    Args:
        rows: of the study 05_why_bn.
        right: the column drawn in the second picture.
        title: of the second picture.
    """
    figure, both = new_figure(2, width=9.0, height=3.9)
    steps = torch.tensor(rows[0]["steps"])
    last: dict[tuple[str, str], float] = {}
    lost = {arm: int((~v.isfinite()).any(1).sum()) for arm, v in by_arm(rows, right).items()}
    for axes, column in zip(both, ("train_loss", right), strict=True):
        for arm, values in by_arm(rows, column).items():
            whole = values.isfinite().all(0) & (values > 0).all(0)  # steps known for all seeds
            ends = [mean_interval(at) for at in values[:, whole].log10().unbind(1)]
            mean, low, high = (10 ** torch.tensor([(i.mean, i.low, i.high) for i in ends])).T
            name, colour, line, marker = WHY[arm]
            every = max(1, len(ends) // 6)
            style = {"color": colour, "linestyle": line, "marker": marker, "markevery": every}
            band(axes, steps[whole], mean, low, high, name, **style)
            last[arm, column] = float(mean[-1])
        axes.set_yscale("log")
    label(both[0], "step", "training loss", "loss, both tasks")
    label(both[1], "step", "loss range" if right == "range" else right, title)
    both[0].legend(loc="lower left", frameon=False, fontsize=9)
    parts = (
        f"{WHY[arm][0]}: "
        + (
            f"not finite in {lost[arm]} seeds"
            if lost[arm]
            else f"loss {last[arm, 'train_loss']:.2g}, {right} {last[arm, right]:.2g}"
        )
        for arm in lost
    )
    return Picture(
        figure, f"At step {steps[-1]:g}, geometric means over seeds. " + "; ".join(parts)
    )


NORMS = {
    "single": "own networks", "none": "no norm", "mixed": "batch, mixed",
    "alternating": "batch, alternating", "alternating_same_lr": "same, other rate",
    "per_task": "batch, per task", "group": "group norm", "layer": "layer norm",
}  # fmt: skip


# "plain" and "shifted" look like the first and the second task elsewhere in the series.
TASK_STYLE = {"plain": task_style("left"), "shifted": task_style("right")}


def shifted_arms(rows: Sequence[Mapping[str, Any]]) -> Callable[..., Picture]:
    """Make the figure function over the rows of the study 05_shifted_tasks."""
    found: dict[tuple[float, str, str], list[float]] = {}
    for row in rows:
        for column in ("plain", "shifted"):
            key = (row["shift"], row["arm"])
            own = row[f"{column}_batch"]
            found.setdefault((*key, f"{column} running"), []).append(row[column])
            measured = row[column] if own is None else own
            found.setdefault((*key, f"{column} own batch"), []).append(measured)
    ends = {key: mean_interval(values) for key, values in found.items()}
    arms = [arm for arm in NORMS if any(arm == key[1] for key in ends)]

    def errors_by_norm(shift: float = 0.0, statistics: str = "running") -> Picture:
        """Draw the wrong answers of both tasks for every arm at one strength of the shift."""
        figure, (left, right) = new_figure(2, width=9.0, height=3.6)
        left.set_position((0.18, 0.16, 0.37, 0.74))
        right.set_position((0.60, 0.16, 0.37, 0.74))
        says = []
        for axes, task in ((left, "plain"), (right, "shifted")):
            own = 100 - ends[shift, "single", f"{task} {statistics}"].mean
            axes.axvline(own, color=GREY, linewidth=1.2, linestyle="dashed")
            for row, arm in enumerate(arms):
                i = ends[shift, arm, f"{task} {statistics}"]
                style = {**TASK_STYLE[task], "linestyle": "none"}
                error = [[i.high - i.mean], [i.mean - i.low]]
                axes.errorbar(100 - i.mean, row, xerr=error, capsize=4, elinewidth=2, **style)
            axes.set_ylim(len(arms) - 0.5, -0.5)
            axes.set_yticks(range(len(arms)), [NORMS[a] if axes is left else "" for a in arms])
            axes.set_xscale("log")
            axes.set_xlim(3, 100)
            axes.set_xticks([5, 10, 20, 50], ["5", "10", "20", "50"])
            axes.minorticks_off()
            label(axes, "wrong answers (%)", "", f"task {task}")
            wrong = {NORMS[a]: 100 - ends[shift, a, f"{task} {statistics}"].mean for a in arms}
            says.append(f"{task}: " + ", ".join(f"{n} {value:.1f}" for n, value in wrong.items()))
        return Picture(
            figure,
            f"Wrong answers, %, shift {shift:g}, {statistics} statistics. {'; '.join(says)}.",
        )

    return errors_by_norm


def shifted_digits(images: Mapping[str, Tensor], columns: int = 6) -> Picture:
    """Draw rows of digits on one scale of grey, each row with its name.

    Args:
        images: grey values by name of the row, each [N, 1, 8, 8] or [N, 8, 8].
        columns: digits drawn in a row.
    """
    figure, axes = new_figure(width=6.4, height=0.75 * len(images) + 0.3)
    axes.set_position((0.27, 0.02, 0.72, 0.96))
    axes.set_axis_off()
    top = max(float(block.max()) for block in images.values())
    for row, block in enumerate(images.values()):
        for column, image in enumerate(block.reshape(-1, *block.shape[-2:])[:columns].numpy()):
            box = (column, column + 0.92, row + 0.92, row)
            axes.imshow(image, cmap="gray", vmin=0, vmax=top, extent=box)
        axes.text(-0.12, row + 0.46, list(images)[row], ha="right", va="center", fontsize=10)
    axes.set_xlim(0, columns)
    axes.set_ylim(len(images), 0)
    means = ", ".join(f"{name}: {float(block.mean()):.2f}" for name, block in images.items())
    return Picture(figure, f"Mean grey values. {means}; white is {top:.2f}.")
