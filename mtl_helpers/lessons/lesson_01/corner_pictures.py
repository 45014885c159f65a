"""The pictures of the street corners: a city's footsteps, and what networks make of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from mtl_helpers.datasets.base import MultiTaskData
from mtl_helpers.datasets.footsteps import Footsteps
from mtl_helpers.lessons.lesson_01.corners import COUNTERS
from mtl_helpers.metrics import Interval, mean_interval
from mtl_helpers.teaching.diagrams import Diagram, box, canvas, write
from mtl_helpers.teaching.figures import BLACK, GREEN, GREY, PURPLE, Picture, label, new_figure

SHARED, SEPARATE = GREEN, PURPLE  # one network for all; a network for each
NAMES = {"separate": "separate", "together": "shared"}  # of the arms of the records
SIZE = 11  # points of text
HOURS = (*range(6, 24), *range(6))  # a day begins at 6:00
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

# What the explorers ask, beside their pictures.
DAY: dict[str, Any] = {
    "weekday": list(DAYS),
    "question": "Where do separate networks go wrong most: on working days or at weekends? By day "
    "or at night?",
    "describe": "Mean over the year for one corner and weekday: truth, and both predictions.",
}
LABELS: dict[str, Any] = {
    "hours": [10, 25, 50, 100, 200],
    "question": "How many labelled hours is sharing worth? Does it ever stop paying?",
    "describe": "RMSE of separate networks and of one network against labelled hours per corner.",
}


def _large(*several: Axes) -> None:
    """Make all text of some axes large enough for a projector."""
    for axes in several:
        axes.tick_params(labelsize=SIZE)
        for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
            text.set_fontsize(SIZE)


def _end(axes: Axes, x: float, y: float, text: str, colour: Any, **look: Any) -> None:
    """Write the name of a line next to a point of it."""
    look = {"va": "center", "fontweight": "bold", **look}
    axes.annotate(text, (x, y), (6, 0), textcoords="offset points", color=colour,
                  fontsize=SIZE, annotation_clip=False, **look)  # fmt: skip


def city_map(table: Footsteps, named: Sequence[str]) -> Picture:
    """Draw the counters on a flat map, as large as their people per hour; some with a name."""
    figure, axes = new_figure(width=6.2, height=4.2)
    north = (table.latitude - table.latitude.mean()) * 111_195
    east = (table.longitude - table.longitude.mean()) * 111_195
    east = east * math.cos(math.radians(float(table.latitude.mean())))
    people = table.counts.nanmean(0)
    axes.scatter(east, north, s=(people / 4).tolist(), color=GREY, alpha=0.55, linewidths=0)
    for name in named:
        k = table.counters.index(name)
        beside = (float(east.max()) + 60, float(north[k]))
        line = {"arrowstyle": "-", "color": BLACK, "linewidth": 0.8}
        said = f"{name.removesuffix(' (EW)')}: {people[k]:.0f}"
        axes.annotate(said, (east[k], north[k]), beside, va="center", fontsize=SIZE,
                      annotation_clip=False, arrowprops=line)  # fmt: skip
    axes.set_aspect("equal")
    axes.set_xlim(float(east.min()) - 100, float(east.max()) + 1100)
    label(axes, "metres east", "metres north", "people per hour, on average")
    axes.yaxis.set_label_coords(-0.2, 0.5)
    _large(axes)
    low, high = float(people.min()), float(people.max())
    return Picture(figure, f"{len(people)} counters; {low:.0f} to {high:.0f} people per hour.")


def labelled_hours(data: MultiTaskData, counter: str) -> Picture:
    """Show all that a counter gives us to learn from.

    Args:
        data: training data with plain inputs, logarithm of the counts.
        counter: whose labels.
    """
    hours, _ = hour_and_weekday(data.inputs)
    target = data.targets[counter]
    known = ~target.isnan()
    place = [HOURS.index(int(h)) for h in hours[known.numpy()]]
    figure, axes = new_figure(width=6.2, height=3.2)
    axes.plot(place, target[known].tolist(), "o", color=BLACK, markersize=5)
    _clock(axes)
    label(axes, "hour of the day", "log(1 + people)", f"{counter}: all its labels")
    _large(axes)
    return Picture(figure, f"{int(known.sum())} labelled hours of {counter}.")


def _clock(axes: Axes) -> None:
    axes.set_xticks(range(0, 24, 3), [f"{HOURS[k]}:00" for k in range(0, 24, 3)])
    axes.set_xlim(-0.7, 23.7)


def typical_day(
    truth: MultiTaskData,
    predictions: Mapping[str, Mapping[str, Tensor]],
) -> Callable[..., Picture]:
    """Make a picture function: what a corner sees on a weekday, hour by hour, over the year.

    Args:
        truth: one row per hour of a year, with plain inputs, logarithm of the counts.
        predictions: "separate" and "shared": by counter, for the same rows, [N].

    Returns:
        ``picture(corner, weekday)``.
    """
    colours = {"the truth": BLACK, "separate": SEPARATE, "shared": SHARED}
    hours, weekdays = hour_and_weekday(truth.inputs)
    rows = {(d, h): torch.from_numpy((weekdays == d) & (hours == h)) for d in range(7)
            for h in HOURS}  # fmt: skip

    def picture(corner: str = "45 Queen Street", weekday: str = "Sunday") -> Picture:
        day = DAYS.index(weekday)
        lines = {"the truth": truth.targets[corner]}
        lines |= {arm: values[corner] for arm, values in predictions.items()}
        figure, axes = new_figure(width=6.8, height=3.3)
        mean = {}
        for name, values in lines.items():
            mean[name] = [float(values[rows[day, h]].nanmean()) for h in HOURS]
            wide = 3.2 if name == "the truth" else 2.0
            axes.plot(range(24), mean[name], color=colours[name], linewidth=wide, linestyle="solid")
        heights = _spread([line[-1] for line in mean.values()], 0.55)
        for (name, _), height in zip(mean.items(), heights, strict=True):
            _end(axes, 23, height, name, colours[name])
        axes.set_ylim(0, 8.5)
        _clock(axes)
        box_ = axes.get_position()
        axes.set_position((box_.x0, box_.y0, box_.width - 0.13, box_.height))
        label(axes, "hour of the day", "log(1 + people)", f"{corner}, a {weekday}")
        _large(axes)
        off = {
            name: math.dist(line, mean["the truth"]) / math.sqrt(24) for name, line in mean.items()
        }
        return Picture(figure, f"{corner}, {weekday}: over the 24 hours the curve of the separate "
                       f"network is off by {off['separate']:.1f}, that of the shared one by "
                       f"{off['shared']:.1f}.")  # fmt: skip

    return picture


def _spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move heights apart, so that texts at them do not overlap; their order stays."""
    order = sorted(range(len(heights)), key=lambda k: heights[k])
    found, last = list(heights), -math.inf
    for k in order:
        last = found[k] = max(heights[k], last + gap)
    return found


def rhythms(trunk: nn.Module, inputs: Tensor) -> Picture:
    """Show the two strongest patterns in a trunk's features, hour by hour.

    Args:
        trunk: from inputs [N, D] to features [N, F].
        inputs: one row per hour of a year, plain, [N, 11].
    """
    hours, weekdays = hour_and_weekday(inputs)
    with torch.no_grad():
        features = trunk(inputs)
    features = features - features.mean(0)
    values, directions = torch.linalg.eigh(features.T @ features)
    part = values.flip(0) / values.sum()
    patterns = features @ directions.flip(1)[:, :2]
    figure, panels = new_figure(2, height=3.1)
    kinds = {"Monday to Friday": weekdays < 5, "Sunday": weekdays == 6}
    noon = torch.from_numpy((hours == 13) & (weekdays < 5))  # where a pattern is drawn upwards
    for k, (axes, pattern) in enumerate(zip(panels, patterns.T, strict=True)):
        pattern = pattern * pattern[noon].mean().sign() / pattern.std()
        for (name, days), style in zip(kinds.items(), ("solid", "dashed"), strict=True):
            line = [float(pattern[torch.from_numpy(days & (hours == h))].mean()) for h in HOURS]
            axes.plot(range(24), line, color=BLACK, linestyle=style, label=name)
        axes.set_xticks(range(0, 24, 6), [f"{HOURS[h]}:00" for h in range(0, 24, 6)])
        axes.set_ylim(-2.6, 3.2)
        label(axes, "hour of the day", "", f"pattern {k + 1}: {part[k]:.0%} of the features")
        _large(axes)
    panels[0].legend(loc="upper right", frameon=False, fontsize=SIZE - 1)
    return Picture(figure, f"The two strongest patterns hold {part[:2].sum():.0%} of the variance "
                   "of the trunk's features.")  # fmt: skip


def interval_of(rows: Sequence[Mapping[str, Any]], column: str = "rmse", **only: Any) -> Interval:
    """Mean and 95 % interval over the seeds of some rows of a record."""
    return mean_interval(values_of(rows, column, **only))


def values_of(rows: Sequence[Mapping[str, Any]], column: str = "rmse", **only: Any) -> list[float]:
    """A column of those rows that have the given values, in the order of their seeds."""
    chosen = [row for row in rows if all(row[key] == value for key, value in only.items())]
    return [row[column] for row in sorted(chosen, key=lambda row: row["seed"])]


def contest(
    rows: Sequence[Mapping[str, Any]], inputs: str, kinds: Mapping[str, Sequence[str]]
) -> Picture:
    """Draw each kind of model: separate (purple) and shared (green), with 95 % intervals.

    Args:
        rows: of the record.
        inputs: "plain" or "good".
        kinds: name in the picture: its arms, the separate one first; a single one shares.
    """
    figure, axes = new_figure(width=6.8, height=0.9 + 0.42 * len(kinds))
    left = 1.85 / 6.8
    place = axes.get_position()
    axes.set_position((left, place.y0, place.x1 - left, place.height))
    says = []
    for row, (kind, arms) in enumerate(kinds.items()):
        found = [interval_of(rows, inputs=inputs, arm=arm) for arm in arms]
        axes.plot([i.mean for i in found], [row] * len(found), color="0.7", linewidth=3,
                  linestyle="solid", marker="")  # fmt: skip
        looks = (("separate", SEPARATE), ("shared", SHARED))[-len(found) :]
        for one, (name, colour) in zip(found, looks, strict=True):
            axes.errorbar(
                one.mean, row, xerr=[[one.mean - one.low], [one.high - one.mean]], fmt="o",
                color=colour, capsize=3, markersize=8,
            )  # fmt: skip
            if kind == "networks":
                axes.annotate(name, (one.mean, row), (0, 8), textcoords="offset points",
                              color=colour, ha="center", fontsize=SIZE)  # fmt: skip
        says.append(f"{kind} " + " to ".join(f"{one.mean:.2f}" for one in found))
    axes.set_yticks(range(len(kinds)), list(kinds))
    axes.set_ylim(len(kinds) - 0.5, -0.5)
    label(axes, "RMSE of the logarithm, 2023")
    _large(axes)
    return Picture(figure, "RMSE, separate to shared: " + "; ".join(says) + ".")


def hours_dial(rows: Sequence[Mapping[str, Any]]) -> Callable[..., Picture]:
    """Make a picture function: both ways of learning against the labelled hours per counter."""
    sizes = sorted({row["hours"] for row in rows})
    curve = {
        arm: [interval_of(rows, hours=n, arm=arm) for n in sizes]
        for arm in ("separate", "together")
    }
    logs = np.log([float(n) for n in sizes])

    def picture(hours: int = 25) -> Picture:
        figure, axes = new_figure(width=6.8, height=3.4)
        for arm, colour in (("separate", SEPARATE), ("together", SHARED)):
            low, mean, high = (
                [getattr(i, end) for i in curve[arm]] for end in ("low", "mean", "high")
            )
            axes.plot(sizes, mean, color=colour, marker="o", markersize=5, linestyle="solid")
            axes.fill_between(sizes, low, high, color=colour, alpha=0.2, linewidth=0)
            _end(axes, sizes[-1], mean[-1], NAMES[arm], colour)
        ours = curve["together"][sizes.index(hours)].mean
        theirs = [i.mean for i in curve["separate"]]
        worth = equal_hours(logs, theirs, ours)
        axes.plot([hours, min(worth, sizes[-1])], [ours, ours], color=BLACK, linewidth=2)
        axes.plot([hours], [ours], "o", color=BLACK, markersize=9)
        axes.set_xscale("log")
        axes.set_xticks(sizes, [str(n) for n in sizes])
        axes.minorticks_off()
        axes.set_ylim(0.35, 1.1)
        place = axes.get_position()
        axes.set_position((place.x0, place.y0, place.width - 0.13, place.height))
        label(axes, "labelled hours per counter", "RMSE of the logarithm")
        _large(axes)
        much = f"about {worth:.0f}" if worth < sizes[-1] else f"more than {sizes[-1]}"
        return Picture(figure, f"With {hours} hours, shared: RMSE {ours:.2f}. Separate networks "
                       f"need {much} hours for that.")  # fmt: skip

    return picture


def equal_hours(logs: np.ndarray, errors: Sequence[float], wanted: float) -> float:
    """Hours at which a falling curve of errors reaches a value, between its points on a log axis.

    Args:
        logs: logarithm of the hours, growing, [P].
        errors: at these hours, [P].
        wanted: the error asked for.

    Returns:
        The hours; infinite where the curve never comes so low.
    """
    if wanted < min(errors):
        return math.inf
    falling = np.minimum.accumulate(np.asarray(errors, dtype=float))
    return float(np.exp(np.interp(-wanted, -falling, logs)))


def group_curve(rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Draw the error against the number of counters that share a network."""
    sizes = sorted({row["size"] for row in rows})
    found = [interval_of(rows, size=n) for n in sizes]
    figure, axes = new_figure(width=6.2, height=3.2)
    axes.plot(
        sizes, [i.mean for i in found], color=SHARED, marker="o", markersize=6, linestyle="solid"
    )
    axes.fill_between(sizes, [i.low for i in found], [i.high for i in found], color=SHARED,
                      alpha=0.2, linewidth=0)  # fmt: skip
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.minorticks_off()
    label(axes, "counters per network", "RMSE of the logarithm")
    _large(axes)
    says = ", ".join(f"{n}: {i.mean:.2f}" for n, i in zip(sizes, found, strict=True))
    return Picture(figure, f"RMSE by counters per network: {says}.")


def change(rows: Sequence[Mapping[str, Any]], setting: str, base: str) -> Interval:
    """By how many percent a setting changes the error of another, paired by seed."""
    ours, theirs = (values_of(rows, setting=name) for name in (setting, base))
    return mean_interval([100 * (a / b - 1) for a, b in zip(ours, theirs, strict=True)])


def partner_plot(rows: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> Picture:
    """Draw what partners do to a counter's error, against learning alone.

    Args:
        rows: of the record.
        names: setting: how the picture calls it.
    """
    figure, axes = new_figure(width=6.8, height=0.9 + 0.4 * len(names))
    left = 2.5 / 6.8
    place = axes.get_position()
    axes.set_position((left, place.y0, place.x1 - left, place.height))
    says = []
    for row, setting in enumerate(names):
        found = change(rows, setting, "alone")
        colour = SHARED if found.high < 0 else "#D55E00" if found.low > 0 else "0.35"
        axes.errorbar(
            found.mean, row, xerr=[[found.mean - found.low], [found.high - found.mean]],
            fmt="o", color=colour, capsize=4, markersize=8, linewidth=2,
        )  # fmt: skip
        says.append(f"{names[setting]} {found.mean:+.0f} %")
    axes.axvline(0, color=SEPARATE, linestyle="dashed")
    axes.set_yticks(range(len(names)), list(names.values()))
    axes.set_ylim(len(names) - 0.5, -0.5)
    label(axes, "change of the RMSE against learning alone (%)")
    _large(axes)
    return Picture(figure, "; ".join(says) + ".")


def width_curve(rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Draw both ways of learning against the width of the trunk's layers."""
    sizes = sorted({row["width"] for row in rows})
    figure, axes = new_figure(width=6.4, height=3.2)
    says = []
    for arm, colour in (("separate", SEPARATE), ("together", SHARED)):
        found = [interval_of(rows, width=n, arm=arm) for n in sizes]
        axes.plot(
            sizes,
            [i.mean for i in found],
            color=colour,
            marker="o",
            markersize=6,
            linestyle="solid",
        )
        axes.fill_between(sizes, [i.low for i in found], [i.high for i in found], color=colour,
                          alpha=0.2, linewidth=0)  # fmt: skip
        _end(axes, sizes[-1], found[-1].mean, NAMES[arm], colour)
        says.append(f"{NAMES[arm]} {found[0].mean:.2f} to {found[-1].mean:.2f}")
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.minorticks_off()
    place = axes.get_position()
    axes.set_position((place.x0, place.y0, place.width - 0.13, place.height))
    label(axes, "units in each of the trunk's two layers", "RMSE of the logarithm")
    _large(axes)
    return Picture(figure, f"RMSE from {sizes[0]} to {sizes[-1]} units: " + ", ".join(says) + ".")


def blocks(shared: int, head: int, tasks: int, shown: int = 4) -> Diagram:
    """Draw S + K H against K (S + H) as blocks.

    Args:
        shared: parameters of a trunk.
        head: parameters of a head.
        tasks: how many tasks.
        shown: how many heads, and how many separate networks, are drawn.
    """
    height = 216.0
    figure, axes = canvas(height)
    names = [f"task {k + 1}" for k in range(shown)]
    step, wide = 52.0, 46.0

    def column(x: float, title: str, total: int, trunks: int) -> None:
        write(axes, x + step * (shown - 1) / 2, height - 14, title, weight="bold")
        for k, name in enumerate(names):
            box(axes, (x + k * step, 160, wide, 34), [f"H = {head}"[:7]], task=name)
            if trunks > 1:
                box(axes, (x + k * step, 100, wide, 80), ["S", f"{shared}"])
        if trunks == 1:
            middle = x + step * (shown - 1) / 2
            box(axes, (middle, 100, step * (shown - 1) + wide, 80), [f"S = {shared}"])
        write(axes, x + step * shown - 16, 160, "…", size=14)
        if trunks > 1:
            write(axes, x + step * shown - 16, 100, "…", size=14)
        write(axes, x + step * (shown - 1) / 2, 36, f"{total:,} parameters", weight="bold")

    apart, joint = tasks * (shared + head), shared + tasks * head
    column(34, "one network: S + K·H", joint, 1)
    column(268, "K networks: K·(S + H)", apart, tasks)
    write(axes, 240, 12, f"K = {tasks} tasks; {shown} are drawn", size=10)
    says = (
        f"Blocks: one network of a trunk S = {shared} and K = {tasks} heads H = {head} has {joint} "
        f"parameters; {tasks} networks have {apart}."
    )
    return Diagram(figure, says)


def saved(
    rows: Sequence[Mapping[str, Any]],
    column: str = "rmse",
    arms: Sequence[str] = ("separate", "together"),
    **only: Any,
) -> Interval:
    """By how many percent the second arm's error is below the first's, paired by seed."""
    theirs, ours = (values_of(rows, column, arm=arm, **only) for arm in arms)
    return mean_interval([100 * (1 - a / b) for a, b in zip(ours, theirs, strict=True)])


def by_day_and_night(
    truth: MultiTaskData, predictions: Mapping[str, Mapping[str, Tensor]]
) -> dict[tuple[str, str], float]:
    """RMSE of each arm by day (6:00 to 22:00), at night and on Saturday nights, over all counters.

    Args:
        truth: one row per hour, with plain inputs.
        predictions: by arm and counter, for the same rows, [N].
    """
    hours, days = hour_and_weekday(truth.inputs)
    night = torch.from_numpy((hours < 6) | (hours >= 22))
    saturday = night & torch.from_numpy(days == DAYS.index("Saturday"))
    found = {}
    for arm, values in predictions.items():
        for part, rows in (("day", ~night), ("night", night), ("Saturday night", saturday)):
            off = [(values[k] - target)[rows] for k, target in truth.targets.items()]
            errors = [float(o.square().nanmean().sqrt()) for o in off]
            found[arm, part] = sum(errors) / len(errors)
    return found


def hour_and_weekday(inputs: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Read hour of the day and weekday (0 for Monday) off the plain inputs, [N, 11]."""
    angle = torch.atan2(inputs[:, 0], inputs[:, 1])
    hours = (angle * 12 / math.pi).round() % 24
    return hours.int().numpy(), inputs[:, 2:9].argmax(1).numpy()


def by_counter(rows: Sequence[Mapping[str, Any]], **only: Any) -> dict[str, list[float]]:
    """The errors of each counter, one per seed, of those rows that have the given values."""
    table = values_of(rows, "by_counter", **only)
    return {name: [row[k] for row in table] for k, name in enumerate(COUNTERS)}
