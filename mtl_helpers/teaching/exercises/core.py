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
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from mtl_helpers.teaching.exercises.blanks import does_nothing, open_place, untouched
from mtl_helpers.teaching.exercises.guard import Interrupt, Surroundings, chance
from mtl_helpers.teaching.exercises.values import (
    AnswerError,
    NotAttemptedError,
    arguments,
    error_text,
    is_empty,
    leaves,
    without_addresses,
)
from mtl_helpers.teaching.progress import record

KINDS = (
    "fill one line",
    "fill one step",
    "tweak and predict",
    "bug hunt",
    "explain with numbers",
    "adversarial",
    "tell apart",
    "build",
)
_STATUS = {
    "not attempted": "… not attempted yet",
    "unfinished": "… not finished yet",
    "right": "✓ right",
    "wrong": "✗ not yet",
}
_COLOURS = {  # of the left border; the words and the sign say the same without a colour
    "not attempted": "#767676",
    "unfinished": "#767676",
    "right": "#117733",
    "wrong": "#CC6677",
}
LESSONS = "mtl_helpers.lessons"  # found by name: the kit imports no lesson
_ADVICE = "fill in the cell above, run it, then run this one again."
_LONGEST = 900  # characters of a message
_REGISTRY: dict[str, Exercise] = {}


@dataclass(frozen=True)
class Verdict:
    """The answer of a check.

    ``status`` is "not attempted" (the untouched stub), "unfinished" (a part is still blank),
    "right" or "wrong".
    """

    exercise: str
    status: str
    message: str = ""

    def __repr__(self) -> str:
        return f"Exercise {self.exercise} · {_STATUS[self.status][2:]}: {self.message}"

    def _repr_html_(self) -> str:
        status, message = html.escape(_STATUS[self.status]), html.escape(self.message)
        style = f"border-left: 6px solid {_COLOURS[self.status]}; padding: 0.4em 0.8em;"
        head = f"<strong>Exercise {self.exercise} · {status}</strong>"
        return f'<div style="{style}">{head}: {message}</div>'


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
    blanks: int = 0
    given: tuple[str, ...] = ()

    @property
    def heading(self) -> str:
        """The heading of the exercise in its notebook."""
        dots = "●" * self.difficulty + "○" * (3 - self.difficulty)
        last = f"{dots} · {self.minutes} min · {self.kind}"
        return f"### Exercise {self.number} · {self.title} {last}"

    def __call__(self, *answers: Any, **named: Any) -> Verdict:
        """Judge the answers; whatever they are and do, this does not raise.

        Only a real Ctrl-C comes through.
        """
        names = sys._getframe(1).f_globals
        with Interrupt() as interrupt:
            try:
                verdict = self._judge(answers, named, names, interrupt)
            except BaseException as error:  # an answer so strange that it cannot even be named
                verdict = Verdict(self.number, "wrong", _unusable(error))
        if interrupt.pressed:
            raise KeyboardInterrupt
        if verdict.status == "right":
            record(self.number, self.title)
        return verdict

    def _judge(
        self, answers: tuple, named: dict[str, Any], names: Mapping[str, Any], interrupt: Interrupt
    ) -> Verdict:
        around = Surroundings()
        status, blank = "wrong", None  # blank: what is known of a place that is still empty
        try:
            with chance():
                message = self._asked(answers, named, around, interrupt)
            if message is None:
                status, message = "right", self.right
        except AnswerError as error:
            message = str(error)
        except BaseException as error:
            message = _unusable(error)
            if _is_stub(error):
                blank = str(error) if isinstance(error, NotAttemptedError) else ""
        finally:
            around.put_back()
        if status == "wrong":
            own = self._own(answers, named, names)
            if blank is not None and untouched(own, self.blanks):
                return Verdict(self.number, "not attempted", _ADVICE)
            place = open_place(own) or blank
            if place is not None:
                place = without_addresses(place) or "a part of your answer is still empty"
                return Verdict(self.number, "unfinished", f"{place}.")
        message = without_addresses(message)
        message = message if len(message) <= _LONGEST else message[: _LONGEST - 1] + "…"
        return Verdict(self.number, status, message + around.note())

    def _asked(
        self, answers: tuple, named: dict[str, Any], around: Surroundings, interrupt: Interrupt
    ) -> str | None:
        """Ask the check; its message, or ``None`` when the answer is right."""
        if is_empty(answers) or is_empty(named):
            raise NotAttemptedError
        watched = [_watched(answer, around, interrupt) for answer in answers]
        return self.check(
            *watched, **{name: _watched(value, around, interrupt) for name, value in named.items()}
        )

    def _own(
        self, answers: tuple, named: Mapping[str, Any], names: Mapping[str, Any]
    ) -> dict[str | int, Any]:
        """Give what the learner wrote, by the name it has in the notebook, or by its position."""
        try:
            bound = dict(inspect.signature(self.check).bind(*answers, **named).arguments)
        except TypeError:  # too few or too many
            bound = dict(enumerate(answers)) | dict(named)
        own: dict[str | int, Any] = {}
        for position, (argument, value) in enumerate(bound.items()):
            if argument not in self.given:
                nameless = value is None or value is ...
                called = [n for n, held in list(names.items()) if held is value and n[:1] != "_"]
                own[position if nameless or not called else called[0]] = value
        return own


def exercise(
    number: str,
    title: str,
    *,
    kind: str,
    difficulty: int,
    minutes: int,
    right: str = "well done.",
    blanks: int = 0,
    given: Iterable[str] = (),
) -> Callable[[Callable[..., str | None]], Exercise]:
    """Turn a function (answers -> ``None``, or the slip in one sentence) into an exercise.

    Args:
        number: lesson and position, "00.1".
        title: a few words, as in the notebook's heading.
        kind: one of :data:`KINDS`.
        difficulty: 1 to 3.
        minutes: what a learner needs.
        right: what a right answer is told: the point of the exercise in one sentence.
        blanks: how many blanks the stub has, when its function also has lines that are given.
        given: arguments of the check that are not the learner's ("table").

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
        _REGISTRY[number] = Exercise(
            number, title, kind, difficulty, minutes, right, check, blanks, tuple(given)
        )
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


def _watched(answer: Any, around: Surroundings, interrupt: Interrupt) -> Any:
    """Wrap what a learner wrote to be called, to tell what it does from what the check does.

    Classes and modules are left as they are: checks look into them.
    """
    if not callable(answer) or isinstance(answer, type | nn.Module):
        return answer

    def watched(*values: Any, **named: Any) -> Any:
        given = arguments(answer, values, named)  # before the call, which may change them
        try:
            result = answer(*values, **named)
        except BaseException as error:
            if interrupt.pressed:
                raise
            if _is_stub(error):
                raise NotAttemptedError from error
            text = f"your function raised {error_text(error)} with {given}."
            raise AnswerError(text) from error
        finally:
            around.put_back()
        if result is None and does_nothing(answer):
            raise NotAttemptedError
        if result is None:
            raise AnswerError(
                f"your function gave nothing back with {given}. Does its last line begin with "
                "'return'?"
            )
        if place := next((path for path, blank in leaves(result) if blank), None):
            raise NotAttemptedError(f"what your function gives back is still empty at `{place}`")
        if result is ...:
            raise NotAttemptedError("your function gives back `...`")
        return result

    try:
        return functools.wraps(answer)(watched)
    except BaseException:  # an object whose attributes cannot be read
        return watched


def _unusable(error: BaseException) -> str:
    return f"the check could not use your answer ({error_text(error)})."


def _is_stub(error: BaseException) -> bool:
    """Whether an error comes from a blank: ``...`` used as a value, or NotImplementedError."""
    if isinstance(error, NotAttemptedError):
        return True
    text = error_text(error)
    if isinstance(error, NotImplementedError):
        # PyTorch raises it with a text for what it cannot do, and for a module without forward.
        return text == "NotImplementedError" or 'missing the required "forward"' in text
    return "ellipsis" in text.lower()
