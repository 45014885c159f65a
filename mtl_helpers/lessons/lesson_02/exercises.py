"""The checks of lesson 02, the loss formula."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mtl_helpers.lessons.lesson_02 import deeper_exercises as deeper_exercises  # 02.12 and up
from mtl_helpers.teaching.exercises.answers import (
    as_numbers,
    compare,
    draws,
    not_a_function,
    same,
)
from mtl_helpers.teaching.exercises.core import exercise


def _parts(function: Any, *names: str) -> Any:
    """Give the parts of a function's answer names, so that a message says which one is off."""
    if not callable(function):
        return function

    @functools.wraps(function)
    def named(*values: Any) -> Any:
        found = function(*values)
        if isinstance(found, tuple | list) and len(found) == len(names):
            return dict(zip(names, found, strict=True))
        return found

    return named


@exercise(
    "02.1",
    "What a head feels",
    kind="fill one line",
    difficulty=1,
    minutes=3,
    right="only its own loss, times its own weight: the other task reaches it through the trunk.",
)
def head_gradient(answer: Callable[..., Any]) -> str | None:
    """Check ``head_gradient(z, a, y, w)``: the slope of w mean((a z - y)^2) in the number a."""

    def right(z: Tensor, a: Tensor, y: Tensor, w: float) -> Tensor:
        return w * (2 * (a * z - y) * z).mean()

    def case(g: torch.Generator) -> tuple[Tensor, Tensor, Tensor, float]:
        z, y = torch.randn(2, 6, generator=g, dtype=torch.float64)
        a, w = torch.rand(2, generator=g, dtype=torch.float64) + 0.5
        return z, a, y, float(w)

    small = torch.tensor([1.0, 2.0]), torch.tensor(3.0), torch.tensor([1.0, 4.0])
    return compare(
        answer,
        right,
        [(*(v.double() for v in small), 0.25), *draws(case)],
        slips={
            "you left out the task's weight w.": lambda z, a, y, w: right(z, a, y, 1.0),
            "the inner derivative is missing: a z changes by z when a changes by 1.": (
                lambda z, a, y, w: w * (2 * (a * z - y)).mean()
            ),
            "that is the slope in z (what goes down to the trunk); the slope in a has z outside.": (
                lambda z, a, y, w: w * (2 * (a * z - y) * a).mean()
            ),
            "you summed over the examples; this loss is their mean.": (
                lambda z, a, y, w: w * (2 * (a * z - y) * z).sum()
            ),
            "that is one slope an example: take their mean.": (
                lambda z, a, y, w: w * 2 * (a * z - y) * z
            ),
            "one factor too many: a z changes by z when a changes by 1, not by a z.": (
                lambda z, a, y, w: w * (2 * (a * z - y) * z * a).mean()
            ),
            "the square gives a factor 2.": lambda z, a, y, w: right(z, a, y, w) / 2,
            "the error is a z - y, not y - a z: your slope points the wrong way.": (
                lambda z, a, y, w: -right(z, a, y, w)
            ),
        },
    )


@exercise(
    "02.2",
    "A mean over what is there",
    kind="fill one step",
    difficulty=2,
    minutes=5,
    right="what is missing never entered the arithmetic, so neither the value nor the gradient can "
    "notice it.",
)
def masked_mse(answer: Callable[..., Any]) -> str | None:
    """Check ``masked_mse(output, target)``: value and gradient; nan targets count for nothing."""

    def right(output: Tensor, target: Tensor) -> Tensor:
        there = ~target.isnan()
        errors = torch.where(there, output - torch.where(there, target, 0.0), 0.0)
        return errors.square().sum() / there.sum().clamp(min=1)

    def with_slope(function: Callable[..., Any]) -> Callable[..., Any]:
        def both(output: Tensor, target: Tensor) -> dict[str, Tensor]:
            leaf = output.clone().requires_grad_()
            value = torch.as_tensor(function(leaf, target))
            slope = torch.zeros_like(output)
            if value.requires_grad:
                slope = torch.autograd.grad(value.sum(), leaf, allow_unused=True)[0]
            return {"value": value.detach(), "gradient": slope}

        return both

    def by_slip(what: str) -> Callable[..., Any]:
        def slip(output: Tensor, target: Tensor) -> Tensor:
            there = ~target.isnan()
            filled = torch.where(there, target, torch.zeros_like(target))
            if what == "zeros":
                return (output - filled).square().mean()
            if what == "factor":
                return ((output - target) ** 2 * there).sum() / there.sum()
            if what == "nanmean":
                return ((output - target) ** 2).nanmean()
            if what == "outside":
                errors = torch.where(there, (output - target) ** 2, 0.0)
                return errors.sum() / there.sum().clamp(min=1)
            errors = torch.where(there, output - filled, 0.0).square()
            if what == "empty":
                return errors.sum() / there.sum()
            return errors.mean() if what == "all" else errors.sum()

        return slip

    def case(g: torch.Generator) -> tuple[Tensor, Tensor]:
        output, target = torch.randn(2, 6, generator=g, dtype=torch.float64)
        target[torch.rand(6, generator=g) < 0.4] = math.nan
        return output, target

    nan = math.nan
    small = torch.tensor([2.0, 5.0, 1.0]).double(), torch.tensor([1.0, nan, 3.0]).double()
    empty = torch.tensor([2.0, 5.0]).double(), torch.tensor([nan, nan]).double()
    far = torch.tensor([80.0, 5.0, 1.0]).double(), torch.tensor([1.0, nan, -60.0]).double()
    if message := not_a_function(answer):
        return message
    value = answer(*(v.clone() for v in small))
    if isinstance(value, Tensor) and value.dim() > 0:
        return f"give one number, the mean; found a tensor of shape {list(value.shape)}."
    slips = {
        "the value is right and the gradient is NaN: the branch that is not taken is still "
        "differentiated, and 0 times NaN is NaN. Put a harmless number in *before* the "
        "subtraction.": "outside",
        "the value is NaN: you multiply by 0 where the label is missing, and NaN times 0 is NaN. A "
        "factor cannot remove it; torch.where can.": "factor",
        "nanmean gives the right value, but the NaN has been in the subtraction, and the gradient "
        "there is NaN. And a batch without any label has no mean.": "nanmean",
        "you filled the gaps with 0 and let them count: the output is pulled towards 0 there.": (
            "zeros"
        ),
        "you divided by all examples: divide by the labelled ones, or the task's weight shrinks "
        "with every label that is missing.": "all",
        "that is the sum over the labelled examples; divide by their number.": "sum",
        "a batch without any label gives 0 / 0: let the divisor be at least 1.": "empty",
    }
    return compare(
        with_slope(answer),
        with_slope(right),
        [small, *draws(case), far, empty],
        slips={message: with_slope(by_slip(what)) for message, what in slips.items()},
    )


@exercise(
    "02.3",
    "My loss went negative",
    kind="explain with numbers",
    difficulty=2,
    minutes=5,
    right="every task gives 1/2 + log sigma at its best: below zero as soon as its error, in its "
    "unit squared, is below 1/e. Nothing to mend.",
)
def lowest_total(answer: Callable[..., Any]) -> str | None:
    """Check ``lowest_total(losses)``: (best sigma [K], lowest total) for fixed squared errors."""

    def right(losses: Tensor) -> tuple[Tensor, Tensor]:
        return losses.sqrt(), (0.5 + losses.log() / 2).sum()

    def total(losses: Tensor, extra: float = 0.0) -> Tensor:
        return (0.5 + extra + losses.log() / 2).sum()

    def case(g: torch.Generator) -> tuple[Tensor]:
        return (torch.exp(3 * torch.randn(4, generator=g, dtype=torch.float64)),)

    slips = {
        "you clipped the total at zero. The sign means nothing: in other units the same model "
        "has another sign.": lambda v: (v.sqrt(), total(v).clamp(min=0)),
        "you clipped each task at zero. A task may well be below zero, and rightly.": (
            lambda v: (v.sqrt(), (0.5 + v.log() / 2).clamp(min=0).sum())
        ),
        "the total is right, and your sigma is sigma squared: take the root.": (
            lambda v: (v, total(v))
        ),
        "your sigma is sigma squared (take the root), and the total was computed with it.": (
            lambda v: (v, (0.5 + v.log()).sum())
        ),
        "sigma squared is L, not 2 L: differentiate L / (2 sigma²) + log sigma again; the 2 of the "
        "first term goes.": lambda v: ((2 * v).sqrt(), (0.25 + (2 * v).log() / 2).sum()),
        "that is the lowest place of L / sigma² + log sigma; here the first term is L / (2 sigma²),"
        " and sigma squared is L.": lambda v: ((2 * v).sqrt(), (0.5 + (2 * v).log() / 2).sum()),
        "sigma is right; the total has the term log sigma, and you added log sigma squared.": (
            lambda v: (v.sqrt(), (0.5 + v.log()).sum())
        ),
        "sigma is right; you left the first term out of the total: it is 1/2 for each task.": (
            lambda v: (v.sqrt(), (v.log() / 2).sum())
        ),
        "sigma is right; the first term is L / (2 sigma²): you forgot the 2.": (
            lambda v: (v.sqrt(), (1 + v.log() / 2).sum())
        ),
        "sigma is right; the 1/2 stands in the total once for each task, and you added it once.": (
            lambda v: (v.sqrt(), 0.5 + (v.log() / 2).sum())
        ),
        "sigma is right; you kept the constant (log 2 pi)/2 of each task. The total of uncertainty "
        "weighting leaves it out.": lambda v: (v.sqrt(), total(v, math.log(2 * math.pi) / 2)),
        "sigma is right; the total is one number: add up the tasks.": (
            lambda v: (v.sqrt(), 0.5 + v.log() / 2)
        ),
        "that is the mean over tasks; the total adds them up.": (
            lambda v: (v.sqrt(), (0.5 + v.log() / 2).mean())
        ),
    }
    named = {message: _parts(slip, "sigma", "total") for message, slip in slips.items()}
    return compare(
        _parts(answer, "sigma", "total"),
        _parts(right, "sigma", "total"),
        [(torch.tensor([0.02, 1.0]).double(),), *draws(case)],
        slips=named,
    )


@exercise(
    "02.4",
    "Three faults in nine lines",
    kind="bug hunt",
    difficulty=3,
    minutes=8,
    right="the noise is in the optimiser, sigma is squared, and nothing is clipped.",
)
def learn_noise(answer: Callable[..., Any]) -> str | None:
    """Check ``learn_noise(errors, steps, lr)``: sigma after Adam on fixed squared errors."""

    def general(
        power: float = 2.0,
        half: bool = True,
        clip: bool = False,
        learn: bool = True,
        own: float = 1.0,
    ) -> Callable[..., Any]:
        def run(errors: Tensor, steps: int, lr: float) -> Tensor:
            log_sigma = torch.zeros_like(errors, requires_grad=True)
            stepper = torch.optim.Adam([log_sigma], lr=lr)
            for _ in range(steps if learn else 0):
                share = errors * torch.exp(-power * log_sigma)
                total = ((share / 2 if half else share) + own * log_sigma).sum()
                total = total.clamp(min=0) if clip else total
                stepper.zero_grad()
                total.backward()
                stepper.step()
            return (log_sigma.detach() * own).exp()

        return run

    def case(g: torch.Generator) -> tuple[Tensor, int, float]:
        return torch.exp(2 * torch.randn(3, generator=g, dtype=torch.float64)), 120, 0.1

    small = torch.tensor([0.01, 0.04], dtype=torch.float64), 120, 0.1
    return compare(
        answer,
        general(),
        [small, *draws(case, count=1)],
        slips={
            "sigma stays at 1: its logarithm is not among the optimiser's parameters.": (
                general(learn=False)
            ),
            "sigma stops where the total reaches zero: it is still clipped.": general(clip=True),
            "you divide by sigma, not by sigma squared: exp(-2 log sigma).": general(power=1.0),
            "two faults are left: a total that is clipped, and sigma that is not squared.": (
                general(power=1.0, clip=True)
            ),
            "the ½ is gone: sigma squared comes out twice as large as the error.": (
                general(half=False)
            ),
            "that learns log sigma squared. It is a sound way to write it, and it takes other "
            "steps: keep log_sigma as the learned number here.": general(power=1.0, own=0.5),
            "that is where learning ends, written down at once. Here the function should learn: "
            "mend the three faults and keep the loop.": lambda errors, steps, lr: errors.sqrt(),
        },
        tol=1e-4,
    )


SAME_RUN = {
    "SGD": (0.001, "a step of SGD is the rate times the gradient, and the gradient grew 100 times"),
    "SGD with momentum": (
        0.001,
        "momentum adds up gradients; the sum of gradients that grew 100 times grew 100 times",
    ),
    "Adam": (0.1, "Adam divides by the size of the gradients it saw, so a common factor cancels"),
    "AdamW": (
        0.1,
        "its weight decay is the rate times the decay times the parameter; no loss stands in it",
    ),
    "SGD on the sum of logs": (
        0.1,
        "the log of 100 L is log 100 + log L, and a constant has no gradient",
    ),
}


@exercise(
    "02.8",
    "The same run again",
    kind="tweak and predict",
    difficulty=2,
    minutes=3,
    right="a common factor is a learning rate for SGD, and nothing at all for Adam.",
)
def same_run(answer: Mapping[str, float]) -> str | None:
    """Check a dictionary from optimiser to the learning rate that gives the same run again."""
    if not isinstance(answer, Mapping) or set(answer) != set(SAME_RUN):
        return f"give one learning rate for each of: {', '.join(SAME_RUN)}."
    for name, (rate, why) in SAME_RUN.items():
        given = float(as_numbers(answer[name], name, shape=()))
        if same(given, 10.0) is None:
            return f"{name}: 10 would make the steps larger still; {why}."
        if same(given, rate) is not None:
            return f"{name}: with {given:g} the run is another one: {why}."
    return None
