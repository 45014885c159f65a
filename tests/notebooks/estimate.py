"""How long a notebook takes, by what is in it: fitted to a newcomer who read the code.

Words at 90 per minute, a line of visible code 1/8 of a minute, 2 minutes per display formula, 1 per
prediction, half a minute per picture, and for each exercise the minutes in its heading. Not read,
so not counted: hints, solutions, notes for the teacher, references, folded code, stubs, checks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

NOT_READ = {"hint", "solution", "teacher"}
PICTURES = ("image/png", "image/svg+xml")


@dataclass(frozen=True)
class Amount:
    """What one cell, or a whole notebook, asks of its reader."""

    words: int = 0
    lines: int = 0  # of visible code
    folded: int = 0  # of code that is folded away
    formulas: int = 0
    predictions: int = 0
    pictures: int = 0
    exercise_minutes: int = 0

    def __add__(self, other: Amount) -> Amount:
        mine, theirs = vars(self), vars(other)
        return Amount(**{name: mine[name] + theirs[name] for name in mine})

    @property
    def minutes(self) -> float:
        reading = self.words / 90 + self.lines / 8 + 2 * self.formulas
        return reading + self.predictions + self.pictures / 2 + self.exercise_minutes


def of_cell(cell: dict[str, Any]) -> Amount:
    """Measure a cell of a notebook (nbformat 4)."""
    text, tags = _joined(cell["source"]), set(cell["metadata"].get("tags", []))
    if cell["cell_type"] == "code":
        lines = sum(bool(line.strip()) for line in text.splitlines())
        hidden = is_folded(cell)
        shown = not hidden and not tags & {"stub", "check"}
        kinds = [kind for out in cell.get("outputs", []) for kind in out.get("data", {})]
        return Amount(
            lines=lines if shown else 0,
            folded=lines if hidden else 0,
            pictures=sum(kinds.count(kind) for kind in PICTURES),
        )
    if cell["cell_type"] != "markdown" or tags & NOT_READ:
        return Amount()
    if text.lstrip().startswith("## References"):
        return Amount()
    doing = re.findall(r"^#+ Exercise.*?(\d+) min", text, re.M)
    return Amount(
        words=len(text.split()),
        formulas=text.count("$$") // 2,
        predictions=int(text.lstrip().startswith("**Predict")),
        exercise_minutes=sum(map(int, doing)),
    )


def of(cells: list[dict[str, Any]]) -> Amount:
    """Measure some cells together."""
    return sum(map(of_cell, cells), Amount())


def is_folded(cell: dict[str, Any]) -> bool:
    """Whether JupyterLab shows the source of a cell folded."""
    return bool(cell["metadata"].get("jupyter", {}).get("source_hidden"))


def _joined(value: Any) -> str:
    return "".join(value) if isinstance(value, list) else str(value or "")
