"""The pictures and tables of lesson 10: nuclei in microscope pictures.

What comes from a recorded run is drawn or tabulated here; where nobody has measured, it says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from scipy import ndimage
from torch import Tensor

from mtl_helpers.case_study import targets
from mtl_helpers.case_study.evaluate import possible_ways
from mtl_helpers.case_study.instances import GRID, LEVELS, WAYS, separate
from mtl_helpers.case_study.model import predict
from mtl_helpers.case_study.nuclei import MODALITIES, Nuclei
from mtl_helpers.case_study.scores import THRESHOLDS, match
from mtl_helpers.case_study.study import QUESTIONS
from mtl_helpers.case_study.study import arms as arms_that_answer
from mtl_helpers.case_study.train import Settings
from mtl_helpers.metrics import Interval, delta_m, mean_interval, paired_interval
from mtl_helpers.teaching.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Picture,
    label,
    new_figure,
    task_style,
)
from mtl_helpers.teaching.recorded import Recorded

NOT_MEASURED = "not measured"
#: The recorded studies of this lesson, and what makes each of them.
STUDIES = {
    **{f"10_{q}": f"--profile reduced --question {q}" for q in QUESTIONS},
    "10_speed_cpu": "--speed --device cpu",
    **{f"10_gpu_{q}": f"--profile full --device cuda --question {q}" for q in QUESTIONS},
    "10_speed": "--speed --device cuda",
}
UNTAUGHT = "without learning"  # the arm of instances.classical, in rows that hold it
ZOOM = 3  # screen pixels a pixel of a picture, along each side
_PAINT = {"true": (255, 255, 255), "found": (230, 90, 0)}  # outlines: white, vermillion
WAY_STYLE = {
    "components": {"color": GREY, "marker": "v", "linestyle": "dotted"},
    "mask": {"color": BLUE, "marker": "o", "linestyle": "solid"},
    "boundary": {"color": VERMILLION, "marker": "s", "linestyle": "dashed"},
    "distance": {"color": GREEN, "marker": "^", "linestyle": "dashdot"},
    "both": {"color": PURPLE, "marker": "D", "linestyle": "solid"},
}
HIGHER_IS_BETTER = {
    "foreground": True, "boundary": True, "distance": False, "count": False, "modality_right": True,
}  # fmt: skip
#: Schmidt et al. 2018, arXiv:1806.03535, Table 1, dataset DSB2018: the score by IoU threshold.
PUBLISHED_AT = (0.50, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90)
PUBLISHED = {
    "U-Net (2 class)": (.6739, .6295, .5975, .5650, .5339, .4819, .4151, .3248, .2032),
    "U-Net (3 class)": (.8060, .7753, .7431, .7011, .6543, .5777, .4910, .3738, .2258),
    "Mask R-CNN": (.8323, .8051, .7728, .7299, .6838, .5974, .4893, .3525, .1891),
    "StarDist": (.8641, .8361, .8043, .7545, .6850, .5862, .4495, .2865, .1191),
}  # fmt: skip


# ----------------------------------------------------------------------- pictures with outlines


def painted(image: Any, labels: Any = None, colour: str = "found") -> np.ndarray:
    """Enlarge a picture and draw the outline of each nucleus: uint8 [ZOOM H, ZOOM W, 3].

    Args:
        image: uint8 [3, H, W], or numbers from 0 to 1 [H, W].
        labels: label map [H, W]; None draws no outline.
        colour: ``"true"`` (white on black) or ``"found"`` (vermillion).
    """
    values = np.asarray(image)
    if values.ndim == 2:
        values = np.repeat((np.clip(values, 0, 1) * 255).astype(np.uint8)[None], 3, axis=0)
    large = values.transpose(1, 2, 0).repeat(ZOOM, axis=0).repeat(ZOOM, axis=1).copy()
    if labels is not None:
        numbers = np.asarray(labels).repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
        edge = ndimage.binary_dilation(_edges(numbers)) & (numbers > 0)
        if colour == "true":  # a dark seam outside keeps white visible on white
            large[ndimage.binary_dilation(edge) & ~edge] = 0
        large[edge] = _PAINT[colour]
    return large


def _edges(numbers: np.ndarray) -> np.ndarray:
    """Say which pixels of nuclei touch another number above, below, left or right."""
    found = np.zeros(numbers.shape, bool)
    down, across = numbers[1:] != numbers[:-1], numbers[:, 1:] != numbers[:, :-1]
    found[1:] |= down
    found[:-1] |= down
    found[:, 1:] |= across
    found[:, :-1] |= across
    return found & (numbers > 0)


def gallery(
    images: Sequence[Any],
    labels: Sequence[Any] = (),
    captions: Sequence[str] = (),
    *,
    says: str,
    columns: int = 4,
    colour: str | Sequence[str] = "found",
) -> Picture:
    """Put pictures side by side, in rows, with a caption above each.

    Args:
        images: as for :func:`painted`; larger ones are cut to the smallest height and width.
        labels: a label map (or None) for each, for its outlines.
        captions: a few words for each.
        says: what the picture says in words.
        columns: pictures in a row.
        colour: of the outlines: one for all, or one for each.

    Raises:
        ValueError: there is no picture.
    """
    if not len(images):
        raise ValueError("a gallery wants at least one picture; found none")
    high, wide = (min(np.shape(image)[axis] for image in images) for axis in (-2, -1))
    images = [image[..., :high, :wide] for image in images]
    maps = [None if m is None else m[:high, :wide] for m in labels] or [None] * len(images)
    colours = [colour] * len(images) if isinstance(colour, str) else colour
    tiles = [painted(i, m, c) for i, m, c in zip(images, maps, colours, strict=True)]
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    side, gap, top = tiles[0].shape[1], 10, 26
    high = tiles[0].shape[0] + gap + top
    sheet = np.full((rows * high, columns * (side + gap) - gap, 3), 255, np.uint8)
    width = 8.0 if columns > 2 else 4.0 * columns
    figure, axes = new_figure(width=width, height=width * sheet.shape[0] / sheet.shape[1])
    axes.set_position((0, 0, 1, 1))
    for k, tile in enumerate(tiles):
        y, x = k // columns * high + top, k % columns * (side + gap)
        sheet[y : y + tile.shape[0], x : x + side] = tile
        if k < len(captions):
            axes.text(x + 2, y - 6, captions[k], fontsize="medium", va="baseline")
    axes.imshow(sheet, interpolation="nearest")
    axes.set_axis_off()
    return Picture(figure, says)


# -------------------------------------------------------------------------------------- the split


def quarters(slides: Nuclei) -> Nuclei:
    """Cut every picture into four, as one photographs a slide: they are one group.

    Args:
        slides: pictures of even height and width.

    Returns:
        Four pictures for each; ``groups`` says of which slide.
    """
    parts: list[tuple[str, Tensor, Tensor, int, str]] = []
    for i, (image, label_map) in enumerate(zip(slides.images, slides.labels, strict=True)):
        high, wide = (side // 2 for side in label_map.shape)
        for k in range(4):
            rows = slice(k // 2 * high, (k // 2 + 1) * high)
            columns = slice(k % 2 * wide, (k % 2 + 1) * wide)
            numbers = label_map[rows, columns].unique(return_inverse=True)[1]
            numbers = numbers + int((label_map[rows, columns] > 0).all())  # no background there
            parts.append(
                (f"{slides.names[i]}-{k}", image[:, rows, columns], numbers.int(), i,
                 slides.modalities[i])
            )  # fmt: skip
    return Nuclei(*zip(*parts, strict=True))


# -------------------------------------------------------------------------------------- the score


def two_discs(radius: int, shift: int, shrink: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a true nucleus and a found one: two label maps [64, 64].

    Args:
        radius: of the true disc, in pixels.
        shift: pixels by which the found one lies to the right.
        shrink: pixels by which its radius is smaller.
    """
    y, x = np.mgrid[:64, :64]
    true = ((y - 32) ** 2 + (x - 32) ** 2 <= radius**2).astype(np.int32)
    found = ((y - 32) ** 2 + (x - 32 - shift) ** 2 <= max(radius - shrink, 0) ** 2).astype(np.int32)
    return true, found


def overlap(radius: int = 8, shift: int = 1, shrink: int = 0) -> Picture:
    """Draw one nucleus that was found a little off, and at which thresholds that is a hit."""
    true, found = two_discs(radius, shift, shrink)
    both, either = int((true & found).sum()), int((true | found).sum())
    iou, hits = both / either, int(match(found, true).tp.sum())
    figure, (left, right) = new_figure(2, width=7.6, height=3.2)
    colours = np.full((64, 64, 3), 255, np.uint8)
    colours[true > 0] = (150, 200, 235)
    colours[(true > 0) & (found > 0)] = (0, 114, 178)
    colours[(true == 0) & (found > 0)] = (230, 159, 0)
    left.imshow(colours, interpolation="nearest")
    left.set_xticks([])
    left.set_yticks([])
    for spine in left.spines.values():
        spine.set_visible(True)
    label(left, title=f"both {both}, either {either} pixels")
    levels = np.array(THRESHOLDS)
    hit = iou > levels
    right.plot([0.45, 1.0], [0.45, 1.0], color=GREY, linestyle="dashed", linewidth=1.5)
    right.axhline(iou, color=BLACK, linewidth=1.5)
    for state, marker, colour in ((True, "o", GREEN), (False, "X", VERMILLION)):
        some = levels[hit == state]
        right.plot(
            some, np.full(len(some), iou), linestyle="none", marker=marker, markersize=9,
            color=colour,
        )  # fmt: skip
    right.set_xlim(0.47, 0.98)
    right.set_ylim(0, 1.06)
    right.set_xticks(levels[::3])
    label(right, "threshold", "IoU of the two", f"IoU {iou:.2f}: a hit at {hits} of {len(levels)}")
    says = f"Radius {radius}, {shift} px aside, {shrink} px smaller: IoU {iou:.2f}, {hits} of 10."
    return Picture(figure, says)


# ------------------------------------------------------------------------------------- separation


def separations(
    images: Sequence[Tensor], maps: Sequence[Mapping[str, Tensor]], truth: Sequence[Tensor]
) -> Callable[..., Picture]:
    """Give a figure function: a predicted picture, separated in the way and at the level asked.

    Args:
        images: uint8 [3, H, W] each.
        maps: what ``predict`` gave for each.
        truth: label maps.
    """

    @lru_cache(maxsize=256)
    def cut(picture: int, way: str, level: int) -> tuple[np.ndarray, np.ndarray]:
        levels = {name: grid[min(level, len(grid)) - 1] for name, grid in GRID.items()}
        found = separate(maps[picture], way, levels=levels)
        return found, match(found, truth[picture]).ap

    def draw(picture: int = 0, way: str = "mask", level: int = 3) -> Picture:
        found, scores = cut(picture, way, level)
        figure, (left, right) = new_figure(2, width=8.4, height=3.8)
        left.imshow(painted(images[picture], found), interpolation="nearest")
        left.set_axis_off()
        there = int(truth[picture].max())
        label(left, title=f"{int(found.max())} found, {there} true")
        ends = {}
        for name in possible_ways(maps[picture]):
            values = cut(picture, name, level)[1]
            chosen = name == way
            style = {**WAY_STYLE[name], "alpha": 1.0 if chosen else 0.6}
            right.plot(THRESHOLDS, values, linewidth=3 if chosen else 1.4, **style)
            ends[name] = float(values[0])
        right.set_xlim(0.27, 0.97)
        right.set_xticks([0.5, 0.6, 0.7, 0.8, 0.9])
        right.set_ylim(-0.03, 1.03)
        _names_at(right, 0.485, ends, {name: WAY_STYLE[name]["color"] for name in ends}, "right")
        label(right, "threshold of the IoU", "score", level_words(way, level))
        says = (
            f"Picture {picture}, {level_words(way, level)}: {int(found.max())} nuclei found, "
            f"{there} true; score at IoU 0.5 {scores[0]:.2f}."
        )
        return Picture(figure, says)

    return draw


def level_words(way: str, position: int) -> str:
    """Say in words what the level at a position (from 1) of the grid of a way is."""
    levels = {name: grid[min(position, len(grid)) - 1] for name, grid in GRID.items()}
    return {
        "components": "components: no markers",
        "mask": f"mask: peaks {levels['mask']:g} px apart",
        "boundary": f"boundary below {levels['boundary']:g}",
        "distance": f"distance above {levels['distance']:g}",
        "both": f"boundary < {levels['boundary']:g}, distance > {levels['distance']:g}",
    }[way]


def _names_at(
    axes: Axes, x: float, ends: Mapping[str, float], colours: Mapping[str, str], side: str
) -> None:
    """Write the names of lines beside one of their ends, none over another."""
    low, high = axes.get_ylim()
    apart = 0.075 * (high - low)
    order = sorted(ends, key=lambda name: ends[name])
    places: list[float] = []
    for name in order:
        places.append(max(ends[name], places[-1] + apart if places else low + apart))
    if places and (over := places[-1] - (high - apart / 2)) > 0:
        places[-1] -= over
        for k in range(len(places) - 2, -1, -1):
            places[k] = min(places[k], places[k + 1] - apart)
    for name, y in zip(order, places, strict=True):
        axes.text(x, y, name, color=colours[name], ha=side, va="center", fontsize="medium")


def with_true_distance(network: Any, data: Any) -> Callable[[Tensor], dict[str, Tensor]]:
    """Give what ``evaluate`` takes: a network whose distance head makes no error on these pictures.

    Args:
        network: a ``NucleiNet``; it says the mask.
        data: ``Nuclei``; their labels say the distance.
    """
    true = {id(image): label for image, label in zip(data.images, data.labels, strict=True)}

    def maps(picture: Tensor) -> dict[str, Tensor]:
        deep = torch.from_numpy(targets.distance(true[id(picture)]))
        return {**predict(network, picture), "distance": deep}

    return maps


# --------------------------------------------------------------------------------------- training


def loss_curves(log: Any) -> Picture:
    """Draw each task's validation loss over the steps of a ``Log``, on a logarithmic axis."""
    figure, axes = new_figure(width=6.4)
    for name, values in log.valid.items():
        axes.plot(log.steps, values, markersize=6, label=name, **task_style(name))
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    ticks = [tick for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5) if low <= tick <= high]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks([], minor=True)
    label(axes, "step", "loss (logarithmic)", "validation losses of one network")
    _legend_beside(axes)
    down = [name for name, values in log.valid.items() if values[-1] < values[0]]
    return Picture(figure, f"Lower at the last look than at the first: {', '.join(down)}.")


# --------------------------------------------------------------------------------- recorded answers


def values_of(
    rows: Sequence[Mapping[str, Any]], arm: str, way: str, part: str = "all", at: int = 0
) -> dict[int, float]:
    """Collect a score by seed: {seed: score}; seeds without it are left out.

    Args:
        rows: of a recorded study.
        arm: which.
        way: of separation.
        part: ``"all"`` or a modality.
        at: number of the threshold; 0 is IoU 0.5.
    """
    return {
        row["seed"]: row[part]["ap"][way][at]
        for row in rows
        if row["arm"] == arm and way in row.get(part, {}).get("ap", {})
    }


def arms_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the arms in the order in which they come, but for the one without a network."""
    return [arm for arm in dict.fromkeys(row["arm"] for row in rows) if arm != UNTAUGHT]


def without_learning(
    rows: Sequence[Mapping[str, Any]], part: str = "all", at: int = 0
) -> float | None:
    """Give the score of the method without a network; None where nobody has measured it."""
    found = values_of(rows, UNTAUGHT, "mask", part, at)
    return float(np.mean(list(found.values()))) if found else None


def crossed(
    rows: Sequence[Mapping[str, Any]], part: str = "all", at: int = 0
) -> dict[tuple[str, str], Interval]:
    """Cross what was trained with what was used: {(arm, way): mean with its interval}.

    Only cells with two seeds or more.
    """
    cells = {}
    for arm in arms_of(rows):
        for way in WAYS:
            found = values_of(rows, arm, way, part, at)
            if len(found) > 1:
                cells[arm, way] = mean_interval(list(found.values()))
    return cells


def crossed_table(rows: Sequence[Mapping[str, Any]], part: str = "all", at: int = 0) -> str:
    """Write :func:`crossed` as lines of text, each mean with half the width of its interval."""
    cells = crossed(rows, part, at)
    if not cells:
        return f"score {NOT_MEASURED}"
    lines = [f"{'trained':22}" + "".join(f"{way:>14}" for way in WAYS) + "  used"]
    for arm in arms_of(rows):
        found = [cells.get((arm, way)) for way in WAYS]
        half = [None if c is None else c.high - c.mean for c in found]
        texts = [
            "·" if c is None else f"{c.mean:.3f} ±{h:.3f}" for c, h in zip(found, half, strict=True)
        ]
        lines.append(f"{arm:22}" + "".join(f"{text:>14}" for text in texts))
    return "\n".join(lines)


def crossed_plot(rows: Sequence[Mapping[str, Any]], part: str = "all", at: int = 0) -> Picture:
    """Draw :func:`crossed`: a row an arm, a marker a way."""
    cells = crossed(rows, part, at)
    if not cells:
        return empty("score of every arm", "10_sets")
    arms = arms_of(rows)
    axes = _rows_axes(arms, 0.55)
    for (arm, way), interval in cells.items():
        _interval(axes, arms.index(arm) + 0.13 * (WAYS.index(way) - 2), interval, way)
    if (untaught := without_learning(rows, part, at)) is not None:
        axes.axvline(untaught, color=BLACK, linewidth=1.2, linestyle="dashed", label="no learning")
    _ways_beside(axes, [way for way in WAYS if any(w == way for _, w in cells)])
    label(axes, f"score at IoU {THRESHOLDS[at]:.2f}", "", "heads trained (rows)")
    best = max(cells, key=lambda key: cells[key].mean)
    seeds = len({row["seed"] for row in rows})
    says = f"{seeds} seeds; highest mean: {best[0]}, used {best[1]}, {cells[best]:.3f}."
    return Picture(axes.figure, says)


def empty(what: str, study: str) -> Picture:
    """Draw a frame that says that nobody has measured, and the command that would."""
    figure, axes = new_figure(height=1.2)
    axes.set_position((0, 0, 1, 1))
    axes.set_axis_off()
    axes.text(0.5, 0.65, f"{what}: {NOT_MEASURED}", ha="center", va="center", fontsize="large")
    axes.text(0.5, 0.3, command_for(study), ha="center", va="center", fontsize="x-small")
    return Picture(figure, f"{what}: {NOT_MEASURED}.")


def difference(
    rows: Sequence[Mapping[str, Any]],
    one: tuple[str, str],
    other: tuple[str, str],
    part: str = "all",
    at: int = 0,
    level: float = 0.95,
) -> Interval | None:
    """Give the paired difference of two (arm, way), seed by seed; None with under two seeds."""
    a, b = (values_of(rows, *pair, part, at) for pair in (one, other))
    seeds = sorted(set(a) & set(b))
    if len(seeds) < 2:
        return None
    return paired_interval([a[s] for s in seeds], [b[s] for s in seeds], level)


def trained_or_used(
    rows: Sequence[Mapping[str, Any]],
    arm: str = "all five tasks",
    part: str = "all",
    at: int = 0,
) -> dict[str, Interval | None]:
    """Take the whole difference between an arm and the mask alone apart.

    Where rows hold single-task networks, a further line compares the same head, taught alone.
    """
    alone, single = "mask alone", "single-task networks"
    steps = {
        "a flood, nothing learned for it": ((alone, "mask"), (alone, "components")),
        "learned by the trunk": ((arm, "mask"), (alone, "mask")),
        "the distance head, used": ((arm, "distance"), (arm, "mask")),
        "the last two together": ((arm, "distance"), (alone, "mask")),
    }
    if single in arms_of(rows):
        steps["the head shared, not taught alone"] = ((arm, "distance"), (single, "distance"))
    return {name: difference(rows, *pair, part, at) for name, pair in steps.items()}


def said(interval: Interval | None, spec: str = "+.3f") -> str:
    """Write an interval, or that nobody has measured."""
    return NOT_MEASURED if interval is None else f"{interval:{spec}}"


def verdict(interval: Interval | None, what: str = "gain") -> str:
    """Say in words what an interval shows."""
    if interval is None:
        return NOT_MEASURED
    if not interval.excludes_zero:
        return f"no {what} that these seeds can see"
    return f"a {what}" if interval.low > 0 else "a loss"


def gains(
    rows: Sequence[Mapping[str, Any]],
    multi: str,
    single: str,
    part: str = "all",
    names: Sequence[str] = tuple(HIGHER_IS_BETTER),
) -> Interval | None:
    """Give the delta-m of one arm against another over the five tasks' measures, in percent.

    The foreground counts by its Dice, the boundary by its F1, distance and count by their errors,
    the modality by the share that is right; the separation score at IoU 0.5 is not a task's own
    measure and stays out. A measure that is 0 for the other arm in some seed has no relative gain,
    and is left out. Pairs by seed; None with under two seeds or without a measure. With ``names``,
    only over these measures.
    """
    by_seed: dict[str, dict[int, Mapping[str, Any]]] = {multi: {}, single: {}}
    for row in rows:
        if row["arm"] in by_seed and all(name in row[part] for name in HIGHER_IS_BETTER):
            by_seed[row["arm"]][row["seed"]] = row[part]
    seeds = sorted(set(by_seed[multi]) & set(by_seed[single]))
    if len(seeds) < 2:
        return None
    up = {
        name: HIGHER_IS_BETTER[name]
        for name in names
        if all(by_seed[single][seed][name] for seed in seeds)
    }
    if not up:
        return None
    found = []
    for seed in seeds:
        ours, base = ({n: by_seed[arm][seed][n] for n in up} for arm in (multi, single))
        found.append(delta_m(ours, base, up))
    return mean_interval(found)


def differences_table(rows: Sequence[Mapping[str, Any]], part: str = "all", at: int = 0) -> str:
    """Write :func:`trained_or_used` as lines: what changed, by how much, and what that shows."""
    gaps = trained_or_used(rows, part=part, at=at)
    lines = [f"{'changed':34} {f'score at {THRESHOLDS[at]:.1f} [95 % interval]':30} which is"]
    lines += [f"{name:34} {said(gap):30} {verdict(gap)}" for name, gap in gaps.items()]
    return "\n".join(lines)


def answer(study: Recorded, part: str = "all", at: int = 0) -> str:
    """Write the recorded answer to the question of the lesson, with the budget that it is for."""
    if not study.measured:
        return f"{study.name}: {NOT_MEASURED}"
    seeds = len({row["seed"] for row in study.rows})
    head = f"{study.name}, {part}: {seeds} seeds, {budget_words(study.configuration)}"
    return f"{head}\n{differences_table(study.rows, part, at)}"


def published_table(rows: Sequence[Mapping[str, Any]], part: str = "fluorescence") -> str:
    """Write the scores of Schmidt et al. 2018 (Table 1, DSB2018) above recorded ones.

    After ± half of the 95 % interval over seeds; their numbers have none.

    Args:
        rows: of a recorded study.
        part: which pictures of it.
    """
    shown = (0.50, 0.60, 0.70, 0.80, 0.90)
    places = [PUBLISHED_AT.index(level) for level in shown]
    lines = [f"{'score at IoU':40}" + "".join(f"{level:>7.1f}" for level in shown) + "   mean of 9"]
    ours = ((UNTAUGHT, "mask"), ("mask alone", "mask"), ("all five tasks", "mask"),
            ("all five tasks", "distance"))  # fmt: skip
    found = {name: [values] for name, values in PUBLISHED.items()}
    for arm, way in ours:  # by seed, a score at each threshold
        by_level = [values_of(rows, arm, way, part, at) for at in range(len(PUBLISHED_AT))]
        found[f"{arm}, {way}"] = [[level[s] for level in by_level] for s in by_level[0]]
    for name, seeds in found.items():
        if not seeds:
            lines.append(f"{name:40} {NOT_MEASURED}")
            continue
        values, means = np.mean(seeds, axis=0), np.mean(seeds, axis=1)
        texts = "".join(f"{values[k]:7.3f}" for k in places)
        spread = mean_interval(means.tolist()) if len(means) > 1 else None
        half = f" ±{spread.high - spread.mean:.3f}" if spread else ""
        lines.append(f"{name:40}{texts}   {np.mean(means):9.3f}{half}")
    return "\n".join(lines)


def budget_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write what each arm costs, and the delta-m of all five tasks in one network against it.

    Cost as a multiple of that of the network for all five; below, delta-m task by task.
    """
    every, arms = "all five tasks", arms_of(rows)
    if every not in arms:
        return f"cost and delta-m {NOT_MEASURED}"
    cost = {
        arm: [
            float(np.median([row[key] for row in rows if row["arm"] == arm]))
            for key in ("parameters", "steps", "seconds")
        ]
        for arm in arms
    }
    lines = [f"{'arm':42}{'parameters':>12}{'steps':>8}{'seconds':>9}   delta-m of all five (%)"]
    by_task = [f"{'by task, all five against':42}" + "".join(f"{n:>15}" for n in HIGHER_IS_BETTER)]
    for arm in arms:
        times = [f"{mine / whole:.2f}x" for mine, whole in zip(cost[arm], cost[every], strict=True)]
        line = f"{arm:42}{times[0]:>12}{times[1]:>8}{times[2]:>9}"
        if arm != every:
            gain = gains(rows, every, arm)
            text = NOT_MEASURED if gain is None else f"{gain:+.1f}  {verdict(gain)}"
            each = {name: gains(rows, every, arm, names=[name]) for name in HIGHER_IS_BETTER}
            texts = ["·" if gap is None else f"{gap.mean:+.1f}" for gap in each.values()]
            by_task.append(f"{arm:42}" + "".join(f"{one:>15}" for one in texts))
            line += f"   {text}"
        lines.append(line)
    return "\n".join([*lines, "", *by_task])


def rivals_table(rows: Sequence[Mapping[str, Any]], base: str, part: str = "all") -> str:
    """Write what each other arm gains over one: the score in three ways, and the border's F1."""
    rivals = [arm for arm in arms_of(rows) if arm != base]
    if base not in arms_of(rows) or not rivals:
        return f"gains over {base} {NOT_MEASURED}"
    lines = [f"{'against ' + base:24}" + "".join(
        f"{text:>26}" for text in ("score, mask used", "score, distance used", "F1 of the border")
    )]  # fmt: skip
    for arm in rivals:
        gaps = [difference(rows, (arm, way), (base, way), part) for way in ("mask", "distance")]
        gaps.append(border_gap(rows, arm, base, part))
        lines.append(f"{arm:24}" + "".join(f"{said(gap):>26}" for gap in gaps))
    return "\n".join(lines)


def border_gap(
    rows: Sequence[Mapping[str, Any]], arm: str, base: str, part: str = "all"
) -> Interval | None:
    """Give the paired difference of the border's F1 between two arms."""
    one, other = (
        {r["seed"]: r[part]["boundary"] for r in rows if r["arm"] == a and "boundary" in r[part]}
        for a in (arm, base)
    )
    seeds = sorted(set(one) & set(other))
    if len(seeds) < 2:
        return None
    return paired_interval([one[s] for s in seeds], [other[s] for s in seeds])


def measures_table(rows: Sequence[Mapping[str, Any]], part: str = "all") -> str:
    """Write how well each arm does each task itself: the mean, and the range over seeds."""
    if not arms_of(rows):
        return f"each task's own measure {NOT_MEASURED}"
    lines = [f"{'arm':22}" + "".join(f"{name:>18}" for name in HIGHER_IS_BETTER)]
    for arm in arms_of(rows):
        mine = [row[part] for row in rows if row["arm"] == arm and part in row]
        texts = []
        for name in HIGHER_IS_BETTER:
            values = [one[name] for one in mine if name in one]
            ends = f"{min(values):.2f}..{max(values):.2f}" if values else ""
            texts.append(f"{np.mean(values):.2f} {ends}" if values else "·")
        lines.append(f"{arm:22}" + "".join(f"{text:>18}" for text in texts))
    return "\n".join(lines)


def effects(
    rows: Sequence[Mapping[str, Any]], part: str = "all"
) -> dict[tuple[str, str], Interval]:
    """Say what adding a task does to the others' own measures, over all sets it can be added to.

    All subsets of the tasks are a factorial design: for each seed, the mean over the pairs of sets
    that differ in this task alone. The intervals are over seeds, 95 %.

    Returns:
        By (task added, task measured) the change of the measure, turned so that more is better.
    """
    sets = {arm.name: frozenset(arm.networks[0]) for arm in arms_that_answer("which", Settings())}
    measures = {n.removesuffix("_right"): n for n in HIGHER_IS_BETTER}
    found: dict[frozenset[str], dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        if row["arm"] in sets:
            found.setdefault(sets[row["arm"]], {})[row["seed"]] = row[part]
    changes: dict[tuple[str, str], Interval] = {}
    for added in list(measures)[1:]:
        for name, key in measures.items():
            by_seed: dict[int, list[float]] = {}
            for less, scores in found.items():
                more = found.get(less | {added})
                if name in less and added not in less and more:
                    for seed in set(scores) & set(more):
                        change = more[seed][key] - scores[seed][key]
                        by_seed.setdefault(seed, []).append(change)
            sign = 1 if HIGHER_IS_BETTER[key] else -1
            if len(by_seed) > 1:
                means = [sign * float(np.mean(by_seed[seed])) for seed in sorted(by_seed)]
                changes[added, name] = mean_interval(means)
    return changes


def effects_table(rows: Sequence[Mapping[str, Any]], part: str = "all") -> str:
    """Write :func:`effects` as a table; ``*`` marks an interval without zero."""
    found = effects(rows, part)
    if not found:
        return f"who helps and who harms: {NOT_MEASURED}"
    order = [n.removesuffix("_right") for n in HIGHER_IS_BETTER]
    names = [name for name in order if any(name == other for _, other in found)]
    lines = [f"{'added':10}" + "".join(f"{name:>13}" for name in names)]
    for added in dict.fromkeys(added for added, _ in found):
        texts = []
        for name in names:
            gap = found.get((added, name))
            sure = "*" if gap is not None and gap.excludes_zero else " "
            texts.append(f"{'·' if gap is None else format(gap.mean, '+.3f')}{sure}")
        lines.append(f"{added:10}" + "".join(f"{text:>13}" for text in texts).rstrip())
    return "\n".join(lines)


def chosen_levels(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write which levels of the markers were chosen on validation pictures, seed by seed."""
    lines = []
    for arm in dict.fromkeys(row["arm"] for row in rows):
        for way in LEVELS:
            mine = [row["levels"][way] for row in rows
                    if row["arm"] == arm and way in row.get("levels", {})]  # fmt: skip
            if mine:
                lines.append(f"{arm:22} {way:10}" + "".join(f"{level:>6g}" for level in mine))
    return "\n".join(lines) or f"levels of the markers {NOT_MEASURED}"


def labels_plot(rows: Sequence[Mapping[str, Any]], part: str = "all") -> Picture:
    """Draw the score over the share of labelled slides, with and without the other tasks.

    Five tasks appear with the mask used (what the trunk learned) and with the distance used.
    """
    styles = {
        ("all five tasks", "mask"): {**WAY_STYLE["mask"], "linestyle": "dashed"},
        ("all five tasks", "distance"): WAY_STYLE["distance"],
        ("mask alone", "mask"): {"color": BLACK, "marker": "o", "linestyle": "solid"},
    }
    curves: dict[tuple[str, str], dict[float, Interval]] = {}
    for arm in arms_of(rows):
        name, _, share = arm.partition(", ")
        if share.endswith("% of the slides"):
            for pair in (pair for pair in styles if pair[0] == name):
                found = values_of(rows, arm, pair[1], part)
                if len(found) > 1:
                    percent = float(share.split("%")[0])
                    curves.setdefault(pair, {})[percent] = mean_interval(list(found.values()))
    if not curves:
        return empty("score against the share of labelled slides", "10_labels")
    figure, axes = new_figure(width=6.8)
    parts = []
    for number, (pair, points) in enumerate(curves.items()):
        x = sorted(points)
        error = [
            [points[p].mean - points[p].low for p in x],
            [points[p].high - points[p].mean for p in x],
        ]
        aside = 1.05 ** (number - 1)  # so that intervals do not hide each other
        text = f"{pair[0]}\n({pair[1]} used)"
        axes.errorbar(
            [p * aside for p in x], [points[p].mean for p in x], yerr=error, capsize=3,
            label=text, **styles[pair],
        )  # fmt: skip
        means = ", ".join(f"{p:g}% {points[p].mean:.2f}" for p in x)
        parts.append(f"{pair[0]} ({pair[1]} used) {means}")
    axes.set_xscale("log")
    shares = sorted({share for points in curves.values() for share in points})
    axes.set_xticks(shares, [f"{share:g}" for share in shares])
    axes.minorticks_off()
    label(axes, "labelled slides (%)", "score at IoU 0.5", "how few labels?")
    _legend_beside(axes, 0.55)
    return Picture(figure, "; ".join(parts) + ".")


def ranking(rows: Sequence[Mapping[str, Any]], part: str = "all") -> Picture:
    """Draw the paired gain of every arm over the mask alone, in each way that its heads allow.

    The gain with ``mask`` used is what the trunk learned; the steps after it are the same. Many
    comparisons find something by luck, so each interval is widened (Bonferroni): with nothing true,
    all of them hold 0 together in 95 of 100 studies. Sorted by what the trunk learned.
    """
    ways, alone = ("mask", "boundary", "distance"), ("mask alone", "mask")
    arms = [arm for arm in arms_of(rows) if arm != "mask alone"]
    pairs = [(a, w) for a in arms for w in ways if difference(rows, (a, w), alone, part)]
    if not pairs:
        return empty("gain over the mask alone", "10_which")
    level = 1 - 0.05 / len(pairs)
    gaps = {pair: difference(rows, pair, alone, part, level=level) for pair in pairs}
    learned = {a: gap.mean for (a, w), gap in gaps.items() if w == "mask"}
    order = sorted({a for a, _ in pairs}, key=lambda a: (-learned.get(a, -1.0), a))
    axes = _rows_axes([name.replace("foreground", "mask") for name in order], 0.42)
    axes.axvline(0, color=GREY, linewidth=1.2, linestyle="dashed")
    for (arm, way), gap in gaps.items():
        _interval(axes, order.index(arm) + 0.22 * (ways.index(way) - 1), gap, way)
    _ways_beside(axes, [way for way in ways if any(w == way for _, w in pairs)])
    label(axes, "gain of the score at IoU 0.5", "", "against the mask alone")
    up = {way: sum(w == way and gap.low > 0 for (_, w), gap in gaps.items()) for way in ways}
    down = {way: sum(w == way and gap.high < 0 for (_, w), gap in gaps.items()) for way in ways}
    says = (
        f"{len(pairs)} comparisons of {len(order)} sets of tasks with the mask alone, intervals "
        f"widened for all of them: above it "
        + ", ".join(f"{up[way]} ({way} used)" for way in ways)
        + "; below it " + ", ".join(f"{down[way]} ({way} used)" for way in ways) + "."
    )  # fmt: skip
    return Picture(axes.figure, says)


def _rows_axes(names: Sequence[str], inches: float) -> Axes:
    """Make axes with a row for each name, room for the names on the left, a legend on the right."""
    high = 1.2 + inches * len(names)
    axes = new_figure(width=8.0, height=high)[1]
    left = 0.25 + 0.085 * max(map(len, names))
    axes.set_position((left / 8.0, 0.62 / high, (6.55 - left) / 8.0, 1 - 1.0 / high))
    axes.xaxis.set_label_coords(0.5, -0.32 / (high - 1.0))
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), list(names))
    return axes


def _interval(axes: Axes, y: float, interval: Interval, way: str) -> None:
    """Draw a mean with its interval, in the style of a way to separate nuclei."""
    error = [[interval.mean - interval.low], [interval.high - interval.mean]]
    style = {**WAY_STYLE[way], "linestyle": "none"}
    axes.errorbar(interval.mean, y, xerr=error, capsize=3, markersize=7, **style)


def _ways_beside(axes: Axes, ways: Sequence[str]) -> None:
    """Put a legend of ways to the right of the axes."""
    for way in ways:
        axes.plot([], [], label=way, **{**WAY_STYLE[way], "linestyle": "none"})
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, title="heads used")


def budget_words(configuration: Mapping[str, Any]) -> str:
    """Say how long each network of a recorded study was trained, from its configuration."""
    if not configuration:
        return NOT_MEASURED
    settings = configuration["settings"]
    return (
        f"{settings['steps']} steps of {settings['batch']} crops of {settings['crop']}x"
        f"{settings['crop']}"
    )


def reduced_words(configuration: Mapping[str, Any]) -> str:
    """Say how large a recorded study was, from its configuration."""
    if not configuration:
        return NOT_MEASURED
    settings = configuration["settings"]
    most = configuration.get("most_tests")
    tested = "all test pictures" if most is None else f"at most {most} test pictures"
    if (chosen := configuration.get("most_valid")) is not None:
        tested += f", levels chosen on at most {chosen} validation pictures"
    return (
        f"profile {configuration['profile']}: channels {tuple(settings['widths'])}, "
        f"{budget_words(configuration)}, lr {settings['lr']:g}, {tested}"
    )


def recorded_words(studies: Mapping[str, Recorded]) -> str:
    """Say which recorded studies are there, how large and where they ran; how to make the others.

    Args:
        studies: by name, those of ``STUDIES``, each as ``recorded.load`` gave it.
    """
    lines = []
    for name, study in studies.items():
        if study.measured and "speed" not in name:
            seeds = len({row["seed"] for row in study.rows})
            size = f"{reduced_words(study.configuration)}; {seeds} seeds"
            lines.append(f"{name}: {size}; {machine_words(study.machine)}")
        elif study.measured:
            lines.append(f"{name}: {machine_words(study.machine)}")
    missing = [name for name, study in studies.items() if not study.measured]
    for words, on_gpu in (("", False), (" on a GPU", True)):
        group = [name for name in missing if ("cuda" in STUDIES[name]) == on_gpu]
        if group:
            lines.append(f"{NOT_MEASURED}{words}: {', '.join(group)}")
            shown = group[:1] if on_gpu else group  # on a GPU, the others likewise
            lines += [f"   {command_for(name)}" for name in shown]
    return "\n".join(lines)


def command_for(name: str) -> str:
    """Write the command that makes a recorded study."""
    return f"python -m mtl_helpers.case_study {STUDIES[name]} --record {name}"


def machine_words(machine: Mapping[str, Any]) -> str:
    """Say on what a recorded study ran."""
    if not machine:
        return NOT_MEASURED
    return str(machine.get("gpu") or f"{machine.get('processor')}, no GPU")


# --------------------------------------------------------------------------------- where it fails


def modalities_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the score at IoU 0.5 of three ways to work, a line a modality."""
    pairs = (("mask alone", "mask"), ("all five tasks", "mask"), ("all five tasks", "distance"))
    kinds = [kind for kind in MODALITIES if crossed(rows, kind)]
    if not kinds:
        return f"score by modality {NOT_MEASURED}"
    lines = [f"{'':13}{'pictures':>9}" + "".join(f"{f'{a}, {w}':>30}" for a, w in pairs)]
    for kind in kinds:
        cells = crossed(rows, kind)
        count = next(row[kind]["pictures"] for row in rows if kind in row)
        texts = "".join(f"{said(cells.get(pair), '.2f'):>30}" for pair in pairs)
        lines.append(f"{kind:13}{count:>9}{texts}")
    return "\n".join(lines)


def blurred(image: Tensor, strength: float) -> Tensor:
    """Blur by a Gaussian; strength 1 is 3 pixels wide."""
    wide = (0, 3 * strength, 3 * strength)
    return torch.from_numpy(ndimage.gaussian_filter(image.numpy().astype(np.float32), wide)).to(
        torch.uint8
    )


def noisy(image: Tensor, strength: float) -> Tensor:
    """Add noise of one drawing; strength 1 has a standard deviation of 60 of 255."""
    grain = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    return (image.float() + 60 * strength * grain).clamp(0, 255).round().to(torch.uint8)


def faded(image: Tensor, strength: float) -> Tensor:
    """Draw all values towards their mean; at strength 1 a tenth of the contrast is left."""
    values = image.float()
    mean = values.mean((1, 2), keepdim=True)
    return (mean + (1 - 0.9 * strength) * (values - mean)).round().to(torch.uint8)


DAMAGE = {"blur": blurred, "noise": noisy, "contrast": faded}
DAMAGE_STYLE = {
    "blur": {"color": BLUE, "marker": "o", "linestyle": "solid"},
    "noise": {"color": VERMILLION, "marker": "s", "linestyle": "dashed"},
    "contrast": {"color": GREEN, "marker": "^", "linestyle": "dashdot"},
}


def robustness(
    image: Tensor,
    found: Callable[[Tensor], np.ndarray],
    curves: Mapping[str, Sequence[float]],
    strengths: Sequence[float],
) -> Callable[..., Picture]:
    """Give a figure function: a picture damaged as asked, and the score over the damage.

    Args:
        image: uint8 [3, H, W].
        found: from a picture to the nuclei found.
        curves: by kind of damage, the mean score at each strength.
        strengths: of the damage, from 0 to 1.
    """

    @lru_cache(maxsize=64)
    def seen(damage: str, strength: float) -> np.ndarray:
        broken = DAMAGE[damage](image, strength)
        return painted(broken, found(broken))

    def draw(damage: str = "blur", strength: float = 0.0) -> Picture:
        figure, (left, right) = new_figure(2, width=8.4, height=3.8)
        left.imshow(seen(damage, strength), interpolation="nearest")
        left.set_axis_off()
        label(left, title=f"{damage}, strength {strength:g}")
        for name, values in curves.items():
            chosen = name == damage
            style = {**DAMAGE_STYLE[name], "alpha": 1.0 if chosen else 0.6}
            right.plot(strengths, values, linewidth=3 if chosen else 1.4, **style)
        right.axvline(strength, color=GREY, linewidth=1)
        right.set_xlim(-0.03, 1.42)
        right.set_xticks([0, 0.25, 0.5, 0.75, 1])
        right.set_ylim(0, 1)
        ends = {name: values[-1] for name, values in curves.items()}
        _names_at(right, 1.05, ends, {n: DAMAGE_STYLE[n]["color"] for n in ends}, "left")
        label(right, "strength of the damage", "score at IoU 0.5", f"bold: {damage}")
        nearest = min(range(len(strengths)), key=lambda i: abs(strengths[i] - strength))
        lost = curves[damage][nearest] < 0.5 * curves[damage][0]
        left_over = ("less" if lost else "more") + " than half is left"
        says = f"{damage}, strength {strength:g}: {left_over if strength else 'no loss yet'}."
        return Picture(figure, says)

    return draw


def reliability(found: Mapping[str, Any], title: str = "") -> Picture:
    """Draw how often pixels are inside, against how sure the network was: see ``calibration``."""
    figure, axes = new_figure(width=4.8, height=3.9)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="dashed", linewidth=1.2)
    axes.text(0.06, 0.16, "as sure as right", color=GREY, rotation=38, fontsize="small")
    pairs = [(s, t) for s, t in zip(found["said"], found["true"], strict=True) if s is not None]
    axes.plot(*zip(*pairs, strict=True), color=BLUE, marker="o", linewidth=2)
    label(axes, "probability that it said", "share that is inside", title)
    return Picture(
        figure, "How often pixels are inside, against how sure the network was, in bins."
    )


def crowding(rows: Sequence[Mapping[str, Any]], touching: Sequence[float], way: str) -> Picture:
    """Draw each picture's score against the share of its nuclei that touch another."""
    figure, axes = new_figure(width=6.2)
    look = {"fluorescence": (BLUE, "o"), "stained": (ORANGE, "s"), "brightfield": (GREEN, "^")}
    for kind, (colour, marker) in look.items():
        some = [i for i, row in enumerate(rows) if row["modality"] == kind]
        if some:
            x, y = [touching[i] for i in some], [rows[i]["ap"][way][0] for i in some]
            axes.plot(x, y, marker, color=colour, markersize=8, linestyle="none", label=kind)
    axes.set_ylim(-0.04, 1.04)
    axes.set_xlim(-0.04, 1.04)
    label(axes, "share of nuclei that touch another", "score at IoU 0.5", "one point a picture")
    _legend_beside(axes)
    return Picture(figure, f"{len(rows)} pictures; score against crowding, by modality.")


def touching_share(labels: ArrayLike) -> float:
    """Give the share of the nuclei of a label map that have a pixel beside another nucleus."""
    numbers = np.asarray(labels)
    pairs = [(numbers[1:], numbers[:-1]), (numbers[:, 1:], numbers[:, :-1])]
    beside: set[int] = set()
    for a, b in pairs:
        meet = (a != b) & (a > 0) & (b > 0)
        beside |= set(a[meet].tolist()) | set(b[meet].tolist())
    return len(beside) / max(len(np.unique(numbers[numbers > 0])), 1)


# ------------------------------------------------------------------------------------------ speed


def speed_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the gain of each step from the naive loop to the fast one.

    Args:
        rows: as ``case_study.speed`` gives them: ``{"step", "pictures_per_second",
            "times_the_first", "peak_memory_mib", "share_of_peak", "device", "note"}`` each, None
            where something was not measured.
    """
    if not rows:
        return f"pictures a second, memory, share of the peak: {NOT_MEASURED}"
    wide = max(len(row["step"]) for row in rows)
    lines = [f"on {rows[0]['device']}"]
    lines.append(f"{'step':{wide}} {'pictures/s':>11} {'times':>7} {'MiB':>8} {'of peak':>9}")
    specs = {
        "pictures_per_second": (11, ".0f"), "times_the_first": (7, ".1f"),
        "peak_memory_mib": (8, ".0f"), "share_of_peak": (9, ".1%"),
    }  # fmt: skip
    for row in rows:
        texts = []
        for key, (across, spec) in specs.items():
            value = row.get(key)
            texts.append(f"{'·' if value is None else format(value, spec):>{across}}")
        missing = row.get("note") or NOT_MEASURED
        done = row.get("pictures_per_second") is not None
        lines.append(f"{row['step']:{wide}} {' '.join(texts) if done else missing}")
    return "\n".join(lines)


def reach_plot(image: Tensor, places: Sequence[int], names: Sequence[str]) -> Picture:
    """Draw squares of some sides around the middle of a picture: what a pixel's output can see."""
    figure, axes = new_figure(width=4.6, height=4.6)
    axes.set_position((0, 0, 1, 0.92))
    height, width = image.shape[-2:]
    axes.imshow(painted(image), extent=(0, width, height, 0), interpolation="nearest")
    colours = (SKY, ORANGE, VERMILLION, PURPLE)
    for side, name, colour in zip(places, names, colours, strict=False):
        low_x, low_y = (width - side) / 2, (height - side) / 2
        x = [low_x, low_x + side, low_x + side, low_x, low_x]
        y = [low_y, low_y, low_y + side, low_y + side, low_y]
        axes.plot(x, y, color=colour, linewidth=3, linestyle="solid")
        axes.text(
            low_x + 1.5, low_y + 1.5, name, color=colour, va="top", fontsize="large",
            fontweight="bold", bbox={"facecolor": BLACK, "alpha": 0.7, "pad": 1.5},
        )  # fmt: skip
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    _titled(axes, "squares that one output pixel can see")
    listed = ", ".join(f"{n} {s}" for n, s in zip(names, places, strict=False))
    return Picture(figure, f"Sides in pixels: {listed}; the picture has {width}.")


def _legend_beside(axes: Axes, share: float = 0.62) -> None:
    """Narrow the axes and put the legend to their right."""
    box = axes.get_position()
    axes.set_position((box.x0, box.y0, share, box.height))
    axes.yaxis.set_label_coords(-0.5 / (share * axes.figure.get_figwidth()), 0.5)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _titled(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize="medium", fontweight="bold", pad=6)
