"""Stored outputs under the settings of other machines."""

from __future__ import annotations

import os
import subprocess
import sys

import nbformat
import pytest
import torch

from mtl_helpers.teaching import portable
from mtl_helpers.teaching.portable import SETTINGS, USUAL, variables

DRAW = "import torch\nx = torch.rand(1, dtype=torch.float64, generator=torch.Generator()).item()\n"


def notebook(path, say):
    """A notebook whose one cell says a drawn number, with what it says here and now."""
    x = torch.rand(1, dtype=torch.float64, generator=torch.Generator()).item()
    output = nbformat.v4.new_output("stream", name="stdout", text=f"{eval(say, {'x': x})}\n")
    cell = nbformat.v4.new_code_cell(
        f"{DRAW}print({say})", execution_count=1, outputs=[output], metadata={}
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    return str(path)


def test_a_raw_number_is_red_under_jitter_and_a_rounded_one_green(tmp_path, capsys):
    raw = notebook(tmp_path / "raw.ipynb", "x")
    rounded = notebook(tmp_path / "rounded.ipynb", "round(x, 3)")
    assert portable.main([raw, rounded, "--settings", "native", "combined", "--jobs", "1"]) == 1
    native, red, jittered = capsys.readouterr().out.splitlines()
    assert native.startswith("native: 2 passed")
    assert red.startswith("combined: FAILED") and red.endswith("raw.ipynb::Cell 0")
    assert jittered.startswith("combined: 1 failed, 1 passed")


def test_nothing_to_run_is_not_green(tmp_path, capsys):
    assert portable.main([str(tmp_path / "none.ipynb"), "--settings", "native"]) == 1
    assert "native: " in capsys.readouterr().out


@pytest.mark.parametrize("name", SETTINGS)
def test_torch_and_numpy_obey_a_setting_without_a_warning(name, tmp_path, monkeypatch):
    for library in ("OMP", "MKL", "OPENBLAS"):  # as somebody's shell may have it
        monkeypatch.setenv(f"{library}_NUM_THREADS", "1")
    code = (
        "import numpy, torch\n"
        "from numpy._core._multiarray_umath import __cpu_features__ as there\n"
        "off = [k for k in ('X86_V3', 'X86_V4', 'AVX2', 'AVX512F') if not there.get(k)]\n"
        "print(torch.backends.cpu.get_cpu_capability(), torch.get_num_threads(), *off)\n"
        "print(torch.randn.__name__ , torch.randn is torch._C._VariableFunctions.randn)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always::ImportWarning", "-c", code],
        env={**os.environ, **variables(SETTINGS[name], tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "CPU feature" not in done.stderr, done.stderr
    first, second = done.stdout.splitlines()
    capability, threads, *off = first.split()
    if name == "sse4":
        assert capability in ("DEFAULT", "NO") and {"X86_V3"} & set(off)
    if name in ("avx2", "combined"):
        assert capability != "AVX512" and {"X86_V4", "AVX512F"} & set(off)
    assert threads == str(SETTINGS[name].threads)
    assert second.endswith(str(SETTINGS[name].phase is None))


def test_the_usual_settings_are_the_four_and_two_jitters_differ():
    assert USUAL == ("avx2", "sse4", "jitter-1", "jitter-2")
    assert SETTINGS["jitter-1"].phase != SETTINGS["jitter-2"].phase
    combined = SETTINGS["combined"]
    assert (combined.threads, combined.phase) == (2, 1)
    assert combined.variables == SETTINGS["avx2"].variables


def test_without_arguments_it_takes_all_notebooks_and_the_samples(monkeypatch):
    asked = []

    def run(name, targets, options):
        asked.append((name, targets, options))
        return portable.Outcome(0, "1 passed", [])

    monkeypatch.setattr(portable, "run", run)
    assert portable.main([]) == 0
    assert [name for name, _, _ in asked] == list(USUAL)
    assert asked[0][1] == ["notebooks", portable.SAMPLES]
    asked.clear()
    portable.main(["a.ipynb", "--settings", "sse4"])
    portable.main(["--studies", "--settings", "sse4"])
    assert [targets for _, targets, _ in asked] == [["a.ipynb"], [portable.SAMPLES]]


def test_the_samples_are_a_test_that_is_there(project_folder):
    path, name = portable.SAMPLES.split("::")
    assert f"def {name}(" in (project_folder / path).read_text(encoding="utf-8")


def test_how_notebooks_are_compared_is_said_in_one_place(project_folder, tmp_path):
    assert "--nbval" in portable.nbval_options(project_folder / "Makefile")
    with pytest.raises(ValueError, match="NBVAL"):
        (tmp_path / "Makefile").write_text("test:\n")
        portable.nbval_options(tmp_path / "Makefile")
    said = subprocess.run(
        ["git", "grep", "-l", "-e", "--nbval", "--", "Makefile", ".ci", "mtl_helpers", "*.toml"],
        cwd=project_folder,
        capture_output=True,
        text=True,
    )
    if said.returncode == 0:  # a copy without git cannot tell
        assert said.stdout.split() == ["Makefile"]
