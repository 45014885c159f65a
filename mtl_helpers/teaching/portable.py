"""Would the stored outputs hold on somebody else's machine? nbval under settings that differ.

    python -m mtl_helpers.teaching.portable [NOTEBOOK ...] [--settings NAME ...] [--studies]

``make test-portable`` runs it. Each setting is one pass of pytest over the notebooks, compared with
their stored outputs, and over the samples of the recorded studies:

- ``avx2`` and ``sse4`` hold the libraries to the vector units of older processors;
- ``jitter-1`` and ``jitter-2`` shake what torch draws (see :mod:`mtl_helpers.teaching.jitter`),
  which stands in for processors that cannot be tried here;
- ``combined`` has two threads, AVX2 and the jitter at once: one pass, for CI;
- ``native`` changes nothing.

A printed number or a claim that fails here will fail on somebody's machine: print what survives.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtl_helpers.teaching.jitter import environment

PROJECT = Path(__file__).resolve().parents[2]
SAMPLES = (
    "tests/teaching/test_studies.py::test_a_sample_of_every_recorded_study_gives_its_rows_again"
)
RELATIVE = 1e-12
# torch takes as many threads as MKL has, which asks its own variable first.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Setting:
    """What one pass changes.

    Attributes:
        variables: of the environment, read by torch, MKL, oneDNN and OpenBLAS.
        numpy_off: which vector units NumPy must not use, as the beginnings of their names.
        phase: of the jitter; None for none.
        threads: how many torch uses.
    """

    variables: tuple[tuple[str, str], ...] = ()
    numpy_off: tuple[str, ...] = ()
    phase: float | None = None
    threads: int = 1


_AVX2 = (
    ("ATEN_CPU_CAPABILITY", "avx2"),
    ("MKL_ENABLE_INSTRUCTIONS", "AVX2"),
    ("ONEDNN_MAX_CPU_ISA", "AVX2"),
    ("OPENBLAS_CORETYPE", "Haswell"),
)
_SSE4 = (
    ("ATEN_CPU_CAPABILITY", "default"),
    ("MKL_CBWR", "COMPATIBLE"),
    ("ONEDNN_MAX_CPU_ISA", "SSE41"),
    ("OPENBLAS_CORETYPE", "Nehalem"),
)
_NO_AVX512 = ("X86_V4", "AVX512")
SETTINGS = {
    "native": Setting(),
    "avx2": Setting(_AVX2, _NO_AVX512),
    "sse4": Setting(_SSE4, ("X86_V3", "AVX2", "FMA3", *_NO_AVX512)),
    "jitter-1": Setting(phase=1),
    "jitter-2": Setting(phase=2),
    "combined": Setting(_AVX2, _NO_AVX512, phase=1, threads=2),
}
USUAL = ("avx2", "sse4", "jitter-1", "jitter-2")


def numpy_units(beginnings: Sequence[str]) -> str:
    """The vector units to switch off: those of this machine that NumPy would choose while running.

    Args:
        beginnings: of their names, which differ between versions of NumPy.

    Returns:
        A value for ``NPY_DISABLE_CPU_FEATURES``; NumPy warns of a name that it does not know.
    """
    from numpy._core import _multiarray_umath as inside

    there = [name for name in inside.__cpu_dispatch__ if inside.__cpu_features__.get(name)]
    return " ".join(name for name in there if name.startswith(tuple(beginnings)))


def variables(setting: Setting, folder: Path) -> dict[str, str]:
    """The environment of a pass, beside that of this process.

    Args:
        setting: which.
        folder: an empty one, for what the jitter and IPython need.
    """
    found = dict(setting.variables)
    if setting.numpy_off and (off := numpy_units(setting.numpy_off)):
        found["NPY_DISABLE_CPU_FEATURES"] = off
    if setting.phase is not None:
        found |= environment(folder, RELATIVE, setting.phase)
    found |= dict.fromkeys(_THREADS, str(setting.threads))
    return found | {"IPYTHONDIR": str(folder / "ipython")}  # not the user's own start-up files


def nbval_options(makefile: Path = PROJECT / "Makefile") -> list[str]:
    """What pytest needs to compare notebooks: the value of NBVAL in the Makefile, its only place.

    Raises:
        ValueError: the Makefile does not set it.
    """
    found = re.search(r"^NBVAL := (.+)$", makefile.read_text(encoding="utf-8"), re.M)
    if not found:
        raise ValueError(f"{makefile}: no line 'NBVAL := …' says how notebooks are compared")
    return found.group(1).split()


@dataclass(frozen=True)
class Outcome:
    """How a pass ended: pytest's exit status, its last line, and what is red."""

    status: int
    last: str
    red: list[str]


def run(name: str, targets: Sequence[str], options: Sequence[str]) -> Outcome:
    """Run one pass in the project's folder.

    Args:
        name: of the setting.
        targets: files, folders or tests, as pytest takes them.
        options: of pytest.
    """
    with tempfile.TemporaryDirectory(prefix="mtl-portable-") as folder:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", *options, "-q", "--color=no"),
                *("-p", "no:cacheprovider", *targets),
            ],
            env={**os.environ, **variables(SETTINGS[name], Path(folder))},
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    red = [line.split(" - ")[0] for line in lines if line.startswith(("FAILED", "ERROR"))]
    return Outcome(done.returncode, lines[-1] if lines else "pytest said nothing", red)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 0 if every pass is green, else 1."""
    parser = argparse.ArgumentParser(prog="python -m mtl_helpers.teaching.portable")
    parser.add_argument("notebooks", nargs="*", help="default: all, and the studies' samples")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(USUAL))
    parser.add_argument("--studies", action="store_true", help="the studies' samples, too")
    parser.add_argument("--jobs", type=int, default=2, help="how many notebooks run at once")
    chosen = parser.parse_args(arguments)
    targets = list(chosen.notebooks)
    if not targets and not chosen.studies:
        targets = ["notebooks", SAMPLES]
    elif chosen.studies:
        targets.append(SAMPLES)
    options = [*nbval_options(), "-n", str(chosen.jobs)]
    bad = 0
    for name in chosen.settings:
        outcome = run(name, targets, options)
        for line in outcome.red:
            print(f"{name}: {line}")
        print(f"{name}: {outcome.last}", flush=True)
        bad += outcome.status != 0
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
