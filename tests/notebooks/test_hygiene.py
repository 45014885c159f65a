"""Every rule of :mod:`hygiene` over every notebook."""

from __future__ import annotations

import functools
from pathlib import Path

import hygiene
import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = [*sorted(FOLDER.glob("[0-9]*.ipynb")), *sorted(FOLDER.glob("deeper/*.ipynb"))]
# Lessons that are not rewritten yet and so are exempt from the rules of size, frame and width (see
# FIRST in hygiene.py). The list only shrinks: rewriting a lesson removes its number here.
FIRST_FRAME = {"04", "05", "10"}


@functools.cache
def read(path: Path) -> hygiene.Notebook:
    return nbformat.read(path, as_version=4)


def test_there_are_notebooks_and_nothing_else_to_step_over():
    assert NOTEBOOKS, "no notebook in notebooks/"
    shown = {p for p in FOLDER.rglob("*") if not p.name.startswith((".", "__"))}
    shown = {
        p for p in shown if "__pycache__" not in p.parts and ".ipynb_checkpoints" not in p.parts
    }
    # What the folded first cell runs on Colab and Kaggle lies beside the notebooks: the helper
    # package, where it would belong otherwise, is not installed there yet.
    assert shown - {FOLDER / "deeper"} == {
        *NOTEBOOKS,
        FOLDER / "hosted.py",
        FOLDER / hygiene.GLOSSARY,
    }


def test_the_lessons_in_the_first_frame_only_become_fewer():
    marked = {path.name[:2] for path in NOTEBOOKS if "frame" in hygiene.mtl(read(path))}
    assert marked == FIRST_FRAME
    assert not FIRST_FRAME - {"00", "01", "02", "03", "04", "05", "10"}, "the list has grown"
    assert not any("frame" in hygiene.mtl(read(path)) for path in FOLDER.glob("deeper/*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_file_has_the_number_of_the_lesson(path):
    assert path.name.startswith(f"{hygiene.mtl(read(path)).get('lesson')}_")


@pytest.mark.parametrize("name", hygiene.RULES)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_rule(path, name):
    assert hygiene.judge(name, read(path), path.parent) == []


def test_the_glossary_explains_each_term_once_in_one_sentence():
    nb = nbformat.read(FOLDER / hygiene.GLOSSARY, as_version=4)
    terms = hygiene.terms(nb)
    assert len(terms) == len(nb.cells) - 1 > 20, "a cell that is no term, or a term twice"
    assert list(terms) == sorted(terms, key=str.lower)
    for cell in nb.cells[1:]:
        sentence = cell.source.split("\n\n")[1].split(" → ")[0]
        assert sentence[0].isupper() and sentence.endswith(".") and ". " not in sentence
    for place in terms.values():
        assert (FOLDER / place).exists(), place
