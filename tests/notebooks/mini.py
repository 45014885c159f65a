"""A tiny lesson that keeps every promise, for the tests of the rules and of the proof."""

from __future__ import annotations

import sys
import types
from importlib.machinery import ModuleSpec
from typing import Any

import torch

import mtl_helpers.lessons as lessons
from mtl_helpers.teaching.exercises import KINDS, compare, core, draws, exercise

PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
KIND_OF = [*KINDS[:4], KINDS[0], KINDS[1]]


def register(monkeypatch: Any) -> types.ModuleType:
    """Stand up the exercises of a lesson 99: six checks ``scale_1`` … ``scale_6``."""
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
        described = {"kind": KIND_OF[n - 1], "difficulty": 1 + n % 3, "minutes": n}
        return exercise(f"99.{n}", f"Scale by {n}", right="it sums.", **described)(check)

    for n in range(1, 7):
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
    return [
        markdown(f"{heading}\n\nScale the joint loss.", "exercise", exercise=number),
        code("def scale(losses):\n    return ...", "stub", exercise=number),
        code(f"check.scale_{n}(scale)", "check", says=untouched, exercise=number),
        markdown(hints, "hint", exercise=number),
        markdown(solution, "solution", exercise=number),
    ]


def lesson(module: types.ModuleType) -> dict[str, Any]:
    """The mini lesson; every rule accepts it."""
    ask = "question='Where does it break?'"
    parts = [
        markdown(
            "# 99 · A mini lesson\n\n**The question.** What is a lesson?\n\n"
            "**You will be able to**\n\n- tell.\n\n**You need first** nothing.\n\n"
            "**Time.** 20 minutes, 24 with ★.",
            slide="slide",
        ),
        markdown("A note.", "teacher"),
        markdown("## 1 · The idea (8 min)", slide="slide"),
        code(
            "import torch\n"
            "from mtl_helpers import metrics, tasks\n"
            "from mtl_helpers.lessons.lesson_99 import exercises as check\n"
            "TIMES_ONE = 1",
            "setup",
        ),
        markdown("**Predict.** Which way does it go?"),
        code("0.25 * TIMES_ONE", says="gain 12.34 of 0.5"),
        markdown("The gain is 12.3 (a share of 50%). See [the idea](#1-·-The-idea-(8-min))."),
        markdown("**Claim.** The share is a half."),
        code("assert 0.5 * TIMES_ONE == 0.5", "claim"),
        code("show(figure)", says="one dot", picture=True),
        seen(),
        explorer(f"Explorer(draw, {ask})", "no dot"),
        seen(),
        markdown("When does the dot vanish?"),
        explorer("Explorer(draw)", "no dot"),
        seen(),
        code("TIMES_ONE", "nbval-ignore-output", says="1", reason="it differs by machine"),
        code("assert TIMES_ONE == 1"),
        markdown("## 2 · Exercises (10 min)"),
    ]
    for n in range(1, 7):
        parts += exercise_cells(n, getattr(module, f"scale_{n}").heading)
    parts += [
        markdown("## ★ More (4 min)\n\nWhat `mtl_helpers.tasks.Task` holds.", "star"),
        code("tasks.Task", "star"),
        markdown("## Key points\n\n- It sums.\n\nNext: 98 · Another (in preparation)."),
        markdown(
            "## Check yourself (2 min)\n\n<details>\n<summary>Why?</summary>\n\nSo.\n</details>"
        ),
        markdown("## What next\n\nRead `mtl_helpers/tasks.py`."),
        markdown(
            "## References\n\n- Caruana 1997, doi:10.1023/A:1007379606734\n- B, arXiv:1705.07115"
        ),
    ]
    return finish(parts)


def finish(parts: list[dict[str, Any]]) -> dict[str, Any]:
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
            "mtl": {"lesson": "99", "core": True, "minutes": {"core": 20, "all": 24}},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
