"""The proof of a lesson's exercises, for any lesson.

The lesson's ``setup`` and ``basis`` cells are run once, in order. For each attempt their names are
put back, some code takes the place of the stub, and the check cell answers. So an exercise can rest
on cells with these tags (folded machinery, and code that the learner sees), never on another
exercise.

The wrong answers of lesson 00 stand in ``tests/lessons/lesson_00/slips.py``::

    SLIPS = {"00.1": [("def joint_loss(losses):\\n    return losses.mean()", "you averaged"), …]}

each with code for the stub's place and a part of what it must be told.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import os
import random
import runpy
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hygiene
import matplotlib
import numpy
import torch

from mtl_helpers.teaching.exercises import Verdict

Slips = dict[str, list[tuple[str, str]]]


class Scene:
    """The names a lesson's ``setup`` and ``basis`` cells leave behind, as new for each attempt.

    Args:
        nb: the lesson.
        folder: where its cells run.
    """

    def __init__(self, nb: hygiene.Notebook, folder: Path) -> None:
        self.folder = folder
        self.setup = [
            hygiene.source(cell)
            for _, cell in hygiene.cells(nb, "code")
            if hygiene.tags(cell) & {"setup", "basis"}
        ]
        self.names: dict[str, Any] = {}
        self._run_setup()
        self.kept = self._copy(self.names)

    def attempt(self, code: str, check: str) -> Verdict:
        """Run some code in the stub's place, then the check cell; give its last value."""
        if self.kept is None:
            self._run_setup()
        else:
            self.names.clear()
            self.names.update(self._copy(self.kept) or {}, __name__="__main__")
        with _quietly(self.folder):
            exec(_compiled(hygiene.tree(code)), self.names)
            body = hygiene.tree(check).body
            if not body or not isinstance(body[-1], ast.Expr):
                raise AssertionError("the check cell must end with the call of the check")
            exec(_compiled(ast.Module(body[:-1], [])), self.names)
            verdict = eval(_compiled(ast.Expression(body[-1].value), "eval"), self.names)
        if not isinstance(verdict, Verdict):
            raise AssertionError(f"the check cell gives a {type(verdict).__name__}, not a Verdict")
        return verdict

    def _run_setup(self) -> None:
        self.names.clear()
        self.names["__name__"] = "__main__"
        with _quietly(self.folder):
            for text in self.setup:
                exec(_compiled(hygiene.tree(text)), self.names)

    @staticmethod
    def _copy(names: dict[str, Any]) -> dict[str, Any] | None:
        """Copy the names and what they hold; ``None`` when something cannot be copied."""
        modules = {id(module): module for module in sys.modules.values()}
        try:
            with torch.random.fork_rng(devices=[]):
                return copy.deepcopy({k: v for k, v in names.items() if k[:2] != "__"}, modules)
        except Exception:
            return None


def _compiled(parsed: ast.AST, mode: str = "exec") -> Any:
    return compile(parsed, "<cell>", mode, dont_inherit=True)  # without this file's __future__


@contextlib.contextmanager
def _quietly(folder: Path) -> Iterator[None]:
    """In the lesson's folder, with seeded chance, no window, and nothing printed."""
    before = Path.cwd()
    matplotlib.use("Agg")
    random.seed(0)
    numpy.random.seed(0)
    torch.manual_seed(0)
    os.chdir(folder)
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        os.chdir(before)


def prove(nb: hygiene.Notebook, number: str, scene: Scene, slips: Slips) -> list[str]:
    """Try an exercise as learners do.

    Args:
        nb: the lesson.
        number: the exercise, "00.1".
        scene: the lesson's setup.
        slips: the wrong answers of the lesson.

    Returns:
        What is not as it should be: an empty list is the proof.
    """
    parts = {part: hygiene.source(c) for _, part, c in hygiene.exercise_cells(nb).get(number, [])}
    blocks = hygiene.python_blocks(parts.get("solution", ""))
    if not {"stub", "check"} <= set(parts) or len(blocks) != 1:
        return [f"{number}: expected a stub, a check and one ```python block in the solution"]
    planted = slips.get(number, [])
    problems = []
    if len(planted) < 2:
        problems.append(f"{number}: {len(planted)} planted slips, at least 2 expected")

    def answer(who: str, code: str, status: str) -> str:
        try:
            with warnings.catch_warnings():
                if status == "wrong":  # a slip may well be warned of; a solution must not be
                    warnings.simplefilter("ignore")
                verdict = scene.attempt(code, parts["check"])
        except Exception as error:
            problems.append(f"{number}: {who} raises {type(error).__name__}: {error}")
            return ""
        if verdict.exercise != number:
            problems.append(f"{number}: its check cell answers for exercise {verdict.exercise}")
        if verdict.status != status:
            problems.append(f"{number}: {who} is answered {verdict!r}, expected {status}")
        return verdict.message

    answer("the untouched stub", parts["stub"], "not attempted")
    answer("the solution", blocks[0], "right")
    messages = []
    for k, (code, part) in enumerate(planted, 1):
        message = answer(f"slip {k}", code, "wrong")
        if not part.strip() or part not in message:
            problems.append(f"{number}: slip {k} is told {message!r}, expected {part!r} in it")
        messages.append(message)
    if len(set(messages)) < len(messages):
        problems.append(f"{number}: two slips are told the same: {messages}")
    return problems


def numbers(nb: hygiene.Notebook) -> list[str]:
    """The numbers of a lesson's exercises, from its headings and its tagged cells."""
    return list(hygiene.exercise_cells(nb))


def slips_of(folder: Path, lesson: str) -> Slips:
    """Read the wrong answers of a lesson; none when there is no such file."""
    path = folder / f"lesson_{lesson}" / "slips.py"
    return runpy.run_path(str(path))["SLIPS"] if path.exists() else {}
