"""Each fault is faked through the facts of a Machine; one test looks at this machine for real."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from mtl_helpers.teaching import environment
from mtl_helpers.teaching.environment import (
    DATA_SETS,
    FACTS,
    HOSTED_CELL,
    Finding,
    Machine,
    Report,
    check_environment,
    hosted,
    matching_torchvision,
    widget_test,
)

ROOT = Path(__file__).resolve().parents[2]
NMS = "RuntimeError: operator torchvision::nms does not exist"
WORKING = {
    "said": "",
    "torch": "2.15.0+cpu",
    "cuda": None,
    "threads": 2,
    "cards": [],
    "mps": False,
    "pair": True,
}
VERSIONS = {
    "torch": "2.15.0",
    "torchvision": "0.29.2",
    "numpy": "2.4.6",
    "matplotlib": "3.11.2",
    "ipywidgets": "8.1.9",
    "jupyterlab": "4.6.6",
}
SOUND = {
    "hosted": None,
    "platform": "linux",
    "python": "3.12.4",
    "pip": "PIP",
    "project": {
        "requires-python": ">=3.11,<3.14",
        "dependencies": [
            "torch>=2.11,!=2.13.0",
            "torchvision>=0.26",
            "matplotlib>=3.9",
            "ipywidgets>=8.1",
            "jupyterlab>=4.3",
        ],
    },
    "versions": VERSIONS,
    "torch": WORKING,
    "nvidia": "",
    "front_end": "JupyterLab or Jupyter Notebook",
    "digits": True,
    "data": {name: True for name, *_ in DATA_SETS},
    "disk": (50.0, True),
    "cores": 4,
}


def check(**facts) -> Report:
    return check_environment(Machine(**{**SOUND, **facts}))


def with_versions(**changes) -> dict[str, str]:
    versions = {**VERSIONS, **changes}
    return {name: version for name, version in versions.items() if version is not None}


def broken(torch: str = "2.15.0", **facts) -> dict:
    """Facts of a machine whose torchvision does not import beside its torch."""
    probe = {**WORKING, "torch": torch, "error": NMS, "pair": None, **facts}
    return {key: value for key, value in probe.items() if value is not None or key == "cuda"}


# --- A sound machine ----------------------------------------------------------------------------


def test_a_sound_machine_has_nothing_to_mend_but_the_button_to_press() -> None:
    report = check()
    assert report.ok and report.problems == []
    assert [f.name for f in report.findings if f.state != "ok"] == ["widgets"]
    assert all(f.mend == "" for f in report.findings if f.state == "ok")


def test_the_fakes_cover_every_fact() -> None:
    assert SOUND.keys() == FACTS.keys()
    with pytest.raises(AttributeError, match="weather"):
        _ = Machine().weather


def test_the_order_is_always_the_same() -> None:
    names = [f.name for f in check().findings]
    assert names == [f.name for f in check().findings]
    assert names[:5] == ["Python", "packages", "torch", "torch and torchvision", "GPU"]
    assert len(set(names)) == len(names)


# --- Python and packages ------------------------------------------------------------------------


@pytest.mark.parametrize(("python", "good"), [("3.11.0", True), ("3.13.9", True),
                                              ("3.10.14", False), ("3.14.0", False)])  # fmt: skip
def test_python_out_of_range(python: str, good: bool) -> None:
    finding = check(python=python)["Python"]
    assert finding.state == ("ok" if good else "problem")
    assert python in finding.found and ">=3.11,<3.14" in finding.found
    assert ("make lab" in finding.mend) is not good


def test_python_of_a_hosted_service_is_only_a_warning() -> None:
    report = check(python="3.10.14", hosted="colab")
    assert report["Python"].state == "warning" and report.ok
    assert "colab" in report["Python"].found


def test_a_missing_package_is_named_with_the_exact_command() -> None:
    report = check(versions=with_versions(matplotlib=None))
    assert report["matplotlib"].state == "problem" and "not installed" in report["matplotlib"].found
    assert report["matplotlib"].mend == 'PIP install "matplotlib>=3.9"'
    assert not report.ok and "ipywidgets 8.1.9" in report["packages"].found


def test_a_package_that_is_too_old() -> None:
    finding = check(versions=with_versions(ipywidgets="7.7.1"))["ipywidgets"]
    assert (finding.state, finding.found) == ("problem", "7.7.1, wanted ipywidgets>=8.1")
    assert finding.mend == 'PIP install "ipywidgets>=8.1"'


def test_a_hosted_service_keeps_its_torch_and_needs_no_jupyterlab() -> None:
    old = with_versions(ipywidgets="7.7.1", jupyterlab=None, matplotlib=None)
    report = check(hosted="colab", pip="%pip", versions=old)
    assert report["ipywidgets"].state == "warning"
    assert report["matplotlib"].state == "problem"
    keep = '"torch==2.15.0" "torchvision==0.29.2" "numpy==2.4.6"'
    assert report["matplotlib"].mend == f'%pip install "matplotlib>=3.9" {keep}'
    assert "jupyterlab" not in [f.name for f in report.findings]


# --- torch and torchvision ----------------------------------------------------------------------


@pytest.mark.parametrize(("torch", "torchvision"), [
    ("2.0.1", "torchvision==0.15.*"), ("2.11.0", "torchvision==0.26.*"),
    ("2.12.1", "torchvision==0.27.*"), ("2.13.0+cpu", "torchvision==0.28.*"),
    ("2.14.0", "torchvision>=0.29.1"), ("2.15.0+cu132", "torchvision>=0.29.1"),
])  # fmt: skip
def test_matching_torchvision(torch: str, torchvision: str) -> None:
    assert matching_torchvision(torch) == torchvision


def test_torch_is_not_installed() -> None:
    versions = with_versions(torch=None)
    finding = check(versions=versions, torch={"said": "", "error": "no torch"})["torch"]
    assert (finding.state, finding.found) == ("problem", "not installed")
    assert 'PIP install "torch!=2.13.0,>=2.11" "torchvision>=0.26"' in finding.mend


def test_torch_does_not_import() -> None:
    error = "ImportError: libcudart.so.13: cannot open shared object file"
    report = check(torch={"said": error, "error": error})
    assert report["torch"].state == "problem" and error in report["torch"].found
    assert '"torch==2.15.0" "torchvision>=0.29.1"' in report["torch"].mend
    assert "torch and torchvision" not in [f.name for f in report.findings]


def test_a_torch_that_is_too_old() -> None:
    finding = check(versions=with_versions(torch="2.4.0"))["torch"]
    assert finding.state == "problem" and "torch!=2.13.0,>=2.11" in finding.found
    assert 'install "torch!=2.13.0,>=2.11" "torchvision>=0.26"' in finding.mend


@pytest.mark.parametrize("version", ["2.13.0", "2.13.0+cpu"])
def test_the_torch_that_is_known_to_be_bad(version: str) -> None:
    versions = with_versions(torch=version, torchvision="0.28.0")
    report = check(versions=versions, torch=broken(version))
    assert "2.13.0 is known not to work with torchvision" in report["torch"].found
    for name in ("torch", "torch and torchvision"):
        assert report[name].state == "problem"
        assert '"torch!=2.13.0,>=2.11"' in report[name].mend
        assert "==2.13.0" not in report[name].mend  # never put back


def test_a_mismatched_pair_on_a_machine_without_a_card() -> None:
    versions = with_versions(torch="2.12.1", torchvision="0.29.2")
    report = check(versions=versions, torch=broken("2.12.1+cpu"))
    assert report["torch"].state == "ok"
    finding = report["torch and torchvision"]
    assert finding.state == "problem"
    assert finding.found == f"torch 2.12.1 with torchvision 0.29.2 does not work: {NMS}"
    assert finding.mend.splitlines() == [
        "PIP uninstall -y torch torchvision",
        'PIP install "torch==2.12.1" "torchvision==0.27.*" '
        "--index-url https://download.pytorch.org/whl/cpu",
        "then restart the kernel",
    ]


@pytest.mark.parametrize(("facts", "index"), [
    ({"nvidia": "H200"}, ""), ({"platform": "darwin"}, ""), ({"platform": "win32"}, "cpu"),
    ({"platform": "win32", "nvidia": "RTX"}, "cu130"),
])  # fmt: skip
def test_the_mend_takes_the_build_that_suits_the_machine(facts: dict, index: str) -> None:
    mend = check(torch=broken(), **facts)["torch and torchvision"].mend
    expected = f" --index-url https://download.pytorch.org/whl/{index}" if index else ""
    install = 'PIP install "torch==2.15.0" "torchvision>=0.29.1"'
    assert mend.splitlines()[1] == install + expected


@pytest.mark.parametrize("place", ["colab", "kaggle"])
def test_a_mismatched_pair_on_a_hosted_service_keeps_torch(place: str) -> None:
    versions = with_versions(torch="2.11.0+cu128", torchvision="0.29.2")
    facts = {"hosted": place, "pip": "%pip", "versions": versions, "nvidia": "T4"}
    mend = check(torch=broken("2.11.0+cu128", cuda="12.8"), **facts)["torch and torchvision"].mend
    assert mend.splitlines() == [
        "%pip uninstall -y torchvision",
        '%pip install "torch==2.11.0+cu128" "torchvision==0.26.*" '
        "--index-url https://download.pytorch.org/whl/cu128",
        "then restart the kernel",
    ]


def test_an_old_torch_on_a_hosted_service_is_kept() -> None:
    versions = with_versions(torch="2.9.0+cu126", torchvision="0.24.0+cu126")
    report = check(hosted="colab", versions=versions, torch={**WORKING, "torch": "2.9.0+cu126"})
    assert report["torch"].state == "warning" and "keep it" in report["torch"].mend
    assert report.ok


def test_torchvision_is_missing() -> None:
    finding = check(versions=with_versions(torchvision=None), torch=broken())[
        "torch and torchvision"
    ]
    assert finding.state == "problem" and "torchvision missing" in finding.found
    assert '"torchvision>=0.29.1"' in finding.mend


# --- GPU ----------------------------------------------------------------------------------------


def test_a_card_with_a_cpu_only_torch() -> None:
    finding = check(nvidia="NVIDIA H200, driver 570.1")["GPU"]
    assert finding.state == "warning"
    assert finding.found == "NVIDIA H200, driver 570.1, but torch is a CPU-only build"
    assert "make setup TORCH=default" in finding.mend
    assert 'PIP install "torch==2.15.0" "torchvision>=0.29.1"\n' in finding.mend
    assert '"default"' in (ROOT / ".ci/bootstrap.py").read_text("utf-8")  # the word it understands
    assert "make" not in check(nvidia="RTX", platform="win32")["GPU"].mend


def test_a_card_whose_driver_is_too_old() -> None:
    said = "UserWarning: CUDA initialization: The NVIDIA driver on your system is too old"
    probe = {**WORKING, "torch": "2.15.0+cu132", "cuda": "13.2", "said": said + "\n  return x"}
    finding = check(nvidia="Tesla K80", torch=probe)["GPU"]
    assert finding.state == "warning" and "too old" in finding.found and "13.2" in finding.found
    assert "newer driver" in finding.mend and "CUDA_VISIBLE_DEVICES" in finding.mend


def test_a_card_that_torch_can_use() -> None:
    finding = check(nvidia="H200", torch={**WORKING, "cuda": "13.2", "cards": ["NVIDIA H200"]})
    assert finding["GPU"].state == "ok" and "NVIDIA H200" in finding["GPU"].found


def test_no_card_an_apple_chip_and_a_broken_torch() -> None:
    assert "no NVIDIA card" in check()["GPU"].found
    apple = check(platform="darwin", torch={**WORKING, "mps": True})["GPU"]
    assert apple.state == "ok" and "MPS" in apple.found
    broken_torch = check(nvidia="H200", torch={"said": "", "error": "ImportError"})["GPU"]
    assert (broken_torch.state, broken_torch.mend) == ("not tested", "fix torch first")


# --- Widgets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("facts", "advice"), [
    ({"front_end": "JupyterLab or Jupyter Notebook"}, 'PIP install "jupyterlab_widgets>=3"'),
    ({"front_end": "VS Code"}, "jupyter.widgetScriptSources"),
    ({"hosted": "colab"}, "output.enable_custom_widget_manager()"),
    ({"hosted": "kaggle"}, "reload the page"),
])  # fmt: skip
def test_widgets_are_not_tested_until_the_button_is_pressed(facts: dict, advice: str) -> None:
    finding = check(**facts)["widgets"]
    assert finding.state == "not tested" and "8.1.9" in finding.found
    assert "widget_test(report)" in finding.mend and advice in finding.mend
    assert (facts.get("hosted") or facts["front_end"]) in finding.found


def test_without_a_front_end_no_press_is_asked_for() -> None:
    finding = check(front_end="none")["widgets"]
    assert finding.state == "not tested" and "make lab" in finding.mend
    assert "press" not in finding.mend


def test_a_press_of_the_button_marks_the_report_alive() -> None:
    report = check()
    order = [f.name for f in report.findings]
    button = widget_test(report)
    assert button.description != "alive" and report["widgets"].state == "not tested"
    button.click()
    assert button.description == "alive"
    assert report["widgets"].state == "ok" and "alive" in report["widgets"].found
    assert [f.name for f in report.findings] == order


# --- Data, disk, processor ----------------------------------------------------------------------


@pytest.mark.parametrize("absent", [name for name, *_ in DATA_SETS])
def test_absent_data_are_named_with_their_route_and_lesson(absent: str) -> None:
    report = check(data={name: name != absent for name, *_ in DATA_SETS})
    for name, _, route, lesson in DATA_SETS:
        finding = report[f"data: {name}"]
        assert finding.state == "ok"
        assert finding.found.startswith("not present" if name == absent else "present")
        assert (route in finding.mend) is (name == absent)
        assert (f"lesson {lesson}" in finding.found) is (name == absent)


def test_data_are_found_in_their_official_layout(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MTL_DATA", str(tmp_path))
    assert not any(Machine().data.values())
    for file in ("MNIST/raw/train-images-idx3-ubyte.gz", "FashionMNIST/raw/train-images-idx3-ubyte",
                 "BBBC038/stage1_train.zip", "fsdd/free-spoken-digit-dataset.zip",
                 "snips/train/seq.in"):  # fmt: skip
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    assert all(Machine().data.values())


def test_missing_digits_are_a_problem() -> None:
    finding = check(digits=False)["data: digits"]
    assert finding.state == "problem" and "scikit-learn" in finding.mend


@pytest.mark.parametrize(("disk", "state"), [
    ((50.0, True), "ok"), ((1.5, True), "warning"), ((0.1, True), "problem"),
    ((50.0, False), "warning"),
])  # fmt: skip
def test_disk(disk: tuple[float, bool], state: str) -> None:
    finding = check(disk=disk)["disk"]
    assert finding.state == state and f"{disk[0]:.1f} GB" in finding.found
    assert ("MTL_DATA" in finding.mend) is (state != "ok")
    assert ("read-only" in finding.found) is not disk[1]


def test_disk_is_read_where_the_data_will_go(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MTL_DATA", str(tmp_path / "not" / "yet" / "there"))
    free, writable = Machine().disk
    assert free > 0 and writable


def test_more_threads_than_cores() -> None:
    finding = check(cores=2, torch={**WORKING, "threads": 64})["processor"]
    assert finding.state == "warning" and "64 threads" in finding.found
    assert "OMP_NUM_THREADS=2" in finding.mend
    assert check(cores=2)["processor"].state == "ok"


# --- The report itself --------------------------------------------------------------------------


def test_a_probe_that_fails_is_a_finding(monkeypatch) -> None:
    def no_permission() -> None:
        raise PermissionError("not allowed to look")

    for fact in FACTS:
        monkeypatch.setitem(FACTS, fact, no_permission)
    findings = check_environment(Machine()).findings
    assert len(findings) == len(environment.CHECKS)
    for finding in findings:
        assert finding.state == "warning" and "PermissionError" in finding.found and finding.mend


def test_text_shows_state_and_mend_in_words() -> None:
    text = repr(check(python="3.9.0", cores=1))
    assert text.startswith("Environment: 1 problem, 1 warning, 1 not tested")
    assert "[problem]    Python: 3.9.0" in text
    assert "\n               -> install such a Python" in text


def test_html_shows_state_in_words_and_escapes_what_was_found() -> None:
    class Cells(HTMLParser):
        rows: list[list[str]]

        def handle_starttag(self, tag: str, attrs) -> None:
            if tag == "table":
                self.rows = []
            elif tag == "tr":
                self.rows.append([])
            elif tag in ("td", "th"):
                self.rows[-1].append("")

        def handle_data(self, data: str) -> None:
            if getattr(self, "rows", None):
                self.rows[-1][-1] += data

    cells = Cells()
    found = [Finding("a", "problem", "<script>x</script>", "one\ntwo"), Finding("b", "ok", "td>")]
    cells.feed(Report(found)._repr_html_())
    assert cells.rows == [
        ["State", "What", "Found", "What to do"],
        ["problem", "a", "<script>x</script>", "one\ntwo"],
        ["ok", "b", "td>", ""],
    ]
    assert Report(found)._repr_html_().count("<th>") == 4
    assert "color" not in Report(found)._repr_html_()


# --- What is read from a machine ----------------------------------------------------------------


def fake_package(folder: Path, name: str, code: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(code)


STUB = """
from types import SimpleNamespace as N
__version__ = "2.13.0+cpu"
version, cuda = N(cuda=None), N(is_available=lambda: False)
mps = N(is_available=lambda: False)
def get_num_threads(): return 3
def tensor(values): return values
"""


def test_the_probe_reports_what_worked_before_it_broke(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    fake_package(tmp_path, "torch", STUB)
    fake_package(tmp_path, "torchvision", f"raise {NMS.split(':')[0]}({NMS.split(': ')[1]!r})")
    facts = Machine().torch
    assert facts["torch"] == "2.13.0+cpu" and facts["threads"] == 3 and facts["cards"] == []
    assert facts["error"] == NMS and "pair" not in facts


def test_the_probe_survives_a_pair_that_kills_python(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    fake_package(tmp_path, "torch", STUB)
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    fake_package(tmp_path, "torchvision", "import os; os.abort()")
    facts = Machine().torch
    assert facts["torch"] == "2.13.0+cpu" and "pair" not in facts and facts["error"]


def test_the_module_does_not_need_a_working_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import mtl_helpers.teaching.environment"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_nvidia_smi_is_asked(tmp_path: Path, monkeypatch) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho NVIDIA H200, 570.1\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    assert Machine().nvidia == "NVIDIA H200, driver 570.1"


@pytest.mark.parametrize(("variables", "place"), [
    ({}, None), ({"COLAB_RELEASE_TAG": "1"}, "colab"), ({"KAGGLE_KERNEL_RUN_TYPE": "x"}, "kaggle"),
    ({"COLAB_RELEASE_TAG": "1", "KAGGLE_KERNEL_RUN_TYPE": "x"}, "kaggle"),
])  # fmt: skip
def test_hosted(variables: dict[str, str], place: str | None, monkeypatch) -> None:
    for name in ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert hosted() == place
    assert Machine().pip == ("%pip" if place else f'"{sys.executable}" -m pip')


@pytest.mark.parametrize(("names", "variables", "front_end"), [
    ({}, {}, "none"),  # nbclient, nbconvert, nbval
    ({}, {"JPY_SESSION_NAME": "x"}, "JupyterLab or Jupyter Notebook"),
    ({"__vsc_ipynb_file__": "x"}, {"JPY_SESSION_NAME": "x"}, "VS Code"),
    ({}, {"VSCODE_PID": "1"}, "VS Code"),
    # JupyterLab started from the terminal of VS Code
    ({}, {"VSCODE_PID": "1", "JPY_SESSION_NAME": "x"}, "JupyterLab or Jupyter Notebook"),
])  # fmt: skip
def test_the_front_end_as_far_as_a_kernel_can_know(
    names: dict, variables: dict[str, str], front_end: str, monkeypatch
) -> None:
    for name in ("JPY_SESSION_NAME", "VSCODE_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    application = SimpleNamespace(shell=SimpleNamespace(user_ns=names))
    kernel = SimpleNamespace(initialized=lambda: True, instance=lambda: application)
    monkeypatch.setitem(sys.modules, "ipykernel.kernelapp", SimpleNamespace(IPKernelApp=kernel))
    assert Machine().front_end == front_end
    kernel.initialized = lambda: False
    assert Machine().front_end == "none"


def test_this_machine_for_real() -> None:
    report = check_environment()
    assert report.ok, report
    assert report["torch and torchvision"].state == "ok"
    assert not any("could not be looked at" in finding.found for finding in report.findings)
    assert report["widgets"].state == "not tested"


# --- The first cell for Colab and Kaggle --------------------------------------------------------


FOUND = {"torch": "2.9.0+cu126", "torchvision": "0.24.0+cu126", "numpy": "2.0.2"}
HOSTED_FILE = ROOT / "notebooks" / "hosted.py"


@pytest.fixture
def pip_calls(monkeypatch):
    calls: list[list[str]] = []

    def run(command: list[str], **_: object) -> SimpleNamespace:
        calls.append(command)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("importlib.metadata.version", FOUND.__getitem__)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    return calls


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder in which the project has been cloned."""
    for folder in ("mtl_helpers", "notebooks/deeper"):
        (tmp_path / "project" / folder).mkdir(parents=True)
    shutil.copy(HOSTED_FILE, tmp_path / "project" / "notebooks")
    return tmp_path


PLACES = ["project/notebooks", "project/notebooks/deeper", "project", "."]


@pytest.mark.parametrize("start", [*PLACES, "project/mtl_helpers"])
def test_the_cell_installs_nothing_on_ones_own_machine(
    start: str, pip_calls, clone: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(clone / start)
    before = list(sys.path)
    exec(HOSTED_CELL, {})
    assert pip_calls == [] and sys.path == before
    assert (capsys.readouterr().out == "") == (start in PLACES)


@pytest.mark.parametrize("variable", ["COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"])
@pytest.mark.parametrize("start", PLACES)
def test_the_cell_installs_the_helper_and_pins_torch(
    variable: str, start: str, pip_calls, clone: Path, monkeypatch
) -> None:
    monkeypatch.chdir(clone / start)
    monkeypatch.setenv(variable, "1")
    exec(HOSTED_CELL, {})
    helper, light = pip_calls
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    assert helper == [*pip, "--no-deps", "-e", str(clone / "project")]
    pins = ["torch==2.9.0+cu126", "torchvision==0.24.0+cu126", "numpy==2.0.2"]
    assert light == [*pip, "torchmetrics", "lightning-fabric", *pins]
    assert sys.path[0] == str(clone / "project")


def test_the_cell_says_when_the_project_is_not_there(
    pip_calls, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLAB_RELEASE_TAG", "1")
    exec(HOSTED_CELL, {})
    assert capsys.readouterr().out == "On Colab or Kaggle, clone the project first\n"
    assert pip_calls == []


def test_the_file_says_when_it_was_copied_alone(pip_calls, clone, monkeypatch) -> None:
    (clone / "project" / "mtl_helpers").rmdir()
    monkeypatch.chdir(clone)
    monkeypatch.setenv("COLAB_RELEASE_TAG", "1")
    with pytest.raises(RuntimeError, match="mtl_helpers is not here: clone the whole project"):
        exec(HOSTED_CELL, {})
    assert pip_calls == []


def test_the_file_says_what_to_do_when_pip_fails(pip_calls, clone, monkeypatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda command: SimpleNamespace(returncode=1))
    monkeypatch.chdir(clone)
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "x")
    with pytest.raises(RuntimeError, match="On Kaggle: switch Internet on"):
        exec(HOSTED_CELL, {})


def test_the_cell_is_short() -> None:
    lines = [line for line in HOSTED_CELL.splitlines() if line.strip()]
    assert len(lines) <= 4 and max(map(len, lines)) <= 100
