"""What an answer may not change around it, and what may not escape from a check.

An answer is any code. It may switch gradients off, choose another default number type, seed or
replace a random generator, replace a function of PyTorch, or raise what is no error but an exit.
"""

from __future__ import annotations

import builtins
import contextlib
import math
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from types import FrameType, FunctionType
from typing import Any

import numpy as np
import torch

_WATCHED = {
    "builtins": builtins,
    "math": math,
    "random": random,
    "numpy": np,
    "numpy.random": np.random,
    "torch": torch,
    "torch.nn": torch.nn,
    "torch.nn.functional": torch.nn.functional,
    "torch.autograd": torch.autograd,
    "torch.Tensor": torch.Tensor,
}


class Surroundings:
    """The settings and functions that a check found, so that it can leave them as they were."""

    def __init__(self) -> None:
        self.kept = {name: dict(vars(place)) for name, place in _WATCHED.items()}
        self.dtype = torch.get_default_dtype()
        self.device = torch.get_default_device()
        self.grad = torch.is_grad_enabled()
        self.errors = np.geterr()
        self.streams = sys.stdout, sys.stderr
        self.recursion = sys.getrecursionlimit()
        self.folder = _folder()
        self.changed: set[str] = set()

    def put_back(self) -> None:
        """Set back what differs, and note its name in ``changed``."""
        if torch.get_default_dtype() != self.dtype:
            torch.set_default_dtype(self.dtype)
            self.changed.add("the default number type")
        if torch.get_default_device() != self.device:
            torch.set_default_device(None if self.device.type == "cpu" else self.device)
            self.changed.add("the default device")
        if torch.is_grad_enabled() != self.grad:
            torch.set_grad_enabled(self.grad)
            self.changed.add("whether gradients are recorded")
        for name, place in _WATCHED.items():
            if not _same_names(vars(place), self.kept[name]):
                self._put_back_functions(name, place)
        np.seterr(**self.errors)
        sys.stdout, sys.stderr = self.streams
        sys.setrecursionlimit(self.recursion)
        if self.folder and _folder() != self.folder:
            os.chdir(self.folder)
            self.changed.add("the working folder")

    def _put_back_functions(self, name: str, place: Any) -> None:
        for key, value in self.kept[name].items():
            now = vars(place).get(key)
            if now is value or not callable(value) or key[:1] == "_" or _wrapped(now, value):
                continue
            setattr(place, key, value)
            self.changed.add(f"the function {name}.{key}")
        for key in [key for key in vars(place) if key not in self.kept[name]]:
            if isinstance(place, type):  # it hides what the class inherits
                delattr(place, key)
                self.changed.add(f"the function {name}.{key}")
        self.kept[name] = dict(vars(place))  # what was added, or loaded late, is no change

    def note(self) -> str:
        """Say what the answer changed and the check put back; empty when it left all alone."""
        if not self.changed:
            return ""
        what = ", ".join(sorted(self.changed))
        return f" (Your code changed {what}; the check put it back.)"


def _wrapped(now: Any, before: Any) -> bool:
    """Whether PyTorch itself wrapped a function: its first optimiser wraps ``manual_seed``."""
    if not isinstance(now, FunctionType):
        return False
    own = now.__code__.co_filename.startswith(os.path.dirname(torch.__file__))
    return own and getattr(now, "__wrapped__", None) is before


def _same_names(now: Any, kept: dict[str, Any]) -> bool:
    try:
        return now == kept  # fast: identical values are not compared any further
    except Exception:  # a new value that cannot be compared
        return False


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # the answer removed the folder it had moved to
        return ""


@contextlib.contextmanager
def chance() -> Iterator[None]:
    """Fix every global source of chance, and put each back as it was."""
    python, numbers = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.default_generator.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numbers)


class Interrupt:
    """Tell a real Ctrl-C from a ``KeyboardInterrupt`` that an answer raises.

    While the check runs, the signal is noted and then handled as before. In another thread than
    the main one nothing is noted, because Python delivers Ctrl-C to the main thread only.
    """

    def __init__(self) -> None:
        self.pressed = False
        self.before: Any = None

    def __enter__(self) -> Interrupt:
        self.before = signal.getsignal(signal.SIGINT)
        self.main = threading.current_thread() is threading.main_thread()
        if self.main and callable(self.before):
            signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.pressed = True
        self.before(number, frame)

    def __exit__(self, *error: object) -> None:
        if self.main and callable(self.before):
            signal.signal(signal.SIGINT, self.before)
