"""The bootstrap: which Python, which disk, uv or pip, what the stamp means. No downloads here."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def bootstrap(load_bootstrap, monkeypatch):
    module = load_bootstrap()
    monkeypatch.setattr(module.platform, "system", lambda: "Linux")
    monkeypatch.setattr(module.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: Usage(10**12, 0, 10**12))
    return module


def fake_python(path: Path, version: str, *, venv: bool = True) -> Path:
    """A program that answers the probe as a Python of that version would."""
    answer = f"#!/bin/sh\necho {version}\necho {path}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(answer + ("echo venv\n" if venv else "echo no ensurepip >&2; exit 1\n"))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


# --- Which Python ---------------------------------------------------------------------------------


def test_this_python_is_found_with_its_version(bootstrap):
    version, path, has_venv = bootstrap.look_at(sys.executable)
    assert version == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert Path(path).exists()
    assert has_venv


def test_a_python_that_is_too_old_is_passed_over(bootstrap, tmp_path, monkeypatch):
    fake_python(tmp_path / "python3", "3.9")
    good = fake_python(tmp_path / "python3.12", "3.12")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    monkeypatch.setattr(bootstrap, "CANDIDATES", ("python3", "python3.12"))
    assert bootstrap.choose_python("") == str(good)


@pytest.mark.parametrize("version", ["2.7", "3.10", "3.14", "4.0"])
def test_only_unsuitable_pythons_are_named_in_one_line(bootstrap, tmp_path, monkeypatch, version):
    fake_python(tmp_path / "python3", version)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    monkeypatch.setattr(bootstrap, "CANDIDATES", ("python3", "no-such-python"))
    with pytest.raises(bootstrap.SetupError) as error:
        bootstrap.choose_python("")
    message = str(error.value)
    assert f"found only python3 ({version})" in message
    assert "Python 3.11 to 3.13 is needed" in message
    assert "\n" not in message


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_every_supported_version_is_taken(bootstrap, tmp_path, version):
    python = fake_python(tmp_path / "python", version)
    assert bootstrap.choose_python(str(python)) == str(python)


def test_the_python_asked_for_is_not_replaced_by_another(bootstrap, tmp_path):
    old = fake_python(tmp_path / "python3", "3.8")
    with pytest.raises(bootstrap.SetupError, match=r"PYTHON=.* is Python 3\.8: Python 3\.11 to"):
        bootstrap.choose_python(str(old))
    with pytest.raises(bootstrap.SetupError, match="does not run"):
        bootstrap.choose_python(str(tmp_path / "nothing-here"))


def test_a_missing_venv_module_names_the_package(bootstrap, tmp_path):
    python = fake_python(tmp_path / "python3.11", "3.11", venv=False)
    with pytest.raises(bootstrap.SetupError, match=r"apt install python3\.11-venv"):
        bootstrap.choose_python(str(python))


def test_a_python_with_venv_is_preferred_to_one_without(bootstrap, tmp_path, monkeypatch):
    bare = fake_python(tmp_path / "a", "3.11", venv=False)
    whole = fake_python(tmp_path / "b", "3.12")
    monkeypatch.setattr(bootstrap, "CANDIDATES", (str(bare), str(whole)))
    assert bootstrap.choose_python("") == str(whole)


# --- Disk and machine -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "torch", "free", "refused"),
    [
        ("Linux", "default", 9, True),
        ("Linux", "default", 11, False),
        ("Linux", "cpu", 9, False),
        ("Linux", "cpu", 2, True),
        ("Darwin", "default", 4, False),
        ("Darwin", "default", 2, True),
    ],
)
def test_a_full_disk_is_said_before_anything_is_done(
    bootstrap, monkeypatch, tmp_path, system, torch, free, refused
):
    monkeypatch.setattr(bootstrap.platform, "system", lambda: system)
    monkeypatch.setattr(bootstrap.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(bootstrap.shutil, "disk_usage", lambda _: Usage(0, 0, free * 10**9))
    if not refused:
        bootstrap.check_machine(tmp_path, torch)
        return
    with pytest.raises(bootstrap.SetupError) as error:
        bootstrap.check_machine(tmp_path, torch)
    assert f"Only {free}.0 GB are free" in str(error.value)
    assert "\n" not in str(error.value)
    assert ("TORCH=cpu" in str(error.value)) == (system == "Linux" and torch == "default")


@pytest.mark.parametrize(("free", "refused"), [(2, True), (4, False)])
def test_a_full_temporary_folder_on_a_disk_of_its_own_is_named(
    bootstrap, monkeypatch, tmp_path, free, refused
):
    other = next((d for d in ("/dev/shm", "/proc", "/sys") if on_another_disk(d, tmp_path)), None)
    if other is None:
        pytest.skip("all folders lie on one disk here")
    room = {other: Usage(0, 0, free * 10**9), str(tmp_path): Usage(0, 0, 8 * 10**9)}
    monkeypatch.setattr(bootstrap.tempfile, "gettempdir", lambda: other)
    monkeypatch.setattr(bootstrap.shutil, "disk_usage", room.__getitem__)
    if not refused:
        bootstrap.check_machine(tmp_path, "default")
        return
    with pytest.raises(bootstrap.SetupError, match=f"disk of {other}; .* about 3 GB"):
        bootstrap.check_machine(tmp_path, "default")


def on_another_disk(folder: str, than: Path) -> bool:
    return Path(folder).is_dir() and Path(folder).stat().st_dev != than.stat().st_dev


def test_an_intel_mac_is_told_that_there_is_no_build(bootstrap, monkeypatch, tmp_path):
    monkeypatch.setattr(bootstrap.platform, "system", lambda: "Darwin")
    with pytest.raises(bootstrap.SetupError, match="Intel"):
        bootstrap.check_machine(tmp_path, "default")


# --- The stamp ------------------------------------------------------------------------------------


class Machine:
    """A project in a temporary folder; commands are noted instead of run."""

    def __init__(self, bootstrap, root: Path):
        self.bootstrap, self.root = bootstrap, root
        self.calls: list[str] = []
        self.environments: list[dict] = []
        self.fail_on = ""
        self.uv = "own"  # or "in .venv", "PyPI", "none"
        self.pip_settings: list[str] = []
        self.pair = (0, ["torch 2.15.0 and torchvision 0.29.2"])
        self.really_ask = bootstrap.ask
        self.changes_constraints = " pip compile "
        self.python = fake_python(root.parent / "bin" / "python3", "3.11")
        (root / "pyproject.toml").write_text("one")
        pins = "torch==2.15.0\ntorchmetrics==1.9.0\ntorchvision==0.29.2\n"
        (root / "constraints.txt").write_text(pins)

    def run(self, command, **options):
        line = " ".join(str(part) for part in command)
        self.calls.append(line)
        self.environments.append(options.get("env") or dict(os.environ))
        if "-m venv" in line:
            fake_python(self.root / ".venv" / "bin" / "python", "3.11")
        if self.changes_constraints in line:
            (self.root / "constraints.txt").write_text("torch==2.16.0\ntorchvision==0.30.0\n")
        return 1 if self.fail_on and self.fail_on in line else 0

    def ask(self, command):
        line = " ".join(str(part) for part in command)
        if self.bootstrap.PAIR in command:
            return self.pair
        if line.endswith("uv --version"):
            there = self.uv == ("own" if line.startswith("uv ") else "in .venv")
            return (0, ["uv 0.13.9"]) if there else (127, ["not found"])
        if line.endswith("-m pip install uv"):
            self.uv = "in .venv" if self.uv == "PyPI" else self.uv
            return (0, []) if self.uv == "in .venv" else (1, ["no network"])
        if line.endswith("-m pip config list"):
            return 0, self.pip_settings
        return self.really_ask(command)

    def prepare(self, *groups: str, torch: str = "", python: str = "") -> list[str]:
        """The commands that were needed."""
        self.calls, self.environments = [], []
        self.bootstrap.prepare(self.root, groups, torch, python)
        return self.calls

    @property
    def stamped(self) -> bool:
        return (self.root / ".venv" / "mtl-stamp.json").exists()


@pytest.fixture
def machine(bootstrap, tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    machine = Machine(bootstrap, tmp_path / "project")
    monkeypatch.setattr(bootstrap, "CANDIDATES", (str(machine.python),))
    monkeypatch.setattr(bootstrap, "run", machine.run)
    monkeypatch.setattr(bootstrap, "ask", machine.ask)
    for name in ("MTL_INSTALLER", *bootstrap.UV_NAMES.values()):
        monkeypatch.delenv(name, raising=False)
    return machine


def test_the_first_time_installs_under_the_constraints(machine):
    calls = machine.prepare("test")
    assert len(calls) == 2
    assert calls[0].endswith("-m venv " + str(machine.root / ".venv"))
    assert calls[1].startswith("uv pip install ")
    assert f"--python {machine.root / '.venv' / 'bin' / 'python'} " in calls[1]
    assert calls[1].endswith("-c constraints.txt -e .[test]")
    assert machine.stamped


def test_the_second_time_does_nothing(machine):
    machine.prepare()
    assert machine.prepare() == []


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_list_is_installed_into_the_same_venv(machine, name):
    machine.prepare()
    (machine.root / name).write_text("torch==2.16.0\ntorchvision==0.30.0\n")
    calls = machine.prepare()
    assert len(calls) == 1 and " pip install" in calls[0]
    assert machine.prepare() == []


@pytest.mark.parametrize("broken", ["deleted", "not executable", "other version", "no stamp"])
def test_a_broken_venv_is_rebuilt(machine, broken):
    machine.prepare()
    python = machine.root / ".venv" / "bin" / "python"
    left_over = machine.root / ".venv" / "left-over"
    left_over.touch()
    if broken == "deleted":
        python.unlink()
    elif broken == "not executable":
        python.write_text("#!/no/such/interpreter\n")
    elif broken == "other version":
        fake_python(python, "3.12")
    else:
        (machine.root / ".venv" / "mtl-stamp.json").unlink()
    calls = machine.prepare()
    assert "-m venv" in calls[0] and "uv pip" in calls[1]
    assert not left_over.exists()
    assert machine.prepare() == []


def test_a_moved_project_is_rebuilt(machine):
    machine.prepare()
    machine.root = machine.root.rename(machine.root.with_name("moved"))
    assert "-m venv" in machine.prepare()[0]


def test_an_unreadable_stamp_is_no_stamp(machine):
    machine.prepare()
    for text in ("{", "[]", ""):
        (machine.root / ".venv" / "mtl-stamp.json").write_text(text)
        assert "-m venv" in machine.prepare()[0]


@pytest.mark.parametrize("change_first", [False, True])
def test_an_interrupted_installation_leaves_no_stamp(machine, change_first):
    if change_first:  # a complete .venv whose update then fails
        machine.prepare()
        (machine.root / "pyproject.toml").write_text("two")
    machine.fail_on = " pip "
    with pytest.raises(machine.bootstrap.SetupError, match="did not finish"):
        machine.prepare()
    assert not machine.stamped
    machine.fail_on = ""
    assert "-m venv" in machine.prepare()[0]


def test_torch_and_torchvision_that_do_not_fit_are_named_with_the_fix(machine):
    mismatch = "RuntimeError: operator torchvision::nms does not exist"
    machine.pair = (1, ["torch 2.13.0+cpu and torchvision 0.29.2", "Traceback", mismatch])
    with pytest.raises(machine.bootstrap.SetupError) as error:
        machine.prepare()
    message = str(error.value)
    assert "torch 2.13.0+cpu and torchvision 0.29.2 do not import together" in message
    assert mismatch in message
    assert "rm -rf .venv" in message
    assert not machine.stamped


def test_the_cpu_build_comes_first_and_from_its_own_index(machine):
    first = "--no-deps --index-url https://download.pytorch.org/whl/cpu"
    for uv in ("own", "none"):
        machine.uv = uv
        calls = machine.prepare("test", torch="cpu", python=str(machine.python))
        assert calls[1].endswith(f"{first} torch==2.15.0 torchvision==0.29.2")
        assert calls[2].endswith("-c constraints.txt -e .[test]")
        (machine.root / ".venv" / "mtl-stamp.json").unlink()


def test_the_build_chosen_once_is_kept_until_another_is_named(machine):
    machine.prepare(torch="cpu")
    assert machine.prepare() == []
    assert machine.prepare(torch="cpu") == []
    assert len(machine.prepare(torch="default")) == 2
    assert machine.prepare() == []
    assert len(machine.prepare(torch="cpu")) == 3


def test_a_mac_has_only_one_build(machine, monkeypatch):
    monkeypatch.setattr(machine.bootstrap.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(machine.bootstrap.platform, "machine", lambda: "arm64")
    assert len(machine.prepare(torch="cpu")) == 2
    assert machine.prepare() == []


def test_another_python_asked_for_rebuilds(machine, tmp_path):
    machine.prepare()
    assert machine.prepare(python=str(machine.python)) == []
    other = fake_python(tmp_path / "python3.12", "3.12")
    assert f"{other} -m venv" in machine.prepare(python=str(other))[0]


def test_nothing_is_removed_before_the_checks_have_passed(machine, tmp_path, monkeypatch):
    machine.prepare()
    old = fake_python(tmp_path / "python3.9", "3.9")
    with pytest.raises(machine.bootstrap.SetupError):
        machine.prepare(python=str(old))
    full = Usage(0, 0, 0)
    monkeypatch.setattr(machine.bootstrap.shutil, "disk_usage", lambda _: full)
    with pytest.raises(machine.bootstrap.SetupError):
        machine.prepare(torch="cpu")
    assert machine.prepare() == []


def test_the_stamp_is_plain_json(machine):
    machine.prepare("test")
    stamp = json.loads((machine.root / ".venv" / "mtl-stamp.json").read_text())
    files = {"pyproject.toml", "constraints.txt"}
    assert set(stamp) == {"groups", "torch", "python", "folder", *files}
    assert stamp["groups"] == ["test"]


# --- The groups of dependencies -------------------------------------------------------------------


def test_a_group_is_added_when_a_target_first_needs_it(machine):
    assert machine.prepare()[1].endswith(" -e .")
    assert machine.prepare() == []
    calls = machine.prepare("test")
    assert len(calls) == 1 and calls[0].endswith(" -e .[test]")
    assert machine.prepare("test") == machine.prepare() == []
    calls = machine.prepare("kit")
    assert len(calls) == 1 and calls[0].endswith(" -e .[kit,test]")
    assert machine.prepare("test", "kit") == machine.prepare() == []


def test_a_rebuilt_venv_gets_back_the_groups_it_had(machine):
    machine.prepare("test")
    (machine.root / ".venv" / "bin" / "python").unlink()
    assert machine.prepare()[1].endswith(" -e .[test]")


def test_a_stamp_from_before_there_were_groups_is_brought_up_to_date(machine):
    machine.prepare()
    stamp = machine.root / ".venv" / "mtl-stamp.json"
    old = json.loads(stamp.read_text())
    del old["groups"]
    stamp.write_text(json.dumps(old))
    assert len(machine.prepare("test")) == 1
    assert machine.prepare("test") == []


# --- uv where it can be had, pip otherwise --------------------------------------------------------


def installers(machine, **options) -> list[str]:
    """ "uv", ".venv/bin/uv" or "pip" for each installation that was started."""
    names = []
    for call in machine.prepare("test", **options)[1:]:
        name = "pip" if " -m pip " in call else call.split()[0]
        names.append(name.removeprefix(str(machine.root) + "/"))
    return names


@pytest.mark.parametrize(
    ("uv", "expected"),
    [("own", "uv"), ("in .venv", ".venv/bin/uv"), ("PyPI", ".venv/bin/uv"), ("none", "pip")],
)
def test_uv_installs_where_it_can_be_had(machine, uv, expected):
    machine.uv = uv
    assert installers(machine) == [expected]
    assert machine.stamped
    assert machine.calls[-1].endswith("-c constraints.txt -e .[test]")


def test_pip_goes_on_where_uv_fails_and_one_line_says_so(machine, capsys):
    machine.fail_on = "uv pip"
    assert installers(machine) == ["uv", "pip"]
    assert machine.calls[-1].endswith("install -c constraints.txt -e .[test]")
    assert machine.stamped
    said = capsys.readouterr().out.splitlines()
    assert said[1:] == ["uv did not finish; it says why above. pip goes on from here."]


def test_uv_that_failed_is_not_tried_a_second_time(machine):
    machine.fail_on = "uv pip"
    assert installers(machine, torch="cpu") == ["uv", "pip", "pip"]


def test_pip_alone_on_request(machine, monkeypatch):
    monkeypatch.setenv("MTL_INSTALLER", "pip")
    machine.uv = "PyPI"
    assert installers(machine) == ["pip"]
    assert machine.uv == "PyPI", "uv was installed all the same"


def test_a_uv_that_does_not_run_is_no_uv(bootstrap, tmp_path, monkeypatch):
    """The wrappers of pyenv and the like stand in PATH for programs that are not there."""
    (tmp_path / "bin").mkdir()
    wrapper = tmp_path / "bin" / "uv"
    wrapper.write_text("#!/bin/sh\necho uv: command not found >&2; exit 127\n")
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.delenv("MTL_INSTALLER", raising=False)
    assert bootstrap.find_uv(tmp_path) is None
    wrapper.write_text("#!/bin/sh\necho uv 0.13.9\n")
    assert bootstrap.find_uv(tmp_path) == "uv"


def test_uv_is_told_what_pip_has_been_told(machine, monkeypatch):
    machine.pip_settings = [
        ":env:.find-links='/wheels'",
        "global.index-url='https://mirror.example/simple?a=b'",
        "global.extra-index-url='https://more.example/simple'",
        "user.proxy='http://proxy.example:3128'",
        "global.cert='/certificates.pem'",
    ]
    monkeypatch.setenv("HTTPS_PROXY", "http://named-by-hand.example")
    machine.prepare()
    given = machine.environments[-1]
    assert given["UV_DEFAULT_INDEX"] == "https://mirror.example/simple?a=b"
    assert given["SSL_CERT_FILE"] == "/certificates.pem"
    assert given["HTTPS_PROXY"] == "http://named-by-hand.example"
    assert {k: v for k, v in given.items() if k.startswith("UV_")} == {
        **{k: v for k, v in os.environ.items() if k.startswith("UV_")},
        "UV_DEFAULT_INDEX": "https://mirror.example/simple?a=b",
    }


def test_settings_of_pip_that_do_not_concern_uv_change_nothing(machine):
    machine.pip_settings = ["WARNING: something", "", "global.timeout='60'"]
    machine.prepare()
    assert machine.environments[-1] == dict(os.environ)


# --- make update ----------------------------------------------------------------------------------


@pytest.mark.parametrize("versions", ["newest", "needed"])
def test_update_resolves_for_all_systems_and_installs_the_result(machine, versions):
    machine.prepare("test")
    machine.calls = []
    machine.bootstrap.update(machine.root, versions, ["test"], "")
    compiled, installed = machine.calls
    assert compiled.startswith("uv pip compile pyproject.toml ")
    for option in ("--universal", "--all-extras", "--output-file constraints.txt"):
        assert option in compiled
    assert f"--python-version {machine.bootstrap.PYTHONS[0]} " in compiled
    assert ("--upgrade" in compiled) == (versions == "newest")
    assert installed.endswith("-c constraints.txt -e .[test]")
    assert machine.prepare("test") == []


def test_update_does_not_install_old_versions_first(machine):
    machine.bootstrap.update(machine.root, "newest", [], "")
    venv, compiled, *rest = machine.calls
    assert "-m venv" in venv and " pip compile " in compiled
    assert sum(" pip install " in call for call in rest) == 1
    assert machine.prepare() == []


@pytest.mark.parametrize(
    ("uv", "fail_on", "message"),
    [("none", "", "Only uv can write"), ("own", "compile", "no new constraints.txt")],
)
def test_update_says_in_one_line_why_it_cannot(machine, uv, fail_on, message):
    machine.prepare()
    machine.uv, machine.fail_on = uv, fail_on
    with pytest.raises(machine.bootstrap.SetupError, match=message) as error:
        machine.bootstrap.update(machine.root, "newest", [], "")
    assert "\n" not in str(error.value)
    assert machine.stamped


def test_the_command_line_says_a_problem_in_one_line(bootstrap, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setenv("PIP_USER", "1")
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    assert bootstrap.main(["--python", str(tmp_path / "nothing")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert os.environ["PIP_USER"] == "0"  # pip would refuse to install into a venv


def test_make_says_it_when_there_is_no_python_at_all(tmp_path):
    make = next((Path(d) / "make" for d in ("/usr/bin", "/bin") if Path(d, "make").exists()), None)
    if make is None:
        pytest.skip("no make here")
    done = subprocess.run(
        [make, "-C", PROJECT, "setup", "PYTHON="],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.startswith("No Python found: install Python 3.11")
