"""Bring answers into a form that :func:`compare` can judge: named parts, a value with its slope."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mtl_helpers.teaching.exercises.values import AnswerError, NotAttemptedError, show


def normals(*given: Any) -> Callable[[torch.Generator], tuple]:
    """Make cases for :func:`draws`: a shape becomes normal numbers, anything else stays.

    A function (such as :func:`positive` gives) is asked for its part, with the generator.
    """

    def case(g: torch.Generator) -> tuple:
        kind = {"generator": g, "dtype": torch.float64}
        drawn = (torch.randn(v, **kind) if isinstance(v, tuple) else v for v in given)
        return tuple(v(g) if callable(v) else v for v in drawn)

    return case


def positive(*shape: int) -> Callable[[torch.Generator], Tensor]:
    """Make a part of :func:`normals` with numbers between 0.3 and 1.3."""
    return lambda g: torch.rand(shape, generator=g, dtype=torch.float64) + 0.3


def named_parts(function: Any, *names: str) -> Any:
    """Give the parts of a function's answer names, so that a message says which one is off."""
    if not callable(function):
        return function

    @functools.wraps(function)
    def named(*values: Any) -> Any:
        found = function(*values)
        if isinstance(found, tuple | list) and len(found) == len(names):
            return dict(zip(names, found, strict=True))
        return found

    return named


def with_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give the value of a function of (output, target), and its gradient in the output."""

    def both(output: Tensor, target: Tensor) -> dict[str, Tensor]:
        leaf = output.clone().requires_grad_()
        value = torch.as_tensor(function(leaf, target))
        if not value.requires_grad:
            raise AnswerError(
                f"with target = {show(target)} the result has no gradient at all, and backward "
                "would stop: give a tensor that was computed from `output`, also when it is 0."
            )
        slope = torch.autograd.grad(value.sum(), leaf, allow_unused=True)[0]
        slope = torch.zeros_like(leaf) if slope is None else slope
        return {"value": value.detach(), "gradient": slope}

    return both


def number_type(found: Any) -> torch.dtype | None:
    """Give the type of the numbers in a tensor, an array or lists; None when there is none."""
    try:
        return torch.as_tensor(found).dtype
    except (TypeError, ValueError, RuntimeError):
        return None


def stops(answer: Callable[..., Any], case: tuple) -> bool:
    """Say whether an attempt at this case ends in an exception."""
    try:
        answer(*copy.deepcopy(case))
    except NotAttemptedError:
        raise
    except Exception:
        return True
    return False
