"""The checks of the notebooks that go deeper than lesson 03: exercises 03.11 and up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mtl_helpers.teaching.exercises.answers import compare, draws, same
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
