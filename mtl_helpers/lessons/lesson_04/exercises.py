"""The checks of lesson 04, balancing tasks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mtl_helpers.balancing.gradients import imtl_g, pcgrad
from mtl_helpers.teaching.exercises import (
    as_numbers,
    compare,
    draws,
    exercise,
    said_yes,
    show,
)
from mtl_helpers.teaching.exercises.testers import inputs_left_alone


def _drawn(g: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=g, dtype=torch.float64)


@exercise(
    "04.1",
    "The score you may report",
    kind="fill one line",
    difficulty=1,
    minutes=3,
    right="validation data choose, test data are looked at once, after the choice.",
)
def honest(answer: Callable[..., Any]) -> str | None:
    """Check ``honest(valid, test)``: errors [S, W] of S seeds and W weights -> [S]."""

    def right(valid: Tensor, test: Tensor) -> Tensor:
        return test[torch.arange(len(test)), valid.argmin(1)]

    def case(g: torch.Generator) -> tuple[Tensor, Tensor]:
        valid, test = torch.rand(2, 6, 5, generator=g, dtype=torch.float64)
        return valid, test

    small = (torch.tensor([[0.3, 0.2], [0.5, 0.9]]), torch.tensor([[0.4, 0.6], [0.7, 0.8]]))
    return compare(
        answer,
        right,
        [small, *draws(case)],
        slips={
            "you chose on the test data: that is the leak. Choose by the validation error.": (
                lambda valid, test: test.min(1).values
            ),
            "that is the validation error, and it was chosen for being low: report the test error "
            "of the weight it chose.": lambda valid, test: valid.min(1).values,
            "errors are better when lower: take the smallest validation error.": (
                lambda valid, test: test[torch.arange(len(test)), valid.argmax(1)]
            ),
            "you chose one weight for all seeds; each seed is an experiment of its own and "
            "chooses by its own row.": lambda valid, test: test[:, valid.mean(0).argmin()],
            "that takes every row at every chosen column: pair rows and columns up with "
            "`test[torch.arange(len(test)), columns]`.": (
                lambda valid, test: test[:, valid.argmin(1)]
            ),
            "min(1) gives two things, values and places: the places choose, and the error is read "
            "from test.": lambda valid, test: tuple(valid.min(1)),
            "you chose on the test data and reported the validation error: the wrong way round.": (
                lambda valid, test: valid[torch.arange(len(test)), test.argmin(1)]
            ),
        },
    )


@exercise(
    "04.3",
    "The noise that never learns",
    kind="bug hunt",
    difficulty=2,
    minutes=5,
    right="what a balance learns must reach the optimiser, and must not decay. `fit` does both.",
)
def both_learn(answer: Callable[..., Any]) -> str | None:
    """Check ``both_learn(model, log_sigma)``: AdamW at 0.01 over both, no decay on log_sigma."""
    if not callable(answer):
        return "give the check the function itself: its name, without brackets after it."
    torch.manual_seed(0)
    model = nn.Linear(2, 2, dtype=torch.float64)
    log_sigma = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    stepper = answer(model, log_sigma)
    if not isinstance(stepper, torch.optim.Optimizer):
        return f"give back an optimiser; found a {type(stepper).__name__}."
    group_of = {id(p): group for group in stepper.param_groups for p in group["params"]}
    if any(id(p) not in group_of for p in model.parameters()):
        return "now the model's own parameters are left out: the optimiser needs both."
    if id(log_sigma) not in group_of:
        extra = len(group_of) - len(list(model.parameters()))
        if extra:
            return (
                "what you handed over is a copy of log_sigma; the optimiser would move the copy. "
                "Give it log_sigma itself."
            )
        return "log_sigma is still not among the optimiser's parameters, so it stays at 0 for ever."
    if not log_sigma.requires_grad or not all(p.requires_grad for p in model.parameters()):
        return "a parameter no longer asks for a gradient (requires_grad is off): it cannot learn."
    if not isinstance(stepper, torch.optim.AdamW):
        return (
            f"keep AdamW; found {type(stepper).__name__}, whose weight decay is another thing or "
            "whose steps have another size."
        )
    if group_of[id(log_sigma)]["weight_decay"] != 0:
        return (
            "log_sigma decays too: weight decay pulls it to 0, that is, every sigma to 1. Put it "
            "in a group of its own with weight_decay=0."
        )
    if any(group_of[id(p)]["weight_decay"] != 0.1 for p in model.parameters()):
        return "the model lost its weight decay of 0.1; only log_sigma shall have none."
    return _both_move(stepper, model, log_sigma)


def _both_move(
    stepper: torch.optim.Optimizer, model: nn.Module, log_sigma: nn.Parameter
) -> str | None:
    """Take a step with gradients of 1: everything must move by the learning rate of 0.01."""
    before = {"log_sigma": log_sigma.detach().clone(), "the model": model.weight.detach().clone()}
    for parameter in (log_sigma, *model.parameters()):
        parameter.grad = torch.ones_like(parameter)
    stepper.step()
    after = {"log_sigma": log_sigma, "the model": model.weight * 1.0}
    before["the model"] = before["the model"] * (1 - 0.01 * 0.1)  # its weight decay
    for name, value in after.items():
        moved = float((before[name] - value.detach()).mean())
        if abs(moved - 0.01) > 1e-4:
            return (
                f"one step with gradients of 1 moves {name} by {moved:.2g}; at a learning rate of "
                "0.01 for all it is 0.01."
            )
    return None


@exercise(
    "04.2",
    "An angle that looks harmless",
    kind="adversarial",
    difficulty=1,
    minutes=4,
    right="with two tasks the sum harms one when the other's gradient is long enough.",
)
def harmless_angle(answer: Sequence[Any]) -> str | None:
    """Check ``[g1, g2]``: two gradients at most 100 degrees apart whose sum harms a task."""
    rows = [as_numbers(row, "a gradient") for row in answer]
    if len(rows) != 2 or any(row.ndim != 1 or len(row) < 2 for row in rows):
        return "give two gradients of at least two numbers each."
    if len(rows[0]) != len(rows[1]):
        return "two gradients at the same parameters have equally many numbers."
    if any(row.norm() == 0 for row in rows):
        return "a gradient of length 0 has no angle with anything; give both a length."
    cosine = float(rows[0] @ rows[1] / rows[0].norm() / rows[1].norm())
    angle = float(torch.rad2deg(torch.arccos(torch.tensor(cosine).clamp(-1, 1))))
    if angle > 100:
        return f"their angle is {angle:.0f} degrees; at most 100 are allowed."
    total = rows[0] + rows[1]
    worst = min(float(row @ total) for row in rows)
    if not worst < 0:
        if angle <= 90:
            return f"at {angle:.0f} degrees there is no conflict, whatever the lengths."
        return (
            f"no task gets worse (the smaller product with the sum is {worst:.2f}): how long must "
            "the other gradient be?"
        )
    return None


@exercise(
    "04.4",
    "What should it cost?",
    kind="explain with numbers",
    difficulty=2,
    minutes=4,
    right="the forward pass is shared, the backward passes are not: two thirds of K and a bit.",
)
def expected(answer: Callable[..., Any]) -> str | None:
    """Check ``expected(tasks)``: (1 + 2K) / 3."""
    return compare(
        answer,
        lambda tasks: (1 + 2 * tasks) / 3,
        [(4,), (1,), (8,), (16,)],
        slips={
            "K times the joint step would need K forward passes; one serves all tasks.": (
                lambda tasks: tasks
            ),
            "that is the time in forward passes; divide by the 3 of the joint step.": (
                lambda tasks: 1 + 2 * tasks
            ),
            "a backward pass takes twice as long as a forward pass.": lambda tasks: (1 + tasks) / 2,
            "you forgot the forward pass.": lambda tasks: 2 * tasks / 3,
            "that has one forward pass for each task; one serves all of them.": (
                lambda tasks: 3 * tasks
            ),
            "those are the backward passes alone, in forward passes: add the forward pass and "
            "divide by the 3 of the joint step.": lambda tasks: 2 * tasks,
            "you turned it round: the joint step belongs below.": lambda tasks: 3 / (1 + 2 * tasks),
        },
    )


@exercise(
    "04.5",
    "Surgery that is silently absent",
    kind="bug hunt",
    difficulty=3,
    minutes=8,
    right="one backward pass for each task, and nothing left over from the one before.",
)
def surgery(answer: Callable[..., Any]) -> str | None:
    """Check ``surgery(loss_functions, theta)``: PCGrad's direction [P] for two tasks."""

    def rows(functions: Sequence[Callable[[Tensor], Tensor]], theta: Tensor) -> Tensor:
        return torch.stack([torch.autograd.grad(f(theta), theta)[0] for f in functions])

    def distance(goal: Tensor, size: float) -> Callable[[Tensor], Tensor]:
        return lambda theta: size * ((theta - goal) ** 2).sum()

    def case(g: torch.Generator) -> tuple[list, Tensor]:
        goal, turn = _drawn(g, 4), _drawn(g, 4)
        functions = [distance(goal, 1.0), distance(0.3 * turn - goal, 2.0)]
        return functions, torch.zeros(4, dtype=torch.float64, requires_grad=True)

    goals = torch.tensor([[1.5, 0.0], [-0.5, 0.5]], dtype=torch.float64)
    start = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    small = ([distance(goal, 1.0) for goal in goals], start)

    def friendly(goal: Tensor) -> tuple[list, Tensor]:  # gradients that do not conflict
        functions = [distance(goal, 1.0), distance(goal + torch.ones(4).double(), 0.5)]
        return functions, torch.zeros(4, dtype=torch.float64, requires_grad=True)

    def without_a_look(functions: Any, theta: Tensor) -> Tensor:
        g1, g2 = rows(functions, theta)
        return g1 - (g1 @ g2) / (g2 @ g2) * g2 + g2 - (g1 @ g2) / (g1 @ g1) * g1

    def summed(functions: Any, theta: Tensor) -> Tensor:
        total = rows(functions, theta).sum(0)
        return pcgrad(torch.stack([total, total]))

    def piled_up(functions: Any, theta: Tensor) -> Tensor:
        return pcgrad(rows(functions, theta).cumsum(0))

    def one_side(functions: Any, theta: Tensor, side: int) -> Tensor:
        both = rows(functions, theta)
        own, other = both[side], both[1 - side]
        against = (own @ other).clamp(max=0) / (other @ other)
        return own - against * other + other

    message = compare(
        answer,
        lambda loss_functions, theta: pcgrad(rows(loss_functions, theta)),
        [small, *draws(case), friendly(torch.arange(1.0, 5.0).double())],
        slips={
            "both rows hold the gradient of the *sum*: one backward pass for all, or one tensor "
            "twice (`theta.grad` is a single tensor: copy it, and clear it). Equal rows never "
            "conflict, so nothing is operated on.": summed,
            "you project also where the gradients do *not* conflict. First ask whether their "
            "product is negative.": without_a_look,
            "the second row holds both gradients: .grad adds up from call to call. Clear it "
            "in between, or use torch.autograd.grad.": piled_up,
            "that is the plain gradient of the sum: PCGrad was not called, or on rows already "
            "added up.": lambda functions, theta: rows(functions, theta).sum(0),
            "you averaged; PCGrad sums the projected gradients.": (
                lambda functions, theta: pcgrad(rows(functions, theta)) / len(functions)
            ),
            "both rows hold the *last* task's gradient: the same function twice, or one tensor "
            "twice (`theta.grad` is a single tensor that is overwritten: append a `.clone()`).": (
                lambda functions, theta: 2 * rows(functions, theta)[-1]
            ),
            **{
                f"only task {side + 1}'s gradient was projected: both are, each against the "
                "*untouched* gradient of the other. (Projected against one that has been turned "
                "already, the second finds no conflict.)": partial(one_side, side=side)
                for side in (0, 1)
            },
        },
    )
    if message and message.startswith("with loss_functions"):
        message += " There the two gradients are [-3, 0] and [1, -1]."
    return message or inputs_left_alone(answer, small, ["loss_functions", "theta"])


@exercise(
    "04.6",
    "The same angle with both",
    kind="fill one step",
    difficulty=2,
    minutes=6,
    right="lengths no longer matter for the direction: with two tasks a unit cannot turn it.",
)
def bisector(answer: Callable[..., Any]) -> str | None:
    """Check ``bisector(g1, g2)``: IMTL-G for two tasks, [P]."""

    def weights(g1: Tensor, g2: Tensor) -> tuple[Tensor, Tensor]:
        return g1.norm(), g2.norm()

    def right(g1: Tensor, g2: Tensor) -> Tensor:
        return imtl_g(torch.stack([g1, g2]))

    def swapped(g1: Tensor, g2: Tensor) -> Tensor:
        a, b = weights(g1, g2)
        return (a * g1 + b * g2) / (a + b)

    def equal_products(g1: Tensor, g2: Tensor) -> Tensor:
        a = (g2 - g1) @ g2 / (g1 - g2).square().sum()
        return a * g1 + (1 - a) * g2

    small = (torch.tensor([4.0, 0.0]).double(), torch.tensor([0.0, 1.0]).double())
    message = compare(
        answer,
        right,
        [small, *draws(lambda g: (3 * _drawn(g, 4), _drawn(g, 4)))],
        slips={
            "that is the mean: the longer gradient pulls the direction to its side.": (
                lambda g1, g2: (g1 + g2) / 2
            ),
            "the direction is right, but the weights of g1 and g2 must sum to 1.": (
                lambda g1, g2: g1 / g1.norm() + g2 / g2.norm()
            ),
            "those are equal *products* with the direction, as in MGDA; equal cosines divide by "
            "the lengths.": equal_products,
            "the weights are the wrong way round: the longer gradient needs the smaller one.": (
                swapped
            ),
            "you halved the sum of the unit vectors; it is 1/|g1| and 1/|g2|, scaled, that must "
            "sum to 1.": lambda g1, g2: (g1 / g1.norm() + g2 / g2.norm()) / 2,
        },
    )
    return message or inputs_left_alone(answer, small, ["g1", "g2"])


UNITS = {
    "equal": (False, "its gradient is ten times longer, and its weight is still 1"),
    "geometric": (True, "the gradient of log L does not know the unit, and the rest is common"),
    "famo": (True, "it follows log L, whose gradient does not know the unit"),
    "uncertainty": (False, "sigma starts at 1 and has not learned anything at the first step"),
    "imtl_l": (False, "its scales start at 1 and have not learned anything at the first step"),
    "dwa": (False, "it looks at ratios of old losses, and at the first step there are none"),
}


@exercise(
    "04.7",
    "Another unit",
    kind="tell apart",
    difficulty=2,
    minutes=5,
    right="what works on log L is blind to units at once; what learns needs time.",
)
def unit(answer: Mapping[str, bool]) -> str | None:
    """Check ``{balance: bool}``: does the first step's direction stay when a unit changes?"""
    if set(answer) != set(UNITS):
        return f"answer True or False for each of: {', '.join(UNITS)}."
    for name, (stays, reason) in UNITS.items():
        found = said_yes(answer[name])
        if found is None:
            return f"{name}: answer True or False; found {show(answer[name])}."
        if found != stays:
            return f"{name}: the direction {'stays' if stays else 'turns'}: {reason}."
    return None


@exercise(
    "04.8",
    "Two averages",
    kind="fill one step",
    difficulty=2,
    minutes=5,
    right="a task with five metrics counts five times in one average and once in the other.",
)
def two_averages(answer: Callable[..., Any]) -> str | None:
    """Check ``two_averages(gains)``: {task: [gain, ...]} -> (per metric, per task)."""

    def right(gains: Mapping[str, Sequence[float]]) -> tuple[float, float]:
        by_metric = [value for values in gains.values() for value in values]
        by_task = [sum(values) / len(values) for values in gains.values()]
        return sum(by_metric) / len(by_metric), sum(by_task) / len(by_task)

    def case(g: torch.Generator) -> tuple[dict[str, list[float]]]:
        return (
            {"a": _drawn(g, 1).tolist(), "b": _drawn(g, 2).tolist(), "c": _drawn(g, 5).tolist()},
        )

    return compare(
        answer,
        right,
        [({"one": [6.0], "three": [-1.0, -2.0, -3.0]},), *draws(case)],
        slips={
            "the right two numbers in the wrong order: first per metric, then per task.": (
                lambda gains: right(gains)[::-1]
            ),
            "you added the tasks' means up; divide by the number of tasks.": (
                lambda gains: (right(gains)[0], right(gains)[1] * len(gains))
            ),
            "both numbers average over all metrics: for the second, average within a task first.": (
                lambda gains: (right(gains)[0],) * 2
            ),
            "both numbers average over tasks: in the first every metric counts the same.": (
                lambda gains: (right(gains)[1],) * 2
            ),
            "the sign is turned: here positive means better.": (
                lambda gains: tuple(-value for value in right(gains))
            ),
        },
    )


@exercise(
    "04.9",
    "Break PCGrad",
    kind="adversarial",
    difficulty=3,
    minutes=8,
    right="a later projection may undo an earlier one, so one by one is no promise.",
)
def break_pcgrad(answer: Any) -> str | None:
    """Check a [3, 2] tensor of gradients for which PCGrad clearly harms a task in every order."""
    grads = as_numbers(answer, "a gradient")
    if grads.shape != (3, 2):
        return f"give three gradients of two numbers each, shape [3, 2]; found {list(grads.shape)}."
    if (grads.norm(dim=1) == 0).any():
        return "a gradient of length 0 has no wishes; give all three a length."
    if (grads @ grads.T >= 0).all():
        return "no two of them conflict, so PCGrad has nothing to do and gives the sum."
    single = [[p for p in itertools.permutations(range(3)) if p[0] == k] for k in range(3)]
    every = list(itertools.product(*single))
    lengths, harmed = grads.norm(dim=1), 0
    for orders in every:
        direction = pcgrad(grads, orders=orders)
        size = direction.norm()
        moves = bool(size >= 0.05 * lengths.max())
        harmed += moves and bool((grads @ direction < -0.05 * lengths * size).any())
    if harmed == len(every):
        return None
    room = _room(grads)
    if room > 1e-6:
        return f"clear harm in {harmed} of the {len(every)} orders: these leave a wedge of " + (
            "directions that help all three. Close it."
        )
    if harmed == 0:
        return f"none of the {len(every)} orders makes a task clearly worse here."
    return (
        f"a task is made clearly worse in {harmed} of the {len(every)} orders; all are asked for."
    )


def _room(grads: Tensor) -> float:
    """Give the best smallest cosine that any direction of the plane has with all gradients."""
    turns = torch.linspace(0, 2 * torch.pi, 3601, dtype=torch.float64)
    circle = torch.stack([turns.cos(), turns.sin()])
    return float(((grads / grads.norm(dim=1, keepdim=True)) @ circle).min(0).values.max())
