"""Means over seeds as curves with their bands, each named at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from mtl_helpers.metrics import Interval, mean_interval
from mtl_helpers.teaching.figures import Picture, band, label, new_figure, task_style


def curves(
    x: Sequence[float],
    lines: Mapping[str, Tensor],
    *,
    x_label: str,
    y_label: str,
    styles: Mapping[str, str] | None = None,
    log: bool = False,
    marks: Mapping[str, Sequence[float]] | None = None,
    top: float | None = None,
    ticks: Sequence[str] | None = None,
) -> Picture:
    """Draw means over seeds with their 95 % bands.

    Args:
        x: P places.
        lines: for each name one value a seed and place, [S, P].
        x_label: what x is, with its unit.
        y_label: what the values are, with their unit.
        styles: for a name the task whose colour, marker and line it takes; itself when left out.
        log: whether x is drawn logarithmically.
        marks: for a name places on the x axis where a line is drawn in its colour.
        top: upper end of the y axis.
        ticks: what is written below each place when ``log``; the places themselves when left out.
    """
    figure, axes = new_figure(width=7.4, height=3.6)
    box = axes.get_position()  # room at the right for the names
    axes.set_position((box.x0, box.y0, box.width - 1.75 / 7.4, box.height))
    ends: dict[str, float] = {}
    said = []
    for name, values in lines.items():
        found = [mean_interval(column) for column in values.T]
        style = {**task_style((styles or {}).get(name, name)), "markevery": max(1, len(x) // 8)}
        band(axes, x, *_ends(found), name, **{k: style[k] for k in ("color", "marker")},
             linestyle=style["linestyle"])  # fmt: skip
        ends[name] = found[-1].mean
        lowest = min(range(len(x)), key=lambda i: found[i].mean)
        said.append(f"{name} lowest at {x[lowest]:.3g} ({found[lowest].mean:.2f})")
        for place in (marks or {}).get(name, ()):
            axes.axvline(place, color=style["color"], linewidth=1.4, linestyle="dotted")
    if log:
        axes.set_xscale("log")
        axes.set_xticks(list(x), ticks or [f"{place:g}" for place in x])
        axes.minorticks_off()
    axes.set_ylim(0, top)
    high = axes.get_ylim()[1]
    places, above = {}, 1.06
    for name in sorted(ends, key=ends.__getitem__, reverse=True):  # names never overlap
        above = places[name] = min(ends[name] / high, above - 0.085)
    lift = max(0.0, 0.03 - above)
    for name, place in places.items():
        colour = task_style((styles or {}).get(name, name))["color"]
        axes.text(1.02, place + lift, name, color=colour, va="center", transform=axes.transAxes)
    label(axes, x_label, y_label)
    return Picture(figure, "; ".join(said) + ".")


def _ends(found: Sequence[Interval]) -> tuple[list[float], list[float], list[float]]:
    return [i.mean for i in found], [i.low for i in found], [i.high for i in found]
