"""pyproject.toml, constraints.txt, environment.yml and the rest cannot disagree."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import mtl_helpers

PROJECT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
GROUPS = PYPROJECT["project"]["optional-dependencies"]
CONSTRAINTS = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
PINS = [Requirement(line) for line in CONSTRAINTS if not line.startswith("#")]
REQUIREMENTS = [
    Requirement(text)
    for group in (PYPROJECT["project"]["dependencies"], *GROUPS.values())
    for text in group
]
# The machines that one constraints.txt serves, as environment markers know them.
SYSTEMS = {
    "Linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    "macOS": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
    "Windows": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
}
PYTHONS = ("3.11.0", "3.11.7", "3.12.1", "3.13.0")


def pins_on(system: str, python: str) -> dict[str, list[str]]:
    """The versions that constraints.txt allows there, for each package it names there."""
    machine = {
        **SYSTEMS[system],
        "platform_machine": "x86_64" if system == "Linux" else "arm64",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
    }
    found: dict[str, list[str]] = {}
    for pin in PINS:
        if pin.marker is None or pin.marker.evaluate(machine):
            version = str(pin.specifier).removeprefix("==")
            found.setdefault(canonicalize_name(pin.name), []).append(version)
    return found


@pytest.fixture(scope="module")
def environment():
    return yaml.safe_load((PROJECT / "environment.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_each_dependency_is_pinned_within_its_range_everywhere(system, python):
    pins = pins_on(system, python)
    assert {name for name, versions in pins.items() if len(versions) != 1} == set(), "pinned twice"
    for requirement in REQUIREMENTS:
        versions = pins.get(canonicalize_name(requirement.name))
        assert versions, f"constraints.txt does not pin {requirement.name}"
        assert versions[0] in requirement.specifier, f"{requirement} does not allow {versions[0]}"


def test_what_only_one_system_needs_is_pinned_there_alone():
    only = {"Linux": "triton", "macOS": "appnope", "Windows": "pywinpty"}
    for system, package in only.items():
        named_on = [other for other in SYSTEMS if package in pins_on(other, "3.13.0")]
        assert named_on == [system], package


def test_the_constraints_are_names_versions_and_markers_only():
    """No address of an index, no option: pip and uv both read the file, wherever they install."""
    for line in CONSTRAINTS:
        pin, _, marker = line.partition(" ; ")
        assert line.startswith("#") or re.fullmatch(r"[a-z0-9.-]+==[A-Za-z0-9.]+", pin), line
        assert not marker or not re.search(r"[/@#\\]|--", marker), line
    assert not any("://" in line for line in CONSTRAINTS)


def test_the_three_groups():
    """What `make lab` needs; then two that targets of the Makefile add."""
    assert set(GROUPS) == {"test", "kit"}
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    asked = {
        target: set(groups.split())
        for target, groups in re.findall(
            r"^(setup[a-z-]*):.*\n\t@\$\(call bootstrap,?([a-z ]*)\)$", makefile, re.M
        )
    }
    assert asked == {"setup-lab": set(), "setup": {"test"}, "setup-kit": {"test", "kit"}}
    needs = dict(re.findall(r"^([a-z-]+): ([a-z -]+?)(?: ##.*)?$", makefile, re.M))
    assert needs["lab"].split() == ["setup-lab"]
    for target in ("test", "test-browser", "lint", "execute", "coverage"):
        assert needs[target].split() == ["setup"], target


@pytest.mark.parametrize("version", ["2.13.0", "2.13.0+cpu", "2.10.0"])
def test_the_range_cannot_select_a_torch_that_does_not_work(version):
    torch = next(r for r in REQUIREMENTS if r.name == "torch")
    assert not torch.specifier.contains(version)


def test_extras_are_spelt_with_hyphens():
    for requirement in REQUIREMENTS:
        assert not any("_" in extra for extra in requirement.extras), str(requirement)


def test_environment_yml_installs_the_same_thing(environment):
    packages = environment["dependencies"]
    pip = next(entry["pip"] for entry in packages if isinstance(entry, dict))
    assert pip[-2:] == ["-c constraints.txt", "-e .[test]"]  # the group of `make setup`
    assert all(line.startswith("--extra-index-url ") for line in pip[:-2])
    conda = [entry for entry in packages if isinstance(entry, str)]
    assert {re.split(r"[=<>]", entry)[0] for entry in conda} == {"python", "pip"}
    assert environment["channels"][0] == "conda-forge"


def test_one_range_of_pythons(environment, load_bootstrap):
    allowed = SpecifierSet(PYPROJECT["project"]["requires-python"])
    bootstrap = load_bootstrap()
    for minor in range(8, 20):
        assert allowed.contains(f"3.{minor}") == (f"3.{minor}" in bootstrap.PYTHONS)
    conda = next(e for e in environment["dependencies"] if str(e).startswith("python"))
    oldest = bootstrap.PYTHONS[0]
    assert conda == f"python={oldest}"
    assert f"--universal --python-version {oldest}" in bootstrap.COMPILE
    assert {python.rpartition(".")[0] for python in PYTHONS} == set(bootstrap.PYTHONS)
    assert {f"python{version}" for version in bootstrap.PYTHONS} < set(bootstrap.CANDIDATES)
    assert PYPROJECT["tool"]["ruff"]["target-version"] == "py" + oldest.replace(".", "")


def test_the_cpu_index_is_the_same_everywhere(load_bootstrap):
    text = (PROJECT / "environment.yml").read_text(encoding="utf-8")
    assert load_bootstrap().CPU_INDEX in text


def test_the_citation_names_this_version():
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == mtl_helpers.__version__
    Version(mtl_helpers.__version__)
    assert citation["license"] == PYPROJECT["project"]["license"].split(" AND ")
    for name in PYPROJECT["project"]["license-files"]:
        assert (PROJECT / name).is_file()


# --- What `make lab` needs is all that the lessons import -----------------------------------------


def installed_with(requirements: list[str]) -> set[str]:
    """The distributions that these requirements bring, with all that those need in turn."""
    found: set[str] = set()
    todo = [Requirement(text) for text in requirements]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        extras = ["", *requirement.extras]
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        found.add(name)
        for text in metadata.requires(name) or []:
            needed = Requirement(text)
            wanted = not needed.marker or any(needed.marker.evaluate({"extra": e}) for e in extras)
            needed.marker = None
            if wanted and canonicalize_name(needed.name) not in found:
                todo.append(needed)
    return found


def imported_by(code: str) -> set[str]:
    """The top-level modules that code imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def lessons_and_package() -> Iterator[tuple[str, str]]:
    for path in sorted((PROJECT / "mtl_helpers").rglob("*.py")):
        yield str(path.relative_to(PROJECT)), path.read_text(encoding="utf-8")
    for path in sorted((PROJECT / "notebooks").rglob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        code = [
            TransformerManager().transform_cell(c.source) for c in cells if c.cell_type == "code"
        ]
        yield path.name, "\n".join(code)


# Not for lessons: how the recorded timing of lesson 04 was made, which the tests repeat.
ONLY_FOR_TESTS = {("mtl_helpers/lessons/lesson_04/studies.py", "torchjd")}


def test_the_lessons_import_nothing_that_make_lab_does_not_install():
    base = installed_with(PYPROJECT["project"]["dependencies"])
    assert {"numpy", "nbformat", "ipython"} <= base and "torchjd" not in base
    owners = metadata.packages_distributions()
    foreign = set()
    for name, code in lessons_and_package():
        for module in imported_by(code) - sys.stdlib_module_names - {"mtl_helpers"}:
            brought_by = {canonicalize_name(owner) for owner in owners.get(module, [])}
            if not brought_by & base:
                foreign.add((name, module))
    assert foreign == ONLY_FOR_TESTS
