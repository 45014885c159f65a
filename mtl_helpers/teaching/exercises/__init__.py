"""What the checks of all lessons are made with."""

from mtl_helpers.teaching.exercises.answers import (
    AnswerError,
    NotAttemptedError,
    as_numbers,
    compare,
    draws,
    not_a_function,
    said_yes,
    same,
    show,
)
from mtl_helpers.teaching.exercises.core import KINDS, Exercise, Verdict, exercise, exercises_of

__all__ = [
    "KINDS",
    "AnswerError",
    "Exercise",
    "NotAttemptedError",
    "Verdict",
    "as_numbers",
    "compare",
    "draws",
    "exercise",
    "exercises_of",
    "not_a_function",
    "said_yes",
    "same",
    "show",
]
