"""How much room claims have: slack of a test, its reach over runs, and what a cell keeps of it."""

from __future__ import annotations

import ast
import math

import nbformat
import numpy as np
import pytest
import torch

from mtl_helpers.teaching import margins
from mtl_helpers.teaching.margins import Comparison, summary, tightest

NAMES = {"x": 3.0, "y": 5.0, "t": torch.tensor([1.0, 4.0]), "np": np, "torch": torch}


def noted(code, **names):
    """The slacks that the asserts of a cell note."""
    recorder = margins.Recorder()
    tree = ast.fix_missing_locations(margins.Measured().visit(ast.parse(code)))
    exec(compile(tree, "cell", "exec"), {**NAMES, **names, "__margins__": recorder})
    return [values for _, _, _, values in recorder.notes]


@pytest.mark.parametrize(
    ("test", "slacks"),
    [
        ("x < y", [2]),
        ("y >= x", [2]),
        ("y < x", [-2]),
        ("1 < x < y", [2, 2]),
        ("x < y and y < 6", [2, 1]),
        ("x < y and y < 4 and missing", [2, -1]),
        ("x > y or x > 1", [2]),
        ("x > 1 or missing", [2]),
        ("not x > y", [2]),
        ("not x > 3", [0]),
        ("x > 3", [-math.inf]),
        ("not (x < y and x < 4)", [-1]),
        ("x == 3 and x != 4", [math.inf, math.inf]),
        ("x == 4", [-math.inf]),
        ("all(v > 0 for v in (1, 2))", [1, 2]),
        ("all([v > 0 for v in (1, 2) if v < 2])", [1]),
        ("any(v > 1 for v in (1, 3))", [2]),
        ("(t > 0).all()", [1, 4]),
        ("(t > 2).any()", [2]),
        ("torch.all(t > 0)", [math.inf]),
        ("all(t > 0)", [math.inf]),
        ("(t > 0).any(0).all()", [math.inf]),
        ("'a' in 'cat'", [math.inf]),
        ("'a' < 'b'", [math.inf]),
        ("x", [math.inf]),
        ("t.max() > np.float64(1.5)", [2.5]),
        ("float('nan') > 0", [-math.inf]),
    ],
)
def test_the_slack_of_a_test(test, slacks):
    assert noted(f"assert {test}") == [pytest.approx(slacks)]


def test_each_round_of_a_loop_is_noted_and_nothing_stops():
    assert noted("for k in (1, 5):\n    assert k > 2, 'why'") == [[-1], [3]]


def test_of_very_many_parts_the_smallest_is_kept():
    assert noted("assert (torch.arange(5000) > -3).all()") == [[3]]


def test_a_failed_test_never_looks_right():
    class Odd:
        def __bool__(self):
            return False

    assert noted("assert odd", odd=Odd()) == [[-math.inf]]


def runs(*slacks):
    return [{"notes": [(0, 1, "a > b", [slack])], "errors": []} for slack in slacks]


@pytest.mark.parametrize(
    ("slacks", "worst", "room"),
    [
        ([4, 4, 4], 4, math.inf),
        ([1, 2, 3], 1, 1),
        ([1, 1, 5], 1, 1),  # at least a quarter of the range
        ([3, 3.1, 9], 3, 2),
        ([-1, 1, 2], -1, -0.5),
        ([math.inf, math.inf], math.inf, math.inf),
        ([math.inf, -math.inf], -math.inf, -math.inf),
        ([0.0, -0.0], 0, math.inf),
        ([-1, -1], -1, -math.inf),
    ],
)
def test_room_is_the_worst_slack_over_its_reach(slacks, worst, room):
    (found,) = summary(runs(*slacks))
    assert (found.worst, found.room) == (worst, pytest.approx(room))


def test_parts_rounds_and_lines_are_kept_apart_and_the_tightest_of_a_cell_is_found():
    one = [(0, 1, "p", [1.0, 9.0]), (0, 1, "p", [5.0]), (0, 2, "q", [7.0]), (3, 1, "r", [2.0])]
    two = [(0, 1, "p", [1.5, 5.0]), (0, 1, "p", [5.0]), (0, 2, "q", [7.0]), (3, 1, "r", [2.0])]
    found = summary([{"notes": one}, {"notes": two}])
    assert len(found) == 5
    least = tightest(found)
    assert (least[0].text, least[0].worst, least[3].room) == ("p", 5.0, math.inf)


SOURCES = [
    "import torch\nrate = 0.1",
    "def learn(steps):\n    return steps * rate",
    "other = 3",
    "wrong = learn(5)",
    "assert wrong < 1",
]


def test_the_recipe_follows_what_a_claim_builds_on():
    before = margins.recipe(SOURCES, 4)

    def after(old, new):
        return margins.recipe([s.replace(old, new) for s in SOURCES], 4)

    assert len(before) == 8
    assert after("< 1", "< 2") != before
    assert after("learn(5)", "learn(6)") != before
    assert after("rate = 0.1", "rate = 0.2") != before
    assert after("other = 3", "other = 4") == before
    assert after("wrong = learn(5)", "wrong = learn(5)  # five\n") == before


def test_what_a_cell_needs():
    assert margins.needed(SOURCES, {4}) == {0, 1, 3, 4}
    assert margins.needed([*SOURCES[:4], "fit(wrong)", "show(wrong)", SOURCES[4]], {6}) == {
        0, 1, 3, 4, 6
    }  # fmt: skip
    assert margins.needed(["a = 1", "torch.manual_seed(0)", "assert a > 0", "b = 2"], {2}) == {
        0, 1, 2
    }  # fmt: skip


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("assert a < b", True),
        ("assert all(a >= 0 for a in b)", True),
        ("assert a == b", False),
        ("if a < b:\n    pass", False),
        ("%%time\nassert a < b", False),
    ],
)
def test_which_cells_compare(source, expected):
    assert margins.compares(source) is expected


def notebook(*cells):
    made = [nbformat.v4.new_code_cell(source, metadata={"tags": tags}) for source, tags in cells]
    return nbformat.v4.new_notebook(cells=made)


def test_claims_keep_what_was_found_and_others_keep_nothing():
    nb = notebook(
        ("a = 1", []),
        ("assert a < 2", ["proof"]),
        ("assert a < 3", ["proof"]),
        ("assert a < 4", []),
    )
    nb.cells[3].metadata["mtl"] = {"jitter": {"runs": 1}, "reason": "so"}
    found = [Comparison(1, "a < 2", 0.123456, 0.05, 20), Comparison(2, "a < 3", 2.0, 0.0, 3)]
    margins.write(nb, found)
    kept = [cell.metadata.get("mtl", {}) for cell in nb.cells]
    code = [margins.recipe([c.source for c in nb.cells], k) for k in range(4)]
    assert kept[0] == {} and kept[3] == {"reason": "so"}
    assert kept[1]["jitter"] == {"runs": 20, "code": code[1], "worst": 0.12, "room": 2.5}
    assert kept[2]["jitter"] == {"runs": 3, "code": code[2]}


CHAOS = """
x = torch.rand(1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).item()
for _ in range(200):
    x = 3.9 * x * (1 - x)
""".strip()


@pytest.fixture
def threads_put_back(monkeypatch):
    """The command line sets these for its whole process, which is here that of all tests."""
    for library in ("OMP", "MKL", "OPENBLAS"):
        monkeypatch.setenv(f"{library}_NUM_THREADS", "1")


def chaotic(path, claim):
    cells = [("import torch", []), (CHAOS, []), ("assert 1 > 0", ["proof"]), (claim, ["proof"])]
    nbformat.write(notebook(*cells), path)
    return str(path)


@pytest.mark.usefixtures("threads_put_back")
def test_a_chaotic_claim_is_found_and_a_safe_one_gets_its_room(tmp_path, capsys):
    """The logistic map grows 1e-12 to everything within some sixty steps."""
    path = tmp_path / "a.ipynb"
    assert margins.main([chaotic(path, "assert x < 0.5"), "--runs", "6"]) == 1
    assert "code cell 3: worst slack -" in capsys.readouterr().out
    assert margins.main([chaotic(path, "assert x < 3"), "--runs", "6", "--write"]) == 0
    assert "6 runs, 1 cells vary" in capsys.readouterr().out
    kept = [c.metadata.get("mtl", {}).get("jitter") for c in nbformat.read(path, 4).cells]
    assert kept[3]["runs"] == 6 and kept[3]["room"] > 1 and 1.9 < kept[3]["worst"] < 3
    assert "room" not in kept[2] and kept[:2] == [None, None]


@pytest.mark.usefixtures("threads_put_back")
def test_an_error_in_a_cell_is_reported(tmp_path, capsys):
    path = chaotic(tmp_path / "a.ipynb", "missing_name")
    assert margins.main([path, "--runs", "1"]) == 1
    assert "code cell 3: NameError" in capsys.readouterr().out


def test_a_run_that_dies_says_what_it_said(tmp_path):
    path = tmp_path / "a.ipynb"
    chaotic(path, "import os\nprint('so far', flush=True)\nos._exit(3)")
    with pytest.raises(RuntimeError, match="ended early\\n.*so far"):
        margins.in_a_child(path, 1)


def test_only_the_needed_cells_run_after_the_third_time_if_that_changes_nothing(
    tmp_path, monkeypatch
):
    """The guess misses what a global generator has drawn before; then everything runs."""
    asked = []
    lost = {"slack": False}

    def child(path, phase, cells=None):
        asked.append(cells)
        slack = 99.0 if cells and lost["slack"] else phase
        return {"notes": [(3, 1, "x < 3", [slack])], "errors": []}

    monkeypatch.setattr(margins, "in_a_child", child)
    path = tmp_path / "a.ipynb"
    chaotic(path, "assert x < 3")
    for lost["slack"], last in ((False, {0, 1, 3}), (True, None)):
        asked.clear()
        assert len(margins.measure(path, 5)) == 5
        assert asked == [None, None, None, {0, 1, 3}, last, last]
