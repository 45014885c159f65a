"""The checks of lesson 05, regularisation: batch normalisation (the second half: see below)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mtl_helpers.teaching.exercises.answers import (
    NotAttemptedError,
    as_numbers,
    compare,
    draws,
    is_empty,
    not_a_function,
    same,
)
from mtl_helpers.teaching.exercises.core import exercise
from mtl_helpers.teaching.exercises.testers import Calls

EPS = 1e-5


def _drawn(g: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@exercise(
    "05.1",
    "Learned statistics?",
    kind="bug hunt",
    difficulty=2,
    minutes=5,
    right="gamma and beta are learned; the mean and the variance come from the batch, every time, "
    "and the gradient flows through them.",
)
def normalisation(answer: type[nn.Module]) -> str | None:
    """Check a class ``Normalisation(features)``: batch normalisation in training mode, [B, F]."""
    if not isinstance(answer, type) or not issubclass(answer, nn.Module):
        return "give the check the class itself: its name, without brackets after it."
    layer = answer(3).double()
    shapes = {name: tuple(p.shape) for name, p in layer.named_parameters()}
    count = sum(p.numel() for p in layer.parameters())
    x = 50 + 4 * _drawn(_seeded(0), 6, 3)
    with Calls() as calls:
        out = layer(x)
    if not isinstance(out, Tensor):
        raise NotAttemptedError if is_empty(out) else TypeError("forward must give a tensor")
    if any(isinstance(module, _BatchNorm) for module in layer.modules()):
        return "that is PyTorch's own layer; here the point is to write it out."
    if used := calls.names & {"batch_norm", "instance_norm", "layer_norm", "group_norm"}:
        return f"{min(used)} is PyTorch's own function; here the point is to write it out."
    out = out.detach()
    if out.shape != x.shape:
        return f"inputs of shape {list(x.shape)} come out with shape {list(out.shape)}."
    if same(out, x) is None or float(out.mean().abs()) > 10:
        return (
            f"a batch with mean 50 comes out with mean {float(out.mean()):.3g}: nothing is "
            "normalised. Take the mean and the variance from the batch that comes in."
        )
    if message := _wrong_statistics(layer, x, out):
        return message
    if count == 0:
        return (
            "it normalises, but it learns nothing: give it two nn.Parameter, gamma (ones) and "
            "beta (zeros), one number a feature."
        )
    if count != 6:
        return (
            f"3 features need 3 gammas and 3 betas, 6 learned numbers; found {count} in {shapes}. "
            "The mean and the variance are computed, not learned."
        )
    return _wrong_learning(layer, x)


def _reference(x: Tensor, gamma: Any = 1.0, beta: Any = 0.0, eps: float = EPS) -> Tensor:
    mean, var = x.mean(0), x.var(0, correction=0)
    return gamma * (x - mean) / (var + eps).sqrt() + beta


def _wrong_statistics(layer: nn.Module, x: Tensor, out: Tensor) -> str | None:
    """Compare the outputs of a fresh layer with those of known slips."""
    over_features = (x - x.mean(1, keepdim=True)) / x.std(1, correction=0, keepdim=True)
    slips = {
        "that divides by the variance; divide by its root.": (
            (x - x.mean(0)) / (x.var(0, correction=0) + EPS)
        ),
        "the variance has n - 1 below; to normalise, PyTorch divides by n (correction=0).": (
            (x - x.mean(0)) / (x.var(0) + EPS).sqrt()
        ),
        "your statistics run over the features of one example; they must run over the examples, "
        "one mean a feature.": over_features,
        "you use one mean and one variance for all features; each feature has its own.": (
            (x - x.mean()) / (x.var(correction=0) + EPS).sqrt()
        ),
        "you took the mean away and did not divide by the standard deviation.": x - x.mean(0),
    }
    right = _reference(x)
    if same(out, right, tol=1e-4) is not None:
        named = [text for text, value in slips.items() if same(out, value, tol=1e-4) is None]
        return named[0] if named else f"the outputs are off: {same(out, right, 1e-4)}."
    tiny = 1e-3 * x  # here epsilon is not small against the variance
    if same(layer(tiny), _reference(tiny), tol=1e-6) is not None:
        if same(layer(tiny), _reference(tiny, eps=0.0), tol=1e-6) is None:
            return "epsilon is missing: a feature that is constant in a batch would divide by 0."
        for eps in (1e-2, 1e-3, 1e-4, 1e-6, 1e-7, 1e-8, 1e-12):
            if same(layer(tiny), _reference(tiny, eps=eps), tol=1e-6) is None:
                return f"epsilon is {eps:g} in your version; here it is 1e-5."
        return (
            "with inputs a thousand times smaller the outputs are off: epsilon (1e-5) belongs "
            "inside the root, added to the variance."
        )
    return None


def _wrong_learning(layer: nn.Module, x: Tensor) -> str | None:
    """Set gamma and beta, compare outputs and gradients with those of the reference."""
    parameters = list(layer.parameters())
    with torch.no_grad():
        for k, p in enumerate(parameters):
            p.copy_(torch.arange(1.0, p.numel() + 1).reshape(p.shape) + 3 * k)
    sets = [p.detach().flatten() for p in parameters]
    if [len(s) for s in sets] != [3, 3]:
        return "keep gamma and beta in two parameters of 3 numbers each."
    weigh = _drawn(_seeded(1), *x.shape)
    results = []
    one, other = sets
    # also gamma = 1 + a learned number that starts at 0
    for gamma, beta in ((one, other), (other, one), (one + 1, other), (other + 1, one)):
        gamma, beta = (v.clone().requires_grad_() for v in (gamma, beta))
        inputs = x.clone().requires_grad_()
        out = _reference(inputs, gamma, beta)
        results.append((out, torch.autograd.grad((out * weigh).sum(), inputs)[0]))
    inputs = x.clone().requires_grad_()
    out = layer(inputs)
    if not out.requires_grad:
        return "no gradient comes back: something is detached, or under no_grad."
    found = torch.autograd.grad((out * weigh).sum(), [inputs, *parameters], allow_unused=True)
    fits = [grad for right, grad in results if same(out, right) is None]
    if not fits:
        return "with gamma and beta set to other numbers the outputs are off: y = gamma x̂ + beta."
    if any(g is None for g in found):
        return "a parameter is not used in forward, so it gets no gradient."
    if same(found[0], fits[0]) is not None:
        return (
            "the outputs are right and the gradient is not: the statistics depend on the inputs, "
            "so the gradient must flow through them. Is something detached?"
        )
    return None


@exercise(
    "05.3",
    "Epsilon outside the root",
    kind="adversarial",
    difficulty=1,
    minutes=4,
    right="outside the root the division is safe and the backward pass is not: the root has an "
    "infinite slope at 0. A feature that is constant in a batch (a dead ReLU, a black corner) is "
    "enough, also when other features are fine.",
)
def breaks_outside(answer: Sequence[Any]) -> str | None:
    """Check a batch of four finite numbers whose gradient is nan only with epsilon outside."""
    x = as_numbers(answer, finite=False).flatten()
    if x.shape != (4,):
        return f"give four numbers, one a row; found {len(x)}."
    if not torch.isfinite(x).all():
        return "give finite numbers: with nan or infinity going in, both versions fail."
    healthy, spread = {}, float(x.var(correction=0))
    for where in ("inside", "outside"):
        inputs = x.clone().requires_grad_()
        mean, var = inputs.mean(), inputs.var(correction=0)
        below = (var + EPS).sqrt() if where == "inside" else var.sqrt() + EPS
        out = ((inputs - mean) / below * torch.arange(1.0, 5.0, dtype=torch.float64)).sum()
        healthy[where] = bool(torch.isfinite(torch.autograd.grad(out, inputs)[0]).all())
    if not healthy["inside"] or spread == float("inf"):
        return "these numbers are so large that epsilon inside fails too; find tamer ones."
    if healthy["outside"]:
        return (
            f"the gradient is finite in both versions (the variance is "
            f"{spread:.3g}). At which variance has the root no finite slope?"
        )
    return None


@exercise(
    "05.2",
    "Running averages, the PyTorch way",
    kind="bug hunt",
    difficulty=2,
    minutes=4,
    right="momentum is the share of the NEW value, and the running variance is the unbiased one.",
)
def moved_averages(answer: Callable[..., Any]) -> str | None:
    """Check ``moved_averages(mean, var, x, momentum)``: [F], [F], [B, F] -> two tensors [F]."""

    def right(mean: Tensor, var: Tensor, x: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
        return mean + momentum * (x.mean(0) - mean), var + momentum * (x.var(0) - var)

    def turned(mean: Tensor, var: Tensor, x: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
        return right(mean, var, x, 1 - momentum)

    def biased(mean: Tensor, var: Tensor, x: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
        return right(mean, var, x, momentum)[0], var + momentum * (x.var(0, correction=0) - var)

    def turned_biased(
        mean: Tensor, var: Tensor, x: Tensor, momentum: float
    ) -> tuple[Tensor, Tensor]:
        return biased(mean, var, x, 1 - momentum)

    def spread(mean: Tensor, var: Tensor, x: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
        return right(mean, var, x, momentum)[0], var + momentum * (x.std(0) - var)

    def one(mean: Tensor, var: Tensor, x: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
        new_mean = mean + momentum * (x.mean() - mean)
        return new_mean, var + momentum * (x.var() - var)

    def case(g: torch.Generator) -> tuple[Tensor, Tensor, Tensor, float]:
        x = 3 * _drawn(g, 5, 3) + 2
        return _drawn(g, 3), torch.rand(3, generator=g, dtype=torch.float64), x, 0.3

    small = (torch.zeros(1).double(), torch.ones(1).double(), torch.tensor([[1.0], [3.0]]), 0.1)
    return compare(
        answer,
        right,
        [(small[0], small[1], small[2].double(), small[3]), *draws(case)],
        slips={
            "momentum is the share of the NEW value in PyTorch (0.1); you gave it to the old one, "
            "as Keras does (0.9 there).": turned,
            "the running variance has n - 1 below, x.var(0); the biased one is for the batch.": (
                biased
            ),
            "two things: momentum is the share of the new value, and the running variance is the "
            "unbiased one.": turned_biased,
            "keep the running variance, not the running standard deviation: x.var(0).": spread,
            "one mean and one variance a feature: reduce over the rows only, x.mean(0).": one,
            "you put the batch's statistics in the place of the averages; move only by the share "
            "momentum.": lambda mean, var, x, momentum: (x.mean(0), x.var(0)),
            "you moved the mean; the variance moves in the same way.": (
                lambda mean, var, x, momentum: (mean + momentum * (x.mean(0) - mean), var)
            ),
            "give the mean first and the variance second.": (
                lambda mean, var, x, momentum: tuple(reversed(right(mean, var, x, momentum)))
            ),
        },
    )


@exercise(
    "05.4",
    "The checkpoint that forgot",
    kind="bug hunt",
    difficulty=2,
    minutes=5,
    right="a checkpoint holds parameters AND buffers, as copies: state_dict, copied.",
)
def saved(answer: Callable[..., Any]) -> str | None:
    """Check ``saved(model)``: a state from which a new model evaluates as the old one did."""
    if message := not_a_function(answer):
        return message

    def make() -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)
        ).double()

    torch.manual_seed(0)
    model, other = make(), make()
    for _ in range(5):
        model(5 + 3 * _drawn(_seeded(0), 16, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = answer(model)
    if same(model.state_dict(), before) is not None:
        return "your function changed the model; saving must leave it as it is."
    if not all(module.training for module in model.modules()):
        return "training goes on after saving, and you left the model in eval mode."
    if not isinstance(state, Mapping):
        return f"give back a dictionary, name -> tensor; found a {type(state).__name__}."
    if missing := [name for name in before if name not in state]:
        averages = "The running averages are no parameters; they are buffers of the model."
        words = averages if "1.running_mean" in missing else "A new model needs them all."
        return f"not in the checkpoint: {', '.join(missing)}. {words}"
    if more := [str(name) for name in state if name not in before]:
        return f"a new model has no place for {', '.join(more)}."
    if (difference := same(dict(state), before)) is not None:
        return f"the checkpoint does not hold what the model holds: {difference}."
    if changed := [name for name in before if _kind(state[name]) not in (None, before[name].dtype)]:
        return (
            f"{changed[0]} has another number type in the checkpoint, {_kind(state[changed[0]])} "
            f"instead of {before[changed[0]].dtype}: digits are lost."
        )
    for _ in range(3):  # training goes on
        model(-9 * _drawn(_seeded(2), 16, 3))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.0)
    live = [name for name in before if same(state[name], before[name]) is not None]
    if live:
        return (
            f"the checkpoint went on learning with the model ({', '.join(live)}): state_dict() "
            "gives the live tensors. Copy each of them."
        )
    try:
        other.load_state_dict(dict(state))
    except (RuntimeError, TypeError, AttributeError) as error:
        return f"a new model cannot load it: {' '.join(str(error).split())[:120]}"
    return None


def _kind(value: Any) -> torch.dtype | None:
    return value.dtype if isinstance(value, Tensor) else None


@exercise(
    "05.5",
    "Two updates a step",
    kind="bug hunt",
    difficulty=2,
    minutes=5,
    right="one pass, one set of batch statistics, one update of the averages: now the running "
    "statistics describe both tasks' inputs together.",
)
def one_pass(answer: Callable[..., Any]) -> str | None:
    """Check ``one_pass(trunk, heads, inputs)``: {task: input [B, F]} -> {task: output}, mixed."""
    if message := not_a_function(answer):
        return message
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU()).double()
    heads = nn.ModuleDict({name: nn.Linear(4, 2).double() for name in ("plain", "shifted")})
    g = _seeded(0)
    inputs = {"plain": _drawn(g, 6, 3), "shifted": 4 + _drawn(g, 3, 3)}
    twin, twin_heads = copy.deepcopy(trunk), copy.deepcopy(heads)
    features = twin(torch.cat(list(inputs.values())))
    wanted = {
        name: twin_heads[name](z) for name, z in zip(inputs, features.split([6, 3]), strict=True)
    }
    given = {name: x.clone() for name, x in inputs.items()}
    found = answer(trunk, heads, given)
    if not isinstance(found, Mapping) or set(found) != set(inputs):
        return "give back one output a task: a dictionary with the names of the inputs."
    if is_empty(found):
        raise NotAttemptedError
    updates = int(trunk[1].num_batches_tracked)
    if not trunk.training or not trunk[1].training:
        return (
            "the trunk is in eval mode afterwards: then the averages never move. Keep it in train."
        )
    if updates == 0:
        return "the running averages did not move at all; in training they must, once a step."
    if updates > 1:
        return (
            f"the running averages moved {updates} times in one step. Let the trunk run once, on "
            "the inputs of both tasks together."
        )
    if same(trunk[1].running_mean, twin[1].running_mean) is not None:
        return (
            "one update, but not of the statistics of both tasks' inputs together: does every row "
            "of both go through the trunk?"
        )
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    if shapes != {"plain": (6, 2), "shifted": (3, 2)}:
        return (
            f"6 rows of plain and 3 of shifted went in; found outputs of shapes {shapes}. Cut the "
            "features where the first task's rows end."
        )
    swapped = {name: twin_heads[name] for name in reversed(inputs)}
    crossed = dict(zip(inputs, swapped.values(), strict=True))
    rows = features.split([6, 3])
    if all(same(found[n], crossed[n](z)) is None for n, z in zip(inputs, rows, strict=True)):
        return "each task's rows went through the other task's head."
    if difference := same(dict(found), wanted):
        return f"the averages are right, an output is not: {difference}."
    if not all(value.requires_grad for value in found.values()):
        return "the outputs are right, and no gradient comes back: leave out no_grad and detach."
    for value in found.values():
        first = trunk[0].weight
        if torch.autograd.grad(value.sum(), first, retain_graph=True, allow_unused=True)[0] is None:
            return (
                "the outputs are right, and no gradient reaches the trunk: are its features "
                "detached, or under no_grad?"
            )
    return _other_rows(answer, twin, twin_heads, g)


def _other_rows(
    answer: Callable[..., Any], trunk: nn.Module, heads: nn.ModuleDict, g: torch.Generator
) -> str | None:
    """Ask again, with other numbers of rows and the tasks in the other order."""
    inputs = {"shifted": 4 + _drawn(g, 4, 3), "plain": _drawn(g, 5, 3)}
    parts = copy.deepcopy(trunk)(torch.cat(list(inputs.values()))).split([4, 5])
    wanted = {name: heads[name](z) for name, z in zip(inputs, parts, strict=True)}
    found = answer(copy.deepcopy(trunk), copy.deepcopy(heads), inputs)
    if isinstance(found, Mapping) and same(dict(found), wanted) is None:
        return None
    return (
        "right for 6 rows of plain and 3 of shifted; with 4 rows of shifted first and then 5 of "
        "plain it is not. Take names and numbers of rows from `inputs`."
    )


@exercise(
    "05.6",
    "Rows that are not there",
    kind="bug hunt",
    difficulty=3,
    minutes=6,
    right="rows without an input are left out of mean AND variance, and of the number divided by.",
)
def present_only(answer: Callable[..., Any]) -> str | None:
    """Check ``present_only(x, present)``: [B, F] and bool [B] -> normalised [B, F], 0 if absent."""

    def right(x: Tensor, present: Tensor) -> Tensor:
        there = present[:, None].to(x.dtype)
        count = there.sum()
        mean = torch.where(present[:, None], x, 0.0).sum(0) / count
        away = torch.where(present[:, None], x - mean, 0.0)
        return away / (away.square().sum(0) / count + EPS).sqrt()

    def all_rows(x: Tensor, present: Tensor) -> Tensor:
        return torch.where(present[:, None], _reference(x), 0.0)

    def kept(x: Tensor, present: Tensor) -> Tensor:
        mean, var = x[present].mean(0), x[present].var(0, correction=0)
        return (x - mean) / (var + EPS).sqrt()

    def mean_only(x: Tensor, present: Tensor) -> Tensor:
        mean, var = x[present].mean(0), x.var(0, correction=0)
        return torch.where(present[:, None], (x - mean) / (var + EPS).sqrt(), 0.0)

    def wrong_count(x: Tensor, present: Tensor) -> Tensor:
        there = torch.where(present[:, None], x, 0.0)
        mean = there.mean(0)
        away = torch.where(present[:, None], x - mean, 0.0)
        return away / (away.square().mean(0) + EPS).sqrt()

    def short(x: Tensor, present: Tensor) -> Tensor:
        return _reference(x[present])

    def unbiased(x: Tensor, present: Tensor) -> Tensor:
        mean, var = x[present].mean(0), x[present].var(0)
        return torch.where(present[:, None], (x - mean) / (var + EPS).sqrt(), 0.0)

    def case(g: torch.Generator) -> tuple[Tensor, Tensor]:
        present = torch.tensor([True, False, True, True, False, True])
        x = 5 + 2 * _drawn(g, 6, 3)
        return torch.where(present[:, None], x, 0.0), present

    def garbage(g: torch.Generator) -> tuple[Tensor, Tensor]:
        x, present = case(g)
        return torch.where(present[:, None], x, -7.0), present

    def nothing(g: torch.Generator) -> tuple[Tensor, Tensor]:
        x, present = case(g)
        return torch.where(present[:, None], x, torch.nan), present

    few = (torch.tensor([[4.0], [0.0], [6.0]]).double(), torch.tensor([True, False, True]))
    message = compare(
        answer,
        right,
        [few, *draws(case), *draws(garbage, seed=1)],
        slips={
            "the rows that are not there still count in the mean and in the variance: take the "
            "statistics from x[present].": all_rows,
            "the statistics are right; rows that are not there must come out as 0.": kept,
            "the mean is right, but the variance still counts the rows that are not there.": (
                mean_only
            ),
            "you left the absent rows out of the sums, and divided by the number of all rows.": (
                wrong_count
            ),
            "the absent rows are missing from the result: keep the shape, with 0 in their place.": (
                short
            ),
            "to normalise, divide by n, not by n - 1 (correction=0).": unbiased,
        },
    )
    if message:
        return message
    x, present = draws(nothing, 1, seed=2)[0]
    if same(answer(x.clone(), present), right(x, present)) is not None:
        return (
            "right while the absent rows hold numbers. With nan in them it is not: 0 times nan is "
            "nan. Choose rows (x[present], torch.where), do not multiply them by 0."
        )
    x, present = draws(case, 1, seed=3)[0]
    weigh = _drawn(_seeded(4), *x.shape)
    grads = []
    for function in (answer, right):
        inputs = x.clone().requires_grad_()
        out = function(inputs, present)
        if not out.requires_grad:
            return "no gradient comes back: something is detached, or under no_grad."
        grads.append(torch.autograd.grad((out * weigh).sum(), inputs)[0])
    if same(*grads) is not None:
        return (
            "the outputs are right and the gradient is not: the statistics depend on the rows that "
            "are there, so the gradient must flow through them. Is something detached?"
        )
    return None


from mtl_helpers.lessons.lesson_05.exercises_second import *  # noqa: E402, F403
