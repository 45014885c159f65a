"""Pictures of networks and of ideas, drawn with Matplotlib.

``network(model, x)`` draws a model from its own modules; the primitives draw ideas.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from mtl_helpers.teaching.diagrams.describe import Arrow, Block, Graph
from mtl_helpers.teaching.diagrams.draw import draw_graph
from mtl_helpers.teaching.diagrams.families import describe
from mtl_helpers.teaching.diagrams.primitives import (
    Diagram,
    arrow,
    box,
    canvas,
    overlap,
    split,
    stack,
    wedge,
    write,
)

__all__ = [
    "Arrow",
    "Block",
    "Diagram",
    "Graph",
    "arrow",
    "box",
    "canvas",
    "describe",
    "network",
    "overlap",
    "split",
    "stack",
    "wedge",
    "write",
]


def network(
    model: nn.Module,
    x: Tensor,
    *,
    gradients: str | None = None,
    trunk: str | None = None,
    heads: str | Mapping[str, str] | None = None,
) -> Diagram:
    """Draw a model: shared parts in grey, each task's own in its colour, the losses on top.

    The model runs once, on a copy in evaluation mode. Every parameter is counted in exactly one
    box. At the end of a cell the diagram shows itself, with its description as text.

    Args:
        model: a model of this package, the case study's U-Net, or any module with a trunk and
            heads whose ``forward`` gives ``{task name: output}``. It is left as it is.
        x: a batch [B, ...] for it.
        gradients: a task's name: show how far the gradient of its loss comes, as PyTorch's
            autograd finds it from the task's output. It flows where lines are whole.
        trunk: name of the trunk in a model that is not of this package; "trunk" when left out.
        heads: name of the heads' ``nn.ModuleDict`` ("heads" when left out), or for each task the
            name of its head.

    Returns:
        A picture with ``figure``, ``text`` (also called ``says``) and ``png``.

    Raises:
        TypeError: ``model`` or ``x`` is something else, or the model cannot be copied.
        ValueError: no trunk or heads, parameters outside of both, an ``x`` that does not fit, no
            such task, or more tasks than can be read.
    """
    graph = describe(model, x, gradients=gradients, trunk=trunk, heads=heads)
    return draw_graph(graph)
