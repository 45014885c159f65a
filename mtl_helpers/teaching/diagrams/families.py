"""Where the parts of each kind of model stand in a picture, one function per kind.

Each function fills a :class:`Sketch`: it says which modules make a block and which block feeds
which. Counts, shapes and gradients come from the model itself, in ``describe``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

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
from mtl_helpers.teaching.diagrams.layers import Group, groups, layer_name, leaves, whole, words


def describe(
    model: nn.Module,
    x: Tensor,
    *,
    gradients: str | None = None,
    trunk: str | None = None,
    heads: str | Mapping[str, str] | None = None,
) -> Graph:
    """Read a model's blocks and arrows off the model; arguments and errors as in ``network``."""
    if not isinstance(model, nn.Module) or not isinstance(x, Tensor) or not x.dim() or not len(x):
        raise TypeError(
            f"network: found a {type(model).__name__} and a {type(x).__name__}, expected a model "
            "(nn.Module) and a batch for it (a tensor [B, ...] with at least one example)."
        )
    devices = [x.device] if x.device.type == "cuda" else []
    # Inference mode off also means gradients on, whatever the caller has switched off.
    with torch.inference_mode(False), torch.random.fork_rng(devices=devices):
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


def _pile(sketch: Sketch, stack: Sequence[Group], last: int, lane: str | None = None) -> int:
    """Put boxes on top of a block; give the topmost, or that block where there is none."""
    for i, group in enumerate(stack):
        last = sketch.block(group.title, i + 1, lane=lane, modules=group.layers, reads=last)
    return last


def _heads(
    sketch: Sketch, heads: Mapping[str, nn.Module], ends: Mapping[str, int], **options: str
) -> None:
    """Put each task's last layers into its column, all ending in the same row."""
    found = {task: groups(head, 3) for task, head in heads.items()}
    top = sketch.top + max(map(len, found.values()))
    for task, boxes in found.items():
        before = ends[task]
        for i, group in enumerate(boxes):
            row = top - len(boxes) + 1 + i
            here = sketch.block(group.title, row, lane=task, modules=group.layers)
            sketch.link(before, here, **(options if i == 0 else {}))
            before = here


def _losses(sketch: Sketch, *, with_sum: bool) -> None:
    """Put the losses on top, and their sum."""
    row, tops, added = sketch.top + 1, [], "losses"
    for task in sketch.tasks:
        own = [i for i, block in enumerate(sketch.blocks) if block.lane == task]
        last = max(own, key=lambda i: sketch.blocks[i].row)
        tops.append(sketch.block(f"{task} loss", row, lane=task, kind="loss", reads=last))
    if not with_sum or len(tops) < 2:
        return
    for i, note in enumerate(sketch.blocks):
        if note.kind == "note":
            title = f"penalty: {sketch.model.strength:g} × distance"
            place, added = (note.x, note.width), "losses and the penalty"
            tops.append(sketch.block(title, row, place=place, kind="loss", reads=i))
    sketch.block(f"total loss: the sum of the {added}", row + 1, kind="sum", reads=tops)


def _around(tasks: Sequence[str]) -> list[str | None]:
    """Give the tasks, and between them None: the column in the middle for what they share."""
    half = (len(tasks) + 1) // 2
    return [*tasks[:half], None, *tasks[half:]]


# ------------------------------------------------------------------------------ one per kind


def _hard(sketch: Sketch, trunk: nn.Module, heads: Mapping[str, nn.Module]) -> None:
    sketch.columns_for(sketch.tasks)
    top = _pile(sketch, groups(trunk, 4), sketch.block("input", 0, kind="input"))
    _heads(sketch, heads, dict.fromkeys(sketch.tasks, top))


def _multi_input(sketch: Sketch) -> None:
    model, tasks = sketch.model, sketch.tasks
    sketch.columns_for(tasks)
    look = {"kind": "input", "shape": shape_text(sketch.x[:, 0])}
    ends = {task: sketch.block(f"input of {task}", 0, lane=task, **look) for task in tasks}
    batch = f"{len(tasks)}B" if model.passes == "mixed" else "B"
    options: dict[str, str] = {}
    for group in groups(model.trunk, 99 if model.own_norms else 4):
        norms = [m for part in group.layers for m in part.modules() if isinstance(m, TaskBatchNorm)]
        title = group.title
        if norms != [group.layers[0]]:
            here = sketch.block(
                title, sketch.top + 1, modules=group.layers, only_shared=True, batch=batch
            )
            sketch.link(sorted(set(ends.values())), here, **options)
            ends, title = dict.fromkeys(tasks, here), f"{len(norms)} × batch norm inside"
        options = {"route": "inside"} if title != group.title and norms else {}
        row, shape = sketch.top + 1, shape_text(sketch.outputs[id(group.layers[-1])][0][0])
        for task in tasks if norms else ():
            mine = [norm.of(task) for norm in norms]
            here = sketch.block(title, row, lane=task, modules=mine, shape=shape)
            sketch.link(ends[task], here, **options)
            ends[task] = here
    heads = sketch.of(model.heads)
    _heads(sketch, heads, ends, label=sketch.shape_in(heads[tasks[0]]), **options)


def _film(sketch: Sketch) -> None:
    model, tasks = sketch.model, sketch.tasks
    sketch.columns_for(tasks)
    ends = dict.fromkeys(tasks, sketch.block("input", 0, kind="input"))
    for i, stage in enumerate(model.stages):
        group, reads = whole(stage), sorted(set(ends.values()))
        here = sketch.block(group.title, 2 * i + 1, modules=group.layers, reads=reads)
        for task, adapters in sketch.of(model.adapters).items():
            ends[task] = sketch.block(
                "scale γ, shift β", 2 * i + 2, lane=task, modules=[adapters[i]], reads=here
            )
    _heads(sketch, sketch.of(model.heads), ends)


def _soft(sketch: Sketch) -> None:
    model, tasks = sketch.model, sketch.tasks
    sketch.columns_for(_around(tasks), air=0.07)
    bottom = sketch.block("input", 0, kind="input")
    trunks = {task: groups(trunk, 3) for task, trunk in sketch.of(model.trunks).items()}
    middle = (1 + len(trunks[tasks[0]])) // 2
    title, place = "mean squared distance of the trunks", sketch.columns[None]
    beside = {None: sketch.block(title, middle, place=place, kind="note")}
    ends = {}
    for task in tasks:
        beside[task] = len(sketch.blocks) + middle - 1
        ends[task] = _pile(sketch, trunks[task], bottom, task)
    for one, other in pairwise(sketch.columns):
        sketch.link(beside[one], beside[other], route="link")
    _heads(sketch, sketch.of(model.heads), ends)


def _cross_stitch(sketch: Sketch) -> None:
    model, tasks = sketch.model, sketch.tasks
    sketch.columns_for(tasks, left=0.23)
    ends = dict.fromkeys(tasks, sketch.block("input", 0, kind="input"))
    heads, columns = sketch.of(model.heads), sketch.of(model.columns)
    for i, stitch in enumerate(model.stitches.detach()):
        row, made = 2 * i + 1, {}
        for task, column in columns.items():
            group = whole(column[i])
            made[task] = sketch.block(
                group.title, row, lane=task, modules=group.layers, reads=ends[task]
            )
        title = f"stitch {i + 1}: {len(tasks)} × {len(tasks)} weights"
        sketch.block(title, row + 1, weights=[(model.stitches, i)], kind="stitch")
        for k, task in enumerate(tasks):
            reader = columns[task][i + 1] if i + 1 < len(columns[task]) else heads[task]
            place = (sketch.columns[task][0], 0.05)
            ends[task] = sketch.block(
                "+", row + 1, lane=task, place=place, kind="mix", shape_from=reader
            )
            for j, other in enumerate(tasks):
                sketch.link(made[other], ends[task], weight=float(stitch[k, j]))
    _heads(sketch, heads, ends)


def _mtan(sketch: Sketch) -> None:
    model, tasks = sketch.model, sketch.tasks
    sketch.columns_for(tasks, left=0.30)
    main, pool = (0.13, 0.24), layer_name(model.pool)
    last = sketch.block("input", 0, place=main, kind="input")
    ends: dict[str, int] = {}
    for i, picked in enumerate(model.picked):
        group = whole(model.first[i], model.second[i])
        title = f"{pool}, then: {group.title}" if i else group.title
        row = 2 * i + 1
        last = sketch.block(title, row, place=main, modules=group.layers, reads=last)
        masks = []
        for task, mask in sketch.of(model.masks).items():
            reads = [ends[task]] if i else []
            masks.append(
                sketch.block("attention mask", row + 1, lane=task, modules=[mask[i]], reads=reads)
            )
            sketch.link(last, masks[-1], route="bus")
        group, shape = whole(picked), shape_text(model.pool(sketch.outputs[id(picked)][0][0]))
        title = f"{group.title} + {pool} on mask × features"
        here = sketch.block(title, row + 2, modules=group.layers, reads=masks, shape=shape)
        sketch.link(last, here, route="bus")
        ends = dict.fromkeys(tasks, here)
    heads = sketch.of(model.heads)
    _heads(sketch, heads, ends, label=sketch.shape_in(heads[tasks[0]]))


def _experts(sketch: Sketch, experts: Experts, row: int, **options: Any) -> int:
    layers = " + ".join(f"Linear {weight.shape[2]} + ReLU" for weight in experts.weights)
    title = f"{experts.count} expert{'s' * (experts.count > 1)}: {layers}"
    return sketch.block(
        title, row, modules=[experts], kind="experts", cards=experts.count, **options
    )


def _mix(sketch: Sketch, row: int, lane: str | None, reads: list[int], reader: nn.Module) -> int:
    """Add a weighted sum; ``reader`` is the module that reads it."""
    x, width = sketch.columns[lane]
    first, place = next(leaves(reader)), (x, min(0.2, width))
    options = {"kind": "mix", "shape_from": first, "reads": reads}
    return sketch.block("weighted sum", row, lane=lane, place=place, **options)


def _mmoe(sketch: Sketch) -> None:
    model, ends = sketch.model, {}
    sketch.columns_for(_around(sketch.tasks))
    bottom, towers = sketch.block("input", 0, kind="input"), sketch.of(model.towers)
    experts = _experts(sketch, model.experts, 1, place=sketch.columns[None], reads=bottom)
    for task, layer in sketch.of(model.gating).items():
        gate = sketch.block("gate", 1, lane=task, modules=[layer], kind="gate", reads=bottom)
        ends[task] = _mix(sketch, 2, task, [gate, experts], towers[task])
    _heads(sketch, towers, ends)


def _ple(sketch: Sketch) -> None:
    model, tasks = sketch.model, sketch.tasks
    sketch.columns_for(_around(tasks))
    ends = dict.fromkeys(sketch.columns, sketch.block("input", 0, kind="input"))
    towers = sketch.of(model.towers)
    for number, level in enumerate(model.levels):
        row, made, gates = sketch.top + 1, {}, {}
        every = {**sketch.of(level.own), None: level.shared}
        layers = {**sketch.of(level.gating), None: level.shared_gate}
        for name, (x, width) in sketch.columns.items():
            left, reads = x - width / 2, ends[name]
            part = (0.66 if layers[name] else 1) * width
            place = (left + part / 2, part)
            made[name] = _experts(sketch, every[name], row, lane=name, place=place, reads=reads)
            if layers[name]:
                place, mine = (left + 0.85 * width, 0.3 * width), [layers[name]]
                gates[name] = sketch.block(
                    "gate", row, lane=name, place=place, modules=mine, kind="gate", reads=reads
                )
        readers: dict[str | None, nn.Module] = {**towers}
        if number + 1 < len(model.levels):
            above = model.levels[number + 1]
            readers = {**sketch.of(above.own), None: above.shared}
        for name, gate in gates.items():
            experts = [*made.values()] if name is None else [made[name], made[None]]
            ends[name] = _mix(sketch, row + 1, name, [*experts, gate], readers[name])
    _heads(sketch, towers, {task: ends[task] for task in tasks})


def _unet(sketch: Sketch) -> None:
    model, heads = sketch.model, sketch.of(sketch.model.heads)
    sketch.columns_for(sketch.tasks)
    depth = len(model.down)
    left, right, deepest = (0.14, 0.26), (0.62, 0.26), (0.38, 0.74)
    last = sketch.block("input", depth, place=left, kind="input")
    kept = []
    for i, block in enumerate(model.down):
        group, row = whole(block), depth - 1 - i
        here = sketch.block(group.title, row, place=left if row else deepest, modules=group.layers)
        sketch.link(last, here, label=sketch.shape_in(block))
        kept, last = [*kept, here], here
    for i, block in reversed(list(enumerate(model.up))):
        group, reads = whole(block), [last, kept[i]]
        last = sketch.block(
            group.title, depth - 1 - i, place=right, modules=group.layers, reads=reads
        )
    ends = dict.fromkeys(sketch.tasks, last)
    flat = [task for task, head in heads.items() if sketch.inputs[id(head)].dim() == 2]
    if flat:
        means = sketch.block(
            "means over pixels", depth, place=(0.88, 0.22), kind="mix", shape_from=heads[flat[0]]
        )
        sketch.link(last, means, route="bus")
        sketch.link(kept[-1], means, route="corner")
        ends |= dict.fromkeys(flat, means)
    _heads(sketch, heads, ends, route="bus")


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
