"""Tools for the authors of the notebooks: run them, keep their files in one form, filter them.

    python -m mtl_helpers.teaching.notebooks execute [FILE ...] [--check]
    python -m mtl_helpers.teaching.notebooks canonical [FILE ...] [--check]
    python -m mtl_helpers.teaching.notebooks lab [ARGUMENT OF JUPYTERLAB ...]
    python -m mtl_helpers.teaching.notebooks work [--fresh LESSON]
    python -m mtl_helpers.teaching.notebooks editions --student|--teacher|--slides FOLDER [FILE ...]

A notebook is committed with its outputs. So that two runs on one machine leave the same bytes, its
file has one canonical form: no execution times, no widget views or widget state, no Python version,
joined streams, pictures without the name of the program that made them, one order of the keys.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import copy
import difflib
import hashlib
import os
import struct
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat

from mtl_helpers.files import write_whole

PROJECT = Path(__file__).resolve().parents[2]
IGNORED = "nbval-ignore-output"
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
_WIDGET_MIMES = (
    "application/vnd.jupyter.widget-view+json",
    "application/vnd.jupyter.widget-state+json",
)
_VOLATILE_CELL_KEYS = (
    "execution", "ExecuteTime", "collapsed", "scrolled", "trusted", "colab", "id", "outputId",
    "vscode", "pycharm",
)  # fmt: skip
_KEPT_NOTEBOOK_KEYS = ("mtl", "title", "authors")
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class NotebookError(Exception):
    """A notebook that cannot be read or run; the message names the file and the cell."""


# --- One canonical form ---------------------------------------------------------------------------


def strip_widget_views(nb: dict[str, Any]) -> dict[str, Any]:
    """Drop widget views and widget state from a notebook, in place; pictures and text stay.

    Args:
        nb: a notebook as a dictionary (nbformat 4).

    Returns:
        The same object.
    """
    nb.get("metadata", {}).pop("widgets", None)
    for cell in nb.get("cells", []):
        if "outputs" not in cell:
            continue
        kept = []
        for output in cell["outputs"]:
            data = output.get("data")
            if data and any(mime in data for mime in _WIDGET_MIMES):
                for mime in _WIDGET_MIMES:
                    data.pop(mime, None)
                if not data:  # nothing but the view: nothing is left to show
                    continue
            kept.append(output)
        cell["outputs"] = kept
    return nb


def pre_save_hook(model: dict[str, Any], **_: Any) -> None:
    """Hook for Jupyter's ``ContentsManager.pre_save_hook``: files are saved without widget views.

    Args:
        model: what Jupyter is about to save; anything but a notebook is left as it is.
    """
    content = model.get("content")
    if model.get("type") == "notebook" and isinstance(content, dict):
        strip_widget_views(content)


def canonical(nb: dict[str, Any]) -> nbformat.NotebookNode:
    """Return a copy of a notebook in the one form in which notebooks are committed.

    Args:
        nb: a notebook (nbformat 4), changed by nobody.

    Returns:
        A notebook of format 4.5. Cell ids that exist are kept, so that a change shows as a change.
    """
    new = nbformat.from_dict(strip_widget_views(copy.deepcopy(nb)))
    new.nbformat, new.nbformat_minor = 4, 5
    kept = {key: new.metadata[key] for key in _KEPT_NOTEBOOK_KEYS if key in new.metadata}
    new.metadata = nbformat.from_dict(
        {"kernelspec": dict(KERNEL), "language_info": {"name": "python"}, **kept}
    )
    used: set[str] = set()
    for cell in new.cells:
        cell.id = _free_id(cell, used)
        cell.source = "".join(cell.source).rstrip("\n")
        for key in _VOLATILE_CELL_KEYS:
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.setdefault("execution_count", None)
            cell.outputs = [
                _canonical_output(output, cell.execution_count)
                for output in _joined_streams(cell.get("outputs", []))
            ]
    return new


def to_text(nb: dict[str, Any]) -> str:
    """Return a notebook as the text of its file, with one trailing newline."""
    return nbformat.writes(nbformat.from_dict(nb), version=4).rstrip("\n") + "\n"


def _free_id(cell: dict[str, Any], used: set[str]) -> str:
    """The cell's own id; where it has none, or another cell has it, one made from its source."""
    wanted = cell.get("id") or ""
    count = 0
    while not wanted or wanted in used:
        text = f"{cell['cell_type']}\n{''.join(cell['source'])}\n{count}"
        wanted = hashlib.sha256(text.encode()).hexdigest()[:8]
        count += 1
    used.add(wanted)
    return wanted


def _joined_streams(outputs: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Join neighbouring pieces of one stream: where a stream is cut is a matter of chance."""
    last: dict[str, Any] | None = None
    for output in outputs:
        same = last is not None and last["output_type"] == output["output_type"] == "stream"
        if same and last["name"] == output["name"]:
            last["text"] = "".join(last["text"]) + "".join(output["text"])
            continue
        if last is not None:
            yield last
        last = output
    if last is not None:
        yield last


def _canonical_output(output: dict[str, Any], count: int | None) -> dict[str, Any]:
    """The output with its cell's count, and with PNGs freed of the text that programs add."""
    if output["output_type"] == "execute_result":
        output["execution_count"] = count
    data = output.get("data", {})
    if "image/png" in data:
        picture = base64.b64decode("".join(data["image/png"]))
        data["image/png"] = base64.b64encode(_plain_png(picture)).decode("ascii")
    return output


def _plain_png(picture: bytes) -> bytes:
    """Drop the text and time chunks of a PNG (its format: a length, a name, data, a checksum)."""
    kept, at = [picture[:8]], 8
    while at + 12 <= len(picture):
        (length,) = struct.unpack(">I", picture[at : at + 4])
        if picture[at + 4 : at + 8] not in (b"tEXt", b"zTXt", b"iTXt", b"tIME"):
            kept.append(picture[at : at + length + 12])
        at += length + 12
    return b"".join(kept)


# --- Running --------------------------------------------------------------------------------------


def read(path: Path) -> nbformat.NotebookNode:
    """Read and validate a notebook.

    Raises:
        NotebookError: there is no such file, or it is not a valid notebook.
    """
    try:
        nb = nbformat.read(path, as_version=4)
        nbformat.validate(nb)
    except FileNotFoundError:
        raise NotebookError(f"{path}: there is no such file") from None
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, UnicodeDecodeError) as error:
        text = str(error).splitlines()[0]
        raise NotebookError(f"{path}: not a valid notebook ({text})") from None
    return nb


async def _run(path: Path, timeout: int) -> nbformat.NotebookNode:
    """Run one notebook from a clean kernel, in its own folder, with one thread."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    nb = read(path)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    with tempfile.TemporaryDirectory(prefix="mtl-ipython-") as profile:
        drop = ("MPLBACKEND", "JPY_SESSION_NAME")  # whoever starts us must not change the outputs
        env = {key: value for key, value in os.environ.items() if key not in drop}
        env |= dict.fromkeys(_ONE_THREAD, "1") | {"IPYTHONDIR": profile}
        client = NotebookClient(
            nb,
            timeout=timeout,
            kernel_name="python3",
            record_timing=False,
            store_widget_state=False,
            extra_arguments=["--log-level=40"],  # its start-up notes are not for the terminal
            resources={"metadata": {"path": str(path.resolve().parent)}},
        )
        try:
            await client.async_execute(env=env)
        except CellExecutionError:
            pass  # the cell holds the error; it is reported below
        except CellTimeoutError:
            raise NotebookError(f"{path}: a cell took longer than {timeout} s") from None
        except DeadKernelError:
            raise NotebookError(f"{path}: the kernel died (out of memory?)") from None
    _refuse_errors(path, nb)
    return canonical(nb)


def _refuse_errors(path: Path, nb: nbformat.NotebookNode) -> None:
    for number, cell in enumerate(nb.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                raise NotebookError(
                    f"{path}: cell {number} (id {cell.id}) fails with "
                    f"{output.ename}: {output.evalue}\n{_indented(cell.source)}"
                )


def _indented(source: str, lines: int = 12) -> str:
    shown = source.splitlines()
    more = ["…"] if len(shown) > lines else []
    return "\n".join("    " + line for line in shown[:lines] + more)


def run_all(
    paths: Sequence[Path], *, timeout: int = 600, jobs: int = 2
) -> list[nbformat.NotebookNode | NotebookError]:
    """Run notebooks from clean kernels, several at a time.

    Args:
        paths: the notebooks; their files are only read.
        timeout: seconds a cell may take.
        jobs: how many kernels run at once, each with one thread.

    Returns:
        For each path the notebook in its canonical form, or what went wrong.
    """

    async def all_of_them() -> list[Any]:
        places = asyncio.Semaphore(jobs)

        async def one(path: Path) -> nbformat.NotebookNode | NotebookError:
            async with places:
                try:
                    return await _run(path, timeout)
                except NotebookError as error:
                    return error

        return await asyncio.gather(*(one(path) for path in paths))

    return asyncio.run(all_of_them())


def _is_ignored(cell: dict[str, Any]) -> bool:
    return IGNORED in cell["metadata"].get("tags", [])


def keep_ignored(new: nbformat.NotebookNode, old: nbformat.NotebookNode) -> None:
    """Give cells whose output must vary the output stored before, while their source is the same.

    Otherwise each run would change the file, though nobody compares these outputs.

    Args:
        new: the notebook just run; changed in place.
        old: the notebook as it was stored.
    """
    stored = {c.id: c for c in old.cells if c.cell_type == "code" and c.get("outputs")}
    for cell in new.cells:
        before = stored.get(cell.id)
        if before is not None and _is_ignored(cell) and cell.source == before.source:
            cell.outputs = copy.deepcopy(before.outputs)


def execute(
    paths: Sequence[Path], *, timeout: int = 600, jobs: int = 2, fresh: bool = False
) -> list[NotebookError]:
    """Run notebooks and write each in its canonical form; a failing one keeps its old file.

    Args:
        paths: the notebooks.
        timeout: seconds a cell may take.
        jobs: how many run at once.
        fresh: store new outputs for cells tagged ``nbval-ignore-output``, too.

    Returns:
        What went wrong, one for each notebook that failed.
    """
    failures = []
    for path, result in zip(paths, run_all(paths, timeout=timeout, jobs=jobs), strict=True):
        if isinstance(result, NotebookError):
            failures.append(result)
            continue
        if not fresh:
            keep_ignored(result, canonical(read(path)))
        write_whole(path, to_text(canonical(result)))
    return failures


def check(paths: Sequence[Path], *, timeout: int = 600, jobs: int = 2) -> list[NotebookError]:
    """Run notebooks twice and compare the two results; no file is changed.

    Args:
        paths: the notebooks.
        timeout: seconds a cell may take.
        jobs: how many run at once.

    Returns:
        What went wrong: a failing cell, or a short difference between the two runs.
    """
    twice = run_all([*paths, *paths], timeout=timeout, jobs=jobs)
    failures = []
    for path, first, second in zip(paths, twice, twice[len(paths) :], strict=False):
        failed = [run for run in (first, second) if isinstance(run, NotebookError)]
        if failed:
            failures.append(failed[0])
            continue
        change = _short_difference(_compared(first), _compared(second))
        if change:
            failures.append(NotebookError(f"{path}: two runs differ\n{change}"))
    return failures


def _compared(nb: nbformat.NotebookNode) -> str:
    nb = copy.deepcopy(nb)
    for cell in nb.cells:
        if cell.cell_type == "code" and _is_ignored(cell):
            cell.outputs = []
    return to_text(nb)


def _short_difference(first: str, second: str, lines: int = 20, width: int = 120) -> str:
    pair = first.splitlines(), second.splitlines()
    found = list(difflib.unified_diff(*pair, "first run", "second run", n=2, lineterm=""))
    shown = [line if len(line) <= width else line[:width] + "…" for line in found[:lines]]
    return "\n".join("    " + line for line in shown + ["…"] * (len(found) > lines))


# --- Editions -------------------------------------------------------------------------------------


def edition(nb: dict[str, Any], kind: str) -> nbformat.NotebookNode:
    """Return one edition of a notebook: a plain filter by tags and slide types.

    Args:
        nb: the notebook.
        kind: ``student`` (no solutions, no notes for the teacher, no outputs: predictions come
            first), ``teacher`` (everything), or ``slides`` (only cells with a slide type other
            than ``skip``; outputs stay).

    Returns:
        A notebook in canonical form.

    Raises:
        ValueError: another kind.
    """
    new = canonical(nb)
    if kind == "student":
        hidden = {"teacher", "solution"}
        new.cells = [c for c in new.cells if not hidden & set(c.metadata.get("tags", []))]
        for cell in new.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
    elif kind == "slides":
        new.cells = [c for c in new.cells if _slide_type(c) not in ("", "skip")]
    elif kind != "teacher":
        raise ValueError(f"unknown edition {kind!r}; there are student, teacher and slides")
    return new


def _slide_type(cell: dict[str, Any]) -> str:
    return cell["metadata"].get("slideshow", {}).get("slide_type", "")


# --- The command line -----------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mtl_helpers.teaching.notebooks")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("execute", help="run from a clean kernel and store the outputs")
    run.add_argument("--check", action="store_true", help="run twice and compare; write nothing")
    run.add_argument("--fresh", action="store_true", help="also renew outputs that may vary")
    run.add_argument("--timeout", type=int, default=600, help="seconds a cell may take")
    run.add_argument("--jobs", type=int, default=2, help="how many run at once")
    form = commands.add_parser("canonical", help="write files in canonical form; run nothing")
    form.add_argument("--check", action="store_true", help="name files in another form; write none")
    editions = commands.add_parser(
        "editions",
        help="write student, teacher or slide editions",
        description="Filter the notebooks by the tags of their cells. student: without solutions, "
        "notes for the teacher and outputs. teacher: everything. slides: the cells with a slide "
        "type, with outputs; show them with `jupyter nbconvert --to slides`.",
    )
    editions.add_argument("folder", type=Path, help="where to write")
    kinds = editions.add_mutually_exclusive_group(required=True)
    for kind in ("student", "teacher", "slides"):
        kinds.add_argument(f"--{kind}", dest="kind", action="store_const", const=kind)
    for command in (run, form, editions):
        command.add_argument("paths", nargs="*", type=Path, help="default: all in notebooks/")
    return parser


def work(arguments: Sequence[str]) -> int:
    """Make or complete the learner's copy of the lessons, or put a fresh lesson into it.

    Args:
        arguments: none, or ``--fresh`` and a lesson: its number or its name.

    Returns:
        The exit status.
    """
    from mtl_helpers.teaching import learner_copy

    parser = argparse.ArgumentParser(
        prog="python -m mtl_helpers.teaching.notebooks work",
        description=work.__doc__.split("\n")[0],
    )
    help_text = "put the newest version of this lesson (02, or its name) beside your own"
    parser.add_argument("--fresh", metavar="LESSON", help=help_text)
    options = parser.parse_args(arguments)
    try:
        place, lines = learner_copy.prepare(PROJECT)
        if options.fresh:
            new = learner_copy.fresh(PROJECT / "notebooks", place.copy, options.fresh)
            lines = [f"Put beside your own: {path}" for path in new]
    except learner_copy.CopyError as problem:
        print(problem, file=sys.stderr)
        return 1
    print(*lines, sep="\n")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["lab"]:
        from mtl_helpers.teaching.lab import lab  # it imports this file

        return lab(arguments[1:])
    if arguments[:1] == ["work"]:
        return work(arguments[1:])
    options = _parser().parse_args(arguments)
    folder = Path("notebooks")
    everything = (*sorted(folder.glob("*.ipynb")), *sorted(folder.glob("deeper/*.ipynb")))
    paths = options.paths or list(everything)
    if not paths:
        print("There is no notebook in notebooks/: run this in the project's folder, or name one.")
        return 2
    failures: list[NotebookError] = []
    if options.command == "execute" and options.check:
        failures = check(paths, timeout=options.timeout, jobs=options.jobs)
    elif options.command == "execute":
        limits = {"timeout": options.timeout, "jobs": options.jobs}
        failures = execute(paths, fresh=options.fresh, **limits)
    else:
        for path in paths:
            try:
                _filter(path, options)
            except NotebookError as error:
                failures.append(error)
    for failure in failures:
        print(failure, file=sys.stderr)
    print(f"{len(paths) - len(failures)} of {len(paths)} notebooks are fine")
    return 1 if failures else 0


def _filter(path: Path, options: argparse.Namespace) -> None:
    """One file of the commands that run nothing."""
    nb = read(path)
    if options.command == "editions":
        target = options.folder / path.name
        if target.resolve() == path.resolve():
            raise NotebookError(f"{path}: an edition must not replace its source")
        write_whole(target, to_text(edition(nb, options.kind)))
    elif options.check:
        if path.read_text(encoding="utf-8") != to_text(canonical(nb)):
            raise NotebookError(f"{path}: not in canonical form; fix it with `canonical {path}`")
    else:
        write_whole(path, to_text(canonical(nb)))


if __name__ == "__main__":
    sys.exit(main())
