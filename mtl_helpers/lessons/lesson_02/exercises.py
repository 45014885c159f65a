"""The checks of lesson 02, the loss formula."""

from __future__ import annotations

import functools
import itertools
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
from mtl_helpers.teaching.exercises.forms import named_parts, normals, positive, with_gradient
from mtl_helpers.teaching.exercises.reasons import numbers_fit
from mtl_helpers.teaching.exercises.testers import Calls, gradient_reaches, inputs_left_alone


@exercise(
    "02.1",
    "From densities to one number",
    kind="fill one step",
    difficulty=2,
    minutes=5,
    right="a product of densities has become a sum, and each task brought its own weight along.",
)
def joint_nll(answer: Callable[..., Any]) -> str | None:
    """Check ``joint_nll(y, guess, sigma)``: minus the log-likelihood of independent Gaussians."""

    def right(y: Tensor, guess: Tensor, sigma: Tensor) -> Tensor:
        return _nll(y, guess, sigma)

    case = normals((4, 3), (4, 3), positive(3))
    small = [[[1.0, 2.0], [3.0, 2.0]], [[1.0, 1.0], [2.0, 2.0]], [1.0, 2.0]]
    first = tuple(torch.tensor(part, dtype=torch.float64) for part in small)
    slips = {
        "that is the mean over the examples; the likelihood is a product over all of them, so its "
        "log is a sum.": {"over": "examples"},
        "that is the mean over all numbers; minus the log of a product is the *sum*.": {
            "over": "all"
        },
        "divide by sigma *squared*.": {"power": 1.0},
        "the squared error is divided by 2 sigma²; you forgot the 2.": {"half": 1.0},
        "that is the log-likelihood; the loss is *minus* that.": {"sign": -1.0},
        "the constant is *half* of log 2π.": {"constant": math.log(2 * math.pi)},
        "you subtracted the constant; with the minus in front of the log it is added.": {
            "constant": -0.5 * math.log(2 * math.pi)
        },
        "you gave one number per task; add up the tasks as well.": {"over": "not tasks"},
        "you gave one number per example; add up the examples as well.": {"over": "not examples"},
        "you gave one number for each label; add all of them up.": {"over": "nothing"},
    }
    for (said_log, logs), (said, constants) in itertools.product(LOGS.items(), CONSTANTS.items()):
        text = f"{said_log} {said[:1].upper()}{said[1:]}" if said_log and said else said_log + said
        slips |= {text: {"logs": logs, "constants": constants}} if text else {}
    named = {text: functools.partial(_nll, **change) for text, change in slips.items()}
    return compare(answer, right, [first, *draws(case)], named) or gradient_reaches(
        answer, first, to=[1, 2], right=right
    )


# How often a term may stand in the sum: what a wrong number is told, and that number.
LOGS = {
    "": "labels",
    "log sigma belongs to every example; you added it once for each task.": "tasks",
    "you left out log sigma: without it a larger sigma is always better.": "never",
}
EACH = "each of the N·K densities brings its own constant ½ log 2π;"
CONSTANTS = {
    "": "labels",
    f"{EACH} you added it once in all.": "once",
    f"{EACH} you added one for each task.": "tasks",
    f"{EACH} you added one for each example.": "examples",
    "you left out the constant ½ log 2π of each density.": "never",
}


def _nll(
    y: Tensor,
    guess: Tensor,
    sigma: Tensor,
    *,
    power: float = 2.0,
    half: float = 0.5,
    logs: str = "labels",
    constant: float = 0.5 * math.log(2 * math.pi),
    constants: str = "labels",
    sign: float = 1.0,
    over: str = "",
) -> Tensor:
    errors = half * (y - guess) ** 2 / sigma**power
    if over:
        each = errors + sigma.log() + constant
        reduce = {
            "examples": lambda v: v.sum(1).mean(),
            "all": torch.mean,
            "not tasks": lambda v: v.sum(0),
            "not examples": lambda v: v.sum(1),
            "nothing": lambda v: v,
        }
        return reduce[over](each)
    rows, tasks = y.shape
    times = {"labels": rows * tasks, "examples": rows, "tasks": tasks, "once": 1, "never": 0}
    all_logs = sigma.log().sum() * times[logs] / tasks
    return sign * (errors.sum() + all_logs + constant * times[constants])


Share = Callable[[Tensor, Tensor, Tensor], Tensor]  # errors [N, 2], a or z, and w


def share(errors: Tensor, by: Tensor, w: Tensor) -> Tensor:
    """Give what each error sends on: on its way down times a, in a head times z."""
    return errors * by * w


@exercise(
    "02.2",
    "What the trunk and the heads feel",
    kind="fill one step",
    difficulty=2,
    minutes=6,
    right="the trunk feels the weighted sum of both tasks, each head only its own task.",
)
def weighted_gradients(answer: Callable[..., Any]) -> str | None:
    """Check ``weighted_gradients(x, y, theta, a, w)``: slopes in theta [D] and in the heads [2]."""

    def unweighted(errors: Tensor, by: Tensor, w: Tensor) -> Tensor:
        return errors * by

    def half(errors: Tensor, by: Tensor, w: Tensor) -> Tensor:
        return errors * by * w / 2

    def general(trunk: Share = share, head: Share = share) -> Callable[..., Any]:
        def slopes(x: Tensor, y: Tensor, theta: Tensor, a: Tensor, w: Tensor) -> tuple:
            z = (x @ theta)[:, None]
            errors = 2 * (a * z - y)  # [N, 2]
            return x.T @ trunk(errors, a, w).sum(1) / len(x), head(errors, z, w).mean(0)

        return slopes

    case = normals((5, 3), (5, 2), (3,), (2,), positive(2))
    small = [[[1.0], [2.0]], [[1.0, 0.0], [2.0, 1.0]], [1.0], [2.0, 1.0], [1.0, 3.0]]
    first = tuple(torch.tensor(part, dtype=torch.float64) for part in small)
    slips = {
        "you left out the weights w everywhere.": general(unweighted, unweighted),
        "the heads are right; in theta each task counts w_k times.": general(trunk=unweighted),
        "theta is right; each head feels its own loss w_k times.": general(head=unweighted),
        "a head stands in one loss only, so only its own weight reaches it.": general(
            head=lambda errors, z, w: errors * z * w.sum()
        ),
        "the heads are right; on its way down to theta each error passes its head: multiply by "
        "a_k.": general(trunk=lambda errors, a, w: errors * w),
        "theta is right; a_k z changes by z when a_k changes by 1: multiply by z in the heads.": (
            general(head=lambda errors, z, w: errors * w)
        ),
        HALF: general(half, half),
        "the heads are right; in theta the losses of the tasks are added up: you took their mean, "
        "or left out the factor 2 of the square.": general(trunk=half),
        "theta is right; in the heads the factor 2 of the square is missing, or you divided by the "
        "number of tasks.": general(head=half),
        "the error is a z - y, not y - a z: your slopes point the wrong way.": general(
            *[lambda errors, by, w: -errors * by * w] * 2
        ),
        "you summed over the examples; these losses are means.": general(
            *[lambda errors, by, w: len(errors) * errors * by * w] * 2
        ),
    }
    names = ("slope in theta", "slope in a")
    message = inputs_left_alone(answer, first, grads=True) if callable(answer) else None
    message = message or compare(
        named_parts(answer, *names),
        named_parts(general(), *names),
        [first, *draws(case)],
        {text: named_parts(slip, *names) for text, slip in slips.items()},
    )
    return _why_half(answer, general()) if message == HALF else message


HALF = "both slopes are half of what they should be:"


def _why_half(answer: Callable[..., Any], right: Callable[..., Any]) -> str:
    """Tell a square without its factor 2 from a mean over two tasks: with three they differ."""
    (case,) = draws(normals((5, 3), (5, 3), (3,), (3,), positive(3)), count=1)
    try:
        found = answer(*case)
    except Exception:  # written for two tasks only
        found = []
    for parts, why in (
        (3, "you took the mean over the tasks as well; their losses are added up."),
        (2, "the square gives a factor 2."),
    ):
        if same(found, [part / parts for part in right(*case)]) is None:
            return f"{HALF} {why}"
    return f"{HALF} the factor 2 of the square is missing, or you took the mean of the tasks."


@exercise(
    "02.3",
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

    def by_slip(what: str) -> Callable[..., Any]:
        def slip(output: Tensor, target: Tensor) -> Tensor:
            there = ~target.isnan()
            filled = torch.where(there, target, torch.zeros_like(target))
            if what == "zeros":
                return (output - filled).square().mean()
            if what == "factor":
                return ((output - target) ** 2 * there).sum() / there.sum()
            if what == "guarded" and not there.any():
                return 0 * output.sum()
            if what == "nanmean":
                return ((output - target) ** 2).nanmean()
            if what in ("outside", "guarded"):
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
    if message := inputs_left_alone(answer, small, ("output", "target")):
        return message
    value = answer(*(v.clone() for v in small))
    if isinstance(value, Tensor) and value.dim() > 0:
        return f"give one number, the mean; found a tensor of shape {list(value.shape)}."
    slips = {
        f"the value is right and the gradient is NaN: {TOO_LATE}": "outside",
        f"the value is right and the gradient of a batch with labels is NaN: {TOO_LATE}": "guarded",
        "the value is NaN: you multiply by 0 where the label is missing, and NaN times 0 is NaN. A "
        "factor cannot remove it; torch.where can.": "factor",
        "two faults. The NaN has been in the subtraction, so the gradient there is NaN, although "
        "nanmean or nansum gives the right value. And a batch without any label gives 0 / 0.": (
            "nanmean"
        ),
        "you filled the gaps with 0 and let them count: the output is pulled towards 0 there.": (
            "zeros"
        ),
        "you divided by all examples: divide by the labelled ones, or the task's weight shrinks "
        "with every label that is missing.": "all",
        "that is the sum over the labelled examples; divide by their number.": "sum",
        f"{EMPTY}.": "empty",
    }
    with Calls() as calls:
        answer(*(v.clone() for v in small))
    if "nanmean" in calls.names:
        slips[f"{EMPTY}. nanmean divides by the number of labels, too."] = slips.pop(f"{EMPTY}.")
    return compare(
        with_gradient(answer),
        with_gradient(right),
        [small, *draws(case), far, empty],
        slips={message: with_gradient(by_slip(what)) for message, what in slips.items()},
    )


TOO_LATE = (
    "what torch.where, nansum or nan_to_num throws away is still differentiated, and 0 times NaN "
    "is NaN. Put a harmless number in *before* the subtraction."
)
EMPTY = (
    "a batch without any label gives 0 / 0, a mean over nothing: divide a sum by the number of "
    "labels, and by at least 1"
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
        "it divides as Adam does, so a common factor cancels; and its weight decay is the rate "
        "times the decay times the parameter, in which no loss stands",
    ),
    "SGD on the sum of logs": (
        0.1,
        "the log of 100 L is log 100 + log L, and a constant has no gradient",
    ),
}


@exercise(
    "02.4",
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
            return f"{name}: with 10 the steps would be larger, never the same; {why}."
        if rate < 0.1 and same(given, 0.01) is None:
            return f"{name}: a rate 10 times smaller is not enough; {why}, not 10 times."
        if rate < 0.1 and same(given, 1e-5) is None:
            return f"{name}: that is 100 times too small; {why}, not 100² times."
        if same(given, rate) is not None:
            return f"{name}: with {given:g} the run is another one: {why}."
    return None


LOG_VARIANCE = (
    "that is the form for s = log sigma²; here s = log sigma is given, half of that: divide by "
    "2 exp(2 s), and add s."
)


@exercise(
    "02.5",
    "Weights that are learned",
    kind="fill one line",
    difficulty=1,
    minutes=3,
    right="the same line as the likelihood, without its constant.",
)
def noise_weighted(answer: Callable[..., Any]) -> str | None:
    """Check ``noise_weighted(losses, log_sigma)``: sum_k L_k / (2 sigma_k²) + log sigma_k."""

    def general(
        power: float = -2.0,
        half: float = 0.5,
        log: float = 1.0,
        over: str = "sum",
        weight: Callable[[Tensor], Tensor] = torch.exp,
        second: Callable[[Tensor], Tensor] = torch.clone,
    ) -> Callable[..., Any]:
        def total(losses: Tensor, log_sigma: Tensor) -> Tensor:
            each = half * losses * weight(log_sigma) ** power + log * second(log_sigma)
            if over == "clip":
                return each.sum().clamp(min=0)
            return {"sum": each.sum(), "mean": each.mean(), "none": each}[over]

        return total

    case = normals(positive(3), (3,))
    pairs = ([1.0, 4.0], [1.0, 0.5]), ([0.01, 0.02], [-2.0, -2.0])
    first, below = (tuple(torch.tensor(v).double() for v in pair) for pair in pairs)
    slips = {
        "you divide by sigma; it must be sigma *squared*, exp(2 log_sigma).": {"power": -1.0},
        "you multiply by sigma²; the formula divides by it.": {"power": 2.0},
        "the first part is divided by 2 sigma²; you forgot the 2.": {"half": 1.0},
        "you left out + log sigma: without it all weights go to zero.": {"log": 0.0},
        "you added log sigma² (twice log sigma); with the ½ in the first part it is log sigma.": {
            "log": 2.0
        },
        "the second part is log sigma, which is what you are given: no exp there.": {
            "second": torch.exp
        },
        "`log_sigma` is already a logarithm: do not take its log again in the second part.": {
            "second": torch.log
        },
        "`log_sigma` is not sigma, but its logarithm: sigma is torch.exp(log_sigma), and the "
        "second part is log_sigma as it is.": {"weight": torch.clone, "second": torch.log},
        "you divide by log_sigma squared; sigma is torch.exp(log_sigma).": {"weight": torch.clone},
        LOG_VARIANCE: {"power": -1.0, "log": 0.5},
        f"{LOG_VARIANCE} (And all of it twice.)": {"power": -1.0, "half": 1.0},
        "you clipped the total at zero. Below zero it is as right as above.": {"over": "clip"},
        "add up the tasks; you took their mean.": {"over": "mean"},
        "add up the tasks: the total is one number.": {"over": "none"},
    }
    named = {text: general(**change) for text, change in slips.items()}
    return compare(answer, general(), [first, *draws(case), below], named) or gradient_reaches(
        answer, first, right=general()
    )


@exercise(
    "02.6",
    "Three faults in nine lines",
    kind="bug hunt",
    difficulty=3,
    minutes=6,
    right="the noise is in the optimiser, sigma is squared, and nothing is clipped.",
)
def learn_noise(answer: Callable[..., Any]) -> str | None:
    """Check ``learn_noise(errors, steps, lr)``: where sigma comes to rest, with any optimiser."""

    def clipped(power: float) -> Callable[..., Any]:
        def run(errors: Tensor, steps: int, lr: float) -> Tensor:
            log_sigma = torch.zeros_like(errors, requires_grad=True)
            stepper = torch.optim.Adam([log_sigma], lr=lr)
            for _ in range(steps):
                total = (errors * torch.exp(-power * log_sigma) / 2 + log_sigma).sum()
                stepper.zero_grad()
                total.clamp(min=0).backward()
                stepper.step()
            return log_sigma.detach().exp()

        return run

    def case(g: torch.Generator) -> tuple[Tensor, int, float]:
        return torch.exp(1.2 * torch.randn(3, generator=g, dtype=torch.float64)), 600, 0.05

    if message := not_a_function(answer):
        return message
    small = torch.tensor([0.01, 0.04], dtype=torch.float64), 600, 0.05
    message = compare(
        answer,
        lambda errors, steps, lr: errors.sqrt(),
        [small, *draws(case, count=1), (torch.full((3,), 1e-6, dtype=torch.float64), 600, 0.05)],
        slips={
            "sigma stays at 1: its logarithm is not among the optimiser's parameters.": (
                lambda errors, steps, lr: torch.ones_like(errors)
            ),
            "sigma stops where the total reaches zero: it is still clipped.": clipped(2.0),
            "you divide by sigma, not by sigma squared: exp(-2 log sigma).": (
                lambda errors, steps, lr: errors / 2
            ),
            "two faults are left: a total that is clipped, and sigma that is not squared.": (
                clipped(1.0)
            ),
            "the ½ is gone: sigma squared comes out twice as large as the error.": (
                lambda errors, steps, lr: (2 * errors).sqrt()
            ),
            "that is log sigma; give sigma, its exp.": lambda errors, steps, lr: errors.log() / 2,
            "that is sigma squared; give sigma.": lambda errors, steps, lr: errors,
        },
        tol=5e-3,
    )
    if message:
        return message.replace("with errors", "after 600 steps, with errors", 1)
    errors = torch.tensor([0.01, 9.0], dtype=torch.float64)
    if same(answer(errors.clone(), 1, 0.01), errors.sqrt(), tol=1e-2) is None:
        return (
            "after a single small step sigma is already where learning ends: that is the answer "
            "written down at once. Keep the loop, and repair it."
        )
    return None


REFRESHER = {
    "log of 12": ((2 * 0.7 + 1.1), "12 = 2 · 2 · 3, and the log of a product is the sum of logs"),
    "sum of squares": (14.0, "Σ adds up: 1 + 4 + 9"),
    "product": (24.0, "Π multiplies: 2 · 3 · 4"),
    "slope": (12.0, "the outer slope is 2 (3t - 1) = 4, the inner one is 3: multiply them"),
    "gradient": ((8.0, 3.0), "the slope in a is 2a + 3b, with b held still; the slope in b is 3a"),
    "norm": (5.0, "it is the root of 9 + 16"),
    "density": (4.0, "half as wide and the same area: twice as high, at each of the two halvings"),
}


@exercise(
    "02.11",
    "Seven small sums",
    kind="explain with numbers",
    difficulty=1,
    minutes=5,
    right="that is all the mathematics of lesson 02.",
)
def refresher(answer: Mapping[str, Any]) -> str | None:
    """Check a dictionary from the name of a sum to its result."""
    return numbers_fit(answer, REFRESHER)
