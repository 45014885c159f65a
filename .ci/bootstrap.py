#!/usr/bin/env python3
"""Prepare .venv for the notebooks. The Makefile calls this; you can too.

uv installs, from PATH or from PyPI, and pip does where uv cannot; MTL_INSTALLER=pip leaves uv out.
Both take the versions of constraints.txt. What can go wrong is said in one line before anything is
downloaded. When the work is done, a stamp in .venv records what it was made from; while the stamp
fits, this does nothing at all: no installer, no network. An interrupted installation leaves no
stamp, and the next run starts again from nothing.

Standard library only, and without newer syntax, so that an old python3 can read it and say which
Python is needed.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
CANDIDATES = ("python3", "python3.11", "python3.12", "python3.13", "python")
PYTHON, UV, STAMP = ".venv/bin/python", ".venv/bin/uv", ".venv/mtl-stamp.json"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# Measured in GB: what .venv holds in the end, and what passes through the temporary folder.
GPU_BUILD, SMALL_BUILD = (7, 3), (2, 1)
PROBE = (
    "import sys; print('%d.%d' % sys.version_info[:2]);"
    "print(getattr(sys, '_base_executable', '') or sys.executable);"
    "import venv, ensurepip; print('venv')"
)
PAIR = (
    "import importlib.metadata as m; print('torch', m.version('torch'), 'and torchvision',"
    "m.version('torchvision'), flush=True); import torch, torchvision"
)
COMPILE = (
    "pyproject.toml --all-extras --output-file constraints.txt --no-annotate --quiet "
    "--universal --python-version 3.11"
)
# uv does not read pip's settings; these say the same thing to it.
UV_NAMES = {"index-url": "UV_DEFAULT_INDEX", "proxy": "HTTPS_PROXY", "cert": "SSL_CERT_FILE"}


class SetupError(Exception):
    """Something the person has to fix; its text is the one line they read."""


def run(command, **options):
    """Run a command that shows its own output; return its exit status."""
    return subprocess.run([str(part) for part in command], check=False, **options).returncode


def ask(command):
    """Run a command quietly; return (exit status, lines of output)."""
    command = [str(part) for part in command]
    quiet = {"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "universal_newlines": True}
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False, **quiet)
    except OSError as error:
        return 127, [str(error)]
    return done.returncode, done.stdout.strip().splitlines()


# --- Which Python ---------------------------------------------------------------------------------


def look_at(command):
    """Return (version, path of the real interpreter, has venv), or None where it does not run.

    The real interpreter, since python3 may be that of an activated .venv we are about to replace.
    """
    status, lines = ask([command, "-c", PROBE])
    if not lines or not re.match(r"\d+\.\d+$", lines[0]):
        return None
    return lines[0], lines[1], status == 0 and lines[-1] == "venv"


def choose_python(asked):
    """Return the interpreter to build .venv with: what PYTHON=… named, or the first that fits.

    Raises:
        SetupError: none will do.
    """
    wanted = "Python {} to {}".format(PYTHONS[0], PYTHONS[-1])
    seen = []
    for name in [asked] if asked else CANDIDATES:
        found = look_at(name)
        if found is None:
            continue
        version, path, has_venv = found
        if version in PYTHONS and has_venv:
            return path
        seen.append((name, version))
    for name, version in seen:
        if version in PYTHONS:
            text = "{0} is Python {1} without its venv module: install it (Debian and Ubuntu: "
            text += "apt install python{1}-venv), then run the same command again."
            raise SetupError(text.format(name, version))
    if asked:
        what = "is Python " + seen[0][1] if seen else "does not run"
        raise SetupError("PYTHON={} {}: {} is needed.".format(asked, what, wanted))
    found = ", ".join("{} ({})".format(*name_and_version) for name_and_version in seen)
    text = "{} is needed{}: install one from https://www.python.org/downloads/ or your system's "
    text += "packages, or name one with PYTHON=/path/to/python3.11."
    raise SetupError(text.format(wanted, "; found only " + found if seen else ""))


# --- Is there room, and is there a build ----------------------------------------------------------


def check_machine(root, torch):
    """Say now what would otherwise fail after minutes of downloading.

    Raises:
        SetupError: the disk is too full, or PyTorch has no build for this machine.
    """
    if platform.system() == "Darwin" and platform.machine() == "x86_64":
        text = "PyTorch has no build for Macs with an Intel processor: use the notebooks on Binder "
        raise SetupError(text + "or Colab instead (see README.md).")
    gpu_build = platform.system() == "Linux" and torch == "default"
    stays, passes = GPU_BUILD if gpu_build else SMALL_BUILD
    temporary = Path(tempfile.gettempdir())
    needs = [(root, stays), (temporary, passes)]
    if root.stat().st_dev == temporary.stat().st_dev:
        needs = [(root, stays + passes)]
    for folder, needed in needs:
        free = shutil.disk_usage(str(folder)).free / 1e9
        if free < needed:
            text = "Only {:.1f} GB are free on the disk of {}; the installation needs about {} GB"
            text = text.format(free, folder, needed)
            if gpu_build:
                text += " there (far less with TORCH=cpu, which is for machines without a GPU)"
            raise SetupError(text + ". Make room, then run the same command again.")


# --- The stamp ------------------------------------------------------------------------------------


def read_stamp(root):
    """Return the stamp as a dictionary, empty where there is none that can be read."""
    try:
        stamp = json.loads((root / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def make_stamp(root, groups, torch):
    """What .venv is made from. The folder is part of it: scripts in a moved .venv do not run."""
    version = (look_at(root / PYTHON) or [None])[0]
    stamp = {"groups": groups, "torch": torch, "python": version, "folder": str(root)}
    for name in ("pyproject.toml", "constraints.txt"):
        stamp[name] = hashlib.sha256((root / name).read_bytes()).hexdigest()
    return stamp


def write_stamp(root, stamp):
    """Write the stamp whole or not at all."""
    part = root / (STAMP + ".part")
    part.write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")
    os.replace(str(part), str(root / STAMP))


# --- Installing -----------------------------------------------------------------------------------


def find_uv(root):
    """Return a uv that runs: the person's own, or the one in .venv (put there now); else None."""
    if os.environ.get("MTL_INSTALLER") == "pip":
        return None
    for uv in ("uv", root / UV):
        if ask([uv, "--version"])[0] == 0:
            return uv
    return uv if ask([root / PYTHON, "-m", "pip", "install", "uv"])[0] == 0 else None


def uv_environment(root):
    """The environment for uv, with the person's settings of pip under uv's names."""
    names = dict(os.environ)
    for line in ask([root / PYTHON, "-m", "pip", "config", "list"])[1]:
        key, _, value = line.partition("=")
        name = UV_NAMES.get(key.rpartition(".")[2])
        if name:
            names.setdefault(name, value.strip("'\""))
    return names


def install(root, groups, torch):
    """Install the project and its groups of dependencies, in the versions of constraints.txt."""
    project = ".[{}]".format(",".join(groups)) if groups else "."
    steps = [["-c", "constraints.txt", "-e", project]]
    if torch == "cpu":
        text = (root / "constraints.txt").read_text(encoding="utf-8")
        pair = re.findall(r"^(?:torch|torchvision)==[^\s;]+", text, re.MULTILINE)
        steps.insert(0, ["--no-deps", "--index-url", CPU_INDEX, *pair])
    uv = find_uv(root)
    for step in steps:
        if uv:
            command = [uv, "pip", "install", "--python", root / PYTHON]
            if run(command + step, cwd=str(root), env=uv_environment(root)) == 0:
                continue
            print("uv did not finish; it says why above. pip goes on from here.", flush=True)
            uv = None
        command = [root / PYTHON, "-m", "pip", "--disable-pip-version-check", "install"]
        if run(command + step, cwd=str(root)) != 0:
            text = "The installation did not finish; pip says why above. A first installation "
            raise SetupError(text + "needs a network. To try again, run the same command.")


def check_pair(root):
    """Raise SetupError where torch and torchvision do not import together."""
    status, lines = ask([root / PYTHON, "-c", PAIR])
    if status != 0:
        text = "{} do not import together ({}). Fix: rm -rf .venv, then run the same command again"
        text += " without settings that make pip prefer other builds (PIP_FIND_LINKS, "
        raise SetupError((text + "PIP_EXTRA_INDEX_URL).").format(lines[0], lines[-1]))


def prepare(root, groups=(), torch="", python=""):
    """Make .venv fit pyproject.toml and constraints.txt; do nothing where it fits already.

    Args:
        root: the project's folder.
        groups: optional groups of dependencies that are needed; those .venv has already stay.
        torch: "cpu", "default", or "" for what .venv has already (otherwise "default").
        python: what PYTHON=… named, or "".
    """
    old = read_stamp(root)
    groups = sorted({*groups, *old.get("groups", [])})
    if torch == "cpu" and platform.system() != "Linux":
        torch = "default"  # elsewhere the ordinary build is the small one
    torch = torch or old.get("torch") or "default"
    new = make_stamp(root, groups, torch)
    usable = all(old.get(name) == new[name] for name in ("folder", "python", "torch"))
    if python:
        usable = usable and (look_at(python) or [None])[0] == new["python"]
    if usable and old == new:
        return
    if usable:
        (root / STAMP).unlink()
        print("Bringing .venv up to date with pyproject.toml and constraints.txt", flush=True)
    else:
        build_venv(root, torch, python)
    install(root, groups, torch)
    check_pair(root)
    write_stamp(root, make_stamp(root, groups, torch))


def build_venv(root, torch, python):
    """Make an empty .venv, in place of one that is broken or made from something else."""
    interpreter = choose_python(python)
    check_machine(root, torch)
    if (root / STAMP).exists():
        (root / STAMP).unlink()
    if (root / ".venv").exists():
        shutil.rmtree(str(root / ".venv"))
    print("Making .venv with {}; this takes a minute or two, once".format(interpreter), flush=True)
    if run([interpreter, "-m", "venv", root / ".venv"]) != 0:
        raise SetupError("{} -m venv failed; it says why above.".format(interpreter))


def update(root, versions, groups, python):
    """For maintainers: write constraints.txt for all systems and Pythons at once, then install it.

    Versions are the "newest", or "needed": they stay where pyproject.toml does not force a move.
    """
    if look_at(root / PYTHON) is None:
        build_venv(root, "default", python)
    uv = find_uv(root)
    if uv is None:
        raise SetupError("Only uv can write constraints.txt, and it could not be had here.")
    command = [uv, "pip", "compile", *COMPILE.split(), "--custom-compile-command", "make update"]
    command += ["--upgrade"] if versions == "newest" else []
    if run(command, cwd=str(root), env=uv_environment(root)) != 0:
        raise SetupError("uv wrote no new constraints.txt; it says why above.")
    prepare(root, groups, "", python)


def main(arguments=None):
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("groups", nargs="*", help="optional groups to install: test, kit")
    parser.add_argument("--torch", default="", choices=["", "cpu", "default"])
    parser.add_argument("--python", default="", help="the Python to use (3.11 to 3.13)")
    parser.add_argument(
        "--update", choices=["newest", "needed"], help="write constraints.txt first"
    )
    options = parser.parse_args(arguments)
    os.environ["PIP_USER"] = "0"  # a "user = true" in pip's settings is an error inside a venv
    try:
        if options.update:
            update(ROOT, options.update, options.groups, options.python)
        else:
            prepare(ROOT, options.groups, options.torch, options.python)
    except SetupError as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. The same command starts again.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
