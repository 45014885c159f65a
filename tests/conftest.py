"""What all tests share: one thread, reproducible draws, real data and a browser if present."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest

HERE = Path(__file__).resolve().parent
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile(
    "ci", deadline=None, derandomize=True, database=None, print_blob=True
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder; skip those on real data where MTL_DATA names no folder."""
    reason = "MTL_DATA names no folder with the real data sets"
    for item in items:
        for folder, marker in (("browser", "browser"), ("benchmarks", "benchmark")):
            if item.path.is_relative_to(HERE / folder):
                item.add_marker(marker)
        if item.get_closest_marker("real_data") and _real_data() is None:
            item.add_marker(pytest.mark.skip(reason=reason))


def _real_data() -> Path | None:
    named = os.environ.get("MTL_DATA", "")
    return Path(named) if named and Path(named).is_dir() else None


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in another order differ in their last digits; one thread also shares the cores well."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _default_dtype() -> Iterator[None]:
    """Put the default floating type back: lessons run in float64, the package in any."""
    import torch

    before = torch.get_default_dtype()
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="session")
def project_folder() -> Path:
    """The root of the project."""
    return HERE.parent


@pytest.fixture(scope="session")
def load_bootstrap(project_folder: Path) -> Callable[[], ModuleType]:
    """A function that loads .ci/bootstrap.py anew; it is no part of the package."""

    def load() -> ModuleType:
        path = project_folder / ".ci" / "bootstrap.py"
        spec = importlib.util.spec_from_file_location("bootstrap", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def real_data_folder() -> Path:
    """The folder with the real data sets (read only); for tests marked ``real_data``."""
    folder = _real_data()
    if folder is None:
        pytest.skip("MTL_DATA names no folder with the real data sets")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the system's Chromium; MTL_BROWSER_REQUIRED=1 turns the skip into a failure."""
    for name in (os.environ.get("MTL_CHROMIUM", ""), *CHROMIUM_NAMES):
        path = shutil.which(name) if name else None
        if path:
            return path
    message = "no Chromium on the PATH; on Debian: apt install chromium (or set MTL_CHROMIUM)"
    if os.environ.get("MTL_BROWSER_REQUIRED") == "1":
        pytest.fail(message)
    pytest.skip(message)
