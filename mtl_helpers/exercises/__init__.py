"""Checks that answer a learner: one file a lesson, over :mod:`mtl_helpers.exercises.core`."""

from mtl_helpers.exercises.answers import NotAttemptedError, compare, draws, same
from mtl_helpers.exercises.core import KINDS, Exercise, Verdict, exercise, exercises_of

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
