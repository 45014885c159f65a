"""The browser tests themselves: on a small notebook of their own they must pass, and refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from .lab import Lab, Lesson, exercise_cells, stored_widgets, wait_for
from .test_lessons import attempt, save_and_reopen

PICTURE = """
from mtl_helpers.teaching.explore import Explorer, Picture, show
from mtl_helpers.teaching.figures import label, new_figure, task_style

drawn = []


def line(weight=0.5, power=1, dashed=False):
    figure, axes = new_figure()
    style = task_style("left") | {"linestyle": "dashed" if dashed else "solid"}
    axes.plot([0, 0.5, 1], [0, weight * 0.5**power, weight], **style)
    axes.set_ylim(0, 1)
    label(axes, "share of the left task", "loss (nats)", "One loss")
    drawn.append(weight)
    return Picture(figure, f"At share 1 the loss is {weight:.2f} nats.")
""".strip()
EXPLORER = """
Explorer(
    line,
    question="Where does the line end?",
    describe="A straight line that rises from the lower left corner.",
    weight=(0, 1, 0.01),
    power={"straight": 1, "bent": 2},
    dashed=False,
)
""".strip()
CHECK = """
from mtl_helpers.teaching.exercises.core import exercise


@exercise("99.1", "Add", kind="fill one line", difficulty=1, minutes=1)
def check(answer):
    return None if answer(2, 1) == 3 else "you subtracted; the formula adds."
""".strip()
STUB = "def add(a, b):\n    return ..."
SOLUTION = "<details><summary>Solution</summary>\n\n```python\n{}\n```\n</details>"
RIGHT, WRONG = STUB.replace("...", "a + b"), STUB.replace("...", "a - b")


def notebook(*codes: str) -> nbformat.NotebookNode:
    cells = [nbformat.v4.new_code_cell(code) for code in codes]
    return nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    )


def small_lesson() -> nbformat.NotebookNode:
    made = notebook(PICTURE, EXPLORER, "show(line(0.7).figure, says='0.7')", CHECK, STUB,
                    "check(add)", "len(drawn)")  # fmt: skip
    made.cells.insert(6, nbformat.v4.new_markdown_cell(SOLUTION.format(RIGHT)))
    for cell, tag in zip(made.cells[4:7], ("stub", "check", "solution"), strict=True):
        cell.metadata.update(tags=[tag], mtl={"exercise": "99.1"})
    return made


def test_a_small_lesson_passes(
    lab: Lab, open_lesson: Callable[[str], Lesson], tmp_path: Path
) -> None:
    lab.write("small.ipynb", small_lesson())
    lesson = open_lesson("small.ipynb")
    lesson.run_all()
    assert lesson.errors() == []
    assert lesson.explorers() == [1]
    first = lesson.reveal(1) and lesson.picture(1)

    assert list(lesson.walk(1)) == ["slider", "list", "check box"]
    wait_for("the last words", lambda: "the loss is 1.00 nats." in lesson.text(1))
    moved = lesson.picture(1)
    assert moved != first

    [(number, stub, check, right)] = exercise_cells(lesson.cells)
    attempt(lesson, stub, check, (WRONG, "you subtracted"), right, number)

    pictures = save_and_reopen(lab, open_lesson, lesson)
    assert set(pictures) == {1, 2}
    assert "Where does the line end?" not in str(lab.read("small.ipynb").cells[1].outputs)


def test_a_fast_drag_skips_pictures_and_ends_at_the_last(
    lab: Lab, open_lesson: Callable[[str], Lesson]
) -> None:
    lab.write(
        "drag.ipynb", notebook(PICTURE, "drawn.clear()\n" + EXPLORER, "drawn[-1], len(drawn)")
    )
    lesson = open_lesson("drag.ipynb")
    lesson.run_all()
    handle = lesson.reveal(1).locator(".noUi-handle")
    handle.focus()
    for _ in range(50):
        lesson.page.keyboard.press("ArrowRight")
    for _ in range(50):
        lesson.page.keyboard.press("ArrowLeft")
    lesson.settled(1)
    assert "the loss is 0.50 nats" in lesson.text(1)
    lesson.run_cell(2)
    last, count = eval(lesson.cells[2]["outputs"][0]["data"]["text/plain"])
    assert last == 0.5
    assert 2 < count <= 101


def test_a_failing_cell_is_found(lab: Lab, open_lesson: Callable[[str], Lesson]) -> None:
    lab.write("fails.ipynb", notebook("1 + 1", "1 / 0", "2 + 2"))
    lesson = open_lesson("fails.ipynb")
    lesson.run_all()
    assert lesson.errors() == ["cell 1: ZeroDivisionError: division by zero"]


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        (PICTURE.replace("weight:.2f", "1 / (1 - weight):.2f"), "ZeroDivisionError"),
        (PICTURE.replace("weight * 0.5**power, weight", "0.2, 0.4"), "waited .* End key"),
        (
            PICTURE.replace('"dashed" if dashed else "solid"', '"solid"'),
            "check box changes nothing",
        ),
    ],
    ids=["an error at one end", "a slider that does nothing", "a check box that does nothing"],
)
def test_a_bad_explorer_is_found(
    code: str, complaint: str, lab: Lab, open_lesson: Callable[[str], Lesson]
) -> None:
    lab.write("bad.ipynb", notebook(code, EXPLORER))
    lesson = open_lesson("bad.ipynb")
    lesson.run_all()
    with pytest.raises(AssertionError, match=complaint):
        list(lesson.walk(1))


def test_an_error_leaves_the_controls_alive(lab: Lab, open_lesson: Callable[[str], Lesson]) -> None:
    code = PICTURE.replace("weight:.2f", "1 / (1 - weight):.2f")
    lab.write("alive.ipynb", notebook(code, EXPLORER))
    lesson = open_lesson("alive.ipynb")
    lesson.run_all()
    cell = lesson.reveal(1)
    before = lesson.picture(1)
    cell.locator(".noUi-handle").focus()
    lesson.page.keyboard.press("End")
    cell.locator("[role=alert]").wait_for()
    assert "ZeroDivisionError: float division by zero (at weight = 1.0" in lesson.text(1)
    assert lesson.picture(1) == before
    lesson.page.keyboard.press("Home")
    wait_for("the alert to go", lambda: "the loss is 1.00 nats" in lesson.text(1))
    assert lesson.picture(1) != before


def test_a_widget_that_stays_in_a_file_is_found() -> None:
    made = notebook("1")
    made.cells[0].outputs = [
        nbformat.v4.new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}})
    ]
    made.metadata.widgets = {}
    assert stored_widgets(made) == ["metadata.widgets", "cell 0"]
