"""Boxes, arrows and the like: what diagrams of networks and of ideas are drawn with.

All places and sizes are in points of a picture that is 480 points wide (640 pixels of a screen):
text of 11 points is then 11 points when the picture is shown that wide.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyBboxPatch, Polygon, Rectangle, Wedge

from mtl_helpers.teaching.explore import _stored
from mtl_helpers.teaching.figures import BLACK, Picture, png, task_style

WIDTH = 480.0  # points
DPI = 144  # 960 pixels wide: sharp on a projector
SIZE, SMALL = 11.0, 10.0  # points of text
FAMILY = "DejaVu Sans"  # comes with Matplotlib, so a picture is the same everywhere
LINE = 1.3  # height of a line of text, over its size
INK, QUIET, PALE = "0.1", "0.35", "0.62"
SHARED_FILL, SHARED_EDGE = "0.90", "0.40"
BROKEN = (0, (3.2, 2.4))  # line style: dashes and gaps


class Diagram(Picture):
    """A picture that a notebook shows by itself: as PNG, with its description as plain text."""

    @property
    def text(self) -> str:
        """The description, for readers who cannot see the picture."""
        return self.says

    @property
    def png(self) -> bytes:
        """The PNG file's bytes; the same diagram always gives the same."""
        return png(self.figure)

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return _stored(self.png, self.says, self.says)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(self.says)  # or IPython would print it as the tuple that it also is


def canvas(height: float) -> tuple[Figure, Axes]:
    """Make an empty figure and axes of 480 × ``height`` points, without frame or ticks.

    Args:
        height: in points.
    """
    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(0, height)
    return figure, axes


def colours(task: str | None) -> tuple[Any, Any]:
    """Give the colours (inside, edge) of a task's boxes; grey for what is shared, with None."""
    if task is None:
        return SHARED_FILL, SHARED_EDGE
    edge = task_style(task)["color"]
    if edge == BLACK:
        return "white", edge
    return tuple(1 - 0.28 * (1 - part) for part in to_rgb(edge)), edge


@functools.lru_cache(maxsize=4096)
def text_width(text: str, size: float = SIZE, weight: str = "normal") -> float:
    """Measure a line of text, in points."""
    font = FontProperties(family=FAMILY, size=size, weight=weight)
    return _measurer().get_text_width_height_descent(text, font, ismath=False)[0] * 72 / DPI


@functools.cache
def _measurer() -> RendererAgg:
    return RendererAgg(1, 1, DPI)


def wrap(text: str, width: float, size: float = SIZE) -> list[str]:
    """Break a text into lines of at most ``width`` points: after ":", before "+", at spaces.

    A word that is too long for a line is cut.
    """
    if text_width(text, size) <= width:
        return [text]
    if ": " in text:
        first, rest = text.split(": ", 1)
        return wrap(f"{first}:", width, size) + wrap(rest, width, size)
    lines: list[str] = []
    for piece in re.split(r" (?=(?:\+|and|on|of|=) )", text):
        parts = [piece] if text_width(piece, size) <= width else piece.split()
        for word in (cut for part in parts for cut in _cut(part, width, size)):
            joined = f"{lines[-1]} {word}" if lines else ""
            if joined and text_width(joined, size) <= width:
                lines[-1] = joined
            else:
                lines.append(word)
    return lines


def _cut(word: str, width: float, size: float) -> list[str]:
    """Cut a word that is too long."""
    if text_width(word, size) <= width or len(word) < 3:
        return [word]
    fits = max(
        n for n in range(1, len(word)) if n == 1 or text_width(word[:n] + "-", size) <= width
    )
    return [word[:fits] + "-", *_cut(word[fits:], width, size)]


def write(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    *,
    size: float = SIZE,
    behind: Any = None,
    **look: Any,
) -> None:
    """Write one line of text, centred at a point.

    Args:
        axes: of :func:`canvas`.
        x: in points.
        y: in points.
        text: what to write; dollar signs stay dollar signs.
        size: in points, at least 9.
        behind: colour of a patch under the text, or None.
        **look: further options of ``axes.text``.
    """
    patch = {"facecolor": behind, "edgecolor": "none", "pad": 1.5} if behind else None
    look = {"ha": "center", "va": "center_baseline", "color": INK, "zorder": 6, **look}
    axes.text(x, y, text, fontsize=size, family=FAMILY, bbox=patch, parse_math=False, **look)


def box(
    axes: Axes,
    place: tuple[float, float, float, float],
    lines: Sequence[str] = (),
    *,
    task: str | None = None,
    cards: int = 1,
    corner: float = 4.0,
    ink: Any = INK,
    **look: Any,
) -> None:
    """Draw a box with lines of text in its middle.

    Args:
        axes: of :func:`canvas`.
        place: centre (x, y), width and height.
        lines: the text.
        task: gives the colours; None for the grey of what is shared.
        cards: how many boxes lie behind each other, for several equal things; at most 4 are drawn.
        corner: radius of the corners.
        ink: colour of the text.
        **look: replaces Matplotlib's ``facecolor``, ``edgecolor``, ``linewidth``, ``linestyle``.
    """
    x, y, width, height = place
    inside, edge = colours(task)
    look = {"facecolor": inside, "edgecolor": edge, "linewidth": 1.4, "zorder": 4, **look}
    look["boxstyle"] = f"round,pad={corner}"
    for behind in reversed(range(min(cards, 4))):
        left, low = x - width / 2 + corner + 3 * behind, y - height / 2 + corner + 3 * behind
        sides = (width - 2 * corner, height - 2 * corner)
        gid = "card" if behind else "box"
        axes.add_artist(FancyBboxPatch((left, low), *sides, gid=gid, **look))
    for i, text in enumerate(lines):
        write(axes, x, y + LINE * SIZE * ((len(lines) - 1) / 2 - i), text, color=ink)


def arrow(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    *,
    colour: Any = QUIET,
    width: float = 1.5,
    broken: bool = False,
    heads: int = 1,
    zorder: float = 2,
) -> None:
    """Draw an arrow along straight pieces.

    Args:
        axes: of :func:`canvas`.
        points: from its beginning to its tip.
        colour: of line and head.
        width: of the line.
        broken: whether the line is broken.
        heads: 0 for a plain line, 1 for a head at the end, 2 for one at each end.
        zorder: what lies above what; boxes are at 4.
    """
    path = [np.array(point, dtype=float) for point in points]
    long = 6.0 + 1.5 * width
    for at, before in ((-1, -2), (0, 1))[:heads]:
        tip, back = path[at].copy(), path[before]
        along = (tip - back) / max(np.linalg.norm(tip - back), 1e-9)
        aside = np.array([-along[1], along[0]]) * long * 0.42
        foot = tip - along * long
        axes.add_artist(
            Polygon([tip, foot + aside, foot - aside], facecolor=colour, linewidth=0, zorder=zorder)
        )
        path[at] = foot + along
    look = {"color": colour, "linewidth": width, "linestyle": BROKEN if broken else "solid"}
    caps = {"dash_capstyle": "butt", "solid_capstyle": "butt", "solid_joinstyle": "round"}
    line = Line2D(*np.array(path).T, zorder=zorder, marker="", **look, **caps)
    axes.add_artist(line)  # add_line would measure it for the limits, which are fixed


def stack(axes: Axes, x: float, y: float, shape: Sequence[int], *, task: str | None = None) -> str:
    """Draw a tensor [channels, height, width] as cards behind each other, its shape below.

    Args:
        axes: of :func:`canvas`.
        x: centre of the front card.
        y: centre of the front card.
        shape: channels, height and width; the card's size follows height and width.
        task: gives the colours; None for grey.

    Returns:
        A sentence that says what was drawn.
    """
    channels, high, wide = shape
    side = 20 + 10 * math.log2(1 + max(high, wide)) / 2
    width, height = side * wide / max(high, wide), side * high / max(high, wide)
    box(axes, (x, y, width, height), cards=channels, corner=1.0, task=task)
    name = f"{channels} × {high} × {wide}"
    write(axes, x, y - height / 2 - 10, name, size=SIZE)
    return f"A tensor of {channels} channel{'s' * (channels != 1)} of {high} × {wide}."


def overlap(
    axes: Axes,
    first: tuple[float, float, float, float],
    second: tuple[float, float, float, float],
    *,
    tasks: tuple[str, str] = ("found", "true"),
) -> str:
    """Draw two boxes with their intersection shaded, and their intersection over union (IoU).

    Args:
        axes: of :func:`canvas`.
        first: left, bottom, right and top of a box, in points.
        second: the other box.
        tasks: the names that are written at the boxes.

    Returns:
        A sentence with the areas and the IoU.

    Raises:
        ValueError: a box whose right or top is not above its left or bottom.
    """
    for left, bottom, right, top in (first, second):
        if right <= left or top <= bottom:
            raise ValueError(
                f"overlap: found a box {(left, bottom, right, top)}, expected (left, bottom, "
                "right, top) with left < right and bottom < top."
            )
    low = [max(a, b) for a, b in zip(first[:2], second[:2], strict=True)]
    high = [min(a, b) for a, b in zip(first[2:], second[2:], strict=True)]
    sides = [max(0.0, b - a) for a, b in zip(low, high, strict=True)]
    shared = sides[0] * sides[1]
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (first, second)]
    iou = shared / (sum(areas) - shared)
    for place, name, line in ((first, tasks[0], "solid"), (second, tasks[1], "dashed")):
        colour = task_style("box")["color"] if line == "solid" else BLACK
        axes.add_artist(
            Rectangle(
                place[:2],
                place[2] - place[0],
                place[3] - place[1],
                fill=False,
                edgecolor=colour,
                linewidth=2.4,
                linestyle=line,
            )
        )
        at = (place[0] + 2, place[3] + 9) if line == "solid" else (place[2] - 2, place[1] - 10)
        write(axes, *at, name, ha="left" if line == "solid" else "right", color=colour)
    if shared:
        axes.add_artist(Rectangle(low, *sides, facecolor="0.80", hatch="//", edgecolor="0.55"))
        name = f"IoU {iou:.2f}"
        write(axes, (low[0] + high[0]) / 2, (low[1] + high[1]) / 2, name, behind="white")
    return (
        f"The boxes {tasks[0]} and {tasks[1]} share {shared:,.0f} of {sum(areas) - shared:,.0f} "
        f"square points: IoU {iou:.2f}."
    )


def wedge(
    axes: Axes, x: float, y: float, gradients: Mapping[str, Sequence[float]], *, radius: float = 90
) -> str:
    """Draw gradients in a plane, and shade the steps that make no loss larger.

    A step d makes a loss no larger, to first order, where d · gradient <= 0; shaded is where that
    holds for all.

    Args:
        axes: of :func:`canvas`.
        x: the common starting point.
        y: the common starting point.
        gradients: for each task its gradient, two numbers that are not both 0. Drawn are the
            steps down, -gradient, the longest as long as ``radius``.
        radius: of the wedge, in points.

    Returns:
        A sentence with the angles.

    Raises:
        ValueError: a gradient that is not two numbers, or is 0.
    """
    steps = {name: -np.asarray(g, dtype=float) for name, g in gradients.items()}
    if not steps or any(s.shape != (2,) or not s.any() for s in steps.values()):
        raise ValueError(
            "wedge: expected for each task a gradient of two numbers that are not both 0; found "
            f"{dict(gradients)}."
        )
    angles = [math.degrees(math.atan2(step[1], step[0])) for step in steps.values()]
    apart = [(angle - angles[0] + 180) % 360 - 180 for angle in angles]
    start, end = angles[0] + max(apart) - 90, angles[0] + min(apart) + 90
    opening = max(0.0, end - start)
    if opening > 0:
        axes.add_artist(Wedge((x, y), radius, start, end, facecolor="0.88", edgecolor="0.6"))
    if opening > 40:
        middle = math.radians((start + end) / 2)
        at = (x + 0.62 * radius * math.cos(middle), y + 0.62 * radius * math.sin(middle))
        write(axes, *at, "no loss rises", behind="0.88")
    longest = max(float(np.linalg.norm(step)) for step in steps.values())
    for name, step in steps.items():
        tip = np.array([x, y]) + step * radius / longest
        colour = task_style(name)["color"]
        arrow(axes, [(x, y), tuple(tip)], colour=colour, width=2.4, zorder=5)
        away = step / np.linalg.norm(step)
        side = "left" if away[0] > 0.3 else "right" if away[0] < -0.3 else "center"
        write(axes, *(tip + 12 * away), name, color=colour, ha=side)
    axes.add_artist(Circle((x, y), 3, facecolor=INK, zorder=6))
    return f"Steps of {', '.join(steps)}; directions in which no loss rises: {opening:.0f} degrees."


def split(
    axes: Axes,
    x: float,
    y: float,
    groups: Mapping[str, int],
    parts: Mapping[str, str],
    *,
    tile: float = 15.0,
) -> str:
    """Draw examples in rows by the group they come from, coloured by the part they go to.

    A group, such as a slide or a patient, goes into one part as a whole.

    Args:
        axes: of :func:`canvas`.
        x: left edge, in points.
        y: top edge, in points.
        groups: how many examples each group has.
        parts: for each group the part it goes to, such as ``"train"`` or ``"test"``.
        tile: side of an example's square.

    Returns:
        A sentence with the counts.

    Raises:
        ValueError: a group without a part.
    """
    if missing := set(groups) - set(parts):
        raise ValueError(f"split: no part is given for {sorted(missing)}; name one for each group.")
    wide = max(text_width(name) for name in groups) + 12
    widest = max(groups.values())
    looks = {part: i for i, part in enumerate(dict.fromkeys(parts[g] for g in groups))}
    fills = ("0.85", "#56B4E9", "#E69F00")
    for row, (name, count) in enumerate(groups.items()):
        middle = y - (row + 0.5) * (tile + 8)
        write(axes, x, middle, name, ha="left")
        fill = fills[looks[parts[name]] % len(fills)]
        for i in range(count):
            at = x + wide + (i + 0.5) * (tile + 3)
            box(axes, (at, middle, tile, tile), facecolor=fill, corner=1.5, linewidth=1.0)
        end = x + wide + widest * (tile + 3) + 8
        arrow(axes, [(x + wide + count * (tile + 3) + 3, middle), (end + 22, middle)])
        write(axes, end + 28, middle, parts[name], ha="left")
    totals = {part: sum(n for g, n in groups.items() if parts[g] == part) for part in looks}
    listed = ", ".join(
        f"{n} examples of {_count(groups, parts, p)}" + f" in {p}" for p, n in totals.items()
    )
    return f"Whole groups go into one part: {listed}."


def _count(groups: Mapping[str, int], parts: Mapping[str, str], part: str) -> str:
    number = sum(parts[name] == part for name in groups)
    return f"{number} group{'s' * (number != 1)}"
