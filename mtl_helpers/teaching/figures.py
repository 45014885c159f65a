"""Figures in one house style: pure functions that return a Matplotlib figure.

No function here touches ``matplotlib.pyplot`` or any global setting, so a figure depends on its
arguments only. Everything is drawn small in inches and at a high resolution: Matplotlib's ordinary
font sizes then stay readable when a picture is shown at half its size.

Colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart
(https://jfly.uni-koeln.de/color/). A task also has its own marker and line style, so that no
picture depends on colour alone.
"""

from __future__ import annotations

import io
import re
import sys
import textwrap
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from mtl_helpers.metrics import Interval

DPI = 110

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, GREY = "#E69F00", "#56B4E9", "#000000", "#767676"

_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("solid", "dashed", "dashdot", "dotted")

# The place of each known name in the three lists above. Names that share a picture differ.
_KNOWN = {
    **{"left": 0, "right": 1},
    **{"few": 0, "many": 1},
    **{"quiet": 0, "busy": 1},
    **{"class": 0, "box": 1, "mask": 2, "keypoints": 3},
    **{"intent": 0, "slots": 1, "topic": 2, "sentiment": 3, "entities": 4},
    **{"digit": 0, "speaker": 1, "emotion": 2, "click": 0, "conversion": 1},
    **{"foreground": 0, "boundary": 1, "distance": 2, "count": 3, "modality": 4},
    **{"multi-task": 2, "single-task": 3, "sum": 6, "mean": 6},
}

_STEPS = (1, 2, 2.5, 5, 10)  # distances between ticks, times a power of ten

# Margins in inches: left, right, bottom, top, and between two columns.
_LEFT, _RIGHT, _BOTTOM, _TOP, _GAP = 0.72, 0.15, 0.55, 0.36, 0.80


class Picture(NamedTuple):
    """A figure with its key numbers in words.

    Attributes:
        figure: The Matplotlib figure.
        says: The key numbers of the figure in one or two short plain sentences. It is what a
            reader who cannot see the picture gets, and what nbval compares.
    """

    figure: Figure
    says: str


def task_style(name: str) -> dict[str, Any]:
    """Colour, marker and line style of a task: the same in every picture of the series.

    A name that is not in the table gets a place computed from its letters, counted on by the
    number it ends with, so that "task 1", "task 2", ... up to seven are all different.

    Args:
        name: The task's name, such as ``"left"``.

    Returns:
        Keyword arguments for ``axes.plot``: ``color``, ``marker`` and ``linestyle``.
    """
    if name in _KNOWN:
        first, place = 0, _KNOWN[name]
    else:
        stem, number = re.fullmatch(r"(.*?)([0-9]*)", name, flags=re.DOTALL).groups()
        first = zlib.crc32(stem.encode()) % 4093
        place = first + int(number[-6:] or 0)
    return {
        "color": _COLOURS[place % len(_COLOURS)],
        "marker": _MARKERS[(place + first // len(_COLOURS)) % len(_MARKERS)],
        "linestyle": _LINES[place % len(_LINES)],
    }


def new_figure(
    columns: int = 1, *, width: float | None = None, height: float = 3.3
) -> tuple[Figure, Any]:
    """An empty figure in the style of the series.

    An explorer redraws while a slider moves, and most of the time of a redraw goes into ticks and
    into looking for free room. So there are few ticks, margins are fixed, and there are at most two
    columns.

    Args:
        columns: Number of axes side by side, 1 or 2.
        width: Width in inches; 5.6 for one column and 7.6 for two unless given.
        height: Height in inches.

    Returns:
        ``(figure, axes)`` for one column, ``(figure, (left_axes, right_axes))`` for two.

    Raises:
        ValueError: If ``columns`` is neither 1 nor 2.
    """
    if columns not in (1, 2):
        raise ValueError(
            f"new_figure: columns is {columns!r}, expected 1 or 2. Three axes do not redraw in "
            "time for a slider: show two figures instead."
        )
    width = (5.6, 7.6)[columns - 1] if width is None else width
    across = (width - _LEFT - _RIGHT - _GAP * (columns - 1)) / columns
    up = height - _BOTTOM - _TOP
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    lefts = [_LEFT + column * (across + _GAP) for column in range(columns)]
    boxes = [(left / width, _BOTTOM / height, across / width, up / height) for left in lefts]
    axes = tuple(_house_axes(figure, box, across, up, 6 - columns) for box in boxes)
    return figure, axes[0] if columns == 1 else axes


def _house_axes(figure: Figure, box: tuple, across: float, up: float, steps: int) -> Axes:
    """Axes with few ticks, a light grid, and labels at fixed places (sizes in inches)."""
    axes = figure.add_axes(box)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_prop_cycle(color=_COLOURS, linestyle=(_LINES * 2)[: len(_COLOURS)])
    axes.set_axisbelow(True)
    axes.grid(True, color="0.9", linewidth=0.8)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(steps, steps=_STEPS))
    axes.xaxis.set_label_coords(0.5, -0.32 / up)
    axes.yaxis.set_label_coords(-0.50 / across, 0.5)
    return axes


def label(axes: Axes, x: str = "", y: str = "", title: str = "") -> None:
    """Name both axes (with units) and the picture, at places that need no search for room.

    Args:
        axes: Axes of ``new_figure``.
        x: Label of the horizontal axis.
        y: Label of the vertical axis.
        title: Title, at most about 45 characters (30 where there are two columns).
    """
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, loc="left", fontsize="medium", fontweight="bold", y=1.0, pad=8)


def name_mark(
    axes: Axes, text: str, place: np.ndarray, away: tuple[float, float], colour: str = "black"
) -> None:
    """Write the name of a mark beside it.

    Args:
        axes: Axes that the mark is on.
        text: The name.
        place: Of the mark, [2].
        away: How many points to the right and up of it the name begins.
        colour: Of the name.
    """
    sides = {"ha": "left" if away[0] > 0 else "right", "va": "bottom" if away[1] > 0 else "top"}
    patch = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
    how = {"fontsize": 11, "color": colour, "bbox": patch, "annotation_clip": True, "zorder": 5}
    axes.annotate(text, place, away, textcoords="offset points", **sides, **how)


def png(figure: Figure) -> bytes:
    """The figure as PNG bytes: the same figure always gives the same bytes.

    A figure that was made by ``pyplot`` is closed there, so that it is not shown a second time.

    Args:
        figure: Any Matplotlib figure.

    Returns:
        The PNG file's bytes, without any metadata, at the figure's own resolution.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(figure)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(
        file, format="png", compress_level=3, dpi=(figure.dpi, figure.dpi)
    )
    return file.getvalue()


def cut_off(figure: Figure) -> list[str]:
    """The sides on which something sticks out of the figure, for tests of figure functions.

    Args:
        figure: Any Matplotlib figure.

    Returns:
        Some of ``"left"``, ``"bottom"``, ``"right"`` and ``"top"``; empty when everything fits.
    """
    drawn = figure.get_tightbbox(FigureCanvasAgg(figure).get_renderer())
    width, height = figure.get_size_inches()
    room = (drawn.x0, drawn.y0, width - drawn.x1, height - drawn.y1)
    sides = ("left", "bottom", "right", "top")
    return [side for side, inches in zip(sides, room, strict=True) if inches < -0.01]


def digits_grid(
    images: Any, captions: Sequence[str] = (), *, columns: int = 8, axes: Axes | None = None
) -> Figure:
    """Grey images in rows, each with a caption under it, on a single pair of axes.

    Args:
        images: Tensor or array ``[N, H, W]`` or ``[N, 1, H, W]`` with values in 0..1.
        captions: N short captions, or none at all.
        columns: Images in a row.
        axes: Axes to draw on; a new figure of the right size unless given.

    Returns:
        The figure that holds the images.

    Raises:
        ValueError: If the images or the number of captions do not fit the description above.
    """
    pixels = np.asarray(images.detach().cpu() if hasattr(images, "detach") else images, dtype=float)
    if pixels.ndim == 4 and pixels.shape[1] == 1:
        pixels = pixels[:, 0]
    if pixels.ndim != 3 or len(pixels) == 0:
        raise ValueError(
            f"digits_grid: images have shape {list(pixels.shape)}, expected [N, H, W] or "
            "[N, 1, H, W] with N of at least 1."
        )
    if len(captions) not in (0, len(pixels)):
        raise ValueError(f"digits_grid: {len(captions)} captions for {len(pixels)} images.")
    count, high, wide = pixels.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    step_y, step_x = high * (1.3 if captions else 1.08), wide * 1.08
    if axes is None:
        width = max(0.95 * columns, 1.5)
        figure = Figure(figsize=(width, width * rows * step_y / (columns * step_x)), dpi=DPI)
        axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_aspect("equal")
    for i, image in enumerate(pixels):
        x, y = (i % columns) * step_x, (i // columns) * step_y
        box = (x, x + wide, y + high, y)
        axes.imshow(image, cmap="gray", vmin=0, vmax=1, extent=box, interpolation="nearest")
        caption = captions[i] if captions else ""
        axes.text(x + wide / 2, y + high * 1.03, caption, ha="center", va="top", fontsize=9)
    axes.set_xlim(wide - step_x, columns * step_x)
    axes.set_ylim(rows * step_y, high - high * 1.08)
    return axes.figure


def learning_curves(
    curves: Mapping[str, Sequence[float]],
    *,
    x: str = "epoch",
    y: str = "loss",
    title: str = "",
    axes: Axes | None = None,
) -> Figure:
    """One curve a task, in the task's style, against the number of the epoch from 1.

    Args:
        curves: For each task one value an epoch, such as ``history.valid_losses``.
        x: Label of the horizontal axis.
        y: Label of the vertical axis, with its unit.
        title: Title of the picture.
        axes: Axes to draw on; a new figure unless given.

    Returns:
        The figure that holds the curves.

    Raises:
        ValueError: If there is no curve or a curve is empty.
    """
    if not curves or any(len(curve) == 0 for curve in curves.values()):
        raise ValueError("learning_curves: expected at least one curve with at least one value.")
    axes = new_figure()[1] if axes is None else axes
    for name, curve in curves.items():
        every = max(1, len(curve) // 8)
        epochs = range(1, len(curve) + 1)
        axes.plot(epochs, curve, label=name, markevery=every, markersize=5, **task_style(name))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=_STEPS, integer=True))
    label(axes, x, y, title)
    axes.legend(loc="upper right", frameon=False)
    return axes.figure


def band(axes: Axes, x: Any, mean: Any, low: Any, high: Any, name: str, **style: Any) -> None:
    """A line with its interval as a shaded band.

    Args:
        axes: Axes to draw on.
        x: Positions, ``[N]``.
        mean: The line, ``[N]``.
        low: Lower ends of the intervals, ``[N]``.
        high: Upper ends of the intervals, ``[N]``.
        name: Task name: it chooses the style and is the line's name in the legend.
        **style: Replaces parts of the task's style.
    """
    style = {**task_style(name), **style}
    axes.plot(x, mean, label=name, markersize=5, **style)
    axes.fill_between(x, low, high, color=style["color"], alpha=0.2, linewidth=0)


def interval_plot(
    intervals: Mapping[str, tuple[float, float, float]],
    *,
    x: str = "",
    title: str = "",
    reference: float | None = None,
    axes: Axes | None = None,
) -> Figure:
    """Means with their intervals, one row a name, and a line where there is no difference.

    Args:
        intervals: For each name ``(mean, low, high)``, such as a ``metrics.Interval``.
        x: Label of the horizontal axis, with its unit.
        title: Title of the picture.
        reference: Where to draw a vertical line, such as 0 for differences.
        axes: Axes to draw on; a new figure unless given.

    Returns:
        The figure that holds the rows, the first name at the top.
    """
    means, below, above = _ends(intervals, "interval_plot")
    axes = _row_axes(intervals) if axes is None else axes
    if reference is not None:
        axes.axvline(reference, color=GREY, linewidth=1.2, linestyle="dashed")
    for row, name in enumerate(intervals):
        style = {**task_style(name), "linestyle": "none"}
        error = [[below[row]], [above[row]]]
        axes.errorbar(means[row], row, xerr=error, capsize=4, elinewidth=2, markersize=7, **style)
    axes.set_ylim(len(means) - 0.5, -0.5)
    axes.set_yticks(range(len(means)), list(intervals))
    label(axes, x, "", title)
    return axes.figure


def whisker(
    axes: Axes,
    place: float,
    interval: Interval,
    *,
    across: bool = False,
    **look: Any,
) -> None:
    """A dot with its interval.

    Args:
        axes: Axes to draw on.
        place: Where, on the axis that holds no values.
        interval: Mean and ends.
        across: Whether it lies, with the values on the horizontal axis.
        **look: Replaces parts of the look, such as ``color``.
    """
    mean = interval.mean
    ends = [[mean - interval.low], [interval.high - mean]]
    look = {"fmt": "o", "capsize": 3, "markersize": 6.5, **look}
    if across:
        axes.errorbar(mean, place, xerr=ends, **look)
    else:
        axes.errorbar(place, mean, yerr=ends, **look)


def _row_axes(names: Iterable[str]) -> Axes:
    """Axes with room on the left for the names and for each name one row."""
    names = list(names)
    figure, axes = new_figure(height=_BOTTOM + _TOP + max(0.5, 0.34 * len(names)))
    box = axes.get_position()
    left = min(0.2 + 0.088 * max(map(len, names)), 2.5) / figure.get_figwidth()
    axes.set_position((left, box.y0, box.x1 - left, box.height))
    return axes


def bars_with_intervals(
    intervals: Mapping[str, tuple[float, float, float]],
    *,
    y: str = "",
    title: str = "",
    axes: Axes | None = None,
) -> Figure:
    """Bars from zero with their intervals, one bar a name.

    Args:
        intervals: For each name ``(mean, low, high)``, such as a ``metrics.Interval``.
        y: Label of the vertical axis, with its unit.
        title: Title of the picture.
        axes: Axes to draw on; a new figure unless given.

    Returns:
        The figure that holds the bars.
    """
    means, below, above = _ends(intervals, "bars_with_intervals")
    axes = new_figure()[1] if axes is None else axes
    colours = [task_style(name)["color"] for name in intervals]
    places = range(len(means))
    axes.bar(places, means, width=0.6, color=colours)
    axes.errorbar(places, means, yerr=[below, above], fmt="none", ecolor="0.25", capsize=4)
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.set_xticks(places, [textwrap.fill(name, 12) for name in intervals])
    label(axes, "", y, title)
    return axes.figure


def _ends(intervals: Mapping[str, Any], caller: str) -> tuple[np.ndarray, ...]:
    """Means and the distances from them to both ends, each checked."""
    if not intervals:
        raise ValueError(f"{caller}: expected at least one name with (mean, low, high).")
    for name, interval in intervals.items():
        mean, low, high = interval
        if not low <= mean <= high:
            raise ValueError(
                f"{caller}: {name!r} is mean {mean}, low {low}, high {high}; expected "
                "low <= mean <= high. Give each name (mean, low, high)."
            )
    means, lows, highs = np.array(list(intervals.values()), dtype=float).T
    return means, means - lows, highs - means
