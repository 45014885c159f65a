"""The checks of the notebooks that go deeper than lesson 02: exercises 02.12 and up."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mtl_helpers.teaching.exercises.answers import (
    as_numbers,
    compare,
    draws,
    is_empty,
    not_a_function,
    same,
)
from mtl_helpers.teaching.exercises.core import exercise
from mtl_helpers.teaching.exercises.forms import normals, number_type, positive, stops
from mtl_helpers.teaching.exercises.reasons import words_fit
from mtl_helpers.teaching.exercises.testers import gradient_reaches, inputs_left_alone

FLOAT = torch.float64


def _tensor(*values: Any) -> Tensor:
    return torch.tensor(values, dtype=FLOAT)


# --- What a weighted sum cannot reach ------------------------------------------------------------


@exercise(
    "02.12",
    "Which models are on the front?",
    kind="fill one step",
    difficulty=2,
    minutes=5,
    right="a model leaves the list only when another one is nowhere worse and somewhere better.",
)
def on_front(answer: Callable[..., Any]) -> str | None:
    """Check ``on_front(losses)``: losses [N, K] -> bool [N], True where no other dominates."""

    def general(nowhere_worse: Any = torch.le, somewhere: bool = True, turn: bool = False) -> Any:
        def run(losses: Tensor) -> Tensor:
            mine, other = losses[:, None], losses[None]
            beaten = nowhere_worse(other, mine).all(-1)
            if somewhere:
                beaten &= (other < mine).any(-1)
            return beaten.any(1) if turn else ~beaten.any(1)

        return run

    def rival_wins_once(losses: Tensor) -> Tensor:
        return ~(losses[None] < losses[:, None]).any(-1).any(1)

    def case(g: torch.Generator) -> tuple[Tensor]:
        return (torch.randint(0, 4, (7, 3), generator=g).to(FLOAT),)

    small = (_tensor([1.0, 4.0], [2.0, 2.0], [2.0, 3.0], [4.0, 1.0], [2.0, 2.0]),)
    return compare(
        answer,
        general(),
        [small, *draws(case)],
        slips={
            "you ask for a rival that is better in every loss. One that is equal in some and "
            "better in one dominates too.": general(torch.lt, somewhere=False),
            "a model that is equal to itself in every loss must not knock itself out: ask for one "
            "loss that is better.": general(somewhere=False),
            "turned round: you marked the models that are dominated.": general(turn=True),
            "a rival that is better in one loss and worse in another is a trade.": (
                rival_wins_once
            ),
            "you kept the model with the smallest sum of losses; a front has many models.": (
                lambda losses: losses.sum(1) == losses.sum(1).min()
            ),
            "you kept the models that are best in one of the losses. Those are the ends of the "
            "front; between them lie compromises.": (
                lambda losses: (losses == losses.min(0).values).any(1)
            ),
        },
    )


@exercise(
    "02.13",
    "How near to stationary?",
    kind="fill one line",
    difficulty=2,
    minutes=5,
    right="length zero means Pareto stationary: no small step helps both tasks.",
)
def shortest_mix(answer: Callable[..., Any]) -> str | None:
    """Check ``shortest_mix(g1, g2)``: the a in [0, 1] that makes a g1 + (1 - a) g2 shortest."""

    def free(g1: Tensor, g2: Tensor) -> Tensor:
        return ((g2 - g1) * g2).sum() / (g1 - g2).square().sum()

    def right(g1: Tensor, g2: Tensor) -> Tensor:
        return free(g1, g2).clamp(0, 1)

    small = _tensor(2.0, 0.0), _tensor(-1.0, 1.0)
    inside, other = (_tensor(1.0, 0.0), _tensor(3.0, 1.0)), (_tensor(3.0, 1.0), _tensor(1.0, 0.0))
    return compare(
        answer,
        right,
        [small, *draws(normals((3,), (3,))), inside, other],
        slips={
            "a weight must stay between 0 and 1: clamp it. (Where one gradient alone is the "
            "shortest, the best weight is at an end.)": free,
            "that is the weight of the second gradient; give that of the first.": (
                lambda g1, g2: 1 - right(g1, g2)
            ),
            "that makes both weighted gradients equally long; they need not cancel.": (
                lambda g1, g2: g2.norm() / (g1.norm() + g2.norm())
            ),
            "that is the simple mean of both. Set the slope of the squared length to zero.": (
                lambda g1, g2: 0.5
            ),
            "that is the length of the shortest mixture; give the weight.": (
                lambda g1, g2: (right(g1, g2) * g1 + (1 - right(g1, g2)) * g2).norm()
            ),
            "divide by the squared length of g1 - g2.": (
                lambda g1, g2: (((g2 - g1) * g2).sum() / (g1 - g2).norm()).clamp(0, 1)
            ),
        },
    )


@exercise(
    "02.14",
    "The smooth maximum",
    kind="fill one line",
    difficulty=2,
    minutes=4,
    right="small mu: almost the task that is farthest above its ideal. Large mu: almost their sum.",
)
def smooth_max(answer: Callable[..., Any]) -> str | None:
    """Check ``smooth_max(losses, weights, ideal, mu)``, without overflow for a small mu."""

    def right(losses: Tensor, weights: Tensor, ideal: Tensor, mu: float) -> Tensor:
        return mu * torch.logsumexp(weights * (losses - ideal) / mu, 0)

    def case(g: torch.Generator) -> tuple[Tensor, Tensor, Tensor, float]:
        losses, weights, ideal = torch.rand(3, 3, generator=g, dtype=FLOAT) + 0.1
        return losses + 1, weights, ideal, float(torch.rand(1, generator=g)) + 0.1

    two = _tensor(1.0, 3.0), _tensor(0.5, 0.5), _tensor(0.0, 2.0), 0.5
    large = _tensor(900.0, 700.0), _tensor(1.0, 1.0), _tensor(10.0, 20.0), 0.1
    wide = _tensor(1.0, 3.0, 2.0), _tensor(0.5, 0.2, 0.3), _tensor(0.1, 0.2, 0.3), 50.0
    message = compare(
        answer,
        right,
        [two, *draws(case), wide, large],
        slips={
            "you left the ideal point out: subtract it from the losses.": (
                lambda v, w, z, mu: right(v, w, 0 * z, mu)
            ),
            "the ideal is subtracted *before* the weight is applied.": (
                lambda v, w, z, mu: mu * torch.logsumexp((w * v - z) / mu, 0)
            ),
            "multiply by mu at the end, so that the value is a loss again.": (
                lambda v, w, z, mu: right(v, w, z, mu) / mu
            ),
            "divide by mu inside: it says what counts as a small difference.": (
                lambda v, w, z, mu: mu * torch.logsumexp(w * (v - z), 0)
            ),
            "divide by mu inside, where you multiply by it.": (
                lambda v, w, z, mu: mu * torch.logsumexp(w * (v - z) * mu, 0)
            ),
            "that is the hard maximum; the smooth one adds up exponentials.": (
                lambda v, w, z, mu: (w * (v - z)).max()
            ),
            "you left the weights out.": lambda v, w, z, mu: right(v, torch.ones_like(w), z, mu),
            "the weights belong inside, next to the losses.": (
                lambda v, w, z, mu: mu * (w * torch.exp((v - z) / mu)).sum().log()
            ),
            "that is a weighted sum.": lambda v, w, z, mu: (w * (v - z)).sum(),
            "the formula is right and overflows: torch.logsumexp computes it safely.": (
                lambda v, w, z, mu: mu * torch.exp(w * (v - z) / mu).sum().log()
            ),
        },
    )
    return message or gradient_reaches(answer, two, to=[0], right=right)


# --- Optimisers ----------------------------------------------------------------------------------


def _some_step(g: torch.Generator) -> int:
    return int(torch.randint(2, 9, (1,), generator=g))


@exercise(
    "02.15",
    "One step of Adam",
    kind="fill one step",
    difficulty=2,
    minutes=8,
    right="two moving averages, each freed of its start at zero, and a step that has no unit.",
)
def adam_step(answer: Callable[..., Any]) -> str | None:
    """Check ``adam_step(m, v, g, t)``: new averages and the step to subtract."""

    def general(slip: str = "") -> Callable[..., Any]:
        def step(m: Tensor, v: Tensor, g: Tensor, t: int) -> tuple[Tensor, Tensor, Tensor]:
            m = 0.9 * m + (g if slip == "momentum" else 0.1 * g)
            v = (
                v + g**2
                if slip == "adagrad"
                else 0.999 * v + 0.001 * (g.abs() if slip == "absolute" else g**2)
            )
            late = 1 if slip == "late" else 0
            free = slip != "biased"
            m_hat = m / (1 - 0.9 ** (t + late)) if free else m
            v_hat = v / (1 - 0.999 ** (t + late)) if free else v
            size = (v_hat + 1e-8).sqrt() if slip == "inside" else v_hat.sqrt() + 1e-8
            size = v_hat + 1e-8 if slip == "no root" else size
            kept = (m_hat, v_hat) if slip == "kept" else (m, v)
            moved = g if slip == "gradient" else m_hat
            return *kept, (1 if slip == "rate" else 0.01) * moved / size

        return step

    case = normals((3,), positive(3), (3,), _some_step)
    small = _tensor(0.0, 0.0), _tensor(0.0, 0.0), _tensor(1e-4, -2.0), 1
    return compare(
        answer,
        general(),
        [small, *draws(case)],
        slips={
            "the averages start at zero and are too small at first: divide them by 1 - 0.9^t and "
            "1 - 0.999^t.": general("biased"),
            "t counts from 1 here: your correction is one step late.": general("late"),
            "v averages the *squared* gradient.": general("absolute"),
            "v only grows: that is AdaGrad. Adam takes a moving average, 0.999 v + 0.001 g².": (
                general("adagrad")
            ),
            "m is a moving average: the new gradient counts one tenth.": general("momentum"),
            "1e-8 is added after the root, not under it.": general("inside"),
            "divide by the root of v, or the step keeps a unit.": general("no root"),
            "you forgot the learning rate, 0.01.": general("rate"),
            "the step goes along the corrected m, not along the new gradient alone.": (
                general("gradient")
            ),
            "keep the plain averages for later steps; the corrected ones serve this step only.": (
                general("kept")
            ),
        },
        tol=1e-6,
    )


@exercise(
    "02.16",
    "Make it AdamW",
    kind="bug hunt",
    difficulty=3,
    minutes=6,
    right="the parameter shrinks by itself, and the gradient of the losses is left alone.",
)
def adamw_step(answer: Callable[..., Any]) -> str | None:
    """Check ``adamw_step(p, m, v, g, t, lr, decay)``: the new p, m and v."""

    def general(slip: str = "") -> Callable[..., Any]:
        def step(
            p: Tensor, m: Tensor, v: Tensor, g: Tensor, t: int, lr: float, decay: float
        ) -> tuple[Tensor, Tensor, Tensor]:
            if slip in ("L2", "L2 and t"):
                g = g + decay * p
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            late = 1 if slip in ("t", "L2 and t") else 0
            m_hat, v_hat = m / (1 - 0.9 ** (t - late)), v / (1 - 0.999 ** (t - late))
            move = m_hat / (v_hat.sqrt() + 1e-8)
            shrunk = {"no rate": 1 - decay, "none": 1.0, "grow": 1 + lr * decay}
            kept = 1.0 if slip in ("L2", "L2 and t") else shrunk.get(slip, 1 - lr * decay)
            if slip == "after":
                return (p - lr * move) * kept, m, v
            return p * kept - lr * move, m, v

        return step

    case = normals((3,), (3,), positive(3), (3,), _some_step, 0.05, 0.3)
    zero, wanted = (0.0, 0.0), (0.5, -2.0)
    small = _tensor(2.0, -1.0), _tensor(*zero), _tensor(*zero), _tensor(*wanted), 2, 0.1, 0.5
    return compare(
        answer,
        general(),
        [small, *draws(case)],
        slips={
            "that is still Adam with L2: the decay goes into the gradient, and the root of v then "
            "divides it away.": general("L2"),
            "both faults are left: the decay is in the gradient, and the correction is one step "
            "early.": general("L2 and t"),
            "the decay is right. The correction is one step early: t counts from 1.": general("t"),
            "the parameter shrinks by the factor 1 - lr * decay; you left the rate out.": (
                general("no rate")
            ),
            "now nothing decays: the parameter itself must shrink.": general("none"),
            "the parameter grows: the factor is 1 *minus* lr * decay.": general("grow"),
            "shrink the parameter before the step; you shrink the step as well.": general("after"),
        },
    ) or inputs_left_alone(answer, small, ("p", "m", "v", "g", "t", "lr", "decay"))


# --- Stopping and averaging ----------------------------------------------------------------------


HONEST = {
    "a": ("fine", "each task runs its own copy, stopped where validation says: K models in use"),
    "b": ("cheating", "no single model has all of these scores at once"),
    "c": ("cheating", "the test data chose the round, so they can no longer judge it"),
    "d": ("fine", "one model, one round, chosen on validation data"),
    "e": ("cheating", "one side was given a choice that the other side was not"),
    "f": ("fine", "the round is chosen on validation data, however odd the measure is"),
}


@exercise(
    "02.17",
    "Fine or cheating?",
    kind="tell apart",
    difficulty=1,
    minutes=4,
    right="two questions: which data chose, and does the reported model exist?",
)
def honest(answer: Mapping[str, str]) -> str | None:
    """Check a dictionary from situation to "fine" or "cheating"."""
    return words_fit(answer, HONEST, ("fine", "cheating"))


@exercise(
    "02.18",
    "The moving average of the parameters",
    kind="fill one step",
    difficulty=1,
    minutes=5,
    right="it begins at the first parameters, so it has no start at zero to forget.",
)
def moving_average(answer: Callable[..., Any]) -> str | None:
    """Check ``moving_average(history, beta)``: parameters [T, P] -> their average [P]."""

    def general(start: str = "first", turn: bool = False) -> Callable[..., Any]:
        def run(history: Tensor, beta: float) -> Tensor:
            keep = 1 - beta if turn else beta
            average = history[0] if start != "zero" else torch.zeros_like(history[0])
            for now in history[0 if start in ("zero", "twice") else 1 :]:
                average = keep * average + (1 - keep) * now
            return average

        return run

    def corrected(history: Tensor, beta: float) -> Tensor:
        return general("zero")(history, beta) / (1 - beta ** len(history))

    return compare(
        answer,
        general(),
        [(_tensor([1.0, 0.0], [3.0, 4.0]), 0.75), *draws(normals((6, 3), 0.6))],
        slips={
            "your average begins at zero, and remembers it: begin at the first parameters.": (
                general("zero")
            ),
            "beta is what the *old* average keeps; the new parameters get 1 - beta.": (
                general(turn=True)
            ),
            "that is the plain mean: it never forgets.": lambda history, beta: history.mean(0),
            "those are the last parameters, without any average.": lambda history, beta: history[
                -1
            ],
            "you corrected a start at zero, as Adam does. It is a sound rule; here the average "
            "begins at the first parameters instead.": corrected,
        },
    ) or inputs_left_alone(answer, (_tensor([1.0, 0.0], [3.0, 4.0]), 0.75))


# --- Noise and the worst case --------------------------------------------------------------------


@exercise(
    "02.19",
    "The worst margin",
    kind="fill one line",
    difficulty=2,
    minutes=5,
    right="every pixel moves against its own weight, so the absolute weights add up.",
)
def worst_margin(answer: Callable[..., Any]) -> str | None:
    """Check ``worst_margin(x, y, w, b, eps)``: inputs [N, D], y = +-1 [N] -> margins [N]."""

    def general(loss: Callable[[Tensor], Tensor], sign: float = -1.0) -> Callable[..., Any]:
        def run(x: Tensor, y: Tensor, w: Tensor, b: float, eps: float) -> Tensor:
            return y * (x @ w + b) + sign * eps * loss(w)

        return run

    def case(g: torch.Generator) -> tuple[Tensor, Tensor, Tensor, float, float]:
        x = torch.randn(5, 4, generator=g, dtype=FLOAT)
        y = torch.where(torch.rand(5, generator=g) < 0.5, 1.0, -1.0).to(FLOAT)
        y[:2] = _tensor(1.0, -1.0)
        return x, y, torch.randn(4, generator=g, dtype=FLOAT), 0.4, 0.1

    small = _tensor([1.0, 2.0], [0.0, 1.0]), _tensor(1.0, -1.0), _tensor(2.0, -0.5), 0.5, 0.1
    absolute = general(lambda w: w.abs().sum())
    message = compare(
        answer,
        absolute,
        [small, *draws(case)],
        slips={
            "that is the margin of the clean inputs; take off what the attacker gains.": (
                general(lambda w: 0.0 * w.sum())
            ),
            "the attacker lowers the margin: subtract.": general(lambda w: w.abs().sum(), 1.0),
            "that is the sum of the weights. A negative weight helps the attacker too: take the "
            "absolute values.": general(lambda w: w.sum()),
            "that is the length of w, which belongs to a limit on the *length* of the change. Here "
            "each pixel has its own limit.": general(lambda w: w.norm()),
            "that is the largest weight: only one pixel moves. All of them may.": (
                general(lambda w: w.abs().max())
            ),
            "you subtract inside the bracket, before y is applied: for y = -1 the attack then "
            "helps.": lambda x, y, w, b, eps: y * (x @ w + b - eps * w.abs().sum()),
            "that is the score of the changed inputs; a margin has y in front.": (
                lambda x, y, w, b, eps: x @ w + b - y * eps * w.abs().sum()
            ),
        },
    )
    return message or gradient_reaches(answer, small, to=[2], right=absolute)


# --- Relations between tasks ---------------------------------------------------------------------


@exercise(
    "02.20",
    "A penalty with a map",
    kind="fill one step",
    difficulty=2,
    minutes=5,
    right="each related pair is a spring between two rows of parameters.",
)
def tie(answer: Callable[..., Any]) -> str | None:
    """Check ``tie(theta, related, strength)``: theta [K, P], A [K, K] -> the penalty."""

    def general(power: int = 2, times: float = 1.0, use: bool = True) -> Callable[..., Any]:
        def run(theta: Tensor, related: Tensor, strength: float) -> Tensor:
            related = related if use else torch.ones_like(related)
            apart = (theta[:, None] - theta[None]).square().sum(-1)
            apart = apart.clamp(min=1e-300).sqrt() if power == 1 else apart
            return times * strength * (related * apart).sum() / 2

        return run

    def to_mean(theta: Tensor, related: Tensor, strength: float) -> Tensor:
        return strength * (theta - theta.mean(0)).square().sum()

    def case(g: torch.Generator) -> tuple[Tensor, Tensor, float]:
        theta = torch.randn(4, 3, generator=g, dtype=FLOAT)
        related = torch.rand(4, 4, generator=g, dtype=FLOAT)
        return theta, (related + related.T).fill_diagonal_(0), 0.7

    small = (
        _tensor([1.0, 0.0], [3.0, 0.0], [2.0, 3.0]),
        _tensor([0.0, 1.0, 0.0], [1.0, 0.0, 0.5], [0.0, 0.5, 0.0]),
        2.0,
    )
    right = general()
    message = compare(
        answer,
        right,
        [small, *draws(case)],
        slips={
            "each pair counts once (i < j); you counted it as (i, j) and as (j, i).": (
                general(times=2)
            ),
            "the distance is squared.": general(power=1),
            "you left the relations A out: all pairs pull alike.": general(use=False),
            "you left the strength out.": lambda theta, related, s: right(theta, related, 1.0),
            "that pulls every task to the mean of all. It knows nothing of A.": to_mean,
            "that is a product of parameters, and no distance.": (
                lambda theta, related, s: s * (related * (theta @ theta.T)).sum() / 2
            ),
        },
    )
    return message or gradient_reaches(answer, small, to=[0], right=right)


LOSSES = torch.tensor([1.0, 2.0, 0.5], dtype=FLOAT)


def penalised(weights: Tensor) -> float:
    """Give sum_k W_k L_k + sum_{i<j} W_i W_j for the losses of exercise 02.21."""
    pairs = (weights.sum() ** 2 - (weights**2).sum()) / 2
    return float((weights * LOSSES).sum() + pairs)


@exercise(
    "02.21",
    "Break the penalty",
    kind="adversarial",
    difficulty=3,
    minutes=5,
    right="it does nothing, or it switches learning off, or it picks one task, or it runs away. "
    "It never ties two tasks together.",
)
def broken(answer: Mapping[str, Any]) -> str | None:
    """Check the four answers about the penalty sum_{i<j} W_i W_j on the weights."""
    wanted = ("slope", "not negative", "adds up to one", "any sign")
    if not isinstance(answer, Mapping) or set(answer) != set(wanted):
        return f"answer each of: {', '.join(wanted)}."
    slope = as_numbers(answer["slope"], "slope")
    if slope.numel() == 0 or same(slope, torch.zeros_like(slope)) is not None:
        return "slope: no parameter of the model stands in the penalty, so what is its slope?"
    weights = {}
    for name in wanted[1:]:
        weights[name] = as_numbers(answer[name], name, finite=False)
        if weights[name].shape != (3,) or not weights[name].isfinite().all():
            return f"{name}: give three finite weights, one for each task."
    return (
        _not_negative(weights["not negative"])
        or _one_in_all(weights["adds up to one"])
        or _any_sign(weights["any sign"])
    )


def _not_negative(w: Tensor) -> str | None:
    if (w < 0).any():
        return "not negative: one of your weights is below zero."
    if penalised(w) > 1e-9:
        return (
            f"not negative: yours gives {penalised(w):.3g}, and there is something lower. Every "
            "term is a product of numbers that are not negative."
        )
    return None


def _one_in_all(w: Tensor) -> str | None:
    if (w < 0).any() or abs(float(w.sum()) - 1) > 1e-6:
        return f"adds up to one: no weight below zero, and a sum of 1 (yours: {float(w.sum()):g})."
    if penalised(w) < 0.5 + 1e-6:
        return None
    if float(w.max()) > 1 - 1e-6:
        return "adds up to one: all on one task is the way to a low value, but not on that task."
    if float(w.max() - w.min()) < 1e-6:
        return "adds up to one: equal weights make the sum of products as *large* as it can be."
    return f"adds up to one: yours gives {penalised(w):.3g}, and there is something lower."


def _any_sign(w: Tensor) -> str | None:
    if penalised(w) < -1000:
        return None
    if (w >= 0).all():
        return "any sign: let one weight be far below zero and another far above."
    return f"any sign: yours gives {penalised(w):.4g}; it must be below -1000, and there is no end."


@exercise(
    "02.22",
    "Shrink the directions",
    kind="fill one step",
    difficulty=3,
    minutes=6,
    right="directions that few tasks need vanish, and what is left is a table of low rank.",
)
def shrink(answer: Callable[..., Any]) -> str | None:
    """Check ``shrink(theta, amount)``: soft-threshold the singular values of theta [K, P]."""

    def by_values(change: Callable[[Tensor, float], Tensor]) -> Callable[..., Any]:
        def run(theta: Tensor, amount: float) -> Tensor:
            u, s, v = torch.linalg.svd(theta, full_matrices=False)
            return u * change(s, amount) @ v

        return run

    right = by_values(lambda s, amount: (s - amount).clamp(min=0))
    return compare(
        answer,
        right,
        [(_tensor([3.0, 0.0], [0.0, -0.5]), 1.0), *draws(normals((4, 3), 1.0))],
        slips={
            "a singular value below the amount becomes 0, not negative: clamp it.": (
                by_values(lambda s, amount: s - amount)
            ),
            "you shrank each number of the table; shrink its singular values.": (
                lambda theta, amount: theta.sign() * (theta.abs() - amount).clamp(min=0)
            ),
            "large singular values must shrink by the amount too; you removed small ones only.": (
                by_values(lambda s, amount: torch.where(s > amount, s, 0.0))
            ),
            "that divides all singular values alike, as ridge does; then none vanishes.": (
                by_values(lambda s, amount: s / (1 + amount))
            ),
            "you cut each singular value down to the amount; take the amount *off*.": (
                by_values(lambda s, amount: s.clamp(max=amount))
            ),
            "those are the singular values; put them back between both matrices of directions.": (
                lambda theta, amount: (torch.linalg.svdvals(theta) - amount).clamp(min=0)
            ),
        },
    )


# --- Many labels ---------------------------------------------------------------------------------


@exercise(
    "02.23",
    "Multi-hot",
    kind="fill one line",
    difficulty=1,
    minutes=4,
    right="one place for each label, 1 where it applies: a list of answers has become numbers.",
)
def multi_hot(answer: Callable[..., Any]) -> str | None:
    """Check ``multi_hot(labels, classes)``: lists of class numbers -> floats [N, classes]."""

    def right(labels: list[list[int]], classes: int) -> Tensor:
        rows = torch.zeros(len(labels), classes, dtype=FLOAT)
        for row, present in zip(rows, labels, strict=True):
            row[list(present)] = 1.0
        return rows

    def shifted(labels: list[list[int]], classes: int) -> Tensor:
        return right([[label - 1 for label in row] for row in labels], classes)

    def case(g: torch.Generator) -> tuple[list[list[int]], int]:
        rows = torch.rand(4, 6, generator=g) < 0.4
        return [row.nonzero()[:, 0].tolist() for row in rows], 6

    small = ([[0, 2], [1], []], 3)
    if message := not_a_function(answer):
        return message
    if stops(answer, small) and not stops(answer, ([[0, 2], [1]], 3)):
        return (
            f"with labels = {small[0]} it stops at the empty row, where no label applies (a tensor "
            "made from an empty list is a float one, and cannot be an index)."
        )
    found = answer(*copy.deepcopy(small))
    if not is_empty(found):
        kind = number_type(found)
        if kind is not None and not kind.is_floating_point:
            return f"the loss needs floating-point numbers; yours are {kind}."
    message = compare(
        answer,
        right,
        [small, *draws(case)],
        slips={
            "that is 1 where the label is *absent*: turn it round.": (
                lambda labels, classes: 1 - right(labels, classes)
            ),
            "class numbers begin at 0: your ones stand one place too far left.": shifted,
            "class numbers begin at 0: you left label 0 out and moved the others left.": (
                lambda labels, classes: right(
                    [[label - 1 for label in row if label > 0] for row in labels], classes
                )
            ),
            "each row is divided by its number of labels. That is a distribution; the questions "
            "are separate, so each present label is 1.": (
                lambda labels, classes: (
                    right(labels, classes) / right(labels, classes).sum(1, True).clamp(min=1)
                )
            ),
            "only the first label of each row is set.": (
                lambda labels, classes: right([row[:1] for row in labels], classes)
            ),
        },
    )
    if message and message.startswith("with labels = a list"):
        message = message.replace("a list", str(small[0]), 1)
    return message


WHICH_LOSS = {
    "a": ("list", "a film can be both funny and sad, so each word is a yes/no question"),
    "b": ("one", "a digit is exactly one of ten, so the answers compete"),
    "c": ("several", "two questions with one answer each: a softmax for each, added up"),
    "d": ("list", "forty yes/no questions; counted as tasks, they are forty with equal weights"),
    "e": ("one", "a flower belongs to one species only, however many species there are"),
    "f": ("several", "the shape is one of three and the colour one of five: two softmaxes"),
}


@exercise(
    "02.24",
    "Which loss fits?",
    kind="tell apart",
    difficulty=1,
    minutes=4,
    right="ask what competes: answers inside one softmax do, and separate questions do not.",
)
def which_loss(answer: Mapping[str, str]) -> str | None:
    """Check a dictionary from situation to "one", "list" or "several"."""
    return words_fit(answer, WHICH_LOSS, ("one", "list", "several"))


# --- Data preparation ----------------------------------------------------------------------------


@exercise(
    "02.25",
    "Scale without looking ahead",
    kind="fill one step",
    difficulty=2,
    minutes=6,
    right="mean and spread are learned from the training rows, as a parameter is.",
)
def scaled(answer: Callable[..., Any]) -> str | None:
    """Check ``scaled(train, test)``: both tables [N, D] on the scale of the training rows."""

    def on(rows: Tensor, known: Tensor, centre: bool = True) -> Tensor:
        spread = known.std(0, correction=0)
        spread = torch.where(spread > 0, spread, 1.0)
        return (rows - known.mean(0) * centre) / spread

    def right(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
        return on(train, train), on(test, train)

    def everything(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat([train, test])
        return on(train, both), on(test, both)

    def divided(rows: Tensor, known: Tensor) -> Tensor:
        return (rows - known.mean(0)) / known.std(0, correction=0)

    def sample(rows: Tensor, known: Tensor) -> Tensor:
        return (rows - known.mean(0)) / known.std(0).where(known.std(0) > 0, torch.ones(()))

    def case(g: torch.Generator) -> tuple[Tensor, Tensor]:
        train = 3 * torch.randn(6, 3, generator=g, dtype=FLOAT) + 2
        return train, 2 * torch.randn(4, 3, generator=g, dtype=FLOAT) - 1

    small = _tensor([1.0, 10.0], [3.0, 30.0]), _tensor([2.0, 50.0], [4.0, 70.0], [6.0, 90.0])
    constant = _tensor([1.0, 5.0], [3.0, 5.0]), _tensor([2.0, 5.0], [4.0, 6.0])
    return compare(
        answer,
        right,
        [small, *draws(case), constant],
        slips={
            "you learned the scale from training and test rows together: the test rows have leaked "
            "into the preparation.": everything,
            "the test rows are scaled by themselves. Then the same flower gets another number in "
            "training than in the test.": lambda a, b: (on(a, a), on(b, b)),
            "a column that never changes in training has spread 0, and you divide by it: use 1 "
            "there.": lambda a, b: (divided(a, a), divided(b, a)),
            "you divided by the spread and left the mean in.": (
                lambda a, b: (on(a, a, False), on(b, a, False))
            ),
            "you learned one mean and spread for the whole table: take each column by itself.": (
                lambda a, b: (
                    (a - a.mean()) / a.std(correction=0),
                    (b - a.mean()) / a.std(correction=0),
                )
            ),
            "that spread divides by N - 1. Take the plain one (correction=0) here.": (
                lambda a, b: (sample(a, a), sample(b, a))
            ),
            "you learned the scale from the test rows.": lambda a, b: (on(a, b), on(b, b)),
        },
    ) or inputs_left_alone(answer, small, ("train", "test"))


@exercise(
    "02.26",
    "The loss of a whole round",
    kind="fill one line",
    difficulty=1,
    minutes=4,
    right="every labelled example counts once, in whichever batch it came.",
)
def round_loss(answer: Callable[..., Any]) -> str | None:
    """Check ``round_loss(means, labelled)``: batch means [B] and label counts [B] -> one number."""

    def right(means: Tensor, labelled: Tensor) -> Tensor:
        return (means * labelled).sum() / labelled.sum().clamp(min=1)

    def case(g: torch.Generator) -> tuple[Tensor, Tensor]:
        labelled = torch.randint(0, 9, (5,), generator=g)
        labelled[:2] = torch.tensor([0, 3])
        means = torch.rand(5, generator=g, dtype=FLOAT) + 1
        return torch.where(labelled > 0, means, 0.0), labelled

    small = _tensor(2.0, 2.0, 5.0), torch.tensor([32, 32, 4])
    none = _tensor(0.0, 0.0), torch.tensor([0, 0])
    return compare(
        answer,
        right,
        [small, *draws(case), none],
        slips={
            "that is the mean of the batch means: the four examples of the last batch then count "
            "as much as 32.": lambda means, labelled: means.mean(),
            "that is a sum; divide by the number of labelled examples.": (
                lambda means, labelled: (means * labelled).sum()
            ),
            "divide by the number of labelled examples, not by the number of batches.": (
                lambda means, labelled: (means * labelled).sum() / len(means)
            ),
            "where no batch had a label you divide 0 by 0: let the divisor be at least 1.": (
                lambda means, labelled: (means * labelled).sum() / labelled.sum()
            ),
            "you left out the last batch; its examples count too.": (
                lambda means, labelled: right(means[:-1], labelled[:-1])
            ),
            "you averaged over the batches that have a label. Large batches must count more.": (
                lambda means, labelled: means[labelled > 0].mean()
            ),
        },
    )


@exercise(
    "02.27",
    "The short data set starts again",
    kind="fill one step",
    difficulty=2,
    minutes=5,
    right="every batch of the long set is seen once, and the short one begins again.",
)
def paired(answer: Callable[..., Any]) -> str | None:
    """Check ``paired(short, long)``: lists of batches -> a list of pairs, one for each long one."""

    def right(short: list, long: list) -> list:
        return [(short[k % len(short)], batch) for k, batch in enumerate(long)]

    def case(g: torch.Generator) -> tuple[list[int], list[int]]:
        a, b = torch.randint(2, 5, (2,), generator=g).tolist()
        return list(range(a)), list(range(10, 10 + a + b))

    def flat(found: Any) -> Any:
        if isinstance(found, tuple | list):
            return [list(pair) if isinstance(pair, tuple | list) else pair for pair in found]
        if hasattr(found, "__next__"):
            return [list(pair) for _, pair in zip(range(100), found, strict=False)]
        return found

    small, even = ([1, 2], [10, 20, 30, 40, 50]), ([1, 2, 3], [10, 20, 30])
    if message := not_a_function(answer):
        return message
    found = flat(answer(*copy.deepcopy(small)))
    if isinstance(found, list) and not all(isinstance(p, list) and len(p) == 2 for p in found):
        return f"give a list of pairs (a batch of each set); found {str(found)[:60]}."
    wanted = [right(*case) for case in (small, even)]
    cases = [small, *draws(case), even]
    return compare(
        lambda short, long: flat(answer(short, long)),
        lambda short, long: flat(right(short, long)),
        cases,
        slips={
            f"zip stops with the shorter set: of {len(wanted[0])} long batches most are never "
            "seen.": lambda short, long: flat(list(zip(short, long, strict=False))),
            "the short set must start again *from its first batch*; you repeat its last one.": (
                lambda short, long: flat(
                    [(short[min(k, len(short) - 1)], b) for k, b in enumerate(long)]
                )
            ),
            "the short batch comes first in each pair.": (
                lambda short, long: [[b, a] for a, b in right(short, long)]
            ),
            "that repeats each short batch before the next one comes; go through them in turns.": (
                lambda short, long: flat(
                    [(short[k * len(short) // len(long)], b) for k, b in enumerate(long)]
                )
            ),
            "that pairs every short batch with every long one: the long set is seen many times.": (
                lambda short, long: flat([(a, b) for b in long for a in short])
            ),
        },
    )
