"""pyproject.toml, constraints.txt, environment.yml and the rest cannot disagree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import mtl_helpers

PROJECT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
CONSTRAINTS = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
PINS = {
    canonicalize_name(line.split("==")[0]): line.split("==")[1]
    for line in CONSTRAINTS
    if line and not line.startswith("#")
}
REQUIREMENTS = [
    Requirement(text)
    for text in (
        *PYPROJECT["project"]["dependencies"],
        *PYPROJECT["project"]["optional-dependencies"]["test"],
    )
]


@pytest.fixture(scope="module")
def environment():
    return yaml.safe_load((PROJECT / "environment.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_each_dependency_is_pinned_within_its_range(requirement):
    pin = PINS.get(canonicalize_name(requirement.name))
    assert pin is not None, f"constraints.txt does not pin {requirement.name}"
    assert requirement.specifier.contains(pin), f"{requirement} does not allow {pin}"


def test_the_constraints_are_names_and_versions_only():
    for line in CONSTRAINTS:
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9.]+", line), line
    assert len(PINS) == sum(not line.startswith("#") for line in CONSTRAINTS), "pinned twice"


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
    assert pip[-2:] == ["-c constraints.txt", "-e .[test]"]
    assert all(line.startswith("--extra-index-url ") for line in pip[:-2])
    conda = [entry for entry in packages if isinstance(entry, str)]
    assert {re.split(r"[=<>]", entry)[0] for entry in conda} == {"python", "pip"}
    assert environment["channels"][0] == "conda-forge"


def test_one_range_of_pythons(environment, load_bootstrap):
    allowed = SpecifierSet(PYPROJECT["project"]["requires-python"])
    bootstrap = load_bootstrap()
    for minor in range(8, 20):
        fits = bootstrap.OLDEST <= (3, minor) <= bootstrap.NEWEST
        assert allowed.contains(f"3.{minor}") == fits
    conda = next(e for e in environment["dependencies"] if str(e).startswith("python"))
    made_on = re.search(r"from Python (\d+\.\d+)\.$", CONSTRAINTS[0]).group(1)
    assert conda == f"python={made_on}"
    assert allowed.contains(made_on)
    target = PYPROJECT["tool"]["ruff"]["target-version"]
    assert target == f"py3{bootstrap.OLDEST[1]}"


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
