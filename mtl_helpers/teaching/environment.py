"""Is this machine ready for the lessons? What was found, and what to do about each finding.

The check changes nothing and never raises. Versions come from the installed metadata, and torch
and torchvision are imported in a second Python, so that a broken pair cannot break this one.
"""

from __future__ import annotations

import html
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from mtl_helpers.files import data_folder

ROOT = Path(__file__).resolve().parents[2]
# Name, a pattern that is there when the data are, the official route, the lesson that uses it.
DATA_SETS = (
    ("MNIST", "MNIST/raw/train-images*", 'overlapping_digits("mnist", download=True)', "00"),
    ("FashionMNIST", "FashionMNIST/raw/train-images*",
     'overlapping_digits("fashion", download=True)', "00"),
    ("BBBC038", "BBBC038/stage1_train*",
     "https://data.broadinstitute.org/bbbc/BBBC038/stage1_train.zip", "10"),
    ("fsdd", "fsdd/*", "https://github.com/Jakobovski/free-spoken-digit-dataset", "09"),
    ("snips", "snips/train/seq.in", "https://github.com/MiuLab/SlotGated-SLU, data/snips", "08"),
)  # fmt: skip
# Runs in a second Python. Each fact is printed once it is known: the first gap says what broke.
TORCH_PROBE = """
import json
def say(**facts): print("FACT" + json.dumps(facts), flush=True)
import torch
say(torch=torch.__version__, cuda=torch.version.cuda, threads=torch.get_num_threads())
cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
say(cards=[torch.cuda.get_device_name(i) for i in range(cards)], mps=torch.mps.is_available())
import torchvision
torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
say(pair=True)
"""
# A notebook's first code cell: on Colab and Kaggle it runs notebooks/hosted.py, which is searched
# for here, one folder up (notebooks/deeper/), in a clone's notebooks/, and in that of a clone here.
# JupyterLab shows the first line of a folded cell.
HOSTED_CELL = """\
from glob import glob  # for Colab and Kaggle; does nothing anywhere else
from runpy import run_path

hosted = [f for p in ("", "../", "notebooks/", "*/notebooks/") for f in glob(p + "hosted.py")]
run_path(hosted[0])["prepare"]() if hosted else print("On Colab or Kaggle, clone the project first")
"""


@dataclass(frozen=True)
class Finding:
    """One thing looked at: state is "ok", "warning", "problem" or "not tested"."""

    name: str
    state: str
    found: str
    mend: str = ""


@dataclass(repr=False)
class Report:
    """What :func:`check_environment` found, always in the same order; ``report["torch"]``."""

    findings: list[Finding]

    @property
    def problems(self) -> list[Finding]:
        """The findings that stop a lesson."""
        return [finding for finding in self.findings if finding.state == "problem"]

    @property
    def ok(self) -> bool:
        """True when there is no problem (warnings do not count)."""
        return not self.problems

    def __getitem__(self, name: str) -> Finding:
        return next(finding for finding in self.findings if finding.name == name)

    def _summary(self) -> str:
        states = [finding.state for finding in self.findings]
        kinds = ("problem", "warning", "not tested", "ok")
        return "Environment: " + ", ".join(f"{states.count(kind)} {kind}" for kind in kinds)

    def __repr__(self) -> str:
        lines = [self._summary()]
        for f in self.findings:
            lines.append(f"[{f.state}]".ljust(13) + f"{f.name}: {f.found}")
            lines += [" " * 15 + "-> " + line for line in f.mend.splitlines()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [("State", "What", "Found", "What to do")]
        rows += [(f.state, f.name, f.found, f.mend) for f in self.findings]
        lines = ["".join(f"<td>{html.escape(text)}</td>" for text in row) for row in rows]
        start = '<tr style="white-space: pre-wrap; text-align: left">'
        body = "".join(f"{start}{line}</tr>" for line in lines).replace("td>", "th>", 8)
        return f"<p>{self._summary()}</p><table>{body}</table>"


def hosted() -> str | None:
    """``"colab"``, ``"kaggle"`` or None. Kaggle first: its image is built on Colab's."""
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return "kaggle"
    return "colab" if "COLAB_RELEASE_TAG" in os.environ else None


def _torch() -> dict[str, Any]:
    command = [sys.executable, "-c", TORCH_PROBE]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    facts: dict[str, Any] = {"said": run.stderr}
    for line in run.stdout.splitlines():
        if line.startswith("FACT"):
            facts |= json.loads(line.removeprefix("FACT"))
    if run.returncode:
        facts["error"] = (run.stderr.strip() or f"exit status {run.returncode}").splitlines()[-1]
    return facts


def _nvidia() -> str:
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        run = subprocess.run(query, capture_output=True, text=True, timeout=60)
        if run.returncode == 0 and run.stdout.strip():
            return run.stdout.splitlines()[0].replace(", ", ", driver ")
    signs = ("/proc/driver/nvidia", "/dev/nvidia0")
    return next((f"a card (there is {sign})" for sign in signs if Path(sign).exists()), "")


def _front_end() -> str:
    kernel = sys.modules.get("ipykernel.kernelapp")
    if kernel is None or not kernel.IPKernelApp.initialized():
        return "none"
    if "__vsc_ipynb_file__" in kernel.IPKernelApp.instance().shell.user_ns:
        return "VS Code"
    if "JPY_SESSION_NAME" in os.environ:  # set by the server that both share
        return "JupyterLab or Jupyter Notebook"
    return "VS Code" if "VSCODE_PID" in os.environ else "none"


def _disk() -> tuple[float, bool]:
    folder = data_folder().absolute()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return shutil.disk_usage(there).free / 1e9, os.access(there, os.W_OK)


FACTS = {
    "hosted": hosted,  # None, "colab" or "kaggle"
    "platform": lambda: sys.platform,  # "linux", "darwin" or "win32"
    "python": platform.python_version,
    "pip": lambda: "%pip" if hosted() else f'"{sys.executable}" -m pip',  # of this very Python
    "project": lambda: tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"],
    "versions": lambda: {d.name.lower().replace("_", "-"): d.version
                         for d in metadata.distributions()},
    "torch": _torch,  # what the probe printed, and "error" where it broke off
    "nvidia": _nvidia,  # how an NVIDIA card shows itself; "" where it does not
    "front_end": _front_end,
    "digits": lambda: importlib.util.find_spec("sklearn") is not None,
    "data": lambda: {name: any(data_folder().glob(sign)) for name, sign, *_ in DATA_SETS},
    "disk": _disk,  # free GB where the data go, and whether one may write there
    "cores": lambda: len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
}  # fmt: skip


class Machine:
    """The facts that the check judges, each read when it is first asked for.

    Args:
        **facts: facts that stand in for what would be read, to try out a fault.
    """

    def __init__(self, **facts: Any) -> None:
        self.__dict__.update(facts)

    def __getattr__(self, name: str) -> Any:
        if name not in FACTS:
            raise AttributeError(name)
        self.__dict__[name] = FACTS[name]()
        return self.__dict__[name]


def matching_torchvision(torch_version: str) -> str:
    """The torchvision that goes with a torch (table in the README of github.com/pytorch/vision).

    torch 2.N goes with torchvision 0.(N+15); from 0.29.1 on, one torchvision serves 2.14 and later.
    """
    minor = int(torch_version.split(".")[1])
    return f"torchvision==0.{minor + 15}.*" if minor < 14 else "torchvision>=0.29.1"


def _wanted(machine: Machine) -> dict[str, Any]:
    from packaging.requirements import Requirement  # comes with matplotlib, which may be missing

    return {r.name: r for r in map(Requirement, machine.project["dependencies"])}


def _reinstall(machine: Machine) -> str:
    """Commands that leave a matching torch and torchvision; Colab's and Kaggle's torch stays."""
    wanted, installed = _wanted(machine), machine.versions.get("torch", "")
    version = installed.partition("+")[0]
    build = machine.torch.get("torch", installed).partition("+")[2]  # "cpu", "cu128", or none
    pair, gone = f'"{wanted["torch"]}" "{wanted["torchvision"]}"', "torch torchvision"
    if machine.hosted:
        pair, gone = f'"torch=={installed}" "{matching_torchvision(version)}"', "torchvision"
    elif installed and version in wanted["torch"].specifier:
        pair = f'"torch=={version}" "{matching_torchvision(version)}"'
    if not machine.hosted and machine.nvidia:  # the ordinary index: CUDA on Linux, not on Windows
        build = "cu130" if machine.platform == "win32" else ""
    elif not machine.hosted:
        build = "" if machine.platform == "darwin" else "cpu"
    index = f" --index-url https://download.pytorch.org/whl/{build}" if build else ""
    return (f"{machine.pip} uninstall -y {gone}\n{machine.pip} install {pair}{index}\n"
            "then restart the kernel")  # fmt: skip


def _check_python(machine: Machine) -> Iterator[Finding]:
    from packaging.specifiers import SpecifierSet

    wanted, place = machine.project["requires-python"], machine.hosted or "your own machine"
    state = "warning" if machine.hosted else "problem"
    mend = "install such a Python from https://www.python.org, remove .venv, then: make lab"
    if machine.python in SpecifierSet(wanted):
        state, mend = "ok", ""
    yield Finding("Python", state, f"{machine.python} on {place}, wanted {wanted}", mend)


def _check_packages(machine: Machine) -> Iterator[Finding]:
    good, keep = [], ""
    if machine.hosted:
        names = ("torch", "torchvision", "numpy")
        keep = "".join(f' "{n}=={machine.versions[n]}"' for n in names if n in machine.versions)
    for name, wanted in _wanted(machine).items():
        version = machine.versions.get(name)
        if name in ("torch", "torchvision") or (machine.hosted and name == "jupyterlab"):
            continue  # judged below; and the front end of Colab and Kaggle is their own
        if version and version in wanted.specifier:
            good.append(f"{name} {version}")
            continue
        state = "warning" if machine.hosted and version else "problem"
        found = f"{version or 'not installed'}, wanted {wanted}"
        yield Finding(name, state, found, f'{machine.pip} install "{wanted}"{keep}')
    yield Finding("packages", "ok", f"{len(good)} in range: {', '.join(good)}")


def _check_torch(machine: Machine) -> Iterator[Finding]:
    facts, wanted = machine.torch, _wanted(machine)
    version, error = machine.versions.get("torch"), facts.get("error", "")
    if version is None or "torch" not in facts:
        found = f"does not import: {error}" if version else "not installed"
        yield Finding("torch", "problem", found, _reinstall(machine))
        return
    if version in wanted["torch"].specifier:
        yield Finding("torch", "ok", f"{version}, imports")
    elif machine.hosted:
        mend = "keep it: replacing the torch of Colab or Kaggle breaks more than it fixes"
        yield Finding("torch", "warning", f"{version}, wanted {wanted['torch']}", mend)
    else:
        known = " (2.13.0 is known not to work with torchvision)" if "2.13.0" in version else ""
        found = f"{version}, wanted {wanted['torch']}{known}"
        yield Finding("torch", "problem", found, _reinstall(machine))
    both = f"torch {version} with torchvision {machine.versions.get('torchvision', 'missing')}"
    if facts.get("pair"):
        yield Finding("torch and torchvision", "ok", f"{both}: they work together")
    else:
        found = f"{both} does not work: {error}"
        yield Finding("torch and torchvision", "problem", found, _reinstall(machine))


def _check_gpu(machine: Machine) -> Iterator[Finding]:
    facts, card = machine.torch, machine.nvidia
    if facts.get("cards"):
        yield Finding("GPU", "ok", f"torch can use {', '.join(facts['cards'])}; lesson 10 will")
    elif facts.get("mps"):
        yield Finding("GPU", "ok", "Apple GPU (MPS); the lessons run on the CPU all the same")
    elif not card:
        yield Finding("GPU", "ok", "no NVIDIA card found; the lessons run on the CPU")
    elif "torch" not in facts:
        yield Finding("GPU", "not tested", card, "fix torch first")
    elif facts["cuda"] is None:
        mend = _reinstall(machine)
        if machine.platform == "linux" and not machine.hosted:
            mend = f"rm -rf .venv && make setup TORCH=default\nor torch alone:\n{mend}"
        yield Finding("GPU", "warning", f"{card}, but torch is a CPU-only build", mend)
    else:
        why = [line for line in facts["said"].splitlines() if "driver" in line.lower()]
        found = f"{card}, but torch for CUDA {facts['cuda']} cannot use it. {' '.join(why)}".strip()
        mend = (
            "install a newer driver (https://www.nvidia.com/drivers), restart the machine, and "
            "see that CUDA_VISIBLE_DEVICES is not empty; until then everything runs on the CPU"
        )
        yield Finding("GPU", "warning", found, mend)


def _check_widgets(machine: Machine) -> Iterator[Finding]:
    place = machine.hosted or machine.front_end
    dead = {
        "colab": "run: from google.colab import output; output.enable_custom_widget_manager()",
        "kaggle": "reload the page; a saved version shows pictures only",
        "VS Code": 'trust the workspace, set "jupyter.widgetScriptSources": '
                   '["jsdelivr.com", "unpkg.com"], reload the window',
        "JupyterLab or Jupyter Notebook": "reload the page; if it stays dead: "
            f'{machine.pip} install "jupyterlab_widgets>=3", then start JupyterLab again',
    }.get(place)  # fmt: skip
    press = f"run widget_test(report) and press its button. If nothing happens: {dead}"
    mend = press if dead else "no front end shows widgets here; open JupyterLab: make lab"
    found = f"ipywidgets {machine.versions.get('ipywidgets', 'missing')}, front end: {place}"
    yield Finding("widgets", "not tested", found, mend)


def _check_data(machine: Machine) -> Iterator[Finding]:
    if machine.digits:
        yield Finding("data: digits", "ok", "present (they come with scikit-learn)")
    else:
        yield Finding("data: digits", "problem", "not found", "install scikit-learn (see above)")
    for name, _, route, lesson in DATA_SETS:
        if machine.data[name]:
            yield Finding(f"data: {name}", "ok", "present")
        else:
            mend = f"optional: {route}, into the data folder (data/downloads, or MTL_DATA)"
            yield Finding(f"data: {name}", "ok", f"not present (lesson {lesson} can use it)", mend)


def _check_disk(machine: Machine) -> Iterator[Finding]:
    free, writable = machine.disk
    found = f"{free:.1f} GB free" + ("" if writable else ", but the data folder is read-only")
    state = "ok" if free > 2 and writable else "warning" if free > 0.2 else "problem"
    mend = "free some room, or set MTL_DATA to a folder on a larger disk that you may write to"
    yield Finding("disk", state, found, "" if state == "ok" else mend)


def _check_processor(machine: Machine) -> Iterator[Finding]:
    cores, threads = machine.cores, machine.torch.get("threads", 0)
    found, mend = f"{cores} cores, torch uses {threads or 'unknown'} threads", ""
    if threads > cores:
        mend = f"start Jupyter with OMP_NUM_THREADS={cores}: more threads than cores are slow"
    yield Finding("processor", "warning" if mend else "ok", found, mend)


CHECKS = (_check_python, _check_packages, _check_torch, _check_gpu, _check_widgets, _check_data,
          _check_disk, _check_processor)  # fmt: skip


def check_environment(machine: Machine | None = None) -> Report:
    """Look at everything the lessons need; takes some seconds, since torch is imported afresh.

    Args:
        machine: the facts to judge; this machine when None.

    Returns:
        The report. It never raises: a probe that fails is a finding too.
    """
    machine = machine or Machine()
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings.extend(check(machine))
        except Exception as error:
            found = f"could not be looked at: {type(error).__name__}: {error}"
            mend = "go on; if a lesson fails, this line says where to begin"
            name = check.__name__.removeprefix("_check_")
            findings.append(Finding(name, "warning", found, mend))
    return Report(findings)


def widget_test(report: Report) -> Any:
    """A button that says "alive" when pressed, by way of the kernel, and tells the report so.

    Returns:
        An ipywidgets.Button; the finding "widgets" is "ok" after a press.
    """
    import ipywidgets

    button = ipywidgets.Button(description="Press me", tooltip="Tests the way to the kernel")

    def pressed(_: Any) -> None:
        button.description = "alive"
        alive = Finding("widgets", "ok", "alive: a press of the button reached the kernel")
        report.findings = [alive if f.name == "widgets" else f for f in report.findings]

    button.on_click(pressed)
    return button
