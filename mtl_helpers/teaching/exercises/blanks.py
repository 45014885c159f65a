"""Finding the places of an answer that are still blank, and naming them.

A blank is ``...`` (or ``None`` in data). Data is read place by place. In a function, blanks are
read from its compiled code, which is there also when its text is not; the text, where it can be
had, is only quoted. An index such as ``x[..., 0]`` is no blank.
"""

from __future__ import annotations

import dis
import linecache
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType, MethodType
from typing import Any

from torch import nn

from mtl_helpers.teaching.exercises.values import leaves

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
_HARMLESS = {"super", "__init__", "NotImplementedError"}  # names that a stub may use
_LOADS = ("LOAD_CONST", "RETURN_CONST")
_BUSY = ("BINARY", "COMPARE", "UNARY", "FOR_ITER", "FORMAT")


def functions_of(value: Any) -> list[FunctionType]:
    """Give the functions a learner wrote: the function itself, or the methods of a class."""
    value = getattr(value, "__func__", value) if isinstance(value, MethodType) else value
    if isinstance(value, FunctionType):
        return [value]
    kind = value if isinstance(value, type) else type(value)
    if kind.__module__ != "__main__" and not issubclass(kind, nn.Module):
        return []
    if kind.__module__.startswith("torch."):
        return []
    return [part for part in vars(kind).values() if isinstance(part, FunctionType)]


def untouched(answers: Mapping[str | int, Any], blanks: int = 0) -> bool:
    """Whether nothing at all was filled in.

    Args:
        answers: the learner's answers, by name.
        blanks: how many blanks the stub's functions have, for a stub that also has given lines.
    """
    functions = [f for value in answers.values() for f in functions_of(value)]
    if blanks and sum(len(open_lines(f)) for f in functions) >= blanks:
        return True
    if any(_works(f.__code__) for f in functions):
        return False
    data = [value for value in answers.values() if not callable(value)]
    return all(blank for value in data for _, blank in leaves(value))


def does_nothing(answer: Any) -> bool:
    """Whether a function holds no statement that works: ``def step(x): ...`` or ``pass``."""
    named = isinstance(answer, FunctionType) and answer.__name__ != "<lambda>"
    return named and not _works(answer.__code__)


def open_place(answers: Mapping[str | int, Any]) -> str | None:
    """Name the first place that is still blank, and how many more there are.

    Args:
        answers: the learner's answers, by the names that the learner gave them, or by position.

    Returns:
        "`weights['left']` is still empty", "the second line of `step` is still open
        (`loss = ...`)"; ``None`` when there is no blank.
    """
    places: list[str] = []
    for name, value in answers.items():
        if callable(value):
            places += [line for f in functions_of(value) for line in open_lines(f)]
            continue
        whole = "your answer" if len(answers) == 1 else f"part {_position(name)} of your answer"
        for path, blank in leaves(value):
            if blank and isinstance(name, str):
                places.append(f"`{name}{path}` is still empty")
            elif blank:
                places.append(
                    f"`{path}` in {whole} is still empty" if path else f"{whole} is still empty"
                )
    more = len(places) - 1
    if more < 1:
        return places[0] if places else None
    return f"{places[0]}; {more} more {'place is' if more == 1 else 'places are'} open"


def _position(name: str | int) -> str:
    return str(name + 1) if isinstance(name, int) else name


def open_lines(function: FunctionType) -> list[str]:
    """Name the lines of a function, and of what is defined inside it, that are still blank."""
    own = function.__code__
    codes = list(_codes(own))
    lines = {line for code in codes for *_, line in code.co_lines() if line}
    bare = {line for line in lines if _text(own, line) == "..."}
    found = bare.union(*map(_blank_lines, codes))
    body = min((line for line in lines if line > own.co_firstlineno), default=own.co_firstlineno)
    name = function.__qualname__.split("<locals>.")[-1]
    return [_named(name, line - body, _text(own, line)) for line in sorted(found)]


def _text(code: CodeType, line: int) -> str:
    """A line of the source without its comment; empty when the source cannot be had."""
    return linecache.getline(code.co_filename, line).split("#")[0].strip()


def _named(name: str, place: int, text: str) -> str:
    quote = f" (`{text}`)" if 0 < len(text) <= 60 else ""
    if name == "<lambda>":
        return f"your lambda is still open{quote}"
    which = _ORDINALS[place] if place < len(_ORDINALS) else f"{place + 1}th"
    return f"the {which} line of `{name}` is still open{quote}"


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _blank_lines(code: CodeType) -> Iterator[int]:
    steps = list(dis.get_instructions(code))
    indexed = [s.positions for s in steps if "SUBSCR" in s.opname or "SLICE" in s.opname]
    for step in steps:
        line, blank = step.positions.lineno, step.opname in _LOADS and _is_blank(step.argval)
        if line and blank and not any(_within(step.positions, where) for where in indexed):
            yield line


def _is_blank(constant: Any) -> bool:
    if isinstance(constant, tuple) and constant:
        return any(map(_is_blank, constant))
    return constant is ...


def _within(inner: Any, outer: Any) -> bool:
    start, end = (outer.lineno, outer.col_offset), (outer.end_lineno, outer.end_col_offset)
    if None in (*start, *end, inner.col_offset):
        return False
    return start <= (inner.lineno, inner.col_offset) <= end


def _works(code: CodeType) -> bool:
    """Whether a function does anything besides giving names to blanks and handing them back."""
    if any(name not in _HARMLESS for name in code.co_names):
        return True
    if any(isinstance(part, CodeType | int | float) for part in _constants(code.co_consts)):
        return True
    steps = {step.opname for step in dis.get_instructions(code)}
    calls = "CALL" in steps and not code.co_names
    return calls or any(step.startswith(_BUSY) for step in steps)


def _constants(parts: Iterable[Any]) -> Iterator[Any]:
    for part in parts:
        yield from _constants(part) if isinstance(part, tuple) else (part,)
