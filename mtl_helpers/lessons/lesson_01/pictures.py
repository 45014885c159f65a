"""The pictures of lesson 01."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtl_helpers.teaching.figures import DPI, Picture

# One panel a setting: boxes (name: column, row, text, kind) and arrows between them.
# Columns and rows count from 0 in the lower left; kind is "data", "model" or "task".
SETTINGS = {
    "single-task": (
        {"d": (0, 1, "data", "data"), "m": (1, 1, "model", "model"), "a": (2, 1, "A", "task")},
        ["dm", "ma"],
    ),
    "multi-label": (
        {"d": (0, 1, "data", "data"), "m": (1, 1, "model", "model"),
         "a": (2, 1, "sea? yes\nsky? yes\nsnow? no", "task")},
        ["dm", "ma"],
    ),
    "multi-task": (
        {"d": (0, 1, "data", "data"), "m": (1, 1, "trunk", "model"), "a": (2, 2, "A", "task"),
         "b": (2, 0, "B", "task")},
        ["dm", "ma", "mb"],
    ),
    "transfer": (
        {"a": (0, 2, "data A", "data"), "m": (1, 2, "model", "model"), "A": (2, 2, "A", "faint"),
         "b": (0, 0, "data B", "data"), "n": (1, 0, "model", "model"), "B": (2, 0, "B", "task")},
        ["am", "mA", "bn", "nB", "mn"],
    ),
    "meta-learning": (
        {"a": (0, 2, "tasks A,\nB, C, …", "data"), "m": (1, 2, "how to\nlearn", "model"),
         "n": (0, 0, "5 examples\nof a new N", "data"), "k": (1, 0, "model", "model"),
         "N": (2, 0, "N", "task")},
        ["am", "mk", "nk", "kN"],
    ),
    "co-training": (
        {"a": (0, 2, "view 1", "data"), "m": (1, 2, "model 1", "model"),
         "b": (0, 0, "view 2", "data"), "n": (1, 0, "model 2", "model"), "A": (2, 1, "A", "task")},
        ["am", "bn", "mn", "nm", "mA", "nA"],
    ),
    "domain adaptation": (
        {"a": (0, 2, "old data", "data"), "m": (1, 2, "model", "model"), "A": (2, 2, "A", "faint"),
         "b": (0, 0, "new data", "data"), "n": (1, 0, "model", "model"), "B": (2, 0, "A", "task")},
        ["am", "mA", "bn", "nB", "mn"],
    ),
    "multi-domain": (
        {"a": (0, 2, "data 1", "data"), "b": (0, 0, "data 2", "data"),
         "m": (1, 1, "model", "model"), "A": (2, 2, "A", "task"), "B": (2, 0, "A", "task")},
        ["am", "bm", "mA", "mB"],
    ),
}  # fmt: skip
_LOOK = {
    "data": {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": "0.4"},
    "model": {"boxstyle": "square,pad=0.45", "facecolor": "0.87", "edgecolor": "0.4"},
    "task": {"boxstyle": "round,pad=0.35", "facecolor": "#BFDDF0", "edgecolor": "#0072B2"},
    "faint": {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": "0.75"},
}


def settings() -> Picture:
    """Draw eight ways to learn: what goes in, what is shared, what is wanted."""
    figure = Figure(figsize=(9.4, 6.6), dpi=DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, 3 * 3.55)
    axes.set_ylim(0, 3 * 2.85)
    for i, (name, (boxes, arrows)) in enumerate(SETTINGS.items()):
        left, bottom = (i % 3) * 3.55 + 0.7, (2 - i // 3) * 2.85 + 0.3
        _panel(axes, left, bottom, boxes, arrows)
        axes.text(left - 0.45, bottom + 2.15, name, fontweight="bold", fontsize=12)
    says = "Eight small diagrams: " + ", ".join(SETTINGS) + "."
    return Picture(figure, says)


def _panel(axes: Axes, left: float, bottom: float, boxes: dict, arrows: list[str]) -> None:
    placed = {}
    for key, (column, row, text, kind) in boxes.items():
        x, y = left + (-0.15, 1.12, 2.3)[column], bottom + 0.85 * row
        colour = "0.6" if kind == "faint" else "black"
        placed[key] = axes.text(
            x, y, text, ha="center", va="center", fontsize=11, bbox=_LOOK[kind], color=colour
        )
    for start, end in arrows:
        axes.annotate(
            "",
            placed[end].get_position(),
            placed[start].get_position(),
            zorder=1,  # below the boxes
            arrowprops={
                "arrowstyle": "->",
                "color": "0.3",
                "shrinkA": 22,
                "shrinkB": 25,
                "connectionstyle": "arc3,rad=0.25" if {start, end} == {"m", "n"} else "arc3",
            },
        )
