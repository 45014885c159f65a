"""JupyterLab as a learner meets it: start it, open a lesson, run it, move its controls, save it.

Cells are found through JupyterLab's own application object, because the notebook keeps only the
cells near the window in the page. Whatever a learner does with the hand (drag, key, type) is done
with a real mouse and real keys.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
BROKEN = ("Error displaying widget", "model not found", "Loading widget")

# What is in the cells, as the page has it.
CELLS = """() => {
  const panel = window.jupyterapp.shell.currentWidget;
  return Array.from(panel.content.model.cells, cell => ({
    type: cell.type,
    source: cell.sharedModel.getSource(),
    metadata: cell.sharedModel.getMetadata(),
    outputs: cell.type === 'code' ? cell.outputs.toJSON() : [],
  }));
}"""

# Brings a cell into the page and gives its node a name that Playwright can find.
REVEAL = """async index => {
  const notebook = window.jupyterapp.shell.currentWidget.content;
  notebook.activeCellIndex = index;
  await notebook.scrollToItem(index, 'auto');
  await notebook.widgets[index].ready;
  notebook.widgets[index].node.dataset.cell = index;
}"""

# The bytes of a picture as one number, for live pictures (blob:) and stored ones (data:).
PICTURE = """async image => {
  const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
  return bytes.reduce((sum, byte) => (sum * 31 + byte) >>> 0, bytes.length);
}"""

# Whether the kernel has nothing left to do; a picture may still be on its way when it has.
RESTS = """() => window.jupyterapp.shell.currentWidget
  .sessionContext.session?.kernel?.status === 'idle'"""


def wait_for(what: str, ready: Callable[[], Any], seconds: float = 20) -> Any:
    """Wait until ``ready`` returns something true, and return it."""
    end = time.monotonic() + seconds
    while not (found := ready()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.05)
    return found


class Lab:
    """A JupyterLab server on a free port over one folder; use it in a ``with`` statement."""

    def __init__(self, project: Path, folder: Path, private: Path) -> None:
        self.folder, self.private = folder, private
        self.token = secrets.token_hex(16)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.environment = {
            **os.environ,
            "JUPYTER_CONFIG_PATH": str(project / ".jupyter"),
            "JUPYTER_CONFIG_DIR": str(private / "config"),
            "JUPYTERLAB_SETTINGS_DIR": str(private / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(private / "workspaces"),
            "IPYTHONDIR": str(private / "ipython"),
            "PYTHONPATH": os.pathsep.join([str(project), os.environ.get("PYTHONPATH", "")]),
            "OMP_NUM_THREADS": "1",
        }

    def __enter__(self) -> Lab:
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--expose-app-in-browser"]
        settings = {"port": self.port, "port_retries": 0, "root_dir": self.folder}
        command += [f"--ServerApp.{name}={value}" for name, value in settings.items()]
        command += [f"--IdentityProvider.token={self.token}", "--ServerApp.ip=127.0.0.1"]
        self.log = (self.private / "log").open("wb")
        self.process = subprocess.Popen(
            command, env=self.environment, stdout=self.log, stderr=self.log, cwd=self.folder
        )
        try:
            wait_for("JupyterLab to answer", self._answers, seconds=90)
        except AssertionError as error:
            said = (self.private / "log").read_text(errors="replace")[-2000:]
            self.__exit__()
            raise AssertionError(f"{error}\n{said}") from None
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"JupyterLab ended with {self.process.returncode}")
        try:
            return bool(self.ask("api/status"))
        except OSError:
            return False

    def ask(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{path}", method=method)
        request.add_header("Authorization", f"token {self.token}")
        with urllib.request.urlopen(request, timeout=20) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def stop_kernels(self) -> None:
        """End the kernels of this server, as closing JupyterLab for the night does."""
        for session in self.ask("api/sessions"):
            self.ask(f"api/sessions/{session['id']}", method="DELETE")

    def write(self, path: str, notebook: nbformat.NotebookNode) -> None:
        (self.folder / path).write_text(nbformat.writes(notebook), encoding="utf-8")

    def read(self, path: str) -> nbformat.NotebookNode:
        return nbformat.read(self.folder / path, as_version=4)


@dataclass
class Lesson:
    """A notebook open in the browser."""

    lab: Lab
    page: Any
    path: str

    def __post_init__(self) -> None:
        address = f"http://127.0.0.1:{self.lab.port}/lab/tree/{self.path}"
        self.page.goto(f"{address}?reset&token={self.lab.token}")
        self.page.wait_for_function(
            """path => {
              const panel = window.jupyterapp?.shell?.currentWidget;
              return panel?.context?.path === path && panel.context.isReady
                && panel.content?.model?.cells?.length > 0
                && panel.sessionContext.session?.kernel?.status === 'idle';
            }""",
            arg=self.path,
            timeout=60_000,
        )

    @property
    def cells(self) -> list[dict[str, Any]]:
        return self.page.evaluate(CELLS)

    def reveal(self, index: int) -> Any:
        """Bring a cell into the window; return its locator."""
        self.page.evaluate(REVEAL, index)
        cell = self.page.locator(f'[data-cell="{index}"]')
        cell.wait_for(state="attached")
        return cell

    def command(self, name: str, minutes: float = 5) -> None:
        """Run a command of JupyterLab to its end."""
        start = "name => { window.busy = window.jupyterapp.commands.execute(name)"
        self.page.evaluate(start + ".finally(() => { window.busy = null; }); return null; }", name)
        self.page.wait_for_function("() => window.busy === null", timeout=minutes * 60_000)

    def run_all(self) -> None:
        """Run all cells in order and wait until the kernel rests."""
        self.command("notebook:run-all-cells")

    def errors(self) -> list[str]:
        """Cell and error for each error among the outputs."""
        return [
            f"cell {index}: {output['ename']}: {output['evalue']}"
            for index, cell in enumerate(self.cells)
            for output in cell["outputs"]
            if output["output_type"] == "error"
        ]

    def explorers(self) -> list[int]:
        """The cells that hold an explorer."""
        return [
            index
            for index, cell in enumerate(self.cells)
            if any(output.get("metadata", {}).get("explorer") for output in cell["outputs"])
        ]

    def picture(self, index: int) -> int:
        """The picture in the output of a cell, as one number."""
        return self._picture(self.page.locator(f'[data-cell="{index}"]'))

    def _picture(self, cell: Any) -> int:
        image = cell.locator(".jp-OutputArea-output img").first
        image.wait_for(state="visible")
        for _ in range(20):  # a picture may be replaced, and its address end, while it is read
            try:
                return image.evaluate(PICTURE)
            except Exception as error:
                last = error
                time.sleep(0.05)
        raise last

    def settled(self, index: int, seconds: float = 0.4) -> int:
        """The picture once it has stayed the same, and the kernel has rested, for a while."""
        last, since = self.picture(index), time.monotonic()
        while time.monotonic() - since < seconds:
            now = self.picture(index)
            if now != last or not self.page.evaluate(RESTS):
                last, since = now, time.monotonic()
            time.sleep(0.03)
        return last

    def changed(self, index: int, before: int, what: str) -> int:
        """Wait until the picture is another one than before; an alert ends the wait."""

        def another() -> bool:
            self._no_alert(index)
            return self.picture(index) != before

        wait_for(f"another picture in cell {index} after {what}", another, seconds=30)
        return self.settled(index)

    def walk(self, index: int) -> Iterator[str]:
        """Move each control of an explorer from end to end; yield what was moved.

        Raises:
            AssertionError: If a control changes nothing, or the explorer shows an error.
        """
        cell = self.reveal(index)
        sliders = cell.locator(".noUi-handle")
        for number in range(sliders.count()):
            yield self._slider(index, sliders.nth(number), drag=number == 0)
        for control in cell.locator("select").all():
            yield self._options(index, "list", [
                lambda option=option, control=control: control.select_option(index=option)
                for option in range(control.locator("option").count())
            ])  # fmt: skip
        for control in cell.locator(".jp-OutputArea-output input[type=checkbox]").all():
            yield self._options(index, "check box", [control.click, control.click])
        radios = cell.locator(".jp-OutputArea-output input[type=radio]").all()
        if radios:
            yield self._options(index, "radio buttons", [radio.click for radio in radios])
        toggles = cell.locator(".widget-toggle-buttons button").all()
        if toggles:
            yield self._options(index, "toggle buttons", [toggle.click for toggle in toggles])

    def _slider(self, index: int, handle: Any, drag: bool) -> str:
        handle.scroll_into_view_if_needed()
        handle.focus()
        self.page.keyboard.press("Home")
        low = self.settled(index)
        self._no_alert(index)
        self.page.keyboard.press("End")
        high = self.changed(index, low, "the End key on a slider")
        self._no_alert(index)
        if drag:
            self.page.keyboard.press("Home")
            low = self.changed(index, high, "the Home key on a slider")
            box, track = handle.bounding_box(), handle.locator("xpath=../..").bounding_box()
            middle = box["y"] + box["height"] / 2
            self.page.mouse.move(box["x"] + box["width"] / 2, middle)
            self.page.mouse.down()
            self.page.mouse.move(track["x"] + track["width"] + 20, middle, steps=25)
            self.page.mouse.up()
            assert handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
            self.changed(index, low, "dragging a slider")
            self._no_alert(index)
        return "slider"

    def _options(self, index: int, what: str, moves: list[Callable[[], Any]]) -> str:
        for patience in (0.5, 3):  # on a busy machine a picture may come late
            seen = {self.settled(index)}
            for move in moves:
                move()
                seen.add(self.settled(index, patience))
                self._no_alert(index)
            if len(seen) > 1:
                return what
        raise AssertionError(f"cell {index}: the {what} changes nothing in the picture")

    def _no_alert(self, index: int) -> None:
        for alert in self.page.locator(f'[data-cell="{index}"] [role=alert]').all():
            raise AssertionError(f"cell {index}: the explorer says {alert.inner_text()}")

    def type_into(self, index: int, source: str) -> None:
        """Replace what stands in a code cell, with the keyboard."""
        self.reveal(index).locator(".cm-content").first.click()
        self.page.keyboard.press("ControlOrMeta+A")
        self.page.keyboard.insert_text(source)
        wait_for("the cell to hold the typed text",
                 lambda: self.cells[index]["source"] == source)  # fmt: skip

    def run_cell(self, index: int) -> None:
        self.reveal(index)
        self.command("notebook:run-cell")

    def text(self, index: int) -> str:
        """What the outputs of a cell show as text."""
        area = self.reveal(index).locator(".jp-OutputArea")
        return area.inner_text() if area.count() else ""

    def save(self) -> None:
        """Save with the keyboard and wait until the file is written."""
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("ControlOrMeta+S")
        self.page.wait_for_function(
            "() => !window.jupyterapp.shell.currentWidget.context.model.dirty"
        )

    def pictures(self) -> dict[int, int]:
        """The picture of each cell whose stored output has one, as numbers by cell.

        Raises:
            AssertionError: If a picture is not seen, or a widget complains instead.
        """
        seen = {}
        for index, cell in enumerate(self.cells):
            if any("image/png" in output.get("data", {}) for output in cell["outputs"]):
                self.reveal(index)
                seen[index] = self.picture(index)
                text = self.text(index)
                assert not any(phrase in text for phrase in BROKEN), f"cell {index}: {text}"
        return seen


def exercise_cells(cells: list[dict[str, Any]]) -> Iterator[tuple[str, int, int, str]]:
    """Number, stub cell, check cell and the solution's code of each exercise."""
    numbers = [cell["metadata"].get("mtl", {}).get("exercise") for cell in cells]
    for number in dict.fromkeys(filter(None, numbers)):
        tagged = {
            tag: index
            for index, cell in enumerate(cells)
            for tag in cell["metadata"].get("tags", [])
            if numbers[index] == number
        }
        if {"stub", "check", "solution"} <= tagged.keys():
            solution = cells[tagged["solution"]]["source"]
            if "```python\n" in solution:
                code = solution.split("```python\n")[1].split("```")[0].rstrip()
                yield number, tagged["stub"], tagged["check"], code


def stored_widgets(notebook: nbformat.NotebookNode) -> list[str]:
    """Where a saved file still holds a widget view or widget state."""
    found = ["metadata.widgets"] if "widgets" in notebook.metadata else []
    for index, cell in enumerate(notebook.cells):
        if any(WIDGET_VIEW in output.get("data", {}) for output in cell.get("outputs", [])):
            found.append(f"cell {index}")
    return found
