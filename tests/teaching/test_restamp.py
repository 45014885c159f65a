"""A recorded result gets the names of moved code only when its rows are proven to be the same."""

from __future__ import annotations

import ast
import dataclasses
import json
import subprocess
import sys
import types

import pytest

import mtl_helpers.teaching.recorded as recorded
import mtl_helpers.teaching.recorded.__main__ as tool
from mtl_helpers.teaching.recorded import load, record
from mtl_helpers.teaching.recorded.__main__ import RestampError, main, restamp
from mtl_helpers.teaching.studies import Sample, Study

FACTOR = 1  # what a changed computation would change


def first(configuration, seeds):
    return [{"x": x, "seed": s, "value": x * s} for x in configuration["xs"] for s in seeds]


def moved(configuration, seeds):
    found = []
    for x in configuration["xs"]:
        found += [{"x": x, "seed": s, "value": x * s * FACTOR} for s in seeds]
    return found


SAMPLE = Sample({"xs": [2]}, tolerance=1e-6, seeds=[1])
OLD = Study("toy", "?", {"xs": [1, 2]}, first, range(3), ("x", "seed"), SAMPLE)
NEW = dataclasses.replace(OLD, run=moved)


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    for module in (recorded, tool):
        monkeypatch.setattr(module, "results_folder", lambda: tmp_path)
    return tmp_path


def test_moved_code_that_makes_the_same_rows_gets_its_name(results):
    before = json.loads(OLD.record().read_text())
    assert restamp("toy", {"toy": NEW})
    after = json.loads((results / "toy.json").read_text())
    found = load("toy")
    assert found.code == [f"{__name__}:moved"] and not found.changed
    assert found.restamped_from == [{key: before[key] for key in ("code", "code_hash")}]
    changed = {"code", "code_hash", "restamped_from", "checksum"}
    assert {k: v for k, v in after.items() if k not in changed} == {
        k: v for k, v in before.items() if k not in changed
    }


def test_a_second_restamp_keeps_the_first_and_a_third_does_nothing():
    OLD.record()
    restamp("toy", {"toy": NEW})
    assert restamp("toy", {"toy": OLD})
    assert [part["code"] for part in load("toy").restamped_from] == [
        [f"{__name__}:first"], [f"{__name__}:moved"]
    ]  # fmt: skip
    assert not restamp("toy", {"toy": OLD})
    assert len(load("toy").restamped_from) == 2


def test_code_that_makes_other_rows_is_refused(results, monkeypatch):
    before = OLD.record().read_bytes()
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 1.001)
    with pytest.raises(
        RestampError, match=r"toy: its sample does not come again:[^$]*make results"
    ):
        restamp("toy", {"toy": NEW})
    assert (results / "toy.json").read_bytes() == before


def test_a_result_that_is_not_there_or_damaged_is_named(results):
    with pytest.raises(FileNotFoundError, match="'toy' is not measured"):
        restamp("toy", {"toy": OLD})
    (results / "toy.json").write_text("{")
    with pytest.raises(ValueError, match=r"toy\.json is not a recorded result"):
        restamp("toy", {"toy": OLD})


# --- A result without a sample: the code itself must be the same, imports apart -------------------

THEN = "import a\n\n\ndef f(x):\n    from b import c\n\n    return c(x) + 1\n"


def at_home(tmp_path, monkeypatch, now, then=THEN):
    """A recorded file made by `then` at some revision, and the same module as it is `now`."""
    module = types.ModuleType("toy_module")
    monkeypatch.setitem(sys.modules, "toy_module", module)
    monkeypatch.setattr(recorded.inspect, "getsource", lambda item: then)
    record("10_toy", configuration={}, seeds=[0], rows=[{"x": 1}], code=[module])
    monkeypatch.setattr(recorded.inspect, "getsource", lambda item: now)
    return module


@pytest.mark.parametrize(
    "now",
    [
        "import z\nfrom y import b, c\n\ndef f(x):\n    # why\n    return c(x) + 1\n",
        '"""It moved."""\n' + THEN,
    ],
)
def test_code_without_a_sample_is_restamped_when_only_its_imports_changed(
    tmp_path, monkeypatch, now
):
    at_home(tmp_path, monkeypatch, now)
    monkeypatch.setattr(tool, "_source_at", lambda revision, name: THEN)
    was = load("10_toy")
    assert restamp("10_toy", {}) is was.changed
    assert not load("10_toy").changed


def test_code_without_a_sample_that_computes_otherwise_is_refused(tmp_path, monkeypatch):
    at_home(tmp_path, monkeypatch, THEN.replace("+ 1", "+ 2"))
    monkeypatch.setattr(tool, "_source_at", lambda revision, name: THEN)
    with pytest.raises(RestampError, match="toy_module is not what it was"):
        restamp("10_toy", {})


def test_the_old_source_must_be_the_recorded_one(tmp_path, monkeypatch):
    at_home(tmp_path, monkeypatch, THEN + "import d\n")
    monkeypatch.setattr(tool, "_source_at", lambda revision, name: THEN.replace("1", "2"))
    with pytest.raises(RestampError, match="is not the recorded one"):
        restamp("10_toy", {})


def test_a_moved_file_is_found_by_its_name(tmp_path, monkeypatch):
    assert tool._moved("mtl_helpers.nowhere.cross_stitch").__name__ == (
        "mtl_helpers.models.cross_stitch"
    )
    assert tool._moved("mtl_helpers.nowhere.cross_stitch:CrossStitch").__name__ == "CrossStitch"
    with pytest.raises(RestampError, match=r"0 files are called attic\.py; expected one"):
        tool._moved("mtl_helpers.attic")
    with pytest.raises(RestampError, match=r"files are called __init__\.py; expected one"):
        tool._moved("mtl_helpers.nowhere.__init__")


def test_old_sources_come_from_git(tmp_path, monkeypatch):
    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True)

    (tmp_path / "toy").mkdir()
    text = "def f():\n    return 1\n\n\nclass A:\n    def f(self):\n        return 2\n"
    (tmp_path / "toy" / "one.py").write_text(text)
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    monkeypatch.setattr(tool, "PACKAGE", tmp_path / "toy")
    assert tool._source_at("HEAD", "toy.one") == text
    assert ast.unparse(ast.parse(tool._source_at("HEAD", "toy.one:f"))) == (
        "def f():\n    return 1"
    )
    assert "return 2" in tool._source_at("HEAD", "toy.one:A.f")
    with pytest.raises(RestampError, match=r"there was no toy\.one:g at HEAD"):
        tool._source_at("HEAD", "toy.one:g")
    with pytest.raises(RestampError, match=r"git cannot show toy/two\.py at HEAD"):
        tool._source_at("HEAD", "toy.two")


def test_the_command_line_says_what_it_did(monkeypatch, capsys):
    OLD.record()
    monkeypatch.setattr(tool, "all_studies", lambda: {"toy": NEW})
    assert main(["restamp", "toy"]) == 0 and capsys.readouterr().out == "toy restamped\n"
    assert main(["restamp", "all"]) == 0 and capsys.readouterr().out == "toy is up to date\n"
    assert main(["restamp", "toi"]) == 1 and "'toi' is not measured" in capsys.readouterr().err
