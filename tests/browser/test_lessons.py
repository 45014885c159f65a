"""The learner's copy of each lesson in a real JupyterLab, since that is what people use.

Look at the first screen, run, move everything, attempt, save, open again.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtl_helpers.teaching import learner_copy

from .lab import Lab, Lesson, exercise_cells, stored_widgets, wait_for

PROJECT = Path(__file__).resolve().parents[2]
NAMES = learner_copy.lessons(PROJECT / "notebooks")
LESSONS = [f"{name}.ipynb" for name in NAMES if Path(name).name[0].isdigit()]  # not the glossary
LAPTOP = {"width": 1366, "height": 768}
# The cells of which a part is seen: their text, their lines of code, how many outputs they have.
SEEN = """() => {
  const panel = window.jupyterapp.shell.currentWidget.content.node;
  const window_ = panel.querySelector('.jp-WindowedPanel-outer').getBoundingClientRect();
  const isSeen = node => {
    const box = node.getBoundingClientRect();
    return box.height > 0 && box.top < window_.bottom && box.bottom > window_.top;
  };
  return Array.from(panel.querySelectorAll('.jp-Cell')).filter(isSeen).map(cell => ({
    text: cell.querySelector('.jp-MarkdownOutput')?.innerText ?? '',
    code: Array.from(cell.querySelectorAll('.cm-line')).filter(isSeen).map(l => l.innerText),
    outputs: cell.querySelectorAll('.jp-OutputArea-output').length,
  }));
}"""


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


def test_the_first_screen_is_the_first_lesson(lab: Lab, browser: Any) -> None:
    """JupyterLab's front page opens the copy of lesson 00: its title, its text, no machinery."""
    page = browser.new_page()
    page.set_viewport_size(LAPTOP)
    page.goto(f"http://127.0.0.1:{lab.port}/?token={lab.token}")
    page.wait_for_function(
        "path => window.jupyterapp?.shell?.currentWidget?.context?.path === path",
        arg=f"{learner_copy.WORK}/00_start_here.ipynb",
        timeout=60_000,
    )
    page.locator(".jp-Notebook h1").first.wait_for()
    page.locator(".jp-Notebook h2").first.wait_for()  # the next cells are drawn, too
    seen = page.evaluate(SEEN)
    if folder := os.environ.get("MTL_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / "first-screen.png"))
    page.close()
    assert seen[0]["text"].startswith("00 · Start here")
    assert any(cell["text"].startswith("1 · ") for cell in seen), "section 1 begins further down"
    assert [line for cell in seen for line in cell["code"]] == []
    assert not any(cell["outputs"] for cell in seen)


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_in_jupyterlab(name: str, lab: Lab, open_lesson: Callable[[str], Lesson]) -> None:
    lesson = open_lesson(f"{learner_copy.WORK}/{name}")
    assert not any(cell["outputs"] for cell in lesson.cells), "a prediction is spoilt"
    lesson.run_all()
    assert lesson.errors() == []

    explorers = lesson.explorers()
    assert explorers or name.startswith("deeper/"), "a lesson has explorers"
    for index in explorers:
        assert list(lesson.walk(index)), f"cell {index}: an explorer without a control"
    assert lesson.errors() == []

    number, stub, check, right = next(exercise_cells(lesson.cells))
    wrong = wrong_answers(Path(name).name[:2])[number][0]
    noted = lab.folder / learner_copy.WORK / "progress" / number
    assert not noted.exists()
    attempt(lesson, stub, check, wrong, right, number)
    wait_for(f"{number} in the progress list", noted.exists)
    save_and_reopen(lab, open_lesson, lesson)
