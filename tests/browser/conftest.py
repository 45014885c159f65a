"""A real JupyterLab with the project's own configuration, and the system's Chromium."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mtl_helpers.teaching import learner_copy
from mtl_helpers.teaching.changed import notebooks, wanted

from .lab import Lab, Lesson

HERE = Path(__file__).resolve().parent
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, project_folder: Path) -> Iterator[Lab]:
    """JupyterLab over a learner's copy of the lessons, on a free port, as `make lab` has it."""
    folder = tmp_path_factory.mktemp("lab")
    learner_copy.update(project_folder / "notebooks", folder / learner_copy.WORK)
    with Lab(project_folder, folder, tmp_path_factory.mktemp("jupyter")) as running:
        yield running


@pytest.fixture(scope="session")
def browser(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium with a user folder of its own."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        message = f"no playwright ({error}); pip install playwright"
        if os.environ.get("MTL_BROWSER_REQUIRED") == "1":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("chromium")),
            executable_path=chromium,
            args=list(ARGUMENTS),
            viewport={"width": 1280, "height": 900},
        )
        context.set_default_timeout(20_000)
        yield context
        context.close()


@pytest.fixture
def open_lesson(lab: Lab, browser: Any) -> Iterator[Callable[[str], Lesson]]:
    """Opens a lesson by its path below the lab's folder; each opening is a new page."""
    pages = []

    def opened(path: str) -> Lesson:
        pages.append(browser.new_page())
        return Lesson(lab, pages[-1], path)

    yield opened
    for page in pages:
        page.close()
    lab.stop_kernels()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With MTL_ONLY=changed, keep only the lessons that the branch changes, and lesson 00."""
    names = {path.name for path in wanted()}
    lessons = {path.name for path in notebooks()}

    def left_out(item: pytest.Item) -> bool:
        given = str(getattr(item, "callspec", None) and item.callspec.params.get("name", ""))
        lesson = Path(given).name
        return item.path.is_relative_to(HERE) and lesson in lessons - names

    config.hook.pytest_deselected(items=[item for item in items if left_out(item)])
    items[:] = [item for item in items if not left_out(item)]
