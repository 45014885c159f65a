"""What many exercises ask of an answer besides its numbers, each tested in one place.

Every tester gives ``None``, or one sentence that names the property that is missing::

    return compare(answer, right, cases) or gradient_reaches(answer, (losses, weights))

Tuples of inputs are copied before each call, so a tester never spoils them.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mtl_helpers.teaching.exercises.answers import same
from mtl_helpers.teaching.exercises.values import (
    AnswerError,
    NotAttemptedError,
    error_text,
    is_sequence,
    numbers,
    show,
)

# ------------------------------------------------------------------------------- gradients


class Calls(TorchFunctionMode):
    """Note which functions of PyTorch run inside, and whether gradients are ever off."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.off = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name == "tensor" and any(isinstance(part, Tensor) for part in _parts(list(args[:1]))):
            name = "tensor of tensors"  # it calls detach itself
        self.names.add("data" if func == Tensor.data.__get__ else name)
        self.off |= not torch.is_grad_enabled()
        return func(*args, **(kwargs or {}))


_CUTS = {  # function of PyTorch -> what it does to the gradient
    "tensor of tensors": "torch.tensor(...) made new numbers without a history",
    "detach": "detach() cut it off",
    "detach_": "detach_() cut it off",
    "data": ".data gives the numbers without their history",
    "item": "item() made a plain number of a tensor",
    "__float__": "float() made a plain number of a tensor",
    "tolist": "tolist() made plain numbers of a tensor",
    "numpy": "NumPy, which was used on the way, keeps no gradient",
    "__array__": "NumPy, which was used on the way, keeps no gradient",
    "argmax": "argmax gives a place, and a place has no slope",
    "long": "long() gives whole numbers, and they have no slope",
    "tensor": "torch.tensor(...) made new numbers without a history",
}


def gradient_reaches(
    answer: Callable[..., Any],
    inputs: tuple,
    to: Collection[int] | None = None,
    right: Callable[..., Any] | None = None,
    tol: float = 1e-6,
) -> str | None:
    """Ask whether the result of a function can be trained through.

    Args:
        answer: the learner's function; its result may be a tensor, or a tuple, list or dictionary
            of tensors.
        inputs: its arguments.
        to: places of the arguments that the gradient must reach; all of decimals when ``None``.
        right: a reference. With it the gradients must agree too, so that a part of the
            calculation that is detached is seen; without it they must be finite and not all zero.
        tol: largest difference from the gradients of the reference.
    """
    wanted = _decimals(inputs) if to is None else list(to)
    given = _with_gradients(inputs, wanted)
    with Calls() as calls, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # float() of a tensor that has a gradient warns
        try:
            result = answer(*given)
        except (AnswerError, RuntimeError) as error:
            if "numpy() on Tensor that requires grad" not in str(error):
                raise
            return (
                "NumPy is used on a tensor that has a gradient, and NumPy keeps no gradient: "
                "compute with torch."
            )
    outputs = list(_parts(result))
    if message := next((text for part in outputs if (text := _cut(part, calls))), None):
        return message
    slopes = _slopes(outputs, [given[place] for place in wanted])
    names = _names(answer, len(inputs))
    if right is not None:
        reference = _with_gradients(inputs, wanted)
        expected = _slopes(list(_parts(right(*reference))), [reference[place] for place in wanted])
    for number, place in enumerate(wanted):
        slope, name = slopes[number], names[place]
        if slope is None:
            return f"no gradient reaches `{name}`: its way to the result is cut, or it is not used."
        if right is not None:
            zero = torch.zeros_like(slope)
            if same(slope, zero if expected[number] is None else expected[number], tol):
                return (
                    f"the numbers are right and the gradient in `{name}` is not: a part of the "
                    "calculation is detached, or computed under no_grad."
                )
        elif not slope.isfinite().all():
            return f"the gradient in `{name}` is nan or infinite."
        elif not slope.any():
            return f"the gradient in `{name}` is 0 everywhere: rounding, for example, has no slope."
    return None


def parameters_learn(
    model: nn.Module, inputs: tuple, frozen: Collection[str] = (), part: str = ""
) -> str | None:
    """Ask whether a gradient reaches every parameter of a model that is to learn.

    Args:
        model: the learner's model.
        inputs: its inputs.
        frozen: beginnings of the names of parameters that must stay without a gradient.
        part: the output of this name alone, when the model gives a dictionary; all when empty.
    """
    named = dict(model.named_parameters())
    if not named:
        return "the model has no parameters, so nothing can learn."
    for name, parameter in named.items():
        if not parameter.requires_grad and not name.startswith(tuple(frozen)):
            return f"`{name}` asks for no gradient (requires_grad is off): it cannot learn."
        if parameter.requires_grad and name.startswith(tuple(frozen)):
            return f"`{name}` shall be frozen, and it still asks for a gradient."
    learning = {name: p for name, p in named.items() if p.requires_grad}
    if not learning:
        return None
    with Calls() as calls:
        result = model(*copy.deepcopy(inputs))
    outputs = list(_parts(result[part] if part else result))
    if message := next((text for one in outputs if (text := _cut(one, calls))), None):
        return message
    slopes = _slopes(outputs, list(learning.values()))
    missed = [name for name, slope in zip(learning, slopes, strict=True) if slope is None]
    if missed:
        return f"no gradient reaches {_listed(missed)}: detached on the way, or never used."
    return None


def _cut(result: Any, calls: Calls) -> str | None:
    """Say why a result has no gradient, as exactly as the calls tell."""
    if isinstance(result, Tensor) and result.requires_grad:
        return None
    if isinstance(result, np.ndarray | np.generic):
        return "the result is a NumPy array, and NumPy keeps no gradient: compute with torch."
    if not isinstance(result, Tensor):
        return (
            f"the result is {_article(result)}, which has no gradient: leave out float() and "
            "item(), and give a tensor."
        )
    why = (
        "it was computed under no_grad"
        if calls.off
        else next(
            (text for name, text in _CUTS.items() if name in calls.names),
            "it was detached, turned into a plain number or computed under no_grad",
        )
    )
    return f"the result has no gradient: {why}."


def _article(value: Any) -> str:
    plain = {int: "a plain number", float: "a plain number", bool: "True or False"}
    return plain.get(type(value)) or show(value)


def _decimals(inputs: tuple) -> list[int]:
    places = enumerate(inputs)
    return [k for k, value in places if isinstance(value, Tensor) and value.is_floating_point()]


def _with_gradients(inputs: tuple, places: Collection[int]) -> list[Any]:
    given = [_copied(value) for value in inputs]
    for place in places:
        given[place] = given[place].detach().clone().requires_grad_()
    return given


def _slopes(outputs: list[Tensor], towards: list[Tensor]) -> list[Tensor | None]:
    """The gradients of a sum of the outputs in which every number has a weight of its own."""
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros((), dtype=torch.float64)
    for output in outputs:
        weights = torch.rand(output.shape, generator=generator, dtype=torch.float64) + 0.5
        total = total + (output * weights).sum()
    return list(torch.autograd.grad(total, towards, allow_unused=True))


def _parts(result: Any) -> Iterator[Any]:
    """The tensors, arrays or numbers inside a result."""
    if isinstance(result, Mapping):
        result = list(result.values())
    if is_sequence(result):
        for part in result:
            yield from _parts(part)
    else:
        yield result


# ---------------------------------------------------------------------------------- layers


def leaves_of(output: Tensor) -> dict[int, Tensor]:
    """Give the leaf tensors (parameters, mostly) that an output was computed from, by id."""
    nodes = nodes_of(output)
    return {id(node.variable): node.variable for node in nodes if hasattr(node, "variable")}


def nodes_of(output: Tensor) -> set[Any]:
    """Give the nodes of the graph that a gradient of the output would walk through."""
    seen, waiting = set(), [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting += [following for following, _ in node.next_functions]
    return seen


def layers_stay(model: nn.Module, inputs: tuple) -> str | None:
    """Ask whether a model uses its own, registered layers, and the same ones in every call.

    Returns:
        ``None``, or a sentence that tells a layer made inside forward from one that is kept but
        not registered (in a plain list).
    """
    used, kept = [], []
    for _ in range(2):  # both results are held, so that no id is used twice
        outputs = [part for part in _parts(model(*_copied(inputs))) if isinstance(part, Tensor)]
        used.append({k: v for output in outputs for k, v in leaves_of(output).items()})
        kept.append({id(p): p for p in model.parameters()})
    strangers = set(used[0]) - set(kept[0])
    if kept[0].keys() != kept[1].keys() or not strangers <= set(used[1]):
        return (
            "forward makes a new layer in every call, so nothing of it is ever learned: make the "
            "layers in __init__, and use them in forward."
        )
    if strangers:
        return (
            f"{len(strangers)} of the tensors that the model uses are not among "
            "model.parameters(): the optimiser never sees them. Keep layers as attributes, or in "
            "an nn.ModuleList or nn.ModuleDict, not in a plain list."
        )
    return None


# ------------------------------------------------------------------------------ side effects


def inputs_left_alone(
    answer: Callable[..., Any], inputs: tuple, names: Sequence[str] = (), grads: bool = False
) -> str | None:
    """Ask whether a function leaves what it was given as it was: values, kind, mode.

    Args:
        answer: the learner's function.
        inputs: its arguments: tensors, arrays, lists, dictionaries, modules.
        names: how a message calls them; the function's own argument names when empty.
        grads: whether the ``.grad`` of tensors and parameters must stay as well.
    """
    given, before = _copied(inputs), _copied(inputs)
    answer(*given)
    for name, now, old in zip(names or _names(answer, len(inputs)), given, before, strict=True):
        change = _changed(now, old) or (grads and _other_grads(now, old))
        if change:
            return f"your function changes `{name}`, which belongs to the caller: {change}."
    return None


def _changed(now: Any, old: Any, path: str = "") -> str | None:
    """Say in which way an object is not what its copy from before is."""
    where = f"at {path} " if path else ""
    if isinstance(now, nn.Module):
        return _changed_module(now, old)
    if isinstance(now, Tensor):
        if now.shape != old.shape or now.dtype != old.dtype:
            return f"{where}its shape or number type is another one"
        if numbers(now) is not None and same(now, old, tol=0.0):
            return f"{where}its numbers are overwritten; work on a copy (clone)"
        if now.requires_grad != old.requires_grad:
            return f"{where}its requires_grad is switched"
        return None
    if isinstance(now, np.ndarray):
        equal = now.shape == old.shape and np.array_equal(now, old, equal_nan=now.dtype.kind == "f")
        return None if equal else f"{where}its numbers are overwritten; work on a copy"
    if isinstance(now, Mapping | list | tuple):
        places = list(now) if isinstance(now, Mapping) else list(range(len(now)))
        were = list(old) if isinstance(old, Mapping) else list(range(len(old)))
        if places != were:
            return f"{where}something was added, removed or put in another order"
        changes = (_changed(now[k], old[k], f"{path}[{show(k)}]") for k in places)
        return next((change for change in changes if change), None)
    plain = isinstance(now, str | int | float | bool | type(None))
    return f"{where}{show(old)} became {show(now)}" if plain and now != old else None


def _other_grads(now: Any, old: Any) -> str | None:
    pairs = [(now, old)]
    if isinstance(now, nn.Module):
        pairs = list(zip(now.parameters(), old.parameters(), strict=True))
    for one, other in pairs:
        grads = [getattr(tensor, "grad", None) for tensor in (one, other)]
        lists = [grad if grad is None else grad.tolist() for grad in grads]
        if lists[0] != lists[1]:
            return "its .grad is filled or changed; torch.autograd.grad leaves it alone"
    return None


def _changed_module(now: nn.Module, old: nn.Module) -> str | None:
    states = [model.state_dict() for model in (now, old)]
    if list(states[0]) != list(states[1]):
        return "its parameters or buffers have other names"
    modes = [[m.training for m in model.modules()] for model in (now, old)]
    if modes[0] != modes[1]:
        return "its mode (train or eval) is another one afterwards; put back what was"
    asks = [[p.requires_grad for p in model.parameters()] for model in (now, old)]
    if asks[0] != asks[1]:
        return "the requires_grad of a parameter is switched"
    changed = [k for k in states[1] if same(states[0][k], states[1][k], tol=0.0)]
    return f"its {_listed(changed)} changed" if changed else None


# ---------------------------------------------------------------------------------- examples


def each_example_counts(
    answer: Callable[[Tensor], Any], batch: Tensor, tol: float = 1e-6
) -> str | None:
    """Ask whether each example has its own result, which does not depend on the other examples.

    Args:
        answer: a function or a model in eval mode, [B, ...] -> [B, ...]; or a dictionary of such.
        batch: at least three different examples.
        tol: largest difference that counts as none.
    """
    with torch.no_grad():
        whole, fewer = answer(batch.clone()), answer(batch[:2].clone())
        changed = batch.clone()
        changed[1:] = batch[1:].flip(0) * 1.5 + 1
        others = answer(changed)
    for result, few, moved in zip(*map(list, map(_parts, (whole, fewer, others))), strict=True):
        rows = numbers(result)
        if rows is None or rows.ndim == 0 or len(rows) != len(batch):
            found = "no numbers" if rows is None else f"shape {list(rows.shape)}"
            return f"{len(batch)} examples must give {len(batch)} results; found {found}."
        if all(same(row, rows[0], tol) is None for row in rows[1:]):
            return (
                "every example gets the same result: did you average over the batch (axis 0), or "
                "leave the inputs unused?"
            )
        if same(numbers(moved)[0], rows[0], tol) or same(numbers(few)[0], rows[0], tol):
            return (
                "the result of an example depends on the other examples in its batch: reduce over "
                "the axes of one example only, not over axis 0."
            )
    return None


# ---------------------------------------------------------------------------------- training


def trains(
    step: Callable[[], Any],
    model: nn.Module,
    frozen: Collection[str] = (),
    moving: Collection[str] | None = None,
) -> str | None:
    """Ask whether a training step moves what must learn, and only that.

    Args:
        step: runs the learner's training on ``model``.
        model: the model.
        frozen: beginnings of names of parameters and buffers that must stay.
        moving: beginnings of names of parameters that must move; all others when ``None``.
    """
    before = {name: value.detach().clone() for name, value in model.state_dict().items()}
    step()
    after = model.state_dict()
    learned = {name for name, _ in model.named_parameters()}
    if wild := [name for name in before if not numbers(after[name]).isfinite().all()]:
        return f"after training {_listed(wild)} holds nan or infinity."
    for name, old in before.items():
        moved = not torch.equal(after[name], old)
        stays = name.startswith(tuple(frozen)) if frozen else False
        must = name in learned and (moving is None or name.startswith(tuple(moving)))
        if stays and moved:
            return f"`{name}` shall be frozen, and training moved it."
        if must and not stays and not moved:
            return f"training leaves `{name}` where it was."
    return None


# ------------------------------------------------------------------------------ other inputs


def order_of_keys(answer: Callable[..., Any], inputs: tuple, tol: float = 1e-6) -> str | None:
    """Ask whether a function finds things in dictionaries by name, not by their position."""
    names = _names(answer, len(inputs))
    expected = answer(*_copied(inputs))
    for place, value in enumerate(inputs):
        if isinstance(value, Mapping):
            given = list(_copied(inputs))
            given[place] = dict(reversed(given[place].items()))
            if same(answer(*given), expected, tol):
                return (
                    f"with the entries of `{names[place]}` in another order the result is another "
                    "one: look entries up by name, not by position."
                )
    return None


_FORMS: dict[str, Callable[[Tensor], Any]] = {
    "a list": lambda value: value.tolist(),
    "a tuple": lambda value: tuple(value.tolist()),
    "a NumPy array": lambda value: value.numpy(),
    "a float32 tensor": lambda value: value.to(torch.float32),
    "a tensor": lambda value: value,
}


def takes_any_array(
    answer: Callable[..., Any],
    inputs: tuple,
    forms: Collection[str] = tuple(_FORMS),
    tol: float = 1e-5,
) -> str | None:
    """Ask whether a function takes its arrays in every form.

    Args:
        answer: the learner's function.
        inputs: its arguments; the tensors among them are given in each form.
        forms: "a list", "a tuple", "a NumPy array", "a float32 tensor", "a tensor".
        tol: largest difference from the result for tensors.
    """
    expected = answer(*_copied(inputs))
    for form in forms:
        given = [
            _FORMS[form](v) if isinstance(v, Tensor) and v.ndim else v for v in _copied(inputs)
        ]
        try:
            difference = same(answer(*given), expected, tol)
        except NotAttemptedError:
            raise
        except Exception as error:
            return f"given {form} your function does not run ({error_text(error)})."
        if difference:
            return f"given {form} your function gives something else: {difference}."
    return None


# ----------------------------------------------------------------------------------- helpers


def _copied(value: Any) -> Any:
    """Copy a value; a tensor that is no leaf is copied as a leaf, which deepcopy refuses."""
    if isinstance(value, Tensor) and not value.is_leaf:
        return value.detach().clone().requires_grad_(value.requires_grad)
    if type(value) in (tuple, list):
        return type(value)(map(_copied, value))
    return copy.deepcopy(value)


def _names(function: Callable[..., Any], count: int) -> list[str]:
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        names = []
    return [names[k] if k < len(names) else f"argument {k + 1}" for k in range(count)]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
