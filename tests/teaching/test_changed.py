"""Which notebooks a branch changes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mtl_helpers.teaching import changed


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("MTL_BASE", "MTL_ONLY"):
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def project(tmp_path):
    """A repository with three notebooks, on main."""
    for name in ("00_start", "01_theory", "02_loss", "deeper/01_more", ".ipynb_checkpoints/00_x"):
        write(tmp_path, f"notebooks/{name}.ipynb")
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path)
    return tmp_path


def git(project, *arguments):
    who = ["-c", "user.name=N", "-c", "user.email=n@example.org"]
    command = ["git", "-C", str(project), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def write(project, name, text=""):
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    (project / name).write_text(text)


def commit(project, name=None):
    if name:
        write(project, name, "changed")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "a commit")


def names(project):
    return [path.stem for path in changed.selected(project)]


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        ([], ["00_start"]),
        (["notebooks/02_loss.ipynb"], ["00_start", "02_loss"]),
        (["notebooks/deeper/01_more.ipynb"], ["00_start", "01_more"]),
        (["mtl_helpers/lessons/lesson_01/pictures.py"], ["00_start", "01_theory", "01_more"]),
        (
            ["mtl_helpers/training.py", "README.md", "tests/lessons/lesson_02/slips.py"],
            ["00_start"],
        ),
        (["notebooks/09_gone.ipynb"], ["00_start"]),
    ],
)
def test_a_notebook_and_its_lessons_folder_count_and_lesson_00_always(project, files, chosen):
    assert [path.stem for path in changed.of_files(files, project)] == chosen


def test_a_branch_is_compared_with_where_it_left_main(project):
    git(project, "switch", "-q", "-c", "work")
    commit(project, "notebooks/01_theory.ipynb")
    commit(project, "README.md")
    git(project, "switch", "-q", "main")
    commit(project, "notebooks/02_loss.ipynb")
    git(project, "switch", "-q", "work")
    assert names(project) == ["00_start", "01_theory"]


def test_what_is_not_committed_counts(project):
    git(project, "switch", "-q", "-c", "work")
    commit(project, "README.md")
    write(project, "notebooks/02_loss.ipynb", "changed")
    write(project, "notebooks/03_new.ipynb")
    assert names(project) == ["00_start", "02_loss", "03_new"]


def test_on_main_it_is_the_last_commit(project):
    commit(project, "notebooks/01_theory.ipynb")
    commit(project, "notebooks/02_loss.ipynb")
    assert names(project) == ["00_start", "02_loss"]


def test_without_any_base_lesson_00_is_left(project):
    assert changed.base(project) is None
    assert names(project) == ["00_start"]


def test_without_a_repository_lesson_00_is_left(tmp_path):
    write(tmp_path, "notebooks/00_start.ipynb")
    write(tmp_path, "notebooks/01_theory.ipynb")
    assert names(tmp_path) == ["00_start"]


def test_a_branch_where_main_is_only_at_the_origin(project, tmp_path_factory):
    clone = tmp_path_factory.mktemp("clone")
    git(clone, "clone", "-q", str(project), ".")
    git(clone, "switch", "-q", "-c", "work")
    git(clone, "branch", "-q", "-D", "main")
    commit(clone, "notebooks/01_theory.ipynb")
    commit(clone, "README.md")
    assert names(clone) == ["00_start", "01_theory"]


def test_the_base_can_be_named(project, monkeypatch):
    first = git(project, "rev-parse", "HEAD")
    commit(project, "notebooks/01_theory.ipynb")
    commit(project, "notebooks/02_loss.ipynb")
    monkeypatch.setenv("MTL_BASE", first)
    assert names(project) == ["00_start", "01_theory", "02_loss"]
    monkeypatch.setenv("MTL_BASE", "nowhere")
    with pytest.raises(ValueError, match="MTL_BASE=nowhere: there is no such commit"):
        changed.selected(project)


def test_everything_is_wanted_unless_the_environment_says_otherwise(project, monkeypatch):
    assert len(changed.wanted(project)) == 4
    monkeypatch.setenv("MTL_ONLY", "changed")
    assert [path.stem for path in changed.wanted(project)] == ["00_start"]


def test_the_browser_tests_take_the_selection(project_folder, monkeypatch):
    monkeypatch.setenv("MTL_ONLY", "changed")
    monkeypatch.setenv("MTL_BASE", "HEAD")
    command = [sys.executable, "-m", "pytest", "tests/browser", "-m", "browser", "-q"]
    command += ["--collect-only", "-p", "no:cacheprovider", "--color=no"]
    said = subprocess.run(command, cwd=project_folder, capture_output=True, text=True).stdout
    lessons = {path.name for path in changed.notebooks(project_folder) if path.name in said}
    assert lessons == {path.name for path in changed.selected(project_folder)}
