"""Keep what long experiments found, with where it came from.

``record`` writes the rows of a sweep that is too long to run live to ``data/results/<name>.json``;
``load`` reads them back and says whether the code that made them has changed since. After a move or
a clean-up that changes no row, ``python -m mtl_helpers.teaching.recorded restamp NAME`` proves that
and writes the new names and hash (its ``__main__.py``).
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import json
import operator
import os
import platform
import re
import subprocess
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mtl_helpers.files import results_folder, write_json


@dataclass(frozen=True)
class Recorded:
    """What a long experiment found, and where it was found.

    Attributes:
        name: the experiment; also the name of its file.
        question: what it answers.
        configuration: the settings of the sweep.
        seeds: the seeds of every setting.
        rows: one dictionary a setting (and seed), all values plain; empty when not measured.
        revision: the commit it ran on (the parent of the one that holds the file), or "unknown".
        dirty: whether the package had changes that no commit held.
        code: the modules and functions that made the rows, as "module" or "module:function".
        code_hash: a hash of their source; comments, docstrings and layout do not count.
        machine: processor, cores, and GPU (None without one).
        versions: of Python, PyTorch and NumPy.
        date: the day it ended, in UTC.
        restamped_from: the ``code`` and ``code_hash`` it had before each restamp, oldest first.
    """

    name: str
    question: str
    configuration: dict[str, Any]
    seeds: list[int]
    rows: list[dict[str, Any]]
    revision: str
    dirty: bool
    code: list[str]
    code_hash: str
    machine: dict[str, Any]
    versions: dict[str, str]
    date: str
    restamped_from: list[dict[str, Any]] = field(default_factory=list)

    @property
    def measured(self) -> bool:
        """Whether there are rows: a result that nobody has measured has none."""
        return bool(self.rows)

    @property
    def changed(self) -> bool:
        """Whether the code that made the rows is another one now, or is gone."""
        try:
            return self.measured and code_hash(map(find_code, self.code)) != self.code_hash
        except (ImportError, AttributeError):
            return True


Code = ModuleType | Callable[..., Any]


def record(
    name: str,
    *,
    question: str = "",
    configuration: Mapping[str, Any],
    seeds: Sequence[int],
    rows: Sequence[Mapping[str, Any]],
    code: Sequence[Code],
    origin: Mapping[str, Any] | None = None,
) -> Path:
    """Write what an experiment found to ``data/results/<name>.json``, whole or not at all.

    Args:
        name: lower-case letters, digits and underscores.
        question: what the experiment answers.
        configuration: the settings of the sweep.
        seeds: the seeds of every setting.
        rows: one dictionary a setting (and seed). Tensors and arrays become lists. Leave out what
            was not measured; nan and infinity are refused.
        code: the modules and functions that made the rows.
        origin: what ``origin_of(code)`` gave before a long run, in which files may be edited.

    Returns:
        The path of the file.

    Raises:
        ValueError: a name that is no file name, no rows, no code, or a number that is not finite.
        OSError: the file cannot be written; the old one is untouched.
    """
    if not rows or not code:
        raise ValueError(f"result {name!r} needs rows and the code that made them")
    found = Recorded(
        name=name,
        question=question,
        configuration=_plain(configuration),
        seeds=_plain(seeds),
        rows=_plain(rows),
        **(origin or origin_of(code)),
        machine=_machine(),
        versions={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        date=datetime.now(UTC).date().isoformat(),
    )
    return write(found)


def write(found: Recorded) -> Path:
    """Write a result with a checksum over all of it, whole or not at all; give the path."""
    content = asdict(found)
    return write_json(_path(found.name), {**content, "checksum": checksum(content)})


def checksum(content: Mapping[str, Any]) -> str:
    """Give a SHA-256 of a result's content: numbers that somebody edits, or a disk, show."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def origin_of(code: Sequence[Code]) -> dict[str, Any]:
    """Say which code is about to run: revision, dirty, code and code_hash of ``Recorded``."""
    revision, dirty = _revision()
    names = [name_of(item) for item in code]
    return {"revision": revision, "dirty": dirty, "code": names, "code_hash": code_hash(code)}


def load(name: str, *, missing_ok: bool = False) -> Recorded:
    """Read a recorded result.

    Args:
        name: the experiment.
        missing_ok: give a result without rows (``.measured`` is False) when there is no file.

    Raises:
        FileNotFoundError: nobody has measured it.
        ValueError: the file is cut off, from elsewhere, or edited.
    """
    path = _path(name)
    if not path.exists():
        if missing_ok:
            return Recorded(name, "", {}, [], [], "unknown", False, [], "", {}, {}, "")
        raise FileNotFoundError(
            f"{name!r} is not measured: there is no {path.name} in data/results. "
            f"Run make results, or: python -m mtl_helpers.teaching.studies {name}"
        )
    kinds = {part.name: _KINDS[str(part.type).split("[")[0]] for part in fields(Recorded)}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        said = found.pop("checksum", None)
        whole = checksum(found) == said
        for part in fields(Recorded):
            if part.default_factory is not MISSING:
                found.setdefault(part.name, part.default_factory())
        wrong = [key for key, kind in kinds.items() if not isinstance(found.get(key), kind)]
        wrong += [key for key in found if key not in kinds]
        if not wrong and (found["name"] != name or not found["rows"]):
            wrong = ["name or rows"]
        if not wrong and not all(isinstance(row, dict) for row in found["rows"]):
            wrong = ["rows"]
        if not wrong and not whole:
            wrong = ["checksum (some byte of the file changed)"]
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(f"{path.name} is not a recorded result ({error}); {_MEND}") from error
    if wrong:
        raise ValueError(
            f"{path.name} is not a recorded result: missing, unknown or of the wrong kind: "
            f"{', '.join(wrong)}; {_MEND}"
        )
    return Recorded(**found)


_KINDS = {"str": str, "dict": dict, "list": list, "bool": bool}
_MEND = "restore it from version control or run make results"


def code_hash(code: Iterable[Code]) -> str:
    """Give a SHA-256 of source code that comments, docstrings and layout do not change."""
    return source_hash(map(inspect.getsource, code))


def source_hash(texts: Iterable[str]) -> str:
    """Give the same hash as ``code_hash``, from the texts of the modules and functions."""
    trees = (ast.parse(textwrap.dedent(text)) for text in texts)
    return hashlib.sha256("\n".join(map(essence, trees)).encode()).hexdigest()


def essence(node: Any, without: tuple[type[ast.AST], ...] = ()) -> str:
    """Write a syntax tree as text without docstrings, the same in all versions of Python.

    Args:
        node: the tree.
        without: kinds of statements to leave out, such as ``(ast.Import, ast.ImportFrom)``.
    """
    if isinstance(node, list):
        kept = (item for item in node if not isinstance(item, without))
        return f"[{', '.join(essence(item, without) for item in kept)}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = dict(ast.iter_fields(node))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
        parts["body"] = parts["body"][1:]
    kept = (
        f"{key}={essence(value, without)}"
        for key, value in parts.items()
        if value not in (None, [])
    )
    return f"{type(node).__name__}({', '.join(kept)})"


def name_of(item: Code) -> str:
    """Give the name of a module or function as ``Recorded.code`` holds it."""
    if isinstance(item, ModuleType):
        return item.__name__
    return f"{item.__module__}:{item.__qualname__}"


def find_code(name: str) -> Code:
    """Import what a name of ``Recorded.code`` says: "module" or "module:function".

    Raises:
        ImportError: there is no such module.
        AttributeError: there is no such function in it.
    """
    module, _, path = name.partition(":")
    found = importlib.import_module(module)
    return operator.attrgetter(path)(found) if path else found


def _path(name: str) -> Path:
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ValueError(
            f"a result is named with lower-case letters, digits and underscores; found {name!r}"
        )
    return results_folder() / f"{name}.json"


def _plain(value: Any) -> Any:
    """Turn tensors, arrays and tuples into what JSON knows; leave the rest as it is."""
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain(item) for item in value]
    return value


def _revision() -> tuple[str, bool]:
    """Give the commit the package stands at, and whether its files differ from that commit."""
    package = Path(__file__).parents[2]

    def git(*words: str) -> str:
        command = ["git", "-C", str(package), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # a checkout of this very project
        return git("rev-parse", "--verify", "HEAD"), bool(git("status", "--porcelain", "--", "."))
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True


def _machine() -> dict[str, Any]:
    """Describe the machine by what makes numbers and times differ; never by its name."""
    try:
        models = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        models = []
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
