"""The checks of lesson 01, theory."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from mtl_helpers.lessons.lesson_01 import deeper_exercises as deeper_exercises  # 01.11 and up
from mtl_helpers.metrics import delta_m, paired_interval
from mtl_helpers.teaching.exercises.answers import (
    NotAttemptedError,
    compare,
    draws,
    is_empty,
    not_a_function,
    show,
)
from mtl_helpers.teaching.exercises.core import exercise
from mtl_helpers.teaching.exercises.testers import (
    each_example_counts,
    inputs_left_alone,
    layers_stay,
    order_of_keys,
)

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
    "One trunk, a head for each",
    kind="build",
    difficulty=2,
    minutes=8,
    right="every head reads the same features, and has its own weights.",
)
def shared_network(answer: Callable[..., Any]) -> str | None:
    """Check ``shared_network(inputs, width, counters)``: a module, [N, inputs] -> [N, counters]."""
    if message := not_a_function(answer):
        return message
    for inputs, width, counters in ((3, 8, 2), (5, 6, 4), (11, 32, 20)):
        network = answer(inputs, width, counters)
        if is_empty(network):
            raise NotAttemptedError
        if not isinstance(network, nn.Module):
            return f"give a network, an nn.Module such as nn.Sequential; found {show(network)}."
        if type(network).forward is nn.Module.forward:
            return "the network has no forward: use nn.Sequential, or write a class with one."
        called = f"shared_network({inputs}, {width}, {counters})"
        if message := _shared(network, inputs, width, counters):
            return f"{called}: {message}"
    return None


def _shared(network: nn.Module, inputs: int, width: int, counters: int) -> str | None:
    """Say what is wrong with one network of exercise 01.1."""
    weights = list(network.parameters())
    if not weights:
        return "the network has no parameters, so nothing can learn."
    if frozen := [name for name, p in network.named_parameters() if not p.requires_grad]:
        return f"`{frozen[0]}` asks for no gradient (requires_grad is off), so it never learns."
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(9, inputs, generator=rng, dtype=torch.float64).to(weights[0].dtype)

    def outputs(batch: Tensor, model: nn.Module = network) -> Tensor:
        found = model(batch)
        parts = list(found.values()) if isinstance(found, Mapping) else found
        if isinstance(parts, list | tuple):
            return torch.stack([part.reshape(len(batch)) for part in parts], 1)
        return parts

    table = outputs(x)
    if list(table.shape) != [9, counters]:
        return (
            f"9 hours must give a table of shape [9, {counters}], a column for each counter; "
            f"found {list(table.shape)}."
        )
    if not isinstance(table, Tensor) or not table.requires_grad:
        return "the table has no gradient, so nothing can learn: give what the layers compute."
    if message := layers_stay(network, (x,)):
        return message
    if not torch.equal(table, outputs(x)):
        return "two calls on the same hours give two tables: leave out what is random (Dropout)."
    if message := each_example_counts(outputs, x):
        return message
    bent = outputs(x[:4] + x[4:8]) + outputs(0 * x[:4]) - outputs(x[:4]) - outputs(x[4:8])
    if float(bent.detach().abs().max()) < 1e-5:
        return "the network is linear: put an nn.ReLU() after each of the trunk's layers."
    trunk, head = (inputs + 1) * width + (width + 1) * width, width + 1
    expected, found = trunk + counters * head, sum(w.numel() for w in weights)
    if found == expected and not _plain_layers(outputs, network, x, inputs, width):
        return (
            "the layers are put together in another way: each of the trunk's two linear layers is "
            "followed by one nn.ReLU(), and the heads by none."
        )
    named = dict(network.named_parameters())
    slopes = torch.autograd.grad(
        table.sum(), list(named.values()), retain_graph=True, allow_unused=True
    )
    if missed := [name for name, slope in zip(named, slopes, strict=True) if slope is None]:
        return f"no loss reaches `{missed[0]}`: it is detached on the way, or never used."
    reached = torch.stack([_reached(table[:, k], weights) for k in range(counters)])
    if not reached.all(0).any():
        return (
            "no parameter is reached by the losses of all counters: these are separate networks. "
            "Run the trunk once, and give its features to every head."
        )
    alone = reached & (reached.sum(0) == 1)
    if not alone.any(1).all():
        k = int((~alone.any(1)).nonzero()[0])
        return f"column {k} has no parameter of its own: give each counter a head."
    if found != expected:
        return (
            f"{found} parameters found, {expected} expected: {trunk} in a trunk of two layers of "
            f"{width} units, and {head} in each of the {counters} linear heads."
        )
    return None


def _plain_layers(
    outputs: Callable[..., Tensor], network: nn.Module, x: Tensor, inputs: int, width: int
) -> bool:
    """Tell linear, ReLU, linear, ReLU, linear from other networks by what equal numbers give.

    With all parameters -1 both ReLUs shut, and an output is its bias. With all 1 they are open, and
    sums come out.
    """
    found = []
    for value in (-1.0, 1.0):
        model = copy.deepcopy(network)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(value)
            found.append(outputs(torch.ones_like(x), model))
    open_ = width * (width * (inputs + 1) + 1) + 1
    same_low = torch.allclose(found[0], -torch.ones_like(found[0]))
    return same_low and torch.allclose(found[1], torch.full_like(found[1], open_), rtol=1e-2)


def _reached(column: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Say for each number of the weights whether a column's gradient reaches it, [P]."""
    slopes = torch.autograd.grad(
        column.square().sum(), weights, retain_graph=True, allow_unused=True
    )
    parts = [
        torch.zeros(w.numel(), dtype=torch.bool) if g is None else g.flatten() != 0
        for w, g in zip(weights, slopes, strict=True)
    ]
    return torch.cat(parts)


@exercise(
    "01.2",
    "The interval that is too wide",
    kind="bug hunt",
    difficulty=2,
    minutes=6,
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
        ours: Any, theirs: Any, ddof: int = 1, normal: float = 0.0, root: bool = True
    ) -> float:
        a, b = arrays(ours, theirs)
        width = spread(a - b, ddof) * (1 if root else math.sqrt(len(a)))
        return (normal or t(len(a))) * width

    def case(g: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
        count = int(torch.randint(4, 12, (1,), generator=g))
        luck, noise = torch.randn(2, count, generator=g).numpy().astype(float)
        return 5 * luck + noise, 5 * luck

    small = np.array([3.0, 5.0, 4.0]), np.array([2.0, 5.0, 2.0])
    found = compare(
        answer,
        right,
        [small, *draws(case)],
        slips={
            "you still treat the two arms as if their seeds were different ones: take the "
            "differences first.": unpaired,
            "that is the whole width; half of it is asked for.": lambda a, b: 2 * paired(a, b),
            "95 % leaves 2.5 % on each side: the t value is that of 0.975.": (
                lambda a, b: paired(a, b) * stats.t.ppf(0.95, len(a) - 1) / t(len(a))
            ),
            "1.96 is for very many runs; with few runs use Student's t.": (
                lambda a, b: paired(a, b, normal=1.96)
            ),
            "that is the normal distribution's 97.5 %; with few runs use Student's t.": (
                lambda a, b: paired(a, b, normal=float(stats.norm.ppf(0.975)))
            ),
            "with n differences Student's t has n - 1 degrees of freedom.": (
                lambda a, b: paired(a, b) * stats.t.ppf(0.975, len(a)) / t(len(a))
            ),
            "that is the spread of single runs; the mean of n runs spreads less by √n.": (
                lambda a, b: paired(a, b, root=False)
            ),
            "divide the squares by n - 1 (ddof=1): the mean was estimated from the same runs.": (
                lambda a, b: paired(a, b, ddof=0)
            ),
        },
    )
    return found or inputs_left_alone(answer, small)


@exercise(
    "01.3",
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
        up = dict(zip(names, (torch.rand(3, generator=g) < 0.5).tolist(), strict=True))
        return dict(zip(names, multi, strict=True)), dict(zip(names, single, strict=True)), up

    small = (
        {"accuracy": 0.9, "error": 3.0},
        {"accuracy": 0.8, "error": 2.0},
        {"accuracy": True, "error": False},
    )
    found = compare(
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
    return found or order_of_keys(answer, small) or inputs_left_alone(answer, small)


@exercise(
    "01.4",
    "Who loses?",
    kind="fill one step",
    difficulty=2,
    minutes=6,
    right="an average can hide them; a list by name cannot.",
)
def who_loses(answer: Callable[..., Any]) -> str | None:
    """Check ``who_loses(alone, together)``: {task: errors by seed} twice -> names of the losers."""

    def by(
        test: Callable[[Any, Any], bool],
    ) -> Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]]:
        return lambda alone, together: sorted(k for k in alone if test(together[k], alone[k]))

    def unpaired(a: Any, b: Any) -> bool:
        first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
        return bool(stats.ttest_ind(first, second).pvalue < 0.05 and first.mean() > second.mean())

    def asked(alone: Mapping[str, Any], together: Mapping[str, Any]) -> Any:
        found = answer(alone, together)
        if is_empty(found):
            raise NotAttemptedError
        if isinstance(found, str) or not isinstance(found, Iterable):
            return found
        names = list(found)
        return sorted(names) if all(isinstance(name, str) for name in names) else names

    def right(alone: Mapping[str, Any], together: Mapping[str, Any]) -> list[str]:
        return by(lambda a, b: paired_interval(a, b).low > 0)(alone, together)

    def case(g: torch.Generator) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
        alone, together = {}, {}
        for k in torch.randperm(6, generator=g).tolist():
            luck, noise = torch.randn(2, 6, generator=g)
            shift = (-0.2, -0.02, 0.01, 0.03, 0.2, 2.0)[k]
            first = 3 + luck
            alone[f"corner {k}"] = [round(v, 3) for v in first.tolist()]
            second = first + shift + 0.05 * noise
            together[f"corner {k}"] = [round(v, 3) for v in second.tolist()]
        return alone, together

    small = (
        {"port": [0.5, 0.7, 0.6], "lane": [0.4, 0.9, 0.5], "pier": [0.5, 0.6, 0.4]},
        {"pier": [0.6, 0.8, 0.5], "lane": [0.3, 0.82, 0.4], "port": [0.6, 0.84, 0.71]},
    )
    none = ({"port": [0.5, 0.7, 0.6]}, {"port": [0.4, 0.5, 0.5]})
    crossed = (
        {"port": [0.4, 0.6, 0.8], "pier": [0.5, 0.6, 0.4]},
        {"port": [0.83, 0.63, 0.43], "pier": [0.7, 0.81, 0.6]},
    )
    if message := not_a_function(answer):
        return message
    found = compare(
        asked,
        right,
        [small, none, crossed, *draws(case, count=6)],
        slips={
            "those are the winners: a task loses when its error is *larger* together.": (
                by(lambda a, b: paired_interval(a, b).high < 0)
            ),
            "a larger mean may be luck: ask that the whole interval of the difference lies above "
            "zero.": by(lambda a, b: float(np.mean(a)) > float(np.mean(b))),
            "you compare the two arms as if their seeds were strangers: take the differences seed "
            "by seed.": by(unpaired),
            "that is every task whose interval excludes zero, winners too: its lower end must lie "
            "above zero.": by(lambda a, b: paired_interval(a, b).excludes_zero),
            "that tests at 95 % on one side: its interval is one of 90 %.": (
                by(lambda a, b: paired_interval(a, b, level=0.9).low > 0)
            ),
            "you ask that every seed is worse; ask that the 95 % interval lies above zero.": (
                by(lambda a, b: bool((np.asarray(a) > np.asarray(b)).all()))
            ),
            "you ask that the upper end lies above zero; that is true of doubtful tasks too. Take "
            "the lower end.": by(lambda a, b: paired_interval(a, b).high > 0),
        },
    )
    return found or inputs_left_alone(answer, small)


@exercise(
    "01.5",
    "What sharing saves",
    kind="fill one line",
    difficulty=1,
    minutes=4,
    right="with a heavy trunk the saving approaches 1 - 1/K, and never reaches it.",
)
def saving(answer: Callable[..., Any]) -> str | None:
    """Check ``saving(shared, head, tasks)``: the fraction of the parameters that is saved."""
    return compare(
        answer,
        lambda shared, head, tasks: 1 - (shared + tasks * head) / (tasks * (shared + head)),
        [
            (100, 10, 2),
            (100, 10, 1),
            (100, 0, 4),
            *draws(lambda g: tuple(torch.randint(2, 99, (3,), generator=g).tolist())),
        ],
        slips={
            "that is what is left to pay; the saving is 1 minus it.": (
                lambda shared, head, tasks: (shared + tasks * head) / (tasks * (shared + head))
            ),
            "you put the separate networks on top; the shared network is the numerator.": (
                lambda shared, head, tasks: tasks * (shared + head) / (shared + tasks * head)
            ),
            "you forgot the heads, or count only one: each task still pays for its own.": (
                lambda shared, head, tasks: 1 - 1 / tasks
            ),
            "give a fraction between 0 and 1, not per cent.": (
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
    "01.6",
    "Which is it?",
    kind="tell apart",
    difficulty=1,
    minutes=6,
    right="the tests are: how many questions, which of them count, and when each is learned.",
)
def which(answer: Mapping[str, str]) -> str | None:
    """Check a dictionary from situation to the name of the setting."""
    names = sorted({name for name, _ in SITUATIONS.values()})
    if isinstance(answer, Mapping):
        answer = {str(key).strip().casefold(): name for key, name in answer.items()}
    if not isinstance(answer, Mapping) or set(answer) != set(SITUATIONS):
        return f"give one name for each of the situations {', '.join(SITUATIONS)}."
    for letter, (name, why) in SITUATIONS.items():
        given = re.sub(r"[\s_\u2010-\u2015]+", "-", str(answer[letter]).strip().casefold())
        given = given.removesuffix("-learning") if given != "meta-learning" else given
        given = {"multitask": "multi-task", "multilabel": "multi-label"}.get(given, given)
        if given == "multi-domain":
            return f"situation {letter}: that counts sources of data; count the questions instead."
        if given not in names:
            return f"situation {letter}: {given!r} is none of {', '.join(names)}."
        if given != name:
            return f"situation {letter} is not {given}: {why}."
    return None
