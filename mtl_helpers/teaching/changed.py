"""Which notebooks a branch changes, so that slow tests need not run for the others.

    python -m mtl_helpers.teaching.changed

Chosen are the notebooks that differ from the base, those whose lesson's folder differs, and always
lesson 00, which stands for what all lessons share: the core and the teaching kit. ``make test``
compares every notebook anyway, and ``make test-full`` does everything for all.

The base is what ``MTL_BASE`` names, or else where the branch left ``main``. On ``main`` itself it
is the commit before; where there is none (a clone cut short), lesson 00 is all that is chosen.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
ALWAYS = "00"


def notebooks(project: Path = PROJECT) -> list[Path]:
    """All notebooks, those of ``deeper`` too, in order."""
    folders = (project / "notebooks", project / "notebooks" / "deeper")
    return [path for folder in folders for path in sorted(folder.glob("[0-9]*.ipynb"))]


def of_files(changed: Iterable[str], project: Path = PROJECT) -> list[Path]:
    """The notebooks to test when these files changed.

    Args:
        changed: paths from the project's folder, with ``/``.
        project: its folder.
    """
    changed = set(changed)
    lessons = {ALWAYS}
    lessons |= {m[1] for f in changed if (m := re.match(r"mtl_helpers/lessons/lesson_(\d\d)/", f))}
    return [
        path
        for path in notebooks(project)
        if path.name[:2] in lessons or path.relative_to(project).as_posix() in changed
    ]


def base(project: Path = PROJECT) -> str | None:
    """The commit to compare with; None where none can be found.

    Raises:
        ValueError: ``MTL_BASE`` names no commit.
    """
    if named := os.environ.get("MTL_BASE"):
        if _git(project, "rev-parse", "--verify", "--quiet", f"{named}^{{commit}}") is None:
            raise ValueError(f"MTL_BASE={named}: there is no such commit here")
        return _git(project, "merge-base", named, "HEAD") or named
    head = _git(project, "rev-parse", "HEAD")
    for branch in ("main", "origin/main"):
        found = _git(project, "merge-base", branch, "HEAD")
        if found and found != head:
            return found
    return _git(project, "rev-parse", "--verify", "--quiet", "HEAD~1")


def selected(project: Path = PROJECT) -> list[Path]:
    """The notebooks that differ from the base (uncommitted changes count), and lesson 00."""
    start = base(project)
    differ = _git(project, "diff", "--name-only", "--no-renames", start) if start else None
    new = _git(project, "ls-files", "--others", "--exclude-standard") if start else None
    return of_files([*(differ or "").splitlines(), *(new or "").splitlines()], project)


def wanted(project: Path = PROJECT) -> list[Path]:
    """What the environment asks for: ``MTL_ONLY=changed`` the selection, otherwise everything."""
    return selected(project) if os.environ.get("MTL_ONLY") == "changed" else notebooks(project)


def _git(project: Path, *arguments: str) -> str | None:
    """What git says; None where it fails or is not there."""
    command = ["git", "-C", str(project), "-c", "core.quotePath=false", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


if __name__ == "__main__":
    print(*(path.relative_to(PROJECT).as_posix() for path in selected()))
    sys.exit(0)
