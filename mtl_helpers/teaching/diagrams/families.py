"""Where the parts of each kind of model stand in a picture, one function per kind.

Each function fills a :class:`Sketch`: it says which modules make a block and which block feeds
which. Counts, shapes and gradients come from the model itself, in ``describe``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from mtl_helpers.models import (
    CGC,
    MTAN,
    PLE,
    CrossStitch,
    FiLM,
    HardSharing,
    MMoE,
    MultiInput,
    MultiTaskModel,
    SoftSharing,
    TaskBatchNorm,
)
from mtl_helpers.models.experts import Experts
from mtl_helpers.teaching.diagrams.describe import Graph, Sketch, copy_of, shape_text
from mtl_helpers.teaching.diagrams.layers import Group, groups, layer_name, leaves, words

Place = tuple[float, float]  # centre and width, as fractions of the picture's width

SMALLEST_COLUMN = 0.13  # 62 of 480 points: narrower boxes cannot hold their text
AIR = 0.02  # between two columns


def describe(
    model: nn.Module,
    x: Tensor,
    *,
    gradients: str | None = None,
    trunk: str | None = None,
    heads: str | Mapping[str, str] | None = None,
) -> Graph:
    """Read a model's blocks and arrows off the model; arguments and errors as in ``network``."""
    if not isinstance(model, nn.Module) or not isinstance(x, Tensor):
        raise TypeError(
            f"network: found a {type(model).__name__} and a {type(x).__name__}, expected a model "
            "(nn.Module) and a batch for it (a tensor)."
        )
    devices = [x.device] if x.device.type == "cuda" else []
    with torch.enable_grad(), torch.random.fork_rng(devices=devices):
        twin = copy_of(model)
        fill, title, own = _family(twin, trunk, heads)
        if gradients is not None and gradients not in own:
            raise ValueError(
                f"network: there is no task {gradients!r} to take the gradient of; this model "
                f"has {', '.join(own)}."
            )
        sketch = Sketch(twin, x, tuple(own), own)
        sketch.run()
        fill(sketch)
        _losses(sketch, with_sum=gradients is None)
        return sketch.finish(title, gradients)


def _family(
    model: nn.Module, trunk: str | None, heads: str | Mapping[str, str] | None
) -> tuple[Callable[[Sketch], None], str, dict[str, list[nn.Parameter]]]:
    """Give the function that knows this kind of model, a title, and whose parameter is whose."""
    if isinstance(model, MultiTaskModel) and trunk is None and heads is None:
        own = {name: model.task_parameters(name) for name in model.task_names}
        for kind, (fill, title) in _KNOWN.items():
            if isinstance(model, kind):
                return fill, title, own
        if all(isinstance(getattr(model, n, None), nn.ModuleList) for n in ("down", "up")):
            return _unet, "U-Net", own
    trunk_module, by_name = _trunk_and_heads(model, trunk, heads)
    own = {name: list(head.parameters()) for name, head in by_name.items()}

    def fill(sketch: Sketch) -> None:
        _hard(sketch, trunk_module, by_name)

    title = "Hard sharing" if isinstance(model, HardSharing) else words(type(model).__name__)
    return fill, title, own


def _trunk_and_heads(
    model: nn.Module, trunk: str | None, heads: str | Mapping[str, str] | None
) -> tuple[nn.Module, dict[str, nn.Module]]:
    """Find the two parts of a plain model, by their usual names or by those given."""
    parts = dict(model.named_modules())
    trunk_module = parts.get(trunk or "trunk")
    if isinstance(heads, Mapping):
        found = {task: parts.get(name) for task, name in heads.items()}
    else:
        whole = parts.get(heads or "heads")
        found = dict(whole.items()) if isinstance(whole, nn.ModuleDict) else {}
        if isinstance(model, MultiTaskModel):
            found = {name.removeprefix("task_"): head for name, head in found.items()}
    containers = (nn.ModuleList, nn.ModuleDict)
    if trunk_module is None or not found or None in found.values():
        problem = "no trunk" if trunk_module is None else "no heads"
        if any(head is None for head in found.values()):
            problem = f"no module for {[task for task, head in found.items() if head is None]}"
    elif isinstance(trunk_module, containers):
        problem = f"a trunk that is a {type(trunk_module).__name__}, which is never run itself"
    else:
        return trunk_module, found
    names = ", ".join(f"{n} ({type(m).__name__})" for n, m in model.named_children()) or "nothing"
    raise ValueError(
        f"network: {problem} in this {type(model).__name__}, which holds {names}. Expected a model "
        "of this package, or one with a module 'trunk' and an nn.ModuleDict 'heads' (one head per "
        "task). If yours have other names, pass them, such as trunk='body', "
        "heads={'left': 'left_head', 'right': 'right_head'}."
    )


# ------------------------------------------------------------------------------ what all share


def _columns(names: Sequence[str | None], left: float = 0.0) -> dict[str | None, Place]:
    """Give each name a column of the same width.

    Raises:
        ValueError: there are too many to be readable.
    """
    step = (1 - left) / len(names)
    if step < SMALLEST_COLUMN:
        raise ValueError(
            f"network: {len(names)} columns next to each other cannot be read; expected at most "
            f"{int((1 - left) / SMALLEST_COLUMN)} for this kind of model. Draw the same model with "
            "fewer tasks."
        )
    return {name: (left + (i + 0.5) * step, step - AIR) for i, name in enumerate(names)}


def _across(columns: Mapping[str | None, Place], names: Iterable[str | None]) -> Place:
    """Give the place that covers some columns."""
    edges = [(columns[n][0] - columns[n][1] / 2, columns[n][0] + columns[n][1] / 2) for n in names]
    low, high = min(edges)[0], max(edges, key=lambda edge: edge[1])[1]
    return (low + high) / 2, high - low


def _input(sketch: Sketch, place: Place, row: int = 0, title: str = "input") -> int:
    return sketch.block(title, row, place, kind="input")


def _pile(
    sketch: Sketch,
    found: Sequence[Group],
    row: int,
    place: Place,
    last: int,
    lane: str | None = None,
) -> int:
    """Put boxes on top of each other; give the topmost, or ``last`` where there is none."""
    for group in found:
        here = sketch.block(group.title, row, place, modules=group.layers, lane=lane)
        sketch.link(last, here)
        last, row = here, row + 1
    return last


def _next_row(sketch: Sketch) -> int:
    return 1 + max(block.row for block in sketch.blocks)


def _heads(
    sketch: Sketch,
    heads: Mapping[str, nn.Module],
    columns: Mapping[str | None, Place],
    ends: Mapping[str, int],
    *,
    limit: int = 3,
    **options: str,
) -> None:
    """Put each task's last layers into its column, all ending in the same row."""
    found = {task: groups(head, limit) for task, head in heads.items()}
    top = _next_row(sketch) + max(map(len, found.values())) - 1
    for task, boxes in found.items():
        before = ends[task]
        for i, group in enumerate(boxes):
            row = top - len(boxes) + 1 + i
            here = sketch.block(group.title, row, columns[task], modules=group.layers, lane=task)
            sketch.link(before, here, **(options if i == 0 else {}))
            before = here


def _losses(sketch: Sketch, *, with_sum: bool) -> None:
    """Put the losses on top, and their sum."""
    row = _next_row(sketch)
    tops = {}
    for task in sketch.tasks:
        in_lane = [i for i, block in enumerate(sketch.blocks) if block.lane == task]
        top = max(in_lane, key=lambda i: sketch.blocks[i].row)
        x, width = sketch.blocks[top].x, sketch.blocks[top].width
        tops[task] = sketch.block(f"{task} loss", row, (x, width), kind="loss", lane=task)
        sketch.link(top, tops[task])
    if with_sum and len(tops) > 1:
        pull = [i for i, block in enumerate(sketch.blocks) if block.kind == "note"]
        for i in pull:
            place = (sketch.blocks[i].x, sketch.blocks[i].width)
            name = f"penalty: {sketch.model.strength:g} × distance"
            tops[None] = sketch.block(name, row, place, kind="loss")
            sketch.link(i, tops[None])
        added = "losses and the penalty" if pull else "losses"
        title = f"total loss: the sum of the {added}"
        places = {i: (sketch.blocks[i].x, sketch.blocks[i].width) for i in tops.values()}
        total = sketch.block(title, row + 1, _across(places, places), kind="sum")
        sketch.link(tops.values(), total)


# ------------------------------------------------------------------------------ one per kind


def _hard(sketch: Sketch, trunk: nn.Module, heads: Mapping[str, nn.Module]) -> None:
    columns = _columns(sketch.tasks)
    across = _across(columns, sketch.tasks)
    bottom = _input(sketch, across)
    top = _pile(sketch, groups(trunk, 4), 1, across, bottom)
    _heads(sketch, heads, columns, dict.fromkeys(sketch.tasks, top))


def _multi_input(sketch: Sketch) -> None:
    model, tasks = sketch.model, sketch.tasks
    columns = _columns(tasks)
    across = _across(columns, tasks)
    one = shape_text(sketch.x[:, 0])
    before = {
        task: sketch.block(f"input of {task}", 0, place, kind="input", lane=task, shape=one)
        for task, place in columns.items()
    }
    batch = f"{len(tasks)}B" if model.passes == "mixed" else "B"
    row, inside = 1, {}
    for group in groups(model.trunk, 99 if model.own_norms else 4):
        norms = [m for part in group.layers for m in part.modules() if isinstance(m, TaskBatchNorm)]
        alone = isinstance(group.layers[0], TaskBatchNorm)
        if not alone:
            here = sketch.block(
                group.title, row, across, modules=group.layers, only_shared=True, batch=batch
            )
            sketch.link(sorted(set(before.values())), here, **inside)
            before, row = dict.fromkeys(tasks, here), row + 1
        inside = {"route": "inside"} if norms and not alone else {}
        if norms:
            for task in tasks:
                title = group.title if alone else f"{len(norms)} × batch norm inside"
                mine = [norm.of(task) for norm in norms]
                here = sketch.block(title, row, columns[task], modules=mine, lane=task)
                sketch.link(before[task], here, **inside)
                before[task] = here
            row += 1
    heads = {task: model.heads[f"task_{task}"] for task in tasks}
    _heads(sketch, heads, columns, before, label=sketch.shape_in(heads[tasks[0]]), **inside)


def _film(sketch: Sketch) -> None:
    model, tasks = sketch.model, sketch.tasks
    columns = _columns(tasks)
    across = _across(columns, tasks)
    before = dict.fromkeys(tasks, _input(sketch, across))
    for number, stage in enumerate(model.stages):
        (group,) = groups(stage, 1)
        here = sketch.block(group.title, 2 * number + 1, across, modules=group.layers)
        sketch.link(sorted(set(before.values())), here)
        for task in tasks:
            film = model.adapters[f"task_{task}"][number]
            title = "scale γ, shift β"
            scaled = sketch.block(title, 2 * number + 2, columns[task], modules=[film], lane=task)
            sketch.link(here, scaled)
            before[task] = scaled
    _heads(sketch, {t: model.heads[f"task_{t}"] for t in tasks}, columns, before)


def _soft(sketch: Sketch) -> None:
    model, tasks = sketch.model, sketch.tasks
    columns = {name: (x, width - 0.05) for name, (x, width) in _around(tasks).items()}
    bottom = _input(sketch, _across(columns, tasks))
    found = {task: groups(model.trunks[f"task_{task}"], 3) for task in tasks}
    middle = (1 + max(map(len, found.values()))) // 2
    title = "mean squared distance of the trunks"
    beside = {None: sketch.block(title, middle, columns[None], kind="note")}
    ends = {}
    for task in tasks:
        ends[task] = _pile(sketch, found[task], 1, columns[task], bottom, lane=task)
        beside[task] = next(
            i for i, block in enumerate(sketch.blocks) if (block.lane, block.row) == (task, middle)
        )
    for one, other in pairwise(columns):
        sketch.link(beside[one], beside[other], route="link")
    heads = {task: model.heads[f"task_{task}"] for task in tasks}
    _heads(sketch, heads, columns, ends)


def _cross_stitch(sketch: Sketch) -> None:
    model, tasks = sketch.model, sketch.tasks
    columns = _columns(tasks, left=0.23)
    across = _across(columns, tasks)
    before = dict.fromkeys(tasks, _input(sketch, across))
    heads = {task: model.heads[f"task_{task}"] for task in tasks}
    for number, stitch in enumerate(model.stitches.detach()):
        made = {}
        for task in tasks:
            (group,) = groups(model.columns[f"task_{task}"][number], 1)
            row = 2 * number + 1
            made[task] = sketch.block(
                group.title, row, columns[task], modules=group.layers, lane=task
            )
            sketch.link(before[task], made[task])
        name = f"stitch {number + 1}: {len(tasks)} × {len(tasks)} weights"
        weights = [(model.stitches, number)]
        sketch.block(name, row + 1, across, weights=weights, kind="stitch")
        for k, task in enumerate(tasks):
            column = model.columns[f"task_{task}"]
            reader = column[number + 1] if number + 1 < len(column) else heads[task]
            place = (columns[task][0], 0.05)
            before[task] = sketch.block(
                "+", row + 1, place, kind="mix", lane=task, shape_from=reader
            )
            for j, other in enumerate(tasks):
                sketch.link(made[other], before[task], weight=float(stitch[k, j]))
    _heads(sketch, heads, columns, before)


def _mtan(sketch: Sketch) -> None:
    model, tasks = sketch.model, sketch.tasks
    columns = _columns(tasks, left=0.30)
    across = _across(columns, tasks)
    main = (0.13, 0.24)
    last = _input(sketch, main)
    own: dict[str, int] = {}
    pool = layer_name(model.pool)
    for j, (first, second) in enumerate(zip(model.first, model.second, strict=True)):
        (group,) = groups(nn.Sequential(first, second), 1)
        title = f"{pool}, then: {group.title}" if j else group.title
        trunk = sketch.block(title, 2 * j + 1, main, modules=group.layers)
        sketch.link(last, trunk)
        masks = {
            task: sketch.block(
                "attention mask", 2 * j + 2, columns[task],
                modules=[model.masks[f"task_{task}"][j]], lane=task,
            )
            for task in tasks
        }  # fmt: skip
        (group,) = groups(model.picked[j], 1)
        pooled = model.pool(sketch.outputs[id(model.picked[j])][0][0])
        picked = sketch.block(
            f"{group.title} + {pool} on mask × features", 2 * j + 3, across,
            modules=group.layers, shape=shape_text(pooled),
        )  # fmt: skip
        for task, mask in masks.items():
            sketch.link(trunk, mask, route="bus")
            sketch.link([own[task]] if j else [], mask)
            sketch.link(mask, picked)
            own[task] = picked
        sketch.link(trunk, picked, route="bus")
        last = trunk
    heads = {task: model.heads[f"task_{task}"] for task in tasks}
    _heads(sketch, heads, columns, own, label=sketch.shape_in(heads[tasks[0]]))


def _experts_title(experts: Experts) -> str:
    wide = [weight.shape[2] for weight in experts.weights]
    layers = " + ".join(f"Linear {n} + ReLU" for n in wide)
    return f"{experts.count} expert{'s' * (experts.count > 1)}: {layers}"


def _experts(sketch: Sketch, experts: Experts, row: int, place: Place, **options: str) -> int:
    return sketch.block(
        _experts_title(experts), row, place, modules=[experts], kind="experts",
        cards=experts.count, **options,
    )  # fmt: skip


def _around(tasks: Sequence[str]) -> dict[str | None, Place]:
    """Give a column for each task and one in the middle, under None, for what they share."""
    half = (len(tasks) + 1) // 2
    return _columns([*tasks[:half], None, *tasks[half:]])


def _mmoe(sketch: Sketch) -> None:
    model, tasks = sketch.model, sketch.tasks
    columns = _around(tasks)
    bottom = _input(sketch, _across(columns, columns))
    experts = _experts(sketch, model.experts, 1, columns[None])
    sketch.link(bottom, experts)
    ends = {}
    for task in tasks:
        layer, tower = model.gating[f"task_{task}"], model.towers[f"task_{task}"]
        gate = sketch.block("gate", 1, columns[task], modules=[layer], kind="gate", lane=task)
        sketch.link(bottom, gate)
        ends[task] = _mix(sketch, 2, columns[task][0], [gate, experts], task, tower)
    _heads(sketch, {t: model.towers[f"task_{t}"] for t in tasks}, columns, ends)


def _mix(
    sketch: Sketch, row: int, x: float, starts: Sequence[int], lane: str | None, reader: nn.Module
) -> int:
    """Add a weighted sum; ``reader`` is the module that reads it."""
    first = next(iter(leaves(reader)))
    place = (x, min(0.2, 1 / (len(sketch.tasks) + 1) - AIR))
    mix = sketch.block("weighted sum", row, place, kind="mix", lane=lane, shape_from=first)
    sketch.link(starts, mix)
    return mix


def _ple(sketch: Sketch) -> None:
    model, tasks = sketch.model, sketch.tasks
    columns = _around(tasks)
    bottom = _input(sketch, _across(columns, columns))
    streams: dict[str | None, int] = dict.fromkeys([*tasks, None], bottom)
    for number, level in enumerate(model.levels):
        row, last = 1 + 2 * number, number == len(model.levels) - 1
        made, gates = {}, {}
        for name, (x, width) in columns.items():
            experts = level.shared if name is None else level.own[f"task_{name}"]
            gate = level.shared_gate if name is None else level.gating[f"task_{name}"]
            left = x - width / 2
            share = 1.0 if gate is None else 0.66
            place = (left + share * width / 2, share * width)
            made[name] = _experts(sketch, experts, row, place, lane=name)
            sketch.link(streams[name], made[name])
            if gate is not None:
                place = (left + 0.85 * width, 0.30 * width)
                gates[name] = sketch.block(
                    "gate", row, place, modules=[gate], kind="gate", lane=name
                )
                sketch.link(streams[name], gates[name])
        for name in gates:
            starts = made.values() if name is None else [made[name], made[None]]
            if last:
                reader = model.towers[f"task_{name}"]
            else:
                above = model.levels[number + 1]
                reader = above.shared if name is None else above.own[f"task_{name}"]
            streams[name] = _mix(
                sketch, row + 1, columns[name][0], [*starts, gates[name]], name, reader
            )
    ends = {task: streams[task] for task in tasks}
    _heads(sketch, {t: model.towers[f"task_{t}"] for t in tasks}, columns, ends)


def _unet(sketch: Sketch) -> None:
    model, tasks = sketch.model, sketch.tasks
    columns, depth = _columns(tasks), len(model.down)
    left, right, middle = (0.15, 0.27), (0.62, 0.27), (0.385, 0.74)
    bottom = _input(sketch, left, row=depth)
    kept, last = [], bottom
    for i, block in enumerate(model.down):
        place = middle if i == depth - 1 else left
        (group,) = groups(block, 1)
        here = sketch.block(group.title, depth - 1 - i, place, modules=group.layers)
        sketch.link(last, here, label=sketch.shape_in(block))
        kept.append(here)
        last = here
    for i, block in reversed(list(enumerate(model.up))):
        (group,) = groups(block, 1)
        here = sketch.block(group.title, depth - 1 - i, right, modules=group.layers)
        sketch.link(last, here)
        sketch.link(kept[i], here)
        last = here
    heads = {task: model.heads[f"task_{task}"] for task in tasks}
    whole = [t for t, head in heads.items() if sketch.inputs[id(head)].dim() == 2]
    ends = dict.fromkeys(tasks, last)
    if whole:
        means = sketch.block(
            "means over pixels", depth, (0.88, 0.22), kind="mix", shape_from=heads[whole[0]]
        )
        sketch.link(last, means, route="bus")
        sketch.link(kept[-1], means, route="corner")
        ends |= dict.fromkeys(whole, means)
    _heads(sketch, heads, columns, ends, route="bus")


_KNOWN: dict[type[nn.Module], tuple[Callable[[Sketch], None], str]] = {
    CrossStitch: (_cross_stitch, "Cross-stitch network"),
    MTAN: (_mtan, "MTAN (attention for each task)"),
    MMoE: (_mmoe, "MMoE (mixture of experts, a gate for each task)"),
    CGC: (_ple, "CGC (experts of each task and shared ones)"),
    PLE: (_ple, "PLE (own and shared experts in levels)"),
    FiLM: (_film, "FiLM (scale and shift for each task)"),
    SoftSharing: (_soft, "Soft sharing"),
    MultiInput: (_multi_input, "One input for each task"),
}
