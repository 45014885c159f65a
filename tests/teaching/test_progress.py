"""The progress list: written by the checks, in a learner's copy only, and never in their way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from mtl_helpers.teaching import progress as module
from mtl_helpers.teaching.exercises import core
from mtl_helpers.teaching.progress import MANIFEST, Lesson, find_copy, progress, record

HERE = Path(__file__).resolve().parents[2]


def notebook(*sources):
    cells = [{"cell_type": "markdown", "metadata": {}, "source": text} for text in sources]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def lesson(title, *numbers):
    headings = [f"### Exercise {n} · Add them ●○○ · 3 min · fill one line" for n in numbers]
    return notebook(f"# {title}\n\nText.", *headings, "```python\nx = 1\n```")


@pytest.fixture
def copy(tmp_path, monkeypatch):
    folder = tmp_path / "work"
    (folder / "deeper").mkdir(parents=True)
    (folder / MANIFEST).write_text("{}")
    (folder / "00_a.ipynb").write_text(lesson("00 · Start", "00.1", "00.2"))
    (folder / "01_b.ipynb").write_text(lesson("01 · Theory", "01.1", "01.2", "01.10"))
    (folder / "deeper" / "01_c.ipynb").write_text(lesson("01 · Deeper", "01.11"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def check(monkeypatch):
    monkeypatch.setattr(core, "_REGISTRY", {})

    @core.exercise("00.1", "Add", kind="fill one line", difficulty=1, minutes=1)
    def add(answer):
        return None if answer == 3 else "add them."

    return add


def noted(copy):
    folder = copy / "progress"
    return {p.name: p.read_text() for p in folder.iterdir()} if folder.exists() else {}


def test_a_right_answer_is_noted_and_nothing_else_is(copy, check):
    assert check(...).status == "not attempted"
    assert check(4).status == "wrong"
    assert noted(copy) == {}
    assert check(3).status == "right"
    assert noted(copy) == {"00.1": f"{date.today().isoformat()} Add\n"}


def test_what_was_right_once_stays_noted_with_its_day(copy, check):
    (copy / "progress").mkdir()
    (copy / "progress" / "00.1").write_text("2026-01-01 Add\n")
    check(3)
    check(4)
    assert noted(copy) == {"00.1": "2026-01-01 Add\n"}


def test_it_is_noted_from_deeper_too(copy, check, monkeypatch):
    monkeypatch.chdir(copy / "deeper")
    check(3)
    assert set(noted(copy)) == {"00.1"}


def test_outside_of_a_copy_nothing_is_written(tmp_path, check, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert check(3).status == "right"
    assert list(tmp_path.iterdir()) == []
    assert find_copy() is None


def test_neither_the_committed_lessons_nor_the_tests_lie_in_a_copy():
    for folder in (HERE, HERE / "notebooks", HERE / "notebooks" / "deeper", HERE / "tests"):
        assert find_copy(folder) is None


def test_a_list_that_cannot_be_written_never_breaks_a_check(copy, check, monkeypatch):
    def full(*_):
        raise OSError(28, "the disk is full")

    monkeypatch.setattr(module, "write_whole", full)
    assert check(3).status == "right"
    monkeypatch.undo()
    os.chdir(copy)
    (copy / "progress").write_text("a file in the way")
    assert check(3).status == "right"


def test_a_folder_that_is_gone_never_breaks_a_check(tmp_path, check, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert check(3).status == "right"


def test_a_killed_write_leaves_no_half_file(copy, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        record("00.1", "Add")
    assert noted(copy) == {}
    assert progress().lessons[0].right == ()


def test_kernels_that_write_at_once_lose_nothing(copy):
    line = (
        "import sys; from mtl_helpers.teaching.progress import record\n"
        "for n in range(1, 40): record(f'{sys.argv[1]}.{n}', 'Add'); record(f'02.{n}', 'Add')"
    )
    command = [sys.executable, "-c", line]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    running = [subprocess.Popen([*command, n], env=environment) for n in ("00", "01")]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    assert set(noted(copy)) == {f"0{k}.{n}" for k in range(3) for n in range(1, 40)}


def test_the_list_names_each_lesson_and_what_is_right_in_it(copy):
    for number in ("01.10", "00.2", "01.2", "01.11"):
        record(number, "Add")
    found = progress()
    assert found.lessons == (
        Lesson("00 · Start", ("00.1", "00.2"), ("00.2",)),
        Lesson("01 · Theory", ("01.1", "01.2", "01.10"), ("01.2", "01.10")),
        Lesson("01 · Deeper", ("01.11",), ("01.11",)),
    )
    assert repr(found).splitlines() == [
        "4 of 6 exercises are right.",
        " 1 of  2  00 · Start",
        "          right: 00.2",
        " 2 of  3  01 · Theory",
        "          right: 01.2, 01.10",
        " 1 of  1  01 · Deeper",
        "          right: 01.11",
    ]


def test_a_newer_version_beside_the_lesson_is_not_counted_again(copy):
    (copy / "00_a (new 2026-11-30).ipynb").write_text(lesson("00 · Start", "00.1"))
    assert len(progress().lessons) == 3


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": [{}]}', '{"cells": 3}'])
def test_a_notebook_that_cannot_be_read_is_left_out(copy, text):
    (copy / "00_a.ipynb").write_text(text)
    assert [one.title for one in progress().lessons] == ["01 · Theory", "01 · Deeper"]


def test_outside_of_a_copy_the_list_says_the_same_everywhere(tmp_path):
    one, two = progress(tmp_path), progress(HERE / "notebooks")
    assert repr(one) == repr(two)
    assert "make lab makes the copy" in repr(one)
    assert max(map(len, repr(one).splitlines())) <= 100
