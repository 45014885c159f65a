"""Tiny notebooks that keep every promise, for the tests of the rules and of the proof."""

from __future__ import annotations

import sys
import types
from importlib.machinery import ModuleSpec
from typing import Any

import torch

import mtl_helpers.lessons as lessons
from mtl_helpers.teaching.environment import HOSTED_CELL
from mtl_helpers.teaching.exercises import KINDS, compare, core, draws, exercise

PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
KIND_OF = [*KINDS[:4], KINDS[0], KINDS[1]]


def register(monkeypatch: Any, deeper: bool = False) -> types.ModuleType:
    """Stand up the exercises of a lesson 99: six checks ``scale_1`` … ``scale_6``.

    With ``deeper`` also ``scale_11``, the check of a deeper notebook.
    """
    for place in ("mtl_helpers.lessons.lesson_99", "mtl_helpers.lessons.lesson_99.exercises"):
        module = types.ModuleType(place)
        module.__spec__ = ModuleSpec(place, None, is_package=True)
        module.__path__ = []
        monkeypatch.setitem(sys.modules, place, module)
    folder = sys.modules["mtl_helpers.lessons.lesson_99"]
    folder.exercises = module
    monkeypatch.setattr(lessons, "lesson_99", folder, raising=False)
    monkeypatch.setattr(core, "_REGISTRY", {})

    def make(n: int) -> Any:
        def check(answer: Any) -> str | None:
            return compare(
                answer,
                lambda losses: n * losses.sum(),
                [(torch.tensor([1.0, 3.0]),), *draws(lambda g: (torch.rand(4, generator=g),))],
                slips={
                    "you averaged over tasks; the formula sums.": lambda x: n * x.mean(),
                    "you subtracted; the formula adds.": lambda x: -n * x.sum(),
                },
            )

        check.__qualname__ = f"scale_{n}"
        described = {"kind": KIND_OF[n % 6 - 1], "difficulty": 1 + n % 3, "minutes": n}
        return exercise(f"99.{n}", f"Scale by {n}", right="it sums.", **described)(check)

    for n in (1, 2, 3, 4, 5, 6, 11)[: 7 if deeper else 6]:
        setattr(module, f"scale_{n}", make(n))
    return module


def slips() -> dict[str, list[tuple[str, str]]]:
    return {
        f"99.{n}": [
            (f"def scale(losses):\n    return {n} * losses.mean()", "you averaged"),
            (f"def scale(losses):\n    return -TIMES_ONE * {n} * losses.sum()", "you subtracted"),
        ]
        for n in range(1, 7)
    }


def markdown(text: str, *tags: str, slide: str = "", **mtl: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    if tags:
        metadata["tags"] = list(tags)
    if slide:
        metadata["slideshow"] = {"slide_type": slide}
    if mtl:
        metadata["mtl"] = mtl
    return {"cell_type": "markdown", "metadata": metadata, "source": text}


def code(text: str, *tags: str, says: str = "", picture: bool = False, **mtl: Any) -> dict:
    cell = markdown(text, *tags, **mtl) | {"cell_type": "code", "outputs": []}
    data = {"text/plain": says} | ({"image/png": PNG} if picture else {})
    if says:
        shown = {"output_type": "display_data", "data": data, "metadata": {}}
        cell["outputs"].append(shown)
    return cell


def fold(cell: dict[str, Any]) -> dict[str, Any]:
    cell["metadata"]["jupyter"] = {"source_hidden": True}
    return cell


def hosted() -> dict[str, Any]:
    return fold(code(HOSTED_CELL.rstrip("\n"), "setup"))


def explorer(text: str, says: str) -> dict[str, Any]:
    cell = code(text, says=says, picture=True)
    cell["outputs"][0]["metadata"] = {"explorer": True}
    return cell


def seen() -> dict[str, Any]:
    return markdown("**What you see.** One dot stands for one task, and it is as grey as ever.")


def exercise_cells(n: int, heading: str) -> list[dict[str, Any]]:
    number = f"99.{n}"
    hints = (
        "<details>\n<summary>Hint 1</summary>\n\nTwo tasks, one number.\n\n<details>\n"
        "<summary>Hint 2</summary>\n\nIt adds.\n\n</details>\n</details>"
    )
    solution = (
        "<details>\n<summary>Solution</summary>\n\n```python\ndef scale(losses):\n"
        f"    return {n} * TIMES_ONE * losses.sum()\n```\n\n</details>"
    )
    untouched = f"Exercise {number} · not attempted yet: fill in the cell above."
    scale = f"{heading}\n\nScale the joint loss."
    return [
        markdown(scale, "exercise", exercise=number, aims=[1 + n % 2]),
        code("def scale(losses):\n    return ...", "stub", exercise=number),
        code(f"check.scale_{n}(scale)", "check", says=untouched, exercise=number),
        markdown(hints, "hint", exercise=number),
        markdown(solution, "solution", exercise=number),
    ]


def _title(needs: str, time: str) -> dict[str, Any]:
    return markdown(
        "# 99 · A mini lesson\n\n**The question.** What is a lesson?\n\n"
        "**You will be able to**\n\n- tell;\n- show.\n\n"
        f"**You need first** {needs}.\n\n**Time.** {time}.",
        slide="slide",
    )


def _imports() -> dict[str, Any]:
    return code(
        "import torch\n"
        "from mtl_helpers import metrics, tasks\n"
        "from mtl_helpers.lessons.lesson_99 import exercises as check\n"
        "TIMES_ONE = 1",
        "setup",
    )


def _gain() -> list[dict[str, Any]]:
    return [
        markdown("**Predict.** Which way does it go?"),
        code("0.25 * TIMES_ONE", says="gain 12.34 of 0.5"),
        markdown("The gain is 12.3 (a share of 50%). See [the idea](#1-·-The-idea-(8-min))."),
        markdown("**Claim.** The share is a half."),
    ]


def _explorers() -> list[dict[str, Any]]:
    ask = "question='Where does it break?'"
    return [
        explorer(f"Explorer(draw, {ask})", "no dot"),
        seen(),
        markdown("When does the dot vanish?"),
        explorer("Explorer(draw)", "no dot"),
        seen(),
    ]


def _ignored() -> list[dict[str, Any]]:
    return [
        code("TIMES_ONE", "nbval-ignore-output", says="1", reason="it differs by machine"),
        code("assert TIMES_ONE == 1"),
    ]


KEY_POINTS = "## Key points\n\n- It sums.\n\nNext: 98 · Another (in preparation)."
QUIZ = "## Check yourself (2 min)\n\n<details>\n<summary>Why?</summary>\n\nSo.\n</details>"
DECISION = "## Decision rule\n\nSum the losses, unless one of them shouts."
NEXT = "## What next\n\nRead `mtl_helpers/tasks.py`."
REFERENCES = "## References\n\n- Caruana 1997, doi:10.1023/A:1007379606734\n- B, arXiv:1705.07115"


def lesson(module: types.ModuleType) -> dict[str, Any]:
    """A lesson; every rule accepts it."""

    def exercise(n: int) -> list[dict[str, Any]]:
        return exercise_cells(n, getattr(module, f"scale_{n}").heading)

    proof = fold(code("assert 0.5 * TIMES_ONE == 0.5", "proof"))
    parts = [
        _title("a mean; no other mathematics", "32 minutes"),
        hosted(),
        markdown("A note.", "teacher"),
        markdown("## 1 · The idea (8 min)", slide="slide"),
        fold(_imports()),
        *_gain(),
        proof,
        code("show(figure)", says="one dot", picture=True),
        seen(),
        *_explorers(),
        *_ignored(),
    ]
    for n in range(1, 4):
        parts += [code(f"show(figure_{n})", says="one dot", picture=True), seen(), *exercise(n)]
    parts += [
        markdown("**A good place to stop.** The rest takes as long again."),
        markdown("## 2 · Exercises (22 min)\n\nWhat `mtl_helpers.tasks.Task` holds."),
        code("tasks.Task"),
        code("network(left)", "diagram", says="a box", picture=True),
        seen(),
        code("network(right)", "diagram", says="a box", picture=True),
        seen(),
    ]
    for n in range(4, 7):
        parts += exercise(n)
    parts += map(markdown, (KEY_POINTS, QUIZ, DECISION, NEXT, REFERENCES))
    return finish(parts)


def deeper(module: types.ModuleType) -> dict[str, Any]:
    """A notebook of notebooks/deeper/; the module needs ``scale_11``."""
    parts = [
        _title("a mean; no other mathematics", "16 minutes"),
        hosted(),
        markdown("## 1 · The idea (8 min)"),
        fold(_imports()),
        *_gain(),
        fold(code("assert 0.5 * TIMES_ONE == 0.5", "proof")),
        markdown("## 2 · The exercise (8 min)"),
        *[c for _ in "123" for c in (code("show(figure)", says="one dot", picture=True), seen())],
        *exercise_cells(11, module.scale_11.heading),
        markdown(KEY_POINTS),
        markdown(NEXT + " Back to [the lesson](../99_mini.ipynb)."),
        markdown(REFERENCES),
    ]
    exercise = next(c for c in parts if c["metadata"].get("tags") == ["exercise"])
    exercise["metadata"]["mtl"]["aims"] = [1, 2]
    minutes = {"core": 16, "all": 16}
    return finish(parts, lesson="99", core=False, minutes=minutes)


def first(module: types.ModuleType) -> dict[str, Any]:
    """A lesson in the first frame, with its marker."""
    parts = [
        _title("nothing", "20 minutes, 24 with ★"),
        hosted(),
        markdown("A note.", "teacher"),
        markdown("## 1 · The idea (8 min)", slide="slide"),
        _imports(),
        *_gain(),
        code("assert 0.5 * TIMES_ONE == 0.5", "proof"),
        code("show(figure)", says="one dot", picture=True),
        seen(),
        *_explorers(),
        *_ignored(),
        markdown("## 2 · Exercises (10 min)"),
    ]
    for n in range(1, 7):
        parts += exercise_cells(n, getattr(module, f"scale_{n}").heading)
    parts += [
        markdown("## ★ More (4 min)\n\nWhat `mtl_helpers.tasks.Task` holds.", "star"),
        code("tasks.Task", "star"),
        *map(markdown, (KEY_POINTS, QUIZ, NEXT, REFERENCES)),
    ]
    minutes = {"core": 20, "all": 24}
    return finish(parts, lesson="99", core=True, minutes=minutes, frame="first")


def finish(parts: list[dict[str, Any]], **mtl: Any) -> dict[str, Any]:
    """Number the cells as a run from a clean kernel would, and add the notebook's metadata."""
    count = 0
    for i, cell in enumerate(parts):
        cell["id"] = f"cell-{i}"
        if cell["cell_type"] == "code":
            count += 1
            cell["execution_count"] = count
    return {
        "cells": parts,
        "metadata": {
            "kernelspec": {
                "display_name": "Python 3 (ipykernel)",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
            "mtl": mtl or {"lesson": "99", "core": True, "minutes": {"core": 32, "all": 32}},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
