"""What a check is, and what it answers: "not attempted yet", right, or why not yet.

A check is written by the author of an exercise. It returns ``None`` when the answer is right, or
one sentence that names the slip::

    @exercise("00.1", "The joint loss", kind="fill one line", difficulty=1, minutes=3)
    def joint_loss(answer):
        return compare(
            answer,
            right=lambda losses: losses.sum(),
            cases=[(torch.tensor([1.0, 3.0]),), *draws(lambda g: (torch.rand(4, generator=g),))],
            slips={"you averaged over tasks; the formula sums.": lambda losses: losses.mean()},
        )

The first case is small enough to print; the others are random, so that no constant passes.
"""

from __future__ import annotations

import functools
import html
import importlib
import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import torch

from mtl_helpers.teaching.exercises.answers import NotAttemptedError, arguments, is_empty
from mtl_helpers.teaching.progress import record

KINDS = (
    "fill one line",
    "fill one step",
    "tweak and predict",
    "bug hunt",
    "explain with numbers",
    "adversarial",
    "tell apart",
)
_STATUS = {"not attempted": "… not attempted yet", "right": "✓ right", "wrong": "✗ not yet"}
LESSONS = "mtl_helpers.lessons"  # found by name: the kit imports no lesson
_REGISTRY: dict[str, Exercise] = {}


class _StumbleError(Exception):
    """The learner's function raised; the text says what, and for which arguments."""


@dataclass(frozen=True)
class Verdict:
    """The answer of a check: ``status`` is "not attempted", "right" or "wrong"."""

    exercise: str
    status: str
    message: str = ""

    def __repr__(self) -> str:
        return f"Exercise {self.exercise} · {_STATUS[self.status][2:]}: {self.message}"

    def _repr_html_(self) -> str:
        status, message = html.escape(_STATUS[self.status]), html.escape(self.message)
        return f"<div><strong>Exercise {self.exercise} · {status}</strong>: {message}</div>"


@dataclass(frozen=True)
class Exercise:
    """An exercise and its check; call it with the learner's answers to get a :class:`Verdict`."""

    number: str
    title: str
    kind: str
    difficulty: int
    minutes: int
    right: str
    check: Callable[..., str | None]

    @property
    def heading(self) -> str:
        """The heading of the exercise in its notebook."""
        dots = "●" * self.difficulty + "○" * (3 - self.difficulty)
        last = f"{dots} · {self.minutes} min · {self.kind}"
        return f"### Exercise {self.number} · {self.title} {last}"

    def __call__(self, *answers: Any, **named: Any) -> Verdict:
        """Judge the answers; whatever they are, this does not raise."""
        try:
            if is_empty(answers) or is_empty(named):
                raise NotAttemptedError
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(0)
                named = {name: _watched(answer) for name, answer in named.items()}
                message = self.check(*map(_watched, answers), **named)
        except _StumbleError as stumble:
            message = str(stumble)
        except Exception as error:
            if _is_stub(error):
                advice = "fill in the cell above, run it, then run this one again."
                return Verdict(self.number, "not attempted", advice)
            message = f"the check could not use your answer ({_one_line(error)})."
        if message is None:
            record(self.number, self.title)
            return Verdict(self.number, "right", self.right)
        return Verdict(self.number, "wrong", message)


def exercise(
    number: str, title: str, *, kind: str, difficulty: int, minutes: int, right: str = "well done."
) -> Callable[[Callable[..., str | None]], Exercise]:
    """Turn a function (answers -> ``None``, or the slip in one sentence) into an exercise.

    Args:
        number: lesson and position, "00.1".
        title: a few words, as in the notebook's heading.
        kind: one of :data:`KINDS`.
        difficulty: 1 to 3.
        minutes: what a learner needs.
        right: what a right answer is told: the point of the exercise in one sentence.

    Raises:
        ValueError: a number, kind, difficulty or minutes out of form, or a number taken already.
    """
    wrong = {
        "number": not re.fullmatch(r"\d\d\.[1-9]\d*", number),
        "kind": kind not in KINDS,
        "difficulty": difficulty not in (1, 2, 3),
        "minutes": minutes < 1,
    }
    if any(wrong.values()):
        raise ValueError(f"exercise {number!r}: out of form: {[k for k in wrong if wrong[k]]}")

    def register(check: Callable[..., str | None]) -> Exercise:
        taken = _REGISTRY.get(number)
        if taken and taken.check.__qualname__ != check.__qualname__:
            raise ValueError(f"exercise {number}: {taken.check.__qualname__} has this number")
        _REGISTRY[number] = Exercise(number, title, kind, difficulty, minutes, right, check)
        return _REGISTRY[number]

    return register


def exercises_of(lesson: str) -> dict[str, Exercise]:
    """Give the exercises of a lesson ("00") by number, in order."""
    folder = f"{LESSONS}.lesson_{lesson}"
    name = f"{folder}.exercises"
    if importlib.util.find_spec(folder) and importlib.util.find_spec(name):
        importlib.import_module(name)
    numbers = [number for number in _REGISTRY if number.startswith(f"{lesson}.")]
    return {n: _REGISTRY[n] for n in sorted(numbers, key=lambda n: int(n.split(".")[1]))}


def _watched(answer: Any) -> Any:
    """Wrap a learner's plain function, so that what it does is told from what the check does."""
    if not isinstance(answer, FunctionType | MethodType | BuiltinFunctionType):
        return answer

    @functools.wraps(answer)
    def watched(*values: Any, **named: Any) -> Any:
        given = arguments(answer, values, named)
        try:
            result = answer(*values, **named)
        except Exception as error:
            if _is_stub(error):
                raise NotAttemptedError from error
            raise _StumbleError(f"your function raised {_one_line(error)} with {given}.") from error
        if result is None:
            raise _StumbleError(
                f"your function gave nothing back with {given}. Does its last line begin with "
                "'return'?"
            )
        if is_empty(result):
            raise NotAttemptedError
        return result

    return watched


def _is_stub(error: Exception) -> bool:
    """Whether an error comes from a blank: ``...`` used as a value, or NotImplementedError."""
    if isinstance(error, NotImplementedError):
        # PyTorch raises it with a text for what it cannot do, and for a module without forward.
        return not str(error) or 'missing the required "forward"' in str(error)
    return isinstance(error, NotAttemptedError) or "ellipsis" in str(error).lower()


def _one_line(error: Exception) -> str:
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(str(error).split()))
    text = text if len(text) <= 160 else text[:159] + "…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
