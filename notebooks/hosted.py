"""For Colab and Kaggle only: install the helper package and leave their PyTorch alone.

The folded first cell of every notebook runs this file. On any other machine it does nothing.
"""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

SERVICES = ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE")


def prepare() -> None:
    """Install the helper package from the project around this file, if this is Colab or Kaggle.

    Raises:
        RuntimeError: the rest of the project is not here, or pip failed.
    """
    if not os.environ.keys() & set(SERVICES):
        return
    project = Path(__file__).resolve().parents[1]
    if not (project / "mtl_helpers").is_dir():
        raise RuntimeError("The folder mtl_helpers is not here: clone the whole project first.")
    keep = [f"{name}=={version(name)}" for name in ("torch", "torchvision", "numpy")]
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    for what in (["--no-deps", "-e", str(project)], ["torchmetrics", "lightning-fabric", *keep]):
        if subprocess.run([*pip, *what]).returncode != 0:
            raise RuntimeError("pip failed, see above. On Kaggle: switch Internet on (Settings).")
    sys.path.insert(0, str(project))
