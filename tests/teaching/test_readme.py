"""The README promises only what is there."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


def test_links_and_pictures_exist():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT)
    assert len(targets) > 2
    assert [t for t in targets if not (ROOT / t).exists()] == []


def test_files_named_exist():
    named = re.findall(
        r"`((?:\.ci|data|notebooks|tests|mtl_helpers)/[\w./-]*|[\w-]+\.(?:txt|yml|cff))`", TEXT
    )
    as_lesson = {"lesson_NN": "lesson_00", "NN_title": "00_start_here"}
    for placeholder, real in as_lesson.items():
        named = [name.replace(placeholder, real) for name in named]
    assert [n for n in named if not (ROOT / n).exists()] == []


def test_adding_a_lesson_is_told_in_a_page():
    told = TEXT.split("### To add a lesson\n")[1].split("\n#")[0]
    assert len(told.strip().splitlines()) <= 25


def test_no_placeholder_is_left():
    assert re.findall(r"\b[A-Z]+_[A-Z]+\b|\b[A-Z]{3,}\d+\b|TODO|FIXME", TEXT) == []


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    asked = set(re.findall(r"`make ([a-z-]+)", TEXT)) | set(
        re.findall(r"^make ([a-z-]+)", TEXT, re.M)
    )
    assert {"lab", "test"} <= asked
    assert [t for t in asked if not re.search(rf"^{t}:", makefile, re.M)] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_lesson_is_in_the_map_with_its_minutes(path):
    minutes = json.loads(path.read_text(encoding="utf-8"))["metadata"]["mtl"]["minutes"]
    row = next(line for line in TEXT.splitlines() if f"(notebooks/{path.name})" in line)
    core, every = minutes["core"], minutes["all"]
    assert f"| {core} / {every} |" in row or (core == every and f"| {core} |" in row)
