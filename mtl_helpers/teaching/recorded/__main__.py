"""Give a recorded result the names and the hash of code that was moved or tidied, once proven.

    python -m mtl_helpers.teaching.recorded restamp NAME [NAME ...]

A moved function has another name and often another hash, though it makes the same rows. A study
with a sample proves that by running the sample: every row must be one of the recorded rows. A
result without one (the case study, whose runs take hours) is restamped only when its code, imports
apart, is what it was at the recorded revision. The old names and hash stay under
``restamped_from``.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from mtl_helpers.files import results_folder
from mtl_helpers.teaching.recorded import (
    Code,
    Recorded,
    code_hash,
    essence,
    find_code,
    load,
    name_of,
    source_hash,
    write,
)
from mtl_helpers.teaching.studies import Study, all_studies, rerun_sample

PACKAGE = Path(__file__).parents[2]
IMPORTS = (ast.Import, ast.ImportFrom)


class RestampError(Exception):
    """The rows may not be those of the present code; the text says why, and what to do."""


def restamp(name: str, studies: Mapping[str, Study] | None = None) -> bool:
    """Write the present names and hash of a result's code into its file, after a proof.

    Args:
        name: the result.
        studies: the studies there are, by name; all of the project when left out.

    Returns:
        True where the file was written, False where the names and the hash were right already.

    Raises:
        FileNotFoundError: nobody has measured it.
        ValueError: its file is damaged.
        RestampError: the sample's rows do not come again, or the code is another.
    """
    found = load(name)
    study = (all_studies() if studies is None else studies).get(name)
    code = [study.run, *study.code] if study else [_moved(old) for old in found.code]
    names = [name_of(item) for item in code]
    if names == found.code and not found.changed:
        return False
    if study:
        differences = rerun_sample(study).differences
        if differences:
            text = "\n  ".join(differences[:5])
            raise RestampError(f"{name}: its sample does not come again:\n  {text}\n{_AGAIN}")
    else:
        _refuse_other_code(found, code)
    before = {"code": found.code, "code_hash": found.code_hash}
    new = replace(
        found,
        code=names,
        code_hash=code_hash(code),
        restamped_from=[*found.restamped_from, before],
    )
    write(new)
    return True


_AGAIN = "The code may make other rows now: measure it again with make results."


def _moved(name: str) -> Code:
    """Find a module or function by its recorded name, or by its file's name where that moved."""
    try:
        return find_code(name)
    except ImportError:
        module, colon, inside = name.partition(":")
    stem = module.rpartition(".")[2]
    places = [path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob(f"{stem}.py")]
    if len(places) != 1:
        raise RestampError(
            f"{name} is gone, and {len(places)} files are called {stem}.py; expected one"
        )
    return find_code(".".join(places[0].with_suffix("").parts) + colon + inside)


def _refuse_other_code(
    found: Recorded, code: Sequence[Code], read: Callable[[str, str], str] | None = None
) -> None:
    """Compare code with what stood at the recorded revision, imports apart.

    Args:
        found: the result.
        code: the present modules and functions, in the order of ``found.code``.
        read: from a revision and a recorded name to the source then; asks git when left out.

    Raises:
        RestampError: it is another, or the old source cannot be had.
    """
    read = read or _source_at
    newest = found.restamped_from[0] if found.restamped_from else asdict(found)
    old = [read(found.revision, name) for name in newest["code"]]
    if source_hash(old) != newest["code_hash"]:
        raise RestampError(
            f"{found.name}: the code at revision {found.revision[:10]} is not the recorded one"
        )
    for name, then, now in zip(newest["code"], old, map(inspect.getsource, code), strict=True):
        if _without_imports(then) != _without_imports(now):
            raise RestampError(f"{found.name}: {name} is not what it was. {_AGAIN}")


def _without_imports(text: str) -> str:
    return essence(ast.parse(textwrap.dedent(text)), IMPORTS)


def _source_at(revision: str, name: str) -> str:
    """Give the source of a module or function as it was at a revision."""
    module, _, inside = name.partition(":")
    path = module.replace(".", "/") + ".py"
    command = ["git", "-C", str(PACKAGE.parent), "show", f"{revision}:{path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RestampError(f"git cannot show {path} at {revision[:10]}: {done.stderr.strip()}")
    node: ast.AST | None = ast.parse(done.stdout)
    for wanted in filter(None, inside.split(".")):
        below = getattr(node, "body", [])
        node = next((n for n in below if getattr(n, "name", "") == wanted), None)
    if node is None:
        raise RestampError(f"there was no {name} at {revision[:10]}")
    return ast.get_source_segment(done.stdout, node) or "" if inside else done.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 0, or 1 where a result could not be restamped."""
    parser = argparse.ArgumentParser(prog="python -m mtl_helpers.teaching.recorded")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("restamp", help="prove that moved code makes the same rows")
    command.add_argument("names", nargs="+", metavar="name", help="recorded results, or: all")
    names = parser.parse_args(arguments).names
    if names == ["all"]:
        names = sorted(path.stem for path in results_folder().glob("*.json"))
    failed = 0
    for name in names:
        try:
            said = "restamped" if restamp(name) else "is up to date"
            print(f"{name} {said}", flush=True)
        except (RestampError, FileNotFoundError, ValueError) as error:
            print(error, file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
