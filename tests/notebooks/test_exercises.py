"""Every exercise of every lesson: untouched, solved, and got wrong in at least two ways."""

from __future__ import annotations

import functools
from pathlib import Path

import hygiene
import nbformat
import proof
import pytest
import torch

FOLDER = Path(__file__).parents[2] / "notebooks"
SLIPS = Path(__file__).parents[1] / "lessons"
LESSONS = {path.stem: path for path in sorted(FOLDER.glob("*.ipynb"))}


@functools.cache
def read(name: str) -> hygiene.Notebook:
    return nbformat.read(LESSONS[name], as_version=4)


@functools.lru_cache(maxsize=1)
def scene(name: str) -> proof.Scene:
    return proof.Scene(read(name), FOLDER)


def slips(name: str) -> proof.Slips:
    return proof.slips_of(SLIPS, hygiene.mtl(read(name))["lesson"])


@pytest.fixture(autouse=True)
def _float64():
    """What the setup cells of every lesson choose; the scene runs them only once."""
    torch.set_default_dtype(torch.float64)


EXERCISES = [(name, number) for name in LESSONS for number in proof.numbers(read(name))]


@pytest.mark.parametrize(("name", "number"), EXERCISES)
def test_exercise(name, number):
    assert proof.prove(read(name), number, scene(name), slips(name)) == []


@pytest.mark.parametrize("name", LESSONS)
def test_slips_belong_to_exercises(name):
    assert set(slips(name)) == set(proof.numbers(read(name)))


def test_slips_belong_to_lessons():
    lessons = {f"lesson_{name[:2]}" for name in LESSONS}
    assert {path.parent.name for path in SLIPS.glob("*/slips.py")} <= lessons
