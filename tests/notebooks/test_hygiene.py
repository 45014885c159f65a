"""Every rule of :mod:`hygiene` over every notebook."""

from __future__ import annotations

import functools
from pathlib import Path

import hygiene
import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@functools.cache
def read(path: Path) -> hygiene.Notebook:
    return nbformat.read(path, as_version=4)


def test_there_are_notebooks_and_nothing_else_to_step_over():
    assert NOTEBOOKS, "no notebook in notebooks/"
    shown = {p.name for p in FOLDER.iterdir() if not p.name.startswith((".", "__"))}
    assert shown == {p.name for p in NOTEBOOKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_file_has_the_number_of_the_lesson(path):
    assert path.name.startswith(f"{hygiene.mtl(read(path)).get('lesson')}_")


@pytest.mark.parametrize("name", hygiene.RULES)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_rule(path, name):
    assert hygiene.judge(name, read(path), FOLDER) == []
