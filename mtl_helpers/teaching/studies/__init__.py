"""Recorded studies: sweeps too long to run live.

A lesson's ``studies.py`` holds a list ``STUDIES``, and so may the ``deeper_studies.py`` of its
deeper notebooks. ``python -m mtl_helpers.teaching.studies`` (or
``make results``) runs them and writes each to ``data/results``; a test runs a sample of each again.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import math
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtl_helpers.teaching.recorded import Code, load, origin_of, record

LESSONS = "mtl_helpers.lessons"  # found by name: the kit imports no lesson

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Sample:
    """A part of a study that is quick enough to be run again by a test.

    Args:
        configuration: the study's configuration with fewer settings. Every row it gives must be
            one of the recorded rows.
        tolerance: largest relative difference of a measured number (and absolute, below 1).
        seeds: fewer seeds, where each row belongs to one seed; None for all of the study's.
        ignore: columns that differ from run to run, such as times.
    """

    configuration: Mapping[str, Any]
    tolerance: float
    seeds: Sequence[int] | None = None
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """A sweep that is run once and recorded.

    Args:
        name: lower-case letters, digits and underscores; the name of its file.
        question: what it answers.
        configuration: its settings, in plain values.
        run: from the configuration and the seeds to rows, one dictionary a setting (and seed).
        seeds: the seeds of every setting.
        keys: the columns that say which setting (and seed) a row belongs to.
        sample: what a test runs again.
        code: the modules and functions that make the rows, beside ``run``.
    """

    name: str
    question: str
    configuration: Mapping[str, Any]
    run: Callable[[Mapping[str, Any], Sequence[int]], Sequence[Row]]
    seeds: Sequence[int]
    keys: tuple[str, ...]
    sample: Sample
    code: Sequence[Code] = ()

    def record(self) -> Path:
        """Run the whole study and write its rows to ``data/results``; give the path."""
        code = [self.run, *self.code]
        origin = origin_of(code)
        return record(
            self.name,
            question=self.question,
            configuration=self.configuration,
            seeds=self.seeds,
            rows=self.run(self.configuration, self.seeds),
            code=code,
            origin=origin,
        )


@dataclass(frozen=True)
class Comparison:
    """What came of running a sample again.

    Attributes:
        rows: how many rows were compared.
        differences: what did not agree, one line each; empty when all is well.
        changed: whether the code is another one than that which made the file.
    """

    rows: int
    differences: list[str] = field(default_factory=list)
    changed: bool = False


def all_studies() -> dict[str, Study]:
    """Collect the studies of all lessons, by name.

    Raises:
        ValueError: two studies share a name, or a file has no list ``STUDIES``.
    """
    found: dict[str, Study] = {}
    lessons = importlib.import_module(LESSONS).__path__
    names = sorted(module.name for module in pkgutil.iter_modules(lessons))
    for name, file in itertools.product(names, ("studies", "deeper_studies")):
        place = f"{LESSONS}.{name}.{file}"
        if importlib.util.find_spec(place) is None:
            continue
        module = importlib.import_module(place)
        if not hasattr(module, "STUDIES"):
            raise ValueError(f"{place} has no list STUDIES; put its studies into one")
        for study in module.STUDIES:
            if study.name in found:
                raise ValueError(f"two studies are called {study.name!r}; rename one in {place}")
            found[study.name] = study
    return found


def rerun_sample(study: Study) -> Comparison:
    """Run the sample of a study again and compare its rows with the recorded ones.

    Raises:
        FileNotFoundError: the study was never recorded.
        ValueError: the file is damaged.
    """
    recorded, sample = load(study.name), study.sample
    seeds = study.seeds if sample.seeds is None else sample.seeds
    rows = study.run(sample.configuration, seeds)
    differences = [] if rows else ["the sample gave no rows"]
    for row in rows:
        setting = {key: row[key] for key in study.keys}
        same = [old for old in recorded.rows if all(old.get(k) == v for k, v in setting.items())]
        if len(same) != 1:
            differences.append(f"{setting}: {len(same)} recorded rows, expected 1")
            continue
        for column in sorted((row.keys() | same[0].keys()) - {*study.keys, *sample.ignore}):
            old, new = same[0].get(column), row.get(column)
            if not _agree(old, new, sample.tolerance):
                differences.append(f"{setting}: {column} was {old!r}, is now {new!r}")
    return Comparison(len(rows), differences, recorded.changed)


def _agree(old: Any, new: Any, tolerance: float) -> bool:
    new = new.tolist() if hasattr(new, "tolist") else new  # tensors, arrays and their numbers
    if isinstance(old, list) and isinstance(new, list | tuple):
        return len(old) == len(new) and all(map(_agree, old, new, [tolerance] * len(old)))
    if isinstance(old, int | float) and isinstance(new, int | float):
        return math.isclose(old, new, rel_tol=tolerance, abs_tol=tolerance)
    return old == new
