"""Which exercises a learner has got right, kept in the learner's copy of the lessons.

A check that finds an answer right writes one small file, ``progress/00.1``, into the copy. One file
per exercise needs no lock: two kernels that write at the same time cannot lose each other's work.
Anywhere but in a copy (the committed notebooks, nbval, tests) nothing is written.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from mtl_helpers.files import write_whole

MANIFEST = ".mtl-copy.json"  # this file makes a folder a learner's copy; see learner_copy.py
FOLDER = "progress"
_HEADING = re.compile(r"^### Exercise (\d\d\.\d+) · ", re.M)
_TITLE = re.compile(r"^# (.+)$", re.M)


def find_copy(start: Path | None = None) -> Path | None:
    """Give the learner's copy that a folder lies in, or None where it lies in none.

    Args:
        start: the folder; the current one unless given, which for a kernel is its notebook's.
    """
    start = (start or Path.cwd()).resolve()
    return next((f for f in (start, *start.parents) if (f / MANIFEST).is_file()), None)


def record(number: str, title: str) -> None:
    """Note that an exercise is right, if this runs in a learner's copy; never raise.

    Args:
        number: of the exercise, "00.1".
        title: its title, for a person who looks into the file.
    """
    with suppress(OSError):  # a full disk must not turn a right answer into an error
        copy = find_copy()
        if copy is not None and not (copy / FOLDER / number).exists():
            write_whole(copy / FOLDER / number, f"{date.today().isoformat()} {title}\n")


@dataclass(frozen=True)
class Lesson:
    """A lesson's title, and the numbers of its exercises in order, all of them and the right."""

    title: str
    exercises: tuple[str, ...]
    right: tuple[str, ...]


@dataclass(frozen=True)
class Progress:
    """What :func:`progress` found; ``lessons`` is None outside of a learner's copy."""

    lessons: tuple[Lesson, ...] | None

    def __repr__(self) -> str:
        if self.lessons is None:
            return (
                "Your progress is kept in your own copy of the lessons, and this is not it.\n"
                "make lab makes the copy and opens it."
            )
        done = sum(len(lesson.right) for lesson in self.lessons)
        total = sum(len(lesson.exercises) for lesson in self.lessons)
        lines = [f"{done} of {total} exercises are right."]
        for lesson in self.lessons:
            lines.append(f"{len(lesson.right):2} of {len(lesson.exercises):2}  {lesson.title}")
            if lesson.right:
                lines.append(" " * 10 + "right: " + ", ".join(lesson.right))
        return "\n".join(lines)


def progress(start: Path | None = None) -> Progress:
    """Show which exercises of the learner's copy are right so far.

    Args:
        start: a folder in the copy; the current one unless given.

    Returns:
        The exercises of each lesson in the copy that has some, read from the headings of its
        notebooks, and which of them a check has found right.
    """
    copy = find_copy(start)
    if copy is None:
        return Progress(None)
    folder = copy / FOLDER
    noted = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    lessons = []
    for path in (*sorted(copy.glob("*.ipynb")), *sorted(copy.glob("deeper/*.ipynb"))):
        title, numbers = _read(path)
        if numbers and "(new " not in path.name:  # a newer version has the same exercises
            right = tuple(number for number in numbers if number in noted)
            lessons.append(Lesson(title or path.stem, numbers, right))
    return Progress(tuple(lessons))


def _read(path: Path) -> tuple[str, tuple[str, ...]]:
    """Title and exercise numbers of a notebook; nothing where it cannot be read."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
    except (OSError, ValueError, KeyError, TypeError):  # being saved, or no notebook
        return "", ()
    text = "\n\n".join(sources)
    title = _TITLE.search(text)
    return title.group(1) if title else "", tuple(_HEADING.findall(text))
