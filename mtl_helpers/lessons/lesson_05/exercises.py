"""The checks of lesson 05, regularisation: batch normalisation, dropout and sharing."""

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
from mtl_helpers.teaching.exercises.testers import (
    Calls,
    gradient_reaches,
    inputs_left_alone,
    layers_stay,
)

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
    if not isinstance(answer, type):
        return "give the check the class itself: its name, without brackets after it."
    if not issubclass(answer, nn.Module):
        return (
            "the class is no nn.Module, so no optimiser finds its parameters: write "
            "`class Normalisation(nn.Module):` and call super().__init__() first."
        )
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
    if message := _wrong_statistics(layer, x, out) or inputs_left_alone(layer, (x,), ["x"]):
        return message
    if message := layers_stay(layer, (x,)):
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
    later = -20 + 7 * _drawn(_seeded(5), 9, 3)
    if same(layer(later), _reference(later), tol=1e-3) is not None:
        return (
            "right for the first batch, and off for the next one: something of the first batch is "
            "kept. Take the mean and the variance from the batch that comes in, every time."
        )
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
    if found[0] is None:
        return (
            "the outputs are right, and no gradient reaches the inputs: they were detached, or "
            "turned into NumPy or plain numbers."
        )
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
    short = {name.rpartition(".")[2] for name in before}
    if set(map(str, state)) <= short:
        return (
            f"the names are cut short ({', '.join(map(str, state))}): two layers have a `weight`, "
            "and only one of them is left. Keep the full names, such as `0.weight`."
        )
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
    """Ask again: other numbers of rows, the tasks in the other order, other tasks, three tasks."""

    def wrong(heads: nn.ModuleDict, rows: Mapping[str, int]) -> str | None:
        inputs = {name: 4 * k + _drawn(g, count, 3) for k, (name, count) in enumerate(rows.items())}
        parts = copy.deepcopy(trunk)(torch.cat(list(inputs.values()))).split(list(rows.values()))
        wanted = {name: heads[name](z) for name, z in zip(inputs, parts, strict=True)}
        asked = " and ".join(f"{count} of {name}" for name, count in rows.items())
        start = f"right for 6 rows of plain and 3 of shifted; with {asked}, in this order,"
        hint = "Take names, numbers of rows and of tasks from `inputs`."
        found = answer(copy.deepcopy(trunk), copy.deepcopy(heads), inputs)
        if isinstance(found, Mapping) and same(dict(found), wanted) is None:
            return None
        return f"{start} it is not. {hint}"

    others = {name: nn.Linear(4, 2).double() for name in ("day", "dusk", "night")}
    return wrong(heads, {"shifted": 4, "plain": 5}) or wrong(
        nn.ModuleDict(others), {"dusk": 3, "day": 2, "night": 4}
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
    if message := inputs_left_alone(answer, (x, present), ["x", "present"]):
        return message
    if message := gradient_reaches(answer, draws(case, 1, seed=3)[0], [0], right):
        return f"{message} The gradient must flow through the mean and the variance, too."
    if gradient_reaches(answer, (x, present), [0], right):
        return (
            "the outputs are right, also with nan in the absent rows, but then the gradient of the "
            "rows that are there is nan: 0 times nan in the backward pass. Put a number into the "
            "absent rows *before* you compute with x (the first torch.where of the function)."
        )
    return None


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
    message = compare(
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
    for inputs in cases[:2]:
        message = message or inputs_left_alone(answer, inputs, ["x", "mask", "p", "training"])
        message = message or gradient_reaches(answer, inputs, [0], right)
    return message


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
    before = model.first(x)
    places = {
        "the ReLU is missing: its features are max(0, first(inputs)).": before + 1,
        "the ReLU stands behind the head; it belongs between the layers.": torch.relu(before + 1),
        "that is tanh; the network has a ReLU.": torch.tanh(before) + 1,
        "the head is missing.": features,
    }
    if same(found, features + 1):
        named = [text for text, value in places.items() if same(found, value) is None]
        other = "in eval mode the outputs are not those of the same layers without dropout"
        return named[0] if named else f"{other}; nothing is scaled there."
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
