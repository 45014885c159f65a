"""The checks of lesson 05, second half: dropout, sharing and long chains of layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtl_helpers.teaching.exercises.answers import as_numbers, compare, draws, not_a_function, same
from mtl_helpers.teaching.exercises.core import exercise

F64 = torch.float64


@exercise(
    "05.7",
    "Half the units, half the signal",
    kind="bug hunt",
    difficulty=1,
    minutes=3,
    right="what is kept grows by 1/(1 - p) while training, so that eval mode need do nothing.",
)
def dropped(answer: Callable[..., Any]) -> str | None:
    """Check ``dropped(x, mask, p, training)``: inverted dropout with a mask of 0 and 1."""

    def right(x: Tensor, mask: Tensor, p: float, training: bool) -> Tensor:
        return x * mask / (1 - p) if training else x

    def either(way: Callable[[Tensor, Tensor, float], Tensor], off: Callable[..., Tensor]) -> Any:
        return lambda x, mask, p, training: way(x, mask, p) if training else off(x, p)

    def case(g: torch.Generator) -> tuple[Any, ...]:
        x = torch.randn(3, 4, generator=g, dtype=F64)
        p = 0.1 + 0.8 * float(torch.rand(1, generator=g, dtype=F64))
        mask = (torch.rand(3, 4, generator=g, dtype=F64) > p).to(F64)
        mask[0, :2] = torch.tensor([1.0, 0.0])
        return x, mask, p, bool(torch.rand(1, generator=g) > 0.5)

    x, mask = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.0, 0.0, 1.0, 1.0])
    cases = [(x, mask, 0.2, True), (x, mask, 0.2, False), *draws(case, 6)]
    stay = lambda x, p: x  # noqa: E731
    return compare(
        answer,
        right,
        cases,
        slips={
            "the kept ones still come out at their own size, so the mean shrinks to 1 - p of what "
            "eval mode gives.": either(lambda x, m, p: x * m, stay),
            "that is the first form of dropout (Srivastava et al. 2014): it shrinks in eval mode. "
            "It is consistent too; here eval mode shall give x, so scale while training.": either(
                lambda x, m, p: x * m, lambda x, p: x * (1 - p)
            ),
            "you divided by p. A unit is *kept* with probability 1 - p: divide by that.": either(
                lambda x, m, p: x * m / p, stay
            ),
            "you multiplied by 1 - p: what is left then shrinks twice. Divide.": either(
                lambda x, m, p: x * m * (1 - p), stay
            ),
            "you divided by the share that this mask happens to keep. The mean over masks is then "
            "off; divide by 1 - p.": either(lambda x, m, p: x * m / m.mean(), stay),
            "eval mode is scaled as well: there nothing was dropped, so give x.": either(
                lambda x, m, p: x * m / (1 - p), lambda x, p: x / (1 - p)
            ),
            "the mask is used in eval mode as well: there give x.": (
                lambda x, mask, p, training: x * mask / (1 - p)
            ),
        },
    )


@exercise(
    "05.8",
    "The penalty in disguise",
    kind="fill one step",
    difficulty=2,
    minutes=6,
    right="dropout on the inputs of a linear model is weight decay, input by input, in the "
    "data's own units.",
)
def penalty(answer: Callable[..., Any]) -> str | None:
    """Check ``penalty(inputs, weights, p)``: what dropout adds to the expected squared error."""

    def right(inputs: Tensor, weights: Tensor, p: float) -> Tensor:
        return p / (1 - p) * (weights.square() * inputs.square().mean(0)).sum()

    def case(g: torch.Generator) -> tuple[Tensor, Tensor, float]:
        inputs = torch.randn(6, 3, generator=g, dtype=F64) + 1
        weights = torch.randn(3, generator=g, dtype=F64)
        return inputs, weights, 0.1 + 0.7 * float(torch.rand(1, generator=g, dtype=F64))

    small = (torch.tensor([[1.0, 0.0], [3.0, 2.0]]), torch.tensor([1.0, 2.0]), 0.2)
    return compare(
        answer,
        right,
        [small, *draws(case)],
        slips={
            "that is plain weight decay: each input's size is missing.": (
                lambda x, w, p: p / (1 - p) * w.square().sum()
            ),
            "the factor is missing: one input's noise has variance p / (1 - p) times its square.": (
                lambda x, w, p: (w.square() * x.square().mean(0)).sum()
            ),
            "the factor belongs to dropout without its 1/(1 - p): there the variance of a mask is "
            "p (1 - p); divide by (1 - p) squared.": (
                lambda x, w, p: p * (1 - p) * (w.square() * x.square().mean(0)).sum()
            ),
            "you summed over the examples; the loss is their mean.": (
                lambda x, w, p: p / (1 - p) * (w.square() * x.square()).sum()
            ),
            "you squared the mean of each input; take the mean of the squares.": (
                lambda x, w, p: p / (1 - p) * (w.square() * x.mean(0).square()).sum()
            ),
            "you squared the whole prediction: the masks of two inputs are independent, so their "
            "products cancel. Square input by input.": (
                lambda x, w, p: p / (1 - p) * (x @ w).square().mean()
            ),
            "you took the variance of each input. Dropout pulls to 0, not to the mean, so it is "
            "the mean square.": (
                lambda x, w, p: p / (1 - p) * (w.square() * x.var(0, correction=0)).sum()
            ),
            "the weights enter squared: noise in w x has variance w squared times that of x.": (
                lambda x, w, p: p / (1 - p) * (w.abs() * x.square().mean(0)).sum()
            ),
            "you turned the factor round: with p near 0 hardly anything is dropped, and the "
            "penalty must vanish.": (
                lambda x, w, p: (1 - p) / p * (w.square() * x.square().mean(0)).sum()
            ),
        },
    )


class _Dropping(nn.Module):
    """A network with a rate ``p``; its forward pass is the learner's function."""

    def __init__(self, forward: Callable[..., Any], p: float) -> None:
        super().__init__()
        self.answer, self.p = forward, p
        self.first, self.head = nn.Linear(3, 400, dtype=F64), nn.Linear(400, 400, dtype=F64)
        nn.init.eye_(self.head.weight)
        nn.init.ones_(self.head.bias)  # so that a dropped feature and a dropped output differ

    def forward(self, inputs: Tensor) -> Tensor:
        return self.answer(self, inputs)


@exercise(
    "05.9",
    "The score that trembles",
    kind="bug hunt",
    difficulty=2,
    minutes=5,
    right="F.dropout does not know the model's mode: hand it `self.training`, or use nn.Dropout.",
)
def steady(answer: Callable[..., Any]) -> str | None:
    """Check ``forward(self, inputs)``: dropout at rate ``self.p`` in training mode only."""
    if message := not_a_function(answer):
        return message
    inputs = torch.ones(6, 3, dtype=F64)
    for p in (0.25, 0.6):
        model = _Dropping(answer, p)
        found = model.eval()(inputs)
        features = torch.relu(model.first(inputs))
        if problem := _eval_problem(model, inputs, found, features):
            return problem
        out = model.train()(inputs)
        if not model.training or not model.first.training:
            return "the forward pass changed the model's mode; that is the business of the caller."
        if problem := _train_problem(out, features, p):
            return problem
        if torch.autograd.grad(out.sum(), model.first.weight, allow_unused=True)[0] is None:
            return "no gradient reaches the first layer: leave out detach."
        if torch.equal(out, model(inputs)):
            return "two training passes have the same mask: leave the random seed alone."
    return None


def _eval_problem(model: nn.Module, x: Tensor, found: Tensor, features: Tensor) -> str | None:
    """Say what is wrong with a forward pass in eval mode."""
    if not isinstance(found, Tensor) or found.shape != features.shape:
        return f"give back the head's outputs, of shape {list(features.shape)}."
    if not torch.equal(found, model(x)):
        return (
            "after model.eval() two passes over the same inputs still differ: F.dropout's own "
            "`training` is True unless you say otherwise, and an nn.Dropout made inside forward is "
            "always in training."
        )
    if same(found, features + 1):
        return (
            "in eval mode the outputs are not those of the same layers without dropout; nothing is "
            "scaled there."
        )
    return None


def _train_problem(out: Tensor, features: Tensor, p: float) -> str | None:
    """Say what is wrong with a forward pass in training mode, from its zeros and its sizes."""
    if (out == 0).any():
        return "you dropped outputs of the head; drop the features that go into it."
    alive = features > 0
    if (out[~alive] < 1).any():
        return (
            "features that were 0 come out below 0: ordinary dropout, F.dropout, leaves a 0 at 0."
        )
    if (out[~alive] != 1).any():
        return (
            "features that were 0 come out as something else: ordinary dropout leaves a 0 at 0, "
            "and the inputs are not what to drop. Drop the features, after the ReLU."
        )
    gone = float((out[alive] == 1).to(F64).mean())
    if gone == 0:
        return "now nothing is dropped while training either: the network lost its dropout."
    if abs(gone - p) > 0.08:
        return (
            f"while training {100 * gone:.0f} % of the active features are dropped; the model's "
            f"rate self.p is {p:g}. Drop once, at that rate."
        )
    if torch.equal(out[0] == 1, out[1] == 1):  # the inputs of all rows are the same
        return "all examples of a batch lost the same features; each needs its own draw."
    kept = alive & (out != 1)
    if not torch.allclose(out[kept] - 1, (features / (1 - p))[kept]):
        return "what is kept is not divided by 1 - p while training."
    if not out.requires_grad:
        return "no gradient flows any more: leave out no_grad and detach."
    return None


class _Trunk(nn.Module):
    """A trunk with dropout that counts its runs and keeps what each got and gave."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 12, dtype=F64), nn.Dropout(0.5))
        self.got: list[Tensor] = []
        self.gave: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.got.append(inputs)
        self.gave.append(self.layers(inputs))
        return self.gave[-1]


@exercise(
    "05.10",
    "Draws that do not belong together",
    kind="bug hunt",
    difficulty=2,
    minutes=5,
    right="draw i of every task comes from one and the same thinned network, at half the price.",
)
def joint_draws(answer: Callable[..., Any]) -> str | None:
    """Check ``joint_draws(trunk, heads, inputs, draws)`` -> {name: [draws, N, outputs]}."""
    if message := not_a_function(answer):
        return message
    trunk = _Trunk()
    heads = nn.ModuleDict({"left": nn.Linear(12, 2, dtype=F64), "right": nn.Linear(12, 3).to(F64)})
    inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=F64)
    found = answer(trunk, heads, inputs, 5)
    if not isinstance(found, Mapping) or set(found) != set(heads):
        return "give a dictionary with one tensor for each name in `heads`."
    shapes = {name: (5, 4, head.out_features) for name, head in heads.items()}
    for name, shape in shapes.items():
        if not isinstance(found[name], Tensor) or found[name].shape != shape:
            got = list(found[name].shape) if isinstance(found[name], Tensor) else "no tensor"
            return f"{name!r}: expected draws x examples x outputs, {list(shape)}; found {got}."
    runs, features = len(trunk.gave), trunk.gave
    at_once = _all_draws(trunk, inputs, 5) if runs == 1 else None
    if at_once is not None:
        runs, features = 5, at_once
    if runs == 10:
        return (
            "the trunk still runs once a task and a draw, 10 times: run it once a draw, and give "
            "every head the same features."
        )
    if runs < 5:
        return (
            f"the trunk ran {runs} time(s) for 5 draws: every draw needs masks of its own. Repeat "
            "the run, not its result."
        )
    if runs > 5:
        return f"the trunk ran {runs} times for 5 draws; one run a draw serves all heads."
    if torch.equal(features[0], features[1]):
        return "every draw has the same masks: is the dropout switched off, or the seed set anew?"
    expected = {n: torch.stack([head(z) for z in features]) for n, head in heads.items()}
    for name in heads:
        if problem := same(found[name], expected[name]):
            return f"{name!r}: its draws are not its head on the trunk's runs, in order: {problem}."
    return None


def _all_draws(trunk: _Trunk, inputs: Tensor, count: int) -> list[Tensor] | None:
    """Give the features by draw of one run over ``count`` copies of all inputs, if it was one."""
    got, gave = trunk.got[0], trunk.gave[0]
    if got.numel() != count * inputs.numel():
        return None
    got, gave = got.reshape(-1, inputs.shape[1]), gave.reshape(count * len(inputs), -1)
    if torch.equal(got, inputs.repeat(count, 1)):
        return list(gave.unflatten(0, (count, len(inputs))))
    if torch.equal(got, inputs.repeat_interleave(count, 0)):
        return list(gave.unflatten(0, (len(inputs), count)).transpose(0, 1))
    return None


@exercise(
    "05.11",
    "Does it add up?",
    kind="explain with numbers",
    difficulty=2,
    minutes=4,
    right="adding up means: the gain of both together is the sum of the two gains, seed by seed.",
)
def beyond_sum(answer: Callable[..., Any]) -> str | None:
    """Check ``beyond_sum(none, sharing, other, both)``: the interaction, seed by seed, [S]."""

    def right(none: Tensor, sharing: Tensor, other: Tensor, both: Tensor) -> Tensor:
        return (both - none) - (sharing - none) - (other - none)

    def case(g: torch.Generator) -> tuple[Tensor, ...]:
        return tuple(80 + 10 * torch.rand(4, 6, generator=g, dtype=F64))

    small = tuple(torch.tensor(v) for v in ([80.0, 82.0], [84.0, 83.0], [83.0, 86.0], [85.0, 88.0]))
    return compare(
        answer,
        right,
        [small, *draws(case)],
        slips={
            "that is what both gain together; compare it with the sum of the two single gains.": (
                lambda none, sharing, other, both: both - none
            ),
            "that is what both gain beyond sharing alone; the other one's own gain is still in "
            "it.": lambda none, sharing, other, both: both - sharing,
            "that is what both gain beyond the other one alone; sharing's own gain is still in "
            "it.": lambda none, sharing, other, both: both - other,
            "you subtracted accuracies; subtract *gains*, so that `none` comes in once more.": (
                lambda none, sharing, other, both: both - sharing - other
            ),
            "the wrong way round: here a negative number shall mean that both together bring less "
            "than their sum.": lambda none, sharing, other, both: sharing + other - both - none,
            "you compared both with the better of the two; adding up asks for their sum.": (
                lambda none, sharing, other, both: both - torch.maximum(sharing, other)
            ),
            "you averaged over the seeds; keep one number a seed, the interval needs them.": (
                lambda none, sharing, other, both: (both - sharing - other + none).mean()
            ),
        },
    )


@exercise(
    "05.12",
    "The clipping that takes sides",
    kind="adversarial",
    difficulty=3,
    minutes=6,
    right="clipping number by number turns the gradient, and the turned one can harm a task; "
    "clipping its length never turns it.",
)
def takes_sides(answer: Sequence[Any]) -> str | None:
    """Check ``[g1, g2]``: their sum helps both tasks; clipped by value at 1 it harms one."""
    rows = [as_numbers(row, "a gradient", finite=False) for row in answer]
    if len(rows) != 2 or any(row.shape != (2,) for row in rows):
        return "give two gradients of two numbers each."
    if not all((row.abs() < 1e6).all() for row in rows):
        return "a gradient holds nan, infinity or a number above a million; give smaller ones."
    total = rows[0] + rows[1]
    products = [float(row @ total) for row in rows]
    if min(products) < 0:
        worse = 1 + products.index(min(products))
        return (
            f"their sum harms task {worse} before anything is clipped: their product is "
            f"{min(products):.3g}."
        )
    if min(products) == 0:
        return "their sum does not help both tasks: a product is 0."
    clipped = total.clamp(-1, 1)
    if torch.equal(clipped, total):
        return f"nothing is clipped: both numbers of the sum, {_pair(total)}, lie within -1 and 1."
    after = [float(row @ clipped) for row in rows]
    lengths = [float(row.norm() * clipped.norm()) for row in rows]
    cosines = [a / n for a, n in zip(after, lengths, strict=True)]
    if min(cosines) >= 0:
        return (
            f"the sum {_pair(total)} becomes {_pair(clipped)}; its products with the gradients, "
            f"{after[0]:.3g} and {after[1]:.3g}, are not negative: no task is harmed."
        )
    if min(cosines) > -0.05:
        return f"nearly: the cosine is {min(cosines):.3f}; make it clearer, below -0.05."
    return None


def _pair(vector: Tensor) -> str:
    return "(" + ", ".join(f"{number:.3g}" for number in vector.tolist()) + ")"


@exercise(
    "05.13",
    "The mode nobody set",
    kind="bug hunt",
    difficulty=1,
    minutes=4,
    right="eval mode for measuring, and the mode put back: the next epoch needs its dropout.",
)
def measured(answer: Callable[..., Any]) -> str | None:
    """Check ``accuracy(model, inputs, targets)``: in eval mode, the mode put back."""
    if message := not_a_function(answer):
        return message
    torch.manual_seed(0)
    layers = nn.Linear(4, 30), nn.BatchNorm1d(30), nn.Dropout(0.5), nn.Linear(30, 10)
    model = nn.Sequential(*layers).to(F64)
    model.train()(3 + torch.randn(50, 4, dtype=F64))  # running averages of other data
    inputs = torch.randn(200, 4, dtype=F64)
    answers = model.eval()(inputs).argmax(1)
    for mode, wrong in ((True, 60), (False, 110)):
        targets = answers.clone()
        targets[:wrong] = (targets[:wrong] + 1) % 10
        model.train(mode)
        before = model[1].running_mean.clone()
        found = answer(model, inputs, targets)
        if not torch.equal(before, model[1].running_mean):
            return (
                "the model measures in training mode: dropout draws, and batch norm's running "
                "averages moved while you were only looking."
            )
        if model.training != mode or model[2].training != mode:
            now, was = ("training" if m else "eval" for m in (not mode, mode))
            return (
                f"the model was in {was} mode before the call, and you left it in {now} mode: put "
                "back what was."
            )
        if problem := same(found, 1 - wrong / 200):
            return f"the accuracy in eval mode is off: {problem}."
    return None
