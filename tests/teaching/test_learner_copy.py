"""The learner's copy: made once, never overwritten, and placed where it can be written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from jupyter_server.services.contents.filemanager import FileContentsManager
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mtl_helpers.teaching import learner_copy, notebooks
from mtl_helpers.teaching.environment import HOSTED_CELL
from mtl_helpers.teaching.progress import MANIFEST

TODAY = date.today().isoformat()
HERE = Path(__file__).resolve().parents[2]


def code(text, *tags, **metadata):
    cell = new_code_cell(text, metadata={**({"tags": list(tags)} if tags else {}), **metadata})
    cell.execution_count, cell.outputs = 1, [new_output("stream", text="the answer\n")]
    return cell


def small(text="1 + 1", **mtl):
    cells = [
        new_markdown_cell("# 02 · A lesson\n\n![A dot](../data/dot.txt) [Next](03_b.ipynb)"),
        new_markdown_cell("Let them vote.", metadata={"tags": ["teacher"]}),
        code("import torch", "setup"),
        code(text),
        code("# skip: proof\nassert True", "proof"),
        code("assert 1", "proof"),
        new_markdown_cell("It is 2.", metadata={"tags": ["solution"]}),
    ]
    for k, cell in enumerate(cells):
        cell.id = f"cell-{k}"
    return new_notebook(cells=cells, metadata={"mtl": {"lesson": "02", **mtl}})


def put(path, nb):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(notebooks.to_text(notebooks.canonical(nb)), encoding="utf-8")


@pytest.fixture
def project(tmp_path):
    """A project with two lessons, one of them in deeper/, and what they link to."""
    root = tmp_path / "project"
    put(root / "notebooks" / "02_a.ipynb", small())
    put(root / "notebooks" / "deeper" / "02_why.ipynb", small("2 + 2"))
    (root / "notebooks" / "hosted.py").write_text("def prepare(): pass\n")
    (root / "data").mkdir()
    (root / "data" / "dot.txt").write_text("dot")
    return root


def update(project):
    return learner_copy.update(project / "notebooks", project / "work")


def everything(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- What a learner's notebook looks like ---------------------------------------------------------


def folded(nb):
    return [c.id for c in nb.cells if c.metadata.get("jupyter", {}).get("source_hidden")]


def test_outputs_are_cleared_and_teachers_notes_dropped():
    new = learner_copy.for_learner(small())
    assert [c.id for c in new.cells] == ["cell-0", *(f"cell-{k}" for k in range(2, 7))]
    codes = [c for c in new.cells if c.cell_type == "code"]
    assert all(c.outputs == [] and c.execution_count is None for c in codes)
    assert "the answer" not in notebooks.to_text(new)
    nbformat.validate(new)


def test_machinery_is_folded():
    assert folded(learner_copy.for_learner(small())) == ["cell-2", "cell-4", "cell-5"]


def test_in_the_first_frame_only_what_the_reader_is_told_to_skip_is_folded():
    nb = small(frame="first")
    assert folded(learner_copy.for_learner(nb)) == ["cell-4"]
    nb.cells[2].metadata["jupyter"] = {"source_hidden": True}  # as the lesson itself has it
    assert folded(learner_copy.for_learner(nb)) == ["cell-2", "cell-4"]


def test_the_lesson_itself_is_left_alone():
    nb = small()
    before = nbformat.writes(nb)
    learner_copy.for_learner(nb)
    assert nbformat.writes(nb) == before


# --- Made once, never overwritten -----------------------------------------------------------------


def test_a_copy_is_made_of_every_lesson_and_of_what_lies_beside_them(project):
    assert update(project) == learner_copy.Changes(("02_a", "deeper/02_why"), ())
    names = {str(path) for path in everything(project / "work")}
    assert names == {"02_a.ipynb", "deeper/02_why.ipynb", "hosted.py", MANIFEST}
    made = nbformat.read(project / "work" / "02_a.ipynb", 4)
    assert made == learner_copy.for_learner(small())


def test_a_second_start_changes_nothing(project):
    update(project)
    before = everything(project / "work")
    times = {p: p.stat().st_mtime_ns for p in (project / "work").rglob("*")}
    assert update(project) == learner_copy.Changes((), ())
    assert everything(project / "work") == before
    assert {p: p.stat().st_mtime_ns for p in (project / "work").rglob("*")} == times


def test_an_edited_copy_is_never_touched_and_a_newer_lesson_is_announced(project):
    update(project)
    mine = project / "work" / "02_a.ipynb"
    mine.write_text("my own work")
    assert update(project) == learner_copy.Changes((), ())
    put(project / "notebooks" / "02_a.ipynb", small("1 + 2"))
    assert update(project) == learner_copy.Changes((), ("02_a",))
    assert update(project).newer == ("02_a",)
    assert mine.read_text() == "my own work"


def test_an_untouched_copy_is_not_overwritten_either(project):
    update(project)
    before = (project / "work" / "02_a.ipynb").read_bytes()
    put(project / "notebooks" / "02_a.ipynb", small("1 + 2"))
    assert update(project).newer == ("02_a",)
    assert (project / "work" / "02_a.ipynb").read_bytes() == before


def test_new_outputs_alone_are_no_newer_lesson(project):
    update(project)
    nb = small()
    nb.cells[3].outputs[0].text = "another answer\n"
    put(project / "notebooks" / "02_a.ipynb", nb)
    assert update(project).newer == ()


def test_a_lesson_that_comes_later_is_added_and_one_removed_is_made_again(project):
    update(project)
    put(project / "notebooks" / "03_b.ipynb", small("3"))
    assert update(project).added == ("03_b",)
    (project / "work" / "02_a.ipynb").unlink()
    assert update(project).added == ("02_a",)


def test_an_interrupted_start_is_completed_by_the_next(project, monkeypatch):
    whole, calls = learner_copy.write_whole, []

    def killed(path, content):
        if calls:
            raise KeyboardInterrupt
        calls.append(path)
        return whole(path, content)

    monkeypatch.setattr(learner_copy, "write_whole", killed)
    with pytest.raises(KeyboardInterrupt):
        update(project)
    assert not (project / "work" / MANIFEST).exists()
    monkeypatch.setattr(learner_copy, "write_whole", whole)
    assert update(project) == learner_copy.Changes(("deeper/02_why",), ())
    assert update(project) == learner_copy.Changes((), ())
    assert set(json.loads((project / "work" / MANIFEST).read_text())) == {"02_a", "deeper/02_why"}


def test_a_file_of_ones_own_under_a_lessons_name_stays(project):
    (project / "work").mkdir()
    (project / "work" / "02_a.ipynb").write_text("mine")
    assert update(project).newer == ("02_a",)
    assert (project / "work" / "02_a.ipynb").read_text() == "mine"


def test_a_damaged_manifest_costs_no_work(project):
    update(project)
    before = everything(project / "work")
    (project / "work" / MANIFEST).write_text("{")
    assert update(project) == learner_copy.Changes((), ())
    assert everything(project / "work") == before


@pytest.mark.parametrize("wanted", ["02", "02_a", "02_a.ipynb"])
def test_a_fresh_lesson_is_put_beside_the_old_one(project, wanted):
    update(project)
    mine = project / "work" / "02_a.ipynb"
    mine.write_text("my own work")
    put(project / "notebooks" / "02_a.ipynb", small("1 + 2"))
    folder = project / "notebooks", project / "work"
    (new,) = learner_copy.fresh(*folder, wanted)
    assert new.name == f"02_a (new {TODAY}).ipynb"
    assert nbformat.read(new, 4) == learner_copy.for_learner(small("1 + 2"))
    assert mine.read_text() == "my own work"
    assert update(project).newer == ()  # it is there now
    (again,) = learner_copy.fresh(*folder, wanted)
    assert again.name == f"02_a (new {TODAY}, 2).ipynb"


def test_a_fresh_deeper_notebook_is_asked_for_by_its_name(project):
    update(project)
    (new,) = learner_copy.fresh(project / "notebooks", project / "work", "deeper/02")
    assert new == project / "work" / "deeper" / f"02_why (new {TODAY}).ipynb"


def test_a_lesson_that_is_not_there_is_not_made_fresh(project):
    with pytest.raises(learner_copy.CopyError, match=r"no lesson 07. There are: 02_a, deeper/02_w"):
        learner_copy.fresh(project / "notebooks", project / "work", "07")


def test_a_lesson_that_cannot_be_read_is_named(project):
    (project / "notebooks" / "02_a.ipynb").write_text("{")
    with pytest.raises(learner_copy.CopyError, match=r"02_a\.ipynb: not a valid notebook"):
        update(project)


def test_a_full_disk_is_said(project, monkeypatch):
    def full(path, content):
        raise OSError(28, "02_a.ipynb was not written: the disk is full")

    monkeypatch.setattr(learner_copy, "write_whole", full)
    with pytest.raises(learner_copy.CopyError, match="not complete: .*the disk is full"):
        update(project)


# --- Where it is ----------------------------------------------------------------------------------


def test_in_a_project_of_ones_own_the_copy_lies_in_it(project, tmp_path):
    place, lines = learner_copy.prepare(project, tmp_path / "home")
    assert place.copy == project / "work"
    assert lines == [f"Your own copy of the lessons: {project / 'work'}"]
    assert not (tmp_path / "home").exists()


def test_what_is_new_is_said_in_one_line(project, tmp_path):
    learner_copy.prepare(project, tmp_path)
    put(project / "notebooks" / "02_a.ipynb", small("1 + 2"))
    put(project / "notebooks" / "deeper" / "02_why.ipynb", small("2 + 3"))
    put(project / "notebooks" / "03_b.ipynb", small())
    _, (_, added, newer) = learner_copy.prepare(project, tmp_path)
    assert added == "Added to it: 03_b"
    assert newer.startswith("There is a newer version of 02_a, deeper/02_why. ")
    assert newer.endswith("python -m mtl_helpers.teaching.notebooks work --fresh 02")


def test_where_work_is_a_file_the_copy_goes_home(project, tmp_path):
    (project / "work").write_text("")
    place, lines = learner_copy.prepare(project, tmp_path / "home")
    assert place.root == tmp_path / "home" / "multi-task-learning"
    assert f"(there because {project / 'work'} is a file)" in lines[0]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="folders have no owner here")
def test_the_copy_of_another_person_is_left_to_them(project, tmp_path, monkeypatch):
    update(project)
    before = everything(project)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    reason = f"{project / 'work'} belongs to "
    with pytest.raises(learner_copy.CopyError, match=reason):  # the home folder is not ours either
        learner_copy.find_place(project, tmp_path)
    assert everything(project) == before


def test_without_links_the_projects_files_are_copied(project, tmp_path, monkeypatch):
    def refuse(self, target):
        raise OSError("a privilege is missing")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    (project / "work").write_text("")
    (project / "data" / "downloads").mkdir()
    place = learner_copy.find_place(project, tmp_path / "home")
    assert (place.root / "data" / "dot.txt").read_text() == "dot"
    assert not (place.root / "data" / "downloads").exists()


def test_links_follow_a_project_that_moved(project, tmp_path):
    (project / "work").write_text("")
    learner_copy.prepare(project, tmp_path / "home")
    moved = project.rename(tmp_path / "moved")
    place, _ = learner_copy.prepare(moved, tmp_path / "home")
    assert (place.root / "data").resolve() == moved / "data"
    assert (place.copy / "../data/dot.txt").read_text() == "dot"


AS_NOBODY = """
import os, sys
import mtl_helpers.teaching.learner_copy as learner_copy
from pathlib import Path

def use(project, home):
    place, lines = learner_copy.prepare(project, home)
    print(*lines, sep="\\n")
    (place.copy / "02_a.ipynb").write_text("mine")
    print(learner_copy.prepare(project, home)[1])
    (new,) = learner_copy.fresh(project / "notebooks", place.copy, "02")
    print(new.name, (place.copy / "../data/dot.txt").read_text())
    print((place.copy / "deeper/../../data/dot.txt").read_text())

project, home, trial = map(Path, sys.argv[1:])
if os.geteuid() == 0:
    use(trial, home)  # once as root: imports everything, from where the other user may not read
    print("---")
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
use(project, home)
"""


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="modes and users as on Linux and macOS")
def test_where_the_project_is_read_only_the_copy_goes_home(project):
    """As an unprivileged user, since root may write anywhere."""
    with tempfile.TemporaryDirectory() as name:
        open_to_all = Path(name)  # tmp_path lies in a folder that only its owner may enter
        there, home = open_to_all / "project", open_to_all / "home"
        shutil.copytree(project, there)
        home.mkdir()
        if os.geteuid() == 0:
            os.chown(home, 65534, 65534)
            open_to_all.chmod(0o755)
        there.chmod(0o555)
        before = everything(there)
        command = [sys.executable, "-c", AS_NOBODY, str(there), str(home), str(project)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=HERE)
        there.chmod(0o755)
        assert done.returncode == 0, done.stderr
        first, second, *rest = done.stdout.split("---\n")[-1].splitlines()
        copy = home / "multi-task-learning" / "work"
        assert first == (
            f"Your own copy of the lessons: {copy} (there because {there / 'work'} cannot be "
            "written (Permission denied))"
        )
        assert "newer" not in second
        assert rest == [f"02_a (new {TODAY}).ipynb dot", "dot"]
        assert (copy / "02_a.ipynb").read_text() == "mine"
        assert everything(there) == before


# --- The real lessons -----------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["beside the lessons", "under the home folder"])
def real(request, tmp_path_factory):
    """The copy of the real lessons, in both of its places."""
    tmp = tmp_path_factory.mktemp("real")
    project = tmp / "project"
    project.mkdir()
    for path in HERE.iterdir():
        if path.name not in ("work", ".git", ".venv"):
            (project / path.name).symlink_to(path)
    if request.param == "under the home folder":
        (project / "work").write_text("in the way")
    place, _ = learner_copy.prepare(project, tmp / "home")
    return place.copy


def test_every_lesson_is_in_the_copy_without_what_spoils_it(real):
    assert list(learner_copy.lessons(real)) == list(learner_copy.lessons(HERE / "notebooks"))
    for name in learner_copy.lessons(real):
        nb = nbformat.read(real / f"{name}.ipynb", 4)
        nbformat.validate(nb)
        assert not any(c.get("outputs") or c.get("execution_count") for c in nb.cells)
        assert not any("teacher" in c.metadata.get("tags", []) for c in nb.cells)


def test_what_comes_before_the_lesson_is_folded(real):
    for name in learner_copy.lessons(real):
        nb = nbformat.read(real / f"{name}.ipynb", 4)
        assert nb.cells[0].source.startswith("# ")
        if name == "glossary":  # it has no code
            continue
        assert folded(nb)[0] == next(c.id for c in nb.cells if c.cell_type == "code")


def test_the_cell_for_colab_finds_its_file_and_says_nothing(real, monkeypatch, capsys):
    for service in ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(service, raising=False)
    for name in learner_copy.lessons(real):
        monkeypatch.chdir((real / name).parent)
        exec(HOSTED_CELL, {})
    assert capsys.readouterr().out == ""


def test_jupyterlab_opens_what_the_lessons_link_to(real):
    contents = FileContentsManager(root_dir=str(real.parent))
    assert contents.get("work/00_start_here.ipynb")["type"] == "notebook"
    assert contents.get("data/README.md")["content"]  # as ../data/README.md in a lesson


LINK = re.compile(r"\]\(([^()\s]+)\)|(?:href|src)=\"([^\"]*)\"")
PATH = re.compile(r"[\"'](\.\.?/[^\"'*]+)[\"']")


def relative_targets(nb):
    """What links in prose and paths in code lead to, as they are written."""
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"^```.*?^```|`[^`\n]*`", "", cell.source, flags=re.M | re.S)
            found = [unquote((a or b).partition("#")[0]) for a, b in LINK.findall(text)]
            yield from (t for t in found if t and re.search(r"\.\w+$|/", t) and ":" not in t)
        else:
            yield from PATH.findall(cell.source)


def test_every_relative_link_and_path_leads_somewhere(real):
    found = []
    for name in learner_copy.lessons(real):
        path = real / f"{name}.ipynb"
        for target in relative_targets(nbformat.read(path, 4)):
            found.append(target)
            assert target == "../" or (path.parent / target).exists(), (name, target)
    assert len(found) > 20


def test_the_search_for_targets_finds_them():
    nb = new_notebook(
        cells=[
            new_markdown_cell('[a](../data/a.md#x) <img src="b.png"> `[c](c.md)` [d](https://e.f)'),
            new_code_cell('open("../data/x.json")\nPath("./y") / "z"'),
        ]
    )
    assert list(relative_targets(nb)) == ["../data/a.md", "b.png", "../data/x.json", "./y"]
