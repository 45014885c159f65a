"""Start JupyterLab on the learner's copy, and say what to do where that cannot work."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mtl_helpers.teaching.learner_copy import CopyError, prepare
from mtl_helpers.teaching.notebooks import PROJECT

FIRST_PORT = 8888  # JupyterLab's own
_ONLY_ASKS = {"-h", "--help", "--help-all", "--version"}


def lab(arguments: Sequence[str]) -> int:
    """Start JupyterLab on the learner's copy, on any system (``make lab`` calls this).

    Kernels get one thread unless ``OMP_NUM_THREADS`` is set: for networks as small as those of the
    lessons more threads are slower, and many times slower on a busy machine.

    Args:
        arguments: what JupyterLab is to be told further.

    Returns:
        JupyterLab's exit status; 0 where one runs for this folder already, and 1 where it cannot
        be started: the copy cannot be written, or the port that was asked for is in use.
    """
    arguments = list(arguments)
    if _ONLY_ASKS & set(arguments):
        return _jupyterlab(arguments, PROJECT)
    try:
        place, lines = prepare(PROJECT)
    except CopyError as problem:
        print(problem, file=sys.stderr)
        return 1
    print(*lines, sep="\n", flush=True)
    asked = asked_port(arguments)
    if asked is None and (address := running(place.root)):
        print(
            f"JupyterLab is already running for this folder: open {address}\n"
            f"To stop it, press Ctrl+C in its terminal. To start a second one, {_name_a_port(8899)}"
        )
        return 0
    if asked is not None and not is_free(asked):
        advice = _name_a_port(free_port(asked + 1))
        print(f"Port {asked} is in use by another program. Instead, {advice}", file=sys.stderr)
        return 1
    if asked is None and not is_free(FIRST_PORT):
        port = free_port(FIRST_PORT + 1)
        print(
            f"Port {FIRST_PORT} is in use, perhaps by another person's JupyterLab. Yours takes "
            f"port {port}: open the address with {port} in it.",
            flush=True,
        )
        arguments.append(f"--ServerApp.port={port}")
    return _jupyterlab(arguments, place.root)


def _name_a_port(port: int) -> str:
    return f"name another port: --port={port} (with make: make lab ARGS=--port={port})."


def _jupyterlab(arguments: Sequence[str], root: Path) -> int:
    """Run JupyterLab with the project's own settings until it ends; give its exit status."""
    settings = [str(PROJECT / ".jupyter"), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    environment["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, settings))
    command = [sys.executable, "-m", "jupyterlab", *arguments]
    return subprocess.call(command, cwd=root, env=environment)


def asked_port(arguments: Sequence[str]) -> int | None:
    """The port that JupyterLab's arguments name, or None."""
    found = re.search(r"--(?:ServerApp\.)?port[= ](\d+)", " ".join(arguments))
    return int(found[1]) if found else None


def running(root: Path) -> str:
    """The address of this person's JupyterLab that runs over a folder already, or ""."""
    return next(_addresses(root.resolve()), "")


def _addresses(root: Path) -> Iterator[str]:
    from jupyter_server.serverapp import list_running_servers

    for server in list_running_servers():
        ours = server.get("root_dir") and Path(server["root_dir"]).resolve() == root
        # A server that was killed leaves its note behind, and its number may belong to another.
        if ours and not is_free(server["port"]):
            token = f"?token={server['token']}" if server.get("token") else ""
            yield f"{server['url']}lab{token}"


def is_free(port: int) -> bool:
    """Whether nothing on this machine listens at a port."""
    with socket.socket() as trial:
        if os.name == "posix":  # as servers do: a connection that has just ended is no obstacle
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(start: int) -> int:
    """The first free port from a number on.

    Raises:
        OSError: there is none among the next hundred.
    """
    for port in range(start, min(start + 100, 65536)):
        if is_free(port):
            return port
    raise OSError(f"no port from {start} to {start + 99} is free")
