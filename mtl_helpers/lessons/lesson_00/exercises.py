"""The checks of lesson 00, start here."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from mtl_helpers.datasets import overlapping_digits
from mtl_helpers.models import HardSharing, mlp
from mtl_helpers.tasks import classification
from mtl_helpers.teaching.exercises.answers import (
    NotAttemptedError,
    compare,
    draws,
    is_empty,
    not_a_function,
    same,
    show,
)
from mtl_helpers.teaching.exercises.core import exercise
from mtl_helpers.teaching.exercises.testers import gradient_reaches, inputs_left_alone
from mtl_helpers.teaching.exercises.values import error_text, numbers
from mtl_helpers.training import evaluate, fit


@exercise(
    "00.1",
    "One number out of two losses",
    kind="fill one line",
    difficulty=1,
    minutes=3,
    right="at 0.5 both tasks count the same; at 0 or 1 one of them is not learned at all.",
)
def joint_loss(answer: Callable[..., Any]) -> str | None:
    """Check ``joint_loss(left_loss, right_loss, weight)``."""

    def right(left_loss: Any, right_loss: Any, weight: float) -> Any:
        return weight * left_loss + (1 - weight) * right_loss

    def learning(*values: float) -> list[Tensor]:
        return [torch.tensor(value, requires_grad=True) for value in values]

    return compare(
        answer,
        right,
        [
            (2.0, 1.0, 0.75),
            (2.0, 3.0, 0.0),
            (2.0, 3.0, 1.0),
            *draws(lambda g: tuple(torch.rand(3, generator=g).tolist())),
        ],
        slips={
            "you gave the weight to the right task; it belongs to the left one.": (
                lambda left, right, weight: (1 - weight) * left + weight * right
            ),
            "you weighed the left loss only; the right one gets what is left over, 1 - weight.": (
                lambda left, right, weight: weight * left + right
            ),
            "you gave both losses the same weight, so the dial would do nothing between them.": (
                lambda left, right, weight: weight * (left + right)
            ),
            "that is the mean of the two; the weight does not appear in it.": (
                lambda left, right, weight: (left + right) / 2
            ),
            "you added both in full; the weight does nothing yet.": (
                lambda left, right, weight: left + right
            ),
            "put brackets round 1 - weight, and multiply the right loss by it.": (
                lambda left, right, weight: weight * left + 1 - weight * right
            ),
        },
    ) or (
        gradient_reaches(answer, (*learning(2.0, 1.0), 0.75), right=right)
        or inputs_left_alone(answer, (*learning(2.0, 1.0), 0.75), grads=True)
    )


@exercise(
    "00.2",
    "The accuracy that is off",
    kind="bug hunt",
    difficulty=2,
    minutes=4,
    right="score the whole set at once, or count the hits and divide once at the end.",
)
def accuracy(answer: Callable[..., Any]) -> str | None:
    """Check ``accuracy(scores, true, batch_size)``."""
    small = torch.tensor([[2.0, 0.0], [3.0, 1.0], [0.0, 1.0]], dtype=torch.float64)

    def case(g: torch.Generator, count: int = 11, size: int = 4) -> tuple[Tensor, Tensor, int]:
        scores = torch.randn(count, 3, generator=g, dtype=torch.float64)
        return scores, torch.randint(3, (count,), generator=g), size

    generator = torch.Generator().manual_seed(2)
    full, single = case(generator, 12, 4), case(generator, 5, 8)  # no rest; one short batch only

    def batch_means(scores: Tensor, true: Tensor, batch_size: int) -> Tensor:
        parts = zip(scores.split(batch_size), true.split(batch_size), strict=True)
        return torch.stack([(a.argmax(1) == b).double().mean() for a, b in parts]).mean()

    return compare(
        answer,
        lambda scores, true, batch_size: (scores.argmax(1) == true).double().mean(),
        [(small, torch.tensor([0, 0, 0]), 2), full, single, *draws(case)],
        slips={
            "that is still the mean of the batches' means: the short last batch counts as much as "
            "a full one.": batch_means,
            "you left out the last, short batch.": (
                lambda scores, true, batch_size: (
                    (scores.argmax(1) == true)[: len(true) // batch_size * batch_size]
                    .double()
                    .mean()
                )
            ),
            "give a fraction between 0 and 1, not a percentage.": (
                lambda scores, true, batch_size: 100 * (scores.argmax(1) == true).double().mean()
            ),
            "you count the hits but do not divide by the number of examples.": (
                lambda scores, true, batch_size: (scores.argmax(1) == true).sum()
            ),
            "you divide by the number of batches times the batch size, and the last batch is "
            "shorter than that.": (
                lambda scores, true, batch_size: (
                    (scores.argmax(1) == true).sum() / (len(scores.split(batch_size)) * batch_size)
                )
            ),
        },
    ) or inputs_left_alone(answer, full)


@exercise(
    "00.3",
    "Seed by seed",
    kind="fill one line",
    difficulty=2,
    minutes=4,
    right="each seed is compared with itself, so what makes a seed hard or easy cancels.",
)
def by_seed(answer: Callable[..., Any]) -> str | None:
    """Check ``by_seed(shared, separate)``: dictionaries from seed to accuracy."""

    def right(shared: Mapping[int, float], separate: Mapping[int, float]) -> dict[int, float]:
        return {seed: shared[seed] - separate[seed] for seed in shared if seed in separate}

    def case(g: torch.Generator) -> tuple[dict[int, float], dict[int, float]]:
        first, second = torch.randperm(6, generator=g), torch.randperm(6, generator=g)
        values = torch.rand(2, 6, generator=g).tolist()
        return (
            dict(zip(first[:5].tolist(), values[0], strict=False)),
            dict(zip(second[:4].tolist(), values[1], strict=False)),
        )

    if message := not_a_function(answer):
        return message
    small = ({0: 0.75, 1: 0.5, 2: 0.9}, {1: 0.75, 0: 0.5})
    zeros = ({0: 0.5, 1: 0.0, 2: 0.4}, {2: 0.0, 1: 0.3, 0: 0.5})  # a score of 0 is a score
    try:
        found = answer(*copy.deepcopy(small))
    except NotAttemptedError as blank:
        if "`[2]`" in str(blank):
            return "seed 2 is in one dictionary only: leave the seed out, do not give None for it."
        raise
    if is_empty(found):
        raise NotAttemptedError
    if not isinstance(found, Mapping):
        return f"give a dictionary with a difference for each seed; found {show(found)}."
    if set(found) != {0, 1}:
        return (
            f"shared has the seeds 0, 1 and 2, and separate has 1 and 0, so the seeds of the "
            f"result are 0 and 1; found {show(list(found))}."
        )
    return compare(
        answer,
        right,
        [small, zeros, *draws(case)],
        slips={
            "you subtracted the other way round; it is shared minus separate.": (
                lambda shared, separate: {k: -v for k, v in right(shared, separate).items()}
            ),
            "you paired by position; the two dictionaries have their seeds in different orders.": (
                lambda shared, separate: {
                    seed: one - two
                    for seed, one, two in zip(
                        shared, shared.values(), separate.values(), strict=False
                    )
                }
            ),
            "you dropped the sign; without it a loss looks like a gain.": (
                lambda shared, separate: {k: abs(v) for k, v in right(shared, separate).items()}
            ),
            "you subtracted the mean of all seeds; subtract the same seed's accuracy.": (
                lambda shared, separate: {
                    k: shared[k] - sum(separate.values()) / len(separate)
                    for k in right(shared, separate)
                }
            ),
            "you divided; the difference is asked for.": (
                lambda shared, separate: {
                    k: shared[k] / separate[k] for k in right(shared, separate)
                }
            ),
        },
    ) or inputs_left_alone(answer, small)


@exercise(
    "00.11",
    "One step by hand",
    kind="fill one step",
    difficulty=2,
    minutes=5,
    right="against the gradient, a little: that is all an optimiser of this kind does.",
)
def one_step(answer: Callable[..., Any]) -> str | None:
    """Check ``one_step(x, y, w, lr)``: the parameters after one step, [D]."""

    def gradient(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        return 2 / len(y) * x.T @ (x @ w - y)

    def case(g: torch.Generator) -> tuple[Tensor, Tensor, Tensor, float]:
        x = torch.randn(5, 3, generator=g, dtype=torch.float64)
        y, w = (torch.randn(n, generator=g, dtype=torch.float64) for n in (5, 3))
        return x, y, w, 0.05 + 0.2 * float(torch.rand((), generator=g))

    small = (
        torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64),
        torch.tensor([1.0, 0.0], dtype=torch.float64),
        torch.tensor([0.0, 1.0], dtype=torch.float64),
        0.1,
    )

    def slip(scale: float | str = 1.0, start: float = 1.0) -> Callable[..., Tensor]:
        def wrong(x: Tensor, y: Tensor, w: Tensor, lr: float) -> Tensor:
            factor = len(y) if scale == "sum" else scale
            return start * w - lr * factor * gradient(x, y, w)

        return wrong

    def right(x: Tensor, y: Tensor, w: Tensor, lr: float) -> Tensor:
        return w.detach() - lr * gradient(x, y, w.detach())

    message = compare(
        answer,
        right,
        [small, *draws(case)],
        slips={
            "you went up the slope: the step goes against the gradient, so subtract.": slip(-1.0),
            "you summed the squared errors; the loss is their mean, so divide by N.": slip("sum"),
            "the factor 2 of the square is missing.": slip(0.5),
            "that is the step alone; start from w.": slip(1.0, 0.0),
            "that is the step alone, and its sign is the other one; give w minus lr times the "
            "gradient.": slip(-1.0, 0.0),
            "that is the gradient; the parameters after the step are asked for.": (
                lambda x, y, w, lr: gradient(x, y, w)
            ),
            "the learning rate is missing: multiply the gradient by lr.": (
                lambda x, y, w, lr: w - gradient(x, y, w)
            ),
            "the parameters have not moved.": slip(0.0),
        },
    ) or inputs_left_alone(answer, small, grads=True)
    if message:
        return message
    recording = (*small[:2], small[2].clone().requires_grad_(), 0.3)
    try:
        found = answer(*copy.deepcopy(recording))
    except Exception as error:
        return f"when w records gradients your function fails ({error_text(error)}): {_START}"
    if different := same(found, right(*recording)):
        return f"when w records gradients your answer is off ({different}): {_START}"
    return inputs_left_alone(answer, recording, grads=True)


_START = "start from w.detach().clone().requires_grad_()."


@exercise(
    "00.12",
    "Starve a task",
    kind="adversarial",
    difficulty=2,
    minutes=4,
    right="an optimiser neglects what the sum neglects, and says nothing about it.",
)
def starving_weights(answer: Mapping[str, float]) -> str | None:
    """Check ``{"left": ..., "right": ...}`` by training with it as in lesson 00, for a second."""
    if not isinstance(answer, Mapping) or set(answer) != {"left", "right"}:
        return "give a dictionary with one weight for 'left' and one for 'right'."
    if any(isinstance(weight, str) for weight in answer.values()):
        return "write the weights as numbers, without quotation marks."
    if any(weight == 0 for weight in answer.values()):
        return "a weight of zero is too easy; both weights must be above 0."
    weights = {name: _one_number(weight) for name, weight in answer.items()}
    if not all(math.isfinite(weight) and weight > 0 for weight in weights.values()):
        return "each weight must be one finite number above 0."
    data = overlapping_digits()
    tasks = [classification("left", 10), classification("right", 10)]
    model = HardSharing.linear(mlp(120, [64]), tasks)
    try:
        fit(
            model,
            tasks,
            data.train,
            balance=weights,
            lr=3e-3,
            epochs=20,
            batch_size=50,
            progress=False,
        )
    except ValueError as error:
        return f"training refused these weights: {error}."
    left, right = (value["score"] for value in evaluate(model, tasks, data.test).values())
    found = f"(left head {left:.0%}, right head {right:.0%} of the test pictures)"
    if left > 0.5 and right > 0.5:
        return f"both heads still read more than half: make the weights more unequal {found}."
    if left < 0.5 and right < 0.5:
        return f"now neither head reads: starve the left one only {found}."
    return f"you starved the right task; the left one is asked for {found}." if left > 0.5 else None


def _one_number(value: Any) -> float:
    """Give a weight as a plain number, and ``nan`` where it is none."""
    found = numbers(value)
    if found is None or found.numel() != 1 or found.is_complex():
        return math.nan
    return float(found)


@exercise(
    "00.13",
    "Both at once",
    kind="explain with numbers",
    difficulty=1,
    minutes=3,
    right="with 0.9 and 0.8, both are correct on 0.72: less often than either alone.",
)
def both_right(answer: Callable[..., Any]) -> str | None:
    """Check ``both_right(left, right)``."""
    return compare(
        answer,
        lambda left, right: left * right,
        [(0.9, 0.8), *draws(lambda g: tuple(torch.rand(2, generator=g).tolist()))],
        slips={
            "you took the worse of the two; that would need every mistake of the better head to "
            "fall on a picture that the worse one also misreads.": min,
            "you averaged; a picture counts only when left and right are both read.": (
                lambda left, right: (left + right) / 2
            ),
            "that is the fraction with at least one correct; the question is for both.": (
                lambda left, right: left + right - left * right
            ),
            "you added the fractions; the result can be above 1, and a fraction cannot.": (
                lambda left, right: left + right
            ),
            "pictures that both heads misread are taken off twice.": (
                lambda left, right: left + right - 1
            ),
            "`and` gives back one of the two numbers; it does not combine them.": (
                lambda left, right: left and right
            ),
            "give a fraction between 0 and 1, not a percentage.": (
                lambda left, right: 100 * left * right
            ),
        },
    )


@exercise(
    "00.14",
    "What a second head costs",
    kind="fill one line",
    difficulty=1,
    minutes=3,
    right="the trunk is paid for once; only the heads are counted per task.",
)
def parameters_shared(answer: Callable[..., Any]) -> str | None:
    """Check ``parameters_shared(trunk, head, tasks)``."""
    cases = [
        (100, 10, 3),
        (100, 10, 1),
        *draws(lambda g: tuple(torch.randint(2, 999, (3,), generator=g).tolist())),
    ]
    message = compare(
        answer,
        lambda trunk, head, tasks: trunk + tasks * head,
        cases,
        slips={
            "that is the price of separate networks: you paid for the trunk once per task.": (
                lambda trunk, head, tasks: tasks * (trunk + head)
            ),
            "you counted one head only; every task needs its own.": (
                lambda trunk, head, tasks: trunk + head
            ),
            "you counted the trunk once per task and the head once; it is the other way round.": (
                lambda trunk, head, tasks: tasks * trunk + head
            ),
            "that fits two tasks only; use `tasks`.": lambda trunk, head, tasks: trunk + 2 * head,
            "add the trunk to the heads; do not multiply by it.": (
                lambda trunk, head, tasks: trunk * tasks * head
            ),
        },
    )
    return _overflow(answer, cases) or message if message else None


def _overflow(answer: Callable[..., Any], cases: Sequence[tuple]) -> str | None:
    """Say that a number has outgrown its type: it is off by a multiple of 2^8, 2^16 or 2^32."""
    for bits in (8, 16, 32):
        found = [numbers(answer(*case)) for case in cases]
        off = [
            None if f is None or f.numel() != 1 else float(f) - (trunk + tasks * head)
            for f, (trunk, head, tasks) in zip(found, cases, strict=True)
        ]
        if all(o is not None and o % 2**bits == 0 for o in off):
            return (
                f"the number has outgrown its type: whole numbers of {bits} bits start again from "
                "the other end. Use Python's own int, which has no limit."
            )
    return None


@exercise(
    "00.15",
    "One whole step",
    kind="fill one step",
    difficulty=2,
    minutes=8,
    right="forward once, two losses, one sum, one backward, one step.",
)
def training_step(answer: Callable[..., Any]) -> str | None:
    """Check ``training_step(model, optimizer, images, left, right)`` over three steps."""

    def step(
        model: Any,
        optimizer: Any,
        images: Tensor,
        left: Tensor,
        right: Tensor,
        clear: str = "before",
        tasks: tuple[int, ...] = (0, 1),
        times: float = 1.0,
        move: bool = True,
        swap: bool = False,
    ) -> Tensor:
        outputs = model(images)
        left, right = (right, left) if swap else (left, right)
        losses = [F.cross_entropy(outputs["left"], left), F.cross_entropy(outputs["right"], right)]
        loss = times * sum(losses[k] for k in tasks)
        if clear == "before":
            optimizer.zero_grad()
        loss.backward()
        if move:
            optimizer.step()
        if clear == "after":
            optimizer.zero_grad()
        return loss

    def after(one_step: Callable[..., Any], seed: int, count: int = 3, **slip: Any) -> list[Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            tasks = [classification("left", 3), classification("right", 3)]
            model = HardSharing.linear(mlp(4, [5]), tasks)
            given = [8 * torch.rand(6, 4, dtype=torch.float64) - 2, *torch.randint(3, (2, 6))]
            optimizer = torch.optim.SGD(model.parameters(), lr=0.02 * seed)
            for parameter in model.parameters():  # as if another step had gone before
                parameter.grad = torch.ones_like(parameter)
            start = parameters_to_vector(model.parameters()).detach()
            before = copy.deepcopy(given)
            for _ in range(count):
                loss = one_step(model, optimizer, *given, **slip)
            if not model.training:
                changed.append("leave the model in training mode (no model.eval()).")
            if same(given, before, tol=0.0):
                changed.append("your function changes the images or the labels it was given.")
        moved = parameters_to_vector(model.parameters()).detach() - start
        return [moved, loss]

    changed: list[str] = []
    found = [after(answer, seed) for seed in (1, 2)]
    expected = [after(step, seed) for seed in (1, 2)]
    if any(isinstance(f[-1], type(...)) for f in found) or same(found, expected) is None:
        return same(found, expected) or next(iter(changed), None)
    if changed:
        return changed[0]
    if not all(f[0].isfinite().all() for f in found):
        return "the parameters became nan or infinite: is the loss a sum of two cross-entropies?"
    slips: dict[str, dict[str, Any]] = {
        "the gradients of earlier steps are still there; call optimizer.zero_grad().": {
            "clear": "never"
        },
        "you clear after the step: what was left from before is in the first step; call "
        "optimizer.zero_grad() before backward.": {"clear": "after"},
        "nothing moves: a line is missing (backward, step), or the order is not zero_grad, "
        "backward, step.": {"move": False},
        "the left scores were compared with the right labels, and the other way round.": {
            "swap": True
        },
        "only the left loss is minimised; add the right one.": {"tasks": (0,)},
        "only the right loss is minimised; add the left one.": {"tasks": (1,)},
        "you averaged the two losses; here they are added.": {"times": 0.5},
    }
    for message, slip in slips.items():
        if same(found, [after(step, seed, **slip) for seed in (1, 2)]) is None:
            return message
    if same([f[:-1] for f in found], [e[:-1] for e in expected]) is None:
        return "the parameters are right, but return the sum of the two losses."
    left, right = (after(step, 1, count=1, tasks=(k,))[0] for k in (0, 1))
    return _what_it_did(after(answer, 1, count=1)[0], left, right)


def _what_it_did(moved: Tensor, left: Tensor, right: Tensor) -> str:
    """Describe a wrong first step by what the steps of the two losses alone would be, [P] each."""
    both = torch.stack([left, right], 1)
    parts = torch.linalg.lstsq(both, moved[:, None]).solution
    if same(moved, left + right) is None:
        return (
            "the first step is right and a later one is not: does your function change the "
            "optimiser, or keep something from one call to the next?"
        )
    still = (moved == 0) & (left + right != 0)
    if still.any() and same(moved[~still], (left + right)[~still]) is None:
        return f"{int(still.sum())} parameters did not move, and the others did: step with all."
    if same(both @ parts, moved[:, None]) is None:
        return (
            f"the first step goes {parts[0, 0]:.2f} times along the left loss's step, "
            f"{parts[1, 0]:.2f} times along the right one's; it should go once along each."
        )
    return (
        "the first step is not the one of this optimiser for these two losses. Is each loss "
        "F.cross_entropy of the head's scores as they are (no softmax, no argmax before it)? Does "
        "the optimiser that was given take the step, with the gradients as backward leaves them?"
    )
