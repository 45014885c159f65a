"""The house keeps its floors: imports go down, the core stays small, public things are said."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mtl_helpers

PACKAGE = Path(mtl_helpers.__file__).parent
FLOORS = {
    **dict.fromkeys(["files", "tasks", "metrics"], 1),
    **dict.fromkeys(["datasets", "models", "balancing", "recorded"], 2),
    **dict.fromkeys(["training"], 3),
    **dict.fromkeys(["experiments", "figures"], 4),
    **dict.fromkeys(["explore", "case_study"], 5),
    **dict.fromkeys(["pictures", "exercises", "studies", "environment", "notebooks"], 6),
}
# Counted apart from the core: what belongs to one lesson, and the tools of the house (`recorded`
# keeps results; nobody reads it to understand how tasks are learned together).
APART = {"exercises", "pictures", "studies", "case_study", "environment", "notebooks", "recorded"}
CORE_LINES = 3550  # of code; docstrings and comments add about 1,500


def files(package: Path) -> list[Path]:
    return sorted(p for p in package.rglob("*.py") if "__pycache__" not in p.parts)


def part(path: Path, package: Path) -> str:
    """The module or sub-package a file belongs to; "" for the package's own __init__."""
    first = path.relative_to(package).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imported(path: Path, package: Path) -> list[tuple[int, str]]:
    """Line and dotted name (below mtl_helpers) of everything a file imports from the package."""
    here = ["mtl_helpers", *path.relative_to(package).parts[:-1]]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [base] if base != "mtl_helpers" else [f"{base}.{a.name}" for a in node.names]
        else:
            continue
        found += [(node.lineno, n) for n in names if n.split(".")[0] == "mtl_helpers"]
    return [(line, name.removeprefix("mtl_helpers").removeprefix(".")) for line, name in found]


def floor_findings(package: Path) -> list[str]:
    findings = []
    for path in files(package):
        own, where = part(path, package), path.relative_to(package)
        if own and own not in FLOORS:
            findings.append(f"{where}: give {own!r} a floor in {Path(__file__).name}")
            continue
        for line, name in imported(path, package):
            target = name.split(".")[0]
            if target == own or name == "__version__":
                continue
            if target not in FLOORS:
                findings.append(f"{where}:{line}: imports {name or 'the package itself'!r}")
            elif FLOORS.get(own, 99) <= FLOORS[target]:
                findings.append(
                    f"{where}:{line}: {own} (floor {FLOORS[own]}) imports {target} "
                    f"(floor {FLOORS[target]}); imports only go down"
                )
    return findings


def lines_of_core(package: Path) -> dict[str, int]:
    """Lines of code in what a learner reads to understand the package.

    Blank lines, comments and docstrings are not counted: they explain, and the package shall not be
    the smaller for explaining less. Of the data sets only what they share counts: a source is a
    file that one lesson needs.
    """
    core = [p for p in files(package) if part(p, package) not in APART]
    core = [p for p in core if p.parent.name != "datasets" or p.stem in ("__init__", "base")]
    return {str(p.relative_to(package)): lines_of_code(p.read_text()) for p in core}


def lines_of_code(text: str) -> int:
    """Lines that are not blank, not a comment and not in a docstring."""
    said = set()
    for node in ast.walk(ast.parse(text)):
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            said.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in said
        for number, line in enumerate(text.splitlines(), start=1)
    )


def unsaid(path: Path) -> list[str]:
    """Public classes and functions of a file without a docstring, or arguments without a type."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    findings = [] if ast.get_docstring(tree) else ["the file has no docstring"]

    def visit(body: list[ast.stmt], prefix: str = "") -> None:
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                if not ast.get_docstring(node):
                    findings.append(f"{prefix}{node.name} has no docstring")
                visit(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                magic = node.name.startswith("__")
                if node.name.startswith("_") and not magic:
                    continue
                if not magic and not ast.get_docstring(node) and not is_overload(node):
                    findings.append(f"{prefix}{node.name} has no docstring")
                findings.extend(f"{prefix}{node.name}: {text}" for text in untyped(node))

    visit(tree.body)
    return findings


def is_overload(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(d).endswith(("overload", ".setter")) for d in node.decorator_list)


def untyped(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    a = node.args
    every = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, [a.vararg, a.kwarg])]
    texts = [
        f"{arg.arg} has no type"
        for arg in every
        if arg.annotation is None and arg.arg not in ("self", "cls")
    ]
    if node.returns is None and node.name != "__init__":
        texts.append("no return type")
    return texts


def test_imports_only_go_down():
    assert floor_findings(PACKAGE) == []


def test_the_core_stays_small():
    lines = lines_of_core(PACKAGE)
    assert sum(lines.values()) < CORE_LINES, lines


@pytest.mark.parametrize("path", files(PACKAGE), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_public_things_have_docstrings_and_types(path):
    assert unsaid(path) == []


IMPORT_ALL = """
import importlib, sys
from importlib.machinery import ModuleSpec

class Broken:
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name == "torchvision" else None
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        raise RuntimeError("operator torchvision::nms does not exist")

sys.meta_path.insert(0, Broken())
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    try:
        importlib.import_module(name)
    except RuntimeError as error:
        print(f"{name}: {error}")
"""


def import_with_broken_torchvision(package: Path) -> list[str]:
    """Import every module in a fresh process where torchvision is the wrong build."""
    parts = [p.relative_to(package.parent).with_suffix("").parts for p in files(package)]
    names = [".".join(p).removesuffix(".__init__") for p in parts if p[-1] != "__main__"]
    command = [sys.executable, "-c", IMPORT_ALL, str(package.parent), *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_module_imports_beside_a_broken_torchvision():
    assert import_with_broken_torchvision(PACKAGE) == []


# The tests of the tests: a planted house, and what is refused in it.


@pytest.fixture
def house(tmp_path):
    root = tmp_path / "mtl_helpers"

    def write(name: str, text: str) -> Path:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'"""A file."""\n{text}\n')
        return root

    write("__init__.py", '__version__ = "0"')
    write("tasks.py", "")
    write("models/__init__.py", "from mtl_helpers.models.mmoe import x")
    write("models/mmoe.py", "x = 1\nimport mtl_helpers.tasks")
    return write


GOOD = "from mtl_helpers import __version__, tasks\nfrom .mmoe import x\nfrom ..tasks import Task"


def test_a_sound_house_is_accepted(house):
    assert floor_findings(house("models/ple.py", GOOD)) == []


@pytest.mark.parametrize(
    "text",
    [
        "import mtl_helpers.training",
        "import mtl_helpers.training as t",
        "from mtl_helpers import training",
        "from mtl_helpers.training import fit",
        "from mtl_helpers.datasets.base import MultiTaskData",
        "from ..training import fit",
        "from .. import training",
        "def f():\n    from mtl_helpers.training import fit",
        "from mtl_helpers import Task",
        "import mtl_helpers",
    ],
)
def test_an_import_upwards_or_sideways_is_refused(house, text):
    findings = floor_findings(house("models/ple.py", text))
    assert len(findings) == 1
    assert findings[0].startswith("models/ple.py:")


def test_a_file_without_a_floor_is_refused(house):
    assert "give 'attic' a floor" in floor_findings(house("attic.py", ""))[0]


def test_exercises_are_counted_apart(house):
    before = sum(lines_of_core(house("tasks.py", "")).values())
    assert sum(lines_of_core(house("exercises/lesson_00.py", "x = 1")).values()) == before
    assert sum(lines_of_core(house("training.py", "x = 1")).values()) == before + 1


def test_what_explains_is_not_counted():
    text = (
        '"""A file.\n\nOf two lines.\n"""\n\n# why\ndef f():\n    """Do."""\n    return "x"  # so\n'
    )
    assert lines_of_code(text) == 2


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("def f(x: int) -> int:\n    return x", "f has no docstring"),
        ('def f(x) -> int:\n    """Do."""', "f: x has no type"),
        ('def f(*xs) -> int:\n    """Do."""', "f: xs has no type"),
        ('def f(x: int):\n    """Do."""', "f: no return type"),
        ("class A:\n    pass", "A has no docstring"),
        (
            'class A:\n    """A."""\n    def f(self) -> int:\n        return 1',
            "A.f has no docstring",
        ),
        (
            'class A:\n    """A."""\n    def __init__(self, x):\n        pass',
            "A.__init__: x has no type",
        ),
    ],
)
def test_what_does_not_say_what_it_is_is_refused(house, text, finding):
    assert unsaid(house("metrics.py", text) / "metrics.py") == [finding]


def test_private_things_may_be_brief(house):
    text = "def _f(x):\n    return x\n\nclass _A:\n    def f(self):\n        return 1"
    assert unsaid(house("metrics.py", text) / "metrics.py") == []


def test_a_module_that_needs_torchvision_is_named(house):
    lazy = "def f():\n    import torchvision"
    house("models/ple.py", "import torchvision")
    said = import_with_broken_torchvision(house("tasks.py", lazy))
    assert said == ["mtl_helpers.models.ple: operator torchvision::nms does not exist"]
