"""The checks of the notebooks that go deeper than lesson 03: exercises 03.11 and up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mtl_helpers.teaching.exercises.answers import AnswerError, compare, draws, said_yes, same, show
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


# ------------------------------------------------------------------------------ shapes clinic


def _built(make: Any) -> nn.Module:
    """Build the learner's model, or take it as it is, in float64.

    Raises:
        TypeError: it is no module.
    """
    model = make if isinstance(make, nn.Module) else make()
    if not isinstance(model, nn.Module):
        raise TypeError(f"a model was expected; found a {type(model).__name__}")
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


def _images(size: int, channels: int, count: int = 4) -> Tensor:
    """Draw different images, [count, channels, size, size]."""
    rng = torch.Generator().manual_seed(size)
    return torch.randn(count, channels, size, size, generator=rng, dtype=F64)


def _shape(found: Any) -> str:
    return str(list(found.shape)) if isinstance(found, Tensor) else f"a {type(found).__name__}"


def _cannot_learn(model: nn.Module, x: Tensor) -> str | None:
    """Say why a network could not be trained, or treats its examples as one."""
    message = layers_stay(model, (x,)) or parameters_learn(model.train(), (x,))
    return message or each_example_counts(model.eval(), x)


@exercise(
    "03.11",
    "A head on a map",
    kind="bug hunt",
    difficulty=2,
    minutes=3,
    right="nn.Linear takes the last axis, whatever it is: flatten or average the map first.",
)
def flat_head(answer: Any) -> str | None:
    """Check ``make_net()``: images of 3 x 16 x 16 to five scores each, seeing all of it."""
    model = _built(answer)
    found = _run(model, _images(16, 3, 2))
    if isinstance(found, str):
        return f"now it crashes on images of 3 x 16 x 16: {found}."
    if not isinstance(found, Tensor) or tuple(found.shape) != (2, 5):
        return f"two images must give [2, 5], five scores each; found {_shape(found)}."
    if message := _cannot_learn(model, _images(16, 3)):
        return message
    pixels = _images(16, 3, 256).requires_grad_()
    rows = _linear_rows(model.eval())
    found = model(pixels)
    if not any("Conv" in node.name() for node in nodes_of(found)):
        return "the shape is right, but the convolution is gone: correct the head alone."
    found.square().sum().backward()
    seen = (pixels.grad != 0).any(1).any(0)
    blocks = seen.reshape(4, 4, 4, 4).any(3).any(1)
    if not blocks.all():
        return (
            f"the shape is right, but {int((~blocks).sum())} of the 16 regions of the image never "
            "reach the output: you picked a part of the map instead of flattening it."
        )
    if rows and rows[0] == (4, 4):
        return (
            "the head still reads rows of four pixels; averaging its outputs afterwards treats "
            "all eight channels alike. Flatten the map, or average over its pixels, before it."
        )
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    return _channels_count(model, convolutions[-1], pixels.detach()) if convolutions else None


def _linear_rows(model: nn.Module) -> list[tuple[int, int]]:
    """Collect, at each run of a linear layer, how many axes its input has, and its last size."""
    rows: list[tuple[int, int]] = []
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda _, x, __: rows.append((x[0].ndim, x[0].shape[-1])))
    return rows


@torch.no_grad()
def _channels_count(model: nn.Module, convolution: nn.Conv2d, pixels: Tensor) -> str | None:
    """Say which channels of a convolution do not count, each for itself, in the output."""
    before, kept = model(pixels), [p.clone() for p in convolution.parameters()]

    def output(change: Callable[[Tensor], Tensor]) -> Tensor:
        for p, value in zip(convolution.parameters(), kept, strict=True):
            p.copy_(change(value))
        return model(pixels)

    def without(channel: int) -> Callable[[Tensor], Tensor]:
        keep = torch.arange(convolution.out_channels) != channel
        return lambda value: value * keep.reshape(-1, *[1] * (value.ndim - 1))

    if torch.allclose(output(lambda value: value.roll(1, 0)), before):
        return (
            "the channels in another order give the same scores: you averaged over the "
            "channels, so none counts for itself. Average over the pixels, or flatten the map."
        )
    channels = range(convolution.out_channels)
    idle = [c for c in channels if torch.equal(output(without(c)), before)]
    if idle:
        return (
            f"the shape is right, but {len(idle)} of {len(channels)} channels never reach the "
            "output: every channel of the map should count."
        )
    return None


@exercise(
    "03.12",
    "One head behind the other",
    kind="bug hunt",
    difficulty=1,
    minutes=3,
    right="two heads read the same features; neither reads the other.",
)
def two_heads(answer: Any) -> str | None:
    """Check ``make_model()``: [B, 16] -> kind [B, 4] and size [B, 1], neither read by the other."""
    model = _built(answer).train()
    x = torch.randn(6, 16, dtype=F64)
    found = _run(model, x)
    if isinstance(found, str):
        return f"it does not run on features of shape [6, 16]: {found}."
    if not isinstance(found, Mapping) or set(found) != {"kind", "size"}:
        return "give a dictionary with the outputs 'kind' and 'size'."
    for name, count in (("kind", 4), ("size", 1)):
        if not isinstance(found[name], Tensor) or tuple(found[name].shape) != (6, count):
            return f"{name!r} must have shape [6, {count}]; found {_shape(found[name])}."
    if message := layers_stay(model, (x,)):
        return message
    leaves = {name: set(leaves_of(output)) for name, output in model.eval()(x).items()}
    parameters = {id(p): p for p in model.parameters()}
    if leaves["kind"] == leaves["size"] != set():
        return _one_layer(model, x)
    if message := parameters_learn(model.train(), (x,)):
        return message
    model.eval()
    for mover, other in (("size", "kind"), ("kind", "size")):
        own = leaves[mover] - leaves[other]
        before = model(x)[other]
        with torch.no_grad():
            for i in own & set(parameters):
                parameters[i] += 0.1
        if not own:
            return (
                f"the output of {other!r} needs the layer that gives {mover!r}: one head reads "
                "what the other wrote."
            )
        if not torch.equal(model(x)[other], before):
            return (
                f"the output of {other!r} still moves with the head of {mover!r}: detach() keeps "
                "the gradient out, but it reads the same numbers."
            )
    z = x.clone().requires_grad_()
    for name, output in model(z).items():
        (slope,) = torch.autograd.grad(
            output.square().sum(), z, retain_graph=True, allow_unused=True
        )
        read = 0 if slope is None else int((slope != 0).any(0).sum())
        if read < 16:
            return f"the head of {name!r} reads {read} of the 16 features: give it all of z."
    return each_example_counts(model, x)


def _one_layer(model: nn.Module, x: Tensor) -> str:
    """Say what is wrong with two outputs that come from the same parameters."""
    before, parameters = model(x), list(model.parameters())
    slopes = torch.autograd.grad(
        before["size"].square().sum(), parameters, retain_graph=True, allow_unused=True
    )
    with torch.no_grad():
        for p, slope in zip(parameters, slopes, strict=True):
            if slope is not None:
                p -= 0.1 * slope
    if torch.equal(model(x)["kind"], before["kind"]):
        return (
            "that would learn, but one layer holds both heads: nobody can freeze, save or count "
            "them alone. Give each a layer of its own."
        )
    return "both outputs come from the same numbers: a step on one task's loss moves both."


@exercise(
    "03.13",
    "Another image size",
    kind="bug hunt",
    difficulty=2,
    minutes=3,
    right="adaptive pooling gives the head the same shape for every image.",
)
def any_size(answer: Any) -> str | None:
    """Check ``make_net()``: one network for grey images of 28, 32 and 41 pixels."""
    model, failed, sizes = _built(answer), {}, (28, 32, 41)
    for size in sizes:
        found = _run(model, _images(size, 1, 2))
        if isinstance(found, str):
            failed[size] = found
        elif not isinstance(found, Tensor) or tuple(found.shape) != (2, 5):
            return f"two images of {size} x {size} must give [2, 5]; found {_shape(found)}."
    if failed:
        fits = [size for size in sizes if size not in failed]
        size = next(iter(failed))
        where = f"It fits {fits} only. " if fits else ""
        return f"{where}With {size} x {size}: {failed[size]}."
    if message := _cannot_learn(model, _images(32, 1)):
        return message
    for size in sizes:
        pixels = _images(size, 1, 256).requires_grad_()
        model(pixels).square().sum().backward()
        seen = (pixels.grad != 0).any(0)[0]
        edges = {"top": seen[:2], "bottom": seen[-2:], "left": seen[:, :2], "right": seen[:, -2:]}
        if cut := [name for name, part in edges.items() if not part.any()]:
            return (
                f"it takes every size, but cuts images: of {size} x {size} pixels the edge at the "
                f"{', '.join(cut)} is never seen."
            )
        if (part := float(seen.double().mean())) < 0.8:
            return (
                f"it takes every size, but of images of {size} x {size} it never sees "
                f"{1 - part:.0%} of the pixels."
            )
    return None


def _ages() -> list[tuple[Tensor, Tensor]]:
    """Outputs [B, 1] and ages [B]: a small case, then random ones."""

    def case(g: torch.Generator) -> tuple[Tensor, Tensor]:
        return (
            5 * torch.rand(6, 1, generator=g, dtype=F64),
            5 * torch.rand(6, generator=g, dtype=F64),
        )

    small = torch.tensor([[1.0], [2.0]], dtype=F64), torch.tensor([1.5, 2.75], dtype=F64)
    return [small, *draws(case)]


@exercise(
    "03.14",
    "The age that lost its months",
    kind="bug hunt",
    difficulty=1,
    minutes=2,
    right="class numbers are long, measurements stay floating.",
)
def age_loss(answer: Callable[..., Any]) -> str | None:
    """Check ``age_loss(output, ages)``: [B, 1], [B] -> mean squared error."""

    def right(output: Tensor, ages: Tensor) -> Tensor:
        return (output[:, 0] - ages).square().mean()

    wrong = compare(
        answer,
        right,
        _ages(),
        slips={
            "nothing is corrected yet: output and target are both cut to whole years.": (
                lambda o, a: right(o.long(), a.long().double())
            ),
            "the output is still cut to whole years, and a cast to long stops the gradient: "
            "nothing would learn.": lambda o, a: right(o.long(), a),
            "the target is still cut to whole years.": lambda o, a: right(o, a.long()),
            "you round the target: its months are lost all the same.": (
                lambda o, a: right(o, a.round())
            ),
            "the cast is gone, but [B, 1] against [B] became [B, B]: every output meets every "
            "age.": lambda o, a: (o - a).square().mean(),
            "the cast is not gone, and [B, 1] against [B] became [B, B].": (
                lambda o, a: (o - a.long()).square().mean()
            ),
            "that is the mean absolute error; this loss is the mean squared one.": (
                lambda o, a: (o[:, 0] - a).abs().mean()
            ),
        },
    )
    return wrong or gradient_reaches(answer, _ages()[0], to=[0], right=right)


@exercise(
    "03.15",
    "Nought per cent right",
    kind="bug hunt",
    difficulty=2,
    minutes=3,
    right="the argmax of one number is always 0; a measurement is scored by its distance.",
)
def age_score(answer: Callable[..., Any]) -> str | None:
    """Check ``age_score(output, ages)``: [B, 1], [B] -> mean absolute error."""

    def right(output: Tensor, ages: Tensor) -> Tensor:
        return (output[:, 0] - ages).abs().mean()

    found = compare(
        answer,
        right,
        _ages(),
        slips={
            "that is still an accuracy by argmax: with one output it compares the age with 0.": (
                lambda o, a: (o.argmax(1) == a).double().mean()
            ),
            "rounding makes classes of ages: 1.4 for 1.6 then counts as wrong as 80 does.": (
                lambda o, a: (o[:, 0].round() == a.round()).double().mean()
            ),
            "[B, 1] against [B] became [B, B]: take output[:, 0] first.": (
                lambda o, a: (o - a).abs().mean()
            ),
            "that is the mean squared error; asked for is the absolute one, in years.": (
                lambda o, a: (o[:, 0] - a).square().mean()
            ),
            "that is the root mean squared error; asked for is the absolute one.": (
                lambda o, a: (o[:, 0] - a).square().mean().sqrt()
            ),
            "errors of opposite signs cancel: take the absolute value of each one.": (
                lambda o, a: (o[:, 0] - a).mean().abs()
            ),
        },
    )
    return found or inputs_left_alone(answer, _ages()[0])


def _ragged(g: torch.Generator) -> tuple[list[tuple[Tensor, Tensor]]]:
    """Draw batches of 4, 4 and 3 examples: scores [B, 3] and labels [B]."""

    def batch(n: int) -> tuple[Tensor, Tensor]:
        return torch.randn(n, 3, generator=g, dtype=F64), torch.randint(3, (n,), generator=g)

    return ([batch(n) for n in (4, 4, 3)],)


@exercise(
    "03.16",
    "Counting with +=",
    kind="bug hunt",
    difficulty=1,
    minutes=2,
    right="the sum of a batch's hits is one number; a vector of hits is not.",
)
def accuracy_over(answer: Callable[..., Any]) -> str | None:
    """Check ``accuracy_over(batches)``: the fraction of right answers over all batches."""

    def counts(batches: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], int]:
        hits = [(logits.argmax(1) == labels).double() for logits, labels in batches]
        return hits, sum(len(h) for h in hits)

    def right(batches: list[tuple[Tensor, Tensor]]) -> Tensor:
        hits, examples = counts(batches)
        return sum(h.sum() for h in hits) / examples

    scores = torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]], dtype=F64)
    small = ([(scores[:2], torch.tensor([0, 1])), (scores[2:], torch.tensor([1]))],)
    found = compare(
        answer,
        right,
        [small, *draws(_ragged, 6)],
        slips={
            "you averaged the batches' accuracies: the short last batch then counts as much as a "
            "full one.": lambda b: sum(h.mean() for h in counts(b)[0]) / len(b),
            "you count batches with a hit in them; count hits.": (
                lambda b: sum(float(h.any()) for h in counts(b)[0]) / counts(b)[1]
            ),
            "that is the number of hits; divide by the number of examples.": (
                lambda b: sum(h.sum() for h in counts(b)[0])
            ),
            "you divided by the number of batches, not of examples.": (
                lambda b: sum(h.sum() for h in counts(b)[0]) / len(b)
            ),
            "that is in per cent: a fraction lies between 0 and 1.": lambda b: 100 * right(b),
        },
    )
    return found or inputs_left_alone(answer, small)


@exercise(
    "03.17",
    "The short last batch",
    kind="bug hunt",
    difficulty=1,
    minutes=2,
    right="every example counts the same, whichever batch it fell into.",
)
def mean_over(answer: Callable[..., Any]) -> str | None:
    """Check ``mean_over(batches)``: the mean over examples of ragged batches of losses."""

    def right(batches: list[Tensor]) -> Tensor:
        return torch.cat(batches).mean()

    def case(g: torch.Generator) -> tuple[list[Tensor]]:
        return ([torch.rand(n, generator=g, dtype=F64) for n in (4, 4, 1)],)

    small = ([torch.tensor([1.0, 1.0], dtype=F64), torch.tensor([4.0], dtype=F64)],)
    found = compare(
        answer,
        right,
        [small, *draws(case)],
        slips={
            "that is the mean of the batches' means: the last example counts several times.": (
                lambda b: sum(x.mean() for x in b) / len(b)
            ),
            "you dropped the short batch: its examples count too.": lambda b: right(b[:-1]),
            "that is the sum; divide by the number of examples.": lambda b: torch.cat(b).sum(),
            "you divided by the number of batches, not of examples.": (
                lambda b: torch.cat(b).sum() / len(b)
            ),
            "every batch was divided by the size of the first: that is right only while all are "
            "full.": lambda b: sum(x.sum() for x in b) / (len(b) * len(b[0])),
        },
    )
    return found or inputs_left_alone(answer, small)


@exercise(
    "03.18",
    "Left off the device",
    kind="bug hunt",
    difficulty=2,
    minutes=3,
    right="a module moves itself, a tensor gives a moved copy that must be kept.",
)
def on_device(answer: Callable[..., Any]) -> str | None:
    """Check ``on_device(model, x, y, device)``: everything that is given back lies there.

    PyTorch's device "meta" holds shapes without numbers, so no GPU is needed to see who moved. The
    numbers are compared where nothing has to move, on the CPU.
    """
    for device in (torch.device("meta"), torch.device("cpu")):
        model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        before = {name: value.clone() for name, value in model.state_dict().items()}
        x, y = torch.rand(4, 3), torch.arange(4)
        found = answer(model, x.clone(), y.clone(), device)
        if not isinstance(found, tuple | list) or len(found) != 3:
            return "give back three things: the model, x and y."
        if message := _misplaced(found, model, (x, y), device):
            return message
    changed = [k for k, value in model.state_dict().items() if same(value, before[k], tol=0.0)]
    if changed:
        return f"the model's {', '.join(changed)} changed on the way: move it as it is."
    for name, value, old in (("x", found[1], x), ("y", found[2], y)):
        if same(value, old, tol=0.0):
            return f"{name} has other numbers than before: move it as it is."
    return None


def _misplaced(
    found: Any, model: nn.Module, given: tuple[Tensor, Tensor], device: torch.device
) -> str | None:
    """Say what of the three does not lie on the device, or is not what it was."""
    moved, x, y = found
    if not isinstance(moved, nn.Module):
        return "the first thing given back is not the model."
    away = [name for name, value in moved.state_dict().items() if value.device != device]
    if len(away) == len(moved.state_dict()):
        return "the model is left off the device: its parameters are where they were."
    if away:
        return f"only a part of the model was moved; still elsewhere: {', '.join(away)}."
    for name, value in (("x", x), ("y", y)):
        if not isinstance(value, Tensor) or value.device != device:
            return f"{name} is where it was: {name}.to(device) gives a copy, and must be kept."
    if x.shape != given[0].shape or y.shape != given[1].shape:
        return "x and y are mixed up: give back the model, x and y, in this order."
    for name, value, old in (("x", x, given[0]), ("y", y, given[1])):
        if value.dtype != old.dtype:
            return f"{name} was {old.dtype} and is {value.dtype}: move it, and do not cast it."
    if moved is not model:
        return "that is another model: an optimiser made for the first one would not train it."
    return None


# --------------------------------------------------------------------------- gates and stitches


@exercise(
    "03.19",
    "The other tasks' fraction",
    kind="fill one line",
    difficulty=2,
    minutes=4,
    right="0 is a network of one's own, and a negative weight is a weight too.",
)
def foreign(answer: Callable[..., Any]) -> str | None:
    """Check ``foreign(stitch)``: [K, K] -> [K], the fraction of each row off the diagonal."""

    def right(stitch: Tensor) -> Tensor:
        weight = stitch.abs()
        return 1 - weight.diagonal() / weight.sum(1)

    small = torch.tensor([[0.6, 0.2], [-0.3, 0.9]], dtype=F64)
    found = compare(
        answer,
        right,
        [(small,), *draws(lambda g: (torch.randn(3, 3, generator=g, dtype=F64),))],
        slips={
            "a negative weight takes part as well: use absolute values.": (
                lambda a: 1 - a.diagonal() / a.sum(1)
            ),
            "that is the task's own fraction; asked for is the rest.": lambda a: 1 - right(a),
            "you added up columns: row k says what task k goes on with.": lambda a: right(a.T),
            "those are the weights off the diagonal; divide by the sum of the row.": (
                lambda a: a.abs().sum(1) - a.abs().diagonal()
            ),
            "you divided by the task's own weight: divide by the sum of the whole row.": (
                lambda a: a.abs().sum(1) / a.abs().diagonal() - 1
            ),
        },
    )
    return found or inputs_left_alone(answer, (small,))


@exercise(
    "03.20",
    "What two gates have in common",
    kind="fill one line",
    difficulty=2,
    minutes=4,
    right="example by example: two gates with the same mean may never agree.",
)
def common_part(answer: Callable[..., Any]) -> str | None:
    """Check ``common_part(first, second)``: two gates [B, E] -> a number from 0 to 1."""

    def right(first: Tensor, second: Tensor) -> Tensor:
        return torch.minimum(first, second).sum(1).mean()

    def case(g: torch.Generator) -> tuple[Tensor, Tensor]:
        return tuple(torch.randn(2, 5, 3, generator=g, dtype=F64).softmax(2))

    small = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.5, 0.5]]], dtype=F64)
    found = compare(
        answer,
        right,
        [tuple(small), *draws(case)],
        slips={
            "you took the mean over the examples first: gates that differ for every example can "
            "have the same mean. Compare example by example.": (
                lambda a, b: torch.minimum(a.mean(0), b.mean(0)).sum()
            ),
            "add up over the experts, and take the mean over the examples only.": (
                lambda a, b: torch.minimum(a, b).mean()
            ),
            "that is the sum over the examples; take their mean.": (
                lambda a, b: torch.minimum(a, b).sum()
            ),
            "that is one number per example; take their mean.": (
                lambda a, b: torch.minimum(a, b).sum(1)
            ),
            "you took the larger of the two weights; what both give is the smaller one.": (
                lambda a, b: torch.maximum(a, b).sum(1).mean()
            ),
            "you multiplied the weights: two equal gates would then have less than 1 in common.": (
                lambda a, b: (a * b).sum(1).mean()
            ),
        },
    )
    return found or inputs_left_alone(answer, tuple(small))


REACHES = {
    "a": (
        False,
        "CGC has one level: the gate of `conversion` mixes its own experts and the shared ones",
    ),
    "b": (True, "every gate mixes the shared experts"),
    "c": (
        True,
        "below the last level a gate mixes *all* experts for the shared ones above, and those "
        "serve `conversion`",
    ),
    "d": (False, "behind the last level there is no shared gate: these serve `click` alone"),
    "e": (False, "a tower is the end of one task's way"),
}


@exercise(
    "03.21",
    "Whose loss reaches which expert?",
    kind="tell apart",
    difficulty=2,
    minutes=4,
    right="only the last level of PLE is truly a task's own.",
)
def reaches(answers: Any) -> str | None:
    """Check {question: "yes" or "no"}: does the loss of ``conversion`` reach this part?"""
    if not isinstance(answers, Mapping) or set(answers) != set(REACHES):
        return f"give 'yes' or 'no' for each of {', '.join(REACHES)}."
    for letter, (truth, why) in REACHES.items():
        said = said_yes(answers[letter])
        if said is None:
            return f"{letter}: give 'yes' or 'no'; found {show(answers[letter])}."
        if said != truth:
            return f"{letter} is {'yes' if truth else 'no'}: {why}."
    return None


# --------------------------------------------------------------------------------------- probes


@exercise(
    "03.22",
    "A linear probe",
    kind="build",
    difficulty=2,
    minutes=7,
    right="fitted on the training examples, judged on others: what a line can read.",
)
def probe(answer: Callable[..., Any]) -> str | None:
    """Check ``probe(z, y, z_test, y_test)``: [N, F], [N], [M, F], [M] -> RMSE on the test part."""

    def fit(z: Tensor, y: Tensor) -> Tensor:
        return torch.linalg.lstsq(z, y[:, None]).solution

    def one(z: Tensor) -> Tensor:
        return torch.cat([z, torch.ones_like(z[:, :1])], 1)

    def error(z: Tensor, weights: Tensor, y: Tensor) -> Tensor:
        return ((z @ weights)[:, 0] - y).square().mean().sqrt()

    def right(z: Tensor, y: Tensor, z_test: Tensor, y_test: Tensor) -> Tensor:
        return error(one(z_test), fit(one(z), y), y_test)

    def case(g: torch.Generator) -> tuple[Tensor, ...]:
        z, z_test = (torch.randn(n, 3, generator=g, dtype=F64) + 1 for n in (20, 12))
        w = torch.randn(3, generator=g, dtype=F64)
        y, y_test = (x @ w + 2 + 0.3 * torch.randn(len(x), generator=g) for x in (z, z_test))
        return z, y, z_test, y_test

    found = compare(
        answer,
        right,
        draws(case, 6),
        slips={
            "the intercept is missing: put a column of ones next to the features.": (
                lambda z, y, a, b: error(a, fit(z, y), b)
            ),
            "you measured on the training examples: the weights were made to fit those.": (
                lambda z, y, a, b: error(one(z), fit(one(z), y), y)
            ),
            "you fitted on the test examples: the probe may only learn from `z` and `y`.": (
                lambda z, y, a, b: error(one(a), fit(one(a), b), b)
            ),
            "that is the mean squared error: take its root.": (
                lambda z, y, a, b: right(z, y, a, b) ** 2
            ),
            "you compared [M, 1] with [M]: they became [M, M]. Take the column first.": (
                lambda z, y, a, b: (one(a) @ fit(one(z), y) - b).square().mean().sqrt()
            ),
        },
        tol=1e-5,
    )
    return found or inputs_left_alone(answer, draws(case, 1)[0])


COMPARISONS = {
    "a": ("random", "layers that learnt nothing mix the input, too"),
    "b": ("both", "only a layer that task 2 has trained as well shows what is possible"),
    "c": ("input", "a line can read the input without any network"),
}


@exercise(
    "03.23",
    "Compared with what?",
    kind="tell apart",
    difficulty=2,
    minutes=4,
    right="a number alone says nothing: each claim has the comparison that could refute it.",
)
def compare_with(answers: Any) -> str | None:
    """Check {claim: the probe to compare with, "input", "random" or "both"}."""
    if not isinstance(answers, Mapping) or set(answers) != set(COMPARISONS):
        return f"give one comparison for each of {', '.join(COMPARISONS)}."
    words = {word for word, _ in COMPARISONS.values()}
    for letter, (word, why) in COMPARISONS.items():
        found = answers[letter]
        said = found.strip().casefold() if isinstance(found, str) else found
        if not isinstance(said, str) or said not in words:
            return f"{letter}: {show(found)} is none of {', '.join(sorted(words))}."
        if said != word:
            return f"{letter}: comparing with {said!r} cannot refute it. Think of this: {why}."
    return None


# --------------------------------------------------------------------------- pulls and masks


@exercise(
    "03.24",
    "A rubber band",
    kind="fill one line",
    difficulty=2,
    minutes=5,
    right="0 ties nothing, and a strong band makes one network of two.",
)
def pull(answer: Callable[..., Any]) -> str | None:
    """Check ``pull(first, second, strength)``: two lists of weights -> the penalty, a scalar."""

    def right(first: list[Tensor], second: list[Tensor], strength: float) -> Tensor:
        return strength * sum((a - b).square().sum() for a, b in zip(first, second, strict=True))

    def case(g: torch.Generator) -> tuple[list[Tensor], list[Tensor], float]:
        shapes = ((3, 2), (3,), (1, 3))
        one, other = ([torch.randn(s, generator=g, dtype=F64) for s in shapes] for _ in range(2))
        return one, other, 0.5

    def flat(parts: list[Tensor]) -> Tensor:
        return torch.cat([part.flatten() for part in parts])

    small = [torch.tensor([1.0, 2.0], dtype=F64)], [torch.tensor([3.0, 2.0], dtype=F64)], 0.1
    found = compare(
        answer,
        right,
        [small, *draws(case)],
        slips={
            "that is the distance; the penalty takes its square.": (
                lambda a, b, c: c * (flat(a) - flat(b)).norm()
            ),
            "you took means: add up over all weights.": (
                lambda a, b, c: c * sum((p - q).square().mean() for p, q in zip(a, b, strict=True))
            ),
            "the strength is missing.": lambda a, b, c: right(a, b, 1.0),
            "only the last pair of layers counts: add up over all of them.": (
                lambda a, b, c: c * (a[-1] - b[-1]).square().sum()
            ),
            "differences of opposite signs cancel: square each of them.": (
                lambda a, b, c: c * (flat(a) - flat(b)).sum() ** 2
            ),
            "that pulls each network to zero, and not towards the other.": (
                lambda a, b, c: c * (flat(a).square().sum() + flat(b).square().sum())
            ),
        },
    )
    if found:
        return found

    def of_first(a: Tensor, b: Tensor) -> Any:
        return answer([a], [b], 0.1)

    return gradient_reaches(of_first, (small[0][0], small[1][0])) or inputs_left_alone(
        answer, small
    )


@exercise(
    "03.25",
    "Look through a mask",
    kind="fill one step",
    difficulty=2,
    minutes=6,
    right="a mask is made from the features that it looks at, for each task by weights of its own.",
)
def look(answer: Callable[..., Any]) -> str | None:
    """Check ``look(features, weights, bias)``: [B, C, H, W], [C, C], [C] -> masked features."""

    def scores(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return torch.einsum("dc,bchw->bdhw", w, x) + b[:, None, None]

    def right(features: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
        return scores(features, weights, bias).sigmoid() * features

    def case(g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        shapes = ((3, 4, 4, 4), (4, 4), (4,))
        return tuple(torch.randn(shape, generator=g, dtype=F64) for shape in shapes)

    inputs = draws(case, 1)[0]
    found = compare(
        answer,
        right,
        draws(case),
        slips={
            "that is the mask itself: multiply the features by it.": (
                lambda x, w, b: scores(x, w, b).sigmoid()
            ),
            "the scores are no mask yet: a sigmoid brings them between 0 and 1.": (
                lambda x, w, b: scores(x, w, b) * x
            ),
            "a softmax lets the channels compete; each has a mask of its own: use a sigmoid.": (
                lambda x, w, b: scores(x, w, b).softmax(1) * x
            ),
            "the bias is missing.": lambda x, w, b: right(x, w, 0 * b),
            "the weights are turned: row d of `weights` makes the mask of channel d.": (
                lambda x, w, b: right(x, w.T, b)
            ),
            "the bias meets the last axis, the width: give it the shape [C, 1, 1].": (
                lambda x, w, b: (torch.einsum("dc,bchw->bdhw", w, x) + b).sigmoid() * x
            ),
        },
    )
    return found or gradient_reaches(answer, inputs, right=right)


# ------------------------------------------------------------------------- trunks from the shelf


@exercise(
    "03.26",
    "The deepest cut",
    kind="fill one step",
    difficulty=1,
    minutes=4,
    right="the head that needs the finest map decides how deep all can share.",
)
def deepest_cut(answer: Callable[..., Any]) -> str | None:
    """Check ``deepest_cut(sides, wanted)``: {stage: pixels of one side of its map}, in order."""

    def fitting(sides: Mapping[str, int], wanted: int) -> list[str]:
        return [name for name, side in sides.items() if side >= wanted]

    def case(g: torch.Generator) -> tuple[dict[str, int], int]:
        first = 16 * int(torch.randint(1, 5, (1,), generator=g))
        sides = [first, first, first // 2, first // 4, first // 4, first // 8]
        names = [f"stage {letter}" for letter in "cabfed"]
        wanted = sides[2 + int(torch.randint(4, (1,), generator=g))]
        less = int(torch.randint(2, (1,), generator=g))
        return dict(zip(names, sides, strict=True)), wanted - less

    small = {"conv1": 32, "layer1": 16, "layer2": 8, "layer3": 4}
    found = compare(
        answer,
        lambda sides, wanted: fitting(sides, wanted)[-1],
        [(small, 8), (small, 5), ({"a": 9, "b": 7, "c": 7, "d": 2}, 7), *draws(case)],
        slips={
            "that is the first one; share as deep as you can.": (
                lambda sides, wanted: fitting(sides, wanted)[0]
            ),
            "that is one stage too deep: its map is too small.": (
                lambda sides, wanted: [*sides][min(len(fitting(sides, wanted)), len(sides) - 1)]
            ),
            "a map of exactly the wanted size is large enough.": (
                lambda sides, wanted: [name for name, side in sides.items() if side > wanted][-1]
            ),
            "stages with maps of one size: take the last of them, not the first.": (
                lambda sides, wanted: min(fitting(sides, wanted), key=lambda name: sides[name])
            ),
            "that is the side of its map; asked for is the name.": (
                lambda sides, wanted: sides[fitting(sides, wanted)[-1]]
            ),
        },
    )
    return found or inputs_left_alone(answer, (small, 8))


@exercise(
    "03.27",
    "The frozen trunk that moved",
    kind="bug hunt",
    difficulty=2,
    minutes=6,
    right="requires_grad keeps parameters; eval keeps the running averages; a trunk needs both.",
)
def prepare(answer: Callable[..., Any]) -> str | None:
    """Check ``prepare(model)``, called before each step: nothing of ``model.trunk`` moves."""
    torch.manual_seed(0)
    convolution = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    trunk = nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    head = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    holder = _Parts(trunk, head).to(F64)
    optimizer = torch.optim.SGD(holder.parameters(), lr=0.1)
    rng, modes = torch.Generator().manual_seed(0), []

    def steps() -> None:
        for _ in range(2):
            holder.train()
            answer(holder)
            modes.append([m.training for m in holder.head.modules()])
            optimizer.zero_grad()
            x = 1 + torch.randn(8, 1, 6, 6, generator=rng, dtype=F64)
            loss = holder(x).square().sum()
            if not loss.requires_grad:
                raise AnswerError("after it nothing can learn at all: only the trunk stays.")
            loss.backward()
            optimizer.step()

    before = {name: value.clone() for name, value in holder.state_dict().items()}
    steps()
    moved = [n for n, v in holder.state_dict().items() if not torch.equal(v, before[n])]
    names = {name for name, _ in holder.named_parameters()}
    own = [name for name in moved if name.startswith("trunk")]
    if weights := [name for name in own if name in names]:
        return f"the optimiser still moves `{weights[0]}`: switch off its requires_grad."
    if own:
        return (
            f"the trunk's parameters stay, and `{own[0]}` moves: in training mode batch norm "
            "updates its running averages at every batch. The trunk needs eval()."
        )
    if not all(map(all, modes)):
        return "the head is in eval(): its dropout and its batch norm no longer train."
    if not any(name.startswith("head.2") for name in moved):
        return "the head does not learn any more: only the trunk shall stay."
    if any(p.requires_grad for p in holder.trunk.parameters()):
        return "the trunk stays, but it still asks for gradients: switch off its requires_grad."
    return None


class _Parts(nn.Module):
    """A trunk and a head."""

    def __init__(self, trunk: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))
