"""The checks of lesson 03, shared and task-specific layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mtl_helpers.lessons.lesson_03 import deeper_exercises as deeper_exercises  # 03.11 and up
from mtl_helpers.metrics import mean_interval, paired_interval
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
from mtl_helpers.teaching.exercises.testers import (
    each_example_counts,
    gradient_reaches,
    inputs_left_alone,
    layers_stay,
    leaves_of,
    nodes_of,
    parameters_learn,
)

F64 = torch.float64


def _calls(modules: Iterable[nn.Module]) -> dict[int, int]:
    """Count, by id, how often modules run from now on."""
    counts: dict[int, int] = {}

    def ran(module: nn.Module, *_: Any) -> None:
        counts[id(module)] += 1

    for module in modules:
        counts[id(module)] = 0
        module.register_forward_hook(ran)
    return counts


# ------------------------------------------------------------------------------ the split


@exercise(
    "03.1",
    "Split where you like",
    kind="build",
    difficulty=2,
    minutes=7,
    right="one shared part that runs once, and for each task its own copy of the rest and a head.",
)
def split_network(answer: Callable[..., Any]) -> str | None:
    """Check ``split_network(widths, names, shared)``: a module, [B, D] -> {name: [B, 1]}."""
    if message := not_a_function(answer):
        return message
    for widths, names, shared in (
        ([3, 4, 5], ["a", "b"], 1),
        ([3, 4, 5], ["a", "b"], 0),
        ([3, 4, 5], ["a", "b", "c"], 2),
        ([11, 6, 6, 7], ["K Road", "Queen Street"], 2),
    ):
        network = answer(widths, list(names), shared)
        if is_empty(network):
            raise NotAttemptedError
        if not isinstance(network, nn.Module):
            return f"give a network, an nn.Module; found {show(network)}."
        if message := _split(network.to(F64), widths, names, shared):
            return f"split_network({widths}, {names}, {shared}): {message}"
    return None


def _split(
    network: nn.Module, widths: Sequence[int], names: Sequence[str], shared: int
) -> str | None:
    """Say what is wrong with one network of exercise 03.1."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(9, widths[0], generator=rng, dtype=F64)
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    counts = _calls(linear)
    found = network(x)
    runs = dict(counts)
    if not isinstance(found, Mapping) or set(found) != set(names):
        return f"it must give a dictionary with one output for each of {list(names)}."
    if wrong := [name for name in names if tuple(found[name].shape) != (9, 1)]:
        shape = list(found[wrong[0]].shape)
        return f"9 examples must give the shape [9, 1] for each task; found {shape}."
    if not all(found[name].requires_grad for name in names):
        return "no gradient flows: leave out detach and no_grad."
    if message := layers_stay(network, (x,)):
        return message
    if again := [module for module in linear if runs[id(module)] > 1]:
        count = runs[id(again[0])]
        return (
            f"a shared layer runs {count} times in one pass: run the shared part once, and keep "
            "its features."
        )
    if message := parameters_learn(network, (x,)) or each_example_counts(network, x):
        return message
    reached = {name: set(leaves_of(found[name])) for name in names}
    common = set.intersection(*reached.values())
    sizes = {id(p): p.numel() for p in network.parameters()}
    wanted = sum((a + 1) * b for a, b in list(pairwise(widths))[:shared])
    held = sum(sizes[key] for key in common)
    if held != wanted:
        return (
            f"{held} parameters are reached by the losses of all tasks; the first {shared} layers "
            f"hold {wanted}. "
            + ("Give each task a copy of its own of the later layers." if held > wanted
               else "Make the first layers once, for all tasks.")
        )  # fmt: skip
    rest = sum((a + 1) * b for a, b in list(pairwise(widths))[shared:]) + widths[-1] + 1
    for name in names:
        own = sum(sizes[key] for key in reached[name] - common)
        if own != rest:
            return (
                f"task {name!r} has {own} parameters of its own; its copy of the later layers and "
                f"its head hold {rest}."
            )
    with torch.no_grad():
        bent = network(x[:4] + x[4:8]), network(0 * x[:4]), network(x[:4]), network(x[4:8])
    first = names[0]
    bend = bent[0][first] + bent[1][first] - bent[2][first] - bent[3][first]
    if float(bend.abs().max()) < 1e-6:
        return "the network is linear: each layer is followed by a ReLU (`layers` has it)."
    return None


@exercise(
    "03.2",
    "What a split costs",
    kind="fill one step",
    difficulty=1,
    minutes=3,
    right="the shared layers count once, what comes after the split once per task.",
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
            "you counted the layers after the split once; every task has its own copy.": (
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


# ------------------------------------------------------------------------- stitches, mixtures


@exercise(
    "03.3",
    "One cross-stitch unit",
    kind="build",
    difficulty=2,
    minutes=4,
    right="row k of the stitch says what task k goes on with; the identity leaves all apart.",
)
def cross_stitch(answer: Callable[..., Any]) -> str | None:
    """Check ``cross_stitch(features, stitch)``: [K, B, F], [K, K] -> [K, B, F]."""

    def right(features: Tensor, stitch: Tensor) -> Tensor:
        return torch.einsum("kj,jbf->kbf", stitch, features)

    def case(k: int, b: int, f: int) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
        return lambda g: (
            torch.randn(k, b, f, generator=g, dtype=F64),
            torch.rand(k, k, generator=g, dtype=F64),
        )

    small = (
        torch.tensor([[[1.0, 2.0]], [[10.0, 20.0]]], dtype=F64),
        torch.tensor([[0.9, 0.1], [0.3, 0.7]], dtype=F64),
    )
    drawn = [*draws(case(2, 3, 4)), *draws(case(3, 3, 3), 2), *draws(case(4, 2, 5), 2)]
    wrong = compare(
        answer,
        right,
        [small, *drawn],
        slips={
            "rows and columns are exchanged: row k says what task k goes on with.": (
                lambda x, a: right(x, a.T)
            ),
            "you put a softmax on the stitch: here its numbers are used as they are.": (
                lambda x, a: right(x, a.softmax(1))
            ),
            "you divided each row by its sum: a stitch need not add up to 1.": (
                lambda x, a: right(x, a / a.sum(1, keepdim=True))
            ),
            "you kept only the diagonal: nothing crosses to another task.": (
                lambda x, a: a.diagonal()[:, None, None] * x
            ),
            "that is the sum over the columns for every task; the stitch weighs them.": (
                lambda x, a: x.sum(0, keepdim=True).expand_as(x)
            ),
            "you multiplied number by number; each task needs a sum over all columns.": (
                lambda x, a: a.sum(1)[:, None, None] * x
            ),
        },
    )
    return (
        wrong
        or gradient_reaches(answer, drawn[0], right=right)
        or inputs_left_alone(answer, drawn[0])
    )


@exercise(
    "03.4",
    "A mixture with its gates",
    kind="build",
    difficulty=3,
    minutes=6,
    right="each example has weights of its own, for each task; that is what a stitch cannot do.",
)
def mixture(answer: Callable[..., Any]) -> str | None:
    """Check ``mixture(x, experts, gates)``: every task's features, {name: [B, F]}."""
    if message := not_a_function(answer):
        return message
    for count, names, batch in ((3, ("a", "b"), 5), (2, ("a", "b", "c"), 2), (4, ("b", "a"), 4)):
        torch.manual_seed(count)
        experts = nn.ModuleList(
            nn.Sequential(nn.Linear(3, 4, dtype=F64), nn.ReLU()) for _ in range(count)
        )
        gates = nn.ModuleDict({n: nn.Linear(3, count, bias=False, dtype=F64) for n in names})
        with torch.no_grad():
            for gate in gates.values():
                gate.weight.mul_(4)
        x = 2 * torch.randn(batch, 3, dtype=F64)
        if message := _mixture(answer, x, experts, gates):
            return f"with {count} experts, {len(names)} tasks and {batch} examples: {message}"
    return None


def _mixture(
    answer: Callable[..., Any], x: Tensor, experts: nn.ModuleList, gates: nn.ModuleDict
) -> str | None:
    """Say what is wrong with one mixture."""
    made = torch.stack([expert(x) for expert in experts])  # [E, B, F]
    scores = {name: gate(x) for name, gate in gates.items()}

    def mix(weights: Tensor) -> Tensor:
        return torch.einsum("be,ebf->bf", weights, made)

    counts = _calls([*experts, *gates.values()])
    found = answer(x.clone(), experts, gates)
    if is_empty(found):
        raise NotAttemptedError
    if not isinstance(found, Mapping) or set(found) != set(gates):
        return "give a dictionary with the features of each name in `gates`."
    runs = max(counts[id(expert)] for expert in experts)
    slips = {
        "the softmax runs over the examples (axis 0); the weights of one example must add up to 1 "
        "over the experts (axis 1).": lambda n: mix(scores[n].softmax(0)),
        "the softmax is missing: the weights are not positive, and do not add up to 1.": (
            lambda n: mix(scores[n])
        ),
        "every example gets the mean weights of the batch; each has weights of its own.": (
            lambda n: mix(scores[n].softmax(1).mean(0).expand_as(scores[n]))
        ),
        "you averaged over the experts; the weights already add up to 1.": (
            lambda n: mix(scores[n].softmax(1)) / len(experts)
        ),
        "that is the plain mean of the experts: the gates are not used.": lambda n: made.mean(0),
        "only the expert with the largest weight counts; a mixture adds up all of them.": (
            lambda n: mix(nn.functional.one_hot(scores[n].argmax(1), len(experts)).to(F64))
        ),
    }
    for name in gates:
        if same(found[name], mix(scores[name].softmax(1))) is None:
            continue
        for message, slip in slips.items():
            if all(same(found[n], slip(n)) is None for n in gates):
                return message
        other = next((n for n in gates if same(found[name], mix(scores[n].softmax(1))) is None), "")
        if other:
            return f"task {name!r} got the features of {other!r}: each task has a gate of its own."
        off = same(found[name], mix(scores[name].softmax(1)))
        return f"the features of task {name!r} are off: {off}."
    if runs > 1:
        return f"right numbers, but each expert runs {runs} times: run the experts once for all."
    for name in gates:
        if not isinstance(found[name], Tensor) or not found[name].requires_grad:
            return f"the features of {name!r} have no gradient: leave out detach, no_grad, NumPy."
        needed = {id(experts[0][0].weight): "the experts", id(gates[name].weight): "its gate"}
        if cut := [what for key, what in needed.items() if key not in leaves_of(found[name])]:
            return f"the numbers are right, but no gradient of task {name!r} reaches {cut[0]}."
    return None


@exercise(
    "03.5",
    "Is one trunk enough?",
    kind="explain with numbers",
    difficulty=2,
    minutes=5,
    right='"enough" needs the whole interval below the margin; that it contains zero says nothing.',
)
def verdict(answer: Callable[..., Any]) -> str | None:
    """Check ``verdict(trunk, rival, margin)``: "enough", "not enough" or "open".

    ``trunk`` and ``rival`` hold one error per seed, for the same seeds.
    """

    def judge(interval: Any, margin: float) -> str:
        if interval.low > margin:
            return "not enough"
        return "enough" if interval.high < margin else "open"

    def right(trunk: Any, rival: Any, margin: float) -> str:
        return judge(paired_interval(trunk, rival), margin)

    def by_zero(trunk: Any, rival: Any, margin: float) -> str:
        interval = paired_interval(trunk, rival)
        return "not enough" if interval.low > 0 else "enough"

    def case(mean: float, noise: float, luck: float) -> Callable[[torch.Generator], tuple]:
        def draw(g: torch.Generator) -> tuple[Tensor, Tensor, float]:
            common = 0.5 + luck * torch.randn(8, generator=g, dtype=F64)
            return common + mean + noise * torch.randn(8, generator=g, dtype=F64), common, 0.02

        return draw

    kinds = [(0.0, 0.002, 0.1), (0.1, 0.01, 0.1), (0.0, 0.1, 0.01), (0.012, 0.002, 0.1),
             (-0.1, 0.01, 0.1), (0.05, 0.1, 0.01), (0.03, 0.002, 0.1)]  # fmt: skip
    cases = [drawn for k, kind in enumerate(kinds) for drawn in draws(case(*kind), 2, seed=k)]
    return compare(
        answer,
        right,
        cases,
        slips={
            "an interval that contains zero does not show that one trunk is enough. "
            '"enough" needs the whole interval below the margin.': by_zero,
            "you look at the mean only; the whole interval must lie on one side of the margin.": (
                lambda a, b, m: "not enough" if float(torch.mean(a - b)) > m else "enough"
            ),
            "the sign is turned: trunk minus rival is positive where the trunk is worse.": (
                lambda a, b, m: right(b, a, m)
            ),
            "the seeds are the same for both: use the interval of the paired differences.": (
                lambda a, b, m: judge(_unpaired(a, b), m)
            ),
            '"not enough" must lie beyond the margin, too: a smaller loss does not count.': (
                lambda a, b, m: "not enough" if paired_interval(a, b).low > 0 else right(a, b, m)
            ),
            "zero is the border here; the margin is.": lambda a, b, m: right(a, b, 0.0),
        },
    )


def _unpaired(ours: Any, theirs: Any) -> Any:
    """Give the interval of a difference of means as if the seeds had nothing in common."""

    class Wide:
        pass

    a, b = mean_interval(ours), mean_interval(theirs)
    half = float(np.hypot(a.high - a.mean, b.high - b.mean))
    wide = Wide()
    wide.low, wide.high = a.mean - b.mean - half, a.mean - b.mean + half
    return wide


# ------------------------------------------------------------------------------ the adapter


@exercise(
    "03.6",
    "An adapter for each task",
    kind="build",
    difficulty=2,
    minutes=5,
    right="before the first adapter all tasks see the same: run that stage once.",
)
def adapted(answer: Callable[..., Any]) -> str | None:
    """Check ``adapted(x, stages, adapters)``: {name: [B, F]}; the first stage runs once."""
    if message := not_a_function(answer):
        return message
    for depth, names in ((2, ("a", "b")), (3, ("a", "b", "c")), (1, ("b", "a"))):
        torch.manual_seed(depth)
        widths = [3, 4, 5, 4][: depth + 1]
        stages = nn.ModuleList(
            nn.Sequential(nn.Linear(a, b, dtype=F64), nn.Tanh()) for a, b in pairwise(widths)
        )
        pairs = {n: [(torch.randn(w, dtype=F64), torch.randn(w, dtype=F64)) for w in widths[1:]]
                 for n in names}  # fmt: skip
        x = torch.randn(6, 3, dtype=F64)
        if message := _adapted(answer, x, stages, pairs):
            return f"with {depth} stages and {len(names)} tasks: {message}"
    return None


def _adapted(
    answer: Callable[..., Any], x: Tensor, stages: nn.ModuleList, pairs: dict[str, Any]
) -> str | None:
    """Say what is wrong with the adapted features."""

    def by_hand(name: str, change: Callable[..., Tensor]) -> Tensor:
        z = x
        for stage, (gamma, beta) in zip(stages, pairs[name], strict=True):
            z = change(stage(z), gamma, beta)
        return z

    expected = {name: by_hand(name, lambda z, g, b: g * z + b) for name in pairs}
    slips = {
        "you scaled and did not shift: beta is missing.": lambda z, g, b: g * z,
        "you shifted first and scaled then; beta must not be multiplied by gamma.": (
            lambda z, g, b: g * (z + b)
        ),
        "that scales by 1 + gamma; here gamma itself scales, and starts at 1.": (
            lambda z, g, b: (1 + g) * z + b
        ),
        "that is the plain trunk: the adapters are not used.": lambda z, g, b: z,
    }
    wrong = {m: {n: by_hand(n, change) for n in pairs} for m, change in slips.items()}
    plain = x
    for stage in stages:
        plain = stage(plain)
    last = {n: pairs[n][-1][0] * plain + pairs[n][-1][1] for n in pairs}
    wrong["only the last adapter is used; there is one after every stage."] = last
    counts = _calls(stages)
    given = {n: [(g.clone().requires_grad_(), b.clone()) for g, b in found]
             for n, found in pairs.items()}  # fmt: skip
    found = answer(x.clone(), stages, given)
    if is_empty(found):
        raise NotAttemptedError
    if not isinstance(found, Mapping) or set(found) != set(pairs):
        return "give a dictionary with the features of each name in `adapters`."
    if off := next((t for n in pairs if (t := same(found[n], expected[n]))), None):
        for message, features in wrong.items():
            if all(same(found[n], features[n]) is None for n in pairs):
                return message
        return f"the features are off: {off}."
    runs = counts[id(stages[0])]
    if runs > 1:
        return (
            f"right numbers, but the first stage runs {runs} times. Before the first adapter every "
            "task sees the same features: run it once."
        )
    for name in pairs:
        if not isinstance(found[name], Tensor) or not found[name].requires_grad:
            return f"the features of {name!r} have no gradient: leave out detach, no_grad, NumPy."
        needed = [id(stages[0][0].weight), *(id(g) for g, _ in given[name])]
        if any(key not in leaves_of(found[name]) for key in needed):
            return f"the numbers are right, but a part of the way of {name!r} is detached."
    return None


# --------------------------------------------------------------------- three bugs, and heads


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
def pooled_net(answer: Any) -> str | None:
    """Check ``make_net()``: 3 x 32 x 32 images through convolution and pooling to ten classes."""
    model = answer.to(F64) if isinstance(answer, nn.Module) else _built(answer)
    pixels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=F64)
    found = _run(model, pixels)
    if isinstance(found, str):
        return f"it still does not take images of 3 x 32 x 32: {found}."
    if not isinstance(found, Tensor) or tuple(found.shape) != (4, 10):
        shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        return f"four images must give [4, 10]; found {shape}."
    model.eval()
    wrong = layers_stay(model, (pixels,)) or parameters_learn(model, (pixels,))
    if wrong := wrong or each_example_counts(model, pixels):
        return wrong
    pixels.requires_grad_()
    found = model(pixels)
    steps = " ".join(node.name() for node in nodes_of(found))
    for words, lost in ((("Conv",), "convolution"), (("Pool", "Mean", "Amax"), "pooling")):
        if not any(word in steps for word in words):
            return f"it runs, but the {lost} is gone: correct the size of the linear layer alone."
    found.square().sum().backward()
    touched = (pixels.grad != 0).any(1).any(0)
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
            "nothing is corrected yet. With B = 5 it runs, and the five targets lie along the "
            "columns, the same in every row; with most other B it crashes."
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
    if "new layer" in (message := layers_stay(model, (x,)) or ""):
        return message
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    if frozen:
        return f"`{frozen[0]}` asks for no gradient (requires_grad is off): it cannot learn."
    ids = {id(p) for p in model.parameters()}
    if stuck := [name for name in outputs if not found[name].requires_grad]:
        return f"no gradient can flow into the head of {stuck[0]!r}: leave out no_grad and detach."
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
        "a": "one set of scores for a whole image, and one class per image",
        "b": "a set of scores for every pixel",
        "c": "four numbers per place next to the scores: where, how large, and what",
        "d": "one map per joint, and the place of its peak counts",
        "e": "five numbers per image are five class scores, whatever the variable is called",
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
