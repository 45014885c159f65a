"""The proof of exercises, tried on the mini lesson: it accepts it, and refuses planted faults."""

from __future__ import annotations

from pathlib import Path

import mini
import proof
import pytest

SOLVED = "```python\ndef scale(losses):\n    return 1 * TIMES_ONE * losses.sum()\n```"

WRONG = mini.slips()["99.1"]
WARNS = "import warnings\nwarnings.warn('slow')\ndef scale(losses): return losses.mean()"


@pytest.fixture
def module(monkeypatch):
    return mini.register(monkeypatch)


@pytest.fixture
def nb(module):
    return mini.lesson(module)


def prove(nb, folder, number="99.1", slips=None):
    return proof.prove(nb, number, proof.Scene(nb, folder), slips or mini.slips())


def part(nb, tag, number="99.1"):
    return next(
        c
        for c in nb["cells"]
        if tag in c["metadata"].get("tags", []) and c["metadata"]["mtl"]["exercise"] == number
    )


def test_the_mini_lesson_is_proven(nb, tmp_path):
    assert proof.numbers(nb) == [f"99.{n}" for n in range(1, 7)]
    scene = proof.Scene(nb, tmp_path)
    for number in proof.numbers(nb):
        assert proof.prove(nb, number, scene, mini.slips()) == []


@pytest.mark.parametrize(
    ("tag", "text", "problem"),
    [
        ("stub", "def scale(losses):\n    return losses.sum()", "the untouched stub is answered"),
        ("stub", "scale = 3", "the untouched stub is answered"),
        ("stub", "raise ValueError('no')", "the untouched stub raises ValueError: no"),
        ("check", "verdict = check.scale_1(scale)", "must end with the call of the check"),
        ("check", "scale", "not a Verdict"),
        ("check", "check.scale_2(scale)", "answers for exercise 99.2"),
        ("solution", SOLVED.replace("sum", "mean"), "the solution is answered"),
        ("solution", SOLVED.replace("TIMES_ONE", "x"), "the solution is answered"),
        ("solution", SOLVED.replace("def", f"{WARNS}\ndef", 1), "the solution raises UserWarning"),
        ("solution", "None.", "expected a stub, a check and one ```python block"),
        ("solution", SOLVED + "\n" + SOLVED, "expected a stub, a check and one ```python block"),
    ],
)
def test_a_broken_exercise_is_refused(nb, tmp_path, tag, text, problem):
    part(nb, tag)["source"] = text
    assert problem in "\n".join(prove(nb, tmp_path))


@pytest.mark.parametrize(
    ("planted", "problem"),
    [
        ([], "0 planted slips"),
        (WRONG[:1], "1 planted slips"),
        ([WRONG[0], WRONG[0]], "told the same"),
        ([WRONG[0], (WRONG[1][0], "you divided")], "expected 'you divided' in it"),
        ([WRONG[0], (WRONG[1][0], "")], "expected '' in it"),
        ([WRONG[0], ("scale = sum", "well done")], "slip 2 is answered"),
        ([WRONG[0], (WARNS, "you averaged"), WRONG[1]], "told the same"),
        ([WRONG[0], ("scale = (", "x")], "slip 2 raises SyntaxError"),
    ],
)
def test_slips_must_be_two_and_told_apart(nb, tmp_path, planted, problem):
    found = prove(nb, tmp_path, slips={"99.1": planted})
    assert problem in "\n".join(found)


def test_an_exercise_that_rests_on_another_is_refused(nb, tmp_path):
    solution = part(nb, "solution", "99.2")
    solution["source"] = "```python\ndouble = scale\ndef scale(x):\n    return 2 * double(x)\n```"
    scene = proof.Scene(nb, tmp_path)
    assert proof.prove(nb, "99.1", scene, mini.slips()) == []
    assert "NameError" in "\n".join(proof.prove(nb, "99.2", scene, mini.slips()))


def test_an_exercise_rests_on_setup_and_basis_cells_and_on_no_others(nb, tmp_path):
    nb["cells"].insert(6, mini.code("THREE = 3 * TIMES_ONE", "basis"))
    part(nb, "solution")["source"] = SOLVED.replace("1 *", "THREE / 3 *")
    assert prove(nb, tmp_path) == []
    nb["cells"][6]["metadata"]["tags"] = []
    assert "NameError" in "\n".join(prove(nb, tmp_path))


def test_code_runs_as_in_a_notebook(nb, tmp_path):
    code = (
        "def scale(x: int): return ...\n"
        "assert scale.__annotations__ == {'x': int}\n"
        "assert __name__ == '__main__'"
    )
    verdict = proof.Scene(nb, tmp_path).attempt(code, "check.scale_1(scale)")
    assert verdict.status == "not attempted"


CHANGES = """
kept = [1.0]
def one():
    return kept[0] * TIMES_ONE
"""


@pytest.mark.parametrize("more", ["", "no_copy = (x for x in [])"])
def test_what_an_attempt_changes_is_put_back(nb, tmp_path, more):
    cell = next(c for c in nb["cells"] if "TIMES_ONE = 1" in c["source"])
    cell["source"] += CHANGES + more
    scene = proof.Scene(nb, tmp_path)
    assert (scene.kept is None) == bool(more)
    spoil = "kept[0] = 9; TIMES_ONE = 9; left = 1\ndef scale(x): return one() * x.sum()"
    honest = "assert 'left' not in globals()\ndef scale(x): return one() * x.sum()"
    assert scene.attempt(spoil, "check.scale_1(scale)").status == "wrong"
    assert scene.attempt(honest, "check.scale_1(scale)").status == "right"


def test_cells_run_in_the_folder_of_the_lesson_and_print_nothing(nb, tmp_path, capsys):
    (tmp_path / "here.txt").touch()
    code = "import pathlib\nassert pathlib.Path('here.txt').exists()\nprint('noise')\nscale = None"
    before = Path.cwd()
    verdict = proof.Scene(nb, tmp_path).attempt(code, "check.scale_1(scale)")
    assert verdict.status == "not attempted"
    assert Path.cwd() == before
    assert capsys.readouterr().out == ""


def test_slips_are_read_from_the_lesson_s_file(tmp_path):
    (tmp_path / "lesson_99").mkdir()
    (tmp_path / "lesson_99" / "slips.py").write_text('SLIPS = {"99.1": [("x = 1", "no")]}')
    assert proof.slips_of(tmp_path, "99") == {"99.1": [("x = 1", "no")]}
    assert proof.slips_of(tmp_path, "98") == {}
