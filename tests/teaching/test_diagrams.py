"""Networks as pictures: counts that add up, gradients that are real, text that can be read."""

from __future__ import annotations

import copy
import functools
import io
import itertools

import matplotlib
import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon
from PIL import Image
from torch import nn

from mtl_helpers.case_study.model import NAMES, NucleiNet
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
    freeze_statistics,
    mlp,
    per_task_batch_norm,
    small_cnn,
    torchvision_trunk,
)
from mtl_helpers.tasks import classification, regression
from mtl_helpers.teaching.diagrams import describe, network
from mtl_helpers.teaching.explore import Explorer, Picture, show
from mtl_helpers.teaching.figures import cut_off, task_style

F64 = torch.float64
SIDES = [classification("left", 10), classification("right", 10)]
THREE = [regression(f"task {number}") for number in range(3)]


class Plain(nn.Module):
    """Trunk and heads, with a place to cut the gradient of one head."""

    def __init__(self, cut: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(16, 8, dtype=F64), nn.ReLU())
        heads = {"left": nn.Linear(8, 3, dtype=F64), "right": nn.Linear(8, 1, dtype=F64)}
        self.heads, self.cut = nn.ModuleDict(heads), cut

    def forward(self, x):
        z = self.trunk(x)
        return {n: head(z.detach() if n in self.cut else z) for n, head in self.heads.items()}


class Residual(nn.Module):
    """A block of the reader's own, with a batch normalisation inside."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(12, 12, dtype=F64), nn.BatchNorm1d(12, dtype=F64)

    def forward(self, x):
        return x + self.norm(self.layer(x)).relu()


class Skipping(MultiTaskModel):
    """A U-Net of two depths, its skip with or without a gradient."""

    def __init__(self, cut: bool) -> None:
        super().__init__(("left", "right"))
        self.down = nn.ModuleList([nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)])
        self.up = nn.ModuleList([nn.Conv2d(12, 4, 3, padding=1)])
        self.heads = nn.ModuleDict({f"task_{n}": nn.Conv2d(4, 1, 1) for n in self.task_names})
        self.cut = cut

    def own_modules(self, name):
        return [self.heads[f"task_{name}"]]

    def forward(self, x):
        first = self.down[0](x)
        deep = nn.functional.interpolate(self.down[1](nn.functional.max_pool2d(first, 2)), None, 2)
        skip = first.detach() if self.cut else first
        x = self.up[0](torch.cat([deep, skip], 1))
        return {n: self.heads[f"task_{n}"](x) for n in self.task_names}


def stages():
    return nn.Sequential(*(nn.Sequential(nn.Linear(a, b, dtype=F64), nn.Tanh())
                           for a, b in ((16, 12), (12, 8))))  # fmt: skip


def normed():
    layers = nn.Linear(16, 12, dtype=F64), nn.BatchNorm1d(12, dtype=F64), nn.ReLU()
    return nn.Sequential(*layers, nn.Linear(12, 8, dtype=F64), nn.ReLU())


def inside():
    return nn.Sequential(nn.Linear(16, 12, dtype=F64), Residual(), nn.Linear(12, 8, dtype=F64))


def per_task(trunk):
    norms = per_task_batch_norm(trunk, ("left", "right"))
    return MultiInput.linear(norms, SIDES, passes="alternating", features=8)


FLAT, IMAGE, PAIRS = (5, 16), (3, 1, 10, 12), (5, 2, 16)
MODELS = {
    "hard": (lambda: HardSharing.linear(small_cnn((1, 10, 12)), SIDES), IMAGE),
    "one task": (lambda: HardSharing.linear(mlp(16, [12]), SIDES[:1]), FLAT),
    "no trunk": (lambda: HardSharing.linear(nn.Identity(), SIDES, features=16), FLAT),
    "deep": (lambda: HardSharing.linear(mlp(16, [12] * 7), THREE), FLAT),
    "split": (lambda: HardSharing.split(lambda: mlp(16, [12, 10, 8]), SIDES, 3), FLAT),
    "separate": (lambda: HardSharing.split(lambda: mlp(16, [12, 8]), SIDES, 0), FLAT),
    "cross-stitch": (lambda: CrossStitch(stages, SIDES), FLAT),
    "cross-stitch 3": (lambda: CrossStitch(stages, THREE), FLAT),
    "not stitched": (lambda: CrossStitch(stages, SIDES, own=1.0), FLAT),
    "MTAN": (lambda: MTAN((1, 10, 12), SIDES), IMAGE),
    "MTAN 3": (lambda: MTAN((1, 10, 12), THREE, (4,)), IMAGE),
    "MMoE": (lambda: MMoE(16, SIDES, experts=4), FLAT),
    "MMoE 3": (lambda: MMoE(16, THREE, hidden=(12, 6), tower=()), FLAT),
    "CGC": (lambda: CGC(16, SIDES), FLAT),
    "PLE": (lambda: PLE(16, SIDES), FLAT),
    "PLE 3": (lambda: PLE(16, THREE, own=1, shared=3), FLAT),
    "FiLM": (lambda: FiLM(stages(), (12, 8), SIDES), FLAT),
    "soft": (lambda: SoftSharing(lambda: mlp(16, [12, 8]), SIDES), FLAT),
    "soft 3": (lambda: SoftSharing(lambda: mlp(16, [12, 8]), THREE), FLAT),
    "mixed inputs": (lambda: MultiInput.linear(normed(), SIDES, features=8), PAIRS),
    "own norms": (lambda: per_task(normed()), PAIRS),
    "norms inside": (lambda: per_task(inside()), PAIRS),
    "U-Net": (lambda: NucleiNet(NAMES).double(), (2, 3, 16, 16)),
    "small U-Net": (lambda: NucleiNet(("foreground", "count"), (8, 16)).double(), (2, 3, 16, 16)),
    "plain": (Plain, FLAT),
}
KINDS = [*MODELS]
DRAWN = [(kind, back) for kind in KINDS for back in (False, True)]


def made(kind: str):
    torch.manual_seed(0)
    make, shape = MODELS[kind]
    return make(), torch.randn(shape, dtype=F64)


def names_of(model) -> list[str]:
    return list(getattr(model, "task_names", ("left", "right")))


@functools.cache
def picture(kind: str, back: bool):
    model, x = made(kind)
    return network(model, x, gradients=names_of(model)[0] if back else None)


def drawn(kind: str, back: bool) -> Figure:
    return picture(kind, back).figure


def written(figure: Figure):
    """Texts and where they stand, in points."""
    renderer = figure.canvas.get_renderer()
    scale = 72 / figure.dpi
    return [
        (text, text.get_window_extent(renderer).extents * scale)
        for text in figure.axes[0].texts
        if text.get_text()
    ]


def boxes(figure: Figure):
    """The extents of boxes in points, without the cards behind them."""
    return [
        patch.get_window_extent().extents * 72 / figure.dpi
        for patch in figure.axes[0].patches
        if isinstance(patch, FancyBboxPatch) and patch.get_gid() == "box"
    ]


def shared_area(a, b) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(wide, 0) * max(high, 0)


# ------------------------------------------------------------------------------ counts


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_is_in_exactly_one_block(kind):
    model, x = made(kind)
    graph = describe(model, x)
    held = [name for block in graph.blocks for name in block.holds]
    assert len(set(held)) == len(held)
    assert {name.partition("[")[0] for name in held} == {n for n, _ in model.named_parameters()}
    assert sum(b.parameters for b in graph.blocks) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "plain"])
def test_what_is_shared_and_whose_the_rest_is_agrees_with_the_model(kind):
    model, x = made(kind)
    wanted = {n: sum(p.numel() for p in model.task_parameters(n)) for n in model.task_names}
    wanted["shared"] = sum(p.numel() for p in model.shared_parameters())
    assert describe(model, x).parameters == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_in_the_boxes_and_above_them_are_the_model_s(kind):
    model, x = made(kind)
    graph, figure = describe(model, x), drawn(kind, False)
    words = " ".join(text.get_text() for text, _ in written(figure))
    assert f"{sum(p.numel() for p in model.parameters()):,} parameters" in words
    for owner, count in graph.parameters.items():
        assert f"{owner}: {count:,}" in words
    for block in graph.blocks:
        assert not block.parameters or f"{block.parameters:,}" in words


def test_a_weight_that_two_places_share_is_counted_once():
    model = Plain()
    model.heads["right"] = nn.Linear(8, 3, dtype=F64)
    model.heads["right"].weight = model.heads["left"].weight
    graph = describe(model, torch.zeros(2, 16, dtype=F64))
    assert graph.parameters == {"shared": 136 + 24 + 3 + 3, "left": 0, "right": 0}
    assert sum(b.parameters for b in graph.blocks) == sum(p.numel() for p in model.parameters())
    model.heads["right"] = model.heads["left"]
    titles = [b.title for b in describe(model, torch.zeros(2, 16, dtype=F64)).blocks]
    assert "Linear 3 (same weights)" in titles


def trunk_blocks(trunk: nn.Module, x: torch.Tensor):
    model = HardSharing.linear(trunk, SIDES, dtype=x.dtype)
    blocks = [b for b in describe(model, x).blocks if b.kind == "layer" and b.owner is None]
    assert sum(b.parameters for b in blocks) == sum(p.numel() for p in trunk.parameters())
    return [b.title for b in blocks]


def test_a_long_stack_becomes_a_few_boxes_that_say_what_they_hold():
    x = torch.zeros(2, 16, dtype=F64)
    assert trunk_blocks(mlp(16, [12] * 4), x) == ["Linear 12 + ReLU"] * 4
    assert trunk_blocks(mlp(16, [12] * 7), x) == ["7 × (Linear 12 + ReLU)"]
    assert trunk_blocks(mlp(16, [12, 11, 10, 9, 8]), x) == ["5 × (Linear + ReLU)"]
    mixed = [nn.Linear(16, 16, dtype=F64) for _ in range(5)]
    kinds = [nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.GELU(), nn.ReLU()]
    stack = nn.Sequential(*itertools.chain(*zip(mixed, kinds, strict=True)))
    assert trunk_blocks(stack, x) == [
        "Linear 16 + ReLU", "3 layers: 3 × Linear", "Linear 16 + ReLU"]  # fmt: skip


def test_layers_have_readable_names():
    layers = [nn.Conv2d(1, 4, (3, 1)), nn.BatchNorm2d(4), nn.GELU(), nn.AvgPool2d(2)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 8), nn.Dropout(0.25)]
    assert trunk_blocks(nn.Sequential(*layers), torch.zeros(2, 1, 8, 8)) == [
        "Conv 3×1, 4 + batch norm + GELU + mean-pool 2 + mean over pixels",
        "Linear 8 + dropout 0.25",
    ]
    own = nn.Sequential(nn.Linear(16, 12, dtype=F64), Residual())
    assert trunk_blocks(own, torch.zeros(2, 16, dtype=F64))[1] == "Residual: Linear 12"


# ------------------------------------------------------------------------------ shapes


def test_shapes_stand_on_the_arrows():
    graph = describe(*made("hard"))
    labels = [arrow.label for arrow in graph.arrows]
    for shape in ("[B, 1, 10, 12]", "[B, 8, 5, 6]", "[B, 64]", "[B, 10]"):
        assert shape in labels
    words = {text.get_text() for text, _ in written(drawn("hard", False))}
    assert {label for label in labels if label} <= words


def test_experts_keep_their_axis_and_inputs_of_tasks_are_their_own():
    assert "[4, B, 16]" in [a.label for a in describe(*made("MMoE")).arrows]
    mixed = describe(*made("mixed inputs"))
    assert [b.shape for b in mixed.blocks[:2]] == ["[B, 16]"] * 2
    assert "[2B, 8]" in [b.shape for b in mixed.blocks]


def test_losses_are_on_top_with_their_sum_above():
    for kind in KINDS:
        graph = describe(*made(kind))
        top = max(block.row for block in graph.blocks)
        last = [block.kind for block in graph.blocks if block.row == top]
        assert last == (["sum"] if len(graph.tasks) > 1 else ["loss"])
        losses = [b for b in graph.blocks if b.kind == "loss" and b.lane]
        assert [b.lane for b in losses] == list(graph.tasks)


# ------------------------------------------------------------------------------ gradients


def reached_by(model, x, task: str) -> set[str]:
    """The parameters, or slices of stitches, that a loss really moves."""
    model = copy.deepcopy(model).eval()
    generator = torch.Generator().manual_seed(3)
    output = model(x)[task]
    (output * (0.5 + torch.rand(output.shape, generator=generator, dtype=F64))).sum().backward()
    found = set()
    for name, parameter in model.named_parameters():
        if name == "stitches":
            slices = enumerate(parameter.grad) if parameter.grad is not None else ()
            found |= {f"{name}[{i}]" for i, part in slices if part.any()}
        elif parameter.grad is not None and parameter.grad.any():
            found.add(name)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_way_back_agrees_with_autograd(kind):
    model, x = made(kind)
    for task in names_of(model):
        graph, moved = describe(model, x, gradients=task), reached_by(model, x, task)
        for block in graph.blocks:
            if block.parameters:
                assert block.learns == bool(moved & set(block.holds)), (task, block.title)
        for arrow in graph.arrows:
            for end in (graph.blocks[arrow.start], graph.blocks[arrow.end]):
                assert not (arrow.flows and end.parameters and not end.learns)


@pytest.mark.parametrize("kind", KINDS)
def test_a_block_that_learns_is_reached_by_an_unbroken_way(kind):
    model, x = made(kind)
    task = names_of(model)[-1]
    graph = describe(model, x, gradients=task)
    open_ = [i for i, b in enumerate(graph.blocks) if b.kind == "loss" and b.lane == task]
    seen = set(open_)
    while open_:
        here = open_.pop()
        for arrow in graph.arrows:
            if arrow.end == here and arrow.flows and arrow.start not in seen:
                seen.add(arrow.start)
                open_.append(arrow.start)
    learning = {i for i, b in enumerate(graph.blocks) if b.learns and b.parameters}
    assert {i for i in learning if graph.blocks[i].kind != "stitch"} <= seen


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "not stitched"])
def test_no_arrow_is_invented_each_carries_some_task_s_gradient(kind):
    model, x = made(kind)
    drawn_for = [describe(model, x, gradients=task) for task in names_of(model)]
    for arrows in zip(*(graph.arrows for graph in drawn_for), strict=True):
        start = drawn_for[0].blocks[arrows[0].start]
        if start.kind != "input" and arrows[0].route != "link":
            assert any(arrow.flows for arrow in arrows), (start.title, arrows[0])


def test_the_trunk_behind_a_detached_head_is_not_reached():
    x = torch.randn(4, 16, dtype=F64)
    cut = describe(Plain(cut=("right",)), x, gradients="right")
    assert [b.learns for b in cut.blocks if b.parameters] == [False, False, True]
    flows = {(cut.blocks[a.start].kind, cut.blocks[a.end].title): a.flows for a in cut.arrows}
    assert flows["layer", "right loss"] is True
    assert flows["layer", "Linear 1"] is False
    whole = describe(Plain(cut=("right",)), x, gradients="left")
    assert [b.learns for b in whole.blocks if b.parameters] == [True, True, False]
    assert "does not reach: Linear 8 + ReLU; Linear 3 of left." in cut.text.replace("\n", " ")


def test_frozen_and_constant_parts_are_not_reached():
    x = torch.randn(4, 16, dtype=F64)
    frozen = Plain()
    frozen.trunk.requires_grad_(False)
    assert [b.learns for b in describe(frozen, x, gradients="left").blocks if b.parameters] == [
        False, True, False]  # fmt: skip

    class Constant(Plain):
        def forward(self, x):
            return {name: value.detach() for name, value in super().forward(x).items()}

    assert not any(b.learns for b in describe(Constant(), x, gradients="left").blocks)


@pytest.mark.parametrize("cut", [False, True])
def test_a_skip_without_gradient_is_broken_though_both_its_ends_learn(cut):
    graph = describe(Skipping(cut), torch.randn(2, 1, 8, 8), gradients="left")
    flows = {}
    for arrow in graph.arrows:
        start, end = graph.blocks[arrow.start], graph.blocks[arrow.end]
        if start.row == end.row and start.parameters:
            assert start.learns and end.learns
            flows[start.title] = arrow.flows
    assert flows == {"Conv 3×3, 4": not cut}


@pytest.mark.parametrize("kind, own_of_others", [("CGC", [False]), ("PLE", [True, False])])
def test_a_loss_reaches_other_tasks_experts_only_below_the_last_level(kind, own_of_others):
    model, x = made(kind)
    graph = describe(model, x, gradients="left")
    experts = {
        lane: [b.learns for b in graph.blocks if b.kind == "experts" and b.lane == lane]
        for lane in (None, "left", "right")
    }
    assert experts["right"] == own_of_others
    assert all(experts["left"]) and all(experts[None])
    gates = [b.learns for b in graph.blocks if b.kind == "gate" and b.lane == "right"]
    assert not any(gates)


def test_without_mixing_a_column_is_not_reached_through_its_stitch():
    columns = {
        own: {
            b.learns
            for b in describe(*made(kind), gradients="left").blocks
            if b.lane == "right" and b.title.startswith("Linear 12")
        }
        for own, kind in ((1.0, "not stitched"), (0.9, "cross-stitch"))
    }
    assert columns == {1.0: {False}, 0.9: {True}}


@pytest.mark.parametrize("kind", KINDS)
def test_lines_are_broken_exactly_where_no_gradient_flows(kind):
    model, x = made(kind)
    task = names_of(model)[0]
    graph, figure = describe(model, x, gradients=task), drawn(kind, True)
    lines = figure.axes[0].lines
    assert len(lines) == len(graph.arrows)
    broken = sum(line.is_dashed() for line in lines)
    inputs = [graph.blocks[a.start].kind == "input" for a in graph.arrows]
    assert broken == sum(
        a.flows is False and not given for a, given in zip(graph.arrows, inputs, strict=True)
    )
    colour = task_style(task)["color"]
    assert sum(line.get_color() == colour for line in lines) == sum(a.flows for a in graph.arrows)
    assert not any(line.is_dashed() for line in drawn(kind, False).axes[0].lines)


# ------------------------------------------------------------------------------ to look at


@pytest.mark.parametrize("kind, back", DRAWN)
def test_text_can_be_read_and_nothing_lies_over_it(kind, back):
    figure = drawn(kind, back)
    assert cut_off(figure) == []
    # Shown 640 pixels wide, 96 to the inch, the picture is this much smaller or larger.
    zoom = (640 / 96) / figure.get_figwidth()
    texts = written(figure)
    assert min(text.get_fontsize() * zoom for text, _ in texts) >= 9
    normal = [text for text, _ in texts if not text.get_text().startswith("[")]
    assert min(text.get_fontsize() * zoom for text in normal) >= 11
    width, height = figure.get_size_inches() * 72
    for _, (left, bottom, right, top) in texts:
        assert left >= 2 and bottom >= 0 and right <= width - 2 and top <= height
    for (one, a), (other, b) in itertools.combinations(texts, 2):
        assert shared_area(a, b) == 0, (one.get_text(), other.get_text())
    for text, extent in texts:
        area = shared_area(extent, extent)
        for box in boxes(figure):
            inside = shared_area(extent, box)
            assert inside < 0.02 * area or inside > 0.98 * area, text.get_text()


@pytest.mark.parametrize("kind, back", DRAWN)
def test_room_is_left_above_and_below_a_shape_for_its_arrow(kind, back):
    figure = drawn(kind, back)
    for text, (left, low, right, high) in written(figure):
        if not text.get_text().startswith("["):
            continue
        for x0, y0, x1, y1 in boxes(figure):
            beside = low < y1 and high > y0
            if left < x1 and right > x0:
                assert not beside and max(y0 - high, low - y1) >= 7, text.get_text()


@pytest.mark.parametrize("kind", ["hard", "separate", "FiLM", "own norms", "deep"])
def test_arrows_in_a_column_are_upright(kind):
    for line in drawn(kind, False).axes[0].lines:
        x = line.get_xdata()
        assert max(x) - min(x) < 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_that_no_gradient_reaches_are_white_with_broken_edges(kind):
    model, x = made(kind)
    graph = describe(model, x, gradients=names_of(model)[0])
    shown = [b for b in graph.blocks if b.kind != "stitch"]
    patches = [
        p for p in drawn(kind, True).axes[0].patches
        if isinstance(p, FancyBboxPatch) and p.get_gid() == "box"
    ]  # fmt: skip
    for block, patch in zip(shown, patches, strict=False):
        missed = block.lane != graph.gradients if block.kind == "loss" else not block.learns
        if block.parameters or block.kind == "loss":
            assert (patch.get_linestyle() not in ("-", "solid")) == missed, block.title
            assert not missed or patch.get_facecolor() == (1, 1, 1, 1)


@pytest.mark.parametrize("kind, back", DRAWN)
def test_boxes_do_not_overlap_and_arrows_end_at_boxes(kind, back):
    figure = drawn(kind, back)
    found = boxes(figure)
    assert all(shared_area(a, b) == 0 for a, b in itertools.combinations(found, 2))
    heads = [patch for patch in figure.axes[0].patches if isinstance(patch, Polygon)]
    assert heads
    for head in heads:
        x, y = head.get_xy()[0]
        edges = [
            min(abs(y - low), abs(y - high))
            for left, low, right, high in found
            if left - 1 <= x <= right + 1
        ] + [
            min(abs(x - left), abs(x - right))
            for left, low, right, high in found
            if low - 1 <= y <= high + 1
        ]
        assert min(edges) < 11  # the cards behind a box stick out by up to 9 points


@pytest.mark.parametrize("kind", KINDS)
def test_each_task_has_its_colour_and_what_is_shared_is_grey(kind):
    model, x = made(kind)
    graph = describe(model, x)
    patches = [
        p for p in drawn(kind, False).axes[0].patches
        if isinstance(p, FancyBboxPatch) and p.get_gid() == "box"
    ]  # fmt: skip
    patches = patches[: len([b for b in graph.blocks if b.kind != "stitch"])]
    shown = [b for b in graph.blocks if b.kind != "stitch"]
    for block, patch in zip(shown, patches, strict=True):
        edge, fill = patch.get_edgecolor()[:3], patch.get_facecolor()[:3]
        if block.lane:
            assert edge == pytest.approx(matplotlib.colors.to_rgb(task_style(block.lane)["color"]))
        if block.kind in ("layer", "experts", "gate") and block.owner is None:
            assert max(fill) - min(fill) < 1e-9 and fill[0] < 0.95


def test_the_picture_is_drawn_again_to_the_byte():
    model, x = made("PLE")
    first = network(model, x, gradients="left").png
    drawn("U-Net", True)
    matplotlib.figure.Figure().add_subplot().plot([1, 2])
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 5, "font.family": "serif"}):
        assert network(model, x, gradients="left").png == first
    assert Image.open(io.BytesIO(first)).size[0] == 960
    assert network(model, x).png != first


# ------------------------------------------------------------------------------ in words


@pytest.mark.parametrize("kind, back", DRAWN)
def test_the_description_names_every_block(kind, back):
    model, x = made(kind)
    task = names_of(model)[0] if back else None
    graph, text = describe(model, x, gradients=task), picture(kind, back).text
    said = " ".join(text.split())
    for name, block in zip(graph.names, graph.blocks, strict=True):
        assert block.title in said or block.title == "+"
        assert not (back and block.parameters) or name in said
    assert len(set(graph.names)) == len(graph.names)
    assert max(map(len, text.splitlines())) <= 100
    assert "_" not in text
    assert f"{sum(p.numel() for p in model.parameters()):,} parameters" in said


def test_a_cell_shows_the_picture_and_its_description():
    diagram = network(*made("hard"))
    data, metadata = DisplayFormatter().format(diagram)
    assert {"image/png", "text/plain"} <= set(data)
    assert data["text/plain"] == diagram.text == diagram.says
    assert metadata["image/png"]["alt"] == diagram.text
    assert isinstance(diagram, Picture)
    show(diagram.figure, says=diagram.says)
    model, x = made("hard")
    explorer = Explorer(lambda task: network(model, x, gradients=task), task=["left", "right"])
    assert "loss of right" in explorer.redraw(task="right").says


# ------------------------------------------------------------------------------ left alone


@pytest.mark.parametrize("kind, training", [*((k, True) for k in KINDS), ("own norms", False)])
def test_the_model_and_the_batch_are_left_as_they_are(kind, training):
    model, x = made(kind)
    model.train(training)
    next(model.parameters()).grad = torch.ones_like(next(model.parameters()))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    fields = {k: repr(v) for k, v in vars(model).items() if not k.startswith("_")}
    state, batch = torch.get_rng_state(), x.clone()
    with torch.no_grad():
        network(model, x, gradients=names_of(model)[0])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, batch) and x.grad is None
    assert [module.training for module in model.modules()] == modes
    assert {k: repr(v) for k, v in vars(model).items() if not k.startswith("_")} == fields
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    grads = [parameter.grad for parameter in model.parameters()]
    assert grads[0] is not None and all(grad is None for grad in grads[1:])
    assert not any(module._forward_hooks for module in model.modules())


def test_layers_that_draw_take_nothing_from_the_random_generator():
    class Noise(nn.Module):
        def forward(self, x):
            return x + torch.rand_like(x)

    trunk = nn.Sequential(nn.Linear(16, 8, dtype=F64), nn.Dropout(0.5), Noise())
    model, x = HardSharing.linear(trunk, SIDES), torch.ones(2, 16, dtype=F64)
    state = torch.get_rng_state()
    titles = [block.title for block in describe(model, x, gradients="left").blocks]
    assert "Linear 8 + dropout 0.5 + Noise" in titles
    assert torch.equal(torch.get_rng_state(), state)


# ------------------------------------------------------------------------------ other models


class Renamed(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.left_head, self.right_head = self.trunk, *self.heads.values()
        del self.trunk, self.heads

    def forward(self, x):
        z = self.body(x)
        return self.left_head(z), self.right_head(z)


def test_a_plain_model_is_drawn_by_the_names_of_its_parts():
    x = torch.randn(4, 16, dtype=F64)
    own = describe(Plain(), x)
    names = {"left": "left_head", "right": "right_head"}
    other = describe(Renamed(), x, trunk="body", heads=names)
    assert [b.title for b in own.blocks] == [b.title for b in other.blocks]
    assert own.parameters == other.parameters == {"shared": 136, "left": 27, "right": 9}
    assert other.title == "Renamed"


@pytest.mark.parametrize(
    "call, error, said",
    [
        (lambda m, x: network("model", x), TypeError, "found a str and a Tensor"),
        (lambda m, x: network(m, x.numpy()), TypeError, "expected a model"),
        (lambda m, x: network(m, x[:, :3]), ValueError, r"cannot take x of shape \[4, 3\]"),
        (lambda m, x: network(m, x, gradients="up"), ValueError, "no task 'up'.*left, right"),
        (lambda m, x: network(Renamed(), x), ValueError, r"no trunk.*body \(Sequential\)"),
        (lambda m, x: network(Renamed(), x, trunk="body"), ValueError, "no heads"),
        (
            lambda m, x: network(Renamed(), x, trunk="body", heads={"left": "head"}),
            ValueError,
            r"no module for \['left'\].*heads=\{'left': 'left_head'",
        ),
        (lambda m, x: network(m, x, trunk="heads"), ValueError, "never run itself"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_what_to_do(call, error, said):
    with pytest.raises(error, match=said):
        call(Plain(), torch.randn(4, 16, dtype=F64))


def test_parameters_outside_trunk_and_heads_are_named():
    model = Plain()
    model.scales = nn.Parameter(torch.zeros(2, dtype=F64))
    with pytest.raises(ValueError, match=r"parameters in \['scales'\]"):
        network(model, torch.zeros(2, 16, dtype=F64))


def test_outputs_that_are_not_the_heads_are_refused():
    class Tensor(Plain):
        def forward(self, x):
            return self.heads["left"](self.trunk(x))

    with pytest.raises(ValueError, match="forward gives Tensor, expected a dictionary"):
        network(Tensor(), torch.zeros(2, 16, dtype=F64))


def test_too_many_tasks_to_read_are_refused():
    tasks = [regression(f"task {number}") for number in range(12)]
    with pytest.raises(ValueError, match="12 columns .* at most 7"):
        network(HardSharing.linear(mlp(16, [4]), tasks), torch.zeros(2, 16, dtype=F64))


def test_a_model_that_cannot_be_copied_is_refused():
    model = Plain()
    model.kept = torch.ones(2, requires_grad=True) * 2
    with pytest.raises(TypeError, match="cannot be copied"):
        network(model, torch.zeros(2, 16, dtype=F64))


@pytest.mark.parametrize("batch", [torch.zeros(0, 16, dtype=F64), torch.tensor(1.0)])
def test_an_empty_batch_is_refused(batch):
    with pytest.raises(TypeError, match="at least one example"):
        network(Plain(), batch)


def test_one_example_is_enough_though_batch_normalisation_would_refuse_it_in_training():
    model = HardSharing.linear(normed(), SIDES, features=8).train()
    graph = describe(model, torch.randn(1, 16, dtype=F64), gradients="left")
    assert [b.learns for b in graph.blocks if b.parameters] == [True, True, True, False]


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_switched_off(off):
    model = HardSharing.linear(normed(), SIDES, features=8)
    freeze_statistics(model)
    with off():
        graph = describe(model, torch.randn(4, 16, dtype=F64), gradients="left")
    assert [b.learns for b in graph.blocks if b.parameters] == [True, True, True, False]


def test_a_trunk_of_torchvision_is_one_box_with_its_layers_counted():
    trunk = torchvision_trunk("resnet18", "layer1", dtype=F64)
    norms = per_task_batch_norm(trunk, ("left", "right"))
    model = MultiInput.linear(norms, SIDES, passes="alternating", features=64)
    graph = describe(model, torch.randn(2, 2, 3, 32, 32, dtype=F64), gradients="left")
    titles = {b.title: b.learns for b in graph.blocks if b.lane != "right" and b.parameters}
    assert titles == {
        "Conv 7×7, 64 and 4 × Conv 3×3, 64 + mean over pixels": True,
        "5 × batch norm inside": True,
        "Linear 10": True,
    }


def test_names_from_code_are_written_as_words():
    tasks = [regression("task_1"), regression("task_2")]
    diagram = network(MMoE(16, tasks), torch.randn(4, 16, dtype=F64), gradients="task_1")
    words = [text.get_text() for text, _ in written(diagram.figure)]
    assert "task 1 loss" in words and not any("_" in word for word in words)
    assert "_" not in diagram.text


def test_odd_names_are_written_as_they_are():
    heads = {"$x$": nn.Linear(8, 1, dtype=F64), "a very long name of a task": nn.Linear(8, 1)}
    heads["a very long name of a task"].double()
    model = HardSharing(mlp(16, [8]), heads)
    diagram = network(model, torch.zeros(2, 16, dtype=F64), gradients="$x$")
    assert "$x$ loss" in [text.get_text() for text, _ in written(diagram.figure)]
    assert cut_off(diagram.figure) == []
