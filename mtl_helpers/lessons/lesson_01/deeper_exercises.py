"""The checks of the notebooks that go deeper than lesson 01: exercises 01.11 and up."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from mtl_helpers.metrics import box_iou
from mtl_helpers.teaching.exercises.answers import (
    AnswerError,
    NotAttemptedError,
    as_numbers,
    compare,
    draws,
    is_empty,
    not_a_function,
    same,
    show,
)
from mtl_helpers.teaching.exercises.core import exercise
from mtl_helpers.teaching.exercises.testers import gradient_reaches, inputs_left_alone

FLOAT = torch.float64


def _tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=FLOAT)


@exercise(
    "01.11",
    "Intersection over union",
    kind="fill one step",
    difficulty=2,
    minutes=8,
    right="1 for the same box, 0 for boxes that do not touch, and no unit.",
)
def iou(answer: Callable[..., Any]) -> str | None:
    """Check ``iou(first, second)`` on boxes (centre x, centre y, width, height)."""

    def general(first: Tensor, second: Tensor, slip: str = "") -> Tensor:
        def ends(box: Tensor) -> tuple[Tensor, Tensor]:
            half = box[2:] if slip == "whole" else box[2:] / 2
            return (box[:2], box[2:]) if slip == "corners" else (box[:2] - half, box[:2] + half)

        (low1, high1), (low2, high2) = ends(first), ends(second)
        sides = torch.minimum(high1, high2) - torch.maximum(low1, low2)
        common = (sides if slip == "negative" else sides.clamp(min=0)).prod()
        if slip == "late":
            common = sides.prod().clamp(min=0)
        if slip == "overlap":
            return common
        boxes = (high1 - low1).prod() + (high2 - low2).prod()
        if slip == "whole":
            boxes = first[2:].prod() + second[2:].prod()
        if slip == "smaller":
            return common / torch.minimum(first[2:].prod(), second[2:].prod())
        return common / (boxes if slip == "twice" else boxes - common)

    def case(g: torch.Generator) -> tuple[Tensor, Tensor]:
        first, second = torch.rand(2, 4, generator=g, dtype=FLOAT) * 0.4 + 0.3
        return first, second

    small = _tensor(0.4, 0.5, 0.4, 0.4), _tensor(0.6, 0.5, 0.4, 0.4)
    beside = _tensor(0.2, 0.5, 0.2, 0.4), _tensor(0.7, 0.5, 0.2, 0.4)
    inside = _tensor(0.5, 0.5, 0.6, 0.6), _tensor(0.6, 0.5, 0.2, 0.3)
    far = _tensor(0.1, 0.1, 0.1, 0.1), _tensor(0.8, 0.8, 0.2, 0.2)
    pixels = _tensor(100, 80, 60, 40), _tensor(120, 90, 40, 60)
    cross = _tensor(0.5, 0.5, 0.8, 0.2), _tensor(0.5, 0.5, 0.2, 0.8)
    left = _tensor(0.0, 0.1, 0.1, 0.1), _tensor(0.01, 0.1, 0.1, 0.12)
    found = compare(
        answer,
        lambda first, second: box_iou(first[None], second[None])[0],
        [small, *draws(case), beside, inside, far, pixels, cross, left],
        slips={
            "boxes that do not touch have a negative overlap on an axis, and on both axes minus "
            "times minus is plus: let no side of the overlap be below 0.": (
                lambda a, b: general(a, b, "negative")
            ),
            "you set a negative *area* to 0. Two negative sides give a positive area: set each "
            "side to 0 before you multiply.": lambda a, b: general(a, b, "late"),
            "the union counts the common part once: subtract it from the sum of the two areas.": (
                lambda a, b: general(a, b, "twice")
            ),
            "you read the boxes as two corners; they are centre, width and height.": (
                lambda a, b: general(a, b, "corners")
            ),
            "half of the width lies on each side of the centre: divide it by two.": (
                lambda a, b: general(a, b, "whole")
            ),
            "that is the overlap; divide it by the union.": lambda a, b: general(a, b, "overlap"),
            "you divided by the smaller box: then a tiny box inside a large one would be "
            "perfect. Divide by the union.": lambda a, b: general(a, b, "smaller"),
        },
    )
    return found or inputs_left_alone(answer, small)


@exercise(
    "01.12",
    "How loud is a task?",
    kind="fill one step",
    difficulty=2,
    minutes=8,
    right="the trunk hears gradients. A large loss can be quiet, and a small one loud.",
)
def loudness(answer: Callable[..., Any]) -> str | None:
    """Check ``loudness(loss, trunk)``: the norm of the loss's gradient at all of the trunk."""
    if message := not_a_function(answer):
        return message
    trunk, head = nn.Linear(1, 1, dtype=FLOAT), nn.Linear(1, 1, dtype=FLOAT)
    with torch.no_grad():
        for parameter, value in zip(
            (*trunk.parameters(), *head.parameters()), (1, 0, 1, 2), strict=True
        ):
            parameter.fill_(value)
    z = head(trunk(_tensor(0.75)))  # slope 0.75 in the weight, 1 in the bias, of the trunk
    wanted = {
        "4 z": (4 * z.sum(), 5.0),
        "12 z": (12 * z.sum(), 15.0),
        "4 z again": (4 * z.sum(), 5.0),
    }
    told = {
        7.0: "you added the norms of weight and bias: put all numbers into one vector first.",
        25.0: "that is the square of the norm: take the root.",
        3.0: "that is the weight's gradient alone: the bias belongs to the trunk too.",
        4.0: "that is one part of the trunk only, or the largest entry: take all parameters.",
        11.0: "that is the loss itself; the trunk hears its gradient.",
        3.5: "that is a mean; the norm is the root of the sum of squares.",
        math.sqrt(12.5): "that is the root of the *mean* square; take the sum.",
    }
    for step, (name, (loss, norm)) in enumerate(wanted.items()):
        given = answer(loss, trunk)
        if is_empty(given):
            raise NotAttemptedError
        found = as_numbers(given, "the loudness")
        if found.numel() != 1:
            return f"give one number per loss; found {found.numel()}."
        if step and same(found.reshape(()), _tensor(20.0)[0]) is None:
            return (
                "the second loss is heard together with the first: `backward` adds to the stored "
                "gradients. Set them to zero first, or use torch.autograd.grad."
            )
        if same(found.reshape(()), _tensor(norm)[0]) is None:
            continue
        for value, message in told.items():
            if not step and same(found.reshape(()), _tensor(value)[0]) is None:
                return message
        return (
            f"for the loss {name} the trunk's gradient is {norm * 0.6:g} in its weight and "
            f"{norm * 0.8:g} in its bias, so the norm is {norm:g}; found {float(found):.4g}."
        )
    generator = torch.Generator().manual_seed(0)
    trunk = nn.Sequential(nn.Linear(2, 3, dtype=FLOAT), nn.Tanh(), nn.Linear(3, 2, dtype=FLOAT))
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=FLOAT))
    before = [parameter.detach().clone() for parameter in trunk.parameters()]
    loss = trunk(torch.randn(4, 2, generator=generator, dtype=FLOAT)).square().mean()
    slopes = torch.autograd.grad(loss, list(trunk.parameters()), retain_graph=True)
    norm = torch.cat([slope.flatten() for slope in slopes]).norm()
    found = as_numbers(answer(loss, trunk), "the loudness")
    if same(found.reshape(()), norm) is not None:
        return (
            "right for a trunk of one layer with one unit, but not for one of two layers: take "
            "every number of every parameter in trunk.parameters(), and square each by itself."
        )
    if any(not torch.equal(old, new) for old, new in zip(before, trunk.parameters(), strict=True)):
        return "your function changes the trunk's parameters; it should only listen."
    if not all(module.training for module in trunk.modules()):
        return "your function switches the trunk to eval mode; leave the mode as it was."
    return None


ARMS = ("alone", "relatives", "ninth", "stranger")
QUESTIONS = {
    "a": ({"alone", "relatives"}, "nothing but the seven other relatives changes"),
    "b": ({"relatives", "ninth"}, "a relative joins and nothing else changes"),
    "c": (
        {"ninth", "stranger"},
        "both have nine losses in the sum, so only *who* the ninth is differs",
    ),
    "d": ({"alone", "stranger"}, "its owner can only choose between these two"),
}


@exercise(
    "01.13",
    "Which two arms?",
    kind="tell apart",
    difficulty=2,
    minutes=5,
    right="a control differs from its arm in one thing: the thing that you ask about.",
)
def arms_to_compare(answer: Any) -> str | None:
    """Check {question: the names of two arms}."""
    if not isinstance(answer, Mapping) or set(answer) != set(QUESTIONS):
        return f"give two names for each of {', '.join(QUESTIONS)}."
    for letter, (pair, why) in QUESTIONS.items():
        given = answer[letter]
        if not isinstance(given, str | list | tuple | set | frozenset):
            return f"question {letter}: name two arms; found {show(given)}."
        words = given.replace(",", " ").split() if isinstance(given, str) else list(given)
        names = {str(word).strip().casefold() for word in words}
        if unknown := sorted(names - set(ARMS)):
            return f"question {letter}: {unknown[0]!r} is none of {', '.join(ARMS)}."
        if len(names) != 2:
            return f"question {letter}: name two different arms; found {sorted(names)}."
        if names != pair:
            first, second = sorted(names)
            return (
                f"question {letter}: {first} and {second} do not answer it. Look for the two arms "
                f"of which you can say: {why}."
            )
    return None


@exercise(
    "01.14",
    "What sharing is worth in examples",
    kind="explain with numbers",
    difficulty=2,
    minutes=6,
    right="labels of related tasks can stand in for labels of your own.",
)
def examples_needed(answer: Callable[..., Any]) -> str | None:
    """Check ``examples_needed(alone, together)``: {examples: RMSE} and an RMSE to reach."""

    def enough(alone: Mapping[int, float], together: float) -> list[int]:
        return [n for n, rmse in alone.items() if rmse <= together]

    def between(alone: Mapping[int, float], together: float) -> float:
        sizes = sorted(alone)
        errors = [alone[n] for n in sizes]
        return float(np.interp(-together, [-e for e in errors], sizes))

    def case(g: torch.Generator) -> tuple[dict[int, float], float]:
        errors = [round(float(e), 2) for e in torch.rand(5, generator=g).sort(descending=True)[0]]
        curve = dict(zip((10, 20, 40, 80, 160), errors, strict=True))
        order = [list(curve)[i] for i in torch.randperm(5, generator=g)]
        reached = round(float(torch.rand(1, generator=g)) * errors[0], 2)
        return {n: curve[n] for n in order}, reached

    found = compare(
        answer,
        lambda alone, together: min(enough(alone, together), default=math.inf),
        [
            ({10: 0.9, 20: 0.8, 40: 0.6, 80: 0.5}, 0.7),
            ({80: 0.5, 40: 0.6, 20: 0.7, 10: 0.9}, 0.7),
            ({10: 0.9, 20: 0.7, 40: 0.6}, 0.5),
            ({15: 0.9, 30: 0.6, 45: 0.7, 60: 0.5}, 0.65),
            *draws(case, count=8),
        ],
        slips={
            "you took the first hit: the dictionary need not be in order. Find the smallest.": (
                lambda alone, together: next(iter(enough(alone, together)), math.inf)
            ),
            "that is the largest number of examples that still is *not* enough.": (
                lambda alone, together: max(
                    (n for n, rmse in alone.items() if rmse > together), default=math.inf
                )
            ),
            "equal is good enough: an RMSE of exactly `together` counts.": (
                lambda alone, together: min(
                    (n for n, rmse in alone.items() if rmse < together), default=math.inf
                )
            ),
            "you gave the error; the question is for the number of examples.": (
                lambda alone, together: max(
                    (rmse for rmse in alone.values() if rmse <= together), default=math.inf
                )
            ),
            "all of them is more than is needed: find the smallest number that is enough.": (
                lambda alone, together: max(alone)
            ),
            "you read between the measured numbers: give one of those that were measured.": between,
        },
    )
    return found or inputs_left_alone(answer, ({80: 0.5, 20: 0.7}, 0.6))


@exercise(
    "01.15",
    "The best partner",
    kind="bug hunt",
    difficulty=2,
    minutes=5,
    right="rows are helped, columns help, and nobody is their own partner.",
)
def best_partner(answer: Callable[..., Any]) -> str | None:
    """Check ``best_partner(affinity, target)``: row = who is helped, column = who helps."""

    def right(affinity: Tensor, target: int) -> int:
        row = affinity[target].clone()
        row[target] = -math.inf
        return int(row.argmax())

    def case(g: torch.Generator) -> tuple[Tensor, int]:
        affinity = 0.6 * torch.randn(5, 5, generator=g, dtype=FLOAT).clamp(-1.5, 1.5)
        return affinity.fill_diagonal_(1.0), int(torch.randint(5, (1,), generator=g))

    small = torch.tensor([[1.0, 0.1, 0.6], [0.9, 1.0, 0.2], [0.3, 0.5, 1.0]], dtype=FLOAT)
    harmful = torch.tensor([[1.0, -0.3, -0.2], [0.4, 1.0, 0.1], [-0.9, -0.5, 1.0]], dtype=FLOAT)
    percent = torch.tensor([[1, -12, -30], [7.2, 1, 1], [0.3, -8.4, 1]], dtype=FLOAT)
    found = compare(
        answer,
        right,
        [(small, 0), (harmful, 0), (harmful, 2), (percent, 0), (percent, 1), *draws(case, count=8)],
        slips={
            "you chose the task itself: its affinity with itself is the largest of all.": (
                lambda affinity, target: int(affinity[target].argmax())
            ),
            "you looked down a column: that is whom the target helps, not who helps it.": (
                lambda affinity, target: right(affinity.T, target)
            ),
            "after an entry is removed the numbers of those behind it move by one.": (
                lambda affinity, target: int(
                    torch.cat([affinity[target][:target], affinity[target][target + 1 :]]).argmax()
                )
            ),
            "that is the worst partner: you want the largest affinity.": (
                lambda affinity, target: int(affinity[target].argmin())
            ),
            "where all partners harm, the 0 in the target's own place is the largest: use minus "
            "infinity there.": lambda affinity, target: int(
                (affinity[target] * (torch.arange(len(affinity)) != target)).argmax()
            ),
            "you took the largest *absolute* value: a partner that harms much is no good one.": (
                lambda affinity, target: right(affinity.abs(), target)
            ),
        },
    )
    return found or inputs_left_alone(answer, (small, 0))


@exercise(
    "01.16",
    "Rank correlation",
    kind="fill one step",
    difficulty=3,
    minutes=8,
    right="only the order counts, so one wild value cannot make or break it.",
)
def rank_correlation(answer: Callable[..., Any]) -> str | None:
    """Check ``rank_correlation(first, second)`` (Spearman), without ties."""

    def ranks(values: Any) -> np.ndarray:
        return np.argsort(np.argsort(np.asarray(values))).astype(float)

    def case(g: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
        first, second = torch.randn(2, 7, generator=g).numpy().astype(float)
        sign = 1 - 2 * int(torch.randint(2, (1,), generator=g))
        return np.exp(2 * first).round(4), (sign * first + second).round(4)

    def right(first: Any, second: Any) -> float:
        return float(stats.spearmanr(first, second).statistic)

    found = compare(
        answer,
        right,
        [
            (np.array([1.0, 2.0, 30.0]), np.array([2.0, 1.0, 3.0])),
            (np.array([5.0, 1.0, 40.0, 2.0]), np.array([-3.0, 0.0, -9.0, -1.0])),
            *draws(case, count=8),
        ],
        slips={
            "that is the ordinary correlation of the values: replace them by their ranks first.": (
                lambda a, b: float(np.corrcoef(a, b)[0, 1])
            ),
            "argsort once says who stands where, not each one's rank: argsort the result again.": (
                lambda a, b: float(np.corrcoef(np.argsort(a), np.argsort(b))[0, 1])
            ),
            "ranks go the same way on both sides: you turned one of them round.": (
                lambda a, b: -right(a, b)
            ),
            "the sign is lost: opposite orders have a rank correlation of -1.": (
                lambda a, b: abs(right(a, b))
            ),
            "that counts pairs in the same order (Kendall's tau); correlate the ranks.": (
                lambda a, b: float(stats.kendalltau(a, b).statistic)
            ),
        },
    )
    return found or inputs_left_alone(
        answer, (np.array([5.0, 1.0, 4.0]), np.array([2.0, 1.0, 0.0]))
    )


@exercise(
    "01.17",
    "At the edge of the grid?",
    kind="fill one line",
    difficulty=1,
    minutes=4,
    right="a winner at the edge says that the best value may lie outside the grid.",
)
def at_edge(answer: Callable[..., Any]) -> str | None:
    """Check ``at_edge(chosen, grid)``: whether the chosen value is the grid's first or last."""

    def case(g: torch.Generator) -> tuple[float, list[float]]:
        grid = torch.rand(5, generator=g, dtype=FLOAT).cumsum(0).round(decimals=3).tolist()
        order = [grid[i] for i in torch.randperm(5, generator=g)]
        return float(str(grid[int(torch.randint(5, (1,), generator=g))])), order

    found = compare(
        answer,
        lambda chosen, grid: chosen in (min(grid), max(grid)),
        [
            (0.01, [0.001, 0.01, 0.1]),
            (0.1, [0.001, 0.01, 0.1]),
            (0.001, [0.001, 0.01, 0.1]),
            (0.1, [0.001, 0.1, 0.01]),
            (0.1, [0.01, 0.1, 0.001]),
            (0.0, [0.1, 0.0, 1.0]),
            (25, [400, 25, 100, 50]),
            (50, [400, 25, 100, 50]),
            *draws(case, count=12),
        ],
        slips={
            "the grid need not be in order: take its smallest and its largest value.": (
                lambda chosen, grid: chosen in (grid[0], grid[-1])
            ),
            "`chosen == min(grid) or max(grid)` gives the number max(grid) where the first part is "
            "False: write `chosen ==` on both sides of `or`.": (
                lambda chosen, grid: chosen == min(grid) or max(grid)
            ),
            "the smallest value is an edge too.": lambda chosen, grid: chosen == max(grid),
            "the largest value is an edge too.": lambda chosen, grid: chosen == min(grid),
            "that is the opposite: True means at the edge.": (
                lambda chosen, grid: chosen not in (min(grid), max(grid))
            ),
        },
    )
    return found or inputs_left_alone(answer, (0.1, [0.01, 0.1, 0.001]))


@exercise(
    "01.18",
    "A vector at a given angle",
    kind="fill one line",
    difficulty=2,
    minutes=6,
    right="p of one and √(1 - p²) of the other: the length stays 1, and the cosine is p.",
)
def second_vector(answer: Callable[..., Any]) -> str | None:
    """Check ``second_vector(u1, u2, p)``: of length 1, with cosine p to u1."""

    def seen(make: Callable[..., Any]) -> Callable[..., list[float]]:
        def length_and_cosine(u1: Tensor, u2: Tensor, p: float) -> list[float]:
            made = make(u1.clone(), u2.clone(), p)
            if is_empty(made):
                raise NotAttemptedError
            found = as_numbers(made, "the vector", shape=tuple(u1.shape))
            if float((found - (found @ u1) * u1 - (found @ u2) * u2).norm()) > 1e-5:
                raise AnswerError("the vector is not made of u1 and u2: write it as a*u1 + b*u2.")
            return [float(found.norm()), float(found @ u1 / found.norm())]

        return length_and_cosine

    def mix(of_first: Callable[[float], float], of_second: Callable[[float], float]) -> Any:
        return seen(lambda u1, u2, p: of_first(p) * u1 + of_second(p) * u2)

    def root(p: float) -> float:
        return math.sqrt(1 - p * p)

    def case(g: torch.Generator) -> tuple[Tensor, Tensor, float]:
        u1, u2 = torch.linalg.qr(torch.randn(4, 2, generator=g, dtype=FLOAT))[0].T
        return u1.round(decimals=12), u2, round(float(2 * torch.rand(1, generator=g)) - 1, 2)

    edges = [(_tensor(0.6, 0.8), _tensor(-0.8, 0.6), p) for p in (0.0, 1.0, -1.0)]
    if message := not_a_function(answer):
        return message
    found = compare(
        seen(answer),
        lambda u1, u2, p: [1.0, p],
        [(_tensor(1.0, 0.0), _tensor(0.0, 1.0), 0.6), *edges, *draws(case)],
        slips={
            "the parts p and 1 - p give a vector that is too short: the *squares* of the two "
            "parts must add up to 1.": mix(lambda p: p, lambda p: 1 - p),
            "p is the cosine, not the angle: take p itself, not cos(p).": mix(math.cos, math.sin),
            "you mixed the two up: the part along u1 is p.": mix(root, lambda p: p),
            "the roots are wrong: the part along u1 is p itself, not its root.": mix(
                lambda p: math.sqrt(abs(p)), lambda p: math.sqrt(1 - abs(p))
            ),
            "the part along u2 is the *root* of 1 - p².": mix(lambda p: p, lambda p: 1 - p * p),
            "the vector needs length 1: give u2 the part that is left.": mix(
                lambda p: p, lambda p: 0.0
            ),
        },
    )
    found = found or inputs_left_alone(answer, (_tensor(1.0, 0.0), _tensor(0.0, 1.0), 0.6))
    if found and "your answer is off" in found:
        return f"asked for are the length and the cosine with u1, [1, p]. {found.capitalize()}"
    return found


@exercise(
    "01.19",
    "Some tasks per step",
    kind="fill one line",
    difficulty=2,
    minutes=6,
    right="on average over the draws, training pursues the same goal.",
)
def sampled_loss(answer: Callable[..., Any]) -> str | None:
    """Check ``sampled_loss(losses, chosen)``: losses [K], numbers of the tasks drawn -> scalar."""

    def right(losses: Tensor, chosen: Sequence[int]) -> Tensor:
        return len(losses) / len(chosen) * losses[list(chosen)].sum()

    def case(g: torch.Generator) -> tuple[Tensor, list[int]]:
        count = int(torch.randint(1, 5, (1,), generator=g))
        return torch.rand(7, generator=g, dtype=torch.float64), torch.randperm(7, generator=g)[
            :count
        ].tolist()

    small = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64), [0, 2]
    found = compare(
        answer,
        right,
        [small, *draws(case)],
        slips={
            "on average that is too small: only some of the tasks are in it. Multiply by the "
            "number of tasks over the number drawn.": lambda x, c: x[list(c)].sum(),
            "that is the mean over the tasks drawn; on average it is the mean over all tasks. "
            "Multiply it by the number of tasks.": lambda x, c: x[list(c)].mean(),
            "your factor is upside down: fewer tasks drawn need a larger one.": (
                lambda x, c: len(c) / len(x) * x[list(c)].sum()
            ),
            "that is the sum over all tasks; only the tasks drawn were computed.": (
                lambda x, c: x.sum()
            ),
        },
    )
    return (
        found
        or gradient_reaches(answer, small, to=[0], right=right)
        or inputs_left_alone(answer, small)
    )
