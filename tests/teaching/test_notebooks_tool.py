"""The notebooks' own tool: one canonical form, clean runs, editions."""

from __future__ import annotations

import base64
import copy
import io
import json
import re
from pathlib import Path

import matplotlib.image
import nbformat
import numpy as np
import pytest
from nbformat.v4 import (
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_output,
)

from mtl_helpers.teaching import notebooks

VIEW = "application/vnd.jupyter.widget-view+json"


def png(**metadata: str) -> str:
    """A small picture, base64; ``metadata`` goes into its text chunks."""
    file = io.BytesIO()
    pixels = np.arange(64, dtype=float).reshape(8, 8) / 64
    matplotlib.image.imsave(file, pixels, format="png", metadata=metadata)
    return base64.b64encode(file.getvalue()).decode() + "\n"


def explorer_output(**metadata: str):
    data = {VIEW: {"model_id": "abc"}, "image/png": png(**metadata), "text/plain": "weight 0.5"}
    return new_output("display_data", data, metadata={"explorer": True})


def stream(text: str, name: str = "stdout"):
    return new_output("stream", name=name, text=text)


def messy(*, software: str = "Matplotlib 3", model: str = "abc") -> nbformat.NotebookNode:
    """A notebook as JupyterLab may save it."""
    explorer = explorer_output(Software=software)
    explorer.data[VIEW]["model_id"] = model
    result = new_output("execute_result", {"text/plain": "3"}, execution_count=9)
    code = new_code_cell("1 + 2\n\n", id="first", execution_count=4)
    code.outputs = [stream("a"), stream("b\n"), stream("c", "stderr"), explorer, result]
    code.metadata = {"execution": {"iopub.status.busy": "2026"}, "tags": ["stub"], "scrolled": True}
    nb = new_notebook(cells=[new_markdown_cell("# Title", id="title"), code])
    nb.metadata = {
        "widgets": {"state": {}},
        "kernelspec": {"name": "mine", "display_name": "Mine", "language": "python"},
        "language_info": {"name": "python", "version": "3.11.7"},
        "mtl": {"lesson": "00"},
    }
    return nb


# --- Canonical form -------------------------------------------------------------------------------


def test_canonical_drops_what_varies_and_keeps_what_matters():
    new = notebooks.canonical(messy())
    assert new.metadata == {
        "kernelspec": {
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
        "mtl": {"lesson": "00"},
    }
    code = new.cells[1]
    assert code.metadata == {"tags": ["stub"]}
    assert code.source == "1 + 2"
    assert [cell.id for cell in new.cells] == ["title", "first"]
    assert [output.output_type for output in code.outputs] == [
        "stream",
        "stream",
        "display_data",
        "execute_result",
    ]
    assert code.outputs[0].text == "ab\n"
    assert code.outputs[1].text == "c"
    assert code.outputs[2].metadata == {"explorer": True}
    assert set(code.outputs[2].data) == {"image/png", "text/plain"}
    assert code.outputs[3].execution_count == code.execution_count == 4
    nbformat.validate(new)


def test_what_varies_between_runs_leaves_no_trace_in_the_file():
    one = notebooks.to_text(notebooks.canonical(messy(software="A", model="1")))
    two = notebooks.to_text(notebooks.canonical(messy(software="B", model="2")))
    assert one == two
    assert one.endswith("}\n") and not one.endswith("\n\n")


def test_a_picture_keeps_its_pixels_and_loses_its_text():
    output = notebooks.canonical(messy()).cells[1].outputs[2]
    picture = base64.b64decode(output.data["image/png"])
    assert b"Software" not in picture
    assert b"Matplotlib" in base64.b64decode(png(Software="Matplotlib 3"))
    before = matplotlib.image.imread(io.BytesIO(base64.b64decode(png())))
    np.testing.assert_array_equal(matplotlib.image.imread(io.BytesIO(picture)), before)


def test_canonical_is_idempotent_and_leaves_its_argument_alone():
    nb = messy()
    before = copy.deepcopy(nb)
    once = notebooks.canonical(nb)
    assert nb == before
    assert notebooks.canonical(once) == once
    assert nbformat.reads(notebooks.to_text(once), as_version=4) == once


def test_missing_and_doubled_ids_become_stable_different_ones():
    nb = messy()
    nb.cells += [new_markdown_cell("twin", id="title"), new_markdown_cell("twin")]
    del nb.cells[-1]["id"]
    first = [cell.id for cell in notebooks.canonical(nb).cells]
    second = [cell.id for cell in notebooks.canonical(nb).cells]
    assert first == second
    assert len(set(first)) == 4
    assert first[:2] == ["title", "first"]


# --- Widget views ---------------------------------------------------------------------------------


def test_an_output_that_is_only_a_view_goes_away_whole():
    nb = new_notebook(cells=[new_code_cell("slider")])
    nb.cells[0].outputs = [new_output("display_data", {VIEW: {"model_id": "x"}}), stream("stays")]
    assert notebooks.strip_widget_views(nb) is nb
    assert [output.output_type for output in nb.cells[0].outputs] == ["stream"]


def test_the_hook_drops_views_and_state_from_a_saved_notebook():
    content = json.loads(json.dumps(messy()))
    notebooks.pre_save_hook({"type": "notebook", "content": content}, path="x.ipynb")
    text = json.dumps(content)
    assert "widget-view" not in text
    assert "widgets" not in content["metadata"]
    assert "image/png" in text
    assert "weight 0.5" in text


@pytest.mark.parametrize(
    "model",
    [
        {"type": "file", "format": "text", "content": "metadata"},
        {"type": "directory", "content": None},
        {"type": "notebook", "content": None},
        {"type": "notebook"},
        {"type": "notebook", "content": {}},
        {"type": "notebook", "content": {"cells": [{"cell_type": "markdown"}]}},
        {},
    ],
)
def test_the_hook_leaves_everything_else_alone(model):
    before = copy.deepcopy(model)
    notebooks.pre_save_hook(model, path="x", contents_manager=None)
    assert model == before


# --- Running --------------------------------------------------------------------------------------


def write(folder: Path, name: str, *cells) -> Path:
    path = folder / name
    nb = new_notebook(cells=list(cells), metadata=messy().metadata)
    path.write_text(nbformat.writes(nb), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """One real run of three notebooks at once: sound, failing, and with an output that varies."""
    folder = tmp_path_factory.mktemp("notebooks")
    sound = write(
        folder,
        "sound.ipynb",
        new_markdown_cell("# A lesson", id="head"),
        new_code_cell("import os\nprint(os.environ['OMP_NUM_THREADS'])", id="threads"),
        new_code_cell("", id="empty"),
        new_code_cell("print(os.path.exists('sound.ipynb'), 'MPLBACKEND' in os.environ)", id="cwd"),
        new_code_cell("for i in range(3):\n    print(i, flush=True)\ni", id="loop"),
    )
    failing = write(
        folder,
        "failing.ipynb",
        new_code_cell("x = 1", id="fine"),
        new_code_cell("x / 0", id="wrong"),
        new_code_cell("open('ran-on', 'w')", id="after"),
    )
    varying = write(
        folder,
        "varying.ipynb",
        new_code_cell(
            "import time\ntime.time_ns()", id="time", metadata={"tags": ["nbval-ignore-output"]}
        ),
        new_code_cell("2 + 3", id="sum"),
    )
    before = failing.read_bytes()
    errors = notebooks.execute([sound, failing, varying])
    return {
        "folder": folder,
        "errors": errors,
        "failing": (before, failing.read_bytes()),
        "sound": nbformat.read(sound, 4),
        "varying": varying,
    }


def test_a_run_stores_outputs_counts_and_ids(executed):
    cells = executed["sound"].cells
    assert [cell.id for cell in cells] == ["head", "threads", "empty", "cwd", "loop"]
    counts = [cell.execution_count for cell in cells if cell.cell_type == "code"]
    assert counts == [1, None, 2, 3]
    assert cells[1].outputs[0].text == "1\n"
    assert [output.output_type for output in cells[4].outputs] == ["stream", "execute_result"]
    assert cells[4].outputs[0].text == "0\n1\n2\n"
    assert notebooks.canonical(executed["sound"]) == executed["sound"]


def test_a_run_is_in_the_folder_of_the_notebook_with_its_own_backend(executed):
    # The kernel sets MPLBACKEND to its inline backend itself.
    assert executed["sound"].cells[3].outputs[0].text == "True True\n"


def test_a_failing_cell_is_named_and_the_old_file_stays(executed):
    (error,) = executed["errors"]
    assert re.search(
        r"failing\.ipynb: cell 1 \(id wrong\) fails with ZeroDivisionError", str(error)
    )
    assert "x / 0" in str(error)
    before, after = executed["failing"]
    assert before == after
    assert not (executed["folder"] / "ran-on").exists()


def test_nothing_else_is_left_in_the_folder(executed):
    names = {path.name for path in executed["folder"].iterdir()}
    assert names == {"sound.ipynb", "failing.ipynb", "varying.ipynb"}


def test_an_output_that_must_vary_does_not_change_the_file(executed):
    path = executed["varying"]
    first = path.read_bytes()
    assert notebooks.execute([path]) == []
    assert path.read_bytes() == first
    assert notebooks.execute([path], fresh=True) == []
    assert path.read_bytes() != first


def test_an_ignored_output_is_renewed_when_its_source_changes():
    old = new_notebook(cells=[new_code_cell("a", id="a"), new_code_cell("b", id="b")])
    for cell in old.cells:
        cell.outputs = [stream("old")]
        cell.metadata = {"tags": [notebooks.IGNORED]}
    new = copy.deepcopy(old)
    new.cells[1].source = "c"
    for cell in new.cells:
        cell.outputs = [stream("new")]
    notebooks.keep_ignored(new, old)
    assert [cell.outputs[0].text for cell in new.cells] == ["old", "new"]


def test_a_cell_that_is_compared_never_keeps_an_old_output():
    old = new_notebook(cells=[new_code_cell("a", id="a")])
    old.cells[0].outputs = [stream("old")]
    new = copy.deepcopy(old)
    new.cells[0].outputs = [stream("new")]
    notebooks.keep_ignored(new, old)
    assert new.cells[0].outputs[0].text == "new"


def test_check_compares_two_runs_and_writes_nothing(tmp_path, capsys):
    clock = "import time\nprint(time.time_ns())"
    steady = write(
        tmp_path,
        "steady.ipynb",
        new_code_cell(clock, id="time", metadata={"tags": ["nbval-ignore-output"]}),
        new_code_cell("2 + 3"),
    )
    unsteady = write(tmp_path, "unsteady.ipynb", new_code_cell("print('now')\n" + clock))
    before = steady.read_bytes(), unsteady.read_bytes()
    assert notebooks.main(["execute", "--check", str(steady), str(unsteady)]) == 1
    said = capsys.readouterr()
    assert "unsteady.ipynb: two runs differ" in said.err
    assert "/steady.ipynb" not in said.err
    assert len(said.err.splitlines()) < 25
    assert "1 of 2 notebooks are fine" in said.out
    assert (steady.read_bytes(), unsteady.read_bytes()) == before


def test_a_cell_that_never_ends_is_stopped(tmp_path):
    path = write(tmp_path, "slow.ipynb", new_code_cell("while True:\n    pass"))
    (error,) = notebooks.execute([path], timeout=1)
    assert "longer than 1 s" in str(error)


def test_a_file_that_is_no_notebook_is_named(tmp_path, capsys):
    path = tmp_path / "torn.ipynb"
    path.write_text('{"cells": [')
    for command in ("canonical", "execute"):
        assert notebooks.main([command, str(path), str(tmp_path / "gone.ipynb")]) == 1
        said = capsys.readouterr().err
        assert "torn.ipynb: not a valid notebook" in said
        assert "gone.ipynb: there is no such file" in said


def test_without_notebooks_the_command_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert notebooks.main(["execute"]) == 2
    assert "project's folder" in capsys.readouterr().out


def test_without_names_the_lessons_and_the_deeper_notebooks_are_meant(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "notebooks" / "deeper").mkdir(parents=True)
    for name in ("02_a.ipynb", "deeper/02_why.ipynb"):
        write(tmp_path / "notebooks", name, new_markdown_cell("# A lesson"))
    monkeypatch.chdir(tmp_path)
    assert notebooks.main(["canonical"]) == 0
    assert "2 of 2 notebooks are fine" in capsys.readouterr().out


def test_canonical_names_and_mends_a_file_in_another_form(tmp_path, capsys):
    path = tmp_path / "messy.ipynb"
    path.write_text(json.dumps(messy()), encoding="utf-8")
    assert notebooks.main(["canonical", "--check", str(path)]) == 1
    assert "not in canonical form" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == json.dumps(messy())
    assert notebooks.main(["canonical", str(path)]) == 0
    assert notebooks.main(["canonical", "--check", str(path)]) == 0


# --- Editions -------------------------------------------------------------------------------------


@pytest.fixture
def lesson(tmp_path) -> Path:
    def cell(make, name, slide=None, tags=()):
        made = make(name, id=name, metadata={"tags": list(tags)} if tags else {})
        if slide:
            made.metadata["slideshow"] = {"slide_type": slide}
        return made

    run = cell(new_code_cell, "code", "fragment")
    run.execution_count, run.outputs = 1, [stream("result")]
    return write(
        tmp_path,
        "lesson.ipynb",
        cell(new_markdown_cell, "title", "slide"),
        run,
        cell(new_markdown_cell, "aside"),
        cell(new_markdown_cell, "skipped", "skip"),
        cell(new_markdown_cell, "hint", tags=["hint"]),
        cell(new_markdown_cell, "solution", tags=["solution"]),
        cell(new_markdown_cell, "teacher", "notes", tags=["teacher"]),
    )


@pytest.mark.parametrize(
    ("kind", "kept", "outputs"),
    [
        ("student", ["title", "code", "aside", "skipped", "hint"], 0),
        ("teacher", ["title", "code", "aside", "skipped", "hint", "solution", "teacher"], 1),
        ("slides", ["title", "code", "teacher"], 1),
    ],
)
def test_an_edition_is_a_filter(lesson, tmp_path, kind, kept, outputs):
    before = lesson.read_bytes()
    target = tmp_path / "out"
    assert notebooks.main(["editions", f"--{kind}", str(target), str(lesson)]) == 0
    made = nbformat.read(target / "lesson.ipynb", 4)
    nbformat.validate(made)
    assert [cell.id for cell in made.cells] == kept
    assert len(made.cells[1].outputs) == outputs
    assert (made.cells[1].execution_count is None) == (outputs == 0)
    assert lesson.read_bytes() == before


def test_an_edition_never_replaces_its_source(lesson, capsys):
    before = lesson.read_bytes()
    assert notebooks.main(["editions", "--student", str(lesson.parent), str(lesson)]) == 1
    assert "must not replace its source" in capsys.readouterr().err
    assert lesson.read_bytes() == before


def test_an_unknown_edition_is_refused():
    with pytest.raises(ValueError, match="student, teacher and slides"):
        notebooks.edition(messy(), "pupil")
