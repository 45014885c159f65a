"""The pictures of lesson 00."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ipywidgets import SelectionSlider
from matplotlib.axes import Axes
from sklearn.datasets import load_digits
from torch import Tensor, nn

from mtl_helpers.datasets import MultiTaskData, overlay
from mtl_helpers.datasets.footsteps import read_footsteps
from mtl_helpers.lessons.lesson_00.streets import Streets
from mtl_helpers.metrics import mean_interval, paired_interval
from mtl_helpers.teaching.diagrams.primitives import PALE, Diagram, arrow, box, canvas, write
from mtl_helpers.teaching.figures import (
    BLACK,
    GREEN,
    PURPLE,
    Picture,
    band,
    digits_grid,
    label,
    new_figure,
    task_style,
)
from mtl_helpers.teaching.recorded import load

RED = "#C40000"  # a mistake
TOGETHER, SEPARATE = GREEN, PURPLE  # one network for all tasks; a network for each
SIZE = 11  # points of text
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def _large(*several: Axes) -> None:
    """Make all text of some axes large enough for a projector."""
    for axes in several:
        axes.tick_params(labelsize=SIZE)
        for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
            text.set_fontsize(SIZE)


# ------------------------------------------------------------------------- two digits in a picture


def pairs(images: Tensor, left: Tensor, right: Tensor, count: int = 8) -> Picture:
    """Show how a picture is made of two digits, and the first pictures with their two answers.

    Args:
        images: [N, 1, H, W].
        left: the left digits, [N].
        right: the right digits, [N].
        count: how many pictures, in rows of eight.
    """
    both = zip(left[:count].tolist(), right[:count].tolist(), strict=True)
    captions = [f"{one}  {two}" for one, two in both]
    figure = new_figure(width=7.6, height=3.5)[0]
    figure.clear()
    digits = _first_of_each(*single_digits())
    made = overlay(digits[3], digits[8], (2, 4), (10, 12))
    for x, width, shown, text in (
        (0.17, 0.16, digits[3], "left digit 3"),
        (0.40, 0.16, digits[8], "right digit 8"),
        (0.64, 0.22, made, "one picture: 3  8"),
    ):
        axes = figure.add_axes((x, 0.52, width, 0.46))
        digits_grid(shown[None], axes=axes)
        figure.text(x + width / 2, 0.455, text, ha="center", va="center", fontsize=SIZE + 2)
    for x, sign in ((0.365, "+"), (0.60, "=")):
        figure.text(x, 0.75, sign, ha="center", va="center", fontsize=24)
    row = figure.add_axes((0.01, 0.0, 0.98, 0.39))
    digits_grid(images[:count], captions, axes=row)
    for text in row.texts:
        text.set_fontsize(SIZE + 3)
    listed = ", ".join(" ".join(caption.split()) for caption in captions)
    return Picture(figure, f"Digits 3 and 8 make a picture. The first {count} pairs: {listed}.")


@torch.no_grad()
def readings(model: nn.Module, data: MultiTaskData, count: int = 16) -> Picture:
    """Draw the first test pictures with what both heads read; mistakes are red, truth in brackets.

    Args:
        model: ``forward(images)`` gives logits [N, 10] for ``left`` and ``right``.
        data: pictures [N, 1, H, W] with the targets ``left`` and ``right``.
        count: how many pictures, in rows of eight.
    """
    outputs = model(data.inputs[:count])
    read = {name: outputs[name].argmax(1).tolist() for name in ("left", "right")}
    true = {name: data.targets[name][:count].tolist() for name in read}
    figure = digits_grid(data.inputs[:count], [" "] * count)
    axes, mistakes = figure.axes[0], 0
    for i, place in enumerate(list(axes.texts)):
        x, y = place.get_position()
        for name, at, side in (("left", x - 0.6, "right"), ("right", x + 0.6, "left")):
            wrong = read[name][i] != true[name][i]
            mistakes += wrong
            look = {"color": RED, "fontweight": "bold"} if wrong else {"color": BLACK}
            text = f"{read[name][i]}({true[name][i]})" if wrong else str(read[name][i])
            axes.text(at, y, text, ha=side, va=place.get_va(), fontsize=SIZE + 3, **look)
    says = f"{count} test pictures, {2 * count} digits to read, {mistakes} read wrongly."
    return Picture(figure, says)


def two_digits(model: nn.Module, images: Tensor, classes: Tensor) -> Callable[..., Picture]:
    """Make the explorer's picture: two chosen digits, their overlap, and what both heads say.

    Args:
        model: trained on ``overlapping_digits("digits")``; gives logits [N, 10] for both tasks.
        images: single digits between 0 and 1, [N, 8, 8]; the first of each class is used.
        classes: what they are, [N].

    Returns:
        A function of ``left`` and ``right`` (0..9), ``left_ink`` (0..1, a factor on the left
        digit) and ``columns_apart`` (0..4; 4 as in training).
    """
    first = _first_of_each(images, classes)

    @torch.no_grad()
    def picture(
        left: int = 3, right: int = 8, left_ink: float = 1.0, columns_apart: int = 4
    ) -> Picture:
        image = overlay(left_ink * first[left], first[right], (2, columns_apart), (10, 12))
        outputs = model(image[None, None])
        chance = {name: outputs[name][0].softmax(0) for name in ("left", "right")}
        figure, (shown, bars) = new_figure(2, width=7.2, height=3.0)
        digits_grid(image[None], axes=shown)
        shown.set_title(f"left {left}, right {right}", fontsize=SIZE)
        for k, (name, values) in enumerate(chance.items()):
            places = [digit + 0.4 * k - 0.2 for digit in range(10)]
            colour = task_style(name)["color"]
            filled = {"color": colour} if k == 0 else {"facecolor": "white", "edgecolor": colour}
            bars.bar(places, values.tolist(), 0.36, **filled)
            bars.text(2.2 + 4.6 * k, 1.12, f"{name} head", color=colour, fontsize=SIZE,
                      fontweight="bold", ha="center")  # fmt: skip
        bars.set_xticks(range(10))
        bars.set_ylim(0, 1.3)
        bars.set_yticks([0, 0.5, 1])
        label(bars, "digit", "probability given")
        _large(bars)
        true = {"left": left if left_ink > 0 else None, "right": right}
        return Picture(figure, " ".join(_reading(n, chance[n], true[n]) for n in chance))

    return picture


def single_digits() -> tuple[Tensor, Tensor]:
    """Give scikit-learn's digits, between 0 and 1, [N, 8, 8], and what they are, [N]."""
    digits = load_digits()
    return torch.tensor(digits.images) / 16, torch.tensor(digits.target)


def _first_of_each(images: Tensor, classes: Tensor) -> Tensor:
    """The first image of each digit, [10, 8, 8]."""
    return torch.stack([images[(classes == digit).nonzero()[0, 0]] for digit in range(10)])


def _reading(name: str, chance: Tensor, true: int | None) -> str:
    best = int(chance.argmax())
    verdict = "correct" if best == true else f"wrong: it is {true}"
    verdict = "there is none" if true is None else verdict
    return f"The {name} head reads {best} at {float(chance[best]):.0%} ({verdict})."


@torch.no_grad()
def misread(
    model: nn.Module, images: Tensor, classes: Tensor, columns_apart: int
) -> dict[str, int]:
    """Count the mistakes of both heads over all hundred pairs of digits.

    Args:
        model: as for :func:`two_digits`, and so are the next two.
        images: single digits, [N, 8, 8].
        classes: what they are, [N].
        columns_apart: 0..4; 4 as in training.
    """
    first = _first_of_each(images, classes)
    left, right = torch.arange(10).repeat_interleave(10), torch.arange(10).repeat(10)
    pictures = overlay(first[left], first[right], (2, columns_apart), (10, 12))
    outputs = model(pictures[:, None])
    true = {"left": left, "right": right}
    return {name: int((outputs[name].argmax(1) != true[name]).sum()) for name in true}


# ----------------------------------------------------------------------------------- ideas, drawn


def two_heads(model: nn.Module) -> Diagram:
    """Draw a trunk with two heads, from the picture to the joint loss, with its parameters.

    Args:
        model: has a ``trunk`` and ``heads`` with a ``left`` and a ``right`` one.
    """
    figure, axes = canvas(150)
    parts = {"trunk": model.trunk, **model.heads}
    count = {k: sum(p.numel() for p in part.parameters()) for k, part in parts.items()}
    _row(axes, 84, {"trunk": f"{count['trunk']:,}", **{k: f"{count[k]:,}" for k in model.heads}})
    write(axes, PLACES[1], 14, "number = parameters", color="0.3")
    return Diagram(
        figure,
        f"From left to right: the picture; a trunk that both tasks share, with {count['trunk']:,} "
        f"parameters; a left and a right head with {count['left']:,} each; a loss for each head; "
        "and the joint loss, which is the sum of both.",
    )


def ways_back() -> Diagram:
    """Draw the way back of both gradients, and below it the same with the right one cut."""
    figure, axes = canvas(318)
    for y, weights in ((222, (1, 1)), (68, (1, 0))):
        _row(axes, y, {}, weights)
        write(axes, PLACES[1], y + 56, f"weights {weights[0]} and {weights[1]}", weight="bold")
    axes.plot([6, 474], [150, 150], color=PALE, linewidth=1, linestyle="solid", marker="")
    return Diagram(
        figure,
        "Above: with weights 1 and 1, gradients run from the joint loss through both losses and "
        "both heads into the trunk. Below: with weights 1 and 0, the way through the right head is "
        "cut.",
    )


PLACES = (36, 130, 240, 336, 434)  # picture, trunk, heads, losses, joint loss


def _row(
    axes: Axes, y: float, counts: Mapping[str, str], weights: tuple[int, int] | None = None
) -> None:
    """Draw one network from left to right; with weights, the gradients' way back instead."""
    back, (first, trunk, head, loss, last) = weights is not None, PLACES
    box(axes, (first, y, 62, 34), ["picture"], facecolor="white", corner=12)
    names = ["trunk", "(shared)"] + ([counts["trunk"]] if counts else [])
    box(axes, (trunk, y, 76, 84), names)
    box(axes, (last, y, 76, 44), ["joint loss", "= sum"], facecolor="white", edgecolor="0.1")
    arrow(axes, [(first + 31, y), (trunk - 38, y)], colour=PALE)
    for name, weight, side in zip(("left", "right"), weights or (1, 1), (29, -29), strict=True):
        at, cut = y + side, weight == 0
        look = {"linestyle": "dashed", "facecolor": "white", "ink": "0.42"} if cut else {}
        text = [f"{name} head"] + ([counts[name]] if counts else [])
        box(axes, (head, at, 80, 40), text, task=name, **look)
        box(axes, (loss, at, 70, 30), [f"{name} loss"], task=name, corner=10, **look)
        ink = "0.42" if cut else task_style(name)["color"]
        way = {"colour": PALE if cut else ink, "width": 1.3 if cut else 2.8, "broken": cut}
        steps = [
            [(trunk + 38, at), (head - 40, at)],
            [(head + 40, at), (loss - 35, at)],
            [(loss + 35, at), (last - 38, y + side / 3)],
        ]
        for points in steps:
            arrow(axes, points[::-1] if back else points, **way)
        if back:
            write(axes, last - 34, y + 1.35 * side, f"× {weight}", color=ink, weight="bold")


def city_network(corners: int = 20) -> Diagram:
    """Draw one trunk and a small head for each street corner."""
    figure, axes = canvas(112)
    box(axes, (60, 56, 108, 44), ["11 numbers:", "which hour it is"], facecolor="white", corner=12)
    box(axes, (204, 56, 92, 56), ["one trunk", "(shared)"])
    arrow(axes, [(114, 56), (158, 56)], colour=PALE)
    for k in range(corners):
        y = 8 + 96 * k / (corners - 1)
        arrow(axes, [(250, 56), (306, y)], colour=PALE)
        axes.plot([306, 330], [y, y], color=TOGETHER, linewidth=3, linestyle="solid", marker="")
    write(axes, 408, 66, f"{corners} heads,", weight="bold")
    write(axes, 408, 46, "one per corner")
    return Diagram(
        figure,
        f"From left to right: 11 numbers that say which hour it is, one trunk that is shared, and "
        f"{corners} heads, one for each street corner.",
    )


def two_orders() -> Diagram:
    """Draw why digits are divided before they are paired: one digit on one side only."""
    figure, axes = canvas(196)
    both = "#F5C9A8"  # the colour of digits that are on both sides

    def column(x: float, title: str, verdict: tuple[str, str], train: Sequence[str],
               test: Sequence[str], fills: Mapping[str, str], ink: str) -> None:  # fmt: skip
        write(axes, x, 182, title, weight="bold")
        for middle, side, kept in ((x - 56, "train", train), (x + 56, "test", test)):
            box(axes, (middle, 110, 104, 106), facecolor="white", edgecolor="0.5")
            write(axes, middle, 150, side)
            for row, names in enumerate(kept):
                for k, name in enumerate(names):
                    place = (middle - 13 + 26 * k, 122 - 36 * row, 25, 26)
                    box(axes, place, [name], facecolor=fills[name], corner=2)
        write(axes, x, 38, verdict[0], color=ink, weight="bold")
        write(axes, x, 18, verdict[1], color=ink)

    column(120, "divide, then pair (here)",
           ("no digit on both sides:", "the test asks about new digits"),
           ("ab", "ba"), ("cd", "dc"), dict.fromkeys("abcd", "0.90"), "#00684B")  # fmt: skip
    column(360, "pair, then divide",
           ("b and c are on both sides:", "the score looks too good"), ("ab", "bc"), ("cd", "db"),
           {"a": "0.90", "b": both, "c": both, "d": "0.90"}, "#A84800")  # fmt: skip
    axes.plot([240, 240], [10, 188], color=PALE, linewidth=1, linestyle="solid", marker="")
    return Diagram(
        figure,
        "Left: digits a and b are for training, c and d for the test; pairs are made within each. "
        "Right: pairs are made first, so the digits b and c are in training and in test pictures.",
    )


# -------------------------------------------------------------------------------- what was recorded


def weight_dial(
    rows: Sequence[Mapping[str, Any]], live: Mapping[str, float] | None = None
) -> Callable[..., Picture]:
    """Make the explorer's picture of a recorded sweep: accuracy of both tasks against the weight.

    Args:
        rows: one per weight and seed: ``weight`` (of the left task; the right one gets the rest)
            and the test accuracies ``left`` and ``right``.
        live: accuracies of a network trained just now at weight 0.5, drawn as crosses.

    Returns:
        A function of ``left_weight``, one of the recorded weights. The weights stand at equal
        distances, since the interesting ones crowd at both ends.
    """
    weights = sorted({row["weight"] for row in rows})
    found = {
        name: [mean_interval([100 * r[name] for r in rows if r["weight"] == w]) for w in weights]
        for name in ("left", "right")
    }

    def picture(left_weight: float = 0.5) -> Picture:
        at = weights.index(left_weight)
        figure, axes = new_figure(width=6.8, height=3.2)
        for k, (name, intervals) in enumerate(found.items()):
            ends = zip(*((i.mean, i.low, i.high) for i in intervals), strict=True)
            style = task_style(name)
            band(axes, range(len(weights)), *ends, f"{name} digit", **style)
            axes.text(
                (0.25, 0.75)[k], 0.42, f"{name} digit", color=style["color"], fontsize=SIZE,
                fontweight="bold", ha=("left", "right")[k], zorder=5,
                transform=axes.transAxes,
                bbox={"facecolor": "white", "edgecolor": "none"},
            )  # fmt: skip
        for name, value in (live or {}).items():
            style = {"color": task_style(name)["color"], "markersize": 10, "markeredgewidth": 2.5}
            aside = -0.2 if name == "left" else 0.2  # else one cross would hide the other
            axes.plot([weights.index(0.5) + aside], [100 * value], "x", zorder=6, **style)
        if 0.5 in weights:
            limit = sum(i[weights.index(0.5)].mean for i in found.values()) / 2 - 5
            axes.axhline(limit, color="0.4", linewidth=1.4, linestyle="dashed")
            axes.text(0.5, limit - 3, "five points below the middle", color="0.3", fontsize=SIZE,
                      ha="center", va="top", transform=axes.get_yaxis_transform(),
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # fmt: skip
        axes.axvline(at, color="0.3", linewidth=1.2)
        axes.set_xticks(range(len(weights)), [f"{w:g}" for w in weights])
        axes.set_ylim(0, 102)
        label(axes, "weight of the left task (steps not equal: stretched at both ends)",
              "accuracy (%)")  # fmt: skip
        _large(axes)
        said = (
            f"{name} digit {i[at].mean:.1f}% [{i[at].low:.1f}%, {i[at].high:.1f}%]"
            for name, i in found.items()
        )
        return Picture(figure, f"Left weight {left_weight:g}: {', '.join(said)}.")

    return picture


DIAL = {
    "question": "How far from 0.5 can you turn the weight before a head loses five points?",
    "describe": "Accuracy of both heads against the weight of the left task; 95 % intervals.",
}
FADE = {
    "question": "Fade the left digit to nothing: does the left head say 'nothing'? "
    "Then push the digits together: which head suffers more?",
    "describe": "Left: the picture. Right: the probability each head gives to each digit.",
}


def weight_slider(rows: Sequence[Mapping[str, Any]]) -> SelectionSlider:
    """Make the control for :func:`weight_dial`: a stop at each recorded weight."""
    return SelectionSlider(options=sorted({row["weight"] for row in rows}), value=0.5)


def by_seed(
    shared: Sequence[float],
    separate: Sequence[float],
    what: str,
    difference: str,
    *,
    relative: bool = False,
    lower: bool = False,
) -> Picture:
    """Draw paired runs: on the left both results of each seed, on the right their difference.

    Args:
        shared: the result of one network for all tasks, by seed, [S].
        separate: the result of separate networks, with the same seeds, [S].
        what: what is measured, with its unit.
        difference: what the difference is called, with its unit.
        relative: give the difference in per cent of ``separate``.
        lower: whether a lower value is the better one.
    """
    ours, theirs = np.asarray(shared, dtype=float), np.asarray(separate, dtype=float)
    apart = 100 * (ours - theirs) / theirs if relative else ours - theirs
    mean = paired_interval(apart, np.zeros_like(apart))
    figure, (left, right) = new_figure(2, width=7.6, height=3.1)
    for seed, (one, two) in enumerate(zip(theirs, ours, strict=True)):
        left.plot([seed, seed], [one, two], color="0.6", linewidth=1.4, linestyle="solid")
    places = range(len(ours))
    look = {"linestyle": "none", "markersize": 6}
    left.plot(places, theirs, marker="s", color=SEPARATE, mfc="white", mew=2, **look)
    left.plot(places, ours, marker="o", color=TOGETHER, **look)
    low, high = min(*ours, *theirs), max(*ours, *theirs)
    left.set_ylim(low - 0.08 * (high - low), high + 0.3 * (high - low))
    for text, colour, x, ha in (("separate", SEPARATE, 0.02, "left"),
                                ("shared", TOGETHER, 0.98, "right")):  # fmt: skip
        left.text(x, 0.99, text, color=colour, fontsize=SIZE, fontweight="bold", ha=ha, va="top",
                  transform=left.transAxes)  # fmt: skip
    left.set_xticks(range(0, len(ours), 5 if len(ours) > 10 else 2))
    label(left, "seed", what)
    right.text(*((0.02, 0.02) if lower else (0.98, 0.02)), "shared better", color=TOGETHER,
               fontsize=SIZE, fontweight="bold", ha="left" if lower else "right", va="bottom",
               transform=right.transAxes)  # fmt: skip
    right.axvline(0, color=SEPARATE, linestyle="dashed", linewidth=1.6)
    right.plot(apart, places, marker="o", color="0.55", **look)
    error = [[mean.mean - mean.low], [mean.high - mean.mean]]
    right.errorbar(mean.mean, len(ours) + 1.5, xerr=error, fmt="D", color=BLACK, capsize=5,
                   markersize=8, linewidth=2.4)  # fmt: skip
    right.set_ylim(-0.2 * len(ours), len(ours) + 3)
    widest = max(*map(abs, apart))
    right.set_xlim(
        *((-1.1 * widest, 0.12 * widest) if relative else (-1.15 * widest, 1.15 * widest))
    )
    right.set_yticks([(len(ours) - 1) / 2, len(ours) + 1.5], ["seeds", "mean"])
    right.grid(False, axis="y")
    label(right, difference)
    _large(left, right)
    unit = " %" if relative else ""
    says = f"Mean difference {mean.mean:+.1f}{unit}, from {mean.low:+.1f} to {mean.high:+.1f}."
    return Picture(figure, f"{len(ours)} seeds. {says}")


# ------------------------------------------------------------------------------------ the footsteps


def week(
    streets: Streets, together: Tensor, separate: Tensor, counter: str, monday: str
) -> Picture:
    """Draw one counter's week: what was counted, and what two networks say.

    Args:
        streets: the data.
        together: standardised predictions of one network for all counters, [T, K].
        separate: those of a network for each counter, [T, K].
        counter: its name.
        monday: first day, such as ``"2023-05-08"``.
    """
    k, start = streets.counters.index(counter), np.datetime64(monday, "h")
    at = torch.from_numpy((streets.when >= start) & (streets.when < start + 168))
    hours = (streets.when[at.numpy()] - start).astype(int)
    truth, table = streets.test_people[at, k], read_footsteps()
    counted = table.counts[np.isin(table.hours, streets.when[at.numpy()])]
    counted = counted[:, table.counters.index(counter)]
    figure, axes = new_figure(width=7.6, height=3.3)
    place = axes.get_position()
    axes.set_position((place.x0 + 0.03, place.y0, place.width - 0.03, place.height))
    axes.yaxis.set_label_coords(-0.11, 0.5)
    axes.fill_between(hours, counted, color="0.84", linewidth=0)
    off, top = {}, float(counted.nan_to_num(0).max())
    for name, values, colour in (("separate", separate, SEPARATE), ("shared", together, TOGETHER)):
        says = streets.logarithm(values)[at, k]
        axes.plot(hours, says.expm1(), color=colour, linewidth=2.4, linestyle="solid")
        off[name] = float((says - truth).square().nanmean().sqrt())
        top = max(top, float(says.expm1().max()))
    axes.set_xlim(0, 167)
    axes.set_ylim(0, 1.22 * top)
    axes.set_xticks(range(12, 168, 24), DAYS)
    for x, text, colour in ((0.02, "counted", "0.4"), (0.36, "its own network", SEPARATE),
                            (0.98, "shared trunk", TOGETHER)):  # fmt: skip
        axes.text(x, 0.98, text, color=colour, fontsize=SIZE + 1, fontweight="bold", va="top",
                  ha="right" if x > 0.9 else "left", transform=axes.transAxes)  # fmt: skip
    label(axes, "", "people per hour")
    axes.set_title(f"{counter}, one week", loc="left", fontsize=SIZE, fontweight="bold")
    _large(axes)
    return Picture(
        figure,
        f"{counter}, the week of {monday}: its own network is off by {off['separate']:.1f}, the "
        f"one with the shared trunk by {off['shared']:.1f} (root of the mean squared error).",
    )


# --------------------------------------------------------------------------------- the refresher


def descent(losses: Sequence[float], weights: Sequence[float], rate: float) -> Picture:
    """Draw steps down a loss with one parameter: the curve, the steps, the slope at the first.

    Args:
        losses: at each step, [S].
        weights: the parameter at each step, [S].
        rate: the learning rate, for the title.
    """
    w, loss = np.asarray(weights, dtype=float), np.asarray(losses, dtype=float)
    centre, width = 2.0, 4.2
    scale = (loss[0] - loss[-1]) / ((w[0] - centre) ** 2 - (w[-1] - centre) ** 2)
    base = loss[0] - scale * (w[0] - centre) ** 2
    figure, axes = new_figure(width=6.4, height=3.2)
    x = np.linspace(centre - width, centre + width, 120)
    axes.plot(x, base + scale * (x - centre) ** 2, color="0.6", linewidth=2, linestyle="solid")
    axes.plot(w, loss, color=BLACK, marker="o", markersize=7, linewidth=1.2, linestyle="solid")
    for k in (0, 1, len(w) - 1):
        axes.annotate(f"step {k}" if k else "start", (w[k], loss[k]), (2, -19) if k > 1 else (8, 4),
                      fontsize=SIZE, textcoords="offset points")  # fmt: skip
    axes.set_ylim(-2.5, None)
    label(axes, "parameter w", "loss")
    axes.set_title(f"learning rate {rate:g}", loc="left", fontsize=SIZE, fontweight="bold")
    _large(axes)
    return Picture(figure, f"Learning rate {rate:g}: w goes from {w[0]:.1f} to {w[-1]:.2f}, the "
                   f"loss from {loss[0]:.1f} to {loss[-1]:.2f}.")  # fmt: skip


def three_sets() -> Diagram:
    """Draw what training, validation and test data are for."""
    figure, axes = canvas(128)
    parts = (
        (110, 196, "training data", ("the network", "learns from them"), "0.90"),
        (276, 116, "validation", ("you choose", "settings on them"), "#CFE8F7"),
        (410, 116, "test", ("looked at once,", "at the very end"), "#F9DFB5"),
    )
    for x, width, name, use, fill in parts:
        box(axes, (x, 94, width, 40), [name], facecolor=fill)
        for row, text in enumerate(use):
            write(axes, x, 52 - 18 * row, text)
    return Diagram(
        figure,
        "All examples are divided once: the network learns from training data, settings are "
        "chosen on validation data, and test data are looked at once, at the very end.",
    )


def gains_by_corner() -> np.ndarray:
    """By what fraction the recorded error of each street corner falls when all share, [20]."""
    rows = [row for row in load("01_street_corners").rows if row["inputs"] == "plain"]
    errors = {
        arm: np.array([r["by_counter"] for r in sorted(rows, key=_seed) if r["arm"] == arm])
        for arm in ("together", "separate")
    }
    return 1 - errors["together"].sum(0) / errors["separate"].sum(0)


def _seed(row: Mapping[str, Any]) -> int:
    return row["seed"]
