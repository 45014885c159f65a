"""The checks of lesson 03, shared and task-specific layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mtl_helpers.lessons.lesson_03.deeper_exercises import *  # noqa: F403  (03.11 and up)
from mtl_helpers.teaching.exercises.answers import (
    NotAttemptedError,
    as_numbers,
    compare,
    draws,
    is_empty,
    said_yes,
    same,
)
from mtl_helpers.teaching.exercises.core import exercise
from mtl_helpers.teaching.exercises.testers import leaves_of, nodes_of

F64 = torch.float64


class _Counting(nn.Module):
    """A trunk with dropout that counts how often it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 8, dtype=F64), nn.Dropout(0.5))
        self.runs, self.was_training = 0, True

    def forward(self, inputs: Tensor) -> Tensor:
        self.runs += 1
        self.was_training = self.training
        self.last = self.layers(inputs)
        return self.last


@exercise(
    "03.1",
    "The trunk that ran twice",
    kind="bug hunt",
    difficulty=1,
    minutes=3,
    right="one run, one price, and every head sees the same features, dropout and all.",
)
def outputs_of_all(answer: Callable[..., Any]) -> str | None:
    """Check ``outputs_of_all(trunk, heads, x)``: the trunk runs once, and learns."""
    trunk = _Counting()
    heads = nn.ModuleDict({f"task_{k}": nn.Linear(8, k, dtype=F64) for k in (1, 2, 3)})
    x = torch.ones(4, 3, dtype=F64)
    found = answer(trunk, heads, x)
    if trunk.runs > 1:
        return f"the trunk still runs {trunk.runs} times for {len(heads)} heads: keep its features."
    if trunk.runs == 0:
        return "the trunk did not run at all: the heads need its features."
    if not isinstance(found, Mapping) or set(found) != set(heads):
        return "give a dictionary with one output for each name in `heads`."
    if not trunk.was_training and trunk.training:
        return "the trunk ran without dropout: eval() around its run hides the fault, no more."
    if not trunk.was_training:
        return "you switched dropout off with eval(): that hides the fault, and training loses it."
    if not trunk.training:
        return "the trunk ran with dropout, but you left it in eval(): the next step has none."
    for name, head in heads.items():
        if same(found[name], head(trunk.last)):
            return f"the output of {name!r} is not its head on the features of the trunk."
        if not found[name].requires_grad:
            return "no gradient flows any more: leave out no_grad and detach."
        (slope,) = torch.autograd.grad(
            found[name].sum(), trunk.layers[0].weight, retain_graph=True, allow_unused=True
        )
        if slope is None:
            return "no gradient reaches the trunk any more: leave out detach."
    return None


@exercise(
    "03.2",
    "What a split costs",
    kind="fill one step",
    difficulty=1,
    minutes=3,
    right="the shared layers count once, what lies behind the split once a task.",
)
def split_parameters(answer: Callable[..., Any]) -> str | None:
    """Check ``split_parameters(widths, outputs, shared)``: parameters of a network cut in two."""

    def right(widths: Sequence[int], outputs: Sequence[int], shared: int) -> int:
        return general(widths, outputs, shared)

    def general(widths: Sequence[int], outputs: Sequence[int], shared: int, kind: str = "") -> int:
        bias = 0 if kind == "bias" else 1
        layers = [(a + bias) * b for a, b in pairwise(widths)]
        heads = [(widths[-1] + bias) * n for n in outputs]
        first = sum(layers[:shared]) * (len(outputs) if kind == "each" else 1)
        rest = sum(layers[shared:]) * (1 if kind == "once" else len(outputs))
        if kind == "turned":
            first, rest = sum(layers[:shared]) * len(outputs), sum(layers[shared:])
        return first + rest + (0 if kind == "heads" else sum(heads))

    def slip(kind: str) -> Callable[..., int]:
        return lambda widths, outputs, shared: general(widths, outputs, shared, kind)

    def case(g: torch.Generator) -> tuple[list[int], list[int], int]:
        widths = torch.randint(2, 9, (5,), generator=g).tolist()
        outputs = torch.randint(1, 6, (3,), generator=g).tolist()
        return widths, outputs, int(torch.randint(0, 5, (), generator=g))

    return compare(
        answer,
        right,
        [([3, 4, 2], [1, 5], 1), ([3, 4, 2], [1, 5], 0), ([3, 4, 2], [1, 5], 2), *draws(case)],
        slips={
            "you left out the biases: a linear layer from a to b numbers has (a + 1) b of them.": (
                slip("bias")
            ),
            "you left out the heads: each task has a last layer of its own.": slip("heads"),
            "you counted the layers behind the split once; every task has its own copy.": (
                slip("once")
            ),
            "you counted the shared layers once for every task; sharing is that they count once.": (
                slip("each")
            ),
            "you took the shared layers for the own ones: the first `shared` layers count once.": (
                slip("turned")
            ),
        },
    )


@exercise(
    "03.3",
    "Read the split",
    given=("table",),
    kind="explain with numbers",
    difficulty=2,
    minutes=3,
    right="the lowest mean finds a neighbourhood; how sure the order is, only the pairs can say.",
)
def read_split(answers: Any, table: Mapping[tuple[int, int], Tensor]) -> str | None:
    """Check the best split of each depth, and whether it surely beats everything and nothing.

    Args:
        answers: {depth: (split with the lowest mean, "yes" or "no")}; "yes" when the 95 % paired
            interval of that split minus the fully shared network lies below 0.
        table: {(depth, split): RMSE of every seed}.
    """
    from mtl_helpers.metrics import paired_interval

    depths = sorted({depth for depth, _ in table})
    splits = sorted({split for _, split in table})
    if not isinstance(answers, Mapping) or set(answers) != set(depths):
        return f"give an answer for each depth: {depths}."
    for depth in depths:
        best = min(splits, key=lambda split: float(table[depth, split].mean()))
        if not isinstance(answers[depth], tuple | list) or len(answers[depth]) != 2:
            return f"depth {depth}: give two things, the split and 'yes' or 'no'."
        split, sure = answers[depth]
        if same(split, best) is not None:
            means = float(table[depth, best].mean())
            if split in splits:
                return (
                    f"depth {depth}: the mean RMSE at split {split} is "
                    f"{float(table[depth, split].mean()):.3f}, and another split has {means:.3f}."
                )
            return f"depth {depth}: there is no split {split!r}; there are {splits}."
        if best == splits[-1]:
            truth = False
        else:
            pair = paired_interval(table[depth, best], table[depth, splits[-1]])
            truth = pair.high < 0
        said = said_yes(sure)
        if said is None:
            return f"depth {depth}: the second thing is 'yes' or 'no'."
        if said != truth:
            if best == splits[-1]:
                return f"depth {depth}: the best split is full sharing; it cannot beat itself."
            return (
                f"depth {depth}: the split is right; the paired difference from full sharing is "
                f"{pair:.3f}. Does the interval lie below 0?"
            )
    return None


@exercise(
    "03.4",
    "Three stitches",
    kind="tweak and predict",
    difficulty=1,
    minutes=2,
    right="the identity cuts the thread, equal rows make one network of two, and off-diagonal "
    "ones swap.",
)
def three_stitches(answers: Any) -> str | None:
    """Check three 2 x 2 stitches: separate, the same for both, swapped."""
    wanted = {"separate", "same", "swapped"}
    if not isinstance(answers, Mapping) or set(answers) != wanted:
        return "give a stitch for each of 'separate', 'same' and 'swapped'."
    if is_empty(answers):
        raise NotAttemptedError
    a = {name: as_numbers(value, repr(name)) for name, value in answers.items()}
    for name, value in a.items():
        if value.shape != (2, 2):
            return f"{name!r}: a stitch of two tasks is a 2 x 2 matrix; found {list(value.shape)}."
    same_rows = a["same"] @ torch.tensor([3.0, 7.0], dtype=F64)
    if not torch.equal(a["separate"], torch.eye(2, dtype=F64)):
        if (a["separate"].diagonal() == 1).all():
            return "'separate': something off the diagonal still lets the other task in."
        return "'separate': every task must go on with its own features, unchanged."
    if same_rows[0] != same_rows[1]:
        return "'same': for features 3 and 7 the two tasks go on with different numbers."
    if not torch.allclose(a["same"], torch.full((2, 2), 0.5, dtype=F64)):
        return "'same': they agree, but on something else than the mean of both."
    if torch.equal(a["swapped"], a["separate"]):
        return "'swapped': that is 'separate' again. Row k says what task k goes on with."
    if not torch.equal(a["swapped"], torch.eye(2, dtype=F64).flip(0)):
        return "'swapped': task 1 must go on with exactly task 2's features, and the reverse."
    return None


@exercise(
    "03.5",
    "Mix the experts",
    kind="fill one line",
    difficulty=2,
    minutes=3,
    right="every example has weights of its own; that is what a gate adds to a stitch.",
)
def mix(answer: Callable[..., Any]) -> str | None:
    """Check ``mix(scores, experts)``: [B, E], [E, B, F] -> [B, F] by softmax weights."""

    def right(scores: Tensor, experts: Tensor) -> Tensor:
        return torch.einsum("be,ebf->bf", scores.softmax(1), experts)

    def case(g: torch.Generator) -> tuple[Tensor, Tensor]:
        return (
            torch.randn(5, 3, generator=g, dtype=F64),
            torch.randn(3, 5, 2, generator=g, dtype=F64),
        )

    def square(g: torch.Generator) -> tuple[Tensor, Tensor]:
        return (
            torch.randn(4, 4, generator=g, dtype=F64),
            torch.randn(4, 4, 4, generator=g, dtype=F64),
        )

    return compare(
        answer,
        right,
        [*draws(case), *draws(square, 2)],
        slips={
            "the softmax runs over the examples (axis 0); an example's weights must add up to 1 "
            "over its experts (axis 1).": lambda s, e: torch.einsum("be,ebf->bf", s.softmax(0), e),
            "you forgot the softmax: the weights do not add up to 1.": (
                lambda s, e: torch.einsum("be,ebf->bf", s, e)
            ),
            "you used the mean gate of the batch: every example has a gate of its own.": (
                lambda s, e: torch.einsum("e,ebf->bf", s.softmax(1).mean(0), e)
            ),
            "you averaged over the experts; the weights already add up to 1.": (
                lambda s, e: right(s, e) / s.shape[1]
            ),
        },
    )


@exercise(
    "03.6",
    "Scale and shift a map",
    kind="fill one line",
    difficulty=2,
    minutes=2,
    right="one number a channel, whatever the size of the image.",
)
def film(answer: Callable[..., Any]) -> str | None:
    """Check ``film(x, gamma, beta)``: [B, C, H, W], [C], [C] -> [B, C, H, W]."""

    def right(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        return gamma[:, None, None] * x + beta[:, None, None]

    def case(shape: tuple[int, ...]) -> Callable[[torch.Generator], tuple[Tensor, Tensor, Tensor]]:
        def draw(g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
            x = torch.randn(shape, generator=g, dtype=F64)
            gamma, beta = torch.randn(2, shape[1], generator=g, dtype=F64)
            return x, gamma, beta

        return draw

    square = draws(case((3, 4, 4, 4)), 2)
    x, gamma, beta = square[0]
    try:
        on_width = same(answer(x, gamma, beta), gamma * x + beta) is None
    except RuntimeError:
        on_width = False
    if on_width:
        return (
            "gamma and beta [C] meet the last axis, the width: with 4 channels and 4 columns that "
            "runs and is wrong. Give them the shape [C, 1, 1]."
        )
    return compare(
        answer,
        right,
        [*draws(case((2, 3, 5, 6)), 2), *square, *draws(case((3, 3, 3, 2)), 1)],
        slips={
            "you scaled and did not shift: beta is missing.": lambda x, g, b: right(x, g, 0 * b),
            "you shifted first and scaled then: beta must not be multiplied by gamma.": (
                lambda x, g, b: right(x + b[:, None, None], g, 0 * b)
            ),
            "that is 1 + gamma; here gamma itself scales, and starts at 1.": (
                lambda x, g, b: right(x, 1 + g, b)
            ),
        },
    )


# ------------------------------------------------------------------------------ shapes clinic


def _built(make: Callable[..., Any], *values: Any) -> nn.Module:
    """Build the learner's model.

    Raises:
        TypeError: it is no module.
    """
    model = make(*values)
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected a module; found a {type(model).__name__}")
    return model.to(F64)


def _run(model: nn.Module, inputs: Tensor) -> Any:
    """Run a model; give what it gave, or in words why it did not."""
    try:
        return model(inputs)
    except NotImplementedError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:120]
        return f"{type(error).__name__}: {text}"


@exercise(
    "03.7",
    "Too many features",
    kind="bug hunt",
    difficulty=1,
    minutes=2,
    right="pooling halves height and width: 32 channels of 16 x 16 are 8192 numbers.",
)
def pooled_net(answer: Callable[..., Any]) -> str | None:
    """Check ``make_net()``: 3 x 32 x 32 images through one pooling to ten classes."""
    model = _built(answer)
    found = _run(model, torch.zeros(2, 3, 32, 32, dtype=F64))
    if isinstance(found, str):
        return f"it still does not take images of 3 x 32 x 32: {found}."
    if not isinstance(found, Tensor) or tuple(found.shape) != (2, 10):
        shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        return f"two images must give [2, 10]; found {shape}."
    if sum(p.numel() for p in model.parameters()) > 200_000:
        return (
            "it runs, but without the pooling: the linear layer has four times as many numbers "
            "as it needs. Mend the layer's size, not the pooling."
        )
    pixels = torch.randn(1, 3, 32, 32, dtype=F64, requires_grad=True)
    found = model.eval()(pixels)
    steps = " ".join(node.name() for node in nodes_of(found))
    for word, lost in (("Conv", "convolution"), ("Pool", "pooling")):
        if word not in steps:
            return f"it runs, but the {lost} is gone: mend the size of the linear layer alone."
    found.square().sum().backward()
    touched = (pixels.grad != 0).any(1)[0]
    corners = touched[:4, :4].any() and touched[-4:, -4:].any()
    if not (corners and touched[:4, -4:].any() and touched[-4:, :4].any()):
        return "it runs, but part of the image no longer reaches the output."
    return None


@exercise(
    "03.8",
    "Five columns, one target",
    kind="bug hunt",
    difficulty=2,
    minutes=2,
    right="choose the task's column first; then both sides have shape [B], for every B.",
)
def column_loss(answer: Callable[..., Any]) -> str | None:
    """Check ``column_loss(outputs, target, task)``: the squared error of one column."""

    def right(outputs: Tensor, target: Tensor, task: int) -> Tensor:
        return (outputs[:, task] - target).square().mean()

    def case(examples: int) -> Callable[[torch.Generator], tuple[Tensor, Tensor, int]]:
        def draw(g: torch.Generator) -> tuple[Tensor, Tensor, int]:
            outputs = torch.randn(examples, 5, generator=g, dtype=F64)
            return outputs, torch.randn(examples, generator=g, dtype=F64), examples % 5

        return draw

    def broadcast(outputs: Tensor, target: Tensor, task: int) -> Tensor:
        return (outputs - target).square().mean()

    if not callable(answer):
        return "give the check the function itself."
    five = draws(case(5), 2)
    if same(answer(*five[0]), broadcast(*five[0])) is None:
        return (
            "nothing is mended yet. With B = 5 it runs, and the five targets of five examples lie "
            "along the columns, the same in every row; with most other B it crashes."
        )
    wrong = compare(
        answer,
        right,
        [*five, *draws(case(3), 2), *draws(case(1), 2), *draws(case(7), 2)],
        slips={
            "the target was stretched into a column and met all five tasks: choose the task's "
            "column.": lambda o, t, k: broadcast(o, t[:, None], k),
            "that is a row, the five outputs of one example; a task's outputs are a column.": (
                lambda o, t, k: (o[min(k, len(o) - 1)] - t).square().mean()
            ),
            "outputs[:, task:task + 1] has shape [B, 1]; against [B] it becomes [B, B]. Use "
            "outputs[:, task].": lambda o, t, k: (o[:, [k]] - t).square().mean(),
            "that is always the first column; the task's number says which.": (
                lambda o, t, k: right(o, t, 0)
            ),
            "that is the sum over the examples; this loss is their mean.": (
                lambda o, t, k: right(o, t, k) * len(t)
            ),
        },
    )
    outputs, *others = five[1]
    return wrong or _no_gradient(answer(outputs.clone().requires_grad_(), *others))


def _no_gradient(loss: Any) -> str | None:
    """Say that a loss with the right value teaches nothing."""
    if isinstance(loss, Tensor) and loss.requires_grad:
        return None
    return (
        "the number is right, but no gradient flows back from it: nothing would learn. Leave out "
        "detach() and item()."
    )


@exercise(
    "03.9",
    "The heads nobody trained",
    kind="bug hunt",
    difficulty=2,
    minutes=3,
    right="a module finds what is registered: attributes, ModuleList, ModuleDict. Not a list.",
)
def registered_heads(answer: Callable[..., Any]) -> str | None:
    """Check ``make_model(outputs)``: every head is among the parameters and is saved."""
    outputs = {"kind": 4, "size": 1, "age": 2}
    model = _built(answer, outputs)
    x = torch.ones(3, 6, dtype=F64)
    found = _run(model, x)
    if isinstance(found, str):
        return f"it does not run on inputs of shape [3, 6]: {found}."
    if not isinstance(found, Mapping) or set(found) != set(outputs):
        return f"give a dictionary with one output for each of {list(outputs)}."
    for name, count in outputs.items():
        if tuple(found[name].shape) != (3, count):
            return f"{name!r} must have shape [3, {count}]; found {list(found[name].shape)}."
    ids = {id(p) for p in model.parameters()}
    for name in outputs:
        if not found[name].requires_grad:
            return f"no gradient can flow into the head of {name!r}."
    missed = [name for name, output in found.items() if set(leaves_of(output)) - ids]
    if missed:
        return (
            f"{len(missed)} of {len(outputs)} heads use parameters that model.parameters() does "
            "not give: the optimiser never sees them, and a saved model forgets them."
        )
    own = [set(leaves_of(output)) for output in found.values()]
    others = [set().union(*own[:i], *own[i + 1 :]) for i in range(len(own))]
    if bare := [name for name, mine, rest in zip(found, own, others, strict=True) if mine <= rest]:
        return (
            f"without a layer of its own: {', '.join(bare)}. (One wide layer cut in pieces learns "
            "as well; but nobody can save, freeze or count one head of it alone.)"
        )
    if not set.intersection(*own):
        if ids - set.union(*own):
            return "the trunk does not learn: no loss reaches it. Is it used, without detach()?"
        return "no parameter serves all tasks: the trunk is gone."
    saved = {name for name, _ in model.named_parameters()} - set(model.state_dict())
    return f"{sorted(saved)} are trained and not saved." if saved else None


@exercise(
    "03.10",
    "Which head is it?",
    kind="tell apart",
    difficulty=2,
    minutes=3,
    right="the shape of the answer names the head; five class scores for a whole image are no box.",
)
def which_head(answers: Any) -> str | None:
    """Check which head each of six outputs and losses belongs to."""
    right = {
        "a": "classification",
        "b": "segmentation",
        "c": "detection",
        "d": "keypoints",
        "e": "classification",
        "f": "detection",
    }
    why = {
        "a": "one set of scores for a whole image, and one class a image",
        "b": "a set of scores for every pixel",
        "c": "four numbers a place beside scores: where, how large, and what",
        "d": "a map a joint, and the place of its peak counts",
        "e": "five numbers an image are five class scores, whatever the variable is called",
        "f": "boxes are matched to boxes by their overlap, and ranked by score",
    }
    if not isinstance(answers, Mapping) or set(answers) != set(right):
        return f"give an answer for each of {', '.join(right)}."
    for key, expected in right.items():
        found = str(answers[key]).strip().casefold()
        if found not in set(right.values()):
            return f"{key}: choose one of {', '.join(sorted(set(right.values())))}."
        if found != expected:
            return f"{key} is not {found}: {why[key]}."
    return None
