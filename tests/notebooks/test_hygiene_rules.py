"""Each hygiene rule accepts the mini lesson and refuses it after one planted fault."""

from __future__ import annotations

import copy
import importlib
import json

import hygiene
import mini
import nbformat
import pytest

from mtl_helpers.teaching import margins

# The rules look up the checks of lesson 00. Imported later, they would enter mini's registry.
importlib.import_module("mtl_helpers.lessons.lesson_00.exercises")

STREAM = {"output_type": "stream", "name": "stdout", "text": ""}
DATA = {"output_type": "display_data", "metadata": {}, "data": {}}


@pytest.fixture
def module(monkeypatch):
    return mini.register(monkeypatch)


@pytest.fixture
def good(module):
    return mini.lesson(module)


@pytest.fixture
def first(module):
    return mini.first(module)


@pytest.fixture
def deeper(monkeypatch):
    return mini.deeper(mini.register(monkeypatch, deeper=True))


@pytest.fixture
def folder(tmp_path):
    """A project with what the mini lesson names."""
    (tmp_path / "notebooks" / "deeper").mkdir(parents=True)
    (tmp_path / "mtl_helpers").mkdir()
    (tmp_path / "mtl_helpers" / "tasks.py").touch()
    (tmp_path / "picture.png").touch()
    return tmp_path / "notebooks"


@pytest.fixture
def below(folder):
    """Where a deeper notebook lies, below the lesson that it extends."""
    lesson = mini.finish([MD("# 99 · A mini lesson")])
    nbformat.write(nbformat.from_dict(lesson), folder / "99_mini.ipynb")
    return folder / "deeper"


def find(nb, beginning):
    """The first cell that begins so."""
    return next(c for c in nb["cells"] if c["source"].startswith(beginning))


def replace(old, new):
    """A fault: another text in every cell that holds the old one."""

    def fault(nb):
        assert any(old in c["source"] for c in nb["cells"]), old
        for cell in nb["cells"]:
            cell["source"] = cell["source"].replace(old, new)

    return fault


def prints(text):
    """A fault: the first code cell prints a text."""
    return lambda nb: find(nb, "import torch")["outputs"].append(STREAM | {"text": text})


def shows(**data):
    mimes = {"text/plain": "an output"} | data
    return lambda nb: find(nb, "import torch")["outputs"].append(DATA | {"data": mimes})


def append(cell, at=None):
    """A fault: one more cell (before the last sections), numbered like the others."""

    def fault(nb):
        place = nb["cells"].index(find(nb, at or "## Key points"))
        nb["cells"].insert(place, copy.deepcopy(cell))
        nb["cells"] = mini.finish(nb["cells"])["cells"]

    return fault


def drop(beginning):
    return lambda nb: nb["cells"].remove(find(nb, beginning))


def metadata(beginning, **changes):
    return lambda nb: find(nb, beginning)["metadata"].update(changes)


def own(beginning, **changes):
    return lambda nb: find(nb, beginning)["metadata"].setdefault("mtl", {}).update(changes)


def lesson_metadata(**changes):
    return lambda nb: nb["metadata"]["mtl"].update(changes)


def source(beginning, text):
    return lambda nb: find(nb, beginning).update(source=text)


def minutes(core, every):
    return lesson_metadata(minutes={"core": core, "all": every})


def as_start(nb):
    """The mini lesson under the number of the first one, which has a frame of its own."""
    nb["metadata"]["mtl"]["lesson"] = "00"


def fold(beginning, hidden=True):
    return metadata(beginning, jupyter={"source_hidden": hidden})


def all_of(*faults):
    def fault(nb):
        for one in faults:
            one(nb)

    return fault


def without(tag, count):
    """A fault: the first ``count`` cells with a tag (or pictures, for "picture") are not there."""

    def fault(nb):
        def matches(cell):
            pictures = any("image/png" in out.get("data", {}) for out in cell.get("outputs", []))
            return pictures if tag == "picture" else tag in cell["metadata"].get("tags", [])

        for cell in [c for c in nb["cells"] if matches(c)][:count]:
            nb["cells"].remove(cell)

    return fault


def many(text, count):
    def fault(nb):
        for _ in range(count):
            append(mini.code(text))(nb)

    return fault


def often_ignored(nb):
    for _ in range(4):
        append(mini.code("1", "nbval-ignore-output", reason="it differs by machine"))(nb)
        append(mini.code("assert TIMES_ONE"))(nb)


def says(beginning, text):
    return lambda nb: find(nb, beginning)["outputs"][0]["data"].update({"text/plain": text})


def swap(first, second):
    def fault(nb):
        a, b = (nb["cells"].index(find(nb, text)) for text in (first, second))
        nb["cells"][a], nb["cells"][b] = nb["cells"][b], nb["cells"][a]

    return fault


def measured(claim="assert TIMES_ONE > 0", tag="proof", **changes):
    """A claim whose margins were measured, and a fault in what was found."""

    def fault(nb):
        append(mini.code(claim, tag, jitter={}))(nb)
        code = [c for c in nb["cells"] if c["cell_type"] == "code"]
        number = next(k for k, c in enumerate(code) if c["source"] == claim)
        made = margins.recipe([c["source"] for c in code], number)
        found = {"runs": 20, "worst": 0.4, "room": 2.5, "code": made} | changes
        found = {key: value for key, value in found.items() if value is not None}
        code[number]["metadata"]["mtl"] = {"jitter": found} if "runs" in found else {}

    return fault


def stale(nb):
    measured()(nb)
    replace("TIMES_ONE = 1", "TIMES_ONE = 2")(nb)  # what the claim builds on


def first_frame(change):
    def fault(nb):
        nb["metadata"]["mtl"]["frame"] = "first"
        change(nb)

    return fault


MD, CODE = mini.markdown, mini.code
WIDE = "0123456789" * 10
LONG = "\n".join(["x = 1"] * 26)
FAULTS = [
    ("valid_format", lambda nb: nb["cells"][0].pop("source"), "not a valid notebook"),
    ("valid_format", lambda nb: nb["cells"][1].update(id="cell-0"), "used twice"),
    ("valid_format", lambda nb: nb.update(nbformat_minor=4), "4.5"),
    ("valid_format", lambda nb: nb["metadata"]["kernelspec"].update(name="venv"), "kernelspec"),
    ("valid_format", lambda nb: nb["metadata"]["language_info"].update(version="3"), "language"),
    ("valid_format", lesson_metadata(lesson=99), "lesson"),
    ("valid_format", lesson_metadata(core="yes"), "core"),
    ("valid_format", lesson_metadata(minutes={"core": 3}), "minutes"),
    ("canonical_form", metadata("import torch", execution={}), "cell 4: not in canonical form"),
    ("canonical_form", lambda nb: nb["metadata"].update(signature="x"), "not in canonical form"),
    ("run_in_order", lambda nb: find(nb, "import torch").update(execution_count=7), "count 7"),
    ("run_in_order", lambda nb: find(nb, "TIMES_ONE").update(execution_count=None), "count None"),
    ("run_in_order", append(CODE(" ")), "empty cell"),
    ("run_in_order", append(MD("")), "empty cell"),
    (
        "no_errors",
        lambda nb: find(nb, "import torch")["outputs"].append(
            {"output_type": "error", "ename": "ValueError", "evalue": "", "traceback": []}
        ),
        "ValueError",
    ),
    (
        "no_stderr",
        lambda nb: find(nb, "import torch")["outputs"].append(
            STREAM | {"name": "stderr", "text": "hm"}
        ),
        "stderr",
    ),
    ("no_paths", prints("saved in /home/someone/data.json"), "/home/someone"),
    ("no_paths", prints(r"saved in C:\Users\someone"), "absolute path"),
    ("no_paths", shows(**{"text/html": "<p>/tmp/x.json</p>"}), "/tmp/x.json"),
    ("no_paths", replace("TIMES_ONE = 1", "TIMES_ONE = '/home/me/x'"), "/home/me"),
    ("no_addresses", shows(**{"text/plain": "<object at 0x7f1234567890>"}), "0x7f"),
    ("no_wall_times", prints("done in 3.2 s"), "3.2 s"),
    ("no_wall_times", prints("12 seconds"), "a wall time"),
    ("no_wall_times", prints("took 40ms"), "a wall time"),
    ("no_wall_times", prints("5%| 1/20 [00:12<03:00, 2.1it/s]"), "a wall time"),
    ("no_wall_times", replace("TIMES_ONE = 1", "%time TIMES_ONE = 1"), "%time"),
    ("no_raw_floats", prints("[0.30000000000000004]"), "0.30000000000000004"),
    ("no_raw_floats", shows(**{"text/html": "<b>1.1234567890123</b>"}), "13 or more"),
    ("no_raw_floats", first_frame(prints("0.30000000000000004")), "13 or more"),
    ("no_wide_lines", prints(WIDE + "x"), "101 characters"),
    ("no_wide_lines", shows(**{"text/plain": "a\n" + WIDE + "xy"}), "102 characters"),
    ("room_to_spare", measured(runs=None), "not measured"),
    ("room_to_spare", measured(runs=19), "19 runs"),
    ("room_to_spare", measured(runs=2, room=None), "2 runs, 3 are needed"),
    ("room_to_spare", measured(room=0.9), "room 0.9"),
    ("room_to_spare", measured(code="0" * 8), "stale"),
    ("room_to_spare", stale, "stale"),
    ("room_to_spare", first_frame(measured(room=0.9)), "room 0.9"),
    ("room_to_spare", measured("assert TIMES_ONE == 1"), "claims nothing"),
    ("room_to_spare", measured(tag="setup"), "claims nothing"),
    ("no_warnings", prints("UserWarning: this is slow"), "UserWarning"),
    ("no_widgets", lambda nb: nb["metadata"].update(widgets={}), "metadata.widgets"),
    ("no_widgets", shows(**{"application/vnd.jupyter.widget-view+json": {}}), "widget view"),
    ("no_widgets", append(CODE("interact(draw)")), "use Explorer"),
    ("finished", append(MD("TODO: say more")), "TODO"),
    ("frame", source("# 99", "# A mini lesson"), "expected the title"),
    ("frame", replace("# 99 ·", "# 98 ·"), "the title says 98"),
    ("frame", replace("**The question.**", "The question."), "The question"),
    ("frame", replace("**You will be able to**", "You will"), "able to"),
    ("frame", replace("**You need first**", "You need"), "need first"),
    ("frame", replace("**Time.**", "Time."), "Time"),
    ("frame", drop("## Key points"), "Key points"),
    ("frame", drop("## Decision rule"), "Decision rule"),
    ("frame", source("## Decision rule", "## Decision rule\n\nSum."), "two or three lines"),
    ("frame", source("## Decision rule", "## Decision rule\n\n" + 61 * "a "), "not 61 words"),
    (
        "frame",
        replace("**You need first** a mean; no other mathematics", "**You need first** it"),
        "which mathematics",
    ),
    (
        "frame",
        replace("**The question.** What", "**The question.** Who? **The question.** What"),
        "more than one question",
    ),
    ("aims", all_of(*[own(f"### Exercise 99.{n}", aims=[1]) for n in range(1, 7)]), "points [2]"),
    ("aims", replace("- show.", "- show;\n- tell again."), "no exercise tests points [3]"),
    ("aims", own("### Exercise 99.1", aims=[2, 4]), "exercises name points [4]"),
    ("aims", replace("- tell;\n- show.", "tell."), "lists nothing"),
    ("hosted_cell", drop("from glob"), "the first code cell is not HOSTED_CELL"),
    ("hosted_cell", replace("run_path(hosted[0])", "run_path(hosted[1])"), "is not HOSTED_CELL"),
    ("hosted_cell", fold("from glob", False), "cell 1, tagged setup and folded"),
    ("hosted_cell", metadata("from glob", tags=[]), "cell 1, tagged setup and folded"),
    ("hosted_cell", swap("from glob", "A note."), "cell 1, tagged setup and folded"),
    ("hosted_cell", append(CODE("open('hosted.py')")), "a second cell for Colab"),
    ("machinery", fold("import torch", False), "tagged setup or proof, and not folded"),
    ("machinery", fold("assert 0.5", False), "tagged setup or proof, and not folded"),
    ("machinery", fold("0.25"), "folded, and tagged neither setup nor proof"),
    ("size", append(MD("word " * 2600)), "words of prose, at most 2600 are allowed in a lesson"),
    ("size", many("x = 1\n" * 20, 8), "lines of visible code, at most 160"),
    ("size", append(mini.fold(CODE("x = 1\n" * 113, "setup"))), "folded code, at most 120"),
    ("size", without("picture", 1), "7 pictures, at least 8 expected in a lesson"),
    ("size", metadata("network(left)", tags=[]), "1 diagrams (tag diagram), at least 2"),
    ("size", metadata("0.25", tags=["diagram"]), "tagged diagram, and shows no picture"),
    ("size", replace("## 2 · Ex", "## ★ Ex"), "belongs in notebooks/deeper/"),
    ("size", metadata("A note.", tags=["teacher", "star"]), "belongs in notebooks/deeper/"),
    (
        "size",
        all_of(as_start, without("picture", 5)),
        "3 pictures, at least 4 expected in lesson 0",
    ),
    ("size", all_of(as_start, replace("network", "net"), without("diagram", 2)), "0 diagrams"),
    ("sittings", drop("**A good place"), "0 cells begin with **A good place to stop.**"),
    ("sittings", append(MD("**A good place to stop.** Again.")), "2 cells begin with"),
    ("sittings", swap("**A good place", "A note."), "the stop comes after 1% of the time"),
    ("sittings", swap("**A good place", "## 2"), "a stop comes right before a section"),
    ("sittings", append(MD("word " * 1700), "## 1"), "more than 20 minutes without an exercise"),
    ("sittings", append(MD("word " * 1801)), "more than 20 minutes without an exercise"),
    (
        "sittings",
        all_of(as_start, append(MD("word " * 1801))),
        "more than 20 minutes without an exercise",
    ),
    ("frame", swap("## What next", "## References"), "expected to end with"),
    ("frame", replace("<details>\n<summary>Why?</summary>", "Why?"), "quiz"),
    ("minutes", minutes(91, 91), "≤ 90"),
    ("minutes", minutes(32, 30), "core ≤ all"),
    ("minutes", minutes(32, 40), "core and all are the same"),
    ("minutes", minutes(33, 33), "does not say 33"),
    ("minutes", replace("32 minutes", "32 hours"), "does not say"),
    ("minutes", replace("(8 min)", "(18 min)"), "core sections add up to 42"),
    ("minutes", replace("## 1 · The idea (8 min)", "## 1 · The idea"), "expected '## 2"),
    ("minutes", replace("## 1 · The", "## The"), "expected '## 2"),
    ("minutes", replace("## 2 · Ex", "## 3 · Ex"), "section 3 where 2 is due"),
    ("minutes", append(MD("word " * 900)), "it takes about 42, promised are 32"),
    ("minutes", append(MD("word " * 5400)), "it takes about 92, 1 to 90 are allowed"),
    ("minutes", all_of(as_start, append(MD("word " * 1350))), "about 47, 1 to 45 are allowed"),
    ("minutes", all_of(as_start, minutes(46, 46)), "≤ 45"),
    ("references", replace(", arXiv:1705.07115", ", ICML"), "no DOI or arXiv id: B, ICML"),
    ("references", replace("doi:10.1023/A:1007379606734", "Springer"), "Caruana"),
    ("references", source("## References", "## References\n\nNone."), "expected a list"),
    ("rhythm", append(CODE(LONG)), "26 lines"),
    ("rhythm", append(CODE("# a remark\n" * 26)), "26 lines"),
    ("rhythm", many("\n".join("x = 1" for _ in range(9)), 25), "median"),
    ("predictions", replace("**Predict.**", "Predict."), "no cell begins"),
    ("predictions", append(MD("**Predict.** Up?")), "without a code cell"),
    ("figures_described", drop("**What you see.**"), "describes"),
    ("figures_described", source("**What you see.**", "**What you see.** A dot."), "describes"),
    ("figures_described", append(CODE("draw()", says="a", picture=True), "**What"), "describes"),
    ("figures_described", says("show(", "<Figure size 640x480>"), "use show"),
    ("figures_described", says("show(", " "), "use show"),
    ("explorers", lambda nb: find(nb, "Explorer(draw, ")["outputs"].clear(), "1 explorers"),
    (
        "explorers",
        lambda nb: find(nb, "Explorer(draw, ")["outputs"][0]["data"].pop("image/png"),
        "could not draw",
    ),
    ("explorers", replace("Explorer(draw)", "a = 1\n" * 4 + "Explorer(draw)"), "4 visible lines"),
    ("explorers", all_of(as_start, *[drop("Explorer")] * 2), "0 explorers, at least 1"),
    ("explorers", replace("question='Where does it break?'", "question='Look.'"), "question"),
    ("explorers", replace("When does the dot vanish?", "Look."), "question"),
    ("ignored_cells", own("TIMES_ONE", reason=""), "reason"),
    ("ignored_cells", append(CODE("1 + 1"), "assert TIMES_ONE"), "asserts nothing"),
    ("ignored_cells", replace("assert TIMES_ONE == 1", "assert True"), "asserts nothing"),
    ("ignored_cells", often_ignored, "fewer than 1 in 10"),
    ("ignored_cells", metadata("import torch", tags=["nbval-skip"]), "look away"),
    ("ignored_cells", append(CODE("# NBVAL_IGNORE_OUTPUT\n1")), "look away"),
    ("proofs", metadata("assert 0.5", tags=[]), "no cell is tagged proof"),
    ("proofs", metadata("assert 0.5", tags=[]), "**Claim.** without"),
    ("proofs", metadata("show(figure)", tags=["proof"]), "asserts nothing"),
    ("proofs", append(CODE("assert True")), "cannot fail: assert True"),
    ("proofs", append(CODE("assert 2 > 1")), "cannot fail"),
    ("proofs", append(CODE("assert (TIMES_ONE == 2, 'no')")), "cannot fail"),
    ("proofs", append(CODE("assert TIMES_ONE == TIMES_ONE")), "cannot fail"),
    ("prose_numbers", replace("gain is 12.3", "gain is 12.4"), "no cell computes '12.4'"),
    ("prose_numbers", replace("share of 50%", "share of 51 %"), "no cell computes '51 %'"),
    ("prose_numbers", replace("share of 50%", "share of 7 per cent"), "'7 per cent'"),
    ("exercises", without("exercise", 2), "4 exercises of 4 kinds, expected 5 of 1"),
    ("exercises", all_of(as_start, without("exercise", 4)), "2 exercises of 2 kinds, expected 3"),
    (
        "exercises",
        replace("### Exercise 99.2 ·", "### Exercise 99.11 ·"),
        "exercises from 99.11 on belong to deeper notebooks",
    ),
    ("exercises", lambda nb: nb["cells"].remove(find(nb, "### Exercise 99.6")), "checks without"),
    ("exercises", replace("### Exercise 99.2 ·", "### Exercise 99.7 ·"), "no check is registered"),
    ("exercises", replace("### Exercise 99.2 ·", "### Exercise 2"), "expected '### Exercise"),
    ("exercises", replace("●○○ · 3 min", "●○○ · 5 min"), "the check says: ### Exercise 99.3"),
    ("exercises", swap("### Exercise 99.1", "### Exercise 99.2"), "numbered"),
    ("exercise_parts", drop("<details>\n<summary>Solution"), "parts"),
    ("exercise_parts", drop("<details>\n<summary>Hint"), "parts"),
    ("exercise_parts", drop("def scale"), "parts"),
    ("exercise_parts", drop("check.scale_1"), "parts"),
    ("exercise_parts", swap("def scale", "check.scale_1"), "parts"),
    ("exercise_parts", own("def scale", exercise="99.2"), "parts"),
    ("exercise_parts", own("def scale", exercise=None), "parts"),
    ("exercise_parts", source("### Exercise 99.1", "### Exercise 99.8 ·"), "another number"),
    ("exercise_parts", says("check.scale_1", "Exercise 99.1 · right"), "not attempted yet"),
    ("exercise_parts", replace("<summary>Hint 2</summary>", ""), "Hint 2"),
    ("exercise_parts", replace("number.\n\n<details>", "number.\n\n</details><details>"), "Hint 2"),
    ("exercise_parts", replace("```python\ndef", "```\ndef"), "one ```python block"),
    ("exercise_parts", replace("```\n\n</details>", "```"), "in one <details>"),
    ("exercise_parts", replace("Solution</summary>\n\n", "Solution</summary>\n"), "empty line"),
    ("tag_vocabulary", metadata("import torch", tags=["Setup"]), "unknown tags ['Setup']"),
    ("tag_vocabulary", metadata("A note", tags=["teacher", "stub"]), "must not be tagged"),
    ("tag_vocabulary", metadata("import torch", tags=["hint"]), "must not be tagged"),
    ("tag_vocabulary", own("import torch", note="x"), "unknown keys ['note']"),
    ("tag_vocabulary", own("import torch", exercise="99.1"), "no tag says"),
    ("tag_vocabulary", metadata("A note", slideshow={"slide_type": "page"}), "slide type 'page'"),
    ("tag_vocabulary", drop("A note."), "teacher"),
    ("tag_vocabulary", metadata("# 99", slideshow={}), "fewer than two slides"),
    ("tag_vocabulary", lambda nb: nb["cells"][1].update(cell_type="raw"), "be raw"),
    ("allowances", own("A note", allow={"no_stderr": "it is only a note"}), "cannot be waived"),
    ("allowances", own("A note", allow={"prose_numbers": "so"}), "without a reason"),
    ("allowances", own("A note", allow={"prose_numbers": "the year of it"}), "finds nothing here"),
    ("links", append(MD("[Next](98_next.ipynb)")), "a file that is not there: 98_next.ipynb"),
    ("links", append(MD('<img src="../nothing.png" alt="No">')), "not there"),
    ("links", append(MD("![ ](../picture.png)")), "without an alternative text"),
    ("links", append(MD('<img src="../picture.png">')), "without an alternative text"),
    ("links", append(MD("[See](#2-·-Nothing)")), "a heading that is not there"),
    ("links", append(MD("[See](/etc/hosts)")), "one machine only"),
    ("links", append(MD("[See](file:///etc/hosts)")), "one machine only"),
    ("lessons_named", replace(" (in preparation)", ""), "lesson 98 is not there"),
    ("lessons_named", append(MD("99 · This one (in preparation)")), "no lesson is missing"),
    ("files_named", replace("`mtl_helpers/tasks.py`", "`mtl_helpers/work.py`"), "work.py"),
    ("files_named", append(CODE("open('../data/results/x.json')")), "data/results/x.json"),
    ("names_exist", replace("metrics, tasks", "metrics, task"), "there is no mtl_helpers.task"),
    ("names_exist", replace("tasks.Task", "tasks.Tusk"), "there is no mtl_helpers.tasks.Tusk"),
    ("names_exist", append(CODE("check.scale_7(1)")), "lesson_99.exercises.scale_7"),
    ("names_exist", append(CODE("import mtl_helpers.nothing as n")), "mtl_helpers.nothing"),
    ("names_exist", append(CODE("from mtl_helpers.tasks import Tusk")), "tasks.Tusk"),
    ("names_exist", replace("losses.sum()\n```", "tasks.Tusk\n```"), "there is no"),
    ("names_exist", append(MD("See `mtl_helpers.metrics.delta_q`.")), "delta_q"),
    ("names_exist", append(CODE("def f(:")), "does not parse"),
]


# Rules that ask something else of a lesson in the first frame.
FIRST_FAULTS = [
    ("frame", drop("## Key points"), "Key points"),
    ("frame", swap("## What next", "## References"), "expected to end with"),
    ("minutes", minutes(76, 80), "≤ 75"),
    ("minutes", minutes(20, 18), "core ≤ all"),
    ("minutes", minutes(21, 24), "does not say 21"),
    ("minutes", replace("20 minutes, 24", "20 hours, 24"), "does not say"),
    ("minutes", replace("(8 min)", "(18 min)"), "core sections add up to 30"),
    ("minutes", replace("More (4 min)", "More (14 min)"), "all sections add up to 34"),
    ("rhythm", append(CODE("x = 1\n" * 31)), "31 lines"),
    ("rhythm", many("\n".join("x = 1" for _ in range(9)), 25), "median"),
    ("predictions", replace("**Predict.**", "Predict."), "no cell begins"),
    ("explorers", drop("Explorer"), "1 explorers"),
    ("exercises", without("exercise", 1), "5 exercises"),
    ("hosted_cell", fold("from glob", False), "cell 1, tagged setup and folded"),
    ("proofs", metadata("assert 0.5", tags=[]), "no cell is tagged proof"),
    ("tag_vocabulary", metadata("tasks.Task", tags=[]), "not tagged star"),
    ("valid_format", lesson_metadata(frame="second"), 'metadata.mtl.frame is "first" or absent'),
]
DEEPER_FAULTS = [
    ("frame", drop("## Key points"), "expected to end with the sections Key points, What next"),
    (
        "frame",
        replace("**The question.** What", "**The question.** Who? **The question.** What"),
        "more than one question",
    ),
    ("minutes", minutes(14, 14), "expected 15 ≤ core ≤ 45"),
    ("minutes", minutes(46, 46), "expected 15 ≤ core ≤ 45"),
    ("minutes", replace("· 11 min", "· 8 min"), "it takes about 13, 15 to 45 are allowed"),
    ("minutes", append(MD("word " * 3000)), "15 to 45 are allowed"),
    ("size", append(MD("word " * 2600)), "at most 2600 are allowed in a deeper notebook"),
    ("size", replace("## 2 · The", "## ★ The"), "belongs in notebooks/deeper/"),
    ("rhythm", append(CODE(LONG)), "26 lines"),
    ("machinery", fold("assert 0.5", False), "not folded"),
    ("aims", own("### Exercise 99.11", aims=[1]), "no exercise tests points [2]"),
    ("hosted_cell", drop("from glob"), "is not HOSTED_CELL"),
    ("proofs", metadata("assert 0.5", tags=[]), "no cell is tagged proof"),
    ("exercises", without("exercise", 1), "0 exercises of 0 kinds, expected 1"),
    ("exercises", replace("99.11", "99.5"), "are numbered from 99.11"),
    ("deeper_linked", replace("(../99_mini.ipynb)", "(99_mini.ipynb)"), "no link to ../99_mini"),
    ("deeper_linked", lesson_metadata(lesson="98"), "there is no lesson 98"),
    ("lessons_named", append(MD("98 · Another.")), "lesson 98 is not there"),
    ("files_named", append(CODE("open('../../data/results/x.json')")), "data/results/x.json"),
    ("links", append(MD("![A dot](../picture.png)")), "not there: ../picture.png"),
]


@pytest.mark.parametrize("name", hygiene.RULES)
def test_the_mini_first_lesson_is_accepted(name, first, folder):
    assert hygiene.judge(name, first, folder) == []


@pytest.mark.parametrize("name", hygiene.RULES)
def test_the_mini_deeper_notebook_is_accepted(name, deeper, below):
    assert hygiene.judge(name, deeper, below) == []


@pytest.mark.parametrize("name", hygiene.RULES)
def test_the_mini_lesson_is_accepted(name, good, folder):
    assert hygiene.judge(name, good, folder) == []


def planted(faults):
    return pytest.mark.parametrize(
        ("name", "fault", "text"), faults, ids=[f"{i}-{f[0]}" for i, f in enumerate(faults)]
    )


@planted(FAULTS)
def test_a_planted_fault_is_refused(name, fault, text, good, folder):
    fault(good)
    found = hygiene.judge(name, good, folder)
    assert any(text in finding for finding in found), found


@planted(FIRST_FAULTS)
def test_a_planted_fault_is_refused_in_a_first_lesson(name, fault, text, first, folder):
    fault(first)
    found = hygiene.judge(name, first, folder)
    assert any(text in finding for finding in found), found


@planted(DEEPER_FAULTS)
def test_a_planted_fault_is_refused_in_a_deeper_notebook(name, fault, text, deeper, below):
    fault(deeper)
    found = hygiene.judge(name, deeper, below)
    assert any(text in finding for finding in found), found


def test_each_rule_has_a_planted_fault():
    own_test = {"glossary_linked"}  # it needs a glossary beside the lesson
    assert {name for name, _, _ in FAULTS + DEEPER_FAULTS} | own_test == set(hygiene.RULES)


def test_a_lesson_links_its_deeper_notebooks(good, folder):
    assert hygiene.judge("deeper_linked", good, folder) == []
    (folder / "deeper" / "99_why.ipynb").touch()
    assert hygiene.judge("deeper_linked", good, folder) == ["no link to deeper/99_why.ipynb"]
    append(MD("[Why?](deeper/99_why.ipynb)"))(good)
    assert hygiene.judge("deeper_linked", good, folder) == []


def test_the_new_frame_asks_nothing_of_a_first_lesson(first, folder):
    append(MD("word " * 9000))(first)
    append(CODE("x = 1\n" * 30))(first)
    for name in ("size", "sittings", "aims", "machinery", "frame", "minutes", "rhythm"):
        assert hygiene.judge(name, first, folder) == [], name


def test_a_waivable_finding_is_let_off_in_its_cell_only(good, folder):
    replace("gain is 12.3", "gain is 12.4")(good)
    own("The gain", allow={"prose_numbers": "a made-up example"})(good)
    assert hygiene.judge("prose_numbers", good, folder) == []
    assert hygiene.judge("allowances", good, folder) == []
    append(MD("It is 12.4 here."))(good)
    assert len(hygiene.judge("prose_numbers", good, folder)) == 1


def test_a_rule_that_cannot_be_waived_is_not(good, folder):
    append(MD("TODO", allow={"finished": "I come back to it"}))(good)
    assert hygiene.judge("finished", good, folder)


ACCEPTED = [
    ("no_raw_floats", prints("0.123456789012, 1e-12, 12345678901234, v1.2.3")),
    ("no_wide_lines", prints(f"{WIDE}\n{WIDE}")),
    ("no_wide_lines", shows(**{"text/plain": WIDE + "x", "image/png": mini.PNG})),
    ("no_wide_lines", shows(**{"text/plain": WIDE + "x", "text/html": "<b>x</b>"})),
    ("no_wide_lines", first_frame(prints(WIDE + "x"))),
    ("room_to_spare", measured()),
    ("room_to_spare", measured(runs=3, room=None)),
    ("room_to_spare", first_frame(measured(runs=None))),
    ("room_to_spare", append(CODE("assert TIMES_ONE == 1", "proof"))),
    ("no_wall_times", prints("40 min, the 1990s, 30 seeds, 3 scores, v2.0")),
    ("no_paths", prints("data/results/x.json and 3/4 and https://doi.org/home/x")),
    ("no_warnings", prints("1 warning, no problem")),
    (
        "prose_numbers",
        append(MD("Python 3.11 to 3.13, torch 2.11; Exercise 99.1 and `0.77`, $0.77$")),
    ),
    ("prose_numbers", append(MD("In 1997, 30 seeds at 0.2500 and 25 %."))),
    ("proofs", append(CODE("torch.testing.assert_close(TIMES_ONE, 1)", "proof"))),
    ("proofs", append(CODE("assert not torch.isnan(TIMES_ONE).any()", "proof"))),
    ("names_exist", append(CODE("%pip install x\n!ls\ntasks?\n\nif TIMES_ONE:\n    %matplotlib"))),
    ("names_exist", append(CODE("%%writefile x.c\nint main() {}"))),
    ("names_exist", append(CODE("import mtl_helpers\nmtl_helpers.tasks.Task.score"))),
    ("names_exist", append(CODE("metrics = []\nmetrics.append(1)"))),
    ("lessons_named", append(MD("## 10 · A tenth section (2 min)\n\nSee Exercise 99.10 · Scale."))),
    ("links", append(MD("![A dot](../picture.png) [x](https://doi.org/10.1/x) [y](mailto:a@b.c)"))),
    ("links", append(MD("`[not](a_link)`\n\n```python\nx[0](1)\n```"))),
    ("figures_described", append(CODE("assert TIMES_ONE"), "**What you see.**")),
    ("references", replace("arXiv:1705.07115", "https://arxiv.org/abs/1705.07115")),
    ("references", replace("arXiv:1705.07115", "arXiv cs/0101001")),
    ("rhythm", append(CODE("\n".join(["x = 1"] * 25 + [""] * 9)))),
]


@pytest.mark.parametrize(
    ("name", "change"), ACCEPTED, ids=[f"{i}-{f[0]}" for i, f in enumerate(ACCEPTED)]
)
def test_what_only_looks_like_a_fault_is_accepted(name, change, good, folder):
    change(good)
    assert hygiene.judge(name, good, folder) == []


def test_a_lesson_that_is_there_is_linked_and_no_longer_in_preparation(good, folder):
    other = json.loads(json.dumps(mini.finish([MD("# 98 · Another\n\n## 1 · Idea")])))
    nbformat.write(nbformat.from_dict(other), folder / "98_another.ipynb")
    assert "no lesson is missing" in hygiene.judge("lessons_named", good, folder)[0]
    replace("98 · Another (in preparation)", "[98 · Another](98_another.ipynb#1-·-Idea)")(good)
    assert hygiene.judge("lessons_named", good, folder) == []
    assert hygiene.judge("links", good, folder) == []
    replace("#1-·-Idea", "#2-·-Idea")(good)
    assert "a heading" in hygiene.judge("links", good, folder)[0]


def with_glossary(folder, *entries):
    text = [MD(f"### {term}\n\nWhat it is. → [99]({place})") for term, place in entries]
    glossary = mini.finish([MD("# Glossary"), *text])
    nbformat.write(nbformat.from_dict(glossary), folder / hygiene.GLOSSARY)


def test_terms_are_linked_where_they_are_first_used(good, folder):
    with_glossary(folder, ("joint loss", "99_mini.ipynb"), ("Scale", "98_other.ipynb"))
    (finding,) = hygiene.judge("glossary_linked", good, folder)
    assert "'joint loss' does not lead to glossary.ipynb" in finding
    i, text, start = hygiene.first_use(good, "joint loss")
    linked = text[:start] + "[joint loss](glossary.ipynb#joint-loss)" + text[start + 10 :]
    good["cells"][i]["source"] = linked
    assert hygiene.judge("glossary_linked", good, folder) == []
    assert hygiene.judge("glossary_linked", mini.finish([], lesson="98"), folder) == [
        "the glossary says that 'Scale' is explained here, and it is not used"
    ]


def test_a_use_inside_another_term_is_no_use():
    nb = mini.finish([MD("# T"), MD("A [negative transfer](glossary.ipynb#negative-transfer).")])
    assert hygiene.first_use(nb, "transfer") is None
    assert hygiene.first_use(nb, "negative transfer")[2] == 3
    assert hygiene.first_use(mini.finish([MD("# T"), MD("## A task\n\n`task` tasks")]), "task")
