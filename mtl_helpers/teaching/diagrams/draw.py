"""A graph of blocks and arrows as a picture: sizes from the text, rows from below."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from mtl_helpers.teaching.diagrams import primitives as draw
from mtl_helpers.teaching.diagrams.describe import Arrow, Block, Graph
from mtl_helpers.teaching.diagrams.primitives import (
    INK,
    LINE,
    PALE,
    QUIET,
    SIZE,
    SMALL,
    WIDTH,
    Diagram,
    text_width,
)

LABELLED, PLAIN = 42.0, 22.0  # room between two rows, with and without shapes on the arrows
SLOPE = 0.16  # an arrow to a far column rises by this much at least, over its way across
MARGIN = 8.0
STEM = 28.0  # from a block to where its arrows part, with its shape in between


@dataclass(frozen=True)
class _Placed:
    """A block with its text and its place in points."""

    block: Block
    lines: tuple[str, ...]
    x: float
    y: float
    width: float
    height: float

    @property
    def top(self) -> float:
        return self.y + self.height / 2 + _behind(self.block)

    @property
    def bottom(self) -> float:
        return self.y - self.height / 2

    def nearest(self, x: float) -> float:
        """The point on its upper or lower edge that is nearest to x."""
        pad = min(14.0, self.width / 4)
        return min(max(x, self.x - self.width / 2 + pad), self.x + self.width / 2 - pad)


def _behind(block: Block) -> float:
    """How far the cards behind the first one stick out, in points."""
    return 3.0 * (min(block.cards, 4) - 1)


def draw_graph(graph: Graph) -> Diagram:
    """Draw a graph from ``describe``.

    Args:
        graph: blocks in rows from the bottom, and arrows between them.

    Returns:
        The diagram, 480 points wide and as high as it needs to be.
    """
    unit = _unit(graph.blocks)
    lines = [_lines(block, unit) for block in graph.blocks]
    rows = sorted({block.row for block in graph.blocks})
    heights = {row: 0.0 for row in rows}
    for block, text in zip(graph.blocks, lines, strict=True):
        heights[block.row] = max(heights[block.row], _height(block, text))
    bottoms, y = {}, MARGIN
    for row in rows:
        bottoms[row] = y
        y += heights[row] + (_gap(graph, row) if row != rows[-1] else 0)
    heading = sum(map(len, _heading(graph))) + len(_legend(graph))
    top = y + heading * (LINE * SIZE + 2) + 20
    figure, axes = draw.canvas(top)
    placed = [
        _place(block, text, bottoms[block.row], heights[block.row])
        for block, text in zip(graph.blocks, lines, strict=True)
    ]
    _arrows(axes, graph, placed)
    for one in placed:
        _box(axes, one, graph)
    _draw_heading(axes, graph, top)
    return Diagram(figure, graph.text)


def _room(block: Block) -> float:
    """The width that a block's text may take, in points."""
    if block.kind == "stitch":
        return WIDTH * (block.x - block.width / 2) - 2 * MARGIN
    return WIDTH * block.width - (20 if block.wide else 12) - _behind(block)


def _lines(block: Block, unit: str) -> tuple[str, ...]:
    room, numbers = _room(block), f"{block.numbers}{unit}" if block.numbers else ""
    one = f"{block.title}   ({numbers})"
    if block.wide and block.kind != "stitch" and numbers and text_width(one) <= room:
        return (one,)
    return (*draw.wrap(block.title, room), *(draw.wrap(numbers, room) if numbers else ()))


def _unit(blocks: Sequence[Block]) -> str:
    """Write "parameters" behind the numbers if there is room for it in every box."""
    unit = " parameters"
    fits = all(text_width(b.numbers + unit) <= _room(b) for b in blocks if b.numbers)
    return unit if fits else ""


def _height(block: Block, lines: Sequence[str]) -> float:
    if block.kind == "stitch":
        return 0.0
    return LINE * SIZE * len(lines) + 9 + _behind(block)


def _gap(graph: Graph, row: int) -> float:
    """The room above a row: more for shapes on arrows, and for arrows to columns far away."""
    room = PLAIN
    for arrow in graph.arrows:
        start, end = graph.blocks[arrow.start], graph.blocks[arrow.end]
        leaves = start.row == row and end.row > row
        falls = start.row == row + 1 and end.row <= row
        if arrow.label and (leaves or falls) and start.kind != "loss":
            room = max(room, LABELLED)
            if arrow.route == "straight" and not (start.wide or end.wide):
                room = max(room, STEM + SLOPE * WIDTH * abs(end.x - start.x))
    return room


def _place(block: Block, lines: tuple[str, ...], bottom: float, row: float) -> _Placed:
    # Boxes of a row are equally high, but not those that only pass something on.
    even = block.kind in ("layer", "experts", "gate", "loss")
    high, behind = row if even else _height(block, lines), _behind(block)
    x, y = WIDTH * block.x - behind / 2, bottom + (row - behind) / 2
    return _Placed(block, lines, x, y, WIDTH * block.width - behind, high - behind)


def _box(axes: Axes, one: _Placed, graph: Graph) -> None:
    block = one.block
    if block.kind == "stitch":  # only words: the crossing arrows are its picture
        for i, text in enumerate(one.lines):
            colour = PALE if block.learns is False else INK
            at = one.y - 16 - LINE * SIZE * i
            draw.write(axes, MARGIN, at, text, ha="left", color=colour)
        return
    look = _colours(block.owner, block.lane)
    if block.kind in ("input", "sum", "mix", "note"):
        look |= {"facecolor": "white", "corner": min(12.0, one.height / 2 - 1)}
    if block.kind == "loss":
        look |= {"linewidth": 2.2, "corner": min(10.0, one.height / 2 - 1)}
    if block.kind == "sum":
        look["edgecolor"] = INK
    reached = block.lane == graph.gradients if block.kind == "loss" else block.learns
    if graph.gradients and not reached and (block.parameters or block.kind == "loss"):
        look |= {"facecolor": "white", "linestyle": draw.BROKEN, "ink": "0.42"}
    place = (one.x, one.y, one.width, one.height)
    draw.box(axes, place, one.lines, cards=block.cards, **look)


def _colours(owner: str | None, lane: str | None) -> dict[str, Any]:
    return {"facecolor": draw.colours(owner)[0], "edgecolor": draw.colours(lane)[1]}


# ------------------------------------------------------------------------------ arrows


def _arrows(axes: Axes, graph: Graph, placed: Sequence[_Placed]) -> None:
    """Draw arrows; those that leave a block at one point share a stem and a label."""
    stems: dict[tuple[float, float, float], list[tuple[Arrow, float]]] = defaultdict(list)
    for arrow, tip in zip(graph.arrows, _arrivals(graph, placed), strict=True):
        start, end = placed[arrow.start], placed[arrow.end]
        stems[_begin(arrow, start, end)].append((arrow, tip))
    for (x, y, way), leaving in stems.items():
        for arrow, tip in sorted(leaving, key=lambda pair: bool(pair[0].flows)):
            # Whole lines lie above broken ones.
            _line(axes, graph, arrow, _points(arrow, placed[arrow.end], (x, y), way, tip))
        colours = {_colour(graph, arrow) for arrow, _ in leaving}
        if len(colours) > 1 and graph.gradients is None and way:
            draw.arrow(axes, [(x, y), (x, y + way * STEM)], heads=0, zorder=3)
        first = leaving[0][0]
        if not first.label or first.route in ("link", "corner"):
            continue
        end = placed[first.end]
        at = (x, y + way * 18) if way else ((x + end.x - end.width / 2) / 2, y)
        draw.write(axes, *at, first.label, size=SMALL, behind="white", color=QUIET)


def _begin(arrow: Arrow, start: _Placed, end: _Placed) -> tuple[float, float, float]:
    """Where an arrow leaves a block, and whether upwards (1), downwards (-1) or sideways (0)."""
    if arrow.route in ("corner", "link") or start.block.row == end.block.row:
        side = 1 if end.x > start.x else -1
        return start.x + side * start.width / 2, start.y, 0.0
    x = start.nearest(end.x) if start.block.wide else start.x
    if end.block.row > start.block.row:
        return x, start.top, 1.0
    return x, start.bottom, -1.0


def _points(
    arrow: Arrow, end: _Placed, begin: tuple[float, float], way: float, tip: float
) -> list[tuple[float, float]]:
    x, y = begin
    if arrow.route == "corner":
        return [(x, y), (tip, y), (tip, end.bottom)]
    if not way:
        side = -1 if end.x > x else 1
        return [(x, y), (end.x + side * end.width / 2, y)]
    edge = end.bottom if way > 0 else end.top
    if abs(tip - x) < 0.5:
        return [(x, y), (x, edge)]
    if arrow.route == "bus":
        return [(x, y), (x, edge - 12), (tip, edge - 12), (tip, edge)]
    return [(x, y), (x, y + way * STEM), (tip, edge)]


def _arrivals(graph: Graph, placed: Sequence[_Placed]) -> list[float]:
    """Where each arrow ends, in points: several that come to a narrow box end side by side."""
    begins = [_begin(arrow, placed[arrow.start], placed[arrow.end])[0] for arrow in graph.arrows]
    ends = list(begins)
    for i, one in enumerate(placed):
        mine = [k for k, arrow in enumerate(graph.arrows) if arrow.end == i]
        mine.sort(key=lambda k: begins[k])
        upright = [at for at, k in enumerate(mine) if abs(begins[k] - one.x) < 1]
        middle = upright[0] if upright else (len(mine) - 1) / 2
        step = min(22.0, (one.width - 12) / max(len(mine), 2))
        for at, k in enumerate(mine):
            beside = len(mine) > 1 or graph.arrows[k].route == "bus"
            if beside and not one.block.wide:
                ends[k] = one.x + step * (at - middle)
            ends[k] = one.nearest(ends[k])
    return ends


def _colour(graph: Graph, arrow: Arrow) -> Any:
    lane = graph.blocks[arrow.end].lane or graph.blocks[arrow.start].lane
    if graph.blocks[arrow.end].title == "+":
        lane = graph.blocks[arrow.start].lane
    return QUIET if lane is None or arrow.route == "bus" else draw.colours(lane)[1]


def _line(axes: Axes, graph: Graph, arrow: Arrow, points: list[tuple[float, float]]) -> None:
    width = 0.5 + 1.2 * min(1.0, abs(arrow.weight))
    if arrow.route == "link":
        colour = QUIET if arrow.flows is None else PALE
        draw.arrow(axes, points, heads=2, colour=colour, broken=arrow.flows is False)
        return
    if graph.gradients is None:
        draw.arrow(axes, points, colour=_colour(graph, arrow), width=width)
    elif graph.blocks[arrow.start].kind == "input":  # it learns nothing: the way in stays
        draw.arrow(axes, points, colour=PALE, width=1.2)
    elif arrow.flows:
        colour = draw.colours(graph.gradients)[1]
        draw.arrow(axes, points[::-1], colour=colour, width=2.6, zorder=3)
    else:
        draw.arrow(axes, points[::-1], colour=PALE, width=1.3, broken=True)


# ------------------------------------------------------------------------------ heading


def _legend(graph: Graph) -> list[list[tuple[str, str | None, str | None]]]:
    """Lines of entries: text, whose colour is inside, whose is the edge."""
    entries = [
        (f"{owner.replace('_', ' ')}: {count:,}", *[None if owner == "shared" else owner] * 2)
        for owner, count in graph.parameters.items()
    ]
    if any(b.lane and b.parameters and b.owner is None for b in graph.blocks):
        entries.append(("a task's column, yet shared", None, graph.tasks[0]))
    lines: list[list[tuple[str, str | None, str | None]]] = [[]]
    for entry in entries:
        if lines[-1] and sum(_wide(e[0]) for e in [*lines[-1], entry]) > WIDTH - 2 * MARGIN:
            lines.append([])
        lines[-1].append(entry)
    return lines


def _wide(text: str) -> float:
    """The width of an entry of the legend, with its colour and the space behind it."""
    return 30 + text_width(text)


def _heading(graph: Graph) -> tuple[list[str], list[str]]:
    """The lines above and below the legend."""
    title = f"{graph.title}: {sum(graph.parameters.values()):,} parameters"
    lines = [title]
    if text_width(title, SIZE + 1, "bold") > WIDTH - 2 * MARGIN:
        lines = draw.wrap(title, WIDTH - 2 * MARGIN, SIZE + 3)  # bold text is wider
    if not graph.gradients:
        return lines, []
    name = graph.gradients.replace("_", " ")
    way = f"The gradient of the {name} loss: it flows where lines are whole."
    return lines, draw.wrap(way, WIDTH - 2 * MARGIN)


def _draw_heading(axes: Axes, graph: Graph, top: float) -> None:
    above, below = _heading(graph)
    step = LINE * SIZE + 2
    y = top - 16
    for text in above:
        draw.write(axes, MARGIN, y, text, ha="left", size=SIZE + 1, fontweight="bold")
        y -= step
    for line in _legend(graph):
        x = MARGIN
        for text, inside, edge in line:
            draw.box(axes, (x + 5, y, 10, 10), corner=2, **_colours(inside, edge))
            draw.write(axes, x + 15, y, text, ha="left")
            x += _wide(text)
        y -= step
    for text in below:
        draw.write(axes, MARGIN, y, text, ha="left")
        y -= step
