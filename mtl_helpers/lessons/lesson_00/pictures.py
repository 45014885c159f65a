"""The pictures of lesson 00."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtl_helpers.datasets import MultiTaskData, overlay
from mtl_helpers.metrics import mean_interval
from mtl_helpers.teaching.figures import Picture, band, digits_grid, label, new_figure, task_style


@torch.no_grad()
def readings(model: nn.Module, data: MultiTaskData, count: int = 16) -> Picture:
    """Draw the first test pictures with what both heads read; mistakes are marked with a star.

    Args:
        model: ``forward(images)`` gives logits [N, 10] for ``left`` and ``right``.
        data: pictures [N, 1, H, W] with the targets ``left`` and ``right``.
        count: how many pictures, in rows of eight.
    """
    outputs = model(data.inputs[:count])
    read = {name: outputs[name].argmax(1).tolist() for name in ("left", "right")}
    true = {name: data.targets[name][:count].tolist() for name in read}
    captions, mistakes = [], 0
    for i in range(count):
        marks = ["" if read[n][i] == true[n][i] else f"* ({true[n][i]})" for n in read]
        mistakes += sum(map(bool, marks))
        captions.append(f"{read['left'][i]}{marks[0]}  {read['right'][i]}{marks[1]}")
    says = f"{count} test pictures, {2 * count} digits to read, {mistakes} read wrongly."
    return Picture(digits_grid(data.inputs[:count], captions), says)


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
    first = [images[(classes == digit).nonzero()[0, 0]] for digit in range(10)]

    @torch.no_grad()
    def picture(
        left: int = 3, right: int = 8, left_ink: float = 1.0, columns_apart: int = 4
    ) -> Picture:
        image = overlay(left_ink * first[left], first[right], (2, columns_apart), (10, 12))
        outputs = model(image[None, None])
        chance = {name: outputs[name][0].softmax(0) for name in ("left", "right")}
        figure, (shown, bars) = new_figure(2, width=7.2, height=3.0)
        digits_grid(image[None], axes=shown)
        shown.set_title(f"left {left}, right {right}", fontsize="medium")
        for k, (name, values) in enumerate(chance.items()):
            places = [digit + 0.4 * k - 0.2 for digit in range(10)]
            colour = task_style(name)["color"]
            filled = {"color": colour} if k == 0 else {"facecolor": "white", "edgecolor": colour}
            bars.bar(places, values.tolist(), 0.36, label=f"{name} head", **filled)
        bars.set_xticks(range(10))
        bars.set_ylim(0, 1.3)
        bars.set_yticks([0, 0.5, 1])
        bars.legend(loc="upper center", ncols=2, frameon=False, fontsize="small")
        label(bars, "digit", "probability given")
        true = {"left": left if left_ink > 0 else None, "right": right}
        return Picture(figure, " ".join(_reading(n, chance[n], true[n]) for n in chance))

    return picture


def _reading(name: str, chance: Tensor, true: int | None) -> str:
    best = int(chance.argmax())
    verdict = "correct" if best == true else f"wrong: it is {true}"
    verdict = "there is none" if true is None else verdict
    return f"The {name} head reads {best} at {float(chance[best]):.0%} ({verdict})."


def weight_dial(
    rows: Sequence[Mapping[str, Any]], live: Mapping[str, float] | None = None
) -> Callable[..., Picture]:
    """Make the explorer's picture of a recorded sweep: accuracy of both tasks against the weight.

    Args:
        rows: one a weight and seed: ``weight`` (of the left task; the right one gets the rest) and
            the test accuracies ``left`` and ``right``.
        live: accuracies of a network trained just now at weight 0.5, drawn as crosses.

    Returns:
        A function of ``left_weight``, one of the recorded weights. The weights stand at equal
        distances, since the interesting ones crowd at both ends.
    """
    weights = sorted({row["weight"] for row in rows})
    found = {
        name: [mean_interval([r[name] for r in rows if r["weight"] == w]) for w in weights]
        for name in ("left", "right")
    }

    def picture(left_weight: float = 0.5) -> Picture:
        at = weights.index(left_weight)
        figure, axes = new_figure(height=3.4)
        for name, intervals in found.items():
            ends = zip(*((i.mean, i.low, i.high) for i in intervals), strict=True)
            band(axes, range(len(weights)), *ends, f"{name} digit", **task_style(name))
        for name, value in (live or {}).items():
            style = {"color": task_style(name)["color"], "markersize": 11, "markeredgewidth": 2.5}
            axes.plot([weights.index(0.5)], [value], "x", **style)
        axes.axvline(at, color="0.3", linewidth=1.2)
        axes.set_xticks(range(len(weights)), [f"{w:g}" for w in weights], fontsize="small")
        axes.set_ylim(0, 1.02)
        axes.legend(loc="center", bbox_to_anchor=(0.5, 0.3), framealpha=1, edgecolor="none")
        label(axes, "weight of the left task", "share of test digits read")
        said = (
            f"{name} digit {i[at].mean:.1%} [{i[at].low:.1%}, {i[at].high:.1%}]"
            for name, i in found.items()
        )
        return Picture(figure, f"Left weight {left_weight:g}: {', '.join(said)}.")

    return picture
