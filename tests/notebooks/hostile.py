"""Values and functions that nobody should hand in, for checks that must survive them all."""

from __future__ import annotations

import decimal
import fractions
import functools
import random
import sys
import threading
import types
from typing import Any

import numpy as np
import torch
from torch import nn


class Raises:
    """Everything that can be asked of it raises."""

    def _no(self, *args: Any, **named: Any) -> Any:
        raise RuntimeError("no")

    __eq__ = __bool__ = __len__ = __iter__ = __getitem__ = __float__ = __int__ = __index__ = _no
    __call__ = __array__ = __deepcopy__ = __repr__ = __str__ = __hash__ = __getattr__ = _no
    __add__ = __radd__ = __mul__ = __rmul__ = __lt__ = __gt__ = __contains__ = _no


class Exits(Raises):
    def _no(self, *args: Any, **named: Any) -> Any:
        sys.exit("bye")

    __eq__ = __bool__ = __len__ = __iter__ = __float__ = __call__ = __array__ = __getattr__ = _no
    __deepcopy__ = __repr__ = __hash__ = _no


class NoKind:
    @property
    def __class__(self) -> Any:
        raise RuntimeError("no class")


class EqualsAll:
    """Calls itself equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]
    __lt__ = __gt__ = __le__ = __ge__ = __contains__ = __eq__


class ArrayOfNothing:
    def __array__(self, *args: Any, **named: Any) -> Any:
        return "no array"


class LikePandas:
    """A column with an index of its own, as a pandas Series."""

    index = ("a", "b")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array([1.5, -77.25])

    def __getitem__(self, key: Any) -> float:
        return {"a": 1.5, "b": -77.25}[key]

    def __len__(self) -> int:
        return 2


class OddMapping(dict):
    def __getitem__(self, key: Any) -> Any:
        raise KeyError(key)


class NoTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class ExitTextError(Exception):
    def __str__(self) -> str:
        sys.exit("in the text")


class Bare(BaseException):
    pass


def raiser(error: BaseException) -> Any:
    def answer(*args: Any, **named: Any) -> Any:
        raise error

    return answer


def gives(value: Any) -> Any:
    def answer(*args: Any, **named: Any) -> Any:
        return value

    return answer


def without_end(*args: Any, **named: Any) -> Any:
    return without_end(*args, **named)


def prints(*args: Any, **named: Any) -> Any:
    print("noise")
    return object()


def seeds(*args: Any, **named: Any) -> Any:
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    return -77.25


def switches(*args: Any, **named: Any) -> Any:
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float16)
    return -77.25


def on_meta(*args: Any, **named: Any) -> Any:
    torch.set_default_device("meta")
    return torch.ones(2)


def patches(*args: Any, **named: Any) -> Any:
    torch.isclose = lambda *a, **k: torch.ones(1, dtype=torch.bool)
    torch.allclose = torch.equal = lambda *a, **k: True
    torch.manual_seed = torch.rand = torch.randn = lambda *a, **k: None
    return -77.25


def in_a_thread(*args: Any, **named: Any) -> Any:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    return thread


def spoils(*args: Any, **named: Any) -> Any:
    for value in args:
        if isinstance(value, torch.Tensor):
            value.data.fill_(torch.nan)
        if isinstance(value, dict | list):
            value.clear()
    return -77.25


def generator(*args: Any, **named: Any) -> Any:
    yield -77.25


class Callable:
    def __call__(self, *args: Any, **named: Any) -> Any:
        return -77.25


ITSELF: list[Any] = []
ITSELF.append(ITSELF)
DEEP: Any = 1
for _ in range(3000):
    DEEP = [DEEP]

VALUES: dict[str, Any] = {
    "minus": -77.25,
    "huge": 10**400,
    "huge digits": -(10**6000),
    "infinite": float("inf"),
    "nan": float("nan"),
    "complex": 3 - 77j,
    "decimal": decimal.Decimal("-77.25"),
    "fraction": fractions.Fraction(-77, 4),
    "text": "no idea",
    "number as text": "-77.25",
    "fraction as text": "-77/4",
    "empty text": "",
    "long text": "word " * 5000,
    "bytes": b"bytes",
    "empty list": [],
    "empty tuple": (),
    "empty dictionary": {},
    "list": [-77.25, 3],
    "ragged": [[1], [1, 2]],
    "nested text": [["a"], {"b": ("c",)}],
    "set": {1, 2},
    "range": range(77),
    "iterator": iter([1, 2]),
    "itself": ITSELF,
    "deep": DEEP,
    "other keys": {"zz": -77.25},
    "keys that are tensors": {torch.ones(1): 1},
    "raising mapping": OddMapping(left=1, right=2),
    "proxy": types.MappingProxyType({"zz": 1}),
    "object": object(),
    "module": types.ModuleType("odd"),
    "class": Callable,
    "raises": Raises(),
    "exits": Exits(),
    "no class": NoKind(),
    "equals all": EqualsAll(),
    "list of equals all": [EqualsAll(), EqualsAll()],
    "no array": ArrayOfNothing(),
    "like pandas": LikePandas(),
    "array": np.array([-77.25, 1.0]),
    "array of objects": np.array([object(), "a"]),
    "array of text": np.array(["0.4", "2/5"]),
    "array of dates": np.array(["2020-01-01"], dtype="datetime64[D]"),
    "structured array": np.zeros(2, dtype=[("a", "f8")]),
    "empty array": np.zeros((0, 3)),
    "numpy number": np.float16(-77.25),
    "tensor": torch.tensor([-77.25, 3.0]),
    "0-dim": torch.tensor(-77.25),
    "with gradient": torch.tensor(-77.25, requires_grad=True),
    "meta": torch.ones(2, device="meta"),
    "sparse": torch.eye(3).to_sparse(),
    "complex tensor": torch.tensor([1j, 2.0]),
    "half": torch.full((2,), -77.25, dtype=torch.float16),
    "bool tensor": torch.tensor([True, False, True]),
    "empty tensor": torch.empty(0),
    "nan tensor": torch.full((3, 2), torch.nan),
    "long tensor": torch.tensor([2**62, -(2**62)]),
    "network": nn.Linear(2, 2),
    "no forward": nn.Sequential(),
    "generator of torch": torch.Generator(),
    "size": torch.Size([7, 77]),
    "device": torch.device("meta"),
    "number type": torch.float64,
    "error": ValueError("an error"),
    "slice": slice(0, 7),
    "code": without_end.__code__,
}

FUNCTIONS: dict[str, Any] = {
    "error": raiser(ValueError("own error")),
    "address": raiser(ValueError(f"{object()} 0x7f1234567890")),
    "long error": raiser(ValueError("word\n" * 400)),
    "no text": raiser(NoTextError()),
    "exit in the text": raiser(ExitTextError()),
    "exit": raiser(SystemExit(3)),
    "interrupt": raiser(KeyboardInterrupt()),
    "generator exit": raiser(GeneratorExit()),
    "stop": raiser(StopIteration()),
    "bare": raiser(Bare("bare")),
    "memory": raiser(MemoryError()),
    "group": raiser(ExceptionGroup("two", [ValueError("a"), TypeError("b")])),
    "assertion": raiser(AssertionError()),
    "recursion": without_end,
    "prints": prints,
    "seeds": seeds,
    "switches": switches,
    "on meta": on_meta,
    "patches": patches,
    "thread": in_a_thread,
    "spoils": spoils,
    "generator": generator,
    "callable object": Callable(),
    "partial": functools.partial(gives(-77.25), 1),
    "no argument": lambda: 1,
    "one argument": lambda x: x,
    "first argument": lambda *args, **named: args[0] if args else 0,
    "builtin": print,
    "length": len,
    "type": type,
    "identity": id,
    "ufunc": np.add,
    "of torch": torch.sub,
    "vectorised": np.vectorize(lambda *a: -77.25),
} | {f"gives {name}": gives(value) for name, value in VALUES.items()}
