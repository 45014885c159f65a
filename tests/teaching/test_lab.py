"""`make lab`: JupyterLab on the learner's copy, and what it says where that cannot work."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import jupyter_server.serverapp
import pytest

from mtl_helpers.teaching import lab, learner_copy, notebooks

PLACE_LINE = "Your own copy of the lessons: here"


@pytest.fixture
def started(monkeypatch, tmp_path):
    """What JupyterLab would be started with; nothing is started, and port 8888 is ours to say."""
    calls = []

    def call(command, **how):
        calls.append({"command": command, **how})
        return 7

    monkeypatch.setattr(subprocess, "call", call)
    place = learner_copy.Place(tmp_path)
    monkeypatch.setattr(lab, "prepare", lambda project: (place, [PLACE_LINE]))
    monkeypatch.setattr(jupyter_server.serverapp, "list_running_servers", lambda: [])
    monkeypatch.setattr(lab, "FIRST_PORT", lab.free_port(18888))
    return calls


@pytest.fixture
def busy():
    """A port at which somebody listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_it_starts_jupyterlab_with_the_projects_settings(started, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "elsewhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert notebooks.main(["lab", "--no-browser"]) == 7
    (call,) = started
    assert call["command"] == [sys.executable, "-m", "jupyterlab", "--no-browser"]
    assert call["cwd"] == tmp_path
    first, second = call["env"]["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    assert (Path(first) / "jupyter_server_config.py").is_file()
    assert second == "elsewhere"
    assert call["env"]["OMP_NUM_THREADS"] == "3"
    assert capsys.readouterr().out == PLACE_LINE + "\n"
    monkeypatch.delenv("OMP_NUM_THREADS")
    notebooks.main(["lab"])
    assert started[1]["env"]["OMP_NUM_THREADS"] == "1"


def test_the_first_page_is_the_first_lesson_of_the_copy():
    settings = (notebooks.PROJECT / ".jupyter" / "jupyter_server_config.py").read_text()
    assert f'"/lab/tree/{learner_copy.WORK}/00_start_here.ipynb"' in settings
    assert (notebooks.PROJECT / "notebooks" / "00_start_here.ipynb").is_file()


@pytest.mark.parametrize("question", ["--help", "--version"])
def test_a_question_to_jupyterlab_makes_no_copy(started, monkeypatch, question):
    monkeypatch.setattr(lab, "prepare", lambda project: pytest.fail("a copy was made"))
    assert lab.lab([question]) == 7


def test_a_copy_that_cannot_be_made_is_said(started, monkeypatch, capsys):
    def refuse(project):
        raise learner_copy.CopyError("There is no place for your copy")

    monkeypatch.setattr(lab, "prepare", refuse)
    assert lab.lab([]) == 1
    assert started == []
    assert capsys.readouterr().err == "There is no place for your copy\n"


def servers(monkeypatch, *found):
    monkeypatch.setattr(jupyter_server.serverapp, "list_running_servers", lambda: list(found))


def server(root, port):
    address = f"http://localhost:{port}/"
    return {"root_dir": str(root), "port": port, "url": address, "token": "abc"}


def test_a_second_lab_for_the_folder_gives_the_address_of_the_first(
    started, tmp_path, busy, monkeypatch, capsys
):
    servers(monkeypatch, server("/elsewhere", busy), server(tmp_path, busy))
    assert lab.lab([]) == 0
    assert started == []
    said = capsys.readouterr().out
    assert f"already running for this folder: open http://localhost:{busy}/lab?token=abc" in said
    assert "Ctrl+C" in said and "make lab ARGS=--port=" in said


def test_a_second_lab_is_started_when_a_port_is_named(started, tmp_path, busy, monkeypatch):
    servers(monkeypatch, server(tmp_path, busy))
    assert lab.lab([f"--port={lab.free_port(18900)}"]) == 7


def test_a_server_for_another_folder_or_a_dead_one_is_no_obstacle(started, tmp_path, monkeypatch):
    dead = lab.free_port(18950)
    servers(monkeypatch, server(tmp_path / "other", dead), server(tmp_path, dead), {"port": 0})
    assert lab.lab([]) == 7


def test_a_port_that_somebody_else_has_is_said_with_the_one_taken_instead(
    started, busy, monkeypatch, capsys
):
    monkeypatch.setattr(lab, "FIRST_PORT", busy)
    assert lab.lab(["--no-browser"]) == 7
    taken = lab.asked_port(started[0]["command"])
    assert taken != busy and lab.is_free(taken)
    assert started[0]["command"][3] == "--no-browser"
    said = capsys.readouterr().out
    assert f"Port {busy} is in use, perhaps by another person's JupyterLab" in said
    assert f"port {taken}" in said


@pytest.mark.parametrize("form", ["--port={}", "--ServerApp.port={}", "--port {}"])
def test_a_named_port_that_is_in_use_is_refused(started, busy, capsys, form):
    assert lab.lab(form.format(busy).split()) == 1
    assert started == []
    said = capsys.readouterr().err
    assert f"Port {busy} is in use by another program. Instead, name another port" in said
    assert "make lab ARGS=--port=" in said


def test_a_port_is_read_from_jupyterlabs_arguments():
    assert lab.asked_port(["--no-browser"]) is None
    assert lab.asked_port(["--ServerApp.port_retries=0"]) is None
    assert lab.asked_port(["--ip=0.0.0.0", "--port=9000"]) == 9000


def test_free_ports_are_told_from_busy_ones(busy, monkeypatch):
    assert not lab.is_free(busy)
    assert lab.is_free(lab.free_port(19000))
    assert lab.free_port(busy) != busy
    monkeypatch.setattr(lab, "is_free", lambda port: False)
    with pytest.raises(OSError, match="no port from 65500 to 65599 is free"):
        lab.free_port(65500)


# --- The command `work` ---------------------------------------------------------------------------


def test_work_makes_the_copy_and_puts_a_fresh_lesson_into_it(tmp_path, monkeypatch, capsys):
    (tmp_path / "notebooks").mkdir()
    lesson = notebooks.PROJECT / "notebooks" / "00_start_here.ipynb"
    (tmp_path / "notebooks" / lesson.name).symlink_to(lesson)
    monkeypatch.setattr(notebooks, "PROJECT", tmp_path)
    assert notebooks.main(["work"]) == 0
    assert capsys.readouterr().out == f"Your own copy of the lessons: {tmp_path / 'work'}\n"
    assert notebooks.main(["work", "--fresh", "00"]) == 0
    assert capsys.readouterr().out.startswith("Put beside your own: ")
    assert len(list((tmp_path / "work").glob("00_start_here (new *).ipynb"))) == 1
    assert notebooks.main(["work", "--fresh", "77"]) == 1
    assert "There is no lesson 77" in capsys.readouterr().err
