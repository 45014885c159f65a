#!/usr/bin/env python3
"""Prepare .venv for the notebooks. `make setup` calls this; you can too.

What can go wrong is said in one line before anything is downloaded. When the work is done, a stamp
in .venv records what it was made from; while the stamp fits, this does nothing at all: no pip, no
network. An interrupted installation leaves no stamp, and the next run starts again from nothing.

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
OLDEST, NEWEST = (3, 11), (3, 13)
CANDIDATES = ("python3", "python3.11", "python3.12", "python3.13", "python")
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


class SetupError(Exception):
    """Something the person has to mend; its text is the one line they read."""


def run(command, **options):
    """Run a command that shows its own output; return its exit status."""
    return subprocess.run([str(part) for part in command], check=False, **options).returncode


def ask(command):
    """Run a command quietly; return (exit status, lines of output)."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
        )
    except OSError as error:
        return 127, [str(error)]
    return done.returncode, done.stdout.strip().splitlines()


def dotted(version):
    """(3, 11) -> "3.11"."""
    return ".".join(str(part) for part in version)


# --- Which Python ---------------------------------------------------------------------------------


def look_at(command):
    """Return (version, path of the real interpreter, has venv), or None where it does not run.

    The real interpreter, since python3 may be that of an activated .venv we are about to replace.
    """
    status, lines = ask([command, "-c", PROBE])
    if not lines or not re.match(r"\d+\.\d+$", lines[0]):
        return None
    version = tuple(int(part) for part in lines[0].split("."))
    return version, lines[1], status == 0 and lines[-1] == "venv"


def choose_python(asked):
    """Return the interpreter to build .venv with.

    Args:
        asked: what PYTHON=… named, or an empty string to search the usual names.

    Raises:
        SetupError: none of them will do.
    """
    wanted = "Python {} to {}".format(dotted(OLDEST), dotted(NEWEST))
    seen = []
    for name in [asked] if asked else CANDIDATES:
        found = look_at(name)
        if found is None:
            continue
        version, path, has_venv = found
        if OLDEST <= version <= NEWEST and has_venv:
            return path
        seen.append((name, version, has_venv))
    for name, version, _ in seen:
        if OLDEST <= version <= NEWEST:
            text = "{0} is Python {1} without its venv module: install it (Debian and Ubuntu: "
            text += "apt install python{1}-venv), then run the same command again."
            raise SetupError(text.format(name, dotted(version)))
    if asked:
        what = "is Python " + dotted(seen[0][1]) if seen else "does not run"
        raise SetupError("PYTHON={} {}: {} is needed.".format(asked, what, wanted))
    what = "; found only " + ", ".join(
        "{} ({})".format(name, dotted(version)) for name, version, _ in seen
    )
    text = "{} is needed{}: install one from https://www.python.org/downloads/ or your system's "
    text += "packages, or name one with PYTHON=/path/to/python3.11."
    raise SetupError(text.format(wanted, what if seen else ""))


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
    if root.stat().st_dev == temporary.stat().st_dev:
        needs = [(root, stays + passes)]
    else:
        needs = [(root, stays), (temporary, passes)]
    for folder, needed in needs:
        free = shutil.disk_usage(str(folder)).free / 1e9
        if free < needed:
            text = "Only {:.1f} GB are free on the disk of {}; the installation needs about {} GB"
            text = text.format(free, folder, needed)
            if gpu_build:
                text += " there (far less with TORCH=cpu, which is for machines without a GPU)"
            raise SetupError(text + ". Make room, then run the same command again.")


# --- The stamp ------------------------------------------------------------------------------------


def venv_python(root):
    """The interpreter inside .venv."""
    return root / ".venv" / "bin" / "python"


def stamp_file(root):
    """Where the stamp lies."""
    return root / ".venv" / "mtl-stamp.json"


def read_stamp(root):
    """Return the stamp as a dictionary, empty where there is none that can be read."""
    try:
        stamp = json.loads(stamp_file(root).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def make_stamp(root, torch, version):
    """What .venv is made from. The folder is part of it: scripts in a moved .venv do not run."""
    hashes = {
        name: hashlib.sha256((root / name).read_bytes()).hexdigest()
        for name in ("pyproject.toml", "constraints.txt")
    }
    return dict(hashes, torch=torch, python=dotted(version), folder=str(root))


def write_stamp(root, stamp):
    """Write the stamp whole or not at all."""
    part = stamp_file(root).with_suffix(".part")
    part.write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")
    os.replace(str(part), str(stamp_file(root)))


# --- Installing -----------------------------------------------------------------------------------


def pip(root, *arguments):
    """Call the pip of .venv.

    Raises:
        SetupError: pip failed; its own message stands above this one.
    """
    command = [venv_python(root), "-m", "pip", "--disable-pip-version-check", *arguments]
    # PIP_USER: a "user = true" in a person's pip settings is an error inside a venv.
    if run(command, cwd=str(root), env=dict(os.environ, PIP_USER="0")) != 0:
        text = "The installation did not finish; pip says why above. A first installation needs a "
        raise SetupError(text + "network. To try again, run the same command.")


def pinned(root, name):
    """Return "name==version" from constraints.txt."""
    for line in (root / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line.strip().startswith(name + "=="):
            return line.strip()
    raise SetupError("constraints.txt does not pin {}.".format(name))


def install(root, torch):
    """Install the project and what it needs, in the versions of constraints.txt."""
    if torch == "cpu":
        pair = [pinned(root, "torch"), pinned(root, "torchvision")]
        pip(root, "install", "--no-deps", "--index-url", CPU_INDEX, *pair)
    pip(root, "install", "-c", "constraints.txt", "-e", ".[test]")


def check_pair(root):
    """Look whether torch and torchvision import together.

    Raises:
        SetupError: they do not.
    """
    status, lines = ask([venv_python(root), "-c", PAIR])
    if status != 0:
        text = "{} do not import together ({}). Mend: rm -rf .venv, then run the same command again"
        text += " without settings that make pip prefer other builds (PIP_FIND_LINKS, "
        raise SetupError((text + "PIP_EXTRA_INDEX_URL).").format(lines[0], lines[-1]))


def prepare(root, torch="", python=""):
    """Make .venv fit pyproject.toml and constraints.txt; do nothing where it fits already.

    Args:
        root: the project's folder.
        torch: "cpu", "default", or "" for what .venv has already (otherwise "default").
        python: what PYTHON=… named, or "".

    Returns:
        True where something was installed.
    """
    old = read_stamp(root)
    present = look_at(venv_python(root)) if old else None
    usable = present is not None and old.get("folder") == str(root)
    usable = usable and old.get("python") == dotted(present[0])
    if torch == "cpu" and platform.system() != "Linux":
        torch = "default"  # elsewhere the ordinary build is the small one
    torch = torch or old.get("torch") or "default"
    if usable and python:
        asked = look_at(python)
        usable = asked is not None and asked[0] == present[0]
    usable = usable and old["torch"] == torch
    if usable and old == make_stamp(root, torch, present[0]):
        return False
    if usable:
        stamp_file(root).unlink()
        print("Bringing .venv up to date with pyproject.toml and constraints.txt", flush=True)
    else:
        build_venv(root, torch, python)
    install(root, torch)
    check_pair(root)
    write_stamp(root, make_stamp(root, torch, look_at(venv_python(root))[0]))
    return True


def build_venv(root, torch, python):
    """Make an empty .venv, in place of one that is broken or made from something else."""
    interpreter = choose_python(python)
    check_machine(root, torch)
    if stamp_file(root).exists():
        stamp_file(root).unlink()
    if (root / ".venv").exists():
        shutil.rmtree(str(root / ".venv"))
    print("Making .venv with {}; this takes a few minutes, once".format(interpreter), flush=True)
    if run([interpreter, "-m", "venv", root / ".venv"]) != 0:
        raise SetupError("{} -m venv failed; it says why above.".format(interpreter))


def update(root, python=""):
    """For maintainers: the newest versions the ranges allow, written to constraints.txt."""
    build_venv(root, "default", python)
    pip(root, "install", "-e", ".[test]")
    check_pair(root)
    status, lines = ask([venv_python(root), "-m", "pip", "freeze", "--all", "--exclude", "pip"])
    pins = [line.split("+")[0] for line in lines if re.match(r"[\w.-]+==\S+$", line)]
    if status != 0 or not pins:
        raise SetupError("pip freeze failed: {}".format(lines[-1] if lines else "no output"))
    version = look_at(venv_python(root))[0]
    head = "# The exact versions the stored outputs were made with, from Python {}.\n"
    head += "# Written by `make update`; do not edit by hand.\n"
    part = root / "constraints.txt.part"
    part.write_text(head.format(dotted(version)) + "\n".join(pins) + "\n", encoding="utf-8")
    os.replace(str(part), str(root / "constraints.txt"))
    write_stamp(root, make_stamp(root, "default", version))


def main(arguments=None):
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", default="", choices=["", "cpu", "default"])
    parser.add_argument("--python", default="", help="the Python to use (3.11 to 3.13)")
    parser.add_argument("--update", action="store_true", help="write a new constraints.txt")
    options = parser.parse_args(arguments)
    try:
        if options.update:
            update(ROOT, options.python)
        else:
            prepare(ROOT, options.torch, options.python)
    except SetupError as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. The same command starts again.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
