"""The pictures of lesson 05: normalisation, and dropout."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from sklearn.datasets import load_digits
from torch import Tensor

from mtl_helpers.metrics import Interval, mean_interval
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


Rows = Sequence[Mapping[str, Any]]

# ------------------------------------------------------------------------------ the rate


def rate_explorer(
    rows: Rows, live: Mapping[str, Any] | None = None
) -> Callable[[float, str], Picture]:
    """Make the explorer of the dropout rate: curves at one rate, and the end of every rate.

    Args:
        rows: the recorded runs: ``"rate"``, ``"seed"``, ``"steps"`` [T], and by task the losses in
            eval mode on the way, ``"train"`` and ``"valid"`` {task: [T]}.
        live: one more such row, of a run just made, drawn as crosses in the tasks' colours at its
            own rate.

    Returns:
        A function of the ``rate`` and of what is compared in the right panel: the loss at the
        ``"end"`` or at the ``"best"`` step of each run.
    """
    tasks = list(rows[0]["valid"])
    rates = sorted({row["rate"] for row in rows})
    steps = rows[0]["steps"]
    curves = {
        (rate, part, task): np.array([row[part][task] for row in rows if row["rate"] == rate])
        for rate in rates
        for part in ("train", "valid")
        for task in tasks
    }
    top = float(np.quantile(np.concatenate([c.ravel() for c in curves.values()]), 0.98))
    bands = {
        (rate, task): [mean_interval(column) for column in curves[rate, "valid", task].T]
        for rate in rates
        for task in tasks
    }
    read = {"end": lambda c: c[:, -1], "best": lambda c: c.min(1)}
    every_end = {
        (where, task, rate): mean_interval(function(curves[rate, "valid", task]))
        for where, function in read.items()
        for task in tasks
        for rate in rates
    }

    def picture(rate: float = 0.5, read_at: str = "end") -> Picture:
        rate = min(rates, key=lambda known: abs(known - rate))
        figure, (left, right) = new_figure(2, height=3.7)
        for task in tasks:
            _both_curves(left, steps, curves[rate, "train", task], bands[rate, task], task)
            if live is not None and abs(live["rate"] - rate) < 1e-9:
                colour = task_style(task)["color"]
                style = {"color": colour, "linestyle": "none", "marker": "x", "ms": 8, "mew": 2}
                left.plot(live["steps"], live["valid"][task], label=f"{task}, live", **style)
        left.set_ylim(0, 1.25 * top)
        left.legend(loc="upper right", ncols=2, frameon=False, fontsize="x-small")
        label(left, "step", "loss (eval mode)", f"rate {rate:g}")
        ends = {(task, one): every_end[read_at, task, one] for task in tasks for one in rates}
        for task in tasks:
            _by_setting(right, rates, [ends[task, one] for one in rates], task)
        right.set_ylim(0, None)
        right.set_ylim(0, 1.15 * right.get_ylim()[1])
        below_legend = 0.88  # share of the axis
        chosen = {"color": BLACK, "linewidth": 1.2, "linestyle": "dotted"}
        right.axvline(rate, ymax=below_legend, **chosen)
        right.legend(loc="upper center", ncols=2, frameon=False, fontsize="x-small")
        label(right, "rate", "validation loss", f"at the {read_at} of each run")
        return Picture(figure, _rate_says(rate, read_at, tasks, rates, curves, ends))

    return picture


def _both_curves(
    axes: Axes, steps: Any, train: np.ndarray, valid: Sequence[Interval], task: str
) -> None:
    """Draw a task's validation curve with its interval, and its training curve thin and pale."""
    mean, low, high = ([getattr(i, end) for i in valid] for end in ("mean", "low", "high"))
    every = max(1, len(steps) // 6)
    style = {**task_style(task), "markevery": every}
    band(axes, steps, mean, low, high, f"{task}, valid", **style)
    style = {**task_style(task), "linewidth": 1.0, "markersize": 4, "markerfacecolor": "white"}
    axes.plot(steps, train.mean(0), label=f"{task}, train", markevery=(every // 2, every), **style)


def _by_setting(axes: Axes, settings: Any, intervals: Sequence[Interval], task: str) -> None:
    mean, low, high = ([getattr(i, end) for i in intervals] for end in ("mean", "low", "high"))
    band(axes, settings, mean, low, high, task)


def _rate_says(
    rate: float, read_at: str, tasks: Sequence[str], rates: Sequence[float], curves: Any, ends: Any
) -> str:
    parts = []
    for task in tasks:
        gap = mean_interval(curves[rate, "valid", task][:, -1] - curves[rate, "train", task][:, -1])
        best = min(rates, key=lambda one: ends[task, one].mean)
        parts.append(
            f"{task}: validation loss {ends[task, rate].mean:.2f} at the {read_at}, "
            f"{gap.mean:.2f} above training at the end; lowest mean {ends[task, best].mean:.2f} at "
            f"rate {best:g}"
        )
    return f"Rate {rate:g}. " + ". ".join(parts) + "."


# ------------------------------------------------------------------------------ Monte-Carlo dropout


def draws_explorer(
    images: Tensor,
    drawn: Mapping[str, Tensor],
    evaluated: Mapping[str, Tensor],
    truth: Mapping[str, Tensor],
) -> Callable[[int], Picture]:
    """Make the explorer of Monte-Carlo dropout: each class's probability over the draws.

    Args:
        images: [N, 1, H, W], values 0..1.
        drawn: by task the probabilities of each draw, [draws, N, classes].
        evaluated: by task the probabilities in eval mode, [N, classes].
        truth: by task the right class, [N].

    Returns:
        A function of ``example``, the number of a picture, for two tasks.
    """
    tasks = list(drawn)

    def picture(example: int = 0) -> Picture:
        figure, axes = new_figure(2, height=3.7)
        says = []
        for k, (task, panel) in enumerate(zip(tasks, axes, strict=True)):
            p = drawn[task][:, example].numpy()
            low, high = np.quantile(p, (0.05, 0.95), axis=0)
            of_eval = evaluated[task][example].numpy()
            style = task_style(task)
            classes = range(p.shape[1])
            panel.vlines(classes, low, high, color=style["color"], linewidth=5, alpha=0.4)
            mean = p.mean(0)
            panel.plot(classes, mean, style["marker"], color=style["color"], ms=6, label="mean")
            eval_style = {"color": BLACK, "marker": "_", "linestyle": "none", "ms": 11, "mew": 2}
            panel.plot(classes, of_eval, label="eval mode", **eval_style)
            right = int(truth[task][example])
            panel.axvline(right, color=GREY, linewidth=1.2, linestyle="dotted")
            panel.set_xticks(list(classes))
            panel.set_ylim(-0.03, 1.45)
            panel.set_yticks([0, 0.5, 1])
            panel.legend(loc="upper right", frameon=False, fontsize="x-small")
            label(panel, f"{task} digit (dotted: the true one)", "" if k else "probability", task)
            top = int(of_eval.argmax())
            says.append(
                f"{task} digit: truly {right}, eval mode says {top} with "
                f"{of_eval[top]:.2f}, the draws give it "
                f"{low[top]:.2f} to {high[top]:.2f}"
            )
        inset = axes[0].inset_axes((0.02, 0.72, 0.3, 0.28))
        inset.imshow(images[example, 0].numpy(), cmap="gray", vmin=0, vmax=1)
        inset.set_axis_off()
        return Picture(figure, f"Picture {example}. " + "; ".join(says) + ".")

    return picture


# ------------------------------------------------------------------------------ the gap


TRAININGS = {"to the end": "", "stopped": "_stopped"}


def gap_explorer(rows: Rows) -> Callable[[int, float, str], Picture]:
    """Make the explorer of the generalisation gap against the number of tasks.

    Args:
        rows: ``"tasks"``, ``"relatedness"``, ``"examples"``, ``"seed"``, and the losses of task 1,
            ``"train"`` and ``"test"`` at the end of training, ``"train_stopped"`` and
            ``"test_stopped"`` where validation data stopped it.

    Returns:
        A function of ``examples`` and ``relatedness``, which take the values in the rows, and of
        ``training``, a name of ``TRAININGS``.
    """
    counts = sorted({row["tasks"] for row in rows})
    related = sorted({row["relatedness"] for row in rows})
    most = max(row["examples"] for row in rows)
    found: dict[tuple, list[tuple[float, float]]] = {}
    for row in sorted(rows, key=lambda row: row["seed"]):
        key = (row["examples"], row["relatedness"], row["tasks"])
        found.setdefault(key, []).append(
            [(row["train" + end], row["test" + end]) for end in TRAININGS.values()]
        )
    every = {key: np.array(runs) for key, runs in found.items()}  # [S, 2 trainings, 2 losses]
    tops: dict[tuple[int, str], float] = {}  # one axis for both trainings and every relatedness
    for (examples, _, _), runs in every.items():
        for which, part in itertools.product(range(len(TRAININGS)), ("test", "gap")):
            values = runs[:, which, 1] - (runs[:, which, 0] if part == "gap" else 0)
            top = 1.3 * mean_interval(values).high
            tops[examples, part] = max(top, tops.get((examples, part), 0.0))
    styles = {"training": ("task_2", SKY), "test": ("task_1", BLUE)}
    shades = dict(zip(related, (ORANGE, GREEN, PURPLE, VERMILLION), strict=False))

    def picture(
        examples: int = most, relatedness: float = related[0], training: str = "to the end"
    ) -> Picture:
        which = list(TRAININGS).index(training)
        losses = {key: runs[:, which] for key, runs in every.items()}
        figure, (left, right) = new_figure(2, height=3.7)
        parts = {}
        for column, part in enumerate(("training", "test")):
            name, colour = styles[part]
            style = {**task_style(name), "color": colour}
            here = [mean_interval(losses[examples, relatedness, k][:, column]) for k in counts]
            parts[part] = here
            ends = ([getattr(i, end) for i in here] for end in ("mean", "low", "high"))
            band(left, range(len(counts)), *ends, f"{part} loss", **style)
        left.set_ylim(0, tops[examples, "test"])
        left.legend(loc="upper right", frameon=False, fontsize="small")
        label(
            left, "tasks that share the trunk", "loss of task 1", f"{examples} examples, {training}"
        )
        gaps = {}
        for rho in related:
            gaps[rho] = [mean_interval(np.diff(losses[examples, rho, k])[:, 0]) for k in counts]
            ends = ([getattr(i, end) for i in gaps[rho]] for end in ("mean", "low", "high"))
            mean, low, high = ends
            if rho != relatedness:  # the intervals of all four would hide one another
                low = high = mean
            width = 2.6 if rho == relatedness else 1.0
            look = {"linewidth": width, "color": shades[rho]}
            band(right, range(len(counts)), mean, low, high, f"ρ = {rho:g}", **look)
        right.set_ylim(0, tops[examples, "gap"])
        right.legend(loc="upper right", ncols=3, frameon=False, fontsize="x-small")
        label(right, "tasks that share the trunk", "test minus training", "generalisation gap")
        for axes in (left, right):
            axes.set_xticks(range(len(counts)), [str(k) for k in counts])
        first, last = gaps[relatedness][0], gaps[relatedness][-1]
        train, test = parts["training"], parts["test"]
        says = (
            f"{examples} examples, relatedness {relatedness:g}, {training}: from {counts[0]} to "
            f"{counts[-1]} tasks the training loss of task 1 goes from {train[0].mean:.3f} to "
            f"{train[-1].mean:.3f}, the test loss from {test[0].mean:.3f} to {test[-1].mean:.3f}, "
            f"the gap from {first.mean:.3f} to {last.mean:.3f}."
        )
        return Picture(figure, says)

    return picture


# ------------------------------------------------------------------------------ the ablation

WORDS = {
    "none": "nothing else", "same_pictures": "nothing else,\nsame 40 pictures",
    "weight_decay": "weight decay", "early_stopping": "early stopping",
    "dropout": "dropout", "label_smoothing": "label smoothing", "augmentation": "augmentation",
    "all": "all of them",
}  # fmt: skip


def ablation(alone: Mapping[str, Interval], shared: Mapping[str, Interval]) -> Picture:
    """Draw what each regulariser gains, alone and together with sharing.

    Args:
        alone: gain over the single-task network with nothing, in points, by regulariser.
        shared: the same with sharing; ``"none"`` is sharing alone.
    """
    names = [*shared]
    figure, axes = new_figure(width=6.6, height=1.2 + 0.42 * len(names))
    box = axes.get_position()
    axes.set_position((0.24, box.y0, box.x1 - 0.24, box.height))
    axes.axvline(0, color=GREY, linewidth=1.2, linestyle="dashed")
    sets = {
        "alone": (alone, "single-task", -0.13, "white"),
        "with sharing": (shared, "multi-task", 0.13, None),
    }
    for words, (gains, style_of, shift, fill) in sets.items():
        style = task_style(style_of)
        colour, marker = style["color"], style["marker"]
        for row, name in enumerate(names):
            if name in gains:
                i = gains[name]
                axes.errorbar(
                    i.mean, row + shift, xerr=[[i.mean - i.low], [i.high - i.mean]], capsize=3,
                    color=colour, marker=marker, ms=6, mfc=fill or colour, linestyle="none",
                    label=words,
                )  # fmt: skip
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    place = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "ncols": 2}
    axes.legend(handles.values(), handles, frameon=False, fontsize="small", **place)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), [WORDS.get(name, name) for name in names])
    label(axes, "gain over single-task with nothing (points of accuracy)")
    texts = [
        WORDS.get(n, n).replace("\n", " ")
        + (f" {alone[n].mean:+.1f}" if n in alone else "")
        + f", with sharing {shared[n].mean:+.1f}"
        for n in names
    ]
    return Picture(figure, "Gain in points: " + "; ".join(texts) + ".")


# ------------------------------------------------------------------------------ layer by layer

CURES = {
    "sigmoid": ("sigmoid", VERMILLION, "v", "dotted"),
    "relu_default": ("ReLU, PyTorch's start", ORANGE, "s", "dashed"),
    "relu_he": ("ReLU, He's start", BLACK, "o", "solid"),
    "relu_large": ("ReLU, large start", PURPLE, "^", "dashdot"),
    "residual": ("residual, PyTorch's start", GREEN, "D", "solid"),
    "batch_norm": ("batch norm, He's start", BLUE, "P", "dashed"),
    "layer_norm": ("layer norm, He's start", SKY, "X", "dashdot"),
    "relu_large_clipped": ("large start, clipped", PURPLE, "v", "solid"),
}


def layer_norms(norms: Mapping[str, Tensor], titles: Sequence[str] = ("", "")) -> Picture:
    """Draw the length of the gradient at every layer: the plain stacks, and the mended ones.

    Both panels have the same axis, so that level is level in both.

    Args:
        norms: by arm (a name of ``CURES``) the length at each layer, one row a seed, [S, L]. The
            drawn number is the geometric mean over the seeds.
        titles: one for each panel.
    """
    figure, panels = new_figure(2, height=4.0)
    plain = [n for n in norms if n.startswith(("sigmoid", "relu"))]
    groups = (plain, [n for n in norms if n == "relu_he" or n not in plain])
    says = []
    means = {name: _geometric(values) for name, values in norms.items()}
    lowest, highest = (end(end(values) for values in means.values()) for end in (min, max))
    for axes, group, title in zip(panels, groups, titles, strict=True):
        for name in group:
            words, colour, marker, line = CURES[name]
            style = {"color": colour, "marker": marker, "linestyle": line, "markersize": 5}
            axes.plot(range(1, len(means[name]) + 1), means[name], label=words, **style)
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_ylim(lowest / 10, highest * 10)
        axes.legend(loc="lower right", frameon=False, fontsize="small")
        label(axes, "layer (1: next to the inputs)", "length of the gradient", title)
    for name, values in means.items():
        says.append(f"{CURES[name][0]} {values[0] / values[-1]:.2g}")
    return Picture(figure, "First layer's gradient over the last one's: " + "; ".join(says) + ".")


def conflicts(levels: Mapping[str, Interval]) -> Picture:
    """Draw the cosine between two tasks' gradients, one row an arm, in the arm's own colour.

    Args:
        levels: by arm (a name of ``CURES``) the mean cosine with its interval.
    """
    figure, axes = new_figure(width=6.6, height=1.2 + 0.38 * len(levels))
    box = axes.get_position()
    axes.set_position((0.34, box.y0, box.x1 - 0.34, box.height))
    axes.axvline(0, color=GREY, linewidth=1.2, linestyle="dashed")
    for row, (name, i) in enumerate(levels.items()):
        _, colour, marker, _ = CURES[name]
        style = {"color": colour, "marker": marker, "linestyle": "none", "capsize": 4, "ms": 7}
        axes.errorbar(i.mean, row, xerr=[[i.mean - i.low], [i.high - i.mean]], **style)
    axes.set_ylim(len(levels) - 0.5, -0.5)
    axes.set_yticks(range(len(levels)), [CURES[name][0] for name in levels])
    label(axes, "cosine between the two tasks' gradients")
    texts = (f"{CURES[name][0]} {i.mean:+.2f}" for name, i in levels.items())
    return Picture(figure, "Mean cosine: " + "; ".join(texts) + ".")


def _geometric(values: Tensor) -> np.ndarray:
    """Mean over seeds on the logarithmic scale, [S, L] -> [L]; what is 0 counts as 1e-30."""
    return torch.as_tensor(values).double().clamp(min=1e-30).log().mean(0).exp().numpy()
