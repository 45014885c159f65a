"""Shake what torch draws, to stand in for other processors.

Another processor adds up in another order, so its results differ in their last digits. Where a
training run is chaotic these digits grow, and a printed number or a claim changes. ``shake_draws``
brings such a difference into every number that torch draws: relatively 1e-12 in float64 (a
processor's rounding after some steps) and 1e-7 in float32.

The shake is a function of the drawn value and of a phase. Equal seeds therefore still give equal
numbers, and two phases stand for two machines.

Only numbers are shaken. ``randint``, ``randperm``, ``multinomial``, ``bernoulli``, ``poisson`` and
dropout draw decisions, which no rounding changes a little: each of them is the same on every
machine, or another one. Other types (integers, half precision) are left alone too, and so is what
is computed from constants alone: there only the settings with other vector units look.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

#: Functions of torch, and methods of a tensor, that draw numbers. Those of ``nn.init`` and of
#: ``torch.distributions`` call these.
FUNCTIONS = ("rand", "rand_like", "randn", "randn_like", "normal")
METHODS = ("cauchy_", "exponential_", "log_normal_", "normal_", "uniform_")
FLOAT32 = 1e-7
PROJECT = Path(__file__).resolve().parents[2]


def shake(x: Any, *, relative: float, phase: float) -> Any:
    """Shake a tensor in place; anything but a float64 or float32 tensor is left as it is.

    Args:
        x: what was drawn, of any shape.
        relative: largest relative change of a float64 number; 1e-7 for float32.
        phase: another phase is another machine.

    Returns:
        The same object.
    """
    size = {torch.float64: relative, torch.float32: FLOAT32}.get(getattr(x, "dtype", None))
    if size is None or not isinstance(x, Tensor) or not x.is_leaf:
        return x
    with torch.no_grad():
        return x.mul_(1 + size * torch.sin(x.double() * 1.2345e6 + phase).to(x.dtype))


def shake_draws(relative: float, phase: float = 1.0) -> Callable[[], None]:
    """Let every drawing function of torch return shaken numbers from now on.

    Args:
        relative: see :func:`shake`.
        phase: see :func:`shake`.

    Returns:
        A function that puts torch back as it was.
    """
    places = [(torch, name) for name in FUNCTIONS] + [(Tensor, name) for name in METHODS]
    before = [(owner, name, name in vars(owner), getattr(owner, name)) for owner, name in places]
    for owner, name, _, drawn in before:
        setattr(owner, name, _shaken(drawn, relative, phase))

    def undo() -> None:
        for owner, name, own, drawn in before:
            if own:
                setattr(owner, name, drawn)
            else:
                delattr(owner, name)  # Tensor inherits its methods

    return undo


def _shaken(drawn: Callable[..., Any], relative: float, phase: float) -> Callable[..., Any]:
    @functools.wraps(drawn)
    def draw(*args: Any, **named: Any) -> Any:
        return shake(drawn(*args, **named), relative=relative, phase=phase)

    return draw


def from_environment() -> Callable[[], None] | None:
    """Shake as ``MTL_JITTER`` (relative) and ``MTL_JITTER_PHASE`` say; None when nothing is said.

    Raises:
        ValueError: one of them is no number.
    """
    relative = float(os.environ.get("MTL_JITTER") or 0)
    return shake_draws(relative, float(os.environ.get("MTL_JITTER_PHASE", 1))) if relative else None


def environment(folder: Path, relative: float, phase: float = 1.0) -> dict[str, str]:
    """What a process needs in its environment so that it, and all that it starts, is shaken.

    Python imports a module ``sitecustomize`` when it starts, if there is one on its path: this
    reaches Jupyter's kernels, pytest, worker processes and what a lesson starts alike.

    Args:
        folder: where to write that module, and an empty profile of IPython.
        relative: see :func:`shake`; 0 for no jitter.
        phase: see :func:`shake`.

    Returns:
        Variables of the environment.
    """
    lines = ["from mtl_helpers.teaching.jitter import from_environment", "from_environment()"]
    (folder / "sitecustomize.py").write_text("\n".join(lines) + "\n", encoding="utf-8")
    path = [str(folder), str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "PYTHONPATH": os.pathsep.join(path),
        "IPYTHONDIR": str(folder / "ipython"),
        "MTL_JITTER": str(relative),
        "MTL_JITTER_PHASE": str(phase),
    }
