"""What every lesson promises, as rules over its notebook file.

A rule is a small generator: ``rule(nb, folder)`` yields findings, ``(cell number or None, text)``.
``judge(name, nb, folder)`` runs one and returns texts. ``folder`` is where the notebook lies.

Two rules can guess wrong (``WAIVABLE``). A cell is let off by its metadata, with a reason:
``"mtl": {"allow": {"prose_numbers": "the year of the survey, not a result"}}``.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import estimate
import nbformat

from mtl_helpers.teaching import margins

Notebook = dict[str, Any]
Cell = dict[str, Any]
Finding = tuple[int | None, str]
Rule = Callable[[Notebook, Path], Iterator[Finding]]

RULES: dict[str, Rule] = {}
WAIVABLE = ("no_wall_times", "prose_numbers")

# setup: machinery, folded. basis: code that is seen, and that exercises rest on. proof: asserts
# that back a sentence, folded. diagram: its picture shows a network or an idea.
CODE_TAGS = {"stub", "check", "proof", "setup", "basis", "diagram", "nbval-ignore-output"}
PROSE_TAGS = {"exercise", "hint", "solution"}
TAGS = CODE_TAGS | PROSE_TAGS | {"teacher", "star"}
SLIDE_TYPES = {"slide", "subslide", "fragment", "skip", "notes"}
CELL_KEYS = {"exercise", "aims", "reason", "allow", "jitter"}
LABELS = ("**The question.**", "**You will be able to**", "**You need first**", "**Time.**")


STOP = "**A good place to stop.**"
FIRST_DEEPER = (
    11  # exercises 03.1 to 03.10 are the lesson's, 03.11 and up those of notebooks/deeper/
)
EXPLORER_LINES = 4


@dataclass(frozen=True)
class Frame:
    """How large a kind of notebook may be, and what it must hold."""

    name: str
    end: tuple[str, ...]
    minutes: tuple[int, int]  # at least, at most
    exercises: int
    kinds: int = 1  # of exercises
    pictures: int = 0
    diagrams: int = 0
    explorers: int = 0
    stretch: int | None = None  # minutes without an exercise
    words: int | None = 2600
    lines: int | None = 160  # of visible code
    folded: int | None = 120
    longest: int = 25  # lines of a code cell
    stop: bool = False  # a marked stop between two sittings
    predicts: bool = True


_END = ("Key points", "Check yourself", "Decision rule", "What next", "References")
LESSON = Frame("a lesson", _END, (1, 90), exercises=5, pictures=8, diagrams=2, explorers=2,
               stretch=20, stop=True)  # fmt: skip
START = Frame("lesson 00", _END, (1, 45), exercises=3, pictures=4, diagrams=1, explorers=1,
              stretch=20)  # fmt: skip
DEEPER = Frame("a deeper notebook", ("Key points", "What next", "References"), (15, 45),
               exercises=1, predicts=False)  # fmt: skip
# The frame of the first lessons, which carry "frame": "first" in metadata.mtl until they are
# rewritten (the list, which only shrinks, is in test_hygiene.py). Rewriting a lesson drops its
# marker. Rewriting the last one also drops FIRST, every line here, in the tests of the rules and in
# mtl_helpers/teaching/learner_copy.py that mentions the first frame, and the tag "star".
FIRST = Frame("a first lesson", ("Key points", "Check yourself", "What next", "References"),
              (1, 75), exercises=6, kinds=4, explorers=2, words=None, lines=None, folded=None,
              longest=30)  # fmt: skip


def is_deeper(folder: Path) -> bool:
    return folder.name == "deeper"


def frame_of(nb: Notebook, folder: Path) -> Frame:
    if mtl(nb).get("frame") == "first":
        return FIRST
    if is_deeper(folder):
        return DEEPER
    return START if mtl(nb).get("lesson") == "00" else LESSON


def rule(function: Rule) -> Rule:
    RULES[function.__name__] = function
    return function


def judge(name: str, nb: Notebook, folder: Path) -> list[str]:
    """Run one rule; findings in cells that are let off (waivable rules only) are left out."""
    texts = []
    for i, text in RULES[name](nb, folder):
        if i is None:
            texts.append(text)
        elif name not in WAIVABLE or name not in mtl(nb["cells"][i]).get("allow", {}):
            texts.append(f"cell {i}: {text}")
    return texts


# --- Reading a notebook ---------------------------------------------------------------------------


def joined(value: Any) -> str:
    return "".join(value) if isinstance(value, list) else str(value or "")


def source(cell: Cell) -> str:
    return joined(cell["source"])


def mtl(thing: Notebook | Cell) -> dict[str, Any]:
    return thing.get("metadata", {}).get("mtl", {})


def tags(cell: Cell) -> set[str]:
    return set(cell["metadata"].get("tags", []))


def cells(nb: Notebook, kind: str) -> list[tuple[int, Cell]]:
    return [(i, c) for i, c in enumerate(nb["cells"]) if c["cell_type"] == kind]


def tagged(nb: Notebook, tag: str) -> list[tuple[int, Cell]]:
    return [(i, c) for i, c in enumerate(nb["cells"]) if tag in tags(c)]


def output_texts(cell: Cell) -> Iterator[str]:
    for out in cell.get("outputs", []):
        yield joined(out.get("text", ""))
        for mime, data in out.get("data", {}).items():
            if mime.startswith("text/"):
                yield joined(data)


def mimes(cell: Cell) -> list[str]:
    return [mime for out in cell.get("outputs", []) for mime in out.get("data", {})]


def tree(text: str) -> ast.Module:
    """Parse a code cell; lines for IPython alone (``%pip``, ``!ls``, ``Task?``) are skipped."""
    if text.lstrip().startswith("%%"):
        return ast.parse("")
    only_ipython = re.compile(r"^(\s*)(?:[%!].*|[\w.]+\?{1,2})$")
    return ast.parse("\n".join(only_ipython.sub(r"\1pass", line) for line in text.split("\n")))


def trees(nb: Notebook) -> Iterator[tuple[int, ast.Module]]:
    for i, cell in cells(nb, "code"):
        try:
            yield i, tree(source(cell))
        except SyntaxError:
            continue  # the rule names_exist reports it


def python_blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)


def prose(text: str) -> str:
    """Markdown without fenced code; lines stay."""
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def sections(nb: Notebook) -> list[tuple[int, str]]:
    """Cell number and heading of each section (level two)."""
    return [
        (i, heading.strip())
        for i, cell in cells(nb, "markdown")
        for heading in re.findall(r"^## (.+)$", prose(source(cell)), re.M)
    ]


def beginning(nb: Notebook) -> str:
    """The prose before the first section."""
    first = next((i for i, _ in sections(nb)), len(nb["cells"]))
    return "\n\n".join(source(c) for i, c in cells(nb, "markdown") if i < first)


def labelled(text: str, label: str) -> str:
    """What follows a label such as **Time.**, up to the next label of the frame."""
    ends = "|".join(map(re.escape, LABELS))
    found = re.search(rf"{re.escape(label)}(.*?)(?={ends}|\Z)", text, re.S)
    return found.group(1) if found else ""


def folded(cell: Cell) -> bool:
    return estimate.is_folded(cell)


def section_text(nb: Notebook, name: str) -> tuple[int | None, str]:
    """The first cell and the prose of a section by the beginning of its heading."""
    start, text, inside = None, "", False
    for i, cell in cells(nb, "markdown"):
        for line in prose(source(cell)).splitlines():
            if line.startswith("## "):
                inside = line.startswith(f"## {name}")
                start = i if inside else start
            elif inside:
                text += line + "\n"
    return start, text


def follower(nb: Notebook, i: int, kind: str) -> Cell | None:
    return next((c for c in nb["cells"][i + 1 :] if c["cell_type"] == kind), None)


def asserts(parsed: ast.Module) -> list[ast.AST]:
    """Asserts that could fail, and calls of ``assert_close`` and its like."""
    found: list[ast.AST] = [
        n for n in ast.walk(parsed) if isinstance(n, ast.Assert) and not is_vacuous(n.test)
    ]
    calls = [n for n in ast.walk(parsed) if isinstance(n, ast.Call)]
    return found + [n for n in calls if ast.unparse(n.func).split(".")[-1].startswith("assert_")]


def is_vacuous(test: ast.expr) -> bool:
    """Whether a test cannot fail: a constant, a tuple, or a thing compared with itself."""
    if isinstance(test, ast.Tuple):
        return True
    if isinstance(test, ast.Compare) and len(test.comparators) == 1:
        equal = isinstance(test.ops[0], ast.Eq | ast.Is | ast.LtE | ast.GtE)
        if equal and ast.dump(test.left) == ast.dump(test.comparators[0]):
            return True
    return not any(isinstance(n, ast.Name | ast.Call) for n in ast.walk(test))


def asserting(cell: Cell | None) -> bool:
    try:
        return cell is not None and bool(asserts(tree(source(cell))))
    except SyntaxError:
        return False


def code_lines(text: str, comments: bool) -> int:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return len(lines if comments else [line for line in lines if not line.startswith("#")])


# --- The file -------------------------------------------------------------------------------------


@rule
def valid_format(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """Format 4.5, valid, for the ordinary kernel, with the lesson's own metadata."""
    ids = [cell.get("id") for cell in nb["cells"]]
    if twice := sorted({str(i) for i in ids if ids.count(i) > 1}):
        yield None, f"cell ids used twice: {twice}"
        return
    try:
        nbformat.validate(nbformat.from_dict(nb))
    except nbformat.ValidationError as error:
        yield None, f"not a valid notebook: {str(error).splitlines()[0]}"
    if (nb.get("nbformat"), nb.get("nbformat_minor")) != (4, 5):
        yield None, "expected nbformat 4.5, which gives cells stable ids"
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
    if not kernel.items() <= nb["metadata"].get("kernelspec", {}).items():
        yield None, f"expected the kernelspec {kernel}"
    if nb["metadata"].get("language_info") != {"name": "python"}:
        yield None, 'expected language_info {"name": "python"} and nothing more'
    lesson, minutes = mtl(nb).get("lesson"), mtl(nb).get("minutes", {})
    named = isinstance(lesson, str) and re.fullmatch(r"\d\d", lesson)
    if not named or not isinstance(mtl(nb).get("core"), bool):
        yield None, 'metadata.mtl needs "lesson": "NN" and "core": true or false'
    if mtl(nb).get("frame", "first") != "first":
        yield None, 'metadata.mtl.frame is "first" or absent'
    if set(minutes) != {"core", "all"} or not all(isinstance(m, int) for m in minutes.values()):
        yield None, 'metadata.mtl needs "minutes": {"core": …, "all": …}'


@rule
def canonical_form(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """Stored as ``make execute`` would store it."""
    from mtl_helpers.teaching.notebooks import canonical

    wanted = canonical(nb)
    if nbformat.from_dict(nb) != wanted:
        pairs = enumerate(zip(nb["cells"], wanted.cells, strict=True))
        first = next((i for i, (a, b) in pairs if nbformat.from_dict(a) != b), None)
        yield (
            first,
            "not in canonical form: run `python -m mtl_helpers.teaching.notebooks canonical`",
        )


@rule
def run_in_order(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """Run once, top to bottom, from a clean kernel; no empty cells."""
    for i, cell in enumerate(nb["cells"]):
        if not source(cell).strip():
            yield i, "an empty cell"
    for count, (i, cell) in enumerate(cells(nb, "code"), 1):
        if cell.get("execution_count") != count:
            yield i, f"execution count {cell.get('execution_count')}, expected {count}"
            return


@rule
def no_errors(nb: Notebook, folder: Path) -> Iterator[Finding]:
    for i, cell in cells(nb, "code"):
        for out in cell["outputs"]:
            if out["output_type"] == "error":
                yield i, f"a stored error: {out['ename']}"


@rule
def no_stderr(nb: Notebook, folder: Path) -> Iterator[Finding]:
    for i, cell in cells(nb, "code"):
        if any(out.get("name") == "stderr" for out in cell["outputs"]):
            yield i, "stored stderr"


def _refuse(nb: Notebook, pattern: str, what: str, in_source: str = "") -> Iterator[Finding]:
    for i, cell in cells(nb, "code"):
        hits = [re.search(pattern, text) for text in output_texts(cell)]
        hits.append(re.search(in_source, source(cell)) if in_source else None)
        for hit in filter(None, hits):
            yield i, f"{what}: {hit.group(0)[:60]!r}"


@rule
def no_paths(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """No absolute path, neither in outputs nor in code."""
    unix = r"(?<![\w.:/])/(?:home|root|tmp|work|usr|Users|mnt|opt|var)/[\w./-]+"
    path = unix + r"|\b[A-Z]:\\+[\w\\]+"
    return _refuse(nb, path, "an absolute path", path)


@rule
def no_addresses(nb: Notebook, folder: Path) -> Iterator[Finding]:
    return _refuse(nb, r"\b0x[0-9a-fA-F]{6,}", "a memory address")


@rule
def no_wall_times(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """No time of this very run: it differs on every machine. Show recorded ratios."""
    unit = r"(?:ms|µs|us|ns|sec|secs|seconds?)\b"
    seconds = rf"\d\s?{unit}|\d\.\d+\s?s\b|(?<![\d.])\d+ s\b"
    bar = r"\bit/s\b|\bs/it\b|\d\d:\d\d<|Wall time|CPU times"
    return _refuse(nb, f"{bar}|{seconds}", "a wall time", r"(?m)^\s*%%?time(?:it)?\b")


@rule
def no_raw_floats(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """No number with all its digits: the last ones differ between processors."""
    return _refuse(nb, r"\d\.\d{13,}", "a number with 13 or more decimals, round it")


@rule
def no_wide_lines(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """No printed line over 100 characters; lessons in the first frame are let off.

    What an output with a picture or with HTML says as text is not printed, but kept for nbval.
    """
    if mtl(nb).get("frame") == "first":
        return
    for i, cell in cells(nb, "code"):
        for out in cell["outputs"]:
            data = out.get("data", {})
            printed = joined(out.get("text", ""))
            if not any(mime.startswith("image/") or mime == "text/html" for mime in data):
                printed += joined(data.get("text/plain", ""))
            wide = max(map(len, printed.splitlines()), default=0)
            if wide > 100:
                yield i, f"a printed line of {wide} characters, 100 are allowed"


@rule
def no_warnings(nb: Notebook, folder: Path) -> Iterator[Finding]:
    return _refuse(nb, r"\b\w*Warning\b:", "a warning")


@rule
def no_widgets(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """No stored widget view or state; no Output widget, which nbval cannot compare."""
    if "widgets" in nb["metadata"]:
        yield None, "metadata.widgets is stored"
    for i, cell in cells(nb, "code"):
        if any("widget" in mime for mime in mimes(cell)):
            yield i, "a stored widget view or state"
        if re.search(r"\binteract(?:ive|ive_output)?\(|\bwidgets\.Output\b", source(cell)):
            yield i, "interact or an Output widget: use Explorer"


@rule
def finished(nb: Notebook, folder: Path) -> Iterator[Finding]:
    for i, cell in enumerate(nb["cells"]):
        if hit := re.search(r"\b(?:TODO|FIXME|XXX|TBD)\b|[Ll]orem ipsum", source(cell)):
            yield i, f"unfinished: {hit.group(0)}"


# --- The frame ------------------------------------------------------------------------------------


@rule
def frame(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """Title, question, aims, needs, time; at the end what this kind of notebook ends with."""
    kind = frame_of(nb, folder)
    title = re.match(r"# (\d\d) · \S", source(nb["cells"][0]))
    if not title:
        yield 0, "expected the title: '# 00 · Start here'"
    elif title.group(1) != mtl(nb).get("lesson"):
        yield 0, f"the title says {title.group(1)}, metadata.mtl.lesson {mtl(nb).get('lesson')}"
    start = beginning(nb)
    for label in LABELS:
        if label not in start:
            yield None, f"frame: no {label} before the first section"
    if kind is not FIRST:
        if start.count(LABELS[0]) > 1:
            yield None, "frame: more than one question"
        if "mathematic" not in labelled(start, LABELS[2]):
            yield None, f"frame: {LABELS[2]} does not say which mathematics"
    names = [re.sub(r" \(\d+ min\)$", "", heading) for _, heading in sections(nb)]
    if tuple(names[-len(kind.end) :]) != kind.end:
        yield None, f"frame: expected to end with the sections {', '.join(kind.end)}"
        return
    if "Check yourself" in kind.end and "<details" not in section_text(nb, "Check yourself")[1]:
        yield None, "frame: the quiz in Check yourself needs answers in <details>"
    if "Decision rule" in kind.end:
        words = len(section_text(nb, "Decision rule")[1].split())
        if not 5 <= words <= 60:
            yield None, f"frame: the decision rule takes two or three lines, not {words} words"


@rule
def aims(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """Each point of "You will be able to" has an exercise that tests it.

    The heading cell of an exercise names its points: ``"mtl": {"exercise": …, "aims": [1, 3]}``.
    """
    if frame_of(nb, folder) is FIRST:
        return
    points = re.findall(r"^(?:[-*]|\d+\.) ", labelled(beginning(nb), LABELS[1]), re.M)
    wanted = set(range(1, len(points) + 1))
    named = {aim for _, cell in tagged(nb, "exercise") for aim in mtl(cell).get("aims", [])}
    if not points:
        yield None, f"{LABELS[1]} lists nothing"
    if missing := sorted(wanted - named):
        yield None, f"no exercise tests points {missing} of {LABELS[1]}"
    if unknown := sorted(named - wanted):
        yield None, f"exercises name points {unknown} of {LABELS[1]}, which has {len(points)}"


@rule
def hosted_cell(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """One folded cell for Colab and Kaggle right after the title; then the lesson begins."""
    from mtl_helpers.teaching.environment import HOSTED_CELL

    first = next((i for i, _ in cells(nb, "code")), None)
    if first is None or source(nb["cells"][first]) != HOSTED_CELL.rstrip("\n"):
        yield first, "the first code cell is not HOSTED_CELL of mtl_helpers.teaching.environment"
    elif first != 1 or "setup" not in tags(nb["cells"][1]) or not folded(nb["cells"][1]):
        yield first, "the cell for Colab and Kaggle is cell 1, tagged setup and folded"
    for i, cell in cells(nb, "code"):
        if i != first and "hosted.py" in source(cell):
            yield i, "a second cell for Colab and Kaggle"


@rule
def machinery(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """Cells tagged setup or proof are folded, and nothing else is."""
    if frame_of(nb, folder) is FIRST:
        return
    for i, cell in cells(nb, "code"):
        hides = bool(tags(cell) & {"setup", "proof"})
        if hides and not folded(cell):
            yield i, 'tagged setup or proof, and not folded ("jupyter": {"source_hidden": true})'
        elif folded(cell) and not hides:
            yield i, "folded, and tagged neither setup nor proof"


@rule
def size(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """Words, code, pictures and diagrams: see :class:`Frame`."""
    kind, found = frame_of(nb, folder), estimate.of(nb["cells"])
    for what, count, most in (
        ("words of prose", found.words, kind.words),
        ("lines of visible code", found.lines, kind.lines),
        ("lines of folded code", found.folded, kind.folded),
    ):
        if most is not None and count > most:
            yield None, f"{count} {what}, at most {most} are allowed in {kind.name}"
    diagrams = tagged(nb, "diagram")
    for what, count, least in (
        ("pictures", found.pictures, kind.pictures),
        ("diagrams (tag diagram)", len(diagrams), kind.diagrams),
    ):
        if count < least:
            yield None, f"{count} {what}, at least {least} expected in {kind.name}"
    for i, cell in diagrams:
        if not estimate.of_cell(cell).pictures:
            yield i, "tagged diagram, and shows no picture"
    if kind is not FIRST and (tagged(nb, "star") or "★" in "".join(map(source, nb["cells"]))):
        yield None, "★ material belongs in notebooks/deeper/"


@rule
def minutes(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """The minutes fit: what is promised, what the sections add up to, and what estimate.py says."""
    kind, stated = frame_of(nb, folder), mtl(nb).get("minutes", {})
    core, every = stated.get("core", 0), stated.get("all", 0)
    least, most = kind.minutes
    if not least <= core <= most or every < core:
        asked = f"{least} ≤ core ≤ {most} and core ≤ all"
        yield None, f"minutes: expected {asked}, found {stated}"
    if kind is not FIRST:
        guess = round(estimate.of(nb["cells"]).minutes)
        if core != every:
            yield None, f"minutes: nothing is extra, so core and all are the same, found {stated}"
        if not least <= guess <= most:
            yield None, f"minutes: it takes about {guess}, {least} to {most} are allowed"
        if abs(guess - core) > max(5, 0.1 * core):
            yield None, f"minutes: it takes about {guess}, promised are {core}"
    time = labelled(beginning(nb), LABELS[3]).split("\n\n")[0]
    said = {int(n) for n in re.findall(r"\d+", time)}
    if "minutes" not in time or not {core, every} <= said:
        yield None, f"minutes: **Time.** does not say {core} and {every} minutes"
    sums, number = {"core": 0, "star": 0}, 0
    for i, heading in sections(nb):
        given = re.search(r"\((\d+) min\)$", heading)
        star, numbered = heading.startswith("★ "), re.match(r"(\d+) · \S", heading)
        sums["star" if star else "core"] += int(given.group(1)) if given else 0
        if heading.startswith(kind.end):
            continue
        if not given or not (star or numbered):
            yield i, "expected '## 2 · Title (6 min)' or '## ★ Title (6 min)', found " + heading
        elif numbered and int(numbered.group(1)) != (number := number + 1):
            yield i, f"section {numbered.group(1)} where {number} is due"
    total = sums["core"] + sums["star"]
    for name, added, promised in (("core", sums["core"], core), ("all", total, every)):
        if abs(added - promised) > max(2, 0.1 * promised):
            yield None, f"minutes: the {name} sections add up to {added}, promised are {promised}"


@rule
def sittings(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """A marked stop near the middle, before a section; never long without an exercise."""
    kind, so_far = frame_of(nb, folder), 0.0
    total = estimate.of(nb["cells"]).minutes
    stops, stretch, last_section = [], 0.0, kind.end[0]
    for i, cell in enumerate(nb["cells"]):
        text = source(cell)
        if cell["cell_type"] == "markdown" and text.startswith(STOP):
            stops.append((i, so_far / total))
        if cell["cell_type"] == "markdown" and text.startswith(f"## {last_section}"):
            break
        spent = estimate.of_cell(cell).minutes
        so_far += spent
        stretch = 0.0 if "exercise" in tags(cell) else stretch + spent
        if kind.stretch is not None and stretch > kind.stretch:
            yield i, f"more than {kind.stretch} minutes without an exercise"
            stretch = 0.0
    if not kind.stop:
        return
    if len(stops) != 1:
        yield None, f"{len(stops)} cells begin with {STOP}, expected one between two sittings"
    for i, part in stops:
        if not 1 / 3 <= part <= 2 / 3:
            yield i, f"the stop comes after {part:.0%} of the time; expected near the middle"
        if not source(nb["cells"][i + 1]).startswith("## "):
            yield i, "a stop comes right before a section"


@rule
def references(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """Each reference has a DOI or an arXiv id."""
    i, text = section_text(nb, "References")
    items = re.split(r"^\s*(?:[-*]|\d+\.) ", text, flags=re.M)[1:]
    if not items:
        yield i, "References: expected a list"
    doi, arxiv = r"\b10\.\d{4,9}/\S+", r"\barxiv\W{0,3}(?:org/abs/)?"
    wanted = rf"{doi}|{arxiv}\d{{4}}\.\d{{4,5}}\b|{arxiv}[a-z-]+(?:\.[a-z]{{2}})?/\d{{7}}\b"
    for item in items:
        if not re.search(wanted, item, re.IGNORECASE):
            yield i, f"no DOI or arXiv id: {' '.join(item.split())[:70]}"


# --- The rhythm -----------------------------------------------------------------------------------


@rule
def rhythm(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """Code cells: median at most 8 lines of those that are read, and none long."""
    kind = frame_of(nb, folder)
    found = [(i, source(cell)) for i, cell in cells(nb, "code")]
    if kind is FIRST:
        counted = [text for _, text in found]
    else:
        counted = [source(c) for _, c in cells(nb, "code") if estimate.of_cell(c).lines]
    counts = [n for text in counted if (n := code_lines(text, comments=False))]
    if counts and (median := statistics.median(counts)) > 8:
        yield None, f"the median code cell has {median} lines, 8 are allowed"
    for i, text in found:
        if (n := code_lines(text, comments=True)) > kind.longest:
            yield i, f"{n} lines of code, {kind.longest} are allowed"


@rule
def predictions(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """The learner predicts before a cell is run."""
    prompts = [i for i, c in cells(nb, "markdown") if source(c).startswith("**Predict.**")]
    if not prompts and frame_of(nb, folder).predicts:
        yield None, "no cell begins with **Predict.**"
    for i in prompts:
        if i + 1 == len(nb["cells"]) or nb["cells"][i + 1]["cell_type"] != "code":
            yield i, "a prediction without a code cell right after it"


@rule
def figures_described(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """Each picture is followed by words, and says its key numbers as text."""
    for i, cell in cells(nb, "code"):
        pictures = [out for out in cell["outputs"] if "image/png" in out.get("data", {})]
        if not pictures:
            continue
        for out in pictures:
            says = joined(out["data"].get("text/plain", ""))
            if not says.strip() or says.lstrip().startswith("<"):
                yield i, f"a picture whose text is {says[:40]!r}: use show(figure, says=…)"
        rest = nb["cells"][i + 1 :]
        words = next((k for k, c in enumerate(rest) if c["cell_type"] == "markdown"), len(rest))
        between = any("image/png" in mimes(c) for c in rest[:words])
        text = source(rest[words]) if words < len(rest) else ""
        if between or not text.startswith("**What you see.**") or len(text.split()) < 10:
            yield i, "a picture that no '**What you see.** …' cell describes"


@rule
def explorers(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """Enough of them, each short, with a picture and a question."""
    kind = frame_of(nb, folder)
    found = [
        (i, cell)
        for i, cell in cells(nb, "code")
        if any(out.get("metadata", {}).get("explorer") for out in cell["outputs"])
    ]
    if len(found) < kind.explorers:
        yield None, f"{len(found)} explorers, at least {kind.explorers} expected in {kind.name}"
    for i, cell in found:
        if kind is not FIRST and estimate.of_cell(cell).lines > EXPLORER_LINES:
            yield i, f"an explorer takes at most {EXPLORER_LINES} visible lines"
        if "image/png" not in mimes(cell):
            yield i, "an explorer that could not draw its first picture"
        calls = [n for n in ast.walk(tree(source(cell))) if isinstance(n, ast.Call)]
        asked = [k.value for call in calls for k in call.keywords if k.arg == "question"]
        before = nb["cells"][i - 1]
        beside = before["cell_type"] == "markdown" and "?" in source(before)
        if not beside and not any("?" in ast.unparse(value) for value in asked):
            yield i, "an explorer without a question (question='…?')"


# --- Evidence -------------------------------------------------------------------------------------


@rule
def ignored_cells(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """Outputs that nbval ignores: few, with a reason, and followed by an assert."""
    ignored = tagged(nb, "nbval-ignore-output")
    for i, cell in ignored:
        if len(mtl(cell).get("reason", "").split()) < 3:
            yield i, "its output is ignored, and metadata.mtl.reason does not say why"
        if not asserting(follower(nb, i, "code")):
            yield i, "its output is ignored, and the next code cell asserts nothing"
    total = len(cells(nb, "code"))
    if ignored and len(ignored) * 10 >= total:
        yield None, f"{len(ignored)} of {total} code cells are ignored; fewer than 1 in 10 may be"
    for i, cell in cells(nb, "code"):
        other = {t for t in tags(cell) if t.startswith(("nbval", "raises-"))} - TAGS
        if other or re.search(r"#\s*(?:NBVAL_|PYTEST_VALIDATE)", source(cell)):
            yield i, "nbval is told to look away by something else than nbval-ignore-output"


@rule
def proofs(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """Each claim ends in a cell that proves it by an assert; no assert that cannot fail."""
    marked = tagged(nb, "proof")
    if not marked:
        yield None, "no cell is tagged proof"
    for i, cell in marked:
        if not asserting(cell):
            yield i, "tagged proof, and asserts nothing"
    for i, cell in cells(nb, "markdown"):
        after = follower(nb, i, "code")
        if source(cell).startswith("**Claim.**") and (after is None or "proof" not in tags(after)):
            yield i, "**Claim.** without a code cell tagged proof after it"
    for i, parsed in trees(nb):
        for node in ast.walk(parsed):
            if isinstance(node, ast.Assert) and is_vacuous(node.test):
                yield i, f"an assert that cannot fail: {ast.unparse(node)[:60]}"


@rule
def room_to_spare(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """Claims that something is larger hold with room over jittered runs, measured as they stand.

    ``python -m mtl_helpers.teaching.margins --write`` measures and writes it into the cells.
    Lessons in the first frame may lack the measurement; where they have it, it counts.
    """
    code = cells(nb, "code")
    sources = [source(cell) for _, cell in code]
    for number, (i, cell) in enumerate(code):
        found, claims = mtl(cell).get("jitter"), bool(tags(cell) & set(margins.TAGS))
        try:
            due = claims and margins.compares(sources[number])
            made = margins.recipe(sources, number) if due else ""
        except SyntaxError:
            continue  # the rule names_exist reports it
        if found is None:
            if due and mtl(nb).get("frame") != "first":
                yield i, "its margins are not measured: run mtl_helpers.teaching.margins --write"
        elif not due:
            yield i, "has margins and claims nothing that could have them"
        elif found.get("code") != made:
            yield i, "its margins are stale: it, or a cell it builds on, was changed since"
        elif found.get("runs", 0) < (enough := margins.RUNS if "room" in found else margins.WHOLE):
            yield i, f"its margins come from {found.get('runs', 0)} runs, {enough} are needed"
        elif found.get("room", margins.ENOUGH) < margins.ENOUGH:
            yield i, f"room {found['room']} over jittered runs, at least {margins.ENOUGH} is needed"


@rule
def prose_numbers(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """A decimal or a percentage in prose appears (rounded) in an output or in code."""
    everything = [source(c) for _, c in cells(nb, "code")]
    everything += [text for _, c in cells(nb, "code") for text in output_texts(c)]
    digits = re.findall(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?", "\n".join(everything).replace("_", ""))
    known = [float(d) for d in digits]
    noise = r"`[^`]*`|\$[^$]*\$|<[^>]+>|\]\([^)]*\)|https?://\S+|^#.*$|(?i:arxiv:\s?|doi:\s?)\S+"
    names = r"(?i:exercises?|python|(?:py)?torch(?:vision)?|jupyterlab|version|cuda|cc by|section)"
    name = rf"\b{names}[\s≥>=]*\d+(?:\.\d+)+(?:(?:,| and| or| to)\s\d+(?:\.\d+)+)*"
    last, _ = section_text(nb, "References")
    for i, cell in cells(nb, "markdown"):
        if tags(cell) & {"hint", "solution"} or (last is not None and i >= last):
            continue
        text = re.sub(rf"{noise}|{name}", " ", prose(source(cell)), flags=re.M)
        for hit in re.finditer(r"(?<![\w.])(\d+(?:\.(\d+))?)(\s?%|\sper cent)?(?![\w]|\.\d)", text):
            number, decimals, percent = float(hit[1]), len(hit[2] or ""), bool(hit[3])
            if not decimals and not percent:
                continue
            scaled = known + [100 * n for n in known] * percent
            if not any(abs(n - number) <= 0.5000001 * 10**-decimals for n in scaled):
                yield i, f"no cell computes {hit.group(0).strip()!r}"


# --- Exercises ------------------------------------------------------------------------------------

HEADING = re.compile(r"### Exercise (\d\d\.\d+) · (.+) ([●○]{3}) · (\d+) min · (.+)")
PARTS = ("exercise", "stub", "check", "hint", "solution")


def exercise_cells(nb: Notebook) -> dict[str, list[tuple[int, str, Cell]]]:
    """Number -> (position, part, cell) of everything tagged as a part of that exercise."""
    found: dict[str, list[tuple[int, str, Cell]]] = {}
    for i, cell in enumerate(nb["cells"]):
        for part in PARTS:
            if part in tags(cell):
                found.setdefault(mtl(cell).get("exercise", "?"), []).append((i, part, cell))
    return found


@rule
def exercises(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """Enough of them, numbered in order, as their checks describe them."""
    from mtl_helpers.teaching.exercises import exercises_of

    kind, lesson = frame_of(nb, folder), mtl(nb).get("lesson", "?")
    known = exercises_of(lesson)
    headings = [(i, source(c).splitlines()[0]) for i, c in tagged(nb, "exercise")]
    numbers, kinds = [], set()
    for i, heading in headings:
        match = HEADING.fullmatch(heading)
        if not match:
            yield i, "expected '### Exercise 00.1 · Title ●○○ · 3 min · kind', found " + heading
            continue
        numbers.append(match[1])
        kinds.add(match[5])
        if match[1] not in known:
            yield i, f"no check is registered for exercise {match[1]}"
        elif known[match[1]].heading != heading:
            yield i, f"the check says: {known[match[1]].heading}"
    places = [int(number.split(".")[1]) for number in numbers]
    start = places[0] if places and kind is DEEPER else 1
    if numbers != [f"{lesson}.{n}" for n in range(start, start + len(headings))]:
        yield None, f"exercises are numbered {numbers}"
    if kind is DEEPER and start < FIRST_DEEPER:
        yield None, f"exercises of a deeper notebook are numbered from {lesson}.{FIRST_DEEPER}"
    if kind in (LESSON, START) and max(places, default=0) >= FIRST_DEEPER:
        yield None, f"exercises from {lesson}.{FIRST_DEEPER} on belong to deeper notebooks"
    if len(numbers) < kind.exercises or len(kinds) < kind.kinds:
        yield (
            None,
            (
                f"{len(numbers)} exercises of {len(kinds)} kinds, expected {kind.exercises} of "
                f"{kind.kinds} or more"
            ),
        )
    ours = {n for n in known if kind is FIRST or int(n.split(".")[1]) < FIRST_DEEPER}
    if kind is not DEEPER and (missing := ours - set(numbers)):
        yield None, f"checks without an exercise: {sorted(missing)}"


@rule
def exercise_parts(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """Heading, stub, check, two hints (one in the other), solution: once each, in this order."""
    for number, parts in exercise_cells(nb).items():
        start = parts[0][0]
        if tuple(part for _, part, _ in parts) != PARTS:
            yield start, f"exercise {number}: parts {[p for _, p, _ in parts]}, expected {PARTS}"
            continue
        _, _, check, hint, solution = (cell for _, _, cell in parts)
        if not source(parts[0][2]).startswith(f"### Exercise {number} ·"):
            yield start, f"exercise {number}: its heading has another number"
        if not any("not attempted yet" in text for text in output_texts(check)):
            yield parts[2][0], f"exercise {number}: the untouched stub is 'not attempted yet'"
        flow = re.findall(r"</?details|Hint 1|Hint 2", source(hint))
        nested = ["<details", "Hint 1", "<details", "Hint 2", "</details", "</details"]
        if flow != nested:
            yield parts[3][0], f"exercise {number}: expected Hint 2 in the <details> of Hint 1"
        text = source(solution)
        if len(python_blocks(text)) != 1 or text.count("```") != 2:
            yield parts[4][0], f"exercise {number}: expected one ```python block in the solution"
        if re.findall(r"</?details", text) != ["<details", "</details"]:
            yield parts[4][0], f"exercise {number}: expected the solution in one <details>"
        for i, _, cell in parts[3:]:
            if re.search(r"</summary>[ \t]*(?:\n[ \t]*\S|\S)", source(cell)):
                yield i, f"exercise {number}: an empty line is needed after <summary>…</summary>"


@rule
def tag_vocabulary(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """Tags, slide types and metadata keys come from the fixed lists, on cells of the right type."""
    star = False
    for i, cell in enumerate(nb["cells"]):
        found, kind = tags(cell), cell["cell_type"]
        if unknown := found - TAGS:
            yield i, f"unknown tags {sorted(unknown)}; there are {sorted(TAGS)}"
        wrong = found & (PROSE_TAGS if kind == "code" else CODE_TAGS)
        if wrong or kind == "raw":
            yield i, f"a {kind} cell must not be tagged {sorted(wrong)}, or be raw"
        if unknown := set(mtl(cell)) - CELL_KEYS:
            yield i, f"unknown keys {sorted(unknown)} in metadata.mtl"
        if mtl(cell).get("exercise") and not found & set(PARTS):
            yield i, "belongs to an exercise, and no tag says as what"
        slide = cell["metadata"].get("slideshow", {}).get("slide_type")
        if slide not in {None, *SLIDE_TYPES}:
            yield i, f"unknown slide type {slide!r}"
        headings = re.findall(r"^## (.)", prose(source(cell)), re.M) if kind == "markdown" else []
        star = headings[-1] == "★" if headings else star
        if star and "star" not in found:
            yield i, "in a ★ section, and not tagged star"
    if is_deeper(folder):
        return
    if not tagged(nb, "teacher"):
        yield None, "no note for the teacher (tag teacher)"
    slides = [c["metadata"].get("slideshow", {}).get("slide_type") for c in nb["cells"]]
    if slides.count("slide") < 2:
        yield None, "the slide edition has fewer than two slides"


@rule
def allowances(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """A cell is let off only by a rule that can be wrong, with a reason, and when it is needed."""
    for i, cell in enumerate(nb["cells"]):
        for name, reason in mtl(cell).get("allow", {}).items():
            if name not in WAIVABLE:
                yield i, f"the rule {name!r} cannot be waived"
            elif len(str(reason).split()) < 3:
                yield i, f"{name} is waived without a reason"
            elif not any(k == i for k, _ in RULES[name](nb, folder)):
                yield i, f"{name} is waived, and finds nothing here"


# --- What is named exists -------------------------------------------------------------------------


def anchors(nb: Notebook) -> set[str]:
    headings = (
        heading.strip().replace(" ", "-")
        for _, cell in cells(nb, "markdown")
        for heading in re.findall(r"^#{1,6} (.+)$", prose(source(cell)), re.M)
    )
    return set(headings)


@rule
def links(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """Internal links lead somewhere, and every image has an alternative text."""
    inline = r"(!?)\[([^\]]*)\]\(((?:[^()\s]|\([^()\s]*\))+)(?:\s+\"[^\"]*\")?\)"
    for i, cell in cells(nb, "markdown"):
        text = re.sub(r"`[^`\n]*`", "", prose(source(cell)))
        found = [(bool(image), alt, to) for image, alt, to in re.findall(inline, text)]
        for tag in re.findall(r"<(?:a|img)\b[^>]*>", text):
            alt = re.search(r'alt="([^"]*)"', tag)
            for to in re.findall(r'(?:href|src)="([^"]*)"', tag):
                found.append((tag.startswith("<img"), alt[1] if alt else "", to))
        for image, alt, to in found:
            if image and not alt.strip():
                yield i, f"an image without an alternative text: {to}"
            if not re.match(r"https?://|mailto:", to) and (wrong := _dead(to, nb, folder)):
                yield i, f"{wrong}: {to}"


def _dead(target: str, nb: Notebook, folder: Path) -> str:
    path, _, anchor = unquote(target).partition("#")
    if path.startswith("/") or ":" in path:
        return "a link that works on one machine only"
    place = folder / path
    if path and not place.exists():
        return "a link to a file that is not there"
    other = nbformat.read(place, as_version=4) if path.endswith(".ipynb") else nb
    inside = anchor and (not path or path.endswith(".ipynb"))
    return (
        "a link to a heading that is not there" if inside and anchor not in anchors(other) else ""
    )


@rule
def deeper_linked(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """A lesson links each of its deeper notebooks, and they link back to it."""
    text = "\n".join(source(cell) for _, cell in cells(nb, "markdown"))
    lesson = mtl(nb).get("lesson")
    if is_deeper(folder):
        wanted = [f"../{path.name}" for path in folder.parent.glob(f"{lesson}_*.ipynb")]
        if not wanted:
            yield None, f"there is no lesson {lesson} that this notebook could extend"
    else:
        wanted = [f"deeper/{path.name}" for path in (folder / "deeper").glob(f"{lesson}_*.ipynb")]
    for target in sorted(wanted):
        if f"]({target}" not in text:
            yield None, f"no link to {target}"


GLOSSARY = "glossary.ipynb"


def terms(glossary: Notebook) -> dict[str, str]:
    """The terms of the glossary, and the notebook that explains each."""
    found = {}
    for _, cell in cells(glossary, "markdown"):
        if match := re.match(r"### (.+)\n\n[^\n]+ → \[[^\]]+\]\(([\w./-]+)\)$", source(cell)):
            found[match[1]] = match[2]
    return found


def first_use(nb: Notebook, term: str) -> tuple[int, str, int] | None:
    """Where a term first stands in the running text of a lesson: cell, its text, place in it.

    Headings, code, formulas, hints, solutions and the cell of the title are not running text, and
    what leads to another term of the glossary is a use of that one.
    """
    other = rf"\[[^\]]*\]\({GLOSSARY}#(?!{re.escape(term.replace(' ', '-'))}\))[^)]*\)"
    blank = rf"{other}|`[^`]*`|\$[^$]*\$|^#.*$|\]\([^)]*\)"
    for i, cell in cells(nb, "markdown"):
        if i == 0 or tags(cell) & {"hint", "solution", "teacher"}:
            continue
        text = re.sub(blank, lambda hit: "\0" * len(hit[0]), prose(source(cell)), flags=re.M)
        if hit := re.search(rf"(?<![\w-]){re.escape(term)}s?(?![\w-])", text, re.IGNORECASE):
            return i, prose(source(cell)), hit.start()
    return None


@rule
def glossary_linked(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """Each term that the glossary says this lesson explains leads there at its first use."""
    path = folder / GLOSSARY
    if is_deeper(folder) or frame_of(nb, folder) is FIRST or not path.exists():
        return
    for term, explains in terms(nbformat.read(path, as_version=4)).items():
        if not explains.startswith(f"{mtl(nb).get('lesson')}_"):
            continue
        if (found := first_use(nb, term)) is None:
            yield None, f"the glossary says that {term!r} is explained here, and it is not used"
            continue
        i, text, start = found
        link = rf"\[[^\]]*\]\({GLOSSARY}#{re.escape(term.replace(' ', '-'))}\)"
        if not any(hit.start() <= start < hit.end() for hit in re.finditer(link, text)):
            yield i, f"the first use of {term!r} does not lead to {GLOSSARY}"


@rule
def lessons_named(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """A lesson that is not written yet is named without a link, as '03 · Title (in preparation)'.

    Line by line (a row of a table is a line): the words stand where the lesson is missing, and
    nowhere else, so that they go when it comes.
    """
    lessons = folder.parent if is_deeper(folder) else folder
    for i, cell in cells(nb, "markdown"):
        for line in prose(source(cell)).splitlines():
            if line.startswith("#"):  # the number of a section or an exercise
                continue
            numbers = set(re.findall(r"(?<![\d.])(\d\d) · ", line)) - {mtl(nb).get("lesson")}
            missing = {n for n in numbers if not list(lessons.glob(f"{n}_*.ipynb"))}
            waiting = "in preparation" in line
            if missing and not waiting:
                yield i, f"lesson {', '.join(sorted(missing))} is not there: add (in preparation)"
            if waiting and not missing:
                yield i, f"'in preparation', and no lesson is missing: {line.strip()[:60]}"


@rule
def files_named(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """Files of the project that prose or code names in full are there."""
    project = folder.parent.parent if is_deeper(folder) else folder.parent
    name = r"[`\"'](?:\.\./)*((?:mtl_helpers|notebooks|data|tests)/[\w./-]+)[`\"']"
    for i, cell in enumerate(nb["cells"]):
        for path in re.findall(name, source(cell)):
            if not path.startswith("data/downloads") and not (project / path).exists():
                yield i, f"a file that is not there: {path}"


@rule
def names_exist(nb: Notebook, folder: Path) -> Iterator[Finding]:
    """Every name of mtl_helpers that code, a solution or prose uses exists; all code parses."""
    pieces = [(i, source(c)) for i, c in cells(nb, "code")]
    pieces += [(i, b) for i, c in cells(nb, "markdown") for b in python_blocks(source(c))]
    parsed = []
    for i, text in pieces:
        try:
            parsed.append((i, tree(text)))
        except SyntaxError as error:
            yield i, f"code that does not parse, line {error.lineno}: {error.msg}"
    known, rebound = _imports(parsed), _assigned(parsed)
    for i, module in parsed:
        for node in ast.walk(module):
            used = _uses(node, {k: v for k, v in known.items() if k not in rebound})
            for name in used:
                if not _resolves(name):
                    yield i, f"there is no {name}"
    for i, cell in cells(nb, "markdown"):
        for name in re.findall(r"\bmtl_helpers(?:\.[A-Za-z_]\w*)+(?!\()", source(cell)):
            if not _resolves(name):
                yield i, f"there is no {name}"


def _imports(parsed: list[tuple[int, ast.Module]]) -> dict[str, str]:
    """Local name -> dotted name, for everything imported from the package."""
    known = {}
    for _, module in parsed:
        for node in ast.walk(module):
            if isinstance(node, ast.Import):
                for a in node.names:
                    known[a.asname or a.name.split(".")[0]] = a.name if a.asname else "mtl_helpers"
                    if a.name.split(".")[0] != "mtl_helpers":
                        known.pop(a.asname or a.name.split(".")[0])
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mtl_helpers"):
                known |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return known


def _assigned(parsed: list[tuple[int, ast.Module]]) -> set[str]:
    nodes = [node for _, module in parsed for node in ast.walk(module)]
    names = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return names | {n.arg for n in nodes if isinstance(n, ast.arg)}


def _uses(node: ast.AST, known: dict[str, str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [a.name for a in node.names if a.name.split(".")[0] == "mtl_helpers"]
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mtl_helpers":
        return [f"{node.module}.{a.name}" for a in node.names]
    if isinstance(node, ast.Attribute):
        head, _, rest = ast.unparse(node).partition(".")
        if head in known and re.fullmatch(r"[\w.]+", rest):
            return [f"{known[head]}.{rest}"]
    return []


def _resolves(name: str) -> bool:
    """Whether a dotted name leads somewhere; what a plain object holds is not looked into."""
    parts = name.split(".")
    thing: Any = importlib.import_module(parts[0])
    for k, part in enumerate(parts[1:], 2):
        if not inspect.ismodule(thing) and not inspect.isclass(thing):
            return True
        if hasattr(thing, part):
            thing = getattr(thing, part)
            continue
        try:
            thing = importlib.import_module(".".join(parts[:k]))
        except ImportError:
            return False
    return True
