"""Comparing an answer with the right one, and with the slips people make.

What the messages say is deterministic: the printed cases are small and the draws are seeded.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mtl_helpers.teaching.exercises.values import (
    AnswerError,
    NotAttemptedError,
    arguments,
    as_numbers,
    is_empty,
    is_sequence,
    numbers,
    said_yes,
    show,
    text_for_number,
)

__all__ = [
    "AnswerError",
    "NotAttemptedError",
    "as_numbers",
    "compare",
    "draws",
    "is_empty",
    "not_a_function",
    "said_yes",
    "same",
    "show",
]


def draws(make: Callable[[torch.Generator], tuple], count: int = 5, seed: int = 0) -> list[tuple]:
    """Draw the arguments of ``count`` further cases; ``make`` gets a seeded generator."""
    generator = torch.Generator().manual_seed(seed)
    return [make(generator) for _ in range(count)]


def not_a_function(answer: Any) -> str | None:
    """Say that the check was given a result instead of the function; else ``None``."""
    if callable(answer):
        return None
    return "give the check the function itself: its name, without brackets after it."


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
            answer on every case; one that raises on a case does not agree.
        tol: largest difference, absolute below 1 and relative above.

    Returns:
        ``None`` when right, else the slip's message, or what was found on one case.
    """
    if message := not_a_function(answer):
        return message
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

    A yes or no is the same in any form ("yes", True, 1), and so are numbers in any container.
    Numbers in float32 are given the room that float32 needs.

    Returns:
        ``None`` when they are the same, else a short text ("2 found, 4 expected").

    Raises:
        NotAttemptedError: ``found`` is ``None`` or ``...``, or holds one.
    """
    if is_empty(found):
        raise NotAttemptedError
    both = is_sequence(found) and is_sequence(expected) and len(found) == len(expected)
    if both and (_has_parts(expected) or numbers(found) is None):
        parts = {f"part {i}: ": pair for i, pair in enumerate(zip(found, expected, strict=True), 1)}
        return _first_difference(parts, tol)
    if isinstance(expected, Mapping) and isinstance(found, Mapping) and set(found) == set(expected):
        parts = {f"for {key!r}: ": (found[key], expected[key]) for key in expected}
        return _first_difference(parts, tol)
    f, e = numbers(found), numbers(expected)
    if f is not None and e is not None:
        return _same_numbers(f, e, tol, _kind(found))
    if isinstance(found, str) and not isinstance(expected, str):
        asked = isinstance(expected, bool | np.bool_)
        if asked and said_yes(found) is not None:
            found = said_yes(found)
            return None if found == bool(expected) else f"{found} found, {expected} expected"
    if isinstance(expected, str):
        return _same_text(found, expected)
    if e is not None and (text := text_for_number(found)):
        return text
    # Only equals of one type are asked: an own __eq__ could call anything the same.
    whole = type(found) is type(expected) and not isinstance(found, tuple | list | Mapping)
    return None if whole and _equal(found, expected) else _both(show(found), show(expected))


def _both(found: str, expected: str) -> str:
    return f"{found} found, {expected} expected"


def _first_difference(parts: Mapping[str, tuple[Any, Any]], tol: float) -> str | None:
    return next((k + text for k, pair in parts.items() if (text := same(*pair, tol))), None)


def _has_parts(expected: Any) -> bool:
    """Whether a sequence holds more than plain numbers, so that its parts are compared alone."""
    if numbers(expected) is None:
        return True
    return any(isinstance(part, Tensor | np.ndarray) and part.ndim > 0 for part in expected)


def _same_text(found: Any, expected: str) -> str | None:
    if isinstance(found, str):
        equal = found.strip().casefold() == expected.strip().casefold()
        return None if equal else _both(show(found), show(expected))
    wanted = said_yes(expected) if expected.strip().casefold() in ("yes", "no") else None
    equal = wanted is not None and said_yes(found) is wanted
    return None if equal else _both(show(found), show(expected))


def _same_numbers(f: Tensor, e: Tensor, tol: float, kind: torch.dtype | None) -> str | None:
    if f.shape != e.shape:
        text = f"shape {list(f.shape)} found, shape {list(e.shape)} expected"
        values = show(f), show(e)
        short = not any(value.startswith("numbers of") for value in values)
        return text + (f" ({values[0]} instead of {values[1]})" if short else "")
    if f.is_complex() and not e.is_complex() and not f.imag.any():
        f = f.real
    if f.is_complex() != e.is_complex():
        f, e = f.to(torch.complex128), e.to(torch.complex128)
    room = max(tol, 2e-6) if kind == torch.float32 else tol
    off = ~_close(f, e, room)
    if not off.any():
        return None
    where = tuple(off.nonzero()[0].tolist())
    digits = 4 if show(f[where]) != show(e[where]) else 10
    text = _both(show(f[where], digits), show(e[where], digits))
    if e.numel() != 1:
        text = f"{int(off.sum())} of {e.numel()} numbers differ; at {list(where)}: {text}"
    if kind in (torch.float16, torch.bfloat16) and _close(f, e, torch.finfo(kind).eps).all():
        return f"{text}, because {kind} keeps so few digits; compute in float64"
    return text


def _close(f: Tensor, e: Tensor, tol: float) -> Tensor:
    if f.is_complex():
        f, e = torch.view_as_real(f), torch.view_as_real(e)
        return torch.isclose(f, e, rtol=tol, atol=tol, equal_nan=True).all(-1)
    return torch.isclose(f, e, rtol=tol, atol=tol, equal_nan=True)


def _kind(value: Any) -> torch.dtype | None:
    """The number type of a tensor or an array, also of the first in a list; ``None`` if none."""
    if is_sequence(value) and value:
        return _kind(value[0])
    kind = getattr(value, "dtype", None)
    if isinstance(kind, torch.dtype):
        return kind
    names = {"float16": torch.float16, "float32": torch.float32}
    return names.get(str(kind)) if isinstance(kind, np.dtype) else None


def _equal(found: Any, expected: Any) -> bool:
    try:
        return bool(found == expected)
    except BaseException:
        return False


def _agrees(found: Any, slip: Callable[..., Any], case: tuple, tol: float) -> bool:
    try:
        return same(found, slip(*copy.deepcopy(case)), tol) is None
    except BaseException:
        return False
