"""Layers in words, and long stacks of layers as a few boxes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from torch import fx, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd, _AvgPoolNd, _MaxPoolNd

from mtl_helpers.models.norms import TaskBatchNorm

_SILENT = (nn.Flatten, nn.Unflatten, nn.Identity)  # the shapes on the arrows show what they do
_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)
_NAMES: dict[type | tuple[type, ...], str] = {
    _SILENT: "",
    nn.Linear: "Linear",
    _ConvNd: "Conv",
    _NormBase: "batch norm",
    TaskBatchNorm: "batch norm",
    nn.GroupNorm: "group norm",
    nn.LayerNorm: "layer norm",
    _MaxPoolNd: "max-pool",
    _AvgPoolNd: "mean-pool",
    _AdaptiveAvgPoolNd: "mean over pixels",
    _DropoutNd: "dropout",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
}


@dataclass(frozen=True)
class Group:
    """Layers that are drawn as one box.

    Attributes:
        layers: the modules, in the order in which they run.
        title: what the box says, such as ``"Conv 3×3, 16 + ReLU"``.
    """

    layers: tuple[nn.Module, ...]
    title: str


def words(name: str) -> str:
    """Turn a class name into words: ``"_ResidualBlock"`` -> ``"Residual block"``."""
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name.strip("_")).replace("_", " ").split()
    lowered = [part if part.isupper() else part.lower() for part in parts]
    text = " ".join(lowered)
    return text[:1].upper() + text[1:]


def layer_name(layer: nn.Module, *, sizes: bool = True) -> str:
    """Name one layer in words: ``"Conv 3×3, 16"``, or ``"Conv"`` without sizes.

    A layer that only changes the shape has the empty name.
    """
    for kind, name in _NAMES.items():
        if isinstance(layer, kind):
            return f"{name}{_size(layer)}" if sizes else name
    if type(layer).__module__.startswith("torch.nn"):
        return type(layer).__name__
    name = words(type(layer).__name__)
    inside = [part for part in layer.modules() if isinstance(part, _ConvNd | nn.Linear)]
    if not sizes or not inside:
        return name
    found = Counter(layer_name(part) for part in inside)
    if len(found) > 3:
        found = Counter(layer_name(part, sizes=False) for part in inside)
    listed = " and ".join(f"{n} × {kind}" if n > 1 else kind for kind, n in found.items())
    unnamed = type(layer).__name__.startswith("_") or isinstance(layer, fx.GraphModule)
    return listed if unnamed else f"{name}: {listed}"


def _size(layer: nn.Module) -> str:
    if isinstance(layer, nn.Linear):
        return f" {layer.out_features}"
    if isinstance(layer, _ConvNd):
        return f" {'×'.join(map(str, layer.kernel_size))}, {layer.out_channels}"
    if isinstance(layer, _MaxPoolNd | _AvgPoolNd):
        side = layer.kernel_size
        return f" {side if isinstance(side, int) else '×'.join(map(str, side))}"
    return f" {layer.p:g}" if isinstance(layer, _DropoutNd) else ""


def leaves(module: nn.Module) -> Iterator[nn.Module]:
    """Give the layers of nested sequences in order; any other module is one layer."""
    children = list(module.children())
    wrapper = len(children) == 1 and not next(module.parameters(recurse=False), None)
    containers = isinstance(module, nn.ModuleList | nn.ModuleDict | TaskBatchNorm)
    if isinstance(module, nn.Sequential):
        for child in module:
            yield from leaves(child)
    elif wrapper and not containers and type(module).__name__.startswith("_"):
        yield from leaves(children[0])
    else:
        yield module


def groups(module: nn.Module, limit: int) -> list[Group]:
    """Cut a stack of layers into at most ``limit`` boxes.

    Each layer with weights begins a box; norms and layers without weights belong to the box before
    them. Where that gives too many boxes, neighbours of one kind become "3 × ...", and then
    everything between the first and the last box becomes one.

    Args:
        module: a stack of layers.
        limit: the largest number of boxes, at least 1.
    """
    cut: list[list[nn.Module]] = []
    for leaf in leaves(module):
        own = isinstance(leaf, TaskBatchNorm)
        heavy = own or (any(True for _ in leaf.parameters()) and not isinstance(leaf, _NORMS))
        if not cut or (heavy and any(True for part in cut[-1] for _ in part.parameters())):
            cut.append([])
        cut[-1].append(leaf)
    found = [Group(tuple(layers), _title(layers)) for layers in cut]
    found = [g for g in found if not all(isinstance(m, nn.Identity) for m in g.layers)]
    if len(found) > limit:
        found = [_joined(list(run)) for _, run in groupby(found, key=_kind)]
    if len(found) > limit:
        found = [found[0], _many(found[1:-1]), found[-1]] if limit >= 3 else [_many(found)]
    return found


def whole(*modules: nn.Module) -> Group:
    """Write modules that run one after the other as one box."""
    found = groups(nn.Sequential(*modules), 1)
    return Group(modules, found[0].title if found else "identity")


def _title(layers: list[nn.Module]) -> str:
    names = [layer_name(layer) for layer in layers]
    return " + ".join(name for name in names if name) or "flatten"


def _kind(group: Group) -> str:
    names = [layer_name(layer, sizes=False) for layer in group.layers]
    return " + ".join(name for name in names if name)


def _joined(run: list[Group]) -> Group:
    """Write neighbours of one kind as one box."""
    layers = tuple(layer for group in run for layer in group.layers)
    same = len({group.title for group in run}) == 1
    title = run[0].title if same else _kind(run[0])
    return Group(layers, f"{len(run)} × ({title})" if len(run) > 1 else run[0].title)


def _many(run: list[Group]) -> Group:
    """Write neighbours of different kinds as one box: how many layers with weights of each."""
    layers = tuple(layer for group in run for layer in group.layers)
    heavy = [m for m in layers if any(True for _ in m.parameters()) and not isinstance(m, _NORMS)]
    kinds = Counter(layer_name(layer, sizes=False) for layer in heavy)
    listed = " and ".join(f"{n} × {kind}" for kind, n in kinds.items())
    return Group(layers, f"{len(heavy)} layers: {listed}")
