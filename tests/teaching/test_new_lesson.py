"""What the README says about adding a lesson is done here, in a copy of the project."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mini
import pytest

ROOT = Path(__file__).resolve().parents[2]

EXERCISES = '''"""The checks of lesson 99."""

import torch

from mtl_helpers.teaching.exercises import compare, draws, exercise


def _scales(n, kind):
    @exercise(
        f"99.{n}", f"Scale by {n}", kind=kind, difficulty=1 + n % 3, minutes=n, right="it sums."
    )
    def check(answer):
        return compare(
            answer,
            lambda losses: n * losses.sum(),
            [(torch.tensor([1.0, 3.0]),), *draws(lambda g: (torch.rand(4, generator=g),))],
            slips={
                "you averaged over tasks; the formula sums.": lambda x: n * x.mean(),
                "you subtracted; the formula adds.": lambda x: -n * x.sum(),
            },
        )

    return check
'''

PICTURES = '''"""The pictures of lesson 99."""

from mtl_helpers.teaching.figures import Picture, new_figure


def draw(gain: float = 0.0) -> Picture:
    """Draw one dot."""
    figure, axes = new_figure()
    axes.plot([gain], [0.0], "o")
    return Picture(figure, "one dot")
'''


def add_the_lesson(project: Path, module: Any) -> None:
    """Steps 1 to 4 of the README."""
    folder = project / "mtl_helpers" / "lessons" / "lesson_99"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""Lesson 99 · A mini lesson."""\n')
    kinds = [getattr(module, f"scale_{n}").kind for n in range(1, 7)]
    checks = [f"scale_{n} = _scales({n}, {kind!r})" for n, kind in enumerate(kinds, 1)]
    (folder / "exercises.py").write_text(EXERCISES + "\n\n" + "\n".join(checks) + "\n")
    (folder / "pictures.py").write_text(PICTURES)
    slips = project / "tests" / "lessons" / "lesson_99"
    slips.mkdir()
    (slips / "slips.py").write_text(f'"""Wrong answers."""\n\nSLIPS = {mini.slips()!r}\n')
    nb = mini.lesson(module)
    shown = "show(pictures.draw({}).figure, says='one dot')"
    cells = {"show(figure": shown.format(1.0), "network(": shown.format(2.0)}
    for number, cell in enumerate(nb["cells"]):
        for start, source in cells.items():
            if cell["source"].startswith(start):
                cell["source"] = f"{source}  # cell {number}"
        if cell["source"].startswith("Explorer(draw"):
            cell["source"] = "Explorer(pictures.draw, gain=[0.0, 1.0], question='Where is it?')"
        if cell["source"].startswith("import torch"):
            cell["source"] += (
                "\nfrom mtl_helpers.lessons.lesson_99 import pictures"
                "\nfrom mtl_helpers.teaching.explore import Explorer, show"
            )
        if cell["source"] == "0.25 * TIMES_ONE":
            cell["source"] = "print('gain', 12.34 * TIMES_ONE)"
        if cell["source"] == "tasks.Task":
            cell["source"] = "print(tasks.Task.__name__)"
    (project / "notebooks" / "99_mini.ipynb").write_text(json.dumps(nb))
    readme = (project / "README.md").read_text(encoding="utf-8")
    row = (
        "| [99 · A mini lesson](notebooks/99_mini.ipynb) | core | 32 / 32 | 5 | What is a lesson? |"
    )
    before = "| 11 · Where next"
    assert before in readme
    (project / "README.md").write_text(readme.replace(before, f"{row}\n{before}"))


@pytest.fixture
def project(tmp_path):
    shutil.copytree(
        ROOT,
        tmp_path / "project",
        ignore=shutil.ignore_patterns(
            ".*", "build", "work", "results", "downloads", "__pycache__", "*.egg-info"
        ),
    )
    shutil.copytree(ROOT / "data" / "results", tmp_path / "project" / "data" / "results")
    return tmp_path / "project"


def test_a_lesson_made_as_the_readme_says_is_whole(project, monkeypatch):
    add_the_lesson(project, mini.register(monkeypatch))

    def python(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, "-m", *words],
            cwd=project, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    lesson = "notebooks/99_mini.ipynb"
    done = python("mtl_helpers.teaching.notebooks", "execute", lesson)
    assert done.returncode == 0, done.stdout + done.stderr
    tests = ["tests/notebooks/test_hygiene.py", "tests/notebooks/test_exercises.py"]
    tests += ["tests/teaching/test_layout.py", "tests/teaching/test_readme.py"]
    chosen = "99 or lesson_has_a_notebook or imports_only or stays_small"
    done = python("pytest", *tests, "-k", chosen, "-q")
    assert done.returncode == 0, done.stdout[-6000:]
    assert " passed" in done.stdout
    done = python("pytest", lesson, "--nbval", "--nbval-current-env", "-q")
    assert done.returncode == 0, done.stdout[-6000:]
