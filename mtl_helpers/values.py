"""Say what a value is: as plain data that can be stored, or as text that can be compared.

Checkpoints need both. What NumPy and PyTorch wrap becomes plain, so that it can be read back
without running code; functions and objects are told apart by what they do, never by an address.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import operator
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

LIBRARIES = {"mtl_helpers", "torch", "torchmetrics", "numpy", "scipy", "sklearn"}


def whole_number(what: str, value: Any) -> int:
    """Give a whole number of Python, NumPy or PyTorch as an ``int``.

    Raises:
        ValueError: it is none, such as 0.5, True or "3"; ``what`` is named.
    """
    try:
        if not isinstance(value, bool | np.bool_):
            return operator.index(value)
    except TypeError:
        pass
    raise ValueError(f"{what} must be a whole number; found {value!r}")


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Make a random generator with a seed, which may be a whole number of NumPy.

    Raises:
        ValueError: the seed is no whole number.
    """
    return torch.Generator(device).manual_seed(whole_number("seed", seed))


def wide(tensor: Tensor) -> Tensor:
    """Give half precision as float32, so that squares and sums stay in range; the rest as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def plain(value: Any) -> Any:
    """Turn NumPy's numbers and arrays into those of Python and PyTorch, in any nesting.

    Args:
        value: dictionaries, lists and tuples of anything; the rest is given back as it is.
    """
    if isinstance(value, np.generic):  # first: np.float64 is a float to isinstance
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.as_tensor(value)
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    return value


def identity(value: Any) -> str:
    """Describe a setting so that equal texts mean equal behaviour, also in another process.

    Numbers, text and collections are written out; tensors by a hash; a function by its name, its
    source, its defaults and the variables it reads from outside; an object by its class and its
    attributes. Functions of libraries count by name: a newer version shall not make a checkpoint
    useless.
    """
    text = _text(value, {})
    if len(text) <= 200:
        return text
    return f"{text[:160]}… {hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _text(value: Any, seen: dict[int, Any]) -> str:
    value = plain(value)
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    if isinstance(value, Tensor):
        content = value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        return f"{value.dtype} {tuple(value.shape)} {hashlib.sha256(content).hexdigest()[:12]}"
    name = getattr(value, "__qualname__", type(value).__qualname__)
    if id(value) in seen or isinstance(value, type | ModuleType | BuiltinFunctionType):
        return name
    seen[id(value)] = value  # kept alive, so that its id is not given to another object
    if isinstance(value, dict):
        parts: Any = [f"{_text(k, seen)}: {_text(v, seen)}" for k, v in value.items()]
        return "{" + ", ".join(parts) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_text(part, seen) for part in value) + "]"
    if isinstance(value, functools.partial):
        return _text(["partial", value.func, value.args, value.keywords], seen)
    if isinstance(value, MethodType):
        return _text([value.__func__, value.__self__], seen)
    if isinstance(value, FunctionType):
        inside = inspect.getclosurevars(value)
        parts = [value.__defaults__, value.__kwdefaults__, inside.nonlocals]
        if (value.__module__ or "").partition(".")[0] in LIBRARIES:
            return f"{name}{_text(parts, seen)}" if any(parts) else name
        return f"{name} {_source(value)} {_text([*parts, inside.globals], seen)}"
    own = {key: part for key, part in getattr(value, "__dict__", {}).items() if key != "training"}
    return f"{name}({_text(own, seen)})"


def _source(function: FunctionType) -> str:
    """Hash the text of a function, or its compiled form where there is no text."""
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        text = _compiled(function.__code__)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _compiled(code: CodeType) -> str:
    constants = [_compiled(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {constants}"
