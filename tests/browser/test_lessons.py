"""Each lesson in a real JupyterLab: run, move everything, attempt, save, open again."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from .lab import Lab, Lesson, exercise_cells, stored_widgets, wait_for

PROJECT = Path(__file__).resolve().parents[2]
LESSONS = sorted(path.name for path in (PROJECT / "notebooks").glob("*.ipynb"))


def wrong_answers(lesson: str) -> dict[str, list[tuple[str, str]]]:
    """The planted slips of a lesson ("00"): by exercise, (code, part of the message)."""
    path = PROJECT / "tests" / "lessons" / f"lesson_{lesson}" / "slips.py"
    spec = importlib.util.spec_from_file_location(f"slips_{lesson}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SLIPS


def attempt(
    lesson: Lesson, stub: int, check: int, wrong: tuple[str, str], right: str, number: str
) -> None:
    """Answer an exercise wrongly, then rightly, and read the verdict each time."""
    assert "not attempted yet" in lesson.text(check), number
    for code, expected in (wrong, (right, "✓ right")):
        lesson.type_into(stub, code)
        lesson.run_cell(stub)
        lesson.run_cell(check)
        wait_for(f"{expected!r} on {number}", lambda said=expected: said in lesson.text(check))


def save_and_reopen(
    lab: Lab, open_lesson: Callable[[str], Lesson], lesson: Lesson
) -> dict[int, int]:
    """Save, end the kernel, open the file again without running it; return the pictures seen."""
    explorers = lesson.explorers()
    lesson.save()
    assert stored_widgets(lab.read(lesson.path)) == []
    lesson.page.close()
    lab.stop_kernels()
    again = open_lesson(lesson.path)
    pictures = again.pictures()
    assert set(explorers) <= pictures.keys()
    return pictures


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_in_jupyterlab(name: str, lab: Lab, open_lesson: Callable[[str], Lesson]) -> None:
    lesson = open_lesson(f"notebooks/{name}")
    lesson.run_all()
    assert lesson.errors() == []

    explorers = lesson.explorers()
    assert explorers, "a lesson has explorers"
    for index in explorers:
        assert list(lesson.walk(index)), f"cell {index}: an explorer without a control"
    assert lesson.errors() == []

    number, stub, check, right = next(exercise_cells(lesson.cells))
    wrong = wrong_answers(name[:2])[number][0]
    attempt(lesson, stub, check, wrong, right, number)
    save_and_reopen(lab, open_lesson, lesson)
