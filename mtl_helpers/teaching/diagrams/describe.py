"""A model as blocks and arrows: what is computed, before anything is drawn.

Everything is read off the model while it runs once on a copy: shapes by forward hooks, parameters
from the modules, and the way of a gradient from PyTorch's own record of the computation.
"""

from __future__ import annotations

import copy
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

Place = tuple[float, float]  # centre and width, as fractions of the picture's width
SMALLEST_COLUMN = 0.13  # 62 of 480 points: narrower boxes cannot hold their text
EXAMPLES = 4  # of the batch are run: enough for shapes, and for a gradient that is not 0 by chance


@dataclass(frozen=True)
class Block:
    """One box of a diagram.

    Attributes:
        title: what it says, such as ``"Conv 3×3, 16 + ReLU"``.
        kind: ``"input"``, ``"layer"``, ``"experts"``, ``"gate"``, ``"mix"`` (it only adds up or
            averages), ``"stitch"``, ``"loss"``, ``"sum"`` or ``"note"``.
        x: centre, as a fraction of the picture's width.
        width: as a fraction of the picture's width.
        row: counted from the bottom.
        owner: the task whose own it is; None where tasks share it or a part of it.
        lane: the task in whose column it stands, which may share it with others.
        parameters: numbers it learns.
        holds: the names of these parameters in the model; ``"stitches[0]"`` for a slice of one.
        shape: of what it gives, such as ``"[B, 64]"``; empty where that is not known.
        cards: how many equal networks it stands for.
        learns: whether the gradient reaches its parameters; None where no gradient was asked for.
    """

    title: str
    kind: str
    x: float
    width: float
    row: int
    owner: str | None = None
    lane: str | None = None
    parameters: int = 0
    holds: tuple[str, ...] = ()
    shape: str = ""
    cards: int = 1
    learns: bool | None = None

    @property
    def wide(self) -> bool:
        """Whether it lies across several columns, so that arrows leave it where they are going."""
        return self.width > 0.55 or (self.kind in ("input", "sum") and self.lane is None)

    @property
    def numbers(self) -> str:
        """The count of parameters as the box shows it."""
        if self.cards > 1 and self.parameters:
            return f"{self.cards} × {self.parameters // self.cards:,} = {self.parameters:,}"
        return f"{self.parameters:,}" if self.parameters else ""


@dataclass(frozen=True)
class Arrow:
    """A way from one block to another, by their places in ``Graph.blocks``.

    Attributes:
        start: where it begins.
        end: where it ends.
        label: the shape of what goes along it.
        route: ``"straight"``; ``"bus"`` turns at right angles below its end; ``"corner"`` leaves
            sideways and then rises; ``"inside"`` leads to a part inside the block below;
            ``"link"`` points both ways and carries no data.
        weight: 1, or the weight with which a stitch mixes.
        flows: whether the gradient comes back along it; None where no gradient was asked for.
    """

    start: int
    end: int
    label: str = ""
    route: str = "straight"
    weight: float = 1.0
    flows: bool | None = None


@dataclass(frozen=True)
class Graph:
    """A whole model in blocks, from the input in the bottom row to the losses at the top."""

    title: str
    tasks: tuple[str, ...]
    blocks: tuple[Block, ...]
    arrows: tuple[Arrow, ...]
    gradients: str | None = None

    @property
    def parameters(self) -> dict[str, int]:
        """The count by owner: ``"shared"`` and each task."""
        found = dict.fromkeys(("shared", *self.tasks), 0)
        for block in self.blocks:
            found[block.owner or "shared"] += block.parameters
        return found

    @property
    def names(self) -> list[str]:
        """A name for every block that no other has: "gate of left", "gate of left, number 2"."""
        found: list[str] = []
        seen: Counter[str] = Counter()
        for block in self.blocks:
            title = "mixture" if block.title == "+" else block.title
            if block.lane and block.lane not in title:
                title = f"{title} of {block.lane}"
            seen[title] += 1
            found.append(title if seen[title] == 1 else f"{title}, number {seen[title]}")
        return found

    @property
    def text(self) -> str:
        """The diagram in sentences that name every block, for those who cannot see it."""
        counts = self.parameters
        owned = ", ".join(
            f"{n:,} {'shared' if owner == 'shared' else f'of {owner} alone'}"
            for owner, n in counts.items()
        )
        said = [f"{self.title}: {sum(counts.values()):,} parameters ({owned})."]
        for lane in (None, *self.tasks):
            listed = [
                self._in_words(i)
                for i, block in enumerate(self.blocks)
                if block.lane == lane and block.kind != "sum"
            ]
            if listed:
                who = f"Column of {lane}" if lane else "For all tasks"
                said.append(f"{who}: {'; '.join(listed)}.")
        said += [f"At the top: {b.title}." for b in self.blocks if b.kind == "sum"]
        if self.gradients:
            said.append(self._way_back())
        lines = (textwrap.fill(one.replace("_", " "), 96, break_on_hyphens=False) for one in said)
        return "\n".join(lines)

    def _in_words(self, i: int) -> str:
        block, names = self.blocks[i], self.names
        facts = [f"{block.numbers} parameters"] if block.parameters else []
        if block.lane and block.parameters and block.owner is None:
            facts.append("shared")
        linked = [names[a.start] for a in self.arrows if a.end == i and a.route == "link"]
        linked += [names[a.end] for a in self.arrows if a.start == i and a.route == "link"]
        read = [names[a.start] for a in self.arrows if a.end == i and a.route != "link"]
        facts += [f"reads {' and '.join(read)}"] if len(read) > 1 else []
        facts += [f"pulled together with {' and '.join(linked)}"] if linked else []
        facts += [f"gives {block.shape}"] if block.shape else []
        name = names[i].replace(f" of {block.lane}", "", 1)
        return f"{name} ({', '.join(facts)})" if facts else name

    def _way_back(self) -> str:
        parts: dict[bool, list[str]] = {True: [], False: []}
        for block, name in zip(self.blocks, self.names, strict=True):
            if block.parameters:
                parts[bool(block.learns)].append(name)
        reached, missed = ("; ".join(parts[answer]) or "nothing" for answer in (True, False))
        return (
            f"Going back from the loss of {self.gradients}, the gradient reaches: {reached}. "
            f"It does not reach: {missed}."
        )


@dataclass
class _Part:
    """What a block is made of while the sketch is filled in."""

    modules: tuple[nn.Module, ...]
    weights: list[tuple[nn.Parameter, int | None]]  # a parameter, or one slice of it
    shape_from: nn.Module | None  # a module whose input this block gives
    batch: str
    nodes: list[Any] = field(default_factory=list)  # autograd nodes of what it gives


class Sketch:
    """Takes blocks and arrows from the function that knows a kind of model, then runs the model.

    Args:
        model: the model; only a copy of it is run.
        x: a batch [B, ...].
        tasks: the tasks, in the order of their columns.
        own: for each task the parameters that are its own.
    """

    def __init__(
        self, model: nn.Module, x: Tensor, tasks: Sequence[str], own: Mapping[str, Iterable]
    ) -> None:
        self.model, self.tasks = model, tuple(tasks)
        self.x, self._shape_of_x = x[:EXAMPLES].detach().clone(), list(x.shape)
        self.columns: dict[str | None, Place] = {}
        self.across: Place = (0.5, 1.0)
        self.blocks: list[Block] = []
        self.arrows: list[Arrow] = []
        self._parts: list[_Part] = []
        self._owner: dict[int, str | None] = {}
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._counted: set[tuple[int, int | None]] = set()
        for task, parameters in own.items():
            for parameter in parameters:
                other = self._owner.setdefault(id(parameter), task)
                self._owner[id(parameter)] = task if other == task else None
        self.inputs: dict[int, Tensor] = {}  # first input of each module that ran
        self.outputs: dict[int, list[tuple[Tensor, Any]]] = {}  # and their autograd nodes
        self.given: dict[str, Tensor] = {}

    @property
    def top(self) -> int:
        """The highest row with a block."""
        return max(block.row for block in self.blocks)

    def owner(self, parameter: nn.Parameter) -> str | None:
        """Give the task that a parameter belongs to alone, or None."""
        return self._owner.get(id(parameter))

    def run(self) -> None:
        """Run the model once, with gradients, and note what goes in and out of every module.

        Raises:
            ValueError: the model refuses ``x``, or its outputs are not one for each task.
        """
        hooks = [module.register_forward_hook(self._note) for module in self.model.modules()]
        try:
            found = self.model.eval()(self.x)
        except Exception as error:
            raise ValueError(
                f"network: the model cannot take x of shape {self._shape_of_x} and type "
                f"{self.x.dtype} ({error}). Pass a batch such as the model is trained on."
            ) from error
        finally:
            for hook in hooks:
                hook.remove()
        if isinstance(found, list | tuple) and len(found) == len(self.tasks):
            found = dict(zip(self.tasks, found, strict=True))
        if not isinstance(found, Mapping) or set(found) != set(self.tasks):
            got = list(found) if isinstance(found, Mapping) else type(found).__name__
            raise ValueError(
                f"network: the model's forward gives {got}, expected a dictionary with one output "
                f"for each of {list(self.tasks)}. Name its outputs as its heads."
            )
        self.given = dict(found)

    def _note(self, module: nn.Module, inputs: tuple, output: Any) -> None:
        if inputs and isinstance(inputs[0], Tensor):
            self.inputs.setdefault(id(module), inputs[0])
        if isinstance(output, Tensor):
            # The node is kept now: a layer that works in place changes it later.
            self.outputs.setdefault(id(module), []).append((output, output.grad_fn))

    def columns_for(
        self, names: Sequence[str | None], *, left: float = 0.0, air: float = 0.02
    ) -> None:
        """Give each name a column: a task, or None for what stands in a column and is shared.

        Args:
            names: from left to right.
            left: the fraction of the width that stays free on the left.
            air: the fraction of the width between two columns.

        Raises:
            ValueError: there are too many to be readable.
        """
        step = (1 - left) / len(names)
        if step < SMALLEST_COLUMN:
            raise ValueError(
                f"network: {len(names)} columns next to each other cannot be read; expected at "
                f"most {int((1 - left) / SMALLEST_COLUMN)} for this kind of model. Draw the same "
                "model with fewer tasks."
            )
        self.columns = {n: (left + (i + 0.5) * step, step - air) for i, n in enumerate(names)}
        self.across = ((1 + left) / 2, 1 - left - air)

    def of(self, modules: nn.ModuleDict) -> dict[str, nn.Module]:
        """Give a module of each task."""
        return {task: modules[f"task_{task}"] for task in self.tasks}

    def block(
        self,
        title: str,
        row: int,
        *,
        lane: str | None = None,
        place: Place | None = None,
        reads: int | Iterable[int] = (),
        modules: Sequence[nn.Module] = (),
        weights: Sequence[tuple[nn.Parameter, int | None]] = (),
        only_shared: bool = False,
        shape_from: nn.Module | None = None,
        batch: str = "B",
        **look: Any,
    ) -> int:
        """Add a block; every parameter counts in the first block that holds it.

        Args:
            title: what the box says.
            row: counted from the bottom.
            lane: the task in whose column it stands.
            place: centre and width, as fractions of the picture's width; that of its column, or
                across all columns, when left out.
            reads: blocks to draw plain arrows from.
            modules: what it runs, in order.
            weights: parameters, or slices of them, that no module of it holds.
            only_shared: leave out the parameters inside that belong to one task.
            shape_from: a module whose input this block gives, where no module of it gives it.
            batch: what the batch axis is called.
            **look: ``kind``, ``cards`` and ``shape`` as in :class:`Block`.

        Returns:
            Its number, for :meth:`link`.
        """
        x, width = place or (self.columns[lane] if lane else self.across)
        held = [(p, None) for module in modules for p in module.parameters()] + list(weights)
        if only_shared:
            held = [(p, i) for p, i in held if self.owner(p) is None]
        new = [w for w in held if (id(w[0]), w[1]) not in self._counted]
        self._counted.update((id(parameter), slice_) for parameter, slice_ in new)
        owners = {self.owner(parameter) for parameter, _ in held} or {lane}
        title = title.replace("_", " ") + (" (same weights)" if held and not new else "")
        count = sum(p.numel() if i is None else p[i].numel() for p, i in new)
        holds = tuple(self._names[id(p)] + ("" if i is None else f"[{i}]") for p, i in new)
        owner = owners.pop() if len(owners) == 1 else None
        kind = look.pop("kind", "layer")
        self.blocks.append(Block(title, kind, x, width, row, owner, lane, count, holds, **look))
        self._parts.append(_Part(tuple(modules), held, shape_from, batch))
        self.link(reads, len(self.blocks) - 1)
        return len(self.blocks) - 1

    def link(self, starts: int | Iterable[int], end: int, **options: Any) -> None:
        """Add an arrow from each start to the end; options as in :class:`Arrow`."""
        for start in [starts] if isinstance(starts, int) else starts:
            self.arrows.append(Arrow(start, end, **options))

    def finish(self, title: str, gradients: str | None) -> Graph:
        """Give the finished graph.

        Raises:
            ValueError: a parameter of the model is in no block.
        """
        self._check_all_are_in()
        nodes = self._nodes()
        blocks = [replace(b, shape=b.shape or self._shape(i)) for i, b in enumerate(self.blocks)]
        arrows = [replace(a, label=a.label or blocks[a.start].shape) for a in self.arrows]
        if gradients is not None:
            reached = self._reached(gradients)
            blocks = [replace(b, learns=reached[i]) for i, b in enumerate(blocks)]
            real = self._real_ways(nodes, reached, gradients)
            real |= {
                (a.start, a.end)
                for a in arrows
                if a.route == "inside" and reached[a.start] and reached[a.end]
            }
            arrows = [replace(a, flows=self._flows(a, real)) for a in arrows]
        return Graph(title, self.tasks, tuple(blocks), tuple(arrows), gradients)

    def _check_all_are_in(self) -> None:
        counted = {key for key, _ in self._counted}
        left = [n for n, p in self.model.named_parameters() if id(p) not in counted]
        total = sum(parameter.numel() for parameter in self.model.parameters())
        if left or sum(block.parameters for block in self.blocks) != total:
            places = sorted({name.partition(".")[0] for name in left})
            raise ValueError(
                f"network: {type(self.model).__name__} has parameters in {places}, which are "
                f"neither in its trunk nor in its heads, so a picture of those would leave "
                "something out. Put them into the trunk or a head."
            )

    def shape_in(self, module: nn.Module) -> str:
        """Give the shape of what a module reads, such as ``"[B, 64]"``; empty if it never ran."""
        found = self.inputs.get(id(module))
        return "" if found is None else shape_text(found)

    def _shape(self, i: int) -> str:
        part, block = self._parts[i], self.blocks[i]
        if block.kind == "input":
            found = self.x
        elif part.shape_from is not None:
            found = self.inputs.get(id(part.shape_from))
        else:
            ran = [m for m in part.modules if id(m) in self.outputs]
            found = self.outputs[id(ran[-1])][0][0] if ran else None
        axis = 1 if block.kind == "experts" else 0
        return "" if found is None else shape_text(found, axis, part.batch)

    def _nodes(self) -> dict[Any, int]:
        """Give the block of every autograd node that a block's module made; earlier ones first."""
        found: dict[Any, int] = {}
        for i, part in enumerate(self._parts):
            for module in part.modules:
                for _, node in self.outputs.get(id(module), ()):
                    if node is not None and found.setdefault(node, i) == i:
                        part.nodes.append(node)
        return found

    def _reached(self, task: str) -> list[bool]:
        """Say for every block whether the gradient of the task's output is somewhere not zero."""
        output = self.given[task]
        if not output.requires_grad:
            return [False] * len(self.blocks)
        # Weights of different sizes: a plain sum after a softmax would have no gradient at all.
        generator = torch.Generator().manual_seed(0)
        weigh = 0.5 + torch.rand(output.shape, generator=generator)
        loss = (output * weigh.to(output.device, output.dtype)).sum()
        outputs = [
            [t for module in part.modules for t, _ in self.outputs.get(id(module), ())]
            for part in self._parts
        ]
        wanted = {
            id(t): t
            for part, given in zip(self._parts, outputs, strict=True)
            for t in (*(p for p, _ in part.weights), *given)
            if t.requires_grad
        }
        grads = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
        grad = dict(zip(wanted, grads, strict=True))
        reached = []
        for part, given in zip(self._parts, outputs, strict=True):
            asked = part.weights or [(t, None) for t in given]
            values = [grad.get(id(t)) if i is None else _at(grad.get(id(t)), i) for t, i in asked]
            reached.append(any(v is not None and bool((v != 0).any()) for v in values))
        return reached

    def _real_ways(
        self, nodes: dict[Any, int], reached: list[bool], task: str
    ) -> set[tuple[int, int]]:
        """Give (from, to) for blocks next to each other in autograd's record, both reached."""
        ways = set()
        for i, part in enumerate(self._parts):
            if reached[i]:
                ways |= {(j, i) for j in _before(part.nodes, nodes, i) if reached[j]}
        losses = [i for i, b in enumerate(self.blocks) if b.kind == "loss" and b.lane == task]
        for i in losses:
            ways |= {(j, i) for j in _before([self.given[task].grad_fn], nodes, i) if reached[j]}
        return ways

    def _flows(self, arrow: Arrow, real: set[tuple[int, int]]) -> bool:
        """Look an arrow up; blocks without modules stand for what lies beyond them."""
        starts, ends = self._beyond(arrow.start, False), self._beyond(arrow.end, True)
        return any((a, b) in real for a in starts for b in ends)

    def _beyond(self, i: int, forward: bool) -> list[int]:
        block = self.blocks[i]
        if self._parts[i].modules or block.kind in ("loss", "input"):
            return [i]
        near = [
            (a.end if forward else a.start)
            for a in self.arrows
            if (a.start if forward else a.end) == i and a.route != "link"
        ]
        return [k for j in near for k in self._beyond(j, forward)]


def shape_text(tensor: Tensor, batch_axis: int = 0, batch: str = "B") -> str:
    """Write a shape: [4, 64] -> ``"[B, 64]"``."""
    sides = [batch if i == batch_axis else str(n) for i, n in enumerate(tensor.shape)]
    return f"[{', '.join(sides)}]"


def _at(value: Tensor | None, i: int) -> Tensor | None:
    return None if value is None else value[i]


def _before(starts: Sequence[Any], nodes: dict[Any, int], own: int) -> set[int]:
    """Walk back through autograd's record to the nearest nodes of other blocks."""
    found, seen, open_ = set(), set(), [node for node in starts if node is not None]
    while open_:
        node = open_.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if nodes.get(node, own) != own:
            found.add(nodes[node])
            continue
        open_ += [before for before, _ in node.next_functions]
    return found


def copy_of(model: nn.Module) -> nn.Module:
    """Copy a model so that running it leaves the original as it is.

    Raises:
        TypeError: the model holds something that cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise TypeError(
            f"network: {type(model).__name__} cannot be copied ({error}), and only a copy is run "
            "so that your model stays as it is. Pass the model before it holds results of a run."
        ) from error
