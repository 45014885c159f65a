"""How much room the claims of a notebook have, on machines that differ in the last digits.

    python -m mtl_helpers.teaching.margins [NOTEBOOK ...] [--runs 20] [--write]

Each run shakes what torch draws (see :mod:`mtl_helpers.teaching.jitter`) in a process of its own.
The first three runs run everything. The others run only what the claims that vary need, provided
that this gives the first run's slacks to the last bit.

Every comparison in an ``assert`` is replaced by one that also notes its *slack*: by how much the
larger side is the larger one; negative where the claim fails. All parts of ``and`` and ``all``
count; ``or`` and ``any`` have the slack of their strongest part.

A comparison's *room* is its smallest slack divided by the slack's reach, which is how far the worst
run lies below the median run (at least a quarter of the range). A room of 1 means that another run
as much worse than the worst one would still be right. The comparison *varies* if its room is below
a thousand: then it speaks of live training, or compares a rounding error with a tolerance.

With ``--write`` each cell tagged ``proof`` keeps what was found in its metadata: the runs, a hash
of the code that was run, and the slack and the room of its tightest comparison (which are left
out, after three runs, where nothing varies).

    "mtl": {"jitter": {"runs": 20, "worst": 0.031, "room": 1.4, "code": "5f2c…"}}

What ``assert_close`` and its like compare is not measured: they have tolerances of their own.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import math
import multiprocessing
import operator
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import numpy as np

OPERATORS: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
}
BY_SIGN = dict(OPERATORS.values())
TAGS = ("proof",)
#: Less room than this would fail on some machine: the claim must say less, or the experiment grow.
ENOUGH = 1.0
#: A claim with more room than this does not vary at all, for every purpose.
STEADY = 1000.0
RUNS = 20
#: So many runs run everything.
WHOLE = 3
MANY = 1000


@dataclass
class Slack:
    """The result of a test, and the slack of each of its parts, which must all be positive."""

    holds: Any
    values: np.ndarray

    def __bool__(self) -> bool:
        return bool(self.holds)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.holds, name)

    def all(self, *args: Any) -> Any:
        """As that of a tensor of booleans; along one axis the slack is lost."""
        return self.holds.all(*args) if args else Slack(self.holds.all(), self.values)

    def any(self, *args: Any) -> Any:
        """As that of a tensor of booleans; along one axis the slack is lost."""
        most = np.atleast_1d(self.values.max(initial=-math.inf))
        return self.holds.any(*args) if args else Slack(self.holds.any(), most)


def _numbers(side: Any) -> np.ndarray | None:
    """A side of a comparison as real numbers; None where it is something else."""
    try:
        side = side.detach().cpu().numpy() if hasattr(side, "detach") else np.asarray(side)
        return side.astype(float) if side.dtype.kind in "biuf" else None
    except (TypeError, ValueError, RuntimeError):
        return None


def compare(sign: str, left: Any, right: Any) -> Slack:
    """One comparison and its slack.

    An equality either holds or not, so its slack is infinite, or minus infinite.
    """
    holds = BY_SIGN[sign](left, right)
    a, b = _numbers(left), _numbers(right)
    if a is None or b is None or sign in ("==", "!="):
        truth = _numbers(holds)
        truth = np.asarray(bool(holds)) if truth is None else truth
        return Slack(holds, np.where(truth.ravel() != 0, math.inf, -math.inf))
    return Slack(holds, np.ravel(b - a if sign.startswith("<") else a - b))


def compare_chain(signs: Sequence[str], sides: Sequence[Any]) -> Slack:
    """``a < b < c``: all of its links."""
    links = [compare(s, a, b) for s, a, b in zip(signs, sides, sides[1:], strict=False)]
    return links[0] if len(links) == 1 else conjunction(links)


def slack_of(thing: Any) -> np.ndarray:
    """The slack of any test: what is no comparison holds or fails altogether."""
    if isinstance(thing, Slack):
        return thing.values
    return np.atleast_1d(math.inf if bool(thing) else -math.inf)


def conjunction(parts: Iterable[Any]) -> Slack:
    """``all`` and ``and``: every part counts."""
    parts = list(parts)
    values = np.concatenate([slack_of(part) for part in parts] or [np.empty(0)])
    return Slack(all(map(bool, parts)), values)


def disjunction(parts: Iterable[Any]) -> Slack:
    """``any`` and ``or``: the strongest part counts."""
    parts = list(parts)
    most = max((slack_of(part).min(initial=math.inf) for part in parts), default=-math.inf)
    return Slack(any(map(bool, parts)), np.atleast_1d(most))


def negation(part: Any) -> Slack:
    """``not``."""
    return Slack(not part, np.atleast_1d(-slack_of(part).min(initial=math.inf)))


class Measured(ast.NodeTransformer):
    """Let each ``assert`` of a cell note its slack in ``__margins__`` instead of stopping."""

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        """Replace one ``assert``."""
        text = ast.unparse(node.test)
        arguments = [ast.Constant(node.lineno), ast.Constant(text), self.test(node.test)]
        return ast.copy_location(ast.Expr(_call("note", arguments)), node)

    def test(self, node: ast.expr) -> ast.expr:
        """The same test, with a slack, where it is built from comparisons."""
        match node:
            case ast.Compare() if all(type(op) in OPERATORS for op in node.ops):
                signs = [ast.Constant(OPERATORS[type(op)][0]) for op in node.ops]
                sides = ast.List([node.left, *node.comparators], ast.Load())
                return _call("compare_chain", [ast.List(signs, ast.Load()), sides])
            case ast.BoolOp():
                # Lazily, one after the other: what follows an ``and`` may need what comes first.
                name = "conjunction" if isinstance(node.op, ast.And) else "disjunction"
                parts = [ast.Lambda(_no_arguments(), self.test(value)) for value in node.values]
                return _call(f"lazy_{name}", [ast.List(parts, ast.Load())])
            case ast.UnaryOp(op=ast.Not()):
                return _call("negation", [self.test(node.operand)])
            case ast.Call(func=ast.Name(id="all" | "any" as name), args=[inside]):
                if isinstance(inside, ast.GeneratorExp | ast.ListComp):
                    inside.elt = self.test(inside.elt)
                    return _call("conjunction" if name == "all" else "disjunction", [inside])
            case ast.Call(func=ast.Attribute(attr="all" | "any") as method):
                method.value = self.test(method.value)
        return node


def _no_arguments() -> ast.arguments:
    return ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])


def _call(name: str, arguments: list[ast.expr]) -> ast.Call:
    owner = ast.Attribute(ast.Name("__margins__", ast.Load()), name, ast.Load())
    return ast.Call(owner, arguments, [])


class Recorder:
    """What a kernel knows as ``__margins__``."""

    compare_chain = staticmethod(compare_chain)
    conjunction = staticmethod(conjunction)
    disjunction = staticmethod(disjunction)
    negation = staticmethod(negation)

    def __init__(self) -> None:
        self.cell = 0
        self.notes: list[tuple[int, int, str, list[float]]] = []

    def lazy_conjunction(self, parts: Sequence[Callable[[], Any]]) -> Slack:
        """``and``: stops at the first part that fails."""
        found: list[Any] = []
        for part in parts:
            found.append(part())
            if not found[-1]:
                break
        return conjunction(found)

    def lazy_disjunction(self, parts: Sequence[Callable[[], Any]]) -> Slack:
        """``or``: stops at the first part that holds."""
        found: list[Any] = []
        for part in parts:
            found.append(part())
            if found[-1]:
                break
        return disjunction(found)

    def note(self, line: int, text: str, test: Any) -> None:
        """Note the slack of an assert of the present cell; of very many parts the smallest."""
        values = np.nan_to_num(slack_of(test), nan=-math.inf, posinf=math.inf, neginf=-math.inf)
        values = 0.0 + (values if values.size <= MANY else np.atleast_1d(values.min()))
        if not bool(test) and (values >= 0).all():  # a tie, or no comparison
            values = np.atleast_1d(-math.inf)
        self.notes.append((self.cell, line, text, values.tolist()))


# --- Running --------------------------------------------------------------------------------------


def run_once(
    path: Path,
    folder: Path,
    phase: float,
    cells: set[int] | None = None,
    relative: float = 1e-12,
) -> dict[str, Any]:
    """Run the code cells of a notebook in this very process, shaken; pictures are not rendered.

    Call it in a process of its own: it shakes torch and changes the folder for good.

    Args:
        path: the notebook; its file is only read.
        folder: an empty one, for what the jitter needs.
        phase: the machine that the jitter stands for.
        cells: which code cells, counted from 0; all by default.
        relative: see :func:`mtl_helpers.teaching.jitter.shake_draws`.

    Returns:
        ``notes``: a list of (code cell counted from 0, line, text of the assert, slack);
        ``errors``: a list of (code cell, what went wrong).
    """
    import matplotlib

    matplotlib.use("agg")
    from IPython.core.interactiveshell import InteractiveShell
    from matplotlib.figure import Figure

    from mtl_helpers.teaching import figures
    from mtl_helpers.teaching.jitter import environment, shake_draws

    if relative:
        os.environ.update(environment(folder, relative, phase))  # for the processes it starts
        shake_draws(relative, phase)
    Figure.savefig, figures.png = _tiny_picture, _tiny_png
    os.chdir(path.resolve().parent)
    sys.path.insert(0, "")
    shell = InteractiveShell.instance()
    recorder = Recorder()
    shell.user_ns["__margins__"] = recorder
    shell.ast_transformers.append(Measured())
    errors = []
    notebook = nbformat.read(path.name, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code):
        if cells is not None and number not in cells:
            continue
        recorder.cell = number
        result = shell.run_cell(cell.source, store_history=False, silent=False)
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            errors.append((number, f"{type(error).__name__}: {error}"[:300]))
    return {"notes": recorder.notes, "errors": errors}


#: A PNG of one pixel, for what only needs to be saved.
_PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6364f8cf500f0003860180016a3725a60000000049454e44ae426082"
)


def _tiny_picture(figure: Any, target: Any, *args: Any, **named: Any) -> None:
    if hasattr(target, "write"):
        target.write(_PIXEL)
    else:
        Path(target).write_bytes(_PIXEL)


def _tiny_png(figure: Any) -> bytes:
    import matplotlib.pyplot as plt

    plt.close(figure)
    return _PIXEL


def in_a_child(path: Path, phase: float, cells: set[int] | None = None) -> dict[str, Any]:
    """:func:`run_once` in a process of its own; where the system can, torch is imported but once.

    Raises:
        RuntimeError: the child died; the message ends with what it said.
    """
    way = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(way)
    context.set_forkserver_preload(["torch", "matplotlib", "IPython", "nbformat"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        child = context.Process(target=_run_into, args=(folder, path, phase, cells))
        child.start()
        child.join()
        found = folder / "found.json"
        if not found.exists():
            said = (folder / "said.txt").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"{path}: a run ended early\n{said[-2000:]}")
        return json.loads(found.read_text(encoding="utf-8"))


def _run_into(folder: Path, path: Path, phase: float, cells: set[int] | None) -> None:
    """Run once; what it finds and what it says goes into files of a folder."""
    import torch

    torch.set_num_threads(1)
    quiet = os.open(folder / "said.txt", os.O_WRONLY | os.O_CREAT)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    notes = json.dumps(run_once(path, folder, phase, cells))
    (folder / "found.json").write_text(notes, encoding="utf-8")


# --- What was found -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """One comparison of an assert, over all runs.

    Attributes:
        cell: its code cell, counted from 0 as nbval does.
        text: the assert's test.
        worst: its smallest slack.
        reach: how far that lies below the median, at least a quarter of the range.
        runs: how many runs came to it.
    """

    cell: int
    text: str
    worst: float
    reach: float
    runs: int

    @property
    def room(self) -> float:
        """The smallest slack over its reach: infinite where nothing moves, negative if it fails."""
        if not self.reach or not math.isfinite(self.worst):
            return math.inf if self.worst >= 0 else -math.inf
        return self.worst / self.reach


def summary(runs: Sequence[dict[str, Any]]) -> list[Comparison]:
    """Put the notes of several runs (see :func:`run_once`) together, comparison by comparison."""
    slacks: dict[tuple[int, int, int, int], list[float]] = {}
    texts = {}
    for run in runs:
        times: dict[tuple[int, int], int] = {}
        for cell, line, text, values in run["notes"]:
            turn = times[cell, line] = times.get((cell, line), -1) + 1
            for part, value in enumerate(values):
                slacks.setdefault((cell, line, turn, part), []).append(value)
                texts[cell, line] = text
    found = []
    for (cell, line, _, _), values in slacks.items():
        finite = [value for value in values if math.isfinite(value)]
        reach = 0.0
        if finite:
            low, middle, high = np.quantile(finite, [0, 0.5, 1])
            reach = float(max(middle - low, (high - low) / 4))
        found.append(Comparison(cell, texts[cell, line], min(values), reach, len(values)))
    return found


def tightest(found: Iterable[Comparison]) -> dict[int, Comparison]:
    """The comparison with the least room, for each code cell."""
    least: dict[int, Comparison] = {}
    for one in found:
        if one.cell not in least or one.room < least[one.cell].room:
            least[one.cell] = one
    return least


def recipe(sources: Sequence[str], number: int) -> str:
    """A short hash of a code cell and of the earlier ones that made what it uses.

    Args:
        sources: the code cells.
        number: which of them, counted from 0.

    Returns:
        Eight hexadecimal digits: another experiment has others, a comment or a line break not.
    """
    needed: set[str] = set()
    digest = hashlib.sha256()
    for k in range(number, -1, -1):
        tree = _tree(sources[k])
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        made = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        made |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        if k == number or made & needed:
            needed |= {node.id for node in names}
            digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:8]


#: Calls that change nothing they are given.
PURE = re.compile(
    r"(?:print|show|display|Explorer|assert_close|abs|all|any|dict|enumerate|float|int|len|list|max"
    r"|min|range|round|set|sorted|str|sum|tuple|zip|mean_interval|paired_interval"
    r"|(?:check|math|np|pictures)\.[\w.]+|torch\.(?!manual_seed)[\w.]+)"
)


def needed(sources: Sequence[str], targets: set[int]) -> set[int]:
    """The code cells that some cells need: a guess, which may be wrong where a call hides a change.

    Args:
        sources: the code cells.
        targets: the cells in question, counted from 0.

    Returns:
        Their numbers, the first cell, and those that define, import or may change what they use.
    """
    names: set[str] = set()
    kept = {0} | targets
    for k in range(len(sources) - 1, -1, -1):
        nodes = list(ast.walk(_tree(sources[k])))
        used = {n.id for n in nodes if isinstance(n, ast.Name)}
        changed: set[str] = set()
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                changed.add(node.name)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                changed |= {a.asname or a.name.split(".")[0] for a in node.names}
            stored = isinstance(getattr(node, "ctx", None), ast.Store)
            called = isinstance(node, ast.Call) and not PURE.fullmatch(ast.unparse(node.func))
            if stored or called:  # of an object its attributes or items
                changed |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        if k in kept or changed & names or "manual_seed(" in sources[k]:
            kept.add(k)
            names |= used
    return {k for k in kept if k <= max(targets, default=0)}


def _tree(source: str) -> ast.Module:
    if source.lstrip().startswith("%%"):
        return ast.parse("")
    lines = ["pass" if line.lstrip()[:1] in ("%", "!") else line for line in source.split("\n")]
    return ast.parse("\n".join(lines))


def compares(source: str) -> bool:
    """Whether an assert of a cell says that something is larger than something else."""
    signs = ast.Lt | ast.LtE | ast.Gt | ast.GtE
    return any(
        isinstance(node, ast.Compare) and any(isinstance(op, signs) for op in node.ops)
        for statement in ast.walk(_tree(source))
        if isinstance(statement, ast.Assert)
        for node in ast.walk(statement.test)
    )


def write(nb: dict[str, Any], found: Iterable[Comparison]) -> None:
    """Write what was measured into the cells that make claims, in place; drop what is no longer."""
    least = tightest(found)
    code = [cell for cell in nb["cells"] if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in code]
    for number, cell in enumerate(code):
        own = cell["metadata"].get("mtl", {})
        own.pop("jitter", None)
        if set(TAGS) & set(cell["metadata"].get("tags", [])) and compares(sources[number]):
            one = least.get(number)
            entry: dict[str, Any] = {"runs": one.runs if one else 0}
            entry["code"] = recipe(sources, number)
            if one is not None and one.room < STEADY:
                entry |= {"worst": _short(one.worst), "room": _short(one.room)}
            own["jitter"] = entry
            cell["metadata"]["mtl"] = own


def _short(number: float) -> float:
    return float(f"{number:.2g}") if math.isfinite(number) else math.copysign(1e9, number)


def measure(path: Path, count: int) -> list[dict[str, Any]]:
    """Run a notebook ``count`` times; after the third time only what the claims that vary need.

    Args:
        path: the notebook; its file is only read.
        count: how many runs, each with a phase of its own: 1, 2, …

    Returns:
        What :func:`run_once` gives, for each run.
    """
    runs = [in_a_child(path, phase) for phase in range(1, min(count, WHOLE) + 1)]
    varying = {n for n, one in tightest(summary(runs)).items() if one.room < STEADY}
    if count <= WHOLE or not varying:
        return runs
    code = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    cells: set[int] | None = needed(code, varying)
    again = in_a_child(path, 1, cells)
    if [n for n in again["notes"] if n[0] in varying] != [
        n for n in runs[0]["notes"] if n[0] in varying
    ]:
        cells = None
    return runs + [in_a_child(path, phase, cells) for phase in range(WHOLE + 1, count + 1)]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    from mtl_helpers.files import write_whole
    from mtl_helpers.teaching.changed import notebooks
    from mtl_helpers.teaching.notebooks import canonical, read, to_text

    parser = argparse.ArgumentParser(prog="python -m mtl_helpers.teaching.margins")
    parser.add_argument("paths", nargs="*", type=Path, help="default: all in notebooks/")
    parser.add_argument("--runs", type=int, default=RUNS, help="how many machines to stand in for")
    parser.add_argument("--write", action="store_true", help="store what is found in the cells")
    options = parser.parse_args(arguments)
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"
    bad = 0
    for path in options.paths or notebooks():
        runs = measure(path, options.runs)
        found = summary(runs)
        errors = {number: text for run in runs for number, text in run["errors"]}
        for number, text in sorted(errors.items()):
            print(f"{path.name}: code cell {number}: {text}")
        varying = 0
        for number, one in sorted(tightest(found).items()):
            varying += one.room < STEADY
            if one.room < ENOUGH:
                print(
                    f"{path.name}: code cell {number}: worst slack {one.worst:.3g}, "
                    f"reach {one.reach:.3g}: assert {one.text[:100]}"
                )
                bad += 1
        bad += len(errors)
        print(f"{path.name}: {len(runs)} runs, {varying} cells vary", flush=True)
        if options.write:
            nb = read(path)
            write(nb, found)
            write_whole(path, to_text(canonical(nb)))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
