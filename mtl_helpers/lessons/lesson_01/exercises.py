"""The checks of lesson 01, theory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from mtl_helpers.metrics import box_iou, delta_m, paired_interval
from mtl_helpers.teaching.exercises.answers import compare, draws
from mtl_helpers.teaching.exercises.core import exercise

# Situation: (what it is, the test that settles it).
SITUATIONS = {
    "a": ("multi-task", "two different questions about each scan are wanted at the end"),
    "b": ("multi-label", "one kind of question, asked of every topic, with one loss"),
    "c": ("transfer", "the first task is over before the second begins; only the second counts"),
    "d": ("meta-learning", "what is learned is how to learn a new task from a few examples"),
    "e": ("co-training", "two views label examples for each other, for one and the same task"),
    "f": ("single-task", "two sources of data, but one question, one loss, one output"),
    "g": (
        "multi-task",
        "two questions are learned at once; one only helps (an auxiliary task), and that counts",
    ),
    "h": ("multi-task", "labels sit on different examples; two questions, one trunk all the same"),
}


@exercise(
    "01.1",
    "Which is it?",
    kind="tell apart",
    difficulty=1,
    minutes=6,
    right="the tests are: how many questions, which of them count, and when each is learned.",
)
def which(answer: Mapping[str, str]) -> str | None:
    """Check a dictionary from situation to the name of the setting."""
    names = sorted({name for name, _ in SITUATIONS.values()})
    if not isinstance(answer, Mapping) or set(answer) != set(SITUATIONS):
        return f"give one name for each of the situations {', '.join(SITUATIONS)}."
    for letter, (name, why) in SITUATIONS.items():
        given = str(answer[letter]).strip().casefold()
        if given not in names:
            return f"situation {letter}: {given!r} is none of {', '.join(names)}."
        if given != name:
            return f"situation {letter} is not {given}: {why}."
    return None


@exercise(
    "01.3",
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
        if slip == "overlap":
            return common
        boxes = (high1 - low1).prod() + (high2 - low2).prod()
        if slip == "whole":
            boxes = first[2:].prod() + second[2:].prod()
        return common / (boxes if slip == "twice" else boxes - common)

    def case(g: torch.Generator) -> tuple[Tensor, Tensor]:
        first, second = torch.rand(2, 4, generator=g, dtype=torch.float64) * 0.4 + 0.3
        return first, second

    far = torch.tensor([0.1, 0.1, 0.1, 0.1]), torch.tensor([0.8, 0.8, 0.2, 0.2])
    small = torch.tensor([0.4, 0.5, 0.4, 0.4]), torch.tensor([0.6, 0.5, 0.4, 0.4])
    return compare(
        answer,
        lambda first, second: box_iou(first[None], second[None])[0],
        [tuple(b.double() for b in small), *draws(case), tuple(b.double() for b in far)],
        slips={
            "boxes that do not touch have a negative overlap on both axes, and minus times minus "
            "is plus: let no side of the overlap be below 0.": (
                lambda a, b: general(a, b, "negative")
            ),
            "the union counts the common part once: subtract it from the sum of the two areas.": (
                lambda a, b: general(a, b, "twice")
            ),
            "you read the boxes as two corners; they are centre, width and height.": (
                lambda a, b: general(a, b, "corners")
            ),
            "half of the width lies on each side of the centre: divide it by two.": (
                lambda a, b: general(a, b, "whole")
            ),
            "that is the overlap; divide it by the union.": (lambda a, b: general(a, b, "overlap")),
        },
    )


@exercise(
    "01.4",
    "What sharing saves",
    kind="fill one line",
    difficulty=1,
    minutes=4,
    right="with a heavy trunk the saving approaches 1 - 1/K, and never reaches it.",
)
def saving(answer: Callable[..., Any]) -> str | None:
    """Check ``saving(shared, head, tasks)``: the share of the parameters that is saved."""
    return compare(
        answer,
        lambda shared, head, tasks: 1 - (shared + tasks * head) / (tasks * (shared + head)),
        [(100, 10, 2), *draws(lambda g: tuple(torch.randint(2, 99, (3,), generator=g).tolist()))],
        slips={
            "that is what is left to pay; the saving is 1 minus it.": (
                lambda shared, head, tasks: (shared + tasks * head) / (tasks * (shared + head))
            ),
            "you put the separate networks on top; the shared network is the numerator.": (
                lambda shared, head, tasks: tasks * (shared + head) / (shared + tasks * head)
            ),
            "you forgot the heads: each task still pays for its own.": (
                lambda shared, head, tasks: 1 - 1 / tasks
            ),
            "give a share between 0 and 1, not per cent.": (
                lambda shared, head, tasks: (
                    100 * (1 - (shared + tasks * head) / (tasks * (shared + head)))
                )
            ),
            "that is the number of parameters saved; divide by what separate networks cost.": (
                lambda shared, head, tasks: (tasks - 1) * shared
            ),
        },
    )


@exercise(
    "01.5",
    "Delta-m by hand",
    kind="fill one step",
    difficulty=2,
    minutes=6,
    right="relative, signed so that better is positive, averaged over tasks, in percent.",
)
def mean_gain(answer: Callable[..., Any]) -> str | None:
    """Check ``mean_gain(multi, single, higher_is_better)`` on dictionaries by task."""

    def by_rule(
        multi: Mapping,
        single: Mapping,
        up: Mapping,
        turn: bool = True,
        relative: str = "single",
        scale: float = 100.0,
        add: bool = False,
    ) -> float:
        base = {"single": single, "multi": multi, "none": dict.fromkeys(multi, 1.0)}[relative]
        gains = [(multi[k] - single[k]) / base[k] * (1 if up[k] or not turn else -1) for k in multi]
        return scale * sum(gains) / (1 if add else len(gains))

    def case(g: torch.Generator) -> tuple[dict, dict, dict]:
        multi, single = (torch.rand(2, 3, generator=g) + 0.5).tolist()
        names = ("a", "b", "c")
        up = {"a": True, "b": False, "c": False}
        return dict(zip(names, multi, strict=True)), dict(zip(names, single, strict=True)), up

    small = (
        {"accuracy": 0.9, "error": 3.0},
        {"accuracy": 0.8, "error": 2.0},
        {"accuracy": True, "error": False},
    )
    return compare(
        answer,
        lambda multi, single, higher_is_better: delta_m(multi, single, higher_is_better),
        [small, *draws(case)],
        slips={
            "where lower is better the sign must be turned.": (
                lambda m, s, u: by_rule(m, s, u, turn=False)
            ),
            "you turned the sign of the wrong tasks: turn it where *lower* is better.": (
                lambda m, s, u: by_rule(m, s, {k: not v for k, v in u.items()})
            ),
            "you divided by the multi-task score; the single-task score is the measure.": (
                lambda m, s, u: by_rule(m, s, u, relative="multi")
            ),
            "you took plain differences: tasks with large numbers drown the others. Divide each "
            "by its single-task score.": lambda m, s, u: by_rule(m, s, u, relative="none"),
            "that is a fraction; give percent.": lambda m, s, u: by_rule(m, s, u, scale=1.0),
            "you added the gains up; average them over the tasks.": (
                lambda m, s, u: by_rule(m, s, u, add=True)
            ),
        },
    )


@exercise(
    "01.2",
    "An average that lies",
    kind="adversarial",
    difficulty=2,
    minutes=6,
    right="delta-m counts points relative to the baseline: one weighs more where the score is low.",
)
def lying_average(answer: Mapping[str, Mapping[str, float]]) -> str | None:
    """Check ``{"single": {"A", "B"}, "multi": {"A", "B"}}``: accuracies between 0 and 1."""
    if set(answer) != {"single", "multi"} or any(set(v) != {"A", "B"} for v in answer.values()):
        return "give accuracies of tasks A and B under both 'single' and 'multi'."
    single, multi = ({k: float(v) for k, v in answer[arm].items()} for arm in ("single", "multi"))
    if not all(0 < value <= 1 for value in (*single.values(), *multi.values())):
        return "accuracies lie above 0 and at most at 1."
    mean = sum(multi.values()) / 2 - sum(single.values()) / 2
    gain = delta_m(multi, single, {"A": True, "B": True})
    if mean <= 0:
        return f"the average accuracy does not rise (it changes by {mean:+.3f})."
    if gain >= 0:
        return f"the average rises, but so does delta-m ({gain:+.1f} %): let a weak task lose."
    return None


@exercise(
    "01.6",
    "The interval that is too wide",
    kind="bug hunt",
    difficulty=2,
    minutes=7,
    right="pairing removes the luck that both arms share, often most of it.",
)
def half_width(answer: Callable[..., Any]) -> str | None:
    """Check ``half_width(ours, theirs)``: half of the paired 95 % t interval."""

    def right(ours: Sequence[float], theirs: Sequence[float]) -> float:
        found = paired_interval(ours, theirs)
        return (found.high - found.low) / 2

    def spread(values: np.ndarray, ddof: int = 1) -> float:
        return float(values.std(ddof=ddof) / math.sqrt(len(values)))

    def t(count: int) -> float:
        return float(stats.t.ppf(0.975, count - 1))

    def arrays(*runs: Any) -> list[np.ndarray]:
        return [np.asarray(run, dtype=float) for run in runs]

    def unpaired(ours: Any, theirs: Any) -> float:
        a, b = arrays(ours, theirs)
        return t(len(a)) * math.hypot(spread(a), spread(b))

    def paired(
        ours: Any, theirs: Any, ddof: int = 1, normal: bool = False, root: bool = True
    ) -> float:
        a, b = arrays(ours, theirs)
        width = spread(a - b, ddof) * (1 if root else math.sqrt(len(a)))
        return (1.96 if normal else t(len(a))) * width

    def case(g: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
        luck, noise = torch.randn(2, 6, generator=g).numpy().astype(float)
        return 5 * luck + noise, 5 * luck

    return compare(
        answer,
        right,
        [(np.array([3.0, 5.0, 4.0]), np.array([2.0, 5.0, 2.0])), *draws(case)],
        slips={
            "you still treat the two arms as strangers: take the differences first.": unpaired,
            "that is the whole width; half of it is asked for.": lambda a, b: 2 * paired(a, b),
            "95 % leaves 2.5 % on each side: the t value is that of 0.975.": (
                lambda a, b: paired(a, b) * stats.t.ppf(0.95, len(a) - 1) / t(len(a))
            ),
            "1.96 is for very many runs; with few runs use Student's t.": (
                lambda a, b: paired(a, b, normal=True)
            ),
            "that is the spread of single runs; the mean of n runs spreads less by √n.": (
                lambda a, b: paired(a, b, root=False)
            ),
            "divide the squares by n - 1 (ddof=1): the mean was estimated from the same runs.": (
                lambda a, b: paired(a, b, ddof=0)
            ),
        },
    )


@exercise(
    "01.7",
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
        affinity = torch.rand(5, 5, generator=g, dtype=torch.float64)
        return affinity.fill_diagonal_(1.0), int(torch.randint(5, (1,), generator=g))

    small = torch.tensor([[1.0, 0.1, 0.6], [0.9, 1.0, 0.2], [0.3, 0.5, 1.0]]).double()
    return compare(
        answer,
        right,
        [(small, 0), *draws(case, count=8)],
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
        },
    )


@exercise(
    "01.8",
    "What sharing is worth in examples",
    kind="explain with numbers",
    difficulty=2,
    minutes=6,
    right="labels of related tasks can stand in for labels of your own.",
)
def examples_needed(answer: Callable[..., Any]) -> str | None:
    """Check ``examples_needed(alone, together)``: {examples: RMSE} and an RMSE to reach."""

    def right(alone: Mapping[int, float], together: float) -> float:
        enough = [n for n, rmse in alone.items() if rmse <= together]
        return min(enough) if enough else math.inf

    def case(g: torch.Generator) -> tuple[dict[int, float], float]:
        errors = torch.rand(5, generator=g).sort(descending=True).values.tolist()
        curve = dict(zip((10, 20, 40, 80, 160), errors, strict=True))
        return curve, float(torch.rand(1, generator=g)) * errors[0]

    return compare(
        answer,
        right,
        [
            ({10: 0.9, 20: 0.8, 40: 0.6, 80: 0.5}, 0.7),
            ({10: 0.9, 20: 0.7, 40: 0.6}, 0.7),
            *draws(case, count=8),
        ],
        slips={
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
        },
    )


@exercise(
    "01.9",
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
        return np.exp(2 * first), first + second

    return compare(
        answer,
        lambda first, second: float(stats.spearmanr(first, second).statistic),
        [(np.array([1.0, 2.0, 30.0]), np.array([2.0, 1.0, 3.0])), *draws(case)],
        slips={
            "that is the ordinary correlation of the values: replace them by their ranks first.": (
                lambda a, b: float(np.corrcoef(a, b)[0, 1])
            ),
            "argsort once says who stands where, not each one's rank: argsort the result again.": (
                lambda a, b: float(np.corrcoef(np.argsort(a), np.argsort(b))[0, 1])
            ),
            "ranks go the same way on both sides: you turned one of them round.": (
                lambda a, b: float(np.corrcoef(ranks(a), -ranks(b))[0, 1])
            ),
        },
    )
