"""Every exercise of every lesson: untouched, solved, and got wrong in at least two ways."""

from __future__ import annotations

import functools
from pathlib import Path

import hygiene
import nbformat
import proof
import pytest
import torch

from mtl_helpers.teaching.exercises import exercises_of

FOLDER = Path(__file__).parents[2] / "notebooks"
SLIPS = Path(__file__).parents[1] / "lessons"
PATHS = (*sorted(FOLDER.glob("[0-9]*.ipynb")), *sorted(FOLDER.glob("deeper/*.ipynb")))
NOTEBOOKS = {path.relative_to(FOLDER).with_suffix("").as_posix(): path for path in PATHS}


@functools.cache
def read(name: str) -> hygiene.Notebook:
    return nbformat.read(NOTEBOOKS[name], as_version=4)


@functools.lru_cache(maxsize=1)
def scene(name: str) -> proof.Scene:
    return proof.Scene(read(name), NOTEBOOKS[name].parent)


def slips(name: str) -> proof.Slips:
    return proof.slips_of(SLIPS, lesson_of(name))


def lesson_of(name: str) -> str:
    return hygiene.mtl(read(name))["lesson"]


LESSONS = sorted({lesson_of(name) for name in NOTEBOOKS})


def numbers_of(lesson: str) -> list[str]:
    """The exercises of a lesson and of its deeper notebooks."""
    return [n for name in NOTEBOOKS if lesson_of(name) == lesson for n in proof.numbers(read(name))]


@pytest.fixture(autouse=True)
def _float64():
    """What the setup cells of every lesson choose; the scene runs them only once."""
    torch.set_default_dtype(torch.float64)


EXERCISES = [(name, number) for name in NOTEBOOKS for number in proof.numbers(read(name))]


@pytest.mark.parametrize(("name", "number"), EXERCISES)
def test_exercise(name, number):
    assert proof.prove(read(name), number, scene(name), slips(name)) == []


@pytest.mark.parametrize("lesson", LESSONS)
def test_slips_belong_to_exercises(lesson):
    assert set(proof.slips_of(SLIPS, lesson)) == set(numbers_of(lesson))


@pytest.mark.parametrize("lesson", LESSONS)
def test_each_check_belongs_to_one_exercise(lesson):
    assert sorted(numbers_of(lesson)) == sorted(exercises_of(lesson))


def test_slips_belong_to_lessons():
    folders = {f"lesson_{lesson}" for lesson in LESSONS}
    assert {path.parent.name for path in SLIPS.glob("*/slips.py")} <= folders
