"""Exercises whose answer is a dictionary, each entry with a reason of its own when it is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mtl_helpers.teaching.exercises.answers import as_numbers, same, show


def words_fit(
    answer: Any, right: Mapping[str, tuple[str, str]], words: Sequence[str]
) -> str | None:
    """Check a dictionary from the letter of a situation to one of a few words.

    Args:
        answer: the learner's dictionary.
        right: letter -> the word, and why.
        words: those to choose from.
    """
    if not isinstance(answer, Mapping) or set(answer) != set(right):
        return f"give one of {', '.join(words)} for each of {', '.join(right)}."
    for letter, (word, why) in right.items():
        given = str(answer[letter]).strip().casefold()
        if given not in words:
            return f"situation {letter}: {given[:40]!r} is none of {', '.join(words)}."
        if given != word:
            return f"situation {letter} is {word!r}: {why}."
    return None


def numbers_fit(answer: Any, right: Mapping[str, tuple[Any, str]], tol: float = 0.02) -> str | None:
    """Check a dictionary from a name to a number, or to a few numbers.

    Args:
        answer: the learner's dictionary.
        right: name -> the number or a tuple of them, and why.
        tol: how far a number may be off.
    """
    if not isinstance(answer, Mapping) or set(answer) != set(right):
        return f"give an answer for each of: {', '.join(right)}."
    for name, (wanted, why) in right.items():
        wanted = torch.tensor(wanted, dtype=torch.float64)
        given = as_numbers(answer[name], name, shape=tuple(wanted.shape))
        if same(given, wanted, tol=tol) is not None:
            return f"{name}: {show(given)} found. {why[0].upper()}{why[1:]}."
    return None
