"""The learner's own copy of the lessons: ``work/``, made from ``notebooks/``, never overwritten.

In the copy the outputs are cleared, so that no prediction is spoilt; notes for the teacher are
dropped; machinery is folded. It lies beside ``notebooks/``, so that relative links lead to the
same places. Where the project's folder cannot be written, the copy is made under the home folder,
and links to the project's files stand beside it there.

Each file is written whole. A hidden manifest in the copy says from which text each lesson was
made; it tells a newer lesson from one that is still the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import nbformat

from mtl_helpers.files import write_json, write_whole
from mtl_helpers.teaching.notebooks import PROJECT, NotebookError, canonical, read, to_text
from mtl_helpers.teaching.progress import MANIFEST

WORK = "work"
HOME_FOLDER = "multi-task-learning"  # below the home folder, for a project that is read-only
HOSTED = "hosted.py"  # what the folded first cell of each notebook runs; see notebooks/hosted.py
FRESH = "python -m mtl_helpers.teaching.notebooks work --fresh"


class CopyError(Exception):
    """The copy could not be made, or a lesson asked for is not there; the message says why."""


# --- What a learner's notebook looks like ---------------------------------------------------------


def for_learner(nb: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Give the learner's form of a lesson: no outputs, no teacher's notes, machinery folded.

    Args:
        nb: the lesson; it is left alone.

    Returns:
        A notebook in canonical form. Folding hides a cell's source, never its output.
    """
    new = canonical(nb)
    new.cells = [cell for cell in new.cells if "teacher" not in cell.metadata.get("tags", [])]
    for cell in new.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            if _is_machinery(cell, first_frame=nb.metadata.get("mtl", {}).get("frame") == "first"):
                cell.metadata.setdefault("jupyter", nbformat.from_dict({}))["source_hidden"] = True
    return new


def _is_machinery(cell: nbformat.NotebookNode, first_frame: bool) -> bool:
    """Whether a learner need not see this code.

    Lessons in the first frame (see FIRST in tests/notebooks/hygiene.py) teach in their ``setup``
    and ``proof`` cells, and exercises rest on some of them. There, only what the lesson itself
    tells the reader to skip is folded.
    """
    tags = set(cell.metadata.get("tags", []))
    if first_frame:
        return "proof" in tags and cell.source.startswith("# skip")
    return bool(tags & {"setup", "proof"})


# --- Where the copy is ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where the copy is: ``root`` is the folder JupyterLab shows; ``why`` says why it is there."""

    root: Path
    why: str = ""

    @property
    def copy(self) -> Path:
        """The learner's copy itself."""
        return self.root / WORK


def find_place(project: Path = PROJECT, home: Path | None = None) -> Place:
    """Choose where the copy belongs, and make its folder.

    Args:
        project: the project's folder; the copy is made in it wherever possible.
        home: the home folder; this person's unless given.

    Raises:
        CopyError: neither the project nor the home folder can be written.
    """
    reason = _cannot_write(project / WORK)
    if not reason:
        return Place(project)
    root = (home or Path.home()) / HOME_FOLDER
    if second := _cannot_write(root / WORK):
        raise CopyError(
            f"There is no place for your copy of the lessons: {reason}, and {second}. "
            "Make one of the two folders writable, then run the same command again."
        )
    _link_project(project, root)
    return Place(root, reason)


def _cannot_write(folder: Path) -> str:
    """Say why a folder, which is made if need be, is not ours to write in; "" where it is."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        owner = folder.stat().st_uid
        if hasattr(os, "geteuid") and os.geteuid() not in (0, owner):
            return f"{folder} belongs to {_name(owner)}"
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except FileExistsError:
        return f"{folder} is a file"
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror})"


def _name(user: int) -> str:
    import pwd  # not on Windows, where no folder belongs to somebody else

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def _link_project(project: Path, root: Path) -> None:
    """Put links to the project's files beside a copy far from it: ``../data`` leads there, too."""
    for target in sorted(project.iterdir()):
        link = root / target.name
        if target.name.startswith(".") or target.name == WORK:
            continue
        if link.is_symlink() and link.resolve() != target.resolve():
            link.unlink()  # it led to a project that has been moved
        if link.exists():
            continue
        try:
            link.symlink_to(target)
        except OSError:  # Windows allows links to administrators only
            if target.is_dir():
                shutil.copytree(target, link, ignore=shutil.ignore_patterns("downloads"))
            else:
                shutil.copyfile(target, link)


# --- Making it ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Changes:
    """What :func:`update` did: lessons it added, and lessons of which there is a newer version."""

    added: tuple[str, ...]
    newer: tuple[str, ...]


def lessons(folder: Path) -> Iterator[str]:
    """Names of the notebooks in a folder and in its ``deeper/``: "02_…", "deeper/02_…"."""
    for path in (*sorted(folder.glob("*.ipynb")), *sorted(folder.glob("deeper/*.ipynb"))):
        yield path.relative_to(folder).with_suffix("").as_posix()


def update(source: Path, copy: Path) -> Changes:
    """Add to the copy what it lacks; what is there is never touched, edited or not.

    A copy whose making was interrupted is completed by the next call.

    Args:
        source: the folder of the committed notebooks.
        copy: the learner's copy, made where it is not there.

    Raises:
        CopyError: a file could not be written (the disk is full, …).
    """
    made_from, added, newer = _manifest(copy), [], []
    try:
        for name in lessons(source):
            text = _text(source, name)
            target = copy / f"{name}.ipynb"
            if not target.exists():
                write_whole(target, text)
                made_from[name] = _hash(text)
                added.append(name)
            elif made_from.get(name) != _hash(text):
                if target.read_bytes() == text.encode():  # written just before an interruption
                    made_from[name] = _hash(text)
                else:
                    newer.append(name)
        if (source / HOSTED).exists() and not (copy / HOSTED).exists():
            write_whole(copy / HOSTED, (source / HOSTED).read_bytes())
        if made_from != _manifest(copy):
            write_json(copy / MANIFEST, made_from)
    except OSError as error:
        raise CopyError(f"Your copy of the lessons is not complete: {error}") from error
    return Changes(tuple(added), tuple(newer))


def fresh(source: Path, copy: Path, wanted: str) -> list[Path]:
    """Put the newest version of a lesson beside the learner's own, under a name of its own.

    Args:
        source: the folder of the committed notebooks.
        copy: the learner's copy.
        wanted: a number, "02", or a name, "02_loss_formula" or "deeper/02_…".

    Returns:
        The new files.

    Raises:
        CopyError: there is no such lesson, or a file could not be written.
    """
    wanted = wanted.removesuffix(".ipynb")
    names = [n for n in lessons(source) if n == wanted or n.startswith(f"{wanted}_")]
    if not names:
        there = ", ".join(lessons(source))
        raise CopyError(f"There is no lesson {wanted}. There are: {there}.")
    made_from, files = _manifest(copy), []
    try:
        for name in names:
            text = _text(source, name)
            files.append(write_whole(_free_name(copy / f"{name}.ipynb"), text))
            made_from[name] = _hash(text)  # it is there now, so it is announced no longer
        write_json(copy / MANIFEST, made_from)
    except OSError as error:
        raise CopyError(str(error)) from error
    return files


def _text(source: Path, name: str) -> str:
    """A lesson as the text of the learner's file."""
    try:
        return to_text(for_learner(read(source / f"{name}.ipynb")))
    except NotebookError as error:
        raise CopyError(str(error)) from error


def _free_name(path: Path) -> Path:
    """A name that says that this is the new version, and that no file has yet."""
    day, count = date.today().isoformat(), 1
    while True:
        more = f", {count}" if count > 1 else ""
        new = path.with_name(f"{path.stem} (new {day}{more}).ipynb")
        if not new.exists():
            return new
        count += 1


def _manifest(copy: Path) -> dict[str, str]:
    """By lesson, the hash of the text it was made from; empty where no manifest can be read."""
    try:
        found = json.loads((copy / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# --- For the command line -------------------------------------------------------------------------


def prepare(project: Path = PROJECT, home: Path | None = None) -> tuple[Place, list[str]]:
    """Find the place of the copy, bring it up to date, and tell the learner about it.

    Args:
        project: the project's folder.
        home: the home folder; this person's unless given.

    Returns:
        The place, and lines to print.

    Raises:
        CopyError: see :func:`find_place` and :func:`update`.
    """
    place = find_place(project, home)
    first = not (place.copy / MANIFEST).exists()
    changes = update(project / "notebooks", place.copy)
    line = f"Your own copy of the lessons: {place.copy}"
    lines = [f"{line} (there because {place.why})" if place.why else line]
    if changes.added and not first:
        lines.append(f"Added to it: {', '.join(changes.added)}")
    if changes.newer:
        number = changes.newer[0].split("_")[0] if "/" not in changes.newer[0] else changes.newer[0]
        lines.append(
            f"There is a newer version of {', '.join(changes.newer)}. Your own stays as it is; to "
            f"put the new one beside it: {FRESH} {number}"
        )
    return place, lines
