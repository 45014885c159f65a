"""Reading and writing the values of an answer, whatever a learner puts there.

Numbers may come as Python numbers, lists, tuples, NumPy arrays, tensors or anything that turns
itself into an array. Nothing here raises because of a strange value: what holds no numbers is
``None`` for :func:`numbers`, and has a short text for :func:`show`.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

ROWS, ENTRIES = 6, 8  # the largest table and the longest list that a message shows
ROOM = 420  # characters for the inputs of a failing case
_YES, _NO = {"yes", "y", "true", "1"}, {"no", "n", "false", "0"}


class NotAttemptedError(Exception):
    """The answer is still the untouched stub, or a part of it is; the text may say which part."""


class AnswerError(Exception):
    """The answer cannot be right; the text is the sentence for the learner."""


# --------------------------------------------------------------------------------- reading


def numbers(value: Any) -> Tensor | None:
    """Turn a value into numbers, float64 or complex128, on the CPU and without a gradient.

    Returns:
        The numbers; ``None`` for text, collections that are not rectangular, tensors without
        numbers (the device "meta"), and everything else that holds no numbers.
    """
    try:
        return _numbers(value)
    except BaseException:  # a strange class may raise anything here
        return None


def _numbers(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        if value.device.type == "meta":
            return None
        value = value.detach().resolve_conj().cpu()
        value = value if value.layout == torch.strided else value.to_dense()
        return value.to(torch.complex128 if value.is_complex() else torch.float64)
    if isinstance(value, str | bytes | Mapping):
        return None
    if isinstance(value, range):
        value = list(value)
    if is_sequence(value):
        parts = [_numbers(part) for part in value]
        if any(part is None for part in parts) or len({part.shape for part in parts}) > 1:
            return None
        return torch.stack(parts) if parts else torch.empty(0, dtype=torch.float64)
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype.kind == "O":
            return _numbers(array.tolist())
        kind = np.complex128 if array.dtype.kind == "c" else np.float64
        return torch.as_tensor(array.astype(kind)) if array.dtype.kind in "biufc" else None
    if isinstance(value, complex):
        return torch.tensor(value, dtype=torch.complex128)
    if isinstance(value, int | float) or hasattr(type(value), "__float__"):
        return torch.tensor(float(value), dtype=torch.float64)
    return None


def as_numbers(
    value: Any,
    what: str = "your answer",
    shape: tuple[int, ...] | None = None,
    finite: bool = True,
) -> Tensor:
    """Turn what a learner gave as data into float64 numbers.

    Args:
        value: numbers in any form: list, tuple, NumPy array, tensor, Python number.
        what: how a message calls it.
        shape: the shape it must have; any when ``None``.
        finite: whether nan and infinity are refused.

    Raises:
        NotAttemptedError: a place is still ``...`` or ``None``.
        AnswerError: text, no numbers, complex numbers, nan or infinity, or another shape.
    """
    if is_empty(value):
        raise NotAttemptedError
    if (text := text_for_number(value)) is not None:
        raise AnswerError(f"{what}: {text}.")
    if _is_huge(value):
        raise AnswerError(f"{what}: a number is too large to compute with.")
    found = numbers(value)
    if found is None:
        raise AnswerError(f"{what}: numbers are needed; found {show(value)}.")
    if found.is_complex():
        if found.imag.any():
            raise AnswerError(f"{what}: real numbers are needed; found complex ones.")
        found = found.real
    if shape is not None and tuple(found.shape) != shape:
        raise AnswerError(f"{what} must have shape {list(shape)}; found {list(found.shape)}.")
    if finite and not found.isfinite().all():
        raise AnswerError(f"{what} holds nan or infinity; give finite numbers.")
    return found


def text_for_number(value: Any) -> str | None:
    """Say that a number was given as text ("2/5", "0.4"), also inside a list; else ``None``."""
    if isinstance(value, str):
        try:
            Fraction(value.strip().removesuffix("%"))
        except (ValueError, ZeroDivisionError):
            return None
        return f"{show(value)} is text; write the number without quotation marks"
    parts = value.values() if isinstance(value, Mapping) else value if is_sequence(value) else ()
    return next((text for part in parts if (text := text_for_number(part))), None)


def said_yes(value: Any) -> bool | None:
    """Read a yes or a no, however it is written: True, 1, "yes", "True", a tensor with one of them.

    Returns:
        ``None`` when it is neither.
    """
    if isinstance(value, str):
        word = value.strip().casefold()
        return True if word in _YES else False if word in _NO else None
    found = numbers(value)
    if found is None or found.numel() != 1 or is_sequence(value):
        return None
    return {0.0: False, 1.0: True}.get(found.item())


def is_sequence(value: Any) -> bool:
    """Whether a value is a list or a tuple."""
    return isinstance(value, tuple | list)


def is_empty(value: Any) -> bool:
    """Whether a value is a blank (``None`` or ``...``), or a collection that holds one."""
    return any(blank for _, blank in leaves(value))


def leaves(value: Any, path: str = "") -> list[tuple[str, bool]]:
    """Go through the places of nested lists, tuples and dictionaries.

    Returns:
        For each place its path ("['left'][0]") and whether it is blank (``None`` or ``...``).
    """
    if isinstance(value, Mapping):
        parts = [(f"{path}[{show(key)}]", value[key]) for key in value]
    elif is_sequence(value):
        parts = [(f"{path}[{place}]", part) for place, part in enumerate(value)]
    else:
        return [(path, value is None or value is ...)]
    return [leaf for where, part in parts for leaf in leaves(part, where)]


# --------------------------------------------------------------------------------- writing


def show(value: Any, digits: int = 4) -> str:
    """Write a value shortly: small tables and lists in full, else its kind or its shape."""
    try:
        return _show(value, digits)
    except BaseException:  # a strange class may raise anything here
        return a_kind(value)


def _show(value: Any, digits: int) -> str:
    if isinstance(value, bool | np.bool_) or value is None:
        return str(value)
    if value is ...:
        return "..."
    if isinstance(value, str):
        text = str(value)
        return repr(text if len(text) <= 60 else text[:59] + "…")
    if isinstance(value, int) and abs(value) > 1e300:
        return f"a whole number of about {int(value.bit_length() * math.log10(2))} digits"
    if isinstance(value, Mapping):
        parts = [f"{_show(key, digits)}: {show(value[key], digits)}" for key in value]
        shown = "{" + ", ".join(parts) + "}"
        return shown if len(parts) <= ENTRIES and len(shown) <= ROOM else a_kind(value)
    found = numbers(value)
    if found is None:
        return _show_other(value, digits)
    if isinstance(value, tuple) and value:
        return _joined(value, "()", digits)
    yes_no = getattr(value, "dtype", None) in (torch.bool, np.dtype(bool))
    return _show_numbers(found.bool() if yes_no else found, digits)


def _show_other(value: Any, digits: int) -> str:
    if is_sequence(value) and 0 < len(value) <= ENTRIES:
        return _joined(value, "()" if isinstance(value, tuple) else "[]", digits)
    if isinstance(value, Tensor) or type(value).__module__ == "numpy":
        where = " without values (device 'meta')" if getattr(value, "is_meta", False) else ""
        return f"{a_kind(value)} of shape {list(value.shape)}{where}"
    if isinstance(value, torch.dtype | torch.device | np.dtype):
        return str(value)
    return a_kind(value)


def _joined(parts: Any, brackets: str, digits: int) -> str:
    shown = brackets[0] + ", ".join(show(part, digits) for part in parts) + brackets[1]
    return shown if len(parts) <= ENTRIES and len(shown) <= ROOM else a_kind(parts)


def _show_numbers(found: Tensor, digits: int) -> str:
    if found.ndim == 0:
        return _show_one(found.item(), digits)
    small = found.ndim == 1 and len(found) <= ENTRIES
    small |= found.ndim == 2 and max(found.shape) <= ROWS
    small |= found.ndim > 2 and found.numel() <= 2 * ENTRIES
    if not small:
        return f"numbers of shape {list(found.shape)}"
    return "[" + ", ".join(_show_numbers(part, digits) for part in found) + "]"


def _show_one(number: bool | float | complex, digits: int) -> str:
    if isinstance(number, bool):
        return str(number)
    if isinstance(number, complex):
        return f"{number:.{digits}g}"
    if number == int(number if math.isfinite(number) else 0) and abs(number) < 1e7:
        return str(int(number))
    return f"{number:.{digits}g}"


def a_kind(value: Any) -> str:
    """Name the kind of a value: "a list of 12", "an int", "a function"."""
    name = type(value).__name__
    text = f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"
    return f"{text} of {len(value)}" if is_sequence(value) or type(value) is dict else text


def arguments(function: Callable[..., Any], values: tuple, named: Mapping[str, Any]) -> str:
    """Write what a function was called with: "losses = [1, 3], k = 2"."""
    try:
        given = dict(inspect.signature(function).bind(*values, **named).arguments)
    except BaseException:  # no signature, or a call that does not fit
        given = dict(enumerate(values)) | dict(named)
    shown = {name: show(value) for name, value in given.items()}
    while sum(map(len, shown.values())) > ROOM:
        longest = max(shown, key=lambda name: len(shown[name]))
        shorter = _briefly(given[longest])
        if len(shorter) >= len(shown[longest]):
            break
        shown[longest] = shorter
    written = [text if isinstance(n, int) else f"{n} = {text}" for n, text in shown.items()]
    return ", ".join(written) or "no arguments"


def _briefly(value: Any) -> str:
    if isinstance(value, str):
        return show(value)
    found = numbers(value)
    return a_kind(value) if found is None else f"numbers of shape {list(found.shape)}"


def error_text(error: BaseException) -> str:
    """Write an error in one short line, even one whose own text cannot be had."""
    name = type(error).__name__
    if isinstance(error, RecursionError):
        return f"{name}: it calls itself without end"
    try:
        text = " ".join(str(error).split())
    except BaseException:
        return f"{name}, whose text cannot be read"
    text = without_addresses(text)
    text = text if len(text) <= 160 else text[:159] + "…"
    return f"{name}: {text}" if text else name


def without_addresses(text: str) -> str:
    """Take addresses in memory out of a text, so that it is the same in every run."""
    return re.sub(r"( at)? 0x[0-9a-fA-F]{4,}|0x[0-9a-fA-F]{8,}", "", text)


def _is_huge(value: Any) -> bool:
    """Whether a whole number, alone or in a list, is too large for a float."""
    if is_sequence(value):
        return any(map(_is_huge, value))
    return isinstance(value, int) and abs(value) > 1e300
