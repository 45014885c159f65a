"""Comparing an answer with the right one, and with the slips people make.

What the messages say is deterministic: the printed cases are small and the draws are seeded.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch


class NotAttemptedError(Exception):
    """The answer is still the untouched stub."""


def draws(make: Callable[[torch.Generator], tuple], count: int = 5, seed: int = 0) -> list[tuple]:
    """Draw the arguments of ``count`` further cases; ``make`` gets a seeded generator."""
    generator = torch.Generator().manual_seed(seed)
    return [make(generator) for _ in range(count)]


def compare(
    answer: Callable[..., Any],
    right: Callable[..., Any],
    cases: Iterable[tuple],
    slips: Mapping[str, Callable[..., Any]] | None = None,
    tol: float = 1e-6,
) -> str | None:
    """Compare a learner's function with the right one, and with known slips, on every case.

    Args:
        answer: the learner's function.
        right: the reference; its argument names are used in messages.
        cases: tuples of arguments, each call gets copies; a small one to print first, then draws.
        slips: message -> a function with that slip. A slip is named when it agrees with the
            answer on every case.
        tol: largest difference, absolute below 1 and relative above.

    Returns:
        ``None`` when right, else the slip's message, or what was found on one case.
    """
    if not callable(answer):
        return "give the check the function itself: its name, without brackets after it."
    cases = list(cases)
    if len(cases) < 2:
        raise ValueError("a check needs a second case, or a constant would pass")
    found = [answer(*copy.deepcopy(case)) for case in cases]
    expected = [right(*copy.deepcopy(case)) for case in cases]
    different = [same(f, e, tol) for f, e in zip(found, expected, strict=True)]
    if not any(different):
        return None
    for message, slip in (slips or {}).items():
        if all(_agrees(f, slip, case, tol) for f, case in zip(found, cases, strict=True)):
            return message
    first = next(i for i, difference in enumerate(different) if difference)
    start = "right on the small case, but " if first else ""
    given = arguments(right, cases[first], {})
    return f"{start}with {given} your answer is off: {different[first]}."


def same(found: Any, expected: Any, tol: float = 1e-6) -> str | None:
    """Say how ``found`` differs from ``expected``: numbers, tensors, text, or collections of them.

    Returns:
        ``None`` when they are the same, else a short text ("2 found, 4 expected").

    Raises:
        NotAttemptedError: ``found`` is ``None`` or ``...``, or holds one.
    """
    if is_empty(found):
        raise NotAttemptedError
    f, e = _numbers(found), _numbers(expected)
    if f is not None and e is not None:
        if f.shape != e.shape:
            return f"shape {list(f.shape)} found, shape {list(e.shape)} expected"
        off = ~torch.isclose(f, e, rtol=tol, atol=tol, equal_nan=True)
        if not off.any():
            return None
        where = tuple(off.nonzero()[0].tolist())
        digits = 4 if show(f[where]) != show(e[where]) else 10
        numbers = f"{show(f[where], digits)} found, {show(e[where], digits)} expected"
        if e.numel() == 1:
            return numbers
        return f"{int(off.sum())} of {e.numel()} numbers differ; at {list(where)}: {numbers}"
    if isinstance(expected, Mapping) and isinstance(found, Mapping) and set(found) == set(expected):
        parts = {f"for {key!r}: ": (found[key], expected[key]) for key in expected}
    elif _is_sequence(expected) and _is_sequence(found) and len(found) == len(expected):
        parts = {f"part {i}: ": pair for i, pair in enumerate(zip(found, expected, strict=True), 1)}
    elif isinstance(expected, str) and isinstance(found, str):
        equal = found.strip().casefold() == expected.strip().casefold()
        return None if equal else f"{found!r} found, {expected!r} expected"
    else:
        equal = e is None and bool(found == expected)
        return None if equal else f"{show(found)} found, {show(expected)} expected"
    return next((k + text for k, pair in parts.items() if (text := same(*pair, tol))), None)


def _agrees(found: Any, slip: Callable[..., Any], case: tuple, tol: float) -> bool:
    try:
        return same(found, slip(*copy.deepcopy(case)), tol) is None
    except Exception:
        return False


def _numbers(value: Any) -> torch.Tensor | None:
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", torch.float64)
    try:
        return None if isinstance(value, str) else torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return None


def show(value: Any, digits: int = 4) -> str:
    """Write a value shortly: rounded numbers, or the shape of many."""
    numbers = _numbers(value)
    if numbers is None and isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {show(value[key])}" for key in value) + "}"
    if numbers is None:
        return repr(value) if isinstance(value, str) else f"a {type(value).__name__}"
    if numbers.ndim == 0:
        return str(value) if isinstance(value, bool) else f"{numbers.item():.{digits}g}"
    if numbers.ndim == 1 and len(numbers) <= 8:
        return "[" + ", ".join(f"{x:.{digits}g}" for x in numbers.tolist()) + "]"
    return f"numbers of shape {list(numbers.shape)}"


def arguments(function: Callable[..., Any], values: tuple, named: Mapping[str, Any]) -> str:
    """Write what a function was called with: "losses = [1, 3], k = 2"."""
    try:
        given = inspect.signature(function).bind(*values, **named).arguments
    except (TypeError, ValueError):
        return ", ".join(map(show, values)) or "no arguments"
    return ", ".join(f"{name} = {show(value)}" for name, value in given.items()) or "no arguments"


def is_empty(value: Any) -> bool:
    """Whether a value is a blank (``None`` or ``...``), or a collection that holds one."""
    if isinstance(value, Mapping):
        return any(map(is_empty, value.values()))
    if _is_sequence(value):
        return any(map(is_empty, value))
    return value is None or value is ...


def _is_sequence(value: Any) -> bool:
    return isinstance(value, tuple | list)
