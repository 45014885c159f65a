"""Recorded results: none without origin, and none that were edited by hand."""

from __future__ import annotations

import dataclasses
import json
import subprocess

import pytest
import torch

import mtl_helpers.teaching.recorded as recorded
from mtl_helpers.teaching.recorded import code_hash, load, record


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "results_folder", lambda: tmp_path / "results")
    return tmp_path / "results"


def keep(name="toy", **changes):
    given_ = {
        "question": "does it work?",
        "configuration": {"rates": (0.1, 0.2)},
        "seeds": range(3),
        "rows": [{"rate": 0.1, "score": torch.tensor(0.5)}, {"rate": 0.2, "score": None}],
        "code": [record, recorded],
    }
    return record(name, **{**given_, **changes})


def test_a_result_comes_back_with_its_origin(results):
    path = keep()
    assert path == results / "toy.json" and [p.name for p in results.iterdir()] == ["toy.json"]
    found = load("toy")
    assert found.rows == [{"rate": 0.1, "score": 0.5}, {"rate": 0.2, "score": None}]
    assert (found.configuration, found.seeds) == ({"rates": [0.1, 0.2]}, [0, 1, 2])
    assert found.question == "does it work?"
    assert found.measured and not found.changed
    assert found.versions["torch"] == torch.__version__
    assert set(found.versions) == {"python", "torch", "numpy"}
    assert set(found.machine) == {"processor", "cores", "gpu"} and found.machine["processor"]
    assert len(found.date) == 10 and found.date[4] == "-"
    assert found.code == ["mtl_helpers.teaching.recorded:record", "mtl_helpers.teaching.recorded"]
    assert str(results.parent) not in path.read_text()


def test_the_revision_is_that_of_the_project(results, project_folder):
    asked = subprocess.run(
        ["git", "rev-parse", "--verify", "HEAD"], cwd=project_folder, capture_output=True, text=True
    )
    keep()
    inside = asked.returncode == 0 and (project_folder / ".git").exists()
    assert load("toy").revision == (asked.stdout.strip() if inside else "unknown")


def test_no_revision_outside_a_checkout(results, tmp_path, monkeypatch):
    monkeypatch.setattr(
        recorded, "__file__", str(tmp_path / "teaching" / "recorded" / "__init__.py")
    )
    keep(code=[record])
    assert (load("toy").revision, load("toy").dirty) == ("unknown", True)


def test_changes_without_a_commit_are_flagged(results, tmp_path, monkeypatch):
    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True)

    file = tmp_path / "__init__.py"
    file.write_text("a = 1\n")
    git("init")
    git("add", "__init__.py")
    git("commit", "-m", "one")
    inside = str(tmp_path / "teaching" / "recorded" / "__init__.py")
    monkeypatch.setattr(recorded, "__file__", inside)
    keep(code=[record])
    assert len(load("toy").revision) == 40 and not load("toy").dirty
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(
        recorded, "__file__", str(tmp_path / "elsewhere" / "teaching" / "recorded" / "__init__.py")
    )
    keep(code=[record])
    assert load("toy").revision == "unknown"  # a checkout, but of something else
    monkeypatch.setattr(recorded, "__file__", inside)
    file.write_text("a = 2\n")
    keep(code=[record])
    assert load("toy").dirty


def test_what_nobody_measured_is_not_filled_in(results):
    with pytest.raises(FileNotFoundError, match="'toy' is not measured.*make results"):
        load("toy")
    found = load("toy", missing_ok=True)
    assert found.rows == [] and not found.measured and not found.changed
    with pytest.raises(ValueError, match="needs rows"):
        keep(rows=[])
    with pytest.raises(ValueError, match="and the code"):
        keep(code=[])
    with pytest.raises(ValueError):
        keep(rows=[{"score": float("nan")}])
    with pytest.raises(ValueError, match=r"found '\.\./toy'"):
        keep("../toy")
    assert not results.exists() or not list(results.iterdir())


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[1, 2]",
        lambda text: "",
        lambda text: text.replace('"rows"', '"lines"'),
        lambda text: text.replace('"name": "toy"', '"name": "other"'),
        lambda text: json.dumps({**json.loads(text), "rows": []}),
        lambda text: json.dumps({**json.loads(text), "rows": [1]}),
        lambda text: json.dumps({**json.loads(text), "seeds": 3}),
        lambda text: json.dumps({**json.loads(text), "note": "by hand"}),
    ],
)
def test_a_damaged_file_is_refused(results, damage):
    path = keep()
    path.write_text(damage(path.read_text()))
    for missing_ok in (False, True):
        with pytest.raises(ValueError, match=r"toy\.json is not a recorded result.*make results"):
            load("toy", missing_ok=missing_ok)


def test_changed_code_is_noticed(results):
    keep(code=[record])
    found = load("toy")
    assert not found.changed
    assert dataclasses.replace(found, code_hash="0" * 64).changed
    assert dataclasses.replace(found, code=["mtl_helpers.teaching.recorded:gone"]).changed
    assert dataclasses.replace(found, code=["mtl_helpers.gone"]).changed


def test_the_hash_sees_code_and_nothing_else(tmp_path, monkeypatch):
    def hashed(text):
        monkeypatch.setattr(recorded.inspect, "getsource", lambda item: text)
        return code_hash([record])

    base = hashed('def f(a, b=1):\n    """Say."""\n    return a + b\n')
    assert base == hashed(
        "    def f(a,\n          b = 1):\n        # note\n        return (a + b)\n"
    )
    assert base != hashed("def f(a, b=1):\n    return a - b\n")
    assert base != hashed("def f(a, b=2):\n    return a + b\n")
    assert base != hashed("def f(a, c=1):\n    return a + c\n")
    assert len(base) == 64 and len(code_hash([record, record])) == 64
    assert code_hash([record, record]) != base


def test_a_file_damaged_at_any_byte_is_refused(results):
    """A digit that became another one is still JSON; the checksum sees it."""
    content = keep().read_bytes()
    for at in range(0, len(content) - 1):  # the last byte is the final newline
        damaged = bytearray(content)
        damaged[at] ^= 1
        (results / "toy.json").write_bytes(bytes(damaged))
        try:
            load("toy")
        except ValueError as error:
            assert "toy.json is not a recorded result" in str(error)
        else:
            assert json.loads(damaged) == json.loads(
                content
            )  # white space became other white space


@pytest.mark.parametrize("kept", [0, 1, 40, 0.5, 0.99])
def test_a_file_cut_at_any_length_is_refused(results, kept):
    path = keep()
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(ValueError, match=r"toy\.json is not a recorded result"):
        load("toy")


def test_a_file_edited_by_hand_is_refused(results):
    path = keep()
    path.write_text(path.read_text().replace('"score": 0.5', '"score": 0.6'))
    with pytest.raises(ValueError, match="some byte of the file changed"):
        load("toy")
