"""What the checks of all lessons are made with."""

from mtl_helpers.teaching.exercises.answers import NotAttemptedError, compare, draws, same
from mtl_helpers.teaching.exercises.core import KINDS, Exercise, Verdict, exercise, exercises_of

__all__ = [
    "KINDS",
    "Exercise",
    "NotAttemptedError",
    "Verdict",
    "compare",
    "draws",
    "exercise",
    "exercises_of",
    "same",
]
